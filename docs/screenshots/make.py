"""Take the screenshots of the dashboard from the demo's results: `python docs/screenshots/make.py`, after `make demo`.

Needs the test environment (`make setup-test`) and Chromium.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[1]
# What each page shows, and what is opened there before the picture is taken.
PAGES = {
    "overview": "",
    "uncertainty": "uncertainty?experiment=demo&dataset=sums",
    "traits": "traits?experiment=demo",
    "safety": "safety?experiment=demo",
    "agreement": "agreement?experiment=demo",
    "compare": "compare",
    "files": "files?experiment=demo",
}


def main() -> None:
    """Serve the results, and take a picture of every page at 1280 pixels."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tells.cli", "dashboard", str(ROOT / "experiments"), "--port", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    site = f"http://127.0.0.1:{port}/"
    try:
        _wait_for(site)
        with sync_playwright() as driver:
            path = os.environ.get("CHROMIUM") or shutil.which("chromium")
            browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
            page = browser.new_page(viewport={"width": 1280, "height": 1000})
            for name, address in PAGES.items():
                _take(page, site + address, FOLDER / f"{name}.png")
            browser.close()
    finally:
        server.terminate()
        server.wait()


def _wait_for(site: str) -> None:
    for _ in range(300):
        try:
            urllib.request.urlopen(site, timeout=5).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise SystemExit(f"no answer from {site}")


def _take(page: Page, address: str, path: Path) -> None:
    page.goto(address)
    page.wait_for_selector("main h1")
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(1500)
    height = min(page.evaluate("document.documentElement.scrollHeight"), 1800)
    page.set_viewport_size({"width": 1280, "height": height})
    page.wait_for_timeout(500)
    page.screenshot(path=path)
    page.set_viewport_size({"width": 1280, "height": 1000})


if __name__ == "__main__":
    main()
