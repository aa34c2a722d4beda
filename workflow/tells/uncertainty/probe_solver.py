"""L2-regularised logistic and ridge regression, made for many fits on the same rows.

A probe search fits hundreds of (layer, position, C) on a few hundred rows with as many features. The objectives
are scikit-learn's (`LogisticRegression(C=...)`: half the squared weights plus C times the weighted loss, the
intercept free), so the solutions are the same; only the way there differs. With fewer rows than features the
design is first rotated into its own row space, which changes no prediction because the penalty knows no directions.
Then Newton steps are solved by conjugate gradients, preconditioned by the Cholesky factor of the curvature's upper
bound (probability 1/2 everywhere); that factor depends on rows and C alone, so all label vectors share it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.special import expit

Floats = NDArray[np.float64]

MAXIMUM_NEWTON_STEPS = 100
_CURVATURE = 0.25
"""Largest second derivative of the logistic loss (Böhning and Lindsay, Ann. Inst. Stat. Math. 40:641, 1988)."""


class ConvergenceError(ArithmeticError):
    """A fit did not reach its tolerance."""


def standardise(states: NDArray) -> tuple[Floats, Floats, Floats]:
    """Centre and scale each feature over the rows, as scikit-learn's `StandardScaler`.

    Args:
        states: [rows, width] numbers.

    Returns:
        Standardised states [rows, width], means [width], scales [width]; a constant feature has scale 1.
    """
    centred = np.array(states, dtype=np.float64)
    constant = centred.max(axis=0) == centred.min(axis=0)
    # The mean of equal numbers is rounded; taking one of them makes a constant feature exactly zero.
    mean = np.where(constant, centred[0], centred.mean(axis=0))
    centred -= mean
    variance = np.einsum("ij,ij->j", centred, centred) / centred.shape[0]
    scale = np.where(variance > 0.0, np.sqrt(variance), 1.0)
    centred /= scale
    return centred, mean, scale


class WeightedDesign:
    """Standardised rows with weights, ready to be fitted at a ladder of strengths and for several targets.

    Attributes:
        mean: [width] means of the rows.
        scale: [width] scales of the rows.
    """

    def __init__(self, states: NDArray, weights: NDArray, *, precision: type = np.float64) -> None:
        """Standardise and, with fewer rows than features, rotate.

        Args:
            states: [rows, width] raw states, finite.
            weights: [rows] positive row weights.
            precision: of the design and its factor, float64 or float32; states are standardised in double.

        Raises:
            ValueError: no rows, lengths differ, or a weight is not positive.
        """
        if len(states) == 0 or len(states) != len(weights):
            raise ValueError(f"a fit needs rows and a weight each; got {len(states)} and {len(weights)}")
        if not np.all(weights > 0):
            raise ValueError("every row weight must be positive")
        standard, self.mean, self.scale = standardise(states)
        self._rotation: Floats | None = None
        if standard.shape[0] < standard.shape[1]:
            self._rotation, upper = np.linalg.qr(standard.T)
            standard = upper.T
        self._rows = np.ones((standard.shape[0], standard.shape[1] + 1), dtype=precision)
        self._rows[:, :-1] = standard
        self._weights = np.asarray(weights, dtype=np.float64)
        self._penalty = np.ones(self._rows.shape[1])
        self._penalty[-1] = 0.0
        scaled = self._rows * np.sqrt(_CURVATURE * self._weights)[:, None].astype(precision)
        self._bound = scaled.T @ scaled
        self._strength, self._factor = 0.0, (np.zeros((0, 0)), False)

    def set_strength(self, strength: float) -> None:
        """Choose C, the inverse of the penalty; one Cholesky factorisation.

        Raises:
            ValueError: C is not positive.
            ConvergenceError: the bound is not positive definite in the design's precision.
        """
        if not strength > 0:
            raise ValueError(f"C must be positive, it is {strength}")
        self._strength = float(strength)
        bound = self._bound * self._bound.dtype.type(self._strength)
        bound[np.diag_indices_from(bound)] += self._penalty.astype(bound.dtype)
        try:
            self._factor = cho_factor(bound, overwrite_a=True, check_finite=False)
        except LinAlgError as error:
            raise ConvergenceError(
                f"C = {strength:g} is too large for {len(self._rows)} rows in {bound.dtype}: {error}"
            ) from error

    def fit_logistic(self, targets: Floats, start: Floats | None, tolerance: float) -> Floats:
        """Coefficients [min(rows, width) + 1] of the logistic regression on `targets` [rows] in [0, 1].

        Args:
            targets: [rows] labels.
            start: coefficients to begin with (from another C), or None.
            tolerance: the gradient's norm, relative to that at zero, at which to stop.

        Raises:
            ValueError: the targets are all 0 or all 1, so that the free intercept has no finite optimum.
            ConvergenceError: the tolerance was not reached.
        """
        if targets.min() == targets.max() and targets.min() in (0.0, 1.0):
            raise ValueError(f"all {targets.size} labels are {targets[0]:g}; a logistic fit needs both classes")
        return newton(
            self._rows,
            targets,
            self._strength * self._weights,
            self._penalty,
            self._factor,
            start=np.zeros(self._rows.shape[1]) if start is None else start,
            tolerance=tolerance,
        )

    def fit_ridge(self, targets: Floats, tolerance: float) -> Floats:
        """Coefficients [min(rows, width) + 1] of the ridge regression on `targets` [rows].

        Minimises half the squared weights plus C/8 times the weighted squared error: the curvature bound of the
        logistic objective at the same C, so that both share one factor.
        """
        curvature = _CURVATURE * self._strength * self._weights
        right = _transposed(self._rows, curvature * targets)
        return _conjugate_gradients(self._rows, curvature, self._penalty, self._factor, right, tolerance)[0]

    def unrotate(self, coefficients: Floats) -> tuple[Floats, float]:
        """Weights [width] on standardised features, and the intercept."""
        weights = coefficients[:-1] if self._rotation is None else self._rotation @ coefficients[:-1]
        return weights, float(coefficients[-1])


def _times(rows: NDArray, vector: Floats) -> Floats:
    """Rows @ vector in the precision of the rows, as doubles; numpy would copy the matrix into doubles."""
    return (rows @ vector.astype(rows.dtype, copy=False)).astype(np.float64, copy=False)


def _transposed(rows: NDArray, vector: Floats) -> Floats:
    return _times(rows.T, vector)


def _solve(factor: tuple[NDArray, bool], right: Floats) -> Floats:
    solution = cho_solve(factor, right.astype(factor[0].dtype, copy=False), check_finite=False)
    return solution.astype(np.float64, copy=False)


def newton(
    rows: NDArray,
    targets: Floats,
    weights: Floats,
    penalty: Floats,
    factor: tuple[NDArray, bool],
    *,
    start: Floats,
    tolerance: float,
) -> Floats:
    """Minimise the penalised, weighted logistic loss by Newton steps with conjugate gradients.

    Args:
        rows: [rows, features] design.
        targets: [rows] labels in [0, 1].
        weights: [rows] weight of each row's loss.
        penalty: [features] ridge of each coefficient.
        factor: Cholesky factor of rows' (weights / 4) rows + diag(penalty), from `scipy.linalg.cho_factor`.
        start: [features] first coefficients.
        tolerance: gradient norm, relative to that at zero (in the factor's metric), at which to stop.

    Returns:
        [features] coefficients.

    Raises:
        ConvergenceError: the tolerance was not reached in `MAXIMUM_NEWTON_STEPS` steps.
    """
    at_zero = _transposed(rows, weights * (0.5 - targets))
    reference = np.sqrt(at_zero @ _solve(factor, at_zero))
    coefficients, linear = start, _times(rows, start)
    for _ in range(MAXIMUM_NEWTON_STEPS):
        probability = expit(linear)
        gradient = _transposed(rows, weights * (probability - targets)) + penalty * coefficients
        norm = np.sqrt(gradient @ _solve(factor, gradient))
        if norm <= tolerance * reference:
            return coefficients
        curvature = weights * probability * (1.0 - probability)
        forcing = min(0.1, np.sqrt(norm / reference))
        step, linear_step = _conjugate_gradients(rows, curvature, penalty, factor, -gradient, forcing)
        size = _line_search(targets, weights, penalty, coefficients, linear, step, linear_step)
        if size == 0.0:
            # No step lowers the objective in floating point: the optimum is reached to rounding.
            if norm <= max(1e-6, tolerance) * reference:
                return coefficients
            break
        coefficients, linear = coefficients + size * step, linear + size * linear_step
    raise ConvergenceError(
        f"the logistic fit of {rows.shape[0]} rows and {rows.shape[1]} features did not converge: relative "
        f"gradient {norm / reference:.1e}, asked {tolerance:.1e}; look for states of extreme size"
    )


def _conjugate_gradients(
    rows: NDArray,
    curvature: Floats,
    penalty: Floats,
    factor: tuple[NDArray, bool],
    right: Floats,
    forcing: float,
) -> tuple[Floats, Floats]:
    """Solve (rows' curvature rows + penalty) step = right; the step [features] and rows @ step [rows]."""
    step, linear_step = np.zeros_like(right), np.zeros(rows.shape[0])
    residual = right
    direction = preconditioned = _solve(factor, residual)
    product = first = residual @ preconditioned
    for _ in range(2 * right.size):
        linear_direction = _times(rows, direction)
        image = _transposed(rows, curvature * linear_direction) + penalty * direction
        length = product / (direction @ image)
        step, linear_step = step + length * direction, linear_step + length * linear_direction
        residual = residual - length * image
        preconditioned = _solve(factor, residual)
        previous, product = product, residual @ preconditioned
        if product <= forcing**2 * first:
            break
        direction = preconditioned + (product / previous) * direction
    return step, linear_step


def _line_search(
    targets: Floats,
    weights: Floats,
    penalty: Floats,
    coefficients: Floats,
    linear: Floats,
    step: Floats,
    linear_step: Floats,
) -> float:
    """Largest of 1, 1/2, 1/4, ... that lowers the objective; 0 if none does."""

    def objective(size: float) -> float:
        at, margin = coefficients + size * step, linear + size * linear_step
        return float(weights @ (np.logaddexp(0.0, margin) - targets * margin) + 0.5 * penalty @ (at * at))

    now, size = objective(0.0), 1.0
    while size > 1e-6:
        if objective(size) < now:
            return size
        size /= 2
    return 0.0


def platt_scaling(scores: Floats, labels: Floats, weights: Floats) -> tuple[float, float] | None:
    """Slope and offset of the logistic curve that turns scores into probabilities.

    Labels are pulled inwards by one pseudo-count per class, so that separable scores have a finite optimum.

    Args:
        scores: [rows] raw scores.
        labels: [rows] 0 or 1.
        weights: [rows] positive row weights; their sum is the effective number of observations.

    Returns:
        (slope, offset) of sigmoid(slope * score + offset); None when a class is missing or all scores are equal.

    References:
        Platt, Advances in Large Margin Classifiers (1999), with Lin, Lin and Weng, Mach. Learn. 68:267 (2007).
    """
    positive, negative = float(weights @ labels), float(weights @ (1.0 - labels))
    if positive == 0.0 or negative == 0.0 or np.ptp(scores) == 0.0:
        return None
    targets = np.where(labels == 1.0, (positive + 1.0) / (positive + 2.0), 1.0 / (negative + 2.0))
    standard, mean, scale = standardise(scores[:, None])
    rows = np.column_stack([standard, np.ones(scores.size)])
    factor = cho_factor(rows.T @ (rows * (_CURVATURE * weights)[:, None]))
    slope, offset = newton(rows, targets, weights, np.zeros(2), factor, start=np.zeros(2), tolerance=1e-9)
    return float(slope / scale[0]), float(offset - slope * mean[0] / scale[0])
