"""Figures of the uncertainty study's runs: a point a run, by two scores or on the map of hidden states.

Every point carries its data set, prompt_id and sample, as they stand in the table, so that a click or a lasso can open
the runs. What scores achieve is in `tells.report.figures.uncertainty_curves`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
import polars as pl

from tells.report.figures.theme import BLUE, ORANGE, PALETTE, SYMBOLS, VERMILION, new_figure, nothing_to_show
from tells.report.figures.uncertainty_words import axis_of, counted, place_of, plain

KEYS = ("dataset", "prompt_id", "sample")
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
) -> go.Figure:
    """A score of every run against the semantic entropy of its question, or against any other score.

    Args:
        runs: the study's results table.
        score: its column for the vertical axis.
        entropy: its column for the horizontal axis.
        tau: threshold between low and high entropy in nats, drawn on the horizontal axis; None for no line.
        dataset: whose runs are shown; None for all.
        split: of which split; None for all.
    """
    title = f"{place_of(dataset, split)}: {_short(score)} against {_short(entropy)}"
    figure = _scatter(runs, title, entropy, score, dataset, split)
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
) -> go.Figure:
    """Semantic entropy of every run's question against the margin of the probe that predicts it.

    Args:
        runs: the study's results table.
        score: the probe's column, on the horizontal axis.
        entropy: the entropy's column, on the vertical axis.
        tau: threshold between low and high entropy in nats, drawn on the vertical axis; None for no line.
        dataset: whose runs are shown; None for all.
        split: of which split; None for all.
    """
    title = f"{place_of(dataset, split)}: {_short(entropy)} against {_short(score)}"
    figure = _scatter(runs, title, score, entropy, dataset, split)
    if figure.data and tau is not None:
        figure.add_hline(y=tau, **_threshold(tau))
    return figure


def state_map(
    runs: pl.DataFrame, *, colour: str = "correct", dataset: str | None = None, split: str | None = "test"
) -> go.Figure:
    """The map of hidden states, coloured by a score or by a category.

    Args:
        runs: the study's results table, or the map joined with what it is coloured by.
        colour: column of the colour: text and truth values are categories, numbers a scale.
        dataset: whose runs are shown; None for all.
        split: of which split; None for all.
    """
    title = f"{place_of(dataset, split)}: map of hidden states by {_short(colour)}"
    missing = _lacking(runs, (*KEYS, "split", "x", "y", colour))
    if missing:
        return nothing_to_show(title, missing)
    rows = _chosen(runs, dataset, split)
    shown = rows.filter(_known("x"), _known("y"))
    if shown.is_empty():
        return nothing_to_show(title, f"none of {rows.height} runs is on the map")
    subtitle = f"{counted(shown)}; UMAP for pictures only: distances are not to scale, no interval"
    if shown.height < rows.height:
        subtitle += f"; left out: {rows.height - shown.height} that were not drawn"
    figure = new_figure(title, subtitle=subtitle, x="UMAP, first axis (no unit)", y="UMAP, second axis (no unit)")
    if shown.schema[colour].is_numeric():
        figure.add_traces(_by_scale(shown, colour))
    else:
        figure.add_traces(_by_category(shown, colour, "x", "y"))
    figure.update_layout(showlegend=True)
    return figure


def _scatter(runs: pl.DataFrame, title: str, x: str, y: str, dataset: str | None, split: str | None) -> go.Figure:
    missing = _lacking(runs, (*KEYS, "split", x, y))
    if missing:
        return nothing_to_show(title, missing)
    rows = _chosen(runs, dataset, split)
    shown = rows.filter(_known(x), _known(y))
    if shown.is_empty():
        return nothing_to_show(title, f"none of {rows.height} runs has both {plain(x)} and {plain(y)}")
    subtitle = f"{counted(shown)}; a point is a run, no interval"
    if shown.height < rows.height:
        subtitle += f"; left out: {rows.height - shown.height} without one of the two"
    figure = new_figure(title, subtitle=subtitle, x=axis_of(x), y=axis_of(y))
    if "correct" in shown.columns:
        figure.add_traces(_by_category(shown, "correct", x, y))
    else:
        figure.add_trace(_points(shown, x, y, f"runs (n = {shown.height})", {"color": BLUE}))
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
        traces.append(_points(part, x, y, f"{plain(name)} (n = {part.height})", marker))
    rest = rows.filter(~pl.col("__name").is_in(order))
    if rest.height:
        marker = {"color": _GREY, "symbol": SYMBOLS[-1]}
        traces.append(_points(rest, x, y, f"{rest['__name'].n_unique()} others (n = {rest.height})", marker))
    return traces


def _by_scale(rows: pl.DataFrame, column: str) -> list[go.Scattergl]:
    """The points with a value by colour, and behind them, grey, those without."""
    valued = rows.filter(_known(column))
    bare = rows.filter(~_known(column).fill_null(value=False))
    traces = []
    if bare.height:
        name = f"{_NO_VALUE} (n = {bare.height})"
        traces.append(_points(bare, "x", "y", name, {"color": _GREY, "symbol": "circle-open"}))
    if valued.height:
        marker = {
            "color": valued[column].to_list(),
            "colorscale": [list(step) for step in _HEAT],
            "showscale": True,
            "colorbar": {"title": {"text": axis_of(column), "side": "right", "font": {"size": 12}}},
        }
        trace = _points(valued, "x", "y", f"{_short(column)} (n = {valued.height})", marker)
        trace.hovertemplate = f"%{{text}}<br>{axis_of(column)}: %{{marker.color:.3f}}<extra></extra>"
        traces.append(trace)
    return traces


def _points(rows: pl.DataFrame, x: str, y: str, name: str, marker: dict[str, Any]) -> go.Scattergl:
    """Points that carry their keys as they stand; what is read above them is plain text."""
    where = "" if x == "x" else f"<br>{axis_of(x)}: %{{x:.3f}}<br>{axis_of(y)}: %{{y:.3f}}"
    keys = rows.select(KEYS).rows()
    names = {one: plain(one) for key in KEYS[:2] for one in rows[key].unique()}
    return go.Scattergl(
        x=rows[x].to_list(),
        y=rows[y].to_list(),
        # Arrays of objects: Plotly looks at every value of a list, several times, which many runs make slow.
        customdata=np.array(keys, dtype=object),
        text=np.array([f"{names[of]}, {names[prompt]}, {_run(sample)}" for of, prompt, sample in keys], dtype=object),
        mode="markers",
        marker={"size": 7, "opacity": 0.7, **marker},
        name=name,
        hovertemplate=f"{name}<br>%{{text}}{where}<extra></extra>",
    )


def _run(sample: int) -> str:
    return "greedy run" if sample < 0 else f"sample {sample}"


def _threshold(tau: float) -> dict[str, Any]:
    """The line between low and high entropy."""
    return {
        "line": {"dash": "dash", "width": 1},
        "annotation": {"text": f"tau: {tau:.3f} nats, above: high entropy", "bgcolor": "rgba(255, 255, 255, 0.7)"},
    }
