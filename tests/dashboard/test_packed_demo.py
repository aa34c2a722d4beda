"""The demo run that ships with the repository: what it holds, how it is made, and when it is shown."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import time
import urllib.request
from pathlib import Path

import dash
import polars as pl
import pytest
from plotly.utils import PlotlyJSONEncoder
from workflow_helpers import ROOT, build_demo

from tells.dashboard.app import make_app
from tells.dashboard.packed import COMMAND, NOTICE, PACKED_DEMO, packed_demo_where_empty
from tells.sharing.archive import ArchiveStore
from tells.sharing.manifest import SharingError, parse_manifest
from tells.sharing.pack import LARGEST_BYTES, pack_run
from tells.sharing.pull import pull_from
from tells.tables import make_metadata, read_metadata, read_table, write_json, write_table

STUDIES = ("uncertainty", "traits", "safety")


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """A clone with a small finished run."""
    folder = tmp_path / "clone/experiments/demo/uncertainty"
    table = pl.DataFrame({"dataset": ["sums"], "prompt_id": ["a"], "sample": [0], "split": ["test"]})
    table = table.with_columns(pl.col("sample").cast(pl.Int32), topk_logprobs=pl.Series([[[0.5, 0.25]]]))
    metadata = make_metadata("analyse_uncertainty", params={}, experiment="demo", seed=1)
    write_table(folder / "results.parquet", table, "results", metadata)
    write_json(folder / "results.json", {"records": []}, metadata=metadata)
    for name in ("sums/shards/samples-0000.parquet", "probes.safetensors", "notes.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"stays behind")
    logs = tmp_path / "clone/logs/demo/uncertainty"
    status = {"state": "done", "job": "grade", "seconds": 2.5, "outputs": ["experiments/demo/x.json"]}
    write_json(logs / "grade.status.json", {**status, "host": "my-machine", "pid": 12, "slurm_job": None})
    (logs / "grade.log").write_text("a traceback")
    return tmp_path / "clone"


def unpacked(archive: Path, folder: Path) -> Path:
    pull_from(ArchiveStore(archive), folder)
    return folder


# What ships


def test_the_packed_demo_is_small_and_holds_tables_alone():
    assert PACKED_DEMO.stat().st_size < LARGEST_BYTES == 1_000_000
    manifest = parse_manifest(ArchiveStore(PACKED_DEMO).manifest(), "packed")
    names = [file.path for file in manifest.files]
    assert manifest.experiment == "demo"
    assert manifest.tables_only
    assert all(name.endswith((".parquet", ".json")) for name in names)
    shards = [name for name in names if "/shards/" in name]
    assert all(re.search(r"/traits/.*/shards/replay-\d+\.parquet$", name) for name in shards), "tokens' ends alone"
    for study in STUDIES:
        assert f"experiments/demo/{study}/results.json" in names
    assert {
        name.split("/")[3] for name in names if name.startswith("experiments/demo/safety/") and name.count("/") > 3
    } == {"builtin"}, "prompts of other benchmarks are not ours to give away"


def test_the_packed_demo_says_what_made_it_and_nothing_of_the_machine(tmp_path: Path):
    root = unpacked(PACKED_DEMO, tmp_path)
    for path in (root / "experiments").rglob("*.*"):
        metadata = read_metadata(path)
        assert metadata["experiment"] == "demo", path.name
        assert metadata["stage"], path.name
        assert metadata["code_hash"], path.name
    for path in root.rglob("*.json"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r'"(/|~/|file:|[A-Za-z]:\\\\)[\w.-]+/', text), path.name
        assert not re.search(r"/(root|home|work|tmp|Users)/", text), path.name
        assert '"host"' not in text, path.name


def test_git_keeps_the_packed_demo():
    path = str(PACKED_DEMO.relative_to(ROOT))
    assert subprocess.run(["git", "check-ignore", "-q", path], cwd=ROOT, check=False).returncode == 1


def test_the_package_brings_the_packed_demo():
    assert f'"dashboard/{PACKED_DEMO.name}"' in (ROOT / "pyproject.toml").read_text()


def test_every_page_shows_the_packed_demo(tmp_path: Path):
    (tmp_path / "experiments").mkdir()
    with packed_demo_where_empty(tmp_path) as packed:
        app = make_app(tmp_path, packed=packed)
        with app.server.test_request_context("/"):
            told = {page["name"]: as_text(page["layout"]()) for page in dash.page_registry.values()}
            assert "packed demo run" in as_text(app.layout())
    for name, content in told.items():
        assert "This cannot be shown" not in content, name
    assert NOTICE in told["Overview"]
    assert COMMAND in told["Overview"]
    for study in STUDIES:
        assert f"demo: {study}" in told["Overview"]
    assert list(tmp_path.rglob("*")) == [tmp_path / "experiments"]


def as_text(component) -> str:
    return json.dumps(component.to_plotly_json(), cls=PlotlyJSONEncoder)


# When it is shown


def test_results_of_ones_own_take_its_place_and_it_is_removed_at_the_end(tmp_path: Path, finished: Path):
    (tmp_path / "experiments").mkdir()
    with packed_demo_where_empty(tmp_path) as packed:
        app = make_app(tmp_path, packed=packed)
        with app.server.test_request_context("/"):
            assert NOTICE in as_text(overview())
            shutil.copytree(finished / "experiments/demo", tmp_path / "experiments/own")
            told = as_text(overview())
        assert NOTICE not in told
        assert "own" in told
    assert not packed.exists()


def overview():
    return next(page["layout"]() for page in dash.page_registry.values() if page["name"] == "Overview")


def test_it_is_not_unpacked_where_there_are_results(finished: Path):
    with packed_demo_where_empty(finished) as packed:
        assert packed is None


def test_a_broken_archive_is_told(tmp_path: Path):
    (tmp_path / "broken.tar.xz").write_bytes(PACKED_DEMO.read_bytes()[:5000])
    with (
        pytest.raises(SharingError, match=r"broken\.tar\.xz cannot be read"),
        packed_demo_where_empty(tmp_path, tmp_path / "broken.tar.xz"),
    ):
        pass


@pytest.mark.parametrize("workers", [1, 2])
def test_the_command_says_so_and_leaves_nothing_behind(tmp_path: Path, workers: int):
    (tmp_path / "clone/experiments").mkdir(parents=True)
    (tmp_path / "scratch").mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tells.cli", "dashboard", "--port", str(port), "--workers", str(workers)]
    log = tmp_path / "log.txt"
    with open(log, "w") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=tmp_path / "clone",
            env={**os.environ, "TMPDIR": str(tmp_path / "scratch")},
        )
    try:
        assert answers(f"http://127.0.0.1:{port}/", process), log.read_text()
        assert f"{NOTICE} `{COMMAND}`." in log.read_text()
        if workers > 1:
            worker = children(process.pid)[0]
            os.kill(worker, signal.SIGTERM)
            assert until(lambda: worker not in children(process.pid))
        assert list((tmp_path / "scratch").glob("tells-packed-*/experiments/demo/uncertainty/results.json"))
    finally:
        process.terminate()
        process.wait(timeout=30)
    assert not list((tmp_path / "scratch").glob("tells-packed-*"))
    assert list((tmp_path / "clone").rglob("*")) == [tmp_path / "clone/experiments"]


def answers(address: str, process: subprocess.Popen) -> bool:
    def asked() -> bool:
        assert process.poll() is None
        try:
            with urllib.request.urlopen(address, timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False

    return until(asked)


def until(reached, seconds: float = 60) -> bool:
    """Whether something comes to be so."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if reached():
            return True
        time.sleep(0.1)
    return False


def children(pid: int) -> list[int]:
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, check=False, text=True)
    return [int(word) for word in found.stdout.split()]


# How it is made


def test_a_run_is_packed_to_the_same_bytes_each_time(finished: Path, tmp_path: Path):
    size = pack_run(finished, "demo", tmp_path / "one.tar.xz")
    pack_run(finished, "demo", tmp_path / "two.tar.xz")
    assert (tmp_path / "one.tar.xz").read_bytes() == (tmp_path / "two.tar.xz").read_bytes()
    assert size == (tmp_path / "one.tar.xz").stat().st_size


def test_tables_and_figures_are_packed_with_what_made_them(finished: Path, tmp_path: Path):
    pack_run(finished, "demo", tmp_path / "demo.tar.xz")
    root = unpacked(tmp_path / "demo.tar.xz", tmp_path / "unpacked")
    files = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()} - {
        ".snakemake/tells-locks/pull-demo"
    }
    table, figures = (f"experiments/demo/uncertainty/results.{ending}" for ending in ("parquet", "json"))
    assert files == {table, figures, "logs/demo/uncertainty/grade.status.json"}
    assert read_metadata(root / table) == read_metadata(finished / table)
    assert (root / figures).read_bytes() == (finished / figures).read_bytes()
    assert (root / figures).stat().st_mtime_ns == (finished / figures).stat().st_mtime_ns
    before, after = (read_table(place / table, "results") for place in (finished, root))
    assert after.drop("topk_logprobs").equals(before.drop("topk_logprobs"))
    assert after.schema == before.schema
    assert after["topk_logprobs"].null_count() == after.height
    status = json.loads((root / "logs/demo/uncertainty/grade.status.json").read_text())
    assert status["seconds"] == 2.5
    assert not {"host", "pid", "slurm_job"} & set(status)


def test_of_shards_without_a_merged_table_the_ends_of_tokens_are_packed(finished: Path, tmp_path: Path):
    table = pl.DataFrame({"prompt_id": ["a"], "token_ends": [[1, 4]], "entropy": [[0.5, 0.25]]})
    metadata = {"tells": json.dumps({"kind": "replay", "experiment": "demo"})}
    for folder in ("traits/behavioral/formality", "uncertainty/sums"):
        path = finished / f"experiments/demo/{folder}/shards/replay-0000.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        table.write_parquet(path, metadata=metadata)
    table.write_parquet(finished / "experiments/demo/uncertainty/sums/replay.parquet", metadata=metadata)
    pack_run(finished, "demo", tmp_path / "demo.tar.xz")
    root = unpacked(tmp_path / "demo.tar.xz", tmp_path / "unpacked")
    (kept,) = root.rglob("shards/replay-*")
    assert "formality" in str(kept)
    assert pl.read_parquet(kept).to_dicts() == [{"prompt_id": "a", "token_ends": [1, 4], "entropy": None}]
    merged = pl.read_parquet(root / "experiments/demo/uncertainty/sums/replay.parquet")
    assert merged.equals(table)


def test_a_run_that_would_be_too_large_is_not_packed(finished: Path, tmp_path: Path):
    with pytest.raises(SharingError, match=r"has [\d,]+ bytes, more than 100; largest are experiments/demo"):
        pack_run(finished, "demo", tmp_path / "demo.tar.xz", largest=100)
    assert not (tmp_path / "demo.tar.xz").exists()


def test_an_unfinished_run_is_not_packed(finished: Path, tmp_path: Path):
    (finished / "experiments/demo/uncertainty/results.json").unlink()
    with pytest.raises(SharingError, match="has no results; make them with `make demo`"):
        pack_run(finished, "demo", tmp_path / "demo.tar.xz")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("/home/somebody/models/x", "names a path of this machine"),
        ("~/models/x", "names a path of this machine"),
        ("file:///models/x", "names a path of this machine"),
        ("C:\\models\\x", "names a path of this machine"),
        ("made in {root}/experiments", "names a path of this machine"),
        ("hf_abcdefghijklmnopqrstuv", "holds what looks like a key"),
        ("Authorization: sk-abcdefghijklmnop12", "holds what looks like a key"),
        ("the value-of-my-secret itself", "holds what looks like a key"),
    ],
)
@pytest.mark.parametrize("place", ["value", "key", "column"])
def test_paths_and_keys_are_not_packed(finished: Path, tmp_path: Path, monkeypatch, text: str, told: str, place: str):
    monkeypatch.setenv("MY_OWN_TOKEN", "value-of-my-secret")
    text = text.format(root=finished.resolve())
    folder = finished / "experiments/demo/uncertainty"
    metadata = {name: value for name, value in read_metadata(folder / "results.parquet").items() if name != "kind"}
    if place == "column":
        table = read_table(folder / "results.parquet", "results").with_columns(gold=pl.Series([[text]]))
        write_table(folder / "results.parquet", table, "results", metadata)
    else:
        content = {"nested": [{text: 1} if place == "key" else {"a": text}]}
        write_json(folder / "results.json", content, metadata=metadata)
    with pytest.raises(SharingError, match=told) as caught:
        pack_run(finished, "demo", tmp_path / "demo.tar.xz")
    assert "value-of-my-secret" not in str(caught.value)
    assert not (tmp_path / "demo.tar.xz").exists()


def _archive(path: Path, *members: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w:xz") as tar:
        for member in members:
            tar.addfile(member)
    return path


@pytest.mark.parametrize("name", ["../manifest.json", "/manifest.json", "objects/ab/../../x", "Snakefile", "objects"])
def test_an_archive_with_other_members_is_refused(tmp_path: Path, name: str):
    with pytest.raises(SharingError, match="which is no part of a run"):
        ArchiveStore(_archive(tmp_path / "odd.tar.xz", tarfile.TarInfo(name)))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE])
def test_an_archive_with_links_is_refused(tmp_path: Path, kind: bytes):
    member = tarfile.TarInfo("manifest.json")
    member.type, member.linkname = kind, "/etc/passwd"
    with pytest.raises(SharingError, match="which is no part of a run"):
        ArchiveStore(_archive(tmp_path / "odd.tar.xz", member))


def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path: Path, monkeypatch):
    from tells.sharing import archive

    monkeypatch.setattr(archive, "_LARGEST_BYTES", 1000)
    with pytest.raises(SharingError, match="holds more than"):
        ArchiveStore(PACKED_DEMO)


@pytest.mark.demo
@pytest.mark.slow
def test_the_demo_as_it_is_now_can_be_packed(tmp_path: Path):
    build_demo()
    assert pack_run(ROOT, "demo", tmp_path / "demo.tar.xz") < LARGEST_BYTES
    root = unpacked(tmp_path / "demo.tar.xz", tmp_path / "unpacked")
    shipped = unpacked(PACKED_DEMO, tmp_path / "shipped")
    for place in (root, shipped):
        for study in STUDIES:
            assert (place / f"experiments/demo/{study}/results.parquet").exists()
