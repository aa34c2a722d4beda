"""From vetted responses and replayed states to a trait's vectors: which rows enter, and the files that come out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tells.tables import TableError, read_metadata, read_table, read_tensors, write_json, write_tensors
from tells.traits.quality import measure_quality
from tells.traits.quality_records import Quality
from tells.traits.scenarios import POSITIVE

LEAST_PAIRS = 2


@dataclass(frozen=True, eq=False)
class Activations:
    """States of the rows that enter a trait's vectors.

    Attributes:
        states: [rows, layers, width] of one window.
        rows: the rows of the vetting table, in the same order, with the characters of their scenario.
        layers: names of the blocks.
        n_empty: kept rows left out because their window holds no token.
    """

    states: NDArray[np.float16] | NDArray[np.float32]
    rows: pl.DataFrame
    layers: tuple[int, ...]
    n_empty: int


def read_activations(
    vetting: pl.DataFrame,
    prompts: pl.DataFrame,
    replay: Sequence[str | Path],
    states: Sequence[str | Path],
    *,
    window: str,
    layers: str | Sequence[int],
) -> Activations:
    """States of the kept responses, shard by shard.

    Args:
        vetting: the vetting table.
        prompts: the prompts table.
        replay: replay tables of the shards.
        states: their tensors, in the same order.
        window: the position that is extracted.
        layers: `all` that were replayed, or block indices.

    Raises:
        TableError: the window or a layer was not replayed.
    """
    kept = vetting.filter(pl.col("kept")).join(
        prompts.select("prompt_id", characters=pl.col("text").str.len_chars()), on="prompt_id", how="left"
    )
    parts, tables, chosen = [], [], ()
    for table_path, states_path in zip(replay, states, strict=True):
        metadata = read_metadata(states_path)
        position, places = _places(states_path, metadata, window, layers)
        chosen = tuple(metadata["layers"][place] for place in places)
        rows = kept.join(
            read_table(table_path, "replay", ["prompt_id", "sample", "tensor_row"]),
            on=["prompt_id", "sample"],
            how="inner",
            maintain_order="left",
        )
        tensors = read_tensors(states_path)
        index = rows["tensor_row"].to_numpy()
        tables.append(rows.with_columns(valid=pl.Series(tensors["valid"][index, position] > 0, dtype=pl.Boolean)))
        parts.append(tensors["hidden"][index][:, places, position])
    if not parts:
        raise TableError("no replayed shard: nothing to extract from")
    rows, joined = pl.concat(tables), np.concatenate(parts)
    if len(rows) != len(kept):
        raise TableError(f"{len(kept) - len(rows)} kept responses were not replayed: replay the collection again")
    valid = rows["valid"].to_numpy()
    return Activations(joined[valid], rows.filter("valid"), chosen, int((~valid).sum()))


def extract(
    activations: Activations, *, methods: Sequence[str], seed: int, bootstrap: int = 1000
) -> tuple[Quality | None, str | None]:
    """Fit every method at every layer.

    Returns:
        The quality of all vectors, or None and the reason why there are none.
    """
    positive = (activations.rows["polarity"] == POSITIVE).to_numpy()
    pairs = [activations.rows.filter(pl.Series(mask))["group"].n_unique() for mask in (positive, ~positive)]
    if min(pairs) < LEAST_PAIRS:
        return None, f"{pairs[0]} positive and {pairs[1]} negative scenarios survive: {LEAST_PAIRS} of each are needed"
    quality = measure_quality(
        activations.states,
        positive,
        activations.rows["group"].to_list(),
        activations.rows["characters"].to_numpy(),
        layers=activations.layers,
        methods=methods,
        seed=seed,
        bootstrap_draws=bootstrap,
    )
    return quality, quality.reason


def write_vectors(
    vectors: str | Path,
    record: str | Path,
    quality: Quality | None,
    facts: Mapping[str, Any],
    metadata: Mapping[str, Any],
) -> None:
    """Write unit vectors, one tensor [layers, width] per method, and all figures beside them.

    A vector that could not be fitted is left out of its tensor; the layers each tensor has stand in the metadata.

    Args:
        vectors: safetensors file.
        record: JSON file.
        quality: of the vectors; None where there are none.
        facts: status, reason and counts, for the record.
        metadata: of both files.
    """
    tensors: dict[str, NDArray[np.float32]] = {}
    layers: dict[str, list[int]] = {}
    records = quality.records if quality else ()
    for method in dict.fromkeys(one.method for one in records):
        fitted = [one for one in records if one.method == method and one.direction is not None]
        if fitted:
            tensors[method] = np.stack([one.direction.vector for one in fitted if one.direction is not None])
            layers[method] = [one.layer for one in fitted]
    write_tensors(vectors, tensors, {**metadata, "vector_layers": layers})
    content = {
        **facts,
        "n_vectors": sum(map(len, layers.values())),
        "best": quality.summary() if quality else None,
        "records": [one.row() for one in records],
    }
    write_json(record, content, metadata=metadata)


def _places(
    path: str | Path, metadata: Mapping[str, Any], window: str, layers: str | Sequence[int]
) -> tuple[int, list[int]]:
    positions, replayed = metadata["positions"], metadata["layers"]
    if window not in positions:
        raise TableError(f"{path}: holds the windows {', '.join(positions)}, not {window}: replay it again")
    if layers == "all":
        return positions.index(window), list(range(len(replayed)))
    if min(layers) < 0 and replayed != list(range(len(replayed))):
        named = ", ".join(map(str, layers))
        raise TableError(f"{path}: layers {named}: count from 0, since replay.layers are not all but {replayed}")
    resolved = [layer + len(replayed) if layer < 0 else layer for layer in layers if isinstance(layer, int)]
    absent = [layer for layer in resolved if layer not in replayed]
    if absent:
        raise TableError(f"{path}: layers {', '.join(map(str, absent))} were not replayed; it holds {replayed}")
    return positions.index(window), [replayed.index(layer) for layer in resolved]
