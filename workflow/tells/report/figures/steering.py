"""Figures of steering: what adding a vector does to the trait and to coherence, in the search and in the report.

The search questions choose a point and so flatter it; the report questions, which were not searched, say what it is
worth. No figure mixes the two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
import polars as pl

from tells.report.figures.texts import bracketed, judged_by, number, plain, span
from tells.report.figures.theme import (
    BLACK,
    BLUE,
    DASHES,
    ORANGE,
    PALETTE,
    PURPLE,
    SYMBOLS,
    error_bars,
    faded,
    new_figure,
    nothing_to_show,
)

__all__ = ["coefficient_curves", "steering_report"]

# Panels from above: score, axis of the values, its title.
_PANELS = (("trait", "y", "mean trait score"), ("coherence", "y2", "mean coherence"))
_POINT = ["layer", "method", "ratio", "coefficient"]


def coefficient_curves(
    search: pl.DataFrame,
    scores: pl.DataFrame,
    choice: Mapping[str, Any],
    *,
    trait: str,
    min_coherence: float | None = None,
    max_drop: float | None = None,
) -> go.Figure:
    """Mean trait score and mean coherence against the ratio, a line for each layer and method.

    Args:
        search: the table of the search's answers.
        scores: what the judge says of them.
        choice: content of choice.json.
        trait: its name.
        min_coherence: least mean coherence of a valid point; None where it is not known, for no line.
        max_drop: largest loss of mean coherence against the unsteered answers; None for no such limit.
    """
    title = f"{plain(trait)}: steering with growing vectors (search questions)"
    points = _points(search, scores)
    if points.is_empty():
        return nothing_to_show(title, f"no steered answer to a search question ({plain(choice['status'])})")
    if points["n_trait"].sum() + points["n_coherence"].sum() == 0:
        return nothing_to_show(title, f"none of {points['n'].sum()} steered answers has a score")
    floor = _floor(choice["baseline"], min_coherence, max_drop)
    subtitle = _curves_subtitle(points, choice, floor)
    figure = new_figure(title, subtitle=subtitle, x="ratio r (length added over the states' mean norm)", y="")
    verdicts = {(one["layer"], one["method"], one["ratio"]): one["reasons"] for one in choice["points"]}
    for place, (key, rows) in enumerate(
        points.partition_by("layer", "method", as_dict=True, maintain_order=True).items()
    ):
        figure.add_traces(_lines(rows, f"{plain(key[1])}, layer {key[0]}", place, verdicts))
    figure.add_traces(_unsteered(choice["baseline"]))
    figure.add_traces(_chosen(points, choice["optimum"]))
    _lay_out(figure, floor)
    return figure


def _points(search: pl.DataFrame, scores: pl.DataFrame) -> pl.DataFrame:
    """Means over the answers that have a score, and their numbers, of every point of the grid."""
    steered = search.filter(pl.col("kind") == "steered").join(scores, on="row_id", how="left")
    means = [pl.col(score).mean() for score, _, _ in _PANELS]
    counts = [pl.col(score).count().alias(f"n_{score}") for score, _, _ in _PANELS]
    return steered.group_by(_POINT).agg(*means, *counts, n=pl.len()).sort("method", "layer", "ratio")


def _floor(baseline: Mapping[str, Any] | None, least: float | None, drop: float | None) -> float | None:
    """The mean coherence below which no point is valid."""
    unsteered = None if baseline is None else baseline["coherence"]
    limits = [] if least is None else [least]
    if drop is not None and unsteered is not None:
        limits.append(unsteered - drop)
    return max(limits, default=None)


def _curves_subtitle(points: pl.DataFrame, choice: Mapping[str, Any], floor: float | None) -> str:
    told = [
        f"n = {span(points['n'].to_list())} answers a point, to {choice['n_questions']} search questions, by which the "
        f"point is chosen: flattering; {points.height} points; means without intervals; open: not valid",
        "coherence floor unknown" if floor is None else f"coherence floor {floor:.1f}",
        f"choice: {plain(choice['status'].replace('_', ' '))}",
        judged_by(choice["metadata"].get("judge")),
    ]
    missing = sum(points["n"].sum() - points[f"n_{score}"].sum() for score, _, _ in _PANELS)
    if missing:
        told.insert(1, f"{missing} scores missing, their answers left out of the means")
    return "; ".join(told)


def _lines(
    rows: pl.DataFrame, name: str, place: int, verdicts: Mapping[tuple[Any, ...], Sequence[str]]
) -> list[go.Scatter]:
    """The two lines of one layer and method, one in each panel."""
    colour, dash, symbol = (signs[place % len(signs)] for signs in (PALETTE, DASHES, SYMBOLS))
    found = list(rows.iter_rows(named=True))
    reasons = [verdicts.get((row["layer"], row["method"], row["ratio"])) for row in found]
    return [
        go.Scatter(
            x=rows["ratio"].to_list(),
            y=rows[score].to_list(),
            yaxis=axis,
            mode="lines+markers",
            line={"color": colour, "dash": dash},
            marker={"symbol": [f"{symbol}-open" if reason else symbol for reason in reasons], "size": 8},
            name=name,
            legendgroup=name,
            showlegend=score == "trait",
            hovertext=[_point_text(name, row, reason) for row, reason in zip(found, reasons, strict=True)],
            hoverinfo="text",
        )
        for score, axis, _ in _PANELS
    ]


def _point_text(name: str, row: Mapping[str, Any], reasons: Sequence[str] | None) -> str:
    lines = [name, f"r = {row['ratio']:g}, c = {number(row['coefficient'], 2)}"]
    lines += [f"{score} {number(row[score])} (n = {row[f'n_{score}']} of {row['n']})" for score, _, _ in _PANELS]
    if reasons:
        lines.append(f"not valid: {plain(', '.join(reasons).replace('_', ' '))}")
    elif reasons is None:
        lines.append("not among the points of the choice")
    return "<br>".join(lines)


def _unsteered(baseline: Mapping[str, Any] | None) -> list[go.Scatter]:
    """The unsteered answers, at ratio 0 of each panel."""
    if baseline is None:
        return []
    name = f"unsteered (n = {baseline['n']})"
    missing = f", {baseline['n_missing']} without a score" if baseline["n_missing"] else ""
    return [
        go.Scatter(
            x=[0.0],
            y=[baseline[score]],
            yaxis=axis,
            mode="markers",
            marker={"symbol": "cross-thin", "size": 11, "color": BLACK, "line": {"width": 2, "color": BLACK}},
            name=name,
            legendgroup="unsteered",
            showlegend=score == "trait",
            hovertext=[f"{name}{missing}<br>{score} {number(baseline[score])}"],
            hoverinfo="text",
        )
        for score, axis, _ in _PANELS
        if baseline[score] is not None
    ]


def _chosen(points: pl.DataFrame, optimum: Mapping[str, Any] | None) -> list[go.Scatter]:
    """A ring about the chosen point in each panel."""
    if optimum is None:
        return []
    same = [pl.col(key) == optimum[key] for key in ("layer", "method", "ratio")]
    rows = points.filter(*same)
    return [
        go.Scatter(
            x=rows["ratio"].to_list(),
            y=rows[score].to_list(),
            yaxis=axis,
            mode="markers",
            marker={"symbol": "circle-open", "size": 18, "color": BLACK, "line": {"width": 2}},
            name="no effect: best valid point" if optimum["no_effect"] else "chosen point",
            legendgroup="chosen",
            showlegend=score == "trait",
            # So that the point below is what answers the pointer.
            hoverinfo="skip",
        )
        for score, axis, _ in _PANELS
    ]


def _lay_out(figure: go.Figure, floor: float | None) -> None:
    """The trait above, coherence below, over one axis of ratios."""
    common = {"range": [-4, 104], "anchor": "x"}
    size = {"size": figure.layout.font.size}
    for (_, _, words), axis, domain in zip(_PANELS, ("yaxis", "yaxis2"), ([0.54, 1], [0, 0.46]), strict=True):
        figure.update_layout({axis: {**common, "domain": domain, "title": {"text": f"{words} (0–100)", "font": size}}})
    figure.update_layout(height=680, xaxis={"anchor": "y2"}, showlegend=True, margin={"b": 120})
    if floor is not None:
        words = {"text": "coherence floor", "bgcolor": "rgba(255, 255, 255, 0.7)"}
        figure.add_shape(
            type="line", x0=0, x1=1, xref="x domain", y0=floor, y1=floor, yref="y2", line={"dash": "dot", "width": 1.5}
        )
        figure.add_annotation(x=1, xref="x domain", y=floor, yref="y2", showarrow=False, xanchor="right", **words)


def steering_report(
    summary: Mapping[str, Any], *, judge: Mapping[str, Any] | None = None, level: float = 0.95
) -> go.Figure:
    """What steering at the chosen point changes, beside random vectors, prompting and nothing at all.

    Args:
        summary: content of summary.json, or one of `traits` of results.json.
        judge: who gave the scores: `judge` in the metadata of results.json or choice.json.
        level: of the intervals in the file.
    """
    title = f"{plain(summary['trait'])}: effect of steering (report questions)"
    effects = summary["steering"]
    if effects is None:
        why = summary["reason"] or "it is not steered in this run"
        return nothing_to_show(title, plain(f"{summary['status']}: {why}"))
    known = {name: effects[name] for name in ("steered", "prompting") if (effects[name] or {}).get("delta") is not None}
    if not known and not effects["random"]["deltas"]:
        return nothing_to_show(title, plain(f"no delta on the report questions: {summary['reason'] or 'no scores'}"))
    figure = new_figure(
        title,
        subtitle=_report_subtitle(summary, judge, level),
        x="delta of the trait score (points of 100, against unsteered)",
        y="",
    )
    figure.add_trace(_nothing_added(effects["unsteered"]))
    figure.add_traces(_random(effects["random"]))
    for name, symbol, colour in (("prompting", "square", ORANGE), ("steered", "diamond", BLUE)):
        if name in known:
            figure.add_trace(_effect(name, known[name], symbol, colour))
    figure.add_vline(x=0, line={"width": 1, "color": BLACK})
    figure.update_yaxes(type="category", automargin=True, title={"text": "answers"})
    figure.update_layout(showlegend=True)
    return figure


def _report_subtitle(summary: Mapping[str, Any], judge: Mapping[str, Any] | None, level: float) -> str:
    effects, point = summary["steering"], summary["best_by_steering"]
    rests = effects["steered"] or effects["prompting"] or {"n": effects["unsteered"]["n"], "n_questions": "unknown"}
    told = [f"n = {rests['n']} pairs of answers to {rests['n_questions']} report questions, which were not searched"]
    if point:
        told.append(f"steered by {plain(point['method'])}, layer {point['layer']}, r = {point['ratio']:g}")
    told.append(f"bars: {100 * level:g}% interval by question, not over other choices of a point")
    told.append(f"random: {effects['random']['n']} vectors of equal norm, a point each, without interval")
    if effects["p_random"] is not None:
        told.append(f"p = {effects['p_random']:.3f}: share of the draws that reach the steered delta, itself counted")
    undone = [name for name in ("steered", "prompting") if (effects[name] or {}).get("delta") is None]
    if undone:
        told.append(f"no delta: {', '.join(undone)}")
    reason = f" ({summary['reason']})" if summary["reason"] else ""
    told += [plain(f"status: {summary['status']}{reason}"), judged_by(judge)]
    return "; ".join(told)


def _nothing_added(unsteered: Mapping[str, Any]) -> go.Scatter:
    text = (
        f"unsteered: 0 by definition<br>mean trait score {number(unsteered['trait'])}, "
        f"coherence {number(unsteered['coherence'])}<br>n = {unsteered['n']} answers"
    )
    return go.Scatter(
        x=[0.0],
        y=["unsteered"],
        mode="markers",
        marker={"symbol": "cross", "size": 11, "color": BLACK},
        name=f"unsteered (n = {unsteered['n']}), 0 by definition",
        hovertext=[text],
        hoverinfo="text",
    )


def _random(random: Mapping[str, Any]) -> list[go.Scatter]:
    """The deltas of the random vectors, their mean and their 95th percentile."""
    deltas = random["deltas"]
    if not deltas:
        return []
    summed = f"coherence {number(random['coherence'])}<br>n = {random['n']} random vectors"
    shown = [
        (deltas, f"random vectors (n = {random['n']})", "circle-open", faded(PURPLE, 0.8), 8, "delta"),
        ([random["mean"]], "random, mean", "line-ns", PURPLE, 16, "mean"),
        ([random["percentile_95"]], "random, 95th percentile", "triangle-up", PURPLE, 12, "95th percentile"),
    ]
    return [
        go.Scatter(
            x=list(values),
            y=["random"] * len(values),
            mode="markers",
            marker={"symbol": symbol, "color": colour, "size": size, "line": {"width": 2, "color": colour}},
            name=name,
            hovertext=[f"random, {what}: {number(value)}<br>mean {summed}" for value in values],
            hoverinfo="text",
        )
        for values, name, symbol, colour, size, what in shown
    ]


def _effect(name: str, effect: Mapping[str, Any], symbol: str, colour: str) -> go.Scatter:
    lines = [
        f"{name}: delta {bracketed(effect['delta'], effect['low'], effect['high'], 1)}",
        f"mean coherence {number(effect['coherence'])}",
        f"n = {effect['n']} pairs of answers to {effect['n_questions']} questions",
        f"without a score: trait {effect['n_missing']}, coherence {effect['n_missing_coherence']}",
    ]
    return go.Scatter(
        x=[effect["delta"]],
        y=[name],
        error_x=error_bars(effect["delta"], effect["low"], effect["high"]),
        mode="markers",
        marker={"symbol": symbol, "size": 12, "color": colour},
        name=f"{name} (n = {effect['n']})",
        hovertext=["<br>".join(lines)],
        hoverinfo="text",
    )
