"""What a definition may say of a served engine, and what of it decides the samples."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from tells.config import EngineConfig, Experiment, Site, settings
from tells.config.experiment import CONNECTION
from tells.config.load import ConfigError, _validate
from tells.config.models import ModelEntry

URL = "http://localhost:8000/v1"
MODELS = {"small": ModelEntry(source="random", architecture="llama")}


def experiment(engine: dict[str, Any], **changes: Any) -> Experiment:
    content = {"uncertainty": {"collections": {"sums": {"questions": "sums.yaml"}}}, **changes}
    return Experiment.model_validate({"name": "demo", "model": "small", "engine": engine, **content})


def told(engine: dict[str, Any], study: str = "uncertainty", **changes: Any) -> dict[str, Any]:
    return settings.sample_settings(experiment(engine, **changes), MODELS, Site(), study)


def message(engine: dict[str, Any]) -> str:
    """The one problem as it is shown."""
    with pytest.raises(ConfigError) as caught:
        _validate(EngineConfig, engine, "experiments/demo.yaml", prefix="engine")
    (problem,) = caught.value.problems
    return str(problem)


@pytest.mark.parametrize("url", [URL, "https://models.example.org/v1", "http://10.0.0.7:8123", "http://[::1]:8000/v1"])
def test_a_server_needs_an_address_and_nothing_else(url):
    config = EngineConfig(kind="served", base_url=url)
    assert (config.concurrency, config.timeout, config.patience) == (64, 600, 120)
    assert (config.served_model, config.key_variable) == (None, None)


def test_a_server_without_an_address_is_an_error():
    assert "engine: kind served needs base_url, the address of a vLLM server" in message({"kind": "served"})


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://host/v1", "http://", "http://host:0", "http://a b/v1", "x"])
def test_what_is_no_address_is_an_error(url):
    assert "base_url must be a whole address that begins with http:// or https://" in message(
        {"kind": "served", "base_url": url}
    )


@pytest.mark.parametrize(
    "url", ["http://me:secret@host/v1", "http://secret@host", "https://host/v1?key=secret", "https://host/v1#secret"]
)
def test_an_address_with_a_secret_is_an_error_that_does_not_repeat_it(url):
    shown = message({"kind": "served", "base_url": url})
    assert "must hold no user, password or query: name the variable of the key in key_variable" in shown
    assert "secret" not in shown


@pytest.mark.parametrize("kind", ["auto", "hf", "vllm"])
def test_keys_of_a_server_are_an_error_for_another_kind_all_at_once(kind):
    shown = message({"kind": kind, "base_url": URL, "served_model": "a", "key_variable": "KEY"})
    assert f"base_url, served_model, key_variable: of a server, but kind is {kind}; set kind to served" in shown


def test_an_experiment_that_goes_back_to_another_kind_takes_the_address_away():
    assert EngineConfig(kind="hf", base_url=None).base_url is None


@pytest.mark.parametrize("changes", [{"concurrency": 0}, {"timeout": 0}, {"patience": -1}, {"served_model": ""}])
def test_limits_are_in_their_range(changes):
    with pytest.raises(ValidationError):
        EngineConfig(kind="served", base_url=URL, **changes)


@pytest.mark.parametrize(("online", "kind"), [(True, "hf"), (False, "served")])
def test_early_stopping_is_possible_here_and_the_rest_through_a_server(online, kind):
    engine = {"kind": kind, **({"base_url": URL} if kind == "served" else {})}
    study = {"collections": {"builtin": {}}, "stopping": {"online": online}}
    assert experiment(engine, safety=study).engine.kind == kind


def test_early_stopping_through_a_server_is_an_error_that_says_what_to_do():
    study = {"collections": {"builtin": {}}, "stopping": {"online": True}}
    with pytest.raises(ValidationError, match=r"which a server cannot do: set engine\.kind to hf or vllm, or safety"):
        experiment({"kind": "served", "base_url": URL}, safety=study)


def test_only_what_changes_tokens_decides_the_samples_of_a_server():
    engine = {"kind": "served", "base_url": URL}
    assert told(engine)["engine"] == {"kind": "served", "served_model": None, "top_logprobs": 20}
    moved = {**engine, "base_url": "https://node7:9000", "key_variable": "KEY", "concurrency": 3, "timeout": 9}
    local = {"batch_size": 3, "device": "cpu", "dtype": "float32", "gpu_memory_utilization": 0.3}
    assert told({**moved, **local, "patience": 1}, gpu_memory_gb=12) == told(engine)
    for change in ({"served_model": "other"}, {"top_logprobs": 5}):
        assert told({**engine, **change}) != told(engine)


def test_the_samples_of_other_kinds_know_no_key_of_a_server():
    engine = told({"kind": "hf"}, gpu_memory_gb=12)["engine"]
    assert not {*engine} & {"served_model", *CONNECTION}
    assert {"kind", "device", "dtype", "batch_size", "top_logprobs", "tensor_parallel_size"} <= {*engine}


def test_the_safety_study_asks_a_server_for_as_many_log_probabilities_as_it_reads():
    study = {"collections": {"builtin": {}}, "top_logprobs": 7}
    assert told({"kind": "served", "base_url": URL}, "safety", safety=study)["engine"]["top_logprobs"] == 7


def test_a_guard_model_is_loaded_here_whatever_samples():
    study = {"collections": {"builtin": {}}, "labels": {"refusal": "wildguard", "harm": "wildguard"}}
    served = experiment({"kind": "served", "base_url": URL, "device": "cpu"}, safety=study)
    local = experiment({"kind": "auto", "device": "cpu"}, safety=study)
    asked = settings.classify_settings(served, Site(), "wildguard")
    assert asked == settings.classify_settings(local, Site(), "wildguard")
    EngineConfig.model_validate(asked["engine"])
