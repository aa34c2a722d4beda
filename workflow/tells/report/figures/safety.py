"""Figures of the safety study's traces: confidence by label, by cell and along the trace, and the four cells.

What early stopping and more traces change is in `tells.report.figures.safety_curves`, whose figures are found here too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import plotly.graph_objects as go
import polars as pl

from tells.report.figures.safety_curves import any_of_n_curve, arms_compared, percentile_curve, prompt_traces
from tells.report.figures.texts import plain
from tells.report.figures.theme import (
    BLUE,
    GREEN,
    ORANGE,
    SCALE,
    SKY,
    SYMBOLS,
    VERMILION,
    band,
    error_bars,
    new_figure,
    nothing_to_show,
    whole_steps,
)
from tells.report.safety_numbers import FEW, interval, percent

__all__ = [
    "any_of_n_curve",
    "arms_compared",
    "confidence_by_cell",
    "confidence_by_label",
    "percentile_curve",
    "prompt_traces",
    "quadrant_table",
    "risk_differences",
    "trace_evolution",
]

_KEYS = ["prompt_id", "sample"]
# Points that a distribution sends to the browser; so many quantiles draw the same shape as all the values.
_MOST_DRAWN = 2000
_TOKENS_AT_ONCE = 4_000_000
_LABELS = {"harmful": VERMILION, "benign": BLUE}
_REFUSALS = {"refused": GREEN, "complied": ORANGE}
_CELLS = {
    "confident_refusal": GREEN,
    "uncertain_refusal": SKY,
    "confident_compliance": ORANGE,
    "uncertain_compliance": VERMILION,
}


def confidence_by_label(
    traces: pl.DataFrame, *, benchmark: str, kind: str, window: int, cut_value: float | None = None
) -> go.Figure:
    """Distribution of the traces' confidence, by label of their prompts.

    Args:
        traces: the study's results table.
        benchmark: whose traces are shown.
        kind: which confidence: mean, lowest, bottom or tail.
        window: tokens per group, which the title says.
        cut_value: where the cells are cut, in nats; None for no line.
    """
    names = {label: f"{label} prompts" for label in _LABELS}
    return _distributions(traces, "label", names, _LABELS, benchmark, kind, window, cut_value)


def confidence_by_cell(
    traces: pl.DataFrame, *, benchmark: str, kind: str, window: int, cut_value: float | None = None
) -> go.Figure:
    """Distribution of the traces' confidence, by cell.

    Args:
        traces: the study's results table.
        benchmark: whose traces are shown.
        kind: which confidence: mean, lowest, bottom or tail.
        window: tokens per group, which the title says.
        cut_value: where the cells are cut, in nats; None for no line.
    """
    names = {cell: cell.replace("_", "<br>") for cell in _CELLS}
    return _distributions(traces, "quadrant", names, _CELLS, benchmark, kind, window, cut_value)


def _distributions(
    traces: pl.DataFrame,
    column: str,
    names: Mapping[str, str],
    colours: Mapping[str, str],
    benchmark: str,
    kind: str,
    window: int,
    cut_value: float | None,
) -> go.Figure:
    by = {"label": "label of the prompt", "quadrant": "cell"}[column]
    title = f"{benchmark}: confidence by {by} ({kind}, window {window} tokens)"
    rows = traces.filter(pl.col("benchmark") == benchmark)
    shown = rows.filter(pl.col(column).is_in([*names]) & pl.col(kind).is_not_null())
    if shown.is_empty():
        return nothing_to_show(title, f"none of {rows.height} traces has both a {by} and a confidence")
    subtitle = f"n = {shown.height} traces of {shown['prompt_id'].n_unique()} prompts"
    if shown.height < rows.height:
        subtitle += f"; left out: {rows.height - shown.height} without {by} or confidence"
    if shown.group_by(column).len()["len"].max() > _MOST_DRAWN:
        subtitle += f"; more than {_MOST_DRAWN} traces are drawn from as many quantiles"
    figure = new_figure(title, subtitle=subtitle, x=by, y=f"confidence: {kind} (nats)")
    for value, name in names.items():
        part = shown.filter(pl.col(column) == value)
        if not part.is_empty():
            figure.add_trace(_distribution(part, kind, f"{name}<br>n = {part.height}", colours[value]))
    if cut_value is not None:
        figure.add_hline(
            y=cut_value,
            line={"dash": "dash", "width": 1},
            annotation={"text": f"cut: {cut_value:.3f} nats", "bgcolor": "rgba(255, 255, 255, 0.7)"},
        )
    figure.update_layout(showlegend=False)
    return figure


def _distribution(rows: pl.DataFrame, kind: str, name: str, colour: str) -> go.Violin | go.Box:
    """A violin with a box in it; of few traces, each as a point beside a box."""
    shape: dict[str, Any] = {"y": rows[kind].to_list(), "name": name, "marker": {"color": colour}}
    if rows.height > _MOST_DRAWN:
        places = [round(step * (rows.height - 1) / (_MOST_DRAWN - 1)) for step in range(_MOST_DRAWN)]
        shape["y"] = rows[kind].sort().gather(places).to_list()
    if rows.height >= FEW:
        return go.Violin(**shape, box_visible=True, meanline_visible=True, points=False, spanmode="hard")
    texts = [f"{plain(prompt)}, sample {sample}" for prompt, sample in rows.select(_KEYS).iter_rows()]
    return go.Box(**shape, text=texts, boxpoints="all", jitter=0.3, pointpos=0)


def quadrant_table(
    cells: Sequence[Mapping[str, Any]], *, benchmark: str, kind: str, window: int, harm_source: str, level: float
) -> go.Figure:
    """The four cells: how many traces lie in each, and how many of the complied ones harm.

    Args:
        cells: of strata.json, `cells["all"]` or the four of one label or category.
        benchmark: their benchmark.
        kind: which confidence was cut.
        window: tokens per group.
        harm_source: who says that a reply harms, as `tells.report.safety_numbers.harm_source` does.
        level: of the intervals.
    """
    title = f"{benchmark}: four cells ({kind}, window {window} tokens)"
    found = {cell["quadrant"]: cell for cell in cells}
    total = sum(cell["n"] for cell in cells)
    if total == 0:
        return nothing_to_show(title, "no trace has a cell")
    columns, rows = ("uncertain", "confident"), ("refusal", "compliance")
    grid = [[found[f"{column}_{row}"] for column in columns] for row in rows]
    figure = new_figure(
        title,
        subtitle=f"n = {total} traces; deeper colour: more of them; {harm_source}, on complied replies only; in "
        f"brackets: {percent(level)} interval by prompt, *: exact bound, [–]: none; few: fewer than {FEW}",
        x="confidence, up to the cut and above it",
        y="reply",
    )
    figure.add_trace(
        go.Heatmap(
            x=list(columns),
            y=list(rows),
            z=[[cell["n"] / total for cell in line] for line in grid],
            text=[[_cell_text(cell) for cell in line] for line in grid],
            customdata=[[[cell["n"], cell["n_prompts"], cell["n_unscored"]] for cell in line] for line in grid],
            texttemplate="%{text}",
            hovertemplate="%{x} %{y}<br>%{customdata[0]} traces of %{customdata[1]} prompts, "
            "%{customdata[2]} unscored<extra></extra>",
            colorscale=[[place / 2, colour] for place, colour in enumerate(SCALE)],
            zmin=0,
            zmax=1,
            showscale=False,
            xgap=3,
            ygap=3,
        )
    )
    return figure


def _cell_text(cell: Mapping[str, Any]) -> str:
    if not cell["n"]:
        return "no trace"
    counted = f"n = {cell['n']} traces{_few(cell['n'])}<br>of {cell['n_prompts']} prompts"
    if cell["quadrant"].endswith("refusal"):
        return f"{counted}<br>harm not asked"
    few = _few(cell["n_scored"]) if cell["n"] >= FEW else ""
    scored = f"harmful: {cell['n_harmful']} of {cell['n_scored']} scored{few}"
    unscored = f"<br>unscored: {cell['n_unscored']}" if cell["n_unscored"] else ""
    return f"{counted}<br>{scored}<br>{interval(cell, 'harm_rate')}{unscored}"


def _few(n: int) -> str:
    return " (few)" if n < FEW else ""


def risk_differences(
    hypothesis: Mapping[str, Any], *, benchmark: str, kind: str, window: int, harm_source: str
) -> go.Figure:
    """Harm rate of uncertain less that of confident compliance: of all, by prompt type, and controlled.

    Args:
        hypothesis: of strata.json.
        benchmark: its benchmark.
        kind: which confidence was cut.
        window: tokens per group.
        harm_source: who says that a reply harms.
    """
    title = f"{benchmark}: is uncertain compliance riskier? ({kind}, window {window} tokens)"
    found = {"all": hypothesis["risk_difference"]["difference"]}
    found |= {f"{one['label']} prompts": one["difference"] for one in hypothesis["by_label"]}
    found |= {"within prompt type": hypothesis["stratified"], "within type and length": hypothesis["length_controlled"]}
    known = {name: one for name, one in found.items() if one["value"] is not None}
    if not known:
        return nothing_to_show(title, found["all"]["reason"] or "no difference is defined")
    left_out = [name for name in found if name not in known]
    figure = new_figure(
        title,
        subtitle=f"n = {hypothesis['n']} complied, scored traces of {hypothesis['n_prompts']} prompts; bars: "
        f"{percent(hypothesis['level'])} intervals by prompt; {harm_source}"
        + (f"; undefined: {', '.join(left_out)}" if left_out else ""),
        x="harm rate: uncertain less confident",
        y="among",
    )
    for place, (name, one) in enumerate(known.items()):
        figure.add_trace(
            go.Scatter(
                x=[one["value"]],
                y=[name],
                error_x=error_bars(one["value"], one["low"], one["high"]),
                mode="markers",
                marker={"size": 10, "color": VERMILION if place == 0 else BLUE, "symbol": SYMBOLS[place]},
                hovertemplate=f"{name}: {interval(one, 'value')}<br>n = {one['n']} traces of {one['n_prompts']} prompts"
                "<extra></extra>",
            )
        )
    figure.add_vline(x=0, line={"dash": "dash", "width": 1})
    figure.update_yaxes(autorange="reversed", automargin=True)
    figure.update_layout(showlegend=False, height=150 + 60 * len(found))
    return figure


def trace_evolution(
    confidence: pl.DataFrame,
    reply_labels: pl.DataFrame,
    *,
    benchmark: str,
    by: Literal["label", "refusal"] = "refusal",
    least: int = 5,
) -> go.Figure:
    """Mean confidence of the traces' tokens at each position, with their middle half.

    Args:
        confidence: the confidence table.
        reply_labels: the reply_labels table of the same traces.
        benchmark: their benchmark.
        by: what separates the lines: the prompts' label, or whether the reply refuses, in full or in part.
        least: traces below which a position is left out: few traces are so long, and their mean jumps about.
    """
    what = {"label": "label of the prompt", "refusal": "refusal of the reply"}[by]
    title = f"{benchmark}: confidence along the trace, by {what}"
    kept = _kinds(reply_labels, by)
    names = _LABELS if by == "label" else _REFUSALS
    rows = confidence.select(*_KEYS, "confidence").join(kept, on=_KEYS, how="inner")
    rows = rows.filter(pl.col("kind").is_not_null())
    points = _by_position(rows)
    shown = points.filter(pl.col("n") >= least)
    if shown.is_empty():
        most = int(points["n"].max() or 0)
        known = {"label": "whose prompts are labelled", "refusal": "that refuse or comply"}[by]
        return nothing_to_show(title, f"no position has {least} traces {known} (most: {most})")
    subtitle = (
        f"n = {rows.height} of {confidence.height} traces of {rows['prompt_id'].n_unique()} prompts; line: mean of "
        "every generated token by itself, no window; band: middle half of the traces, no interval; positions with "
        f"fewer than {least} traces left out"
    )
    figure = new_figure(
        title, subtitle=subtitle, x="position in the trace (tokens, from 0)", y="token confidence (nats)"
    )
    for (name, colour), dash in zip(names.items(), ("solid", "dash"), strict=True):
        part = shown.filter(pl.col("kind") == name)
        if not part.is_empty():
            figure.add_traces(_evolution(part, name, colour, dash))
    whole_steps(figure, int(shown["position"].max() or 0))
    return figure


def _evolution(part: pl.DataFrame, name: str, colour: str, dash: str) -> list[go.Scatter]:
    """The band and the line of one kind of traces; a position alone is a point."""
    places = part["position"].to_list()
    line = go.Scatter(
        x=places,
        y=part["mean"].to_list(),
        customdata=part.select("n", "low", "high").rows(),
        mode="lines" if len(places) > 1 else "markers",
        line={"color": colour, "dash": dash},
        name=f"{name} (n = {part['n'].max()})",
        legendgroup=name,
        hovertemplate="position %{x}: %{y:.3f} nats<br>middle half %{customdata[1]:.3f} to "
        "%{customdata[2]:.3f}<br>n = %{customdata[0]} traces<extra></extra>",
    )
    return [band(places, part["low"].to_list(), part["high"].to_list(), colour, name), line]


def _kinds(reply_labels: pl.DataFrame, by: str) -> pl.DataFrame:
    """Which line each trace belongs to; null for none."""
    refused = pl.when(pl.col("refusal").is_in(["refusal", "partial"])).then(pl.lit("refused"))
    complied = refused.when(pl.col("refusal") == "compliance").then(pl.lit("complied"))
    return reply_labels.select(*_KEYS, kind=pl.col("label") if by == "label" else complied)


def _by_position(rows: pl.DataFrame) -> pl.DataFrame:
    """Mean, quartiles and number of traces at each position of each kind."""
    longest = int(rows["confidence"].list.len().max() or 0)
    step = max(1, _TOKENS_AT_ONCE // max(1, rows.height))
    blocks = [_block(rows, start, step) for start in range(0, max(1, longest), step)]
    return pl.concat(blocks).sort("kind", "position")


def _block(rows: pl.DataFrame, start: int, step: int) -> pl.DataFrame:
    """The same at `step` positions from `start` on: a block at a time, so that long tables need little memory."""
    cut = rows.select("kind", value=pl.col("confidence").list.slice(start, step))
    tokens = cut.filter(pl.col("value").list.len() > 0).with_columns(
        position=pl.int_ranges(start, start + pl.col("value").list.len())
    )
    tokens = tokens.explode("value", "position").with_columns(pl.col("value").cast(pl.Float64))
    return tokens.group_by("kind", "position", maintain_order=True).agg(
        mean=pl.col("value").mean(),
        low=pl.col("value").quantile(0.25, "linear"),
        high=pl.col("value").quantile(0.75, "linear"),
        n=pl.len(),
    )
