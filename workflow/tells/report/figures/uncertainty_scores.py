"""What every probe and baseline achieves by one metric, each with its interval, one below the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
import polars as pl

from tells.report.figures.texts import span
from tells.report.figures.theme import BLACK, BLUE, GREEN, ORANGE, new_figure, nothing_to_show
from tells.report.figures.uncertainty_words import METRICS, figure_of, levels_of, place_of, plain

# Kinds in the order of the rows, each with its look.
_LOOKS = {
    "probe": (BLUE, "circle"),
    "transfer": (GREEN, "diamond"),
    "baseline": (ORANGE, "square"),
    "control": (BLACK, "x"),
}
_CHANCE = {
    **dict.fromkeys(("auroc", "auroc_question", "auroc_within_question"), 0.5),
    **dict.fromkeys(("spearman", "auroc_minus_token_entropy"), 0.0),
}
# Pixels of a row, and of what stands around them.
_ROW, _FRAME = 26, 190


def score_intervals(
    records: Sequence[Mapping[str, Any]], *, outcome: str, metric: str = "auroc", dataset: str | None = None
) -> go.Figure:
    """A metric of every score on the test questions, as a point with its interval.

    Args:
        records: `records` of results.json.
        outcome: what is predicted.
        metric: of the records.
        dataset: its data set; None for all, each on a row of its own.
    """
    title = f"{place_of(dataset, 'test')}: {METRICS.get(metric, plain(metric))}, {plain(outcome)}"
    wanted = [one for one in records if one["outcome"] == outcome and one["metric"] == metric]
    wanted = [one for one in wanted if dataset is None or one["dataset"] == dataset]
    shown = [one for one in wanted if one["value"] is not None]
    if not shown:
        reasons = sorted({str(one["reason"]) for one in wanted if one["reason"]})
        said = f": {'; '.join(map(plain, reasons))}" if reasons else ""
        return nothing_to_show(title, f"no score has such a value ({len(wanted)} records){said}")
    several = len({one["dataset"] for one in shown}) > 1
    order = list(_LOOKS)
    shown.sort(key=lambda one: order.index(one["kind"]) if one["kind"] in order else len(order))
    names = list(dict.fromkeys(_row(one, several) for one in shown))
    figure = new_figure(title, subtitle=_subtitle(shown, len(wanted)), x=METRICS.get(metric, plain(metric)), y="")
    for kind in dict.fromkeys(one["kind"] for one in shown):
        figure.add_trace(_points([one for one in shown if one["kind"] == kind], kind, several))
    figure.update_yaxes(categoryorder="array", categoryarray=names, autorange="reversed", automargin=True)
    figure.update_layout(showlegend=True, height=_FRAME + _ROW * len(names))
    if metric in _CHANCE:
        line = {"dash": "dot", "width": 1}
        figure.add_vline(x=_CHANCE[metric], line=line, annotation={"text": "chance", "yanchor": "bottom", "y": 1})
    return figure


def _row(record: Mapping[str, Any], several: bool) -> str:
    return f"{plain(record['score'])}, {plain(record['dataset'])}" if several else plain(record["score"])


def _subtitle(shown: Sequence[Mapping[str, Any]], wanted: int) -> str:
    runs, questions = (span([one[key] for one in shown]) for key in ("n_rows", "n_questions"))
    levels = pl.Series([one["level"] for one in shown if one["low"] is not None], dtype=pl.Float64)
    said = f"n = {runs} runs of {questions} questions"
    said += f"; bars: {levels_of(levels)} interval, by question" if levels.len() else "; no interval"
    if any(one["kind"] == "control" for one in shown):
        said += "; of a control: the mean over its shuffles, and their percentiles"
    return said + (f"; left out: {wanted - len(shown)} without a value" if wanted > len(shown) else "")


def _points(records: Sequence[Mapping[str, Any]], kind: str, several: bool) -> go.Scatter:
    colour, symbol = _LOOKS.get(kind, (BLACK, "star"))
    ends = [
        (0.0, 0.0) if one["low"] is None else (one["high"] - one["value"], one["value"] - one["low"]) for one in records
    ]
    return go.Scatter(
        x=[one["value"] for one in records],
        y=[_row(one, several) for one in records],
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [above for above, _ in ends],
            "arrayminus": [below for _, below in ends],
            "thickness": 1.5,
        },
        mode="markers",
        marker={"color": colour, "symbol": symbol, "size": 9},
        name=plain(kind),
        hovertemplate=[f"{_row(one, several)} ({plain(kind)})<br>{_told(one)}<extra></extra>" for one in records],
    )


def _told(record: Mapping[str, Any]) -> str:
    corrected = record.get("p_holm")
    p = "" if corrected is None else f"<br>p (Holm) {corrected:.3f}"
    return f"{figure_of(record)}{p}<br>n = {record['n_rows']} runs of {record['n_questions']} questions"
