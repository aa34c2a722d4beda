"""What a study took: seconds, tokens, memory and judge calls, from the status files of its jobs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.table import Table

from tells.tables import read_json


def seconds_table(logs: Path) -> Table:
    """Seconds, tokens and memory by stage.

    Args:
        logs: the folder of a study's status files.
    """
    table = Table(title="seconds per stage", caption="from the jobs' status files")
    for column in ("stage", "jobs", "seconds", "tokens", "judge calls", "largest memory (MB)"):
        table.add_column(column, justify="left" if column == "stage" else "right")
    stages: dict[str, list[dict[str, Any]]] = {}
    for status in done_jobs(logs):
        stages.setdefault(status["job"].split("-")[0], []).append(status)
    for stage, jobs in sorted(stages.items(), key=lambda item: min(job["started"] for job in item[1])):
        tokens, calls = (sum(job.get(figure, 0) for job in jobs) for figure in ("tokens", "calls"))
        seconds = sum(job["seconds"] for job in jobs)
        memory = max(job["max_rss_mb"] for job in jobs)
        counted = [f"{figure:,}" if figure else "" for figure in (tokens, calls)]
        table.add_row(stage, str(len(jobs)), f"{seconds:.1f}", *counted, f"{memory:.0f}")
    total = sum(job["seconds"] for jobs in stages.values() for job in jobs)
    table.add_row("all", str(sum(map(len, stages.values()))), f"{total:.1f}", "", "", "", end_section=True)
    return table


def judge_calls(logs: Path) -> int:
    """Requests that a collection's jobs sent to a judge."""
    return sum(status.get("calls", 0) for status in done_jobs(logs))


def done_jobs(logs: Path) -> Iterator[dict[str, Any]]:
    """The status of every job below a folder that ended well."""
    for path in sorted(logs.rglob("*.status.json")):
        status = read_json(path)
        if status["state"] == "done":
            yield status
