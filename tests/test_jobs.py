"""Jobs: what they leave behind, that no two write one output, and that none outlives its head."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tells.jobs import HEAD_VARIABLE, process_start

PATIENCE_SECONDS = 30
JOB = """
import sys, time
from pathlib import Path
from tells import jobs

with jobs.job("logs/demo/sample_shard.log", ["out/b.parquet", "out/a.parquet"]) as report:
    {work}
"""
HOLD = """
import sys, time
from pathlib import Path
from tells import jobs

with jobs.output_lock(Path("out/a.parquet")):
    Path(sys.argv[1]).touch()
    time.sleep(600)
"""
TRY = """
from pathlib import Path
from tells import jobs

with jobs.output_lock(Path("{output}"), patience={patience}):
    print("held")
"""
HEAD = """
import subprocess, sys, time
from tells import jobs

jobs.announce_head()
started = subprocess.Popen([sys.executable, "-c", sys.argv[1]])
print(started.pid, flush=True)
time.sleep(600)
"""


class Place:
    """A working folder in which code runs in processes of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.started: list[subprocess.Popen] = []
        self.environment = {key: value for key, value in os.environ.items() if key != HEAD_VARIABLE}

    def start(self, code: str, *arguments: str, **environment: str) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            cwd=self.root,
            env={**self.environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process

    def run(self, code: str, **environment: str) -> tuple[int, str, str]:
        """Exit code, standard output and standard error."""
        process = self.start(code, **environment)
        output, errors = process.communicate(timeout=PATIENCE_SECONDS)
        return process.returncode, output, errors

    def job(self, work: str, **environment: str) -> tuple[int, str, str]:
        return self.run(JOB.format(work=work), **environment)

    def status(self) -> dict[str, Any]:
        return json.loads((self.root / "logs/demo/sample_shard.status.json").read_text())

    def log(self) -> str:
        return (self.root / "logs/demo/sample_shard.log").read_text()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    for process in place.started:
        process.kill()
        process.communicate()


def wait_for(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "did not happen"
        time.sleep(0.02)


# What a job leaves behind


def test_a_job_says_while_it_runs_that_it_runs(place: Place):
    code, output, _ = place.job("print(Path('logs/demo/sample_shard.status.json').read_text())")
    status = json.loads(output)
    assert code == 0
    assert status["state"] == "running"
    assert status["outputs"] == ["out/b.parquet", "out/a.parquet"]
    assert {"pid", "host", "started"} <= status.keys()


def test_a_job_that_succeeds_says_done_with_its_figures(place: Place):
    code, _, errors = place.job("report.add(tokens=12); report.add(runs=3, tokens=13)")
    status = place.status()
    assert (code, errors) == (0, "")
    assert (status["state"], status["tokens"], status["runs"]) == ("done", 13, 3)
    assert status["seconds"] >= 0
    assert status["max_rss_mb"] > 1


def test_what_a_job_logs_stands_in_its_log(place: Place):
    place.job("import logging; logging.getLogger('tells.models').info('loaded %s', 'small')")
    assert "tells.models INFO loaded small" in place.log()


def test_a_job_that_fails_tells_the_traceback_to_the_log_and_one_line_to_the_terminal(place: Place):
    code, output, errors = place.job("raise ValueError('a.parquet: truncated;\\n  make it again')")
    assert (code, output) == (1, "")
    line = "ValueError: a.parquet: truncated; make it again"
    assert errors == f"sample_shard: {line} (traceback in logs/demo/sample_shard.log)\n"
    assert "Traceback (most recent call last)" in place.log()
    assert "raise ValueError" in place.log() or "ValueError: a.parquet" in place.log()
    assert (place.status()["state"], place.status()["last_line"]) == ("failed", line)


def test_an_error_without_a_message_is_named(place: Place):
    code, _, _ = place.job("raise RuntimeError")
    assert (code, place.status()["last_line"]) == (1, "RuntimeError")


def test_a_job_that_is_interrupted_says_failed(place: Place):
    process = place.start(JOB.format(work="Path('ready').touch(); time.sleep(600)"))
    wait_for((place.root / "ready").exists)
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE_SECONDS) == 1
    assert (place.status()["state"], place.status()["last_line"]) == ("failed", "KeyboardInterrupt")


def test_a_job_whose_status_cannot_be_written_still_tells_why_it_failed(place: Place):
    work = "jobs.write_json = lambda *_: (_ for _ in ()).throw(OSError(28, 'full')); raise ValueError('no room')"
    code, _, errors = place.job(work)
    assert code == 1
    assert errors.splitlines() == ["sample_shard: ValueError: no room (traceback in logs/demo/sample_shard.log)"]


def test_a_new_attempt_starts_a_new_log_and_a_new_status(place: Place):
    place.job("raise ValueError('first')")
    place.job("report.add(tokens=1)")
    assert "first" not in place.log()
    assert place.status()["state"] == "done"
    assert "last_line" not in place.status()


# Locks


def hold(place: Place) -> subprocess.Popen:
    process = place.start(HOLD, "held")
    wait_for((place.root / "held").exists)
    return process


def test_an_output_lock_excludes_a_second_process(place: Place):
    hold(place)
    code, output, errors = place.run(TRY.format(output="out/a.parquet", patience=0.1))
    assert (code, output) == (1, "")
    assert "TimeoutError: out/a.parquet: another process" in errors


def test_the_lock_of_one_output_leaves_others_free(place: Place):
    hold(place)
    assert place.run(TRY.format(output="out/b.parquet", patience=0.1))[:2] == (0, "held\n")


def test_a_path_written_in_another_way_is_the_same_output(place: Place):
    hold(place)
    assert place.run(TRY.format(output=place.root / "out/a.parquet", patience=0.1))[0] == 1


def test_a_second_process_waits_for_the_first(place: Place):
    first = hold(place)
    second = place.start(TRY.format(output="out/a.parquet", patience=PATIENCE_SECONDS))
    time.sleep(0.5)
    assert second.poll() is None
    first.terminate()
    assert second.communicate(timeout=PATIENCE_SECONDS)[0] == "held\n"


def test_kill_9_frees_the_lock(place: Place):
    process = hold(place)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert place.run(TRY.format(output="out/a.parquet", patience=0.1))[:2] == (0, "held\n")


def test_a_job_whose_output_is_being_written_fails_and_says_so(place: Place):
    hold(place)
    work = "raise AssertionError('must not start')"
    impatient = "import functools; jobs.output_lock = functools.partial(jobs.output_lock, patience=0.1)"
    code, _, errors = place.run(JOB.format(work=work).replace("with jobs", f"{impatient}\nwith jobs"))
    assert code == 1
    assert "another process has been writing it" in errors
    assert "must not start" not in errors


def test_a_job_frees_its_locks_when_it_ends(place: Place):
    place.job("pass")
    place.job("raise ValueError")
    assert place.run(TRY.format(output="out/a.parquet", patience=0.1))[0] == 0


# The head


def is_gone(pid: int) -> bool:
    return process_start(pid) is None


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_job_ends_when_its_head_is_killed(place: Place, how: signal.Signals):
    head = place.start(HEAD, JOB.format(work="Path('ready').touch(); time.sleep(600)"))
    pid = int(head.stdout.readline())
    try:
        wait_for((place.root / "ready").exists)
        assert not is_gone(pid)
        os.kill(head.pid, how)
        head.wait()
        wait_for(lambda: is_gone(pid))
    finally:
        if not is_gone(pid):
            os.kill(pid, signal.SIGKILL)
    assert place.run(TRY.format(output="out/a.parquet", patience=0.1))[0] == 0


def test_a_job_of_a_head_that_is_gone_before_it_starts_does_not_work(place: Place):
    code, output, _ = place.job("time.sleep(20); print('worked')", TELLS_HEAD="4194303:1")
    assert (code, output) == (143, "")


def test_another_process_with_the_number_of_the_head_is_not_the_head(place: Place):
    code, _, _ = place.job("time.sleep(20)", TELLS_HEAD=f"{os.getpid()}:1")
    assert code == 143


def test_a_job_of_a_living_head_works(place: Place):
    head = f"{os.getpid()}:{process_start(os.getpid())}"
    assert place.job("time.sleep(1.2); print('worked')", TELLS_HEAD=head)[:2] == (0, "worked\n")


def test_a_job_without_a_head_works(place: Place):
    assert place.job("print('worked')")[:2] == (0, "worked\n")


def test_the_start_of_a_process_is_known_while_it_lives_and_not_of_what_is_left_to_be_waited_for(place: Place):
    process = place.start("import time; time.sleep(600)")
    first = process_start(process.pid)
    assert first is not None
    assert process_start(process.pid) == first
    process.kill()
    wait_for(lambda: process_start(process.pid) is None)
    assert Path(f"/proc/{process.pid}").exists()
    process.wait()
    assert process_start(process.pid) is None
