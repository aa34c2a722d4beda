"""Figures of the agreement: every signal against every outcome and every other signal, and what all of them add."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from tells.report.agreement_words import (
    is_significant,
    key_of,
    place_words,
    present_signals,
    signal_words,
)
from tells.report.figures.texts import bracketed, number, plain
from tells.report.figures.theme import BLUE, SYMBOLS, VERMILION, new_figure, nothing_to_show

Results = Mapping[str, Any]
# From the opposite over chance to the expected.
DIVERGING = [[0.0, VERMILION], [0.5, "#FFFFFF"], [1.0, BLUE]]
# Pixels of a row, and of what stands above and below the rows.
_ROW, _FRAME = 24, 240
# Signals up to which a matrix has room for its numbers.
_ROOM = 16
_METRICS = {
    "auroc": "AUROC",
    "auroc_within_length": "AUROC within fifths of the length",
    "average_precision": "average precision",
}


def signal_heatmap(results: Results, *, metric: str = "auroc") -> go.Figure:
    """A metric of every signal (rows) for every outcome of every collection (columns).

    Args:
        results: content of results.json.
        metric: `auroc` or `auroc_within_length`.
    """
    words = _METRICS[metric]
    title = f"{words} of every signal for every outcome"
    cells = [cell for cell in results["cells"] if cell["n_rows"]]
    names = present_signals(results)
    found = {(*key_of(one), one["signal"]): one for one in results["records"]}
    grid = [[found[(*key_of(cell), name)] for cell in cells] for name in names]
    if not any(one[metric] is not None for line in grid for one in line):
        return nothing_to_show(title, "no signal has a figure for any outcome")
    figure = new_figure(title, subtitle=_basis(results), x="", y="")
    figure.add_trace(_signal_cells(grid, cells, names, metric, words))
    figure.update_xaxes(type="category", automargin=True, tickangle=-35)
    figure.update_yaxes(type="category", autorange="reversed", automargin=True)
    figure.update_layout(height=_FRAME + 60 + _ROW * len(names))
    return figure


def _basis(results: Results) -> str:
    return plain(
        "below each column: n samples of so many groups (questions, prompts with their twins, pairs), split, share "
        f"that is so; intervals by group on hover; *: p < 0.05 after Holm over {results['tests']['n_tests']} tests "
        "of the AUROC; blank: absent"
    )


def _signal_cells(
    grid: Sequence[Sequence[Mapping[str, Any]]],
    cells: Sequence[Mapping[str, Any]],
    names: Sequence[str],
    metric: str,
    words: str,
) -> go.Heatmap:
    star = metric == "auroc"
    written = [
        [
            "" if one[metric] is None else f"{one[metric]:.2f}{'*' if star and is_significant(one) else ''}"
            for one in line
        ]
        for line in grid
    ]
    return go.Heatmap(
        x=[_column(cell) for cell in cells],
        y=[plain(signal_words(name)) for name in names],
        z=[[one[metric] for one in line] for line in grid],
        text=written,
        texttemplate="%{text}",
        textfont={"size": 11},
        customdata=[[_hover(one, metric, words) for one in line] for line in grid],
        hovertemplate="%{y}<br>%{x}<br>%{customdata}<extra></extra>",
        hoverongaps=False,
        zmin=0,
        zmax=1,
        colorscale=DIVERGING,
        colorbar={"title": {"text": f"{words}<br>(½: chance)", "font": {"size": 13}}},
        xgap=1,
        ygap=1,
        name=words,
    )


def _column(cell: Mapping[str, Any]) -> str:
    counts = f"{cell['n_rows']} of {cell['n_groups']}, {cell['split']}, {100 * cell['prevalence']:.0f}%"
    return f"{plain(place_words(cell))}<br>{counts}"


def _hover(one: Mapping[str, Any], metric: str, words: str) -> str:
    if one[metric] is None:
        return plain(one["reason"] or "no value")
    value = bracketed(one[metric], one[f"{metric}_low"], one[f"{metric}_high"], 3)
    tested = "" if one["p_holm"] is None or metric != "auroc" else f"<br>p (Holm) {one['p_holm']:.4f}"
    counts = f"n = {one['n_rows']} of {one['n_groups']}, {one['split']}, {100 * one['prevalence']:.0f}% are"
    return f"{words} {value}{tested}<br>{counts}"


def correlation_heatmap(record: Mapping[str, Any]) -> go.Figure:
    """Rank correlations between the signals of one collection, read as sureness.

    Args:
        record: of results.json, one of `correlations`.
    """
    title = f"{plain(record['collection'])}: rank correlation between signals"
    if record["reason"] is not None:
        return nothing_to_show(title, plain(record["reason"]))
    labels = [plain(signal_words(name)) for name in record["signals"]]
    values = record["values"]
    hover = [
        [bracketed(value, low, high) for value, low, high in zip(*line, strict=True)]
        for line in zip(values, record["low"], record["high"], strict=True)
    ]
    figure = new_figure(
        title,
        subtitle=f"Spearman; n = {record['n_rows']} samples of {record['n_groups']} groups, {record['split']}; signals "
        f"as sureness; {100 * record['level']:g}% intervals by group on hover",
        x="",
        y="",
    )
    figure.add_trace(
        go.Heatmap(
            x=labels,
            y=labels,
            z=values,
            text=[[number(value, 2) for value in line] for line in values] if len(labels) <= _ROOM else None,
            texttemplate="%{text}" if len(labels) <= _ROOM else None,
            customdata=hover,
            hovertemplate="%{y}<br>%{x}<br>ρ %{customdata}<extra></extra>",
            hoverongaps=False,
            zmin=-1,
            zmax=1,
            colorscale=DIVERGING,
            colorbar={"title": {"text": "ρ"}},
            name="correlations",
        )
    )
    figure.update_xaxes(type="category", automargin=True, tickangle=-60)
    figure.update_yaxes(type="category", autorange="reversed", automargin=True)
    figure.update_layout(height=_FRAME + 120 + _ROW * len(labels))
    return figure


def gains(results: Results) -> go.Figure:
    """AUROC of all signals together and of the best single one, a row a collection and outcome."""
    title = "all signals together, and the best one alone"
    shown = [one for one in results["combined"] if one["gain"]["value"] is not None]
    if not shown:
        why = "; ".join(f"{place_words(one)}: {one['reason']}" for one in results["combined"]) or "nothing was measured"
        return nothing_to_show(title, plain(why))
    labels = [_gain_label(one) for one in shown]
    figure = new_figure(title, subtitle=_gain_basis(results, shown), x="AUROC, held out", y="")
    for place, (key, words, colour) in enumerate(
        (("single", "best one, chosen in the training folds", VERMILION), ("model", "all together", BLUE))
    ):
        figure.add_trace(_points([one[key] for one in shown], labels, words, colour, SYMBOLS[place]))
    figure.add_vline(x=0.5, line={"width": 1, "dash": "dot", "color": "#6b6b6b"})
    figure.update_yaxes(categoryorder="array", categoryarray=labels[::-1], automargin=True)
    figure.update_layout(height=_FRAME + 2 * _ROW * len(shown))
    return figure


def _gain_label(one: Mapping[str, Any]) -> str:
    gain = one["gain"]
    told = bracketed(gain["value"], gain["low"], gain["high"])
    return plain(f"{place_words(one)} (n = {one['n_rows']} of {one['n_groups']}): gain {told}")


def _gain_basis(results: Results, shown: Sequence[Mapping[str, Any]]) -> str:
    level, folds = shown[0]["level"], shown[0]["folds"]
    left_out = len(results["combined"]) - len(shown)
    return (
        f"logistic model, {folds} folds by group; pairs of samples held out together; bars: {100 * level:g}% interval "
        f"by group; gains on the same draws{f'; left out: {left_out} without a model' if left_out else ''}"
    )


def _points(
    figures: Sequence[Mapping[str, Any]], labels: Sequence[str], words: str, colour: str, symbol: str
) -> go.Scatter:
    known = [one["low"] is not None for one in figures]
    return go.Scatter(
        x=[one["value"] for one in figures],
        y=list(labels),
        mode="markers",
        name=words,
        marker={"color": colour, "symbol": symbol, "size": 10},
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [one["high"] - one["value"] if there else None for one, there in zip(figures, known, strict=True)],
            "arrayminus": [
                one["value"] - one["low"] if there else None for one, there in zip(figures, known, strict=True)
            ],
        },
        hovertemplate="%{y}<br>%{x:.3f}<extra></extra>",
    )
