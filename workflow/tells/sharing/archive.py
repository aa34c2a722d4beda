"""A run as one file: what a folder store holds, in a compressed tar whose bytes depend on the run alone."""

from __future__ import annotations

import io
import lzma
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

from tells.sharing.folder_store import FolderStore
from tells.sharing.manifest import MANIFEST, SharingError
from tells.sharing.store import OBJECTS, Advance, told
from tells.tables import write_atomically

_MEMBER = re.compile(rf"{MANIFEST}|{OBJECTS}/[0-9a-f]{{2}}/[0-9a-f]{{64}}")
_LARGEST_BYTES = 256 * 2**20


def write_archive(store: FolderStore, path: Path) -> None:
    """Put a run that lies in a folder into one file; equal runs give equal bytes.

    Args:
        store: the folder.
        path: of the archive, `.tar.xz`.
    """
    names = sorted(one.relative_to(store.folder).as_posix() for one in store.folder.rglob("*") if one.is_file())
    preset = 9 | lzma.PRESET_EXTREME
    with (
        write_atomically(path) as temporary,
        tarfile.open(temporary, "w:xz", preset=preset, format=tarfile.USTAR_FORMAT) as tar,
    ):
        for name in names:
            content = (store.folder / name).read_bytes()
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


class ArchiveStore:
    """A run in one file, to be read.

    Attributes:
        url: name of the file.
    """

    def __init__(self, path: Path) -> None:
        """Read the file whole.

        Raises:
            SharingError: it is absent, broken, too large, or holds anything but a manifest and objects.
        """
        self.url = path.name
        self._contents = dict(_members(path))

    def manifest(self) -> bytes | None:
        """As `Store.manifest`."""
        return self._contents.get(MANIFEST)

    def objects(self) -> dict[str, int]:
        """As `Store.objects`."""
        return {name.rpartition("/")[2]: len(content) for name, content in self._contents.items() if name != MANIFEST}

    def get_object(self, sha256: str, target: Path, advance: Advance) -> None:
        """As `Store.get_object`."""
        content = self._contents.get(f"{OBJECTS}/{sha256[:2]}/{sha256}")
        if content is None:
            raise SharingError(f"{self.url} lacks an object that its manifest names: make it again")
        with told(self.url):
            target.write_bytes(content)
        advance(len(content))


def _members(path: Path) -> Iterator[tuple[str, bytes]]:
    total = 0
    try:
        with tarfile.open(path, "r:xz") as tar:
            for member in tar:
                total += member.size
                if not member.isreg() or not _MEMBER.fullmatch(member.name):
                    raise SharingError(f"{path.name} holds {member.name!r}, which is no part of a run: make it again")
                if total > _LARGEST_BYTES:
                    raise SharingError(f"{path.name} holds more than {_LARGEST_BYTES // 2**20} MB: make it again")
                opened = tar.extractfile(member)
                yield member.name, opened.read() if opened else b""
    except (OSError, tarfile.TarError, lzma.LZMAError, EOFError) as error:
        raise SharingError(f"{path.name} cannot be read ({type(error).__name__}: {error}): make it again") from None
