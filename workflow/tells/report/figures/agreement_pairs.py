"""Any two signals of the agreement against each other: a point a sample, coloured by an outcome.

Every point carries the key of its sample in the column `key`, so that a click can open it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
import polars as pl

from tells.report.agreement_words import signal_words
from tells.report.figures.texts import plain
from tells.report.figures.theme import BLACK, BLUE, SYMBOLS, VERMILION, new_figure, nothing_to_show
from tells.report.figures.uncertainty import MOST_POINTS, thinned

Signal = Mapping[str, Any]
_GREY = "#8A8A8A"
_COLOURS = {True: BLUE, False: VERMILION, None: _GREY}
CLASSES: dict[str, dict[bool | None, str]] = {
    "correct": {True: "correct", False: "wrong", None: "not graded"},
    "refused": {True: "refused", False: "complied", None: "unclear"},
    "harmful": {True: "harmful", False: "not harmful", None: "refused, or without a harm label"},
    "shows_trait": {True: "shows the trait", False: "shows its opposite", None: "in between, or without a score"},
}
"""What each class of an outcome is called."""


def class_words(outcome: str | None, value: bool | None) -> str:
    """What a sample is by an outcome; empty where there is no outcome."""
    if outcome is None:
        return ""
    words = CLASSES.get(outcome, {True: outcome, False: f"not {outcome}", None: f"{outcome} unknown"})
    return words[value]


def signal_scatter(
    rows: pl.DataFrame,
    x: Signal,
    y: Signal,
    *,
    collection: str,
    outcome: str | None,
    split: str,
    n_groups: int,
    opened: str = "",
    most: int = MOST_POINTS,
) -> go.Figure:
    """Two signals of every sample that has both.

    Args:
        rows: the samples: `key`, a column of each signal, and one of the outcome.
        x: signal on the horizontal axis: `name`, `unit`, `sureness`.
        y: signal on the vertical axis.
        collection: whose samples they are, for the title.
        outcome: column that colours them; None for one colour.
        split: of the samples, for the subtitle.
        n_groups: of the samples.
        opened: key of the sample with a ring around it.
        most: points; of more samples an even choice is drawn.
    """
    title = plain(f"{collection}: {signal_words(y['name'])} against {signal_words(x['name'])}")
    if rows.is_empty():
        return nothing_to_show(title, "no scored sample has both signals")
    told = f"n = {rows.height:,} samples of {n_groups:,} groups, {split}; values as they stand; a point is a sample"
    if rows.height > most:
        told += f"; {most:,} of them drawn, evenly chosen (the legend counts these)"
    figure = new_figure(title, subtitle=plain(told), x=_axis(x), y=_axis(y))
    figure.add_trace(go.Scattergl(mode="markers", marker=_RING, hoverinfo="skip", showlegend=False, name="opened"))
    figure.data[0].update(ring(rows, opened, x["name"], y["name"]))
    figure.add_traces(_points(thinned(rows, most), x["name"], y["name"], outcome))
    figure.update_layout(showlegend=True)
    return figure


_RING = {"size": 16, "color": BLACK, "symbol": "circle-open", "line": {"width": 2}}


def ring(rows: pl.DataFrame, opened: str, x: str, y: str) -> dict[str, list[float]]:
    """Where the ring around the opened sample stands: lists of one place, or of none.

    Args:
        rows: the samples, as `signal_scatter` has them.
        opened: key of a sample.
        x: column of the horizontal axis.
        y: column of the vertical axis.
    """
    one = rows.filter(pl.col("key") == opened)
    return {"x": one[x].to_list(), "y": one[y].to_list()}


def _axis(signal: Signal) -> str:
    surer = "larger is surer" if signal["sureness"] > 0 else "smaller is surer"
    return plain(f"{signal_words(signal['name'])}, {signal['unit']} ({surer})")


def _points(rows: pl.DataFrame, x: str, y: str, outcome: str | None) -> list[go.Scattergl]:
    """A trace of each class, in its own colour and symbol."""
    if outcome is None:
        return [_trace(rows, x, y, f"samples (n = {rows.height:,})", BLUE, SYMBOLS[0])]
    parts = [(value, rows.filter(pl.col(outcome).eq_missing(value))) for value in (True, False, None)]
    return [
        _trace(part, x, y, f"{class_words(outcome, value)} (n = {part.height:,})", _COLOURS[value], SYMBOLS[place])
        for place, (value, part) in enumerate(parts)
        if part.height
    ]


def _trace(rows: pl.DataFrame, x: str, y: str, name: str, colour: str, symbol: str) -> go.Scattergl:
    return go.Scattergl(
        x=rows[x].to_numpy(),
        y=rows[y].to_numpy(),
        # Objects: Plotly looks at every value of a list several times.
        customdata=rows["key"].to_numpy(),
        text=np.array(_named(rows), dtype=object),
        mode="markers",
        marker={"size": 7, "opacity": 0.7, "color": colour, "symbol": symbol},
        name=plain(name),
        hovertemplate=f"{plain(name)}<br>%{{text}}<br>%{{x:.3f}}, %{{y:.3f}}<extra></extra>",
    )


def _named(rows: pl.DataFrame) -> Sequence[str]:
    """Prompt and number of each sample, as Plotly shows them unchanged."""
    return [plain(f"{prompt}, sample {sample}") for prompt, sample in rows.select("prompt_id", "sample").iter_rows()]
