"""A text along a trait's vector: one point a token."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from tells.report.figures.texts import number, plain
from tells.report.figures.theme import BLACK, BLUE, new_figure, nothing_to_show

__all__ = ["token_projections"]


def token_projections(
    pieces: Sequence[str | None], values: Sequence[float], *, mean: float | None, vector: str
) -> go.Figure:
    """The projection of each generated token, and their mean over the response.

    Args:
        pieces: [tokens] what each adds to the text; None for one that is not to be shown.
        values: [tokens] projections h·v.
        mean: over the response, as the file has it; None for no line.
        vector: the trait, method and layer, in words.
    """
    title = f"projection of each token on {plain(vector)}"
    if not values:
        return nothing_to_show(title, "the text has no token")
    figure = new_figure(
        title,
        subtitle=f"n = {len(values)} generated tokens of one text, EOS included; no split, no intervals: each point is "
        f"one state; line: mean over the response, {number(mean, 2)}",
        x="generated token",
        y="projection h·v",
    )
    places = list(range(len(values)))
    figure.add_trace(
        go.Scatter(
            x=places,
            y=list(values),
            mode="lines+markers",
            line={"color": BLUE, "width": 1.5},
            marker={"size": 6},
            hovertext=[_text(*one) for one in zip(places, pieces, values, strict=True)],
            hoverinfo="text",
            name="token",
        )
    )
    if mean is not None:
        figure.add_hline(y=mean, line={"dash": "dash", "width": 1.5, "color": BLACK})
    figure.update_layout(showlegend=False)
    return figure


def _text(place: int, piece: str | None, value: float) -> str:
    shown = f" “{plain(piece.replace(chr(10), '⏎'))}”" if piece else ""
    return f"token {place}{shown}<br>h·v {number(value, 2)}"
