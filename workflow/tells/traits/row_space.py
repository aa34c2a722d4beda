"""Fits of a direction from the inner products of the rows alone.

Activations have few rows and many dimensions, and every direction sought here is a weighted sum of rows. So each
method works on the matrix of inner products [rows, rows] and answers with one weight a row; no matrix of
[width, width] is ever made, and all methods, folds and projections of a layer share one product of its rows.
`tells.traits.vectors` turns the weights into directions, `tells.traits.quality` into held-out projections.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve, eigh
from scipy.special import expit

Floats = NDArray[np.float64]
Booleans = NDArray[np.bool_]

METHODS = ("mean_difference", "probe", "pairwise_pca", "fisher")

_SMALLEST_GAP = 1e-7
"""Distance of the class means, relative to the longest centred row, below which rounding decides."""
_SMALLEST_SHRINKAGE = 1e-10
"""Least weight of the spherical part, relative to the trace, so that a shrinkage of 0 leaves S invertible."""
_NEWTON_STEPS = 100
_NEWTON_TOLERANCE = 1e-10


class FitError(ValueError):
    """These rows define no such direction."""


@dataclass(frozen=True, eq=False)
class Fit:
    """A direction as a weighted sum of rows.

    Attributes:
        weights: [rows] weight of each row; the sum is the direction before normalising.
        norm: length of that sum.
        details: what the method found on its way (numbers).
        warnings: what a reader must know.
    """

    weights: Floats
    norm: float
    details: dict[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def unit_weights(self) -> Floats:
        """Weights of the unit direction [rows]."""
        return self.weights / self.norm


class RowSpace:
    """Inner products of the rows of one layer.

    Attributes:
        rows: [rows, width] in double precision.
        raw: [rows, rows] inner products of the rows.
        centred: [rows, rows] inner products of the rows less their common mean; the differences of rows are
            the same, and a large common part costs them no digits.
    """

    def __init__(self, rows: NDArray) -> None:
        """Multiply out.

        Args:
            rows: [rows, width] finite numbers.
        """
        self.rows = np.asarray(rows, dtype=np.float64)
        mean = self.rows.mean(axis=0)
        centred = self.rows - mean
        self.centred: Floats = centred @ centred.T
        along = centred @ mean
        self.raw: Floats = self.centred + along[:, None] + along[None, :] + mean @ mean

    @property
    def width(self) -> int:
        """Dimensions of a row."""
        return self.rows.shape[1]

    def fit(self, method: str, chosen: NDArray[np.int64], positive: Booleans, pairing: Floats | None, C: float) -> Fit:
        """Fit one method on some of the rows.

        Args:
            method: one of `METHODS`.
            chosen: [n] row numbers.
            positive: [n] class of each of them.
            pairing: [pairs, n] weights that give each pair's difference; for `pairwise_pca` alone.
            C: inverse of the probe's penalty.

        Returns:
            The fit, with positive above negative on the raw rows.

        Raises:
            FitError: the rows define no such direction.
        """
        block = np.ix_(chosen, chosen)
        centred, raw = self.centred[block], self.raw[block]
        gap = gap_weights(positive)
        _require_a_gap(centred, raw, gap)
        if method == "mean_difference":
            fitted = Fit(gap, _norm(centred, gap))
        elif method == "probe":
            fitted = _logistic(raw, positive, C)
        elif method == "pairwise_pca":
            fitted = _first_difference(centred, pairing)
        elif method == "fisher":
            fitted = _shrunken_discriminant(centred, positive, self.width)
        else:
            raise ValueError(f"unknown method {method!r}: the methods are {', '.join(METHODS)}")
        return _oriented(fitted, raw, gap)


def gap_weights(positive: Booleans) -> Floats:
    """Weights [rows] whose sum of rows is the difference of the class means.

    Raises:
        FitError: a class has no row.
    """
    n_positive = int(positive.sum())
    n_negative = positive.size - n_positive
    if n_positive == 0 or n_negative == 0:
        empty = "positive" if n_positive == 0 else "negative"
        raise FitError(f"the {empty} class has no row: a direction needs rows of both classes")
    return np.where(positive, 1.0 / n_positive, -1.0 / n_negative)


def pairing_matrix(positive: Booleans, pairs: NDArray[np.int64]) -> Floats | None:
    """Weights that give, pair by pair, the mean positive row less the mean negative row.

    Args:
        positive: [rows] class of each row.
        pairs: [rows] pair number of each row.

    Returns:
        [complete pairs, rows], pairs in order of their number; None when no pair has both classes.
    """
    complete = np.intersect1d(pairs[positive], pairs[~positive])
    if complete.size == 0:
        return None
    member = pairs[None, :] == complete[:, None]
    above, below = member & positive, member & ~positive
    return above / above.sum(axis=1, keepdims=True) - below / below.sum(axis=1, keepdims=True)


def ledoit_wolf_shrinkage(inner: Floats, width: int) -> float:
    """Ledoit–Wolf weight of the spherical part, from the inner products of centred rows.

    With S = X'X/n and x_k a row: the smaller of delta and beta, over delta, where
    delta = (||S||² - (tr S)²/width)/width and beta = (Σ_k ||x_k||⁴/n - ||S||²)/(n width). Both norms are of
    inner products alone, because ||X'X|| = ||XX'||.

    Args:
        inner: [n, n] inner products of rows that have mean zero.
        width: dimensions of a row.

    Returns:
        A share between 0 and 1.

    References:
        Ledoit and Wolf, J. Multivariate Anal. 88:365 (2004), lemma 3.2; scikit-learn's `ledoit_wolf`.
    """
    n = inner.shape[0]
    squared = float(np.sum(inner * inner)) / n**2
    trace = float(np.trace(inner)) / n
    delta = (squared - trace**2 / width) / width
    beta = (float(np.sum(np.diag(inner) ** 2)) / n - squared) / (n * width)
    beta = min(beta, delta)
    return 0.0 if beta <= 0.0 else float(beta / delta)


def _norm(inner: Floats, weights: Floats) -> float:
    """Length of the weighted sum of the rows."""
    return float(np.sqrt(max(0.0, weights @ inner @ weights)))


def _require_a_gap(centred: Floats, raw: Floats, gap: Floats) -> None:
    largest = float(np.sqrt(max(np.diag(centred).max(), 0.0)))
    # The mean that was taken off is rounded itself, by 1e-16 of the length of the rows.
    rounding = 1e-12 * float(np.sqrt(max(np.diag(raw).max(), 0.0)))
    if _norm(centred, gap) <= max(_SMALLEST_GAP * largest, rounding):
        raise FitError(
            "the mean of the positive rows equals that of the negative rows: there is no direction between them; "
            "look whether both classes were given the same rows"
        )


def _oriented(fit: Fit, raw: Floats, gap: Floats) -> Fit:
    """The fit with positive above negative on the raw rows."""
    rise = float(gap @ raw @ fit.weights)
    scale = _norm(raw, gap) * fit.norm
    if abs(rise) <= 1e-12 * scale:
        warning = "positive and negative rows have equal mean projections: the sign of this direction is arbitrary"
        return Fit(fit.weights, fit.norm, fit.details, (*fit.warnings, warning))
    return fit if rise > 0.0 else Fit(-fit.weights, fit.norm, fit.details, fit.warnings)


def _logistic(raw: Floats, positive: Booleans, C: float) -> Fit:
    """L2 logistic regression on rows of unit length, with a free intercept.

    Minimises half the squared weights plus C times the summed loss (scikit-learn's objective). At the optimum
    the direction is Σ_i β_i x_i/||x_i|| with β = C (y - p), so the unknowns are one β a row; each Newton step
    solves (K + 1/(C p (1 - p))) β = z - intercept under Σ β = 0.

    References:
        Hastie et al., The Elements of Statistical Learning (2009), 4.4.1 and 5.8.
    """
    if not (np.isfinite(C) and C > 0):
        raise ValueError(f"C must be positive and finite, it is {C}")
    lengths = np.sqrt(np.diag(raw))
    lengths = np.where(lengths > 0.0, lengths, 1.0)
    inner = raw / np.outer(lengths, lengths)
    target = positive.astype(np.float64)
    beta, intercept = np.zeros(target.size), float(np.log(target.sum() / (target.size - target.sum())))
    loss = _logistic_loss(inner, target, C, beta, intercept)
    for _ in range(_NEWTON_STEPS):
        linear = inner @ beta + intercept
        probability = expit(linear)
        residual = C * (target - probability) - beta
        if max(np.abs(residual).max(), abs(beta.sum())) <= _NEWTON_TOLERANCE * C:
            break
        aim_beta, aim_intercept = _newton_aim(inner, target, C, linear, probability)
        size, loss, moved = _backtrack(inner, target, C, (beta, intercept), (aim_beta, aim_intercept), loss)
        if not moved:
            break
        beta, intercept = beta + size * (aim_beta - beta), intercept + size * (aim_intercept - intercept)
    else:
        raise ArithmeticError(f"the probe did not converge in {_NEWTON_STEPS} steps at C = {C:g}; give a smaller C")
    norm = _norm(inner, beta)
    if norm <= 1e-9 * C * target.size:
        raise FitError("the classes do not differ once every row has length 1: a probe has no direction to find")
    return Fit(beta / lengths, norm, {"C": float(C), "intercept": float(intercept)})


def _newton_aim(inner: Floats, target: Floats, C: float, linear: Floats, probability: Floats) -> tuple[Floats, float]:
    """Where a full Newton step leads: β [rows] and the intercept."""
    curvature = np.maximum(probability * (1.0 - probability), 1e-12)
    system = inner.copy()
    system[np.diag_indices_from(system)] += 1.0 / (C * curvature)
    working = linear + (target - probability) / curvature
    factor = cho_factor(system, overwrite_a=True, check_finite=False)
    solved = cho_solve(factor, np.column_stack([working, np.ones_like(working)]), check_finite=False)
    intercept = float(solved[:, 0].sum() / solved[:, 1].sum())
    return solved[:, 0] - intercept * solved[:, 1], intercept


def _backtrack(
    inner: Floats,
    target: Floats,
    C: float,
    start: tuple[Floats, float],
    aim: tuple[Floats, float],
    loss: float,
) -> tuple[float, float, bool]:
    """Largest of 1, 1/2, 1/4, ... of a step that does not raise the loss; False where only rounding is left."""
    size = 1.0
    while size > 1e-6:
        beta = start[0] + size * (aim[0] - start[0])
        now = _logistic_loss(inner, target, C, beta, start[1] + size * (aim[1] - start[1]))
        if now <= loss:
            return size, now, True
        size /= 2
    return 0.0, loss, False


def _logistic_loss(inner: Floats, target: Floats, C: float, beta: Floats, intercept: float) -> float:
    along = inner @ beta
    linear = along + intercept
    return float(0.5 * beta @ along + C * np.sum(np.logaddexp(0.0, linear) - target * linear))


def _first_difference(centred: Floats, pairing: Floats | None) -> Fit:
    """Top right singular vector of the uncentred pair differences."""
    if pairing is None or len(pairing) == 0:
        raise FitError("no pair has both a positive and a negative row: pairwise PCA needs differences of pairs")
    between = pairing @ centred @ pairing.T
    last = between.shape[0] - 1
    values, vectors = eigh(between, subset_by_index=[last, last])
    if not values[0] > 0.0:
        raise FitError("all pair differences are zero: pairwise PCA has no direction to find")
    # u'D is the singular value times the right singular vector.
    share = float(values[0] / np.trace(between))
    return Fit(pairing.T @ vectors[:, 0], float(np.sqrt(values[0])), {"share_of_squares": share})


def _less_class_means(values: Floats, classes: Sequence[Booleans]) -> Floats:
    """Each column less its mean over the rows of the same class."""
    left = values.copy()
    for members in classes:
        left[members] -= values[members].mean(axis=0)
    return left


def _shrunken_discriminant(centred: Floats, positive: Booleans, width: int) -> Fit:
    """Fisher's discriminant by Woodbury's identity on the within-class-centred rows.

    With X those rows, d the mean difference, S = X'X/n and λ = α tr S/width:
    ((1 - α) S + λ)⁻¹ d = (d - X' (λ + (1 - α) XX'/n)⁻¹ X d (1 - α)/n)/λ.
    """
    n = positive.size
    classes, gap = (positive, ~positive), gap_weights(positive)
    within = _less_class_means(_less_class_means(centred, classes).T, classes)
    trace = float(np.trace(within)) / n
    if trace <= 1e-14 * float(np.trace(centred)) / n:
        raise FitError("no class has two different rows: Fisher's discriminant needs a spread within a class")
    shrinkage = ledoit_wolf_shrinkage(within, width)
    spherical = max(shrinkage * trace / width, _SMALLEST_SHRINKAGE * trace)
    kept = (1.0 - shrinkage) / n
    system = kept * within
    system[np.diag_indices_from(system)] += spherical
    along = _less_class_means(centred @ gap, classes)
    solved = cho_solve(cho_factor(system, overwrite_a=True, check_finite=False), along, check_finite=False)
    weights = (gap - kept * _less_class_means(solved, classes)) / spherical
    return Fit(weights, _norm(centred, weights), {"shrinkage": shrinkage})
