"""Figures of the safety study's curves: what cutting costs and saves, the arms side by side, and rates as n grows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import plotly.graph_objects as go
import polars as pl

from tells.report.figures.theme import (
    BLUE,
    DASHES,
    GREEN,
    PALETTE,
    PURPLE,
    SYMBOLS,
    VERMILION,
    band,
    error_bars,
    new_figure,
    nothing_to_show,
)
from tells.report.safety_numbers import interval

_SWEPT = {
    "safety": ("safety: 1 − harmful compliance", BLUE),
    "over_refusal": ("over-refusal", VERMILION),
    "saving": ("tokens saved", GREEN),
    "agreement": ("agreement with the full budget", PURPLE),
}
_RATES = {
    "any_of_n": ("any of n (grows by construction)", VERMILION),
    "majority": ("majority of n", BLUE),
    "mean": ("mean over traces", GREEN),
}
_EVENTS = {"harmful_compliance": ("harmful compliance", "harmful"), "over_refusal": ("over-refusal", "benign")}
_HOVERED = ("saving", "traces", "harmful_compliance", "over_refusal")


def percentile_curve(
    sweep: pl.DataFrame, *, benchmark: str, window: int, harm_source: str, configured: float | None = None
) -> go.Figure:
    """Safety, over-refusal, saving and agreement against the percentile of the warm-up below which a trace is cut.

    Args:
        sweep: the sweep table.
        benchmark: its benchmark.
        window: tokens per group.
        harm_source: who says that a reply harms.
        configured: percentile of the experiment's own setting, which is marked; None for no mark.
    """
    title = f"{benchmark}: adaptive sampling as cutting grows strict"
    if sweep.is_empty() or int(sweep["n"].max() or 0) == 0:
        return nothing_to_show(title, "no prompt has a pool of traces to simulate on")
    table = sweep.with_columns(safety=1.0 - pl.col("harmful_compliance")).sort("percentile")
    absent = [name for column, (name, _) in _SWEPT.items() if table[column].null_count() == table.height]
    left_out = f"; undefined: {', '.join(absent)}" if absent else ""
    figure = new_figure(
        title,
        subtitle=f"n = {table['n'].max()} prompts, means over orders of their traces, without intervals; "
        f"window {window} tokens; {harm_source}{left_out}",
        x="percentile of the warm-up's lowest confidence that cuts a trace: 100·(1 − keep)",
        y="share",
    )
    for (column, (name, colour)), dash in zip(_SWEPT.items(), DASHES, strict=True):
        known = table.filter(pl.col(column).is_not_null())
        if known.is_empty():
            continue
        figure.add_trace(
            go.Scatter(
                x=known["percentile"].to_list(),
                y=known[column].to_list(),
                customdata=known.select("keep", "n", "traces", "tokens").rows(),
                mode="lines+markers",
                line={"color": colour, "dash": dash},
                name=name,
                hovertemplate=f"{name}: %{{y:.3f}}<br>percentile %{{x:~g}}, keep %{{customdata[0]:~g}}<br>"
                "%{customdata[2]:.2f} traces, %{customdata[3]:.1f} tokens per prompt<br>"
                "n = %{customdata[1]} prompts<extra></extra>",
            )
        )
    if configured is not None:
        figure.add_vline(x=configured, line={"dash": "dot", "width": 1}, annotation_text="configured")
    figure.update_yaxes(range=[_lowest(table) - 0.02, 1.02])
    return figure


def _lowest(table: pl.DataFrame) -> float:
    """Where the axis begins: at 0, or at a saving below it."""
    return min(0.0, float(table["saving"].min() or 0.0))  # type: ignore[arg-type]


def arms_compared(arms: Sequence[Mapping[str, Any]], *, benchmark: str, harm_source: str) -> go.Figure:
    """Agreement with the full budget against tokens per prompt, a point an arm, both with intervals.

    Args:
        arms: of arms.json.
        benchmark: their benchmark.
        harm_source: who says that a reply harms.
    """
    title = f"{benchmark}: agreement against cost, by way of spending traces"
    shown = [arm for arm in arms if arm["agreement"]["estimate"] is not None and arm["tokens"]["estimate"] is not None]
    if not shown:
        return nothing_to_show(title, f"none of {len(arms)} arms has both tokens and agreement")
    numbers = sorted({arm["n"] for arm in shown})
    n = f"{numbers[0]}" if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"
    left_out = [arm["arm"] for arm in arms if arm not in shown]
    figure = new_figure(
        title,
        subtitle=f"n = {n} prompts; intervals over groups of prompts; {harm_source}"
        + (f"; undefined: {', '.join(left_out)}" if left_out else ""),
        x="tokens per prompt",
        y="agreement with the full budget's decision (share of prompts)",
    )
    for place, arm in enumerate(shown):
        tokens, agreement = arm["tokens"], arm["agreement"]
        figure.add_trace(
            go.Scatter(
                x=[tokens["estimate"]],
                y=[agreement["estimate"]],
                error_x=error_bars(tokens["estimate"], tokens["low"], tokens["high"]),
                error_y=error_bars(agreement["estimate"], agreement["low"], agreement["high"]),
                mode="markers",
                marker={
                    "symbol": SYMBOLS[place % len(SYMBOLS)],
                    "color": PALETTE[place % len(PALETTE)],
                    "size": 11,
                },
                name=arm["arm"],
                hovertemplate=f"{_arm_text(arm)}<extra></extra>",
            )
        )
    return figure


def _arm_text(arm: Mapping[str, Any]) -> str:
    lines = [
        f"<b>{arm['arm']}</b>",
        f"agreement {interval(arm['agreement'], 'estimate')} (n = {arm['agreement']['n']})",
        f"tokens {interval(arm['tokens'], 'estimate', 1)}",
    ]
    lines += [f"{name.replace('_', ' ')} {interval(arm[name], 'estimate')} (n = {arm[name]['n']})" for name in _HOVERED]
    return "<br>".join(lines)


def any_of_n_curve(
    any_of_n: pl.DataFrame,
    *,
    benchmark: str,
    harm_source: str,
    measure: Literal["harmful_compliance", "over_refusal"] = "harmful_compliance",
) -> go.Figure:
    """Any-of-n, majority and mean of the same replies as the number of traces grows, with intervals.

    Args:
        any_of_n: the any_of_n table.
        benchmark: its benchmark.
        harm_source: who says that a reply harms.
        measure: the event.
    """
    event, label = _EVENTS[measure]
    title = f"{benchmark}: {event} as the number of traces grows"
    table = any_of_n.filter((pl.col("measure") == measure) & pl.col("value").is_not_null()).sort("traces")
    if table.is_empty():
        return nothing_to_show(title, f"no {label} prompt has a scored reply")
    figure = new_figure(
        title,
        subtitle=f"n = {table['n'].max()} {label} prompts; bands: intervals over groups of prompts"
        + (f"; {harm_source}" if measure == "harmful_compliance" else ""),
        x="traces per prompt, n",
        y=f"{event} (share of {label} prompts)",
    )
    for (rate, (name, colour)), dash in zip(_RATES.items(), DASHES, strict=False):
        part = table.filter(pl.col("rate") == rate)
        if part.is_empty():
            continue
        places = part["traces"].to_list()
        figure.add_trace(band(places, part["low"].to_list(), part["high"].to_list(), colour, name))
        figure.add_trace(
            go.Scatter(
                x=places,
                y=part["value"].to_list(),
                customdata=part.select("n", "low", "high").rows(),
                mode="lines+markers",
                line={"color": colour, "dash": dash},
                name=name,
                legendgroup=name,
                hovertemplate=[_rate_text(name, row) for row in part.iter_rows(named=True)],
            )
        )
    figure.update_yaxes(range=[-0.02, 1.02])
    return figure


def _rate_text(name: str, row: Mapping[str, Any]) -> str:
    return f"{name}, {row['traces']} traces: {interval(row, 'value')}<br>n = {row['n']} prompts<extra></extra>"
