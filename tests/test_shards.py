"""Shards: rewritten only where prompts changed, and merged only where they were made alike."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from tells.shards import merge_shards, write_shards
from tells.tables import SCHEMAS, TableError, make_metadata, read_metadata, write_table


def prompts(n: int) -> pl.DataFrame:
    rows = [{"prompt_id": f"p{number}", "group": "g", "text": f"text {number}"} for number in range(n)]
    columns = SCHEMAS["prompts"].columns
    return pl.DataFrame([{name: row.get(name, "") for name in columns} for row in rows], schema=dict(columns))


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "shards").iterdir()}


def test_more_prompts_other_code_and_newer_packages_leave_full_shards_as_they_are(tmp_path: Path):
    metadata = make_metadata("prompts", params={}, inputs=[], experiment="tiny", seed=1)
    assert write_shards(tmp_path / "prompts.parquet", prompts(4), 2, metadata) == 2
    before = files(tmp_path)
    later = {**metadata, "code_hash": "another", "versions": {"polars": "9"}, "stage_hash": "another"}
    assert write_shards(tmp_path / "prompts.parquet", prompts(5), 2, later) == 3
    after = files(tmp_path)
    assert {name: after[name] for name in before} == before
    assert sorted(after) == [f"prompts-000{number}.parquet" for number in range(3)]
    assert read_metadata(tmp_path / "shards/prompts-0000.parquet")["experiment"] == "tiny"


def test_a_changed_prompt_rewrites_its_shard_alone_and_a_surplus_one_goes(tmp_path: Path):
    metadata = {"experiment": "tiny"}
    write_shards(tmp_path / "prompts.parquet", prompts(6), 2, metadata)
    before = files(tmp_path)
    changed = prompts(4).with_columns(text=pl.col("text").replace({"text 3": "other"}))
    write_shards(tmp_path / "prompts.parquet", changed, 2, metadata)
    after = files(tmp_path)
    assert sorted(after) == ["prompts-0000.parquet", "prompts-0001.parquet"]
    assert after["prompts-0000.parquet"] == before["prompts-0000.parquet"]
    assert after["prompts-0001.parquet"] != before["prompts-0001.parquet"]


def test_shards_made_alike_are_merged_in_their_order_and_others_are_not(tmp_path: Path):
    common = {"model": {"name": "m"}, "engine": {"engine": "hf", "batch_size": 8}}
    paths = [tmp_path / f"prompts-000{number}.parquet" for number in range(2)]
    for number, path in enumerate(paths):
        engine = {**common["engine"], "batch_size": 8 - number}
        write_table(
            path,
            prompts(4)[2 * number : 2 * number + 2],
            "prompts",
            {**common, "engine": engine, "stage_hash": str(number)},
        )
    table, metadata = merge_shards(paths[::-1], "prompts")
    assert table["prompt_id"].to_list() == ["p0", "p1", "p2", "p3"]
    assert metadata["shards"] == {"prompts-0000.parquet": "0", "prompts-0001.parquet": "1"}
    write_table(paths[1], prompts(1), "prompts", {**common, "model": {"name": "other"}, "stage_hash": "1"})
    with pytest.raises(TableError, match=r"made differently from .*prompts-0000.parquet \(model\)"):
        merge_shards(paths, "prompts")
