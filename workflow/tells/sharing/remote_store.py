"""A shared run in an object store, through fsspec: S3 and what speaks its protocol, Google's, the Hugging Face hub."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tells.sharing.manifest import MANIFEST
from tells.sharing.store import DIGEST, OBJECTS, Advance, in_parallel, limited, told

# Large files go to S3 in parts of 50 MB: two at a time for each of the transfers side by side.
_PARTS = 2
_ENDPOINTS = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3")
_CHECKSUMS = ("request_checksum_calculation", "response_checksum_validation")
_COMMIT = 500


class RemoteStore:
    """A run in an object store, through fsspec.

    Attributes:
        url: the address, without credentials.
    """

    def __init__(self, url: str, scheme: str) -> None:
        import fsspec

        self.url = url
        with told(url):
            options = s3_options() if scheme == "s3" else {}
            self._files, self._path = fsspec.core.url_to_fs(
                url, use_listings_cache=False, skip_instance_cache=True, **options
            )

    def manifest(self) -> bytes | None:
        """As `Store.manifest`."""
        with told(self.url):
            try:
                return limited(self._files.cat_file(f"{self._path}/{MANIFEST}"), self.url)
            except FileNotFoundError:
                return None

    def objects(self) -> dict[str, int]:
        """As `Store.objects`."""
        with told(self.url):
            self._files.invalidate_cache()
            try:
                found = self._files.find(f"{self._path}/{OBJECTS}", detail=True)
            except FileNotFoundError:
                return {}
        sizes = {path.rpartition("/")[2]: int(facts["size"]) for path, facts in found.items()}
        return {name: size for name, size in sizes.items() if DIGEST.fullmatch(name)}

    def put_objects(self, sources: Mapping[str, Path], advance: Advance) -> None:
        """As `Store.put_objects`."""

        def put(sha256: str) -> None:
            counted = _counting(advance)
            with told(self.url):
                self._files.put_file(str(sources[sha256]), self._object(sha256), callback=counted)
            counted.complete(sources[sha256].stat().st_size)

        for _ in in_parallel(put, list(sources)):
            pass

    def put_manifest(self, content: bytes) -> None:
        """As `Store.put_manifest`."""
        with told(self.url):
            self._files.pipe_file(f"{self._path}/{MANIFEST}", content)

    def get_object(self, sha256: str, target: Path, advance: Advance) -> None:
        """As `Store.get_object`."""
        counted = _counting(advance)
        with told(self.url):
            self._files.get_file(self._object(sha256), str(target), callback=counted)
        counted.complete(target.stat().st_size)

    def remove_objects(self, checksums: Iterable[str]) -> None:
        """As `Store.remove_objects`."""
        with told(self.url):
            # One by one: the request that deletes many needs a checksum that not every store understands.
            for _ in in_parallel(self._files.rm_file, [self._object(sha256) for sha256 in checksums]):
                pass

    def _object(self, sha256: str) -> str:
        return f"{self._path}/{OBJECTS}/{sha256[:2]}/{sha256}"


class HubStore(RemoteStore):
    """A run in a repository of the Hugging Face hub: many files go in one commit, since commits are counted there."""

    def put_objects(self, sources: Mapping[str, Path], advance: Advance) -> None:
        """As `Store.put_objects`."""
        checksums = list(sources)
        for start in range(0, len(checksums), _COMMIT):
            part = checksums[start : start + _COMMIT]
            self._commit({self._object(sha256): sources[sha256] for sha256 in part})
            advance(sum(sources[sha256].stat().st_size for sha256 in part))

    def put_manifest(self, content: bytes) -> None:
        """As `Store.put_manifest`."""
        self._commit({f"{self._path}/{MANIFEST}": content})

    def get_object(self, sha256: str, target: Path, advance: Advance) -> None:
        """As `Store.get_object`; without counting on the way, which would take the slower one of its ways."""
        with told(self.url):
            self._files.get_file(self._object(sha256), str(target))
        advance(target.stat().st_size)

    def remove_objects(self, checksums: Iterable[str]) -> None:
        """As `Store.remove_objects`."""
        if paths := [self._object(sha256) for sha256 in checksums]:
            self._commit(dict.fromkeys(paths))

    def _commit(self, contents: Mapping[str, Path | bytes | None]) -> None:
        """Write files, or delete those without content, in one commit; a bucket of the hub knows no commits."""
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

        with told(self.url):
            places = {path: self._files.resolve_path(path) for path in contents}
            first = next(iter(places.values()))
            given = {path: str(content) if isinstance(content, Path) else content for path, content in contents.items()}
            if hasattr(first, "bucket_id"):
                HfApi().batch_bucket_files(
                    first.bucket_id,
                    add=[(given[path], place.path) for path, place in places.items() if given[path] is not None],
                    delete=[place.path for path, place in places.items() if given[path] is None],
                )
                return
            operations = [
                CommitOperationDelete(place.path_in_repo)
                if given[path] is None
                else CommitOperationAdd(place.path_in_repo, given[path])
                for path, place in places.items()
            ]
            HfApi().create_commit(
                repo_id=first.repo_id,
                repo_type=first.repo_type,
                revision=first.revision,
                operations=operations,
                commit_message=f"tells push: {len(operations)} files",
            )


def s3_options() -> dict[str, Any]:
    """Options of the S3 backend; at the endpoint of another provider, no checksums that only some of them take.

    Every content is verified by our own checksum when it is pulled. `AWS_REQUEST_CHECKSUM_CALCULATION` and
    `AWS_RESPONSE_CHECKSUM_VALIDATION` go first.
    """
    config: dict[str, Any] = {"connect_timeout": 10, "retries": {"max_attempts": 5}}
    if any(os.environ.get(name) for name in _ENDPOINTS):
        config |= {name: "when_required" for name in _CHECKSUMS if f"AWS_{name.upper()}" not in os.environ}
    return {"max_concurrency": _PARTS, "config_kwargs": config}


def _counting(advance: Advance) -> Any:
    """A callback for fsspec that passes on how many bytes have gone."""
    from fsspec.callbacks import Callback

    class Counting(Callback):
        def __init__(self) -> None:
            super().__init__()
            self._lock = threading.Lock()

        def relative_update(self, inc: int = 1) -> None:
            with self._lock:
                self.value += inc
            advance(inc)

        def absolute_update(self, value: int) -> None:
            self.relative_update(value - self.value)

        def complete(self, size: int) -> None:
            """Pass on what the backend did not count."""
            self.relative_update(max(0, size - self.value))

    return Counting()
