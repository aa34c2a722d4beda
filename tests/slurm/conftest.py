"""One SLURM for all tests of this folder."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import Cluster, missing_programs, start_cluster


@pytest.fixture(scope="session")
def slurm() -> Iterator[Cluster]:
    """A real SLURM on loopback: partitions `cpu` and `gpu`, two fake GPUs."""
    missing = missing_programs()
    assert not missing, f"not installed: {', '.join(missing)}; apt-get install slurm-wlm munge"
    # A short path: munge's socket lies below it.
    with tempfile.TemporaryDirectory(prefix="slurm") as folder:
        cluster = start_cluster(Path(folder), cores=4, memory_mb=40_000)
        yield cluster
        cluster.stop()
