"""A run's text with its tokens shaded by a number each, drawn in the browser from one element a text.

Dash takes seconds for some thousand components, and a thought has as many tokens; assets/tokens.js makes plain text
nodes of them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from dash import html

from tells.dashboard.components import veil


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
    veiled: bool = False,
) -> html.Div:
    """Tokens one after the other, the darker the nearer to `high`, below the scale of the shades.

    Args:
        pieces: [tokens] texts.
        values: [tokens] numbers; None is left unshaded.
        low: where shading begins.
        high: where it is full; may lie below `low`.
        what: the number with its unit, for the scale and for who points at a token.
        cut: a token before which a mark is set, the number of tokens for one after the last; None for no mark.
        cut_words: what the mark means.
        veiled: blur the tokens until the reader asks for them; the scale stays as it is.

    Raises:
        ValueError: the lengths differ.
    """
    if len(pieces) != len(values):
        raise ValueError(f"{len(pieces)} tokens and {len(values)} numbers: each token needs one, or None")
    told = {
        "pieces": list(pieces),
        "values": [None if value is None else round(value, 4) for value in values],
        **{"low": low, "high": high, "what": what, "cut": cut, "words": cut_words},
    }
    shades = [html.Span("\u00a0\u00a0", className=f"shade s{step}", **{"aria-hidden": "true"}) for step in (0, 5, 10)]
    scale = html.P([f"{what}: {low:.2f} ", *shades, f" {high:.2f}"], className="scale")
    tokens = html.Div(className="tokens", **{"data-tokens": json.dumps(told, ensure_ascii=False)})
    return html.Div([scale, veil(tokens) if veiled else tokens])
