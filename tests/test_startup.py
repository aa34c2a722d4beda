"""Start-up: what counts as it, that nothing counts twice, and what a status file says of it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tells import startup
from tells.startup import Startup, process_age, runs_on, starting_up, startup_figures


class Clock:
    """A clock that only moves when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(startup, "time", found)
    return found


def test_seconds_of_blocks_add_up_and_those_between_do_not_count(clock: Clock):
    counted = Startup()
    with counted.counted():
        clock.now += 2
    clock.now += 50
    with counted.counted():
        clock.now += 3
    assert counted.seconds == 5


def test_a_block_within_another_counts_once(clock: Clock):
    counted = Startup()
    with counted.counted():
        clock.now += 1
        with counted.counted("small"):
            clock.now += 4
        clock.now += 1
    assert counted.seconds == 6
    assert counted.loads == ["small"]


def test_a_load_that_fails_takes_seconds_and_is_no_load(clock: Clock):
    counted = Startup()

    def load() -> None:
        with counted.counted("small"):
            clock.now += 7
            raise ValueError("gone")

    with pytest.raises(ValueError, match="gone"):
        load()
    assert (counted.seconds, counted.loads) == (7, [])
    with counted.counted():
        clock.now += 1
    assert counted.seconds == 8


def test_the_same_model_loaded_twice_is_two_loads():
    counted = Startup()
    for _ in range(2):
        with counted.counted("small"):
            pass
    assert counted.loads == ["small", "small"]


def test_the_figures_are_the_age_at_the_beginning_and_what_was_counted_since(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(startup, "_process", Startup())
    monkeypatch.setattr(startup, "process_age", lambda: 9.0)
    assert startup_figures(0.5) == {"startup_seconds": 0.5, "process_seconds": 9.0, "model_loads": 0}
    with starting_up("embedding"), starting_up("small"):
        clock.now += 1.5
    found = {"startup_seconds": 1.75, "process_seconds": 9.0, "model_loads": 2, "model": "embedding"}
    assert startup_figures(0.25) == found
    runs_on("cpu, 2 threads")
    assert startup_figures(0.25) == {**found, "machine": "cpu, 2 threads"}


def test_where_the_kernel_tells_no_age_the_seconds_are_none(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(startup, "_process", Startup())
    monkeypatch.setattr(startup, "process_age", lambda: None)
    assert startup_figures(None) == {"startup_seconds": None, "process_seconds": None, "model_loads": 0}


def test_the_age_of_a_process_counts_from_its_start():
    before = time.monotonic()
    code = "import time; from tells.startup import process_age; time.sleep(0.3); print(process_age())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 0.3 <= float(done.stdout) <= time.monotonic() - before + 0.02


def test_the_age_grows_with_the_clock():
    first = process_age()
    assert first is not None
    assert process_age() >= first > 0


JOB = """
from tells.jobs import job
from tells.startup import starting_up

with job("logs/demo/sample_shard.log", ["out/a.parquet"]) as report:
    with starting_up("small"):
        pass
    report.add(tokens=3)
    {work}
"""


@pytest.mark.parametrize(("work", "state"), [("pass", "done"), ("raise ValueError", "failed")])
def test_the_status_file_of_a_job_tells_its_start_up_and_its_loads(tmp_path: Path, work: str, state: str):
    done = subprocess.run([sys.executable, "-c", JOB.format(work=work)], cwd=tmp_path, capture_output=True, check=False)
    status = json.loads((tmp_path / "logs/demo/sample_shard.status.json").read_text())
    assert (status["state"], status["model_loads"], done.returncode) == (state, 1, int(state == "failed"))
    assert 0 < status["startup_seconds"] < 60
    assert status["model"] == "small"
    assert status.get("bytes") == ({} if state == "done" else None)
    assert status["process_seconds"] >= status["startup_seconds"]
    assert status["process_seconds"] >= status["seconds"] >= status["waited_seconds"] >= 0


def test_a_job_tells_the_bytes_of_the_outputs_it_made(tmp_path: Path):
    work = "from pathlib import Path\n    Path('out').mkdir()\n    Path('out/a.parquet').write_bytes(b'12345')"
    subprocess.run([sys.executable, "-c", JOB.format(work=work)], cwd=tmp_path, capture_output=True, check=True)
    status = json.loads((tmp_path / "logs/demo/sample_shard.status.json").read_text())
    assert status["bytes"] == {"parquet": 5}
