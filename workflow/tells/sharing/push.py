"""Push: bring a run to a place, sending only content that is not there yet, and the manifest last."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tells.progress import progress
from tells.sharing.address import open_store
from tells.sharing.collect import Collected, collect, is_unchanged
from tells.sharing.manifest import Blob, Manifest, SharingError, is_of_run, parse_manifest
from tells.sharing.records import dump_records, read_records, refuse_a_run
from tells.sharing.store import Advance, Store
from tells.tables.files import file_digest

_MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Pushed:
    """What a push has done.

    Attributes:
        url: where the run lies now; what `tells pull` is given.
        manifest: of the run.
        sent: bytes that travelled, by checksum.
        changed: whether the manifest there was replaced.
        elsewhere: inputs of the run that lie outside the clone.
        unfinished: studies without results.
    """

    url: str
    manifest: Manifest
    sent: Mapping[str, int]
    changed: bool
    elsewhere: tuple[str, ...] = ()
    unfinished: tuple[str, ...] = ()


def push(root: Path, experiment: str, url: str, *, tables_only: bool = False, force: bool = False) -> Pushed:
    """Bring a run to a place.

    Args:
        root: the top of the clone.
        experiment: its name.
        url: a folder or an address; the run goes below it, under its name.
        tables_only: leave out shards and tensors.
        force: also replace a run there that is newer, or that has the shards and tensors which are left out; and send
            everything, whatever lies there.

    Raises:
        ConfigError: there is no such experiment.
        SharingError: a run is under way, files changed meanwhile, the place cannot be written, or what lies there
            would be lost. A manifest that lay there stays as it was, with all it needs.
    """
    store = open_store(url, experiment)
    _refuse_own_folders(root, store)
    refuse_a_run(root, experiment)
    records = read_records(root, experiment)
    collected = collect(root, experiment, records, tables_only=tables_only)
    with tempfile.TemporaryDirectory(prefix="tells-push-") as scratch:
        kept = Path(scratch) / "records.json"
        kept.write_bytes(dump_records(records))
        blob = Blob(sha256=file_digest(kept), size=kept.stat().st_size) if records else None
        manifest = make_manifest(experiment, collected, blob, tables_only=tables_only)
        sources = {file.sha256: root / file.path for file in manifest.files}
        sources |= {blob.sha256: kept} if blob else {}
        before = store.manifest()
        if before is not None and not force:
            _refuse_loss(parse_manifest(before, store.url), manifest, store.url)

        def nothing_changed() -> None:
            for file in manifest.files:
                if not is_unchanged(root, file):
                    raise SharingError(f"{file.path} changed while it was pushed: wait for the run, and push again")

        sent, changed = send(store, manifest, sources, before, nothing_changed, again=force)
    return Pushed(store.url, manifest, sent, changed, tuple(collected.elsewhere), tuple(collected.unfinished))


def make_manifest(experiment: str, collected: Collected, records: Blob | None, *, tables_only: bool) -> Manifest:
    """The manifest of a run, its files in the order in which they were made."""
    return Manifest(
        experiment=experiment,
        tables_only=tables_only,
        files=tuple(sorted(collected.files.values(), key=lambda file: (file.mtime_ns, file.path))),
        inputs=tuple(sorted(collected.inputs, key=lambda file: file.path)),
        records=records,
    )


def send(
    store: Store,
    manifest: Manifest,
    sources: Mapping[str, Path],
    before: bytes | None,
    check: Callable[[], None],
    *,
    again: bool = False,
) -> tuple[dict[str, int], bool]:
    """Send what is missing, then the manifest, then drop what only the earlier manifest needed.

    Args:
        store: where to.
        manifest: of the run.
        sources: the content of every object, by checksum.
        before: the manifest that lies there.
        check: raises where a source is no longer what the manifest says; called when all has been sent.
        again: send also what lies there already.

    Returns:
        Bytes sent by checksum, and whether the manifest there was replaced.
    """
    needed, content = manifest.objects(), manifest.to_bytes()
    there = {} if again else store.objects()
    missing = {sha256: size for sha256, size in needed.items() if there.get(sha256) != size}
    try:
        with megabytes(sum(missing.values()), f"push {manifest.experiment}") as advance:
            store.put_objects({sha256: sources[sha256] for sha256 in missing}, advance)
        check()
    except SharingError:
        # An object of a file that changed under way would not be what its name says.
        if missing and not _are_sound(sources, missing):
            store.remove_objects(missing)
        raise
    if content == before:
        return missing, False
    if store.manifest() != before:
        raise SharingError(f"{store.url}: somebody else has pushed there meanwhile; look at it, and push again")
    store.put_manifest(content)
    if before is not None:
        store.remove_objects(sorted(_objects_of(before, store.url) - {*needed}))
    return missing, True


@contextmanager
def megabytes(size: int, title: str) -> Iterator[Advance]:
    """Progress over bytes, shown in megabytes; may be told from several threads."""
    lock, gone, shown = threading.Lock(), 0, 0
    with progress(-(-size // _MEGABYTE), title, "MB") as advance:

        def add(count: int) -> None:
            nonlocal gone, shown
            with lock:
                gone += count
                advance(gone // _MEGABYTE - shown)
                shown = gone // _MEGABYTE

        yield add


def _are_sound(sources: Mapping[str, Path], checksums: Mapping[str, int]) -> bool:
    return all(sources[sha256].is_file() and file_digest(sources[sha256]) == sha256 for sha256 in checksums)


def _objects_of(before: bytes, url: str) -> set[str]:
    try:
        return {*parse_manifest(before, url).objects()}
    except SharingError:
        return set()


def _refuse_own_folders(root: Path, store: Store) -> None:
    """Refuse to push into the results themselves."""
    folder = getattr(store, "folder", None)
    if folder is None:
        return
    for own in ("experiments", "logs", "config", ".snakemake"):
        if folder.resolve().is_relative_to((root / own).resolve()):
            raise SharingError(f"{store.url} lies in {own}/ of this clone: name a folder outside it")


def _refuse_loss(there: Manifest, here: Manifest, url: str) -> None:
    newest_there, newest_here = (
        max((file.mtime_ns for file in one.files if is_of_run(file.path)), default=0) for one in (there, here)
    )
    if newest_there > newest_here:
        raise SharingError(f"{url} holds a newer run of {there.experiment}: pull it, or replace it with --force")
    if here.tables_only and not there.tables_only:
        what = f"{url} holds this run with its shards and tensors, which --tables-only would drop"
        raise SharingError(f"{what}: push all of it, name another place, or replace it with --force")
