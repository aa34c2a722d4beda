"""The uncertainty study: what the probes and baselines achieve, and every run behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import dash
import polars as pl
from dash import Input, Output, State, html, no_update

from tells.dashboard.binding import bind, bound, choice, held, switch
from tells.dashboard.components import card, figure
from tells.dashboard.downloads import download_links, row_source
from tells.dashboard.grid import Column, grid, slice_of
from tells.dashboard.store import Store, current_store
from tells.dashboard.studies import study_page
from tells.dashboard.urls import from_query, query_of
from tells.report.figures.uncertainty import margin_against_entropy

_PAGE = "uncertainty"


@dataclass(frozen=True)
class Chosen:
    """What the page shows.

    Attributes:
        experiment: its name.
        dataset: whose runs, or `all`.
        split: train, validation, test or `all`.
        correctness: of the runs.
        one: one run per question alone, the first sample.
        runs: keys of the runs that are opened, as dataset/prompt_id/sample.
    """

    experiment: str = ""
    dataset: str = "all"
    split: Literal["test", "validation", "train", "all"] = "test"
    correctness: Literal["all", "correct", "wrong"] = "all"
    one: bool = False
    runs: tuple[str, ...] = ()


COLUMNS = (
    Column("question", "question"),
    Column("answer", "answer", width=160),
    Column("correct", "correct", "flag", width=90),
    Column("semantic_entropy_raw", "entropy, nats", "number", width=130),
    Column("accuracy.score", "probe margin", "number", width=130),
)


def register(app: dash.Dash) -> None:
    """Give the app this page."""
    dash.register_page(
        _PAGE, path="/uncertainty", name="Uncertainty", title="Tells: uncertainty", order=1, layout=_layout
    )
    bind(app, _PAGE, Chosen, _content)
    app.callback(
        Output("uncertainty-grid", "getRowsResponse"),
        Input("uncertainty-grid", "getRowsRequest"),
        State("uncertainty-rendered", "data"),
    )(_rows)


def _layout(**query: Any) -> html.Main:
    """The page."""
    return study_page(_PAGE, "Uncertainty", from_query(Chosen, query), _build)


def _build(found: Store, state: Chosen) -> html.Div:
    datasets = sorted(found.results(state.experiment, _PAGE)["datasets"])
    controls = [
        held(_PAGE, "experiment", state.experiment),
        choice(_PAGE, "dataset", "Data set", {"all": "all", **{name: name for name in datasets}}, state.dataset),
        choice(_PAGE, "split", "Split", ("test", "validation", "train", "all"), state.split),
        choice(_PAGE, "correctness", "Answers", ("all", "correct", "wrong"), state.correctness),
        switch(_PAGE, "one", "one run per question", state.one),
        held(_PAGE, "runs", state.runs),
    ]
    return html.Div([bound(_PAGE, state, controls, _content(state)), html.Div(id="uncertainty-runs-open")])


def _content(state: Chosen) -> list[Any]:
    rows = runs_of(current_store(), state)
    return [
        html.P(f"{rows.height:,} runs of {rows['prompt_id'].n_unique():,} questions", className="note", id="count"),
        card(
            "Probe and entropy",
            lambda: figure(margin_against_entropy(rows, dataset=None, split=None), identifier="uncertainty-margin"),
        ),
        card(
            "Runs",
            lambda: html.Div(
                [
                    grid("uncertainty-grid", COLUMNS, label="runs", key="key", several=True),
                    download_links("uncertainty-runs", query_of(state)),
                ]
            ),
        ),
    ]


def runs_of(found: Store, state: Chosen) -> pl.DataFrame:
    """The runs that the filters leave."""
    table = found.folder(state.experiment, _PAGE) / "results.parquet"
    rows = found.table(table, "results")
    keep = [pl.lit(value=True)]
    if state.dataset != "all":
        keep.append(pl.col("dataset") == state.dataset)
    if state.split != "all":
        keep.append(pl.col("split") == state.split)
    if state.correctness != "all":
        keep.append(pl.col("correct") == (state.correctness == "correct"))
    if state.one:
        keep.append(pl.col("sample") == 0)
    return rows.filter(*keep).with_columns(key=pl.format("{}/{}/{}", "dataset", "prompt_id", "sample"))


@row_source("uncertainty-runs")
def _download(found: Store, query: Mapping[str, str]) -> pl.DataFrame:
    return runs_of(found, from_query(Chosen, query)).drop("key")


def _rows(request: Any, query: str) -> Any:
    if request is None:
        return no_update
    state = from_query(Chosen, query)
    return slice_of(runs_of(current_store(), state), COLUMNS, "key", request)
