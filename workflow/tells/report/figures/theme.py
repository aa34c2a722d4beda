"""What all figures share: colours that colour-blind readers tell apart, layout, bands, and the figure of nothing.

Values go into figures as plain lists, with None where a table has null, so that a figure's JSON is as readable as its
table.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import plotly.graph_objects as go

# Okabe and Ito, Color Universal Design (2008).
BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, VERMILION, PURPLE = (
    "#000000",
    "#E69F00",
    "#56B4E9",
    "#009E73",
    "#F0E442",
    "#0072B2",
    "#D55E00",
    "#CC79A7",
)
# Yellow is too pale for lines on white.
PALETTE = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY, BLACK)
# Told apart without any colour, too.
DASHES = ("solid", "dash", "dot", "dashdot")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star", "triangle-down")
SCALE = ("#FFFFFF", SKY, BLUE)
# Characters a line that 700 pixels hold.
_SUBTITLE, _REASON = 90, 70
# An axis of no more steps than this has a tick at each.
_FEW_STEPS = 20
_FONT = {"family": "system-ui, -apple-system, 'Segoe UI', sans-serif", "size": 13, "color": "#222222"}


def new_figure(title: str, *, subtitle: str, x: str, y: str) -> go.Figure:
    """A figure without traces.

    Args:
        title: what is shown.
        subtitle: what it rests on: numbers of prompts and traces, window, what is left out.
        x: title of the axis, with its unit.
        y: title of the axis, with its unit.
    """
    lines = textwrap.wrap(subtitle, _SUBTITLE)
    figure = go.Figure()
    figure.update_layout(
        template="plotly_white",
        font=_FONT,
        title={
            "text": title,
            "subtitle": {"text": "<br>".join(lines)},
            "y": 1,
            "yref": "container",
            "yanchor": "top",
            "pad": {"t": 16},
        },
        xaxis={"title": {"text": x, "font": {"size": _FONT["size"]}}},
        yaxis={"title": {"text": y, "font": {"size": _FONT["size"]}}},
        # Of the whole figure, not of the plot: in a low figure it would otherwise lie on the title of the axis.
        legend={"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom"},
        margin={"l": 70, "r": 30, "t": 60 + 18 * len(lines), "b": 70},
    )
    return figure


def nothing_to_show(title: str, reason: str) -> go.Figure:
    """A figure that says why it is empty.

    Args:
        title: what would be shown.
        reason: why it is not.
    """
    figure = go.Figure()
    figure.update_layout(template="plotly_white", font=_FONT, title={"text": title})
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
    text = "<br>".join(textwrap.wrap(f"nothing to show: {reason}", _REASON))
    figure.add_annotation(text=text, showarrow=False, x=0.5, y=0.5, xref="paper", yref="paper")
    return figure


def whole_steps(figure: go.Figure, most: int) -> None:
    """Ticks at whole numbers alone, on an axis that counts up to `most`."""
    if most <= _FEW_STEPS:
        figure.update_xaxes(dtick=1)


def faded(colour: str, opacity: float) -> str:
    """A hexadecimal colour with an opacity between 0 and 1."""
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, {opacity:g})"


def band(x: Sequence[float], low: Sequence[float | None], high: Sequence[float | None], colour: str, group: str) -> Any:
    """A filled band behind a line of the same legend group, interrupted at places without both ends.

    Args:
        x: [points] rising.
        low: [points] lower ends.
        high: [points] upper ends.
        colour: of the line.
        group: its legend group.
    """
    places: list[float | None] = []
    edge: list[float | None] = []
    for known, run in groupby(zip(x, low, high, strict=True), key=lambda point: None not in point):
        if known:
            points = list(run)
            gap = [None] if places else []
            places += [*gap, *(place for place, _, _ in points), *(place for place, _, _ in reversed(points))]
            edge += [*gap, *(lower for _, lower, _ in points), *(upper for _, _, upper in reversed(points))]
    return go.Scatter(
        x=places,
        y=edge,
        fill="toself",
        fillcolor=faded(colour, 0.15),
        # So that a band over a single place is seen, and each of several that overlap.
        line={"width": 1, "color": faded(colour, 0.3)},
        mode="lines",
        hoverinfo="skip",
        legendgroup=group,
        showlegend=False,
        name=f"{group}, band",
    )


def error_bars(estimate: float, low: float | None, high: float | None) -> Mapping[str, Any] | None:
    """Plotly's error bars of one point; None without an interval."""
    if low is None or high is None:
        return None
    return {"type": "data", "symmetric": False, "array": [high - estimate], "arrayminus": [estimate - low]}
