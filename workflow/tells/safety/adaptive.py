"""The adaptive arm, trace by trace: when a trace is cut, who votes, and when a prompt's answer is settled.

`AdaptivePrompt` is a pure decision machine about one prompt. Online sampling asks it before and after each trace that
it really generates; replayed simulation (`tells.safety.arms`) gives the same decisions on many orders at once, and is
tested against it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tells.config.safety import StoppingConfig
from tells.safety.confidence import first_stop, stop_threshold, trace_confidence
from tells.safety.voting import adaptive_consistency, consensus, vote_entropy

REFUSAL, COMPLIANCE = "refusal", "compliance"
CUT, ENDED = "confidence", "stop"
_VOTES = {"refusal": REFUSAL, "partial": REFUSAL, "compliance": COMPLIANCE, "unclear": None, None: None}
# Sums in another order differ in their last digits; a share that stands on its limit must not hang on those.
ROUNDING = 1e-9


def vote_of(label: str | None) -> str | None:
    """The vote of a reply: a partial refusal votes as a refusal, an unclear or missing label takes no part.

    Raises:
        ValueError: the label is unknown.
    """
    try:
        return _VOTES[label]
    except KeyError:
        known = ", ".join(word for word in _VOTES if word)
        raise ValueError(f"refusal label {label!r} is unknown: use one of {known}, or none") from None


def settles(stopping: StoppingConfig, labels: Sequence[str | None], weights: Sequence[float | None]) -> bool:
    """Whether votes settle the answer by the configured rule, up to rounding; without votes nothing is settled.

    Args:
        stopping: the rule and its limit.
        labels: [traces] votes; None takes no part.
        weights: [traces] weight of each vote; `consensus` alone reads them, the rivals count votes.

    References:
        Fu et al., Deep Think with Confidence (2025), eq. 10 (consensus). Aggarwal et al., Let's Sample Step by Step
        (2023) (adaptive consistency).
    """
    if stopping.rule == "consensus":
        share = consensus(labels, weights)
        return share is not None and share >= stopping.consensus - ROUNDING
    if stopping.rule == "adaptive_consistency":
        return adaptive_consistency(labels) >= stopping.certainty - ROUNDING
    entropy = vote_entropy(labels)
    return entropy is not None and entropy <= stopping.vote_entropy + ROUNDING


def single_precision(confidence: ArrayLike) -> NDArray[np.float64]:
    """Confidences as they are stored, so that what is decided while sampling is decided again from the tables."""
    return np.asarray(confidence, dtype=np.float32).astype(np.float64)


class AdaptivePrompt:
    """One prompt that is sampled until its answer is settled or its budget is spent.

    The first `warmup` traces are never cut; the lowest groups of those that have tokens set the threshold. A later
    trace is cut at its first full window below it: it counts its tokens, and takes no part in the vote. Once the
    warm-up is over, the votes are judged after each trace. A vote weighs the trace's mean confidence over all its
    generated tokens, a think span included; a trace without tokens does not vote.

    Args:
        config: warm-up, share to keep, rule and limits.
        window: tokens per group.
        budget: traces at most; more than the warm-up.

    Raises:
        ValueError: the budget leaves no trace after the warm-up, or the window is below 1.
    """

    def __init__(self, config: StoppingConfig, window: int, budget: int) -> None:
        if budget <= config.warmup:
            raise ValueError(f"budget {budget} must be above the warm-up of {config.warmup} traces")
        if window < 1:
            raise ValueError(f"window must be at least 1 token, it is {window}")
        self._config, self._window, self._budget = config, window, budget
        self._lowest: list[float] = []
        self._labels: list[str | None] = []
        self._weights: list[float | None] = []
        self._threshold: float | None = None
        self._settled = False

    @property
    def traces(self) -> int:
        """Traces so far, cut ones included."""
        return len(self._labels)

    @property
    def warming(self) -> bool:
        """Whether the next trace belongs to the warm-up."""
        return self.traces < self._config.warmup

    @property
    def threshold(self) -> float | None:
        """What the next trace is cut below, in nats; None while warming, and where no warm-up trace has tokens."""
        return self._threshold

    @property
    def votes(self) -> tuple[str | None, ...]:
        """[traces] `refusal`, `compliance`, or None for a trace that takes no part, in the order of the traces."""
        return tuple(self._labels)

    @property
    def settled(self) -> bool:
        """Whether the votes agree enough."""
        return self._settled

    @property
    def done(self) -> bool:
        """Whether sampling stops: settled, or the budget spent."""
        return self._settled or self.traces == self._budget

    def stop_of(self, confidence: ArrayLike, *, ended: bool) -> int | None:
        """Where the next trace would be cut.

        Args:
            confidence: [tokens] of the whole trace, in nats.
            ended: the trace ended by itself at its last token, which is then no cut.

        Returns:
            0-based index of the last token that is kept; None where the trace is not cut.
        """
        if self._threshold is None:
            return None
        values = single_precision(confidence)
        stop = first_stop(values, threshold=self._threshold, window=self._window)
        return None if ended and stop == values.size - 1 else stop

    def add(self, label: str | None, confidence: ArrayLike, cut: bool) -> None:
        """Take the next trace.

        Args:
            label: refusal label of its answer by the stopping voter; not read where the trace was cut.
            confidence: [tokens] of the trace as generated, in nats.
            cut: it was stopped for want of confidence.

        Raises:
            ValueError: the prompt is done, a trace is cut while nothing can be, the label is unknown, or a confidence
                is not a finite number.
        """
        if self.done:
            why = "settled" if self._settled else f"out of its budget of {self._budget} traces"
            raise ValueError(f"no trace can follow: the prompt is {why}")
        if cut and self._threshold is None:
            raise ValueError(f"trace {self.traces} is cut, but there is no threshold: warm-up traces are never cut")
        values = single_precision(confidence)
        weight = trace_confidence(values, "mean", window=self._window)
        self._labels.append(None if cut or weight is None else vote_of(label))
        self._weights.append(weight)
        if self.traces <= self._config.warmup:
            self._warm(values)
        if not self.warming:
            self._settled = settles(self._config, self._labels, self._weights)

    def _warm(self, values: NDArray[np.float64]) -> None:
        lowest = trace_confidence(values, "lowest", window=self._window)
        if lowest is not None:
            self._lowest.append(lowest)
        if not self.warming and self._lowest:
            self._threshold = stop_threshold(self._lowest, keep=self._config.keep)
