"""What ties a page's controls to its content and to its address.

A page has one frozen dataclass, its state. Each control is named after a field of it; when one changes, the server
makes the content anew and the address follows, so that whoever opens the address sees the same.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any, TypeVar

from dash import ALL, ClientsideFunction, Dash, Input, Output, State, ctx, dcc, html, no_update

from tells.dashboard.urls import from_query, to_query

Chosen = TypeVar("Chosen")
Children = Any


def choice(
    page: str,
    field: str,
    label: str,
    options: Sequence[str | int] | Mapping[Any, str],
    value: Any,
    *,
    several: bool = False,
    none: str | None = None,
) -> html.Div:
    """A labelled list to choose from.

    Args:
        page: name of the page.
        field: of the page's state; numbers travel as text.
        label: what is chosen.
        options: what there is; a mapping gives the words that are shown.
        value: what is chosen now: one, or a tuple where several may be.
        several: whether more than one may be chosen.
        none: the words for choosing nothing, which the state has as an empty text; without them nothing is no choice.
    """
    shown = options if isinstance(options, Mapping) else {one: str(one) for one in options}
    listed = [{"value": str(key), "label": words} for key, words in shown.items()]
    if none is not None:
        listed.insert(0, {"value": "", "label": none})
    now = [str(one) for one in value] if several else ("" if value is None else str(value))
    identifier = _identifier(page, field)
    control = dcc.Dropdown(
        id=identifier, options=listed, value=now, multi=several, clearable=several, searchable=len(listed) > 8
    )
    # The list names itself by its value alone; the group says what it is of.
    return html.Div(
        [html.Label(label, htmlFor=_element(identifier)), control],
        className="control",
        role="group",
        **{"aria-label": label},
    )


def switch(page: str, field: str, label: str, value: bool) -> html.Div:
    """A box to tick.

    Args:
        page: name of the page.
        field: of the page's state.
        label: what ticking it does.
        value: whether it is ticked.
    """
    box = dcc.Checklist(
        id=_identifier(page, field), options=[{"value": "1", "label": label}], value=["1"] if value else []
    )
    return html.Div(box, className="control switch")


def search(page: str, field: str, label: str, value: str) -> html.Div:
    """A line to type into, taken on Enter or when the reader leaves it.

    Args:
        page: name of the page.
        field: of the page's state.
        label: what is looked for.
        value: what stands there.
    """
    identifier = _identifier(page, field)
    line = dcc.Input(id=identifier, type="text", value=value, debounce=True, maxLength=200)
    return html.Div([html.Label(label, htmlFor=_element(identifier)), line], className="control")


def held(page: str, field: str, value: Any) -> dcc.Store:
    """A field of the state without a control of its own, such as the rows that were clicked; callbacks set its `data`.

    Args:
        page: name of the page.
        field: of the page's state.
        value: what it holds now; a tuple becomes a list.
    """
    return dcc.Store(id=held_id(page, field), data=list(value) if isinstance(value, tuple) else value)


def held_id(page: str, field: str) -> dict[str, str]:
    """Identifier of what `held` made, for callbacks."""
    return {"page": page, "held": field}


def bound(page: str, state: Any, controls: Sequence[Children], content: Children) -> html.Div:
    """The controls and the content that follows them.

    Args:
        page: name of the page.
        state: what the address said.
        controls: made by `choice`, `switch`, `search` and `held`.
        content: made from the state.
    """
    return html.Div(
        [
            html.Form(controls, className="controls", **{"aria-label": "Filters"}),
            dcc.Store(id=f"{page}-rendered", data=to_query(state)),
            dcc.Store(id=f"{page}-address", data=to_query(state)),
            # Only while all of it is made anew: a list that asks for its next rows hides nothing.
            dcc.Loading(
                html.Div(content, id=f"{page}-content"),
                delay_show=400,
                show_initially=False,
                target_components={f"{page}-content": "children"},
                overlay_style={"visibility": "visible", "opacity": 0.5},
            ),
        ]
    )


def bind(app: Dash, page: str, kind: type[Chosen], content: Callable[[Chosen], Children]) -> None:
    """Register what happens when a control of a page changes.

    Args:
        app: the app.
        page: name of the page.
        kind: dataclass of its state.
        content: makes what stands below the controls.
    """

    @app.callback(
        Output(f"{page}-content", "children"),
        Output(f"{page}-rendered", "data"),
        Output(f"{page}-address", "data"),
        Input({"page": page, "field": ALL}, "value"),
        Input({"page": page, "held": ALL}, "data"),
        State(f"{page}-rendered", "data"),
        prevent_initial_call=True,
    )
    def follow(_values: Any, _held: Any, rendered: str) -> tuple[Any, Any, Any]:
        state = _state_of(kind, ctx.inputs_list)
        visible = to_query(_without_held(state, ctx.inputs_list[1]))
        before = from_query(kind, rendered)
        if visible == to_query(_without_held(before, ctx.inputs_list[1])):
            return no_update, no_update, to_query(state)
        return content(state), to_query(state), to_query(state)

    app.clientside_callback(
        ClientsideFunction("tells", "follow"),
        Output(f"{page}-address", "modified_timestamp"),
        Input(f"{page}-address", "data"),
        prevent_initial_call=True,
    )


def _state_of(kind: type[Chosen], inputs: Sequence[Any]) -> Chosen:
    """The state that the controls tell; a field without a control has its default."""
    told: dict[str, str] = {}
    hints = typing.get_type_hints(kind)
    for one in inputs[0]:
        field, value = one["id"]["field"], one.get("value")
        told[field] = _as_text(value, hints[field])
    for one in inputs[1]:
        field, value = one["id"]["held"], one.get("value")
        told[field] = _as_text(value, hints[field])
    return from_query(kind, told)


def _without_held(state: Chosen, inputs: Sequence[Any]) -> Chosen:
    """The state with what is held at its default: such a change leaves the content as it is."""
    names = {one["id"]["held"] for one in inputs}
    kept = {each.name: getattr(state, each.name) for each in fields(state) if each.name not in names}  # type: ignore[arg-type]
    return type(state)(**kept)


def _as_text(value: Any, hint: Any) -> str:
    if hint is bool:
        return "1" if value else "0"
    if isinstance(value, list):
        return "~".join(map(str, value))
    return "" if value is None else str(value)


def _identifier(page: str, field: str) -> dict[str, str]:
    return {"page": page, "field": field}


def _element(identifier: Mapping[str, str]) -> str:
    """The identifier as the browser has it."""
    return "{" + ",".join(f'"{key}":"{identifier[key]}"' for key in sorted(identifier)) + "}"
