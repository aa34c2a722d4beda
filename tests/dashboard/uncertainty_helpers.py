"""A small uncertainty study, planted with every file that its page reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from tells.dashboard.uncertainty.scores import CURVES
from tells.tables import SCHEMAS, make_metadata, write_json, write_table

METADATA = make_metadata("analyse_uncertainty", params={}, experiment="demo", seed=1)
# Characters that addresses, paths and tags give a meaning.
STRANGE = "50%~50/<b>"
SAMPLES = 3
TEXT = "I think.</think>\n\\boxed{4}"
ENDS = [1, 7, 8, 16, 17, 24, 26, 26]


def results() -> pl.DataFrame:
    """Four questions of sums and one of capitals, each with a greedy run and three sampled ones, the last one cut."""
    questions = [("sums", "a", "test"), ("sums", STRANGE, "test"), ("sums", "c", "train"), ("sums", "d", "validation")]
    rows: list[dict[str, Any]] = [
        {
            "dataset": dataset,
            "prompt_id": prompt,
            "group": prompt,
            "sample": sample,
            "greedy": sample < 0,
            "split": split,
            "truncated": sample == 2,
            "correct": None if sample == 2 else (number + sample) % 2 == 0,
            "question": f"What is {prompt}?",
            "gold": ["4", "four"],
            "think": "I think.",
            "answer": None if sample == 2 else f"answer {sample}",
            "cluster": None if sample in (-1, 2) else sample % 2,
            "discrete": 0.25 * number,
            "semantic_entropy_raw": None if sample in (-1, 2) else 0.25 * number,
            "accuracy.score": number - 0.5 * sample,
            "semantic_entropy.score": 0.5 * sample,
            "x": float(number),
            "y": float(sample),
        }
        for number, (dataset, prompt, split) in enumerate([*questions, ("capitals", "a", "test")])
        for sample in range(-1, SAMPLES)
    ]
    return pl.DataFrame(rows, schema_overrides={"sample": pl.Int32, "cluster": pl.Int32})


def record(score: str, **other: Any) -> dict[str, Any]:
    return {
        **{"outcome": "accuracy", "score": score, "kind": "probe", "dataset": "sums", "split": "test"},
        **{"metric": "auroc", "value": 0.8, "low": 0.7, "high": 0.9, "level": 0.95, "p": 0.01, "p_holm": 0.02},
        **{"n_rows": 4, "n_questions": 2, "prevalence": 0.5, "distribution": "in", "trained_on": ["sums"]},
        **{"reason": None, "n_draws": None, **other},
    }


RECORDS = [
    record("accuracy"),
    record("accuracy", metric="brier", value=0.2),
    record("accuracy", dataset="capitals", distribution="out"),
    record("p_true", kind="baseline", trained_on=None),
    record("semantic_entropy", outcome="semantic_entropy"),
    record("semantic_entropy_raw", outcome="semantic_entropy_raw", metric="spearman", value=-0.1),
]


def facts(role: str) -> dict[str, Any]:
    counts = {"n_questions": 4, "n_runs": 12, "n_truncated": 4, "n_questions_below_min_valid": 0}
    means = {"semantic_entropy_mean": 0.4, "rao_semantic_entropy_mean": None}
    return {"role": role, **counts, **means, "splits": {"test": 2, "train": 1}}


def curves() -> pl.DataFrame:
    rows = [
        {"outcome": "accuracy", "score": score, "kind": kind, "dataset": "sums", "split": "test", "curve": curve}
        | {"x": x, "y": x, "low": x, "high": x, "level": 0.95, "prevalence": 0.5}
        | {"point_rows": 2, "n_rows": 4, "n_questions": 2}
        for score, kind in (("accuracy", "probe"), ("p_true", "baseline"), ("rao", "baseline"))
        for curve in CURVES
        for x in (0.0, 0.5, 1.0)
    ]
    return pl.DataFrame(rows, schema=dict(SCHEMAS["curves"].columns))


def plant_study(root: Path) -> Path:
    """Write the study below a folder that holds experiments/; gives the study's own."""
    folder = root / "experiments/demo/uncertainty"
    write_table(folder / "results.parquet", results(), "results", METADATA)
    write_table(folder / "curves.parquet", curves(), "curves", METADATA)
    datasets = {"capitals": facts("out_of_distribution"), "sums": facts("in_distribution")}
    heatmap = [{"layer": layer, "position": "answer_mean", "strength": 1.0, "value": 0.7} for layer in (0, 1)]
    content = {"datasets": datasets, "records": RECORDS, "accuracy": [], "unavailable": {}, "n_seen_elsewhere": 3}
    content["probes"] = [{"name": "accuracy", "layer": 1, "position": "answer_mean", "heatmap": heatmap}]
    write_json(folder / "results.json", {**content, "unfitted": {"broken": "too few runs"}}, metadata=METADATA)
    rest = {"kind": "logistic", "selection": "none", "trained_on": ["sums"], "tau": 0.125}
    counts = dict.fromkeys(("n_train_rows", "n_train_questions", "n_validation_rows", "n_validation_questions"), 1)
    fits = [{"name": name, **rest, **counts} for name in ("accuracy", "semantic_entropy")]
    write_json(folder / "probes.json", {"probes": fits}, metadata=METADATA)
    for dataset, rows in results().partition_by("dataset", as_dict=True).items():
        _write_texts(folder / str(dataset[0]), rows.select("prompt_id", "group", "sample", "greedy"))
    return folder


def _write_texts(folder: Path, keys: pl.DataFrame) -> None:
    told: dict[str, Any] = {"text": TEXT, "token_ends": ENDS, "entropy": [0.1 * n for n in range(8)], "answer_start": 5}
    for kind in ("samples", "replay"):
        columns = SCHEMAS[kind].columns
        values = {name: pl.lit(told.get(name), dtype) for name, dtype in columns.items() if name not in keys.columns}
        present = [name for name in keys.columns if name in columns]
        write_table(folder / f"{kind}.parquet", keys.select(present).with_columns(**values), kind, METADATA)
