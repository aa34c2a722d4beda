"""What each stage is told: the keys of an experiment that can change its results, and no others.

These mappings are the rules' parameters. A key that is not in a stage's mapping cannot re-run that stage.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tells.config.experiment import CONNECTION, Experiment, GenerationConfig
from tells.config.models import ModelEntry
from tells.config.safety import ConfidenceConfig
from tells.config.site import Site


def model_settings(models: Mapping[str, ModelEntry], name: str) -> dict[str, Any]:
    """The entry of one model."""
    return models[name].model_dump(mode="json")


def prompt_settings(
    experiment: Experiment, models: Mapping[str, ModelEntry], study: str, collection: str
) -> dict[str, Any]:
    """What decides the prompts table of a collection."""
    config = getattr(experiment, study)
    if study == "traits":
        kind = _prompt_kind(experiment, models, study)
        return {"limit": config.limit, "shard_size": config.shard_size, "prompt": kind}
    definition = config.collections[collection]
    if study == "safety":
        return {
            "benchmark": config.benchmark_of(collection),
            "path": definition.path,
            "limit": definition.limit,
            "system_prompt": definition.system_prompt,
            "shard_size": config.shard_size,
            "prompt": _prompt_kind(experiment, models, study),
        }
    return {
        "questions": definition.questions,
        "path": definition.path,
        "samples": definition.samples,
        "limit": definition.limit,
        "system_prompt": definition.system_prompt,
        "shard_size": config.shard_size,
        "prompt": _prompt_kind(experiment, models, study),
    }


def sample_settings(experiment: Experiment, models: Mapping[str, ModelEntry], site: Site, study: str) -> dict[str, Any]:
    """What decides the samples of a study."""
    config = getattr(experiment, study)
    generation = GenerationConfig(
        temperature=config.temperature,
        top_p=config.top_p,
        top_k=config.top_k,
        max_new_tokens=config.max_new_tokens,
        stop=config.stop,
        thinking=config.thinking,
    )
    served = experiment.engine.kind == "served"
    return {
        "seed": experiment.seed,
        "samples": config.samples,
        "greedy": config.greedy,
        "generation": generation.model_dump(mode="json"),
        "engine": _engine(experiment, study),
        "prompt": _prompt_kind(experiment, models, study),
        "gpu_memory_gb": None if served else experiment.gpu_memory_gb or site.gpu_memory_gb,
    }


def online_settings(experiment: Experiment, models: Mapping[str, ModelEntry], site: Site) -> dict[str, Any]:
    """What decides the traces of online early stopping."""
    config = experiment.safety
    stopping = config.stopping.model_dump(mode="json", exclude={"draws", "online"})
    own = {"stopping": stopping, "window": config.confidence.window, "budget": config.budget}
    return {**sample_settings(experiment, models, site, "safety"), **own, "top_logprobs": config.top_logprobs}


def replay_settings(experiment: Experiment, site: Site, study: str) -> dict[str, Any]:
    """What decides the replay of a study."""
    return {
        **experiment.replay.model_dump(mode="json"),
        "positions": list(getattr(experiment, study).replay_positions),
        "device": experiment.engine.device,
        "gpu_memory_gb": experiment.gpu_memory_gb or site.gpu_memory_gb,
    }


def p_true_settings(experiment: Experiment, site: Site) -> dict[str, Any]:
    """What decides the pass that asks the model about its own answers."""
    return {
        "batch_size": experiment.replay.batch_size,
        "dtype": experiment.replay.dtype,
        "device": experiment.engine.device,
        "gpu_memory_gb": experiment.gpu_memory_gb or site.gpu_memory_gb,
    }


def cluster_settings(experiment: Experiment) -> dict[str, Any]:
    """What decides which answers mean the same."""
    config = experiment.uncertainty.clustering
    asked = {"judge": judge_settings(experiment)} if config.text == "judge" else {}
    return {**config.model_dump(mode="json"), **asked}


def probe_settings(experiment: Experiment) -> dict[str, Any]:
    """What decides the probes: targets' threshold of trust, search space, split and seed."""
    config = experiment.uncertainty
    roles = {name: collection.role for name, collection in config.collections.items()}
    return {
        **config.probes.model_dump(mode="json"),
        "min_valid": config.min_valid,
        "seed": experiment.seed,
        "roles": roles,
    }


def evaluation_settings(experiment: Experiment) -> dict[str, Any]:
    """What decides intervals and p-values."""
    config = experiment.uncertainty
    return {**config.inference.model_dump(mode="json"), "min_valid": config.min_valid, "seed": experiment.seed}


def map_settings(experiment: Experiment) -> dict[str, Any]:
    """What decides the UMAP picture."""
    return experiment.uncertainty.map.model_dump(mode="json")


def analysis_settings(experiment: Experiment) -> dict[str, Any]:
    """What the summary says of the data sets."""
    return {"roles": {name: each.role for name, each in experiment.uncertainty.collections.items()}}


def judge_settings(experiment: Experiment) -> dict[str, Any]:
    """Who judges; not how many at once, nor for how much."""
    judge = experiment.judge
    return {
        "provider": judge.provider,
        "model": judge.resolved_model,
        "base_url": judge.base_url,
        "log_probabilities": judge.log_probabilities,
    }


def response_judge_settings(experiment: Experiment) -> dict[str, Any]:
    """Who judges responses, and how much of each."""
    return {**judge_settings(experiment), "window": experiment.traits.window}


def explain_settings(experiment: Experiment) -> dict[str, Any]:
    """Who explains, how much of each response, and what failed."""
    vet = experiment.traits.vet
    return {
        **response_judge_settings(experiment),
        "positive_min": vet.positive_min,
        "negative_max": vet.negative_max,
    }


def vet_settings(experiment: Experiment) -> dict[str, Any]:
    """What passes."""
    return experiment.traits.vet.model_dump(mode="json")


def vector_settings(experiment: Experiment) -> dict[str, Any]:
    """What decides a trait's vectors and the figures of their quality."""
    config = experiment.traits
    return {
        "window": config.window,
        "layers": config.layers if config.layers == "all" else list(config.layers),
        "methods": list(config.methods),
        "seed": experiment.seed,
    }


def search_settings(experiment: Experiment, models: Mapping[str, ModelEntry], site: Site) -> dict[str, Any]:
    """What decides the grid of steered answers."""
    steer = experiment.traits.steer
    own = ("layers", "methods", "ratios", "search_questions", "report_questions", "samples", "reference_samples")
    return {
        **{key: value for key, value in steer.model_dump(mode="json").items() if key in own},
        **_steered_generation(experiment, models, site),
    }


def report_settings(experiment: Experiment, models: Mapping[str, ModelEntry], site: Site) -> dict[str, Any]:
    """What decides the report of the chosen point and its controls."""
    steer = experiment.traits.steer
    own = {
        "report_questions": steer.report_questions,
        "samples": steer.report_samples,
        "random_samples": steer.random_samples or steer.report_samples,
        "random_draws": steer.random_draws,
    }
    return {**own, **_steered_generation(experiment, models, site)}


def choose_settings(experiment: Experiment) -> dict[str, Any]:
    """What makes a point of the grid valid."""
    steer = experiment.traits.steer
    return {"min_coherence": steer.min_coherence, "max_drop": steer.max_drop}


def summary_settings(experiment: Experiment) -> dict[str, Any]:
    """What decides the intervals of the report."""
    steer = experiment.traits.steer
    coherence = steer.min_coherence if steer else None
    return {"bootstrap": experiment.traits.bootstrap, "seed": experiment.seed, "min_coherence": coherence}


def steered_model(experiment: Experiment) -> str:
    """Name of the model that is steered."""
    steer = experiment.traits.steer
    return (steer and steer.model) or experiment.model


def _steered_generation(experiment: Experiment, models: Mapping[str, ModelEntry], site: Site) -> dict[str, Any]:
    steer, chat = experiment.traits.steer, models[steered_model(experiment)].kind == "chat"
    generation = GenerationConfig(
        temperature=steer.temperature, max_new_tokens=steer.max_new_tokens, stop=steer.stop, thinking=False
    )
    return {
        "generation": generation.model_dump(mode="json"),
        "prompt": steer.prompt if steer.prompt != "model" else "chat" if chat else "completion",
        "positions": steer.positions,
        "seed": experiment.seed,
        "batch_size": experiment.engine.batch_size,
        "dtype": experiment.engine.dtype,
        "device": experiment.engine.device,
        "gpu_memory_gb": experiment.gpu_memory_gb or site.gpu_memory_gb,
    }


def confidence_settings(experiment: Experiment) -> dict[str, Any]:
    """What decides the confidences of traces."""
    config = experiment.safety.confidence
    return {"window": config.window, "fraction": config.fraction}


def classify_settings(experiment: Experiment, site: Site, classifier: str) -> dict[str, Any]:
    """What decides a classifier's labels."""
    labels = experiment.safety.labels
    told: dict[str, Any] = {"classifier": classifier}
    if classifier == "judge":
        return told | {"judge": judge_settings(experiment)}
    if classifier in ("wildguard", "llama_guard"):
        engine = {
            **_local_engine(experiment),
            "top_logprobs": 0,
            "dtype": "auto",
            "max_model_len": None,
        }
        memory = experiment.gpu_memory_gb or site.gpu_memory_gb
        own = {"batch_size": labels.batch_size, "engine": engine, "gpu_memory_gb": memory, "seed": experiment.seed}
        return told | own
    return told


def label_settings(experiment: Experiment) -> dict[str, Any]:
    """Whose labels count."""
    labels = experiment.safety.labels
    return {"refusal": labels.refusal, "harm": labels.harm}


def arms_settings(experiment: Experiment) -> dict[str, Any]:
    """What decides the simulated arms and their intervals."""
    config = experiment.safety
    return {
        "stopping": config.stopping.model_dump(mode="json"),
        "window": config.confidence.window,
        "budget": config.budget,
        "seed": experiment.seed,
        **config.inference.model_dump(mode="json"),
    }


def strata_settings(experiment: Experiment) -> dict[str, Any]:
    """What decides the cells and the hypothesis test."""
    config = experiment.safety
    return {
        "kind": config.confidence.kind,
        "strata": config.strata.model_dump(mode="json"),
        "seed": experiment.seed,
        **config.inference.model_dump(mode="json"),
    }


def reply_cluster_settings(experiment: Experiment) -> dict[str, Any]:
    """What decides which replies mean the same."""
    clustering = experiment.compared().clustering
    own = ("threshold", "embedding_model") if clustering.method == "cosine" else ("strict", "policy", "nli_model")
    return {"method": clustering.method, **{key: getattr(clustering, key) for key in own}}


def signal_settings(experiment: Experiment) -> dict[str, Any]:
    """What decides the signals of every sample, beside the studies' files."""
    confidence = experiment.safety.confidence if experiment.safety else ConfidenceConfig()
    return {
        "studies": experiment.studies(),
        "projections": list(experiment.projected()),
        "window": confidence.window,
        "fraction": confidence.fraction,
        "seed": experiment.seed,
    }


def question_steering_settings(experiment: Experiment, models: Mapping[str, ModelEntry], site: Site) -> dict[str, Any]:
    """What decides the answers to questions under steering."""
    steer = experiment.compared().steer
    asked = sample_settings(experiment, models, site, "uncertainty")
    own = ("questions", "samples", "ratio", "random_directions")
    probes = probe_settings(experiment)
    return {
        **{key: getattr(steer, key) for key in own},
        **{key: probes[key] for key in ("split", "roles")},
        "trait": experiment.compared().confidence_trait,
        **{key: asked[key] for key in ("seed", "generation", "prompt")},
        "batch_size": experiment.engine.batch_size,
        "dtype": experiment.engine.dtype,
        "device": experiment.engine.device,
        "gpu_memory_gb": experiment.gpu_memory_gb or site.gpu_memory_gb,
    }


def agreement_settings(experiment: Experiment) -> dict[str, Any]:
    """What decides the figures of the agreement."""
    own = ("confidence_trait", "folds", "bootstrap", "permutations", "level")
    compared = experiment.compared().model_dump(mode="json")
    return {**{key: compared[key] for key in own}, "studies": experiment.studies(), "seed": experiment.seed}


def _engine(experiment: Experiment, study: str) -> dict[str, Any]:
    """The engine, with as many log-probabilities as the study reads; of a server, nothing about how it is reached."""
    own = experiment.engine
    if own.kind == "served":
        engine = own.model_dump(mode="json", include={"kind", "served_model", "top_logprobs"})
    else:
        engine = _local_engine(experiment)
    if study == "safety":
        engine["top_logprobs"] = experiment.safety.top_logprobs
    return engine


def _local_engine(experiment: Experiment) -> dict[str, Any]:
    """The engine that loads a model here, which a guard model has in every case; without the keys of a server."""
    engine = experiment.engine.model_dump(mode="json", exclude={"served_model", *CONNECTION})
    return {**engine, "kind": "auto"} if engine["kind"] == "served" else engine


def _prompt_kind(experiment: Experiment, models: Mapping[str, ModelEntry], study: str) -> str:
    asked = getattr(experiment, study).prompt
    if asked != "model":
        return asked
    return "chat" if models[experiment.model].kind == "chat" else "completion"
