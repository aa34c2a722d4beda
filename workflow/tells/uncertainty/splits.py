"""Splits by question: rows of one group never stand on two sides.

The probes train, choose and are tested on different questions. Groups are ordered by a seeded hash and the
order is cut at the asked proportions, so the sizes are exact up to rounding and neither the order of the rows
nor the number of runs per question matters.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence

import numpy as np

SPLITS = ("train", "validation", "test")


def group_split(
    groups: Sequence[str], fractions: Mapping[str, float] | Sequence[float], *, seed: int
) -> dict[str, np.ndarray]:
    """Split rows into train, validation and test by group.

    Args:
        groups: [rows] group of each row (hash of the normalised question, so duplicates stay together).
        fractions: share of the groups in train, validation and test, by name or in this order; they add up
            to 1. A name left out has share 0.
        seed: another seed, another split.

    Returns:
        Row indices, ascending, under "train", "validation" and "test": [rows of that split] int64. Each row
        stands in exactly one of them.

    Raises:
        ValueError: the fractions are unknown, negative or do not add up to 1, or a group is missing.
    """
    shares = _shares(fractions)
    if any(group is None for group in groups):
        row = next(index for index, group in enumerate(groups) if group is None)
        raise ValueError(f"row {row} has no group: every row needs the hash of its question")
    ordered = sorted(set(groups), key=lambda group: (_rank(group, seed), group))
    cumulative = np.cumsum(shares)
    # 1e-9 keeps 0.6 + 0.2 of 10 questions at 8 in spite of binary fractions.
    cuts = [math.floor(share * len(ordered) + 0.5 + 1e-9) for share in cumulative[:-1]]
    bounds = [0, *cuts, len(ordered)]
    side = {
        group: name
        for name, start, stop in zip(SPLITS, bounds[:-1], bounds[1:], strict=True)
        for group in ordered[start:stop]
    }
    return {
        name: np.array([row for row, group in enumerate(groups) if side[group] == name], dtype=np.int64)
        for name in SPLITS
    }


def _rank(group: str, seed: int) -> bytes:
    """Place of a group in the seeded order."""
    return hashlib.sha256(f"{seed}\0{group}".encode()).digest()


def _shares(fractions: Mapping[str, float] | Sequence[float]) -> list[float]:
    """The three shares in order, checked."""
    if isinstance(fractions, Mapping):
        unknown = sorted(set(fractions) - set(SPLITS))
        if unknown:
            raise ValueError(f"unknown split {', '.join(unknown)}: the names are {', '.join(SPLITS)}")
        shares = [float(fractions.get(name, 0.0)) for name in SPLITS]
    else:
        shares = [float(fraction) for fraction in fractions]
    if len(shares) != len(SPLITS):
        raise ValueError(f"{len(shares)} fractions: give one for each of {', '.join(SPLITS)}")
    if not all(share >= 0 for share in shares) or abs(sum(shares) - 1) > 1e-9:
        raise ValueError(f"fractions {shares}: they must be at least 0 and add up to 1")
    return shares
