"""The one table: every signal against every outcome of every collection, each figure with its n, split and interval."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tells.agreement.block_permutation import permutation_tests
from tells.agreement.cells import Cell, column, fifths
from tells.agreement.resampling import (
    Draws,
    Estimate,
    Floats,
    auroc_estimate,
    average_precision_estimate,
    spearman_estimate,
    stratified_auroc_estimate,
)
from tells.agreement.signals import Signal, direction, split_of
from tells.progress import progress
from tells.stats import holm, undefined_reason
from tells.tables import SCHEMAS

Record = dict[str, Any]
Reasons = Mapping[tuple[str, str, str], str]
NO_VALUES = "no scored sample has a value"
_METRICS = ("auroc", "average_precision", "auroc_within_length", "spearman")


def all_records(cells: Sequence[Cell], signals: Sequence[Signal], reasons: Reasons) -> list[Record]:
    """A record for every signal in every cell, corrected for their number.

    Args:
        cells: of the table.
        signals: its rows.
        reasons: why a signal is missing, by study, collection and signal.
    """
    records: list[Record] = []
    with progress(len(cells), "agreement", "outcomes") as advance:
        for cell in cells:
            records += cell_records(cell, signals, reasons)
            advance(1)
    correct_for_many(records)
    return records


def cell_records(cell: Cell, signals: Sequence[Signal], reasons: Reasons) -> list[Record]:
    """The records of one cell, not yet corrected."""
    scores = {signal.name: cell.score(signal) for signal in signals}
    tests = _tests(cell, scores)
    draws: dict[bytes, Draws] = {}
    records = []
    for signal in signals:
        known = np.isfinite(scores[signal.name])
        record = _empty(cell, signal)
        if known.any():
            key = known.tobytes()
            if key not in draws:
                draws[key] = cell.draws(cell.groups[known])
            record |= _figures(cell, scores[signal.name], known, draws[key])
            record |= tests[signal.name]
            record["reason"] = record["reason"] or record.pop("untested")
            record |= _of_number(cell, signal)
        else:
            record["reason"] = reasons.get((cell.study, cell.collection, signal.name), NO_VALUES)
        record.pop("untested", None)
        records.append(record)
    return records


def _empty(cell: Cell, signal: Signal) -> Record:
    figures = {f"{metric}{end}": None for metric in _METRICS for end in ("", "_low", "_high")}
    return {
        **cell.header(),
        "split": split_of(cell.study, cell.collection, signal.name),
        "signal": signal.name,
        "direction": direction(signal, cell.outcome),
        "n_rows": 0,
        "n_groups": 0,
        "n_left_out": cell.rows.height,
        "n_spearman": None,
        "prevalence": None,
        "level": cell.settings.level,
        **figures,
        "p": None,
        "p_rows_left_out": 0,
        "p_holm": None,
        "n_tests": 0,
        "reason": None,
    }


def _figures(cell: Cell, score: Floats, known: NDArray[np.bool_], draws: Draws) -> Record:
    """Metrics of the rows that have the signal."""
    y, own, length = cell.y[known], score[known], cell.length[known]
    undefined = undefined_reason(y, own) or "undefined on these rows"
    found = {
        "auroc": auroc_estimate(draws, y, own, undefined),
        "average_precision": average_precision_estimate(draws, y, own, undefined),
        "auroc_within_length": _within_length(draws, y, own, length, undefined),
    }
    reasons = {name: each.reason for name, each in found.items() if each.reason is not None}
    return {
        "n_rows": int(y.size),
        "n_groups": draws.n_groups,
        "n_left_out": int(known.size - y.size),
        "prevalence": float(y.mean()),
        **{key: value for name, each in found.items() for key, value in _entered(name, each).items()},
        "reason": "; ".join(dict.fromkeys(_named(name, why) for name, why in reasons.items())) or None,
    }


def _named(metric: str, reason: str) -> str:
    return reason if metric == "auroc" else f"{metric}: {reason}"


def _within_length(draws: Draws, y: Floats, score: Floats, length: Floats, undefined: str) -> Estimate:
    if not np.isfinite(length).all():
        return Estimate(None, None, None, "the length of a sample is not known")
    return stratified_auroc_estimate(draws, y, score, fifths(length), undefined)


def _entered(name: str, estimate: Estimate) -> Record:
    return {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}


def _tests(cell: Cell, scores: Mapping[str, Floats]) -> dict[str, Record]:
    """P-values by signal; signals that have the same rows share the permutations."""
    by_rows: dict[bytes, list[str]] = {}
    for name, score in scores.items():
        if np.isfinite(score).any():
            by_rows.setdefault(np.isfinite(score).tobytes(), []).append(name)
    found: dict[str, Record] = {}
    for names in by_rows.values():
        known = np.isfinite(scores[names[0]])
        own = {name: scores[name][known] for name in names}
        tested = permutation_tests(
            cell.y[known], own, cell.groups[known], n=cell.settings.permutations, seed=cell.settings.seed
        )
        for name, test in tested.items():
            found[name] = {"p": test.p, "p_rows_left_out": test.n_left_out, "untested": test.reason}
    return found


def _of_number(cell: Cell, signal: Signal) -> Record:
    """Spearman's correlation with the number behind the outcome, over all samples that have it."""
    if cell.outcome.score is None:
        return {}
    rows = pl.concat([cell.rows, cell.others]).filter(pl.col(cell.outcome.score).is_not_null())
    values = direction(signal, cell.outcome) * column(rows, signal.name)
    known = np.isfinite(values)
    number, groups = column(rows, cell.outcome.score)[known], rows["group"].to_numpy()[known]
    if not known.any():
        return {"n_spearman": 0}
    found = spearman_estimate(cell.draws(groups), values[known], number, "one side is constant")
    return {"n_spearman": int(known.sum()), **_entered("spearman", found)}


def correct_for_many(records: Iterable[Record]) -> None:
    """Holm over the AUROC of every signal in every cell."""
    tested = [record for record in records if record["p"] is not None]
    for record, adjusted in zip(tested, holm([record["p"] for record in tested]), strict=True):
        record["p_holm"] = adjusted
        record["n_tests"] = len(tested)


def records_table(records: Sequence[Record]) -> pl.DataFrame:
    """The records as a table, with the same types whatever is missing."""
    return pl.DataFrame(list(records), schema=SCHEMAS["agreement"].columns)
