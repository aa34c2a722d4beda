"""One run on a real SLURM to which everything happens, and whose tables are those of a quiet local run all the same."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from cluster import Cluster
from workflow_helpers import SNAKEMAKE, TINY, environment, make_clone, snakemake

pytestmark = pytest.mark.slow
SUMS = "experiments/tiny/uncertainty/sums"
TARGETS = (f"{SUMS}/replay.parquet", f"{SUMS}/labels.parquet")
# Long enough that a fault meets a job at work.
SLOW = {**TINY, "engine": {**TINY["engine"], "batch_size": 1}}
SLOW["uncertainty"] = {**TINY["uncertainty"], "max_new_tokens": 250}
# As a user would start it, but for the pauses between looks, which suit a cluster with a longer queue.
OPTIONS = (
    *("--profile", "slurm", "--config", "experiments=tiny", "threads=1"),
    *("--slurm-init-seconds-before-status-checks", "2", "--seconds-between-status-checks", "2", "--latency-wait", "20"),
    # The first attempt at grading gets less memory than Python takes.
    *("--set-resources", "grade:mem_mb=40 * attempt**4"),
)


@dataclass
class Run:
    """A clone and the SLURM it runs on."""

    clone: Path
    slurm: Cluster

    @property
    def environment(self) -> dict[str, str]:
        """Of a process that starts jobs there."""
        ours = environment(self.clone)
        return {**self.slurm.environment, "PYTHONPATH": ours["PYTHONPATH"], "OMP_NUM_THREADS": "1"}

    def start(self) -> subprocess.Popen:
        """Start the head."""
        log = open(self.clone / "head.log", "a")  # noqa: SIM115
        command = [*SNAKEMAKE, *OPTIONS, "--", *TARGETS]
        head = subprocess.Popen(command, cwd=self.clone, env=self.environment, stdout=log, stderr=log)
        log.close()
        return head

    def status(self, job: str) -> dict:
        """What a job's status file says; empty where there is none."""
        path = self.clone / f"logs/tiny/uncertainty/sums/{job}.status.json"
        return json.loads(path.read_text()) if path.exists() else {}

    def at_work(self, job: str, but: str | None = None) -> str:
        """SLURM's id of a job once it has its model and is at work; not that of an earlier attempt."""
        log = self.clone / f"logs/tiny/uncertainty/sums/{job}.log"

        def running() -> str | None:
            status = self.status(job)
            if status.get("state") == "running" and status["slurm_job"] != but and "loaded tiny" in log.read_text():
                return status["slurm_job"]
            return None

        return self.wait(f"{job} at work", running)

    def wait(self, what: str, condition: Callable[[], object]) -> object:
        """Wait as the cluster does, and tell what the head said if it is in vain."""
        try:
            return self.slurm.wait_for(what, condition, seconds=180)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{(self.clone / 'head.log').read_text()[-4000:]}") from None


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Bytes of the tables of a quiet local run."""
    clone = make_clone(tmp_path_factory.mktemp("undisturbed"), **SLOW)
    done = snakemake(clone, *TARGETS)
    assert done.returncode == 0, done.stdout
    return {name: (clone / name).read_bytes() for name in _tables(clone)}


def _tables(clone: Path) -> list[str]:
    return sorted(str(path.relative_to(clone)) for path in (clone / SUMS).rglob("*.*") if path.suffix != ".json")


@pytest.fixture(scope="module")
def eventful(tmp_path_factory: pytest.TempPathFactory, slurm: Cluster) -> Run:
    """The run: a job cancelled, a node drained and resumed, a job out of memory, the head killed, the run resumed."""
    run = Run(make_clone(tmp_path_factory.mktemp("slurm"), **SLOW), slurm)
    host = slurm.run("sinfo", "--noheader", "--format", "%n").strip()
    head = run.start()
    first = run.at_work("sample_shard-0001")
    slurm.run("scancel", first)
    (run.clone / "cancelled.txt").write_text(first)
    run.at_work("sample_shard-0001", but=first)

    slurm.run("scontrol", "update", f"NodeName={host}", "State=DRAIN", "Reason=test")
    run.wait("a drained node without jobs", lambda: not slurm.jobs("RUNNING", "COMPLETING"))
    slurm.run("scontrol", "update", f"NodeName={host}", "State=RESUME")

    orphan = run.at_work("replay_shard-0002")
    head.send_signal(signal.SIGKILL)
    head.wait()
    assert orphan in {job["id"] for job in slurm.jobs("RUNNING")}, "a job on the cluster outlives its head"
    locked = subprocess.run(
        [*SNAKEMAKE, *OPTIONS, "--", *TARGETS], cwd=run.clone, env=run.environment, capture_output=True, text=True
    )
    assert locked.returncode != 0
    assert "lock" in (locked.stdout + locked.stderr).lower()
    (run.clone / "finished.txt").write_text("\n".join(_finished(run)))
    done = subprocess.run(
        [sys.executable, "-m", "tells.cli", "resume", *OPTIONS, "--", *TARGETS],
        cwd=run.clone,
        env=run.environment,
        capture_output=True,
        text=True,
    )
    (run.clone / "resume.log").write_text(done.stdout + done.stderr)
    assert done.returncode == 0, done.stdout + done.stderr
    return run


def _finished(run: Run) -> list[str]:
    """Jobs that the dead head knew to be finished."""
    return re.findall(r"Finished jobid: \d+ \(Rule: (\w+)\)", (run.clone / "head.log").read_text())


def test_the_tables_are_those_of_a_quiet_local_run(eventful: Run, undisturbed: dict[str, bytes]):
    assert _tables(eventful.clone) == sorted(undisturbed)
    for name, expected in undisturbed.items():
        assert (eventful.clone / name).read_bytes() == expected, name


def test_every_job_ran_on_slurm_and_those_for_the_gpu_were_given_one(eventful: Run):
    jobs = [
        json.loads(path.read_text())
        for path in (eventful.clone / "logs/tiny/uncertainty/sums").glob("*.status.json")
        if not path.name.startswith("prompts")
    ]
    assert len(jobs) >= 8
    partitions = {job["id"].split("_")[0]: job["partition"] for job in eventful.slurm.jobs()}
    for job in jobs:
        assert job["state"] == "done", job
        on_gpu = job["job"].startswith(("sample_shard", "replay_shard"))
        assert partitions[job["slurm_job"]] == ("gpu" if on_gpu else "cpu"), job
        assert (job["devices"] in ("0", "1")) if on_gpu else job["devices"] is None, job


def test_shards_are_sampled_as_an_array(eventful: Run):
    tasks = [job for job in eventful.slurm.jobs() if job["comment"].startswith("rule_sample_shard")]
    assert any("_" in job["id"] for job in tasks), tasks


def test_a_cancelled_job_was_tried_again(eventful: Run):
    cancelled = (eventful.clone / "cancelled.txt").read_text()
    states = {job["id"].split("_")[0]: job["state"] for job in eventful.slurm.jobs()}
    assert states[cancelled] in ("CANCELLED", "FAILED")
    assert eventful.status("sample_shard-0001")["slurm_job"] != cancelled


def test_a_job_over_its_memory_was_given_more(eventful: Run):
    head = (eventful.clone / "head.log").read_text() + (eventful.clone / "resume.log").read_text()
    given = [int(one) for one in re.findall(r"rule grade:.*?mem_mb=(\d+)", head, flags=re.DOTALL)]
    assert given[0] == 40
    assert given[-1] >= 640
    assert eventful.status("grade")["state"] == "done"


def test_resuming_ended_the_orphans_and_repeated_nothing_that_was_finished(eventful: Run):
    told = (eventful.clone / "resume.log").read_text()
    (run_id,) = re.findall(r"cancelled the jobs of the dead run (\S+)", told)
    assert run_id in (eventful.clone / "head.log").read_text()
    finished = (eventful.clone / "finished.txt").read_text().splitlines()
    again = re.findall(r"Finished jobid: \d+ \(Rule: (\w+)\)", told)
    assert finished.count("sample_shard") + again.count("sample_shard") == 3
    assert finished.count("replay_shard") + again.count("replay_shard") == 3
    ends = {job["id"]: job["state"] for job in eventful.slurm.jobs() if job["name"] == run_id}
    assert "RUNNING" not in ends.values()
    assert "CANCELLED" in ends.values()
