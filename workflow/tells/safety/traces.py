"""From samples to confidence: the confidence of every generated token, and the numbers of each trace's answer.

Scores read the answer span, where the reply is; a think span is scored apart; EOS and the stop string are in neither.
Early stopping reads all generated tokens, which the column `confidence` keeps. All scores are computed from that column
as it is stored, in float32, so that they can be computed again from the table.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tells.models.spans import Spans, decode_tokens, find_spans
from tells.safety.confidence import KINDS, batch_trace_confidence, token_confidence
from tells.tables import SCHEMAS

_ROWS_AT_ONCE = 2000
_Span = tuple[int, int] | None


def confidence_table(
    samples: pl.DataFrame,
    tokenizer: Any,
    *,
    opened: bool,
    think_end: str,
    window: int,
    fraction: float,
    k: int | None = None,
) -> pl.DataFrame:
    """Score every trace of a samples table.

    Args:
        samples: the samples table, with the log-probabilities of the k most likely tokens of every step.
        tokenizer: the fast tokenizer that made the ids.
        opened: the prompts end inside a think tag.
        think_end: the tag that closes a think span.
        window: tokens per group.
        fraction: share of the groups that `bottom` reads.
        k: log-probabilities that every step must have; None for as many as the first step has.

    Returns:
        The confidence table, in the order of the samples. A trace without an answer (blank, or cut while thinking) is
        `empty` and its answer's numbers are null; `answer` is then the empty string. `truncated` says that the trace
        reached the token limit.

    Raises:
        ValueError: a step has other than k log-probabilities or one that is not finite, a list has not one entry a
            token, or the tokenizer is not that of the samples; the message names trace and step.
    """
    if k is None:
        k = _first_k(samples)
    parts = [
        _score(part, tokenizer, opened=opened, think_end=think_end, window=window, fraction=fraction, k=k)
        for part in samples.iter_slices(_ROWS_AT_ONCE)
    ]
    return pl.concat(parts) if parts else pl.DataFrame(schema=SCHEMAS["confidence"].columns)


def _first_k(samples: pl.DataFrame) -> int | None:
    steps = samples.select(pl.col("topk_logprobs").list.first().list.len().drop_nulls().head(1)).to_series()
    return int(steps[0]) if len(steps) else None


def _score(
    samples: pl.DataFrame,
    tokenizer: Any,
    *,
    opened: bool,
    think_end: str,
    window: int,
    fraction: float,
    k: int | None,
) -> pl.DataFrame:
    names = [f"prompt {row[0]}, sample {row[1]}" for row in samples.select("prompt_id", "sample").iter_rows()]
    lengths = samples["token_ids"].list.len().to_numpy().astype(np.int64)
    starts = np.cumsum(lengths) - lengths
    confidence = _token_confidences(samples, names, lengths, k)
    rows = samples.select("token_ids", "text", "token_logprobs").iter_rows(named=True)
    found = [
        _read(row, name, tokenizer, opened=opened, think_end=think_end) for row, name in zip(rows, names, strict=True)
    ]
    answers = _span_scores(confidence, starts, [row["answer_span"] for row in found], window, fraction)
    thoughts = _span_scores(confidence, starts, [row.pop("think_span") for row in found], window, fraction)
    spans = [row.pop("answer_span") or (None, None) for row in found]
    table = samples.select("prompt_id", "group", "sample").hstack(
        pl.DataFrame(found, schema={name: SCHEMAS["confidence"].columns[name] for name in found[0]})
    )
    table = table.with_columns(
        pl.Series("n_tokens", lengths),
        pl.Series("truncated", samples["finish_reason"] == "length"),
        pl.Series("answer_start", [span[0] for span in spans], pl.Int32),
        pl.Series("answer_stop", [span[1] for span in spans], pl.Int32),
        *[pl.Series(kind, values, nan_to_null=True) for kind, values in answers.items()],
        *[pl.Series(f"think_{kind}", thoughts[kind], nan_to_null=True) for kind in ("mean", "lowest")],
        pl.Series("confidence", np.split(confidence, starts[1:]), pl.List(pl.Float32)),
    )
    return table.select(pl.col(name).cast(dtype) for name, dtype in SCHEMAS["confidence"].columns.items())


def _token_confidences(
    samples: pl.DataFrame, names: list[str], lengths: NDArray[np.int64], k: int | None
) -> NDArray[np.float32]:
    """Confidence of every token of every trace, one trace after the other [tokens]."""
    topk = samples["topk_logprobs"]
    if topk.is_null().any():
        raise ValueError(
            f"{names[int(topk.is_null().arg_max())]} has no top-k log-probabilities: sample again with top_logprobs"
        )
    counts = topk.list.len().to_numpy()
    if (counts != lengths).any():
        trace = int(np.flatnonzero(counts != lengths)[0])
        raise ValueError(f"{names[trace]} has {lengths[trace]} tokens but {counts[trace]} steps of log-probabilities")
    if not lengths.sum() or k is None:
        return np.zeros(0, dtype=np.float32)
    steps = topk.filter(pl.Series(lengths > 0)).explode()
    ends = np.cumsum(lengths)

    def place(step: int) -> str:
        trace = int(np.searchsorted(ends, step, side="right"))
        return f"{names[trace]}, step {step - (ends[trace] - lengths[trace])}"

    widths = steps.list.len().fill_null(0).to_numpy()
    if (widths != k).any():
        step = int(np.flatnonzero(widths != k)[0])
        raise ValueError(f"{place(step)} has {widths[step]} log-probabilities, not k = {k}: k is exact")
    flat = steps.explode().to_numpy().reshape(-1, k)
    bad = ~np.isfinite(flat.sum(axis=1))
    if bad.any():
        raise ValueError(f"{place(int(np.flatnonzero(bad)[0]))} has a log-probability that is not finite")
    return token_confidence(flat, k=k).astype(np.float32)


def _read(row: Mapping[str, Any], name: str, tokenizer: Any, *, opened: bool, think_end: str) -> dict[str, Any]:
    """Texts and spans of one trace, and what its chosen tokens say."""
    text, ends = decode_tokens(tokenizer, row["token_ids"])
    kept = row["text"]
    if len(kept) > len(text):
        raise ValueError(
            f"{name}: its ids decode to {len(text)} characters but its text has {len(kept)}: "
            "use the tokenizer of the model that made the samples"
        )
    spans = find_spans(text, ends, text_length=len(kept), think_end=think_end, opened=opened)
    thought, answer = split_text(kept, spans, think_end)
    span = spans.answer if answer else None
    logprobs = np.asarray(row["token_logprobs"], dtype=np.float64)
    if len(logprobs) != len(ends):
        raise ValueError(f"{name} has {len(ends)} tokens but {len(logprobs)} log-probabilities of chosen tokens")
    chosen = logprobs[slice(*span)] if span else np.zeros(0)
    if not np.isfinite(chosen).all():
        step = span[0] + int(np.flatnonzero(~np.isfinite(chosen))[0])
        raise ValueError(f"{name}, step {step}: the chosen token's log-probability is {logprobs[step]}")
    return {
        "think": thought,
        "answer": answer,
        "empty": not answer,
        "first_token_probability": float(np.exp(chosen[0])) if chosen.size else None,
        "token_logprob": float(chosen.mean()) if chosen.size else None,
        "answer_span": span,
        "think_span": spans.think,
        "token_ends": ends,
    }


def split_text(text: str, spans: Spans, think_end: str) -> tuple[str | None, str]:
    """Text of the think span (None without one) and of the answer ("" without one)."""
    before, tag, after = text.partition(think_end)
    thinks = spans.think is not None or spans.tag_last is not None
    answer = after if tag else ("" if thinks else text)
    if not thinks:
        return None, answer.strip()
    opening = think_end.replace("/", "", 1)
    return before.strip().removeprefix(opening).strip(), answer.strip()


def _span_scores(
    confidence: NDArray[np.float32],
    starts: NDArray[np.int64],
    spans: list[_Span],
    window: int,
    fraction: float,
) -> dict[str, NDArray[np.float64]]:
    """Scores of one span of every trace, by kind [traces]; NaN where a trace does not have the span."""
    edges = np.array([span or (0, 0) for span in spans], dtype=np.int64).reshape(-1, 2)
    lengths = edges[:, 1] - edges[:, 0]
    within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    places = np.repeat(starts + edges[:, 0], lengths) + within
    return batch_trace_confidence(confidence[places], lengths, window=window, fraction=fraction, kinds=KINDS)
