"""Entropies: over meanings, over sequences and over tokens, in nats.

Pure functions on numbers, one per definition, and `question_entropies`, which applies them to the clusters,
labels and replay tables and gives one row a question. Sampled, complete runs with an answer are the valid ones;
greedy and truncated runs take no part.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

CONTRADICTION, ENTAILMENT = 0, 2
_ROWS_AT_ONCE = 64

ENTROPY_SCHEMA: dict[str, Any] = {
    "prompt_id": pl.String,
    "group": pl.String,
    "n_samples": pl.Int32,
    "n_truncated": pl.Int32,
    "n_no_answer": pl.Int32,
    "n_valid": pl.Int32,
    "reliable": pl.Boolean,
    "discrete": pl.Float64,
    "discrete_normalised": pl.Float64,
    "rao": pl.Float64,
    "naive": pl.Float64,
    "majority_share": pl.Float64,
    "n_clusters": pl.Int32,
    "miller_madow": pl.Float64,
    "kernel_language_entropy": pl.Float64,
    "mean_log_likelihood": pl.Float64,
}


def _counts(cluster_ids: Sequence[int | None]) -> list[int]:
    """Sizes of the clusters, in order of size, so that the order of samples changes no last digit."""
    return sorted(Counter(cluster for cluster in cluster_ids if cluster is not None).values())


def _shannon(probabilities: np.ndarray) -> float:
    """−Σ p ln p with 0 ln 0 = 0; at least +0.0."""
    positive = probabilities[probabilities > 0]
    return max(0.0, float(-(positive * np.log(positive)).sum()))


def discrete_semantic_entropy(cluster_ids: Sequence[int | None]) -> float | None:
    """Entropy over meanings, each weighted by its share of the samples: −Σ_c (n_c/K) ln(n_c/K).

    Args:
        cluster_ids: [samples] cluster of each sample; samples without one (None) take no part.

    Returns:
        Entropy in nats, between 0 and ln K; None when there is no sample.

    References:
        Farquhar et al., Nature 630:625 (2024), discrete semantic entropy.
    """
    counts = np.array(_counts(cluster_ids), dtype=np.float64)
    return _shannon(counts / counts.sum()) if counts.size else None


def discrete_normalised_entropy(cluster_ids: Sequence[int | None]) -> float | None:
    """Discrete semantic entropy divided by ln K, its largest value.

    Returns:
        A share between 0 and 1; None with fewer than two samples.
    """
    n = sum(_counts(cluster_ids))
    entropy = discrete_semantic_entropy(cluster_ids)
    return None if entropy is None or n < 2 else min(1.0, entropy / math.log(n))


def majority_share(cluster_ids: Sequence[int | None]) -> float | None:
    """Share of the samples in the largest cluster; None when there is no sample."""
    counts = _counts(cluster_ids)
    return counts[-1] / sum(counts) if counts else None


def miller_madow_correction(cluster_ids: Sequence[int | None]) -> float | None:
    """What K samples underestimate the discrete entropy by, to first order: (C − 1) / (2K), in nats.

    Kept apart from the entropy. None when there is no sample.

    References:
        Miller, Note on the bias of information estimates (1955).
    """
    counts = _counts(cluster_ids)
    return (len(counts) - 1) / (2 * sum(counts)) if counts else None


def rao_semantic_entropy(cluster_ids: Sequence[int | None], log_likelihoods: Sequence[float]) -> float | None:
    """Entropy over meanings, each weighted by the likelihood its samples carry.

    Cluster probabilities are the normalised sums of the samples' (length-normalised) likelihoods; computed by
    log-sum-exp, so log-likelihoods of -2000 are safe.

    Args:
        cluster_ids: [samples] cluster of each sample; samples without one (None) take no part.
        log_likelihoods: [samples] mean log-likelihood per token, in nats.

    Returns:
        Entropy in nats, at least 0; None when there is no sample.

    Raises:
        ValueError: the lengths differ or a log-likelihood is not finite.

    References:
        Farquhar et al., Nature 630:625 (2024), eq. 4.
    """
    if len(cluster_ids) != len(log_likelihoods):
        raise ValueError(f"{len(cluster_ids)} cluster ids but {len(log_likelihoods)} log-likelihoods")
    pairs = [(c, m) for c, m in zip(cluster_ids, log_likelihoods, strict=True) if c is not None]
    if not pairs:
        return None
    values = _finite([value for _, value in pairs])
    weights = np.exp(values - values.max())
    clusters = [cluster for cluster, _ in pairs]
    # fsum is exact, so neither the order of samples nor that of clusters changes a digit.
    masses = [math.fsum(w for w, c in zip(weights, clusters, strict=True) if c == one) for one in set(clusters)]
    masses = np.array(sorted(masses))
    return _shannon(masses / math.fsum(masses))


def naive_entropy(log_likelihoods: Sequence[float]) -> float | None:
    """Entropy over sequences, blind to meaning: minus the mean length-normalised log-likelihood.

    Args:
        log_likelihoods: [samples] mean log-likelihood per token, in nats.

    Returns:
        Entropy in nats; None when there is no sample.

    Raises:
        ValueError: a log-likelihood is not finite.
    """
    if len(log_likelihoods) == 0:
        return None
    values = _finite(log_likelihoods)
    return -math.fsum(values) / len(values) + 0.0


def _finite(log_likelihoods: Sequence[float]) -> np.ndarray:
    values = np.asarray(log_likelihoods, dtype=np.float64)
    if not np.isfinite(values).all():
        sample = int(np.flatnonzero(~np.isfinite(values))[0])
        raise ValueError(f"log-likelihood of sample {sample} is {values[sample]}: it must be finite")
    return values


def kernel_language_entropy(entails: Any, contradicts: Any, *, t: float = 0.3) -> float | None:
    """Von Neumann entropy of the heat kernel on the graph of entailments, as a share of its largest value.

    Off the diagonal W = E + Eᵀ + ½(2 − E − Eᵀ − C − Cᵀ); L = D − W, H = expm(−tL), scaled to a unit diagonal
    and divided by n. The diagonals of E and C do not matter.

    Args:
        entails: [n, n] whether (or how probably) row entails column.
        contradicts: [n, n] whether (or how probably) row contradicts column.
        t: diffusion time of the heat kernel.

    Returns:
        A share between 0 (all mean the same) and 1; None with fewer than two samples.

    Raises:
        ValueError: the matrices are not square, not of one shape, or not probabilities.

    References:
        Nikitin et al., Kernel Language Entropy (2024), eq. 3-7.
    """
    e, c = np.asarray(entails, dtype=np.float64), np.asarray(contradicts, dtype=np.float64)
    if e.size == 0 and c.size == 0:
        return None
    if e.ndim != 2 or e.shape[0] != e.shape[1] or e.shape != c.shape:
        raise ValueError(f"entails {e.shape} and contradicts {c.shape} must be square and of one shape")
    if not ((e >= 0).all() and (c >= 0).all() and (e <= 1).all() and (c <= 1).all()):
        raise ValueError("entails and contradicts must lie between 0 and 1")
    n = len(e)
    if n < 2:
        return None
    both = e + e.T
    weights = both + 0.5 * (2.0 - both - c - c.T)
    np.fill_diagonal(weights, 0.0)
    laplacian = np.diag(weights.sum(axis=1)) - weights
    values, vectors = np.linalg.eigh(laplacian)
    heat = (vectors * np.exp(-t * values)) @ vectors.T
    scale = np.sqrt(np.diag(heat))
    kernel = heat / np.outer(scale, scale) / n
    return min(1.0, _shannon(np.linalg.eigvalsh(kernel)) / math.log(n))


def token_entropy(logits: Any) -> Any:
    """Exact entropy of the next token over the full vocabulary, at temperature 1.

    Args:
        logits: [..., vocabulary] logits, as a NumPy array (computed in float64) or a torch tensor (computed in
            float32 where it lies). A logit of -inf is a token of probability 0.

    Returns:
        [...] entropies in nats, at least 0, of the same kind as the input.

    Raises:
        ValueError: NumPy logits hold NaN or +inf, or a row has no finite logit.
    """
    if hasattr(logits, "log_softmax"):
        log_p = logits.float().log_softmax(dim=-1)
        # The clamp only keeps 0 · (−inf) from being NaN: exp(−1e4) is 0.
        return -(log_p.exp() * log_p.clamp(min=-1e4)).sum(dim=-1).clamp(max=0.0) + 0.0
    values = np.asarray(logits)
    flat = values.reshape(-1, values.shape[-1])
    entropies = np.empty(len(flat), dtype=np.float64)
    for start in range(0, len(flat), _ROWS_AT_ONCE):
        entropies[start : start + _ROWS_AT_ONCE] = _row_entropies(flat[start : start + _ROWS_AT_ONCE])
    return entropies.reshape(values.shape[:-1])


def _row_entropies(rows: np.ndarray) -> np.ndarray:
    """[rows] entropies of [rows, vocabulary] logits: ln Z − Σ p x with the maximum subtracted."""
    x = rows.astype(np.float64)
    top = x.max(axis=1, keepdims=True)
    if not np.isfinite(top).all():
        raise ValueError("logits hold NaN or +inf, or a row has no finite logit")
    x -= top
    weights = np.exp(x)
    total = weights.sum(axis=1)
    x[weights == 0] = 0.0
    return np.maximum(np.log(total) - (weights * x).sum(axis=1) / total, 0.0) + 0.0


def topk_entropy_bounds(logprobs: Any, vocab_size: int) -> tuple[Any, Any]:
    """What the k largest log-probabilities say about the entropy over the whole vocabulary.

    With q the true top-k probabilities and r = 1 − Σq: at least −Σ q ln q − r ln min(p_k, r) (the rest stands
    on as few tokens as p_k allows), at most −Σ q ln q + r ln((V − k)/r) (the rest is spread evenly).

    Args:
        logprobs: [..., k] log-probabilities of the k most likely tokens, in nats, in any order; not
            renormalised.
        vocab_size: V, tokens in the vocabulary.

    Returns:
        Lower and upper bound in nats: floats for [k], arrays [...] otherwise.

    Raises:
        ValueError: no log-probability, more than V, NaN, or probabilities that add up to more than 1.
    """
    log_q = np.asarray(logprobs, dtype=np.float64)
    k = log_q.shape[-1] if log_q.ndim else 0
    if k == 0 or k > vocab_size:
        raise ValueError(f"{k} log-probabilities for a vocabulary of {vocab_size}: give 1 to {vocab_size}")
    q = np.exp(log_q)
    if np.isnan(q).any() or (q.sum(axis=-1) > 1 + 1e-3).any():
        raise ValueError("log-probabilities hold NaN or their probabilities add up to more than 1")
    known = -(q * np.where(q > 0, log_q, 0.0)).sum(axis=-1)
    smallest = q.min(axis=-1)
    rest = np.maximum(1.0 - q.sum(axis=-1), 0.0)
    if k == vocab_size:
        rest = np.zeros_like(rest)
    # No token outside can be likelier than p_k: where that is 0, the rest is rounding.
    rest = np.where(smallest > 0, rest, 0.0)
    safe = np.where(rest > 0, rest, 1.0)
    lower = known - rest * np.log(np.where(rest > 0, np.minimum(smallest, safe), 1.0))
    upper = known + rest * np.log(max(vocab_size - k, 1) / safe)
    lower, upper = np.maximum(lower, 0.0) + 0.0, np.maximum(upper, 0.0) + 0.0
    return (float(lower), float(upper)) if log_q.ndim == 1 else (lower, upper)


def question_entropies(
    clusters: pl.DataFrame,
    labels: pl.DataFrame,
    replay: pl.DataFrame | None,
    relations: Mapping[str, np.ndarray] | None = None,
    *,
    min_valid: int = 4,
) -> pl.DataFrame:
    """All entropies of every question of a collection.

    Valid are the sampled (not greedy) runs that are complete and have a cluster. A question without any has no
    entropy and n_valid = 0; one with fewer than `min_valid` keeps its values but is not `reliable`.

    Args:
        clusters: prompt_id, sample, cluster.
        labels: prompt_id, group, sample, greedy, truncated.
        replay: prompt_id, sample, mean_log_likelihood (answer span, nats per token); None where the samples
            were not replayed: `rao`, `naive` and `mean_log_likelihood` are then null. They are also null for
            a question with a valid run whose answer span is empty.
        relations: by prompt_id [n_valid, n_valid] labels of entailment (0 contradiction, 1 neutral,
            2 entailment; row entails column) in the order of `sample`; without them no kernel entropy.
        min_valid: valid runs that a reliable entropy needs.

    Returns:
        One row a question, by prompt_id: counts of runs, `reliable`, the entropies (nats), majority share,
        number of clusters and the Miller-Madow correction (not added).

    Raises:
        ValueError: a valid run is not in the replay table, or a relation has not one row a valid run.
    """
    runs = labels.filter(~pl.col("greedy")).join(
        clusters.select("prompt_id", "sample", "cluster"), on=["prompt_id", "sample"], how="left"
    )
    runs = runs.with_columns(valid=~pl.col("truncated") & pl.col("cluster").is_not_null())
    runs = _with_likelihoods(runs, replay).sort("prompt_id", "sample")
    groups = labels.select("prompt_id", "group").unique("prompt_id", keep="first").sort("prompt_id")
    by_question = {key[0]: frame for key, frame in runs.partition_by("prompt_id", as_dict=True).items()}
    rows = [
        _question_row(prompt_id, group, by_question.get(prompt_id, runs.clear()), relations or {}, min_valid)
        for prompt_id, group in groups.iter_rows()
    ]
    return pl.DataFrame(rows, schema=ENTROPY_SCHEMA)


def _with_likelihoods(runs: pl.DataFrame, replay: pl.DataFrame | None) -> pl.DataFrame:
    """The runs with their mean log-likelihood per answer token."""
    if replay is None:
        return runs.with_columns(mean_log_likelihood=pl.lit(None, dtype=pl.Float64))
    keys = ["prompt_id", "sample"]
    missing = runs.filter("valid").join(replay, on=keys, how="anti")
    if len(missing):
        prompt_id, sample = missing.select(keys).row(0)
        raise ValueError(
            f"{len(missing)} valid runs are not in the replay table (first: {prompt_id}, sample {sample}): "
            "replay the samples again"
        )
    return runs.join(replay.select(*keys, "mean_log_likelihood"), on=keys, how="left")


def _question_row(
    prompt_id: str, group: str, runs: pl.DataFrame, relations: Mapping[str, np.ndarray], min_valid: int
) -> dict[str, Any]:
    """One row of the entropy table."""
    valid = runs.filter("valid")
    ids, likelihoods = valid["cluster"].to_list(), valid["mean_log_likelihood"].to_list()
    known = len(ids) > 0 and None not in likelihoods
    naive = naive_entropy(likelihoods) if known else None
    n_truncated = int(runs["truncated"].sum())
    return {
        "prompt_id": prompt_id,
        "group": group,
        "n_samples": len(runs),
        "n_truncated": n_truncated,
        "n_no_answer": len(runs) - n_truncated - len(valid),
        "n_valid": len(valid),
        "reliable": len(valid) >= min_valid,
        "discrete": discrete_semantic_entropy(ids),
        "discrete_normalised": discrete_normalised_entropy(ids),
        "rao": rao_semantic_entropy(ids, likelihoods) if known else None,
        "naive": naive,
        "majority_share": majority_share(ids),
        "n_clusters": len(set(ids)),
        "miller_madow": miller_madow_correction(ids),
        "kernel_language_entropy": _kernel_entropy(prompt_id, relations.get(prompt_id), len(valid)),
        "mean_log_likelihood": None if naive is None else -naive + 0.0,
    }


def _kernel_entropy(prompt_id: str, relation: np.ndarray | None, n_valid: int) -> float | None:
    if relation is None:
        return None
    matrix = np.asarray(relation)
    if n_valid == 0 and matrix.size == 0:
        return None
    if matrix.shape != (n_valid, n_valid):
        raise ValueError(
            f"{prompt_id}: relation of shape {matrix.shape} for {n_valid} valid runs: cluster the runs again"
        )
    return kernel_language_entropy(matrix == ENTAILMENT, matrix == CONTRADICTION)
