"""What a definition may say of questions that are asked under steering, and what is said where it cannot be done."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from tells.config import Experiment
from tells.config.settings import question_steering_settings

TRAIT = "epistemic/confidence"
SUMS = {"questions": "config/questions/sums.yaml"}
COLLECTIONS = {
    "sums": SUMS,
    "capitals": {**SUMS, "role": "out_of_distribution"},
    "mine": {**SUMS, "samples": "mine.jsonl"},
}


def experiment(steer: Any, **changes: Any) -> Experiment:
    content: dict[str, Any] = {
        "name": "tiny",
        "model": "small",
        "uncertainty": {"collections": COLLECTIONS},
        "traits": {"collections": [TRAIT], "steer": None},
        "agreement": {"steer": steer},
        **changes,
    }
    return Experiment.model_validate(content)


def said(steer: Any, **changes: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        experiment(steer, **changes)
    return str(caught.value)


def test_nothing_is_steered_unless_it_is_asked_for():
    assert experiment(None).steered_questions() == ()
    assert experiment(None, agreement=None).steered_questions() == ()


def test_by_default_data_sets_in_distribution_that_are_sampled_here_are_asked():
    assert experiment({}).steered_questions() == ("sums",)
    assert experiment({"collections": ["capitals", "sums"]}).steered_questions() == ("capitals", "sums")


def test_everything_that_is_wrong_is_told_at_once():
    message = said({"collections": ["summs", "mine"]}, traits=None)
    assert "the trait epistemic/confidence must also stand in traits.collections" in message
    assert "agreement.steer.collections summs must also stand in uncertainty.collections" in message
    assert "agreement.steer.collections mine: the user's own samples" in message


def test_without_questions_there_is_nothing_to_ask():
    assert "asks questions of the uncertainty study, of which there is none" in said({}, uncertainty=None)
    own = {"collections": {"mine": COLLECTIONS["mine"]}}
    assert "no data set in distribution is sampled here" in said({}, uncertainty=own)


@pytest.mark.parametrize(
    ("steer", "words"),
    [
        ({"questions": 1}, "greater than or equal to 2"),
        ({"samples": 1}, "greater than or equal to 2"),
        ({"ratio": 0}, "greater than 0"),
        ({"random_directions": 0}, "greater than 0"),
        ({"collections": []}, "at least 1"),
        ({"collections": ["sums", "sums"]}, "stands twice"),
        ({"questions": 7, "samples": 2}, "questions times samples must make up 16"),
        ({"layers": 2}, "layers"),
    ],
)
def test_a_wrong_value_is_refused(steer: dict[str, Any], words: str):
    assert words in said(steer)


def test_the_rule_is_told_what_can_change_answers_and_nothing_else():
    class Site:
        gpu_memory_gb = 7.0

    class Model:
        kind = "chat"

    def told(**changes: Any) -> dict[str, Any]:
        return question_steering_settings(experiment({"ratio": 0.3}, **changes), {"small": Model}, Site)

    assert told()["ratio"] == 0.3
    assert told()["generation"]["max_new_tokens"] == 512
    assert told()["prompt"] == "chat"
    assert told()["gpu_memory_gb"] == 7.0
    other = {"steer": {"ratio": 0.3}, "bootstrap": 7, "permutations": 70}
    assert told(agreement=other) == told()
    assert told(seed=1) != told()
    own = experiment({}).uncertainty.model_dump(exclude_unset=True)
    assert told(uncertainty={**own, "probes": {"split": {"test": 0.3, "train": 0.5}}}) != told()
    assert told(uncertainty={**own, "probes": {"regularisation": [0.5]}}) == told()
