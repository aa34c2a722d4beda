"""What an experiment points to: files and models, by the key that names them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tells.config.experiment import Experiment
from tells.config.traits import TRAITS_FOLDER

_CLUSTERING_MODELS = {"nli": ("nli_model", "classify"), "cosine": ("embedding_model", "embed")}


def missing_files(root: Path, experiment: Experiment) -> Iterator[tuple[tuple[str, ...], str]]:
    """Key path and name of every file that an experiment names and that is not there."""
    study = experiment.uncertainty
    for name, collection in study.collections.items() if study else ():
        for entry in ("questions", "path", "samples"):
            value = getattr(collection, entry)
            if value is not None and not (root / value).is_file():
                yield ("uncertainty", "collections", name, entry), value
    for name in experiment.trait_names():
        folder = f"{TRAITS_FOLDER}/{name}"
        if not (root / folder).is_dir():
            known = sorted(str(path.parent.relative_to(root / TRAITS_FOLDER)) for path in _definitions(root))
            yield ("traits", "collections"), f"{folder} (known traits: {', '.join(known) or 'none'})"
    safety = experiment.safety
    for name, collection in safety.collections.items() if safety else ():
        benchmark = safety.benchmark_of(name)
        if not (root / benchmark).is_file():
            yield ("safety", "collections", name, "benchmark"), benchmark
        # A benchmark of several files takes a folder.
        if collection.path is not None and not (root / collection.path).exists():
            yield ("safety", "collections", name, "path"), collection.path


def needed_models(experiment: Experiment, model_key: str) -> list[tuple[str, str, str]]:
    """Key, name and task of every model an experiment needs; `model_key` is the key that names its own."""
    wanted = [(model_key, experiment.model, "generate")]
    study, traits = experiment.uncertainty, experiment.traits
    if study and study.clustering.text in _CLUSTERING_MODELS:
        entry, task = _CLUSTERING_MODELS[study.clustering.text]
        wanted.append((f"uncertainty.clustering.{entry}", getattr(study.clustering, entry), task))
    if traits and traits.steer and traits.steer.model:
        wanted.append(("traits.steer.model", traits.steer.model, "generate"))
    if traits and experiment.judge.provider == "exemplar":
        wanted.append(("judge.embedding_model", experiment.judge.embedding_model, "embed"))
    if experiment.safety:
        labels = experiment.safety.labels
        for classifier, task in (("embedding", "embed"), ("wildguard", "generate"), ("llama_guard", "generate")):
            if classifier in labels.classifiers:
                entry = f"{classifier}_model"
                wanted.append((f"safety.labels.{entry}", getattr(labels, entry), task))
    if experiment.agreement and replies_are_clustered(experiment):
        clustering = experiment.agreement.clustering
        entry, task = _CLUSTERING_MODELS[clustering.method]
        wanted.append((f"agreement.clustering.{entry}", getattr(clustering, entry), task))
    return wanted


def replies_are_clustered(experiment: Experiment) -> bool:
    """Whether the agreement of an experiment groups free replies by meaning."""
    return any(several_replies(experiment, study) for study in ("traits", "safety"))


def several_replies(experiment: Experiment, study: str) -> bool:
    """Whether a study draws free replies several times for each prompt, so that their meanings can differ."""
    config = getattr(experiment, study) if study in ("traits", "safety") else None
    return config is not None and config.samples > 1


def _definitions(root: Path) -> list[Path]:
    return list((root / TRAITS_FOLDER).glob("*/*/definition.yaml"))
