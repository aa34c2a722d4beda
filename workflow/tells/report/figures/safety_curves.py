"""Figures of the safety study's curves: what cutting costs and saves, the arms side by side, and rates as n grows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import plotly.graph_objects as go
import polars as pl

from tells.report.figures.texts import plain
from tells.report.figures.theme import (
    BLACK,
    BLUE,
    DASHES,
    GREEN,
    ORANGE,
    PALETTE,
    PURPLE,
    SYMBOLS,
    VERMILION,
    band,
    error_bars,
    new_figure,
    nothing_to_show,
    whole_steps,
)
from tells.report.safety_numbers import REFERENCE, interval, percent, sizes

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
_REPLIES = {"refused": (GREEN, "solid"), "complied": (ORANGE, "dash"), "unclear": (BLACK, "dot")}
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
    if len(absent) == len(_SWEPT):
        return nothing_to_show(title, f"undefined on all {table['n'].max()} prompts: {', '.join(absent)}")
    left_out = f"; undefined: {', '.join(absent)}" if absent else ""
    figure = new_figure(
        title,
        subtitle=f"n = {table['n'].max()} prompts, means over orders of their traces, without intervals; safety: of "
        f"the harmful ones, over-refusal: of the benign ones; window {window} tokens; {harm_source}{left_out}",
        x="percentile of the warm-up's lowest confidence<br>that cuts a trace: 100·(1 − keep)",
        y="share",
    )
    for (column, (name, colour)), dash in zip(_SWEPT.items(), DASHES, strict=True):
        known = table.filter(pl.col(column).is_not_null())
        if not known.is_empty():
            figure.add_trace(_swept(known, column, name, colour, dash))
    if configured is not None:
        figure.add_vline(x=configured, line={"dash": "dot", "width": 1}, annotation_text="configured")
    figure.update_yaxes(range=[_lowest(table) - 0.02, 1.02])
    return figure


def _swept(known: pl.DataFrame, column: str, name: str, colour: str, dash: str) -> go.Scatter:
    return go.Scatter(
        x=known["percentile"].to_list(),
        y=known[column].to_list(),
        customdata=known.select("keep", "n", "traces", "tokens").rows(),
        mode="lines+markers",
        line={"color": colour, "dash": dash},
        name=name,
        hovertemplate=f"{name}: %{{y:.3f}}<br>percentile %{{x:~g}}, keep %{{customdata[0]:~g}}<br>"
        "%{customdata[2]:.2f} traces, %{customdata[3]:.1f} tokens per prompt<br>"
        "n = %{customdata[1]} prompts in all<extra></extra>",
    )


def _lowest(table: pl.DataFrame) -> float:
    """Where the axis begins: at 0, or at a saving below it."""
    return min(0.0, float(table["saving"].min() or 0.0))  # type: ignore[arg-type]


def arms_compared(
    arms: Sequence[Mapping[str, Any]], *, benchmark: str, window: int, harm_source: str, level: float
) -> go.Figure:
    """Agreement with the full budget against tokens per prompt, a point an arm, both with intervals.

    The full budget agrees with itself by definition. Arms that are alike in both are one point that bears all their
    names.

    Args:
        arms: of arms.json.
        benchmark: their benchmark.
        window: tokens per group, by which the adaptive arms cut.
        harm_source: who says that a reply harms.
        level: of the intervals.
    """
    title = f"{benchmark}: agreement against cost, by way of spending traces"
    shown = [arm for arm in arms if arm["agreement"]["estimate"] is not None and arm["tokens"]["estimate"] is not None]
    if not shown:
        return nothing_to_show(title, f"none of {len(arms)} arms has both tokens and agreement")
    left_out = [arm["arm"] for arm in arms if arm not in shown]
    mixed = any(arm["arm"] == "fixed_matched" for arm in shown)
    figure = new_figure(
        title,
        subtitle=f"{sizes([arm['agreement']['n'] for arm in shown])} prompts; agreement: with the full budget's "
        f"decision; {percent(level)} intervals over groups of prompts; window {window} tokens; {harm_source}"
        + ("; fixed_matched: as many tokens as adaptive, by mixing two numbers of traces" if mixed else "")
        + (f"; undefined: {', '.join(left_out)}" if left_out else ""),
        x="tokens per prompt",
        y="agreement (share)",
    )
    for place, alike in enumerate(_alike(shown)):
        figure.add_trace(_arm_point(alike, SYMBOLS[place % len(SYMBOLS)], PALETTE[place % len(PALETTE)]))
    figure.update_layout(showlegend=True)
    return figure


def _alike(arms: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """Arms of the same tokens and agreement, intervals included, together: one point would hide the other."""
    found: dict[tuple[float | None, ...], list[Mapping[str, Any]]] = {}
    for arm in arms:
        place = tuple(arm[figure][end] for figure in ("tokens", "agreement") for end in ("estimate", "low", "high"))
        found.setdefault(place, []).append(arm)
    return list(found.values())


def _arm_point(alike: Sequence[Mapping[str, Any]], symbol: str, colour: str) -> go.Scatter:
    tokens, agreement = alike[0]["tokens"], alike[0]["agreement"]
    names = [arm["arm"] for arm in alike]
    itself = " (agrees with itself)" if names == [REFERENCE] else ""
    return go.Scatter(
        x=[tokens["estimate"]],
        y=[agreement["estimate"]],
        error_x=error_bars(tokens["estimate"], tokens["low"], tokens["high"]),
        error_y=error_bars(agreement["estimate"], agreement["low"], agreement["high"]),
        mode="markers",
        # Open, so that a point which is nearly the same still shows.
        marker={"symbol": f"{symbol}-open", "color": colour, "size": 11, "line": {"width": 2}},
        name=f"{' = '.join(names)}{itself}",
        hovertemplate="<br>".join(_arm_text(arm) for arm in alike) + "<extra></extra>",
    )


def _arm_text(arm: Mapping[str, Any]) -> str:
    lines = [
        f"<b>{arm['arm']}</b>",
        f"agreement {interval(arm['agreement'], 'estimate')} (n = {arm['agreement']['n']})",
        f"tokens {interval(arm['tokens'], 'estimate', 1)} (n = {arm['tokens']['n']})",
    ]
    lines += [f"{name.replace('_', ' ')} {interval(arm[name], 'estimate')} (n = {arm[name]['n']})" for name in _HOVERED]
    return "<br>".join(lines)


def any_of_n_curve(
    any_of_n: pl.DataFrame,
    *,
    benchmark: str,
    harm_source: str,
    level: float,
    measure: Literal["harmful_compliance", "over_refusal"] = "harmful_compliance",
) -> go.Figure:
    """Any-of-n, majority and mean of the same replies as the number of traces grows, with intervals.

    Args:
        any_of_n: the any_of_n table.
        benchmark: its benchmark.
        harm_source: who says that a reply harms.
        level: of the intervals.
        measure: the event.
    """
    event, label = _EVENTS[measure]
    title = f"{benchmark}: {event} as the number of traces grows"
    table = any_of_n.filter((pl.col("measure") == measure) & pl.col("value").is_not_null()).sort("traces")
    if table.is_empty():
        return nothing_to_show(title, f"no {label} prompt has a scored reply")
    figure = new_figure(
        title,
        subtitle=f"n = {table['n'].max()} {label} prompts; bands: {percent(level)} intervals over groups of prompts"
        + (f"; {harm_source}" if measure == "harmful_compliance" else ""),
        x="traces per prompt, n",
        y=f"share of {label} prompts",
    )
    for (rate, (name, colour)), dash in zip(_RATES.items(), DASHES, strict=False):
        part = table.filter(pl.col("rate") == rate)
        if not part.is_empty():
            figure.add_traces(_rate(part, name, colour, dash))
    whole_steps(figure, int(table["traces"].max()))  # type: ignore[arg-type]
    figure.update_yaxes(range=[-0.02, 1.02])
    return figure


def _rate(part: pl.DataFrame, name: str, colour: str, dash: str) -> list[go.Scatter]:
    """The band and the line of one rate."""
    places = part["traces"].to_list()
    line = go.Scatter(
        x=places,
        y=part["value"].to_list(),
        customdata=part.select("n", "low", "high").rows(),
        mode="lines+markers",
        line={"color": colour, "dash": dash},
        name=name,
        legendgroup=name,
        hovertemplate=[_rate_text(name, row) for row in part.iter_rows(named=True)],
    )
    return [band(places, part["low"].to_list(), part["high"].to_list(), colour, name), line]


def _rate_text(name: str, row: Mapping[str, Any]) -> str:
    return f"{name}, {row['traces']} traces: {interval(row, 'value')}<br>n = {row['n']} prompts<extra></extra>"


def prompt_traces(
    traces: Sequence[Mapping[str, Any]], *, prompt: str, window: int, threshold: float | None, warmup: int
) -> go.Figure:
    """Confidence along each trace of a prompt as early stopping sees it, the threshold, and where each is cut.

    Args:
        traces: for each `sample`, `reply` (`refused`, `complied` or `unclear`), `n_tokens`, `groups` (confidences of
            its windows, nats) and `kept`, the tokens up to its cut, or None.
        prompt: its id.
        window: tokens per group.
        threshold: what a trace is cut below, nats; None for none.
        warmup: traces that set the threshold and are not cut.
    """
    title = f"{plain(prompt)}: confidence along each trace"
    shown = [trace for trace in traces if trace["groups"]]
    if not shown:
        return nothing_to_show(title, f"none of {len(traces)} traces has tokens")
    figure = new_figure(
        title,
        subtitle=f"n = {len(shown)} traces; each point the mean of a window of {window} tokens, at its last token; a "
        f"trace shorter than that is one point; ×: the first full window below the threshold, which the first {warmup} "
        "traces set",
        x="tokens generated",
        y="confidence of the window (nats)",
    )
    named: set[str] = set()
    for trace in shown:
        figure.add_trace(_windows(trace, window, first=trace["reply"] not in named))
        named.add(trace["reply"])
    cuts = [trace for trace in shown if trace["kept"] is not None]
    if cuts:
        figure.add_trace(_cuts(cuts, window))
    if threshold is not None:
        line = {"dash": "dash", "width": 1}
        figure.add_hline(y=threshold, line=line, annotation_text=f"threshold: {threshold:.3f} nats")
    figure.update_layout(showlegend=True)
    return figure


def _windows(trace: Mapping[str, Any], window: int, *, first: bool) -> go.Scatter:
    """One trace; a reply's colour and dashes stand in the legend once."""
    colour, dash = _REPLIES[trace["reply"]]
    groups = list(trace["groups"])
    start = min(window, trace["n_tokens"])
    return go.Scatter(
        x=list(range(start, start + len(groups))),
        y=groups,
        mode="lines" if len(groups) > 1 else "markers",
        line={"color": colour, "dash": dash, "width": 1.5},
        marker={"color": colour, "size": 6},
        name=trace["reply"],
        legendgroup=trace["reply"],
        showlegend=first,
        hovertemplate=f"trace {trace['sample']} ({trace['reply']})<br>token %{{x}}: %{{y:.3f}} nats<extra></extra>",
    )


def _cuts(cuts: Sequence[Mapping[str, Any]], window: int) -> go.Scatter:
    return go.Scatter(
        x=[trace["kept"] for trace in cuts],
        y=[trace["groups"][trace["kept"] - window] for trace in cuts],
        mode="markers",
        marker={"symbol": "x-thin", "color": BLACK, "size": 11, "line": {"width": 2.5, "color": BLACK}},
        name="below the threshold",
        customdata=[trace["sample"] for trace in cuts],
        hovertemplate="trace %{customdata}: below the threshold after %{x} tokens, %{y:.3f} nats<extra></extra>",
    )
