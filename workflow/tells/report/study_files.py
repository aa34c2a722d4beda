"""Files of one study, each read once, by the first figure or table that needs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from tells.tables import TableError, read_json, read_table, scan_table

UNREADABLE = (TableError, LookupError, OSError, TypeError, ValueError, pl.exceptions.PolarsError)
"""What a file that is absent, not whole, or of another version of this software raises when it is read."""


class StudyFiles:
    """The files below a study's folder.

    Attributes:
        folder: of the study.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._read: dict[tuple[str, ...], Any] = {}

    def json(self, name: str) -> Any:
        """Content of a JSON file.

        Raises:
            TableError: it is absent or not whole.
        """
        return self._once((name,), lambda: read_json(self.folder / name))

    def table(self, name: str, kind: str, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """A table, or columns of it.

        Raises:
            TableError: it is absent, not whole, of another kind, or lacks a column.
        """
        wanted = None if columns is None else list(columns)
        return self._once((name, *(wanted or ())), lambda: read_table(self.folder / name, kind, wanted))

    def columns(self, name: str, kind: str, wanted: Sequence[str]) -> pl.DataFrame:
        """Those of the wanted columns that a table has.

        Raises:
            TableError: it is absent, not whole, or of another kind.
        """
        return self._once((name, "of", *wanted), lambda: _present(self.folder / name, kind, wanted))

    def _once(self, key: tuple[str, ...], read: Callable[[], Any]) -> Any:
        if key not in self._read:
            self._read[key] = read()
        return self._read[key]


def in_words(error: Exception) -> str:
    """What is wrong with a file, for a reader."""
    if isinstance(error, KeyError):
        missing = error.args[0] if error.args else error
        return f"a file lacks {missing!r}: it was made by another version of this software"
    return str(error)


def _present(path: Path, kind: str, wanted: Sequence[str]) -> pl.DataFrame:
    rows = scan_table(path, kind)
    known = set(rows.collect_schema().names())
    try:
        return rows.select([name for name in wanted if name in known]).collect()
    except pl.exceptions.PolarsError as error:
        raise TableError(f"{path}: not a whole Parquet file: {error}") from None
