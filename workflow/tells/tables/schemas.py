"""The columns of every table, in one place: a table's kind is its file's stem."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

TEXT, COUNT, REAL, FLAG = pl.String, pl.Int32, pl.Float64, pl.Boolean
REALS, IDS = pl.List(pl.Float32), pl.List(pl.Int32)


@dataclass(frozen=True)
class Schema:
    """Columns (name to type) that a table must have, and the columns that make a row unique."""

    columns: dict[str, pl.DataType]
    key: tuple[str, ...]


_JUDGED = {"score": REAL, "status": TEXT, "resolution": TEXT, "reason": TEXT}
_STEERED = Schema(
    {
        "row_id": TEXT,
        "kind": TEXT,
        "question_id": TEXT,
        "question": TEXT,
        "sample": COUNT,
        "layer": COUNT,
        "method": TEXT,
        "ratio": REAL,
        "coefficient": REAL,
        "draw": COUNT,
        "seed": pl.UInt64,
        "token_ids": IDS,
        "text": TEXT,
        "finish_reason": TEXT,
        "n_tokens": COUNT,
        "log_likelihood": REAL,
    },
    ("row_id",),
)
_STEERED_SCORES = Schema(
    {
        "row_id": TEXT,
        "trait": REAL,
        "trait_status": TEXT,
        "coherence": REAL,
        "coherence_status": TEXT,
        "resolution": TEXT,
        "reason": TEXT,
    },
    ("row_id",),
)
_CLASSIFIED = Schema(
    {
        "prompt_id": TEXT,
        "sample": COUNT,
        "refusal": TEXT,
        "harm": TEXT,
        "harm_score": REAL,
        "prompt_harm": TEXT,
        "status": TEXT,
        "reason": TEXT,
    },
    ("prompt_id", "sample"),
)

_ENDS = ("", "_low", "_high")
_COMPARED = ("auroc", "average_precision", "auroc_within_length", "spearman")

SCHEMAS: dict[str, Schema] = {
    "prompts": Schema(
        {"prompt_id": TEXT, "group": TEXT, "text": TEXT, "shared_prefix": TEXT, "system_prompt": TEXT},
        ("prompt_id",),
    ),
    "samples": Schema(
        {
            "prompt_id": TEXT,
            "group": TEXT,
            "sample": COUNT,
            "greedy": FLAG,
            "seed": pl.UInt64,
            "prompt_token_ids": IDS,
            "token_ids": IDS,
            "text": TEXT,
            "finish_reason": TEXT,
            "token_logprobs": REALS,
            "topk_logprobs": pl.List(REALS),
        },
        ("prompt_id", "sample"),
    ),
    "replay": Schema(
        {
            "prompt_id": TEXT,
            "sample": COUNT,
            "shard": COUNT,
            "tensor_row": COUNT,
            "token_ends": IDS,
            "entropy": REALS,
            "token_logprobs": REALS,
            "confidence": REALS,
            "think_start": COUNT,
            "think_stop": COUNT,
            "answer_start": COUNT,
            "answer_stop": COUNT,
            "n_think": COUNT,
            "entropy_think_mean": REAL,
            "entropy_think_max": REAL,
            "entropy_think_last10": REAL,
            "answer_log_likelihood": REAL,
            "answer_tokens": COUNT,
            "mean_log_likelihood": REAL,
        },
        ("prompt_id", "sample"),
    ),
    "p_true": Schema({"prompt_id": TEXT, "sample": COUNT, "p_true": REAL}, ("prompt_id", "sample")),
    "labels": Schema(
        {
            "prompt_id": TEXT,
            "group": TEXT,
            "sample": COUNT,
            "greedy": FLAG,
            "think": TEXT,
            "answer": TEXT,
            "truncated": FLAG,
            "correct": FLAG,
            "grader": TEXT,
        },
        ("prompt_id", "sample"),
    ),
    "clusters": Schema({"prompt_id": TEXT, "sample": COUNT, "cluster": COUNT, "method": TEXT}, ("prompt_id", "sample")),
    "entropy": Schema(
        {
            "prompt_id": TEXT,
            "group": TEXT,
            "n_samples": COUNT,
            "n_valid": COUNT,
            "discrete": REAL,
            "discrete_normalised": REAL,
            "rao": REAL,
            "naive": REAL,
            "majority_share": REAL,
            "n_clusters": COUNT,
            "miller_madow": REAL,
            "kernel_language_entropy": REAL,
        },
        ("prompt_id",),
    ),
    "splits": Schema({"dataset": TEXT, "prompt_id": TEXT, "group": TEXT, "split": TEXT}, ("dataset", "prompt_id")),
    "scores": Schema(
        {"dataset": TEXT, "prompt_id": TEXT, "sample": COUNT, "split": TEXT},
        ("dataset", "prompt_id", "sample"),
    ),
    "curves": Schema(
        {
            **dict.fromkeys(("outcome", "score", "kind", "dataset", "split", "curve"), TEXT),
            **dict.fromkeys(("x", "y", "low", "high", "level", "prevalence"), REAL),
            **dict.fromkeys(("point_rows", "n_rows", "n_questions"), COUNT),
        },
        ("outcome", "score", "dataset", "curve", "x"),
    ),
    "map": Schema(
        {"dataset": TEXT, "prompt_id": TEXT, "sample": COUNT, "split": TEXT, "x": REAL, "y": REAL},
        ("dataset", "prompt_id", "sample"),
    ),
    "results": Schema(
        {"dataset": TEXT, "prompt_id": TEXT, "sample": COUNT, "split": TEXT},
        ("dataset", "prompt_id", "sample"),
    ),
    "scenario_scores": Schema({"prompt_id": TEXT, **_JUDGED}, ("prompt_id",)),
    "response_scores": Schema({"prompt_id": TEXT, "sample": COUNT, **_JUDGED}, ("prompt_id", "sample")),
    "vetting": Schema(
        {
            "prompt_id": TEXT,
            "group": TEXT,
            "sample": COUNT,
            "polarity": TEXT,
            "scenario_score": REAL,
            "scenario_status": TEXT,
            "response_score": REAL,
            "response_status": TEXT,
            "outcome": TEXT,
            "kept": FLAG,
        },
        ("prompt_id", "sample"),
    ),
    "search": _STEERED,
    "report": _STEERED,
    "search_scores": _STEERED_SCORES,
    "report_scores": _STEERED_SCORES,
    "projections": Schema(
        {
            "prompt_id": TEXT,
            "sample": COUNT,
            "trait": TEXT,
            "method": TEXT,
            "layer": COUNT,
            "token_ends": IDS,
            "projection": REALS,
            "mean": REAL,
        },
        ("prompt_id", "sample", "trait", "method", "layer"),
    ),
    "traits": Schema({"trait": TEXT, "status": TEXT}, ("trait",)),
    "confidence": Schema(
        {
            "prompt_id": TEXT,
            "group": TEXT,
            "sample": COUNT,
            "n_tokens": COUNT,
            "truncated": FLAG,
            "empty": FLAG,
            "think": TEXT,
            "answer": TEXT,
            "answer_start": COUNT,
            "answer_stop": COUNT,
            "mean": REAL,
            "lowest": REAL,
            "bottom": REAL,
            "tail": REAL,
            "think_mean": REAL,
            "think_lowest": REAL,
            "first_token_probability": REAL,
            "token_logprob": REAL,
            "token_ends": IDS,
            "confidence": REALS,
        },
        ("prompt_id", "sample"),
    ),
    "online": Schema(
        {
            "prompt_id": TEXT,
            "group": TEXT,
            "sample": COUNT,
            "wave": COUNT,
            "warmup": FLAG,
            "seed": pl.UInt64,
            "prompt_token_ids": IDS,
            "token_ids": IDS,
            "text": TEXT,
            "finish_reason": TEXT,
            "threshold": REAL,
            "confidence": REALS,
            "stop_label": TEXT,
            "settled": FLAG,
        },
        ("prompt_id", "sample"),
    ),
    **{f"{name}_labels": _CLASSIFIED for name in ("patterns", "embedding", "wildguard", "llama_guard", "judge")},
    "reply_labels": Schema(
        {
            "prompt_id": TEXT,
            "group": TEXT,
            "sample": COUNT,
            "label": TEXT,
            "category": TEXT,
            "truncated": FLAG,
            "empty": FLAG,
            "stop_label": TEXT,
            "refusal": TEXT,
            "harm": TEXT,
            "harm_score": REAL,
        },
        ("prompt_id", "sample"),
    ),
    "arms": Schema(
        {
            "arm": TEXT,
            "prompt_id": TEXT,
            "group": TEXT,
            "label": TEXT,
            "category": TEXT,
            "draws": COUNT,
            "traces": REAL,
            "tokens": REAL,
            "full_tokens": REAL,
            "refused": REAL,
            "harmful_compliance": REAL,
            "agreement": REAL,
            "confidence": REAL,
            "undecided": REAL,
            "unscored": REAL,
            "unmatched": COUNT,
        },
        ("arm", "prompt_id"),
    ),
    "sweep": Schema(
        {
            "keep": REAL,
            "percentile": REAL,
            "n": COUNT,
            "traces": REAL,
            "tokens": REAL,
            "full_tokens": REAL,
            "saving": REAL,
            "agreement": REAL,
            "harmful_compliance": REAL,
            "over_refusal": REAL,
        },
        ("keep",),
    ),
    "any_of_n": Schema(
        {
            "measure": TEXT,
            "rate": TEXT,
            "traces": COUNT,
            "value": REAL,
            "low": REAL,
            "high": REAL,
            "n": COUNT,
        },
        ("measure", "rate", "traces"),
    ),
    "strata": Schema(
        {
            "prompt_id": TEXT,
            "group": TEXT,
            "sample": COUNT,
            "label": TEXT,
            "category": TEXT,
            "part": TEXT,
            "confidence": REAL,
            "refused": FLAG,
            "quadrant": TEXT,
            "harm": TEXT,
        },
        ("prompt_id", "sample"),
    ),
    "traces": Schema(
        {
            "benchmark": TEXT,
            "prompt_id": TEXT,
            "group": TEXT,
            "sample": COUNT,
            "label": TEXT,
            "category": TEXT,
            "part": TEXT,
            "refused": FLAG,
            "harm": TEXT,
            "quadrant": TEXT,
            "mean": REAL,
            "lowest": REAL,
            "bottom": REAL,
            "tail": REAL,
            "first_token_probability": REAL,
            "token_logprob": REAL,
            "n_tokens": COUNT,
            "truncated": FLAG,
        },
        ("benchmark", "prompt_id", "sample"),
    ),
    "signals": Schema(
        {
            **dict.fromkeys(("study", "collection", "prompt_id", "group"), TEXT),
            "sample": COUNT,
            "greedy": FLAG,
            "split": TEXT,
            "scored": FLAG,
            **dict.fromkeys(("correct", "refused", "harmful", "shows_trait"), FLAG),
            "trait_score": REAL,
        },
        ("study", "collection", "prompt_id", "sample"),
    ),
    "outcomes": Schema(
        {
            **dict.fromkeys(("arm", "prompt_id", "group", "split"), TEXT),
            "draw": COUNT,
            **dict.fromkeys(("n_runs", "n_valid"), COUNT),
            **dict.fromkeys(("accuracy", "valid_share", "semantic_entropy", "confidence", "tokens"), REAL),
        },
        ("arm", "prompt_id"),
    ),
    "agreement": Schema(
        {
            **dict.fromkeys(("study", "collection", "outcome", "signal", "split", "reason"), TEXT),
            **dict.fromkeys(("direction", "n_rows", "n_groups", "n_left_out", "n_spearman"), COUNT),
            **dict.fromkeys(("n_tests", "p_rows_left_out"), COUNT),
            **dict.fromkeys((f"{name}{end}" for name in _COMPARED for end in _ENDS), REAL),
            **dict.fromkeys(("prevalence", "level", "p", "p_holm"), REAL),
        },
        ("study", "collection", "outcome", "signal"),
    ),
}
