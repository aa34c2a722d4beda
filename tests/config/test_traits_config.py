"""What a definition may say of traits, of steering and of the judge, and what is said where it says too much."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from tells.config import ConfigError, Experiment, load_workflow
from tells.config.judge import JudgeConfig
from tells.config.load import Problem

OPTIMISM, FORMALITY = "epistemic/optimism", "behavioral/formality"
MODELS = {
    "small": {"source": "random", "architecture": "llama"},
    "large": {"source": "random", "architecture": "qwen3"},
    "all-minilm-l6-v2": {"source": "hub", "task": "embed", "id": "owner/sentences"},
}
REMOVED = object()


class Place:
    """A folder with a catalogue, two traits and one experiment that names one of them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in (OPTIMISM, FORMALITY):
            self.write(f"config/traits/{name}/definition.yaml", {})
        self.write("config/config.yaml", {"experiments": ["demo"]})
        self.write("config/models.yaml", MODELS)

    def write(self, file: str, content: Any) -> None:
        path = self.root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(content), encoding="utf-8")

    def load(self, traits: Any = None, **content: Any) -> Experiment:
        """The experiment with these keys of its traits study."""
        study = {"collections": [OPTIMISM], **(traits or {})}
        study = {key: value for key, value in study.items() if value is not REMOVED}
        self.write("experiments/demo.yaml", {"model": "small", "traits": study, **content})
        _, experiments = load_workflow(self.root)
        return experiments["demo"]

    def problem(self, traits: Any = None, **content: Any) -> Problem:
        """The one problem of it."""
        with pytest.raises(ConfigError) as caught:
            self.load(traits, **content)
        (problem,) = caught.value.problems
        return problem


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


# the study


def test_a_trait_alone_is_a_study_with_its_defaults(place: Place):
    found = place.load()
    assert found.studies() == ["traits"]
    assert found.trait_names() == (OPTIMISM,)
    traits = found.traits
    assert (traits.samples, traits.rollouts, traits.greedy, traits.thinking) == (1, 1, False, False)
    assert (traits.window, traits.methods) == ("response[:16]", ("mean_difference", "probe", "fisher"))
    assert (traits.vet.positive_min, traits.vet.negative_max, traits.vet.minimum) == (60, 40, 30)
    assert traits.steered() == (OPTIMISM,)
    assert found.judge.provider == "exemplar"


def test_rollouts_are_the_samples_of_the_shared_stages(place: Place):
    assert place.load({"rollouts": 3}).traits.samples == 3


@pytest.mark.parametrize(
    ("traits", "key", "said"),
    [
        ({"collections": []}, "collections", "at least 1"),
        ({"collections": REMOVED}, "collections", "required"),
        ({"collections": ["optimism"]}, "collections.0", "pattern"),
        ({"collections": ["Epistemic/Optimism"]}, "collections.0", "pattern"),
        ({"collections": ["a/b/c"]}, "collections.0", "pattern"),
        ({"collections": ["../optimism"]}, "collections.0", "pattern"),
        ({"collections": [OPTIMISM, OPTIMISM]}, "collections", "stands twice"),
        ({"collections": ["models/optimism"]}, "collections", "reserved name(s) models/optimism"),
        ({"collections": ["epistemic/steering"]}, "collections", "reserved name(s) epistemic/steering"),
        ({"limit": 0}, "limit", "greater than 0"),
        ({"rollouts": 0}, "rollouts", "greater than 0"),
        ({"top_p": 0}, "top_p", "greater than 0"),
        ({"prompt": "template"}, "prompt", "completion"),
        ({"layers": "some"}, "layers", "all"),
        ({"layers": []}, "layers", "at least one"),
        ({"layers": [1, 1]}, "layers", "none twice"),
        ({"methods": []}, "methods", "at least 1"),
        ({"methods": ["gradient"]}, "methods.0", "mean_difference"),
        ({"methods": ["probe", "probe"]}, "methods", "none twice"),
        ({"tempreature": 1}, "tempreature", "unknown key"),
        ({"replay_positions": []}, "replay_positions", "at least 1"),
    ],
)
def test_a_wrong_value_is_put_down_to_its_key(place: Place, traits: dict[str, Any], key: str, said: str):
    with pytest.raises(ConfigError) as caught:
        place.load(traits)
    problems = [one for one in caught.value.problems if said in one.message]
    assert problems, caught.value.problems
    assert {one.file for one in caught.value.problems} == {"experiments/demo.yaml"}
    assert {one.key for one in problems} == {f"traits.{key}"}


@pytest.mark.parametrize("window", ["response", "prompt_last", "response[:1]", "response[:128]"])
def test_windows_are_the_response_its_beginning_and_the_last_prompt_token(place: Place, window: str):
    assert place.load({"window": window, "replay_positions": [window]}).traits.window == window


@pytest.mark.parametrize(
    "window", ["response[:0]", "response[:]", "response[2:]", "responses", "think_end", "response[:16] ", "prompt"]
)
def test_what_is_no_window_is_said(place: Place, window: str):
    for traits in ({"window": window, "replay_positions": [window]}, {"replay_positions": ["response[:16]", window]}):
        problem = place.problem(traits)
        assert problem.key == "traits"
        assert problem.message.startswith(window)
        assert problem.message.endswith(f"{window}: a window is response[:N], response or prompt_last")


def test_the_end_of_the_answer_can_be_replayed_for_the_agreement_but_is_no_window(place: Place):
    replayed = ["response[:16]", "answer_end"]
    assert place.load({"replay_positions": replayed}).traits.replay_positions == tuple(replayed)
    problem = place.problem({"window": "answer_end", "replay_positions": replayed})
    assert problem.message.endswith("answer_end: a window is response[:N], response or prompt_last")


def test_the_window_that_is_extracted_must_be_replayed(place: Place):
    problem = place.problem({"window": "response[:8]"})
    assert problem.key == "traits"
    assert "response[:8] must also stand in replay_positions" in problem.message


@pytest.mark.parametrize(("limit", "minimum"), [(29, 30), (3, 4)])
def test_a_limit_under_which_every_trait_would_be_insufficient_is_refused(place: Place, limit: int, minimum: int):
    problem = place.problem({"limit": limit, "vet": {"minimum": minimum}})
    assert problem.message.startswith(f"limit {limit} is below vet.minimum {minimum}")
    assert place.load({"limit": minimum, "vet": {"minimum": minimum}}).traits.limit == minimum


# vetting


@pytest.mark.parametrize(
    ("vet", "key", "said"),
    [
        ({"negative_max": 60}, "vet", "negative_max must be below positive_min"),
        ({"positive_min": 30}, "vet", "negative_max must be below positive_min"),
        ({"gate": "both", "scenarios": False}, "vet", "gate: both needs scenarios and responses"),
        ({"gate": "both", "responses": False}, "vet", "gate: both needs scenarios and responses"),
        ({"gate": "scenarios"}, "vet.gate", "responses"),
        ({"positive_min": 101}, "vet.positive_min", "100"),
        ({"negative_max": -1}, "vet.negative_max", "0"),
        ({"minimum": 0}, "vet.minimum", "greater than 0"),
    ],
)
def test_what_vetting_cannot_do_is_said(place: Place, vet: dict[str, Any], key: str, said: str):
    problem = place.problem({"vet": vet})
    assert problem.key == f"traits.{key}"
    assert said in problem.message


@pytest.mark.parametrize("vet", [{"gate": "both"}, {"scenarios": False}, {"positive_min": 41}, {"responses": False}])
def test_what_vetting_can_do_is_read(place: Place, vet: dict[str, Any]):
    assert place.load({"vet": vet}).traits.vet.model_dump(include=set(vet)) == vet


# steering


@pytest.mark.parametrize(
    ("steer", "key", "said"),
    [
        ({"ratios": []}, "ratios", "at least 1"),
        ({"ratios": [0.0, 0.5]}, "ratios", "positive and rising"),
        ({"ratios": [-0.5, 0.5]}, "ratios", "positive and rising"),
        ({"ratios": [0.5, 0.2]}, "ratios", "positive and rising"),
        ({"ratios": [0.5, 0.5]}, "ratios", "positive and rising"),
        ({"ratios": [0.5, float("inf")]}, "ratios.1", "finite"),
        ({"reference_samples": 15}, "reference_samples", "16"),
        ({"positions": "first"}, "positions", "response"),
        ({"random_draws": 19}, "random_draws", "greater than or equal to 20"),
        ({"min_coherence": 101}, "min_coherence", "100"),
        ({"max_drop": -1}, "max_drop", "0"),
        ({"layers": 0}, "layers", "greater than 0"),
        ({"layers": []}, "layers", "at least one"),
        ({"layers": [3, 3]}, "layers", "none twice"),
        ({"methods": []}, "methods", "at least one"),
        ({"methods": ["probe", "probe"]}, "methods", "none twice"),
        ({"methods": "probe"}, "methods", "best"),
        ({"collections": []}, "collections", "at least one"),
        ({"collections": [OPTIMISM, OPTIMISM]}, "collections", "none twice"),
        ({"search_questions": 5, "report_questions": 10}, "", "must make up 16"),
        ({"model": "Small Model"}, "model", "pattern"),
    ],
)
def test_what_steering_cannot_do_is_said(place: Place, steer: dict[str, Any], key: str, said: str):
    with pytest.raises(ConfigError) as caught:
        place.load({"steer": steer})
    problems = [one for one in caught.value.problems if said in one.message]
    assert problems, caught.value.problems
    assert {one.key for one in problems} == {f"traits.steer.{key}".rstrip(".")}


def test_sixteen_questions_suffice_for_the_norms(place: Place):
    assert place.load({"steer": {"search_questions": 6, "report_questions": 10}}).traits.steer.search_questions == 6


def test_steering_can_be_left_out(place: Place):
    found = place.load({"steer": None})
    assert found.traits.steer is None
    assert found.traits.steered() == ()


def test_only_traits_of_the_study_can_be_steered(place: Place):
    both = [OPTIMISM, FORMALITY]
    assert place.load({"collections": both}).traits.steered() == tuple(both)
    assert place.load({"collections": both, "steer": {"collections": [FORMALITY]}}).traits.steered() == (FORMALITY,)
    problem = place.problem({"steer": {"collections": [FORMALITY]}})
    assert problem.key == "traits"
    assert f"steer.collections {FORMALITY} must also stand in collections" in problem.message


def test_only_methods_that_are_extracted_can_be_steered(place: Place):
    problem = place.problem({"steer": {"methods": ["probe", "pairwise_pca"]}})
    assert "steer.methods pairwise_pca must also stand in methods" in problem.message
    methods = ["probe", "pairwise_pca"]
    assert place.load({"methods": methods, "steer": {"methods": methods}}).traits.steer.methods == tuple(methods)


def test_the_offline_judge_needs_references_to_measure_coherence_by(place: Place):
    problem = place.problem({"steer": {"reference_samples": 63}})
    assert "traits.steer.reference_samples must be at least 64 for the offline judge" in problem.message
    place.load({"steer": {"reference_samples": 64}})
    place.load({"steer": {"reference_samples": 16}}, judge={"provider": "openai"})


# the judge


@pytest.mark.parametrize(
    ("judge", "model", "variable"),
    [
        ({}, "all-minilm-l6-v2", None),
        ({"embedding_model": "other"}, "other", None),
        ({"provider": "openai"}, "gpt-4.1-mini-2025-04-14", "OPENAI_API_KEY"),
        ({"provider": "openai", "model": "mine", "key_variable": "MY_KEY"}, "mine", "MY_KEY"),
        ({"provider": "gemini"}, "gemini-2.5-flash", "GEMINI_API_KEY"),
    ],
)
def test_a_judge_has_a_model_and_the_name_of_its_key(judge: dict[str, Any], model: str, variable: str | None):
    found = JudgeConfig.model_validate(judge)
    assert (found.resolved_model, found.resolved_key_variable) == (model, variable)


@pytest.mark.parametrize(
    ("judge", "key", "said"),
    [
        ({"provider": "oracle"}, "judge.provider", "exemplar"),
        ({"max_cost": 1.0}, "judge", "max_cost needs input_price and output_price"),
        ({"max_cost": 1.0, "input_price": 1.0}, "judge", "max_cost needs input_price and output_price"),
        ({"max_cost": 1.0, "output_price": 1.0}, "judge", "max_cost needs input_price and output_price"),
        ({"max_cost": 0, "input_price": 1, "output_price": 1}, "judge.max_cost", "greater than 0"),
        ({"max_calls": 0}, "judge.max_calls", "greater than 0"),
        ({"max_tokens": 0}, "judge.max_tokens", "greater than 0"),
        ({"input_price": -1}, "judge.input_price", "0"),
        ({"output_price": -1}, "judge.output_price", "0"),
        ({"api_key": "sk-secret"}, "judge.api_key", "unknown key"),
    ],
)
def test_what_a_judge_cannot_be_is_said(place: Place, judge: dict[str, Any], key: str, said: str):
    problem = place.problem(judge={"provider": "openai", **judge})
    assert problem.key == key
    assert said in problem.message


def test_a_ceiling_with_both_prices_is_read(place: Place):
    judge = {"provider": "openai", "max_cost": 2, "input_price": 0, "output_price": 1.6, "max_calls": 9}
    assert place.load(judge=judge).judge.max_cost == 2


# what it points to


def test_an_unknown_trait_is_named_with_the_known_ones(place: Place):
    problem = place.problem({"collections": [OPTIMISM, "epistemic/optimsm"]})
    assert (problem.file, problem.key) == ("experiments/demo.yaml", "traits.collections")
    assert "config/traits/epistemic/optimsm (known traits: behavioral/formality, epistemic/optimism)" in problem.message
    assert "does not exist" in problem.message


def test_where_there_are_no_traits_that_is_said(tmp_path: Path):
    place = Place(tmp_path)
    for name in (OPTIMISM, FORMALITY):
        (tmp_path / f"config/traits/{name}/definition.yaml").unlink()
        (tmp_path / f"config/traits/{name}").rmdir()
    assert "known traits: none" in place.problem().message


def test_the_model_that_is_steered_is_looked_up_in_the_catalogue(place: Place):
    assert place.load({"steer": {"model": "large"}}).traits.steer.model == "large"
    problem = place.problem({"steer": {"model": "lrge"}})
    assert (problem.file, problem.key) == ("experiments/demo.yaml", "traits.steer.model")
    assert "lrge is not in config/models.yaml; it has all-minilm-l6-v2, large, small" in problem.message
    problem = place.problem({"steer": {"model": "all-minilm-l6-v2"}})
    assert problem.key == "traits.steer.model"
    assert "has the task embed" in problem.message


def test_the_embedding_of_the_offline_judge_is_looked_up_in_the_catalogue(place: Place):
    problem = place.problem(judge={"embedding_model": "gone"})
    assert problem.key == "judge.embedding_model"
    assert "gone is not in config/models.yaml" in problem.message
    problem = place.problem(judge={"embedding_model": "small"})
    assert "has the task generate" in problem.message
    place.load(judge={"provider": "openai", "embedding_model": "gone"})


def test_the_embedding_is_looked_up_for_traits_alone(place: Place):
    place.write("experiments/demo.yaml", {"model": "small", "judge": {"embedding_model": "gone"}})
    load_workflow(place.root)


def test_a_key_goes_to_no_other_address_unless_it_is_named():
    with pytest.raises(ValidationError, match="base_url needs key_variable"):
        JudgeConfig(provider="openai", base_url="http://localhost:8000/v1")
    named = JudgeConfig(provider="openai", base_url="http://localhost:8000/v1", key_variable="MY_KEY")
    assert named.resolved_key_variable == "MY_KEY"


def test_the_offline_judge_takes_no_model_and_no_address():
    for wrong in ({"model": "gpt-4.1-mini-2025-04-14"}, {"base_url": "http://localhost:8000/v1", "key_variable": "K"}):
        with pytest.raises(ValidationError, match="set provider to openai or gemini"):
            JudgeConfig(**wrong)
