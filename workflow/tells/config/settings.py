"""What each stage is told: the keys of an experiment that can change its results, and no others.

These mappings are the rules' parameters. A key that is not in a stage's mapping cannot re-run that stage.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tells.config.experiment import Experiment, GenerationConfig
from tells.config.models import ModelEntry
from tells.config.site import Site
from tells.config.uncertainty import UncertaintyCollection


def model_settings(models: Mapping[str, ModelEntry], name: str) -> dict[str, Any]:
    """The entry of one model."""
    return models[name].model_dump(mode="json")


def prompt_settings(
    experiment: Experiment, models: Mapping[str, ModelEntry], study: str, collection: str
) -> dict[str, Any]:
    """What decides the prompts table of a collection."""
    definition = _collection(experiment, study, collection)
    config = getattr(experiment, study)
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
    return {
        "seed": experiment.seed,
        "samples": config.samples,
        "greedy": True,
        "generation": generation.model_dump(mode="json"),
        "engine": experiment.engine.model_dump(mode="json"),
        "prompt": _prompt_kind(experiment, models, study),
        "gpu_memory_gb": experiment.gpu_memory_gb or site.gpu_memory_gb,
    }


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
    return experiment.uncertainty.clustering.model_dump(mode="json")


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


def _collection(experiment: Experiment, study: str, collection: str) -> UncertaintyCollection:
    return getattr(experiment, study).collections[collection]


def _prompt_kind(experiment: Experiment, models: Mapping[str, ModelEntry], study: str) -> str:
    asked = getattr(experiment, study).prompt
    if asked != "model":
        return asked
    return "chat" if models[experiment.model].kind == "chat" else "completion"
