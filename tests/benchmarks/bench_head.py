"""What Snakemake itself takes to see a large study through, and the files that are left: `make bench`.

The scripts are replaced by one that writes empty outputs, so that jobs take next to nothing and the head can be told
apart from them. Once all at once, and once with the prompts prepared first: after each checkpoint Snakemake goes
through its graph again.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from large_study import NAME, make_empty_study
from workflow_helpers import SNAKEMAKE, environment

SIZES = (10, 20, 40)
MODELS = 1
FOLDERS = ("experiments", "logs", ".snakemake/metadata")


@dataclass(frozen=True)
class Head:
    """Seconds by the clock, processor seconds of the head without its jobs, and its most memory (MiB)."""

    wall: float
    processor: float
    memory: float

    def __add__(self, other: Head) -> Head:
        return Head(self.wall + other.wall, self.processor + other.processor, max(self.memory, other.memory))


def run_head(clone: Path, *targets: str) -> Head:
    """Run the study to its end."""
    script = clone / "head.py"
    script.write_text(
        "import atexit, resource, runpy, sys\n"
        "used = lambda: resource.getrusage(resource.RUSAGE_SELF)\n"
        "atexit.register(lambda: print(used().ru_utime + used().ru_stime, used().ru_maxrss / 1024, file=sys.stderr))\n"
        "runpy.run_module('snakemake', run_name='__main__', alter_sys=True)\n"
    )
    command = [sys.executable, str(script), "--profile", "cpu", *targets]
    command += ["--config", f"experiments={NAME}", "show=false"]
    began = time.perf_counter()
    done = subprocess.run(command, cwd=clone, env=environment(clone), capture_output=True, text=True, check=False)
    wall = time.perf_counter() - began
    if done.returncode:
        sys.exit(done.stderr[-3000:])
    processor, memory = map(float, done.stderr.splitlines()[-1].split())
    return Head(wall, processor, memory)


def count_files(clone: Path) -> str:
    """Files below each folder, and what they take on disk."""
    told = []
    for folder in FOLDERS:
        paths = [path for path in (clone / folder).rglob("*") if path.is_file()]
        told.append(f"{folder} {len(paths)} ({sum(path.stat().st_size for path in paths) / 1e6:.1f} MB)")
    return ", ".join(told)


def jobs_done(clone: Path) -> int:
    """How many jobs Snakemake counted in this clone's last run."""
    command = [*SNAKEMAKE, "--profile", "cpu", "-n", "--config", f"experiments={NAME}"]
    done = subprocess.run(command, cwd=clone, env=environment(clone), capture_output=True, text=True, check=False)
    if "Nothing to be done" not in done.stdout + done.stderr:
        sys.exit(f"the run has left something undone: {done.stdout[-2000:]}")
    return sum(1 for path in (clone / ".snakemake/metadata").rglob("*") if path.is_file())


def main() -> None:
    """Print the figures of each size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--traits", type=int, nargs="+", default=list(SIZES), help="how many traits, one run each")
    print(f"load of the machine before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
    print(f"traits x {MODELS}   way                  wall s  head's processor s  peak MiB")
    for traits in parser.parse_args().traits:
        for prepared in (False, True):
            with tempfile.TemporaryDirectory() as folder:
                clone = make_empty_study(Path(folder), traits, MODELS)
                head = run_head(clone, "prepare") + run_head(clone) if prepared else run_head(clone)
                way = "prepare, then all" if prepared else "all at once"
                print(
                    f"{traits:10d}   {way:18s} {head.wall:8.0f} {head.processor:19.1f} {head.memory:9.0f}", flush=True
                )
                files = f"outputs known to Snakemake: {jobs_done(clone)}; files: {count_files(clone)}"
        print(f"             {files}")


if __name__ == "__main__":
    main()
