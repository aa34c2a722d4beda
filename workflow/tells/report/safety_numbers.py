"""How the safety study's numbers are written on a terminal: a value, its interval, what it rests on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

# `[0.00–0.00]*`: what a column of intervals must hold in one line.
_BRACKET = 12
_PROXY = "embedding"
_CLASSIFIERS = {
    "patterns": "phrases of refusal and where they stand in the reply; offline",
    "embedding": "a proxy for harm and no safety classifier: sentence embeddings against mild examples; offline",
    "wildguard": "a guard model that reads prompt and reply",
    "llama_guard": "a guard model that reads prompt and reply",
    "judge": "a judge that follows a rubric",
}
REFERENCE = "fixed_budget"
"""The arm that the others are held against, as `tells.safety.arms_summary` names it."""
FEW = 20
"""Traces below which a cell is called nearly empty; the limit of the study's own warning."""


def interval(record: Mapping[str, Any], name: str, digits: int = 2) -> str:
    """`0.81 [0.74–0.88]`, with a star where the bound is exact; a dash where there is no value.

    Nothing but the blank before the bracket can break, so that a narrow table keeps an interval whole.

    Args:
        record: holds the value, `low`, `high`, and `interval` where there are several kinds.
        name: of the value.
        digits: after the point.
    """
    value, low, high = (record[key] for key in (name, "low", "high"))
    if value is None:
        return "–"
    if low is None or high is None or low == high:
        return f"{value:.{digits}f} [–]"
    bar = "–" if low >= 0 else ".."
    star = "*" if record.get("interval") == "exact" else ""
    return f"{value:.{digits}f} [{low:.{digits}f}{bar}{high:.{digits}f}]{star}"


def number(value: float | None, digits: int = 2) -> str:
    """A value, or a dash."""
    return "–" if value is None else f"{value:.{digits}f}"


def percent(level: float) -> str:
    """A level as `95%`."""
    return f"{100 * level:g}%"


def among(n: int) -> str:
    """What a value rests on."""
    return f"(n={n})"


def sizes(counts: Sequence[int]) -> str:
    """What the values of a column rest on, for its heading."""
    low, high = min(counts, default=0), max(counts, default=0)
    return f"n = {low}" if low == high else f"n = {low}–{high}"


def add_columns(table: Table, *names: str) -> None:
    """Columns of numbers."""
    for name in names:
        table.add_column(name, justify="right")


def add_intervals(table: Table, *names: str) -> None:
    """Columns of intervals, which break before the bracket where the table is narrow."""
    for name in names:
        table.add_column(name, justify="right", min_width=_BRACKET)


def score_name(benchmark: Mapping[str, Any], metadata: Mapping[str, Any]) -> str:
    """Which confidence a figure is about: kind and window stand beside every one."""
    return f"{benchmark['counts']['kind']}, window {metadata['window']} tokens, in nats"


def harm_source(metadata: Mapping[str, Any]) -> str:
    """Who says that a reply harms."""
    name = metadata["classifiers"]["harm"]
    return f"harm by {name}{' (a proxy)' if name == _PROXY else ''}"


def labeller(axis: str, classifier: str, facts: Mapping[str, Any]) -> str:
    """Who says whether a reply refuses, or harms, and what that is.

    Args:
        axis: refusal or harm.
        classifier: its name.
        facts: `classifier` in the metadata of its table; empty where it is not known.
    """
    name, revision = facts.get("name") or facts.get("model"), facts.get("revision")
    model = f" ({name}{f', {revision}' if revision else ''})" if name else ""
    what = facts.get("what_it_is") or _CLASSIFIERS.get(classifier, "")
    return f"{axis}: {classifier}{model}. {what}".rstrip()


def reasons(benchmark: Mapping[str, Any], estimates: Mapping[str, Mapping[str, Any]]) -> list[Text]:
    """One line a reason, with all that it leaves without a value or interval."""
    told: dict[str, list[str]] = {}
    for name, estimate in estimates.items():
        if estimate["reason"]:
            what = "" if estimate["value"] is None else " (interval)"
            told.setdefault(estimate["reason"], []).append(f"{name}{what}")
    return [
        Text(f"{benchmark['benchmark']}: undefined: {', '.join(names)}: {reason}") for reason, names in told.items()
    ]
