"""What tests share: tiny random models, and one demo built on the real model."""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

# A busy machine is no defect: timings are for benchmarks.
settings.register_profile("tells", deadline=None)
settings.load_profile("tells")

ROOT = Path(__file__).parents[1]
ARCHITECTURES = ("llama", "qwen3", "gemma2")


@pytest.fixture(scope="session")
def tiny_manifests(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Manifest of a tiny random model of each architecture."""
    from tells.config import ModelEntry
    from tells.models.materialise import materialise

    manifests = {}
    for architecture in ARCHITECTURES:
        manifests[architecture] = tmp_path_factory.mktemp(architecture) / "model.json"
        entry = ModelEntry(source="random", architecture=architecture, dtype="float32")
        materialise(f"tiny-{architecture}", entry, manifests[architecture])
    return manifests


@pytest.fixture(scope="session", params=ARCHITECTURES)
def tiny(request: pytest.FixtureRequest, tiny_manifests: dict[str, Path]):
    """A tiny random model, loaded, in float32 on the CPU."""
    from tells.models.loading import load_model

    return load_model(tiny_manifests[request.param], dtype="float32", device="cpu")


@pytest.fixture(scope="session")
def real_manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Manifest of the real default model."""
    return _fetched("smollm2-135m-instruct", tmp_path_factory.mktemp("real"))


@pytest.fixture(scope="session")
def real(real_manifest: Path):
    """The real default model in float32 on the CPU."""
    from tells.models.loading import load_model

    return load_model(real_manifest, dtype="float32", device="cpu")


@pytest.fixture(scope="session")
def embedding_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the real sentence embedding."""
    manifest = _fetched("all-minilm-l6-v2", tmp_path_factory.mktemp("embedding"))
    return Path(json.loads(manifest.read_text())["path"])


def _fetched(model: str, folder: Path) -> Path:
    """Manifest of a model, fetched by the workflow if need be, its path made absolute."""
    place = ROOT / f"resources/models/{model}/model.json"
    command = [sys.executable, "-m", "snakemake", "--profile", "cpu", str(place.relative_to(ROOT))]
    # A run may be under way in this tree; what lies ready needs no second one, and test processes fetch in turn.
    with open(Path(tempfile.gettempdir()) / "tells-tests-fetch.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.exists():
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
    facts = json.loads(place.read_text())
    manifest = folder / "model.json"
    manifest.write_text(json.dumps({**facts, "path": str(ROOT / facts["path"])}))
    return manifest
