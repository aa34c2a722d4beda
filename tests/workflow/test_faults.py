from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import polars as pl
import pytest
from workflow_helpers import TINY, is_alive, make_clone, resume, snakemake, start, write_experiment

pytestmark = pytest.mark.slow
SUMS = "experiments/tiny/uncertainty/sums"
SHARDS = [
    f"{SUMS}/shards/{kind}" for kind in ("samples-0001.parquet", "replay-0001.parquet", "replay-0001.safetensors")
]
TARGET = f"{SUMS}/replay.parquet"
# Long enough that a kill meets a job at work.
SLOW = {**TINY, "engine": {**TINY["engine"], "batch_size": 1}}
SLOW["uncertainty"] = {**TINY["uncertainty"], "max_new_tokens": 150, "shard_size": 6}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Bytes of the tables of an uninterrupted run."""
    clone = make_clone(tmp_path_factory.mktemp("undisturbed"), **SLOW)
    done = snakemake(clone, TARGET)
    assert done.returncode == 0, done.stdout
    return {name: (clone / name).read_bytes() for name in (*SHARDS, TARGET)}


def wait_for_job(clone: Path, job: str, timeout: float = 180) -> int:
    """Wait until a job has its model and is at work; returns its process id."""
    status, log = (clone / f"logs/tiny/uncertainty/sums/{job}.{ending}" for ending in ("status.json", "log"))
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if status.exists() and "loaded tiny-random" in log.read_text():
            content = json.loads(status.read_text())
            assert content["state"] == "running", "the job was over before it could be killed"
            return content["pid"]
        time.sleep(0.005)
    raise AssertionError(f"{job} was not seen running")


def check_equal(clone: Path, undisturbed: dict[str, bytes]) -> None:
    for name, expected in undisturbed.items():
        assert (clone / name).read_bytes() == expected, name
    samples = pl.read_parquet(clone / SUMS / "shards/samples-*.parquet")
    assert not samples.select("prompt_id", "sample").is_duplicated().any()


@pytest.mark.parametrize("job", ["sample_shard-0001", "replay_shard-0001"])
def test_a_killed_job_fails_the_run_and_the_next_run_gives_the_same_bytes(tmp_path, undisturbed, job):
    clone = make_clone(tmp_path, **SLOW)
    head = start(clone, TARGET)
    os.kill(wait_for_job(clone, job), signal.SIGKILL)
    assert head.wait(timeout=300) != 0
    done = snakemake(clone, TARGET)
    assert done.returncode == 0, done.stdout
    check_equal(clone, undisturbed)


@pytest.mark.parametrize("job", ["sample_shard-0001", "replay_shard-0001"])
def test_a_killed_head_takes_its_jobs_along_and_resume_gives_the_same_bytes(tmp_path, undisturbed, job):
    clone = make_clone(tmp_path, **SLOW)
    head = start(clone, TARGET)
    pid = wait_for_job(clone, job)
    head.kill()
    head.wait()
    deadline = time.monotonic() + 20
    while is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not is_alive(pid), "the job outlived its head"
    assert "lock" in snakemake(clone, TARGET).stdout.lower()
    done = resume(clone, TARGET)
    assert done.returncode == 0, done.stdout
    check_equal(clone, undisturbed)


@pytest.fixture(scope="module")
def sampled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    clone = make_clone(tmp_path_factory.mktemp("sampled"))
    done = snakemake(clone, f"{SUMS}/labels.parquet")
    assert done.returncode == 0, done.stdout
    return clone


@pytest.mark.parametrize("damage", ["truncated", "foreign", "missing column"])
def test_a_damaged_table_is_one_clear_error_and_overwrites_nothing(sampled, damage):
    samples, labels = sampled / SUMS / "samples.parquet", sampled / SUMS / "labels.parquet"
    whole, before = samples.read_bytes(), labels.read_bytes()
    metadata = pl.read_parquet_metadata(samples)
    try:
        if damage == "truncated":
            samples.write_bytes(whole[: len(whole) // 2])
        elif damage == "foreign":
            pl.DataFrame({"a": [1]}).write_parquet(samples)
        else:
            kept = {"tells": metadata["tells"]}
            pl.read_parquet(samples).drop("text").write_parquet(samples, metadata=kept)
        done = snakemake(sampled, f"{SUMS}/labels.parquet")
        assert done.returncode != 0
        assert f"{SUMS}/samples.parquet" in done.stdout
        assert {"truncated": "not a whole Parquet", "foreign": "foreign file", "missing column": "text missing"}[
            damage
        ] in done.stdout
        assert "Traceback (most recent call last)" not in done.stdout
    finally:
        samples.write_bytes(whole)
        labels.write_bytes(before)
        os.utime(labels)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": "no-such-model"}, ["model", "no-such-model", "is not in config/models.yaml"]),
        ({"temprature": 1}, ["temprature", "unknown key"]),
        ({"uncertainty": {**TINY["uncertainty"], "sampels": 3}}, ["uncertainty.sampels", "unknown key"]),
        ({"uncertainty": {"collections": {"sums": {"questions": "nowhere.yaml"}}}}, ["nowhere.yaml", "does not exist"]),
    ],
)
def test_a_wrong_definition_is_told_before_any_job(tmp_path, change, words):
    clone = make_clone(tmp_path)
    write_experiment(clone, {**TINY, **change})
    done = snakemake(clone)
    assert done.returncode != 0
    assert all(word in done.stdout for word in words), done.stdout
    assert not (clone / "experiments/tiny").exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "empty"),
        ('{"id": "a", "question": "What?"}\n', "answer"),
        ('{"id": "a", "question": "What?", "answer": "x"}\n{"id": "a", "question": "Why?", "answer": "y"}\n', "row 2"),
    ],
)
def test_a_bad_question_file_is_one_error_with_its_rows(tmp_path, content, words):
    clone = make_clone(tmp_path)
    (clone / "config/questions/sums.jsonl").write_text(content)
    done = snakemake(clone, f"{SUMS}/prompts.parquet")
    assert done.returncode != 0
    assert "sums.jsonl" in done.stdout
    assert words in done.stdout
    assert not (clone / SUMS / "prompts.parquet").exists()
