"""The one table: every signal for every outcome, as the filters of the agreement page leave it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from tells.dashboard.agreement.state import PAGE, TABLE, Chosen
from tells.dashboard.downloads import row_source
from tells.dashboard.grid import Column
from tells.dashboard.store import Store
from tells.dashboard.urls import from_query
from tells.report.agreement_words import OUTCOMES, signal_words
from tells.tables import TableError

SOURCE = "agreement-table"
_CELL = ("study", "collection", "outcome")
COLUMNS = (
    Column("study", "study", width=110),
    Column("collection", "collection", width=165),
    Column("outcome_words", "outcome", width=110),
    Column("signal_words", "signal", width=250),
    Column("auroc", "AUROC", "number", width=90),
    Column("auroc_low", "AUROC from", "number", width=110),
    Column("auroc_high", "AUROC to", "number", width=95),
    Column("n_rows", "samples (n)", "whole", width=105),
    Column("n_groups", "groups", "whole", width=85),
    Column("prevalence", "prevalence", "number", digits=2, width=105),
    Column("split", "split", width=70),
    Column("p", "p", "number", digits=4, width=90),
    Column("p_holm", "p after Holm", "number", digits=4, width=115),
    Column("auroc_within_length", "within length", "number", width=115),
    Column("auroc_within_length_low", "within length from", "number", width=145),
    Column("auroc_within_length_high", "within length to", "number", width=130),
    Column("average_precision", "average precision", "number", width=145),
    Column("spearman", "Spearman with the score", "number", width=190),
    Column("n_left_out", "without the signal", "whole", width=145),
    Column("reason", "why there is none", width=420),
)


def place_name(record: Mapping[str, Any]) -> str:
    """Study and collection of a record as one text."""
    return f"{record['study']}/{record['collection']}"


def table_rows(found: Store, state: Chosen) -> pl.DataFrame:
    """The rows of the table, in its order, with `key` and the words of outcome and signal.

    Args:
        found: the results.
        state: of the page.

    Raises:
        LookupError: there is no such experiment.
        TableError: the table is absent or not whole.
    """
    return _of_filters(_all_rows(found, state), state)


def n_absent(found: Store, state: Chosen) -> int:
    """How many of the chosen figures have no value.

    Raises:
        LookupError: there is no such experiment.
        TableError: the table is absent or not whole.
    """
    return _of_chosen(_all_rows(found, state), state).filter(pl.col("auroc").is_null()).height


def _all_rows(found: Store, state: Chosen) -> pl.DataFrame:
    path = found.folder(state.experiment, PAGE) / TABLE
    return found.made_of([path], ("agreement table",), lambda: _with_words(found.table(path, "agreement")))


def _with_words(rows: pl.DataFrame) -> pl.DataFrame:
    words = {name: signal_words(name) for name in rows["signal"].unique()}
    return rows.with_columns(
        pl.concat_str([*_CELL, "signal"], separator="|").alias("key"),
        pl.col("outcome").replace(OUTCOMES).alias("outcome_words"),
        pl.col("signal").replace(words).alias("signal_words"),
    )


def _of_filters(rows: pl.DataFrame, state: Chosen) -> pl.DataFrame:
    rows = _of_chosen(rows, state)
    return rows if state.absent else rows.filter(pl.col("auroc").is_not_null())


def _of_chosen(rows: pl.DataFrame, state: Chosen) -> pl.DataFrame:
    keep = [pl.lit(value=True)]
    if state.study:
        keep.append(pl.col("study") == state.study)
    if state.collection:
        keep.append(pl.concat_str("study", "collection", separator="/") == state.collection)
    if state.outcome:
        keep.append(pl.col("outcome") == state.outcome)
    if state.signals:
        keep.append(pl.col("signal").is_in(list(state.signals)))
    return rows.filter(*keep)


def filtered(results: Mapping[str, Any], state: Chosen) -> dict[str, Any]:
    """The parts of results.json that figures are drawn from, as the filters leave them.

    Args:
        results: content of the file; it is left as it is.
        state: of the page.
    """
    cells = [one for one in results["cells"] if _kept(one, state)]
    records = [one for one in results["records"] if _kept(one, state) and _signal_kept(one["signal"], state)]
    combined = [one for one in results["combined"] if _kept(one, state)]
    return {**results, "cells": cells, "records": records, "combined": combined}


def _kept(record: Mapping[str, Any], state: Chosen) -> bool:
    return (
        state.study in ("", record["study"])
        and state.collection in ("", place_name(record))
        and state.outcome in ("", record["outcome"])
    )


def _signal_kept(name: str, state: Chosen) -> bool:
    return not state.signals or name in state.signals


def choices_of(found: Store, state: Chosen) -> dict[str, dict[str, str]]:
    """What the filters can be set to, with its words: `study`, `collection`, `outcome`, `signals`.

    From whichever file of the page can be read; what the address names stands there even where no file has it.
    """
    rows = _known(found, state)
    places = rows.select("study", "collection").unique(maintain_order=True).rows()
    listed = {
        "study": {name: name for name in dict.fromkeys(study for study, _ in places)},
        "collection": {f"{study}/{name}": f"{study}: {name}" for study, name in places},
        "outcome": {name: OUTCOMES.get(name, name) for name in rows["outcome"].unique(maintain_order=True)},
        "signals": {name: signal_words(name) for name in rows["signal"].unique(maintain_order=True)},
    }
    for field in ("study", "collection", "outcome"):
        if value := getattr(state, field):
            listed[field].setdefault(value, value)
    for name in state.signals:
        listed["signals"].setdefault(name, signal_words(name))
    return listed


def _known(found: Store, state: Chosen) -> pl.DataFrame:
    """What tells the rows of the table apart, from the table, else from results.json; empty where neither is whole."""
    try:
        return _all_rows(found, state).select(*_CELL, "signal")
    except TableError:
        pass
    try:
        told = found.results(state.experiment, PAGE)["records"]
        records = [tuple(one[name] for name in (*_CELL, "signal")) for one in told]
    except (TableError, KeyError, TypeError):
        # The cards say what is wrong with the files; without them there is nothing to choose.
        records = []
    return pl.DataFrame(records, schema=dict.fromkeys((*_CELL, "signal"), pl.String), orient="row")


@row_source(SOURCE)
def _download(found: Store, query: Mapping[str, str]) -> pl.DataFrame:
    return table_rows(found, from_query(Chosen, query)).drop("key", "outcome_words", "signal_words")
