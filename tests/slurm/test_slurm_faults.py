"""One run on a real SLURM to which everything happens, and whose tables are those of a quiet local run all the same."""

from __future__ import annotations

import re
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from cluster import Cluster
from slurm_run import SlurmRun
from workflow_helpers import SNAKEMAKE, TINY, make_clone, snakemake

pytestmark = pytest.mark.slow
SUMS = "experiments/tiny/uncertainty/sums"
TARGETS = (f"{SUMS}/replay.parquet", f"{SUMS}/labels.parquet")
# Long enough that each fault meets this job at work.
SAMPLED = "uncertainty/sums/sample_shard-0001"
SLOW = {**TINY, "engine": {**TINY["engine"], "batch_size": 1}}
SLOW["uncertainty"] = {**TINY["uncertainty"], "max_new_tokens": 800}
# Less than Python takes at the first attempt.
SCARCE = "\n  - grade:mem_mb=40 * attempt**4\n"


@dataclass(frozen=True)
class Events:
    """What happened to a run.

    Attributes:
        run: the run.
        cancelled: SLURM's number of the job that was cancelled.
        orphan: that of the job that its head left.
        finished: how often each rule had finished when the head died.
        locked: what a second snakemake said then.
        drained: the state of the node while it was drained.
    """

    run: SlurmRun
    cancelled: str
    orphan: str
    finished: list[str]
    locked: str
    drained: str


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Bytes of the tables of a quiet local run."""
    clone = make_clone(tmp_path_factory.mktemp("undisturbed"), **SLOW)
    done = snakemake(clone, *TARGETS)
    assert done.returncode == 0, done.stdout
    return _tables(clone)


def _tables(clone: Path) -> dict[str, bytes]:
    paths = [path for path in sorted((clone / SUMS).rglob("*.*")) if path.suffix != ".json"]
    return {str(path.relative_to(clone)): path.read_bytes() for path in paths}


@pytest.fixture(scope="module")
def eventful(tmp_path_factory: pytest.TempPathFactory, slurm: Cluster) -> Events:
    """A job cancelled, the head killed with a job at work, the run resumed, the node drained, a job out of memory."""
    clone = make_clone(tmp_path_factory.mktemp("slurm"), **SLOW)
    profile = clone / "profiles/slurm/config.yaml"
    text = profile.read_text()
    profile.write_text(text.replace("\nset-resources:\n", f"\nset-resources:{SCARCE}"))
    assert SCARCE in profile.read_text()
    run = SlurmRun(clone, slurm, "tiny", TARGETS, config=("threads=1",))

    head = run.start()
    cancelled = run.at_work(SAMPLED)
    slurm.run("scancel", slurm.task(cancelled))
    orphan = run.at_work(SAMPLED, but=cancelled)
    run.wait("a shard that the head knows to be finished", lambda: "sample_shard" in _finished(run.head_log))
    head.send_signal(signal.SIGKILL)
    head.wait()
    assert orphan in {job["number"] for job in slurm.jobs("RUNNING")}, "a job on the cluster outlives its head"
    finished = _finished(run.head_log)
    second = subprocess.run(
        [*SNAKEMAKE, *run.options], cwd=clone, env=run.environment, capture_output=True, text=True, check=False
    )
    assert second.returncode != 0

    resumed = run.start_resume()
    run.at_work(SAMPLED, but=orphan)
    drained = _drain_and_resume(run)
    assert resumed.wait(timeout=600) == 0, (clone / "resume.log").read_text()[-5000:]
    return Events(run, cancelled, orphan, finished, second.stdout + second.stderr, drained)


def _drain_and_resume(run: SlurmRun) -> str:
    """Drain the node until nothing runs there, with work still to do, and resume it; gives its state when drained."""
    node = run.slurm.run("sinfo", "--noheader", "--format", "%n").strip()
    run.slurm.run("scontrol", "update", f"NodeName={node}", "State=DRAIN", "Reason=test")
    run.wait("a drained node without jobs", lambda: not run.slurm.jobs("RUNNING", "COMPLETING"))
    run.wait("a job that waits for the node", lambda: run.slurm.jobs("PENDING"))
    state = run.slurm.run("sinfo", "--noheader", "--format", "%T").split()[0]
    run.slurm.run("scontrol", "update", f"NodeName={node}", "State=RESUME")
    return state


def _finished(log: str) -> list[str]:
    """Rules of the jobs that a head knew to be finished."""
    return re.findall(r"Finished jobid: \d+ \(Rule: (\w+)\)", log)


def test_the_tables_are_those_of_a_quiet_local_run(eventful: Events, undisturbed: dict[str, bytes]):
    found = _tables(eventful.run.clone)
    assert [*found] == [*undisturbed]
    assert [name for name in undisturbed if found[name] != undisturbed[name]] == []


def test_a_cancelled_job_was_tried_again(eventful: Events):
    ends = {job["number"]: job["state"] for job in eventful.run.slurm.jobs()}
    assert ends[eventful.cancelled] == "CANCELLED"
    assert re.search(r"Trying to restart job \d+", eventful.run.head_log)
    assert eventful.orphan != eventful.cancelled


def test_a_second_head_is_refused_by_the_lock_of_the_dead_one(eventful: Events):
    assert "LockException" in eventful.locked
    assert "tells resume" not in eventful.run.head_log


def test_resuming_ended_the_orphan_and_repeated_nothing_that_was_finished(eventful: Events):
    told = (eventful.run.clone / "resume.log").read_text()
    (dead,) = re.findall(r"cancelled the jobs of the dead run (\S+)", told)
    assert dead in eventful.run.head_log
    jobs = eventful.run.slurm.jobs()
    assert {job["number"]: job["state"] for job in jobs}[eventful.orphan] == "CANCELLED"
    assert "RUNNING" not in {job["state"] for job in jobs if job["name"] == dead}
    assert "sample_shard" in eventful.finished
    # What SLURM completed counts: a shard can end between the head's last look at it and its death.
    completed = [job["comment"] for job in jobs if job["state"] == "COMPLETED"]
    for rule in ("sample_shard", "replay_shard"):
        assert sum(f"rule_{rule}" in comment for comment in completed) == 3, completed


def test_a_drained_node_keeps_jobs_waiting_and_fails_none(eventful: Events):
    assert eventful.drained == "drained"
    assert "Error in rule sample_shard" not in (eventful.run.clone / "resume.log").read_text()


def test_a_job_over_its_memory_was_given_more(eventful: Events):
    told = eventful.run.head_log + (eventful.run.clone / "resume.log").read_text()
    given = [int(one) for one in re.findall(r"rule grade:.*?mem_mb=(\d+)", told, flags=re.DOTALL)]
    assert given[0] == 40
    assert given[-1] >= 640
    logs = (eventful.run.clone / ".snakemake/slurm_logs/rule_grade").rglob("*.log")
    assert any("exceeded memory limit" in log.read_text() for log in logs)
    assert eventful.run.status("uncertainty/sums/grade")["state"] == "done"


def test_jobs_for_the_gpu_alone_were_given_one(eventful: Events):
    jobs = [job for job in eventful.run.statuses() if not job["job"].startswith("prompts")]
    assert len(jobs) >= 8
    for job in jobs:
        assert job["state"] == "done", job
        on_gpu = job["job"].startswith(("sample_shard", "replay_shard"))
        assert job["devices"] in (("0", "1") if on_gpu else (None,)), job
