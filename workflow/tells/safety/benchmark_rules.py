"""How a row of a benchmark becomes harmful, benign or unlabelled, and which category it is of.

The rules stand in config/benchmarks/*.yaml, one kind for each way in which benchmarks say it, so that no benchmark
needs code. A row that a rule says nothing of is unlabelled (None), which is never the same as benign.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, model_validator

from tells.config.base import Definition
from tells.config.data_sets import Text
from tells.tables.records import RowError

Label = Literal["harmful", "benign"]
Record = Mapping[str, Any]


def cell_text(value: Any) -> str | None:
    """Return the content of a cell as a text: 1.0 as 1, true as true; None where there is none.

    Raises:
        RowError: it is a list or a mapping.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(int(value)) if value == value // 1 else str(value)
    if not isinstance(value, str):
        raise RowError(f"{value!r} is neither a text nor a number")
    return value.strip() or None


def _cell(record: Record, column: str) -> str | None:
    try:
        return cell_text(record.get(column))
    except RowError as error:
        raise RowError(f"column {column!r}: {error}") from None


def _text_key(key: Any) -> Any:
    return key if isinstance(key, str) else cell_text(key) if isinstance(key, bool | int | float) else key


def _text_keys(values: Any) -> Any:
    return {_text_key(key): value for key, value in values.items()} if isinstance(values, dict) else values


def _some(values: tuple[str, ...]) -> tuple[str, ...]:
    twice = sorted({value for value in values if values.count(value) > 1})
    if twice:
        raise ValueError(f"{', '.join(twice)} stands twice")
    return values


Names = Annotated[tuple[Text, ...], Field(min_length=1), AfterValidator(_some)]
TextKeys = BeforeValidator(_text_keys)


class ConstantLabel(Definition):
    """Every prompt has the same label."""

    constant: Label

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are read."""
        return ()

    def label(self, record: Record, split: str | None) -> Label | None:
        """The label of a row."""
        return self.constant


class SplitLabel(Definition):
    """The file that a prompt stands in says it.

    Attributes:
        split: the label of each split.
    """

    split: Annotated[dict[str, Label], Field(min_length=1)]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are read."""
        return ()

    def label(self, record: Record, split: str | None) -> Label | None:
        """The label of a row."""
        return self.split[split]


class ValueLabel(Definition):
    """A column says it in words.

    Attributes:
        column: the column.
        values: the label of each value; null for one that means no label. An empty cell is unlabelled.
    """

    column: Text
    values: Annotated[dict[str, Label | None], TextKeys, Field(min_length=1)]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are read."""
        return (self.column,)

    def label(self, record: Record, split: str | None) -> Label | None:
        """The label of a row.

        Raises:
            RowError: a value that is not among `values`.
        """
        found = _cell(record, self.column)
        if found is not None and found not in self.values:
            raise RowError(f"label {found!r} (column {self.column!r}) is unknown; known are {', '.join(self.values)}")
        return None if found is None else self.values[found]


class PrefixLabel(Definition):
    """The beginning of a column's text says it.

    Attributes:
        column: the column.
        prefix: the label of each beginning; the first that fits counts.
        otherwise: the label of all other texts. An empty cell is unlabelled.
    """

    column: Text
    prefix: Annotated[dict[Text, Label], Field(min_length=1)]
    otherwise: Label | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are read."""
        return (self.column,)

    def label(self, record: Record, split: str | None) -> Label | None:
        """The label of a row."""
        found = _cell(record, self.column)
        if found is None:
            return None
        return next((label for start, label in self.prefix.items() if found.startswith(start)), self.otherwise)


class ThresholdLabel(Definition):
    """A number says it.

    Attributes:
        column: the column.
        at_least: harmful from this number on, benign below. An empty cell is unlabelled.
    """

    column: Text
    at_least: float

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are read."""
        return (self.column,)

    def label(self, record: Record, split: str | None) -> Label | None:
        """The label of a row.

        Raises:
            RowError: no number.
        """
        found = _number(record, self.column)
        return None if found is None else "harmful" if found >= self.at_least else "benign"


class AnyOfLabel(Definition):
    """Several columns of 0 and 1 say it, each of one kind of harm.

    Attributes:
        any_of: the columns. Harmful: a 1 in any. Unlabelled: none of them is filled in.
        incomplete: what a row is that has zeros alone, but not in all columns; the empty ones are ignored by default.
    """

    any_of: Names
    incomplete: Literal["benign", "unlabelled"] = "benign"

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are read."""
        return self.any_of

    def label(self, record: Record, split: str | None) -> Label | None:
        """The label of a row.

        Raises:
            RowError: a number that is neither 0 nor 1.
        """
        flags = [_flag(record, column) for column in self.any_of]
        if True in flags:
            return "harmful"
        known = False in flags and (self.incomplete == "benign" or None not in flags)
        return "benign" if known else None


class Category(Definition):
    """The benchmark's own category of a prompt.

    Attributes:
        column: the column that holds it.
        names: what to call its values; others keep their own name.
        first_of: in the place of `column`, columns of 0 and 1 with the category each stands for; the first that is
            1 counts, and a row without any has no category.
    """

    column: Text | None = None
    names: Annotated[dict[str, Text], TextKeys] = Field({})
    first_of: dict[Text, Text] = Field({})

    @model_validator(mode="after")
    def _has_one_source(self) -> Self:
        if (self.column is None) == (not self.first_of) or (self.names and self.first_of):
            raise ValueError("give either `column`, with `names` or without, or `first_of`")
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are read."""
        return (self.column,) if self.column else tuple(self.first_of)

    def of(self, record: Record) -> str | None:
        """The category of a row.

        Raises:
            RowError: the cell is no text, or a number that is neither 0 nor 1.
        """
        if self.column is None:
            return next((name for column, name in self.first_of.items() if _flag(record, column)), None)
        found = _cell(record, self.column)
        return None if found is None else self.names.get(found, found)


def _number(record: Record, column: str) -> float | None:
    found = _cell(record, column)
    if found is None:
        return None
    try:
        number = float({"true": "1", "false": "0"}.get(found.lower(), found))
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise RowError(f"label {found!r} (column {column!r}) is not a number")
    return number


def _flag(record: Record, column: str) -> bool | None:
    number = _number(record, column)
    if number not in (None, 0, 1):
        raise RowError(f"label {number:g} (column {column!r}) is neither 0 nor 1")
    return None if number is None else number == 1


_RULES = {
    "constant": ConstantLabel,
    "values": ValueLabel,
    "prefix": PrefixLabel,
    "at_least": ThresholdLabel,
    "any_of": AnyOfLabel,
    "split": SplitLabel,
}


def _rule(value: Any) -> str | None:
    if isinstance(value, dict):
        return next((name for name in _RULES if name in value), None)
    return next((name for name, kind in _RULES.items() if isinstance(value, kind)), None)


LabelRule = Annotated[
    Annotated[ConstantLabel, Tag("constant")]
    | Annotated[ValueLabel, Tag("values")]
    | Annotated[PrefixLabel, Tag("prefix")]
    | Annotated[ThresholdLabel, Tag("at_least")]
    | Annotated[AnyOfLabel, Tag("any_of")]
    | Annotated[SplitLabel, Tag("split")],
    Discriminator(
        _rule,
        custom_error_type="label_rule",
        custom_error_message=f"a label rule has one of the keys {', '.join(_RULES)}",
    ),
]
