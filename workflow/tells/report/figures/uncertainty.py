"""Figures of the uncertainty study's runs: a point a run, by two scores or on the map of hidden states.

Every point carries the key of its run (`uncertainty_keys`), so that a click or a lasso can open the runs. Values are
arrays, which travel as numbers, not as text; of very many runs an even choice is drawn. What scores achieve is in
`tells.report.figures.uncertainty_curves`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
import polars as pl

from tells.report.figures.theme import (
    BLACK,
    BLUE,
    ORANGE,
    PALETTE,
    SYMBOLS,
    VERMILION,
    new_figure,
    nothing_to_show,
)
from tells.report.figures.uncertainty_keys import key_texts
from tells.report.figures.uncertainty_words import MARKED, axis_of, counted, place_of, plain

KEYS = ("dataset", "prompt_id", "sample")
# More points than this cover each other, and are slow to send and to draw.
MOST_POINTS = 20_000
_OPENED = "opened"
_GREY = "#8A8A8A"
# Ever lighter, and never so light as to vanish on white.
_HEAT = ((0.0, "#00204D"), (0.5, "#7C7B78"), (1.0, ORANGE))
_FLAGS = {"correct": {True: "correct", False: "wrong", None: "not graded"}}
_GRADES = {"correct": BLUE, "wrong": VERMILION, "not graded": _GREY}
_NO_VALUE = "no value"


def margin_against_entropy(
    runs: pl.DataFrame,
    *,
    score: str = "accuracy.score",
    entropy: str = "semantic_entropy_raw",
    tau: float | None = None,
    dataset: str | None = None,
    split: str | None = "test",
    most: int = MOST_POINTS,
) -> go.Figure:
    """A score of every run against the semantic entropy of its question, or against any other score.

    Args:
        runs: the study's results table.
        score: its column for the vertical axis.
        entropy: its column for the horizontal axis.
        tau: threshold between low and high entropy in nats, drawn on the horizontal axis; None for no line.
        dataset: whose runs are shown; None for all.
        split: of which split; None for all.
        most: points; of more runs an even choice is drawn.
    """
    title = f"{place_of(dataset, split)}: {_short(score)} against {_short(entropy)}"
    figure = _scatter(runs, title, (entropy, score), dataset, split, most, tau)
    if figure.data and tau is not None:
        figure.add_vline(x=tau, **_threshold(tau))
    return figure


def entropy_against_probe_margin(
    runs: pl.DataFrame,
    *,
    score: str = "semantic_entropy.score",
    entropy: str = "semantic_entropy_raw",
    tau: float | None = None,
    dataset: str | None = None,
    split: str | None = "test",
    most: int = MOST_POINTS,
) -> go.Figure:
    """Semantic entropy of every run's question against the margin of the probe that predicts it.

    Args:
        runs: the study's results table.
        score: the probe's column, on the horizontal axis.
        entropy: the entropy's column, on the vertical axis.
        tau: threshold between low and high entropy in nats, drawn on the vertical axis; None for no line.
        dataset: whose runs are shown; None for all.
        split: of which split; None for all.
        most: points; of more runs an even choice is drawn.
    """
    title = f"{place_of(dataset, split)}: {_short(entropy)} against {_short(score)}"
    figure = _scatter(runs, title, (score, entropy), dataset, split, most, tau)
    if figure.data and tau is not None:
        figure.add_hline(y=tau, **_threshold(tau))
    return figure


def state_map(
    runs: pl.DataFrame,
    *,
    colour: str = "correct",
    dataset: str | None = None,
    split: str | None = "test",
    most: int = MOST_POINTS,
) -> go.Figure:
    """The map of hidden states, coloured by a score or by a category.

    Args:
        runs: the study's results table, or the map joined with what it is coloured by.
        colour: column of the colour: text and truth values are categories, numbers a scale.
        dataset: whose runs are shown; None for all.
        split: of which split; None for all.
        most: points; of more runs an even choice is drawn.
    """
    title = f"{place_of(dataset, split)}: map of hidden states by {_short(colour)}"
    missing = _lacking(runs, (*KEYS, "split", "x", "y", colour))
    if missing:
        return nothing_to_show(title, missing)
    rows = _chosen(runs, dataset, split)
    shown = rows.filter(_known("x"), _known("y"))
    if shown.is_empty():
        return nothing_to_show(title, f"none of {rows.height:,} runs is on the map")
    subtitle = f"{_counted(shown, most)}; UMAP for pictures only: distances are not to scale, no interval"
    if shown.height < rows.height:
        subtitle += f"; left out: {rows.height - shown.height:,} that have no place on it"
    shown = thinned(shown, most)
    figure = new_figure(title, subtitle=subtitle, x="UMAP, first axis (no unit)", y="UMAP, second axis (no unit)")
    if shown.schema[colour].is_numeric():
        figure.add_traces(_by_scale(shown, colour))
    else:
        figure.add_traces(_by_category(shown, colour, "x", "y"))
    figure.update_layout(showlegend=True)
    return figure


def mark_opened(figure: go.Figure, opened: pl.DataFrame, x: str, y: str) -> go.Figure:
    """A ring around the points of some runs, as the first trace; there, if empty, where no run is opened.

    Args:
        figure: a scatter of this module; one that has nothing to show stays as it is.
        opened: the runs, with the figure's columns.
        x: column of the horizontal axis.
        y: column of the vertical axis.
    """
    if not figure.data:
        return figure
    ring = go.Scattergl(
        **rings(opened, x, y),
        mode="markers",
        marker={"symbol": "circle-open", "size": 18, "color": BLACK, "line": {"width": 3, "color": BLACK}},
        name=_OPENED,
        hoverinfo="skip",
    )
    figure.add_trace(ring)
    figure.data = (figure.data[-1], *figure.data[:-1])
    return figure


def rings(opened: pl.DataFrame, x: str, y: str) -> dict[str, Any]:
    """What of the first trace of `mark_opened` depends on which runs are opened.

    Args:
        opened: the runs; those without one of the two values have no ring.
        x: column of the horizontal axis.
        y: column of the vertical axis.
    """
    shown = opened.filter(_known(x), _known(y))
    return {"x": shown[x].to_list(), "y": shown[y].to_list(), "showlegend": shown.height > 0}


def thinned(rows: pl.DataFrame, most: int) -> pl.DataFrame:
    """An even choice of rows, the same whenever it is made: one out of each of `most` equal stretches of the table.

    Which of a stretch it is changes from one to the next, so that no sample number is preferred.

    Args:
        rows: a table in its order.
        most: rows that are kept, of more.
    """
    if rows.height <= most:
        return rows
    places = (np.arange(most) + np.random.default_rng(0).random(most)) * rows.height / most
    return rows[places.astype(np.int64)]


def _scatter(
    runs: pl.DataFrame,
    title: str,
    axes: tuple[str, str],
    dataset: str | None,
    split: str | None,
    most: int,
    tau: float | None,
) -> go.Figure:
    x, y = axes
    missing = _lacking(runs, (*KEYS, "split", x, y))
    if missing:
        return nothing_to_show(title, missing)
    rows = _chosen(runs, dataset, split)
    shown = rows.filter(_known(x), _known(y))
    if shown.is_empty():
        return nothing_to_show(title, f"none of {rows.height:,} runs has both {plain(x)} and {plain(y)}")
    subtitle = f"{_counted(shown, most)}; a point is a run, no interval"
    if shown.height < rows.height:
        subtitle += f"; left out: {rows.height - shown.height:,} without one of the two"
    if tau is not None:
        subtitle += "; dashed: tau, above which entropy counts as high"
    shown = thinned(shown, most)
    figure = new_figure(title, subtitle=subtitle, x=axis_of(x), y=axis_of(y))
    if "correct" in shown.columns:
        figure.add_traces(_by_category(shown, "correct", x, y))
    else:
        figure.add_trace(_points(shown, x, y, f"runs (n = {shown.height:,})", {"color": BLUE}))
    figure.update_layout(showlegend=True)
    return figure


def _lacking(runs: pl.DataFrame, columns: Sequence[str]) -> str | None:
    """Why a figure cannot be drawn from a table; None where every column is there."""
    absent = [plain(column) for column in columns if column not in runs.columns]
    return f"the table of runs has no column {', '.join(absent)}" if absent else None


def _chosen(runs: pl.DataFrame, dataset: str | None, split: str | None) -> pl.DataFrame:
    for column, value in (("dataset", dataset), ("split", split)):
        if value is not None:
            runs = runs.filter(pl.col(column) == value)
    return runs


def _counted(runs: pl.DataFrame, most: int) -> str:
    """How many runs there are, and how many of them are drawn."""
    said = counted(runs)
    return (
        said
        if runs.height <= most
        else f"{said}; {most:,} of {runs.height:,} runs drawn, evenly chosen (the legend counts these)"
    )


def _known(column: str) -> pl.Expr:
    return pl.col(column).cast(pl.Float64).is_finite()


def _short(column: str) -> str:
    """A column's words without their unit."""
    return "correctness" if column == "correct" else axis_of(column).split(" (")[0]


def _by_category(rows: pl.DataFrame, column: str, x: str, y: str) -> list[go.Scattergl]:
    """The points of each value, its own colour and symbol; beyond as many as there are symbols, the rarest together."""
    words = _FLAGS.get(column, {True: "yes", False: "no", None: _NO_VALUE})
    values = rows.get_column(column).to_list()
    names = pl.Series("name", [words[v] if v is None or isinstance(v, bool) else str(v) for v in values], pl.String)
    rows = rows.with_columns(names.alias("__name"))
    found = rows.group_by("__name").len().sort("len", "__name", descending=[True, False])["__name"].to_list()
    order = [name for name in words.values() if name in found] + sorted(set(found) - set(words.values()))
    if len(order) > len(SYMBOLS):
        order = sorted(found[: len(SYMBOLS) - 1])
    traces = []
    for place, name in enumerate(order):
        part = rows.filter(pl.col("__name") == name)
        tint = _GRADES.get(name) if column == "correct" else _GREY if name == _NO_VALUE else None
        marker = {"color": tint or PALETTE[place % len(PALETTE)], "symbol": SYMBOLS[place]}
        traces.append(_points(part, x, y, f"{plain(name)} (n = {part.height:,})", marker))
    rest = rows.filter(~pl.col("__name").is_in(order))
    if rest.height:
        marker = {"color": _GREY, "symbol": SYMBOLS[-1]}
        traces.append(_points(rest, x, y, f"{rest['__name'].n_unique()} others (n = {rest.height:,})", marker))
    return traces


def _by_scale(rows: pl.DataFrame, column: str) -> list[go.Scattergl]:
    """The points with a value by colour, and behind them, grey, those without."""
    valued = rows.filter(_known(column))
    bare = rows.filter(~_known(column).fill_null(value=False))
    traces = []
    if bare.height:
        name = f"{_NO_VALUE} (n = {bare.height:,})"
        traces.append(_points(bare, "x", "y", name, {"color": _GREY, "symbol": "circle-open"}))
    if valued.height:
        marker = {
            "color": valued[column].to_numpy(),
            "colorscale": [list(step) for step in _HEAT],
            "showscale": True,
            "colorbar": {"title": {"text": axis_of(column), "side": "right", "font": {"size": 12}}},
        }
        values = f"<br>{axis_of(column)}: %{{marker.color:.3f}}"
        traces.append(_points(valued, "x", "y", f"{_short(column)} (n = {valued.height:,})", marker, values))
    return traces


def _points(
    rows: pl.DataFrame, x: str, y: str, name: str, marker: dict[str, Any], values: str | None = None
) -> go.Scattergl:
    """Points that carry their keys as they stand; what is read above them is plain text."""
    if values is None:
        values = "" if x == "x" else f"<br>{axis_of(x)}: %{{x:.3f}}<br>{axis_of(y)}: %{{y:.3f}}"
    keys = rows.select(key_texts()).to_series()
    marked = keys.str.contains(MARKED).any()
    return go.Scattergl(
        x=rows[x].to_numpy(),
        y=rows[y].to_numpy(),
        # An array of objects: Plotly looks at every value of a list, several times, which many runs make slow.
        customdata=keys.to_numpy(),
        text=np.array([plain(key) for key in keys], dtype=object) if marked else None,
        mode="markers",
        marker={"size": 7, "opacity": 0.7, **marker},
        name=name,
        hovertemplate=f"{name}<br>%{{{'text' if marked else 'customdata'}}}{values}<extra></extra>",
    )


def _threshold(tau: float) -> dict[str, Any]:
    """The line between low and high entropy."""
    return {
        "line": {"dash": "dash", "width": 1},
        "annotation": {"text": f"tau: {tau:.3f} nats", "bgcolor": "rgba(255, 255, 255, 0.7)"},
    }
