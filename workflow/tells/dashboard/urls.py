"""The state of a page in its address: what is chosen there, as `?dataset=sums&probe=accuracy`.

Every page has a frozen dataclass of strings, numbers and tuples of strings. What an address says beside it, or in
another form, is left out, so that an old link still opens the page.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlencode

State = TypeVar("State")
_SEPARATOR = "~"


def to_query(state: Any) -> str:
    """The query of a state, without what is at its default; empty, or beginning with a question mark."""
    chosen = query_of(state)
    return f"?{urlencode(chosen)}" if chosen else ""


def query_of(state: Any) -> dict[str, str]:
    """What the address of a state says, by name."""
    return {
        each.name: _written(value)
        for each in fields(state)
        if (value := getattr(state, each.name)) != _default(each) and value is not None
    }


def from_query(kind: type[State], query: Mapping[str, Any] | str) -> State:
    """The state that an address tells.

    Args:
        kind: the page's dataclass.
        query: values by name, as Dash hands them to a page's layout, or as text with or without its question mark.
    """
    if isinstance(query, str):
        query = dict(parse_qsl(query.removeprefix("?"), keep_blank_values=True))
    hints = typing.get_type_hints(kind)
    found = {}
    for each in fields(kind):  # type: ignore[arg-type]
        raw = query.get(each.name)
        if isinstance(raw, list):
            raw = raw[-1] if raw else None
        if isinstance(raw, str) and (value := _read(hints[each.name], raw)) is not None:
            found[each.name] = value
    return kind(**found)


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return "1" if value else "0"
    return _SEPARATOR.join(value) if isinstance(value, tuple) else str(value)


def _read(hint: Any, raw: str) -> Any:
    """A value of the type that is wanted; None where the text has none."""
    options = [each for each in typing.get_args(hint) if each is not type(None)]
    if isinstance(hint, types.UnionType) and len(options) == 1:
        hint = options[0]
    if typing.get_origin(hint) is typing.Literal:
        return raw if raw in typing.get_args(hint) else None
    if typing.get_origin(hint) is tuple:
        return tuple(part for part in raw.split(_SEPARATOR) if part)
    if hint is bool:
        return {"1": True, "0": False}.get(raw)
    if hint in (int, float):
        try:
            number = hint(raw)
        except ValueError:
            return None
        return number if abs(number) < float("inf") else None
    return raw


def _default(each: Field) -> Any:
    if each.default is not MISSING:
        return each.default
    return each.default_factory() if each.default_factory is not MISSING else None
