"""A study of generated traits on generated models: its jobs, how they become known, and what the head does for them."""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path

import pytest
from large_study import NAME, experiment_names, make_empty_study, make_large_study
from workflow_helpers import ROOT, SNAKEMAKE, dry_run_jobs, snakemake

pytestmark = pytest.mark.slow
TRAITS, MODELS = 3, 2
PLACES = TRAITS * MODELS


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_large_study(tmp_path_factory.mktemp("large"), traits=TRAITS, models=MODELS, limit=30, shard_size=40)


def test_a_dry_run_lists_the_jobs_of_every_trait_on_every_model(clone: Path):
    jobs = dry_run_jobs(clone, experiment=NAME)
    for rule in ("prompts", "merge_samples", "vet", "extract_vectors", "report_steered", "summarise_trait"):
        assert jobs[rule] == PLACES
    assert (jobs["analyse_traits"], jobs["fetch_model"]) == (MODELS, MODELS + 1)
    assert dry_run_jobs(clone, experiment=experiment_names(MODELS)[1])["vet"] == TRAITS


def test_once_the_prompts_are_prepared_a_dry_run_lists_the_jobs_of_shards_too(clone: Path):
    assert "sample_shard" not in dry_run_jobs(clone, experiment=NAME)
    assert dry_run_jobs(clone, "prepare", experiment=NAME) == {"prompts": PLACES, "prepare": 1}
    done = snakemake(clone, "prepare", experiment=NAME)
    assert done.returncode == 0, done.stdout
    jobs = dry_run_jobs(clone, experiment=NAME)
    # 60 scenarios in shards of 40.
    assert (jobs["sample_shard"], jobs["replay_shard"], jobs["prompts"]) == (2 * PLACES, 2 * PLACES, 0)
    done = snakemake(clone, "-n", experiment=NAME)
    assert "will result in alteration of the DAG" not in done.stdout


def test_the_head_looks_at_ready_jobs_once_a_job_and_once_a_second(tmp_path: Path):
    clone = make_empty_study(tmp_path / "clone", traits=4)
    began = time.monotonic()
    done = snakemake(clone, "--verbose", experiment=NAME)
    seconds = time.monotonic() - began
    assert "(100%) done" in done.stdout, done.stdout[-3000:]
    jobs = len(re.findall(r"Finished jobid:", done.stdout))
    looks = len(re.findall(r"Ready jobs: \d+", done.stdout))
    assert jobs > 50
    assert looks <= jobs + seconds


GROUPED = """
include: {graph!r}
def files_of_group(wildcards, groupid):
    return f"part-{{groupid}}.txt"
rule use:
    input: files_of_group
    output: "used.txt"
    group: "one"
    shell: "cat {{input}} > {{output}}"
rule make:
    output: "part-{{name}}.txt"
    group: "one"
    shell: "echo {{wildcards.name}} > {{output}}"
"""


def test_a_rule_that_asks_for_the_name_of_its_group_gets_its_files(tmp_path: Path):
    (tmp_path / "Snakefile").write_text(GROUPED.format(graph=str(ROOT / "rules/graph.smk")))
    done = subprocess.run([*SNAKEMAKE, "--cores", "1"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "used.txt").read_text() == "local\n"
