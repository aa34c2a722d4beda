"""How good a trait's vectors are at every layer, and how alike those of several traits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
from dash import html

from tells.dashboard.binding import choice
from tells.dashboard.components import captioned, card, empty_box, facts, interval_text
from tells.dashboard.downloads import download_links, row_source
from tells.dashboard.store import Store
from tells.dashboard.traits.state import PAGE, Chosen, not_made, trait_folder, with_trait
from tells.dashboard.urls import from_query, query_of
from tells.report.figures.texts import number
from tells.report.figures.traits import cosine_matrix, vector_heatmap

METRICS = {
    "cohens_d": "effect size d",
    "hedges_g": "Hedges' g",
    "auc": "AUC",
    "accuracy": "balanced accuracy",
}
PARTS = {"held_out": "held out", "validation": "validation, which chooses", "train": "fitted on: flattering"}
SOURCE = "traits-vectors"


def cards(found: Store, state: Chosen) -> list[html.Section]:
    """The cards of the section."""
    return [
        card(f"Layers and methods: {state.trait}", lambda: _heatmap(found, state)),
        card("Cosines between traits", lambda: _cosines(found, state)),
    ]


def _heatmap(found: Store, state: Chosen) -> html.Div:
    folder = trait_folder(found, state.experiment, state.trait)
    path = folder / "vectors.json"
    if empty := not_made(path, found.root, "No vector has been extracted for this trait yet."):
        return empty
    vectors = found.json(path)
    judge = found.json(folder / "vetting.json")["metadata"].get("judge")
    part = None if state.part == "held_out" else state.part
    made = vector_heatmap(vectors, trait=state.trait, part=part, metric=state.metric, judge=judge)
    controls = [
        choice(PAGE, "metric", "Metric", METRICS, state.metric),
        choice(PAGE, "part", "Pairs", PARTS, state.part),
    ]
    return html.Div(
        [
            html.Div(controls, className="controls", role="group", **{"aria-label": "Heatmap"}),
            _wide(made, "traits-heatmap"),
            *_best(vectors),
            html.P(f"Every figure of all {len(vectors['records'])} methods and layers:", className="note"),
            download_links(SOURCE, query_of(state)),
        ]
    )


def _wide(made: Any, identifier: str) -> html.Div:
    """A figure of many cells: on a narrow page it scrolls sideways, where it would else be too small to read."""
    named = {"aria-label": "figure, scrolls sideways"}
    return html.Div(
        captioned(made, identifier=identifier), className="scroll wide", tabIndex="0", role="group", **named
    )


def _best(vectors: Mapping[str, Any]) -> list[Any]:
    """What was chosen, what it is worth where it was not chosen, and what it may measure instead."""
    best = vectors["best"] or {}
    if best.get("method") is None:
        why = best.get("reason") or vectors["reason"] or "no reason is given"
        return [html.H3("No best vector"), html.P(why)]
    held = best["held_out"] or {}
    figures, band = held.get("figures") or {}, held.get("null_band") or {}
    ends = ("", "_low", "_high")
    outer = held.get("outer_choices") or []
    told = [
        ("vector", f"{best['method']}, layer {best['layer']}, fitted on {best['fitted_on']}"),
        ("chosen on", f"{best['n_pairs']} pairs, {best['kind']}; selected d {_d(best['selection'])}: too large"),
        ("held-out d", interval_text(*(figures.get(f"cohens_d{end}") for end in ends))),
        ("held-out AUC", interval_text(*(figures.get(f"auc{end}") for end in ends))),
        ("held-out pairs", figures.get("n_pairs")),
        ("random vectors, 95th percentile", f"|d| {number(band.get('cohens_d'), 2)}, AUC {number(band.get('auc'), 2)}"),
        ("correlation with the scenario's length", number(held.get("length_correlation"), 2)),
        ("what each outer fold chose", ", ".join(f"{method} {layer}" for method, layer in outer) or None),
    ]
    return [html.H3("Best vector"), facts(told)]


def _d(figures: Mapping[str, Any] | None) -> str:
    return interval_text(*((figures or {}).get(f"cohens_d{end}") for end in ("", "_low", "_high")))


@row_source(SOURCE)
def _records(found: Store, query: Mapping[str, str]) -> pl.DataFrame:
    state = with_trait(found, from_query(Chosen, query))
    records = found.json(trait_folder(found, state.experiment, state.trait) / "vectors.json")["records"]
    return pl.DataFrame(records, infer_schema_length=None)


def _cosines(found: Store, state: Chosen) -> html.Div:
    path = found.folder(state.experiment, PAGE) / "results.json"
    if not path.exists():
        line = f"snakemake --profile cpu traits --config experiments={state.experiment}"
        return empty_box("The traits of this experiment have not been summarised yet.", line)
    results = found.json(path)
    if not results["cosines"]:
        return html.Div(html.P("No two traits of this run have a vector of the same method and layer."))
    method, layer = default_place(results, state.trait)
    words = (
        "the trait's best" if state.trait in _best_places(results["traits"]) else "the first (the trait has no best)"
    )
    methods = list(dict.fromkeys(one["method"] for one in results["cosines"]))
    layers = sorted({one["layer"] for one in results["cosines"]})
    controls = [
        choice(PAGE, "method", "Method", methods, state.method, none=f"{words}: {method}"),
        choice(PAGE, "layer", "Layer", layers, state.layer, none=f"{words}: {layer}"),
    ]
    shown = int(state.layer) if state.layer.isdigit() else layer
    made = cosine_matrix(results, method=state.method or method, layer=shown)
    return html.Div(
        [
            html.Div(controls, className="controls", role="group", **{"aria-label": "Cosines"}),
            _wide(made, "traits-cosines"),
        ]
    )


def default_place(results: Mapping[str, Any], trait: str) -> tuple[str, int]:
    """Method and layer of a trait's best vector; of the first cosines for a trait without one.

    Args:
        results: content of results.json, with cosines.
        trait: its name.
    """
    first = results["cosines"][0]
    return _best_places(results["traits"]).get(trait, (first["method"], first["layer"]))


def _best_places(traits: Sequence[Mapping[str, Any]]) -> dict[str, tuple[str, int]]:
    chosen = {one["trait"]: one["best_by_validation"] or {} for one in traits}
    return {name: (best["method"], best["layer"]) for name, best in chosen.items() if best.get("method") is not None}
