"""One table of all runs of the study: labels, entropies, token facts and splits, joined by (prompt, sample)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from tells.tables import SCHEMAS
from tells.uncertainty.splits import group_split

_KEYS = ["prompt_id", "sample"]
_REPLAYED = [
    "shard",
    "tensor_row",
    "n_think",
    "entropy_think_mean",
    "entropy_think_max",
    "entropy_think_last10",
    "mean_log_likelihood",
]


@dataclass(frozen=True)
class CollectionTables:
    """The tables of one collection; `replay` and `p_true` are None where the samples are the user's own."""

    labels: pl.DataFrame
    entropy: pl.DataFrame
    clusters: pl.DataFrame
    replay: pl.DataFrame | None
    p_true: pl.DataFrame | None


def split_questions(
    tables: Mapping[str, CollectionTables], roles: Mapping[str, str], fractions: Mapping[str, float], *, seed: int
) -> pl.DataFrame:
    """Put every question in one split; equal questions of several data sets go together.

    Args:
        tables: by data set.
        roles: `in_distribution` or `out_of_distribution` by data set; the latter are test only.
        fractions: of train, validation and test.
        seed: of the split.

    Returns:
        The splits table.
    """
    questions = pl.concat(
        [each.entropy.select(pl.lit(name).alias("dataset"), "prompt_id", "group") for name, each in tables.items()]
    )
    inside = questions["dataset"].replace_strict(dict(roles)).to_numpy() == "in_distribution"
    split = np.full(len(questions), "test", dtype=object)
    rows = np.flatnonzero(inside)
    groups = questions["group"].gather(rows).to_list()
    for name, places in group_split(groups, fractions, seed=seed).items():
        split[rows[places]] = name
    return questions.with_columns(pl.Series("split", split.tolist(), pl.String)).select(list(SCHEMAS["splits"].columns))


def join_runs(tables: Mapping[str, CollectionTables], splits: pl.DataFrame) -> pl.DataFrame:
    """One row a run: labels, cluster, its question's entropies, token facts, P(True) and split."""
    parts = [_collection_runs(name, each) for name, each in tables.items()]
    return pl.concat(parts, how="diagonal").join(
        splits.select("dataset", "prompt_id", "split"), on=["dataset", "prompt_id"], how="left"
    )


def _collection_runs(name: str, tables: CollectionTables) -> pl.DataFrame:
    runs = tables.labels.with_columns(pl.lit(name).alias("dataset"))
    runs = runs.join(tables.clusters.select(*_KEYS, "cluster"), on=_KEYS, how="left")
    runs = runs.join(tables.entropy.drop("group"), on="prompt_id", how="left", suffix="_question")
    runs = runs.drop([column for column in runs.columns if column.endswith("_question")])
    if "mean_log_likelihood" in runs.columns:
        runs = runs.drop("mean_log_likelihood")
    facts: list[tuple[pl.DataFrame | None, dict[str, Any]]] = [
        (tables.replay, {column: SCHEMAS["replay"].columns[column] for column in _REPLAYED}),
        (tables.p_true, {"p_true": pl.Float64()}),
    ]
    for table, columns in facts:
        if table is None:
            runs = runs.with_columns([pl.lit(None, dtype).alias(column) for column, dtype in columns.items()])
        else:
            runs = runs.join(table.select(*_KEYS, *columns), on=_KEYS, how="left")
    return runs
