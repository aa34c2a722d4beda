"""How fast jobs that load a model went here before: the rates that their status files recorded.

A rate is of one rule, model and machine: none is carried over to another model or another machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tells.plan.jobs import RUNS, ModelWork
from tells.tables import TableError, read_json

SERVED = "a server"
_AMOUNTS = {RUNS: ("runs", "replies")}


@dataclass(frozen=True)
class Rate:
    """What finished jobs of one rule, model and machine took.

    Attributes:
        rule: the rule.
        model: the model they loaded.
        machine: what it ran on.
        unit: what they are counted in: `tokens` or `runs`.
        jobs: how many.
        amount: tokens or runs of all of them.
        seconds: of their work, start-up and waiting left out.
        fastest: least seconds per unit of a job.
        slowest: most seconds per unit of a job.
        startup: mean seconds until a job's work began.
        finished: when the last of them ended.
    """

    rule: str
    model: str
    machine: str
    unit: str
    jobs: int
    amount: int
    seconds: float
    fastest: float
    slowest: float
    startup: float
    finished: str

    @property
    def per_unit(self) -> float:
        """Seconds per token, or per run, of all jobs together."""
        return self.seconds / self.amount


def read_statuses(logs: Path) -> list[dict[str, Any]]:
    """The status of every job that ended well, with `experiment` and `study` from where it stands; broken files apart.

    Args:
        logs: the folder logs/.
    """
    found = []
    for path in sorted(logs.glob("*/*/**/*.status.json")):
        try:
            status = read_json(path)
        except TableError:
            continue
        if isinstance(status, dict) and status.get("state") == "done":
            experiment, study = path.relative_to(logs).parts[:2]
            found.append({**status, "experiment": experiment, "study": study})
    return found


def rate_of(work: ModelWork, statuses: Iterable[Mapping[str, Any]], device: str) -> Rate | None:
    """The rate of jobs like these.

    Args:
        work: rule, model and unit that are looked for.
        statuses: of finished jobs, as `read_statuses` gives them.
        device: what the experiment asks for: `cpu`, `cuda`, `served`, or `auto`, for the machine of the last such job.

    Returns:
        None where no such job has finished here.
    """
    machines: dict[str, list[Mapping[str, Any]]] = {}
    for status in statuses:
        machine = SERVED if status.get("engine") == "served" else status.get("machine")
        if machine and _is_like(status, work) and _is_on(machine, device):
            machines.setdefault(machine, []).append(status)
    if not machines:
        return None
    machine = max(machines, key=lambda name: max(status["finished"] for status in machines[name]))
    jobs = machines[machine]
    amounts = [_amount(status, work.unit) for status in jobs]
    seconds = [_work_seconds(status) for status in jobs]
    per_unit = [took / amount for took, amount in zip(seconds, amounts, strict=True)]
    return Rate(
        work.rule,
        work.model,
        machine,
        work.unit,
        len(jobs),
        sum(amounts),
        sum(seconds),
        min(per_unit),
        max(per_unit),
        sum(status["startup_seconds"] for status in jobs) / len(jobs),
        max(status["finished"] for status in jobs),
    )


def _is_like(status: Mapping[str, Any], work: ModelWork) -> bool:
    """Whether a job is of this rule and model, and says what its rate is made of."""
    told = all(status.get(key) is not None for key in ("startup_seconds", "process_seconds", "finished"))
    same = status["job"].split("-")[0] == work.rule and status.get("model") == work.model
    return same and told and _amount(status, work.unit) > 0 and _work_seconds(status) > 0


def _is_on(machine: str, device: str) -> bool:
    kind = "served" if machine == SERVED else "cpu" if machine.startswith("cpu") else "cuda"
    return device == kind or (device == "auto" and kind != "served")


def _amount(status: Mapping[str, Any], unit: str) -> int:
    return next((status[name] for name in _AMOUNTS.get(unit, (unit,)) if name in status), 0)


def _work_seconds(status: Mapping[str, Any]) -> float:
    return status["process_seconds"] - status["startup_seconds"] - status.get("waited_seconds", 0.0)
