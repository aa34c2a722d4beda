"""What every place that keeps shared runs can do, and what their implementations share.

A run lies there as `manifest.json` and, by checksum, `objects/ab/ab12…`: content is written once under its own name and
never changed, so that a manifest stays true until the next one takes its place in one step.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Protocol, TypeVar

from tells.sharing.manifest import LARGEST_MANIFEST_BYTES, MANIFEST, SharingError

Item = TypeVar("Item")
Result = TypeVar("Result")
Advance = Callable[[int], None]
OBJECTS = "objects"
DIGEST = re.compile(r"[0-9a-f]{64}")
TRANSFERS = 8
_SECRET = re.compile(r"KEY|SECRET|TOKEN|PASSWORD|CREDENTIAL", re.IGNORECASE)
_SHORTEST_SECRET = 8


class Source(Protocol):
    """A place from which a run can be fetched."""

    url: str

    def manifest(self) -> bytes | None:
        """The manifest that lies there; None where there is none."""

    def get_object(self, sha256: str, target: Path, advance: Advance) -> None:
        """Fetch an object into a file."""


class Store(Source, Protocol):
    """A place that keeps one run."""

    def objects(self) -> dict[str, int]:
        """Size in bytes of every object that lies there, by checksum."""

    def put_objects(self, sources: Mapping[str, Path], advance: Advance) -> None:
        """Bring files there, by checksum; each is whole there or absent."""

    def put_manifest(self, content: bytes) -> None:
        """Replace the manifest in one step, as far as the store can."""

    def remove_objects(self, checksums: Iterable[str]) -> None:
        """Delete objects."""


def in_parallel(
    function: Callable[[Item], Result], items: Sequence[Item], workers: int = TRANSFERS
) -> Iterator[tuple[Item, Result]]:
    """Call a function for every item, a few at a time; yields (item, result) as they come; the first error ends it."""
    with ThreadPoolExecutor(max_workers=workers) as pool:
        begun = {pool.submit(function, item): item for item in items}
        try:
            for done in as_completed(begun):
                yield begun[done], done.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


@contextlib.contextmanager
def told(url: str) -> Iterator[None]:
    """Turn whatever a backend raises into one line that names the place, without secrets of the environment."""
    try:
        yield
    except (SharingError, FileNotFoundError) as error:
        if isinstance(error, SharingError):
            raise
        raise SharingError(f"{url}: {_redacted(error)}: no such place or object there") from None
    except Exception as error:  # Each backend has exceptions of its own, without a base in common.
        raise SharingError(f"{url}: {type(error).__name__}: {_redacted(error)}") from None


def _redacted(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    for name, value in secrets_of_environment().items():
        text = text.replace(value, f"[{name}]")
    return text


def secrets_of_environment() -> dict[str, str]:
    """Values of environment variables that are called like a secret."""
    return {
        name: value for name, value in os.environ.items() if _SECRET.search(name) and len(value) >= _SHORTEST_SECRET
    }


def limited(content: bytes, url: str) -> bytes:
    """The content of a manifest, unless it is too large for one."""
    if len(content) > LARGEST_MANIFEST_BYTES:
        raise SharingError(
            f"{url}/{MANIFEST} is larger than {LARGEST_MANIFEST_BYTES // 2**20} MB: no manifest of a run"
        )
    return content
