"""Snakemake's records are read and written as the installed Snakemake does it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sharing_helpers import NAME, SUMS, make_run, read_record, write, write_record

from tells.sharing.manifest import SharingError
from tells.sharing.pull import pull
from tells.sharing.push import push
from tells.sharing.records import (
    RECORDS,
    Record,
    dump_record,
    dump_records,
    parse_records,
    read_records,
    record_path,
    with_checksums,
)

LONG = f"experiments/{NAME}/uncertainty/" + "/".join(["long-" * 12] * 9) + "/samples.parquet"


def snakemakes_own(folder: Path):
    """Snakemake's own keeper of records, in a folder."""
    from snakemake.persistence.file import FilePersistence

    return FilePersistence(path=folder / ".snakemake")


def test_the_form_is_the_one_of_the_installed_snakemake():
    """A new version of Snakemake is noticed here, and `tells.sharing.records` is to be looked at again."""
    from snakemake.persistence import RECORD_FORMAT_VERSION, MetadataRecord

    assert set(Record.model_fields) == set(MetadataRecord.model_fields)
    assert RECORD_FORMAT_VERSION == 6


@pytest.mark.parametrize(
    "target", ["a", f"{SUMS}/samples.parquet", f"experiments/{NAME}/traits/behavioral/formality/vectors.json", LONG]
)
def test_a_record_lies_where_snakemake_looks_for_it(tmp_path, target):
    own = snakemakes_own(tmp_path)
    assert str(record_path(tmp_path / RECORDS, target)) == own._record_path(own._metadata_path, target)


@pytest.mark.parametrize("target", [f"{SUMS}/samples.parquet", LONG])
def test_what_snakemake_writes_is_read_and_what_is_written_snakemake_reads(tmp_path, target):
    from snakemake.persistence import MetadataRecord

    record = MetadataRecord(
        rule="grade",
        input=["a", "b"],
        log=["c"],
        params=["1", "'x'"],
        record_format_version=6,
        job_hash=3,
        starttime=1.25,
        endtime=2.0,
        incomplete=False,
        input_checksums={"a": "sha256:00"},
    )
    snakemakes_own(tmp_path)._write_record(target, record)
    found = read_records(tmp_path, NAME)
    assert list(found) == [target]
    there = tmp_path / "there"
    write(record_path(there / RECORDS, target), dump_record(found[target]))
    assert snakemakes_own(there)._read_record(target) == record


def test_a_very_long_name_travels(tmp_path):
    here = make_run(tmp_path / "here")
    write(here / LONG, b"far below")
    write_record(here, LONG, ["config/questions/sums.yaml"])
    pull(tmp_path / "there", push(here, NAME, str(tmp_path / "shared")).url)
    assert (tmp_path / "there" / LONG).read_bytes() == b"far below"
    assert read_record(tmp_path / "there", LONG)["rule"] == "made_up"


def test_records_of_other_experiments_stay_behind(tmp_path):
    root = make_run(tmp_path / "here")
    for other in ("experiments/tiny-two/uncertainty/results.json", "resources/models/tiny-random/model.json"):
        write(root / other, b"{}")
        write_record(root, other, ["config/questions/sums.yaml"])
    assert all(target.startswith(f"experiments/{NAME}/") for target in read_records(root, NAME))
    assert len(read_records(root, NAME)) == 3


def test_a_file_that_is_no_record_is_passed_over(tmp_path):
    root = make_run(tmp_path / "here")
    write(root / RECORDS / "not base64!", b"x")
    assert len(read_records(root, NAME)) == 3


def test_a_half_written_record_is_told(tmp_path):
    root = make_run(tmp_path / "here")
    record_path(root / RECORDS, f"{SUMS}/samples.parquet").write_text('{"rule": ')
    with pytest.raises(SharingError, match=r"record of .*samples\.parquet cannot be read .*; make .* again"):
        read_records(root, NAME)


def test_a_record_of_an_unknown_form_is_told(tmp_path):
    root = make_run(tmp_path / "here")
    path = record_path(root / RECORDS, f"{SUMS}/samples.parquet")
    path.write_text(json.dumps({**json.loads(path.read_text()), "new_in_snakemake_10": 1}))
    with pytest.raises(SharingError, match=r"unknown form .*new_in_snakemake_10.*: run and share with the pinned"):
        read_records(root, NAME)


def test_records_in_a_database_are_told(tmp_path):
    write(tmp_path / ".snakemake/metadata.db", b"")
    with pytest.raises(SharingError, match="database, which cannot be shared; run with `--persistence-backend file`"):
        read_records(tmp_path, NAME)


def test_records_come_back_as_they_were(tmp_path):
    records = read_records(make_run(tmp_path / "here"), NAME)
    assert parse_records(dump_records(records), NAME) == records


def test_only_the_very_same_checksum_is_replaced(tmp_path):
    records = read_records(make_run(tmp_path / "here"), NAME)
    record = records[f"{SUMS}/prompts.parquet"]
    path, checksum = next(iter(record.input_checksums.items()))
    changed = with_checksums(record, {(path, checksum.removeprefix("sha256:")): "f" * 64})
    assert changed.input_checksums == {**record.input_checksums, path: f"sha256:{'f' * 64}"}
    assert with_checksums(record, {(path, "0" * 64): "f" * 64}) is record
    assert with_checksums(record, {("other", checksum.removeprefix("sha256:")): "f" * 64}) is record
