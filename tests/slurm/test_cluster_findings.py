"""What the doctor says of a real SLURM that does not fit the profile."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import yaml
from cluster import Cluster
from workflow_helpers import ROOT

from tells.cluster import GPU_RULES, account_of, examine_cluster, partitions_of

pytestmark = pytest.mark.slow


@pytest.fixture
def place(tmp_path: Path, slurm: Cluster, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a Snakefile and the project's SLURM profile, in the environment of the cluster."""
    for name in ("SLURM_CONF", "PATH"):
        monkeypatch.setenv(name, slurm.environment[name])
    (tmp_path / "Snakefile").write_text("")
    shutil.copytree(ROOT / "profiles/slurm", tmp_path / "profile")
    return tmp_path


def _changed(place: Path, old: str, new: str) -> Path:
    config = place / "profile/config.yaml"
    text = config.read_text()
    assert old in text
    config.write_text(text.replace(old, new))
    return place / "profile"


def test_the_profile_sends_every_rule_for_the_gpu_to_a_partition_of_its_own():
    settings = yaml.safe_load((ROOT / "profiles/slurm/config.yaml").read_text())
    placed = {entry.split(":")[0] for entry in settings["set-resources"] if entry.endswith("slurm_partition=gpu")}
    asking = set()
    for path in (ROOT / "rules").glob("*.smk"):
        for text in re.split(r"(?m)^(?=rule |checkpoint )", path.read_text()):
            if re.search(r"\n\s+gpu=", text):
                asking.add(re.match(r"\w+ (\w+):", text)[1])
    assert placed == asking == set(GPU_RULES)
    assert partitions_of(settings) == {"cpu": False, "gpu": True}


def test_a_cluster_that_fits_has_no_findings(place: Path):
    assert examine_cluster(place, place / "profile") == []


def test_a_partition_that_is_not_there_is_told_with_those_that_are(place: Path):
    profile = _changed(place, "slurm_partition=gpu", "slurm_partition=a100")
    (finding,) = examine_cluster(place, profile)
    assert finding.severity == "error"
    assert "no partition 'a100'" in finding.what
    assert "cpu, gpu" in finding.cure


def test_a_partition_that_is_down_is_told(place: Path, slurm: Cluster):
    slurm.run("scontrol", "update", "PartitionName=cpu", "State=DOWN")
    try:
        (finding,) = examine_cluster(place, place / "profile")
        assert "'cpu' is not up" in finding.what
    finally:
        slurm.run("scontrol", "update", "PartitionName=cpu", "State=UP")


def test_a_node_that_does_not_see_the_folder_is_told(place: Path):
    (place / "Snakefile").unlink()
    findings = examine_cluster(place, place / "profile")
    assert {finding.cure for finding in findings} == {"put the clone on a shared disk"}


def test_rules_for_the_gpu_in_a_partition_of_the_default_are_seen():
    settings = {"default-resources": ["slurm_partition=main"], "set-resources": ["replay_shard:slurm_partition=big"]}
    assert partitions_of(settings) == {"main": True, "big": True}
    as_mapping = {
        "default-resources": {"slurm_partition": "main"},
        "set-resources": {"merge": {"slurm_partition": "b"}},
    }
    assert partitions_of(as_mapping, ("merge",)) == {"main": False, "b": True}


def test_the_account_of_the_profile_is_the_one_that_is_charged():
    assert account_of({"default-resources": ["slurm_partition=main", "slurm_account=lab-7", "mem_mb=1"]}) == "lab-7"
    assert account_of({"default-resources": {"slurm_account": "lab"}}) == "lab"
    assert account_of({"default-resources": ["slurm_partition=main"]}) is None


def test_a_login_node_without_slurm_is_told(place: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "/nowhere")
    (finding,) = examine_cluster(place, place / "profile")
    assert "sinfo is not here" in finding.what
