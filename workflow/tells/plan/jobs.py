"""How many jobs of each rule a run from scratch has, and which of them load a model.

Mirrors rules/*.smk: a dry run cannot list the jobs of shards before the prompts are there, so they are counted from the
definition. Tested against a dry run in which the prompts are there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tells.config import Experiment
from tells.config.references import needed_models, several_replies
from tells.config.settings import steered_model
from tells.plan.steps import GUARDS, Collection, Step

TOKENS, RUNS = "tokens", "runs"
_OF_STEERED_QUESTIONS = (
    "steer_questions",
    "grade_steered",
    "cluster_steered",
    "measure_steered_entropy",
    "measure_steered",
)


@dataclass(frozen=True)
class ModelWork:
    """Jobs of one collection that load a model.

    Attributes:
        collection: study/collection.
        stage: the rule that makes them, and the name of the guard model where there are several.
        model: that they load.
        jobs: how many; None where prompts are not known.
        amount: tokens at most, or runs; None where prompts are not known.
        unit: what `amount` counts: `tokens` or `runs`.
    """

    collection: str
    stage: str
    model: str
    jobs: int | None
    amount: int | None
    unit: str = TOKENS

    @property
    def rule(self) -> str:
        """The rule that makes them."""
        return self.stage.split(" ")[0]


def model_work(experiment: Experiment, asked: Iterable[Collection], steps: Sequence[Step]) -> list[ModelWork]:
    """The jobs of an experiment that load a language model or a guard model.

    Args:
        experiment: the definition.
        asked: its collections.
        steps: their stages that generate, as `tells.plan.steps.steps` counts them.
    """
    generated = {(step.collection, step.stage): step.tokens for step in steps}
    work: list[ModelWork] = []
    for one in asked:
        if one.shards == 0:
            continue
        place, own = one.place, experiment.model
        sampled = generated[place, "sample_shard"]
        work.append(ModelWork(place, "sample_shard", own, one.shards, sampled))
        if is_replayed(experiment, one.study):
            work.append(ModelWork(place, "replay_shard", own, one.shards, sampled))
        if one.study == "uncertainty" and experiment.uncertainty.p_true:
            work.append(ModelWork(place, "ask_p_true", own, one.shards, one.runs, RUNS))
        if one.study == "uncertainty" and one.name in experiment.steered_questions():
            work.append(ModelWork(place, "steer_questions", own, 1, generated[place, "steer_questions"]))
        if one.study == "safety" and experiment.safety.stopping.online:
            work.append(ModelWork(place, "sample_adaptively", own, one.shards, sampled))
        if one.study == "traits" and one.name in experiment.traits.steered():
            work += [
                ModelWork(place, rule, steered_model(experiment), 1, generated[place, rule])
                for rule in ("generate_steered", "report_steered")
            ]
        if one.study == "safety":
            labels = experiment.safety.labels
            for guard in (name for name in GUARDS if name in labels.classifiers):
                model = getattr(labels, f"{guard}_model")
                work.append(ModelWork(place, f"ask_guard {guard}", model, 1, one.runs, RUNS))
    return work


def is_replayed(experiment: Experiment, study: str) -> bool:
    """Whether a study's samples are replayed: those of safety only where the agreement reads them."""
    return study != "safety" or experiment.agreement is not None


def count_jobs(root: Path, experiment: Experiment, asked: Sequence[Collection]) -> dict[str, int | None]:
    """Jobs by rule of a run from scratch; models that lie ready are not fetched.

    Args:
        root: the folder that holds resources/.
        experiment: the definition.
        asked: its collections.

    Returns:
        In the order in which rules come first; None where a number of shards is not known.
    """
    jobs: dict[str, int | None] = {}
    for rule, count in _jobs(root, experiment, asked):
        before = jobs.get(rule, 0)
        jobs[rule] = None if before is None or count is None else before + count
    return {rule: count for rule, count in jobs.items() if count != 0}


def _jobs(root: Path, experiment: Experiment, asked: Sequence[Collection]) -> Iterator[tuple[str, int | None]]:
    models = {name for _, name, _ in needed_models(experiment, "model")}
    yield "fetch_model", sum(not (root / f"resources/models/{name}/model.json").exists() for name in models)
    for one in asked:
        yield "prompts", 1
        yield "sample_shard", one.shards
        yield "merge_samples", 1
        yield from _OF_A_COLLECTION[one.study](experiment, one)
        if experiment.agreement:
            yield "cluster_replies", int(several_replies(experiment, one.study))
    studies = experiment.studies()
    if "uncertainty" in studies:
        for rule in ("train_probes", "evaluate_probes", "map_states"):
            yield rule, 1
    for study in studies:
        yield f"analyse_{study}", 1
    if experiment.agreement:
        yield "train_answer_probes", int("uncertainty" in studies)
        yield "measure_signals", 1
        yield "analyse_agreement", 1
    yield "draw_figures", len(experiment.parts())


def _uncertainty(experiment: Experiment, one: Collection) -> Iterator[tuple[str, int | None]]:
    yield "replay_shard", one.shards
    if one.shards != 0:
        yield "merge_replay", 1
        if experiment.uncertainty.p_true:
            yield "ask_p_true", one.shards
            yield "merge_p_true", 1
    for rule in ("grade", "cluster", "measure_entropy"):
        yield rule, 1
    for rule in _OF_STEERED_QUESTIONS if one.name in experiment.steered_questions() else ():
        yield rule, 1


def _traits(experiment: Experiment, one: Collection) -> Iterator[tuple[str, int | None]]:
    vet = experiment.traits.vet
    yield "judge_scenarios", int(vet.scenarios)
    yield "judge_responses", int(vet.responses)
    yield "vet", 1
    yield "replay_shard", one.shards
    yield "explain_failures", int(vet.responses and experiment.judge.provider != "exemplar")
    yield "extract_vectors", 1
    if one.name in experiment.traits.steered():
        for rule in ("generate_steered", "judge_steered", "choose", "report_steered", "judge_report"):
            yield rule, 1
    yield "summarise_trait", 1


def _safety(experiment: Experiment, one: Collection) -> Iterator[tuple[str, int | None]]:
    safety = experiment.safety
    yield "replay_shard", one.shards if is_replayed(experiment, "safety") else 0
    if safety.stopping.online:
        yield "sample_adaptively", one.shards
        yield "merge_online", 1
    yield "measure_confidence", 1
    guards = sum(name in GUARDS for name in safety.labels.classifiers)
    yield "classify", len(safety.labels.classifiers) - guards
    yield "ask_guard", guards
    for rule in ("label", "compare_arms", "stratify"):
        yield rule, 1


_OF_A_COLLECTION = {"uncertainty": _uncertainty, "traits": _traits, "safety": _safety}
