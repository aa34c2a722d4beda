"""The demo run that ships with the repository, shown until there are results of one's own."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tells.report.catalogue import experiment_names
from tells.sharing.archive import ArchiveStore
from tells.sharing.pull import pull_from

PACKED_DEMO = Path(__file__).with_name("demo.tar.xz")
NOTICE = "These are results of the packed demo run, which ships with the program: tables only. Your own are made with"
COMMAND = "make demo"


@contextlib.contextmanager
def packed_demo_where_empty(root: Path, archive: Path = PACKED_DEMO) -> Iterator[Path | None]:
    """Unpack the demo run into a temporary folder, if there are no results; it is removed at the end.

    Args:
        root: the folder that holds experiments/ and logs/; nothing is written there.
        archive: the packed run.

    Yields:
        The folder that holds the packed run's experiments/ and logs/, or None.

    Raises:
        SharingError: the archive is absent or broken.
    """
    if experiment_names(root):
        yield None
        return
    folder, owner = Path(tempfile.mkdtemp(prefix="tells-packed-")), os.getpid()
    try:
        pull_from(ArchiveStore(archive), folder)
        yield folder
    finally:
        # Workers are copies of this process, and leave this block as well when they end.
        if os.getpid() == owner:
            shutil.rmtree(folder, ignore_errors=True)
