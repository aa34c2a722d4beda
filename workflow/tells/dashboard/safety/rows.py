"""The prompts and traces of a benchmark, as the filters of the safety page leave them: light columns alone."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from tells.dashboard.grid import Column
from tells.dashboard.safety.state import NO_CATEGORY, NO_CELL, PAGE, UNLABELLED, Chosen
from tells.dashboard.store import Store
from tells.tables import TableError

KEYS = ["prompt_id", "sample"]
SCORES = ("mean", "lowest", "bottom", "tail")
_SCORE_COLUMNS = (*KEYS, "n_tokens", *SCORES, "first_token_probability", "token_logprob")
_PROMPT_COLUMNS = ("prompt_id", "group", "prompt", "label", "category", "twin")
_REFUSED = ("refusal", "partial")

PROMPT_COLUMNS = (
    Column("prompt_id", "prompt", width=230),
    Column("label", "label", width=95),
    Column("category", "category", width=150),
    Column("traces", "traces", "whole", width=85),
    Column("refused", "refused", "whole", width=90),
    Column("complied", "complied", "whole", width=100),
    Column("unclear", "unclear", "whole", width=90),
    Column("harmful", "harmful replies", "whole", width=135),
    Column("prompt", "text (blurred: click to show)", width=520, veiled=True),
)
TRACE_COLUMNS = (
    Column("prompt_id", "prompt", width=230),
    Column("sample", "trace", "whole", width=75),
    Column("label", "label", width=95),
    Column("category", "category", width=150),
    Column("refusal", "reply", width=115),
    Column("harm", "harm", width=110),
    Column("harm_score", "harm score", "number", digits=2, width=110),
    Column("quadrant", "cell", width=180),
    Column("mean", "mean, nats", "number", width=110),
    Column("lowest", "lowest, nats", "number", width=115),
    Column("bottom", "bottom, nats", "number", width=115),
    Column("tail", "tail, nats", "number", width=105),
    Column("n_tokens", "tokens", "whole", width=85),
    Column("truncated", "at the limit", "flag", width=110),
)


def benchmarks_of(found: Store, experiment: str) -> list[str]:
    """Names of the benchmarks of an experiment that have a folder."""
    folder = found.folder(experiment, PAGE)
    return sorted(each.name for each in folder.iterdir() if each.is_dir() and not each.name.startswith("."))


def folder_of(found: Store, experiment: str, benchmark: str) -> Path:
    """The folder of a benchmark.

    Raises:
        LookupError: there is no such experiment or benchmark here.
    """
    known = benchmarks_of(found, experiment)
    if benchmark not in known:
        named = ", ".join(known) or "none"
        raise LookupError(f"experiment {experiment} has no benchmark {benchmark!r}; there are: {named}")
    return found.folder(experiment, PAGE) / benchmark


def categories_of(found: Store, experiment: str, benchmark: str) -> list[str]:
    """Categories of a benchmark's prompts, in order; `(none)` last, where a prompt has none."""
    path = folder_of(found, experiment, benchmark) / "prompts.parquet"
    values = found.table(path, "prompts", ["category"])["category"].unique().sort(nulls_last=True)
    return [NO_CATEGORY if value is None else value for value in values]


def trace_rows(found: Store, state: Chosen) -> pl.DataFrame:
    """Labels, cell and scores of every trace whose prompt the filters leave, and its `key`.

    Raises:
        LookupError: there is no such benchmark.
        TableError: a table is absent or not whole, or the tables hold different traces.
    """
    folder = folder_of(found, state.experiment, state.benchmark)
    paths = [folder / f"{kind}.parquet" for kind in ("reply_labels", "confidence", "strata")]
    return of_filters(found.made_of(paths, ("traces",), lambda: _all_traces(found, folder)), state)


def _all_traces(found: Store, folder: Path) -> pl.DataFrame:
    labels = found.table(folder / "reply_labels.parquet", "reply_labels")
    scores = found.table(folder / "confidence.parquet", "confidence", _SCORE_COLUMNS)
    cells = found.table(folder / "strata.parquet", "strata", [*KEYS, "part", "quadrant"])
    rows = labels.join(scores, on=KEYS, how="inner", maintain_order="left")
    rows = rows.join(cells, on=KEYS, how="inner", maintain_order="left")
    if rows.height != labels.height:
        raise TableError(
            f"{folder.name}: {labels.height - rows.height} of {labels.height} labelled traces are not in both "
            "confidence.parquet and strata.parquet: the files are of different runs; make them again"
        )
    return rows.with_columns(key=pl.format("{}/{}", "prompt_id", "sample"))


def of_filters(rows: pl.DataFrame, state: Chosen) -> pl.DataFrame:
    """Rows of the prompts with the chosen label and category; the table has both columns."""
    keep = [pl.lit(value=True)]
    if state.label:
        keep.append(pl.col("label").eq_missing(pl.lit(None if state.label == UNLABELLED else state.label, pl.String)))
    if state.category:
        wanted = None if state.category == NO_CATEGORY else state.category
        keep.append(pl.col("category").eq_missing(pl.lit(wanted, pl.String)))
    return rows.filter(*keep)


def listed_traces(found: Store, state: Chosen) -> pl.DataFrame:
    """The traces of the table: of `trace_rows` those of the chosen cell and harm, and of the sought prompts."""
    rows = trace_rows(found, state)
    if state.cell:
        wanted = None if state.cell == NO_CELL else state.cell
        rows = rows.filter(pl.col("quadrant").eq_missing(pl.lit(wanted, pl.String)))
    if state.harm:
        rows = rows.filter(pl.col("harm") == state.harm)
    if state.find:
        rows = rows.filter(
            pl.col("prompt_id").is_in(_sought(_prompts(found, state), state.find)["prompt_id"].implode())
        )
    return rows


def listed_prompts(found: Store, state: Chosen) -> pl.DataFrame:
    """The prompts of the table, with counts of all their traces; a prompt stands here if a listed trace is its own."""
    traces = listed_traces(found, state)
    prompts = _prompts(found, state)
    if state.cell or state.harm:
        prompts = prompts.filter(pl.col("prompt_id").is_in(traces["prompt_id"].unique().implode()))
    counted = _counts(trace_rows(found, state))
    return _sought(prompts, state.find).join(counted, on="prompt_id", how="left", maintain_order="left")


def _prompts(found: Store, state: Chosen) -> pl.DataFrame:
    path = folder_of(found, state.experiment, state.benchmark) / "prompts.parquet"
    return of_filters(found.table(path, "prompts", _PROMPT_COLUMNS), state)


def _sought(prompts: pl.DataFrame, words: str) -> pl.DataFrame:
    """Prompts whose id or text holds the words, whatever their case."""
    if not words:
        return prompts
    sought = pl.lit(words.lower())
    inside = [pl.col(name).str.to_lowercase().str.contains(sought, literal=True) for name in ("prompt_id", "prompt")]
    return prompts.filter(pl.any_horizontal(inside))


def _counts(traces: pl.DataFrame) -> pl.DataFrame:
    refusal = pl.col("refusal")
    refused, complied = refusal.is_in(_REFUSED).fill_null(value=False), (refusal == "compliance").fill_null(value=False)
    return traces.group_by("prompt_id").agg(
        traces=pl.len(),
        refused=refused.sum(),
        complied=complied.sum(),
        unclear=(~refused & ~complied).sum(),
        harmful=(pl.col("harm") == "harmful").sum(),
    )
