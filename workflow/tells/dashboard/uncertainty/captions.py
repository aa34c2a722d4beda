"""Figures of the uncertainty page below their captions, readable on narrow screens."""

from __future__ import annotations

import textwrap
from html import unescape
from typing import Any

import plotly.graph_objects as go
from dash import html

from tells.dashboard import components

# Characters of an axis title that 390 pixels hold, and pixels that a further line of it takes.
_AXIS, _LINE = 42, 18
_TOP = 24


def captioned(figure: go.Figure, name: str, identifier: Any = None) -> html.Figure | html.P:
    """A figure below its caption; one that has nothing to show is its reason alone.

    Args:
        figure: of `tells.report.figures`, which loses its title: a copy of very many points would take its time.
        name: of the image that a reader saves.
        identifier: of the graph, for callbacks; the name where there is none.
    """
    title = _text(figure.layout.title.text)
    if not figure.data:
        said = " ".join(_text(one.text) for one in figure.layout.annotations)
        return html.P([html.Strong(f"{title}. "), said], className="note")
    basis = _text(figure.layout.title.subtitle.text)
    figure.layout.title = None
    _wrap(figure)
    graph = components.figure(figure, identifier=identifier or name, name=name)
    return html.Figure([html.Figcaption([html.Strong(title), html.Br(), basis]), graph], className="captioned")


def _wrap(figure: go.Figure) -> None:
    """Break the titles of the axes where a telephone would cut them off."""
    more = {"x": 0, "y": 0}
    for axis, name in ((figure.layout.xaxis, "x"), (figure.layout.yaxis, "y")):
        title = axis.title.text or ""
        lines = textwrap.wrap(title, _AXIS, break_long_words=False, break_on_hyphens=False) or [""]
        axis.title.text = "<br>".join(lines)
        more[name] = _LINE * (len(lines) - 1)
    margin = {"t": _TOP, "r": 20, "b": (figure.layout.margin.b or 0) + more["x"], "l": 60 + more["y"]}
    figure.update_layout(margin=margin)


def _text(drawn: str | None) -> str:
    """What Plotly would draw, as plain text."""
    return unescape((drawn or "").replace("<br>", " "))
