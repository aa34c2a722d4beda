"""The runs of an uncertainty study as its page filters, lists and opens them.

Columns are read one by one when a figure or a table needs them, and the texts of a run when it is opened.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl

from tells.dashboard.downloads import row_source
from tells.dashboard.grid import Column
from tells.dashboard.store import Store
from tells.dashboard.uncertainty.state import ALL, MOST_OPENED, PAGE, Chosen
from tells.dashboard.urls import from_query
from tells.report.figures.uncertainty_keys import key_texts, read_key
from tells.report.figures.uncertainty_words import words_of
from tells.tables import TableError

_KEYS = ("dataset", "prompt_id", "sample")
# What the filters need.
_BASE = (*_KEYS, "split", "correct")
_SEARCHED = ("question", "answer")
# Where a run's hidden states are: no score.
_PLACES = ("shard", "tensor_row")


def table_of(found: Store, experiment: str) -> Path:
    """The study's table of runs.

    Raises:
        LookupError: there is no such experiment.
    """
    return found.folder(experiment, PAGE) / "results.parquet"


def data_sets(found: Store, experiment: str) -> list[str]:
    """Names of the study's data sets, those in distribution first, from whichever of its files can be read.

    Raises:
        LookupError: there is no such experiment.
    """
    try:
        facts = found.results(experiment, PAGE)["datasets"]
        return sorted(facts, key=lambda name: (facts[name]["role"] != "in_distribution", name))
    except (TableError, KeyError, TypeError):
        pass
    try:
        return found.table(table_of(found, experiment), "results", ["dataset"])["dataset"].unique().sort().to_list()
    except TableError:
        return []


def settled(found: Store, state: Chosen) -> Chosen:
    """The state with a data set: the first one, where the address names none.

    Raises:
        LookupError: there is no such experiment.
    """
    if state.dataset:
        return state
    return replace(state, dataset=next(iter(data_sets(found, state.experiment)), ALL))


def score_columns(found: Store, experiment: str) -> list[str]:
    """Columns with a number or a truth value for each run: labels, scores, entropies and counts.

    Raises:
        LookupError: there is no such experiment.
        TableError: the table is absent or not whole.
    """
    columns = found.columns(table_of(found, experiment))
    return [
        name
        for name, dtype in columns.items()
        if name not in (*_KEYS, *_PLACES) and (dtype.is_numeric() or dtype == pl.Boolean)
    ]


def runs_of(found: Store, state: Chosen, columns: Sequence[str] = ()) -> pl.DataFrame:
    """The runs that the filters leave, with keys, split, correctness, and the wanted columns that the table has.

    Raises:
        LookupError: there is no such experiment.
        TableError: the table is absent or not whole.
    """
    table = table_of(found, state.experiment)
    rows = found.table(table, "results", _BASE)
    present = found.columns(table)
    wanted = dict.fromkeys((*columns, *(_SEARCHED if state.contains else ())))
    # One by one, so that what was read once serves every figure.
    parts = [found.table(table, "results", [name]) for name in wanted if name in present and name not in _BASE]
    if any(part.height != rows.height for part in parts):
        raise TableError(f"{table.name} changed while it was read; reload the page")
    return pl.concat([rows, *parts], how="horizontal").filter(*_filters(state))


def _filters(state: Chosen) -> list[pl.Expr]:
    kept = [pl.lit(value=True)]
    if state.dataset != ALL:
        kept.append(pl.col("dataset") == state.dataset)
    if state.split != ALL:
        kept.append(pl.col("split") == state.split)
    if state.answers != ALL:
        graded = {"correct": True, "wrong": False, "ungraded": None}[state.answers]
        kept.append(pl.col("correct").eq_missing(graded))
    sample = pl.col("sample")
    which = {"sampled": sample >= 0, "first": sample == 0, "greedy": sample < 0}
    if state.which != ALL:
        kept.append(which[state.which])
    if state.contains:
        texts = (pl.col(name).str.to_lowercase() for name in _SEARCHED)
        kept.append(pl.any_horizontal(text.str.contains(state.contains.lower(), literal=True) for text in texts))
    return kept


def grid_columns(state: Chosen) -> list[Column]:
    """Columns of the table of runs: what was asked and answered, and the scores that the figures show."""
    texts = [
        Column("dataset", "data set", width=110),
        Column("question", "question", width=290),
        Column("sample", "sample (greedy: −1)", "whole", width=100),
        Column("answer", "answer", width=150),
        Column("correct", "correct", "flag", width=95),
        Column("cluster", "cluster", "whole", width=95),
    ]
    scores = dict.fromkeys((state.entropy, state.score, state.entropy_probe, "p_true", "entropy_think_mean"))
    numbers = [Column(name, words_of(name).split(" (")[0], "number", width=150) for name in scores]
    return [*texts, *numbers, Column("prompt_id", "prompt_id", width=150)]


def grid_rows(found: Store, state: Chosen) -> pl.DataFrame:
    """The runs of the table, with a column `key`; a column that the study lacks is null.

    Raises:
        LookupError: there is no such experiment.
        TableError: the table is absent or not whole.
    """
    fields = [column.field for column in grid_columns(state)]
    rows = runs_of(found, state, fields)
    lacking = [pl.lit(None).alias(name) for name in fields if name not in rows.columns]
    return rows.with_columns(key_texts(), *lacking)


def opened_keys(state: Chosen) -> list[str]:
    """Keys of the runs that are shown side by side."""
    return list(dict.fromkeys(state.runs))[:MOST_OPENED]


def opened_questions(found: Store, state: Chosen, columns: Sequence[str] | None = None) -> pl.DataFrame:
    """All runs of the questions of the opened runs, whatever the filters say, with a column `key`.

    Args:
        found: the results.
        state: of the page.
        columns: beside the keys, of those that the table has; None for all.

    Raises:
        LookupError: there is no such experiment.
        TableError: the table is absent or not whole.
    """
    table = table_of(found, state.experiment)
    present = found.columns(table)
    wanted = dict.fromkeys((*_KEYS, *(present if columns is None else columns)))
    rows = found.scan(table, "results", [name for name in wanted if name in present])
    keys = [key for key in map(read_key, opened_keys(state)) if key is not None]
    asked = pl.any_horizontal(
        pl.lit(value=False),
        *((pl.col("dataset") == key.dataset) & (pl.col("prompt_id") == key.prompt_id) for key in keys),
    )
    return rows.filter(asked).collect().with_columns(key_texts())


@row_source("uncertainty-runs")
def _download(found: Store, query: Mapping[str, str]) -> pl.DataFrame:
    """The runs that the filters leave, with all columns of the file."""
    state = settled(found, from_query(Chosen, query))
    table = table_of(found, state.experiment)
    return found.scan(table, "results", list(found.columns(table))).filter(*_filters(state)).collect()
