"""The served demo and a real browser: what the dashboard's tests share."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright
from safety_page_helpers import served
from workflow_helpers import ROOT, build_demo

_CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
# What Chromium asks of machines far away by itself, a page of ours never does.
_QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
# Words of the driver of a machine without a GPU; no page can help them.
_DRIVER = re.compile(r"GL Driver Message|WebGL|GroupMarkerNotSet")


@pytest.fixture
def app(root: Path) -> Iterator[Any]:
    """The app over the results that a module has planted in its `root`, within a request."""
    yield from served(root)


@pytest.fixture(scope="session")
def results_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the demo's results on the real model, which a test may read but not change."""
    build_demo()
    folder = tmp_path_factory.mktemp("results")
    copy_results(ROOT, folder)
    return folder


def copy_results(source: Path, folder: Path) -> None:
    """Copy what the dashboard reads: results, logs and definitions."""
    shutil.copytree(
        source / "experiments/demo", folder / "experiments/demo", ignore=shutil.ignore_patterns("*.tmp", "shards")
    )
    shutil.copytree(source / "logs/demo", folder / "logs/demo")
    shutil.copy(source / "experiments/demo.yaml", folder / "experiments/demo.yaml")
    shutil.copytree(source / "config", folder / "config")


Serve = Callable[..., str]


@pytest.fixture(scope="session")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """Start `tells dashboard` on a folder; gives its address. All are ended after the tests."""
    running: list[subprocess.Popen] = []

    def start(root: Path, *options: str, base_path: str = "/") -> str:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        log = tmp_path_factory.mktemp("served") / "log.txt"
        command = [
            *(sys.executable, "-m", "tells.cli", "dashboard", str(root / "experiments"), "--port", str(port)),
            *("--base-path", base_path, *options),
        ]
        with open(log, "w") as output:
            process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, cwd=root)
        running.append(process)
        address = f"http://127.0.0.1:{port}{base_path}"
        _wait_for(address, process, log)
        return address

    yield start
    for process in running:
        process.terminate()
    for process in running:
        process.wait(timeout=20)


def _wait_for(address: str, process: subprocess.Popen, log: Path, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text()
        try:
            urllib.request.urlopen(address, timeout=5).close()
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
        else:
            return
    raise AssertionError(f"no answer from {address} in {seconds} s: {log.read_text()}")


@pytest.fixture(scope="session")
def site(serve: Serve, results_root: Path) -> str:
    """Address of the dashboard over the demo's results, ending with a slash."""
    return serve(results_root)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """Debian's Chromium, without a window."""
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, _CHROMIUM)), None)
    assert path, "no Chromium on this machine: apt-get install chromium, or set CHROMIUM to its path"
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=list(_QUIET))
        yield browser
        browser.close()


@pytest.fixture
def tab(chromium: Browser) -> Iterator[Page]:
    """A new tab of 1280 × 900 pixels; an error on its console, or in its scripts, fails the test."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: said.append(f"error: {error}"))
    page.set_default_timeout(30_000)
    yield page
    context.close()
    wrong = [line for line in said if line.startswith(("error", "warning")) and not _DRIVER.search(line)]
    assert not wrong, "\n".join(wrong)
