"""Putting files into a clone all together or not at all: staged beside their places, checked, renamed, undone on error.

Each top folder of the clone has a staging folder of its own, since results may lie on another disk, and a rename is one
step only within one file system. What is staged and checked stays when a pull is interrupted; the next one goes on.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tells.sharing.manifest import SharingError
from tells.tables.files import file_digest

_LOCK = Path(".snakemake/tells-locks")
# Beside what is to come, so that a disk is not filled to the last byte.
_SPARE_BYTES = 16 * 2**20


@dataclass(frozen=True)
class Move:
    """A staged file and its place."""

    staged: Path
    target: Path


@dataclass(frozen=True)
class Staging:
    """Where the files of one experiment wait.

    Attributes:
        root: the top of the clone.
        experiment: name of the experiment.
    """

    root: Path
    experiment: str

    def place(self, path: str) -> Path:
        """Where a file waits for its place."""
        top = PurePosixPath(path).parts[0]
        return self._folder(top) / hashlib.sha256(path.encode()).hexdigest()

    def target(self, path: str) -> Path:
        """The place of a file.

        Raises:
            SharingError: the way there leads over a link, or through something that is no folder.
        """
        parts = PurePosixPath(path).parts
        # The top folders may be links to a larger disk; below them a link would lead who knows where.
        for depth in range(2, len(parts) + 1):
            step = self.root.joinpath(*parts[:depth])
            shown = "/".join(parts[:depth])
            if step.is_symlink():
                raise SharingError(f"{shown} is a link here, and a pull writes through none: move it away first")
            if step.exists() and step.is_dir() != (depth < len(parts)):
                what = "a folder" if step.is_dir() else "a file"
                raise SharingError(f"{shown} is {what} here, and something else in the run: move it away first")
        return self.root / path

    def open(self, paths: Sequence[str]) -> None:
        """Make the staging folders of files, and drop from them what is none of these."""
        wanted = {self.place(path) for path in paths}
        for folder in {place.parent for place in wanted}:
            folder.mkdir(parents=True, exist_ok=True)
            for leftover in folder.iterdir():
                if leftover not in wanted:
                    leftover.unlink()

    def close(self) -> None:
        """Drop everything that is staged."""
        for folder in self.root.glob(f"*/{self._name}"):
            shutil.rmtree(folder)

    def check_space(self, sizes: Mapping[str, int]) -> None:
        """Refuse where the disks cannot hold what is to come.

        Args:
            sizes: bytes by path; what is staged already is not counted again.

        Raises:
            SharingError: there is not enough room.
        """
        needed: dict[int, tuple[Path, int]] = {}
        for path, size in sizes.items():
            place = self.place(path)
            if not place.exists():
                folder = next(one for one in place.parents if one.is_dir())
                device = folder.stat().st_dev
                needed[device] = (folder, needed.get(device, (folder, 0))[1] + size)
        for folder, size in needed.values():
            free = shutil.disk_usage(folder).free
            if size + _SPARE_BYTES > free:
                what = f"the run takes {size / 1e6:,.1f} MB, and {folder} has {free / 1e6:,.1f} MB left"
                raise SharingError(f"{what}: make room, or pull with --tables-only")

    def is_staged(self, path: str, sha256: str) -> bool:
        """Whether a file waits already, whole, from an earlier attempt."""
        place = self.place(path)
        return place.is_file() and file_digest(place) == sha256

    def _folder(self, top: str) -> Path:
        return self.root / top / self._name

    @property
    def _name(self) -> str:
        return f".tells-pull-{self.experiment}"


@contextlib.contextmanager
def only_pull(root: Path, experiment: str) -> Iterator[None]:
    """Hold off other pulls of the same experiment into the same clone.

    Raises:
        SharingError: there is one.
    """
    (root / _LOCK).mkdir(parents=True, exist_ok=True)
    with open(root / _LOCK / f"pull-{experiment}", "a") as opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SharingError(f"another pull of {experiment} into this clone is under way") from None
        yield


def place_all(moves: Sequence[Move]) -> None:
    """Rename staged files into their places, in order; on any error put everything back.

    Raises:
        OSError: a file could not be placed; everything is as before.
    """
    begun: list[tuple[Move, Path | None, list[Path]]] = []
    try:
        for move in moves:
            made = [folder for folder in move.target.parents if not folder.exists()]
            kept = _keep(move) if move.target.exists() else None
            begun.append((move, kept, made))
            move.target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(move.staged, move.target)
    except BaseException:
        for move, kept, made in reversed(begun):
            _take_back(move, kept)
            for folder in made:
                with contextlib.suppress(OSError):
                    folder.rmdir()
        raise


def _keep(move: Move) -> Path:
    """A second name for what is about to be replaced."""
    kept = move.staged.with_name(f"{move.staged.name}.old")
    kept.unlink(missing_ok=True)
    try:
        os.link(move.target, kept)
    except OSError:  # Not every file system has hard links.
        shutil.copy2(move.target, kept)
    return kept


def _take_back(move: Move, kept: Path | None) -> None:
    if not move.staged.exists() and move.target.exists():
        os.replace(move.target, move.staged)
    if kept is not None:
        os.replace(kept, move.target)
        kept.unlink(missing_ok=True)  # Two names of one file: then a rename does nothing.
