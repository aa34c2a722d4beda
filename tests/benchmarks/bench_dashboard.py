"""The dashboard on 100,000 runs, and under twenty viewers at once; run by `make bench`."""

from __future__ import annotations

import json
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from planted_uncertainty import plant
from plotly.io.json import to_json_plotly

from tells.dashboard.app import make_app
from tells.dashboard.pages import uncertainty as page
from tells.dashboard.uncertainty.state import Chosen
from tells.dashboard.urls import to_query

RUNS, VIEWERS, SECONDS = 100_000, 20, 20.0
PAGE_TARGET, FILTER_TARGET, START_TARGET = 2.0, 1.0, 3.0
FILTERS: dict[str, dict[str, Any]] = {
    "another data set": {"dataset": "capitals"},
    "wrong answers": {"answers": "wrong"},
    "a word": {"contains": "99"},
    "another colour": {"colour": "p_true"},
    "all data sets": {"dataset": "all"},
    "all splits and runs": {"dataset": "all", "split": "all", "which": "all"},
}


def timed(what: str, make: Callable[[], Any], target: float | None = None) -> float:
    """Wall time of making something and turning it into JSON, printed with what it should be."""
    start = time.perf_counter()
    size = len(to_json_plotly(make()))
    seconds = time.perf_counter() - start
    aim = "" if target is None else f"  target {target:.0f} s: {'met' if seconds < target else 'MISSED'}"
    print(f"{what:32s} {seconds:6.2f} s  {size / 1e6:6.2f} MB{aim}")
    return seconds


def bench_pages(root: Path) -> None:
    """First page and filters of the uncertainty page, on the server."""
    app = make_app(root)
    with app.server.app_context(), app.server.test_request_context("/uncertainty"):
        timed("first page", lambda: page._layout(experiment="planted"), PAGE_TARGET)
        timed("first page again", lambda: page._layout(experiment="planted"))
        state = Chosen(experiment="planted", dataset="sums")
        for words, change in FILTERS.items():
            timed(f"filter: {words}", lambda change=change: page._content(replace(state, **change)), FILTER_TARGET)
        everything = to_query(replace(state, dataset="all", split="all", which="all"))
        request = {"startRow": 0, "endRow": 100, "sortModel": [{"colId": "accuracy.score", "sort": "desc"}]}
        timed("100 rows of the table, sorted", lambda: page._rows(request, everything), FILTER_TARGET)
        keys = [f"sums/question-{number:06d}/0" for number in (1, 2, 3, 5, 6, 7, 9, 10, 11, 13)]
        timed("ten runs opened", lambda: page._show(keys, everything, None), FILTER_TARGET)


def bench_viewers(root: Path, workers: int) -> None:
    """Twenty viewers who load the page again and again."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tells.cli", "dashboard", str(root / "experiments"), "--port", str(port)]
    start = time.perf_counter()
    server = subprocess.Popen([*command, "--workers", str(workers)], stdout=subprocess.DEVNULL)
    site = f"http://127.0.0.1:{port}"
    try:
        _until(lambda: _get(site))
        ready = time.perf_counter() - start
        print(f"{workers} worker(s): first answer after {ready:.2f} s; target {START_TARGET:.0f} s")
        taken, faults = _load(site)
    finally:
        server.terminate()
        server.wait()
    print(
        f"{VIEWERS} viewers for {SECONDS:.0f} s: {len(taken)} pages, {len(faults)} errors, "
        f"median {statistics.median(taken):.2f} s, slowest {max(taken):.2f} s"
    )
    if faults:
        raise SystemExit(f"errors under load: {faults[:3]}")


def _load(site: str) -> tuple[list[float], list[str]]:
    taken: list[float] = []
    faults: list[str] = []
    end = time.monotonic() + SECONDS

    def view() -> None:
        while time.monotonic() < end:
            start = time.perf_counter()
            try:
                _page(site)
                taken.append(time.perf_counter() - start)
            except (OSError, ValueError) as error:
                faults.append(str(error))

    viewers = [threading.Thread(target=view) for _ in range(VIEWERS)]
    for viewer in viewers:
        viewer.start()
    for viewer in viewers:
        viewer.join()
    return taken, faults


def _page(site: str) -> None:
    """What a browser asks for when it opens the overview: the frame, and the page that is put into it."""
    _get(site)
    asked = {
        "output": ".._pages_content.children..._pages_store.data..",
        "outputs": [
            {"id": "_pages_content", "property": "children"},
            {"id": "_pages_store", "property": "data"},
        ],
        "inputs": [
            {"id": "_pages_location", "property": "pathname", "value": "/"},
            {"id": "_pages_location", "property": "search", "value": ""},
        ],
        "changedPropIds": ["_pages_location.pathname"],
    }
    request = urllib.request.Request(
        f"{site}/_dash-update-component", json.dumps(asked).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        if b"Experiments" not in answer.read():
            raise ValueError("the answer is not the overview")


def _get(site: str) -> bool:
    try:
        with urllib.request.urlopen(site, timeout=60) as answer:
            return answer.status == 200
    except urllib.error.URLError as error:
        if isinstance(error.reason, ConnectionRefusedError):
            return False
        raise


def _until(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(0.02)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        plant(Path(folder), RUNS)
        print(f"{RUNS:,} runs planted in {time.perf_counter() - start:.1f} s")
        bench_pages(Path(folder))
        for count in (1, 2):
            bench_viewers(Path(folder), count)
