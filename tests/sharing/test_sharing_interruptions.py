"""What an interrupted push and an interrupted pull leave behind: the old state, whole."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from sharing_helpers import (
    NAME,
    RESULTS,
    RUN,
    SUMS,
    failing,
    folders_of,
    lying,
    run_files,
    write,
)
from workflow_helpers import environment

from tells import cli
from tells.sharing import folder_store, staging
from tells.sharing.manifest import MANIFEST, SharingError
from tells.sharing.pull import pull
from tells.sharing.push import push


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_an_interrupted_push_leaves_the_old_run_whole(here, there, shared, tmp_path, monkeypatch, error):
    manifest = (shared / MANIFEST).read_bytes()
    for name in RUN:
        if name.endswith(".parquet"):
            write(here / name, b"new " + RUN[name])
    with monkeypatch.context() as patched:
        patched.setattr(folder_store.shutil, "copyfile", failing(shutil.copyfile, 3, error))
        with pytest.raises((SharingError, KeyboardInterrupt)):
            push(here, NAME, str(tmp_path / "shared"))
    assert (shared / MANIFEST).read_bytes() == manifest
    pull(there, str(shared))
    assert run_files(there) == RUN
    changed = sum(name.endswith(".parquet") for name in RUN)
    assert 0 < len(push(here, NAME, str(tmp_path / "shared")).sent) < changed, "what has come need not come again"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SharingError("the line is dead")])
def test_an_interrupted_fetch_places_nothing_and_the_next_goes_on(there, shared, monkeypatch, error):
    before = lying(there)
    with monkeypatch.context() as patched:
        patched.setattr(folder_store.FolderStore, "get_object", failing(folder_store.FolderStore.get_object, 6, error))
        with pytest.raises((SharingError, KeyboardInterrupt)):
            pull(there, str(shared))
    assert lying(there) == before
    done = pull(there, str(shared))
    assert run_files(there) == RUN
    assert 0 < len(done.fetched) < len(done.placed)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), PermissionError(13, "Permission denied")])
@pytest.mark.parametrize("count", [1, 4, 9, 14])
def test_an_interruption_while_files_are_placed_takes_all_back(there, shared, monkeypatch, error, count):
    write(there / RESULTS, b"my own")
    write(there / f"{SUMS}/samples.parquet", b"mine as well")
    before, folders = lying(there), folders_of(there)
    with monkeypatch.context() as patched:
        replace = os.replace
        calls = [0]

        def once(source, target):
            calls[0] += 1
            if calls[0] == count:
                raise error
            replace(source, target)

        patched.setattr(staging.os, "replace", once)
        with pytest.raises((OSError, KeyboardInterrupt)):
            pull(there, str(shared), force=True)
    assert lying(there) == before
    assert folders_of(there) == folders
    pull(there, str(shared), force=True)
    assert run_files(there) == RUN


def test_after_a_killed_pull_the_next_one_finishes(there, shared):
    killed = (
        "import os, sys\nfrom pathlib import Path\nfrom tells.sharing import folder_store\n"
        "from tells.sharing.pull import pull\nget, calls = folder_store.FolderStore.get_object, []\n"
        "def dying(*arguments):\n    calls.append(1)\n    get(*arguments)\n    if len(calls) > 4: os._exit(9)\n"
        "folder_store.FolderStore.get_object = dying\npull(Path(sys.argv[1]), sys.argv[2])\n"
    )
    before = lying(there)
    command = [sys.executable, "-c", killed, str(there), str(shared)]
    assert subprocess.run(command, env=environment(Path(cli.__file__).parents[2]), check=False).returncode == 9
    assert lying(there) == before
    pull(there, str(shared))
    assert run_files(there) == RUN
    assert not list(there.glob("*/.tells-pull*"))
