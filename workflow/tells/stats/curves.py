"""Curves with pointwise bands by resampling whole groups: ROC, precision-recall, reliability, rejection.

A curve is a function of how often each row counts. The curve itself counts every row once; its band is made of the
curves of bootstrap draws of groups, read at the same places. Rows of equal score are one step: their order never
matters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from tells.stats.bootstrap import draw_weights
from tells.stats.inputs import Floats, Groups, Integers, labels, lay_out, same_length, vector

_ROUNDING = 1e-12
_MOST_UNDEFINED = 0.10
_OfWeights = Callable[[Floats], Floats]


@dataclass(frozen=True)
class Curve:
    """A curve and its pointwise band.

    Attributes:
        x: [points] where it is read.
        y: [points] its values; NaN where it has none.
        low: [points] lower ends; NaN where there is no band.
        high: [points] upper ends; NaN where there is no band.
        rows: [points] rows that a point rests on.
        n_groups: groups that were drawn from.
        level: share of the draws between the ends.
    """

    x: Floats
    y: Floats
    low: Floats
    high: Floats
    rows: Integers
    n_groups: int
    level: float


def roc_curve(
    y: ArrayLike,
    score: ArrayLike,
    groups: ArrayLike,
    *,
    points: int = 101,
    n: int = 500,
    level: float = 0.95,
    seed: int = 0,
) -> Curve | None:
    """Sensitivity at evenly spaced false-positive rates, vertically averaged.

    Args:
        y: [rows] 0 or 1.
        score: [rows] larger means class 1.
        groups: [rows] group (question) of each row.
        points: places between 0 and 1, both included.
        n: bootstrap draws.
        level: of the band.
        seed: of the draws.

    Returns:
        The curve; None where a class is missing.

    Raises:
        ValueError: lengths differ, a value is missing, or y holds anything but 0 and 1.

    References:
        Fawcett, Pattern Recognition Letters 27:861 (2006), section 8.1.
    """
    label, value, layout = _classes(y, score, groups)
    if np.unique(label).size < 2:
        return None
    order, ends = _steps(value)
    positive = label[order]
    places = np.linspace(0.0, 1.0, points)

    def sensitivity(weights: Floats) -> Floats:
        hits, alarms = _climb(weights[order] * positive, ends), _climb(weights[order] * (1.0 - positive), ends)
        if hits[-1] == 0.0 or alarms[-1] == 0.0:
            return np.full(points, np.nan)
        return _highest_at(alarms / alarms[-1], hits / hits[-1], places)

    return _with_band(sensitivity, places, np.full(points, label.size), layout, n, level, seed)


def precision_recall_curve(
    y: ArrayLike,
    score: ArrayLike,
    groups: ArrayLike,
    *,
    points: int = 100,
    n: int = 500,
    level: float = 0.95,
    seed: int = 0,
) -> Curve | None:
    """Precision at evenly spaced recalls: of the highest threshold that reaches the recall, without interpolation.

    Args:
        y: [rows] 0 or 1.
        score: [rows] larger means class 1.
        groups: [rows] group (question) of each row.
        points: recalls, from 1/points to 1.
        n: bootstrap draws.
        level: of the band.
        seed: of the draws.

    Returns:
        The curve; None where a class is missing.

    Raises:
        ValueError: as for `roc_curve`.
    """
    label, value, layout = _classes(y, score, groups)
    if np.unique(label).size < 2:
        return None
    order, ends = _steps(value)
    positive = label[order]
    places = np.arange(1, points + 1) / points

    def precision(weights: Floats) -> Floats:
        hits, told = _climb(weights[order] * positive, ends)[1:], _climb(weights[order], ends)[1:]
        if hits[-1] == 0.0:
            return np.full(points, np.nan)
        first = np.searchsorted(hits / hits[-1], places - _ROUNDING)
        return hits[first] / told[first]

    return _with_band(precision, places, np.full(points, label.size), layout, n, level, seed)


def reliability_curve(
    y: ArrayLike, p: ArrayLike, groups: ArrayLike, *, bins: int = 10, n: int = 500, level: float = 0.95, seed: int = 0
) -> Curve | None:
    """Share of class 1 in bins of equal width of the probability, at the mean probability of the bin's rows.

    Args:
        y: [rows] 0 or 1.
        p: [rows] probability of class 1.
        groups: [rows] group (question) of each row.
        bins: of equal width; a probability on an edge belongs to the bin below it, as in `tells.stats.ece`.
        n: bootstrap draws.
        level: of the band.
        seed: of the draws.

    Returns:
        The curve, a point for each bin that has rows; None without rows.

    Raises:
        ValueError: lengths differ, a value is missing, y holds anything but 0 and 1, or p lies outside [0, 1].

    References:
        Guo et al. (arXiv 1706.04599), section 2.
    """
    label, value, layout = _classes(y, p, groups)
    if label.size == 0:
        return None
    if value.min() < 0.0 or value.max() > 1.0:
        raise ValueError("p must lie between 0 and 1")
    number = np.searchsorted(np.arange(1, bins + 1) / bins, value, side="left")
    counts = np.bincount(number, minlength=bins)
    filled = np.flatnonzero(counts)
    means = np.bincount(number, weights=value, minlength=bins)[filled] / counts[filled]

    def shares(weights: Floats) -> Floats:
        told = np.bincount(number, weights=weights * label, minlength=bins)[filled]
        return _quotient(told, np.bincount(number, weights=weights, minlength=bins)[filled])

    return _with_band(shares, means, counts[filled], layout, n, level, seed)


def rejection_curve(
    y: ArrayLike,
    uncertainty: ArrayLike,
    groups: ArrayLike,
    *,
    points: int = 20,
    n: int = 500,
    level: float = 0.95,
    seed: int = 0,
) -> Curve | None:
    """Accuracy of the most certain share of the rows, at evenly spaced shares; ties share their mean.

    Args:
        y: [rows] correctness, 0 or 1.
        uncertainty: [rows] larger means: refuse this row first.
        groups: [rows] group (question) of each row.
        points: shares that are kept, from 1/points to 1.
        n: bootstrap draws.
        level: of the band.
        seed: of the draws.

    Returns:
        The curve; None without rows.

    Raises:
        ValueError: as for `roc_curve`.
    """
    correct, doubt, layout = _classes(y, uncertainty, groups)
    if correct.size == 0:
        return None
    order, ends = _steps(-doubt)
    places = np.arange(1, points + 1) / points

    def accuracy(weights: Floats) -> Floats:
        kept, right = _climb(weights[order], ends), _climb(weights[order] * correct[order], ends)
        return np.interp(places * kept[-1], kept, right) / (places * kept[-1])

    return _with_band(accuracy, places, np.ceil(places * correct.size).astype(np.int64), layout, n, level, seed)


def _classes(y: ArrayLike, score: ArrayLike, groups: ArrayLike) -> tuple[Floats, Floats, Groups]:
    label, value, layout = labels(y), vector(score, "score"), lay_out(groups)
    same_length(y=label, score=value, groups=layout.order)
    return label[layout.order], value[layout.order], layout


def _steps(score: Floats) -> tuple[Integers, Integers]:
    """Rows by falling score, and the last place of each run of equal scores."""
    order = np.argsort(-score, kind="stable")
    falls = np.flatnonzero(np.diff(score[order]))
    return order, np.append(falls, score.size - 1)


def _climb(values: Floats, ends: Integers) -> Floats:
    """0, and the running sum at the end of each step."""
    return np.concatenate([[0.0], np.cumsum(values)[ends]])


def _highest_at(x: Floats, y: Floats, places: Floats) -> Floats:
    """A rising line of [points], linear between them, at [places]; where it stands upright, its upper end."""
    right = np.searchsorted(x, places + _ROUNDING, side="right")
    left, right = right - 1, np.minimum(right, x.size - 1)
    across = _quotient(places - x[left], x[right] - x[left], otherwise=0.0)
    return y[left] + np.clip(across, 0.0, 1.0) * (y[right] - y[left])


def _quotient(above: Floats, below: Floats, otherwise: float = np.nan) -> Floats:
    result = np.full(above.shape, otherwise)
    np.divide(above, below, out=result, where=below > 0)
    return result


def _with_band(
    values: _OfWeights, places: Floats, rows: Integers, layout: Groups, n: int, level: float, seed: int
) -> Curve:
    """The curve of all rows, and the percentiles of the curves of draws of groups."""
    found = values(np.ones(layout.order.size))
    low = high = np.full(places.size, np.nan)
    if layout.count > 1:
        pieces = draw_weights(layout, n, seed)
        draws = np.stack([values(each[layout.number].astype(np.float64)) for piece in pieces for each in piece])
        low, high = (_percentile(draws, share) for share in ((1 - level) / 2, (1 + level) / 2))
    return Curve(places, found, low, high, rows.astype(np.int64), layout.count, level)


def _percentile(draws: Floats, share: float) -> Floats:
    """Percentile of [draws, points] at each point; NaN where over a tenth of the draws have no value."""
    known = ~np.isnan(draws)
    enough = (~known).mean(axis=0) <= _MOST_UNDEFINED
    result = np.full(draws.shape[1], np.nan)
    for point in np.flatnonzero(enough):
        result[point] = np.quantile(draws[known[:, point], point], share)
    return result
