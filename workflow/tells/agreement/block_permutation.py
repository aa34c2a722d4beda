"""P-values of many scores of the same rows, by permutation of whole groups.

The blocks are those of `tells.stats.permutation`: all scores of a group are dealt to another group of as many rows,
the rows of a group stand in a seeded random order, groups of rare sizes are cut to a common one. The permutations are
the same for every score, and cost as many look-ups as there are groups: what a group's labels would win with another
group's scores is known beforehand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tells.stats.inputs import Floats, Groups, Integers, lay_out
from tells.stats.permutation import merge_strata
from tells.stats.ranks import mid_ranks

_CELLS_AT_ONCE = 1 << 20
# Numbers in the tables of look-ups that are held at once.
_TABLE_CELLS = 1 << 25
_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Tested:
    """A two-sided test of an AUROC of a half.

    Attributes:
        p: None where nothing can be tested.
        n_left_out: rows left out to give groups one size.
        reason: why there is no p.
    """

    p: float | None
    n_left_out: int = 0
    reason: str | None = None


def permutation_tests(
    y: Floats, scores: Mapping[str, Floats], groups: ArrayLike, *, n: int, seed: int
) -> dict[str, Tested]:
    """Does each score order the classes, this way or the other, better than chance?

    p = min(1, 2 · min(1 + #{permuted ≥ observed}, 1 + #{permuted ≤ observed}) / (n + 1)): exact for each side, and so
    at most twice too large for both.

    Args:
        y: [rows] labels, 0 or 1.
        scores: by name [rows].
        groups: [rows] group of each row.
        n: permutations.
        seed: of the permutations and of the order within groups.

    Returns:
        By name the test.

    References:
        Winkler et al., NeuroImage 123:253 (2015), whole-block exchangeability.
        Phipson and Smyth, Stat. Appl. Genet. Mol. Biol. 9:39 (2010), p of sampled permutations.
    """
    generator = np.random.default_rng(seed)
    layout = lay_out(groups)
    blocks = _blocks(layout, generator)
    kept = np.concatenate([block.ravel() for block in blocks]) if blocks else np.zeros(0, dtype=np.int64)
    label = y[kept]
    left_out = y.size - kept.size
    if label.size == 0 or label.min() == label.max():
        return dict.fromkeys(scores, Tested(None, left_out, "the rows that take part are of one class"))
    if all(len(block) < 2 for block in blocks):
        return dict.fromkeys(scores, Tested(None, left_out, "no two groups can change places"))
    names, shapes = list(scores), [block.shape for block in blocks]
    at_once = max(1, _TABLE_CELLS // sum(shape[0] ** 2 for shape in shapes))
    found = {}
    for start in range(0, len(names), at_once):
        part = names[start : start + at_once]
        ranks = np.stack([mid_ranks(scores[name][kept]) for name in part])
        # The same permutations for every part.
        fewest = _fewest(label, ranks, shapes, n, np.random.default_rng([seed, 1]))
        found |= {
            name: Tested(float(min(1.0, 2 * (1 + count) / (n + 1))), left_out)
            for name, count in zip(part, fewest, strict=True)
        }
    return found


def _blocks(layout: Groups, generator: np.random.Generator) -> list[Integers]:
    """Rows that take part, one matrix [groups, rows of a group] a size; the rows of a group in random order."""
    shuffled = layout.order[np.lexsort((generator.random(layout.number.size), layout.number))]
    return [
        shuffled[layout.starts[chosen][:, None] + np.arange(size)]
        for size, chosen in merge_strata(layout.sizes, generator)
    ]


def _fewest(
    label: Floats, ranks: Floats, shapes: list[tuple[int, ...]], n: int, generator: np.random.Generator
) -> Integers:
    """How many permutations are at or beyond the observed sum of positive ranks, on the side with fewer [scores]."""
    won = _wins(label, ranks, shapes)
    observed = sum(np.trace(part, axis1=1, axis2=2) for part in won)
    greater = np.zeros(len(ranks), dtype=np.int64)
    smaller = np.zeros(len(ranks), dtype=np.int64)
    at_once = max(1, _CELLS_AT_ONCE // sum(shape[0] for shape in shapes))
    for start in range(0, n, at_once):
        size = min(at_once, n - start)
        permuted = np.zeros((len(ranks), size))
        for part in won:
            places = np.argsort(generator.random((size, part.shape[1])), axis=1)
            for score, matrix in enumerate(part):
                permuted[score] += matrix[np.arange(part.shape[1]), places].sum(axis=1)
        tolerance = _TOLERANCE * np.maximum(1.0, np.abs(observed))[:, None]
        greater += (permuted >= observed[:, None] - tolerance).sum(axis=1)
        smaller += (permuted <= observed[:, None] + tolerance).sum(axis=1)
    return np.minimum(greater, smaller)


def _wins(label: Floats, ranks: Floats, shapes: list[tuple[int, ...]]) -> list[NDArray]:
    """By block size [scores, groups, groups]: the sum of positive ranks of a group with another group's scores."""
    found, start = [], 0
    for groups, size in shapes:
        stop = start + groups * size
        own = label[start:stop].reshape(groups, size)
        theirs = ranks[:, start:stop].reshape(len(ranks), groups, size)
        found.append(own @ np.swapaxes(theirs, 1, 2))
        start = stop
    return found
