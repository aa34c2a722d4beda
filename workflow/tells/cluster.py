"""What a SLURM cluster lacks for a profile: partitions, GPUs, and on the nodes the environment and the folders.

Part of what `tells doctor --profile slurm` looks at. Each partition is asked by a small job of its own.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tells.examination import Finding, hub_cache_folder

# Rules that ask for a GPU; a profile sends each to a partition that has some.
GPU_RULES = (
    "sample_shard",
    "sample_adaptively",
    "replay_shard",
    "ask_p_true",
    "generate_steered",
    "report_steered",
    "steer_questions",
    "ask_guard",
)
_PATIENCE_SECONDS = 120
_PARTITION = re.compile(r"(?:^|[:,])slurm_partition=([\w.-]+)")
_ACCOUNT = re.compile(r"(?:^|[:,])slurm_account=([\w.-]+)")
_RULE = re.compile(r"^(\w+):")
# Runs on a node, so it may use nothing but Python until it knows what is there.
_QUESTION = """
import json, os, sys, tempfile, uuid
told = {"host": os.uname().nodename, "devices": os.environ.get("CUDA_VISIBLE_DEVICES"), "unwritable": {}}
for module in ("tells", "snakemake", "polars", "torch"):
    try:
        __import__(module)
    except Exception as error:
        told.setdefault("missing", {})[module] = f"{type(error).__name__}: {error}"
for folder in [*sys.argv[1:], tempfile.gettempdir()]:
    path = os.path.join(folder, f".tells-{uuid.uuid4().hex}")
    try:
        with open(path, "w") as file:
            file.write("x")
        os.unlink(path)
    except OSError as error:
        told["unwritable"][folder] = str(error)
told["sees"] = os.path.exists(os.path.join(sys.argv[1], "Snakefile"))
print(json.dumps(told))
"""


@dataclass(frozen=True)
class Partition:
    """A partition as `sinfo` tells it: whether it is up, and whether its nodes have GPUs."""

    name: str
    up: bool
    gpus: bool


def examine_cluster(root: Path, profile: Path, gpu_rules: Sequence[str] = GPU_RULES) -> list[Finding]:
    """Everything a profile asks of SLURM that is not there.

    Args:
        root: the folder of the workflow.
        profile: the profile's folder or its config.yaml.
        gpu_rules: names of the rules that ask for a GPU.

    Returns:
        The findings; none where all is well.
    """
    settings = _profile(profile)
    if isinstance(settings, Finding):
        return [settings]
    for program in ("sinfo", "sbatch", "srun", "squeue"):
        if shutil.which(program) is None:
            return [Finding("error", f"{program} is not here", "run this on a login node of the cluster")]
    known = _partitions()
    if isinstance(known, Finding):
        return [known]
    wanted = partitions_of(settings, gpu_rules)
    findings = list(_unfit(wanted, known, profile))
    if not findings:
        for name, gpu in wanted.items():
            findings += _asked_node(root, name, gpu=gpu, account=account_of(settings))
    return findings


def partitions_of(settings: Mapping[str, Any], gpu_rules: Sequence[str] = GPU_RULES) -> dict[str, bool]:
    """Partitions that a profile names, and whether rules for the GPU go there.

    Args:
        settings: content of the profile's config.yaml.
        gpu_rules: names of the rules that ask for a GPU.
    """
    wanted: dict[str, bool] = {}
    default = None
    for entry in _entries(settings.get("default-resources")):
        if found := _PARTITION.search(entry):
            default = found[1]
            wanted.setdefault(default, False)
    placed = set()
    for entry in _entries(settings.get("set-resources")):
        rule, found = _RULE.match(entry), _PARTITION.search(entry)
        if rule and found:
            wanted[found[1]] = wanted.get(found[1], False) or rule[1] in gpu_rules
            placed.add(rule[1])
    if default is not None and set(gpu_rules) - placed:
        wanted[default] = True
    return wanted


def account_of(settings: Mapping[str, Any]) -> str | None:
    """The account that a profile's jobs are charged to, where it names one."""
    found = [_ACCOUNT.search(entry) for entry in _entries(settings.get("default-resources"))]
    return next((one[1] for one in found if one), None)


def _entries(value: Any) -> list[str]:
    """The profile's list, or its mapping in the same words."""
    if isinstance(value, Mapping):
        flat = []
        for key, inner in value.items():
            if isinstance(inner, Mapping):
                flat += [f"{key}:{name}={one}" for name, one in inner.items()]
            else:
                flat.append(f"{key}={inner}")
        return flat
    return [str(entry) for entry in value or ()]


def _profile(profile: Path) -> Mapping[str, Any] | Finding:
    path = profile / "config.yaml" if profile.is_dir() else profile
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        return Finding("error", f"the profile {profile} cannot be read: {error}", "name a folder with a config.yaml")
    if not isinstance(content, Mapping):
        return Finding("error", f"the profile {profile} is no mapping", "name a folder with a config.yaml")
    return content


def _partitions() -> dict[str, Partition] | Finding:
    done = subprocess.run(["sinfo", "--noheader", "--format", "%R|%a|%G"], capture_output=True, text=True, check=False)
    if done.returncode:
        return Finding("error", f"sinfo does not answer: {done.stderr.strip()}", "ask the cluster's administrators")
    found: dict[str, Partition] = {}
    for line in done.stdout.splitlines():
        name, state, gres = line.split("|", 2)
        before = found.get(name, Partition(name, up=False, gpus=False))
        found[name] = Partition(name, before.up or state == "up", before.gpus or "gpu" in gres)
    return found


def _unfit(wanted: Mapping[str, bool], known: Mapping[str, Partition], profile: Path) -> Iterator[Finding]:
    there = ", ".join(sorted(known)) or "none"
    for name, gpu in wanted.items():
        if name not in known:
            cure = f"put one of these into {profile}/config.yaml: {there}"
            yield Finding("error", f"there is no partition {name!r}", cure)
        elif not known[name].up:
            yield Finding("error", f"the partition {name!r} is not up", "wait, or name another")
        elif gpu and not known[name].gpus:
            fit = ", ".join(sorted(one.name for one in known.values() if one.gpus)) or "none"
            what = f"rules for the GPU go to the partition {name!r}, which has no `gpu` among its gres"
            yield Finding("error", what, f"partitions with GPUs: {fit}")


def _asked_node(root: Path, partition: str, *, gpu: bool, account: str | None) -> list[Finding]:
    """What a job in the partition sees."""
    folders = [str(root.resolve()), *([str(hub_cache_folder())] if hub_cache_folder().exists() else [])]
    command = ["srun", "--partition", partition, "--ntasks", "1", "--mem", "1000", "--time", "5", "--chdir", folders[0]]
    command += [*(["--gpus", "1"] if gpu else []), *(["--account", account] if account else [])]
    environment = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    try:
        done = subprocess.run(
            [*command, sys.executable, "-c", _QUESTION, *folders],
            capture_output=True,
            text=True,
            timeout=_PATIENCE_SECONDS,
            check=False,
            env=environment,
        )
    except subprocess.TimeoutExpired:
        what = f"no node of the partition {partition!r} was free within {_PATIENCE_SECONDS} s, so none was looked at"
        return [Finding("warning", what, "try again when it is less busy")]
    if done.returncode:
        what = f"a job in the partition {partition!r} fails: {' '.join(done.stderr.split())[-300:]}"
        cure = f"the nodes need this environment ({sys.prefix}) and this folder: both on a shared disk"
        return [Finding("error", what, cure)]
    return list(_seen_faults(json.loads(done.stdout.splitlines()[-1]), partition, gpu=gpu))


def _seen_faults(told: Mapping[str, Any], partition: str, *, gpu: bool) -> Iterator[Finding]:
    where = f"node {told['host']} of the partition {partition!r}"
    for module, error in told.get("missing", {}).items():
        yield Finding("error", f"{where} cannot import {module}: {error}", f"put {sys.prefix} on a shared disk")
    if not told["sees"]:
        yield Finding("error", f"{where} does not see this folder", "put the clone on a shared disk")
    for folder, error in told["unwritable"].items():
        yield Finding("error", f"{where} cannot write to {folder}: {error}", "make it writable there, or move it")
    if gpu and not told["devices"]:
        yield Finding("error", f"{where} gives a job no GPU (CUDA_VISIBLE_DEVICES is empty)", "look at its gres.conf")
