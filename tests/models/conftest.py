"""What tests on the real default model share."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
REAL = ROOT / "resources/models/smollm2-135m-instruct/model.json"


@pytest.fixture(scope="session")
def real_manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Manifest of the real default model, fetched by the workflow if need be, its path made absolute."""
    command = [sys.executable, "-m", "snakemake", "--profile", "cpu", str(REAL.relative_to(ROOT))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    facts = json.loads(REAL.read_text())
    manifest = tmp_path_factory.mktemp("real") / "model.json"
    manifest.write_text(json.dumps({**facts, "path": str(ROOT / facts["path"])}))
    return manifest


@pytest.fixture(scope="session")
def real(real_manifest: Path):
    """The real default model in float32 on the CPU."""
    from tells.models.loading import load_model

    return load_model(real_manifest, dtype="float32", device="cpu")


@pytest.fixture(scope="session")
def sums():
    """Twelve few-shot prompts of the sums."""
    from tells.uncertainty.questions import build_prompts, load_question_set, read_questions

    question_set = load_question_set(ROOT / "config/questions/sums.yaml")
    return build_prompts(read_questions(question_set), question_set, prompt="completion", limit=12)


@pytest.fixture(scope="session")
def sums_ids(real, sums) -> list[tuple[int, ...]]:
    """Token ids of those prompts."""
    texts = [row["shared_prefix"] + row["text"] for row in sums.iter_rows(named=True)]
    return [tuple(real.tokenizer(text)["input_ids"]) for text in texts]
