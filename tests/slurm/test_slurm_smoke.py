"""All three studies on the real model, through profiles/slurm on a real SLURM: as the same run on one machine."""

from __future__ import annotations

import shutil
from datetime import datetime
from pathlib import Path

import pytest
from cluster import Cluster
from slurm_run import SlurmRun
from workflow_helpers import ROOT, make_clone, snakemake

from tells.cluster import GPU_RULES

# Building both runs takes minutes.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
EXPERIMENT = "smoke"
OUTPUTS = f"experiments/{EXPERIMENT}"


def _clone_with_models(folder: Path) -> Path:
    clone = make_clone(folder)
    shutil.copytree(ROOT / "resources/models", clone / "resources/models", symlinks=True)
    return clone


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory, real_manifest: Path, embedding_folder: Path) -> Path:
    """A clone in which the experiment ran on this machine."""
    clone = _clone_with_models(tmp_path_factory.mktemp("local"))
    # Two jobs that load the model at once, as on the cluster: one thread each.
    limits = ("--resources", "gpu=2", "api=4")
    done = snakemake(clone, *limits, experiment=EXPERIMENT, profile="cpu", timeout=1200)
    assert done.returncode == 0, done.stdout
    return clone


@pytest.fixture(scope="module")
def clustered(
    tmp_path_factory: pytest.TempPathFactory, slurm: Cluster, real_manifest: Path, embedding_folder: Path
) -> SlurmRun:
    """The same, with each job a SLURM job."""
    clone = _clone_with_models(tmp_path_factory.mktemp("clustered"))
    run = SlurmRun(clone, slurm, EXPERIMENT, config=("threads=1",))
    head = run.start()
    assert head.wait(timeout=1500) == 0, run.head_log[-5000:]
    return run


def _files(clone: Path) -> dict[str, bytes]:
    paths = [path for path in sorted((clone / OUTPUTS).rglob("*")) if path.is_file()]
    return {str(path.relative_to(clone / OUTPUTS)): path.read_bytes() for path in paths}


def _on_slurm(run: SlurmRun) -> list[dict]:
    return [status for status in run.statuses() if status["job"] != "prompts"]


def _rule(status: dict) -> str:
    return status["job"].partition("-")[0]


def test_every_job_is_one_of_slurm_and_its_metadata_says_which(clustered: SlurmRun):
    ends = {job["number"]: job["state"] for job in clustered.slurm.jobs()}
    jobs = _on_slurm(clustered)
    assert len(jobs) >= 40
    assert [job["job"] for job in jobs if ends.get(job["slurm_job"]) != "COMPLETED"] == []


def test_rules_for_the_gpu_ran_in_its_partition_with_a_device_and_the_others_beside_them(clustered: SlurmRun):
    partitions = {job["number"]: job["partition"] for job in clustered.slurm.jobs()}
    spans: dict[str, list[tuple[datetime, datetime]]] = {"gpu": [], "cpu": []}
    for status in _on_slurm(clustered):
        partition = "gpu" if _rule(status) in GPU_RULES else "cpu"
        assert partitions[status["slurm_job"]] == partition, status["job"]
        assert status["devices"] in (("0", "1") if partition == "gpu" else (None,)), status
        spans[partition].append(tuple(datetime.fromisoformat(status[key]) for key in ("started", "finished")))
    beside = [cpu for cpu in spans["cpu"] for gpu in spans["gpu"] if cpu[0] < gpu[1] and gpu[0] < cpu[1]]
    assert beside


def test_shards_of_a_collection_went_as_one_array(clustered: SlurmRun):
    tasks = [job for job in clustered.slurm.jobs() if "rule_sample_shard" in job["comment"]]
    arrays = [job["id"].partition("_")[0] for job in tasks if "_" in job["id"]]
    assert max(arrays.count(array) for array in arrays) >= 2, tasks


def test_every_file_is_that_of_the_local_run(clustered: SlurmRun, local: Path):
    expected, found = _files(local), _files(clustered.clone)
    assert {"traits/results.json", "uncertainty/results.json", "safety/results.json"} <= {*expected}
    assert [*found] == [*expected]
    assert [name for name in expected if found[name] != expected[name]] == []
