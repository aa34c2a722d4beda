"""What a reader of the demo's results relies on; the demo is built once, on the real model, in the working tree."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from probe_helpers import chance_tolerance
from workflow_helpers import ROOT, build_demo

from tells.tables import read_metadata, read_tensors

pytestmark = [pytest.mark.demo, pytest.mark.slow]


@pytest.fixture(scope="module")
def demo() -> Path:
    return build_demo() / "uncertainty"


@pytest.fixture(scope="module")
def results(demo) -> dict:
    return json.loads((demo / "results.json").read_text())


@pytest.fixture(scope="module")
def runs(demo) -> pl.DataFrame:
    return pl.read_parquet(demo / "results.parquet")


def test_the_demo_is_a_small_but_honest_study(results, runs):
    accuracy = {(record["dataset"], record["metric"]): record for record in results["accuracy"]}
    assert 0.35 < accuracy["sums", "accuracy_all_runs"]["value"] < 0.75
    assert 0.2 < accuracy["capitals", "accuracy_all_runs"]["value"] < 0.6
    sampled = runs.filter(~pl.col("greedy"))
    assert sampled["truncated"].mean() < 0.05
    per_question = sampled.group_by("dataset", "prompt_id").agg(pl.col("correct").mean())
    assert per_question["correct"].std() > 0.2


def test_no_question_stands_in_two_splits(runs):
    assert runs.group_by("group").agg(pl.col("split").n_unique())["split"].max() == 1
    assert set(runs.filter(dataset="capitals")["split"]) == {"test"}


def test_every_figure_has_its_n_split_and_interval(results):
    assert results["records"]
    for record in results["records"]:
        assert record["split"] == "test"
        assert record["n_rows"] is not None
        assert record["n_questions"] is not None
        if record["value"] is None:
            assert record["reason"]


def test_a_probe_of_shuffled_labels_knows_nothing(results):
    """On the mean over shuffles, that is: one shuffle is one random direction and may land anywhere.

    The mean must lie within t * SE + 0.01 of a half, SE being the standard deviation of the draws over the root of
    their number and t = 3.8 for 100 draws and four checks that together fail by chance once in 1000: draws share the
    test questions and their states, which widens each draw (0.08 to 0.14 here, where as many independent rows would
    give under 0.04) but leaves the draws independent and their centre at a half; `chance_tolerance` has the argument.
    The tolerance itself must stay below 0.1, or the check could not fail: a control that sees its test questions'
    labels comes to 0.9.
    """
    controls = [record for record in results["records"] if record["kind"] == "control" and record["metric"] == "auroc"]
    assert len(controls) == 4
    for record in controls:
        tolerance = chance_tolerance(record, checks=len(controls))
        assert 0.01 < tolerance < 0.1, record
        assert abs(record["value"] - 0.5) < tolerance, record
        assert record["low"] < 0.5 < record["high"], record


def test_controls_stand_beside_the_probes_and_outside_the_family_of_tests(results):
    aurocs = [record for record in results["records"] if record["metric"] == "auroc"]
    controls = [record for record in aurocs if record["kind"] == "control"]
    assert {(record["score"], record["dataset"]) for record in controls} == {
        (f"{target}.shuffled", dataset)
        for target in ("accuracy", "semantic_entropy")
        for dataset in ("sums", "capitals")
    }
    assert all(record["p_holm"] is None for record in controls)
    assert all(record["p_holm"] is not None for record in aurocs if record["kind"] == "probe")


def test_sampled_semantic_entropy_tells_correct_from_wrong(results):
    record = next(
        record
        for record in results["records"]
        if record["metric"] == "auroc"
        and record["outcome"] == "accuracy"
        and record["score"] == "discrete"
        and record["dataset"] == "sums"
    )
    assert record["low"] > 0.5


def test_results_agree_with_the_tables_they_come_from(results, runs):
    sums = runs.filter((pl.col("dataset") == "sums") & ~pl.col("greedy"))
    record = next(
        record
        for record in results["accuracy"]
        if (record["dataset"], record["metric"]) == ("sums", "accuracy_all_runs")
    )
    assert record["value"] == pytest.approx(sums["correct"].fill_null(False).mean(), abs=1e-9)


def test_the_stored_states_are_those_of_the_runs_in_the_table(demo, runs):
    replay = pl.read_parquet(demo / "sums/replay.parquet")
    states = read_tensors(demo / "sums/shards/replay-0000.safetensors")
    metadata = read_metadata(demo / "sums/shards/replay-0000.safetensors")
    assert states["hidden"].shape[1:] == (30, len(metadata["positions"]), 576)
    think_end = metadata["positions"].index("think_end")
    rows = replay.join(
        runs.filter(dataset="sums").select("prompt_id", "sample", "truncated"), on=["prompt_id", "sample"]
    )
    valid = states["valid"][rows["tensor_row"].to_numpy(), think_end].astype(bool)
    assert (valid == ~rows["truncated"].to_numpy()).all()
    assert np.isfinite(states["hidden"]).all()


def test_show_prints_the_tables(demo):
    done = subprocess.run(
        [sys.executable, "-m", "tells.cli", "show", "demo"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for word in ("AUROC", "sums", "capitals", "seconds per stage", "accuracy"):
        assert word in done.stdout
