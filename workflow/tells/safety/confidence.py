"""Confidence of tokens, of groups of tokens and of whole traces, and the threshold that stops a trace early.

Pure functions on numbers, one per definition, and batched forms of them that give the same values. Larger means more
peaked, which is more confident, everywhere. Sums over a window are taken token by token in the order of the trace, so
that a window gives the same number to the last digit whether the trace is complete or still being generated.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tells.config.safety import Kind

Floats = NDArray[np.float64]
KINDS: tuple[Kind, ...] = get_args(Kind)

_CELLS_AT_ONCE = 1 << 20
# Log-probabilities stored in float32 may stand a little above 0; probabilities given by mistake stand far above.
_HIGHEST_LOGPROB = 1e-3
_ROUNDING = 1e-9


def token_confidence(topk_logprobs: ArrayLike, *, k: int | None = None) -> Floats:
    """C_t = −mean of the log-probabilities of the k most likely tokens at step t.

    Of the raw distribution, before temperature, and not renormalised: a peaked step leaves little to the others of
    its k, so its mean is far below 0 and its confidence high. The sampled token enters only as one of the k.

    Args:
        topk_logprobs: [T, k] log-probabilities, in nats, in any order.
        k: columns that every row must have; None for as many as the first row has.

    Returns:
        [T] confidences, in nats, at least 0; empty for an empty trace.

    Raises:
        ValueError: a row has other than k columns, k is below 2, or a value is NaN, infinite or above 0. The message
            names the step.

    References:
        Fu et al., Deep Think with Confidence (2025), eq. 2.
    """
    values = _steps(topk_logprobs, k)
    if values.shape[0] == 0:
        return np.zeros(0)
    confidence = np.empty(values.shape[0])
    rows = max(1, _CELLS_AT_ONCE // values.shape[1])
    for start in range(0, values.shape[0], rows):
        part = values[start : start + rows]
        sums = part.sum(axis=1, dtype=np.float64)
        bad = ~np.isfinite(sums)
        if bad.any():
            step = int(np.flatnonzero(bad)[0])
            raise ValueError(
                f"step {start + step}: log-probabilities {_first_bad(part[step])}: all k must be finite; "
                "keep raw log-probabilities, from before top-k and top-p filters"
            )
        if part.max() > _HIGHEST_LOGPROB:
            step = int(np.flatnonzero((part > _HIGHEST_LOGPROB).any(axis=1))[0])
            raise ValueError(f"step {start + step}: log-probability {part[step].max():g} is above 0: give logarithms")
        confidence[start : start + rows] = np.maximum(-sums / values.shape[1], 0.0)
    return confidence


def _first_bad(row: NDArray) -> str:
    return f"hold {row[~np.isfinite(row)][0]}"


def _steps(topk_logprobs: ArrayLike, k: int | None) -> NDArray:
    """The log-probabilities as [T, k], float32 or float64."""
    if not isinstance(topk_logprobs, np.ndarray):
        rows = list(topk_logprobs)  # type: ignore[arg-type]
        widths = [np.size(row) for row in rows]
        expected = k if k is not None else (widths[0] if widths else 0)
        wrong = next((step for step, width in enumerate(widths) if width != expected), None)
        if wrong is not None:
            raise ValueError(f"step {wrong} has {widths[wrong]} log-probabilities, not k = {expected}: k is exact")
        topk_logprobs = np.array(rows, dtype=np.float64).reshape(len(rows), -1 if rows else 0)
        if not rows:
            return topk_logprobs
    values = topk_logprobs if topk_logprobs.dtype == np.float32 else topk_logprobs.astype(np.float64, copy=False)
    if values.ndim != 2:
        raise ValueError(f"topk_logprobs must be [T, k], it has shape {list(values.shape)}")
    if k is not None and values.shape[1] != k:
        raise ValueError(f"step 0 has {values.shape[1]} log-probabilities, not k = {k}: k is exact")
    if values.shape[0] and values.shape[1] < 2:
        raise ValueError(
            f"step 0 has {values.shape[1]} log-probabilities: confidence needs at least 2; "
            "with one alone it would be the surprisal of that token"
        )
    return values


def group_confidence(confidence: ArrayLike, window: int) -> Floats:
    """Mean confidence of every window of tokens, stride 1.

    Args:
        confidence: [T] confidences of tokens, in nats.
        window: tokens per group.

    Returns:
        [groups]: max(1, T − window + 1) of them; a trace shorter than the window has one group, its mean; an empty
        one has none.

    Raises:
        ValueError: the window is below 1 or a confidence is NaN or infinite.

    References:
        Fu et al. (2025), eq. 5.
    """
    values = _checked(confidence)
    size = min(_at_least_one(window), values.size)
    return _sliding_sum(values[None, :], size)[0] / size if size else np.zeros(0)


def _sliding_sum(values: Floats, size: int) -> Floats:
    """[rows, T − size + 1] sums over windows of [rows, T], each taken from left to right."""
    groups = values.shape[1] - size + 1
    total = values[:, :groups].copy()
    for offset in range(1, size):
        total += values[:, offset : offset + groups]
    return total


def trace_confidence(confidence: ArrayLike, kind: Kind | str, *, window: int, fraction: float = 0.1) -> float | None:
    """One number for a trace.

    Args:
        confidence: [T] confidences of tokens, in nats.
        kind: `mean` of all tokens; `lowest` group; `bottom`, the mean of the lowest max(1, floor(fraction · groups))
            groups; `tail`, the mean of the last `window` tokens.
        window: tokens per group, and of the tail.
        fraction: share of the groups that `bottom` reads.

    Returns:
        A confidence in nats; None for an empty trace.

    Raises:
        ValueError: an unknown kind, a window below 1, a fraction not in (0, 1], or a confidence that is NaN or
            infinite.

    References:
        Fu et al. (2025), eq. 4 and 6-8.
    """
    if kind not in KINDS:
        raise ValueError(f"kind {kind!r} is unknown: use one of {', '.join(KINDS)}")
    values = _checked(confidence)
    found = batch_trace_confidence(values, [values.size], window=window, fraction=fraction, kinds=(kind,))[kind]
    return None if values.size == 0 else float(found[0])


def batch_trace_confidence(
    confidence: ArrayLike,
    lengths: Sequence[int] | NDArray,
    *,
    window: int,
    fraction: float = 0.1,
    kinds: Sequence[Kind | str] = KINDS,
) -> dict[str, Floats]:
    """`trace_confidence` of many traces at once, of several kinds.

    Args:
        confidence: [tokens] confidences of all traces, one trace after the other.
        lengths: [traces] tokens of each trace.
        window: tokens per group, and of the tail.
        fraction: share of the groups that `bottom` reads.
        kinds: the kinds to compute.

    Returns:
        By kind [traces]; NaN stands for an empty trace, which has no confidence.

    Raises:
        ValueError: as for `trace_confidence`, or the lengths do not add up to the tokens.
    """
    unknown = sorted({*kinds} - {*KINDS})
    if unknown:
        raise ValueError(f"kind {unknown[0]!r} is unknown: use one of {', '.join(KINDS)}")
    _at_least_one(window)
    if not 0.0 < fraction <= 1.0:
        raise ValueError(f"fraction must lie in (0, 1], it is {fraction}")
    values, sizes = _checked(confidence), np.asarray(lengths, dtype=np.int64).reshape(-1)
    if (sizes < 0).any() or sizes.sum() != values.size:
        raise ValueError(f"lengths add up to {sizes.sum()} tokens, but there are {values.size} confidences")
    starts = np.cumsum(sizes) - sizes
    found = {kind: np.full(sizes.size, np.nan) for kind in kinds}
    for rows in _batches(sizes):
        longest = int(sizes[rows].max())
        inside = np.arange(longest) < sizes[rows, None]
        padded = np.zeros(inside.shape)
        padded[inside] = values[np.minimum(starts[rows, None] + np.arange(longest), values.size - 1)[inside]]
        for kind, numbers in _padded_scores(padded, sizes[rows], window, fraction, kinds).items():
            found[kind][rows] = numbers
    return found


def _batches(sizes: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Rows of similar lengths, in batches of bounded size; empty traces are in none."""
    order = np.argsort(sizes, kind="stable")
    order = order[sizes[order] > 0]
    batches, start = [], 0
    while start < order.size:
        # Lengths rise, so the first of a batch says how many rows fit only roughly; the last one bounds the padding.
        stop = start + max(1, _CELLS_AT_ONCE // int(sizes[order[min(start + 1024, order.size) - 1]]))
        stop = min(stop, start + 1024, order.size)
        batches.append(order[start:stop])
        start = stop
    return batches


def _padded_scores(
    padded: Floats, sizes: NDArray[np.int64], window: int, fraction: float, kinds: Sequence[str]
) -> dict[str, Floats]:
    """Scores of [rows, longest] confidences, 0 after the end of each row; no row is empty."""
    found: dict[str, Floats] = {}
    if "mean" in kinds:
        found["mean"] = padded.sum(axis=1) / sizes
    if "tail" in kinds:
        places = np.arange(padded.shape[1])
        last = (places < sizes[:, None]) & (places >= (sizes - window)[:, None])
        found["tail"] = np.where(last, padded, 0.0).sum(axis=1) / np.minimum(sizes, window)
    if {"lowest", "bottom"} & {*kinds}:
        groups, counts = _padded_groups(padded, sizes, window)
        lowest = groups.min(axis=1)
        if "lowest" in kinds:
            found["lowest"] = lowest
        if "bottom" in kinds:
            read = np.maximum(1, np.floor(fraction * counts + _ROUNDING).astype(np.int64))
            ordered = np.sort(groups, axis=1)[:, : int(read.max())]
            taken = np.where(np.arange(ordered.shape[1]) < read[:, None], ordered, 0.0)
            # The mean of equal groups may round to below them.
            found["bottom"] = np.maximum(taken.sum(axis=1) / read, lowest)
    return found


def _padded_groups(padded: Floats, sizes: NDArray[np.int64], window: int) -> tuple[Floats, NDArray[np.int64]]:
    """Groups of every row [rows, groups], +inf after the last, and how many each row has [rows]."""
    counts = np.maximum(1, sizes - window + 1)
    groups = np.full((sizes.size, int(counts.max())), np.inf)
    short = sizes < window
    if short.any():
        # Zeros after the end of a row leave its sum as it is.
        whole = padded[short][:, : window - 1]
        groups[short, 0] = _sliding_sum(whole, whole.shape[1])[:, 0] / sizes[short]
    if not short.all():
        full = _sliding_sum(padded[~short], window) / window
        full[np.arange(full.shape[1]) >= counts[~short, None]] = np.inf
        groups[~short] = full[:, : groups.shape[1]]
    return groups, counts


def linear_quantile(values: ArrayLike, q: float) -> float:
    """The q-quantile with linear interpolation, exactly a value where it falls on one.

    The place q · (n − 1) is rounded where it is an integer but for floating-point noise (0.07 · 100 is not 7), because
    comparisons with a cut that stands on a value must not depend on that noise.

    Args:
        values: [values] numbers, at least one.
        q: between 0 and 1.

    Raises:
        ValueError: there is no value, one is missing or infinite, or q is out of range.
    """
    ordered = np.sort(_checked(values, "value"))
    if ordered.size == 0:
        raise ValueError("no values: there is no quantile")
    if not 0.0 <= q <= 1.0:
        raise ValueError(f"q must lie between 0 and 1, it is {q}")
    place = q * (ordered.size - 1)
    nearest = round(place)
    if abs(place - nearest) < _ROUNDING:
        return float(ordered[nearest])
    low, high = ordered[int(place)], ordered[int(place) + 1]
    return float(min(low + (high - low) * (place - int(place)), high))


def stop_threshold(warmup: ArrayLike, *, keep: float) -> float:
    """Percentile 100 · (1 − keep) of the warm-up traces' lowest groups, with linear interpolation.

    Args:
        warmup: [traces] `lowest` of each warm-up trace, in nats.
        keep: share of such traces that would pass: 0.1 is DeepConf-low (strict), 0.9 DeepConf-high.

    Returns:
        The threshold s in nats; a window stops its trace when its mean is strictly below.

    Raises:
        ValueError: there is no warm-up trace, one has no confidence, or keep is not between 0 and 1.

    References:
        Fu et al. (2025), section 3.2, online warm-up.
    """
    if not 0.0 < keep < 1.0:
        raise ValueError(f"keep must lie between 0 and 1, it is {keep}")
    return linear_quantile(warmup, 1.0 - keep)


def first_stop(confidence: ArrayLike, *, threshold: float, window: int) -> int | None:
    """Where a trace stops: at the first full window whose mean is strictly below the threshold.

    Args:
        confidence: [T] confidences of tokens, in nats, as far as they are known.
        threshold: s, from `stop_threshold`.
        window: tokens per group.

    Returns:
        0-based index of the window's last token, which is kept; None where no full window is below.

    Raises:
        ValueError: the threshold is not finite, the window is below 1, or a confidence is NaN or infinite.
    """
    if not np.isfinite(threshold):
        raise ValueError(f"threshold must be finite, it is {threshold}")
    values = _checked(confidence)
    if values.size < _at_least_one(window):
        return None
    below = np.flatnonzero(group_confidence(values, window) < threshold)
    return int(below[0]) + window - 1 if below.size else None


def _at_least_one(window: int) -> int:
    if window < 1:
        raise ValueError(f"window must be at least 1 token, it is {window}")
    return window


def _checked(confidence: ArrayLike, what: str = "confidence") -> Floats:
    try:
        values = np.asarray(confidence, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what}s must be numbers, one a step: {error}") from error
    if values.ndim != 1:
        raise ValueError(f"{what}s must have one dimension, they have shape {list(values.shape)}")
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        raise ValueError(f"step {bad[0]}: {what} is {values[bad[0]]}: it must be finite")
    return values
