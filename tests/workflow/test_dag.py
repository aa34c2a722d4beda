from __future__ import annotations

import json
import shutil
from pathlib import Path

import polars as pl
import pytest
import yaml
from workflow_helpers import ROOT, TINY, dry_run_jobs, make_clone, snakemake, write_experiment

pytestmark = pytest.mark.slow
GPU_RULES = {"sample_shard", "replay_shard", "ask_p_true"}
STUDY_RULES = {"train_probes", "evaluate_probes", "map_states", "analyse_uncertainty", "draw_figures"}
SUMS = "experiments/tiny/uncertainty/sums"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone in which the experiment `tiny` has been run to the end."""
    clone = make_clone(tmp_path_factory.mktemp("built"))
    done = snakemake(clone)
    assert done.returncode == 0, done.stdout
    return clone


@pytest.fixture
def copy(built: Path, tmp_path: Path) -> Path:
    """A copy of the built clone that a test may change."""
    shutil.copytree(built, tmp_path / "copy", symlinks=True)
    return tmp_path / "copy"


@pytest.mark.parametrize("profile", ["cpu", "gpu", "slurm", "ci"])
def test_every_profile_dry_runs_in_a_fresh_clone(tmp_path, profile):
    jobs = dry_run_jobs(make_clone(tmp_path), profile=profile, experiment="demo")
    # Two question sets, four traits, one benchmark.
    assert jobs["prompts"] == 7
    assert jobs["train_probes"] == 1


@pytest.mark.parametrize("experiment", sorted(path.stem for path in (ROOT / "experiments").glob("*.yaml")))
def test_every_definition_dry_runs(tmp_path, experiment):
    jobs = dry_run_jobs(make_clone(tmp_path), experiment=experiment, profile="gpu")
    assert sum(jobs[f"analyse_{study}"] for study in ("uncertainty", "traits", "safety")) >= 1


def test_a_second_run_does_nothing(built):
    done = snakemake(built)
    assert done.returncode == 0
    assert "Nothing to be done" in done.stdout


def test_a_touched_script_re_runs_nothing(copy):
    for script in (copy / "workflow/scripts").glob("*.py"):
        script.touch()
    assert not dry_run_jobs(copy)


def test_a_fresh_clone_with_outputs_and_metadata_re_runs_nothing(built, tmp_path):
    clone = make_clone(tmp_path / "clone")
    for folder in ("experiments", "resources", ".snakemake", "logs"):
        shutil.copytree(built / folder, clone / folder, dirs_exist_ok=True)
    for source in (clone / "config").rglob("*"):
        source.touch()
    assert not dry_run_jobs(clone)


def test_a_changed_question_re_runs_its_own_collection_and_what_reads_it(copy):
    questions = copy / "config/questions/capitals.jsonl"
    first, *rest = questions.read_text().splitlines()
    changed = {**json.loads(first), "question": "Which city is the seat of the government of Atlantis?"}
    questions.write_text("\n".join([json.dumps(changed), *rest]) + "\n")
    jobs = dry_run_jobs(copy)
    assert jobs["prompts"] == 1
    assert snakemake(copy, "experiments/tiny/uncertainty/capitals/prompts.parquet").returncode == 0
    jobs = dry_run_jobs(copy)
    assert jobs["sample_shard"] == 1
    assert jobs["grade"] == 1
    assert set(jobs) >= STUDY_RULES


def test_a_changed_probe_setting_lists_no_gpu_job(copy):
    definition = yaml.safe_load((copy / "experiments/tiny.yaml").read_text())
    definition["uncertainty"]["probes"] = {"regularisation": [0.5]}
    write_experiment(copy, definition)
    jobs = dry_run_jobs(copy)
    assert set(jobs) - {"all"} == STUDY_RULES


def test_more_questions_only_add_shards(copy):
    before = {path.name: path.read_bytes() for path in (copy / SUMS / "shards").iterdir()}
    definition = yaml.safe_load((copy / "experiments/tiny.yaml").read_text())
    definition["uncertainty"]["collections"]["sums"]["limit"] = 18
    write_experiment(copy, definition)
    assert snakemake(copy, f"{SUMS}/prompts.parquet").returncode == 0
    jobs = dry_run_jobs(copy, f"{SUMS}/samples.parquet")
    # Of 12 questions in shards of 5 the third had 2: it grows, the fourth is new, the first two stay.
    assert jobs["sample_shard"] == 2
    assert snakemake(copy, f"{SUMS}/samples.parquet").returncode == 0
    for name in ("samples-0000.parquet", "samples-0001.parquet"):
        assert (copy / SUMS / "shards" / name).read_bytes() == before[name]
    samples = pl.read_parquet(copy / SUMS / "samples.parquet")
    assert samples["prompt_id"].n_unique() == 18
    assert not samples.select("prompt_id", "sample").is_duplicated().any()


def test_fewer_questions_leave_no_stale_shard(copy):
    definition = yaml.safe_load((copy / "experiments/tiny.yaml").read_text())
    definition["uncertainty"]["collections"]["sums"]["limit"] = 5
    write_experiment(copy, definition)
    assert snakemake(copy, f"{SUMS}/samples.parquet").returncode == 0
    assert pl.read_parquet(copy / SUMS / "samples.parquet")["prompt_id"].n_unique() == 5
    assert len(list((copy / SUMS / "shards").glob("prompts-*"))) == 1


def test_one_step_of_one_collection_is_redone_by_naming_its_file(built):
    jobs = dry_run_jobs(built, "-f", f"{SUMS}/entropy.parquet")
    assert jobs == {"measure_entropy": 1}
    jobs = dry_run_jobs(built, "-R", "sample_shard", "--", f"{SUMS}/entropy.parquet")
    assert jobs["sample_shard"] == 3
    assert jobs["replay_shard"] == 3


def test_another_shard_size_gives_the_same_tokens(copy):
    columns = ["prompt_id", "sample", "token_ids"]
    before = pl.read_parquet(copy / SUMS / "samples.parquet").select(columns).sort("prompt_id", "sample")
    definition = yaml.safe_load((copy / "experiments/tiny.yaml").read_text())
    definition["uncertainty"]["shard_size"] = 7
    write_experiment(copy, definition)
    done = snakemake(copy, f"{SUMS}/samples.parquet")
    assert done.returncode == 0, done.stdout
    after = pl.read_parquet(copy / SUMS / "samples.parquet").select(columns).sort("prompt_id", "sample")
    assert before.equals(after)


def test_models_in_a_definition_make_one_experiment_each(tmp_path):
    clone = make_clone(tmp_path)
    definition = {key: value for key, value in TINY.items() if key != "model"}
    write_experiment(clone, {**definition, "models": ["tiny-random", "smollm2-135m-instruct"]}, "pair")
    assert dry_run_jobs(clone, experiment="pair")["train_probes"] == 2
    assert dry_run_jobs(clone, experiment="pair-tiny-random")["train_probes"] == 1


def test_ones_own_samples_take_the_place_of_ours_and_say_what_is_unavailable(tmp_path):
    clone = make_clone(tmp_path)
    rows = [
        {
            "id": f"q{index}",
            "question": f"What is {index} + 1?",
            "answer": index + 1,
            "samples": [f"<think>hm</think>\\boxed{{{index + 1 + (sample % (index % 3 + 1))}}}" for sample in range(5)],
        }
        for index in range(20)
    ]
    (clone / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    collections = {"mine": {"questions": "config/questions/sums.yaml", "samples": "mine.jsonl"}}
    write_experiment(clone, {**TINY, "uncertainty": {**TINY["uncertainty"], "collections": collections}})
    assert not GPU_RULES & set(dry_run_jobs(clone))
    done = snakemake(clone)
    assert done.returncode == 0, done.stdout
    assert "tiny: the user's own samples" in done.stdout
    results = json.loads((clone / "experiments/tiny/uncertainty/results.json").read_text())
    assert "user's own" in results["unavailable"]["mine"]
    entropy = pl.read_parquet(clone / "experiments/tiny/uncertainty/mine/entropy.parquet")
    assert entropy["discrete"].max() > 1
    assert entropy["rao"].is_null().all()
    scored = [record for record in results["records"] if record["score"] == "discrete" and record["metric"] == "auroc"]
    assert any(record["value"] is not None for record in scored)
    assert all(record["reason"] for record in results["records"] if record["value"] is None)
