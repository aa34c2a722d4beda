"""What a run will take, before it starts: answers to generate, tokens at most, and calls to a judge.

Counted from the definition and the files it names; nothing is loaded. Tokens of a judge's prompts are estimated from
their characters.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
_SUMMED = ("answers", "tokens", "calls", "judge_tokens")


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
class Plan:
    """All steps of an experiment."""

    experiment: str
    steps: tuple[Step, ...]
    judge: str
    cost: float | None

    def __rich__(self) -> Any:
        """The plan as rich prints it."""
        from rich.table import Table

        table = Table(
            title=f"{self.experiment}: what a run takes",
            caption=f"judge: {self.judge}. Tokens of answers are upper bounds; those of the judge are estimated at "
            f"{CHARACTERS_PER_TOKEN} characters each. What is cached is not asked again.",
        )
        for column in ("collection", "stage", "answers", "tokens at most", "judge calls", "judge tokens"):
            table.add_column(column, justify="left" if column in ("collection", "stage") else "right")
        for step in self.steps:
            numbers = (step.answers, step.tokens, step.calls, step.judge_tokens)
            table.add_row(step.collection, step.stage, *("?" if n is None else f"{n:,}" if n else "" for n in numbers))
        totals = [sum(getattr(step, name) or 0 for step in self.steps) for name in _SUMMED]
        table.add_section()
        table.add_row("all", "" if self.cost is None else f"{self.cost:.2f} USD", *(f"{total:,}" for total in totals))
        return table


def plan(root: Path, experiment: Experiment) -> Plan:
    """Count what an experiment takes.

    Args:
        root: the folder that holds config/ and experiments/.
        experiment: the definition.

    Raises:
        ConfigError: a trait or a benchmark it names is broken, or a benchmark's data are absent.
    """
    steps = [*_uncertainty(root, experiment), *_traits(root, experiment), *_safety(root, experiment)]
    judge = experiment.judge
    name = judge.resolved_model if judge.provider == "exemplar" else f"{judge.provider} {judge.resolved_model}"
    if judge.provider == "exemplar":
        steps = [Step(step.collection, step.stage, step.answers, step.tokens) for step in steps if step.answers != 0]
        name = f"offline ({name}), which sends nothing"
    cost = None
    if judge.provider != "exemplar" and judge.input_price is not None and judge.output_price is not None:
        tokens, written = (sum(getattr(step, name) for step in steps) for name in ("judge_tokens", "judge_written"))
        cost = ((tokens - written) * judge.input_price + written * judge.output_price) / 1e6
    return Plan(experiment.name, tuple(steps), name, cost)


def _uncertainty(root: Path, experiment: Experiment) -> Iterator[Step]:
    study = experiment.uncertainty
    if study is None:
        return
    sets, _ = read_question_sets(root, {experiment.name: experiment})
    for name, collection in study.collections.items():
        folder = root / f"experiments/{experiment.name}/uncertainty/{name}"
        questions = count_questions(root, folder, collection, sets.get((experiment.name, name)))
        questions = min((n for n in (questions, collection.limit) if n is not None), default=None)
        runs = 0 if collection.samples else None if questions is None else questions * (study.samples + 1)
        tokens = None if runs is None else runs * study.max_new_tokens
        yield Step(f"uncertainty/{name}", "sample_shard", runs, tokens)


def _traits(root: Path, experiment: Experiment) -> Iterator[Step]:
    study = experiment.traits
    for name in study.collections if study else ():
        trait = load_trait(root / TRAITS_FOLDER / name)
        place, rubric = f"traits/{name}", trait.as_rubric()
        scenarios = 2 * min(len(trait.positive), study.limit or len(trait.positive))
        responses = scenarios * study.rollouts
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
        if name in study.steered():
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


def _safety(root: Path, experiment: Experiment) -> Iterator[Step]:
    study = experiment.safety
    for name in study.collections if study else ():
        place = f"safety/{name}"
        prompts = _count_prompts(root, experiment, name)
        runs = None if prompts is None else prompts * study.budget
        tokens = None if runs is None else runs * study.max_new_tokens
        yield Step(place, "sample_shard", runs, tokens)
        if study.stopping.online:
            yield Step(place, "sample_adaptively", runs, tokens)
        for guard in ("wildguard", "llama_guard"):
            if guard in study.labels.classifiers:
                yield Step(place, f"ask_guard {guard}", runs, None if runs is None else runs * _GUARD_TOKENS)
        if "judge" in study.labels.classifiers:
            reply = " " * (study.max_new_tokens * _CHARACTERS_PER_GENERATED_TOKEN)
            content = harm_prompt(Item("", reply, "a question of about so many words")).content
            calls = runs or 0
            read, written = calls * (len(content) // CHARACTERS_PER_TOKEN + 1), calls * _HARM_TOKENS
            yield Step(place, "classify judge", 0, 0, calls, read + written, written)


def _count_prompts(root: Path, experiment: Experiment, name: str) -> int | None:
    """How many prompts a benchmark has; None where that takes a look at the hub."""
    definition = experiment.safety.collections[name]
    benchmark = load_benchmark(root / experiment.safety.benchmark_of(name))
    if definition.path is None and benchmark.hub is not None:
        return definition.limit
    try:
        return len(read_prompts(benchmark, path=definition.path, limit=definition.limit, root=root))
    except (AbsentDataError, DataFileError) as error:
        raise ConfigError([Problem(str(benchmark.name), f"safety.collections.{name}", str(error))]) from error


def _judged(place: str, stage: str, rubric: Rubric, task: Task, text: str, n: int) -> Step:
    content = score_prompt(task, rubric, Item("", text, "a question of about so many words"), "token").content
    return Step(place, stage, 0, 0, n, n * (len(content) // CHARACTERS_PER_TOKEN + 1), n)
