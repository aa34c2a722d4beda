"""Jobs on one machine take GPUs that no other job holds; the driver's list is made up."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tells.devices import NoDeviceError, local_devices, reserved_devices

_TWO = "GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-aaa)\nGPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-bbb)\n"
_SLICED = """GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-aaa)
  MIG 3g.20gb     Device  0: (UUID: MIG-one)
  MIG 3g.20gb     Device  1: (UUID: MIG-two)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-bbb)
"""
_HOLD = """
import os, sys
from tells.devices import reserved_devices
with reserved_devices(int(sys.argv[1])):
    print(os.environ["CUDA_VISIBLE_DEVICES"], flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own, with a driver that lists two GPUs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    for name in ("CUDA_VISIBLE_DEVICES", "SLURM_JOB_ID"):
        monkeypatch.delenv(name, raising=False)
    _driver(tmp_path, _TWO)
    return tmp_path


def _driver(place: Path, listed: str) -> None:
    program = place / "nvidia-smi"
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{listed}END\n")
    program.chmod(0o755)


def _holder(count: int) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(count)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def test_the_slices_of_a_partitioned_gpu_take_its_place(place: Path):
    assert local_devices() == ["GPU-aaa", "GPU-bbb"]
    _driver(place, _SLICED)
    assert local_devices() == ["MIG-one", "MIG-two", "GPU-bbb"]


def test_what_the_environment_allows_goes_before_the_driver(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1, 3")
    assert local_devices() == ["1", "3"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert local_devices() == []


def test_two_jobs_take_different_devices_and_a_third_waits():
    first, second = _holder(1), _holder(1)
    taken = {first.stdout.readline().strip(), second.stdout.readline().strip()}
    assert taken == {"GPU-aaa", "GPU-bbb"}
    with pytest.raises(TimeoutError, match="1 of 2 GPUs did not become free"), reserved_devices(1, patience=0.3):
        pass
    freed = first.communicate()
    del freed
    with reserved_devices(1) as devices:
        assert set(devices) <= taken
        assert os.environ["CUDA_VISIBLE_DEVICES"] == devices[0]
    assert "CUDA_VISIBLE_DEVICES" not in os.environ
    second.communicate()


def test_a_device_is_free_again_when_its_job_was_killed():
    holder = _holder(2)
    assert holder.stdout.readline().strip() == "GPU-aaa,GPU-bbb"
    holder.kill()
    holder.wait()
    with reserved_devices(2, patience=5) as devices:
        assert devices == ["GPU-aaa", "GPU-bbb"]


def test_half_of_what_is_needed_is_not_held():
    one = _holder(1)
    one.stdout.readline()
    with pytest.raises(TimeoutError), reserved_devices(2, patience=0.3):
        pass
    with reserved_devices(1, patience=5) as devices:
        assert len(devices) == 1
    one.communicate()


def test_more_than_there_are_is_an_error_and_none_is_no_matter(place: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(NoDeviceError, match="needs 3 GPUs and this machine has 2"), reserved_devices(3):
        pass
    with reserved_devices(0) as devices:
        assert devices == []
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    with reserved_devices(5) as devices:
        assert devices == [], "SLURM has given them"
    monkeypatch.delenv("SLURM_JOB_ID")
    _driver(place, "")
    with reserved_devices(1) as devices:
        assert devices == []
