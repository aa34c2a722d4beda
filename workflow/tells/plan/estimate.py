"""The plan of an experiment: its counts, and what they take at the rates that earlier jobs recorded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tells.config import Experiment
from tells.plan.jobs import ModelWork, count_jobs, is_replayed, model_work
from tells.plan.rates import Rate, rate_of, read_statuses
from tells.plan.steps import Collection, Step, collections, steps
from tells.storage import state_bytes

_GENERATING = ("sample_shard", "sample_adaptively", "generate_steered", "report_steered", "steer_questions")
_SECONDS_PER_HOUR = 3600


@dataclass(frozen=True)
class Hours:
    """What the model jobs of one collection and rule take on one GPU, or on the processor where there is none.

    Attributes:
        work: the jobs.
        rate: that earlier jobs recorded; None where there is none.
        expected: hours at the rate of all of these jobs together, if every answer is as long as it may be.
        least: hours at the rate of the fastest of them.
        most: hours at that of the slowest.
    """

    work: ModelWork
    rate: Rate | None = None
    expected: float | None = None
    least: float | None = None
    most: float | None = None


@dataclass(frozen=True)
class Storage:
    """Bytes that a run will write below experiments/.

    Attributes:
        states: hidden states, exactly; None where the model does not lie ready or prompts are not known.
        tables: everything else, by study, at the bytes per answer of earlier runs; None where there is none.
        sources: by study, which experiments these are, and how many answers they have.
    """

    states: int | None
    tables: dict[str, int | None]
    sources: dict[str, tuple[str, int]]


@dataclass(frozen=True)
class Plan:
    """Everything an experiment takes.

    Attributes:
        experiment: its name.
        steps: the stages that generate or judge.
        judge: who judges, in words.
        cost: of the judge (USD); None without both prices.
        jobs: jobs by rule of a run from scratch; None where a number of shards is not known.
        hours: of the jobs that load a model.
        storage: bytes.
    """

    experiment: str
    steps: tuple[Step, ...]
    judge: str
    cost: float | None
    jobs: dict[str, int | None]
    hours: tuple[Hours, ...]
    storage: Storage


def plan(root: Path, experiment: Experiment, statuses: Sequence[Mapping[str, Any]] | None = None) -> Plan:
    """Say what an experiment takes.

    Args:
        root: the folder that holds config/, experiments/, and logs/ with what earlier jobs recorded.
        experiment: the definition.
        statuses: what these recorded, where it has been read already (`read_statuses`).

    Raises:
        ConfigError: a trait or a benchmark it names is broken, or a benchmark's data are absent.
    """
    asked = collections(root, experiment)
    stages = steps(root, experiment, asked)
    work = model_work(experiment, asked, stages)
    statuses = read_statuses(root / "logs") if statuses is None else statuses
    judge, cost = _judge(experiment, stages)
    return Plan(
        experiment.name,
        tuple(stages),
        judge,
        cost,
        count_jobs(root, experiment, asked),
        tuple(_hours(one, rate) for one, rate in _with_rates(experiment, work, statuses)),
        _storage(root, experiment, asked, stages, statuses),
    )


def _judge(experiment: Experiment, stages: Sequence[Step]) -> tuple[str, float | None]:
    """Who judges, and for how much."""
    judge = experiment.judge
    if judge.provider == "exemplar":
        return f"offline ({judge.resolved_model}), which sends nothing", None
    name = f"{judge.provider} {judge.resolved_model}"
    if judge.input_price is None or judge.output_price is None:
        return name, None
    tokens, written = (sum(getattr(step, key) for step in stages) for key in ("judge_tokens", "judge_written"))
    return name, ((tokens - written) * judge.input_price + written * judge.output_price) / 1e6


def _with_rates(
    experiment: Experiment, work: Iterable[ModelWork], statuses: Sequence[Mapping[str, Any]]
) -> list[tuple[ModelWork, Rate | None]]:
    served, rates = experiment.engine.kind == "served", {}
    found = []
    for one in work:
        kind = (one.rule, one.model, one.unit)
        if kind not in rates:
            device = "served" if served and one.rule == "sample_shard" else experiment.engine.device
            rates[kind] = rate_of(one, statuses, device)
        found.append((one, rates[kind]))
    return found


def _hours(work: ModelWork, rate: Rate | None) -> Hours:
    if rate is None or work.amount is None or work.jobs is None:
        return Hours(work, rate)
    starting = work.jobs * rate.startup
    expected, least, most = (
        (work.amount * per_unit + starting) / _SECONDS_PER_HOUR
        for per_unit in (rate.per_unit, rate.fastest, rate.slowest)
    )
    return Hours(work, rate, expected, least, most)


def _storage(
    root: Path,
    experiment: Experiment,
    asked: Sequence[Collection],
    stages: Iterable[Step],
    statuses: Sequence[Mapping[str, Any]],
) -> Storage:
    answers: dict[str, int | None] = {}
    for step in stages:
        study = step.collection.partition("/")[0]
        if step.stage in _GENERATING:
            before = answers.get(study, 0)
            answers[study] = None if before is None or step.answers is None else before + step.answers
    replayed = [
        state_bytes(root, experiment, one.study, one.runs) for one in asked if is_replayed(experiment, one.study)
    ]
    tables, sources = {}, {}
    for study in experiment.studies():
        earlier = _table_bytes(statuses, study, experiment.name)
        number = answers.get(study, 0)
        tables[study] = None if earlier is None or number is None else round(number * earlier[0] / earlier[2])
        if earlier is not None:
            sources[study] = (earlier[1], earlier[2])
    return Storage(None if None in replayed else sum(replayed), tables, sources)


def _table_bytes(statuses: Sequence[Mapping[str, Any]], study: str, own: str) -> tuple[int, str, int] | None:
    """Bytes without tensors, names of the experiments, and answers of earlier runs of a study: its own, else all."""
    of_study = [status for status in statuses if status["study"] == study and isinstance(status.get("bytes"), dict)]
    for candidates in ([status for status in of_study if status["experiment"] == own], of_study):
        answers = sum(one.get("runs", 0) for one in candidates if one["job"].split("-")[0] in _GENERATING)
        if answers:
            size = sum(count for one in candidates for kind, count in one["bytes"].items() if kind != "safetensors")
            return size, ", ".join(sorted({one["experiment"] for one in candidates})), answers
    return None
