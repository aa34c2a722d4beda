"""The files that the workflow has written: what each is, and what made it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from tells.config import PARTS
from tells.tables import ForeignFileError, TableError, read_json, read_metadata
from tells.tables.metadata import outdated

SUFFIXES = (".parquet", ".json", ".safetensors", ".html")
_COLUMNS = {
    "file": pl.String,
    "experiment": pl.String,
    "study": pl.String,
    "collection": pl.String,
    "stage": pl.String,
    "state": pl.String,
    "model": pl.String,
    "revision": pl.String,
    "seed": pl.Int64,
    "configuration": pl.String,
    "code": pl.String,
    "seconds": pl.Float64,
    "bytes": pl.Int64,
    "changed": pl.String,
}
Reader = Callable[[Path], Mapping[str, Any]]


def list_outputs(
    root: Path, experiment: str, *, shards: bool = False, metadata_of: Reader = read_metadata
) -> pl.DataFrame:
    """One row a file of an experiment.

    Args:
        root: the folder that holds experiments/ and logs/.
        experiment: its name.
        shards: list the files of shards too.
        metadata_of: reads a file's metadata; may remember what it read.

    Returns:
        `file` (below experiments/), `experiment`, `study`, `collection` (empty for a file of the whole study), `stage`,
        `state` (`current`, `older` than the code, `foreign` without metadata, or `unreadable`), `model`, `revision`,
        `seed`, `configuration` (hash of parameters and inputs), `code` (hash of the stage's code), `seconds` of the job
        that made it, `bytes`, `changed` (UTC).
    """
    seconds = _seconds(root, experiment)
    rows = [
        _row(root, path, experiment, seconds, metadata_of)
        for path in _paths(root / "experiments" / experiment, shards=shards)
    ]
    return pl.DataFrame(rows, schema=_COLUMNS, orient="row")


def _paths(folder: Path, *, shards: bool) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        listed = path.suffix in SUFFIXES and not path.name.startswith(".") and path.is_file()
        if listed and (shards or "shards" not in path.relative_to(folder).parts):
            yield path


def _row(
    root: Path, path: Path, experiment: str, seconds: Mapping[str, float | None], metadata_of: Reader
) -> dict[str, Any]:
    relative = path.relative_to(root / "experiments")
    stat = path.stat()
    parts = relative.parts[1:-1]
    study = parts[0] if parts and parts[0] in PARTS else ""
    return {
        "file": relative.as_posix(),
        "experiment": experiment,
        "study": study,
        "collection": "/".join(part for part in parts[1:] if part != "shards"),
        **_made_by(path, metadata_of),
        "seconds": seconds.get(f"experiments/{relative.as_posix()}"),
        "bytes": stat.st_size,
        "changed": datetime.fromtimestamp(stat.st_mtime, UTC).strftime("%Y-%m-%d %H:%M:%S"),
    }


def _made_by(path: Path, metadata_of: Reader) -> dict[str, Any]:
    if path.suffix == ".html":
        return {"state": "page"}
    try:
        metadata = metadata_of(path)
    except ForeignFileError:
        return {"state": "foreign"}
    except TableError:
        return {"state": "unreadable"}
    model = metadata.get("model") or {}
    return {
        "stage": metadata.get("stage"),
        "state": "current" if outdated(metadata) is None else "older",
        "model": model.get("name"),
        "revision": model.get("revision"),
        "seed": metadata.get("seed"),
        "configuration": metadata.get("stage_hash"),
        "code": metadata.get("code_hash"),
    }


def _seconds(root: Path, experiment: str) -> dict[str, float | None]:
    """Seconds of the finished job that made each file."""
    found = {}
    folder = root / "logs" / experiment
    for path in sorted(folder.rglob("*.status.json")) if folder.is_dir() else ():
        try:
            status = read_json(path)
        except (TableError, OSError):
            continue
        if isinstance(status, dict) and status.get("state") == "done":
            for output in status.get("outputs", ()):
                found[str(output)] = status.get("seconds")
    return found
