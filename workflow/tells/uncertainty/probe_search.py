"""The search over (layer, position, C): every choice is fitted on training questions and scored on held-out ones.

With enough validation questions the held-out ones are those of the validation split; with fewer, a choice is scored
by grouped cross-validation on training and validation questions together. Test rows are never handed in here.
Choices are compared by AUROC, for a continuous target by Spearman's correlation; over folds, pairs of rows count
within their own fold, because raw scores of different fits have different origins.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from tells.progress import progress
from tells.stats import auroc, group_weights, spearman
from tells.uncertainty.probe_files import StatesSource
from tells.uncertainty.probe_solver import ConvergenceError, Floats, WeightedDesign

SEARCH_TOLERANCE = 1e-3
"""Relative gradient at which a fit of the search stops, far below what moves a rank; the chosen fit is repeated.

Fits on shuffled labels, of which ranks alone are asked, stop there too."""


@dataclass(frozen=True)
class Task:
    """One label vector of a search; all tasks of a search have labels on the same rows.

    Attributes:
        name: of the probe.
        values: [rows] labels.
        binary: classes (logistic, AUROC) or numbers (ridge, Spearman).
    """

    name: str
    values: Floats
    binary: bool


@dataclass(frozen=True)
class SearchRows:
    """The rows a search may see.

    Attributes:
        learn: [rows] training and validation rows with a label.
        train: [rows] the training rows among them.
        groups: [rows] number of the question.
        folds: [rows] fold of each row that may be seen; None to hold out the validation rows.
    """

    learn: NDArray[np.bool_]
    train: NDArray[np.bool_]
    groups: NDArray[np.int64]
    folds: NDArray[np.int64] | None

    def parts(self, valid: NDArray[np.bool_]) -> list[tuple[NDArray, NDArray]]:
        """Row numbers to fit and to hold out, one pair a fold, among rows that have the position."""
        seen = self.learn & valid
        if self.folds is None:
            pairs = [(seen & self.train, seen & ~self.train)]
        else:
            numbers = np.unique(self.folds[self.learn])
            pairs = [(seen & (self.folds != fold), seen & (self.folds == fold)) for fold in numbers]
        return [(np.flatnonzero(fit), np.flatnonzero(held)) for fit, held in pairs]


def search(
    source: StatesSource,
    tasks: Sequence[Task],
    rows: SearchRows,
    *,
    positions: Sequence[str],
    strengths: Sequence[float],
    workers: int = 1,
) -> dict[str, list[dict[str, Any]]]:
    """Score every (layer, position, C) for every task.

    Args:
        source: hidden states of all rows.
        tasks: label vectors with labels on the same rows.
        rows: what may be seen.
        positions: names of the positions to search, in order of preference among equals.
        strengths: values of C, in order of preference among equals.
        workers: threads, one slice each; the result does not depend on it.

    Returns:
        By task, the table of choices: layer, position, strength, value (None where undefined).

    Raises:
        ValueError: a position is not stored, or a state is not finite.
    """
    unknown = [name for name in positions if name not in source.positions]
    if unknown:
        raise ValueError(f"position(s) {', '.join(unknown)} are not stored; there are {', '.join(source.positions)}")
    places = [(layer, source.positions.index(name)) for layer in range(len(source.layers)) for name in positions]

    def one(place: tuple[int, int]) -> NDArray:
        return _search_slice(source, place, tasks, rows, strengths)

    tables: dict[str, list[dict[str, Any]]] = {task.name: [] for task in tasks}
    # One BLAS thread a fit: matrices are small, and sums then do not depend on the number of cores.
    with (
        threadpool_limits(1, user_api="blas"),
        ThreadPoolExecutor(workers) as pool,
        progress(len(places), "probe search " + tasks[0].name, "states") as advance,
    ):
        for (layer, position), values in zip(places, pool.map(one, places), strict=True):
            where = {"layer": source.layers[layer], "position": source.positions[position]}
            for task, of_task in zip(tasks, values, strict=True):
                tables[task.name] += [
                    {**where, "strength": float(strength), "value": None if np.isnan(value) else float(value)}
                    for strength, value in zip(strengths, of_task, strict=True)
                ]
            advance(1)
    return tables


def best_choice(table: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """The choice of the largest value, the first among equals; None when no value is defined."""
    best: dict[str, Any] | None = None
    for choice in table:
        if choice["value"] is None:
            continue
        if best is None or choice["value"] > best["value"]:
            best = choice
    return best


def finite_states(states: NDArray, rows: NDArray, layer: int, position: str) -> Floats:
    """The rows [rows, width] of a slice in double precision.

    Raises:
        ValueError: a state is not finite.
    """
    chosen = states[rows].astype(np.float64)
    bad = ~np.isfinite(chosen).all(axis=1)
    if bad.any():
        raise ValueError(
            f"the state of layer {layer} at {position} of run {rows[np.flatnonzero(bad)[0]]} is not finite: "
            "replay its shard again"
        )
    return chosen


def linear_scores(standard: Floats, weights: Floats, intercept: float) -> Floats:
    """Scores [rows] of standardised states [rows, width], equal for equal rows.

    A matrix product may round equal rows differently by their place, which would break ties within a question.
    """
    return (standard * weights).sum(axis=1) + intercept


def _search_slice(
    source: StatesSource, place: tuple[int, int], tasks: Sequence[Task], rows: SearchRows, strengths: Sequence[float]
) -> NDArray:
    """Values [tasks, strengths] of one layer and position, NaN where undefined."""
    states, valid = source.states(*place)
    layer, position = source.layers[place[0]], source.positions[place[1]]
    totals = np.zeros((len(tasks), len(strengths)))
    shares = np.zeros(len(tasks))
    for fit, held in rows.parts(valid):
        if fit.size == 0 or held.size == 0:
            continue
        fitted = [_can_fit(task, fit) for task in tasks]
        weighing = [_pairs(task, held) if can else 0 for task, can in zip(tasks, fitted, strict=True)]
        if not any(weighing):
            continue
        fitting = finite_states(states, fit, layer, position)
        holding = finite_states(states, held, layer, position)
        weights = group_weights(rows.groups[fit])
        work = [task if share else None for task, share in zip(tasks, weighing, strict=True)]
        parted = (fitting, weights, holding, work, fit, held, strengths)
        try:
            part = _search_part(np.float32, *parted)
        except ConvergenceError:
            # Single precision is for speed; a part that is too badly conditioned for it is done in double.
            part = _search_part(np.float64, *parted)
        totals += np.array(weighing)[:, None] * part
        shares += weighing
    return np.where(shares[:, None] > 0, totals / np.maximum(shares, 1)[:, None], np.nan)


def _search_part(
    precision: type,
    fitting: Floats,
    weights: Floats,
    holding: Floats,
    tasks: Sequence[Task | None],
    fit: NDArray,
    held: NDArray,
    strengths: Sequence[float],
) -> NDArray:
    """Values [tasks, strengths] on the held-out states [held, width] of one part; 0 where there is no task."""
    design = WeightedDesign(fitting, weights, precision=precision)
    standard = (holding - design.mean) / design.scale
    values = np.zeros((len(tasks), len(strengths)))
    starts: list[Floats | None] = [None] * len(tasks)
    for number, strength in enumerate(strengths):
        design.set_strength(strength)
        for index, task in enumerate(tasks):
            if task is None:
                continue
            starts[index] = _fit(design, task, fit, starts[index])
            scores = linear_scores(standard, *design.unrotate(starts[index]))
            # Constant scores have no rank correlation; they know nothing, which is 0.
            values[index, number] = _metric(task)(task.values[held], scores) or 0.0
    return values


def _fit(design: WeightedDesign, task: Task, rows: NDArray, start: Floats | None) -> Floats:
    if task.binary:
        return design.fit_logistic(task.values[rows], start, SEARCH_TOLERANCE)
    return design.fit_ridge(task.values[rows], SEARCH_TOLERANCE)


def _metric(task: Task) -> Callable[[Floats, Floats], float | None]:
    return auroc if task.binary else spearman


def _can_fit(task: Task, rows: NDArray) -> bool:
    return bool(np.ptp(task.values[rows]) > 0)


def _pairs(task: Task, rows: NDArray) -> int:
    """What a fold's value weighs: its pairs of different class, or its rows; 0 where the value is undefined."""
    values = task.values[rows]
    if np.ptp(values) == 0:
        return 0
    positive = int(values.sum()) if task.binary else 0
    return positive * (values.size - positive) if task.binary else values.size
