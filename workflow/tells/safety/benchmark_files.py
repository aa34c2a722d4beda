"""Read the prompts of a benchmark's files, by the mapping of columns that its description gives.

CSV, JSON lines, a JSON array and Parquet, gzipped or not. Every fault of a file is reported at once, with its row.
`tells.safety.benchmarks` finds the files and makes prompts tables of what is read here.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from tells.config.base import Definition
from tells.config.data_sets import DataSet, Text
from tells.safety.benchmark_rules import Category, Label, LabelRule, Names, Record, SplitLabel, cell_text
from tells.tables.records import DataFileError, RowError, identifier_slug, read_records, repeated_ids, text_group

ENDINGS = (".csv", ".jsonl", ".json", ".parquet")


class BenchmarkFileError(DataFileError):
    """A file of prompts cannot be used as it is; see `DataFileError`."""


def _one_or_more(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


def _category(value: Any) -> Any:
    return {"column": value} if isinstance(value, str) else value


class Example(Definition):
    """A prompt and its answer, shown to completion models before each prompt; one line each."""

    prompt: Text
    answer: Text

    @field_validator("prompt", "answer")
    @classmethod
    def _is_one_line(cls, value: str) -> str:
        if "\n" in value.strip():
            raise ValueError("must be one line")
        return value.strip()


class Benchmark(DataSet):
    """A benchmark as config/benchmarks/NAME.yaml describes it.

    Attributes:
        description: what the prompts are, for people.
        licence: of the data.
        source: address of the data's home.
        get: how to get the data, one sentence or two; for data that do not lie beside the description.
        gated: the hub gives the data out to those alone who have accepted its terms.
        non_commercial: the licence forbids commercial use.
        file: the data file, relative to the folder of the YAML file; or
        hub: the data set on the hub; or neither: the user's own copy alone is read.
        splits: which of the hub's files are read, in this order.
        format: how rows are packed in a file whose ending does not say it.
        id: column of the prompts' ids; without it rows are numbered.
        prompt: column of the prompt; of several the texts are joined, and all but the last may be empty.
        joined_by: what stands between them.
        where: only rows whose column has one of the values, for each of these columns.
        label: the rule of the label.
        category: column of the category, or a rule.
        twin: column whose equal values tie prompts together: a harmful prompt and its benign twin.
        examples: what a completion model sees first.
    """

    licence: Text
    source: Text | None = None
    get: Text | None = None
    gated: bool = False
    non_commercial: bool = False
    splits: Annotated[Names | None, BeforeValidator(_one_or_more)] = None
    format: Literal["csv", "jsonl", "json", "parquet"] | None = None
    id: Text | None = None
    prompt: Annotated[Names, BeforeValidator(_one_or_more)]
    joined_by: str = "\n\n"
    where: dict[Text, Annotated[tuple[Text, ...], BeforeValidator(_one_or_more)]] = Field({})
    label: LabelRule
    category: Annotated[Category | None, BeforeValidator(_category)] = None
    twin: Text | None = None
    examples: tuple[Example, ...] = ()

    @model_validator(mode="after")
    def _has_its_data_somewhere(self) -> Self:
        if self.file is not None and self.hub is not None:
            raise ValueError("give `file` or `hub`, not both; or neither, where only a user's own copy is read")
        if self.file is None and self.get is None:
            raise ValueError("`get` must say how to get data that do not lie beside this file")
        if (self.hub is None) != (self.splits is None):
            raise ValueError("`splits` goes with `hub`: the names of the files that are read")
        unknown = [split for split in self.splits or () if split not in self.hub.files]
        if unknown:
            raise ValueError(f"splits {', '.join(unknown)} must be among hub.files: {', '.join(self.hub.files)}")
        if isinstance(self.label, SplitLabel) and set(self.label.split) != set(self.splits or ()):
            raise ValueError("label.split must give a label to each of `splits`, and to no other")
        return self

    @property
    def terms(self) -> str:
        """The licence with its limits, in one line: "CC BY-NC 4.0, non-commercial"."""
        limits = [("non-commercial", self.non_commercial), ("gated", self.gated)]
        return ", ".join([self.licence, *(limit for limit, holds in limits if holds)])


@dataclass(frozen=True)
class Prompt:
    """One prompt of a benchmark.

    Attributes:
        id: its slug.
        prompt: its text.
        label: harmful, benign, or None: unlabelled.
        category: the benchmark's own, if it has one.
        twin: what it shares with its twin, if it has one.
        group: the same for prompts that must not be told apart by an interval: twins, and equal texts.
        row: its row in the file (1 is the first).
    """

    id: str
    prompt: str
    label: Label | None
    category: str | None
    twin: str | None
    row: int
    group: str = ""


def read_benchmark_file(path: Path, benchmark: Benchmark, split: str | None = None) -> tuple[list[Prompt], str]:
    """Read one file of a benchmark.

    Args:
        path: the file.
        benchmark: where its columns are.
        split: the split that the file is. With several splits, ids begin with its name.

    Returns:
        The prompts in file order, without those that `where` leaves out and as yet without groups; and the file's
        SHA-256. Rows of a benchmark without ids are named `{name}-{row:04d}`.

    Raises:
        BenchmarkFileError: with every fault: a missing column, an empty file or prompt, an unknown label, an id that
            occurs twice, an id that is the name of others' twin, a row that is not UTF-8 or cannot be taken apart.
    """
    data = path.read_bytes()
    ending = f".{benchmark.format}" if benchmark.format else None
    records, problems = read_records(path, data, endings=ENDINGS, unit="prompt", gzipped=True, ending=ending)
    # A column may be absent from single rows of JSON; one that stands in no row at all is told once.
    present = {column for _, record in records for column in record}
    missing = [column for column in _columns(benchmark) if column not in present] if records else []
    if missing:
        held = ", ".join(map(repr, sorted(present)))
        problems += [(0, f"column {column!r} is missing; the file holds {held}") for column in missing]
        records = []
    prompts = []
    for row, record in records:
        prompt, faults = _prompt(row, record, benchmark, split)
        problems += [(row, fault) for fault in faults]
        prompts += [prompt] if prompt else []
    problems += repeated_ids(prompts)
    problems += _taken_names(prompts)
    if not prompts and not problems:
        problems.append((0, f"no row has {_shown_filter(benchmark)}"))
    BenchmarkFileError.raise_if_any(path, problems)
    return prompts, hashlib.sha256(data).hexdigest()


def with_groups(prompts: Sequence[Prompt]) -> list[Prompt]:
    """Give each prompt its group, and put twins beside one another.

    Prompts that share a twin's name are of one group, and so are prompts whose texts differ only in case, width or
    white space, and those that are tied through others. A group is named by the twin, else by the prompt's own id, of
    its first member.

    Returns:
        The prompts in file order, but for twins, which follow the first of them.
    """
    first: dict[str, int] = {}
    root = list(range(len(prompts)))

    def find(index: int) -> int:
        while root[index] != index:
            root[index] = root[root[index]]
            index = root[index]
        return index

    for index, prompt in enumerate(prompts):
        keys = [f"text {text_group(prompt.prompt)}", *([f"twin {prompt.twin}"] if prompt.twin else [])]
        for key in keys:
            one, other = sorted((find(first.setdefault(key, index)), find(index)))
            root[other] = one
    names = {index: prompts[index].twin or prompts[index].id for index in range(len(prompts)) if root[index] == index}
    grouped = [replace(prompt, group=names[find(index)]) for index, prompt in enumerate(prompts)]
    return [prompt for unit in units_of(grouped) for prompt in unit]


def units_of(prompts: Iterable[Prompt]) -> list[list[Prompt]]:
    """Prompts that are only taken together: twins; every other prompt is alone. In order of first appearance."""
    units: dict[tuple[bool, str], list[Prompt]] = {}
    for prompt in prompts:
        units.setdefault((prompt.twin is not None, prompt.twin or prompt.id), []).append(prompt)
    return list(units.values())


def _columns(benchmark: Benchmark) -> list[str]:
    """Every column that must be there."""
    category = benchmark.category.columns if benchmark.category else ()
    alone = [column for column in (benchmark.id, benchmark.twin) if column]
    named = [*benchmark.prompt, *benchmark.label.columns, *category, *benchmark.where]
    return list(dict.fromkeys([*alone, *named]))


def _shown_filter(benchmark: Benchmark) -> str:
    return " and ".join(f"{column} {' or '.join(values)}" for column, values in benchmark.where.items())


def _prompt(row: int, record: Record, benchmark: Benchmark, split: str | None) -> tuple[Prompt | None, list[str]]:
    """Return the prompt of a row, or None and what is wrong with it; None and nothing for a row left out."""
    faults: list[str] = []

    def told(make: Any, *arguments: Any) -> Any:
        try:
            return make(*arguments)
        except RowError as error:
            faults.append(str(error))
            return None

    if not all(told(_text_of, record, column) in values for column, values in benchmark.where.items()):
        return None, faults
    text = told(_prompt_text, record, benchmark)
    identifier = told(_identifier, row, record, benchmark, split)
    label = told(benchmark.label.label, record, split)
    category = told(benchmark.category.of, record) if benchmark.category else None
    twin = told(_text_of, record, benchmark.twin) if benchmark.twin else None
    if faults:
        return None, faults
    return Prompt(identifier, text, label, category, twin, row), []


def _text_of(record: Record, column: str) -> str | None:
    try:
        return cell_text(record.get(column))
    except RowError as error:
        raise RowError(f"column {column!r}: {error}") from None


def _prompt_text(record: Record, benchmark: Benchmark) -> str:
    parts = []
    for column in benchmark.prompt:
        value = record.get(column)
        if value is not None and not isinstance(value, str):
            raise RowError(f"the prompt (column {column!r}) is not a text")
        if value and any("\ud800" <= character <= "\udfff" for character in value):
            raise RowError(f"the prompt (column {column!r}) holds half of a surrogate pair, which is no character")
        parts.append((value or "").strip())
    if not parts[-1]:
        raise RowError(f"the prompt is empty (column {benchmark.prompt[-1]!r})")
    return benchmark.joined_by.join(part for part in parts if part)


def _identifier(row: int, record: Record, benchmark: Benchmark, split: str | None) -> str:
    several = f"{split}-" if split is not None and len(benchmark.splits or ()) > 1 else ""
    if benchmark.id is None:
        return identifier_slug(f"{benchmark.name or 'prompt'}-{several}{row:04d}")
    if benchmark.id not in record:
        raise RowError(f"column {benchmark.id!r} is missing")
    return identifier_slug(f"{several}{identifier_slug(record[benchmark.id])}")


def _taken_names(prompts: Sequence[Prompt]) -> Iterator[tuple[int, str]]:
    """Ids that would make a group of their own look like one of twins."""
    twins = Counter(prompt.twin for prompt in prompts if prompt.twin)
    for prompt in prompts:
        if prompt.id in twins and prompt.twin != prompt.id:
            yield prompt.row, f"id {prompt.id!r} is also the name of twins; give the prompt another id"
