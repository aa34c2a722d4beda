"""The traits study: what was vetted and why it failed, the vectors, what steering does, and texts along a vector."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import Any

import dash
from dash import ClientsideFunction, Input, Output, State, dcc, html, no_update

from tells.dashboard.binding import bind, bound, choice, held, held_id
from tells.dashboard.components import card, empty_box
from tells.dashboard.store import Store, current_store
from tells.dashboard.studies import study_page
from tells.dashboard.traits import steering as traits_steering
from tells.dashboard.traits import texts as traits_texts
from tells.dashboard.traits import vectors as traits_vectors
from tells.dashboard.traits import vetting_cards as traits_vetting_cards
from tells.dashboard.traits.answers import answer_pairs
from tells.dashboard.traits.grid import answer
from tells.dashboard.traits.runs import run_rows
from tells.dashboard.traits.state import PAGE, Chosen, Section, traits_of, with_trait
from tells.dashboard.traits.summary import summary
from tells.dashboard.traits.vetting import vetting_rows
from tells.dashboard.urls import from_query
from tells.tables import TableError

_SECTIONS: dict[Section, tuple[str, ModuleType]] = {
    "vetting": ("Vetting", traits_vetting_cards),
    "vectors": ("Vectors", traits_vectors),
    "steering": ("Steering", traits_steering),
    "texts": ("Texts along a vector", traits_texts),
}
# Fields whose controls stand within a section: kept, while another section is shown.
_OF_SECTION = {
    "vetting": ("every", "pole", "failure", "words"),
    "vectors": ("metric", "part", "method", "layer"),
    "steering": ("condition", "question"),
    "texts": ("file", "vector", "scale"),
}
_OPENED = ("row", "pair", "run")
_NO_ROWS = ({"rowData": [], "rowCount": 0}, no_update)


def register(app: dash.Dash) -> None:
    """Give the app this page."""
    dash.register_page(PAGE, path="/traits", name="Traits", title="Tells: traits", order=2, layout=_layout)
    bind(app, PAGE, Chosen, _content)
    for browser, rows in (
        (traits_vetting_cards.BROWSER, _vetting),
        (traits_steering.BROWSER, _answers),
        (traits_texts.BROWSER, _runs),
    ):
        app.callback(
            Output(browser.identifier, "getRowsResponse"),
            Output(held_id(PAGE, "sort"), "data", allow_duplicate=True),
            Input(browser.identifier, "getRowsRequest"),
            State(f"{PAGE}-rendered", "data"),
            State(held_id(PAGE, "sort"), "data"),
            prevent_initial_call=True,
        )(rows)
        app.callback(
            Output(held_id(PAGE, browser.field), "data"),
            Input(browser.identifier, "selectedRows"),
            prevent_initial_call=True,
        )(_choose)
        app.clientside_callback(
            ClientsideFunction("tells", "near"),
            Output(f"{PAGE}-opened", "data-shown", allow_duplicate=True),
            Input(held_id(PAGE, browser.field), "data"),
            State(f"{PAGE}-opened", "id"),
            prevent_initial_call=True,
        )
        app.callback(
            Output(f"{browser.source}-links", "children"), Input(f"{PAGE}-address", "data"), prevent_initial_call=True
        )(lambda query, browser=browser: browser.links(from_query(Chosen, query)))
    app.callback(
        Output(f"{PAGE}-opened", "children"),
        Input(f"{PAGE}-rendered", "data"),
        *[Input(held_id(PAGE, field), "data") for field in (*_OPENED, "sort")],
        prevent_initial_call=True,
    )(_reopen)


def _layout(**query: Any) -> html.Main:
    return study_page(PAGE, "Traits", from_query(Chosen, query), _build)


def _build(found: Store, asked: Chosen) -> html.Div:
    names = traits_of(found, asked.experiment)
    if not names:
        line = f"snakemake --profile cpu traits --config experiments={asked.experiment}"
        return html.Div(empty_box("No trait of this experiment has files yet.", line))
    state = with_trait(found, asked)
    controls = [
        choice(PAGE, "trait", "Trait", names, state.trait),
        _sections(state),
        *[held(PAGE, field, getattr(state, field)) for field in ("experiment", *_OPENED, "sort")],
    ]
    unknown = f"There is no trait {asked.trait!r} in {asked.experiment}: {state.trait} is shown."
    return html.Div(
        [
            card("All traits", lambda: summary(found, state)),
            html.P(unknown, className="error", role="alert") if asked.trait not in ("", state.trait) else None,
            bound(PAGE, state, controls, _content(state)),
            html.Div(_opened(found, state), id=f"{PAGE}-opened"),
        ]
    )


def _sections(state: Chosen) -> html.Fieldset:
    options = [{"value": name, "label": words} for name, (words, _) in _SECTIONS.items()]
    items = dcc.RadioItems(id={"page": PAGE, "field": "section"}, options=options, value=state.section, inline=True)
    return html.Fieldset([html.Legend("Shown"), items], className="control switch sections")


def _content(state: Chosen) -> list[Any]:
    found = current_store()
    others = [field for section, own in _OF_SECTION.items() if section != state.section for field in own]
    return [
        *[held(PAGE, field, getattr(state, field)) for field in others],
        *_SECTIONS[state.section][1].cards(found, with_trait(found, state)),
    ]


def _opened(found: Store, state: Chosen) -> Any:
    """What the opened row of the section holds."""
    module = _SECTIONS[state.section][1]
    return module.opened(found, with_trait(found, state)) if hasattr(module, "opened") else None


def _reopen(rendered: str, row: str, pair: str, run: str, sort: list[str]) -> Any:
    state = from_query(Chosen, rendered)
    return _opened(current_store(), replace(state, row=row or "", pair=pair or "", run=run or "", sort=tuple(sort)))


def _vetting(request: Any, query: str, sort: list[str]) -> tuple[Any, Any]:
    state = from_query(Chosen, query)
    return _answered(
        request, sort, lambda found: (vetting_rows(found, state)[0], traits_vetting_cards.columns_of(state))
    )


def _answers(request: Any, query: str, sort: list[str]) -> tuple[Any, Any]:
    state = from_query(Chosen, query)
    return _answered(request, sort, lambda found: (answer_pairs(found, state), traits_steering.COLUMNS))


def _runs(request: Any, query: str, sort: list[str]) -> tuple[Any, Any]:
    state = from_query(Chosen, query)
    return _answered(request, sort, lambda found: (run_rows(found, state), traits_texts.columns_of(found, state)))


def _answered(request: Any, sort: list[str], read: Callable[[Store], tuple[Any, Any]]) -> tuple[Any, Any]:
    """The rows in view, and the table's order where it is a new one."""
    if request is None:
        return no_update, no_update
    try:
        rows, columns = read(current_store())
    except (LookupError, TableError):
        # The card says why; a table that was drawn before the file broke is emptied.
        return _NO_ROWS
    response, order = answer(rows, columns, request)
    return response, no_update if order == sort else order


def _choose(rows: Any) -> Any:
    return rows[0]["key"] if rows else no_update
