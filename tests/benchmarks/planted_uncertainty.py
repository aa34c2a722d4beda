"""An uncertainty study of many runs, planted with every file that its page of the dashboard reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tells.tables import SCHEMAS, make_metadata, write_json, write_table

# Sampled runs of a question; a greedy one comes on top.
SAMPLES = 10
PROBES = ("accuracy", "accuracy.prompt_end", "semantic_entropy", "semantic_entropy.prompt_end", "semantic_entropy_raw")
BASELINES = ("token_entropy", "discrete", "rao", "majority_share", "mean_log_likelihood", "think_length", "p_true")
_NUMBERS = (
    *("discrete_normalised", "rao", "naive", "majority_share", "miller_madow", "mean_log_likelihood", "p_true"),
    *("entropy_think_mean", "entropy_think_max", "entropy_think_last10", "x", "y"),
)
_INTERVAL = {"value": 0.7, "low": 0.6, "high": 0.8, "level": 0.95, "p": 0.001, "p_holm": 0.01, "prevalence": 0.5}
_COUNTS = {"n_rows": 25_000, "n_questions": 2_500, "n_tests": 12, "n_undefined": 0, "p_rows_left_out": 0}
_NONE = {"reason": None, "n_draws": None, "standard_error": None}


def plant(root: Path, runs: int) -> Path:
    """Write the study below experiments/planted.

    Args:
        root: an empty folder.
        runs: about so many, greedy ones included.

    Returns:
        The study's folder.
    """
    study = root / "experiments/planted/uncertainty"
    frame = _runs(runs // (SAMPLES + 1))
    metadata = make_metadata("analyse_uncertainty", params={}, experiment="planted", seed=0)
    write_table(study / "results.parquet", frame, "results", metadata)
    heads = [
        {"outcome": outcome, "score": score, "kind": kind, "dataset": dataset, "split": "test"}
        for outcome in ("accuracy", "semantic_entropy")
        for dataset in ("sums", "capitals")
        for kind, names in (("probe", PROBES), ("baseline", BASELINES))
        for score in names
    ]
    write_table(study / "curves.parquet", _curves(heads), "curves", metadata)
    write_json(study / "results.json", _results(frame, heads), metadata=metadata)
    fit = {"kind": "logistic", "selection": "cross_validation", "trained_on": ["sums"], "tau": 0.7}
    counts = {f"n_{split}_{what}": 1 for split in ("train", "validation") for what in ("rows", "questions")}
    fits = [{**fit, **counts, "name": name} for name in PROBES]
    write_json(study / "probes.json", {"probes": fits, "controls": [], "unfitted": {}}, metadata=metadata)
    for dataset, rows in frame.partition_by("dataset", as_dict=True).items():
        write_table(study / str(dataset[0]) / "samples.parquet", _samples(rows), "samples", metadata)
        write_table(study / str(dataset[0]) / "replay.parquet", _replay(rows), "replay", metadata)
    return study


def _runs(questions: int) -> pl.DataFrame:
    random = np.random.default_rng(0)
    question = np.repeat(np.arange(questions), SAMPLES + 1)
    rows = question.size
    entropy = np.round(random.gamma(2, 0.4, questions), 2)[question]
    score = random.normal(size=rows) - entropy
    table: dict[str, Any] = {
        "prompt_id": [f"question-{one:06d}" for one in question],
        "group": [f"{one:016x}" for one in question],
        "sample": np.tile(np.arange(-1, SAMPLES, dtype=np.int32), questions),
        "think": [f"Let me think about question {one}, carefully and at length. " * 4 for one in question],
        "answer": [str(one) for one in random.integers(0, 500, rows)],
        "truncated": random.random(rows) < 0.01,
        "correct": score + random.normal(size=rows) > -0.5,
        "dataset": np.where(question % 4 == 0, "capitals", "sums"),
        "cluster": random.integers(0, 5, rows, dtype=np.int32),
        "n_clusters": random.integers(1, 6, rows, dtype=np.int32),
        "tensor_row": np.arange(rows, dtype=np.int32),
        "split": np.array(["test", "train", "validation", "test"])[question % 4],
        "question": [f"What is {one} plus {one + 1}?" for one in question],
        "gold": [[str(2 * one + 1)] for one in question],
        "discrete": entropy,
        **{name: random.random(rows) for name in _NUMBERS},
        **{f"{name}.score": score + random.normal(size=rows) for name in PROBES},
        **{f"{name}.probability": random.random(rows) for name in PROBES},
    }
    counted = pl.lit(SAMPLES, pl.Int32)
    return (
        pl.DataFrame(table)
        .with_columns(greedy=pl.col("sample") < 0, n_samples=counted, n_valid=counted, shard=pl.lit(0, pl.Int32))
        .with_columns(
            semantic_entropy_raw=pl.when("greedy").then(None).otherwise("discrete"),
            correct=pl.when("truncated").then(None).otherwise("correct"),
            grader=pl.lit("math 1"),
            reliable=pl.lit(value=True),
        )
        .sort("dataset", "prompt_id", "sample")
    )


def _curves(heads: list[dict[str, str]]) -> pl.DataFrame:
    random = np.random.default_rng(1)
    tables = []
    for head in heads:
        for curve in ("roc", "precision_recall", "reliability", "rejection"):
            if curve == "rejection" and head["outcome"] != "accuracy":
                continue
            x = np.linspace(0, 1, 10 if curve == "reliability" else 101)
            y = np.clip(x**0.6 + random.normal(scale=0.01, size=x.size), 0, 1)
            facts = {**head, "curve": curve, "level": 0.95, "prevalence": 0.5}
            counts = {"point_rows": 250, "n_rows": 25_000, "n_questions": 2_500}
            one = pl.DataFrame({"x": x, "y": y, "low": y - 0.05, "high": y + 0.05})
            tables.append(one.with_columns(**{name: pl.lit(value) for name, value in {**facts, **counts}.items()}))
    columns = SCHEMAS["curves"].columns
    return pl.concat(tables).select(pl.col(name).cast(dtype) for name, dtype in columns.items())


def _results(frame: pl.DataFrame, heads: list[dict[str, str]]) -> dict[str, Any]:
    random = np.random.default_rng(2)
    records = [
        {**head, **_INTERVAL, **_COUNTS, **_NONE, "metric": metric}
        | {"distribution": "in" if head["dataset"] == "sums" else "out", "trained_on": ["sums"]}
        for head in heads
        for metric in ("auroc", "auroc_question", "average_precision", "ece_10", "brier", "aurac")
    ]
    positions = ("prompt_end", "think_end", "answer_end", "answer_mean", "think_mean")
    heatmap = [
        {"layer": layer, "position": position, "strength": 0.1, "value": 0.5 + 0.4 * random.random()}
        for layer in range(32)
        for position in positions
    ]
    facts = {"n_questions": 1, "n_runs": 1, "n_truncated": 0, "n_questions_below_min_valid": 0}
    facts |= {"semantic_entropy_mean": 0.8, "rao_semantic_entropy_mean": 0.8}
    data_sets = {}
    for name, role in (("sums", "in_distribution"), ("capitals", "out_of_distribution")):
        splits = frame.filter(dataset=name).unique("prompt_id")["split"].value_counts()
        data_sets[name] = {**facts, "role": role, "splits": dict(splits.iter_rows())}
    return {
        **{"study": "uncertainty", "datasets": data_sets, "unavailable": {}, "unfitted": {}, "accuracy": []},
        **{"records": records, "transfer": [], "n_seen_elsewhere": 0},
        "probes": [{"name": name, "layer": 20, "position": "answer_mean", "heatmap": heatmap} for name in PROBES],
    }


def _samples(rows: pl.DataFrame) -> pl.DataFrame:
    return _filled(
        rows.select("prompt_id", "group", "sample", "greedy", text="think", finish_reason=pl.lit("stop")), "samples"
    )


def _replay(rows: pl.DataFrame) -> pl.DataFrame:
    ends = [[*range(5, len(text), 5), len(text)] for text in rows["think"]]
    table = rows.select("prompt_id", "sample", "shard", "tensor_row", "entropy_think_mean").with_columns(
        token_ends=pl.Series(ends, dtype=pl.List(pl.Int32)),
        entropy=pl.Series([[0.5] * len(end) for end in ends], dtype=pl.List(pl.Float32)),
        answer_start=pl.lit(20, pl.Int32),
    )
    return _filled(table, "replay")


def _filled(table: pl.DataFrame, kind: str) -> pl.DataFrame:
    """The table with what its kind has beside, as nulls."""
    columns = SCHEMAS[kind].columns
    return table.with_columns(
        pl.lit(None, dtype).alias(name) for name, dtype in columns.items() if name not in table.columns
    ).select(list(columns))
