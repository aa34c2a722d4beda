"""Two snakemake processes in one clone: never both on one experiment, side by side on two."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest
from workflow_helpers import TINY, make_clone, snakemake, start, write_experiment

pytestmark = pytest.mark.slow
SUMS = "uncertainty/sums"
# Long enough that the job can be halted while it samples.
LONG = {**TINY, "engine": {**TINY["engine"], "batch_size": 1}}
LONG["uncertainty"] = {**TINY["uncertainty"], "max_new_tokens": 400, "shard_size": 12}


def _halted_job(clone: Path) -> int:
    """Halt the first job that samples; gives its process."""
    status = clone / f"logs/tiny/{SUMS}/sample_shard-0000.status.json"
    deadline = time.monotonic() + 180
    while not status.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    told = json.loads(status.read_text())
    os.kill(told["pid"], signal.SIGSTOP)
    assert told["state"] == "running"
    return told["pid"]


def test_a_second_head_is_refused_on_the_same_experiment_and_works_on_another(tmp_path: Path):
    clone = make_clone(tmp_path, **LONG)
    write_experiment(clone, {**TINY, "seed": 4}, name="other")
    model = snakemake(clone, "resources/models/tiny-random/model.json")
    assert model.returncode == 0, model.stdout
    target = f"experiments/tiny/{SUMS}/samples.parquet"
    first = start(clone, target)
    job = _halted_job(clone)
    try:
        refused = snakemake(clone, target)
        assert refused.returncode != 0
        assert "LockException" in refused.stdout
        beside = snakemake(clone, f"experiments/other/{SUMS}/labels.parquet", experiment="other")
        assert beside.returncode == 0, beside.stdout
        assert first.poll() is None
    finally:
        os.kill(job, signal.SIGCONT)
    assert first.wait(timeout=300) == 0
    assert (clone / target).exists()
