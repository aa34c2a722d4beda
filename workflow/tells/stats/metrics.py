"""How well a score tells positive rows from negative ones, and how honest a probability is.

Each metric is a function of labels and scores that returns None where it is undefined. Inference
(`tells.stats.bootstrap`, `tells.stats.permutation`) takes these functions as arguments.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from tells.stats.inputs import Floats, Integers, Metric, codes, labels, same_length, vector
from tells.stats.ranks import mid_ranks


def _labels_and_scores(y: ArrayLike, score: ArrayLike) -> tuple[Floats, Floats]:
    label, value = labels(y), vector(score, "score")
    same_length(y=label, score=value)
    return label, value


def auroc(y: ArrayLike, score: ArrayLike) -> float | None:
    """Area under the ROC curve: chance that a positive row scores above a negative one, ties half.

    Args:
        y: [rows] labels, 0 or 1.
        score: [rows] larger means more likely positive.

    Returns:
        A value in [0, 1]; None when a class is missing.

    Raises:
        ValueError: lengths differ, a label is not 0 or 1, or a score is not finite.

    References:
        Mann and Whitney, Ann. Math. Statist. 18:50 (1947), with mid-ranks.
    """
    label, value = _labels_and_scores(y, score)
    positives = int(label.sum())
    negatives = label.size - positives
    if positives == 0 or negatives == 0:
        return None
    rank_sum = mid_ranks(value)[label == 1.0].sum()
    return float((rank_sum - positives * (positives + 1) / 2) / (positives * negatives))


def within_group_auroc(y: ArrayLike, score: ArrayLike, groups: ArrayLike) -> float | None:
    """AUROC over pairs of rows of the same group: does the score tell runs of one question apart?

    Averaged by pairs: a group with p positive and m negative rows weighs p * m.

    Args:
        y: [rows] labels, 0 or 1.
        score: [rows] larger means more likely positive.
        groups: [rows] group (question) of each row.

    Returns:
        A value in [0, 1]; None when no group holds both classes.

    Raises:
        ValueError: lengths differ, a label is not 0 or 1, or a score is not finite.
    """
    label, value = _labels_and_scores(y, score)
    distinct, number = codes(groups)
    same_length(y=label, groups=number)
    wins, pairs = pairs_by_group(label, ranks_within(value, number), number, distinct.size)
    return float(wins.sum() / pairs.sum()) if pairs.sum() > 0 else None


def ranks_within(score: Floats, number: Integers) -> Floats:
    """Mid-rank of each row among the rows of its own group.

    Args:
        score: [rows] scores.
        number: [rows] group number of each row.

    Returns:
        [rows] ranks from 1 to the size of the group.
    """
    if score.size == 0:
        return np.zeros(0)
    # Ranking (group, score) as one key ranks group after group; the ranks of earlier groups come off.
    key = np.unique(score, return_inverse=True)[1]
    together = mid_ranks(number * (key.max() + 1) + key)
    sizes = np.bincount(number)
    return together - (np.cumsum(sizes) - sizes)[number]


def pairs_by_group(label: Floats, ranks: Floats, number: Integers, count: int) -> tuple[Floats, Floats]:
    """Pairs of a positive and a negative row that each group holds, and those ordered rightly.

    Args:
        label: [rows] 0 or 1.
        ranks: [rows] from `ranks_within`.
        number: [rows] group number of each row.
        count: number of groups.

    Returns:
        Won pairs [groups] (ties half) and all pairs [groups].
    """
    positives = np.bincount(number, weights=label, minlength=count)
    negatives = np.bincount(number, weights=1.0 - label, minlength=count)
    rank_sums = np.bincount(number, weights=label * ranks, minlength=count)
    return rank_sums - positives * (positives + 1) / 2, positives * negatives


def average_precision(y: ArrayLike, score: ArrayLike) -> float | None:
    """Precision averaged over the steps of recall; rows with equal scores enter together.

    Report it with the prevalence (the mean of y), which is what a useless score reaches.

    Args:
        y: [rows] labels, 0 or 1.
        score: [rows] larger means more likely positive.

    Returns:
        A value in (0, 1]; None when a class is missing.

    Raises:
        ValueError: lengths differ, a label is not 0 or 1, or a score is not finite.

    References:
        The step-wise sum of scikit-learn's `average_precision_score`.
    """
    label, value = _labels_and_scores(y, score)
    positives = label.sum()
    if positives in (0, label.size):
        return None
    order = np.argsort(-value, kind="stable")
    ordered = value[order]
    last_of_tie = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
    hits = np.cumsum(label[order])[last_of_tie]
    return float(np.sum(np.diff(hits, prepend=0.0) * hits / (last_of_tie + 1)) / positives)


def _are_probabilities(value: Floats) -> bool:
    return bool(np.all((value >= 0.0) & (value <= 1.0)))


def brier(y: ArrayLike, p: ArrayLike) -> float | None:
    """Mean squared difference between probability and label; smaller is better.

    Args:
        y: [rows] labels, 0 or 1.
        p: [rows] predicted probabilities of 1.

    Returns:
        A value in [0, 1]; None when there is no row or a score is no probability.

    Raises:
        ValueError: lengths differ, a label is not 0 or 1, or a score is not finite.

    References:
        Brier, Mon. Weather Rev. 78:1 (1950).
    """
    label, value = _labels_and_scores(y, p)
    if label.size == 0 or not _are_probabilities(value):
        return None
    return float(np.mean((value - label) ** 2))


def ece(y: ArrayLike, p: ArrayLike, bins: int = 10) -> float | None:
    """Expected calibration error over bins of equal width; smaller is better.

    Bins are (low, high]; a probability of exactly 0 belongs to the first.

    Args:
        y: [rows] labels, 0 or 1.
        p: [rows] predicted probabilities of 1.
        bins: number of bins between 0 and 1.

    Returns:
        A value in [0, 1]; None when there is no row or a score is no probability.

    Raises:
        ValueError: lengths differ, a label is not 0 or 1, a score is not finite, or bins is below 1.

    References:
        Guo et al., ICML (2017), eq. 3.
    """
    if bins < 1:
        raise ValueError(f"bins must be at least 1, it is {bins}")
    label, value = _labels_and_scores(y, p)
    if label.size == 0 or not _are_probabilities(value):
        return None
    # k / bins is the float nearest to each edge, so that 0.3 lies in (0.2, 0.3] and not above it.
    edges = np.arange(1, bins + 1) / bins
    bin_of_row = np.searchsorted(edges, value, side="left")
    gaps = np.bincount(bin_of_row, weights=label - value, minlength=bins)
    return float(np.abs(gaps).sum() / label.size)


def spearman(y: ArrayLike, score: ArrayLike) -> float | None:
    """Spearman's rank correlation with mid-ranks.

    Args:
        y: [rows] numbers, not only 0 and 1.
        score: [rows] numbers.

    Returns:
        A value in [-1, 1]; None with under two rows or when a side is constant.

    Raises:
        ValueError: lengths differ or a value is not finite.
    """
    left, right = vector(y, "y"), vector(score, "score")
    same_length(y=left, score=right)
    if left.size < 2 or np.ptp(left) == 0.0 or np.ptp(right) == 0.0:
        return None
    left_ranks, right_ranks = mid_ranks(left), mid_ranks(right)
    # Mid-ranks have mean (n + 1) / 2 exactly.
    centre = (left.size + 1) / 2
    left_ranks, right_ranks = left_ranks - centre, right_ranks - centre
    covariance = left_ranks @ right_ranks
    correlation = covariance / np.sqrt((left_ranks @ left_ranks) * (right_ranks @ right_ranks))
    return float(np.clip(correlation, -1.0, 1.0))


def undefined_reason(y: ArrayLike, score: ArrayLike, *, probabilities: bool = False) -> str | None:
    """Say why a metric of these rows is None; None when nothing is wrong with them.

    Args:
        y: [rows] labels, 0 or 1.
        score: [rows] scores.
        probabilities: judge for `brier` and `ece`, which need probabilities but not both classes.

    Raises:
        ValueError: lengths differ, a label is not 0 or 1, or a score is not finite.
    """
    label, value = _labels_and_scores(y, score)
    if label.size == 0:
        return "no rows"
    if probabilities:
        return None if _are_probabilities(value) else "the scores are no probabilities"
    positives = int(label.sum())
    if positives in (0, label.size):
        return f"one class only: all {label.size} rows are {int(label[0])}"
    return None


def call_metric(metric: Metric, y: Floats, score: Floats) -> float | None:
    """Call a metric; ValueError when it answers NaN or infinity where it should answer None."""
    value = metric(y, score)
    if value is None:
        return None
    if not np.isfinite(value):
        name = getattr(metric, "__name__", repr(metric))
        raise ValueError(f"metric {name} returned {value}: an undefined metric must return None")
    return float(value)


def evaluate(metric: Metric, y: Floats, score: Floats, number: Integers) -> float | None:
    """Call a metric, with the group numbers [rows] where it is `within_group_auroc`, which needs them."""
    if metric is within_group_auroc:
        return within_group_auroc(y, score, number)
    return call_metric(metric, y, score)
