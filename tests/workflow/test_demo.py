"""What a reader of the demo's results relies on; the demo is built once, on the real model, in the working tree."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from workflow_helpers import ROOT

from tells.tables import read_metadata, read_tensors

pytestmark = [pytest.mark.demo, pytest.mark.slow]
STUDY = ROOT / "experiments/demo/uncertainty"


@pytest.fixture(scope="module")
def demo() -> Path:
    command = [sys.executable, "-m", "snakemake", "--profile", "cpu", "--config", "experiments=demo"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return STUDY


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


def test_controls_stand_beside_the_probes_and_outside_the_family_of_tests(results):
    # One shuffle is one random direction, so its AUROC may lie on either side of a half; the mean over many
    # shuffles is tested with the probes.
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
