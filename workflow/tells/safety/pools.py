"""The full-budget traces of each prompt as arrays: what every simulated arm draws from.

A pool holds, for each of a prompt's traces, what an arm may ask: tokens, confidence, where it would be cut below a
threshold, how it votes while sampling (`stop_label`), how it votes in the end (`refusal`) and whether it harms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tells.safety.adaptive import COMPLIANCE, REFUSAL, vote_of
from tells.safety.confidence import batch_trace_confidence, group_confidence
from tells.safety.rates import check_reply_labels

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
NONE = -1
REFUSED, COMPLIED = 0, 1
_VOTE_CODES = {REFUSAL: REFUSED, COMPLIANCE: COMPLIED, None: NONE}
_HARM_CODES = {"unharmful": 0, "harmful": 1, "unscored": NONE, None: NONE}


@dataclass(frozen=True, eq=False)
class Pool:
    """All traces of one prompt, in the order of `sample`.

    Attributes:
        prompt_id: the prompt.
        group: what is drawn together; twins share it.
        label: `harmful`, `benign`, or None where unlabelled.
        category: the benchmark's own; None for none.
        tokens: [traces] generated tokens.
        confidence: [traces] mean over all generated tokens, in nats; NaN without tokens.
        lowest: [traces] lowest group over all generated tokens, in nats; NaN without tokens.
        ended: [traces] the trace ended by itself and not at the limit of its length.
        minima: for each trace the running minima of its full windows from the last to the first, so that they rise.
        window: tokens per window.
        stop_votes: [traces] votes while sampling: `REFUSED`, `COMPLIED` or `NONE`.
        votes: [traces] votes of the final labels.
        harm: [traces] 1 harmful, 0 unharmful, `NONE` where not asked or unscored.
    """

    prompt_id: str
    group: str
    label: str | None
    category: str | None
    tokens: Integers
    confidence: Floats
    lowest: Floats
    ended: NDArray[np.bool_]
    minima: tuple[Floats, ...]
    window: int
    stop_votes: Integers
    votes: Integers
    harm: Integers

    @property
    def size(self) -> int:
        """Number of traces."""
        return self.tokens.size

    def cut_below(self, thresholds: Floats) -> tuple[Integers, NDArray[np.bool_]]:
        """What each threshold leaves of each trace.

        Args:
            thresholds: [thresholds] in nats; -inf cuts nothing.

        Returns:
            [thresholds, traces] tokens that are kept, the stop token included, and whether the trace is cut.
        """
        kept = np.tile(self.tokens, (thresholds.size, 1))
        cut = np.zeros(kept.shape, dtype=bool)
        for trace, minima in enumerate(self.minima):
            below = np.searchsorted(minima, thresholds, side="left")
            stop = minima.size - below + self.window
            cut[:, trace] = (below > 0) & ~(self.ended[trace] & (stop == self.tokens[trace]))
            kept[:, trace] = np.where(cut[:, trace], stop, kept[:, trace])
        return kept, cut


def vote_codes(labels: Sequence[str | None]) -> Integers:
    """[replies] votes as `REFUSED`, `COMPLIED` or `NONE`; ValueError on an unknown label."""
    return np.array([_VOTE_CODES[vote_of(label)] for label in labels], dtype=np.int64)


def harm_codes(labels: Sequence[str | None]) -> Integers:
    """[replies] 1 harmful, 0 unharmful, `NONE` where not asked or unscored."""
    return np.array([_HARM_CODES[label] for label in labels], dtype=np.int64)


def build_pools(confidence: pl.DataFrame, reply_labels: pl.DataFrame, *, window: int, budget: int) -> list[Pool]:
    """The pools of all prompts of a collection.

    Args:
        confidence: the confidence table; `truncated` marks a trace that ended at the limit of its length.
        reply_labels: the reply_labels table of the same traces.
        window: tokens per group.
        budget: traces that every prompt must have.

    Returns:
        One pool a prompt, by prompt_id.

    Raises:
        ValueError: the tables hold different traces, a prompt has another number of traces than the budget, a label is
            unknown, or the confidences of a trace are not as many as its tokens.
    """
    check_reply_labels(reply_labels)
    keys = ["prompt_id", "sample"]
    parts = confidence.select(*keys, "n_tokens", "truncated", "confidence")
    labels = reply_labels.select(*keys, "group", "label", "category", "stop_label", "refusal", "harm")
    for name, one, other in (("confidence", labels, parts), ("reply_labels", parts, labels)):
        missing = one.join(other, on=keys, how="anti").sort(keys)
        if len(missing):
            prompt_id, sample = missing.select(keys).row(0)
            raise ValueError(f"{len(missing)} traces are not in {name} (first: {prompt_id}, sample {sample})")
    traces = labels.join(parts, on=keys, how="inner", validate="1:1").sort(keys)
    wrong = traces.group_by("prompt_id").len().filter(pl.col("len") != budget).sort("prompt_id")
    if len(wrong):
        prompt_id, count = wrong.row(0)
        raise ValueError(f"prompt {prompt_id} has {count} traces, not the budget of {budget}: sample it again")
    return _pools(traces, window)


def _pools(traces: pl.DataFrame, window: int) -> list[Pool]:
    if traces.is_empty():
        return []
    tokens = traces["n_tokens"].cast(pl.Int64).to_numpy()
    lengths = traces["confidence"].list.len().cast(pl.Int64).to_numpy()
    wrong = np.flatnonzero(tokens != lengths)
    if wrong.size:
        prompt_id, sample = traces.select("prompt_id", "sample").row(int(wrong[0]))
        raise ValueError(
            f"prompt {prompt_id}, sample {sample}: {lengths[wrong[0]]} confidences for {tokens[wrong[0]]} tokens"
        )
    values = traces.filter(pl.col("n_tokens") > 0)["confidence"].explode().cast(pl.Float64).to_numpy()
    scores = batch_trace_confidence(values, lengths, window=window, kinds=("mean", "lowest"))
    starts = np.cumsum(lengths) - lengths
    minima = [_rising_minima(values[start : start + n], window) for start, n in zip(starts, lengths, strict=True)]
    stop_votes = np.where(lengths > 0, vote_codes(traces["stop_label"]), NONE)
    votes, harm = vote_codes(traces["refusal"]), harm_codes(traces["harm"])
    ended = ~traces["truncated"].to_numpy()
    first = np.flatnonzero(np.r_[True, traces["prompt_id"].to_numpy()[1:] != traces["prompt_id"].to_numpy()[:-1]])
    columns = ["prompt_id", "group", "label", "category"]
    return [
        Pool(
            *traces.select(columns).row(int(start)),
            tokens=tokens[start:stop],
            confidence=scores["mean"][start:stop],
            lowest=scores["lowest"][start:stop],
            ended=ended[start:stop],
            minima=tuple(minima[start:stop]),
            window=window,
            stop_votes=stop_votes[start:stop],
            votes=votes[start:stop],
            harm=harm[start:stop],
        )
        for start, stop in zip(first, [*first[1:], len(traces)], strict=True)
    ]


def _rising_minima(confidence: Floats, window: int) -> Floats:
    """Running minima of a trace's full windows, reversed; none for a trace shorter than the window."""
    if confidence.size < window:
        return np.zeros(0)
    return np.minimum.accumulate(group_confidence(confidence, window))[::-1]
