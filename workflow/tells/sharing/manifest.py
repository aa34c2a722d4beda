"""What a shared run consists of: every file with its size, checksum and time, and what it was made from.

A manifest comes from somebody else: nothing in it is believed before it has been checked here, and a name that could
lead out of the run's own places is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from tells.config.base import SLUG, Slug

FORMAT = 1
MANIFEST = "manifest.json"
LARGEST_MANIFEST_BYTES = 256 * 2**20
_UNFIT = re.compile(r"[\x00-\x1f\x7f\\:]")
_DEFINITION = re.compile(rf"experiments/{SLUG}\.yaml")
_CONFIG = re.compile(r"config/(questions|traits|benchmarks)/.+\.(yaml|jsonl?|csv|tsv|txt|parquet)")
_LOG = re.compile(r".+(\.status\.json|\.tsv)")

Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Bytes = Annotated[int, Field(ge=0)]
Nanoseconds = Annotated[int, Field(ge=0, lt=2**63)]


class SharingError(RuntimeError):
    """A run cannot be pushed or pulled; the message says what is in the way, and what to do."""


class _Checked(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Blob(_Checked):
    """Content, by its checksum.

    Attributes:
        sha256: of its bytes, in hexadecimal.
        size: in bytes.
    """

    sha256: Digest
    size: Bytes


class SharedFile(Blob):
    """A file of the run.

    Attributes:
        path: below the top of the clone.
        mtime_ns: when it was last changed, in nanoseconds since 1970; Snakemake reads the order of these.
    """

    path: str
    mtime_ns: Nanoseconds


class Input(SharedFile):
    """A file that the run was made from, which does not travel.

    Attributes:
        identity: of a model's manifest, the SHA-256 of all it says but where the files lie; None of other files.
    """

    identity: Digest | None = None


class Manifest(_Checked):
    """A run at a place.

    Attributes:
        format: of the manifest.
        experiment: its name.
        tables_only: whether shards and tensors were left out.
        files: what travels, the oldest first.
        inputs: what it was made from and does not travel.
        records: what Snakemake knows of its outputs; None where that was left out.
    """

    format: Literal[1] = FORMAT
    experiment: Slug
    tables_only: bool
    files: tuple[SharedFile, ...]
    inputs: tuple[Input, ...] = ()
    records: Blob | None = None

    @model_validator(mode="after")
    def _names_are_fit(self) -> Manifest:
        names = [one.path for one in self.files]
        for name in names:
            check_name(name, self.experiment)
        for one in self.inputs:
            _check_form(one.path)
        twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
        if twice:
            raise ValueError(f"{twice[0]!r} stands twice")
        folders = {str(parent) for name in names for parent in PurePosixPath(name).parents}
        if both := sorted(folders & set(names)):
            raise ValueError(f"{both[0]!r} is both a file and a folder")
        return self

    def to_bytes(self) -> bytes:
        """As JSON; equal runs give equal bytes."""
        return (json.dumps(self.model_dump(mode="json"), indent=1, sort_keys=True) + "\n").encode()

    def objects(self) -> dict[str, int]:
        """Size in bytes of everything it needs, by checksum."""
        blobs: Iterable[Blob] = (*self.files, self.records) if self.records else self.files
        return {one.sha256: one.size for one in blobs}


def parse_manifest(content: bytes, where: str) -> Manifest:
    """A manifest from its JSON.

    Args:
        content: the bytes of manifest.json.
        where: they come from, for the message.

    Raises:
        SharingError: they are no manifest of a run, or name a file that a run has no business with.
    """
    try:
        return Manifest.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        what = f"{place}: {first['msg']}" if place else first["msg"]
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raise SharingError(f"{where}/{MANIFEST} is refused: {what.removeprefix('Value error, ')}{more}") from None


def check_name(name: str, experiment: str) -> None:
    """Refuse a name that is not one of a file of this experiment.

    Raises:
        ValueError: it is absolute, has a step upwards, a hidden part or an odd character, or lies elsewhere than in
            the experiment's results, logs and definitions.
    """
    _check_form(name)
    below = {f"experiments/{experiment}/", f"logs/{experiment}/"}
    start = next((folder for folder in below if name.startswith(folder)), None)
    if start and (start.startswith("experiments/") or _LOG.fullmatch(name)):
        return
    if not (_DEFINITION.fullmatch(name) or _CONFIG.fullmatch(name)):
        raise ValueError(f"{name!r} is no file of the experiment {experiment}")


def is_of_run(name: str) -> bool:
    """Whether a file is made by the workflow, and not a definition."""
    return not (_DEFINITION.fullmatch(name) or name.startswith("config/"))


def is_table(name: str) -> bool:
    """Whether a file travels where shards and tensors are left out; the shards of prompts are what they are cut by."""
    path = PurePosixPath(name)
    in_shards = "shards" in path.parts and not path.name.startswith("prompts-")
    return path.suffix != ".safetensors" and not in_shards


def _check_form(name: str) -> None:
    parts = name.split("/")
    unfit = _UNFIT.search(name) or name.startswith(("/", "~")) or len(name) > 1024
    if unfit or any(not part or part.startswith(".") for part in parts):
        raise ValueError(f"{name!r} is no plain path below the top of a clone")
