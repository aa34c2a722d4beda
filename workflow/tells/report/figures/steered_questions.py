"""Figure of the steered run: accuracy, entropy and confidence of the same questions in every arm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from tells.report.agreement_words import arm_words
from tells.report.figures.texts import bracketed, plain, span
from tells.report.figures.theme import PALETTE, SYMBOLS, new_figure, nothing_to_show

Results = Mapping[str, Any]
_PANELS = {
    "accuracy": "accuracy",
    "semantic_entropy": "semantic entropy (nats)",
    "confidence": "confidence (nats)",
}
# Pixels of an arm, and of what stands above and below.
_ROW, _FRAME = 30, 260


def steered_means(results: Results) -> go.Figure:
    """Means by arm (rows) of the three outcomes (panels), a colour a data set.

    Args:
        results: content of results.json.
    """
    title = "the same questions, steered"
    steered = results["confidence_direction"]["steering"]
    if steered is None:
        return nothing_to_show(title, plain(results["confidence_direction"]["steering_reason"]))
    figure = new_figure(title, subtitle=_basis(results, steered), x="", y="")
    panels = make_subplots(cols=len(_PANELS), shared_yaxes=True, horizontal_spacing=0.05, figure=figure)
    names = list(dict.fromkeys(one["collection"] for one in steered["means"]))
    for place, name in enumerate(names):
        for panel, outcome in enumerate(_PANELS, start=1):
            own = [one for one in steered["means"] if one["collection"] == name and one["outcome"] == outcome]
            panels.add_trace(_points(own, name, place, legend=panel == 1), row=1, col=panel)
    for panel, words in enumerate(_PANELS.values(), start=1):
        panels.update_xaxes(title={"text": words}, row=1, col=panel)
    arms = list(dict.fromkeys(arm_words(one["arm"]) for one in steered["means"]))
    panels.update_yaxes(type="category", categoryorder="array", categoryarray=arms[::-1], automargin=True)
    panels.update_layout(height=_FRAME + _ROW * len(arms), scattermode="group")
    return panels


def _basis(results: Results, steered: Results) -> str:
    sets = steered["collections"]
    level = 100 * steered["means"][0]["level"]
    questions = span([one["n_questions"] for one in sets])
    splits = ", ".join(dict.fromkeys(one["split"] for one in sets))
    return plain(
        f"along {results['confidence_direction']['trait']} in block {steered['layer']}, r = {steered['ratio']:g}; n = "
        f"{questions} questions a data set ({splits}), {span([one['n_runs'] for one in sets])} answers in all arms; "
        f"bars: {level:g}% interval by question"
    )


def _points(means: Sequence[Mapping[str, Any]], name: str, place: int, *, legend: bool) -> go.Scatter:
    known = [one["low"] is not None for one in means]
    above = [one["high"] - one["mean"] if there else None for one, there in zip(means, known, strict=True)]
    below = [one["mean"] - one["low"] if there else None for one, there in zip(means, known, strict=True)]
    return go.Scatter(
        x=[one["mean"] for one in means],
        y=[arm_words(one["arm"]) for one in means],
        customdata=[
            f"{bracketed(one['mean'], one['low'], one['high'], 3)}<br>n = {one['n_questions']} questions, "
            f"{one['n_runs']} answers, {plain(one['split'])}"
            for one in means
        ],
        mode="markers",
        name=plain(name),
        legendgroup=plain(name),
        showlegend=legend,
        offsetgroup=str(place),
        marker={"color": PALETTE[place % len(PALETTE)], "symbol": SYMBOLS[place % len(SYMBOLS)], "size": 9},
        error_x={"type": "data", "symmetric": False, "array": above, "arrayminus": below},
        orientation="h",
        hovertemplate="%{y}<br>%{customdata}<extra></extra>",
    )
