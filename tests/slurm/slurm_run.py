"""A clone of the project on the SLURM of the tests, and its head process."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster import Cluster
from workflow_helpers import SNAKEMAKE, environment

# As a user would start it, but for the pauses between looks, which suit a cluster with a longer queue.
PAUSES = ("--slurm-init-seconds-before-status-checks", "1", "--seconds-between-status-checks", "1")


@dataclass(frozen=True)
class SlurmRun:
    """One experiment of a clone, run through profiles/slurm.

    Attributes:
        clone: the clone.
        slurm: the SLURM.
        experiment: name of the experiment.
        targets: files to make; none for all.
        config: further settings of the site, as `key=value`.
    """

    clone: Path
    slurm: Cluster
    experiment: str
    targets: tuple[str, ...] = ()
    config: tuple[str, ...] = ()

    @property
    def environment(self) -> dict[str, str]:
        """Of a process that starts jobs there."""
        ours = environment(self.clone)
        return {**self.slurm.environment, "PYTHONPATH": ours["PYTHONPATH"], "OMP_NUM_THREADS": ours["OMP_NUM_THREADS"]}

    @property
    def options(self) -> list[str]:
        """What stands after `snakemake`, or after `tells resume`."""
        chosen = ["--profile", "slurm", *PAUSES, "--latency-wait", "20"]
        return [*chosen, "--config", f"experiments={self.experiment}", *self.config, "--", *self.targets]

    @property
    def head_log(self) -> str:
        """What the first head said."""
        return (self.clone / "head.log").read_text()

    def start(self) -> subprocess.Popen:
        """Start the head."""
        with open(self.clone / "head.log", "a") as log:
            command = [*SNAKEMAKE, *self.options]
            return subprocess.Popen(command, cwd=self.clone, env=self.environment, stdout=log, stderr=log)

    def start_resume(self) -> subprocess.Popen:
        """Start `tells resume`."""
        with open(self.clone / "resume.log", "a") as log:
            command = [sys.executable, "-m", "tells.cli", "resume", *self.options]
            return subprocess.Popen(command, cwd=self.clone, env=self.environment, stdout=log, stderr=log)

    def statuses(self) -> list[dict[str, Any]]:
        """What all jobs' status files say."""
        return [json.loads(path.read_text()) for path in sorted(self._logs.rglob("*.status.json"))]

    def status(self, place: str) -> dict[str, Any]:
        """What one job's status file says, by its place below the experiment's logs; empty where there is none."""
        path = self._logs / f"{place}.status.json"
        return json.loads(path.read_text()) if path.exists() else {}

    def at_work(self, place: str, but: str | None = None) -> str:
        """SLURM's number of a job once it has its model and is at work; not that of an earlier attempt."""
        log = self._logs / f"{place}.log"

        def running() -> str | None:
            status = self.status(place)
            if status.get("state") == "running" and status["slurm_job"] != but and "loaded tiny" in log.read_text():
                return status["slurm_job"]
            return None

        return self.wait(f"{place} at work", running)

    def wait(self, what: str, condition: Callable[[], Any]) -> Any:
        """Wait as the cluster does, and tell what the heads said if it is in vain."""
        try:
            return self.slurm.wait_for(what, condition, seconds=240)
        except AssertionError as error:
            said = [path.read_text()[-4000:] for path in sorted(self.clone.glob("*.log"))]
            raise AssertionError("\n".join([str(error), *said])) from None

    @property
    def _logs(self) -> Path:
        return self.clone / "logs" / self.experiment
