"""Do the signals say the same? Rank correlations between them, collection by collection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from tells.agreement.cells import Cell, InferenceSettings, complete_signals
from tells.agreement.resampling import MOST_UNDEFINED, Draws, Floats, weighted_correlations, weighted_ranks
from tells.agreement.signals import OUTCOMES, Outcome, Signal, split_of
from tells.stats import spearman

MOST_COMPARED = 60
"""Signals that are compared with one another; of more, which are projections on many traits, the first of the table."""
_SURENESS = Outcome("sureness", "", 1, "no outcome: signals as sureness")


def correlations_of(
    table: pl.DataFrame, signals: Sequence[Signal], settings: InferenceSettings
) -> list[dict[str, Any]]:
    """Spearman's correlations between signals, read as sureness, over the scored samples of each collection.

    Signals that nearly all samples have are compared on the samples that have them all.

    Args:
        table: the signals table.
        signals: to be compared.
        settings: of the intervals.

    Returns:
        One record a collection: `signals`; `left_out`, those beyond `MOST_COMPARED`; `values`, `low`, `high`
        [signals, signals]; `n_rows`, `n_groups`, `split`, and a `reason` where there is nothing to compare.
    """
    return [
        _of_cell(cell, signals)
        for study in dict.fromkeys(one.study for one in OUTCOMES)
        for cell in _collections(table.filter(pl.col("study") == study), study, settings)
    ]


def _collections(rows: pl.DataFrame, study: str, settings: InferenceSettings) -> list[Cell]:
    scored = rows.filter("scored").with_columns(sureness=pl.lit(False))
    return [
        Cell(
            study,
            name,
            _SURENESS,
            split_of(study, name),
            scored.filter(pl.col("collection") == name),
            scored.clear(),
            settings,
        )
        for name in rows["collection"].unique().sort().to_list()
    ]


def _of_cell(cell: Cell, signals: Sequence[Signal]) -> dict[str, Any]:
    chosen, _ = complete_signals(cell, signals)
    left_out = [signal.name for signal in chosen[MOST_COMPARED:]]
    chosen, complete = complete_signals(cell, chosen[:MOST_COMPARED])
    groups = cell.groups[complete]
    record: dict[str, Any] = {
        **{key: value for key, value in cell.header().items() if key != "outcome"},
        "signals": [signal.name for signal in chosen],
        "left_out": left_out,
        "n_rows": int(complete.sum()),
        "n_groups": int(np.unique(groups).size),
        "level": cell.settings.level,
        "values": [],
        "low": [],
        "high": [],
        "reason": None,
    }
    if len(chosen) < 2 or record["n_groups"] < 2:
        return {
            **record,
            "reason": f"{len(chosen)} signals on {record['n_groups']} groups: there is nothing to compare",
        }
    columns = [cell.score(signal)[complete] for signal in chosen]
    values = [[_value(left, right) for right in columns] for left in columns]
    low, high = _ends(cell.draws(groups), columns)
    return {**record, "values": values, "low": low, "high": high}


def _value(left: Floats, right: Floats) -> float | None:
    return 1.0 if left is right else spearman(left, right)


def _ends(draws: Draws, columns: Sequence[Floats]) -> tuple[list, list]:
    """Ends of the intervals [signals, signals], ranked anew in each draw; None where too many draws have no value."""
    rows = np.arange(columns[0].size)
    drawn = np.concatenate(
        [
            weighted_correlations(np.stack([weighted_ranks(each, weights) for each in columns], axis=-1), weights)
            for weights in draws.parts(rows)
        ]
    )
    tail = (1 - draws.level) / 2
    missing = np.isnan(drawn).mean(axis=0) > MOST_UNDEFINED
    ends = []
    for quantile in (tail, 1 - tail):
        found = np.nanquantile(np.where(missing, 0.0, drawn), quantile, axis=0)
        ends.append(
            [
                [None if gap else float(one) for one, gap in zip(*line, strict=True)]
                for line in zip(found, missing, strict=True)
            ]
        )
    return ends[0], ends[1]
