"""A shared run in a folder."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from tells.sharing.manifest import MANIFEST, SharingError
from tells.sharing.store import DIGEST, OBJECTS, Advance, in_parallel, limited, told
from tells.tables import write_atomically


class FolderStore:
    """A run in a folder.

    Attributes:
        url: the folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = str(folder)

    def manifest(self) -> bytes | None:
        """As `Store.manifest`."""
        path = self.folder / MANIFEST
        self._refuse_link(path)
        return limited(path.read_bytes(), self.url) if path.is_file() else None

    def objects(self) -> dict[str, int]:
        """As `Store.objects`."""
        found = (self.folder / OBJECTS).glob("*/*")
        return {path.name: path.stat().st_size for path in found if DIGEST.fullmatch(path.name)}

    def put_objects(self, sources: Mapping[str, Path], advance: Advance) -> None:
        """As `Store.put_objects`."""

        def put(sha256: str) -> None:
            with told(self.url), write_atomically(self._object(sha256)) as temporary:
                shutil.copyfile(sources[sha256], temporary)
                advance(temporary.stat().st_size)

        for _ in in_parallel(put, list(sources)):
            pass

    def put_manifest(self, content: bytes) -> None:
        """As `Store.put_manifest`."""
        with told(self.url), write_atomically(self.folder / MANIFEST) as temporary:
            temporary.write_bytes(content)

    def get_object(self, sha256: str, target: Path, advance: Advance) -> None:
        """As `Store.get_object`."""
        self._refuse_link(self._object(sha256))
        with told(self.url):
            shutil.copyfile(self._object(sha256), target)
        advance(target.stat().st_size)

    def remove_objects(self, checksums: Iterable[str]) -> None:
        """As `Store.remove_objects`."""
        with told(self.url):
            for sha256 in checksums:
                self._object(sha256).unlink(missing_ok=True)

    def _object(self, sha256: str) -> Path:
        return self.folder / OBJECTS / sha256[:2] / sha256

    def _refuse_link(self, path: Path) -> None:
        # The folder itself may be reached by a link; what lies in it comes from whoever pushed.
        below = path.relative_to(self.folder).parts
        for depth in range(1, len(below) + 1):
            if self.folder.joinpath(*below[:depth]).is_symlink():
                raise SharingError(f"{path} is a link or lies behind one, and a shared run has none")
