"""A disk that is full: one clear error, nothing half written, and the run goes on where there is room again."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from workflow_helpers import make_clone, snakemake

pytestmark = pytest.mark.slow
SUMS = "experiments/tiny/uncertainty/sums"
TARGET = f"{SUMS}/replay.parquet"
# Room for tables, not for the hidden states of all shards.
SMALL, LARGE = "size=160k", "size=64m"


def _mount(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)


@pytest.fixture
def clone(tmp_path: Path) -> Iterator[Path]:
    """A clone whose results lie on a small disk of their own."""
    clone = make_clone(tmp_path / "clone")
    place = clone / "experiments/tiny"
    place.mkdir()
    mounted = _mount("-t", "tmpfs", "-o", SMALL, "tmpfs", str(place))
    if mounted.returncode:
        pytest.skip(f"this user cannot mount a disk: {mounted.stderr.strip()}")
    yield clone
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_is_one_clear_error_and_the_run_goes_on_where_there_is_room(clone: Path, tmp_path: Path):
    quiet = make_clone(tmp_path / "quiet")
    assert snakemake(quiet, TARGET).returncode == 0

    done = snakemake(clone, TARGET)
    assert done.returncode != 0
    statuses = [json.loads(path.read_text()) for path in (clone / "logs/tiny").rglob("*.status.json")]
    (line,) = {status["last_line"] for status in statuses if status["state"] == "failed"}
    assert line.startswith(f"DiskFullError: {SUMS}/shards/replay-")
    assert "the disk is full" in line
    assert "make room" in line
    assert line in done.stdout
    left = sorted(path.name for path in (clone / SUMS).rglob("*") if path.is_file())
    assert "samples-0000.parquet" in left
    assert [name for name in left if name.startswith(".") or name.endswith(".part")] == []
    assert "replay.parquet" not in left
    for path in (clone / SUMS).rglob("*.*"):
        assert path.read_bytes() == (quiet / path.relative_to(clone)).read_bytes(), "a file is whole or absent"

    _mount("-o", f"remount,{LARGE}", str(clone / "experiments/tiny"))
    done = snakemake(clone, TARGET)
    assert done.returncode == 0, done.stdout
    for path in (quiet / SUMS).rglob("*.*"):
        assert (clone / path.relative_to(quiet)).read_bytes() == path.read_bytes(), path.name
