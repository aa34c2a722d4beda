"""A plan as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from tells.plan.estimate import Hours, Plan, Storage
from tells.plan.steps import CHARACTERS_PER_TOKEN, Step

# More collections of a study than this are told together.
_MOST_COLLECTIONS = 6
_COLUMNS = ("collection", "stage", "jobs", "answers", "tokens at most", "hours at most", "judge calls", "judge tokens")
_ORDER = (
    *("sample_shard", "sample_adaptively", "replay_shard", "ask_p_true", "judge_scenarios", "judge_responses"),
    *("explain_failures", "steer_questions", "generate_steered", "judge_steered", "report_steered", "judge_report"),
    *("ask_guard", "classify"),
)
_UNITS = ("B", "kB", "MB", "GB", "TB")


def plan_tables(plan: Plan) -> Group:
    """Stages with their figures, the rates they rest on, and what is not known."""
    parts: list[Any] = [_stages(plan), *_rates(plan.hours)]
    parts.append(Text(_told_storage(plan.storage)))
    missing = sorted({(one.work.rule, one.work.model) for one in plan.hours if one.rate is None})
    if missing:
        rules = "; ".join(f"{rule} of {model}" for rule, model in missing)
        parts.append(Text(f"hours unknown, as no such job has finished here: {rules}"))
    return Group(*parts)


def _stages(plan: Plan) -> Table:
    table = Table(
        title=f"{plan.experiment}: what a run takes",
        caption=f"judge: {plan.judge}. Tokens of answers are upper bounds; those of the judge are estimated at "
        f"{CHARACTERS_PER_TOKEN} characters each. What is cached is not asked again.",
    )
    for column in _COLUMNS:
        table.add_column(column, justify="left" if column in ("collection", "stage") else "right")
    rows = _rows(plan)
    for collection, stage, steps, hours in rows:
        table.add_row(collection, stage, _number(_jobs(steps, hours)), *_figures(steps, hours))
    told = {stage.split(" ")[0] for _, stage, _, _ in rows}
    others = {rule: count for rule, count in plan.jobs.items() if rule not in told}
    if others:
        table.add_row("", f"{len(others)} other rules", _number(_sum(others.values())), "", "", "", "", "")
    table.add_section()
    cost = "" if plan.cost is None else f"{plan.cost:.2f} USD"
    table.add_row("all", cost, _number(_sum(plan.jobs.values())), *_figures(plan.steps, plan.hours))
    return table


def _rows(plan: Plan) -> list[tuple[str, str, list[Step], list[Hours]]]:
    """Collection, stage, what it generates or judges, and its hours; one row for the collections of a large study."""
    places = list(dict.fromkeys([step.collection for step in plan.steps] + [one.work.collection for one in plan.hours]))
    studies = [place.partition("/")[0] for place in places]

    def shown(place: str) -> str:
        study = place.partition("/")[0]
        count = studies.count(study)
        return place if count <= _MOST_COLLECTIONS else f"{study}: {count} collections"

    rows: dict[tuple[str, str], tuple[list[Step], list[Hours]]] = {}
    for step in plan.steps:
        rows.setdefault((shown(step.collection), step.stage), ([], []))[0].append(step)
    for one in plan.hours:
        rows.setdefault((shown(one.work.collection), one.work.stage), ([], []))[1].append(one)
    order = {shown(place): number for number, place in enumerate(places)}
    ordered = sorted(rows, key=lambda row: (order[row[0]], _ORDER.index(row[1].split(" ")[0]), row[1]))
    return [(*row, *rows[row]) for row in ordered]


def _jobs(steps: Sequence[Step], hours: Sequence[Hours]) -> int | None:
    return _sum(one.work.jobs for one in hours) if hours else len(steps)


def _figures(steps: Iterable[Step], hours: Sequence[Hours]) -> list[str]:
    steps = list(steps)
    answers, tokens = _sum(step.answers for step in steps), _sum(step.tokens for step in steps)
    calls, judged = sum(step.calls for step in steps), sum(step.judge_tokens for step in steps)
    return [_number(answers), _number(tokens), _told_hours(hours), _number(calls), _number(judged)]


def _told_hours(hours: Sequence[Hours]) -> str:
    known = [one for one in hours if one.expected is not None]
    if not known:
        return "?" if hours else ""
    expected, least, most = (sum(getattr(one, key) for one in known) for key in ("expected", "least", "most"))
    unknown = " + ?" if len(known) < len(hours) else ""
    return f"{_hours(expected)} ({_hours(least)}–{_hours(most)}){unknown}"


def _rates(hours: Iterable[Hours]) -> list[Table]:
    """The recorded rates that the hours rest on."""
    rates = list(dict.fromkeys(one.rate for one in hours if one.rate is not None))
    if not rates:
        return []
    table = Table(
        title="recorded rates",
        caption="from the status files in logs/, of finished jobs of the same model; hours are those of one GPU, or of "
        "the processor, if every answer is as long as it may be: at the rate of all these jobs together (of the "
        "fastest – of the slowest), each new job with the mean start-up",
    )
    for column in ("rule", "model", "machine", "jobs", "a second", "start-up (s)", "last"):
        table.add_column(column, justify="right" if column in ("jobs", "a second", "start-up (s)") else "left")
    for rate in rates:
        speed = f"{1 / rate.per_unit:,.1f} {rate.unit}"
        row = (rate.rule, rate.model, rate.machine, str(rate.jobs), speed, f"{rate.startup:.1f}", rate.finished[:10])
        table.add_row(*row)
    return [table]


def _told_storage(storage: Storage) -> str:
    states = "unknown until model and prompts lie ready" if storage.states is None else _size(storage.states)
    parts = [f"storage: hidden states {states}"]
    for study, size in storage.tables.items():
        if size is not None:
            source, answers = storage.sources[study]
            parts.append(f"tables of {study} about {_size(size)}, by the {answers:,} answers of {source}")
    unknown = [study for study, size in storage.tables.items() if size is None]
    if unknown:
        parts.append(f"tables of {', '.join(unknown)} unknown, as no run has finished here or prompts are not known")
    return "; ".join(parts)


def _sum(numbers: Iterable[int | None]) -> int | None:
    found = list(numbers)
    return None if None in found else sum(found)


def _number(number: int | None) -> str:
    return "?" if number is None else f"{number:,}" if number else ""


def _hours(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 100 else f"{hours:.1f}" if hours >= 1 else f"{hours:.2f}"


def _size(count: float) -> str:
    for unit in _UNITS:
        if count < 1000 or unit == _UNITS[-1]:
            break
        count /= 1000
    return f"{count:.0f} {unit}" if unit in ("B", "kB") else f"{count:.1f} {unit}"
