"""What is refused at a pull: unsound content, links, files that differ here; nothing has changed then."""

from __future__ import annotations

import os
import shutil

import pytest
from sharing_helpers import (
    NAME,
    RESULTS,
    RUN,
    SECOND,
    SUMS,
    failing,
    lying,
    object_of,
    run_files,
    write,
)

from tells.sharing import folder_store, staging
from tells.sharing.manifest import MANIFEST, SharingError
from tells.sharing.pull import pull
from tells.sharing.push import push
from tells.sharing.staging import only_pull


def test_a_place_without_a_run_is_told(there, tmp_path):
    with pytest.raises(SharingError, match="holds no run: `tells push EXPERIMENT URL` makes one at URL/EXPERIMENT"):
        pull(there, str(tmp_path))


@pytest.mark.parametrize(
    "changed", [b"hidden Xtates " * 500, b"hidden states " * 499, b"", b"hidden states " * 500 + b"x"]
)
def test_content_that_is_not_what_was_pushed_is_refused_before_anything_is_placed(there, shared, changed):
    object_of(shared, RUN[f"{SUMS}/shards/replay-0000.safetensors"]).write_bytes(changed)
    before = lying(there)
    with pytest.raises(SharingError, match=r"replay-0000\.safetensors came with \d+ bytes and checksum .* --force"):
        pull(there, str(shared))
    assert lying(there) == before


def test_content_that_is_not_there_is_told(there, shared):
    object_of(shared, RUN[RESULTS]).unlink()
    before = lying(there)
    with pytest.raises(SharingError, match="no such place or object there"):
        pull(there, str(shared))
    assert lying(there) == before


def test_a_force_push_mends_what_is_broken_there(here, there, shared, tmp_path):
    object_of(shared, RUN[RESULTS]).write_bytes(b"x" * len(RUN[RESULTS]))
    push(here, NAME, str(tmp_path / "shared"), force=True)
    pull(there, str(shared))
    assert run_files(there) == RUN


@pytest.mark.parametrize("what", ["manifest", "object", "folder"])
def test_links_in_a_shared_folder_are_refused(there, shared, tmp_path, what):
    place = {"manifest": shared / MANIFEST, "object": object_of(shared, RUN[RESULTS]), "folder": shared / "objects"}[
        what
    ]
    place.rename(tmp_path / "moved")
    place.symlink_to(tmp_path / "moved")
    with pytest.raises(SharingError, match="is a link or lies behind one"):
        pull(there, str(shared))
    assert not run_files(there)


@pytest.mark.parametrize("name", [f"experiments/{NAME}", f"{SUMS}", RESULTS, f"logs/{NAME}", "config/questions"])
def test_nothing_is_written_through_a_link(there, shared, tmp_path, name):
    outside = tmp_path / "outside"
    outside.mkdir()
    if (there / name).is_dir():
        (there / name).rmdir()
    (there / name).parent.mkdir(parents=True, exist_ok=True)
    (there / name).symlink_to(outside)
    with pytest.raises(SharingError, match="is a link here, and a pull writes through none"):
        pull(there, str(shared))
    assert not list(outside.iterdir())


def test_experiments_may_lie_on_another_disk(there, shared, tmp_path):
    (tmp_path / "disk").mkdir()
    (there / "experiments").rmdir()
    (there / "experiments").symlink_to(tmp_path / "disk")
    pull(there, str(shared))
    assert (tmp_path / "disk" / NAME / "uncertainty/results.json").read_bytes() == RUN[RESULTS]


def test_a_folder_in_the_place_of_a_file_is_told(there, shared):
    (there / RESULTS).mkdir(parents=True)
    with pytest.raises(SharingError, match=r"results\.json is a folder here, and something else in the run"):
        pull(there, str(shared))


def test_files_that_differ_here_are_named_and_kept(there, shared):
    write(there / RESULTS, b"my own")
    write(there / f"{SUMS}/samples.parquet", b"x" * len(RUN[f"{SUMS}/samples.parquet"]))
    os.utime(there / f"{SUMS}/samples.parquet", ns=(SECOND, SECOND))
    before = lying(there)
    with pytest.raises(SharingError) as caught:
        pull(there, str(shared))
    told = str(caught.value)
    assert "2 file(s) here differ from the run's, and nothing was changed" in told
    assert f"{RESULTS}: newer here" in told
    assert f"{SUMS}/samples.parquet: differs, older here" in told
    assert lying(there) == before


def test_with_force_files_that_differ_are_replaced(there, shared):
    write(there / RESULTS, b"my own")
    write(there / f"{SUMS}/own.json", b"kept")
    pull(there, str(shared), force=True)
    assert run_files(there) == RUN
    assert (there / f"{SUMS}/own.json").read_bytes() == b"kept"


def test_a_definition_that_differs_here_is_kept(there, shared):
    write(there / f"experiments/{NAME}.yaml", b"model: other\n")
    with pytest.raises(SharingError, match=rf"experiments/{NAME}\.yaml: newer here"):
        pull(there, str(shared))
    assert (there / f"experiments/{NAME}.yaml").read_bytes() == b"model: other\n"


def test_many_files_that_differ_are_not_all_named(there, tmp_path, here):
    for count in range(40):
        write(here / f"{SUMS}/many-{count}.json", b"a")
        write(there / f"{SUMS}/many-{count}.json", b"b")
    done = push(here, NAME, str(tmp_path / "shared"))
    with pytest.raises(SharingError, match=r"40 file\(s\) here differ(?s:.*)and 20 more"):
        pull(there, done.url)


def test_two_pulls_of_one_experiment_do_not_mix(there, shared):
    with only_pull(there, NAME), pytest.raises(SharingError, match="another pull of tiny into this clone is under way"):
        pull(there, str(shared))


def test_a_disk_without_room_is_told_before_anything_travels(there, shared, monkeypatch):
    usage = shutil.disk_usage(there)
    monkeypatch.setattr(staging.shutil, "disk_usage", lambda _: usage._replace(free=1000))
    monkeypatch.setattr(
        folder_store.FolderStore, "get_object", failing(folder_store.FolderStore.get_object, 2, OSError())
    )
    with pytest.raises(SharingError, match=r"the run takes .* MB, and .* has 0\.0 MB left: make room"):
        pull(there, str(shared))
