"""Who runs the workflow here: a record for each head, so that what a dead one left on a cluster can be found and ended.

A head that is killed leaves its SLURM jobs running. They bear the run's identifier as their name, and the head's log
says it; the record says which log, and whether that head still lives.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tells.jobs import process_start
from tells.tables import TableError, read_json, write_json

FOLDER = Path(".snakemake/tells-heads")
_RUN = re.compile(r"SLURM run ID: (\S+)")


class LivingHeadError(RuntimeError):
    """A run is under way: there is nothing to resume, and unlocking would let two runs write the same files."""


class UnseenHeadError(RuntimeError):
    """A head of another host, of which cannot be told from here whether it lives."""


@dataclass(frozen=True)
class Head:
    """One run of snakemake.

    Attributes:
        record: its file.
        host: where it runs.
        pid: its process.
        start: when that process started, in the kernel's ticks.
        logs: Snakemake's logs of the run.
    """

    record: Path
    host: str
    pid: int
    start: str | None
    logs: tuple[str, ...]

    @property
    def here(self) -> bool:
        """Whether it belongs to this host."""
        return self.host == socket.gethostname()

    def lives(self) -> bool:
        """Whether the process is there; of this host alone."""
        return process_start(self.pid) == self.start

    def slurm_runs(self) -> list[str]:
        """Identifiers of its runs on SLURM, which its jobs bear as their names."""
        texts = [Path(log).read_text(errors="replace") for log in self.logs if Path(log).exists()]
        return [run for text in texts for run in _RUN.findall(text)]


def record_head(logs: str | Sequence[str]) -> Path:
    """Write who runs here, for `tells resume`.

    Args:
        logs: Snakemake's logs of this run.

    Returns:
        The record; it goes with `forget_head`.
    """
    pid, host = os.getpid(), socket.gethostname()
    paths = [logs] if isinstance(logs, str) else list(logs)
    record = FOLDER / f"{host}-{pid}.json"
    record.parent.mkdir(parents=True, exist_ok=True)
    write_json(record, {"host": host, "pid": pid, "start": process_start(pid), "logs": [str(path) for path in paths]})
    return record


def forget_head() -> None:
    """Delete this process's record: the run has ended, and all its jobs with it."""
    (FOLDER / f"{socket.gethostname()}-{os.getpid()}.json").unlink(missing_ok=True)


def known_heads(root: Path) -> list[Head]:
    """All heads that have a record; a record that cannot be read is passed over."""
    found = []
    for record in sorted((root / FOLDER).glob("*.json")):
        try:
            told = read_json(record)
            found.append(Head(record, told["host"], told["pid"], told["start"], tuple(told["logs"])))
        except (TableError, KeyError, TypeError):
            continue
    return found


def end_dead_heads(root: Path, *, elsewhere: bool = False, seconds: float = 120) -> list[str]:
    """Cancel the SLURM jobs of heads that are gone, wait until they have ended, and delete the heads' records.

    Args:
        root: the folder of the workflow.
        elsewhere: take heads of other hosts for dead too.
        seconds: how long to wait for the jobs to end.

    Returns:
        The runs whose jobs were cancelled.

    Raises:
        LivingHeadError: a head of this host is at work.
        UnseenHeadError: a head of another host has jobs, and `elsewhere` is not set.
        TimeoutError: a job does not end.
    """
    ended = []
    heads = known_heads(root)
    for head in heads:
        if head.here and head.lives():
            raise LivingHeadError(f"snakemake is at work here, as process {head.pid}: wait for it, or end it first")
    for head in heads:
        runs = [run for run in head.slurm_runs() if _jobs_of(run)]
        if runs and not head.here and not elsewhere:
            raise UnseenHeadError(
                f"the run {', '.join(runs)} was started on {head.host} and has jobs; whether it lives cannot be seen "
                f"from {socket.gethostname()}: resume there, or add --elsewhere if it is dead"
            )
        for run in runs:
            _cancel(run, seconds)
        ended += runs
        if head.here or elsewhere or not head.slurm_runs():
            head.record.unlink(missing_ok=True)
    return ended


def _cancel(run: str, seconds: float) -> None:
    subprocess.run(["scancel", "--name", run], check=True, capture_output=True, text=True)
    end = time.monotonic() + seconds
    while left := _jobs_of(run):
        if time.monotonic() > end:
            raise TimeoutError(f"SLURM jobs {', '.join(left)} of the dead run {run} do not end: look at `squeue`")
        time.sleep(0.5)


def _jobs_of(run: str) -> list[str]:
    """Jobs of a run that have not ended; none where there is no SLURM."""
    command = ["squeue", "--noheader", "--name", run, "--format", "%i"]
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True)
    except FileNotFoundError:
        return []
    if done.returncode:
        raise RuntimeError(f"squeue does not answer: {done.stderr.strip()}")
    return done.stdout.split()
