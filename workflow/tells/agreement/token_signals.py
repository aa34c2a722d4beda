"""Signals of a run's tokens: exact entropies, likelihoods and confidences over the span that its study reads.

Replay has one number a token; which tokens count is decided once for a collection: the thought, where most runs of an
uncertainty data set have one, and the answer everywhere else. So the entropies are those of the uncertainty study, and
the confidences those of the safety study, to the digit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tells.agreement.signals import ANSWER, THOUGHT
from tells.safety.confidence import KINDS, batch_trace_confidence
from tells.tables import read_table

_LAST = 10
_KEYS = ["prompt_id", "sample"]
_PLACES = ["shard", "tensor_row"]
_SPANS = ["think_start", "think_stop", "answer_start", "answer_stop"]
_LIKELIHOODS = {"answer_log_likelihood": "log_likelihood", "mean_log_likelihood": "mean_log_likelihood"}
ENTROPIES = ("token_entropy_mean", "token_entropy_max", "token_entropy_last10")
CONFIDENCES = tuple(f"confidence_{kind}" for kind in KINDS)
_SCHEMA: dict[str, Any] = {
    **dict.fromkeys((*ENTROPIES, *_LIKELIHOODS.values(), *CONFIDENCES), pl.Float64),
    "length": pl.Float64,
}


def span_of(study: str, shards: Sequence[Path]) -> str:
    """The span whose entropies and confidences count in a collection: `think` or `answer`.

    Args:
        study: of the collection.
        shards: its replay tables.
    """
    if study != "uncertainty" or not shards:
        return ANSWER
    thoughts = pl.concat([read_table(path, "replay", ["think_start"]) for path in shards])["think_start"]
    return THOUGHT if 2 * (len(thoughts) - thoughts.null_count()) > len(thoughts) else ANSWER


def token_signals(shards: Iterable[Path], *, span: str, window: int, fraction: float) -> pl.DataFrame:
    """Signals of every run of a collection.

    Args:
        shards: its replay tables.
        span: `think` or `answer`.
        window: tokens per group of the confidences, and of `tail`.
        fraction: share of the groups that `bottom` reads.

    Returns:
        prompt_id, sample, shard, tensor_row, and the signals, null where a run has no such span.
    """
    parts = [_of_shard(path, span, window, fraction) for path in shards]
    return pl.concat(parts)


def _of_shard(path: Path, span: str, window: int, fraction: float) -> pl.DataFrame:
    columns = [*_KEYS, *_PLACES, *_SPANS, *_LIKELIHOODS, "entropy", "confidence"]
    table = read_table(path, "replay", columns)
    rows = [
        _entropies(row["entropy"], row[f"{span}_start"], row[f"{span}_stop"]) for row in table.iter_rows(named=True)
    ]
    confidences = _confidences(table, span, window, fraction)
    found = pl.DataFrame(rows, schema=dict.fromkeys(ENTROPIES, pl.Float64), orient="row")
    return table.select(
        *_KEYS,
        *_PLACES,
        *[found[name] for name in ENTROPIES],
        *[pl.col(old).alias(new) for old, new in _LIKELIHOODS.items()],
        *confidences,
        pl.col("entropy").list.len().cast(pl.Float64).alias("length"),
    )


def _entropies(values: Sequence[float], start: int | None, stop: int | None) -> tuple[float | None, ...]:
    """Mean, largest, and mean of the last ten token entropies of a span, as replay computes them for the thought."""
    if start is None or stop is None or stop <= start:
        return (None, None, None)
    own = np.asarray(values[start:stop], dtype=np.float32).astype(np.float64)
    return float(own.mean()), float(own.max()), float(own[-_LAST:].mean())


def _confidences(table: pl.DataFrame, span: str, window: int, fraction: float) -> list[pl.Series]:
    tokens, lengths = [np.zeros(0)], []
    for values, start, stop in table.select("confidence", f"{span}_start", f"{span}_stop").iter_rows():
        own = np.asarray(values[start:stop] if start is not None else [], dtype=np.float64)
        tokens.append(own)
        lengths.append(own.size)
    found = batch_trace_confidence(np.concatenate(tokens), lengths, window=window, fraction=fraction)
    return [pl.Series(f"confidence_{kind}", found[kind], nan_to_null=True) for kind in KINDS]


def share_within(table: pl.DataFrame) -> float | None:
    """Share of the runs whose four confidences are one number: their span is no longer than the window.

    Args:
        table: of `token_signals`.
    """
    known = table.drop_nulls(list(CONFIDENCES))
    if known.is_empty():
        return None
    lowest, mean = known["confidence_lowest"], known["confidence_mean"]
    tail = known["confidence_tail"]
    return float(((lowest - mean).abs().lt(1e-9) & (tail - mean).abs().lt(1e-9)).mean())
