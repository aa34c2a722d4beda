"""Reading results for the pages: each file once, until it changes; a file that is not whole is an error of its own."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import polars as pl
from flask import current_app

from tells.config import PARTS, ConfigError, Experiment, load_workflow
from tells.report.catalogue import StudyState, catalogue, experiment_names, study_folder, study_state
from tells.report.outputs import list_outputs
from tells.tables import TableError, read_json, read_metadata, read_table, scan_table

Content = TypeVar("Content")
STORE_KEY = "TELLS_STORE"
PACKED_KEY = "TELLS_PACKED"
# Tables are large and few; metadata are small, and of as many files as an experiment has.
_KEPT_TABLES, _KEPT_FACTS = 64, 20_000


class _Remembered:
    """What was read from files that have not changed since."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: OrderedDict[tuple, tuple[tuple, Any]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, path: Path, how: tuple, read: Callable[[], Content]) -> Content:
        """What `read` gives, or gave when the file was as it is now."""
        version = _version(path)
        if version is None:
            raise TableError(f"{path.name}: no such file in {path.parent.name}/")
        return self.made(version, (path, *how), read)

    def made(self, version: tuple, key: tuple, read: Callable[[], Content]) -> Content:
        """What `read` gives, or gave when the version was the same."""
        with self._lock:
            known = self._known.get(key)
            if known is not None and known[0] == version:
                self._known.move_to_end(key)
                return known[1]
        content = read()
        with self._lock:
            self._known[key] = (version, content)
            self._known.move_to_end(key)
            while len(self._known) > self._most:
                self._known.popitem(last=False)
        return content


@dataclass
class Store:
    """The results below a folder.

    Attributes:
        root: the folder that holds experiments/ and logs/.
        packed: whether this is the packed demo run.
    """

    root: Path
    packed: bool = False
    _tables: _Remembered = field(default_factory=lambda: _Remembered(_KEPT_TABLES), repr=False)
    _facts: _Remembered = field(default_factory=lambda: _Remembered(_KEPT_FACTS), repr=False)

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
        states = catalogue(self.root, self.definitions()[0], metadata_of=self.metadata)
        return [self._shown(state) for state in states]

    def state(self, experiment: str, study: str) -> StudyState:
        """The state of one study."""
        return self._shown(study_state(self.root, experiment, study, metadata_of=self.metadata))

    def _shown(self, state: StudyState) -> StudyState:
        """A state whose reason does not say where the folder lies on the server."""
        return state if state.reason is None else replace(state, reason=state.reason.replace(f"{self.root}/", ""))

    def folder(self, experiment: str, study: str) -> Path:
        """A study's folder.

        Raises:
            LookupError: there is no such experiment or study here.
        """
        if study not in PARTS or experiment not in self.experiments():
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
        return self._tables.get(path, ("json",), lambda: read_json(path))

    def table(self, path: Path, kind: str, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """Columns of a table.

        Raises:
            TableError: it is absent, not whole, or of another kind.
        """
        wanted = None if columns is None else list(columns)
        return self._tables.get(path, ("table", kind, *(wanted or ())), lambda: read_table(path, kind, wanted))

    def scan(self, path: Path, kind: str, columns: Sequence[str]) -> pl.LazyFrame:
        """Columns of a table of which only a few rows are wanted; nothing of it is kept.

        Raises:
            TableError: it is absent, not whole, or of another kind.
        """
        if not path.exists():
            raise TableError(f"{path.name}: no such file in {path.parent.name}/")
        return scan_table(path, kind, list(columns))

    def made_of(self, paths: Sequence[Path], how: tuple, make: Callable[[], Content]) -> Content:
        """What is made of several files: once, until one of them changes, comes or goes.

        Args:
            paths: of the files.
            how: tells apart what is made of the same files.
            make: reads them.
        """
        return self._tables.made(tuple(map(_version, paths)), (*paths, *how), make)

    def metadata(self, path: Path) -> dict[str, Any]:
        """What a file says of what made it; not to be changed.

        Raises:
            TableError: it is absent, not whole, or a foreign file.
        """
        return self._facts.get(path, ("metadata",), lambda: read_metadata(path))

    def columns(self, path: Path) -> dict[str, pl.DataType]:
        """Columns of a table and their types.

        Raises:
            TableError: it is absent or not whole.
        """
        try:
            return self._facts.get(path, ("columns",), lambda: dict(pl.read_parquet_schema(path)))
        except (pl.exceptions.PolarsError, OSError) as error:
            raise TableError(f"{path.name} cannot be read: {error}") from None

    def outputs(self, experiment: str, *, shards: bool = False) -> pl.DataFrame:
        """The files of an experiment, as `tells.report.outputs.list_outputs` tells them."""
        return list_outputs(self.root, experiment, shards=shards, metadata_of=self.metadata)


def _version(path: Path) -> tuple[int, int] | None:
    """Tells a file's content from an earlier one's; None where there is no file."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size


def current_store() -> Store:
    """The results that the running app shows: those of the packed demo run until there are any of one's own."""
    own, packed = current_app.config[STORE_KEY], current_app.config.get(PACKED_KEY)
    return packed if packed is not None and not own.experiments() else own
