"""What it takes to make the graph of jobs: `snakemake -n` on generated studies, up to 100 traits on 10 models."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from large_study import NAME, make_large_study
from workflow_helpers import SNAKEMAKE, environment

SIZES = ((10, 1), (10, 10), (100, 10))
REPEATS, TARGET_SECONDS = 2, 20.0


@dataclass(frozen=True)
class DryRun:
    """What a dry run took: seconds by the clock and of the processor, the most memory (MiB), and jobs it lists."""

    wall: float
    processor: float
    memory: float
    jobs: int


def dry_run(clone: Path) -> DryRun:
    """`snakemake -n` in a clone, its output read as a terminal would."""
    command = [*SNAKEMAKE, "--profile", "cpu", "-n", "--config", f"experiments={NAME}"]
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, cwd=clone, env=environment(clone), stdout=output, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        output.seek(0)
        text = output.read()
    if status:
        sys.exit(text[-3000:])
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    jobs = int(re.search(r"^total +(\d+)$", text, re.MULTILINE)[1])
    return DryRun(wall, processor, used.ru_maxrss / 1024, jobs)


def main() -> None:
    """Print the figures of each size; the last is the one with a target."""
    print("traits x models    jobs   wall s   processor s   ms per job   peak MiB")
    for traits, models in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            clone = make_large_study(Path(folder), traits=traits, models=models)
            best = min((dry_run(clone) for _ in range(REPEATS)), key=lambda run: run.wall)
        per_job = best.processor / best.jobs * 1000
        print(
            f"{traits:6d} x {models:<6d} {best.jobs:7d} {best.wall:8.1f} {best.processor:13.1f} {per_job:12.2f} "
            f"{best.memory:10.0f}"
        )
    verdict = "met" if best.wall < TARGET_SECONDS else "MISSED"
    print(f"target: {traits} traits x {models} models under {TARGET_SECONDS:.0f} s by the clock: {verdict}")


if __name__ == "__main__":
    main()
