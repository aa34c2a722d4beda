"""What is refused at a push, and what lies there then."""

from __future__ import annotations

import json
import os
import shutil

import pytest
from sharing_helpers import (
    NAME,
    RESULTS,
    RUN,
    SUMS,
    objects_of,
    run_files,
    write,
)

from tells.config import ConfigError
from tells.sharing import collect, folder_store
from tells.sharing.manifest import MANIFEST, SharingError
from tells.sharing.pull import pull
from tells.sharing.push import push
from tells.sharing.records import INCOMPLETE, record_path


def test_an_unknown_experiment_is_told(here, tmp_path):
    with pytest.raises(ConfigError, match="no such experiment"):
        push(here, "absent", str(tmp_path / "shared"))


def test_an_experiment_without_outputs_is_told(here, tmp_path):
    shutil.rmtree(here / f"experiments/{NAME}")
    with pytest.raises(SharingError, match="holds nothing to push; make it with"):
        push(here, NAME, str(tmp_path / "shared"))
    assert not (tmp_path / "shared").exists()


@pytest.mark.parametrize("name", [f"{SUMS}/leak.json", f"logs/{NAME}/leak.tsv", f"experiments/{NAME}/folder"])
def test_links_do_not_travel(here, tmp_path, name):
    secret = tmp_path / "secret"
    secret.mkdir()
    (here / name).symlink_to(secret if name.endswith("folder") else secret / "x")
    with pytest.raises(SharingError, match="is a link or no plain file"):
        push(here, NAME, str(tmp_path / "shared"))


@pytest.mark.parametrize("folder", ["experiments", "experiments/tiny/uncertainty", "logs", ".snakemake", "config"])
def test_a_run_does_not_go_into_the_results_themselves(here, folder):
    with pytest.raises(SharingError, match="name a folder outside it"):
        push(here, NAME, str(here / folder))


def test_a_run_under_way_is_not_shared(here, shared, there, tmp_path):
    write(here / ".snakemake/locks/0.output.lock", f"{SUMS}/samples.parquet\n".encode())
    with pytest.raises(SharingError, match=r"Snakemake holds its lock on .*samples\.parquet"):
        push(here, NAME, str(tmp_path / "shared"))
    write(there / ".snakemake/locks/0.input.lock", f"{SUMS}/samples.parquet\n".encode())
    with pytest.raises(SharingError, match="Snakemake holds its lock on"):
        pull(there, str(shared))
    assert not run_files(there)


def test_a_run_of_another_experiment_is_no_hindrance(here, tmp_path):
    write(here / ".snakemake/locks/0.output.lock", b"experiments/tiny-two/uncertainty/results.json\n")
    assert push(here, NAME, str(tmp_path / "shared")).changed


def test_what_a_dead_run_was_writing_is_not_shared(here, tmp_path):
    write(record_path(here / INCOMPLETE, f"{SUMS}/samples.parquet"), b"{}")
    with pytest.raises(SharingError, match=r"samples\.parquet was being written when a run died"):
        push(here, NAME, str(tmp_path / "shared"))


def test_a_file_that_changes_under_way_is_noticed_and_leaves_the_old_run(here, there, shared, tmp_path, monkeypatch):
    write(here / RESULTS, b"second")
    put = folder_store.FolderStore.put_objects

    def slow(store, sources, advance):
        write(here / RESULTS, b"third!")
        put(store, sources, advance)

    monkeypatch.setattr(folder_store.FolderStore, "put_objects", slow)
    with pytest.raises(SharingError, match=r"results\.json changed while it was pushed"):
        push(here, NAME, str(tmp_path / "shared"))
    assert b"third!" not in [path.read_bytes() for path in objects_of(shared)], "content under a wrong name"
    pull(there, str(shared))
    assert run_files(there) == RUN


def test_a_file_that_changes_while_it_is_read_is_noticed(here, tmp_path, monkeypatch):
    read = collect.file_digest

    def while_written(path):
        digest = read(path)
        if path.name == "results.json":
            path.write_bytes(b"written meanwhile")
        return digest

    monkeypatch.setattr(collect, "file_digest", while_written)
    with pytest.raises(SharingError, match=r"results\.json changed while it was read: wait for the run"):
        push(here, NAME, str(tmp_path / "shared"))


def test_a_newer_run_there_is_not_replaced_unasked(here, shared, tmp_path):
    old = (here / RESULTS).stat().st_mtime_ns
    write(here / RESULTS, b"newer")
    push(here, NAME, str(tmp_path / "shared"))
    write(here / RESULTS, b"older")
    os.utime(here / RESULTS, ns=(old, old))
    with pytest.raises(SharingError, match=rf"holds a newer run of {NAME}: pull it, or replace it with --force"):
        push(here, NAME, str(tmp_path / "shared"))
    assert push(here, NAME, str(tmp_path / "shared"), force=True).changed


def test_tensors_that_lie_there_are_not_dropped_unasked(here, shared, tmp_path):
    with pytest.raises(SharingError, match="shards and tensors, which --tables-only would drop"):
        push(here, NAME, str(tmp_path / "shared"), tables_only=True)
    push(here, NAME, str(tmp_path / "shared"), tables_only=True, force=True)
    assert RUN[f"{SUMS}/shards/replay-0000.safetensors"] not in [path.read_bytes() for path in objects_of(shared)]


def test_two_pushes_at_once_do_not_break_each_other(here, shared, tmp_path, monkeypatch):
    write(here / RESULTS, b"mine")
    put = folder_store.FolderStore.put_objects

    def while_another_pushes(store, sources, advance):
        put(store, sources, advance)
        manifest = json.loads((shared / MANIFEST).read_text())
        (shared / MANIFEST).write_text(json.dumps({**manifest, "inputs": []}))

    monkeypatch.setattr(folder_store.FolderStore, "put_objects", while_another_pushes)
    with pytest.raises(SharingError, match="somebody else has pushed there meanwhile"):
        push(here, NAME, str(tmp_path / "shared"))
