"""Intervals by resampling whole groups with replacement.

A question's runs are not independent, so questions are drawn, each with all its rows. For one seed and one
set of groups the draws are the same whatever the metric, which is what makes a paired comparison paired.
AUROCs and means are computed for many draws at once, from weights per group; every other metric is called
draw by draw. Both ways give the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tells.stats.inputs import Floats, Groups, Integers, Metric, labels, lay_out, same_length, vector
from tells.stats.metrics import auroc, call_metric, evaluate, pairs_by_group, ranks_within, within_group_auroc

_CELLS_AT_ONCE = 1 << 19
_MOST_UNDEFINED = 0.10
_Values = Callable[[Integers], Floats]


@dataclass(frozen=True)
class Interval:
    """A percentile bootstrap interval.

    Attributes:
        low: lower end; None when the interval is undefined.
        high: upper end; None when the interval is undefined.
        estimate: the metric of all rows; None when undefined.
        level: share of the draws between the ends.
        n: draws made.
        n_undefined: draws on which the metric was undefined, left out of the interval.
        n_groups: groups that were drawn from.
        reason: why the interval is undefined; None when it is defined.
    """

    low: float | None
    high: float | None
    estimate: float | None
    level: float
    n: int
    n_undefined: int
    n_groups: int
    reason: str | None = None


@dataclass(frozen=True)
class PairedDifference:
    """The difference of a metric between two scores of the same rows, A - B.

    Attributes:
        difference: metric of A minus metric of B on all rows; None when either is undefined.
        low: lower end of the percentile interval; None when undefined.
        high: upper end of the percentile interval; None when undefined.
        p: two-sided bootstrap p-value of no difference; None when the interval is undefined.
        level: share of the draws between the ends.
        n: draws made.
        n_undefined: draws on which either metric was undefined, left out.
        n_groups: groups that were drawn from.
        reason: why the interval is undefined; None when it is defined.
    """

    difference: float | None
    low: float | None
    high: float | None
    p: float | None
    level: float
    n: int
    n_undefined: int
    n_groups: int
    reason: str | None = None


def _draw_groups(groups: Groups, n: int, seed: int, rows_at_once: int) -> Iterator[Integers]:
    """Draw groups with replacement within their stratum.

    Yields:
        [draws, groups] group numbers. One draw at a time is taken from the generator, so that the size of
        the pieces changes nothing.
    """
    generator = np.random.default_rng(seed)
    members = [np.flatnonzero(groups.strata == stratum) for stratum in np.unique(groups.strata)]
    for first in range(0, n, rows_at_once):
        piece = np.empty((min(rows_at_once, n - first), groups.count), dtype=np.int64)
        for draw in piece:
            parts = [part[generator.integers(0, part.size, part.size)] for part in members]
            draw[:] = parts[0] if len(parts) == 1 else np.concatenate(parts)
        yield piece


def _weights(draws: Integers) -> Integers:
    """How often each group stands in each draw: [draws, groups] from [draws, groups]."""
    rows, count = draws.shape
    cells = draws + np.arange(rows)[:, None] * count
    return np.bincount(cells.ravel(), minlength=rows * count).reshape(rows, count)


def _ratio(above: NDArray, below: NDArray) -> Floats:
    """Divide; NaN, this module's inner mark of an undefined draw, where the divisor is 0."""
    result = np.full(above.shape, np.nan)
    np.divide(above, below, out=result, where=below > 0)
    return result


def _auroc_of_draws(y: Floats, score: Floats, groups: Groups) -> _Values:
    """AUROC of many draws: each positive row counts the weight of the negative rows below it, ties half."""
    label = labels(y)
    positive, negative = np.flatnonzero(label == 1.0), np.flatnonzero(label == 0.0)
    negative = negative[np.argsort(score[negative], kind="stable")]
    below = np.searchsorted(score[negative], score[positive], side="left")
    not_above = np.searchsorted(score[negative], score[positive], side="right")
    positive_group, negative_group = groups.number[positive], groups.number[negative]

    def values(draws: Integers) -> Floats:
        weights = _weights(draws)
        passed = np.zeros((draws.shape[0], negative.size + 1), dtype=np.int64)
        np.cumsum(weights[:, negative_group], axis=1, out=passed[:, 1:])
        positive_weights = weights[:, positive_group]
        won_twice = np.sum(positive_weights * (passed[:, below] + passed[:, not_above]), axis=1)
        return _ratio(won_twice, 2 * positive_weights.sum(axis=1) * passed[:, -1])

    return values


def _within_group_auroc_of_draws(y: Floats, score: Floats, groups: Groups) -> _Values:
    label = labels(y)
    wins, pairs = pairs_by_group(label, ranks_within(score, groups.number), groups.number, groups.count)

    def values(draws: Integers) -> Floats:
        weights = _weights(draws)
        return _ratio(weights @ wins, weights @ pairs)

    return values


def _any_metric_of_draws(metric: Metric, y: Floats, score: Floats, groups: Groups) -> _Values:
    def one(draw: Integers) -> float:
        sizes = groups.sizes[draw]
        rows = np.arange(sizes.sum()) + np.repeat(groups.starts[draw] - np.cumsum(sizes) + sizes, sizes)
        value = call_metric(metric, y[rows], score[rows])
        return np.nan if value is None else value

    return lambda draws: np.array([one(draw) for draw in draws])


def _values_of_draws(metric: Metric, y: Floats, score: Floats, groups: Groups) -> _Values:
    """The function from [draws, groups] to [draws] metric values, NaN where undefined."""
    if metric is auroc:
        return _auroc_of_draws(y, score, groups)
    if metric is within_group_auroc:
        return _within_group_auroc_of_draws(y, score, groups)
    return _any_metric_of_draws(metric, y, score, groups)


def draw_weights(groups: Groups, n: int, seed: int) -> Iterator[Integers]:
    """How often each group stands in each of n draws.

    Yields:
        [draws, groups] counts, a few draws at a time; those of `bootstrap_ci` for the same seed.
    """
    at_once = max(1, _CELLS_AT_ONCE // max(1, groups.order.size))
    return map(_weights, _draw_groups(groups, n, seed, at_once))


def _check(n: int, level: float) -> None:
    if n < 1:
        raise ValueError(f"n must be at least 1 draw, it is {n}")
    if not 0.0 < level < 1.0:
        raise ValueError(f"level must lie between 0 and 1, it is {level}")


def _resample(values: list[_Values], groups: Groups, n: int, seed: int) -> Floats:
    """Metric values [metrics, draws] of several metrics on the same draws."""
    at_once = max(1, _CELLS_AT_ONCE // max(1, groups.order.size))
    pieces = [np.stack([function(draws) for function in values]) for draws in _draw_groups(groups, n, seed, at_once)]
    return np.concatenate(pieces, axis=1)


def _ends(values: Floats, level: float) -> tuple[float | None, float | None, int, str | None]:
    """Percentile ends of [draws] values, the number of undefined draws, and why there are no ends."""
    defined = values[~np.isnan(values)]
    undefined = values.size - defined.size
    if undefined > _MOST_UNDEFINED * values.size:
        reason = f"the metric is undefined on {undefined} of {values.size} bootstrap draws"
        return None, None, undefined, reason
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high), undefined, None


def _two_sided_p(differences: Floats) -> float:
    """Twice the smaller share of the defined draws at or beyond zero, at most 1."""
    defined = differences[~np.isnan(differences)]
    beyond = min(np.count_nonzero(defined <= 0.0), np.count_nonzero(defined >= 0.0))
    return float(min(1.0, 2 * (1 + beyond) / (defined.size + 1)))


def _too_few(estimate: float | None, groups: Groups) -> str | None:
    if estimate is None:
        return "the metric is undefined on all rows"
    if groups.count < 2:
        return "one group only: there is nothing to resample"
    return None


def _rows(
    y: ArrayLike, scores: dict[str, ArrayLike], groups: ArrayLike, strata: ArrayLike | None
) -> tuple[Floats, list[Floats], Groups]:
    """Check all vectors and lay them out by group."""
    target = vector(y, "y")
    checked = {name: vector(score, name) for name, score in scores.items()}
    layout = lay_out(groups, strata)
    same_length(y=target, **checked, groups=layout.order)
    return target[layout.order], [score[layout.order] for score in checked.values()], layout


def bootstrap_ci(
    metric: Metric,
    y: ArrayLike,
    score: ArrayLike,
    groups: ArrayLike,
    *,
    n: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    strata: ArrayLike | None = None,
) -> Interval:
    """Percentile interval of a metric, resampling whole groups.

    Args:
        metric: function of y and score; `auroc` and `within_group_auroc` run on many draws at once.
        y: [rows] first argument of the metric.
        score: [rows] second argument of the metric.
        groups: [rows] group (question) of each row.
        n: number of draws.
        level: share of the draws between the ends.
        seed: seed of the draws.
        strata: [rows] stratum of each row; groups are then drawn within their stratum.

    Returns:
        The interval. Its ends are None, with a reason, when the metric is undefined on all rows or on more
        than 10% of the draws, or when there is only one group; fewer undefined draws are left out and
        counted.

    Raises:
        ValueError: lengths differ, a value is missing, a group lies in two strata, n or level is out of
            range, or the metric refuses its arguments.

    References:
        Davison and Hinkley, Bootstrap Methods and their Application (1997), 3.8, strategy 1.
    """
    _check(n, level)
    target, (value,), layout = _rows(y, {"score": score}, groups, strata)
    estimate = evaluate(metric, target, value, layout.number)
    reason = _too_few(estimate, layout)
    if reason is not None:
        return Interval(None, None, estimate, level, 0, 0, layout.count, reason)
    values = _resample([_values_of_draws(metric, target, value, layout)], layout, n, seed)[0]
    low, high, undefined, reason = _ends(values, level)
    return Interval(low, high, estimate, level, n, undefined, layout.count, reason)


def paired_bootstrap(
    metric: Metric,
    y: ArrayLike,
    score_a: ArrayLike,
    score_b: ArrayLike,
    groups: ArrayLike,
    *,
    n: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    strata: ArrayLike | None = None,
) -> PairedDifference:
    """Difference of a metric between two scores of the same rows, on the same grouped draws.

    The two-sided p-value is twice the smaller share of draws at or beyond zero,
    2 * min(1 + #{d <= 0}, 1 + #{d >= 0}) / (n + 1), at most 1, over the defined draws.

    Args:
        metric: function of y and a score.
        y: [rows] first argument of the metric.
        score_a: [rows] the score A.
        score_b: [rows] the score B.
        groups: [rows] group (question) of each row.
        n: number of draws.
        level: share of the draws between the ends.
        seed: seed of the draws.
        strata: [rows] stratum of each row; groups are then drawn within their stratum.

    Returns:
        The difference A - B. Ends and p are None, with a reason, in the cases `bootstrap_ci` names.

    Raises:
        ValueError: as for `bootstrap_ci`.
    """
    _check(n, level)
    target, (a, b), layout = _rows(y, {"score_a": score_a, "score_b": score_b}, groups, strata)
    metric_a, metric_b = (evaluate(metric, target, score, layout.number) for score in (a, b))
    difference = None if metric_a is None or metric_b is None else metric_a - metric_b
    reason = _too_few(difference, layout)
    if reason is not None:
        return PairedDifference(difference, None, None, None, level, 0, 0, layout.count, reason)
    functions = [_values_of_draws(metric, target, score, layout) for score in (a, b)]
    values = _resample(functions, layout, n, seed)
    differences = values[0] - values[1]
    low, high, undefined, reason = _ends(differences, level)
    p = None if reason is not None else _two_sided_p(differences)
    return PairedDifference(difference, low, high, p, level, n, undefined, layout.count, reason)


def clustered_mean_ci(
    values: ArrayLike,
    groups: ArrayLike,
    *,
    n: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    strata: ArrayLike | None = None,
) -> Interval:
    """Mean over rows with a percentile interval that resamples whole groups.

    Args:
        values: [rows] numbers.
        groups: [rows] group (question) of each row.
        n: number of draws.
        level: share of the draws between the ends.
        seed: seed of the draws.
        strata: [rows] stratum of each row; groups are then drawn within their stratum.

    Returns:
        The interval, with the mean as its estimate; undefined with no row or only one group.

    Raises:
        ValueError: lengths differ, a value is missing, a group lies in two strata, or n or level is out of
            range.
    """
    _check(n, level)
    (value, _, layout) = _rows(values, {}, groups, strata)
    if value.size == 0:
        return Interval(None, None, None, level, 0, 0, 0, "no rows")
    estimate = float(value.mean())
    reason = _too_few(estimate, layout)
    if reason is not None:
        return Interval(None, None, estimate, level, 0, 0, layout.count, reason)
    sums = np.bincount(layout.number, weights=value, minlength=layout.count)

    def means(draws: Integers) -> Floats:
        return sums[draws].sum(axis=1) / layout.sizes[draws].sum(axis=1)

    low, high, undefined, reason = _ends(_resample([means], layout, n, seed)[0], level)
    return Interval(low, high, estimate, level, n, undefined, layout.count, reason)
