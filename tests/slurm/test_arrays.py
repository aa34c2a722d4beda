"""Arrays on a real SLURM: no task touches another's file, and none is forgotten where the queue is short."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from cluster import Cluster
from slurm_run import PAUSES
from workflow_helpers import ROOT, SNAKEMAKE

pytestmark = pytest.mark.slow
TASKS = 5
# With two devices, the last task of an array begins when the first has ended; it fails once.
SNAKEFILE = f"""
include: "arrays.smk"


rule all:
    input:
        expand("made/{{task}}.txt", task=range({TASKS})),
    localrule: True


rule make:
    output:
        "made/{{task}}.txt",
    resources:
        gpu=1,
        mem_mb=500,
        runtime=5,
    shell:
        "echo {{wildcards.task}} >> times.txt; "
        "if [ ${{{{SLURM_ARRAY_TASK_ID:-0}}}} = {TASKS} ] && mkdir failed; then exit 1; fi; echo made > {{output}}"
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    shutil.copy(ROOT / "rules/arrays.smk", tmp_path)
    return tmp_path


def run(place: Path, slurm: Cluster, *options: str) -> str:
    """Run all tasks; gives what snakemake said."""
    chosen = ("--executor", "slurm", "--slurm-array-jobs", "make", "--slurm-status-command", "squeue")
    patience = ("--latency-wait", "3", "--default-resources", "slurm_partition=gpu")
    done = subprocess.run(
        [*SNAKEMAKE, *chosen, *patience, *PAUSES, *options],
        cwd=place,
        env=slurm.environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def made(place: Path) -> list[int]:
    return sorted(int(line) for line in (place / "times.txt").read_text().split())


def test_tasks_of_an_array_leave_each_others_files_alone(place: Path, slurm: Cluster):
    told = run(place, slurm, "--jobs", "10", "--retries", "1")
    assert re.search(rf"The individual task IDs are 1-{TASKS}\.", told)
    assert (place / "failed").exists()
    assert {*made(place)} == {*range(TASKS)}
    assert len(made(place)) == TASKS + 1
    assert len([*(place / "made").iterdir()]) == TASKS


def test_a_queue_shorter_than_what_is_ready_forgets_no_job(place: Path, slurm: Cluster):
    told = run(place, slurm, "--jobs", "2")
    assert "The individual task IDs are 1-2." in told
    assert made(place) == [*range(TASKS)]
