"""What Snakemake knows of a run's outputs: read from one clone, checked, and put into another.

Snakemake 9 keeps one JSON file per output in .snakemake/metadata, named by the URL-safe base64 of the output's path;
a name longer than the file system allows is cut, and all pieces but the last become folders that begin with @.
Without these records a copied run counts as done as well, but a changed parameter would go unnoticed.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from tells.sharing.manifest import SharingError, check_name

SNAKEMAKE = Path(".snakemake")
RECORDS = SNAKEMAKE / "metadata"
INCOMPLETE = SNAKEMAKE / "incomplete"
_LOCKS = SNAKEMAKE / "locks"
_DATABASE = SNAKEMAKE / "metadata.db"
_RECORD_FORMAT = 6
_LONGEST_NAME = 255


class Record(BaseModel):
    """One of Snakemake's records, as version 9 writes them; see `snakemake.persistence.MetadataRecord`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    rule: str | None
    input: list[str] | None
    log: list[str] | None
    shellcmd: str | None
    params: list[str] | None
    code: str | None
    record_format_version: int
    conda_env: str | None
    container_img_url: str | None
    software_stack_hash: str | None
    job_hash: int | None
    starttime: float | None
    endtime: float | None
    incomplete: bool | None
    external_jobid: str | None
    input_checksums: dict[str, str] | None


_RECORDS_BY_TARGET = TypeAdapter(dict[str, Record])


def record_path(folder: Path, target: str) -> Path:
    """Where Snakemake keeps the record of an output.

    Args:
        folder: the folder of all records; need not be there.
        target: path of the output below the top of the clone.
    """
    existing = next(path for path in (folder, *folder.parents) if path.is_dir())
    longest = (os.pathconf(existing, "PC_NAME_MAX") or _LONGEST_NAME) - 1
    encoded = base64.urlsafe_b64encode(target.encode()).decode()
    pieces = [encoded[start : start + longest] for start in range(0, len(encoded), longest)]
    return folder.joinpath(*(f"@{piece}" for piece in pieces[:-1]), pieces[-1])


def read_records(root: Path, experiment: str) -> dict[str, Record]:
    """Snakemake's records of an experiment's outputs, by output.

    Args:
        root: the top of the clone.
        experiment: its name.

    Raises:
        SharingError: a record cannot be read, is of another format, or records are kept in a database.
    """
    found = {}
    for target, path in _kept(root / RECORDS, experiment):
        try:
            record = _checked(json.loads(path.read_text(encoding="utf-8")), target)
        except (OSError, json.JSONDecodeError, UnicodeDecodeError) as error:
            raise SharingError(
                f"Snakemake's record of {target} cannot be read ({error}); make {target} again"
            ) from None
        # The number of the job on this cluster says nothing elsewhere.
        found[target] = record.model_copy(update={"external_jobid": None})
    if not found and (root / _DATABASE).exists():
        what = f"{_DATABASE} keeps Snakemake's records in a database, which cannot be shared"
        raise SharingError(f"{what}; run with `--persistence-backend file`, the default")
    return dict(sorted(found.items()))


def dump_records(records: Mapping[str, Record]) -> bytes:
    """Records as JSON; equal records give equal bytes."""
    content = {target: record.model_dump() for target, record in records.items()}
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


def dump_record(record: Record) -> bytes:
    """One record as Snakemake writes it."""
    return json.dumps(record.model_dump()).encode()


def parse_records(content: bytes, experiment: str) -> dict[str, Record]:
    """Records that came from elsewhere.

    Raises:
        SharingError: they are no records of outputs of this experiment.
    """
    try:
        records = _RECORDS_BY_TARGET.validate_json(content)
        for target in records:
            check_name(target, experiment)
            if not target.startswith(f"experiments/{experiment}/"):
                raise ValueError(f"{target!r} is no output of {experiment}")
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise SharingError(f"Snakemake's records are refused: {first['loc']}: {first['msg']}") from None
    except ValueError as error:
        raise SharingError(f"Snakemake's records are refused: {error}") from None
    for target, record in records.items():
        _refuse_other_format(record, target)
    return records


def with_checksums(record: Record, replaced: Mapping[tuple[str, str], str]) -> Record:
    """A record that knows inputs by other checksums.

    Args:
        record: it.
        replaced: new SHA-256 by (path of the input, old SHA-256).
    """
    known = record.input_checksums or {}
    changed = {
        path: f"sha256:{replaced[path, checksum.removeprefix('sha256:')]}"
        for path, checksum in known.items()
        if (path, checksum.removeprefix("sha256:")) in replaced
    }
    return record.model_copy(update={"input_checksums": {**known, **changed}}) if changed else record


def refuse_a_run(root: Path, experiment: str) -> None:
    """Refuse while a run of the experiment is under way, or after one that died.

    Raises:
        SharingError: Snakemake holds its lock, or an output was being written when a run died.
    """
    places = (f"experiments/{experiment}/", f"logs/{experiment}/")
    for lock in sorted((root / _LOCKS).glob("*.lock")):
        try:
            lines = lock.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            continue
        for line in lines:
            if line.startswith(places):
                what = f"Snakemake holds its lock on {line.strip()}"
                raise SharingError(f"{what}: wait for that run, or go on after a killed one with `tells resume`")
    for target, _ in _kept(root / INCOMPLETE, experiment):
        if (root / target).exists():
            raise SharingError(f"{target} was being written when a run died: go on with it first, by `tells resume`")


def _kept(folder: Path, experiment: str) -> Iterator[tuple[str, Path]]:
    """(output, file) of everything Snakemake keeps in a folder about an experiment's outputs."""
    for place, _, names in os.walk(folder):
        for name in sorted(names):
            path = Path(place, name)
            pieces = path.relative_to(folder).parts
            encoded = "".join(piece.removeprefix("@") for piece in pieces)
            try:
                target = base64.urlsafe_b64decode(encoded).decode()
            except (binascii.Error, UnicodeDecodeError):
                continue
            if target.startswith(f"experiments/{experiment}/"):
                yield target, path


def _checked(content: Any, target: str) -> Record:
    try:
        record = Record.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        what = f"Snakemake's record of {target} is of an unknown form ({first['loc']}: {first['msg']})"
        raise SharingError(f"{what}: run and share with the pinned Snakemake") from None
    _refuse_other_format(record, target)
    return record


def _refuse_other_format(record: Record, target: str) -> None:
    if record.record_format_version != _RECORD_FORMAT:
        what = f"Snakemake's record of {target} has format {record.record_format_version}, not {_RECORD_FORMAT}"
        raise SharingError(f"{what}: run and share with the pinned Snakemake")
