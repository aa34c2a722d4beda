"""What the agreement found: the table, what all signals add to the best one, and how much they say the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
from threadpoolctl import threadpool_limits

from tells.agreement.cells import Cell, InferenceSettings, cells_of
from tells.agreement.combined import combined_record
from tells.agreement.confidence_direction import SIGNIFICANT, direction_record
from tells.agreement.correlations import correlations_of
from tells.agreement.notes import notes_of
from tells.agreement.records import all_records, records_table
from tells.agreement.signals import Signal, direction
from tells.agreement.steering_changes import SteeredQuestions


@dataclass(frozen=True)
class Agreement:
    """Content of results.json, and the table of results.parquet."""

    content: dict[str, Any]
    table: pl.DataFrame


def analyse(
    table: pl.DataFrame,
    facts: Mapping[str, Any],
    *,
    confidence_trait: str,
    settings: InferenceSettings,
    steered: Sequence[SteeredQuestions] = (),
) -> Agreement:
    """Hold every signal against every outcome.

    Args:
        table: the signals table.
        facts: content of signals.json.
        confidence_trait: the trait whose direction is asked whether it reads uncertainty.
        settings: of intervals and tests.
        steered: answers to questions under steering along that direction, by data set.
    """
    # One BLAS thread: sums then do not depend on the number of cores.
    with threadpool_limits(1, user_api="blas"):
        return _analyse(table, facts, confidence_trait, settings, steered)


def _analyse(
    table: pl.DataFrame,
    facts: Mapping[str, Any],
    confidence_trait: str,
    settings: InferenceSettings,
    steered: Sequence[SteeredQuestions],
) -> Agreement:
    signals = [Signal(**one) for one in facts["signals"]]
    cells = list(cells_of(table, settings))
    records = all_records(cells, signals, _reasons(facts, cells))
    content = {
        "signals": list(facts["signals"]),
        "outcomes": list(facts["outcomes"]),
        "directions": _directions(signals, cells),
        "cells": [_cell(cell) for cell in cells],
        "records": records,
        "combined": [combined_record(cell, signals) for cell in cells],
        "correlations": correlations_of(table, signals, settings),
        "confidence_direction": direction_record(confidence_trait, table, records, facts, settings, steered),
        "collections": list(facts["collections"]),
        "trait_directions": list(facts["directions"]),
        "probes": list(facts["probes"]),
        "absent": list(facts["absent"]),
        "missing_studies": dict(facts["missing_studies"]),
        "tests": _tests(records, settings),
    }
    content["notes"] = notes_of(content)
    return Agreement(content, records_table(records))


def _reasons(facts: Mapping[str, Any], cells: Sequence[Cell]) -> dict[tuple[str, str, str], str]:
    """Why a signal is missing, by study, collection and signal; what holds for a study holds for its collections."""
    places = {(cell.study, cell.collection) for cell in cells}
    found: dict[tuple[str, str, str], str] = {}
    for one in sorted(facts["absent"], key=lambda one: one["collection"] is not None):
        for study, collection in places:
            if one["study"] == study and one["collection"] in (None, collection):
                found[study, collection, one["signal"]] = one["reason"]
    return found


def _directions(signals: Sequence[Signal], cells: Sequence[Cell]) -> dict[str, dict[str, int]]:
    """By outcome and signal, +1 where larger values are taken to predict class 1, -1 where smaller ones are."""
    outcomes = {cell.outcome.name: cell.outcome for cell in cells}
    return {name: {signal.name: direction(signal, one) for signal in signals} for name, one in outcomes.items()}


def _cell(cell: Cell) -> dict[str, Any]:
    """What a column of the table rests on."""
    return {
        **cell.header(),
        "n_rows": cell.rows.height,
        "n_groups": cell.rows["group"].n_unique(),
        "n_without_outcome": cell.others.height,
        "prevalence": float(cell.y.mean()) if cell.rows.height else None,
    }


def _tests(records: Sequence[Mapping[str, Any]], settings: InferenceSettings) -> dict[str, Any]:
    """The family of tests, and whether its permutations suffice."""
    n = sum(record["p"] is not None for record in records)
    smallest = 2 / (settings.permutations + 1)
    return {
        "n_tests": n,
        "permutations": settings.permutations,
        "smallest_p": smallest,
        "suffices": n * smallest < SIGNIFICANT,
        "n_significant": sum(record["p_holm"] is not None and record["p_holm"] < SIGNIFICANT for record in records),
    }
