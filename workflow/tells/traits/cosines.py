"""How alike the traits' vectors are: cosines by method and layer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tells.tables import read_metadata, read_tensors
from tells.traits.quality import cosine_matrix


def trait_cosines(vectors: Mapping[str, str | Path]) -> list[dict[str, Any]]:
    """Cosines between the vectors of all traits.

    Args:
        vectors: vectors file of each trait, by name.

    Returns:
        One record per method and layer that at least two traits have: method, layer, and by trait and trait the cosine.
    """
    layers = {trait: read_metadata(path)["vector_layers"] for trait, path in vectors.items()}
    tensors = {trait: read_tensors(path) for trait, path in vectors.items()}
    places = sorted({(method, layer) for one in layers.values() for method, own in one.items() for layer in own})
    records = []
    for method, layer in places:
        having = [trait for trait in vectors if layer in layers[trait].get(method, [])]
        if len(having) > 1:
            units = {trait: tensors[trait][method][layers[trait][method].index(layer)] for trait in having}
            records.append({"method": method, "layer": layer, "cosines": cosine_matrix(units)})
    return records
