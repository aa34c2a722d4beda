"""What came of asking questions under steering: one row a question and arm, from labels, meanings and confidences."""

from __future__ import annotations

import polars as pl

from tells.tables import SCHEMAS

_KEYS = ["prompt_id", "sample"]
FEWEST_MEANINGS = 2
"""Answers with a meaning that an entropy needs."""


def outcomes_of(
    prompts: pl.DataFrame, samples: pl.DataFrame, labels: pl.DataFrame, entropy: pl.DataFrame
) -> pl.DataFrame:
    """Measure every question in every arm.

    Args:
        prompts: a row a question and arm: prompt_id, question_id, arm, draw, split, group.
        samples: prompt_id, sample, token_ids, confidence.
        labels: prompt_id, sample, truncated, correct.
        entropy: prompt_id, n_valid, discrete.

    Returns:
        The outcomes table: `accuracy`, right answers over all answers, so that one that was cut or is none counts as
        not right (null where the question cannot be graded); `valid_share`, of the answers that are whole and say
        something; `semantic_entropy` (nats; null under two valid answers); `confidence`, DeepConf's mean over all
        tokens of an answer, averaged (nats); `tokens` per answer.
    """
    runs = samples.select(
        *_KEYS,
        tokens=pl.col("token_ids").list.len().cast(pl.Float64),
        confidence=pl.col("confidence").list.eval(pl.element().cast(pl.Float64)).list.mean(),
    ).join(labels.select(*_KEYS, "truncated", "correct"), on=_KEYS, how="left")
    asked = prompts.select("prompt_id", "question_id", "arm", "draw", "split", "group")
    runs = runs.join(asked, on="prompt_id", how="left")
    # A whole answer always has a verdict where its question can be graded.
    ungraded = runs.filter(~pl.col("truncated") & pl.col("correct").is_null())["question_id"].unique()
    found = runs.group_by("prompt_id", maintain_order=True).agg(
        n_runs=pl.len().cast(pl.Int32),
        accuracy=pl.col("correct").fill_null(False).mean(),
        confidence=pl.col("confidence").mean(),
        tokens=pl.col("tokens").mean(),
    )
    meanings = entropy.select("prompt_id", "n_valid", "discrete")
    table = asked.join(found, on="prompt_id", how="inner", maintain_order="left")
    table = table.join(meanings, on="prompt_id", how="left", maintain_order="left")
    graded = ~pl.col("question_id").is_in(ungraded.implode())
    columns = table.with_columns(
        accuracy=pl.when(graded).then("accuracy"),
        valid_share=pl.col("n_valid") / pl.col("n_runs"),
        semantic_entropy=pl.when(pl.col("n_valid") >= FEWEST_MEANINGS).then("discrete"),
    )
    columns = columns.drop("prompt_id").rename({"question_id": "prompt_id"})
    return columns.select(pl.col(name).cast(kind) for name, kind in SCHEMAS["outcomes"].columns.items())
