"""A run's text with its tokens shaded by a number each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dash import html


def token_texts(text: str, ends: Sequence[int]) -> list[str]:
    """The piece of the text that each token adds; empty for one that adds none, such as EOS.

    Args:
        text: of the run.
        ends: [tokens] characters of the text after each token.
    """
    starts = [0, *ends]
    return [text[start:end] for start, end in zip(starts, ends, strict=False)]


def shaded(
    pieces: Sequence[str],
    values: Sequence[float | None],
    *,
    low: float,
    high: float,
    what: str,
    cut: int | None = None,
    cut_words: str = "",
) -> html.Div:
    """Tokens one after the other, the darker the nearer to `high`.

    Args:
        pieces: [tokens] texts.
        values: [tokens] numbers; None is left unshaded.
        low: where shading begins.
        high: where it is full; may lie below `low`.
        what: the number with its unit, for the scale and for who points at a token.
        cut: a token before which a line is drawn.
        cut_words: what the line means.
    """
    spans: list[Any] = []
    for place, (piece, value) in enumerate(zip(pieces, values, strict=True)):
        if place == cut:
            spans.append(html.Strong(f" ⟨{cut_words}⟩ ", className="cut"))
        if piece:
            spans.append(_span(piece, value, low, high, what))
    return html.Div([_scale(low, high, what), html.Div(spans, className="tokens")])


def _span(piece: str, value: float | None, low: float, high: float, what: str) -> html.Span:
    if value is None:
        return html.Span(piece, title=f"{what}: none")
    strength = _share(value, low, high)
    return html.Span(piece, title=f"{what}: {value:.3f}", className=f"shade s{round(10 * strength)}")


def _share(value: float, low: float, high: float) -> float:
    if low == high:
        return 0.0
    return min(1.0, max(0.0, (value - low) / (high - low)))


def _scale(low: float, high: float, what: str) -> html.P:
    steps = [
        html.Span("\u00a0\u00a0", className=f"shade s{step}", **{"aria-hidden": "true"}) for step in range(0, 11, 2)
    ]
    return html.P([f"{what}: {low:.2f} ", *steps, f" {high:.2f}"], className="scale")
