"""Rows of files that people bring, and the faults in them."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tells.tables.records import DataFileError, RowError, identifier_slug, read_records, slug

ALL = (".csv", ".jsonl", ".json", ".parquet")
# What text files hold: no NUL, no lone surrogates.
CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=8)


def read(name: str, data: bytes, **changes):
    return read_records(Path(name), data, **{"endings": ALL, "unit": "prompt", "gzipped": True, **changes})


def test_one_table_reads_alike_from_every_container(tmp_path: Path):
    rows = [{"id": "a", "text": "one,\n“two”"}, {"id": "b", "text": "drei"}]
    written = io.StringIO()
    csv.DictWriter(written, ["id", "text"]).writerows([{"id": "id", "text": "text"}, *rows])
    pl.DataFrame(rows).write_parquet(tmp_path / "a.parquet")
    contents = {
        "a.csv": written.getvalue().encode(),
        "a.jsonl": "\n".join(map(json.dumps, rows)).encode(),
        "a.json": json.dumps(rows).encode(),
        "a.parquet": (tmp_path / "a.parquet").read_bytes(),
    }
    for name, data in contents.items():
        assert read(name, data) == ([(1, rows[0]), (2, rows[1])], []), name
        assert read(f"{name}.gz", gzip.compress(data, mtime=0)) == ([(1, rows[0]), (2, rows[1])], []), name


@given(st.lists(st.tuples(CELLS, CELLS).filter(lambda cells: cells[0].strip()), min_size=1, max_size=5))
def test_whatever_a_csv_writer_writes_is_read_back(cells: list[tuple[str, str]]):
    written = io.StringIO(newline="")
    csv.writer(written).writerows([("x", "y"), *cells])
    records, problems = read("a.csv", written.getvalue().encode())
    assert problems == []
    assert [(record["x"], record["y"]) for _, record in records] == cells


def test_all_faults_of_a_csv_file_are_told_with_their_rows():
    data = b"id,text\n1,good\n2\n3,caf\xe9\n\n4,a,b\n5,good\n"
    records, problems = read("a.csv", data)
    assert [row for row, _ in records] == [1, 5]
    assert problems == [
        (2, "has 1 fields, the header has 2"),
        (3, "not UTF-8 (column 'text'); save the file as UTF-8"),
        (4, "has 3 fields, the header has 2"),
    ]


def test_a_quote_that_is_never_closed_is_told_with_its_row():
    records, problems = read("a.csv", b'id,text\n1,good\n2,"open\n3,more\n')
    assert [row for row, _ in records] == [1]
    assert problems[0][0] == 2
    assert problems[0][1].startswith("not CSV (")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"id,text,id\n1,a,2\n", "column 'id' stands twice in the header"),
        ("id,text\n1,a\n".encode("utf-16"), "the header is not UTF-8; save the file as UTF-8"),
        (b"", "the file is empty; it must hold at least one prompt"),
        (b"id,text\n", "the file is empty; it must hold at least one prompt"),
    ],
)
def test_a_csv_file_that_is_broken_as_a_whole_says_so_once(data: bytes, message: str):
    assert read("a.csv", data) == ([], [(0, message)])


def test_a_byte_order_mark_and_windows_line_ends_are_passed_over():
    assert read("a.csv", b"\xef\xbb\xbfid\r\n1\r\n") == ([(1, {"id": "1"})], [])


@pytest.mark.parametrize("data", [b"no gzip", gzip.compress(b"[]", mtime=0)[:-6], b""])
def test_a_gzip_file_that_is_not_whole_is_told(data: bytes):
    records, ((row, problem),) = read("a.json.gz", data)
    assert (records, row) == ([], 0)
    assert "gzip" in problem or "empty" in problem


def test_an_unknown_ending_names_the_known_ones_and_a_given_one_helps():
    assert read("a.txt", b"x")[1] == [
        (0, "ending '.txt' is unknown; known are .csv, .jsonl, .json, .parquet, each also with .gz")
    ]
    assert read("a.txt", b"id\n1\n", ending=".csv")[0] == [(1, {"id": "1"})]
    assert read("a.gz", gzip.compress(b"id\n1\n"), ending=".csv")[0] == [(1, {"id": "1"})]
    assert read("a.json", b"[]", ending=".csv")[1] == [(0, "the file is empty; it must hold at least one prompt")]


def test_where_gzip_is_not_taken_its_ending_is_unknown():
    assert "'.gz' is unknown" in read("a.csv.gz", b"", gzipped=False)[1][0][1]


def test_problems_are_raised_in_the_order_of_rows_by_the_class_that_is_asked():
    class OwnError(DataFileError):
        pass

    OwnError.raise_if_any("a.csv", [])
    with pytest.raises(OwnError, match=r"a\.csv: 3 problems") as caught:
        OwnError.raise_if_any("a.csv", [(7, "seven"), (0, "all"), (2, "two")])
    assert caught.value.problems == ("all", "row 2: two", "row 7: seven")


def test_ids_become_slugs():
    assert identifier_slug(7) == "7"
    assert slug(" A b/C.d ") == "a-b-c.d"
    for wrong in (True, 1.5, None, "?"):
        with pytest.raises(RowError):
            identifier_slug(wrong)
