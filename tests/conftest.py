"""What tests share: tiny random models, and one demo built on the real model."""

from __future__ import annotations

from pathlib import Path

import pytest

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
