"""How far apart a direction holds two classes: effect sizes, AUC, balanced accuracy.

The figures are of projections h·v on a unit direction v. They say nothing about which rows were used; on the rows a
direction was fitted on they are always flattering.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tells.stats import auroc
from tells.stats.inputs import Floats, vector
from tells.traits.vectors import Direction, finite_rows

_ROUNDING = 1e-12
"""Spread, relative to the largest value, below which values are equal."""


@dataclass(frozen=True)
class Separation:
    """How a direction tells two classes apart on given rows.

    Attributes:
        cohens_d: signed effect size, positive less negative; None where undefined.
        hedges_g: the same, corrected for few rows; None where undefined.
        auc: chance that a positive row projects above a negative one, ties half.
        accuracy: balanced accuracy at the threshold: the mean of both classes' shares on their own side.
        polarity: the mean of the positive projections lies above that of the negative ones.
        threshold: projection above which a row is called positive.
        n_positive: positive rows.
        n_negative: negative rows.
        reason: why a figure is None; None when all are defined.
    """

    cohens_d: float | None
    hedges_g: float | None
    auc: float | None
    accuracy: float | None
    polarity: bool | None
    threshold: float
    n_positive: int
    n_negative: int
    reason: str | None = None


def cohens_d(a: ArrayLike, b: ArrayLike) -> float | None:
    """Signed effect size (mean a - mean b)/s, with s² pooled by degrees of freedom and no correction.

    Args:
        a: [n] numbers.
        b: [m] numbers.

    Returns:
        The effect size; None when a side is empty, neither has two values, or nothing varies within the sides.

    Raises:
        ValueError: a value is missing or not finite.

    References:
        Cohen, Statistical Power Analysis for the Behavioral Sciences (1988), 2.5.
    """
    first, second = vector(a, "a"), vector(b, "b")
    spread = pooled_spread(first, second)
    return None if spread is None else float((first.mean() - second.mean()) / spread)


def pooled_spread(first: Floats, second: Floats) -> float | None:
    """Standard deviation within two sides [n] and [m], pooled by degrees of freedom; None where d is undefined."""
    freedom = first.size + second.size - 2
    if first.size == 0 or second.size == 0 or freedom < 1:
        return None
    squares = np.sum((first - first.mean()) ** 2) + np.sum((second - second.mean()) ** 2)
    spread = float(np.sqrt(squares / freedom))
    return spread if spread > _ROUNDING * max(np.abs(first).max(), np.abs(second).max()) else None


def hedges_g(a: ArrayLike, b: ArrayLike) -> float | None:
    """Cohen's d times 1 - 3/(4 (n + m - 2) - 1), which takes off its excess with few rows.

    Args:
        a: [n] numbers.
        b: [m] numbers.

    Returns:
        The effect size; None where Cohen's d is, and with only three rows, where the correction is undefined.

    Raises:
        ValueError: a value is missing or not finite.

    References:
        Hedges, J. Educ. Stat. 6:107 (1981), eq. 6 and its approximation.
    """
    effect = cohens_d(a, b)
    return corrected(effect, np.size(a) + np.size(b))


def corrected(effect: float | None, n_rows: int) -> float | None:
    """Hedges' g of a Cohen's d over so many rows; None where undefined."""
    if effect is None or n_rows < 4:
        return None
    return effect * (1.0 - 3.0 / (4.0 * (n_rows - 2) - 1.0))


def balanced_accuracy(positive: ArrayLike, negative: ArrayLike, threshold: float) -> float | None:
    """Mean of the share of positive values above the threshold and of negative values at or below it.

    Returns:
        A share; None when a side is empty.
    """
    above, below = vector(positive, "positive"), vector(negative, "negative")
    if above.size == 0 or below.size == 0:
        return None
    return float((np.mean(above > threshold) + np.mean(below <= threshold)) / 2)


def choose_threshold(positive: ArrayLike, negative: ArrayLike) -> float:
    """The threshold that gives the training rows the best balanced accuracy.

    The candidates are the midpoints between neighbouring distinct values. Among equals the one nearest to the
    midpoint of the two class means is taken, then the lower one.

    Args:
        positive: [n] projections of the positive training rows.
        negative: [m] projections of the negative training rows.

    Returns:
        The threshold, in units of the projection; the common value when all are equal.

    Raises:
        ValueError: a side is empty or a value is not finite.
    """
    above, below = np.sort(vector(positive, "positive")), np.sort(vector(negative, "negative"))
    if above.size == 0 or below.size == 0:
        raise ValueError(f"a threshold needs both classes; got {above.size} positive and {below.size} negative rows")
    values = np.unique(np.concatenate([above, below]))
    if values.size == 1:
        return float(values[0])
    # Halves are added so that the sum cannot overflow; a midpoint that rounds up to its upper neighbour stays below.
    cuts = np.minimum(values[:-1] / 2 + values[1:] / 2, np.nextafter(values[1:], -np.inf))
    right = 1.0 - np.searchsorted(above, cuts, side="right") / above.size
    left = np.searchsorted(below, cuts, side="right") / below.size
    accuracy = right + left
    best = cuts[accuracy >= accuracy.max() - _ROUNDING]
    return float(best[np.argmin(np.abs(best - (above.mean() + below.mean()) / 2))])


def separation(
    positive: ArrayLike, negative: ArrayLike, direction: Direction | ArrayLike, *, threshold: float
) -> Separation:
    """Figures of a direction on the rows of two classes.

    Args:
        positive: [n, width] activations that show the trait.
        negative: [m, width] activations that show its opposite.
        direction: the direction, or its vector [width].
        threshold: projection above which a row is called positive; chosen on training rows (`choose_threshold`).

    Returns:
        The figures, None with a reason where undefined.

    Raises:
        ValueError: a class is empty, widths differ, or a value is not finite.
    """
    along = unit_vector(direction)
    above, below = finite_rows(positive, "positive"), finite_rows(negative, "negative")
    for name, rows in (("positive", above), ("negative", below)):
        if rows.shape[1] != along.size:
            raise ValueError(f"{name} rows have width {rows.shape[1]}, the direction has {along.size}")
    return separation_of(above @ along, below @ along, threshold=threshold)


def separation_of(positive: ArrayLike, negative: ArrayLike, *, threshold: float) -> Separation:
    """`separation` of projections that are already made: positive [n], negative [m]."""
    above, below = vector(positive, "positive"), vector(negative, "negative")
    if not np.isfinite(threshold):
        raise ValueError(f"threshold must be a finite number, it is {threshold}")
    both = above.size > 0 and below.size > 0
    effect = cohens_d(above, below)
    reason = None
    if not both:
        reason = f"{above.size} positive and {below.size} negative rows: both classes are needed"
    elif effect is None:
        reason = "nothing varies within the classes, so that an effect size is undefined"
        if above.size + below.size < 3:
            reason = "one row a class: an effect size needs a class with two"
    label = np.concatenate([np.ones(above.size), np.zeros(below.size)])
    return Separation(
        cohens_d=effect,
        hedges_g=corrected(effect, above.size + below.size),
        auc=auroc(label, np.concatenate([above, below])),
        accuracy=balanced_accuracy(above, below, threshold),
        polarity=bool(above.mean() > below.mean()) if both else None,
        threshold=float(threshold),
        n_positive=int(above.size),
        n_negative=int(below.size),
        reason=reason,
    )


def unit_vector(direction: Direction | ArrayLike) -> NDArray[np.float64]:
    """The vector of a direction in double precision [width], scaled to length 1.

    Raises:
        ValueError: not one-dimensional, not finite, or zero.
    """
    along: Floats = vector(direction.vector if isinstance(direction, Direction) else direction, "direction")
    length = float(np.linalg.norm(along))
    if length == 0.0:
        raise ValueError("the direction is zero: it has no projection")
    return along / length
