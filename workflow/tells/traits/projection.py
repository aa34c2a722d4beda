"""Projection monitoring: how far any study's runs lie along a trait, token by token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from tells.tables import SCHEMAS, TableError, make_metadata, read_json, read_metadata, read_table, write_table
from tells.traits.candidates import read_vector

if TYPE_CHECKING:
    from tells.models.loading import LoadedModel


@dataclass(frozen=True)
class TraitVector:
    """A unit vector [width] of a trait, and where it comes from."""

    trait: str
    method: str
    layer: int
    vector: np.ndarray


def choose_vector(folder: Path, trait: str, *, method: str | None = None, layer: int | None = None) -> TraitVector:
    """A trait's vector: what is named, or what was best on validation.

    Args:
        folder: of the experiment whose vectors are taken.
        trait: category/name.
        method: its method.
        layer: its block.

    Raises:
        TableError: there is no such vector, or none was chosen.
    """
    place = folder / "traits" / trait
    best = read_json(place / "vectors.json")["best"] or {}
    chosen_method, chosen_layer = method or best.get("method"), best.get("layer") if layer is None else layer
    if chosen_method is None or chosen_layer is None:
        raise TableError(f"{place}/vectors.json: no vector was chosen; name a method and a layer")
    vector = read_vector(place / "vectors.safetensors", chosen_method, chosen_layer)
    return TraitVector(trait, chosen_method, chosen_layer, vector)


def project_collection(
    root: Path,
    experiment: str,
    place: str,
    traits: Sequence[str],
    *,
    vectors: str,
    method: str | None = None,
    layer: int | None = None,
    batch_size: int = 32,
) -> Path:
    """Project the samples of one collection and write projections.parquet beside them.

    Args:
        root: the folder that holds experiments/.
        experiment: whose samples.
        place: study/collection.
        traits: category/name of each.
        vectors: the experiment whose vectors are taken; of the same model, or of one with the same width.
        method: default: what was best on validation, for each trait.
        layer: of the vectors; same default.
        batch_size: runs per batch.

    Raises:
        TableError: samples or vectors are not there.
        ValueError: the vectors are of another width than the model.
    """
    from tells.models.loading import load_model

    folder = root / "experiments" / experiment / place
    samples = read_table(folder / "samples.parquet", "samples")
    facts = read_metadata(folder / "samples.parquet")
    if not facts.get("model"):
        raise TableError(f"{folder}/samples.parquet: the user's own samples, of no model that is known here")
    source = root / "experiments" / vectors
    chosen = [choose_vector(source, trait, method=method, layer=layer) for trait in traits]
    manifest = root / f"resources/models/{facts['model']['name']}/model.json"
    loaded = load_model(manifest)
    table = project_samples(samples, loaded, chosen, think_end=facts["think_end"], batch_size=batch_size)
    places = [source / "traits" / trait / "vectors.safetensors" for trait in traits]
    metadata = make_metadata(
        "project",
        params={"traits": list(traits), "method": method, "layer": layer},
        inputs=[folder / "samples.parquet", *places],
        experiment=experiment,
        model=facts["model"],
        seed=facts["seed"],
        vectors={"experiment": vectors, "model": read_metadata(places[0])["model"]},
        **loaded.facts(),
    )
    write_table(folder / "projections.parquet", table, "projections", metadata)
    return folder / "projections.parquet"


def project_samples(
    samples: pl.DataFrame, loaded: LoadedModel, vectors: Sequence[TraitVector], *, think_end: str, batch_size: int = 32
) -> pl.DataFrame:
    """Project every run on every vector.

    Args:
        samples: a samples table of any study.
        loaded: the model that generated them, or another with the same tokenizer.
        vectors: directions to read along.
        think_end: the tag that closes the think span.
        batch_size: runs per batch.

    Returns:
        The projections table: per run and vector, h·v of each generated token at the output of the block, and their
        mean over the response, None where there is none.

    Raises:
        ValueError: a vector is of another width than the model.
    """
    from tells.models.measures import project_tokens
    from tells.models.runs import replay_row
    from tells.models.spans import decode_tokens

    columns = samples.select("prompt_id", "sample", "prompt_token_ids", "token_ids", "text").to_dicts()
    rows = [replay_row(loaded.tokenizer, row, opened=False, think_end=think_end) for row in columns]
    layers = sorted({vector.layer for vector in vectors})
    by_layer = {layer: [vector for vector in vectors if vector.layer == layer] for layer in layers}
    directions = {layer: np.stack([one.vector for one in own]) for layer, own in by_layer.items()}
    projected = project_tokens(loaded, rows, directions, batch_size=batch_size)
    table = []
    for run, row, found in zip(columns, rows, projected, strict=True):
        _, ends = decode_tokens(loaded.tokenizer, run["token_ids"])
        for layer, own in by_layer.items():
            for vector, along in zip(own, found[layer], strict=True):
                kept = along[: row.response_tokens].astype(np.float64)
                mean = float(kept.mean()) if len(kept) else None
                place = (run["prompt_id"], run["sample"], vector.trait, vector.method, vector.layer)
                table.append((*place, ends, along.tolist(), mean))
    return pl.DataFrame(table, schema=SCHEMAS["projections"].columns, orient="row")
