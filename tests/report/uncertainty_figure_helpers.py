"""What tests of the uncertainty study's figures share: their words, and a probe that was searched for."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go


def title(figure: go.Figure) -> str:
    found = figure.layout.title
    return f"{found.text} {(found.subtitle.text or '').replace('<br>', ' ')}"


def reason(figure: go.Figure) -> str:
    """Why a figure is empty."""
    assert not figure.data
    (note,) = figure.layout.annotations
    assert note.text.startswith("nothing to show: ")
    return note.text.removeprefix("nothing to show: ").replace("<br>", " ")


def searched(name: str = "accuracy", **other: Any) -> dict[str, Any]:
    """A probe of results.json; layer 1 has no value at `think_end`, and layer 2 was not searched there."""
    values = {(0, "answer_mean"): 0.6, (1, "answer_mean"): 0.75, (2, "answer_mean"): 0.55, (0, "think_end"): 0.4}
    heatmap = [
        {"layer": layer, "position": position, "strength": 0.01, "value": value}
        for (layer, position), value in {**values, (1, "think_end"): None}.items()
    ]
    return {"name": name, "layer": 1, "position": "answer_mean", "heatmap": heatmap, **other}


FIT = {
    "kind": "logistic",
    "selection": "cross_validation",
    "trained_on": ["sums"],
    "n_train_rows": 765,
    "n_train_questions": 96,
    "n_validation_rows": 254,
    "n_validation_questions": 32,
}
