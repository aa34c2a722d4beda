"""Reading results for the pages: each file once, until it changes; a file that is not whole is an error of its own."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import polars as pl
from flask import current_app

from tells.config import STUDIES, ConfigError, Experiment, load_workflow
from tells.report.catalogue import StudyState, catalogue, experiment_names, study_folder
from tells.tables import TableError, read_json, read_table

Content = TypeVar("Content")
STORE_KEY = "TELLS_STORE"
_KEPT = 64


@dataclass
class Store:
    """The results below a folder.

    Attributes:
        root: the folder that holds experiments/ and logs/.
    """

    root: Path
    _cache: OrderedDict[tuple, tuple[tuple[int, int], Any]] = field(default_factory=OrderedDict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def experiments(self) -> list[str]:
        """Names of the experiments that have files."""
        return experiment_names(self.root)

    def definitions(self) -> tuple[dict[str, Experiment], str | None]:
        """The definitions, where they can be read, and why they cannot."""
        if not (self.root / "config").is_dir():
            return {}, None
        try:
            return load_workflow(self.root)[1], None
        except (ConfigError, OSError) as error:
            return {}, str(error)

    def catalogue(self) -> list[StudyState]:
        """Every study that is defined or has files."""
        return catalogue(self.root, self.definitions()[0])

    def folder(self, experiment: str, study: str) -> Path:
        """A study's folder.

        Raises:
            LookupError: there is no such experiment or study here.
        """
        if study not in STUDIES or experiment not in self.experiments():
            raise LookupError(f"there is no study {study!r} of an experiment {experiment!r} here")
        return study_folder(self.root, experiment, study)

    def results(self, experiment: str, study: str) -> dict[str, Any]:
        """The study's results.json.

        Raises:
            LookupError: as for `folder`.
            TableError: it is absent or not whole.
        """
        return self.json(self.folder(experiment, study) / "results.json")

    def json(self, path: Path) -> Any:
        """A JSON file; not to be changed.

        Raises:
            TableError: it is absent or not whole.
        """
        return self._once(path, ("json",), lambda: read_json(path))

    def table(self, path: Path, kind: str, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """Columns of a table.

        Raises:
            TableError: it is absent, not whole, or of another kind.
        """
        wanted = None if columns is None else list(columns)
        return self._once(path, ("table", kind, *(wanted or ())), lambda: read_table(path, kind, wanted))

    def _once(self, path: Path, how: tuple, read: Callable[[], Content]) -> Content:
        """What was read before, if the file is still the same."""
        try:
            stat = path.stat()
        except OSError:
            raise TableError(f"{path.relative_to(self.root)}: no such file") from None
        version, key = (stat.st_mtime_ns, stat.st_size), (path, *how)
        with self._lock:
            known = self._cache.get(key)
            if known is not None and known[0] == version:
                self._cache.move_to_end(key)
                return known[1]
        content = read()
        with self._lock:
            self._cache[key] = (version, content)
            self._cache.move_to_end(key)
            while len(self._cache) > _KEPT:
                self._cache.popitem(last=False)
        return content


def current_store() -> Store:
    """The results that the running app shows."""
    return current_app.config[STORE_KEY]
