"""Any text of the run along a trait's vector, token by token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from dash import html

from tells.dashboard.binding import choice
from tells.dashboard.components import captioned, card, empty_box, facts, veil
from tells.dashboard.grid import Column
from tells.dashboard.store import Store
from tells.dashboard.tokens import shaded, token_texts
from tells.dashboard.traits.grid import Browser
from tells.dashboard.traits.runs import (
    QUANTILES,
    SOURCE,
    chosen_place,
    chosen_vector,
    opened_run,
    projected,
    run_rows,
    sampled,
    token_range,
    vectors_of,
)
from tells.dashboard.traits.state import PAGE, Chosen, counted, trait_folder
from tells.report.figures.projections import token_projections
from tells.report.figures.texts import number

BROWSER = Browser("traits-runs-grid", "texts", SOURCE, "run", "the text with its tokens shaded")
_UNIT = "projection h·v"
_SCALES = {"file": "all texts of this collection", "text": "the opened text alone"}


def columns_of(found: Store, state: Chosen) -> tuple[Column, ...]:
    """The columns of the table; texts of a benchmark are veiled."""
    return (
        Column("prompt_id", "prompt", width=170),
        Column("sample", "sample", "whole", width=90),
        Column("mean", "mean projection", "number", digits=2, width=120),
        Column("text", "text", width=790, veiled=_harmful(chosen_place(found, state)[0])),
    )


def _harmful(name: str) -> bool:
    """Whether a collection is of the safety study, whose prompts and replies may do harm."""
    return name.startswith("safety/")


def cards(found: Store, state: Chosen) -> list[html.Section]:
    """The cards of the section."""
    return [card("Texts along a vector", lambda: _browser(found, state))]


def _browser(found: Store, state: Chosen) -> html.Div:
    places = projected(found, state.experiment)
    if not places:
        return _nothing(found, state)
    name, folder = chosen_place(found, state)
    vectors = vectors_of(found, folder)
    vector = chosen_vector(state, vectors)
    rows = run_rows(found, state)
    first = chosen_vector(replace(state, vector=""), vectors)
    default = f"{'of the chosen trait' if first.trait == state.trait else 'the first'}: {first.words}"
    controls = [
        choice(PAGE, "file", "Collection", list(places), state.file, none=f"the first: {next(iter(places))}"),
        choice(PAGE, "vector", "Vector", {one.key: one.words for one in vectors}, state.vector, none=default),
        choice(PAGE, "scale", "Shading spans", _SCALES, state.scale),
    ]
    texts = f"{counted(rows.height, 'text')} of {counted(rows['prompt_id'].n_unique(), 'prompt')}"
    count = f"{texts} of {name} along {vector.words}"
    return html.Div(
        [
            *BROWSER.pieces(columns_of(found, state), state, controls, count),
            *_made_by(found.metadata(folder / "projections.parquet")),
            _more(found, state, [one.trait for one in vectors]),
        ]
    )


def _nothing(found: Store, state: Chosen) -> html.Div:
    """How to project texts: the chosen trait's own, and those of the other collections."""
    if not _vectors(found, state, state.trait):
        line = f"snakemake --profile cpu vectors --config experiments={state.experiment}"
        return empty_box(f"The trait {state.trait} has no vector yet, on which texts could be projected.", line)
    others = ", ".join(one for one in sampled(found, state.experiment) if one != _first_place(found, state))
    what = (
        "No text of this experiment has been projected on a trait's vector yet. Name more traits with more --trait, "
        f"and other texts in the place of the first: {others or 'there are none'}."
    )
    return empty_box(what, command(found, state))


def _made_by(metadata: Mapping[str, Any]) -> list[Any]:
    source = metadata["vectors"]
    told = [
        ("states of", metadata["model"]["name"]),
        ("vectors of", f"experiment {source['experiment']}, {source['model']['name']}"),
        ("mean", "over the response without EOS and stop string; no interval: one text each"),
    ]
    return [facts(told)]


def _more(found: Store, state: Chosen, known: Sequence[str]) -> Any:
    """How to project on the chosen trait where the file has not."""
    if state.trait in known:
        return None
    return empty_box(f"This file has no projections on {state.trait}.", command(found, state, [*known, state.trait]))


def command(found: Store, state: Chosen, traits: Sequence[str] = ()) -> str:
    """The line that projects texts of this experiment: all named traits, since a second call replaces the first's file.

    Args:
        found: the results.
        state: of the page.
        traits: their names; the chosen one where none is named.
    """
    names = list(dict.fromkeys(traits)) or [state.trait]
    place = state.file or next(iter(projected(found, state.experiment)), "") or _first_place(found, state)
    options = [f"--trait {name}" for name in names]
    without = [name for name in names if (vectors := _vectors(found, state, name)) and not _has_best(vectors)]
    if without:
        method, layer = _middle(_vectors(found, state, without[0]))
        options.append(f"--method {method} --layer {layer}")
    return f"tells project {state.experiment}/{place} {' '.join(options)}"


def _first_place(found: Store, state: Chosen) -> str:
    """The chosen trait's own responses, else the first samples there are."""
    own, places = f"{PAGE}/{state.trait}", sampled(found, state.experiment)
    return own if own in places else next(iter(places), own)


def _vectors(found: Store, state: Chosen, trait: str) -> Mapping[str, Any]:
    """Content of a trait's vectors.json; empty where it has no vector."""
    path = trait_folder(found, state.experiment, trait) / "vectors.json"
    content = found.json(path) if path.exists() else {}
    return content if content.get("n_vectors") else {}


def _has_best(vectors: Mapping[str, Any]) -> bool:
    return (vectors["best"] or {}).get("method") is not None


def _middle(vectors: Mapping[str, Any]) -> tuple[str, int]:
    """The first method's vector at the middle layer, for a trait without a best one: one must be named."""
    fitted = [one for one in vectors["records"] if one["norm"] is not None]
    layers = sorted(one["layer"] for one in fitted if one["method"] == fitted[0]["method"])
    return fitted[0]["method"], layers[len(layers) // 2]


def opened(found: Store, state: Chosen) -> html.Section | None:
    """The opened text; None where no text was projected."""
    if not projected(found, state.experiment):
        return None
    return card("Token by token", lambda: _opened(found, state))


def _opened(found: Store, state: Chosen) -> html.Div:
    run = opened_run(found, state)
    if run is None:
        return html.Div(html.P("There is no text in this file."))
    hidden = _harmful(chosen_place(found, state)[0])
    values, pieces = run["projection"], token_texts(run["text"] or "", run["token_ends"])
    which = "" if state.run == run["key"] else " (the first row of the table)"
    told = [
        ("text", f"{run['prompt_id']}, sample {run['sample']}{which}"),
        ("vector", f"{run['trait']}: {run['method']}, layer {run['layer']}"),
        ("generated tokens", len(values)),
        ("mean projection", f"{number(run['mean'], 2)}, over the response"),
    ]
    if not values:
        return html.Div([facts(told), html.P("The run has no token.")])
    low, high, words = _span(found, state, values)
    prompt = html.Div(run["prompt"] or "", className="text")
    tokens = shaded(pieces, values, low=low, high=high, what=_UNIT, veiled=hidden)
    made = token_projections(
        [None if hidden else piece for piece in pieces],
        values,
        mean=run["mean"],
        vector=f"{run['trait']}, {run['method']}, layer {run['layer']}",
    )
    return html.Div(
        [
            facts(told),
            html.H3("What the model was given"),
            veil(prompt) if hidden else prompt,
            html.H3("What it wrote"),
            html.P(words, className="note"),
            tokens,
            captioned(made, identifier="traits-tokens"),
        ]
    )


def _span(found: Store, state: Chosen, values: Sequence[float]) -> tuple[float, float, str]:
    """Where shading begins and is full, and in words."""
    known = token_range(found, state) if state.scale == "file" else None
    if known is None:
        return min(values), max(values), "Shaded from the lowest to the highest token of this text."
    low, high = (f"{100 * share:g}" for share in QUANTILES)
    words = f"Shaded from the {low}st to the {high}th percentile of all tokens of the collection along this vector."
    return *known, words
