"""The files of an experiment's studies, found by study, collection and name.

What is not there is None: a part that is missing makes a smaller table, not an error.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import polars as pl

from tells.config import STUDIES
from tells.tables import read_metadata, read_table
from tells.uncertainty.probe_files import HiddenStates

_TOP, _SHARDS = "experiments", "shards"


class StudyInputs:
    """Files below experiments/{experiment}/, each listed by the path that a job was given."""

    def __init__(self, paths: Iterable[str | Path]) -> None:
        """Sort the paths.

        Args:
            paths: of files below a study's folder; others are left alone.
        """
        self._files: dict[tuple[str, str, str], Path] = {}
        self._shards: dict[tuple[str, str, str], list[Path]] = {}
        for path in sorted(map(Path, paths)):
            found = _place(path)
            if found is None:
                continue
            study, collection, sharded = found
            if sharded:
                kind = f"{path.stem.rpartition('-')[0]}{path.suffix}"
                self._shards.setdefault((study, collection, kind), []).append(path)
            else:
                self._files[study, collection, path.name] = path

    def collections(self, study: str) -> list[str]:
        """Names of a study's collections that have a file here."""
        names = [key for key in (*self._files, *self._shards) if key[0] == study]
        return sorted({collection for _, collection, _ in names if collection})

    def file(self, study: str, collection: str, name: str) -> Path | None:
        """A collection's file; None where it is not there."""
        return self._files.get((study, collection, name))

    def of_study(self, study: str, name: str) -> Path | None:
        """A file of the whole study; None where it is not there."""
        return self._files.get((study, "", name))

    def shards(self, study: str, collection: str, kind: str) -> list[Path]:
        """Files of a collection's shards, such as `replay.parquet`, in the order of their numbers."""
        return self._shards.get((study, collection, kind), [])

    def table(self, study: str, collection: str, kind: str) -> pl.DataFrame | None:
        """A collection's table of a kind that is its file's stem; None where it is not there."""
        path = self.file(study, collection, f"{kind}.parquet")
        return None if path is None else read_table(path, kind)

    def states(self, study: str, collection: str, replay: pl.DataFrame | None) -> HiddenStates | None:
        """Hidden states of a collection, in the order of its replay table; None where nothing was replayed.

        Args:
            study: its study.
            collection: its name.
            replay: prompt_id, sample, shard, tensor_row of its runs.
        """
        paths = self.shards(study, collection, "replay.safetensors")
        if replay is None or not paths:
            return None
        metadata = read_metadata(paths[0])
        return HiddenStates(
            replay.with_columns(dataset=pl.lit(collection)),
            {(collection, int(path.stem.rpartition("-")[2])): path for path in paths},
            layers=metadata["layers"],
            positions=metadata["positions"],
        )


def _place(path: Path) -> tuple[str, str, bool] | None:
    """Study, collection (empty for a file of the whole study) and whether the file is of a shard."""
    folders = path.parts[:-1]
    tops = [place for place, part in enumerate(folders[:-2]) if part == _TOP and folders[place + 2] in STUDIES]
    if not tops:
        return None
    study, *below = folders[tops[-1] + 2 :]
    sharded = bool(below) and below[-1] == _SHARDS
    return study, "/".join(below[:-1] if sharded else below), sharded


def facts_of(paths: Iterable[str | Path]) -> dict[str, Any]:
    """Model and seed of the experiment, by the first of its files that tells a model; None where none does."""
    for path in sorted(map(Path, paths)):
        metadata = read_metadata(path)
        if metadata.get("model") is not None:
            return {"model": metadata["model"], "seed": metadata["seed"]}
    return {"model": None, "seed": None}
