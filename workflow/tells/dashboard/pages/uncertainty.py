"""The uncertainty study: what the probes and baselines achieve, and every run behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import dash
import polars as pl
from dash import ALL as EACH
from dash import ClientsideFunction, Input, Output, State, ctx, dcc, html, no_update

from tells.dashboard.binding import bind, bound, choice, held, held_id, search
from tells.dashboard.components import card, empty_box, guarded
from tells.dashboard.downloads import download_links
from tells.dashboard.grid import grid, slice_of
from tells.dashboard.store import Store, current_store
from tells.dashboard.studies import study_page
from tells.dashboard.uncertainty.opened import opened_panel, opened_place
from tells.dashboard.uncertainty.runs import data_sets, grid_columns, grid_rows, runs_of, settled
from tells.dashboard.uncertainty.scatters import entropy_card, map_card, margin_card, no_table, ring_patches
from tells.dashboard.uncertainty.scores import (
    CURVES,
    curve_card,
    datasets_card,
    heatmap_card,
    lines_control,
    records_card,
)
from tells.dashboard.uncertainty.state import ALL, PAGE, Chosen
from tells.dashboard.urls import from_query, query_of

_GRID = {"page": PAGE, "table": "runs"}
_PANEL, _PICKED, _ADDING = f"{PAGE}-opened", f"{PAGE}-picked", f"{PAGE}-adding"
_WHICH = {
    "sampled": "sampled, all of a question",
    "first": "one a question: sample 0",
    "greedy": "one a question: greedy",
    ALL: "sampled and greedy",
}
_COUNTED = {
    "sampled": "Sampled runs, as in the metrics; greedy runs (sample −1) are not counted.",
    "first": "One run a question: its first sampled one, sample 0.",
    "greedy": "One run a question: the greedy one, sample −1.",
    ALL: "Sampled and greedy runs (sample −1) together.",
}
_ANSWERS = {ALL: ALL, "correct": "correct", "wrong": "wrong", "ungraded": "not graded"}


def register(app: dash.Dash) -> None:
    """Give the app this page."""
    dash.register_page(
        PAGE, path="/uncertainty", name="Uncertainty", title="Tells: uncertainty", order=1, layout=_layout
    )
    bind(app, PAGE, Chosen, _content)
    rendered, opened = State(f"{PAGE}-rendered", "data"), Input(held_id(PAGE, "runs"), "data")
    app.callback(Output(_GRID, "getRowsResponse"), Input(_GRID, "getRowsRequest"), rendered)(_rows)
    app.callback(Output(_PANEL, "children"), opened, rendered, State(_PICKED, "data"), prevent_initial_call=True)(_show)
    app.callback(Output({"page": PAGE, "scatter": EACH}, "figure"), opened, rendered, prevent_initial_call=True)(_ring)
    app.clientside_callback(
        ClientsideFunction("uncertainty", "pick"),
        Output(held_id(PAGE, "runs"), "data"),
        Output(_PICKED, "data"),
        Output({"page": PAGE, "scatter": EACH}, "clickData"),
        Input({"page": PAGE, "scatter": EACH}, "clickData"),
        Input({"page": PAGE, "scatter": EACH}, "selectedData"),
        Input({"page": PAGE, "table": EACH}, "selectedRows"),
        Input({"page": PAGE, "close": EACH}, "n_clicks"),
        Input({"page": PAGE, "siblings": EACH}, "selectedRows"),
        Input({"page": PAGE, "alone": EACH}, "n_clicks"),
        Input({"page": PAGE, "turn": EACH}, "n_clicks"),
        State(held_id(PAGE, "runs"), "data"),
        State(_ADDING, "value"),
        State(_PICKED, "data"),
        prevent_initial_call=True,
    )


def _layout(**query: Any) -> html.Main:
    """The page."""
    return study_page(PAGE, "Uncertainty", from_query(Chosen, query), _build)


def _build(found: Store, state: Chosen) -> html.Div:
    state = settled(found, state)
    datasets = dict.fromkeys((*data_sets(found, state.experiment), ALL, state.dataset))
    controls = [
        held(PAGE, "experiment", state.experiment),
        choice(PAGE, "dataset", "Data set", list(datasets), state.dataset),
        choice(PAGE, "split", "Split", ("test", "validation", "train", ALL), state.split),
        choice(PAGE, "answers", "Answers", _ANSWERS, state.answers),
        choice(PAGE, "which", "Runs", _WHICH, state.which),
        search(PAGE, "contains", "Question or answer contains", state.contains),
        held(PAGE, "runs", state.runs),
        dcc.Store(id=_PICKED),
        html.Div(
            dcc.Checklist(id=_ADDING, options=[{"value": "1", "label": "clicks add to the opened runs"}], value=[]),
            className="control switch",
        ),
    ]
    place = opened_place(opened_panel(found, state), _PANEL)
    return html.Div([bound(PAGE, state, controls, _content(state)), place])


def _content(state: Chosen) -> list[Any]:
    found = current_store()
    folder = found.folder(state.experiment, PAGE)
    if not any((folder / name).exists() for name in ("results.parquet", "results.json")):
        line = f"snakemake --profile cpu uncertainty --config experiments={state.experiment}"
        return [empty_box("This study has no results yet.", line)]
    return [
        guarded("count", lambda: _count(found, state)),
        html.Div(
            [
                card("Probe margin and entropy", lambda: margin_card(found, state)),
                card("Semantic entropy and its probe", lambda: entropy_card(found, state)),
                card("Map of hidden states", lambda: map_card(found, state)),
                card("Probe by layer and position", lambda: heatmap_card(found, state)),
            ],
            className="cards",
        ),
        card("Runs", lambda: _table(found, state)),
        card("What the scores achieve", lambda: records_card(found, state)),
        lines_control(state),
        html.Div(
            [card(title, lambda name=name: curve_card(found, state, name)) for name, (title, _) in CURVES.items()],
            className="cards",
        ),
        card("Data sets", lambda: datasets_card(found, state)),
    ]


def _count(found: Store, state: Chosen) -> html.P | None:
    """How many runs the filters leave, and which are meant."""
    if no_table(found, state) is not None:
        return None
    rows = runs_of(found, state)
    questions = rows.select(pl.struct("dataset", "prompt_id").n_unique()).item() if rows.height else 0
    graded = dict(rows["correct"].value_counts().iter_rows())
    grades = {"correct": True, "wrong": False, "not graded": None}
    shares = ", ".join(f"{graded.get(value, 0):,} {name}" for name, value in grades.items())
    return html.P(
        [
            html.Strong(f"{rows.height:,} runs of {questions:,} questions"),
            f": {shares}. {_COUNTED[state.which]} Click a point, draw a box or a lasso around points, or tick rows "
            "of the table to open runs.",
        ],
        className="note",
        id=f"{PAGE}-count",
    )


def _table(found: Store, state: Chosen) -> Any:
    if (nothing := no_table(found, state)) is not None:
        return nothing
    # Read now, so that a broken file is an error on this card and not of the grid's own asking.
    grid_rows(found, state)
    return html.Div(
        [
            grid(_GRID, grid_columns(state), label="runs", key="key", several=True),
            download_links("uncertainty-runs", query_of(replace(state, runs=()))),
        ]
    )


def _rows(request: Any, query: str) -> Any:
    """The rows of the table that are in view."""
    if request is None:
        return no_update
    state = from_query(Chosen, query)
    return slice_of(grid_rows(current_store(), state), grid_columns(state), "key", request)


def _show(runs: list[str] | None, query: str, picked: Mapping[str, Any] | None) -> Any:
    """The runs that are opened now."""
    return opened_panel(current_store(), _with_runs(query, runs), picked)


def _ring(runs: list[str] | None, query: str) -> Any:
    """Rings around them in the scatters that are drawn."""
    names = [one["id"]["scatter"] for one in ctx.outputs_list]
    return ring_patches(current_store(), _with_runs(query, runs), names)


def _with_runs(query: str, runs: list[str] | None) -> Chosen:
    return replace(from_query(Chosen, query), runs=tuple(runs or ()))
