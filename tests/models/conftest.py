"""What tests on the real default model share."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


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
