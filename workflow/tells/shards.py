"""Shards: prompts cut into tables of a fixed size, and the tables of shards put together again.

A shard is rewritten only when its bytes differ, so that appended prompts add shards and touch none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from tells.tables import TableError, file_digest, read_metadata, read_table, write_table

_OF_ONE_SHARD = ("stage_hash", "batch_size")
# What would make all sampling due again although no prompt has changed.
_OF_THE_WHOLE_TABLE = ("stage_hash", "data", "code_hash", "versions")


def write_shards(prompts_path: str | Path, prompts: pl.DataFrame, size: int, metadata: Mapping[str, Any]) -> int:
    """Cut a prompts table into shards/prompts-0000.parquet … beside it.

    Args:
        prompts_path: where the whole table goes.
        prompts: the table.
        size: prompts per shard.
        metadata: of the table. What depends on the whole file (its hash), or on the code that
            made it, does not enter a shard.

    Returns:
        How many shards there are; surplus ones of an earlier run are removed.
    """
    folder = Path(prompts_path).parent / "shards"
    own = {key: value for key, value in metadata.items() if key not in _OF_THE_WHOLE_TABLE}
    paths = []
    for start in range(0, prompts.height, size):
        path = folder / f"prompts-{start // size:04d}.parquet"
        fresh = path.with_name(f".{path.name}.fresh")
        write_table(fresh, prompts[start : start + size], "prompts", own)
        if path.exists() and file_digest(path) == file_digest(fresh):
            fresh.unlink()
        else:
            fresh.replace(path)
        paths.append(path)
    for surplus in set(folder.glob("prompts-*.parquet")) - set(paths):
        surplus.unlink()
    return len(paths)


def merge_shards(paths: Sequence[str | Path], kind: str) -> tuple[pl.DataFrame, dict[str, Any]]:
    """Put shards together, in the order of their names whatever the order given.

    Returns:
        The table, and the metadata that all shards share.

    Raises:
        TableError: the shards were made by different settings, models or versions.
    """
    ordered = sorted(map(str, paths))
    metadata = [read_metadata(path) for path in ordered]
    common = {key: value for key, value in metadata[0].items() if key not in _OF_ONE_SHARD}
    for path, other in zip(ordered, metadata, strict=True):
        differing = [key for key, value in common.items() if _comparable(other.get(key)) != _comparable(value)]
        if differing:
            raise TableError(
                f"{path}: made differently from {ordered[0]} ({', '.join(differing)}); "
                "make all shards of the collection again"
            )
    common["shards"] = {Path(path).name: entry["stage_hash"] for path, entry in zip(ordered, metadata, strict=True)}
    return pl.concat([read_table(path, kind) for path in ordered]), common


def _comparable(value: Any) -> Any:
    return {key: each for key, each in value.items() if key not in _OF_ONE_SHARD} if isinstance(value, dict) else value
