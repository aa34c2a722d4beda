"""What Snakemake is told of a pulled run, and what the user is told that does not travel."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest
from sharing_helpers import (
    MODEL,
    NAME,
    RESULTS,
    SECOND,
    SUMS,
    objects_of,
    read_record,
    run_files,
    write,
    write_record,
)

from tells.sharing.manifest import MANIFEST, SharingError
from tells.sharing.pull import pull
from tells.sharing.push import push
from tells.sharing.records import INCOMPLETE, RECORDS, record_path


def test_records_come_with_the_files_and_without_the_number_of_the_cluster_job(here, there, shared):
    pull(there, str(shared))
    target = f"{SUMS}/samples.parquet"
    assert read_record(there, target) == {**read_record(here, target), "external_jobid": None}
    assert not list((there / INCOMPLETE).iterdir())


def test_a_mark_of_a_dead_run_goes_where_the_file_has_come(there, shared):
    write(record_path(there / INCOMPLETE, f"{SUMS}/samples.parquet"), b"{}")
    pull(there, str(shared))
    assert not list((there / INCOMPLETE).iterdir())


def test_a_model_that_lies_elsewhere_here_is_known_as_the_same(there, shared):
    content = json.dumps({"name": "tiny-random", "revision": "1", "path": "/another/cache"}).encode()
    write(there / MODEL, content)
    done = pull(there, str(shared))
    checksums = read_record(there, f"{SUMS}/shards/samples-0000.parquet")["input_checksums"]
    assert checksums[MODEL] == f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert not any(MODEL in note for note in done.notes)


def test_a_model_that_is_fetched_after_the_pull_is_known_by_the_next_one(there, shared):
    pull(there, str(shared))
    content = json.dumps({"name": "tiny-random", "revision": "1", "path": "/another/cache"}).encode()
    write(there / MODEL, content)
    done = pull(there, str(shared))
    assert done.fetched == {}
    checksums = read_record(there, f"{SUMS}/shards/samples-0000.parquet")["input_checksums"]
    assert checksums[MODEL] == f"sha256:{hashlib.sha256(content).hexdigest()}"


def test_a_model_that_is_not_here_is_to_be_fetched_by_itself(there, shared):
    (note,) = pull(there, str(shared)).notes
    assert f"`snakemake --profile cpu {MODEL}`, then pull once more" in note


def test_another_revision_of_a_model_is_told_and_not_taken_for_the_same(here, there, shared):
    write(there / MODEL, json.dumps({"name": "tiny-random", "revision": "2", "path": "x"}).encode())
    done = pull(there, str(shared))
    assert [note for note in done.notes if MODEL in note and "another model or revision" in note]
    target = f"{SUMS}/shards/samples-0000.parquet"
    assert read_record(there, target)["input_checksums"] == read_record(here, target)["input_checksums"]


def test_data_that_do_not_travel_are_told_and_given_their_time(here, there, tmp_path):
    write(here / "data/mine.jsonl", b"my samples")
    os.utime(here / "data/mine.jsonl", ns=(SECOND, SECOND))
    write_record(here, f"{SUMS}/samples.parquet", ["data/mine.jsonl"], unchecked=("data/mine.jsonl",))
    done = push(here, NAME, str(tmp_path / "shared"))
    assert b"my samples" not in [path.read_bytes() for path in objects_of(tmp_path / "shared" / NAME)]
    assert any("data/mine.jsonl: not here" in note for note in pull(there, done.url).notes)
    write(there / "data/mine.jsonl", b"my samples")
    assert not any("mine.jsonl" in note for note in pull(there, done.url).notes)
    assert (there / "data/mine.jsonl").stat().st_mtime_ns == SECOND
    write(there / "data/mine.jsonl", b"other data")
    touched = (there / "data/mine.jsonl").stat().st_mtime_ns
    assert any("data/mine.jsonl: differs" in note for note in pull(there, done.url).notes)
    assert (there / "data/mine.jsonl").stat().st_mtime_ns == touched


def test_data_outside_the_clone_are_told_at_the_push(here, there, tmp_path):
    write(here.parent / "outside.jsonl", b"outside")
    write_record(here, f"{SUMS}/samples.parquet", ["../outside.jsonl"])
    done = push(here, NAME, str(tmp_path / "shared"))
    assert done.elsewhere == ("../outside.jsonl",)
    assert "outside" not in (tmp_path / "shared" / NAME / MANIFEST).read_text()


def test_an_unfinished_study_is_told(here, tmp_path):
    (here / RESULTS).unlink()
    assert push(here, NAME, str(tmp_path / "shared")).unfinished == ("uncertainty",)


def test_a_definition_that_cannot_be_run_here_is_told(there, shared):
    write(there / "config/config.yaml", b"experiments: [tiny]\nmodels: config/models.yaml\n")
    write(there / "config/models.yaml", b"other: {source: random, architecture: llama}\n")
    done = pull(there, str(shared))
    assert any("tiny-random is not in config/models.yaml" in note for note in done.notes)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"rule": 5}, "refused"),
        ({"unknown": 5}, "refused"),
        ({"record_format_version": 5}, "has format 5, not 6"),
    ],
)
def test_records_of_another_form_are_refused(there, shared, changes, told):
    manifest = json.loads((shared / MANIFEST).read_text())
    path = next(path for path in objects_of(shared) if path.name == manifest["records"]["sha256"])
    records = json.loads(path.read_text())
    records[f"{SUMS}/samples.parquet"] |= changes
    _replace_records(shared, records)
    with pytest.raises(SharingError, match=told):
        pull(there, str(shared))
    assert not run_files(there)
    assert not any(path.is_file() for path in (there / RECORDS).rglob("*"))


@pytest.mark.parametrize(
    "target",
    ["experiments/other/uncertainty/results.json", f"experiments/{NAME}/../x", "Snakefile", f"experiments/{NAME}.yaml"],
)
def test_records_of_other_files_are_refused(there, shared, target):
    manifest = json.loads((shared / MANIFEST).read_text())
    path = next(path for path in objects_of(shared) if path.name == manifest["records"]["sha256"])
    record = json.loads(path.read_text())[f"{SUMS}/samples.parquet"]
    _replace_records(shared, {target: record})
    with pytest.raises(SharingError, match="Snakemake's records are refused"):
        pull(there, str(shared))
    assert not run_files(there)


def _replace_records(shared: Path, records: dict) -> None:
    content = json.dumps(records).encode()
    digest = hashlib.sha256(content).hexdigest()
    write(shared / "objects" / digest[:2] / digest, content)
    manifest = json.loads((shared / MANIFEST).read_text())
    (shared / MANIFEST).write_text(json.dumps({**manifest, "records": {"sha256": digest, "size": len(content)}}))
