"""Intervals of effect sizes and AUCs by drawing scenario pairs with replacement, all draws at once.

The draws are those of `tells.stats.bootstrap_ci`, and so are the numbers; here the weights of the pairs are drawn
once for a set of rows and serve every method and layer that is measured on it. Two corrections keep the intervals
honest at the sizes of a trait: see `PairBootstrap`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, stdtrit

from tells.stats import Interval, auroc
from tells.stats.inputs import codes
from tells.traits.metrics import cohens_d

Floats = NDArray[np.float64]

_MOST_UNDEFINED = 0.10
_SMALLEST_VARIANCE = 1e-24


def expanded_level(level: float, n_groups: int) -> float:
    """Level at which percentiles of so many groups cover as an interval of `level` should.

    The percentile interval of few groups is too narrow by sqrt((n - 1)/n), and by the normal in place of the t
    distribution with n - 1 degrees of freedom.

    Args:
        level: coverage that is wanted.
        n_groups: groups that are drawn from, at least 2.

    References:
        Hesterberg, The American Statistician 69:371 (2015), 4.1.3, expanded percentile interval.
    """
    quantile = np.sqrt(n_groups / (n_groups - 1)) * stdtrit(n_groups - 1, (1 + level) / 2)
    return float(2 * ndtr(quantile) - 1)


class PairBootstrap:
    """Draws of the pairs of one set of rows.

    Two corrections. The percentiles are those of `expanded_level`. With `widen` the ends move away from the
    estimate by that factor, for projections that were pooled over the folds of a cross-validation: each pair then
    helps to fit the directions by which the others are judged, so the held-out rows are less independent than
    they look, and no interval made from them alone can know.

    Attributes:
        n_pairs: pairs that are drawn from.
    """

    def __init__(
        self,
        positive: NDArray[np.bool_],
        pairs: ArrayLike,
        *,
        draws: int,
        seed: int,
        level: float = 0.95,
        widen: float = 1.0,
    ) -> None:
        """Draw.

        Args:
            positive: [rows] class of each row.
            pairs: [rows] pair of each row.
            draws: number of draws, at least 1.
            seed: seed of the draws.
            level: coverage that is wanted.
            widen: factor by which the ends move away from the estimate.
        """
        distinct, number = codes(pairs, "pairs")
        self.n_pairs = int(distinct.size)
        self._positive, self._level, self._widen, self._draws = positive, level, widen, draws
        self._number = number
        drawn = np.random.default_rng(seed).integers(0, max(1, self.n_pairs), (draws, self.n_pairs))
        cells = drawn + np.arange(draws)[:, None] * self.n_pairs
        counts = np.bincount(cells.ravel(), minlength=draws * self.n_pairs).reshape(draws, self.n_pairs)
        self._weights: Floats = counts.astype(np.float64)

    def effect(self, projection: Floats) -> Interval:
        """Interval of Cohen's d of the projections [rows], positive less negative."""
        positive = self._positive
        estimate = cohens_d(projection[positive], projection[~positive])
        if estimate is None:
            return self._undefined(None, "the effect size is undefined on all rows")
        # Sums of squares about the overall mean lose no digits to a common offset.
        value = projection - projection.mean()
        sides = [np.where(side, part, 0.0) for side in (positive, ~positive) for part in (1.0, value, value**2)]
        sums = np.stack([np.bincount(self._number, weights=side, minlength=self.n_pairs) for side in sides], axis=1)
        n_a, sum_a, square_a, n_b, sum_b, square_b = (self._weights @ sums).T
        with np.errstate(divide="ignore", invalid="ignore"):
            squares = (square_a - sum_a**2 / n_a) + (square_b - sum_b**2 / n_b)
            variance = squares / (n_a + n_b - 2.0)
            drawn = (sum_a / n_a - sum_b / n_b) / np.sqrt(variance)
            drawn[~(variance > _SMALLEST_VARIANCE * np.square(value).max())] = np.nan
        return self._interval(estimate, drawn)

    def auc(self, projection: Floats) -> Interval:
        """Interval of the AUC of the projections [rows]."""
        positive = self._positive
        estimate = auroc(positive, projection)
        if estimate is None:
            return self._undefined(None, "the AUC is undefined: a class has no row")
        above, below = projection[positive][:, None], projection[~positive][None, :]
        won = (above > below) + 0.5 * (above == below)
        by_positive = np.zeros((self.n_pairs, won.shape[1]))
        np.add.at(by_positive, self._number[positive], won)
        wins = np.zeros((self.n_pairs, self.n_pairs))
        np.add.at(wins.T, self._number[~positive], by_positive.T)
        n_above = self._weights @ np.bincount(self._number[positive], minlength=self.n_pairs)
        n_below = self._weights @ np.bincount(self._number[~positive], minlength=self.n_pairs)
        total = n_above * n_below
        drawn = np.full(self._draws, np.nan)
        np.divide(np.sum((self._weights @ wins) * self._weights, axis=1), total, out=drawn, where=total > 0)
        interval = self._interval(estimate, drawn)
        if interval.low is None or interval.high is None:
            return interval
        ends = np.clip([interval.low, interval.high], 0.0, 1.0)
        return Interval(
            float(ends[0]), float(ends[1]), estimate, self._level, self._draws, interval.n_undefined, self.n_pairs
        )

    def _undefined(self, estimate: float | None, reason: str, n_undefined: int = 0) -> Interval:
        return Interval(None, None, estimate, self._level, self._draws, n_undefined, self.n_pairs, reason)

    def _interval(self, estimate: float, drawn: Floats) -> Interval:
        if self.n_pairs < 2:
            return self._undefined(estimate, "one pair only: there is nothing to resample")
        defined = drawn[~np.isnan(drawn)]
        undefined = drawn.size - defined.size
        if undefined > _MOST_UNDEFINED * drawn.size:
            reason = f"the figure is undefined on {undefined} of {drawn.size} bootstrap draws"
            return self._undefined(estimate, reason, undefined)
        level = expanded_level(self._level, self.n_pairs)
        ends = estimate + self._widen * (np.quantile(defined, [(1 - level) / 2, (1 + level) / 2]) - estimate)
        return Interval(float(ends[0]), float(ends[1]), estimate, self._level, self._draws, undefined, self.n_pairs)
