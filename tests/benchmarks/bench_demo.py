"""The whole demo in a clean clone: wall time, peak memory, models loaded, and seconds lost to start-up; `make bench`.

Start-up is counted from the start of a job's process until its work begins: Python, what Snakemake puts before a
script, imports, and the loading of a model or tokenizer, as the jobs themselves record it (`tells.startup`). The whole
are the seconds of all jobs' processes. What the head itself takes is told apart.
"""

from __future__ import annotations

import argparse
import csv
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

from workflow_helpers import ROOT, SNAKEMAKE, make_clone

from tells.plan.rates import read_statuses

EXPERIMENT, TARGET_SHARE, TARGET_MINUTES = "demo", 0.12, 12.0
_EVERY_SECONDS = 0.5
_MODELS = "resources/models"


@dataclass
class Memory:
    """The most memory (MiB) that a process and its children held together, each shared page counted once."""

    peak: float = 0.0

    def watch(self, pid: int) -> None:
        """Look again and again until the process ends."""
        head = psutil.Process(pid)
        while head.is_running() and head.status() != psutil.STATUS_ZOMBIE:
            held = 0
            for process in [head, *_children(head)]:
                try:
                    held += process.memory_full_info().pss
                except psutil.Error:
                    continue
            self.peak = max(self.peak, held / 2**20)
            time.sleep(_EVERY_SECONDS)


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.Error:
        return []


def run_demo(clone: Path) -> tuple[float, float, float]:
    """Run the demo; gives seconds by the clock, the most memory (MiB), and when it began (seconds since 1970)."""
    command = [*SNAKEMAKE, "--profile", "cpu", "--config", f"experiments={EXPERIMENT}", "show=false"]
    environment = {**os.environ, "PYTHONPATH": str(clone / "workflow")}
    began, memory = time.time(), Memory()
    with open(clone / "bench_demo.log", "w") as log:
        process = subprocess.Popen(command, cwd=clone, env=environment, stdout=log, stderr=subprocess.STDOUT)
        watcher = threading.Thread(target=memory.watch, args=(process.pid,))
        watcher.start()
        process.wait()
        wall = time.time() - began
        watcher.join()
    if process.returncode:
        sys.exit((clone / "bench_demo.log").read_text()[-3000:])
    return wall, memory.peak, began


def print_rules(statuses: Iterable[dict[str, Any]]) -> None:
    """One line a rule, the longest first."""
    rules: dict[str, list[dict[str, Any]]] = {}
    for status in statuses:
        rules.setdefault(status["job"].split("-")[0], []).append(status)
    print(f"  {'rule':22s} {'jobs':>4s} {'seconds':>8s} {'start-up':>8s} {'share':>6s} {'loads':>5s} {'MiB':>6s}")
    for rule, jobs in sorted(rules.items(), key=lambda item: -sum(job["process_seconds"] for job in item[1])):
        seconds, startup, loads = (
            sum(job[key] for job in jobs) for key in ("process_seconds", "startup_seconds", "model_loads")
        )
        figures = f"{seconds:8.1f} {startup:8.1f} {startup / seconds:6.0%} {loads:5d}"
        print(f"  {rule:22s} {len(jobs):4d} {figures} {max(job['max_rss_mb'] for job in jobs):6.0f}")


def launching(logs: Path, statuses: Iterable[dict[str, Any]]) -> float:
    """Seconds that Snakemake measured around the jobs' processes, beyond those of the processes themselves."""
    measured = 0.0
    for table in logs.rglob("*.tsv"):
        with open(table, newline="") as opened:
            measured += sum(float(row["s"]) for row in csv.DictReader(opened, delimiter="\t"))
    return measured - sum(status["process_seconds"] for status in statuses)


def report(logs: Path, wall: float, memory: float, began: float) -> None:
    """Print the figures of a finished run."""
    statuses = [status for status in read_statuses(logs) if status["experiment"] == EXPERIMENT]
    seconds, startup, loads = (
        sum(status[key] for status in statuses) for key in ("process_seconds", "startup_seconds", "model_loads")
    )
    first = min(datetime.fromisoformat(status["started"]).timestamp() for status in statuses) - began
    print_rules(statuses)
    print(f"  {'all':22s} {len(statuses):4d} {seconds:8.1f} {startup:8.1f} {startup / seconds:6.0%} {loads:5d}")
    verdict = "met" if wall < TARGET_MINUTES * 60 else "MISSED"
    print(f"wall time: {wall / 60:.1f} minutes (target under {TARGET_MINUTES:.0f} on 2 cores: {verdict})")
    around = launching(logs / EXPERIMENT, statuses)
    print(f"until the first job: {first:.0f} s; around the jobs' processes: {around:.0f} s")
    print(f"peak memory: {memory:.0f} MiB of all processes together")
    print(f"models loaded: {loads}")
    share = startup / seconds
    verdict = "met" if share <= TARGET_SHARE else "MISSED"
    print(f"start-up: {startup:.0f} of {seconds:.0f} s, {share:.1%} (goal at most {TARGET_SHARE:.0%}: {verdict})")


def main() -> None:
    """Run the demo in a clone and print its figures; models that lie ready here are not fetched again."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", type=Path, help="run in this folder, which must not exist, and keep it")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        clone = make_clone(chosen.keep or Path(temporary) / "clone")
        if (ROOT / _MODELS).is_dir():
            shutil.copytree(ROOT / _MODELS, clone / _MODELS)
        print(f"demo, load of the machine before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
        wall, memory, began = run_demo(clone)
        report(clone / "logs", wall, memory, began)


if __name__ == "__main__":
    main()
