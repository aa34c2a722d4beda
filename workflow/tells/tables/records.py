"""Rows of the files that people bring: CSV, JSON lines, a JSON array or Parquet, with every fault and its row.

Data sets of questions and of prompts are read through here. A reader gives what it could read together with what it
could not, so that all faults of a file are told at once; what the columns mean is the caller's business.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import re
import unicodedata
import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import polars as pl

SHOWN_PROBLEMS = 50
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"

Numbered = list[tuple[int, Any]]
Problems = list[tuple[int, str]]


class DataFileError(ValueError):
    """A file of data cannot be used as it is.

    Attributes:
        path: the file.
        problems: every fault found, each with its row.
    """

    def __init__(self, path: Path | str, problems: Sequence[str]) -> None:
        self.path = Path(path)
        self.problems = tuple(problems)
        shown = [f"  {problem}" for problem in self.problems[:SHOWN_PROBLEMS]]
        if len(self.problems) > SHOWN_PROBLEMS:
            shown.append(f"  … and {len(self.problems) - SHOWN_PROBLEMS} more")
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        super().__init__("\n".join([f"{path}: {count}", *shown]))

    @classmethod
    def raise_if_any(cls, path: Path | str, problems: Problems) -> None:
        """Raise all problems in order of their rows; row 0 is the file as a whole."""
        if problems:
            ordered = sorted(problems, key=lambda problem: problem[0])
            raise cls(path, [f"row {row}: {text}" if row else text for row, text in ordered])


class RowError(ValueError):
    """One field of one row is at fault; the message completes "row 7: …"."""


class Identified(Protocol):
    """What has an id, and a row it stands in."""

    @property
    def id(self) -> str:
        """The id."""

    @property
    def row(self) -> int:
        """The row, from 1."""


def text_group(text: str) -> str:
    """Return the group of a text: equal for texts that differ only in case, width or white space.

    Args:
        text: a question or a prompt.

    Returns:
        The first 16 hexadecimal digits of the SHA-256 of the normalised text (NFKC, casefold, white
        space collapsed).
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return hashlib.sha256(" ".join(folded.split()).encode()).hexdigest()[:16]


def slug(identifier: str) -> str:
    """Return an id as a slug: lower case, `-` for all but letters a-z, digits, `.`, `_` and `-`.

    Raises:
        RowError: nothing is left.
    """
    text = re.sub(r"[^a-z0-9._-]+", "-", identifier.strip().lower()).lstrip("._-").rstrip("-")
    if not text:
        raise RowError(f"id {identifier!r} has no letter a-z and no digit")
    return text


def identifier_slug(value: Any) -> str:
    """Return the content of an id column as a slug.

    Raises:
        RowError: it is neither a text nor a whole number, or nothing is left of it.
    """
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise RowError(f"id {value!r} is neither a text nor a whole number")
    return slug(str(value))


def repeated_ids(entries: Iterable[Identified]) -> Problems:
    """Return a problem for every entry whose id stands in an earlier row."""
    first: dict[str, int] = {}
    problems = []
    for entry in entries:
        row = first.setdefault(entry.id, entry.row)
        if row != entry.row:
            problems.append((entry.row, f"id {entry.id!r} stands in row {row} already"))
    return problems


def read_records(
    path: Path, data: bytes, *, endings: Sequence[str], unit: str, gzipped: bool = False, ending: str | None = None
) -> tuple[list[tuple[int, dict[str, Any]]], Problems]:
    """Take a file apart into rows.

    Args:
        path: the file, whose ending says how rows are packed.
        data: its bytes.
        endings: the endings that are allowed, of .csv, .jsonl, .json and .parquet.
        unit: what a row is, for the error on an empty file: "question".
        gzipped: whether .gz may follow the ending.
        ending: how rows are packed in a file whose own ending does not say it.

    Returns:
        The (row, record) pairs and the (row, problem) pairs of what cannot be read. Rows count from 1: lines of JSON,
        elements of an array, rows of Parquet, rows of CSV under its header. All fields of CSV are texts. Row 0 is the
        file as a whole.
    """
    shown = Path(path.stem).suffix if gzipped and path.suffix == ".gz" else path.suffix
    known = shown if shown in endings else ending
    if known is None:
        also = ", each also with .gz" if gzipped else ""
        return [], [(0, f"ending {shown!r} is unknown; known are {', '.join(endings)}{also}")]
    if gzipped and path.suffix == ".gz":
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            return [], [(0, f"not a whole gzip file ({error})")]
    rows, problems = _READERS[known](data)
    records = [(row, record) for row, record in rows if isinstance(record, dict)]
    problems += [(row, "not a JSON object") for row, record in rows if not isinstance(record, dict)]
    if not rows and not problems:
        problems.append((0, f"the file is empty; it must hold at least one {unit}"))
    return records, problems


def _csv_rows(data: bytes) -> tuple[Numbered, Problems]:
    # Bytes that are not UTF-8 become surrogates, which no sound text holds: each is told with its row.
    text = data.removeprefix(_BYTE_ORDER_MARK).decode("utf-8", "surrogateescape")
    lines = (fields for fields in csv.reader(io.StringIO(text, newline=""), strict=True) if fields)
    rows: Numbered = []
    problems: Problems = []
    header: list[str] | None = None
    row = 0
    try:
        for row, fields in enumerate(lines):
            if header is None:
                header, problems = fields, _header_problems(fields)
                if problems:
                    break
            elif len(fields) != len(header):
                problems.append((row, f"has {len(fields)} fields, the header has {len(header)}"))
            elif foreign := [name for name, field in zip(header, fields, strict=True) if not _is_text(field)]:
                problems.append((row, f"not UTF-8 (column {foreign[0]!r}); save the file as UTF-8"))
            else:
                rows.append((row, dict(zip(header, fields, strict=True))))
    except csv.Error as error:
        problems.append((row + 1 if header else 0, f"not CSV ({error})"))
    return rows, problems


def _header_problems(header: list[str]) -> Problems:
    if not all(map(_is_text, header)):
        return [(0, "the header is not UTF-8; save the file as UTF-8")]
    twice = sorted({name for name in header if header.count(name) > 1})
    return [(0, f"column {name!r} stands twice in the header") for name in twice]


def _is_text(field: str) -> bool:
    return field.isascii() or not any("\ud800" <= character <= "\udfff" for character in field)


def _json_lines(data: bytes) -> tuple[Numbered, Problems]:
    rows, problems = [], []
    for row, line in enumerate(data.removeprefix(_BYTE_ORDER_MARK).split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            rows.append((row, _parse_json(line)))
        except RowError as error:
            problems.append((row, str(error)))
    return rows, problems


def _json_array(data: bytes) -> tuple[Numbered, Problems]:
    if not data.strip():
        return [], []
    try:
        array = _parse_json(data.removeprefix(_BYTE_ORDER_MARK))
    except RowError as error:
        return [], [(0, str(error))]
    if not isinstance(array, list):
        return [], [(0, "a .json file must hold one array of objects; for one object a line use .jsonl")]
    return list(enumerate(array, start=1)), []


def _parse_json(data: bytes) -> Any:
    try:
        return json.loads(data.decode("utf-8"), parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise RowError(f"not UTF-8 (byte {error.start + 1}); save the file as UTF-8") from error
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}" if error.lineno > 1 else f"column {error.colno}"
        raise RowError(f"not JSON ({error.msg} at {where})") from error


def _refuse_constant(name: str) -> None:
    raise RowError(f"not JSON ({name} is not a JSON number)")


def _parquet_rows(data: bytes) -> tuple[Numbered, Problems]:
    if not data:
        return [], []
    try:
        frame = pl.read_parquet(io.BytesIO(data))
    except (pl.exceptions.PolarsError, OSError) as error:
        return [], [(0, f"not a Parquet file ({error})")]
    return list(enumerate(frame.iter_rows(named=True), start=1)), []


_READERS: dict[str, Callable[[bytes], tuple[Numbered, Problems]]] = {
    ".csv": _csv_rows,
    ".jsonl": _json_lines,
    ".json": _json_array,
    ".parquet": _parquet_rows,
}
