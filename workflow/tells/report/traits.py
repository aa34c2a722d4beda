"""The traits study on a terminal: every trait a row, with its controls beside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.table import Table

from tells.report.stages import judge_calls, seconds_table
from tells.report.terminal import model_title
from tells.tables import read_json

_ENDS = (("", "delta"), ("_low", "low"), ("_high", "high"))


def traits_report(results: Path, logs: Path) -> Group:
    """The tables of one traits study.

    Args:
        results: its results.json.
        logs: the folder of its jobs' status files.
    """
    content = read_json(results)
    metadata = content["metadata"]
    title = f"{metadata['experiment']}: {model_title(metadata['model'])}, window {metadata['window']}"
    if metadata["steered_model"] and metadata["steered_model"] != metadata["model"]:
        title += f", steering {model_title(metadata['steered_model'])}"
    parts: list[Any] = [_vectors(content, title, logs)]
    if any(trait["steering"] for trait in content["traits"]):
        parts.append(_steering(content))
    judge = metadata["judge"]
    if judge:
        parts.append(f"judge: {judge['provider']} ({judge['model']}). {judge.get('what_it_is', '')}".rstrip())
    for trait in content["traits"]:
        parts += [f"{trait['trait']}: {warning}" for warning in trait["warnings"]]
    parts += [
        seconds_table(logs),
        f"files: {results.parent}/ (results.json, results.parquet, {{trait}}/summary.json, …)",
    ]
    return Group(*parts)


def _vectors(content: Mapping[str, Any], title: str, logs: Path) -> Table:
    table = Table(
        title=title,
        caption="pass: of the texts the judge scored; d and AUC: the vector that is best on validation, on "
        "vetted scenarios that neither fitted nor chose it (under 100 pairs: the procedure that chose it, over "
        "nested folds), with 95% interval by pair; chance: 95th percentile of random vectors",
    )
    for column in ("trait", "status"):
        table.add_column(column)
    for column in ("scenarios pass\n+ / −", "responses pass\n+ / −", "errors", "pairs kept", "vectors"):
        table.add_column(column, justify="right")
    table.add_column("best on validation")
    for column in ("held-out d", "chance |d|", "held-out AUC", "judge calls"):
        table.add_column(column, justify="right")
    for trait in content["traits"]:
        best = trait["best_by_validation"] or {}
        held = best.get("held_out") or {}
        figures, band = held.get("figures") or {}, held.get("null_band") or {}
        table.add_row(
            trait["trait"],
            trait["status"],
            _rates(trait["scenarios"]),
            _rates(trait["responses"]),
            str(_errors(trait)),
            str(trait["pairs"]),
            str(trait["n_vectors"]),
            f"{best['method']}, layer {best['layer']}" if best.get("method") else "–",
            _interval(figures, "cohens_d", 2),
            _number(band.get("cohens_d"), 2),
            _interval(figures, "auc", 2),
            str(judge_calls(logs / trait["trait"])),
        )
    return table


def _steering(content: Mapping[str, Any]) -> Table:
    table = Table(
        title="steering, on questions that were not searched",
        caption="delta: mean trait score less that of unsteered answers to the same questions, with 95% interval by "
        "question (not over choices of a vector or point); random: vectors of equal norm, mean and 95th percentile of "
        "their deltas; p: share of all draws at or above the steered delta, which counts as one",
    )
    for column in ("trait", "status", "point"):
        table.add_column(column)
    for column in ("n", "unsteered", "delta", "random", "p", "prompting"):
        table.add_column(column, justify="right")
    table.add_column("coherence\nunsteered / steered / random", justify="right")
    for trait in content["traits"]:
        effects, point = trait["steering"], trait["best_by_steering"]
        if effects is None:
            continue
        steered, random = effects["steered"] or {}, effects["random"]
        table.add_row(
            trait["trait"],
            trait["status"],
            f"{point['method']}, layer {point['layer']}, r = {point['ratio']:g}" if point else "–",
            str(steered.get("n", effects["unsteered"]["n"])),
            _number(effects["unsteered"]["trait"], 1),
            _interval({f"delta{end}": steered.get(key) for end, key in _ENDS}, "delta", 1),
            f"{_number(random['mean'], 1)} / {_number(random['percentile_95'], 1)}" if random["deltas"] else "–",
            _number(effects["p_random"], 3),
            _number((effects["prompting"] or {}).get("delta"), 1),
            " / ".join(_number(one.get("coherence"), 0) for one in (effects["unsteered"], steered, random)),
        )
    return table


def _rates(stage: Mapping[str, Any] | None) -> str:
    if stage is None:
        return "not judged"
    cells = []
    for polarity in ("positive", "negative"):
        one = stage[polarity]
        cells.append("–" if one["rate"] is None else f"{one['n_pass']}/{one['n_pass'] + one['n_fail']}")
    return "  ".join(cells)


def _errors(trait: Mapping[str, Any]) -> int:
    return sum(one["n_error"] for stage in ("scenarios", "responses") for one in (trait[stage] or {}).values())


def _interval(figures: Mapping[str, Any], name: str, digits: int) -> str:
    value, low, high = (figures.get(f"{name}{end}") for end in ("", "_low", "_high"))
    if value is None:
        return "–"
    if low is None or high is None or low == high:
        return f"{value:.{digits}f} [–]"
    return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"
