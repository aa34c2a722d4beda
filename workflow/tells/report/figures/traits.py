"""Figures of the traits study's vectors: how well each tells the poles apart, how alike they are, what was judged.

What the vectors do to a model's answers is in `tells.report.figures.steering`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import plotly.graph_objects as go
import polars as pl

from tells.report.figures.texts import bracketed, judged_by, number, plain, span
from tells.report.figures.theme import BLACK, BLUE, VERMILION, new_figure, nothing_to_show

__all__ = ["cosine_matrix", "score_distributions", "vector_heatmap"]

Part = Literal["cross_validated", "validation", "test", "train"]
Metric = Literal["cohens_d", "hedges_g", "auc", "accuracy"]

# From the pole of negative values to that of positive ones.
_DIVERGING = ((0.0, VERMILION), (0.5, "#FFFFFF"), (1.0, BLUE))
_METRICS = {"cohens_d": "Cohen's d", "hedges_g": "Hedges' g", "auc": "AUC", "accuracy": "balanced accuracy"}
# Metrics that have an interval and a null band in the file, and what the band is of.
_MEASURED = {"cohens_d": "|d|", "auc": "AUC either way"}
# Metrics whose value without knowledge is a half.
_HALVES = ("auc", "accuracy")
_PARTS = {
    "cross_validated": "held out by nested folds",
    "validation": "validation pairs, by which the best is chosen",
    "test": "test pairs, held out",
    "train": "pairs it was fitted on: flattering",
}
# Parts whose rows the random directions were measured on.
_BANDED = ("cross_validated", "test")
_POLES = {"positive": (BLUE, "circle"), "negative": (VERMILION, "diamond")}
_COLUMNS = {"scenarios": ["prompt_id"], "responses": ["prompt_id", "sample"]}
# Texts below which each is a point: a density of so few misleads.
_FEW = 20
# Traits up to which a cell has room for its number.
_ROOM = 12

_Grid = dict[tuple[Any, Any], Mapping[str, Any]]


def vector_heatmap(
    vectors: Mapping[str, Any],
    *,
    trait: str,
    part: Part | None = None,
    metric: Metric = "cohens_d",
    judge: Mapping[str, Any] | None = None,
    level: float = 0.95,
) -> go.Figure:
    """How well the vector of each method and layer tells the poles apart; blank where there is none, with its reason.

    Args:
        vectors: content of vectors.json.
        trait: its name.
        part: whose rows; None for those held out: nested folds, else test.
        metric: what is shown.
        judge: who vetted the pairs; None where nobody did.
        level: of the intervals in the file.
    """
    records = vectors["records"]
    if part is None:
        folded = any(record["cross_validated_n_pairs"] is not None for record in records)
        part = "cross_validated" if folded else "test"
    title = f"{plain(trait)}: {_METRICS[metric]} of the vectors ({_PARTS[part]})"
    if all(record[f"{part}_{metric}"] is None for record in records):
        return nothing_to_show(title, _why_blank(vectors, part))
    subtitle = _heatmap_subtitle(vectors, part, metric, level)
    figure = new_figure(title, subtitle=f"{subtitle}; vetted by: {judged_by(judge)}", x="layer", y="method")
    grid = {(record["method"], record["layer"]): record for record in records}
    methods = list(dict.fromkeys(record["method"] for record in records))
    layers = sorted({record["layer"] for record in records})
    figure.add_trace(_heatmap(grid, methods, layers, part, metric))
    if part in _BANDED and metric in _MEASURED:
        places = [place for place, record in grid.items() if _in_band(record, part, metric)]
        figure.add_trace(_marks(places, "within the null band", "x-thin", 6))
    best = vectors["best"]
    if best and best["method"] is not None:
        figure.add_trace(_marks([(best["method"], best["layer"])], "best on the pairs that choose", "star-open", 13))
    for axis in (figure.layout.xaxis, figure.layout.yaxis):
        axis.type = "category"
    figure.update_layout(showlegend=True, margin={"l": 130})
    return figure


def _why_blank(vectors: Mapping[str, Any], part: str) -> str:
    best = vectors["best"] or {}
    reasons = [vectors["reason"], best.get("reason"), *(record["reason"] for record in vectors["records"])]
    return plain(next((reason for reason in reasons if reason), f"no vector has figures of part {part}"))


def _heatmap_subtitle(vectors: Mapping[str, Any], part: str, metric: str, level: float) -> str:
    records = vectors["records"]
    known = [record for record in records if record[f"{part}_{metric}"] is not None]
    pairs = span([record[f"{part}_n_pairs"] for record in known])
    rows = [span([record[f"{part}_n_{pole}"] for record in known]) for pole in ("positive", "negative")]
    window = plain(vectors["metadata"]["window"])
    told = [
        f"n = {pairs} pairs, {rows[0]} positive and {rows[1]} negative rows; window {window}",
        f"{len(known)} of {len(records)} vectors have a figure",
        "no intervals"
        if part == "train" or metric not in _MEASURED
        else f"on hover: {100 * level:g}% interval by pair",
        _band(records, part, metric),
    ]
    if vectors["status"] != "ok":
        told.append(plain(f"{vectors['status']}: {vectors['reason']}"))
    return "; ".join(told)


def _band(records: Sequence[Mapping[str, Any]], part: str, metric: str) -> str:
    """What random directions reach, in words."""
    if metric not in _MEASURED:
        return "no null band of this metric"
    if part not in _BANDED:
        return "no null band on these rows"
    bands = [record[f"null_{metric}"] for record in records if record[f"null_{metric}"] is not None]
    if not bands:
        return "no null band in the file"
    about = f"{number(min(bands), 2)}–{number(max(bands), 2)}"
    return f"null band: 95th percentile of {_MEASURED[metric]} of random directions, {about} by vector"


def _heatmap(grid: _Grid, methods: Sequence[str], layers: Sequence[int], part: str, metric: str) -> go.Heatmap:
    values = [[grid.get((method, layer), {}).get(f"{part}_{metric}") for layer in layers] for method in methods]
    centre, known = 0.0, [value for line in values for value in line if value is not None]
    reach = max(map(abs, known))
    if metric in _HALVES:
        centre, reach = 0.5, 0.5
    texts = [
        [f"{plain(method)}, layer {layer}<br>{_cell(grid.get((method, layer)), part, metric)}" for layer in layers]
        for method in methods
    ]
    return go.Heatmap(
        x=[str(layer) for layer in layers],
        y=[plain(method) for method in methods],
        z=values,
        zmin=centre - (reach or 1.0),
        zmax=centre + (reach or 1.0),
        colorscale=_DIVERGING,
        colorbar={"title": {"text": _METRICS[metric]}},
        hovertext=texts,
        hoverinfo="text",
        hoverongaps=True,
        name=_METRICS[metric],
        xgap=1,
        ygap=1,
    )


def _cell(record: Mapping[str, Any] | None, part: str, metric: str) -> str:
    """What a cell says on hover."""
    if record is None:
        return "not among the run's vectors"
    value, low, high = (record.get(f"{part}_{metric}{end}") for end in ("", "_low", "_high"))
    if value is None:
        lacking = "no vector" if record["norm"] is None else "no figure"
        return f"{lacking}: {plain(record[f'{part}_reason'] or record['reason'] or 'no reason given')}"
    lines = [
        f"{_METRICS[metric]} {bracketed(value, low, high)} (n = {record[f'{part}_n_pairs']} pairs)",
        f"fitted on {plain(record['fitted_on'])}",
    ]
    if part in _BANDED and metric in _MEASURED:
        inside = " (not above it)" if _in_band(record, part, metric) else ""
        lines.append(f"null band {number(record[f'null_{metric}'], 2)}{inside}")
    return "<br>".join([*lines, *(f"warning: {plain(warning)}" for warning in record["warnings"])])


def _in_band(record: Mapping[str, Any], part: str, metric: str) -> bool:
    value, limit = record[f"{part}_{metric}"], record[f"null_{metric}"]
    if value is None or limit is None:
        return False
    return (abs(value) if metric == "cohens_d" else max(value, 1.0 - value)) <= limit


def _marks(places: Sequence[tuple[Any, Any]], name: str, symbol: str, size: int) -> go.Scatter:
    return go.Scatter(
        x=[str(layer) for _, layer in places],
        y=[plain(method) for method, _ in places],
        mode="markers",
        marker={"symbol": symbol, "size": size, "color": BLACK, "line": {"width": 1.5, "color": BLACK}},
        name=f"{name} ({len(places)})" if len(places) != 1 else name,
        # So that the cell below is what answers the pointer.
        hoverinfo="skip",
    )


def cosine_matrix(results: Mapping[str, Any], *, method: str, layer: int) -> go.Figure:
    """Cosines between the traits' vectors of one method and layer; a star where that vector is the trait's best.

    Traits may have their best vectors at different places; only vectors of one place are held against each other.

    Args:
        results: content of the study's results.json.
        method: of the vectors.
        layer: of the vectors, from 0.
    """
    title = f"cosines between traits ({plain(method)}, layer {layer})"
    wanted = [one["cosines"] for one in results["cosines"] if (one["method"], one["layer"]) == (method, layer)]
    if not wanted:
        return nothing_to_show(title, f"no two traits have a vector of {plain(method)} at layer {layer}")
    cosines = wanted[0]
    traits = list(cosines)
    best = {trait["trait"]: trait["best_by_validation"] or {} for trait in results["traits"]}
    chosen = {trait for trait in traits if _place(best.get(trait, {})) == (method, layer)}
    labels = [f"{plain(trait)}{' ★' if trait in chosen else ''}" for trait in traits]
    window = plain(results["metadata"]["window"])
    figure = new_figure(
        title,
        subtitle=f"n = {len(traits)} traits; vectors of length 1, window {window}; no split: the vectors themselves; "
        f"no intervals; ★: best on validation here ({len(chosen)} of {len(traits)})",
        x="trait",
        y="trait",
    )
    values = [[cosines[row].get(column) for column in traits] for row in traits]
    texts = [
        [f"{down} · {across}<br>cosine {number(value, 3)}" for across, value in zip(labels, line, strict=True)]
        for down, line in zip(labels, values, strict=True)
    ]
    written = [[number(value, 2) for value in line] for line in values] if len(traits) <= _ROOM else None
    figure.add_trace(_cosines(labels, values, written, texts))
    figure.update_xaxes(type="category", automargin=True, title={"standoff": 20})
    figure.update_yaxes(type="category", autorange="reversed", automargin=True)
    return figure


def _place(best: Mapping[str, Any]) -> tuple[Any, Any]:
    return best.get("method"), best.get("layer")


def _cosines(labels: Sequence[str], values: Any, written: Any, texts: Any) -> go.Heatmap:
    return go.Heatmap(
        x=labels,
        y=labels,
        z=values,
        zmin=-1,
        zmax=1,
        colorscale=_DIVERGING,
        colorbar={"title": {"text": "cosine"}},
        text=written,
        texttemplate=None if written is None else "%{text}",
        hovertext=texts,
        hoverinfo="text",
        xgap=2,
        ygap=2,
    )


def score_distributions(
    vetting: pl.DataFrame, record: Mapping[str, Any], *, trait: str, stage: Literal["scenarios", "responses"]
) -> go.Figure:
    """Scores of the two poles' texts, with the thresholds that a text must pass.

    Args:
        vetting: the vetting table.
        record: content of vetting.json.
        trait: its name.
        stage: whether scenarios or responses are shown.
    """
    title = f"{plain(trait)}: judged {stage}"
    counted = {one["polarity"]: one for one in record["stages"] if one["stage"] == stage}
    score, status = f"{stage[:-1]}_score", f"{stage[:-1]}_status"
    # A scenario's score stands at each of its responses.
    texts = vetting.unique(_COLUMNS[stage], keep="first", maintain_order=True)
    shown = texts.filter(pl.col(score).is_not_null())
    if not counted:
        return nothing_to_show(title, f"{stage} were not judged in this run")
    if shown.is_empty():
        refused = texts.filter(pl.col(status) == "refused").height
        return nothing_to_show(title, f"none of {texts.height} {stage} has a score ({refused} refused)")
    counts = sum(one["n"] for one in counted.values())
    figure = new_figure(
        title,
        subtitle=f"n = {counts} {stage}, {shown.height} with a score, each a text: no split, no intervals; "
        f"gate: {plain(record['gate'])}; refusals fail; {judged_by(record['metadata'].get('judge'))}",
        x="polarity of the scenario",
        y="trait score (0 to 100)",
    )
    for polarity, one in counted.items():
        part = shown.filter(pl.col("polarity") == polarity)
        figure.add_trace(_scores(part, score, _COLUMNS[stage], polarity, one))
    _add_thresholds(figure, record["thresholds"])
    figure.update_yaxes(range=[-4, 104])
    figure.update_layout(showlegend=False)
    return figure


def _scores(
    part: pl.DataFrame, score: str, keys: Sequence[str], polarity: str, counted: Mapping[str, Any]
) -> go.Violin | go.Box:
    """A violin with a box in it; of few texts, each as a point beside a box."""
    colour, symbol = _POLES[polarity]
    refused = f" ({counted['n_refused']} refused)" if counted["n_refused"] else ""
    shape: dict[str, Any] = {
        "y": part[score].to_list(),
        "name": f"{polarity}, n = {counted['n']}<br>pass {counted['n_pass']}, fail {counted['n_fail']}{refused}, "
        f"error {counted['n_error']}",
        "marker": {"color": colour, "symbol": symbol},
    }
    if part.height >= _FEW:
        return go.Violin(**shape, box_visible=True, meanline_visible=True, points=False, spanmode="hard")
    texts = [plain(", sample ".join(map(str, key))) for key in part.select(keys).iter_rows()]
    return go.Box(**shape, text=texts, boxpoints="all", jitter=0.3, pointpos=0)


def _add_thresholds(figure: go.Figure, thresholds: Mapping[str, float]) -> None:
    """The least score of a positive that passes, and the largest of a negative."""
    lines = (
        ("positive_min", "positive passes at or above", "dash", BLUE, "top"),
        ("negative_max", "negative passes at or below", "dot", VERMILION, "bottom"),
    )
    for name, words, dash, colour, position in lines:
        figure.add_hline(
            y=thresholds[name],
            line={"dash": dash, "width": 1.5, "color": colour},
            annotation={"text": f"{words} {thresholds[name]:g}", "bgcolor": "rgba(255, 255, 255, 0.7)"},
            annotation_position=position,
        )
