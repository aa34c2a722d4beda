"""Sampling through a server in the workflow: concurrent clients, no GPU, no weights, and nothing lost when it dies."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from completion_server import CompletionServer, serving
from workflow_helpers import TINY, copy_clone, dry_run_jobs, make_clone, snakemake, write_experiment

pytestmark = pytest.mark.slow
FOLDERS = [f"experiments/tiny/{name}" for name in ("uncertainty/sums", "uncertainty/capitals", "safety/builtin")]
TARGETS = [f"{folder}/samples.parquet" for folder in FOLDERS]


def definition(server: CompletionServer, **engine: Any) -> dict[str, Any]:
    """The tiny experiment with three collections of one shard each, sampled through a server."""
    questions = {name: {**each, "limit": 5} for name, each in TINY["uncertainty"]["collections"].items()}
    told = {"kind": "served", "base_url": server.base_url, "top_logprobs": 5, "concurrency": 2, "patience": 30}
    safety = {"collections": {"builtin": {"limit": 6}}, "budget": 4, "max_new_tokens": 12, "top_logprobs": 3}
    study = {**TINY["uncertainty"], "collections": questions}
    return {**TINY, "engine": {**told, **engine}, "uncertainty": study, "safety": safety}


def tables(clone: Path) -> list[bytes]:
    return [(clone / target).read_bytes() for target in TARGETS]


@pytest.fixture(scope="module")
def sampled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, CompletionServer, str]:
    """A clone whose three collections were sampled without a fault, the server it was, and what was printed."""
    started = CompletionServer("tiny-random")
    with serving(started):
        clone = make_clone(tmp_path_factory.mktemp("sampled"), **definition(started))
        # None is answered before each of three jobs has two requests in flight.
        started.faults.hold = 6
        done = snakemake(clone, "--until", "merge_samples", "--cores", "3")
        assert done.returncode == 0, done.stdout
    return clone, started, done.stdout


def test_collections_are_sampled_at_the_same_time_without_a_gpu_and_without_weights(sampled):
    clone, server, shown = sampled
    assert server.seen.most_in_flight == 6
    jobs = re.findall(r"rule sample_shard:.*?resources: ([^\n]*)", shown, flags=re.DOTALL)
    assert len(jobs) == 3
    assert all({"gpu=0", "served=1", "mem_mb=1500"} <= {*job.split(", ")} for job in jobs)
    for folder in FOLDERS:
        logs = clone / "logs/tiny" / Path(folder).relative_to("experiments/tiny")
        assert "loaded tiny-random" not in (logs / "sample_shard-0000.log").read_text()
        status = json.loads((logs / "sample_shard-0000.status.json").read_text())
        assert (status["engine"], status["server"]) == ("served", server.base_url)
    assert not [*clone.rglob("*.finished.jsonl")]


def test_the_tables_are_those_of_any_engine(sampled):
    clone, server, _ = sampled
    for target, samples, k in zip(TARGETS, (4, 4, 4), (5, 5, 3), strict=True):
        table = pl.read_parquet(clone / target)
        asked = table["prompt_id"].n_unique()
        assert table.height == asked * samples
        assert table["topk_logprobs"].explode().list.len().unique().to_list() == [k]
        metadata = json.loads(pl.read_parquet_metadata(clone / target)["tells"])
        assert metadata["engine"] == {"engine": "served", "server_version": "0.32.0", "served_model": "tiny-random"}
        assert str(server.port) not in json.dumps(metadata)
    assert pl.read_parquet(clone / TARGETS[0]).filter("greedy").height == 5


def test_replay_takes_the_samples_with_the_model_of_this_machine_and_needs_no_server(sampled):
    clone, _, _ = sampled
    done = snakemake(clone, f"{FOLDERS[0]}/replay.parquet")
    assert done.returncode == 0, done.stdout
    assert "warning the server at http://127.0.0.1:" in done.stdout
    jobs = re.findall(r"rule replay_shard:.*?resources: ([^\n]*)", done.stdout, flags=re.DOTALL)
    assert all("gpu=1" in job.split(", ") for job in jobs)
    assert pl.read_parquet(clone / FOLDERS[0] / "replay.parquet").height == 20


def test_a_server_at_another_address_re_runs_nothing_and_another_model_does(sampled):
    clone, _, _ = sampled
    moved = CompletionServer("tiny-random")
    moved.port = 9
    changes = {"concurrency": 9, "timeout": 7, "patience": 1, "key_variable": "SERVER_KEY"}
    try:
        write_experiment(clone, definition(moved, **changes))
        assert dry_run_jobs(clone, *TARGETS) == {}
        write_experiment(clone, definition(moved, served_model="another"))
        assert dry_run_jobs(clone, *TARGETS)["sample_shard"] == 3
    finally:
        write_experiment(clone, definition(sampled[1]))


def test_without_its_server_a_run_stops_before_the_first_job(tmp_path):
    absent = CompletionServer("tiny-random")
    absent.port = 9
    clone = make_clone(tmp_path, **definition(absent))
    done = snakemake(clone, *TARGETS)
    assert done.returncode == 1
    assert "error   the server at http://127.0.0.1:9 does not answer (ConnectError) (experiment tiny)" in done.stdout
    assert "cure: start it with `vllm serve resources/models/tiny-random/files" in done.stdout
    assert not [*clone.glob("experiments/tiny/*/*/prompts.parquet")]


def test_a_server_that_dies_fails_its_clients_clearly_and_a_restart_finishes_to_the_same_tables(sampled, tmp_path):
    server = CompletionServer("tiny-random")
    with serving(server):
        clone = copy_clone(sampled[0], tmp_path)
        write_experiment(clone, definition(server, patience=0.5))
        for path in [*clone.rglob("samples*.parquet")]:
            path.unlink()
        server.faults.fails_after = 25
        done = snakemake(clone, *TARGETS, "--cores", "3", "--keep-going")
        assert done.returncode != 0
    lines = re.findall(r"^sample_shard-0000: ServerError: (.*)$", done.stdout, flags=re.MULTILINE)
    assert lines, done.stdout
    for line in lines:
        assert re.search(
            r"the server at http://127\.0\.0\.1:\d+ does not answer \(\w+\); tried again for 0\.5 s: start it with "
            r"`vllm serve resources/models/tiny-random/files .*`; \d+ of \d+ runs are kept for the next try",
            line,
        ), line
    assert "Traceback (most recent call last)" not in done.stdout
    kept = sum(len(path.read_bytes().splitlines()) for path in clone.rglob("*.finished.jsonl"))
    finished = sum(pl.read_parquet(path).height for path in clone.rglob("shards/samples-*.parquet"))
    assert kept + finished == 25
    server.faults.fails_after = None
    with serving(server):
        done = snakemake(clone, *TARGETS, "--cores", "3")
        assert done.returncode == 0, done.stdout
    assert server.seen.answered == 20 + 20 + 24
    assert tables(clone) == tables(sampled[0])
    assert not [*clone.rglob("*.finished.jsonl")]
