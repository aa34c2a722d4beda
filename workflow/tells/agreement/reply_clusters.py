"""Free replies to one prompt, grouped by meaning with the clustering of the uncertainty study.

Safety replies and trait responses have no short answer: what is compared is all that follows the thought.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from tells.judge.embedding import SentenceEmbedder
from tells.tables import SCHEMAS
from tells.uncertainty.clustering import cluster_runs
from tells.uncertainty.entropy import discrete_semantic_entropy, majority_share

LEAST_REPLIES = 2
"""Replies with a meaning below which a prompt has no entropy."""


class Encoder:
    """A sentence embedding in the form that clustering asks for, without the start of sentence-transformers."""

    def __init__(self, folder: str) -> None:
        """Take the embedding that lies in a folder; it is loaded with the first text."""
        self._embed = SentenceEmbedder(folder)

    def encode(self, texts: Sequence[str], **_: Any) -> np.ndarray:
        """Embeddings [texts, width]."""
        return self._embed(texts)


def cluster_replies(
    samples: pl.DataFrame, prompts: pl.DataFrame, *, opened: bool, think_end: str, method: str, **settings: Any
) -> tuple[pl.DataFrame, dict[str, Any]]:
    """Group the replies of every prompt.

    A blank reply, or one cut while thinking, is in no cluster; one that is cut at the token limit is grouped as it
    stands.

    Args:
        samples: the samples table.
        prompts: the prompts table of the same collection.
        opened: the prompts end inside a think tag.
        think_end: the tag that closes the thought.
        method: `cosine` or `nli`.
        **settings: of the method, and its model, as `cluster_runs` takes them.

    Returns:
        The clusters table, and what happened: settings and counts.
    """
    labels = samples.select("prompt_id", "group", "sample", "greedy", truncated=pl.lit(False), answer=pl.lit(""))
    asked = "prompt" if "prompt" in prompts.columns else "text"
    clusters, _, facts = cluster_runs(
        labels,
        prompts.select("prompt_id", question=pl.col(asked)),
        samples,
        method=method,
        source="response",
        opened=opened,
        think_end=think_end,
        **settings,
    )
    return clusters.cast({name: SCHEMAS["clusters"].columns[name] for name in ("sample", "cluster")}), facts


def meaning_signals(clusters: pl.DataFrame) -> pl.DataFrame:
    """Semantic entropy and majority share of every prompt.

    Args:
        clusters: a clusters table.

    Returns:
        prompt_id, semantic_entropy (nats) and majority_share; null under two replies with a meaning.
    """
    rows = []
    for (prompt_id,), part in clusters.partition_by("prompt_id", as_dict=True, maintain_order=True).items():
        ids = part["cluster"].to_list()
        enough = len(ids) - ids.count(None) >= LEAST_REPLIES
        rows.append((prompt_id, *((discrete_semantic_entropy(ids), majority_share(ids)) if enough else (None, None))))
    schema = {"prompt_id": pl.String, "semantic_entropy": pl.Float64, "majority_share": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row")
