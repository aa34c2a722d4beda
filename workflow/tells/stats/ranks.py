"""Ranks, where equal values share the mean of theirs.

In numpy, because nearly every job ranks something and the import of scipy.stats takes longer than most of these jobs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def mid_ranks(values: NDArray[Any]) -> Floats:
    """Rank the values of each column.

    Args:
        values: [rows] or [rows, columns], none of them NaN.

    Returns:
        Ranks in the same shape, from 1 to the number of rows; ties have the mean of their ranks.
    """
    rows = len(values)
    if not rows:
        return np.zeros(values.shape)
    order = np.argsort(values, axis=0, kind="stable")
    ordered = np.take_along_axis(values, order, axis=0)
    differs = ordered[1:] != ordered[:-1]
    edge = np.ones((1, *values.shape[1:]), dtype=bool)
    place = np.arange(rows).reshape(-1, *(1,) * (values.ndim - 1))
    first = np.maximum.accumulate(np.where(np.concatenate([edge, differs]), place, 0), axis=0)
    last = np.where(np.concatenate([differs, edge]), place, rows - 1)
    last = np.minimum.accumulate(last[::-1], axis=0)[::-1]
    ranks = np.empty(values.shape)
    np.put_along_axis(ranks, order, (first + last) / 2 + 1, axis=0)
    return ranks
