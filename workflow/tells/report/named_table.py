"""A table with its name and caption: its records as they stand in the files, and the cells that people read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from tells.report.figures.texts import bracketed, number

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Column:
    """A column that people read.

    Attributes:
        name: its heading.
        cell: what stands in it for a record.
        keys: of the record, which it shows.
        right: whether it holds numbers.
    """

    name: str
    cell: Callable[[Record], str]
    keys: tuple[str, ...]
    right: bool = True


@dataclass(frozen=True)
class NamedTable:
    """A table of a study.

    Attributes:
        name: unique in its study; small letters, digits and hyphens, so that it can be a file's name.
        title: what it shows.
        caption: what the numbers rest on: n, split, intervals, and who judged.
        columns: for people.
        records: flat, with full precision.
    """

    name: str
    title: str
    caption: str
    columns: tuple[Column, ...]
    records: tuple[Record, ...]

    def cells(self) -> list[list[str]]:
        """[records][columns] as people read them."""
        return [[column.cell(record) for column in self.columns] for record in self.records]

    def frame(self) -> pl.DataFrame:
        """The records as a table of numbers and texts: first what people read, in its order, then all else."""
        rows = pl.DataFrame(list(self.records), infer_schema_length=None)
        first = dict.fromkeys(key for column in self.columns for key in column.keys if key in rows.columns)
        return rows.select(*first, *(name for name in rows.columns if name not in first))


def text(name: str, key: str) -> Column:
    """A column of words; a dash where there are none."""
    return Column(name, lambda record: _words(record.get(key)), (key,), right=False)


def phrase(name: str, key: str) -> Column:
    """A column of names from code, with blanks for underscores."""
    return Column(name, lambda record: _words(record.get(key)).replace("_", " "), (key,), right=False)


def count(name: str, key: str) -> Column:
    """A column of whole numbers."""
    return Column(name, lambda record: "–" if record[key] is None else str(record[key]), (key,))


def decimal(name: str, key: str, digits: int = 2) -> Column:
    """A column of numbers."""
    return Column(name, lambda record: number(record[key], digits), (key,))


def interval(
    name: str, value: str, low: str = "low", high: str = "high", *, exact: str = "", digits: int = 2
) -> Column:
    """A column of figures with their intervals in brackets; `[–]` where there is none or nothing varies.

    Args:
        name: heading.
        value: key of the figure.
        low: key of the interval's lower end.
        high: key of its upper end.
        exact: key of the interval's kind, where an exact bound is marked by a star.
        digits: after the point.
    """

    def cell(record: Record) -> str:
        ends = (record[low], record[high])
        star = "*" if exact and record[exact] == "exact" else ""
        return bracketed(record[value], *((None, None) if ends[0] == ends[1] else ends), digits) + star

    return Column(name, cell, (value, low, high))


def flat(record: Record, *prefix: str) -> dict[str, Any]:
    """A record whose records within are columns of their own, joined by underscores; lists are left out.

    Args:
        record: to be flattened.
        prefix: names of the records it lies in.
    """
    found: dict[str, Any] = {}
    for key, value in record.items():
        if isinstance(value, Mapping):
            found |= flat(value, *prefix, key)
        elif not isinstance(value, list | tuple):
            found["_".join((*prefix, key))] = value
    return found


def _words(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "–" if value is None or value == "" else str(value)
