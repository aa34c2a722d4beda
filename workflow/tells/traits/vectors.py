"""Directions between two classes of activations, by four methods, and random ones to hold against them.

All functions take the activations of one layer, positive and negative [n, width] of any float type, compute in
double precision and return a unit vector whose sign puts the positive rows above the negative ones. They look at
the rows they are given alone: which rows those are, and how a direction fares on others, is `tells.traits.quality`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tells.traits.row_space import Fit, FitError, RowSpace, pairing_matrix

DEFAULT_METHODS = ("mean_difference", "probe", "fisher")
"""The methods a study fits unless it asks for others."""
MASSIVE_RATIO = 100.0
"""Largest over median dimension beyond which a dimension is called massive."""
MASSIVE_SHARE = 0.8
"""Share of the squared norm in one dimension beyond which it is called massive."""


@dataclass(frozen=True, eq=False)
class Direction:
    """A unit vector in the activations of one layer.

    Attributes:
        vector: [width] float32, of length 1.
        norm: its length before normalising, in the method's own units.
        method: what it was made by.
        diagnostics: facts for files: row counts, the method's own figures, `direction` and `activations` with
            what `massive_dimensions` says of them, and `warnings`, a list of sentences.
    """

    vector: NDArray[np.float32]
    norm: float
    method: str
    diagnostics: dict[str, Any] = field(default_factory=dict)

    @property
    def width(self) -> int:
        """Dimensions of the vector."""
        return int(self.vector.size)

    @property
    def warnings(self) -> list[str]:
        """What a reader must know."""
        return list(self.diagnostics.get("warnings", ()))


def mean_difference(positive: ArrayLike, negative: ArrayLike) -> Direction:
    """The mean of the positive rows less that of the negative rows.

    Args:
        positive: [n, width] activations that show the trait.
        negative: [m, width] activations that show its opposite.

    Returns:
        The direction; its norm is the distance of the two means.

    Raises:
        ValueError: a class is empty, widths differ, a value is not finite, or the two means are equal.
    """
    return _fit_classes("mean_difference", positive, negative)


def probe(positive: ArrayLike, negative: ArrayLike, *, C: float = 1.0, seed: int = 0) -> Direction:
    """Weights of an L2-regularised logistic regression on rows of unit length, with a free intercept.

    The optimum is unique and found by Newton's method in the space of the rows, at a cost of n² · width; it
    equals scikit-learn's `LogisticRegression(C=C)` on the same normalised rows. A row of zeros stays as it is.

    Args:
        positive: [n, width] activations that show the trait.
        negative: [m, width] activations that show its opposite.
        C: inverse of the penalty.
        seed: changes nothing, since nothing is random here; taken so that all methods can be called alike.

    Returns:
        The direction; its norm is the length of the weights.

    Raises:
        ValueError: as for `mean_difference`, C is not positive, or the classes differ in length alone.
    """
    del seed
    return _fit_classes("probe", positive, negative, C=C)


def pairwise_pca(positive: ArrayLike, negative: ArrayLike) -> Direction:
    """Top right singular vector of the differences of pairs, positive less negative.

    The differences are not centred: centring takes away their mean, which is the very thing that is sought.

    Args:
        positive: [n, width] activations that show the trait.
        negative: [n, width] activations that show its opposite; row i is the partner of positive row i.

    Returns:
        The direction; its norm is the singular value.

    Raises:
        ValueError: as for `mean_difference`, or the numbers of rows differ.

    References:
        Zou et al., Representation Engineering (2023), linear artificial tomography, without its centring.
    """
    above, below = _classes(positive, negative)
    if len(above) != len(below):
        raise ValueError(
            f"pairwise PCA needs one negative row for each positive row; got {len(above)} and {len(below)}: "
            "keep complete pairs alone"
        )
    return _fit_classes("pairwise_pca", above, below)


def fisher(positive: ArrayLike, negative: ArrayLike) -> Direction:
    """Fisher's discriminant S⁻¹(mean of positive rows - mean of negative rows), with S shrunk to a sphere.

    S is the pooled covariance within the classes, the squares of the rows less their own class mean divided by
    their number n (not by n - 2, which would scale S and leave the direction as it is), shrunk to
    (1 - α) S + α (tr S/width) I with the α of Ledoit and Wolf for those rows.

    Args:
        positive: [n, width] activations that show the trait.
        negative: [m, width] activations that show its opposite.

    Returns:
        The direction; its norm is that of S⁻¹ times the mean difference.

    Raises:
        ValueError: as for `mean_difference`, or no class has two different rows.

    References:
        Ledoit and Wolf, J. Multivariate Anal. 88:365 (2004).
    """
    return _fit_classes("fisher", positive, negative)


def random_direction(width: int, *, seed: int) -> Direction:
    """A direction drawn evenly from the sphere.

    Args:
        width: dimensions.
        seed: another seed, another direction.

    Raises:
        ValueError: width is below 1.
    """
    if width < 1:
        raise ValueError(f"width must be at least 1, it is {width}")
    draw = np.random.default_rng(seed).standard_normal(width)
    return direction_of(draw, "random", {"seed": int(seed)})


def direction_of(vector: NDArray, method: str, diagnostics: dict[str, Any], norm: float | None = None) -> Direction:
    """Scale a vector to unit length and look at its dimensions.

    Args:
        vector: [width] numbers, not all zero.
        method: what it was made by.
        diagnostics: facts to keep; `warnings` among them are kept as well.
        norm: length of the vector, where the caller knows it better than from these numbers.
    """
    length = float(np.linalg.norm(vector))
    unit = (vector / length).astype(np.float32)
    massive, warnings = massive_dimensions(unit, "the direction")
    kept = [*diagnostics.get("warnings", ()), *warnings]
    return Direction(
        unit, length if norm is None else norm, method, {**diagnostics, "direction": massive, "warnings": kept}
    )


def massive_dimensions(values: ArrayLike, name: str) -> tuple[dict[str, Any], list[str]]:
    """Does one dimension stand for all?

    A few dimensions of a language model can be hundreds of times larger than the rest; a direction along one of
    them measures that dimension and little else.

    Args:
        values: [width] a vector, or [rows, width] activations.
        name: what they are called in a warning.

    Returns:
        The figures: `dimension`, the one that is largest in mean absolute value; `ratio`, that mean over the
        median dimension's (None when the median is 0); `share`, the largest share of the squared norm that a
        dimension has. And the warnings: a ratio above 100, a share above 80%. One dimension alone gives none.
    """
    array = np.atleast_2d(np.asarray(values, dtype=np.float64))
    size, squares = np.abs(array).mean(axis=0), np.square(array).mean(axis=0)
    dimension, median, total = int(size.argmax()), float(np.median(size)), float(squares.sum())
    ratio = float(size[dimension] / median) if median > 0.0 else None
    share = float(squares.max() / total) if total > 0.0 else None
    figures = {"dimension": dimension, "ratio": ratio, "share": share}
    warnings = []
    if array.shape[1] > 1 and ratio is not None and ratio > MASSIVE_RATIO:
        warnings.append(f"dimension {dimension} of {name} is {ratio:.0f} times the median dimension")
    if array.shape[1] > 1 and share is not None and share > MASSIVE_SHARE:
        warnings.append(f"dimension {int(squares.argmax())} holds {share:.0%} of the squared norm of {name}")
    return figures, warnings


def direction_of_fit(
    method: str, fit: Fit, rows: NDArray[np.float64], positive: NDArray[np.bool_], activations: tuple[dict, list[str]]
) -> Direction:
    """The direction of a fit in row space.

    Args:
        method: what it was fitted by.
        fit: weights of the rows [n].
        rows: [n, width] the rows it was fitted on.
        positive: [n] their class.
        activations: what `massive_dimensions` says of the rows.
    """
    figures, warnings = activations
    diagnostics = {
        "n_positive": int(positive.sum()),
        "n_negative": int((~positive).sum()),
        **fit.details,
        "activations": figures,
        "warnings": [*fit.warnings, *warnings],
    }
    return direction_of(fit.weights @ rows, method, diagnostics, fit.norm)


def _fit_classes(method: str, positive: ArrayLike, negative: ArrayLike, C: float = 1.0) -> Direction:
    """Fit one method on all rows of two classes."""
    above, below = _classes(positive, negative)
    rows = np.concatenate([above, below])
    is_positive = np.arange(len(rows)) < len(above)
    pairing = None
    if method == "pairwise_pca":
        pairing = pairing_matrix(is_positive, np.concatenate([np.arange(len(above)), np.arange(len(below))]))
    fit = RowSpace(rows).fit(method, np.arange(len(rows)), is_positive, pairing, C)
    return direction_of_fit(method, fit, rows, is_positive, massive_dimensions(rows, "the activations"))


def _classes(positive: ArrayLike, negative: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both classes, checked."""
    above, below = finite_rows(positive, "positive"), finite_rows(negative, "negative")
    if above.shape[1] != below.shape[1]:
        raise ValueError(
            f"positive rows have width {above.shape[1]}, negative rows {below.shape[1]}: "
            "both must come from the same layer of the same model"
        )
    return above, below


def finite_rows(values: ArrayLike, name: str) -> NDArray[np.float64]:
    """Activations [n, width] in double precision.

    Raises:
        ValueError: not two-dimensional, no row, no dimension, not numeric, or a value is not finite.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2:
        raise ValueError(f"{name} must have two dimensions [n, width], it has shape {list(array.shape)}")
    if 0 in array.shape:
        raise ValueError(f"{name} has shape {list(array.shape)}: a direction needs at least one row of each class")
    bad = np.flatnonzero(~np.isfinite(array).all(axis=1))
    if bad.size:
        raise ValueError(
            f"{name} has {bad.size} row(s) with values that are not finite, the first is row {bad[0]}: leave them "
            "out and count them; float16 overflows above 65504"
        )
    return array


__all__ = [
    "DEFAULT_METHODS",
    "Direction",
    "FitError",
    "direction_of",
    "direction_of_fit",
    "finite_rows",
    "fisher",
    "massive_dimensions",
    "mean_difference",
    "pairwise_pca",
    "probe",
    "random_direction",
]
