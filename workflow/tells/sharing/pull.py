"""Pull: fetch a run into a clone; every checksum is verified before anything is renamed into its place."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tells.sharing.address import open_store
from tells.sharing.aftermath import notes_on, same_inputs, settle_times
from tells.sharing.manifest import Blob, Manifest, SharedFile, SharingError, is_of_run, is_table, parse_manifest
from tells.sharing.push import megabytes
from tells.sharing.records import (
    INCOMPLETE,
    RECORDS,
    Record,
    dump_record,
    parse_records,
    record_path,
    refuse_a_run,
    with_checksums,
)
from tells.sharing.staging import Move, Staging, only_pull, place_all
from tells.sharing.store import Advance, Source, in_parallel
from tells.tables.files import file_digest

_MOST_NAMED = 20


@dataclass(frozen=True)
class Pulled:
    """What a pull has done.

    Attributes:
        manifest: of the run.
        fetched: bytes that travelled, by path.
        placed: files that are new or other than before.
        notes: what is missing or different here, so that the run may not count as done.
    """

    manifest: Manifest
    fetched: Mapping[str, int]
    placed: tuple[str, ...]
    notes: tuple[str, ...]


def pull(root: Path, url: str, *, tables_only: bool = False, force: bool = False) -> Pulled:
    """Fetch a run into a clone.

    Args:
        root: the top of the clone; elsewhere than in a clone the results can be looked at, not gone on with.
        url: the folder or address of the run, as `tells push` told it.
        tables_only: leave out shards and tensors.
        force: replace local files that differ.

    Raises:
        SharingError: there is no run at the address, or it is not sound; local files differ; a run of the experiment
            is under way here. No local file has changed then.
        OSError: a file could not be written; no local file has changed then.
    """
    return pull_from(open_store(url), root, tables_only=tables_only, force=force)


def pull_from(store: Source, root: Path, *, tables_only: bool = False, force: bool = False) -> Pulled:
    """As `pull`, from a store that is open."""
    content = store.manifest()
    if content is None:
        raise SharingError(f"{store.url} holds no run: `tells push EXPERIMENT URL` makes one at URL/EXPERIMENT")
    manifest = parse_manifest(content, store.url)
    wanted = [file for file in manifest.files if is_table(file.path) or not tables_only]
    with only_pull(root, manifest.experiment):
        refuse_a_run(root, manifest.experiment)
        staging = Staging(root, manifest.experiment)
        missing = _missing(root, staging, wanted, force=force)
        records = _records(store, root, manifest)
        staging.check_space({file.path: file.size for file in missing})
        staging.open([*(file.path for file in missing), *(_record_name(root, target) for target in records)])
        fetched = _fetch(store, staging, missing, manifest.experiment)
        moves = [Move(staging.place(file.path), staging.target(file.path)) for file in missing]
        moves += _stage_records(root, staging, records)
        _refuse_changes(root, missing, _local(root, missing), force=force)
        place_all(moves)
        staging.close()
        for target in records:
            record_path(root / INCOMPLETE, target).unlink(missing_ok=True)
        outputs = [file for file in wanted if is_of_run(file.path)]
        definitions = [file for file in wanted if not is_of_run(file.path)]
        settle_times(root, outputs, [*definitions, *manifest.inputs], records)
    placed = tuple(file.path for file in missing)
    return Pulled(manifest, fetched, placed, tuple(notes_on(root, manifest)))


def _missing(root: Path, staging: Staging, wanted: Sequence[SharedFile], *, force: bool) -> list[SharedFile]:
    """Files that are not here as they are there.

    Raises:
        SharingError: some are here and differ, without `force`.
    """
    for file in wanted:
        staging.target(file.path)
    local = _local(root, wanted)
    _refuse_changes(root, wanted, local, force=force)
    # The oldest first: whatever happens, what lies here is then what an earlier moment of the run has left.
    absent = [file for file in wanted if local[file.path] != file.sha256]
    return sorted(absent, key=lambda file: (file.mtime_ns, file.path))


def _local(root: Path, wanted: Sequence[SharedFile]) -> dict[str, str | None]:
    """Checksum of each file as it lies here; None where it does not, and empty where its size alone differs."""

    def look(file: SharedFile) -> str | None:
        path = root / file.path
        if not path.exists():
            return None
        return file_digest(path) if path.stat().st_size == file.size else ""

    return {file.path: found for file, found in in_parallel(look, wanted)}


def _refuse_changes(root: Path, wanted: Sequence[SharedFile], local: Mapping[str, str | None], *, force: bool) -> None:
    different = [file for file in wanted if local[file.path] not in (None, file.sha256)]
    if not different or force:
        return
    told = []
    for file in different[:_MOST_NAMED]:
        newer = (root / file.path).stat().st_mtime_ns > file.mtime_ns
        told.append(f"  {file.path}: {'newer here' if newer else 'differs, older here'}")
    told += [f"  and {len(different) - _MOST_NAMED} more"] if len(different) > _MOST_NAMED else []
    what = f"{len(different)} file(s) here differ from the run's, and nothing was changed:"
    raise SharingError("\n".join([what, *told, "keep yours, or replace them with --force"]))


def _fetch(store: Source, staging: Staging, missing: Sequence[SharedFile], experiment: str) -> dict[str, int]:
    """Fetch what is not staged yet, and check it; gives the bytes that travelled, by path."""
    absent = [file for file in missing if not staging.is_staged(file.path, file.sha256)]
    with megabytes(sum(file.size for file in absent), f"pull {experiment}") as advance:
        for _ in in_parallel(lambda file: _fetch_one(store, file, staging.place(file.path), advance), absent):
            pass
    for file in missing:
        os.utime(staging.place(file.path), ns=(file.mtime_ns, file.mtime_ns))
    return {file.path: file.size for file in absent}


def _fetch_one(store: Source, file: SharedFile, place: Path, advance: Advance) -> None:
    store.get_object(file.sha256, place, advance)
    _verify(place, file, file.path, store.url)
    with open(place, "rb") as written:
        os.fsync(written.fileno())


def _verify(place: Path, blob: Blob, name: str, url: str) -> None:
    size, digest = place.stat().st_size, file_digest(place)
    if (size, digest) != (blob.size, blob.sha256):
        place.unlink()
        what = f"{name} came with {size} bytes and checksum {digest[:12]}…, not {blob.size} and {blob.sha256[:12]}…"
        raise SharingError(f"{url}: {what}; have it pushed again with --force")


def _records(store: Source, root: Path, manifest: Manifest) -> dict[str, Record]:
    """Snakemake's records, with the checksums that the same inputs have here."""
    if manifest.records is None:
        return {}
    (root / RECORDS).mkdir(parents=True, exist_ok=True)
    (root / INCOMPLETE).mkdir(exist_ok=True)  # Without it Snakemake takes the folder for one of an older version.
    place = root / RECORDS.parent / f".tells-pull-{manifest.experiment}.records"
    try:
        store.get_object(manifest.records.sha256, place, lambda _: None)
        _verify(place, manifest.records, "what Snakemake knows of the run", store.url)
        records = parse_records(place.read_bytes(), manifest.experiment)
    finally:
        place.unlink(missing_ok=True)
    replaced = same_inputs(root, manifest.inputs)
    return {target: with_checksums(record, replaced) for target, record in records.items()}


def _record_name(root: Path, target: str) -> str:
    return record_path(root / RECORDS, target).relative_to(root).as_posix()


def _stage_records(root: Path, staging: Staging, records: Mapping[str, Record]) -> list[Move]:
    moves = []
    for target, record in records.items():
        name = _record_name(root, target)
        place = staging.place(name)
        place.write_bytes(dump_record(record))
        place.chmod(0o660)  # As Snakemake leaves them.
        moves.append(Move(place, staging.target(name)))
    return moves
