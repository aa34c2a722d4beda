"""Clustering: which of the answers to one question mean the same.

Second step of the uncertainty study on labelled runs; the entropies are taken over its clusters. Mathematical
answers are grouped by equivalence, free text by normalised match, entailment (a model's or a judge's) or cosine
distance. None of these relations need be transitive; each function returns a partition all the same, with ids
numbered in order of first appearance, and inconsistent triples are counted.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from itertools import combinations
from typing import Any, Literal

import numpy as np
import polars as pl

from tells.judge import EntailmentJudge
from tells.uncertainty.answers import THINK_END, equivalent, math_body, normalise_text, split_thinking
from tells.uncertainty.entailment import (
    EntailmentClassifier,
    judge_relations,
    matches,
    sentence_embeddings,
)

Method = Literal["math", "text", "nli", "cosine", "judge"]
Policy = Literal["first", "components", "reference"]
METHODS = ("math", "text", "nli", "cosine", "judge")
POLICIES = ("first", "components", "reference")
CLUSTER_SCHEMA: dict[str, Any] = {
    "prompt_id": pl.String,
    "sample": pl.Int32,
    "cluster": pl.Int32,
    "method": pl.String,
}

_NUMBER = re.compile(r"[+-]?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+)?")
_GAP = re.compile(r"\\[,;: ]|\s+")
_IDLE_GAP = re.compile(r"(?<![A-Za-z0-9]) | (?![A-Za-z0-9])")
_IDLE_COMMAND = re.compile(r"\\!|\\(?:left|right|displaystyle)(?![A-Za-z])")


def canonical_key(answer: str) -> str:
    """One spelling for mathematical answers that differ in nothing but writing: spacing, dollars, 5.0 for 5.

    Answers with one key are taken for the same without asking Math-Verify. Blank answers have the key "".
    """
    body = math_body(answer)
    words = re.fullmatch(r"\\text\s*\{([^{}]*)\}", body)
    body = words.group(1).strip() if words else body
    if re.search(r"\d", body) and _NUMBER.fullmatch(body) and len(body) < 100:
        number = f"{Decimal(body.replace(',', '')):f}".lstrip("+")
        return number.rstrip("0").rstrip(".") if "." in number else number
    body = " ".join(_GAP.sub(" ", _IDLE_COMMAND.sub("", body)).split())
    # A space between letters or digits may part a command from a variable, or two numbers.
    return _IDLE_GAP.sub("", body).replace(r"\dfrac", r"\frac").replace(r"\tfrac", r"\frac")


def cluster_answers(answers: Sequence[str | None]) -> list[int | None]:
    """Group mathematical answers by equivalence.

    Answers are reduced to canonical keys; only unlike keys are compared. Equivalence is not transitive, so the
    keys are taken from the most frequent to the rarest (ties by spelling), and each joins the first cluster
    whose first key it equals. The partition does not depend on the order of the answers. Main thread only.

    Args:
        answers: [samples] answers; None and blank ones stand in no cluster.

    Returns:
        [samples] cluster ids in order of first appearance; None where there is no answer.

    Raises:
        RuntimeError: called outside the main thread.
    """
    keys = [canonical_key(answer) if answer is not None else "" for answer in answers]
    counts = Counter(key for key in keys if key)
    heads: list[str] = []
    head_of: dict[str, str] = {}
    for key in sorted(counts, key=lambda key: (-counts[key], key)):
        head_of[key] = next((head for head in heads if equivalent(head, key)), key)
        if head_of[key] == key:
            heads.append(key)
    return number_by_appearance([head_of[key] if key else None for key in keys])


def answer_relation(answers: Sequence[str | None]) -> np.ndarray:
    """Symmetric [keys, keys] equivalence between the unlike mathematical answers, in sorted order of keys."""
    keys = sorted({canonical_key(answer) for answer in answers if answer is not None} - {""})
    relation = np.eye(len(keys), dtype=bool)
    for i, j in combinations(range(len(keys)), 2):
        relation[i, j] = relation[j, i] = equivalent(keys[i], keys[j])
    return relation


def count_inconsistent_triples(relation: np.ndarray) -> int:
    """Triples of which exactly two pairs match: where a relation of equivalence is not transitive.

    Args:
        relation: [n, n] symmetric, True where two answers match; the diagonal does not matter.
    """
    edges = np.array(relation, dtype=np.int64)
    np.fill_diagonal(edges, 0)
    degrees = edges.sum(axis=0)
    two_steps = int((degrees * (degrees - 1) // 2).sum())
    triangles = int(np.trace(edges @ edges @ edges)) // 6
    return two_steps - 3 * triangles


def number_by_appearance(names: Sequence[Any]) -> list[Any]:
    """Ids 0, 1, … in order of first appearance; None stays None."""
    ids: dict[Any, int] = {}
    return [None if name is None else ids.setdefault(name, len(ids)) for name in names]


def cluster_by_entailment(relation: Any, *, strict: bool = True, policy: Policy = "first") -> list[int]:
    """Group answers by entailment in both directions.

    Args:
        relation: [n, n] labels, 0 contradiction, 1 neutral, 2 entailment; row entails column.
        strict: both directions must entail (see `matches`).
        policy: "first": an answer joins the first cluster whose first member it matches; "components":
            everything that a chain of matches connects; "reference": the published loop, in which a later
            representative may take members from an earlier one.

    Returns:
        [n] cluster ids in order of first appearance.

    Raises:
        ValueError: bad relation or unknown policy.

    References:
        Farquhar et al., Nature 630:625 (2024), algorithm 1; "reference" is its published code.
    """
    if policy not in POLICIES:
        raise ValueError(f"unknown policy {policy!r}: choose one of {', '.join(POLICIES)}")
    same = matches(relation, strict=strict)
    if policy == "components":
        return _components(same)
    ids = [-1] * len(same)
    for i in range(len(same)):
        if ids[i] != -1:
            continue
        ids[i] = i
        for j in range(i + 1, len(same)):
            if same[i, j] and (policy == "reference" or ids[j] == -1):
                ids[j] = i
    return number_by_appearance(ids)


def _components(same: np.ndarray) -> list[int]:
    """Connected components, numbered by first appearance."""
    from scipy.sparse.csgraph import connected_components

    return number_by_appearance(connected_components(same, directed=False)[1].tolist()) if len(same) else []


def cluster_by_cosine(embeddings: Any, *, threshold: float) -> list[int]:
    """Group answers by average-linkage agglomeration on 1 − cosine.

    Args:
        embeddings: [n, width] sentence embeddings of any length but zero.
        threshold: clusters are joined while their mean distance 1 − cosine is at most this.

    Returns:
        [n] cluster ids in order of first appearance.

    Raises:
        ValueError: an embedding is zero or not finite, or the threshold is negative.
    """
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    vectors = np.asarray(embeddings, dtype=np.float64)
    if not threshold >= 0:
        raise ValueError(f"threshold {threshold} must be at least 0")
    if len(vectors) == 0:
        return []
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not (np.isfinite(lengths).all() and (lengths > 0).all()):
        raise ValueError("an embedding is zero or not finite: leave empty answers out")
    if len(vectors) == 1:
        return [0]
    unit = vectors / lengths
    distances = np.clip(1.0 - unit @ unit.T, 0.0, 2.0)
    # Equal sentences are at distance 0 whatever rounding says.
    distances[distances < 1e-12] = 0.0
    np.fill_diagonal(distances, 0.0)
    tree = linkage(squareform((distances + distances.T) / 2, checks=False), method="average")
    return number_by_appearance(fcluster(tree, threshold, criterion="distance").tolist())


def cluster_runs(
    labels: pl.DataFrame,
    prompts: pl.DataFrame,
    samples: pl.DataFrame,
    *,
    method: Method,
    strict: bool = True,
    policy: Policy = "first",
    threshold: float = 0.15,
    classifier: EntailmentClassifier | None = None,
    embedder: Any = None,
    embedder_name: str | None = None,
    judge: EntailmentJudge | None = None,
    source: Literal["answer", "response"] = "answer",
    think_end: str = THINK_END,
    opened: bool = True,
) -> tuple[pl.DataFrame, dict[str, np.ndarray], dict[str, Any]]:
    """Cluster the sampled runs of a collection, question by question.

    Greedy runs are left out; truncated runs and runs without an answer have no cluster.

    Args:
        labels: the labels table.
        prompts: the prompts table (`prompt_id`, `question`).
        samples: the samples table; its text is read for source "response" alone.
        method: "math" (equivalence), "text" (normalised match), "nli", "cosine" or "judge".
        strict: for "nli" and "judge", see `matches`.
        policy: for "nli" and "judge", see `cluster_by_entailment`.
        threshold: for "cosine", the largest mean distance 1 − cosine within a cluster.
        classifier: the model of "nli".
        embedder: the sentence-transformers model of "cosine", or its folder or id.
        embedder_name: what is stored as its name; its folder or id by default.
        judge: the judge of "judge".
        source: cluster the short answer, or all that was written after the thought (not for "math").
        think_end: the tag that closes the thought, for source "response".
        opened: the prompts had opened the tag, for source "response".

    Returns:
        The clusters table (prompt_id, sample, cluster, method: the method with its settings, in words); by
        prompt_id the labels of entailment [n_valid, n_valid] in the order of `sample`, for "nli" and "judge"
        (else empty); and what happened: settings, counts of runs and inconsistent triples.

    Raises:
        ValueError: unknown method, a method without its model or judge, or tables that do not fit together.
        RuntimeError: "math" outside the main thread.
    """
    _check_method(method, classifier, embedder, judge, source)
    runs = _runs_with_text(labels, prompts, samples, source, think_end, opened)
    by_question = runs.filter(pl.col("text").is_not_null()).partition_by("prompt_id", as_dict=True, maintain_order=True)
    questions = [(frame["question"][0], frame["text"].to_list()) for frame in by_question.values()]
    prompt_ids = [key[0] for key in by_question]
    settings: dict[str, Any] = {"method": method, "source": source}
    relations: list[np.ndarray] = []
    triples = 0
    if method == "math":
        ids = [cluster_answers(texts) for _, texts in questions]
        triples = sum(count_inconsistent_triples(answer_relation(texts)) for _, texts in questions)
    elif method == "text":
        ids = [number_by_appearance([normalise_text(text) for text in texts]) for _, texts in questions]
    elif method == "cosine":
        settings |= {"threshold": threshold, "model": embedder_name or _model_name(embedder)}
        ids = _cosine_ids(questions, embedder, threshold)
    else:
        relations, found = _relations(method, questions, classifier, judge)
        settings |= {"strict": strict, "policy": policy, **found}
        ids = [cluster_by_entailment(relation, strict=strict, policy=policy) for relation in relations]
        triples = sum(count_inconsistent_triples(matches(relation, strict=strict)) for relation in relations)
    clusters = _cluster_table(runs, prompt_ids, ids, describe(settings))
    diagnostics = settings | _counts(runs, clusters) | {"inconsistent_triples": triples}
    return clusters, dict(zip(prompt_ids, relations, strict=True)) if relations else {}, diagnostics


def describe(settings: dict[str, Any]) -> str:
    """A method with its settings in words, as stored with every row; begins with the method's name."""
    parts = [settings["method"]]
    if "policy" in settings:
        parts += ["strict" if settings["strict"] else "loose", settings["policy"]]
    if "threshold" in settings:
        parts.append(f"threshold={settings['threshold']:g}")
    parts += [settings["model"]] if "model" in settings else []
    return " ".join(parts + (["response"] if settings["source"] == "response" else []))


def _check_method(method: str, classifier: Any, embedder: Any, judge: Any, source: str) -> None:
    if method not in METHODS:
        raise ValueError(f"unknown clustering method {method!r}: choose one of {', '.join(METHODS)}")
    needed = {"nli": ("classifier", classifier), "cosine": ("embedder", embedder), "judge": ("judge", judge)}
    name, value = needed.get(method, ("", True))
    if value is None:
        raise ValueError(f"clustering by {method!r} needs `{name}`")
    if source not in ("answer", "response"):
        raise ValueError(f"unknown source {source!r}: choose answer or response")
    if method == "math" and source == "response":
        raise ValueError("clustering by 'math' compares answers: choose source answer")


def _runs_with_text(
    labels: pl.DataFrame, prompts: pl.DataFrame, samples: pl.DataFrame, source: str, think_end: str, opened: bool
) -> pl.DataFrame:
    """Sampled runs by question and sample: prompt_id, sample, truncated, question, text (null: no cluster)."""
    runs = labels.filter(~pl.col("greedy")).sort("prompt_id", "sample")
    keys = ["prompt_id", "sample"]
    for name, other, on in (("prompts", prompts, keys[:1]), ("samples", samples, keys)):
        missing = runs.join(other, on=on, how="anti")
        if len(missing):
            raise ValueError(
                f"{len(missing)} labelled runs are not in {name} (first: {missing['prompt_id'][0]}, sample "
                f"{missing['sample'][0]}): labels, prompts and samples must come from one collection"
            )
    runs = runs.join(prompts.select("prompt_id", "question"), on="prompt_id", how="left", maintain_order="left")
    if source == "response":
        runs = runs.join(samples.select(*keys, "text"), on=keys, how="left", maintain_order="left")
        written = [
            split_thinking(text, think_end=think_end, opened=opened)[1].strip() or None
            for text in runs["text"].to_list()
        ]
        runs = runs.with_columns(text=pl.Series(written, dtype=pl.String))
    else:
        runs = runs.with_columns(text=pl.col("answer"))
    blank = pl.col("text").str.strip_chars() == ""
    text = pl.when(~pl.col("truncated") & ~blank).then("text")
    return runs.with_columns(text=text).select(*keys, "truncated", "question", "text")


def _cosine_ids(questions: list[tuple[str, list[str]]], embedder: Any, threshold: float) -> list[list[int]]:
    vectors = sentence_embeddings([text for _, texts in questions for text in texts], embedder)
    stops = np.cumsum([len(texts) for _, texts in questions])
    return [
        cluster_by_cosine(vectors[stop - len(texts) : stop], threshold=threshold)
        for (_, texts), stop in zip(questions, stops, strict=True)
    ]


def _model_name(model: Any) -> str:
    return model if isinstance(model, str) else getattr(model, "name", None) or type(model).__name__


def _relations(
    method: str,
    questions: list[tuple[str, list[str]]],
    classifier: EntailmentClassifier | None,
    judge: EntailmentJudge | None,
) -> tuple[list[np.ndarray], dict[str, Any]]:
    """Labels of entailment of each question, and what to say about how they were found."""
    if method == "judge" and judge is not None:
        relations, unanswered = judge_relations(judge, questions)
        return relations, {"model": judge.name, "pairs_without_verdict": unanswered}
    assert classifier is not None
    before, at_limit = classifier.n_classified, classifier.n_at_limit
    relations = classifier.relations(questions)
    return relations, {
        "model": classifier.name,
        "pairs_classified": classifier.n_classified - before,
        "pairs_at_length_limit": classifier.n_at_limit - at_limit,
    }


def _cluster_table(runs: pl.DataFrame, prompt_ids: list[str], ids: list[list[Any]], method: str) -> pl.DataFrame:
    """The clusters table: one row a sampled run, null where a run has no text to cluster."""
    waiting = {prompt_id: iter(clusters) for prompt_id, clusters in zip(prompt_ids, ids, strict=True)}
    rows = [
        (prompt_id, sample, None if text is None else next(waiting[prompt_id]), method)
        for prompt_id, sample, text in runs.select("prompt_id", "sample", "text").iter_rows()
    ]
    return pl.DataFrame(rows, schema=CLUSTER_SCHEMA, orient="row")


def _counts(runs: pl.DataFrame, clusters: pl.DataFrame) -> dict[str, int]:
    n_truncated = int(runs["truncated"].sum())
    n_clustered = int(clusters["cluster"].is_not_null().sum())
    return {
        "n_questions": runs["prompt_id"].n_unique(),
        "n_runs": len(runs),
        "n_truncated": n_truncated,
        "n_clustered": n_clustered,
        "n_no_answer": len(runs) - n_truncated - n_clustered,
    }
