"""The stages of a run that generate or judge: how many answers, tokens at most, and calls to a judge.

Counted from the definition and the files it names. Tokens of a judge's prompts are estimated from their characters.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tells.config import TRAITS_FOLDER, ConfigError, Experiment, Problem
from tells.examination import read_question_sets
from tells.judge import Item, Rubric, Task
from tells.judge.rubrics import explanation_prompt, harm_prompt, score_prompt
from tells.safety.benchmarks import AbsentDataError, load_benchmark, read_prompts
from tells.storage import count_questions
from tells.tables.records import DataFileError
from tells.traits.scenarios import TraitDefinition, load_trait

CHARACTERS_PER_TOKEN = 4
_CHARACTERS_PER_GENERATED_TOKEN = 4
_EXPLANATION_TOKENS = 60
_GUARD_TOKENS = 32
_HARM_TOKENS = 40
GUARDS = ("wildguard", "llama_guard")


@dataclass(frozen=True)
class Step:
    """One stage of one collection.

    Attributes:
        collection: study/collection.
        stage: rule that does it.
        answers: runs to generate; None where the number of questions is not known before the data are fetched.
        tokens: at most so many are generated.
        calls: requests to a judge; at most so many, where only failures are asked about.
        judge_tokens: estimated tokens of these requests and their answers.
        judge_written: those of the answers among them.
    """

    collection: str
    stage: str
    answers: int | None = 0
    tokens: int | None = 0
    calls: int = 0
    judge_tokens: int = 0
    judge_written: int = 0


@dataclass(frozen=True)
class Collection:
    """What one collection asks.

    Attributes:
        study: its study.
        name: its name.
        prompts: how many; None where that is not known before the data are fetched.
        runs: answers to them; 0 where the user's own samples take their place, None where prompts are not known.
        shards: jobs that sample them; None where prompts are not known.
    """

    study: str
    name: str
    prompts: int | None
    runs: int | None
    shards: int | None

    @property
    def place(self) -> str:
        """study/collection."""
        return f"{self.study}/{self.name}"


def collections(root: Path, experiment: Experiment) -> list[Collection]:
    """Every collection of an experiment.

    Args:
        root: the folder that holds config/ and experiments/.
        experiment: the definition.

    Raises:
        ConfigError: a trait or a benchmark it names is broken, or a benchmark's data are absent.
    """
    found = []
    for study in experiment.studies():
        config = getattr(experiment, study)
        counts = _COUNTS[study](root, experiment)
        for name, prompts in counts.items():
            own = study == "uncertainty" and config.collections[name].samples
            runs = 0 if own else None if prompts is None else prompts * (config.samples + config.greedy)
            shards = 0 if own else None if prompts is None else math.ceil(prompts / config.shard_size)
            found.append(Collection(study, name, prompts, runs, shards))
    return found


def steps(root: Path, experiment: Experiment, asked: Iterable[Collection]) -> list[Step]:
    """Every stage that generates or judges; of the offline judge, which sends nothing, only those that generate.

    Args:
        root: the folder that holds config/.
        experiment: the definition.
        asked: its collections.
    """
    found = []
    for collection in asked:
        found += _STEPS[collection.study](root, experiment, collection)
    if experiment.judge.provider == "exemplar":
        return [Step(step.collection, step.stage, step.answers, step.tokens) for step in found if step.answers != 0]
    return found


def _count_questions(root: Path, experiment: Experiment) -> dict[str, int | None]:
    sets, _ = read_question_sets(root, {experiment.name: experiment})
    counts = {}
    for name, collection in experiment.uncertainty.collections.items():
        folder = root / f"experiments/{experiment.name}/uncertainty/{name}"
        questions = count_questions(root, folder, collection, sets.get((experiment.name, name)))
        counts[name] = min((n for n in (questions, collection.limit) if n is not None), default=None)
    return counts


def _count_scenarios(root: Path, experiment: Experiment) -> dict[str, int | None]:
    traits = {name: load_trait(root / TRAITS_FOLDER / name) for name in experiment.traits.collections}
    limit = experiment.traits.limit
    return {name: 2 * min(len(trait.positive), limit or len(trait.positive)) for name, trait in traits.items()}


def _count_prompts(root: Path, experiment: Experiment) -> dict[str, int | None]:
    return {name: _benchmark_prompts(root, experiment, name) for name in experiment.safety.collections}


def _benchmark_prompts(root: Path, experiment: Experiment, name: str) -> int | None:
    """How many prompts a benchmark has; None where that takes a look at the hub."""
    definition = experiment.safety.collections[name]
    benchmark = load_benchmark(root / experiment.safety.benchmark_of(name))
    if definition.path is None and benchmark.hub is not None:
        return definition.limit
    try:
        return len(read_prompts(benchmark, path=definition.path, limit=definition.limit, root=root))
    except (AbsentDataError, DataFileError) as error:
        raise ConfigError([Problem(str(benchmark.name), f"safety.collections.{name}", str(error))]) from error


def _uncertainty(root: Path, experiment: Experiment, collection: Collection) -> Iterator[Step]:
    runs = collection.runs
    tokens = None if runs is None else runs * experiment.uncertainty.max_new_tokens
    yield Step(collection.place, "sample_shard", runs, tokens)
    if collection.name in experiment.steered_questions():
        yield _steered_questions(experiment, collection)


def _steered_questions(experiment: Experiment, collection: Collection) -> Step:
    """Unsteered, both signs of the direction, and the random ones, on the same questions."""
    steer = experiment.compared().steer
    known = collection.prompts is not None
    asked = min(steer.questions, collection.prompts) * steer.samples * (3 + steer.random_directions) if known else None
    tokens = None if asked is None else asked * experiment.uncertainty.max_new_tokens
    return Step(collection.place, "steer_questions", asked, tokens)


def _traits(root: Path, experiment: Experiment, collection: Collection) -> Iterator[Step]:
    study, trait = experiment.traits, load_trait(root / TRAITS_FOLDER / collection.name)
    place, rubric = collection.place, trait.as_rubric()
    scenarios, responses = collection.prompts, collection.runs
    window = study.max_new_tokens if "[" not in study.window else int(study.window.partition(":")[2].rstrip("]"))
    yield Step(place, "sample_shard", responses, responses * study.max_new_tokens)
    if study.vet.scenarios:
        text = " " * round(sum(map(len, trait.positive + trait.negative)) / (2 * len(trait.positive)))
        yield _judged(place, "judge_scenarios", rubric, "scenario", text, scenarios)
    if study.vet.responses:
        text = " " * (window * _CHARACTERS_PER_GENERATED_TOKEN)
        yield _judged(place, "judge_responses", rubric, "trait", text, responses)
        asked = len(explanation_prompt(rubric, Item("", text), "high").content)
        read, written = responses * (asked // CHARACTERS_PER_TOKEN), responses * _EXPLANATION_TOKENS
        yield Step(place, "explain_failures", 0, 0, responses, read + written, written)
    if collection.name in study.steered():
        yield from _steering(place, experiment, trait, rubric)


def _steering(place: str, experiment: Experiment, trait: TraitDefinition, rubric: Rubric) -> Iterator[Step]:
    steer = experiment.traits.steer
    layers = steer.layers if isinstance(steer.layers, int) else len(steer.layers)
    methods = 1 if steer.methods == "best" else len(steer.methods)
    search = min(steer.search_questions, len(trait.search))
    report = min(steer.report_questions, len(trait.report))
    references = (search + report) * math.ceil(steer.reference_samples / (search + report))
    grid = layers * methods * 2 * len(steer.ratios) * search * steer.samples
    drawn = steer.random_draws * (steer.random_samples or steer.report_samples)
    reported = report * (3 * steer.report_samples + drawn)
    text = " " * (steer.max_new_tokens * _CHARACTERS_PER_GENERATED_TOKEN)
    for generate, judge, rows in (
        ("generate_steered", "judge_steered", references + grid),
        ("report_steered", "judge_report", reported),
    ):
        yield Step(place, generate, rows, rows * steer.max_new_tokens)
        trait_calls = _judged(place, judge, rubric, "trait", text, rows)
        coherence = _judged(place, judge, rubric, "coherence", text, rows)
        tokens = trait_calls.judge_tokens + coherence.judge_tokens
        yield Step(place, judge, calls=2 * rows, judge_tokens=tokens, judge_written=2 * rows)


def _safety(root: Path, experiment: Experiment, collection: Collection) -> Iterator[Step]:
    study, place, runs = experiment.safety, collection.place, collection.runs
    tokens = None if runs is None else runs * study.max_new_tokens
    yield Step(place, "sample_shard", runs, tokens)
    if study.stopping.online:
        yield Step(place, "sample_adaptively", runs, tokens)
    for guard in GUARDS:
        if guard in study.labels.classifiers:
            yield Step(place, f"ask_guard {guard}", runs, None if runs is None else runs * _GUARD_TOKENS)
    if "judge" in study.labels.classifiers:
        reply = " " * (study.max_new_tokens * _CHARACTERS_PER_GENERATED_TOKEN)
        content = harm_prompt(Item("", reply, "a question of about so many words")).content
        calls = runs or 0
        read, written = calls * (len(content) // CHARACTERS_PER_TOKEN + 1), calls * _HARM_TOKENS
        yield Step(place, "classify judge", 0, 0, calls, read + written, written)


def _judged(place: str, stage: str, rubric: Rubric, task: Task, text: str, n: int) -> Step:
    content = score_prompt(task, rubric, Item("", text, "a question of about so many words"), "token").content
    return Step(place, stage, 0, 0, n, n * (len(content) // CHARACTERS_PER_TOKEN + 1), n)


_COUNTS = {"uncertainty": _count_questions, "traits": _count_scenarios, "safety": _count_prompts}
_STEPS = {"uncertainty": _uncertainty, "traits": _traits, "safety": _safety}
