"""The guard against accuracy that a constant would reach: with one class rare, always saying the other looks good."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from tells.stats import average_precision
from tells.stats.inputs import labels, same_length, vector

_MEASURES = ("accuracy", "balanced_accuracy", "f1", "average_precision")
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Guard:
    """A binary classifier beside the best constant one, measure by measure.

    Attributes:
        n: rows.
        prevalence: share of positive rows; None without rows.
        accuracy: share of rows predicted rightly.
        balanced_accuracy: mean of the recalls of both classes; None when a class is missing.
        f1: of the positive class; None when no row is or is called positive.
        average_precision: of the score; None when a class is missing.
        constant_accuracy: of always predicting the larger class.
        constant_balanced_accuracy: ½, of any constant.
        constant_f1: of always predicting positive.
        constant_average_precision: of a constant score, the prevalence.
        warning: which measures a constant classifier would reach as well; None where there is none.
        reason: why measures are None; None where none is.
    """

    n: int
    prevalence: float | None
    accuracy: float | None
    balanced_accuracy: float | None
    f1: float | None
    average_precision: float | None
    constant_accuracy: float | None
    constant_balanced_accuracy: float | None
    constant_f1: float | None
    constant_average_precision: float | None
    warning: str | None
    reason: str | None


def guard(truth: ArrayLike, predicted: ArrayLike, score: ArrayLike | None = None) -> Guard:
    """Put a classifier beside the best constant one.

    Args:
        truth: [rows] 0 or 1.
        predicted: [rows] 0 or 1.
        score: [rows] larger means more likely 1, for the average precision; by default the predictions.

    Raises:
        ValueError: lengths differ, a value is missing, or a label is not 0 or 1.
    """
    y, says = labels(truth, "truth"), labels(predicted, "predicted")
    ranks = says if score is None else vector(score, "score")
    same_length(truth=y, predicted=says, score=ranks)
    if y.size == 0:
        return Guard(0, *[None] * 9, warning=None, reason="no rows")
    positive = y == 1.0
    prevalence, right = float(positive.mean()), y == says
    one_class = prevalence in (0.0, 1.0)
    either = int(positive.sum() + says.sum())
    measured = (
        float(right.mean()),
        None if one_class else float((right[positive].mean() + right[~positive].mean()) / 2),
        2 * int(np.sum(positive & right)) / either if either else None,
        average_precision(y, ranks),
    )
    constant = (
        max(prevalence, 1 - prevalence),
        None if one_class else 0.5,
        2 * prevalence / (1 + prevalence) if prevalence > 0 else None,
        None if one_class else prevalence,
    )
    reason = f"one class only: all {y.size} rows are {int(y[0])}" if one_class else None
    return Guard(int(y.size), prevalence, *measured, *constant, warning=_warning(measured, constant), reason=reason)


def _warning(measured: tuple[float | None, ...], constant: tuple[float | None, ...]) -> str | None:
    reached = [
        f"{name} {other:.3f} (here {value:.3f})"
        for name, value, other in zip(_MEASURES, measured, constant, strict=True)
        if value is not None and other is not None and value <= other + _ROUNDING
    ]
    return f"a constant classifier would reach {', '.join(reached)}" if reached else None
