"""Votes of a prompt's traces: who wins, by how much, and whether more traces could still change it.

A label is a string, or None for a trace that does not vote (cut, empty or unclear): such traces take no part, whatever
their weight. Ties go to the label that was seen first, so the order of traces matters only there.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betainc

from tells.safety.confidence import linear_quantile

_ROUNDING = 1e-12


def majority_vote(labels: Sequence[str | None]) -> str | None:
    """The label of most traces; the first seen of equals.

    Args:
        labels: [traces] label of each trace, None where it does not vote.

    Returns:
        The winner; None when nobody votes.
    """
    counts = Counter(label for label in labels if label is not None)
    # A Counter keeps the order in which labels were first seen, and max the first of equals.
    return max(counts, key=counts.__getitem__) if counts else None


def weighted_vote(labels: Sequence[str | None], weights: Sequence[float | None]) -> str | None:
    """The label that carries most weight; the first seen of equals, and of sums that differ by rounding alone.

    Args:
        labels: [traces] label of each trace, None where it does not vote.
        weights: [traces] weight of each vote, at least 0; not read where the label is None.

    Returns:
        The winner; None when nobody votes.

    Raises:
        ValueError: the lengths differ, or the weight of a vote is missing, negative or not finite.

    References:
        Fu et al., Deep Think with Confidence (2025), eq. 9.
    """
    weight = _weights_by_label(labels, weights)
    if not weight:
        return None
    most = max(weight.values())
    return next(label for label, value in weight.items() if value >= most * (1.0 - _ROUNDING))


def consensus(labels: Sequence[str | None], weights: Sequence[float | None]) -> float | None:
    """β: the winner's share of all weight.

    Args:
        labels: [traces] label of each trace, None where it does not vote.
        weights: [traces] weight of each vote, at least 0; not read where the label is None.

    Returns:
        A share in (0, 1]; None when nobody votes or no vote has weight.

    Raises:
        ValueError: as for `weighted_vote`.

    References:
        Fu et al. (2025), eq. 10.
    """
    weight = _weights_by_label(labels, weights)
    total = math.fsum(weight.values())
    return max(weight.values()) / total if total > 0 else None


def _weights_by_label(labels: Sequence[str | None], weights: Sequence[float | None]) -> dict[str, float]:
    """Sum of weights by label, in the order in which labels were first seen."""
    if len(labels) != len(weights):
        raise ValueError(f"{len(labels)} labels but {len(weights)} weights: every trace needs both")
    parts: dict[str, list[float]] = {}
    for trace, (label, weight) in enumerate(zip(labels, weights, strict=True)):
        if label is None:
            continue
        if weight is None or not math.isfinite(weight) or weight < 0:
            raise ValueError(f"weight of trace {trace} is {weight}: a vote needs a finite weight of at least 0")
        parts.setdefault(label, []).append(float(weight))
    return {label: math.fsum(values) for label, values in parts.items()}


def keep_top(confidences: ArrayLike, *, keep: float) -> NDArray[np.int64]:
    """The traces at or above percentile 100 · (1 − keep) of the confidences, linear interpolation.

    Traces that stand exactly at the cut are all kept, so ties can keep more than the share; at least one is kept.

    Args:
        confidences: [traces] confidence of each trace.
        keep: share to keep, in (0, 1].

    Returns:
        [kept] indices, rising; empty where there is no trace.

    Raises:
        ValueError: a confidence is missing or not finite, or keep is out of range.

    References:
        Fu et al. (2025), section 3.1, confidence filtering.
    """
    if not 0.0 < keep <= 1.0:
        raise ValueError(f"keep must lie in (0, 1], it is {keep}")
    values = np.asarray(confidences, dtype=np.float64).reshape(-1)
    if values.size == 0:
        return np.zeros(0, dtype=np.int64)
    return np.flatnonzero(values >= linear_quantile(values, 1.0 - keep))


def adaptive_consistency(labels: Sequence[str | None]) -> float:
    """Probability that the leading label is the likelier of the two leading ones: P(Beta(v₁+1, v₂+1) > ½).

    Args:
        labels: [traces] label of each trace, None where it does not vote.

    Returns:
        At least ½, which it is when nobody votes; 5 : 0 gives 0.984.

    References:
        Aggarwal et al., Let's Sample Step by Step: Adaptive-Consistency (2023), eq. 3, for two labels.
    """
    counts = [count for _, count in Counter(label for label in labels if label is not None).most_common(2)]
    first, second = [*counts, 0, 0][:2]
    return float(betainc(second + 1, first + 1, 0.5))


def vote_entropy(labels: Sequence[str | None]) -> float | None:
    """Entropy of the votes, −Σ p ln p.

    Args:
        labels: [traces] label of each trace, None where it does not vote.

    Returns:
        Entropy in nats, 0 where all agree; None when nobody votes.
    """
    counts = Counter(label for label in labels if label is not None)
    total = counts.total()
    if total == 0:
        return None
    return -math.fsum(count / total * math.log(count / total) for count in sorted(counts.values())) + 0.0
