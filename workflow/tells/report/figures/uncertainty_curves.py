"""Figures of what the uncertainty study's scores achieve: ROC, precision-recall, reliability and rejection curves.

Points and bands are those of the run's curves table, figures in the legend those of its records; nothing is computed
here. A score has the same colour and dash in every figure of one table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
import polars as pl

from tells.report.figures.texts import span
from tells.report.figures.theme import DASHES, PALETTE, SYMBOLS, band, new_figure, nothing_to_show
from tells.report.figures.uncertainty_words import figure_of, levels_of, place_of, plain, surer_of

_TITLES = {
    "roc": "ROC",
    "precision_recall": "precision and recall",
    "reliability": "reliability",
    "rejection": "accuracy as the least sure runs are refused",
}
# The record that sums a curve up, beside the AUROC of the legend.
_SUMMARIES = {
    "precision_recall": ("average_precision", "average precision"),
    "reliability": ("ece_10", "ECE in ten bins"),
    "rejection": ("aurac", "AURAC"),
}
_NEEDS = {
    "roc": "it needs runs of both classes",
    "precision_recall": "it needs runs of both classes",
    "reliability": "it needs scores that are probabilities of this outcome",
    "rejection": "it is of correctness alone",
}
_LARGEST, _SMALLEST = 20.0, 5.0
_Records = Sequence[Mapping[str, Any]]


def roc(
    curves: pl.DataFrame,
    records: _Records,
    *,
    dataset: str,
    outcome: str = "accuracy",
    split: str = "test",
    scores: Sequence[str] | None = None,
) -> go.Figure:
    """Sensitivity against false-positive rate, a line and a band a score.

    Args:
        curves: the curves table.
        records: `records` of results.json, for the legend.
        dataset: its data set.
        outcome: what is predicted.
        split: of the runs.
        scores: which are shown; None for all.
    """
    axes = (f"false-positive rate (larger score: {surer_of(outcome)})", "sensitivity")
    figure = _curves("roc", curves, records, axes, dataset, outcome, split, scores)
    return _diagonal(figure, "chance")


def precision_recall(
    curves: pl.DataFrame,
    records: _Records,
    *,
    dataset: str,
    outcome: str = "accuracy",
    split: str = "test",
    scores: Sequence[str] | None = None,
) -> go.Figure:
    """Precision against recall, a line and a band a score, with the prevalence that chance reaches.

    Args:
        curves: the curves table.
        records: `records` of results.json, for the legend.
        dataset: its data set.
        outcome: what is predicted.
        split: of the runs.
        scores: which are shown; None for all.
    """
    axes = (f"recall (larger score: {surer_of(outcome)})", "precision")
    figure = _curves("precision_recall", curves, records, axes, dataset, outcome, split, scores)
    rows = _rows("precision_recall", curves, dataset, outcome, split, scores)
    return _prevalence(figure, rows, "prevalence")


def reliability(
    curves: pl.DataFrame,
    records: _Records,
    *,
    dataset: str,
    outcome: str = "accuracy",
    split: str = "test",
    scores: Sequence[str] | None = None,
) -> go.Figure:
    """Share of class 1 against mean probability in each bin; a point is the larger the more runs its bin has.

    Args:
        curves: the curves table.
        records: `records` of results.json, for the legend.
        dataset: its data set.
        outcome: what is predicted.
        split: of the runs.
        scores: which are shown; None for all.
    """
    what = {"accuracy": "correct runs", "semantic_entropy": "runs of high entropy"}.get(outcome, "class 1")
    axes = (f"calibrated probability, mean of the bin (larger: {surer_of(outcome)})", f"share of {what} in the bin")
    figure = _curves("reliability", curves, records, axes, dataset, outcome, split, scores)
    return _diagonal(figure, "calibrated")


def rejection(
    curves: pl.DataFrame,
    records: _Records,
    *,
    dataset: str,
    outcome: str = "accuracy",
    split: str = "test",
    scores: Sequence[str] | None = None,
) -> go.Figure:
    """Accuracy of the surest runs against the share of runs that is kept.

    Args:
        curves: the curves table.
        records: `records` of results.json, for the legend.
        dataset: its data set.
        outcome: what is predicted; only correctness has these curves.
        split: of the runs.
        scores: which are shown; None for all.
    """
    axes = (f"share of runs kept, surest first (larger score: {surer_of(outcome)})", "accuracy of the runs kept")
    figure = _curves("rejection", curves, records, axes, dataset, outcome, split, scores)
    rows = _rows("rejection", curves, dataset, outcome, split, scores)
    return _prevalence(figure, rows, "accuracy of all runs")


def _rows(
    curve: str, curves: pl.DataFrame, dataset: str, outcome: str, split: str, scores: Sequence[str] | None
) -> pl.DataFrame:
    wanted = {"curve": curve, "dataset": dataset, "outcome": outcome, "split": split}
    rows = curves.filter(pl.col(column) == value for column, value in wanted.items())
    return rows if scores is None else rows.filter(pl.col("score").is_in(list(scores)))


def _curves(
    curve: str,
    curves: pl.DataFrame,
    records: _Records,
    axes: tuple[str, str],
    dataset: str,
    outcome: str,
    split: str,
    scores: Sequence[str] | None,
) -> go.Figure:
    """The figure of one kind of curve; without lines where the table has none."""
    title = f"{place_of(dataset, split)}: {_TITLES[curve]}, {plain(outcome)}"
    rows = _rows(curve, curves, dataset, outcome, split, scores)
    if rows["y"].null_count() == rows.height:
        chosen = "" if scores is None else f" by {', '.join(plain(score) for score in scores) or 'no score'}"
        where = f"{plain(outcome)} on {place_of(dataset, split)}{chosen}"
        return nothing_to_show(title, f"the run has no such curve of {where}; {_NEEDS[curve]}")
    figure = new_figure(title, subtitle=_subtitle(curve, rows, records), x=axes[0], y=axes[1])
    for name, place in _styles(curves, outcome).items():
        part = rows.filter(pl.col("score") == name).sort("x")
        if part.height:
            known = _of_score(records, part.row(0, named=True))
            figure.add_traces(_line(curve, part, known, place))
    figure.update_xaxes(range=[-0.02, 1.02])
    figure.update_yaxes(range=[-0.02, 1.02])
    figure.update_layout(showlegend=True)
    return figure


def _subtitle(curve: str, rows: pl.DataFrame, records: _Records) -> str:
    runs, questions = (span(rows[column].to_list()) for column in ("n_rows", "n_questions"))
    bare = rows["low"].null_count() == rows.height
    bands = "no band" if bare else f"bands: {levels_of(rows['level'])} pointwise, by question"
    scores = rows.unique("score", maintain_order=True)
    of = [_of_score(records, row).get("auroc") for row in scores.iter_rows(named=True)]
    levels = pl.Series([one["level"] for one in of if one and one["low"] is not None], dtype=pl.Float64)
    ends = f"brackets: {levels_of(levels)} interval of AUROC, by question" if levels.len() else "AUROC without interval"
    sized = "; points by runs in the bin" if curve == "reliability" else ""
    return f"n = {runs} runs of {questions} questions; {bands}; {ends}{sized}"


def _of_score(records: _Records, row: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The records of a score on the same outcome, data set and split, by metric."""
    same = ("outcome", "score", "kind", "dataset", "split")
    return {record["metric"]: record for record in records if all(record[key] == row[key] for key in same)}


def _styles(curves: pl.DataFrame, outcome: str) -> dict[str, int]:
    """Place of every score of an outcome, probes first, whichever of them are shown."""
    scores = curves.filter(pl.col("outcome") == outcome).select("kind", "score").unique(maintain_order=True)
    ordered = scores.sort(pl.col("kind") != "probe", "score")
    return {name: place for place, name in enumerate(ordered["score"].unique(maintain_order=True))}


def _line(curve: str, part: pl.DataFrame, known: Mapping[str, Mapping[str, Any]], place: int) -> list[go.Scatter]:
    """The band and the line of one score."""
    name = plain(part["score"][0])
    x = part["x"].to_list()
    colour = PALETTE[place % len(PALETTE)]
    symbol = SYMBOLS[place % len(SYMBOLS)]
    summary = ""
    if curve in _SUMMARIES:
        metric, words = _SUMMARIES[curve]
        summary = f"<br>{words} {figure_of(known.get(metric))}"
    line = go.Scatter(
        x=x,
        y=part["y"].to_list(),
        customdata=part.select("point_rows", "low", "high").rows(),
        mode="lines+markers" if curve == "reliability" or len(x) == 1 else "lines",
        line={"color": colour, "dash": DASHES[place % len(DASHES)]},
        marker={"symbol": symbol, "size": _sizes(part["point_rows"])} if curve == "reliability" else None,
        cliponaxis=False,
        name=f"{name}: AUROC {figure_of(known.get('auroc'))}",
        legendgroup=name,
        hovertemplate=[f"{name}<br>{_point(row)}{summary}<extra></extra>" for row in part.iter_rows(named=True)],
    )
    return [band(x, part["low"].to_list(), part["high"].to_list(), colour, name), line]


def _point(row: Mapping[str, Any]) -> str:
    value = figure_of({"value": row["y"], "low": row["low"], "high": row["high"]})
    return f"{row['x']:.2f}: {value}<br>n = {row['point_rows']} of {row['n_rows']} runs"


def _sizes(rows: pl.Series) -> list[float]:
    """Diameters of points whose area grows with their rows."""
    most = max(int(rows.max() or 0), 1)  # type: ignore[arg-type]
    return [max(_SMALLEST, _LARGEST * (count / most) ** 0.5) for count in rows]


def _diagonal(figure: go.Figure, name: str) -> go.Figure:
    if figure.data:
        figure.add_shape(type="line", x0=0, y0=0, x1=1, y1=1, line={"dash": "dot", "width": 1}, layer="below")
        figure.add_annotation(x=0.9, y=0.9, text=name, showarrow=False, yshift=-14, xshift=18)
    return figure


def _prevalence(figure: go.Figure, rows: pl.DataFrame, name: str) -> go.Figure:
    """A line at the share of class 1; one each where scores rest on different runs, named once."""
    if figure.data:
        found = rows["prevalence"].drop_nulls().unique().sort().to_list()
        ends = sorted({f"{value:.3f}" for value in found})
        for value in found:
            figure.add_hline(y=value, line={"dash": "dot", "width": 1})
        words = f"{name}: {'–'.join(dict.fromkeys((ends[0], ends[-1])))}"
        figure.add_annotation(
            x=1, xref="paper", xanchor="right", y=found[-1], yanchor="bottom", text=words, showarrow=False
        )
    return figure
