"""Questions asked under steering on a tiny random model: which runs are the study's own, what is scaled by what."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tells.agreement.steered_runs import Asking, SteeredAnswers, arms_of, ask_under_steering
from tells.config import GenerationConfig
from tells.safety.confidence import token_confidence

NAMES, LAYER = ("uncertainty", "sums"), 1


@pytest.fixture(scope="module")
def loaded(tiny_manifests: dict[str, Path]):
    from tells.models.loading import load_model

    return load_model(tiny_manifests["llama"], dtype="float32", device="cpu")


@pytest.fixture(scope="module")
def questions() -> pl.DataFrame:
    names = [f"q{number}" for number in range(5)]
    return pl.DataFrame(
        {
            "prompt_id": names,
            "group": [f"g{name}" for name in names],
            "text": [f"Question: {number} + 4?\nAnswer:" for number in range(5)],
            "shared_prefix": [""] * 5,
            "system_prompt": pl.Series([None] * 5, dtype=pl.String),
            "split": ["test"] * 5,
        }
    )


def asking(**changes: object) -> Asking:
    generation = GenerationConfig(max_new_tokens=10, temperature=0.8)
    told = {"generation": generation, "prompt": "completion", "names": NAMES, "seed": 3, "samples": 2, "batch_size": 4}
    return Asking(**{**told, **changes})


def vector_of(loaded, seed: int = 0) -> np.ndarray:
    drawn = np.random.default_rng(seed).normal(size=loaded.model.config.get_text_config().hidden_size)
    return (drawn / np.linalg.norm(drawn)).astype(np.float32)


@pytest.fixture(scope="module")
def answers(loaded, questions: pl.DataFrame) -> SteeredAnswers:
    arms = arms_of(vector_of(loaded), 2, seed=1)
    return ask_under_steering(questions, loaded, arms, layer=LAYER, ratio=2.0, asking=asking())


def of_arm(answers: SteeredAnswers, arm: str) -> pl.DataFrame:
    return answers.samples.filter(pl.col("prompt_id").str.starts_with(f"{arm}/"))


def test_unsteered_answers_are_those_that_the_study_would_draw(answers: SteeredAnswers, loaded, questions):
    from tells.models.engines.hf import HfEngine
    from tells.models.runs import sample_prompts

    own, facts = sample_prompts(
        questions,
        HfEngine(loaded, batch_size=4),
        loaded.manifest,
        names=NAMES,
        seed=3,
        samples=2,
        greedy=False,
        settings=asking().generation,
        prompt="completion",
        top_logprobs=20,
    )
    unsteered = of_arm(answers, "baseline")
    assert unsteered["token_ids"].to_list() == own["token_ids"].to_list()
    assert unsteered["seed"].to_list() == own["seed"].to_list()
    assert {key: answers.facts[key] for key in facts} == facts
    expected = [token_confidence(np.array(row), k=20) for row in own["topk_logprobs"].to_list()]
    for found, right in zip(unsteered["confidence"].to_list(), expected, strict=True):
        assert np.allclose(found, right, atol=1e-5)


def test_arms_share_prompts_and_seeds_and_differ_in_answers(answers: SteeredAnswers):
    arms = ["baseline", "plus", "minus", "random-0", "random-1"]
    assert answers.prompts["arm"].unique(maintain_order=True).to_list() == arms
    assert answers.samples["prompt_id"].unique(maintain_order=True).to_list() == answers.prompts["prompt_id"].to_list()
    parts = [of_arm(answers, arm) for arm in arms]
    for part in parts[1:]:
        assert part["seed"].to_list() == parts[0]["seed"].to_list()
        assert part["prompt_token_ids"].to_list() == parts[0]["prompt_token_ids"].to_list()
    told = [part["confidence"].to_list() for part in parts]
    assert all(told[left] != told[right] for left in range(5) for right in range(left))


def test_the_coefficient_is_the_ratio_of_the_norm_of_unsteered_states(answers: SteeredAnswers, loaded):
    from tells.models.measures import response_norms
    from tells.models.runs import replay_row

    rows = [
        replay_row(loaded.tokenizer, row, opened=answers.facts["opened"], think_end=loaded.manifest["think_end"])
        for row in of_arm(answers, "baseline").iter_rows(named=True)
    ]
    norm = response_norms(loaded, rows, [LAYER])[LAYER]
    assert answers.facts["norm"] == pytest.approx(norm, rel=1e-5)
    assert answers.facts["coefficient"] == pytest.approx(2.0 * norm, rel=1e-5)


def test_steering_against_the_direction_is_steering_along_its_opposite(answers: SteeredAnswers, loaded, questions):
    other = ask_under_steering(
        questions, loaded, arms_of(-vector_of(loaded), 1, seed=1), layer=LAYER, ratio=2.0, asking=asking()
    )
    assert of_arm(other, "plus")["token_ids"].to_list() == of_arm(answers, "minus")["token_ids"].to_list()


def test_a_vector_of_another_width_is_refused(loaded, questions: pl.DataFrame):
    arms = arms_of(np.ones(3, dtype=np.float32) / np.sqrt(3).astype(np.float32), 1, seed=1)
    with pytest.raises(ValueError, match="3"):
        ask_under_steering(questions, loaded, arms, layer=LAYER, ratio=1.0, asking=asking())
