"""What lies under experiments/, told from files alone."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from tells.config import load_workflow
from tells.report.catalogue import catalogue, experiment_names, study_folder, study_state
from tells.tables import make_metadata, write_json

ROOT = Path(__file__).parents[2]


def write_results(root: Path, study: str = "safety", **changes: object) -> Path:
    path = root / f"experiments/demo/{study}/results.json"
    metadata = make_metadata(f"analyse_{study}", params={}, experiment="demo", model={"name": "tiny", "revision": "1"})
    write_json(path, {"benchmarks": []}, metadata={**metadata, **changes})
    return path


def write_status(root: Path, name: str, *, study: str = "safety", when: float | None = None, **facts: object) -> None:
    path = root / f"logs/demo/{study}/{name}.status.json"
    known = {"job": name, "state": "done", "host": socket.gethostname(), "pid": os.getpid(), "seconds": 2.0}
    write_json(path, {**known, **facts})
    if when is not None:
        os.utime(path, (when, when))


def test_results_of_the_present_code_are_done_with_what_they_took(tmp_path: Path):
    write_results(tmp_path)
    write_status(tmp_path, "sample_shard-0000", seconds=2.5, tokens=100, finished="2026-01-02T00:00:00+00:00")
    write_status(tmp_path, "classify-judge", seconds=1.5, calls=7, finished="2026-01-01T00:00:00+00:00")
    (state,) = catalogue(tmp_path)
    assert (state.experiment, state.study, state.state, state.reason) == ("demo", "safety", "done", None)
    assert (state.seconds, state.tokens, state.judge_calls, state.jobs) == (4.0, 100, 7, {"done": 2})
    assert (state.model, state.finished) == ("tiny", "2026-01-02T00:00:00+00:00")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"code_hash": "0"}, "older than the code"),
        ({"stage_version": 0}, "version 0"),
        ({"stage": "gone"}, "'gone'"),
    ],
)
def test_results_of_other_code_are_older(tmp_path: Path, changes: dict, reason: str):
    write_results(tmp_path, **changes)
    state = study_state(tmp_path, "demo", "safety")
    assert state.state == "older"
    assert reason in state.reason


def test_a_job_at_work_is_running_and_a_killed_one_has_failed(tmp_path: Path):
    path = write_results(tmp_path)
    later = path.stat().st_mtime + 10
    write_status(tmp_path, "sample_shard-0000", state="running", when=later)
    assert study_state(tmp_path, "demo", "safety").state == "running"
    write_status(tmp_path, "sample_shard-0000", state="running", pid=2**22 + 1, when=later)
    state = study_state(tmp_path, "demo", "safety")
    assert (state.state, state.reason) == ("failed", "sample_shard-0000: it was killed")
    write_status(tmp_path, "sample_shard-0000", state="running", host="elsewhere", when=later)
    assert study_state(tmp_path, "demo", "safety").state == "running"
    write_status(tmp_path, "sample_shard-0000", state="running", host="elsewhere", when=1.0)
    assert study_state(tmp_path, "demo", "safety").state == "done", "an old failure is over once results are there"


def test_a_failure_after_the_results_is_told_with_its_last_line(tmp_path: Path):
    path = write_results(tmp_path)
    write_status(tmp_path, "label", state="failed", last_line="TableError: no", when=path.stat().st_mtime + 5)
    state = study_state(tmp_path, "demo", "safety")
    assert (state.state, state.reason) == ("failed", "label: TableError: no")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"metadata": 3}', '{"benchmarks": []}'])
def test_a_broken_file_is_a_state_of_its_study_alone(tmp_path: Path, content: str):
    write_results(tmp_path, "traits")
    path = write_results(tmp_path)
    path.write_text(content)
    states = {state.study: state for state in catalogue(tmp_path)}
    assert states["traits"].state == "done"
    assert states["safety"].state == "unreadable"
    assert "results.json" in states["safety"].reason


def test_a_broken_status_file_hides_nothing(tmp_path: Path):
    write_results(tmp_path)
    write_status(tmp_path, "label")
    (tmp_path / "logs/demo/safety/classify.status.json").write_text("{")
    assert study_state(tmp_path, "demo", "safety").jobs == {"done": 1}


def test_what_is_defined_and_not_there_is_missing_and_what_has_files_is_partial(tmp_path: Path):
    _, definitions = load_workflow(ROOT)
    assert {state.state for state in catalogue(tmp_path, {"demo": definitions["demo"]})} == {"missing"}
    table = tmp_path / "experiments/demo/safety/builtin/prompts.parquet"
    table.parent.mkdir(parents=True)
    table.touch()
    state = study_state(tmp_path, "demo", "safety")
    assert (state.state, state.collections) == ("partial", ("builtin",))


def test_only_folders_with_a_study_are_experiments_and_no_name_leads_outside(tmp_path: Path):
    write_results(tmp_path)
    (tmp_path / "experiments/notes").mkdir()
    (tmp_path / "experiments/.hidden/safety").mkdir(parents=True)
    assert experiment_names(tmp_path) == ["demo"]
    for name in ("..", "../x", "/etc", "a/b", "", ".hidden"):
        with pytest.raises(ValueError, match="no study"):
            study_folder(tmp_path, name, "safety")
    with pytest.raises(ValueError, match="no study"):
        study_folder(tmp_path, "demo", "../safety")


def test_collections_are_named_by_their_folders(tmp_path: Path):
    for name in ("traits/behavioral/formality/prompts", "traits/behavioral/formality/shards/prompts"):
        path = tmp_path / f"experiments/demo/{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert study_state(tmp_path, "demo", "traits").collections == ("behavioral/formality",)


def test_a_folder_without_experiments_is_an_empty_catalogue(tmp_path: Path):
    assert catalogue(tmp_path) == []
    assert json.dumps([state.__dict__ for state in catalogue(tmp_path)]) == "[]"
