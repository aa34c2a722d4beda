"""Token confidence and the sliding window that ends a trace: the arithmetic that sampling and analysis share.

An engine stops a trace while it is drawn, and the analysis finds the same stop in the confidences that were stored, so
both must compare the same numbers. Therefore a confidence is rounded to single precision as soon as it is computed,
which is how it is stored. Sums of such numbers in double precision are exact: with two tokens or more no confidence is
below ln 2, so each is a multiple of 2⁻²⁴, and a sum stays exact up to 2²⁹ nats. A running sum, a cumulative sum and
the plain mean of a window are then one and the same number. Needs no torch.
"""

from __future__ import annotations

from collections import deque

import numpy as np


def token_confidence(topk_logprobs: np.ndarray) -> np.ndarray:
    """Confidence of each step: minus the mean of its k largest log-probabilities; a peaked step is high.

    Args:
        topk_logprobs: [..., k] of the raw distribution, nats, as an engine gives them (single precision).

    Returns:
        [...] float32, nats.

    Raises:
        ValueError: no column, or a log-probability that is not finite; the message names the first such step.

    References:
        Fu et al. 2025, Deep Think with Confidence, equation 2 (arXiv 2508.15260).
    """
    top = np.asarray(topk_logprobs, dtype=np.float64)
    if top.ndim == 0 or not top.shape[-1]:
        raise ValueError(f"top log-probabilities of shape {top.shape}: each step needs at least one")
    # Column by column: the order of the additions, and so every bit, is the same for one step and for many.
    total = np.zeros(top.shape[:-1])
    for column in range(top.shape[-1]):
        total += top[..., column]
    if not np.isfinite(total).all():
        step = int(np.flatnonzero(~np.isfinite(np.ravel(total)))[0])
        raise ValueError(f"step {step}: a log-probability is infinite or NaN; confidence needs finite ones")
    return (-total / top.shape[-1]).astype(np.float32)


class WindowStop:
    """Tells, token by token, when a trace ends: at the first full window whose mean is strictly below a threshold.

    Args:
        threshold: nats; -inf never stops.
        window: tokens per window.

    References:
        Fu et al. 2025, Deep Think with Confidence, section 3.3 (arXiv 2508.15260).
    """

    def __init__(self, threshold: float, window: int) -> None:
        self.threshold = threshold
        self._recent: deque[float] = deque(maxlen=window)
        self._sum = 0.0

    def add(self, confidence: float) -> bool:
        """Take the confidence of the next token, rounded to single precision; True when it is the trace's last."""
        recent = self._recent
        full = len(recent) == recent.maxlen
        self._sum += float(confidence) - (recent[0] if full else 0.0)
        recent.append(float(confidence))
        return len(recent) == recent.maxlen and self._sum / len(recent) < self.threshold
