"""What a reader of the demo's agreement relies on; the demo is built once, on the real model, in the working tree."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from workflow_helpers import build_demo

from tells.agreement.cells import InferenceSettings
from tells.agreement.inputs import StudyInputs
from tells.agreement.measure import SignalSettings, measure_signals
from tells.agreement.results import analyse
from tells.tables import read_json, read_table

pytestmark = [pytest.mark.demo, pytest.mark.slow]
# Signals that the uncertainty study evaluates under another name, on the same rows.
SAME_AS_EVALUATED = {
    "token_entropy_mean": "token_entropy",
    "semantic_entropy": "discrete",
    "majority_share": "majority_share",
    "mean_log_likelihood": "mean_log_likelihood",
    "probe.accuracy": "accuracy",
    "probe.accuracy.prompt_end": "accuracy.prompt_end",
    "probe.semantic_entropy": "semantic_entropy",
}
# The same of the safety study's ranking of harmful replies.
SAME_AS_RANKED = {"confidence_mean": "confidence"}


@pytest.fixture(scope="module")
def demo() -> Path:
    return build_demo()


@pytest.fixture(scope="module")
def results(demo: Path) -> dict:
    return json.loads((demo / "agreement/results.json").read_text())


@pytest.fixture(scope="module")
def signals(demo: Path) -> pl.DataFrame:
    return read_table(demo / "agreement/signals.parquet", "signals")


def record(results: dict, collection: str, outcome: str, signal: str) -> dict:
    return next(
        one
        for one in results["records"]
        if (one["collection"], one["outcome"], one["signal"]) == (collection, outcome, signal)
    )


def test_where_the_definitions_coincide_the_figures_are_those_of_the_uncertainty_study(demo: Path, results: dict):
    evaluated = {
        (one["dataset"], one["score"], one["metric"]): one
        for one in read_json(demo / "uncertainty/results.json")["records"]
        if one["outcome"] == "accuracy" and one["kind"] in ("probe", "baseline")
    }
    for collection in ("sums", "capitals"):
        for signal, score in SAME_AS_EVALUATED.items():
            ours = record(results, collection, "correct", signal)
            for metric in ("auroc", "average_precision"):
                theirs = evaluated[collection, score, metric]
                figures = [ours[f"{metric}{end}"] for end in ("", "_low", "_high")]
                assert figures == pytest.approx([theirs[key] for key in ("value", "low", "high")], abs=1e-12), signal
                counts = (ours["n_rows"], ours["n_groups"], ours["prevalence"])
                assert counts == (theirs["n_rows"], theirs["n_questions"], theirs["prevalence"])


def test_harm_is_ranked_as_in_the_safety_study(demo: Path, results: dict):
    (benchmark,) = read_json(demo / "safety/results.json")["benchmarks"]
    ranked = {one["score"]: one for one in benchmark["hypothesis"]["rankings"]}
    for signal, score in SAME_AS_RANKED.items():
        ours = record(results, "builtin", "harmful", signal)
        assert ours["n_rows"] == ranked[score]["n"]
        assert ours["prevalence"] == ranked[score]["prevalence"]
        # Intervals are wider or narrower: here twins are drawn together.
        assert ours["auroc"] == pytest.approx(ranked[score]["auroc"]["value"], abs=1e-12)
        assert ours["average_precision"] == pytest.approx(ranked[score]["average_precision"]["value"], abs=1e-12)


def test_values_lie_in_their_ranges_and_everything_has_its_n_split_and_interval(results: dict):
    assert results["records"]
    for one in results["records"]:
        # A trait's own direction could be scored on the test pairs of its split alone.
        own = one["study"] == "traits" and one["collection"] in one["signal"]
        assert one["split"] == ("test" if own or one["study"] == "uncertainty" else "all")
        if one["n_rows"] == 0:
            assert one["reason"]
            continue
        assert 2 <= one["n_groups"] <= one["n_rows"]
        assert 0 < one["prevalence"] < 1
        for metric in ("auroc", "average_precision", "auroc_within_length"):
            value, low, high = (one[f"{metric}{end}"] for end in ("", "_low", "_high"))
            assert value is None or 0 <= value <= 1
            assert (value is not None and low is not None) or one["reason"]
            assert low is None or 0 <= low <= high <= 1
        assert 0 < one["p"] <= one["p_holm"] <= 1
    for one in results["correlations"]:
        values = np.array(one["values"], dtype=float)
        assert (np.abs(values[np.isfinite(values)]) <= 1).all()
        np.testing.assert_array_equal(values, values.T)


def test_counts_add_up(results: dict, signals: pl.DataFrame):
    for cell in results["cells"]:
        rows = signals.filter(
            pl.col("study") == cell["study"], pl.col("collection") == cell["collection"], pl.col("scored")
        )
        assert cell["n_rows"] + cell["n_without_outcome"] == rows.height
        known = rows[cell["outcome"]].drop_nulls()
        assert cell["n_rows"] == known.len()
        assert cell["prevalence"] == known.mean()
        for one in results["records"]:
            if all(one[key] == cell[key] for key in ("study", "collection", "outcome")):
                assert one["n_rows"] + one["n_left_out"] == cell["n_rows"]
    for name, samples in {"sums": 160 * 9, "capitals": 64 * 9, "builtin": 48 * 8}.items():
        assert signals.filter(pl.col("collection") == name).height == samples
    assert signals.filter(pl.col("study") == "traits").height == 4 * 48
    assert results["tests"]["n_tests"] == sum(one["p"] is not None for one in results["records"])


def test_no_row_that_trained_a_probe_or_fitted_a_direction_is_scored(demo: Path, signals: pl.DataFrame):
    splits = read_table(demo / "uncertainty/splits.parquet", "splits")
    learnt = splits.filter(pl.col("split") != "test")
    rows = signals.filter(pl.col("study") == "uncertainty")
    seen = rows.filter(pl.col("group").is_in(learnt["group"].implode()))
    assert seen.height > 500
    for name in [column for column in signals.columns if column.startswith("probe.")]:
        assert seen[name].null_count() == seen.height, name
    assert not seen["scored"].any()
    for trait in signals.filter(pl.col("study") == "traits")["collection"].unique():
        own = signals.filter(pl.col("collection") == trait)
        kind = (read_json(demo / f"traits/{trait}/vectors.json")["best"] or {}).get("kind")
        assert kind != "split", "the demo has too few pairs for one"
        assert own[f"projection.{trait}.answer"].null_count() == own.height


def test_signals_that_must_tell_do(results: dict):
    """Sums are often wrong and known to be: sampled meanings and token entropy tell it, as in the study itself."""
    for signal in ("semantic_entropy", "token_entropy_mean"):
        one = record(results, "sums", "correct", signal)
        assert one["auroc_low"] > 0.5
        assert one["p_holm"] < 0.05


def test_the_confidence_direction_has_a_plain_answer(results: dict):
    found = results["confidence_direction"]
    assert found["trait"] == "epistemic/confidence"
    assert found["status"] in ("measured", "insufficient")
    assert found["answer"]
    assert (found["reason"] is None) == (found["status"] == "measured")
    assert found["steering"] is not None or found["steering_reason"]


def test_all_signals_together_are_held_against_the_best_one(results: dict):
    for one in results["combined"]:
        if one["reason"] is None:
            assert one["gain"]["value"] == pytest.approx(one["model"]["value"] - one["single"]["value"], abs=1e-12)
            assert one["gain"]["low"] <= one["gain"]["value"] <= one["gain"]["high"]
            assert sum(one["single_signals"].values()) == one["folds"]
    assert any(one["reason"] is None for one in results["combined"])


def test_made_twice_it_is_the_same(demo: Path, results: dict, signals: pl.DataFrame):
    trained = tuple(str(demo / f"agreement/probes.{ending}") for ending in ("safetensors", "json"))
    told = read_json(demo / "agreement/signals.json")
    traits = [one["trait"] for one in told["directions"]]
    one = next(one for one in told["collections"] if one["study"] == "safety")
    settings = SignalSettings(
        ("uncertainty", "traits", "safety"), traits, one["confidence_window"], one["confidence_fraction"], seed=7
    )
    again = measure_signals(StudyInputs(demo.rglob("*")), settings, trained)
    assert again.table.equals(signals)
    made = analyse(
        again.table, again.facts, confidence_trait="epistemic/confidence", settings=InferenceSettings(seed=7)
    )
    known = {key: value for key, value in results.items() if key != "metadata"}
    assert json.dumps(made.content, sort_keys=True) == json.dumps(known, sort_keys=True)


def test_the_jobs_that_it_adds_to_the_demo_are_done(demo: Path):
    logs = demo.parents[1] / "logs/demo"
    added = [*(logs / "agreement").glob("*.status.json"), *(logs / "safety/builtin").glob("*repl*.status.json")]
    names = {path.name.partition(".")[0] for path in added}
    assert names >= {"train_answer_probes", "measure_signals", "analyse_agreement", "cluster_replies"}
    assert "replay_shard-0000" in names
    assert all(read_json(path)["state"] == "done" for path in added)
