"""A two-dimensional map of hidden states, for pictures only: nothing is measured on it.

UMAP is fitted on the training split's standardised states and the rest is placed into that map, so that a picture
cannot show an order the training questions do not have.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tells.uncertainty.probe_files import StatesSource
from tells.uncertainty.probe_search import finite_states
from tells.uncertainty.probe_solver import standardise

MINIMUM_TRAIN_ROWS = 10


@dataclass(frozen=True)
class ProjectionSettings:
    """How the map is made.

    Attributes:
        neighbours: of each run (UMAP's n_neighbors), lowered to the number of training runs minus one.
        min_dist: smallest distance of two points in the map.
        sample: at most so many runs are drawn.
        seed: of the draw and of UMAP.
    """

    neighbours: int = 15
    min_dist: float = 0.1
    sample: int = 2000
    seed: int = 0

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> ProjectionSettings:
        """Settings from the keys neighbours, min_dist, sample, seed; TypeError on any other."""
        return cls(**values)


def project_states(
    runs: pl.DataFrame,
    source: StatesSource,
    *,
    layer: int,
    position: str,
    settings: ProjectionSettings | None = None,
) -> pl.DataFrame:
    """Map runs by their states at one layer and position.

    Args:
        runs: dataset, prompt_id, sample, split; one row a run.
        source: hidden states of the same rows.
        layer: block index.
        position: position name.
        settings: of the map; the defaults when None.

    Returns:
        dataset, prompt_id, sample, x, y, split; in the order of the runs, without runs that lack the position.

    Raises:
        ValueError: the layer or position is not stored, or under ten training runs have it.
    """
    settings = settings or ProjectionSettings()
    if layer not in source.layers or position not in source.positions:
        raise ValueError(
            f"layer {layer} at {position} is not stored; there are layers {source.layers} at "
            f"{', '.join(source.positions)}"
        )
    states, valid = source.states(source.layers.index(layer), source.positions.index(position))
    chosen = _draw(np.flatnonzero(valid), settings)
    train = (runs["split"] == "train").to_numpy()[chosen]
    if train.sum() < MINIMUM_TRAIN_ROWS:
        raise ValueError(
            f"a map needs {MINIMUM_TRAIN_ROWS} training runs with {position}, {int(train.sum())} of the "
            f"{chosen.size} drawn have it: raise `sample`, or choose another position"
        )
    points = _embed(finite_states(states, chosen, layer, position), train, settings)
    keys = runs.select("dataset", "prompt_id", "sample", "split")[chosen]
    placed = keys.with_columns(x=pl.Series(points[:, 0]), y=pl.Series(points[:, 1]))
    return placed.select("dataset", "prompt_id", "sample", "x", "y", "split")


def _draw(rows: NDArray, settings: ProjectionSettings) -> NDArray:
    if rows.size <= settings.sample:
        return rows
    return np.sort(np.random.default_rng(settings.seed).choice(rows, settings.sample, replace=False))


def _embed(states: NDArray, train: NDArray[np.bool_], settings: ProjectionSettings) -> NDArray[np.float64]:
    """Points [rows, 2]: training rows where UMAP puts them, all others placed into that map."""
    from umap import UMAP

    standard, mean, scale = standardise(states[train])
    mapper = UMAP(
        n_neighbors=min(settings.neighbours, int(train.sum()) - 1),
        min_dist=settings.min_dist,
        random_state=settings.seed,
        n_jobs=1,
        transform_seed=settings.seed,
    )
    points = np.empty((train.size, 2), dtype=np.float64)
    points[train] = mapper.fit_transform(standard.astype(np.float32))
    if not train.all():
        points[~train] = mapper.transform(((states[~train] - mean) / scale).astype(np.float32))
    return points
