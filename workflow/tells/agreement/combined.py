"""All signals together: what a logistic model over them adds to the best single one.

Both are fitted on the other folds and judged on the fold that is held out, whole groups to a fold. The single signal is
the one that orders the training folds best, either way round, so that its choice and its sign are no easier than the
model's own. Two rows are compared only where they were held out together: fits of different folds have different
origins.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tells.agreement.cells import Cell, complete_signals
from tells.agreement.resampling import Draws, Floats, Integers, auroc_draws, stratified_auroc
from tells.agreement.signals import Signal
from tells.stats import auroc
from tells.uncertainty.probe_targets import question_folds

STRENGTHS = (0.01, 0.1, 1.0, 10.0)
"""Values of C, the inverse of the penalty, that the inner folds choose from."""
LEAST_GROUPS = 10
"""Groups, and groups with rows of each class, without which there is no model."""
_LEAST_OF_A_CLASS = 5


@dataclass(frozen=True, eq=False)
class _HeldOut:
    """Scores of rows by fits that have not seen them.

    Attributes:
        model: [rows] score of the model.
        single: [rows] score of the best single signal.
        folds: [rows] fold.
        chosen: the single signal of each fold.
        strengths: C of each fold.
    """

    model: Floats
    single: Floats
    folds: Integers
    chosen: list[str]
    strengths: list[float]


def combined_record(cell: Cell, signals: Sequence[Signal]) -> dict[str, Any]:
    """What all signals together add to the best one in a cell.

    Args:
        cell: its rows.
        signals: to be put together; those that under nine tenths of the rows have, or that do not vary, are left out.

    Returns:
        `model`, `single` and `gain` (AUROC, `low`, `high`; of the gain also the two-sided `p`), the signals, the one
        that each fold chose, counts, and a `reason` where there is no model.
    """
    chosen, complete = complete_signals(cell, signals)
    y, groups = cell.y[complete], cell.groups[complete]
    nothing = {"value": None, "low": None, "high": None}
    record = {
        **cell.header(),
        "signals": [signal.name for signal in chosen],
        "left_out": [signal.name for signal in signals if signal not in chosen],
        "n_rows": int(y.size),
        "n_groups": int(np.unique(groups).size),
        "n_incomplete": int(complete.size - y.size),
        "prevalence": float(y.mean()) if y.size else None,
        "folds": cell.settings.folds,
        "level": cell.settings.level,
        "model": dict(nothing),
        "single": dict(nothing),
        "gain": {**nothing, "p": None},
        "single_signals": {},
        "strengths": [],
        "reason": _too_few(y, groups, len(chosen)),
    }
    if record["reason"] is not None:
        return record
    columns = np.stack([cell.score(signal)[complete] for signal in chosen], axis=1)
    held = _cross_validate(columns, y, groups, [signal.name for signal in chosen], cell.settings)
    counted = dict(Counter(held.chosen).most_common())
    return {**record, **_compared(cell, y, groups, held), "single_signals": counted, "strengths": held.strengths}


def _too_few(y: Floats, groups: NDArray, n_signals: int) -> str | None:
    """Why there is no model."""
    if n_signals < 2:
        return f"{n_signals} signal(s) that nearly all rows have: there is nothing to put together"
    counts = {label: np.unique(groups[y == label]).size for label in (0.0, 1.0)}
    total = np.unique(groups).size
    if total >= LEAST_GROUPS and min(counts.values()) >= _LEAST_OF_A_CLASS:
        return None
    return (
        f"insufficient: {total} groups, {counts[0.0]} with rows of class 0 and {counts[1.0]} of class 1; needed are "
        f"{LEAST_GROUPS}, and {_LEAST_OF_A_CLASS} of each"
    )


def _cross_validate(columns: Floats, y: Floats, groups: NDArray, names: Sequence[str], settings: Any) -> _HeldOut:
    folds = question_folds(y, groups, folds=settings.folds, seed=settings.seed)
    model, single = np.zeros(y.size), np.zeros(y.size)
    chosen, strengths = [], []
    for fold in np.unique(folds):
        fit, held = folds != fold, folds == fold
        strength = _best_strength(columns[fit], y[fit], groups[fit], settings)
        model[held] = _fitted(columns[fit], y[fit], strength)(columns[held])
        place, sign = _best_single(columns[fit], y[fit])
        single[held] = sign * columns[held, place]
        chosen.append(names[place])
        strengths.append(strength)
    return _HeldOut(model, single, folds, chosen, strengths)


def _best_single(columns: Floats, y: Floats) -> tuple[int, float]:
    """The signal that orders the rows best, and the way round in which it does."""
    areas = np.array([_or_chance(auroc(y, column)) for column in columns.T]) - 0.5
    place = int(np.argmax(np.abs(areas)))
    return place, 1.0 if areas[place] >= 0 else -1.0


def _or_chance(area: float | None) -> float:
    return 0.5 if area is None else area


def _best_strength(columns: Floats, y: Floats, groups: NDArray, settings: Any) -> float:
    """The penalty that orders rows best that were held out together in inner folds."""
    folds = question_folds(y, groups, folds=settings.folds, seed=settings.seed + 1)
    values = []
    for strength in STRENGTHS:
        scores = np.zeros(y.size)
        for fold in np.unique(folds):
            fit, held = folds != fold, folds == fold
            scores[held] = _fitted(columns[fit], y[fit], strength)(columns[held])
        values.append(_or_chance(stratified_auroc(y, scores, folds)))
    return STRENGTHS[int(np.argmax(values))]


def _fitted(columns: Floats, y: Floats, strength: float) -> Any:
    """A function from [rows, signals] to log-odds [rows]; that of the prevalence where one class alone was seen."""
    from sklearn.linear_model import LogisticRegression

    if y.min() == y.max():
        return lambda rows: np.zeros(len(rows))
    mean, scale = columns.mean(axis=0), columns.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    fit = LogisticRegression(C=strength, max_iter=2000, tol=1e-6).fit((columns - mean) / scale, y)
    return lambda rows: fit.decision_function((rows - mean) / scale)


def _compared(cell: Cell, y: Floats, groups: NDArray, held: _HeldOut) -> dict[str, Any]:
    """AUROC of both over pairs held out together, and their difference on the same draws of groups."""
    draws: Draws = cell.draws(groups)
    scores = {"model": held.model, "single": held.single}
    values = {name: stratified_auroc(y, score, held.folds) for name, score in scores.items()}
    if None in values.values():
        return {"reason": "no fold holds both classes"}
    drawn = {name: auroc_draws(draws, y, score, held.folds) for name, score in scores.items()}
    difference = drawn["model"] - drawn["single"]
    drawn["gain"], values["gain"] = difference, values["model"] - values["single"]
    found: dict[str, Any] = {}
    for name, value in values.items():
        estimate = draws.estimate(value, lambda name=name: drawn[name], "")
        found[name] = {"value": estimate.value, "low": estimate.low, "high": estimate.high}
        found["reason"] = found.get("reason") or estimate.reason
    unsure = found["gain"]["low"] is None
    return {**found, "gain": {**found["gain"], "p": None if unsure else _two_sided(difference)}}


def _two_sided(differences: Floats) -> float:
    """Twice the smaller share of the defined draws at or beyond zero, at most 1."""
    defined = differences[~np.isnan(differences)]
    beyond = min(np.count_nonzero(defined <= 0.0), np.count_nonzero(defined >= 0.0))
    return float(min(1.0, 2 * (1 + beyond) / (defined.size + 1)))
