"""Permutation tests that move whole groups, so that rows of one question never count as independent.

Blocks of scores (all scores of a question) are dealt anew to the questions of the same number of rows. Four
steps make this exact and general:

1. The rows of each question are put in a seeded random order, labels and scores together. Which score meets
   which label of another question is then chance, not the order of the file.
2. Questions of equal size form a stratum. Strata of under five questions merge downwards; their questions
   are cut to the smallest size, and the rows left out are counted. The observed metric is computed on the
   rows that are left, so observed and permuted values are of one kind.
3. Every permutation is of whole strata, so the multiset of scores never changes, and an AUROC needs its
   ranks only once.
4. p = (1 + #{permuted >= observed}) / (n + 1), one-sided: larger must be better.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from tells.stats.inputs import Floats, Groups, Integers, Metric, lay_out, same_length, vector
from tells.stats.metrics import auroc, brier, call_metric, ece, evaluate, ranks_within, within_group_auroc
from tells.stats.ranks import mid_ranks

_CELLS_AT_ONCE = 1 << 19
_SMALLEST_STRATUM = 5
_TOLERANCE = 1e-12
_SMALLER_IS_BETTER = (brier, ece)
_Values = Callable[[Integers], Floats]


@dataclass(frozen=True)
class Permutation:
    """Result of a grouped permutation test.

    Attributes:
        p: one-sided p-value; None when the metric is undefined or nothing can be permuted.
        observed: metric of the rows that took part; None when undefined.
        n: permutations made.
        n_undefined: permutations on which the metric was undefined; they count against the observed value.
        n_groups: groups that took part.
        n_rows: rows that took part.
        n_rows_left_out: rows left out to give merged strata one size.
        n_strata: strata within which blocks moved.
        reason: why p is None; None when it is defined.
    """

    p: float | None
    observed: float | None
    n: int
    n_undefined: int
    n_groups: int
    n_rows: int
    n_rows_left_out: int
    n_strata: int
    reason: str | None = None


def merge_strata(sizes: Integers, generator: np.random.Generator) -> list[tuple[int, Integers]]:
    """Sort groups into strata of equal size with at least five groups each, where there are five.

    From the largest size down, a stratum of under five groups takes in the next smaller size and is cut to
    it. What is left at the bottom borrows groups from the stratum above, no more than it needs, or joins it
    whole where that would leave it under five.

    Args:
        sizes: [groups] rows of each group.
        generator: chooses the groups that are borrowed.

    Returns:
        (rows kept of each group, group numbers) of each stratum.
    """
    strata: list[tuple[int, Integers]] = []
    pool = np.zeros(0, dtype=np.int64)
    for size in np.unique(sizes)[::-1]:
        pool = np.concatenate([pool, np.flatnonzero(sizes == size)])
        if pool.size >= _SMALLEST_STRATUM:
            strata.append((int(size), pool))
            pool = pool[:0]
    if pool.size == 0:
        return strata
    if strata:
        size_above, above = strata.pop()
        need = _SMALLEST_STRATUM - pool.size
        above = generator.permutation(above)
        if above.size - need >= _SMALLEST_STRATUM:
            strata.append((size_above, above[need:]))
            above = above[:need]
        pool = np.concatenate([pool, above])
    strata.append((int(sizes.min()), pool))
    return strata


def _blocks(groups: Groups, generator: np.random.Generator) -> list[Integers]:
    """Rows that take part, as one matrix [groups of the stratum, rows of a group] a stratum.

    The entries are places of the layout; the rows of a group stand in random order.
    """
    shuffled = np.lexsort((generator.random(groups.number.size), groups.number))
    blocks = []
    for stratum in np.unique(groups.strata):
        members = np.flatnonzero(groups.strata == stratum)
        for size, chosen in merge_strata(groups.sizes[members], generator):
            starts = groups.starts[members[chosen]]
            blocks.append(shuffled[starts[:, None] + np.arange(size)])
    return blocks


def _permuted_places(row_blocks: list[Integers], n: int, generator: np.random.Generator) -> Iterator[Integers]:
    """Where each place takes its score from: [permutations, rows], one permutation drawn at a time."""
    places = np.arange(sum(block.size for block in row_blocks))
    ends = np.cumsum([block.size for block in row_blocks])
    blocks = [part.reshape(b.shape) for part, b in zip(np.split(places, ends[:-1]), row_blocks, strict=True)]
    at_once = max(1, _CELLS_AT_ONCE // places.size)
    for start in range(0, n, at_once):
        piece = np.empty((min(at_once, n - start), places.size), dtype=np.int64)
        for row in piece:
            np.concatenate([b[generator.permutation(b.shape[0])].ravel() for b in blocks], out=row)
        yield piece


def _rank_metric(y: Floats, ranks: Floats, positives: Floats, negatives: Floats) -> tuple[float, _Values]:
    """Observed AUROC and its values under permutation, by sums of ranks that are computed once.

    Args:
        y: [rows] labels.
        ranks: [rows] mid-ranks among all rows, or among the rows of the same group.
        positives: [parts] positive rows of each part that was ranked by itself.
        negatives: [parts] negative rows of each part.
    """
    least = (positives * (positives + 1) / 2).sum()
    pairs = (positives * negatives).sum()
    positive = np.flatnonzero(y == 1.0)

    def values(places: Integers) -> Floats:
        return (ranks[places[:, positive]].sum(axis=1) - least) / pairs

    return float(values(np.arange(y.size)[None, :])[0]), values


def _fast_metric(metric: Metric, y: Floats, score: Floats, number: Integers) -> tuple[float, _Values] | None:
    """The rank form of a metric that has one; None for any other metric."""
    if metric is auroc:
        positives = np.array([y.sum()])
        return _rank_metric(y, mid_ranks(score), positives, y.size - positives)
    if metric is within_group_auroc:
        positives, sizes = np.bincount(number, weights=y), np.bincount(number)
        return _rank_metric(y, ranks_within(score, number), positives, sizes - positives)
    return None


def _any_metric(metric: Metric, y: Floats, score: Floats) -> _Values:
    def one(places: Integers) -> float:
        value = call_metric(metric, y, score[places])
        return np.nan if value is None else value

    return lambda pieces: np.array([one(places) for places in pieces])


def _observe(metric: Metric, y: Floats, score: Floats, number: Integers) -> tuple[float | None, _Values]:
    """Observed value and the function from [permutations, rows] to [permutations] values."""
    observed = evaluate(metric, y, score, number)
    fast = None if observed is None else _fast_metric(metric, y, score, number)
    return (observed, _any_metric(metric, y, score)) if fast is None else fast


def _count(values: _Values, observed: float, pieces: Iterator[Integers]) -> tuple[int, int]:
    """How many permutations reach the observed value, and on how many the metric is undefined."""
    reached, undefined = 0, 0
    for places in pieces:
        permuted = values(places)
        undefined += int(np.isnan(permuted).sum())
        reached += int((permuted >= observed - _TOLERANCE).sum())
    return reached, undefined


def _check(metric: Metric, n: int) -> None:
    if n < 1:
        raise ValueError(f"n must be at least 1 permutation, it is {n}")
    if any(metric is other for other in _SMALLER_IS_BETTER):
        name = metric.__name__
        raise ValueError(f"{name} is better when smaller: pass a function that returns its negative")


def permutation_test(
    metric: Metric,
    y: ArrayLike,
    score: ArrayLike,
    groups: ArrayLike,
    *,
    n: int = 1000,
    seed: int = 0,
    strata: ArrayLike | None = None,
) -> Permutation:
    """Test by grouped permutation whether a score knows the labels better than chance.

    Args:
        metric: function of y and score, larger is better; the two AUROCs run on many permutations at once.
        y: [rows] first argument of the metric; stays where it is.
        score: [rows] second argument of the metric; its blocks move.
        groups: [rows] group (question) of each row.
        n: number of permutations.
        seed: seed of the permutations, of the order within groups and of the rows left out.
        strata: [rows] stratum of each row (the same for all rows of a group); blocks then stay within it.

    Returns:
        The p-value and what it was made from. Values within 1e-12 of the observed one count as equal to it.

    Raises:
        ValueError: lengths differ, a value is missing, a group lies in two strata, n is below 1, or the
            metric is `brier` or `ece`, for which smaller is better.

    References:
        Phipson and Smyth, Stat. Appl. Genet. Mol. Biol. 9:39 (2010), p of sampled permutations.
        Winkler et al., NeuroImage 123:253 (2015), whole-block exchangeability.
    """
    _check(metric, n)
    target, value, layout = vector(y, "y"), vector(score, "score"), lay_out(groups, strata)
    same_length(y=target, score=value, groups=layout.order)
    generator = np.random.default_rng(seed)
    blocks = _blocks(layout, generator)
    kept = np.concatenate([block.ravel() for block in blocks]) if blocks else np.zeros(0, dtype=np.int64)
    rows = layout.order[kept]
    observed, values = _observe(metric, target[rows], value[rows], layout.number[kept])
    made = (layout.count, rows.size, target.size - rows.size, len(blocks))
    if observed is None:
        return Permutation(None, None, 0, 0, *made, "the metric is undefined on the rows that take part")
    if all(block.shape[0] < 2 for block in blocks):
        return Permutation(None, observed, 0, 0, *made, "no two groups can change places")
    reached, undefined = _count(values, observed, _permuted_places(blocks, n, generator))
    return Permutation((1 + reached + undefined) / (n + 1), observed, n, undefined, *made)


def permutation_p(
    metric: Metric,
    y: ArrayLike,
    score: ArrayLike,
    groups: ArrayLike,
    *,
    n: int = 1000,
    seed: int = 0,
    strata: ArrayLike | None = None,
) -> float | None:
    """One-sided p-value of `permutation_test`: (1 + #{permuted >= observed}) / (n + 1).

    Args:
        metric: function of y and score, larger is better.
        y: [rows] first argument of the metric.
        score: [rows] second argument of the metric.
        groups: [rows] group (question) of each row.
        n: number of permutations.
        seed: seed of all that is random.
        strata: [rows] stratum of each row; blocks then stay within it.

    Returns:
        A value in [1 / (n + 1), 1]; None when the metric is undefined or no two groups can change places.

    Raises:
        ValueError: as for `permutation_test`.
    """
    return permutation_test(metric, y, score, groups, n=n, seed=seed, strata=strata).p
