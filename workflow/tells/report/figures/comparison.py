"""One headline figure of several experiments, one below the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from tells.report.figures.texts import plain
from tells.report.figures.theme import PALETTE, SYMBOLS, error_bars, new_figure, nothing_to_show
from tells.report.headlines import Headline

# Pixels of a row, and of what stands above and below the rows.
_ROW, _FRAME = 34, 210


def headline_comparison(figure_name: str, of_experiment: Mapping[str, Sequence[Headline]]) -> go.Figure:
    """Values of one headline figure with their intervals, a row an experiment and subject.

    Args:
        figure_name: which headline figure.
        of_experiment: headlines by what the experiment is called.
    """
    rows = [(name, one) for name, found in of_experiment.items() for one in found if one.figure == figure_name]
    title = plain(figure_name)
    shown = [(name, one) for name, one in rows if one.value is not None]
    if not shown:
        why = "; ".join(f"{name}: {one.note}" for name, one in rows if one.note) or "no experiment has it"
        return nothing_to_show(title, plain(why))
    labels = [_label(name, one) for name, one in shown]
    made = new_figure(title, subtitle=_subtitle(shown, len(rows)), x=title, y="")
    for place, name in enumerate(of_experiment):
        own = [(label, one) for label, (owner, one) in zip(labels, shown, strict=True) if owner == name]
        if own:
            made.add_trace(_points(name, own, place))
    chances = {one.chance for _, one in shown if one.chance is not None}
    if len(chances) == 1:
        made.add_vline(x=chances.pop(), line={"width": 1, "dash": "dot", "color": "#6b6b6b"})
    made.update_yaxes(categoryorder="array", categoryarray=labels[::-1], automargin=True)
    made.update_layout(height=_FRAME + _ROW * len(labels), showlegend=len(of_experiment) > 1)
    return made


def _points(name: str, own: Sequence[tuple[str, Headline]], place: int) -> go.Scatter:
    bars = [error_bars(one.value, one.low, one.high) for _, one in own]
    return go.Scatter(
        x=[one.value for _, one in own],
        y=[label for label, _ in own],
        mode="markers",
        name=plain(name),
        marker={"color": PALETTE[place % len(PALETTE)], "symbol": SYMBOLS[place % len(SYMBOLS)], "size": 10},
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [bar["array"][0] if bar else None for bar in bars],
            "arrayminus": [bar["arrayminus"][0] if bar else None for bar in bars],
        },
        text=[plain(f"{one.n}, {one.split}") for _, one in own],
        hovertemplate="%{y}: %{x:.3f}<br>%{text}<extra></extra>",
    )


def _label(name: str, one: Headline) -> str:
    return plain(f"{name}: {one.subject} (n = {one.n}, {one.split})")


def _subtitle(shown: Sequence[tuple[str, Headline]], rows: int) -> str:
    levels = sorted({one.level for _, one in shown if one.level is not None})
    said = [f"bars: {', '.join(f'{100 * level:g}%' for level in levels)} interval" if levels else "no interval"]
    without = sum(one.low is None or one.high is None for _, one in shown)
    if levels and without:
        said.append(f"{without} without one")
    if len(shown) < rows:
        said.append(f"left out: {rows - len(shown)} without a value")
    if any(one.chance is not None for _, one in shown):
        said.append("dotted: chance, or the 95th percentile of chance")
    notes = sorted({one.note for _, one in shown if one.note})
    return plain("; ".join([*said, *notes]))
