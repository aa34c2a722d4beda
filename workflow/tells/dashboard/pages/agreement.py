"""The agreement: all signals of all studies side by side, any two of them, and the samples on which they disagree."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import dash
from dash import ALL, ClientsideFunction, Input, Output, Patch, State, ctx, dcc, html, no_update

from tells.dashboard.agreement.cards import TABLE_GRID, answered, conclusions
from tells.dashboard.agreement.opened import OPENED, opened_cards
from tells.dashboard.agreement.pair_cards import cards as pair_cards
from tells.dashboard.agreement.pair_cards import controls as pair_controls
from tells.dashboard.agreement.pairs import pair_of
from tells.dashboard.agreement.records import COLUMNS, choices_of, table_rows
from tells.dashboard.agreement.state import FACTS, PAGE, RESULTS, SIGNALS, TABLE, Chosen
from tells.dashboard.binding import bind, bound, choice, held, held_id
from tells.dashboard.components import address, empty_box, page
from tells.dashboard.grid import slice_of
from tells.dashboard.store import Store, current_store
from tells.dashboard.studies import experiments_of, study_page
from tells.dashboard.urls import from_query
from tells.report.figures.agreement_pairs import ring
from tells.tables import TableError

_SCATTER = {"page": PAGE, "scatter": ALL}
_LISTS = {"agreement-grid": ALL}
_CLOSE = {"agreement-close": ALL}
_NO_ROWS = {"rowData": [], "rowCount": 0}


def register(app: dash.Dash) -> None:
    """Give the app this page."""
    dash.register_page(PAGE, path="/agreement", name="Agreement", title="Tells: agreement", order=4, layout=_layout)
    bind(app, PAGE, Chosen, _content)
    rendered, opened = State(f"{PAGE}-rendered", "data"), Input(held_id(PAGE, "sample"), "data")
    app.callback(Output(TABLE_GRID, "getRowsResponse"), Input(TABLE_GRID, "getRowsRequest"), rendered)(_rows)
    app.clientside_callback(
        ClientsideFunction("agreement", "open"),
        Output(held_id(PAGE, "sample"), "data"),
        Output(_LISTS, "deselectAll"),
        Output(_SCATTER, "clickData"),
        Input(_LISTS, "selectedRows"),
        Input(_SCATTER, "clickData"),
        Input(_CLOSE, "n_clicks"),
        prevent_initial_call=True,
    )
    app.callback(Output(OPENED, "children"), opened, rendered, prevent_initial_call=True)(_show)
    app.callback(Output(_SCATTER, "figure"), opened, rendered, prevent_initial_call=True)(_ring)
    app.clientside_callback(
        ClientsideFunction("tells", "reveal"),
        Output(OPENED, "data-revealed"),
        Input(OPENED, "children"),
        State(OPENED, "id"),
        prevent_initial_call=True,
    )


def _layout(**query: Any) -> html.Main:
    """The page."""
    state, found = from_query(Chosen, query), current_store()
    if state.experiment in found.experiments() and state.experiment not in experiments_of(found, PAGE):
        return page(
            f"Agreement: {state.experiment}",
            empty_box(f"{state.experiment} has no agreement between its studies yet.", _command(state.experiment)),
            html.P(["See ", dcc.Link("what there is", href=address(""))]),
        )
    first = next(iter(found.experiments()), None)
    command = "snakemake --profile cpu agreement" if first is None else _command(first)
    return study_page(PAGE, "Agreement", state, _build, command=command)


def _command(experiment: str) -> str:
    return f"snakemake --profile cpu agreement --config experiments={experiment}"


def _build(found: Store, state: Chosen) -> html.Div:
    known = choices_of(found, state)
    controls = [
        held(PAGE, "experiment", state.experiment),
        choice(PAGE, "study", "Study", known["study"], state.study, none="all studies"),
        choice(PAGE, "collection", "Collection", known["collection"], state.collection, none="all collections"),
        choice(PAGE, "outcome", "Outcome", known["outcome"], state.outcome, none="all outcomes"),
        choice(PAGE, "signals", "Signals (none: all)", known["signals"], state.signals, several=True),
        held(PAGE, "sample", state.sample),
    ]
    opened = html.Div(opened_cards(found, state), id=OPENED)
    return html.Div([bound(PAGE, state, controls, _content(state)), opened])


def _content(state: Chosen) -> list[Any]:
    found = current_store()
    folder = found.folder(state.experiment, PAGE)
    if not any((folder / name).exists() for name in (RESULTS, TABLE, SIGNALS, FACTS)):
        return [empty_box("The agreement has no results yet.", _command(state.experiment))]
    return [
        *conclusions(found, state),
        *answered(found, state),
        pair_controls(found, state),
        *pair_cards(found, state),
    ]


def _rows(request: Any, query: str) -> Any:
    """The rows of the one table that are in view."""
    if request is None:
        return no_update
    try:
        rows = table_rows(current_store(), from_query(Chosen, query))
    except (LookupError, TableError):
        # The card says why; a table that was drawn before the file broke is emptied.
        return _NO_ROWS
    return slice_of(rows, COLUMNS, "key", request)


def _show(sample: str, query: str) -> list[Any]:
    return opened_cards(current_store(), replace(from_query(Chosen, query), sample=sample or ""))


def _ring(sample: str, query: str) -> list[Any]:
    """A ring around the opened sample in the scatter that is drawn."""
    if not ctx.outputs_list:
        return []
    state = from_query(Chosen, query)
    try:
        pair = pair_of(current_store(), state)
    except (LookupError, TableError):
        # The card of the scatter says why.
        return [no_update] * len(ctx.outputs_list)
    patches = []
    for _ in ctx.outputs_list:
        patch = Patch()
        for axis, places in ring(pair.rows, sample or "", pair.x["name"], pair.y["name"]).items():
            patch["data"][0][axis] = places
        patches.append(patch)
    return patches
