"""The online arm: what real early stopping decided and spent, as rows beside the replayed arms; and its replay.

Online traces carry the seeds of the pool's, so an uncut one is the pool's trace of the same `sample` and has its
labels. Where it is not, token for token (batched arithmetic may tip a draw), it has no final label and is counted.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from tells.config.safety import StoppingConfig
from tells.safety.adaptive import CUT, ENDED, AdaptivePrompt, single_precision
from tells.safety.confidence import batch_trace_confidence
from tells.safety.outcomes import ARMS_SCHEMA, Outcomes, arm_row, decide, mean_confidence
from tells.safety.pools import NONE, Floats, build_pools, harm_codes, vote_codes

ONLINE = "online"
REPLAY_SCHEMA: dict[str, Any] = {
    "prompt_id": pl.String,
    "sample": pl.Int32,
    "warmup": pl.Boolean,
    "threshold": pl.Float64,
    "stop": pl.Int32,
    "cut": pl.Boolean,
    "vote": pl.String,
    "settled": pl.Boolean,
}


def online_arm(
    online: pl.DataFrame,
    samples: pl.DataFrame,
    confidence: pl.DataFrame,
    reply_labels: pl.DataFrame,
    *,
    window: int,
    budget: int,
) -> pl.DataFrame:
    """Rows of the `arms` table for what was sampled online, one draw a prompt.

    Args:
        online: the online table.
        samples: the samples table of the full-budget pool: which token ids its replies have.
        confidence: the confidence table of the pool.
        reply_labels: the reply_labels table of the pool.
        window: tokens per group.
        budget: traces per prompt.

    Returns:
        One row for each prompt of `online`: `full_tokens` and the decision to agree with are the pool's, tokens and
        confidence those that were really generated, `unmatched` the voting traces that the pool does not hold.

    Raises:
        ValueError: a prompt has no pool or more traces than the budget, or as for `build_pools`.
    """
    pools = {pool.prompt_id: pool for pool in build_pools(confidence, reply_labels, window=window, budget=budget)}
    keys = ["prompt_id", "sample"]
    known = samples.select(*keys, pool_ids="token_ids")
    final = reply_labels.select(*keys, "refusal", "harm")
    traces = online.join(known, on=keys, how="left").join(final, on=keys, how="left").sort(keys)
    traces = traces.with_columns(
        voting=pl.col("finish_reason") != CUT, matched=(pl.col("token_ids") == pl.col("pool_ids")).fill_null(False)
    )
    rows = []
    for (prompt_id,), part in traces.group_by("prompt_id", maintain_order=True):
        if prompt_id not in pools:
            raise ValueError(f"prompt {prompt_id} was sampled online, but has no full-budget pool to compare with")
        if len(part) > budget:
            raise ValueError(f"prompt {prompt_id} has {len(part)} online traces, above the budget of {budget}")
        unmatched = part.filter(pl.col("voting") & ~pl.col("matched")).height
        rows.append(arm_row(ONLINE, pools[str(prompt_id)], _online_outcomes(part, window), unmatched=unmatched))
    return pl.DataFrame(rows, schema=ARMS_SCHEMA)


def _online_outcomes(part: pl.DataFrame, window: int) -> Outcomes:
    """One prompt's online traces as one draw."""
    voting, matched = part["voting"].to_numpy()[None, :], part["matched"].to_numpy()
    votes = np.where(matched, vote_codes(part["refusal"]), NONE)
    harm = np.where(matched, harm_codes(part["harm"]), NONE)
    refused, harmful = decide(votes[None, :], harm[None, :], voting)
    lengths = part["token_ids"].list.len().cast(pl.Int64).to_numpy()
    return Outcomes(
        weight=np.ones(1),
        traces=np.array([float(len(part))]),
        tokens=np.array([float(lengths.sum())]),
        refused=refused,
        harmful=harmful,
        confidence=mean_confidence(_mean_confidences(part, window)[None, :], voting),
    )


def _mean_confidences(part: pl.DataFrame, window: int) -> Floats:
    parts = [np.asarray(values, dtype=np.float64) for values in part["confidence"].to_list()]
    lengths = [values.size for values in parts]
    return batch_trace_confidence(np.concatenate(parts), lengths, window=window, kinds=("mean",))["mean"]


def replay_online(online: pl.DataFrame, stopping: StoppingConfig, *, window: int, budget: int) -> pl.DataFrame:
    """What `AdaptivePrompt` decides on the confidences and stop labels that online sampling stored.

    Args:
        online: the online table.
        stopping: warm-up, cut and rule.
        window: tokens per group.
        budget: traces per prompt.

    Returns:
        One row a trace: `threshold` it was generated under, `stop` (0-based index of the token that cuts it; null where
        none does), `cut`, `vote`, and `settled` after it. Where online sampling and this machine agree, `threshold`
        and `settled` are the online table's, and a trace is cut exactly where its `finish_reason` is `confidence`, at
        its last token.

    Raises:
        ValueError: a prompt has traces beyond those after which it is done.
    """
    rows = []
    for (prompt_id,), part in online.sort("prompt_id", "sample").group_by("prompt_id", maintain_order=True):
        prompt = AdaptivePrompt(stopping, window, budget)
        columns = part.select("sample", "confidence", "stop_label", "finish_reason")
        for sample, values, label, reason in columns.iter_rows():
            confidence = single_precision(values)
            if prompt.done:
                raise ValueError(f"prompt {prompt_id} is done before sample {sample}: it was sampled too often")
            warming, threshold = prompt.warming, prompt.threshold
            stop = prompt.stop_of(confidence, ended=reason == ENDED)
            prompt.add(label, confidence, stop is not None)
            vote = prompt.votes[-1]
            rows.append((prompt_id, sample, warming, threshold, stop, stop is not None, vote, prompt.settled))
    return pl.DataFrame(rows, schema=REPLAY_SCHEMA, orient="row")
