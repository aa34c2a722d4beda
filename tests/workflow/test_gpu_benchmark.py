"""Benchmarks that need what is not here run at least on what is."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from workflow_helpers import ROOT

pytestmark = pytest.mark.slow
SCRIPT = ROOT / "tests/benchmarks/bench_gpu.py"


def test_the_benchmark_of_gpus_measures_a_tiny_model_on_the_processor():
    sizes = ("--shape", "tiny", "--device", "cpu", "--rows", "8", "--prompt-tokens", "16", "--tokens", "8")
    done = subprocess.run(
        [sys.executable, SCRIPT, *sizes, "--repeats", "1"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    rows = re.findall(r"^\| (\w[\w ]*) \| (\d+) \| (\d+) \| ([\d.]+) \| – \|$", done.stdout, flags=re.MULTILINE)
    assert [row[0] for row in rows] == ["sampling", "steering grid", "replay"]
    assert all(float(ratio) > 0 for *_, ratio in rows)
