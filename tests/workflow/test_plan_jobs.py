"""The jobs that a plan counts from a definition are those that a dry run lists once the prompts are there."""

from __future__ import annotations

from pathlib import Path

import pytest
from workflow_helpers import TINY, dry_run_jobs, make_clone, snakemake, tiny_safety, tiny_traits, write_experiment

from tells.config import load_experiments
from tells.plan import plan

pytestmark = pytest.mark.slow
ASKED = ("uncertainty/sums", "uncertainty/capitals", "traits/behavioral/formality", "traits/epistemic/optimism")
PROMPTS = [f"experiments/tiny/{place}/prompts.parquet" for place in (*ASKED, "safety/builtin")]


def definition(judge: dict, **changes: object) -> dict:
    """All three studies on a tiny model and the agreement between them; two traits, one of them steered."""
    studies = {"traits": tiny_traits()["traits"], "safety": tiny_safety(**changes)["safety"]}
    steer = {"questions": 8, "samples": 2, "random_directions": 1}
    agreement = {"confidence_trait": "behavioral/formality", "steer": steer}
    uncertainty = {**TINY["uncertainty"], "p_true": True}
    return {**TINY, "judge": judge, **studies, "agreement": agreement, "uncertainty": uncertainty}


def counted(clone: Path) -> dict[str, int | None]:
    return plan(clone, load_experiments(clone, ["tiny"])["tiny"]).jobs


def test_a_plan_counts_the_jobs_of_a_dry_run(tmp_path: Path):
    clone = make_clone(tmp_path)
    write_experiment(clone, definition({"provider": "exemplar"}))
    before = counted(clone)
    done = snakemake(clone, *PROMPTS)
    assert done.returncode == 0, done.stdout
    services = {"provider": "openai", "base_url": "http://localhost:1/v1", "key_variable": "TINY_KEY"}
    guarded = definition(services, labels={"refusal": "judge", "harm": "wildguard"}, stopping={"warmup": 2})
    for told in (definition({"provider": "exemplar"}), guarded):
        write_experiment(clone, told)
        listed = dry_run_jobs(clone) - dry_run_jobs(clone, *PROMPTS)
        del listed["all"]
        assert counted(clone) == {**listed, "prompts": len(PROMPTS)}
    # The prompts that are there have changed nothing.
    write_experiment(clone, definition({"provider": "exemplar"}))
    assert counted(clone) == before
