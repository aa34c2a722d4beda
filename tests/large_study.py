"""A clone with an experiment far larger than any that ships: many traits on many models, to see what breaks first.

The traits are copies of those in config/traits under other names, the models tiny random ones, so that every part of
it can also be run.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import yaml
from workflow_helpers import ROOT, add_models, make_clone, write_experiment

NAME = "large"
CATEGORY = "many"
_EMPTY = '''"""Writes outputs and nothing else."""
from pathlib import Path
for output in snakemake.output:
    Path(output).parent.mkdir(parents=True, exist_ok=True)
    Path(output).touch()
Path(snakemake.log[0]).touch()
'''
_REAL = ("prompts.py",)


def make_large_study(folder: Path, *, traits: int = 100, models: int = 10, **changes: Any) -> Path:
    """Make a clone with the experiments `large-model-00`, `large-model-01` …, each with all traits, all steered.

    Args:
        folder: becomes the clone.
        traits: how many.
        models: how many.
        **changes: keys of the traits study.
    """
    clone = make_clone(folder)
    names = [f"{CATEGORY}/trait-{number:03d}" for number in range(traits)]
    sources = sorted(path.parent for path in (ROOT / "config/traits").glob("*/*/definition.yaml"))
    for number, name in enumerate(names):
        copy = Path(shutil.copytree(sources[number % len(sources)], clone / "config/traits" / name))
        definition = yaml.safe_load((copy / "definition.yaml").read_text(encoding="utf-8"))
        (copy / "definition.yaml").write_text(yaml.safe_dump({**definition, "name": name}), encoding="utf-8")
    entries = {f"model-{number:02d}": _random_model(number) for number in range(models)}
    add_models(clone, **entries)
    write_experiment(clone, {"models": list(entries), "seed": 1, "traits": {"collections": names, **changes}}, NAME)
    return clone


def make_empty_study(folder: Path, traits: int, models: int = 1) -> Path:
    """Make a large study whose scripts do nothing, but for the one that makes prompts: the head is all that works."""
    clone = make_large_study(folder, traits=traits, models=models)
    for script in (clone / "workflow/scripts").glob("*.py"):
        if script.name not in _REAL:
            script.write_text(_EMPTY)
    return clone


def experiment_names(models: int) -> list[str]:
    """Names of the experiments of a large study."""
    return [f"{NAME}-model-{number:02d}" for number in range(models)]


def _random_model(seed: int) -> dict[str, Any]:
    return {"source": "random", "architecture": "llama", "kind": "base", "seed": seed, "dtype": "float32"}
