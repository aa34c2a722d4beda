"""Tables, tensors and JSON: whole or absent, checked, and clear about what is wrong with a file."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from tells.tables import (
    SCHEMAS,
    ForeignFileError,
    TableError,
    file_digest,
    files,
    read_json,
    read_metadata,
    read_table,
    read_tensors,
    scan_table,
    write_atomically,
    write_json,
    write_table,
    write_tensors,
)
from tells.tables.files import finite_or_none

METADATA = {"stage": "sample", "seed": 7, "model": {"name": "small", "revision": None}}
LABELS = {
    "prompt_id": ["a", "a", "b"],
    "group": ["g", "g", "h"],
    "sample": [-1, 0, 0],
    "greedy": [True, False, False],
    "think": ["12 + 5", None, "…"],
    "answer": ["17", None, "18"],
    "truncated": [False, True, False],
    "correct": [True, None, False],
    "grader": ["text 1", "text 1", "text 1"],
}


def labels(**changes: Any) -> pl.DataFrame:
    return pl.DataFrame(LABELS, schema=SCHEMAS["labels"].columns).with_columns(**changes)


def clusters(**columns: Any) -> pl.DataFrame:
    defaults = {"prompt_id": ["a", "b"], "sample": [0, 0], "cluster": [0, 1], "method": ["text", "text"]}
    return pl.DataFrame({**defaults, **columns}, schema_overrides={"sample": pl.Int32, "cluster": pl.Int32})


WRITERS: dict[str, Callable[[Path], None]] = {
    "labels.parquet": lambda path: write_table(path, labels(), "labels", METADATA),
    "states.safetensors": lambda path: write_tensors(path, {"x": np.arange(600.0)}, METADATA),
    "results.json": lambda path: write_json(path, {"numbers": list(range(50))}, metadata=METADATA),
}
READERS: dict[str, Callable[[Path], Any]] = {
    ".parquet": lambda path: read_table(path, "labels"),
    ".safetensors": read_tensors,
    ".json": read_json,
}


# Round trips


def test_a_table_comes_back_as_it_was(tmp_path: Path):
    path = tmp_path / "deep/folder/labels.parquet"
    write_table(path, labels(), "labels", METADATA)
    assert read_table(path, "labels").equals(labels())
    assert read_metadata(path) == {**METADATA, "kind": "labels"}


def test_columns_beyond_the_schema_are_kept_and_columns_can_be_chosen(tmp_path: Path):
    write_table(tmp_path / "labels.parquet", labels(extra=pl.lit(1.5)), "labels", METADATA)
    assert read_table(tmp_path / "labels.parquet", "labels")["extra"].to_list() == [1.5] * 3
    chosen = scan_table(tmp_path / "labels.parquet", "labels", ["extra", "sample"]).collect()
    assert chosen.columns == ["extra", "sample"]


def test_a_column_of_nulls_takes_the_type_of_the_schema(tmp_path: Path):
    write_table(tmp_path / "labels.parquet", labels(correct=pl.lit(None)), "labels", METADATA)
    assert read_table(tmp_path / "labels.parquet", "labels").schema["correct"] == pl.Boolean


def test_an_empty_table_comes_back_empty(tmp_path: Path):
    write_table(tmp_path / "labels.parquet", labels().clear(), "labels", METADATA)
    assert read_table(tmp_path / "labels.parquet", "labels").equals(labels().clear())


def test_tensors_come_back_with_dtype_and_order(tmp_path: Path):
    tensors = {
        "half": np.array([[1.5, -2.0]], dtype=np.float16),
        "turned": np.arange(6, dtype=np.int64).reshape(2, 3).T,
        "empty": np.zeros((0, 4), dtype=np.float32),
    }
    write_tensors(tmp_path / "x.safetensors", tensors, METADATA)
    found = read_tensors(tmp_path / "x.safetensors")
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype
        np.testing.assert_array_equal(found[name], tensor)
    assert list(read_tensors(tmp_path / "x.safetensors", ["turned"])) == ["turned"]
    assert read_metadata(tmp_path / "x.safetensors") == METADATA


@given(st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()))
def test_json_comes_back_as_it_was(tmp_path_factory: pytest.TempPathFactory, content: dict):
    finite = {key: value for key, value in content.items() if value not in (float("inf"), float("-inf"))}
    path = tmp_path_factory.getbasetemp() / "content.json"
    write_json(path, finite)
    assert read_json(path) == finite


def test_json_carries_metadata_beside_its_content(tmp_path: Path):
    write_json(tmp_path / "x.json", {"b": 1, "a": [None]}, metadata=METADATA)
    assert read_json(tmp_path / "x.json") == {"a": [None], "b": 1, "metadata": METADATA}
    assert read_metadata(tmp_path / "x.json") == METADATA


@pytest.mark.parametrize("name", WRITERS)
def test_equal_content_gives_equal_bytes_and_a_file_others_may_read(tmp_path: Path, name: str):
    old = os.umask(0o022)
    try:
        for folder in ("one", "two"):
            WRITERS[name](tmp_path / folder / name)
    finally:
        os.umask(old)
    assert file_digest(tmp_path / "one" / name) == file_digest(tmp_path / "two" / name)
    assert stat.S_IMODE((tmp_path / "one" / name).stat().st_mode) == 0o644


def test_the_order_of_metadata_and_tensors_changes_no_byte(tmp_path: Path):
    a, b = np.zeros(3), np.ones(2)
    write_tensors(tmp_path / "one.safetensors", {"a": a, "b": b}, METADATA)
    write_tensors(tmp_path / "two.safetensors", {"b": b, "a": a}, dict(reversed(METADATA.items())))
    assert file_digest(tmp_path / "one.safetensors") == file_digest(tmp_path / "two.safetensors")


# Atomic writing


def test_a_file_appears_only_when_it_is_whole(tmp_path: Path):
    path = tmp_path / "x.txt"
    with write_atomically(path) as temporary:
        temporary.write_text("new")
        assert not path.exists()
        assert temporary.parent == path.parent
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["x.txt"]


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path):
    path = tmp_path / "x.txt"
    path.write_text("old")

    def fail_half_way() -> None:
        with write_atomically(path) as temporary:
            temporary.write_text("half")
            raise KeyError("x")

    with pytest.raises(KeyError):
        fail_half_way()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["x.txt"]


def disk_is_full(path: Any) -> None:
    Path(path).write_bytes(b"the first half of")
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


@pytest.mark.parametrize("existing", [False, True])
@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, existing: bool):
    path = tmp_path / name
    if existing:
        path.write_text("old")
    monkeypatch.setattr(pl.DataFrame, "write_parquet", lambda _, file, **__: disk_is_full(file))
    monkeypatch.setattr("safetensors.numpy.save_file", lambda _, file, **__: disk_is_full(file))
    monkeypatch.setattr(Path, "write_text", lambda file, *_, **__: disk_is_full(file))
    with pytest.raises(files.DiskFullError, match="the disk is full"):
        WRITERS[name](path)
    assert os.listdir(tmp_path) == ([name] if existing else [])
    assert not existing or path.read_bytes() == b"old"


def test_a_disk_that_is_full_when_the_file_is_closed_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def fail(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "fsync", fail)
    with pytest.raises(files.DiskFullError, match="the disk is full"):
        WRITERS["results.json"](tmp_path / "results.json")
    assert os.listdir(tmp_path) == []


# Broken and foreign files


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.99])
@pytest.mark.parametrize("name", WRITERS)
def test_a_truncated_file_gives_one_clear_error_that_names_it(tmp_path: Path, name: str, share: float):
    path = tmp_path / name
    WRITERS[name](path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    for read in (READERS[path.suffix], read_metadata):
        with pytest.raises(TableError) as caught:
            read(path)
        message = str(caught.value)
        assert message.startswith(f"{path}: not a whole")
        assert "make it again" in message
        assert "\n" not in message


@pytest.mark.parametrize("name", WRITERS)
def test_an_absent_file_is_named(tmp_path: Path, name: str):
    path = tmp_path / name
    for read in (READERS[path.suffix], read_metadata):
        with pytest.raises(TableError, match="no such file") as caught:
            read(path)
        assert str(path) in str(caught.value)


def test_a_damaged_page_of_a_table_is_an_error_that_names_the_file(tmp_path: Path):
    path = tmp_path / "labels.parquet"
    write_table(path, labels(), "labels", METADATA)
    content = bytearray(path.read_bytes())
    content[4:300] = bytes(296)
    path.write_bytes(content)
    with pytest.raises(TableError, match="not a whole Parquet file") as caught:
        read_table(path, "labels")
    assert str(path) in str(caught.value)


def test_foreign_files_are_named_as_such(tmp_path: Path):
    labels().write_parquet(tmp_path / "labels.parquet")
    save_file({"x": np.zeros(2)}, tmp_path / "x.safetensors")
    (tmp_path / "x.json").write_text('{"a": 1}')
    (tmp_path / "list.json").write_text("[1]")
    for path in tmp_path.iterdir():
        with pytest.raises(ForeignFileError, match="foreign file") as caught:
            read_metadata(path)
        assert str(path) in str(caught.value)
    with pytest.raises(TableError, match="foreign file"):
        read_table(tmp_path / "labels.parquet", "labels")


@pytest.mark.parametrize("name", ["x.parquet", "x.safetensors", "x.json"])
def test_a_file_of_another_form_is_an_error_that_names_it(tmp_path: Path, name: str):
    path = tmp_path / name
    path.write_text("Dear Sir or Madam, this is a letter.")
    with pytest.raises(TableError, match="not a whole") as caught:
        read_metadata(path)
    assert str(path) in str(caught.value)


def test_a_table_of_another_kind_is_refused(tmp_path: Path):
    write_table(tmp_path / "x.parquet", clusters(), "clusters", METADATA)
    with pytest.raises(TableError, match="kind 'clusters', expected 'labels'"):
        read_table(tmp_path / "x.parquet", "labels")


def test_a_missing_column_is_named_in_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "clusters.parquet"
    write_table(path, clusters(), "clusters", METADATA)
    with pytest.raises(TableError, match=r"column\(s\) colour missing; the file holds prompt_id, sample") as caught:
        read_table(path, "clusters", ["sample", "colour"])
    assert str(path) in str(caught.value)
    monkeypatch.setitem(SCHEMAS["clusters"].columns, "newer", pl.String)
    with pytest.raises(TableError, match=r"column\(s\) newer missing"):
        read_table(path, "clusters")


def test_a_missing_tensor_is_named(tmp_path: Path):
    write_tensors(tmp_path / "x.safetensors", {"x": np.zeros(2)}, METADATA)
    with pytest.raises(TableError, match=r"tensor\(s\) y missing; it holds x"):
        read_tensors(tmp_path / "x.safetensors", ["x", "y"])


# What may not be written


def refused(tmp_path: Path, table: pl.DataFrame, kind: str) -> str:
    path = tmp_path / f"{kind}.parquet"
    with pytest.raises(TableError) as caught:
        write_table(path, table, kind, METADATA)
    assert str(path) in str(caught.value)
    assert os.listdir(tmp_path) == []
    return str(caught.value)


def test_every_missing_or_wrong_column_is_named_in_writing(tmp_path: Path):
    message = refused(tmp_path, clusters().with_columns(cluster=pl.lit("0")).drop("method"), "clusters")
    assert "column method is missing" in message
    assert "column cluster is" in message


def test_duplicate_keys_are_refused_with_the_row(tmp_path: Path):
    table = clusters(prompt_id=["z", "a", "a"], sample=[0, 1, 1], cluster=[0, 0, 0], method=["text"] * 3)
    message = refused(tmp_path, table, "clusters")
    assert "prompt_id" in message
    assert "row 1" in message


NAN = float("nan")


@pytest.mark.parametrize(
    "column",
    [
        pl.Series("extra", [1.0, NAN]),
        pl.Series("extra", [None, NAN], dtype=pl.Float32),
        pl.Series("extra", [[1.0], [0.5, NAN]]),
        pl.Series("extra", [[[1.0], []], [[NAN]]]),
        pl.Series("extra", [[1.0, 2.0], [NAN, 1.0]], dtype=pl.Array(pl.Float32, 2)),
    ],
)
def test_nan_is_refused_in_every_column_even_within_lists(tmp_path: Path, column: pl.Series):
    assert "column extra holds NaN" in refused(tmp_path, clusters().with_columns(column), "clusters")


def test_null_and_empty_lists_are_no_nan(tmp_path: Path):
    table = clusters().with_columns(pl.Series("extra", [[], [None, 1.0]], dtype=pl.List(pl.Float32)))
    write_table(tmp_path / "clusters.parquet", table, "clusters", METADATA)
    assert read_table(tmp_path / "clusters.parquet", "clusters")["extra"].to_list() == [[], [None, 1.0]]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_nan_is_refused_in_tensors(tmp_path: Path, dtype: type):
    with pytest.raises(TableError, match=r"tensor\(s\) bad hold NaN"):
        write_tensors(
            tmp_path / "x.safetensors", {"good": np.ones(3, dtype), "bad": np.array([[1, NAN]], dtype)}, METADATA
        )
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("value", [NAN, float("inf"), [{"deep": -float("inf")}]])
def test_nan_and_infinity_are_refused_in_json(tmp_path: Path, value: Any):
    with pytest.raises(TableError, match="a missing number is None") as caught:
        write_json(tmp_path / "x.json", {"value": value})
    assert str(tmp_path / "x.json") in str(caught.value)
    assert os.listdir(tmp_path) == []


def test_numbers_that_no_file_may_hold_become_none():
    assert [finite_or_none(value) for value in (None, NAN, float("inf"), 2)] == [None, None, None, 2.0]
