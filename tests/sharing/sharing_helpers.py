"""A made-up run in a made-up clone, and what tests of sharing look at."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import yaml
from workflow_helpers import ROOT, TINY

from tells.sharing.records import RECORDS, record_path
from tells.tables.files import file_digest

NAME = "tiny"
SUMS = f"experiments/{NAME}/uncertainty/sums"
MODEL = "resources/models/tiny-random/model.json"
RESULTS = f"experiments/{NAME}/uncertainty/results.json"
SECOND = 1_000_000_000
# Every file of the run, the oldest first, each a second younger than the one before.
RUN = {
    f"{SUMS}/prompts.parquet": b"the prompts",
    f"{SUMS}/shards/prompts-0000.parquet": b"the prompts of the first shard",
    f"{SUMS}/shards/samples-0000.parquet": b"samples " * 30,
    f"{SUMS}/shards/replay-0000.safetensors": b"hidden states " * 500,
    f"{SUMS}/samples.parquet": b"samples, merged " * 30,
    f"experiments/{NAME}/uncertainty/results.parquet": b"a table of results",
    f"experiments/{NAME}/uncertainty/results.json": b'{"metadata": {}}',
    f"logs/{NAME}/uncertainty/sums/merge_samples.status.json": b'{"state": "done"}',
    f"logs/{NAME}/uncertainty/sums/merge_samples.tsv": b"s\n1",
}
LEFT_OUT = {f"{SUMS}/shards/samples-0000.parquet", f"{SUMS}/shards/replay-0000.safetensors"}
DEFINITIONS = {f"experiments/{NAME}.yaml", "config/questions/sums.yaml", "config/questions/sums.jsonl"}
_BEGIN = 1_700_000_000 * SECOND


def make_run(root: Path, *, where: str = "resources/models/tiny-random/files") -> Path:
    """A clone with a finished run of the experiment `tiny` of one collection.

    Args:
        root: the folder to fill.
        where: the model's files lie, as its manifest says.
    """
    make_empty_clone(root)
    sums = {"questions": "config/questions/sums.yaml", "limit": 3}
    definition = {**TINY, "uncertainty": {**TINY["uncertainty"], "collections": {"sums": sums}}}
    (root / f"experiments/{NAME}.yaml").write_text(yaml.safe_dump(definition))
    for name in ("sums.yaml", "sums.jsonl"):
        shutil.copy(ROOT / "config/questions" / name, root / "config/questions" / name)
    write(root / MODEL, json.dumps({"name": "tiny-random", "revision": "1", "path": where}).encode())
    for count, (path, content) in enumerate(RUN.items()):
        write(root / path, content)
        os.utime(root / path, ns=(_BEGIN + count * SECOND, _BEGIN + count * SECOND))
    write(root / f"logs/{NAME}/uncertainty/sums/merge_samples.log", b"a traceback with /a/path")
    inputs = {
        f"{SUMS}/prompts.parquet": ["config/questions/sums.jsonl", "config/questions/sums.yaml"],
        f"{SUMS}/shards/samples-0000.parquet": [f"{SUMS}/shards/prompts-0000.parquet", MODEL],
        f"{SUMS}/samples.parquet": [f"{SUMS}/shards/samples-0000.parquet", f"{SUMS}/prompts.parquet"],
    }
    for target, paths in inputs.items():
        write_record(root, target, paths)
    return root


def make_empty_clone(root: Path) -> Path:
    """A clone in which nothing has been run, and of which no definition is known."""
    for folder in ("experiments", "config/questions"):
        (root / folder).mkdir(parents=True)
    return root


def write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def write_record(root: Path, target: str, inputs: list[str], *, unchecked: tuple[str, ...] = ()) -> None:
    """Snakemake's record of an output; no checksum of the inputs that are too large for one."""
    checksums = {path: f"sha256:{file_digest(root / path)}" for path in inputs if path not in unchecked}
    record = {
        "rule": "made_up",
        "input": sorted(inputs),
        "log": [],
        "shellcmd": None,
        "params": ["1"],
        "code": "a script",
        "record_format_version": 6,
        "conda_env": None,
        "container_img_url": None,
        "software_stack_hash": "d41d8cd98f00b204e9800998ecf8427e",
        "job_hash": 1,
        "starttime": 1.5,
        "endtime": 2.5,
        "incomplete": False,
        "external_jobid": "4711",
        "input_checksums": checksums,
    }
    write(record_path(root / RECORDS, target), json.dumps(record).encode())


def read_record(root: Path, target: str) -> dict:
    return json.loads(record_path(root / RECORDS, target).read_text())


def lying(root: Path) -> dict[str, bytes]:
    """Every file of a clone, but what pulls keep beside it: locks, and what waits in staging folders."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.is_file() and ".tells-pull" not in name and "tells-locks" not in name:
            found[name] = path.read_bytes()
    return found


def run_files(root: Path) -> dict[str, bytes]:
    """The files of the run that lie in a clone."""
    return {name: content for name, content in lying(root).items() if name in RUN}


def objects_of(store: Path) -> list[Path]:
    """The objects in a folder store."""
    return sorted(path for path in (store / "objects").rglob("*") if path.is_file())


def object_of(store: Path, content: bytes) -> Path:
    """The object with this content."""
    return next(path for path in objects_of(store) if path.read_bytes() == content)


def failing(function, count: int, error: BaseException):
    """The function, which fails when it is called for the last of so many times, and then on."""
    calls = [0]

    def call(*arguments, **named):
        calls[0] += 1
        if calls[0] >= count:
            raise error
        return function(*arguments, **named)

    return call


def folders_of(root: Path) -> set[Path]:
    """Folders below the top folders of a clone, but those in which files wait."""
    return {path for path in root.glob("[!.]*/**/*") if path.is_dir() and ".tells-pull" not in path.name}
