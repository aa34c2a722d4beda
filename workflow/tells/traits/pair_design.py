"""Which pairs fit a direction, which choose among directions, and which judge the choice.

The unit is the scenario pair: its positive and negative rows always stand on the same side. Pairs are ordered by a
seeded hash of their id, so that neither the order of the rows nor their number per pair moves a pair.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]

SPLIT_PAIRS = 100
"""Pairs from which on there is a split; with fewer, every pair is held out once by nested folds."""
SHARES = (0.6, 0.2, 0.2)
"""Shares of the pairs in train, validation and test."""
FOLDS = 5
"""Outer and inner folds."""
MINIMUM_PAIRS = 10
"""Pairs below which nothing is held out: an inner fold would hold one pair."""


@dataclass(frozen=True, eq=False)
class Fold:
    """One outer fold.

    Attributes:
        fit: rows of the other folds.
        held: rows of this fold.
        inner: (rows to fit, rows held out) of each inner fold, all of them within `fit`.
    """

    fit: Integers
    held: Integers
    inner: tuple[tuple[Integers, Integers], ...]


@dataclass(frozen=True, eq=False)
class Design:
    """How the pairs of one trait are used; all entries are row numbers, ascending.

    Attributes:
        kind: "split", "nested", or "none" with too few pairs.
        fit: rows that the written vectors are fitted on.
        validation: rows that choose, of a split.
        test: rows that judge the choice, of a split.
        folds: the outer folds, of nested folds.
        n_pairs: pairs in all.
    """

    kind: str
    fit: Integers
    validation: Integers
    test: Integers
    folds: tuple[Fold, ...]
    n_pairs: int

    @property
    def fitted_on(self) -> str:
        """What the written vectors are fitted on, in words."""
        return "training pairs" if self.kind == "split" else "all pairs"


def design(pairs: Sequence[str] | NDArray, *, seed: int) -> Design:
    """Split the pairs 0.6/0.2/0.2, or lay them out in nested folds when there are under 100.

    Args:
        pairs: [rows] id of each row's scenario pair.
        seed: another seed, other sides.
    """
    names = [str(pair) for pair in np.asarray(pairs).tolist()]
    distinct = sorted(set(names))
    nothing = np.zeros(0, dtype=np.int64)
    everything = np.arange(len(names), dtype=np.int64)
    if len(distinct) < MINIMUM_PAIRS:
        return Design("none", everything, nothing, nothing, (), len(distinct))
    if len(distinct) >= SPLIT_PAIRS:
        ordered = _in_order(distinct, f"split {seed}")
        # 1e-9 keeps 0.6 + 0.2 of 10 pairs at 8 in spite of binary fractions.
        cuts = [math.floor(share * len(ordered) + 0.5 + 1e-9) for share in np.cumsum(SHARES)]
        parts = [_rows_of(names, ordered[a:b]) for a, b in zip([0, *cuts[:2]], cuts, strict=True)]
        return Design("split", *parts, (), len(distinct))
    folds = []
    for number, (fit, held) in enumerate(_parts(distinct, f"outer {seed}")):
        inner = tuple(
            (_rows_of(names, inner_fit), _rows_of(names, inner_held))
            for inner_fit, inner_held in _parts(fit, f"inner {number} {seed}")
        )
        folds.append(Fold(_rows_of(names, fit), _rows_of(names, held), inner))
    return Design("nested", everything, nothing, nothing, tuple(folds), len(distinct))


def _parts(pairs: Sequence[str], salt: str) -> list[tuple[list[str], list[str]]]:
    """(other pairs, pairs of the fold) of each fold; sizes differ by one pair at most."""
    ordered = _in_order(pairs, salt)
    held = [ordered[start::FOLDS] for start in range(FOLDS)]
    return [([pair for pair in ordered if pair not in set(fold)], fold) for fold in held]


def _in_order(pairs: Sequence[str], salt: str) -> list[str]:
    return sorted(pairs, key=lambda pair: (hashlib.sha256(f"{salt}\0{pair}".encode()).digest(), pair))


def _rows_of(names: Sequence[str], pairs: Sequence[str]) -> Integers:
    chosen = set(pairs)
    return np.array([row for row, name in enumerate(names) if name in chosen], dtype=np.int64)
