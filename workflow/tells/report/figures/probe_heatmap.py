"""The search for a probe's place: best value at each layer and position, and the one that was chosen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import plotly.graph_objects as go

from tells.report.figures.theme import BLACK, SCALE, new_figure, nothing_to_show, whole_steps
from tells.report.figures.uncertainty_words import plain

_CHOICES = {
    "cross_validation": "cross-validated on the train and validation splits",
    "validation": "fitted on the train split, valued on the validation split",
    "none": "not chosen by a search",
}


def probe_heatmap(probe: Mapping[str, Any], *, fit: Mapping[str, Any] | None = None) -> go.Figure:
    """Best value of the search at each layer and position, over its strengths, with the chosen one marked.

    Args:
        probe: of results.json, one of `probes`: name, layer, position, heatmap.
        fit: the same probe in probes.json, which says how it was chosen and on what; None where it is not at hand.
    """
    name = plain(probe["name"])
    title = f"{name} probe: best value of the search by layer and position"
    if fit is not None:
        title = f"{', '.join(plain(dataset) for dataset in fit['trained_on'])}: {title}"
    cells = {(cell["layer"], cell["position"]): cell for cell in probe["heatmap"]}
    if not cells:
        return nothing_to_show(title, f"layer and position of {name} were not searched for")
    if all(cell["value"] is None for cell in cells.values()):
        return nothing_to_show(title, f"none of the {len(cells)} places that were searched has a value")
    metric = "Spearman correlation" if _is_ridge(probe, fit) else "AUROC"
    figure = new_figure(
        title,
        subtitle=_subtitle(fit, metric),
        x="layer (block index, from 0)",
        y="position of the state",
    )
    figure.add_trace(_cells(cells, metric))
    figure.add_trace(_mark(probe, cells))
    figure.update_layout(showlegend=True)
    figure.update_yaxes(type="category", autorange="reversed")
    whole_steps(figure, max(layer for layer, _ in cells))
    return figure


def _is_ridge(probe: Mapping[str, Any], fit: Mapping[str, Any] | None) -> bool:
    if fit is not None:
        return fit["kind"] == "ridge"
    return probe["name"].split("@")[0].split(".")[0] == "semantic_entropy_raw"


def _subtitle(fit: Mapping[str, Any] | None, metric: str) -> str:
    """What the values rest on; a search's best is no test result."""
    said = f"{metric}, best over the regularisation strengths; for the choice alone, not a test result; no interval"
    if fit is None:
        return f"{said}; split and numbers of runs: see probes.json"
    train = fit["n_train_rows"], fit["n_train_questions"]
    held = fit["n_validation_rows"], fit["n_validation_questions"]
    counts = "; ".join(
        f"{split}: n = {runs} runs of {questions} questions"
        for split, (runs, questions) in (("train", train), ("validation", held))
    )
    return f"{_CHOICES.get(fit['selection'], plain(fit['selection']))}; {counts}; {said}"


def _cells(cells: Mapping[tuple[int, str], Mapping[str, Any]], metric: str) -> go.Heatmap:
    """A row a position, a column a layer; a hole where nothing was searched or no value found."""
    layers = sorted({layer for layer, _ in cells})
    positions = list(dict.fromkeys(position for _, position in cells))
    grid = [[cells.get((layer, position)) for layer in layers] for position in positions]
    values = [cell["value"] for cell in cells.values() if cell["value"] is not None]
    return go.Heatmap(
        x=layers,
        y=[plain(position) for position in positions],
        z=[[None if cell is None else cell["value"] for cell in line] for line in grid],
        text=[[_strength(cell) for cell in line] for line in grid],
        zmin=min(0.0 if metric.startswith("Spearman") else 0.5, *values),
        zmax=max(values),
        colorscale=[[place / 2, colour] for place, colour in enumerate(SCALE)],
        colorbar={"title": {"text": f"{metric}<br>(larger: better)", "font": {"size": 13}}},
        hovertemplate=f"layer %{{x}}, %{{y}}<br>{metric} %{{z:.3f}}<br>%{{text}}<extra></extra>",
        hoverongaps=False,
        xgap=1,
        ygap=1,
        showlegend=False,
        name="search",
    )


def _strength(cell: Mapping[str, Any] | None) -> str:
    """Regularisation of the best value; blank without a cell."""
    return "" if cell is None or cell["strength"] is None else f"strength {cell['strength']:g}"


def _mark(probe: Mapping[str, Any], cells: Mapping[tuple[int, str], Mapping[str, Any]]) -> go.Scatter:
    """An open square around the chosen cell."""
    chosen = cells.get((probe["layer"], probe["position"]))
    value = "" if chosen is None or chosen["value"] is None else f", {chosen['value']:.3f}"
    name = f"chosen: layer {probe['layer']}, {plain(probe['position'])}{value}"
    return go.Scatter(
        x=[probe["layer"]],
        y=[plain(probe["position"])],
        mode="markers",
        marker={"symbol": "square-open", "size": 16, "color": BLACK, "line": {"width": 3}},
        name=name,
        hoverinfo="skip",
    )
