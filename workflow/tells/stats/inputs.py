"""Checks of the vectors that metrics and inference receive, and the layout of rows by group.

Every public function of `tells.stats` passes its arguments through here, so that a missing value, a length
that does not fit or a label that is neither 0 nor 1 stops with a message and never becomes a number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Metric = Callable[[Floats, Floats], "float | None"]


def vector(values: ArrayLike, name: str) -> Floats:
    """Return `values` as a finite float vector.

    Args:
        values: [rows] numbers or booleans.
        name: what the vector is called in the error message.

    Raises:
        ValueError: not one-dimensional, not numeric, or with a missing or infinite value.
    """
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must hold numbers only: {error}") from error
    if array.ndim != 1:
        raise ValueError(f"{name} must have one dimension [rows], it has shape {list(array.shape)}")
    bad = np.flatnonzero(~np.isfinite(array))
    if bad.size:
        raise ValueError(
            f"{name} has {bad.size} missing or infinite value(s), the first at row {bad[0]}: "
            "leave such rows out, and count them, before calling"
        )
    return array


def labels(y: ArrayLike, name: str = "y") -> Floats:
    """Return `y` as a vector of 0.0 and 1.0; ValueError on any other value."""
    array = vector(y, name)
    bad = np.flatnonzero((array != 0.0) & (array != 1.0))
    if bad.size:
        raise ValueError(f"{name} must hold 0 and 1 only; row {bad[0]} is {array[bad[0]]}")
    return array


def same_length(**named: NDArray) -> None:
    """Raise ValueError unless all vectors have as many rows."""
    if len({array.shape[0] for array in named.values()}) > 1:
        lengths = ", ".join(f"{name} {array.shape[0]}" for name, array in named.items())
        raise ValueError(f"all arguments need as many rows: {lengths}")


def codes(keys: ArrayLike, name: str = "groups") -> tuple[NDArray, Integers]:
    """Number the distinct keys in sorted order.

    Args:
        keys: [rows] strings or numbers.
        name: what the vector is called in the error message.

    Returns:
        The distinct keys [groups], sorted, and the number of each row's key [rows].

    Raises:
        ValueError: not one-dimensional, a missing key, or keys that cannot be ordered.
    """
    array = np.asarray(keys)
    if array.ndim != 1:
        raise ValueError(f"{name} must have one dimension [rows], it has shape {list(array.shape)}")
    if any(key is None or key != key for key in array.tolist()):
        raise ValueError(f"{name} has a missing key: every row must belong to a group")
    try:
        distinct, number = np.unique(array, return_inverse=True)
    except TypeError as error:
        raise ValueError(f"{name} must be all strings or all numbers: {error}") from error
    return distinct, number.astype(np.int64)


@dataclass(frozen=True)
class Groups:
    """Rows laid out group after group.

    Attributes:
        order: [rows] the original row at each place of the layout.
        number: [rows] group number at each place, non-decreasing.
        starts: [groups] first place of each group.
        sizes: [groups] number of rows of each group.
        strata: [groups] stratum number of each group (all 0 without strata).
    """

    order: Integers
    number: Integers
    starts: Integers
    sizes: Integers
    strata: Integers

    @property
    def count(self) -> int:
        """Number of groups."""
        return int(self.sizes.size)


def lay_out(groups: ArrayLike, strata: ArrayLike | None = None) -> Groups:
    """Lay rows out by group; the layout does not depend on the order in which groups come.

    Args:
        groups: [rows] group of each row.
        strata: [rows] stratum of each row, the same for all rows of a group; None for one stratum.

    Raises:
        ValueError: lengths differ, a key is missing, or a group lies in two strata.
    """
    distinct, number = codes(groups)
    order = np.argsort(number, kind="stable").astype(np.int64)
    sizes = np.bincount(number, minlength=distinct.size).astype(np.int64)
    starts = np.cumsum(sizes) - sizes
    stratum = np.zeros(distinct.size, dtype=np.int64)
    if strata is not None:
        _, stratum_of_row = codes(strata, "strata")
        same_length(groups=number, strata=stratum_of_row)
        stratum[number] = stratum_of_row
        mixed = np.flatnonzero(stratum[number] != stratum_of_row)
        if mixed.size:
            raise ValueError(f"group {distinct[number[mixed[0]]]!r} lies in more than one stratum")
    return Groups(order, number[order], starts, sizes, stratum)


def question_level(values: ArrayLike, groups: ArrayLike) -> tuple[NDArray, Floats]:
    """Mean of `values` in each group.

    Args:
        values: [rows] numbers.
        groups: [rows] group (question) of each row.

    Returns:
        The groups [groups], sorted, and their means [groups]. Two columns of the same rows give the same
        groups in the same order.

    Raises:
        ValueError: lengths differ or a value is missing.
    """
    array = vector(values, "values")
    distinct, number = codes(groups)
    same_length(values=array, groups=number)
    counts = np.bincount(number, minlength=distinct.size)
    return distinct, np.bincount(number, weights=array, minlength=distinct.size) / counts


def group_weights(groups: ArrayLike) -> Floats:
    """Weight 1/K of each row in a group of K rows [rows], so that each group weighs 1."""
    distinct, number = codes(groups)
    return 1.0 / np.bincount(number, minlength=distinct.size)[number]
