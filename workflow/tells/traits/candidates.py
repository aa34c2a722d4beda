"""Which vectors are steered with: candidates of the search, and the chosen one of the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tells.tables import TableError, read_json, read_metadata, read_tensors
from tells.traits.steering import STEERED, Candidate, Question, SteeredRow


def read_vector(path: str | Path, method: str, layer: int) -> np.ndarray:
    """One unit vector [width] of a vectors file.

    Raises:
        TableError: the file holds no such vector.
    """
    layers = read_metadata(path)["vector_layers"]
    if layer not in layers.get(method, []):
        held = "; ".join(f"{name} at {', '.join(map(str, those))}" for name, those in layers.items()) or "none"
        raise TableError(f"{path}: no vector of {method} at layer {layer}; it holds {held}")
    return read_tensors(path, [method])[method][layers[method].index(layer)]


def read_candidates(
    vectors: str | Path, record: str | Path, *, layers: int | Sequence[int], methods: str | Sequence[str]
) -> list[Candidate]:
    """The vectors to search with; none where the trait is insufficient or nothing could be chosen.

    Args:
        vectors: the vectors file.
        record: its figures.
        layers: so many layers of each method, the best on validation; or block indices, negative from the end.
        methods: `best`, the method that was chosen on validation; or names.

    Raises:
        TableError: a vector that is named does not exist.
    """
    content = read_json(record)
    best = content["best"]
    if content["status"] == "insufficient" or best is None or best["method"] is None:
        return []
    chosen = [best["method"]] if methods == "best" else list(dict.fromkeys(methods))
    found = []
    for method in chosen:
        for layer in _layers_of(content["records"], method, layers):
            found.append(Candidate(layer, method, read_vector(vectors, method, layer)))
    return found


def chosen_row(choice: Mapping[str, Any], vectors: str | Path, question: Question) -> SteeredRow | None:
    """A row of the chosen point, None where none was chosen."""
    optimum = choice["optimum"]
    if optimum is None:
        return None
    vector = read_vector(vectors, optimum["method"], optimum["layer"])
    candidate = Candidate(optimum["layer"], optimum["method"], vector)
    return SteeredRow(STEERED, question, 0, candidate, optimum["ratio"], optimum["coefficient"])


def _layers_of(records: Sequence[Mapping[str, Any]], method: str, layers: int | Sequence[int]) -> list[int]:
    if not isinstance(layers, int):
        highest = max((record["layer"] for record in records), default=-1)
        return list(dict.fromkeys(layer + highest + 1 if layer < 0 else layer for layer in layers))
    own = [record for record in records if record["method"] == method and record["norm"] is not None]
    effects = [(_selection(record), record["layer"]) for record in own]
    ranked = sorted((-effect, layer) for effect, layer in effects if effect is not None)
    if not ranked:
        raise TableError(f"no vector of {method} has figures to choose a layer by; name the layers in steer.layers")
    return sorted(layer for _, layer in ranked[:layers])


def _selection(record: Mapping[str, Any]) -> float | None:
    """The effect size on the pairs that choose."""
    effect = record["validation_cohens_d"]
    return record["cross_validated_cohens_d"] if effect is None else effect
