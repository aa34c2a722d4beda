"""What refusing the most uncertain rows gains: areas under rejection curves.

Both metrics take correctness and an *uncertainty* (larger means: refuse this row first), and both are
larger for a better uncertainty.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from tells.stats.inputs import Floats, same_length, vector

_QUANTILES = np.linspace(0.1, 1.0, 20)
_STEP = 0.9 / 19
_REFERENCE_MAXIMUM = 20 * _STEP
_TOLERANCE = 1e-12


def _correctness_and_uncertainty(y: ArrayLike, uncertainty: ArrayLike) -> tuple[Floats, Floats]:
    correct, doubt = vector(y, "y"), vector(uncertainty, "uncertainty")
    same_length(y=correct, uncertainty=doubt)
    bad = np.flatnonzero((correct < 0.0) | (correct > 1.0))
    if bad.size:
        raise ValueError(f"y must lie between 0 and 1; row {bad[0]} is {correct[bad[0]]}")
    return correct, doubt


def aurac(y: ArrayLike, uncertainty: ArrayLike, *, reference: bool = False) -> float | None:
    """Area under the rejection-accuracy curve: accuracy of the most certain tenth, ..., of all rows.

    The published sum has 20 terms of width 0.9/19, so its maximum is 0.947368; the default divides by it,
    so that a model that is always right has 1.

    Args:
        y: [rows] correctness, 0 or 1 (or a mean between them).
        uncertainty: [rows] larger means less certain.
        reference: return the published sum itself.

    Returns:
        A value in [0, 1], in [0, 0.947368] for the reference; None when there is no row.

    Raises:
        ValueError: lengths differ, a value is not finite, or correctness lies outside [0, 1].

    References:
        Farquhar et al., Nature 630:625 (2024), AURAC, and its published code.
    """
    correct, doubt = _correctness_and_uncertainty(y, uncertainty)
    if correct.size == 0:
        return None
    order = np.argsort(doubt, kind="stable")
    kept = np.searchsorted(doubt[order], np.quantile(doubt, _QUANTILES), side="right")
    accuracies = np.cumsum(correct[order])[kept - 1] / kept
    mean = float(accuracies.mean())
    return mean * _REFERENCE_MAXIMUM if reference else mean


def _area(correct: Floats, doubt: Floats, rejections: int) -> float:
    """Mean accuracy of the i most certain rows, i = n - rejections + 1 ... n; ties share their mean."""
    _, tie = np.unique(doubt, return_inverse=True)
    shared = (np.bincount(tie, weights=correct) / np.bincount(tie))[np.sort(tie)]
    accuracies = np.cumsum(shared) / np.arange(1, shared.size + 1)
    return float(accuracies[shared.size - rejections :].mean())


def prediction_rejection_ratio(y: ArrayLike, uncertainty: ArrayLike, *, max_rejection: float = 1.0) -> float | None:
    """How far refusing by uncertainty comes from chance (0) towards refusing by correctness (1).

    (A_u - A_random) / (A_oracle - A_random), where A is the mean, over i = n - r + 1 ... n and
    r = int(max_rejection * n), of the mean correctness of the i most certain rows, and A_random is the mean
    of y. Rows of equal uncertainty take their mean correctness, so the order of rows never matters.

    Args:
        y: [rows] correctness, 0 or 1 (or a mean between them).
        uncertainty: [rows] larger means less certain.
        max_rejection: largest share of rows that is refused, in (0, 1].

    Returns:
        At most 1, negative for an uncertainty worse than chance; None when there is nothing to refuse or
        when the oracle gains nothing over chance.

    Raises:
        ValueError: lengths differ, a value is not finite, correctness lies outside [0, 1], or
            max_rejection outside (0, 1].

    References:
        Malinin and Gales, ICLR (2021), prediction rejection ratio.
    """
    if not 0.0 < max_rejection <= 1.0:
        raise ValueError(f"max_rejection must lie in (0, 1], it is {max_rejection}")
    correct, doubt = _correctness_and_uncertainty(y, uncertainty)
    rejections = int(max_rejection * correct.size)
    if rejections == 0:
        return None
    chance = float(correct.mean())
    gain = _area(correct, -correct, rejections) - chance
    if abs(gain) <= _TOLERANCE:
        return None
    return (_area(correct, doubt, rejections) - chance) / gain
