"""Words that figures of judged texts share: plain text where Plotly would read tags, who judged, and intervals."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

_OFFLINE = "exemplar"
_PLAIN = str.maketrans({"$": "&#36;", "{": "&#123;"})


def plain(text: object) -> str:
    """A text as Plotly shows it unchanged: names and reasons come from files.

    Plotly reads some HTML tags, fields of templates (`%{x}`) and formulas (`$x$`) in every text it draws.
    """
    return html.escape(str(text), quote=False).translate(_PLAIN)


def judged_by(judge: Mapping[str, Any] | None) -> str:
    """Who gave the scores; the offline judge is named as such.

    Args:
        judge: `judge` in the metadata of a judged table or of results.json; None where nobody judged.
    """
    if not judge:
        return "nobody judged"
    model = plain(judge["model"])
    if judge["provider"] == _OFFLINE:
        return f"offline judge ({model}, likeness to exemplar sentences: for ranking, not for fine measures)"
    return f"judge: {plain(judge['provider'])} ({model})"


def bracketed(value: float | None, low: float | None, high: float | None, digits: int = 2) -> str:
    """`0.81 [0.74, 0.88]`, with `[–]` where there is no interval; a dash where there is no value."""
    if value is None:
        return "–"
    if low is None or high is None:
        return f"{value:.{digits}f} [–]"
    return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def number(value: float | None, digits: int = 1) -> str:
    """A value, or a dash."""
    return "–" if value is None else f"{value:.{digits}f}"


def span(counts: Sequence[int]) -> str:
    """`6`, or `4–6` where the counts differ; 0 of none."""
    low, high = min(counts, default=0), max(counts, default=0)
    return f"{low}" if low == high else f"{low}–{high}"
