"""A finished run made small enough to ship with the repository: tables and figures, without tensors and shards.

Tables are stored without compression of their own, which packs better. What a token's log-probability and those of its
alternatives were, which no picture shows, is left empty. What made each file stays in it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import polars as pl

from tells.sharing.archive import write_archive
from tells.sharing.collect import Collected, describe, plain_files
from tells.sharing.folder_store import FolderStore
from tells.sharing.manifest import SharingError
from tells.sharing.push import make_manifest, send
from tells.sharing.records import refuse_a_run
from tells.sharing.store import secrets_of_environment
from tells.tables import read_json, write_atomically, write_json
from tells.tables.files import METADATA_KEY

LARGEST_BYTES = 1_000_000
# Columns that take most of the room and that nothing shows: of replayed shards where tokens end is shown, and no more.
_LEFT_EMPTY = {
    "*.parquet": ("topk_logprobs", "token_logprobs"),
    "replay*.parquet": ("confidence",),
    "shards/*.parquet": ("entropy",),
}
# What a job's status says of the machine it ran on.
_OF_THE_MACHINE = ("host", "pid", "slurm_job")
_ABSOLUTE = re.compile(r"^(?:/[\w.-]+/|~/|[A-Za-z]:[\\/]|file:)")
_KEY_LIKE = re.compile(r"\b(?:sk-[\w-]{16,}|AIza[\w-]{20,}|hf_\w{16,}|AKIA[0-9A-Z]{16}|BEGIN [A-Z ]*PRIVATE KEY)")


def pack_run(root: Path, experiment: str, archive: Path, *, largest: int = LARGEST_BYTES) -> int:
    """Put the tables of a finished run into one file.

    Args:
        root: the top of the clone.
        experiment: its name.
        archive: the file to write, `.tar.xz`; equal results give equal bytes.
        largest: bytes it may have.

    Returns:
        Its size in bytes.

    Raises:
        SharingError: the run is not finished, a file names a path of this machine or holds a secret, or the archive
            would be too large; nothing is written then.
    """
    refuse_a_run(root, experiment)
    outputs = [path for path in plain_files(root, f"experiments/{experiment}") if _is_packed(path)]
    if not any(path.endswith("/results.json") for path in outputs):
        raise SharingError(f"experiments/{experiment} has no results; make them with `make demo`")
    logs = [path for path in plain_files(root, f"logs/{experiment}") if path.endswith(".status.json")]
    with tempfile.TemporaryDirectory(prefix="tells-pack-") as scratch:
        small, packed = Path(scratch) / "run", Path(scratch) / "packed.tar.xz"
        for path in (*outputs, *logs):
            _shrink(root / path, small / path)
        _refuse_traces(root, small, (*outputs, *logs))
        files = dict(describe(small, [*outputs, *logs]))
        manifest = make_manifest(experiment, Collected(files, [], [], []), None, tables_only=True)
        store = FolderStore(Path(scratch) / "store")
        send(store, manifest, {one.sha256: small / path for path, one in files.items()}, None, lambda: None)
        write_archive(store, packed)
        size = packed.stat().st_size
        if size > largest:
            most = sorted(files.values(), key=lambda one: -one.size)[:3]
            named = ", ".join(f"{one.path} ({one.size:,})" for one in most)
            raise SharingError(f"the packed run has {size:,} bytes, more than {largest:,}; largest are {named}")
        with write_atomically(archive) as temporary:
            shutil.copyfile(packed, temporary)
    return size


def _is_packed(path: str) -> bool:
    """Whether a file is a table or figures; of shards only replayed ones of traits, which nobody merges."""
    if "/shards/" not in path:
        return path.endswith((".parquet", ".json"))
    return "/traits/" in path and Path(path).match("shards/replay-*.parquet")


def _shrink(source: Path, target: Path) -> None:
    """Copy a file in its small form, with the time it has."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.suffix == ".parquet":
        table = pl.read_parquet(source)
        names = [name for files, columns in _LEFT_EMPTY.items() if source.match(files) for name in columns]
        empty = [pl.lit(None, table.schema[name]).alias(name) for name in names if name in table.columns]
        kept = {METADATA_KEY: pl.read_parquet_metadata(source)[METADATA_KEY]}
        table.with_columns(empty).write_parquet(target, compression="uncompressed", metadata=kept)
    elif source.name.endswith(".status.json"):
        status = read_json(source)
        write_json(target, {name: value for name, value in status.items() if name not in _OF_THE_MACHINE})
    else:
        shutil.copyfile(source, target)
    stat = source.stat()
    os.utime(target, ns=(stat.st_mtime_ns, stat.st_mtime_ns))


def _refuse_traces(root: Path, folder: Path, paths: Iterable[str]) -> None:
    """Refuse words that tell of this machine or could open a door."""
    own = [f"{place}/" for place in (root.resolve(), Path.home()) if len(place.parts) > 1]
    secrets = list(secrets_of_environment().values())
    for path in paths:
        for text in _texts(folder / path):
            if _ABSOLUTE.match(text) or any(place in text for place in own):
                raise SharingError(f"{path} names a path of this machine: {text[:80]!r}")
            if _KEY_LIKE.search(text) or any(secret in text for secret in secrets):
                raise SharingError(f"{path} holds what looks like a key; nothing was packed")


def _texts(path: Path) -> Iterator[str]:
    """Every text in a file: of JSON keys and values, of a table its metadata and what its columns of text hold."""
    if path.suffix == ".json":
        yield from _strings(read_json(path))
        return
    yield from _strings(json.loads(pl.read_parquet_metadata(path)[METADATA_KEY]))
    table = pl.read_parquet(path)
    for column in table:
        while isinstance(column.dtype, pl.List | pl.Array):
            column = column.explode()
        if column.dtype == pl.String:
            yield from column.drop_nulls().unique()


def _strings(content: Any) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    elif isinstance(content, dict):
        for key, value in content.items():
            yield from _strings(key)
            yield from _strings(value)
    elif isinstance(content, list):
        for value in content:
            yield from _strings(value)
