"""The safety study: is unsure compliance riskier, what does early stopping change, and every trace behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import dash
import polars as pl
from dash import ALL, ClientsideFunction, Input, Output, State, dcc, html, no_update

from tells.dashboard.binding import bind, bound, choice, held, held_id, search
from tells.dashboard.components import address, card, empty_box, error_box
from tells.dashboard.downloads import download_links, row_source
from tells.dashboard.grid import grid, slice_of
from tells.dashboard.safety.cards import conclusions, distributions, missing, stopping
from tells.dashboard.safety.prompt import opened_cards
from tells.dashboard.safety.rows import (
    PROMPT_COLUMNS,
    TRACE_COLUMNS,
    benchmarks_of,
    categories_of,
    listed_prompts,
    listed_traces,
    trace_rows,
)
from tells.dashboard.safety.state import CELLS, KINDS, NO_CELL, PAGE, UNLABELLED, Chosen, cell_name
from tells.dashboard.store import Store, current_store
from tells.dashboard.studies import study_page
from tells.dashboard.urls import from_query, query_of
from tells.tables import TableError

_LISTS = {"prompts": (PROMPT_COLUMNS, "prompt_id", listed_prompts), "traces": (TRACE_COLUMNS, "key", listed_traces)}
_NEEDED = ("prompts.parquet", "reply_labels.parquet", "confidence.parquet", "strata.parquet")


def register(app: dash.Dash) -> None:
    """Give the app this page."""
    dash.register_page(PAGE, path="/safety", name="Safety", title="Tells: safety", order=3, layout=_layout)
    bind(app, PAGE, Chosen, _content)
    experiment = State(held_id(PAGE, "experiment"), "data")
    app.callback(
        Output(_field("category"), "options"),
        Output(_field("category"), "value"),
        Input(_field("benchmark"), "value"),
        State(_field("category"), "value"),
        experiment,
        prevent_initial_call=True,
    )(_follow_benchmark)
    for name in _LISTS:
        app.callback(
            Output(_grid_id(name), "getRowsResponse"),
            Input(_grid_id(name), "getRowsRequest"),
            State(f"{PAGE}-rendered", "data"),
        )(_rows_of(name))
    app.callback(Output(_field("cell"), "value"), Input("safety-cells", "clickData"), prevent_initial_call=True)(
        _choose_cell
    )
    app.clientside_callback(
        ClientsideFunction("safety", "open"),
        Output(held_id(PAGE, "prompt"), "data"),
        Output(held_id(PAGE, "every"), "data"),
        Output({"safety-grid": ALL}, "deselectAll"),
        Input({"safety-grid": ALL}, "selectedRows"),
        Input({"safety-open": ALL}, "n_clicks"),
        State(f"{PAGE}-rendered", "data"),
        prevent_initial_call=True,
    )
    app.callback(
        Output("safety-opened", "children"),
        Input(held_id(PAGE, "prompt"), "data"),
        Input(held_id(PAGE, "every"), "data"),
        experiment,
        prevent_initial_call=True,
    )(_show_opened)
    for changed, shown in (
        (("safety-opened", "children"), "safety-opened"),
        (("safety-cells", "clickData"), "safety-lists"),
    ):
        app.clientside_callback(
            ClientsideFunction("tells", "reveal"),
            Output(shown, "data-revealed"),
            Input(*changed),
            State(shown, "id"),
            prevent_initial_call=True,
        )


def _layout(**query: Any) -> html.Main:
    """The page."""
    return study_page(PAGE, "Safety", from_query(Chosen, query), _build)


def _build(found: Store, state: Chosen) -> html.Div:
    names = benchmarks_of(found, state.experiment)
    if not names:
        command = f"snakemake --profile cpu {PAGE} --config experiments={state.experiment}"
        return empty_box("This study has no benchmark yet.", command)
    wanted = state.benchmark or names[0]
    if wanted not in names:
        links = [
            html.Li(dcc.Link(name, href=address(PAGE, {"experiment": state.experiment, "benchmark": name})))
            for name in names
        ]
        return html.Div([error_box(LookupError(f"There is no benchmark {wanted!r} here. See:")), html.Ul(links)])
    state = replace(state, benchmark=wanted)
    labels = ("harmful", "benign", UNLABELLED)
    controls = [
        held(PAGE, "experiment", state.experiment),
        choice(PAGE, "benchmark", "Benchmark", names, state.benchmark),
        choice(PAGE, "label", "Prompts", {name: f"{name} prompts" for name in labels}, state.label, none="all prompts"),
        choice(PAGE, "category", "Category", _categories(found, state), state.category, none="all categories"),
        choice(PAGE, "kind", "Confidence", KINDS, state.kind, none="as the cells are cut"),
        held(PAGE, "prompt", state.prompt),
        held(PAGE, "every", state.every),
    ]
    opened = html.Div(opened_cards(found, state), id="safety-opened")
    return html.Div([bound(PAGE, state, controls, _content(state)), opened])


def _categories(found: Store, state: Chosen) -> list[str]:
    """Categories to choose from; that of the address stands among them, even where no prompt has it."""
    try:
        names = categories_of(found, state.experiment, state.benchmark)
    except TableError:
        # The lists below say what is wrong with the file; without it there is nothing to choose.
        names = []
    return names if not state.category or state.category in names else [*names, state.category]


def _content(state: Chosen) -> list[Any]:
    found = current_store()
    return [
        _count(found, state),
        *conclusions(found, state),
        distributions(found, state),
        *stopping(found, state),
        html.Div(
            _list_controls(state), className="controls", id="safety-lists", role="group", **{"aria-label": "Lists"}
        ),
        card("Prompts", lambda: _list(found, state, "prompts")),
        card("Traces", lambda: _list(found, state, "traces")),
    ]


def _count(found: Store, state: Chosen) -> html.P:
    """How many traces the filters leave."""
    try:
        rows = trace_rows(found, state)
    except (TableError, LookupError):
        # The lists below say which file it is.
        return html.P("traces unknown: a file is absent or broken", className="note", id="safety-count")
    words = f"{rows.height:,} traces of {rows['prompt_id'].n_unique():,} prompts"
    return html.P(words, className="note", id="safety-count")


def _list_controls(state: Chosen) -> list[Any]:
    cells = {name: cell_name(name) for name in CELLS} | {NO_CELL: "in no cell"}
    return [
        choice(PAGE, "cell", "Cell of the listed traces", cells, state.cell, none="every cell"),
        choice(PAGE, "harm", "Harm", ("harmful", "unharmful", "unscored"), state.harm, none="any"),
        search(PAGE, "find", "Words in the prompt or its id", state.find),
    ]


def _list(found: Store, state: Chosen, name: str) -> html.Div:
    absent = missing(found, state, _NEEDED)
    if absent is not None:
        return absent
    columns, key, rows_of = _LISTS[name]
    rows = rows_of(found, state)
    words = {
        "prompts": "prompts with a listed trace; counts are of all their traces",
        "traces": f"traces of {rows['prompt_id'].n_unique():,} prompts; scores are those of the answer",
    }[name]
    return html.Div(
        [
            html.P(
                f"{rows.height:,} {words}. Click a row to open its prompt.", className="note", id=f"safety-{name}-count"
            ),
            grid(_grid_id(name), columns, label=name, key=key),
            download_links(f"{PAGE}-{name}", query_of(state)),
        ]
    )


@row_source(f"{PAGE}-prompts")
def _download_prompts(found: Store, query: Mapping[str, str]) -> pl.DataFrame:
    return listed_prompts(found, from_query(Chosen, query))


@row_source(f"{PAGE}-traces")
def _download_traces(found: Store, query: Mapping[str, str]) -> pl.DataFrame:
    return listed_traces(found, from_query(Chosen, query)).drop("key")


def _rows_of(name: str) -> Any:
    columns, key, rows_of = _LISTS[name]

    def rows(request: Any, query: str) -> Any:
        if request is None:
            return no_update
        return slice_of(rows_of(current_store(), from_query(Chosen, query)), columns, key, request)

    return rows


def _follow_benchmark(benchmark: str, category: str, experiment: str) -> tuple[Any, Any]:
    """The categories of another benchmark; one that it does not have is chosen no more."""
    names = _categories(current_store(), Chosen(experiment=experiment, benchmark=benchmark))
    options = [{"value": "", "label": "all categories"}, *({"value": name, "label": name} for name in names)]
    return options, category if category in names else ""


def _choose_cell(clicked: Any) -> Any:
    """The cell that was clicked in the figure."""
    if not clicked:
        return no_update
    point = clicked["points"][0]
    cell = f"{point['x']}_{point['y']}"
    return cell if cell in CELLS else no_update


def _show_opened(prompt: str, every: bool, experiment: str) -> list[Any]:
    return opened_cards(current_store(), Chosen(experiment=experiment, prompt=prompt or "", every=bool(every)))


def _grid_id(name: str) -> dict[str, str]:
    return {"safety-grid": name}


def _field(name: str) -> dict[str, str]:
    """Identifier of a control, as `binding` gives it."""
    return {"page": PAGE, "field": name}
