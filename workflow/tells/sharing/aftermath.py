"""What makes a pulled run count as done: times in their order, inputs known by the checksums they have here."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tells.config import ConfigError, load_workflow
from tells.sharing.collect import model_identity
from tells.sharing.manifest import Input, Manifest, SharedFile
from tells.sharing.records import Record
from tells.tables.files import file_digest


def same_inputs(root: Path, inputs: Sequence[Input]) -> dict[tuple[str, str], str]:
    """Inputs that are the same here under another checksum: manifests of models that lie in another place.

    Returns:
        The checksum here, by path and checksum there.
    """
    found = {}
    for one in inputs:
        path = root / one.path
        if one.identity and path.is_file() and model_identity(path) == one.identity:
            digest = file_digest(path)
            if digest != one.sha256:
                found[one.path, one.sha256] = digest
    return found


def settle_times(
    root: Path, outputs: Sequence[SharedFile], inputs: Sequence[SharedFile], records: Mapping[str, Record]
) -> None:
    """Give files the times they have there, so that no input is newer than what was made of it.

    Snakemake compares small inputs by checksum. One without (it is too large) is judged by its time alone, so that a
    copy with the same content takes the time it had there as well.

    Args:
        root: the top of the clone.
        outputs: files of the run, which lie here as they lie there.
        inputs: what they were made from: definitions, data, manifests of models.
        records: Snakemake's records of the outputs.
    """
    for file in outputs:
        _set_time(root / file.path, file.mtime_ns)
    unchecked = {
        path for record in records.values() for path in record.input or () if path not in (record.input_checksums or {})
    }
    for one in inputs:
        path = root / one.path
        newer = one.path in unchecked and path.is_file() and path.stat().st_mtime_ns > one.mtime_ns
        if newer and _is_same(path, one):
            _set_time(path, one.mtime_ns)


def notes_on(root: Path, manifest: Manifest) -> Iterator[str]:
    """What is missing or different here, so that the run does not count as done, or cannot be gone on with."""
    for one in manifest.inputs:
        path = root / one.path
        if one.identity and not path.is_file():
            # A rule that fetches it within a run would have everything sampled again that rests on it.
            cure = f"`snakemake --profile cpu {one.path}`, then pull once more"
            yield f"{one.path}: not here; before you go on with the run, fetch it by itself: {cure}"
        elif one.identity:
            if model_identity(path) != one.identity:
                yield f"{one.path}: another model or revision than the run's; the next run samples again"
        elif not path.is_file():
            yield f"{one.path}: not here, and not part of the run; put the same file there before you go on"
        elif not _is_same(path, one):
            yield f"{one.path}: differs from the run's; the next run makes again what rests on it"
    if (root / "config/config.yaml").is_file():
        try:
            load_workflow(root, {"experiments": (manifest.experiment,)})
        except ConfigError as error:
            yield str(error)


def _is_same(path: Path, file: SharedFile) -> bool:
    return path.stat().st_size == file.size and file_digest(path) == file.sha256


def _set_time(path: Path, nanoseconds: int) -> None:
    if path.stat().st_mtime_ns != nanoseconds:
        os.utime(path, ns=(nanoseconds, nanoseconds))
