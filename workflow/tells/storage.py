"""What definitions ask of models that lie ready, and of the disk: layers and widths that fit, room for hidden states.

Counted from the definitions and from what lies ready; part of what the doctor looks at.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tells.config import TRAITS_FOLDER, Experiment
from tells.examination import Finding, QuestionSets, collections_of
from tells.tables import TableError, read_json

if TYPE_CHECKING:
    from tells.config.uncertainty import UncertaintyCollection
    from tells.uncertainty.questions import QuestionSet

_BYTES_PER_NUMBER = 2  # hidden states are stored in half precision


def disk_findings(root: Path, experiments: Mapping[str, Experiment], question_sets: QuestionSets) -> Iterator[Finding]:
    """A finding where the hidden states that are still to come need more room than there is."""
    needed = 0
    for experiment, name, collection in collections_of(experiments):
        if collection.samples is None:
            folder, definition = root / f"experiments/{experiment}/uncertainty/{name}", experiments[experiment]
            questions = count_questions(root, folder, collection, question_sets.get((experiment, name)))
            runs = None if questions is None else questions * (definition.uncertainty.samples + 1)
            needed += max(0, (state_bytes(root, definition, "uncertainty", runs) or 0) - _stored_bytes(folder))
    needed += sum(_trait_state_bytes(root, definition) for definition in experiments.values() if definition.traits)
    needed += sum(_safety_state_bytes(root, definition) for definition in experiments.values() if definition.agreement)
    place = root / "experiments" if (root / "experiments").exists() else root
    free = shutil.disk_usage(place).free
    if needed > free:
        what = f"hidden states will take about {needed / 2**30:.1f} GB, and {place} has {free / 2**30:.1f} GB left"
        cure = "make room, link experiments/ to a larger disk, or ask for fewer replay.layers or replay_positions"
        yield Finding("error", what, cure)


def trait_findings(root: Path, experiments: Mapping[str, Experiment]) -> Iterator[Finding]:
    """Findings on traits whose layers or widths do not fit the models, as far as these lie ready."""
    for name, definition in experiments.items():
        traits = definition.traits
        if traits is None:
            continue
        shape = model_shape(root, definition.model)
        steered = traits.steer and model_shape(root, traits.steer.model or definition.model)
        where = f"(experiment {name})"
        named = () if traits.layers == "all" else traits.layers
        steered_layers = traits.steer.layers if traits.steer and isinstance(traits.steer.layers, tuple) else ()
        for key, layers, found in (("layers", named, shape), ("steer.layers", steered_layers, steered)):
            outside = [layer for layer in layers if found and not -found[0] <= layer < found[0]]
            if outside:
                what = f"traits.{key} {', '.join(map(str, outside))}: the model has {found[0]} blocks {where}"
                yield Finding("error", what, f"name blocks from 0 to {found[0] - 1}")
        if shape and steered and shape[1] != steered[1]:
            what = f"vectors of {definition.model} have width {shape[1]}, {traits.steer.model} has {steered[1]} {where}"
            yield Finding("error", what, "steer a model of the same width: its instruction-tuned sibling, say")


def state_bytes(root: Path, experiment: Experiment, study: str, runs: int | None) -> int | None:
    """Size of the hidden states of so many runs of a study; None where the runs or the model's shape are not known."""
    shape = model_shape(root, experiment.model)
    if shape is None or runs is None:
        return None
    layers = shape[0] if experiment.replay.layers == "all" else len(experiment.replay.layers)
    return runs * layers * len(getattr(experiment, study).replay_positions) * shape[1] * _BYTES_PER_NUMBER


def _trait_state_bytes(root: Path, experiment: Experiment) -> int:
    """Size of the hidden states of an experiment's traits that are still to come."""
    traits, needed = experiment.traits, 0
    for name in traits.collections:
        folder = root / f"experiments/{experiment.name}/traits/{name}"
        try:
            files = [(root / TRAITS_FOLDER / name / f"{pole}.txt").read_text() for pole in ("positive", "negative")]
        except OSError:
            continue
        lines = sum(len(text.splitlines()) for text in files)
        scenarios = min(lines, 2 * traits.limit) if traits.limit else lines
        size = state_bytes(root, experiment, "traits", scenarios * traits.rollouts) or 0
        needed += max(0, size - _stored_bytes(folder))
    return needed


def _safety_state_bytes(root: Path, experiment: Experiment) -> int:
    """Size of the hidden states of an experiment's replies that are still to come, as far as prompts are known."""
    needed, safety = 0, experiment.safety
    for name, collection in safety.collections.items() if safety else ():
        folder = root / f"experiments/{experiment.name}/safety/{name}"
        prompts = _stored_prompts(folder) or collection.limit
        runs = None if prompts is None else prompts * safety.samples
        needed += max(0, (state_bytes(root, experiment, "safety", runs) or 0) - _stored_bytes(folder))
    return needed


def model_shape(root: Path, model: str) -> tuple[int, int] | None:
    """Layers and width of a model that lies ready."""
    try:
        folder = root / read_json(root / f"resources/models/{model}/model.json")["path"]
        config = read_json(folder / "config.json")
        config = config.get("text_config", config)
        return int(config["num_hidden_layers"]), int(config["hidden_size"])
    except (TableError, OSError, KeyError, TypeError):
        return None


def count_questions(
    root: Path, folder: Path, collection: UncertaintyCollection, found: QuestionSet | None
) -> int | None:
    """How many questions a collection has, or at most has; None where that takes a look at the hub."""
    if (folder / "prompts.parquet").exists():
        return _stored_prompts(folder)
    data = root / collection.path if collection.path else found and found.data_file
    if data and data.suffix == ".jsonl" and data.is_file():
        with open(data, "rb") as lines:
            count = sum(1 for _ in lines)
        return min(count, collection.limit or count)
    return collection.limit


def _stored_prompts(folder: Path) -> int | None:
    """Rows of a collection's prompts table; None where there is none that can be read."""
    import polars as pl

    try:
        return pl.scan_parquet(folder / "prompts.parquet").select(pl.len()).collect().item()
    except (pl.exceptions.PolarsError, OSError):
        return None


def _stored_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("shards/replay-*.safetensors"))
