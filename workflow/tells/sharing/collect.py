"""Which files a run consists of, and what it was made from."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tells.config import TRAITS_FOLDER, Experiment, load_experiments
from tells.config.load import definition_files
from tells.sharing.manifest import Input, SharedFile, SharingError, check_name, is_of_run, is_table
from tells.sharing.records import Record
from tells.sharing.store import in_parallel
from tells.tables.files import file_digest

_MODELS = "resources/models/"


@dataclass(frozen=True)
class Collected:
    """A run as it lies in a clone.

    Attributes:
        files: what travels, by path below the top.
        inputs: what it was made from and does not travel.
        elsewhere: inputs that lie outside the clone, as Snakemake names them.
        unfinished: studies without results.
    """

    files: dict[str, SharedFile]
    inputs: list[Input]
    elsewhere: list[str]
    unfinished: list[str]


def collect(root: Path, name: str, records: Mapping[str, Record], *, tables_only: bool) -> Collected:
    """Look at everything that belongs to an experiment.

    Args:
        root: the top of the clone.
        name: of the experiment.
        records: Snakemake's records of its outputs.
        tables_only: leave out shards and tensors.

    Raises:
        ConfigError: there is no such experiment, or its definition cannot be read.
        SharingError: it has no outputs, or there is a link among its files.
    """
    definition = load_experiments(root, [name])[name]
    outputs = [path for path in plain_files(root, f"experiments/{name}") if is_table(path) or not tables_only]
    if not outputs:
        raise SharingError(f"experiments/{name} holds nothing to push; make it with `snakemake --profile cpu`")
    logs = [path for path in plain_files(root, f"logs/{name}") if path.endswith((".status.json", ".tsv"))]
    read = sorted({path for record in records.values() for path in record.input or ()})
    named = {*definition_files(root, name), *_config_files(root, definition), *read}
    definitions = [path for path in named if _is_definition(path, name) and (root / path).is_file()]
    paths = sorted({*outputs, *logs, *definitions})
    elsewhere = [path for path in read if _leads_out(path)]
    # What other experiments have made is needed as it is there; an intermediate of this one that is gone is not.
    own = f"experiments/{name}/"
    rest = [path for path in read if path not in {*paths, *elsewhere} and not path.startswith(own)]
    return Collected(
        dict(describe(root, paths)),
        [_input(root, path) for path in rest if (root / path).is_file()],
        elsewhere,
        [study for study in definition.parts() if f"experiments/{name}/{study}/results.json" not in paths],
    )


def plain_files(root: Path, folder: str) -> list[str]:
    """Files below a folder, as paths below the top; hidden ones, which are half written, are left out.

    Raises:
        SharingError: something there is a link, or no plain file.
    """
    found = []
    for place, folders, names in os.walk(root / folder):
        for name in [*folders, *names]:
            path = Path(place, name)
            shown = path.relative_to(root).as_posix()
            if path.is_symlink() or not (path.is_dir() or path.is_file()):
                raise SharingError(f"{shown} is a link or no plain file: put the file itself there, or move it away")
            if name in names and not any(part.startswith(".") for part in PurePosixPath(shown).parts):
                found.append(shown)
    return sorted(found)


def describe(root: Path, paths: Iterable[str]) -> Iterator[tuple[str, SharedFile]]:
    """Size, checksum and time of files, by path.

    Raises:
        SharingError: a file changed while it was read.
    """
    yield from in_parallel(lambda path: _shared(root, path), list(paths))


def is_unchanged(root: Path, file: SharedFile) -> bool:
    """Whether a file is still as it was when it was looked at, by its size and time."""
    try:
        stat = (root / file.path).stat()
    except OSError:
        return False
    return (stat.st_size, stat.st_mtime_ns) == (file.size, file.mtime_ns)


def model_identity(path: Path) -> str | None:
    """SHA-256 of all that a model's manifest says but where the files lie, which differs from machine to machine."""
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(facts, dict):
        return None
    facts.pop("path", None)
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _shared(root: Path, path: str) -> SharedFile:
    stat = (root / path).stat()
    digest = file_digest(root / path)
    found = SharedFile(path=path, size=stat.st_size, mtime_ns=stat.st_mtime_ns, sha256=digest)
    if not is_unchanged(root, found):
        raise SharingError(f"{path} changed while it was read: wait for the run that writes it")
    return found


def _input(root: Path, path: str) -> Input:
    found = _shared(root, path)
    identity = model_identity(root / path) if path.startswith(_MODELS) else None
    return Input(**found.model_dump(), identity=identity)


def _config_files(root: Path, experiment: Experiment) -> Iterator[str]:
    """Files that the definition names, beside what Snakemake knows as inputs."""
    study, safety = experiment.uncertainty, experiment.safety
    for collection in study.collections.values() if study else ():
        yield from filter(None, (collection.questions, collection.path, collection.samples))
    for trait in experiment.trait_names():
        yield from plain_files(root, f"{TRAITS_FOLDER}/{trait}")
    for name, collection in safety.collections.items() if safety else ():
        yield from filter(None, (safety.benchmark_of(name), collection.path))


def _is_definition(path: str, experiment: str) -> bool:
    """Whether a file is one of the definitions that may travel."""
    try:
        check_name(path, experiment)
    except ValueError:
        return False
    return not is_of_run(path)


def _leads_out(path: str) -> bool:
    return path.startswith(("/", "~")) or ".." in PurePosixPath(path).parts
