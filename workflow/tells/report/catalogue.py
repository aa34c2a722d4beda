"""What lies under experiments/: which studies are done, running, failed, missing, or older than the code.

Read from files alone: the studies' results, their metadata, and the status files of their jobs. A file that cannot be
read is a state of its study, never an error for the others.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from tells.config import PARTS, Experiment
from tells.jobs import process_start
from tells.stages import STAGES
from tells.tables import TableError, read_json, read_metadata
from tells.tables.metadata import outdated

Reader = Callable[[Path], Mapping[str, Any]]
State = Literal["done", "older", "running", "failed", "partial", "missing", "unreadable"]
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
# A job that says nothing for so long, on another host than this one, is taken for dead.
_SILENT_SECONDS = 24 * 3600


@dataclass(frozen=True)
class StudyState:
    """One study of one experiment.

    Attributes:
        experiment: its name.
        study: uncertainty, traits, safety or agreement.
        state: done (results are there), older (made by other code than this), running, failed, partial (some files, no
            results), missing (defined, nothing is there) or unreadable.
        reason: why, in one line; None where it is done.
        model: name of the model; None where no results say it.
        finished: when the last of its jobs ended, ISO 8601; None where none did.
        seconds: sum over its finished jobs.
        tokens: sum over its finished jobs.
        judge_calls: sum over its finished jobs.
        cost: of all its judges' calls, failed jobs included, USD; None where no prices are known.
        jobs: how many jobs are in each state.
        collections: names of the folders with files in them.
    """

    experiment: str
    study: str
    state: State
    reason: str | None
    model: str | None
    finished: str | None
    seconds: float
    tokens: int
    judge_calls: int
    cost: float | None
    jobs: Mapping[str, int]
    collections: tuple[str, ...]


def catalogue(
    root: Path, definitions: Mapping[str, Experiment] | None = None, *, metadata_of: Reader = read_metadata
) -> list[StudyState]:
    """Every study that is defined or has files, by experiment.

    Args:
        root: the folder that holds experiments/ and logs/.
        definitions: experiments by name, where they can be read; without them a missing study cannot be told.
        metadata_of: reads a file's metadata; may remember what it read.
    """
    definitions = definitions or {}
    names = {*definitions, *experiment_names(root)}
    return [
        study_state(root, name, study, metadata_of=metadata_of)
        for name in sorted(names)
        for study in PARTS
        if (name in definitions and study in definitions[name].parts()) or study_folder(root, name, study).is_dir()
    ]


def experiment_names(root: Path) -> list[str]:
    """Names of the folders under experiments/ that hold a study."""
    folder = root / "experiments"
    if not folder.is_dir():
        return []
    return sorted(
        path.name
        for path in folder.iterdir()
        if _NAME.fullmatch(path.name) and any((path / study).is_dir() for study in PARTS)
    )


def study_folder(root: Path, experiment: str, study: str) -> Path:
    """Where a study's files lie.

    Raises:
        ValueError: the name could lead out of experiments/, or there is no such study.
    """
    if not _NAME.fullmatch(experiment) or study not in PARTS:
        raise ValueError(f"{experiment}/{study}: no study of an experiment")
    return root / "experiments" / experiment / study


def study_state(root: Path, experiment: str, study: str, *, metadata_of: Reader = read_metadata) -> StudyState:
    """The state of one study.

    Args:
        root: the folder that holds experiments/ and logs/.
        experiment: its name.
        study: uncertainty, traits, safety or agreement.
        metadata_of: reads a file's metadata; may remember what it read.

    Raises:
        ValueError: as for `study_folder`.
    """
    folder = study_folder(root, experiment, study)
    jobs = list(_jobs(root / "logs" / experiment / study))
    metadata, broken = _metadata(folder / "results.json")
    state, reason = _state(folder, metadata, broken, jobs, metadata_of)
    done = [job for job in jobs if job.get("state") == "done"]
    counts: dict[str, int] = {}
    for job in jobs:
        counts[_job_state(job)] = counts.get(_job_state(job), 0) + 1
    return StudyState(
        experiment,
        study,
        state,
        reason,
        (metadata or {}).get("model", {}).get("name") if (metadata or {}).get("model") else None,
        max((str(job["finished"]) for job in jobs if job.get("finished")), default=None),
        sum(float(job.get("seconds", 0)) for job in done),
        sum(int(job.get("tokens", 0)) for job in done),
        sum(int(job.get("calls", 0)) for job in done),
        _cost(jobs),
        counts,
        tuple(_collections(folder)),
    )


def _state(
    folder: Path,
    metadata: Mapping[str, Any] | None,
    broken: str | None,
    jobs: Sequence[Mapping[str, Any]],
    metadata_of: Reader,
) -> tuple[State, str | None]:
    if running := [job for job in jobs if _job_state(job) == "running"]:
        return "running", f"{len(running)} job(s), such as {running[0].get('job')}"
    if broken is not None:
        return "unreadable", broken
    made = (folder / "results.json").stat().st_mtime if metadata is not None else 0.0
    failed = [job for job in jobs if _job_state(job) == "failed" and _ended(job) > made]
    if failed:
        last = max(failed, key=_ended)
        return "failed", f"{last.get('job')}: {last.get('last_line', 'it was killed')}"
    if metadata is not None:
        old = _oldest(folder, metadata_of)
        return ("done", None) if old is None else ("older", old)
    if folder.is_dir() and any(folder.rglob("*.parquet")):
        return "partial", "some files are there, and no results yet"
    return "missing", "nothing is there yet"


def _oldest(folder: Path, metadata_of: Reader) -> str | None:
    """What is old about a study: files of another version of their stage come before files of changed code."""
    found = []
    for path in [folder / "results.json", *sorted(folder.rglob("*.parquet"))]:
        if "shards" in path.parts:
            continue
        try:
            metadata = metadata_of(path)
        except TableError:
            continue
        if old := outdated(metadata):
            version = STAGES.get(metadata.get("stage", ""))
            changed = version is not None and version.version == metadata.get("stage_version")
            found.append((changed, f"{path.relative_to(folder)}: {old[0]}"))
    return min(found)[1] if found else None


def _metadata(path: Path) -> tuple[Mapping[str, Any] | None, str | None]:
    """Metadata of a results file, and why it cannot be read."""
    if not path.exists():
        return None, None
    try:
        content = read_json(path)
        metadata = content["metadata"]
    except (TableError, OSError, KeyError, TypeError) as error:
        return None, f"{path.name} cannot be read: {error}"
    return (metadata, None) if isinstance(metadata, dict) else (None, f"{path.name} says nothing of what made it")


def _jobs(logs: Path) -> Iterator[Mapping[str, Any]]:
    for path in sorted(logs.rglob("*.status.json")) if logs.is_dir() else ():
        try:
            content = read_json(path)
        except (TableError, OSError):
            continue
        if isinstance(content, dict):
            yield {**content, "seen": path.stat().st_mtime}


def _job_state(job: Mapping[str, Any]) -> str:
    """The state a job's file tells, but for one that was killed: its file says running for ever."""
    if job.get("state") != "running":
        return str(job.get("state"))
    if job.get("host") == socket.gethostname():
        return "running" if process_start(int(job.get("pid", -1))) is not None else "failed"
    silent = datetime.now(UTC).timestamp() - float(job["seen"])
    return "running" if silent < _SILENT_SECONDS else "failed"


def _cost(jobs: Sequence[Mapping[str, Any]]) -> float | None:
    known = [float(job["cost"]) for job in jobs if job.get("cost") is not None]
    return sum(known) if known else None


def _ended(job: Mapping[str, Any]) -> float:
    return float(job["seen"])


def _collections(folder: Path) -> Iterator[str]:
    """Folders with prompts in them; those of traits have two parts."""
    for path in sorted(folder.rglob("prompts.parquet")):
        if "shards" not in path.parts:
            yield path.parent.relative_to(folder).as_posix()
