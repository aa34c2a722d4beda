"""The threshold τ that makes a class of semantic entropy: high means entropy above τ.

The semantic-entropy probe learns a binary target; τ comes from the train questions alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

N_CUTS = 100
SMALLEST_CUT = 1e-10


def best_split(values: Sequence[float]) -> float | None:
    """The cut that leaves the least squared error when each side is described by its mean.

    Cuts are the 100 points of linspace(1e-10, max, 100); a value above the cut is high, all others are low.
    The first of the best cuts is taken. Cuts that leave a side empty are no splits.

    Args:
        values: [questions] semantic entropies, in nats.

    Returns:
        The cut; None when it would be degenerate: no cut has values on both sides (no values, or all equal).

    Raises:
        ValueError: a value is not finite; leave questions without an entropy out.

    References:
        Kossen et al., Semantic Entropy Probes (2024), section 4.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    if not np.isfinite(ordered).all():
        raise ValueError("values hold NaN or infinity: leave out the questions that have no entropy")
    if ordered.size == 0 or ordered[-1] <= SMALLEST_CUT:
        return None
    best_cut, best_error = None, np.inf
    for cut in np.linspace(SMALLEST_CUT, ordered[-1], N_CUTS):
        n_low = int(np.searchsorted(ordered, cut, side="right"))
        if n_low in (0, ordered.size):
            continue
        error = _squared_error(ordered[:n_low]) + _squared_error(ordered[n_low:])
        if error < best_error:
            best_cut, best_error = float(cut), error
    return best_cut


def degenerate_reason(values: Sequence[float], threshold: float | None, *, min_per_class: int = 5) -> str | None:
    """Why a threshold makes no target to learn; None where it does.

    Args:
        values: [questions] semantic entropies, in nats.
        threshold: what `best_split` gave for them.
        min_per_class: questions that each class needs.
    """
    if threshold is None:
        return "no values to split" if len(values) == 0 else "all entropies are equal: there is no threshold"
    n_high = int((np.asarray(values, dtype=np.float64) > threshold).sum())
    n_low = len(values) - n_high
    if min(n_high, n_low) < min_per_class:
        return f"{n_high} questions above and {n_low} below the threshold: each class needs {min_per_class}"
    return None


def _squared_error(side: np.ndarray) -> float:
    return float(np.sum((side - side.mean()) ** 2))
