"""The arms in figures: traces, tokens, saving and safety of each, with intervals, and against the full budget.

A row of the `arms` table is one prompt. Intervals draw whole groups of prompts, because twins are not independent, and
differences to `fixed_budget` are paired on the prompts that both arms know.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tells.safety.rates import share_interval
from tells.stats import Metric, bootstrap_ci, clustered_mean_ci, paired_bootstrap

REFERENCE = "fixed_budget"
_COUNTS = ("traces", "tokens", "confidence")
_SHARES = {
    "agreement": ("agreement", None),
    "harmful_compliance": ("harmful_compliance", "harmful"),
    "over_refusal": ("refused", "benign"),
}
_AGAINST_ITSELF = ("saving", "agreement")
Floats = NDArray[np.float64]


def saving_of(full_tokens: Floats, tokens: Floats) -> float | None:
    """1 − Σ tokens / Σ full_tokens; None where the full budget has no tokens."""
    full = float(np.sum(full_tokens))
    return 1.0 - float(np.sum(tokens)) / full if full > 0 else None


def _mean(_: Floats, values: Floats) -> float | None:
    return float(np.mean(values)) if len(values) else None


def arms_summary(table: pl.DataFrame, *, bootstrap: int, level: float, seed: int) -> list[dict[str, Any]]:
    """Figures of each arm, in the order of the table.

    `traces`, `tokens` (both per prompt), `confidence` (nats), `saving` (1 − Σ tokens / Σ full_tokens) and `agreement`
    are about all prompts, `harmful_compliance` about the harmful ones and `over_refusal` about the benign ones. A
    prompt on which a figure is undefined is left out of it and counted.

    Args:
        table: the `arms` table, or the part of it that a category has.
        bootstrap: draws of groups.
        level: of the intervals.
        seed: of the draws.

    Returns:
        For each arm `arm`, `n` prompts, `n_groups`, `n_unlabelled`, `n_undecided` (no decision in any order),
        `n_unmatched` where it is known, and by figure {estimate, low, high, interval (`bootstrap` or `exact`), n,
        n_undefined, reason}, without an interval where the full budget is held against itself; `difference` holds by
        figure the arm minus `fixed_budget` {difference, low, high, p, n, reason}, and is None for that arm itself and
        where the table lacks it.

    Raises:
        ValueError: an arm stands twice for a prompt, or a draw or level is out of range.
    """
    if table.select(pl.struct("arm", "prompt_id").is_duplicated().any()).item():
        raise ValueError("an arm stands more than once for a prompt: summarise one collection at a time")
    settings = {"n": bootstrap, "level": level, "seed": seed}
    arms = table["arm"].unique(maintain_order=True).to_list()
    reference = table.filter(pl.col("arm") == REFERENCE)
    return [_record(arm, table.filter(pl.col("arm") == arm), reference, settings) for arm in arms]


def _record(arm: str, rows: pl.DataFrame, reference: pl.DataFrame, settings: dict[str, Any]) -> dict[str, Any]:
    compared = arm != REFERENCE and len(reference) > 0
    record = {
        "arm": arm,
        "n": len(rows),
        "n_groups": rows["group"].n_unique(),
        "n_unlabelled": rows["label"].null_count(),
        "n_undecided": rows["refused"].null_count(),
    }
    if "unmatched" in rows.columns:
        record["n_unmatched"] = int(rows["unmatched"].sum())
    pairs = rows.join(reference, on="prompt_id", how="inner", suffix="_reference") if compared else None
    differences: dict[str, Any] | None = None if pairs is None else {}
    for figure, column, label, of_full in _figures():
        record[figure] = _interval(rows, figure, column, label, settings)
        if arm == REFERENCE and figure in _AGAINST_ITSELF:
            record[figure] |= {"low": None, "high": None, "interval": None, "reason": "the full budget against itself"}
        if differences is not None:
            differences[figure] = _difference(pairs, column, label, of_full, settings)
    record["difference"] = differences
    return record


def _figures() -> list[tuple[str, str, str | None, bool]]:
    """Name of each figure, its column, the label of its prompts, and whether it is a share of the full tokens."""
    plain = [(name, name, None, False) for name in _COUNTS]
    shares = [(name, column, label, False) for name, (column, label) in _SHARES.items()]
    return [*plain, ("saving", "tokens", None, True), *shares]


def _asked(rows: pl.DataFrame, column: str, label: str | None) -> tuple[pl.DataFrame, int]:
    """The rows that a figure is about, and how many of them have no value."""
    asked = rows if label is None else rows.filter(pl.col("label") == label)
    columns = [name for name in (column, f"{column}_reference") if name in rows.columns]
    defined = asked.drop_nulls(columns)
    return defined, len(asked) - len(defined)


def _interval(
    rows: pl.DataFrame, figure: str, column: str, label: str | None, settings: dict[str, Any]
) -> dict[str, Any]:
    defined, undefined = _asked(rows, column, label)
    values, groups = defined[column].to_numpy(), defined["group"].to_numpy()
    method: str | None
    if figure in _SHARES:
        draws = {"bootstrap" if name == "n" else name: value for name, value in settings.items()}
        found, method = share_interval(values, groups, **draws)
    else:
        if figure == "saving":
            found = bootstrap_ci(saving_of, defined["full_tokens"].to_numpy(), values, groups, **settings)
        else:
            found = clustered_mean_ci(values, groups, **settings)
        method = None if found.low is None else "bootstrap"
    return {
        "estimate": found.estimate,
        "low": found.low,
        "high": found.high,
        "interval": method,
        "n": len(defined),
        "n_undefined": undefined,
        "reason": found.reason,
    }


def _difference(
    pairs: pl.DataFrame, column: str, label: str | None, of_full: bool, settings: dict[str, Any]
) -> dict[str, Any]:
    """The arm minus the full budget, on the prompts where both are defined."""
    defined, undefined = _asked(pairs, column, label)
    metric: Metric | Callable[[Floats, Floats], float | None] = saving_of if of_full else _mean
    found = paired_bootstrap(
        metric,
        defined["full_tokens"].to_numpy(),
        defined[column].to_numpy(),
        defined[f"{column}_reference"].to_numpy(),
        defined["group"].to_numpy(),
        **settings,
    )
    return {
        "difference": found.difference,
        "low": found.low,
        "high": found.high,
        "p": found.p,
        "n": len(defined),
        "n_undefined": undefined,
        "reason": found.reason,
    }
