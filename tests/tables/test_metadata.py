"""Metadata: equal for equal work, different where the work differs, and without a clock."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tells.stages import STAGES, Stage, stage_version
from tells.tables import file_digest, make_metadata, metadata, read_metadata, write_table

PARAMS = {"temperature": 0.8, "engine": {"kind": "hf", "stop": ["\n"]}}
MODEL = {"name": "small", "revision": "main"}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "prompts.parquet"
    path.write_bytes(b"what to ask")
    return path


def make(source: Path, **changes: Any) -> dict[str, Any]:
    arguments = {"params": PARAMS, "inputs": [source], "experiment": "demo", "model": MODEL, "seed": 7}
    return make_metadata(**{"stage": "sample", **arguments, **changes})


def test_metadata_say_what_made_a_file(source: Path):
    made = make(source, engine={"engine": "hf"})
    assert (made["stage"], made["experiment"], made["model"], made["seed"]) == ("sample", "demo", MODEL, 7)
    assert made["stage_version"] == stage_version("sample")
    assert made["code_hash"] == metadata.code_hash("sample")
    assert made["engine"] == {"engine": "hf"}
    assert made["versions"]["polars"] == pl.__version__


def test_equal_work_gives_equal_metadata_whatever_the_order(source: Path, tmp_path: Path):
    other = tmp_path / "model.json"
    other.write_text("{}")
    turned = dict(reversed(PARAMS.items()))
    assert make(source, inputs=[source, other]) == make(source, inputs=[str(other), str(source)], params=turned)


@pytest.mark.parametrize("changes", [{"params": {**PARAMS, "temperature": 0.9}}, {"inputs": []}, {"stage": "replay"}])
def test_other_work_gives_other_metadata(source: Path, changes: dict):
    assert make(source, **changes) != make(source)


def test_the_bytes_of_an_input_decide_and_its_time_does_not(source: Path):
    before = make(source)
    os.utime(source, (0, 0))
    assert make(source) == before
    source.write_bytes(b"what to say")
    assert make(source)["stage_hash"] != before["stage_hash"]


def test_metadata_do_not_say_where_the_inputs_lie(source: Path, tmp_path: Path):
    copy = shutil.copy(source, tmp_path / "elsewhere.parquet")
    assert make(source, inputs=[copy]) == make(source)


WRITE = """
import sys
import polars as pl
from tells.tables import make_metadata, write_table

columns = {"prompt_id": ["a"], "sample": [0], "cluster": [None], "method": ["text"]}
table = pl.DataFrame(columns, schema={"prompt_id": str, "sample": pl.Int32, "cluster": pl.Int32, "method": str})
facts = make_metadata("cluster", params={"b": 2, "a": 1}, inputs=[sys.argv[1]], seed=1)
write_table(sys.argv[2], table, "clusters", facts)
"""


def test_equal_work_in_two_processes_gives_equal_bytes(source: Path, tmp_path: Path):
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "TZ": f"UTC+{seed}"}
        command = [sys.executable, "-c", WRITE, str(source), str(tmp_path / seed)]
        subprocess.run(command, check=True, env=environment)
    assert file_digest(tmp_path / "1") == file_digest(tmp_path / "2")


def test_there_is_no_clock_no_host_and_no_process_in_metadata(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def forbidden(*_: Any) -> None:
        raise AssertionError("metadata must not ask for this")

    for name in ("time.time", "time.monotonic", "time.localtime", "socket.gethostname", "os.getlogin", "os.uname"):
        monkeypatch.setattr(name, forbidden)
    metadata.code_hash.cache_clear()
    metadata.package_versions.cache_clear()
    made = make(source)
    monkeypatch.undo()
    text = json.dumps(made)
    assert str(tmp_path) not in text
    schema = {"prompt_id": str, "sample": pl.Int32, "cluster": pl.Int32, "method": str}
    write_table(tmp_path / "x.parquet", pl.DataFrame(schema=schema), "clusters", made)
    assert read_metadata(tmp_path / "x.parquet") == {**made, "kind": "clusters"}


def test_the_code_hash_follows_the_stages_modules_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    library = tmp_path / "tells"
    for module in ("tables/metadata.py", "one/a.py", "one/b.py", "two/c.py"):
        (library / module).parent.mkdir(parents=True, exist_ok=True)
        (library / module).write_text(module)
    monkeypatch.setattr(metadata, "__file__", str(library / "tables/metadata.py"))
    monkeypatch.setitem(STAGES, "trial", Stage(1, ("one/*.py",)))

    def current() -> str:
        metadata.code_hash.cache_clear()
        return metadata.code_hash("trial")

    first = current()
    (library / "two/c.py").write_text("changed")
    assert current() == first
    (library / "one/b.py").write_text("changed")
    second = current()
    assert second != first
    (library / "one/d.py").write_text("new")
    assert current() not in (first, second)
    metadata.code_hash.cache_clear()


def test_every_pattern_of_every_stage_names_a_module():
    library = Path(metadata.__file__).parents[1]
    empty = [(name, p) for name, stage in STAGES.items() for p in stage.modules if not list(library.glob(p))]
    assert empty == []


def test_an_unknown_stage_is_an_error():
    with pytest.raises(KeyError):
        make_metadata("dream", params={})
