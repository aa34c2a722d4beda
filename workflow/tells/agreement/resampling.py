"""Intervals of many scores of the same rows, on the same draws of whole groups.

The draws are those of `tells.stats.bootstrap_ci` for the same seed and groups. Each metric is computed for all draws at
once from how often each row stands in a draw, and equals what it would be on the drawn rows themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tells.stats import auroc, average_precision, spearman
from tells.stats.bootstrap import draw_weights
from tells.stats.inputs import lay_out, vector
from tells.stats.metrics import pairs_by_group, ranks_within

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_CELLS_AT_ONCE = 1 << 21
MOST_UNDEFINED = 0.10
"""Share of draws without a value above which there is no interval, as in `tells.stats`."""


@dataclass(frozen=True)
class Estimate:
    """A figure with its interval.

    Attributes:
        value: None where it is undefined.
        low: lower end; None where there is none.
        high: upper end.
        reason: why the value or the interval is missing; None where both are there.
    """

    value: float | None
    low: float | None
    high: float | None
    reason: str | None = None


@dataclass(frozen=True, eq=False)
class Draws:
    """How often each group stands in each draw.

    Attributes:
        number: [rows] group of each row.
        weights: [draws, groups] counts.
        level: share of the draws between the ends of an interval.
    """

    number: Integers
    weights: Integers
    level: float

    @classmethod
    def of(cls, groups: ArrayLike, *, n: int, seed: int, level: float) -> Draws:
        """Draw groups with replacement.

        Args:
            groups: [rows] group of each row.
            n: draws.
            seed: of the draws.
            level: of the intervals.
        """
        layout = lay_out(groups)
        number = np.empty(layout.order.size, dtype=np.int64)
        number[layout.order] = layout.number
        return cls(number, np.concatenate(list(draw_weights(layout, n, seed))), level)

    @property
    def n_groups(self) -> int:
        """Groups that are drawn from."""
        return self.weights.shape[1]

    def parts(self, rows: Integers) -> Iterator[Integers]:
        """How often each of the rows stands in a draw: [some draws, rows], a few draws at a time."""
        at_once = max(1, _CELLS_AT_ONCE // max(1, rows.size))
        numbers = self.number[rows]
        for start in range(0, len(self.weights), at_once):
            yield self.weights[start : start + at_once, numbers]

    def estimate(self, value: float | None, drawn: Callable[[], Floats], undefined: str) -> Estimate:
        """A value with the percentile interval of its draws.

        Args:
            value: on all rows.
            drawn: gives [draws] values, NaN where undefined.
            undefined: why there is no value, where there is none.
        """
        if value is None:
            return Estimate(None, None, None, undefined)
        if self.n_groups < 2:
            return Estimate(value, None, None, "one group only: there is nothing to resample")
        values = drawn()
        defined = values[~np.isnan(values)]
        missing = values.size - defined.size
        if missing > MOST_UNDEFINED * values.size:
            return Estimate(value, None, None, f"undefined on {missing} of {values.size} bootstrap draws")
        low, high = np.quantile(defined, [(1 - self.level) / 2, (1 + self.level) / 2])
        return Estimate(value, float(low), float(high))


def auroc_estimate(draws: Draws, y: Floats, score: Floats, undefined: str) -> Estimate:
    """AUROC of [rows] labels and scores."""
    return draws.estimate(auroc(y, score), lambda: auroc_draws(draws, y, score), undefined)


def average_precision_estimate(draws: Draws, y: Floats, score: Floats, undefined: str) -> Estimate:
    """Average precision of [rows] labels and scores."""
    return draws.estimate(average_precision(y, score), lambda: average_precision_draws(draws, y, score), undefined)


def stratified_auroc_estimate(draws: Draws, y: Floats, score: Floats, strata: Integers, undefined: str) -> Estimate:
    """AUROC over pairs of rows of the same stratum, each pair of equal weight; the strata are not drawn anew."""
    value = stratified_auroc(y, score, strata)
    missing = undefined if auroc(y, score) is None else "no stratum holds both classes"
    return draws.estimate(value, lambda: auroc_draws(draws, y, score, strata), missing)


def spearman_estimate(draws: Draws, left: Floats, right: Floats, undefined: str) -> Estimate:
    """Spearman's correlation of two [rows] numbers."""
    return draws.estimate(spearman(left, right), lambda: spearman_draws(draws, left, right), undefined)


def stratified_auroc(y: Floats, score: Floats, strata: Integers) -> float | None:
    """AUROC over pairs within strata, averaged by pairs; None where no stratum holds both classes.

    Args:
        y: [rows] labels, 0 or 1.
        score: [rows] larger means class 1.
        strata: [rows] stratum of each row.
    """
    _, number = np.unique(strata, return_inverse=True)
    wins, pairs = pairs_by_group(vector(y, "y"), ranks_within(score, number), number, int(number.max(initial=-1)) + 1)
    return float(wins.sum() / pairs.sum()) if pairs.sum() > 0 else None


def auroc_draws(draws: Draws, y: Floats, score: Floats, strata: Integers | None = None) -> Floats:
    """AUROC of every draw [draws], over all pairs or over those within a stratum; NaN where undefined."""
    rows = np.arange(y.size)
    parts = [rows] if strata is None else [rows[strata == stratum] for stratum in np.unique(strata)]
    won = np.zeros(len(draws.weights))
    pairs = np.zeros(len(draws.weights))
    for part in parts:
        more_won, more_pairs = _won_pairs(draws, part, y[part], score[part])
        won, pairs = won + more_won, pairs + more_pairs
    return _ratio(won, pairs)


def _won_pairs(draws: Draws, rows: Integers, y: Floats, score: Floats) -> tuple[Floats, Floats]:
    """Pairs of a positive and a negative row of each draw, and those ordered rightly (ties half)."""
    positive, negative = np.flatnonzero(y == 1.0), np.flatnonzero(y == 0.0)
    negative = negative[np.argsort(score[negative], kind="stable")]
    below = np.searchsorted(score[negative], score[positive], side="left")
    not_above = np.searchsorted(score[negative], score[positive], side="right")
    won, pairs = [], []
    for weights in draws.parts(rows):
        passed = np.zeros((len(weights), negative.size + 1), dtype=np.int64)
        np.cumsum(weights[:, negative], axis=1, out=passed[:, 1:])
        own = weights[:, positive]
        won.append(np.sum(own * (passed[:, below] + passed[:, not_above]), axis=1) / 2)
        pairs.append(own.sum(axis=1) * passed[:, -1])
    return np.concatenate(won).astype(np.float64), np.concatenate(pairs).astype(np.float64)


def average_precision_draws(draws: Draws, y: Floats, score: Floats) -> Floats:
    """Average precision of every draw [draws]; NaN where a class is missing."""
    order = np.argsort(-score, kind="stable")
    ordered = score[order]
    last_of_tie = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
    hit = (y[order] == 1.0).astype(np.int64)
    values = []
    for weights in draws.parts(order):
        hits = np.cumsum(weights * hit, axis=1)[:, last_of_tie]
        seen = np.cumsum(weights, axis=1)[:, last_of_tie]
        gained = np.diff(hits, axis=1, prepend=0)
        precise = np.divide(hits, seen, out=np.zeros(hits.shape), where=seen > 0)
        both = (hits[:, -1] > 0) & (hits[:, -1] < seen[:, -1])
        values.append(_ratio(np.where(both, (gained * precise).sum(axis=1), 0.0), np.where(both, hits[:, -1], 0)))
    return np.concatenate(values)


def spearman_draws(draws: Draws, left: Floats, right: Floats) -> Floats:
    """Spearman's correlation of every draw [draws], ranked anew in each; NaN where a side is constant."""
    rows = np.arange(left.size)
    values = []
    for weights in draws.parts(rows):
        ranks = [weighted_ranks(side, weights) for side in (left, right)]
        values.append(weighted_correlations(np.stack(ranks, axis=-1), weights)[:, 0, 1])
    return np.concatenate(values)


def weighted_ranks(values: Floats, weights: Integers) -> Floats:
    """Mid-ranks of rows that stand several times.

    Args:
        values: [rows] numbers.
        weights: [draws, rows] how often each row stands.

    Returns:
        [draws, rows] the mid-rank that each copy of a row has in its draw.
    """
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    tie = np.cumsum(np.append(True, ordered[1:] != ordered[:-1])) - 1
    last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
    reached = np.cumsum(weights[:, order], axis=1)[:, last]
    before = np.concatenate([np.zeros((len(weights), 1), dtype=reached.dtype), reached[:, :-1]], axis=1)
    ranks = np.empty(weights.shape)
    ranks[:, order] = ((before + reached + 1) / 2)[:, tie]
    return ranks


def weighted_correlations(columns: Floats, weights: Integers) -> Floats:
    """Correlations of the columns of each draw.

    Args:
        columns: [draws, rows, columns] numbers.
        weights: [draws, rows] how often each row stands.

    Returns:
        [draws, columns, columns]; NaN where a column does not vary.
    """
    share = (weights / weights.sum(axis=1, keepdims=True))[:, :, None]
    centred = columns - (share * columns).sum(axis=1, keepdims=True)
    covariance = np.swapaxes(share * centred, 1, 2) @ centred
    spread = np.sqrt(np.maximum(np.diagonal(covariance, axis1=1, axis2=2), 0.0))
    scale = spread[:, :, None] * spread[:, None, :]
    found = np.full(covariance.shape, np.nan)
    # Ranks are halves of whole numbers: what is left of a constant column is rounding.
    varies = spread > 1e-9 * np.maximum(np.abs(columns).max(axis=1), 1.0)
    np.divide(covariance, scale, out=found, where=varies[:, :, None] & varies[:, None, :])
    return np.clip(found, -1.0, 1.0)


def _ratio(above: NDArray, below: NDArray) -> Floats:
    """Divide; NaN where the divisor is 0."""
    result = np.full(above.shape, np.nan)
    np.divide(above, below, out=result, where=below > 0)
    return result
