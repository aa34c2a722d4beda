"""Made-up studies on disk, with all files that their figures and tables read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from report_helpers import results as safety_results
from report_helpers import study as safety_study
from report_helpers import tables as safety_tables

from tells.tables import SCHEMAS, make_metadata, write_json, write_table
from tells.uncertainty.curves import curves_of, no_curves
from tells.uncertainty.evaluation_metrics import InferenceSettings, ScoredRows

MADE = {"params": {}, "experiment": "tiny", "model": {"name": "small", "revision": "abc123"}, "seed": 3}
JUDGE = {"provider": "exemplar", "model": "mini", "what_it_is": "An offline judge."}
PARTS = ("train", "validation", "test", "cross_validated")


def plant(root: Path, *, name: str = "sums", trait: str = "epistemic/calm", benchmark: str = "tiny") -> Path:
    """All three studies of the experiment `tiny`; gives the root."""
    folder = root / "experiments/tiny"
    plant_uncertainty(folder / "uncertainty", name)
    plant_traits(folder / "traits", trait)
    plant_safety(folder / "safety", benchmark)
    for study in ("uncertainty", "traits", "safety"):
        status = {"state": "done", "job": f"analyse_{study}", "seconds": 1.5, "finished": "2031-05-17T10:00:00+00:00"}
        write_json(root / f"logs/tiny/{study}/analyse_{study}.status.json", status)
    return root


def plant_uncertainty(folder: Path, dataset: str = "sums", questions: int = 12) -> None:
    """Runs of one data set, its curves, and a search over two layers and two positions."""
    generator = np.random.default_rng(0)
    rows = [
        {
            "dataset": dataset,
            "prompt_id": f"q{question:02d}",
            "sample": sample,
            "split": "test",
            "correct": bool(generator.integers(0, 2)),
            "semantic_entropy_raw": 0.125 * question,
            "accuracy.score": float(generator.normal()),
            "semantic_entropy.score": float(generator.normal()),
            "x": float(generator.normal()),
            "y": float(generator.normal()),
        }
        for question in range(questions)
        for sample in range(4)
    ]
    made = make_metadata("analyse_uncertainty", **MADE)
    runs = pl.DataFrame(rows).with_columns(pl.col("sample").cast(pl.Int32))
    write_table(folder / "results.parquet", runs, "results", made)
    of = {"outcome": "accuracy", "score": "accuracy", "kind": "probe", "dataset": dataset, "split": "test"}
    groups = np.repeat(np.arange(questions), 4)
    label = generator.integers(0, 2, groups.size).astype(float)
    score = ScoredRows(label, label + generator.normal(0, 1, groups.size), groups)
    inference = InferenceSettings(bootstrap=20, level=0.9, seed=1)
    curves = pl.concat([no_curves(), *curves_of(of, score, None, inference, correctness=True)])
    write_table(folder / "curves.parquet", curves, "curves", made)
    fit = {
        "name": "accuracy",
        "kind": "logistic",
        "tau": None,
        "selection": "cross_validation",
        "trained_on": [dataset],
    }
    fit |= {f"n_{split}_{what}": 5 for split in ("train", "validation") for what in ("rows", "questions")}
    probes = {"probes": [fit], "controls": [], "unfitted": {}}
    write_json(folder / "probes.json", probes, metadata=make_metadata("train_probes", **MADE))
    write_json(
        folder / "results.json", _uncertainty(dataset, of), metadata=make_metadata("analyse_uncertainty", **MADE)
    )


def _uncertainty(dataset: str, of: dict[str, Any]) -> dict[str, Any]:
    counts = {"n_rows": 48, "n_questions": 12, "prevalence": 0.5, "reason": None}
    figure = {"value": 0.8125, "low": 0.7, "high": 0.9, "level": 0.95, "p": 0.01, "p_holm": 0.02, **counts}
    known = {"role": "in_distribution", "n_questions": 12, "n_runs": 48, "n_truncated": 1, "semantic_entropy_mean": 0.5}
    cells = [
        {"layer": layer, "position": position, "value": 0.5 + layer / 10, "strength": 1.0}
        for layer in (0, 1)
        for position in ("answer_end", "think_end")
    ]
    return {
        "datasets": {dataset: known},
        "accuracy": [{"dataset": dataset, "metric": "accuracy_all_runs", **figure}],
        "records": [
            {**of, "metric": "auroc", "trained_on": [dataset], "distribution": "in", "n_draws": None, **figure}
        ],
        "transfer": [],
        "probes": [{"name": "accuracy", "layer": 1, "position": "answer_end", "heatmap": cells}],
        "unfitted": {"semantic_entropy": "one class <b>alone</b>"},
        "unavailable": {},
        "n_seen_elsewhere": 0,
    }


def plant_traits(folder: Path, trait: str = "epistemic/calm") -> None:
    """One trait that is steered, with vectors at two layers."""
    own = folder / trait
    made = make_metadata("analyse_traits", **MADE, judge=JUDGE, window="response")
    best = {"method": "probe", "layer": 1, "kind": "nested", "reason": None}
    vectors = {"records": [_vector(0, 0.5), _vector(1, 2.5)], "best": best, "status": "ok", "reason": None}
    write_json(own / "vectors.json", vectors, metadata=made)
    counted = {"n": 6, "n_pass": 5, "n_fail": 1, "n_error": 0, "n_refused": 0, "rate": 5 / 6}
    poles = [{"polarity": pole, **counted} for pole in ("positive", "negative")]
    stages = [{**pole, "stage": stage} for stage in ("scenarios", "responses") for pole in poles]
    record = {"stages": stages, "thresholds": {"positive_min": 61.0, "negative_max": 38.0}, "gate": "responses"}
    write_json(own / "vetting.json", record, metadata=made)
    write_table(own / "vetting.parquet", _vetting(), "vetting", made)
    search, scores = _search()
    write_table(own / "steering/search.parquet", search, "search", made)
    write_table(own / "steering/search_scores.parquet", scores, "search_scores", made)
    points = [{"layer": 1, "method": "probe", "ratio": ratio, "reasons": []} for ratio in (0.1, 0.4)]
    baseline = {"trait": 44.0, "coherence": 88.0, "n": 30, "n_missing": 0}
    optimum = {"layer": 1, "method": "probe", "ratio": 0.4, "coefficient": 4.0, "no_effect": False}
    choice = {"status": "chosen", "baseline": baseline, "points": points, "optimum": optimum, "n_questions": 6}
    write_json(own / "steering/choice.json", choice, metadata=made)
    held = {f"{metric}{end}": 0.75 for metric in ("cohens_d", "auc") for end in ("", "_low", "_high")}
    held_out = {"figures": {**held, "n_pairs": 6}, "null_band": {"cohens_d": 1.0, "auc": 0.75, "n": 9}}
    summary = {
        **{"trait": trait, "status": "steered", "reason": None, "pairs": 6, "n_vectors": 2},
        **{stage: {pole["polarity"]: pole for pole in poles} for stage in ("scenarios", "responses")},
        "best_by_validation": {**best, "held_out": held_out},
        "best_by_steering": optimum,
        "search": {"baseline": baseline, "n_questions": 6},
        "steering": _effects(),
        "warnings": ["the chosen ratio is the largest that was tried"],
    }
    cosines = [{"method": "probe", "layer": 1, "cosines": {trait: {trait: 1.0}}}]
    write_json(folder / "results.json", {"traits": [summary], "cosines": cosines}, metadata=made)
    write_table(folder / "results.parquet", pl.DataFrame({"trait": [trait], "status": ["steered"]}), "traits", made)


def _effects() -> dict[str, Any]:
    effect = {"coherence": 84.0, "n": 20, "n_missing": 0, "n_missing_coherence": 0, "n_questions": 10}
    return {
        "steered": {"delta": 30.0, "low": 21.0, "high": 43.0, **effect},
        "prompting": {"delta": 12.0, "low": None, "high": None, **effect},
        "unsteered": {"trait": 52.0, "coherence": 93.0, "n": 20},
        "random": {"deltas": [-5.0, 3.0], "mean": -1.0, "percentile_95": 3.0, "n": 2, "coherence": 87.0},
        "p_random": 0.25,
    }


def _vector(layer: int, d: float) -> dict[str, Any]:
    record: dict[str, Any] = {"method": "probe", "layer": layer, "fitted_on": "all pairs", "norm": 2.0, "reason": None}
    for part in PARTS:
        record |= {f"{part}_{metric}{end}": d for metric in ("cohens_d", "auc") for end in ("", "_low", "_high")}
        record |= {f"{part}_n_{what}": 6 for what in ("pairs", "positive", "negative")}
        record[f"{part}_reason"] = None
    return {**record, "null_cohens_d": 1.0, "null_auc": 0.7, "warnings": []}


def _vetting() -> pl.DataFrame:
    rows = [
        {
            "prompt_id": f"{polarity}-{number:03d}",
            "group": f"pair-{number:03d}",
            "sample": 0,
            "polarity": polarity,
            **{f"{what}_score": high + number for what in ("scenario", "response")},
            **{f"{what}_status": "scored" for what in ("scenario", "response")},
            "outcome": "pass",
            "kept": True,
        }
        for polarity, high in (("positive", 80.0), ("negative", 10.0))
        for number in range(6)
    ]
    return pl.DataFrame(rows, schema=SCHEMAS["vetting"].columns)


def _search() -> tuple[pl.DataFrame, pl.DataFrame]:
    point = {"kind": "steered", "layer": 1, "method": "probe"}
    rows = [{"row_id": f"p{ratio}", **point, "ratio": ratio, "coefficient": 10 * ratio} for ratio in (0.1, 0.4)]
    scores = [{"row_id": row["row_id"], "trait": 60.0, "coherence": 80.0} for row in rows]
    answers = pl.DataFrame(rows, schema=SCHEMAS["search"].columns)
    return answers, pl.DataFrame(scores, schema=SCHEMAS["search_scores"].columns)


def plant_safety(folder: Path, benchmark: str = "tiny") -> None:
    """One benchmark, as the library makes it."""
    made = safety_tables(*safety_study())
    safety_results(folder, {benchmark: made})
    traces = made["traces"].with_columns(benchmark=pl.lit(benchmark))
    metadata = make_metadata("analyse_safety", **MADE)
    write_table(folder / "results.parquet", traces, "traces", metadata)
    for name in ("confidence", "reply_labels", "sweep", "any_of_n"):
        write_table(folder / benchmark / f"{name}.parquet", made[name], name, metadata)
