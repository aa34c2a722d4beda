"""The study's files, read together: what several scripts need in the same form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from tells.tables import read_metadata, read_table
from tells.uncertainty.probe_files import HiddenStates
from tells.uncertainty.runs import CollectionTables

_KINDS = ("labels", "entropy", "clusters", "replay", "p_true")


def read_collections(files: Mapping[str, Sequence[str]]) -> dict[str, CollectionTables]:
    """The tables of every collection, by the folder they lie in.

    Args:
        files: paths by kind (labels, entropy, clusters, replay, p_true); a collection may lack the last two.
    """
    by_name: dict[str, dict[str, pl.DataFrame]] = {}
    for kind in _KINDS:
        for path in files[kind]:
            by_name.setdefault(Path(path).parent.name, {})[kind] = read_table(path, kind)
    return {name: CollectionTables(*(tables.get(kind) for kind in _KINDS)) for name, tables in sorted(by_name.items())}


def open_states(runs: pl.DataFrame, paths: Sequence[str]) -> HiddenStates:
    """Hidden states of the runs, in the runs' order, from the shards of all collections.

    A study of the user's own samples has no shards: a source without layers, on which no probe can be fitted.
    """
    if not paths:
        return HiddenStates(runs, {}, layers=[], positions=[])
    shards = {(Path(path).parents[1].name, int(Path(path).stem.rpartition("-")[2])): path for path in paths}
    metadata = read_metadata(paths[0])
    return HiddenStates(runs, shards, layers=metadata["layers"], positions=metadata["positions"])
