"""What a push and a pull have done, in words."""

from __future__ import annotations

from tells.sharing.pull import Pulled
from tells.sharing.push import Pushed


def told_push(done: Pushed) -> str:
    """What has travelled, and how to get it."""
    manifest, objects = done.manifest, done.manifest.objects()
    what = f"{manifest.experiment}: {len(manifest.files)} files, {_size(sum(objects.values()))}"
    lines = [f"{what}; sent {_size(sum(done.sent.values()))} in {len(done.sent)} objects"]
    if not done.changed:
        lines.append("what lies there is this run already")
    lines += [f"note: {study} has no results yet" for study in done.unfinished]
    lines += [
        f"note: made from {path}, which lies outside the clone and does not travel; it must lie there for others too"
        for path in done.elsewhere
    ]
    lines += [
        f"note: made from {one.path}, which does not travel; others need the same file at the same place"
        for one in manifest.inputs
        if one.identity is None
    ]
    return "\n".join([*lines, f"to fetch it: tells pull {done.url}"])


def told_pull(done: Pulled) -> str:
    """What has come, what is missing, and how to look at it."""
    manifest = done.manifest
    what = f"{manifest.experiment}: {len(done.placed)} of {len(manifest.files)} files are new here"
    lines = [f"{what}; fetched {_size(sum(done.fetched.values()))}, every checksum is right"]
    lines += [f"note: {note}" for note in done.notes]
    ask = f"snakemake --profile cpu -n --config experiments={manifest.experiment}"
    return "\n".join([*lines, f"what is still to be done: {ask}", "to look at it: tells dashboard"])


def _size(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"
