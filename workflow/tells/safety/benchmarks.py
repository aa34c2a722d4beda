"""Benchmarks: which prompts to ask, what is known of them, and the prompts tables that ask them.

First step of the safety study. A YAML file in config/benchmarks describes a benchmark (`Benchmark`); its data are a
file beside it, files on the Hugging Face hub, or a user's own copy. `read_prompts` reads them, `build_prompts` makes
the table that the sampling stage takes, for chat models and for completion models.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import polars as pl

from tells.config.data_sets import commit_of, fetch_hub_file, load_description
from tells.safety.benchmark_files import (
    Benchmark,
    BenchmarkFileError,
    Example,
    Prompt,
    read_benchmark_file,
    units_of,
    with_groups,
)
from tells.tables.records import text_group

__all__ = [
    "PROMPTS_SCHEMA",
    "AbsentDataError",
    "Benchmark",
    "BenchmarkFileError",
    "Example",
    "Prompt",
    "Prompts",
    "build_prompts",
    "find_benchmark_files",
    "how_to_get",
    "load_benchmark",
    "local_files",
    "prompts_of",
    "read_prompts",
]

PROMPTS_SCHEMA = {
    "prompt_id": pl.String,
    "group": pl.String,
    "prompt": pl.String,
    "text": pl.String,
    "shared_prefix": pl.String,
    "system_prompt": pl.String,
    "label": pl.String,
    "category": pl.String,
    "twin": pl.String,
}


class AbsentDataError(FileNotFoundError):
    """Data of a benchmark are not there.

    Attributes:
        what: what is missing.
        cure: what to do about it: where to get it, under which licence, which key to set.
    """

    def __init__(self, what: str, cure: str) -> None:
        self.what, self.cure = what, cure
        super().__init__(f"{what}. {cure}")


@dataclass(frozen=True)
class Prompts:
    """The prompts of a benchmark, twins beside one another.

    Attributes:
        rows: the prompts.
        paths: the files they were read from.
        file_digest: SHA-256 of the file; of several, SHA-256 of their hexadecimal digests in order, a line each.
        revision: commit of files in the hub's cache.
    """

    rows: tuple[Prompt, ...]
    paths: tuple[Path, ...]
    file_digest: str
    revision: str | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Prompt]:
        return iter(self.rows)

    def __getitem__(self, index: int) -> Prompt:
        return self.rows[index]


def load_benchmark(path: Path | str) -> Benchmark:
    """Read the description of a benchmark.

    Args:
        path: a YAML file, such as config/benchmarks/builtin.yaml.

    Returns:
        The benchmark, with its `name` taken from the file and `data_file` beside it.

    Raises:
        ConfigError: with every fault: no such file, not UTF-8, not YAML, unknown or missing keys, wrong values.
    """
    return load_description(Path(path), Benchmark, "benchmark")


def how_to_get(benchmark: Benchmark) -> str:
    """How to get data that are not there, under which licence, and which key then names them."""
    folder = len(benchmark.splits or ()) > 1
    form = "`path: FOLDER` (it holds the files under their own names)" if folder else "`path: FILE`"
    return f"{benchmark.get} Licence: {benchmark.terms}. Name your copy in the experiment: {form}"


def local_files(
    benchmark: Benchmark, *, path: Path | str | None = None, root: Path | str = "."
) -> list[tuple[str | None, Path]] | None:
    """Return the files of a benchmark's data that lie here, with their splits; None where they come from the hub.

    Args:
        benchmark: the benchmark.
        path: the user's own copy, relative to `root`: a file, or a folder that holds the files of all splits under
            their own names. Of a benchmark of several files, one alone is known by its name.
        root: the folder that a relative `path` starts at.

    Raises:
        AbsentDataError: a file is not there, or `path` does not say which of several files it is.
    """
    if path is not None:
        return _own_copy(benchmark, Path(root) / path)
    if benchmark.hub is not None:
        return None
    if benchmark.data_file is None:
        raise AbsentDataError(f"{benchmark.name}: its data do not come with the project", how_to_get(benchmark))
    if not benchmark.data_file.is_file():
        raise AbsentDataError(f"{benchmark.name}: {benchmark.data_file} does not exist", "Correct `file`.")
    return [(None, benchmark.data_file)]


def _own_copy(benchmark: Benchmark, path: Path) -> list[tuple[str | None, Path]]:
    splits = benchmark.splits or ()
    own_names = {split: Path(benchmark.hub.files[split]).name for split in splits}
    if path.is_dir() and splits:
        files = [(split, _in_folder(path, benchmark.hub.files[split])) for split in splits]
        absent = [file.name for _, file in files if not file.is_file()]
        if absent:
            what = f"{benchmark.name}: the folder {path} (`path`) lacks {', '.join(absent)}"
            raise AbsentDataError(what, how_to_get(benchmark))
        return files
    if path.is_dir():
        raise AbsentDataError(f"{benchmark.name}: {path} (`path`) is a folder", "Name the file in it.")
    if not path.is_file():
        cure = f"Correct `path`. {how_to_get(benchmark)}" if benchmark.get else "Correct `path`."
        raise AbsentDataError(f"{benchmark.name}: {path} does not exist", cure)
    if len(splits) < 2:
        return [(splits[0] if splits else None, path)]
    named = [split for split, name in own_names.items() if name == path.name]
    if len(named) != 1:
        what = f"{benchmark.name}: its data are several files ({', '.join(own_names.values())}), and by its name {path}"
        cure = "Let `path` name the folder that holds them, or give the file the name it has there."
        raise AbsentDataError(f"{what} (`path`) is none of them", cure)
    return [(named[0], path)]


def _in_folder(folder: Path, name: str) -> Path:
    """A hub's file in a user's folder: under its path in the repository, else under its name alone."""
    return folder / name if (folder / name).is_file() else folder / Path(name).name


def find_benchmark_files(
    benchmark: Benchmark, *, path: Path | str | None = None, root: Path | str = "."
) -> list[tuple[str | None, Path]]:
    """As `local_files`; data on the hub are downloaded if they are not cached.

    Raises:
        FileNotFoundError: as `local_files`, or the hub's file is neither cached nor reachable.
    """
    files = local_files(benchmark, path=path, root=root)
    if files is not None:
        return files
    hub = benchmark.hub
    note = how_to_get(benchmark)
    return [(split, fetch_hub_file(benchmark.name, hub, hub.files[split], note=note)) for split in benchmark.splits]


def read_prompts(
    benchmark: Benchmark, *, path: Path | str | None = None, limit: int | None = None, root: Path | str = "."
) -> Prompts:
    """Find and read the prompts of a benchmark.

    Args:
        benchmark: the benchmark.
        path: the user's own copy to read instead of the benchmark's own data.
        limit: at most so many prompts, the first; twins are taken together or not at all, but for the first ones,
            which are always taken.
        root: the folder that a relative `path` starts at.

    Returns:
        The prompts, each with its group. With a limit they are the first of those without one.

    Raises:
        FileNotFoundError: as `find_benchmark_files`.
        ValueError: a limit under 1.
        BenchmarkFileError: files have faults; all are listed.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"limit is {limit}; it must be at least 1, or None for all prompts")
    files = find_benchmark_files(benchmark, path=path, root=root)
    rows: list[Prompt] = []
    digests: list[str] = []
    faulty: list[BenchmarkFileError] = []
    for split, file in files:
        try:
            prompts, digest = read_benchmark_file(file, benchmark, split)
        except BenchmarkFileError as error:
            faulty.append(error)
            continue
        rows += prompts
        digests.append(digest)
    if faulty:
        others = [f"{error.path}: {problem}" for error in faulty[1:] for problem in error.problems]
        raise BenchmarkFileError(faulty[0].path, [*faulty[0].problems, *others])
    together = digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()
    of_hub = path is None and benchmark.hub is not None
    revision = commit_of(files[0][1]) if of_hub else None
    return Prompts(_first(with_groups(rows), limit), tuple(file for _, file in files), together, revision)


def _first(prompts: Sequence[Prompt], limit: int | None) -> tuple[Prompt, ...]:
    if limit is None:
        return tuple(prompts)
    taken: list[Prompt] = []
    for unit in units_of(prompts):
        if taken and len(taken) + len(unit) > limit:
            break
        taken += unit
    return tuple(taken)


def prompts_of(settings: Mapping[str, Any]) -> tuple[pl.DataFrame, dict[str, str | None]]:
    """The prompts table of a collection, from what its stage is told; and digest and revision of its data.

    Args:
        settings: benchmark, path, limit, prompt and system_prompt.

    Raises:
        ConfigError, FileNotFoundError, ValueError, BenchmarkFileError: as `load_benchmark`, `read_prompts` and
            `build_prompts`.
    """
    benchmark = load_benchmark(settings["benchmark"])
    prompts = read_prompts(benchmark, path=settings["path"], limit=settings["limit"])
    table = build_prompts(prompts, benchmark, prompt=settings["prompt"], system_prompt=settings["system_prompt"])
    return table, {"sha256": prompts.file_digest, "revision": prompts.revision, "licence": benchmark.terms}


def few_shot_prefix(examples: Sequence[Example]) -> str:
    """Return the examples as the text that a completion model sees before each prompt."""
    return "".join(f"Question: {example.prompt}\nAnswer: {example.answer}\n\n" for example in examples)


def build_prompts(
    prompts: Prompts | Sequence[Prompt],
    benchmark: Benchmark,
    *,
    prompt: Literal["chat", "completion"],
    system_prompt: str | None = None,
) -> pl.DataFrame:
    """Make the table of prompts that asks a model.

    A chat model gets the prompt as it stands, as the user's turn. A completion model gets the benchmark's examples
    (`shared_prefix`, empty without examples), then `Question: PROMPT`, a line break and `Answer:` (`text`).

    Args:
        prompts: what to ask.
        benchmark: the examples.
        prompt: the kind of model.
        system_prompt: system turn of a chat model; None for none.

    Returns:
        One row a prompt, in the columns of `PROMPTS_SCHEMA`; `prompt` is the bare prompt, which classifiers read.

    Raises:
        ValueError: an unknown kind of prompt, no prompt, a system prompt for a completion model, or a prompt that is
            among the examples (its answer would be given away).
    """
    if prompt not in ("chat", "completion"):
        raise ValueError(f"prompt {prompt!r} is unknown; it is 'chat' or 'completion'")
    if not len(prompts):
        raise ValueError(f"{benchmark.name}: there is no prompt to ask")
    completion = prompt == "completion"
    if completion and system_prompt is not None:
        raise ValueError(f"{benchmark.name}: a completion model has no system turn; leave out the system prompt")
    shown = {text_group(example.prompt) for example in benchmark.examples} if completion else set()
    leaked = [one.row for one in prompts if shown and text_group(one.prompt) in shown]
    if leaked:
        raise ValueError(f"{benchmark.name}: rows {leaked} ask what an example answers; replace those `examples`")
    prefix = few_shot_prefix(benchmark.examples) if completion else ""
    rows = [
        {
            "prompt_id": one.id,
            "group": one.group or one.id,
            "prompt": one.prompt,
            "text": f"Question: {one.prompt}\nAnswer:" if completion else one.prompt,
            "shared_prefix": prefix,
            "system_prompt": system_prompt,
            "label": one.label,
            "category": one.category,
            "twin": one.twin,
        }
        for one in prompts
    ]
    return pl.DataFrame(rows, schema=PROMPTS_SCHEMA)
