"""Which GPUs a job on this machine takes: each locks free ones, so that two jobs never share one by accident.

On SLURM the scheduler gives the devices, and this does nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

LOCKS = Path(".snakemake/tells-locks")
VISIBLE = "CUDA_VISIBLE_DEVICES"
_LISTED = re.compile(r"^(?P<slice>\s+MIG|GPU) .*\(UUID: (?P<uuid>[^)]+)\)", re.MULTILINE)


class NoDeviceError(RuntimeError):
    """There are not as many GPUs as a job asks for."""


def local_devices() -> list[str]:
    """Identifiers of this machine's GPUs, or of the slices of those that are partitioned; none without a driver.

    What CUDA_VISIBLE_DEVICES allows, where it is set.
    """
    if (told := os.environ.get(VISIBLE)) is not None:
        return [name.strip() for name in told.split(",") if name.strip()]
    try:
        done = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return []
    devices: list[str] = []
    whole: str | None = None
    for found in _LISTED.finditer(done.stdout if done.returncode == 0 else ""):
        if found["slice"] == "GPU":
            devices.append(found["uuid"])
            whole = found["uuid"]
        else:
            # A partitioned GPU can be used by its slices alone.
            if whole in devices:
                devices.remove(whole)
            devices.append(found["uuid"])
    return devices


@contextlib.contextmanager
def reserved_devices(count: int, *, patience: float = 600.0) -> Iterator[list[str]]:
    """Hold so many free GPUs while the body runs, with CUDA_VISIBLE_DEVICES set to them.

    Args:
        count: how many; 0 holds none and changes nothing.
        patience: seconds to wait until enough are free.

    Yields:
        Their identifiers; none on a machine without GPUs, and on SLURM, which has given them already.

    Raises:
        NoDeviceError: the machine has GPUs, but not so many.
        TimeoutError: not enough became free.
    """
    devices = local_devices() if count and "SLURM_JOB_ID" not in os.environ else []
    if not devices:
        yield []
        return
    if count > len(devices):
        raise NoDeviceError(
            f"this job needs {count} GPUs and this machine has {len(devices)}: lower engine.tensor_parallel_size"
        )
    before = os.environ.get(VISIBLE)
    with contextlib.ExitStack() as held:
        taken = _take(devices, count, patience, held)
        os.environ[VISIBLE] = ",".join(taken)
        try:
            yield taken
        finally:
            if before is None:
                del os.environ[VISIBLE]
            else:
                os.environ[VISIBLE] = before


def _take(devices: list[str], count: int, patience: float, held: contextlib.ExitStack) -> list[str]:
    """Lock the first free devices, all or none: two jobs that each hold half of what they need would wait for ever."""
    LOCKS.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + patience
    while True:
        with contextlib.ExitStack() as tried:
            taken = []
            for device in devices:
                if len(taken) < count and _lock(LOCKS / f"gpu-{_file_name(device)}", tried):
                    taken.append(device)
            if len(taken) == count:
                held.enter_context(tried.pop_all())
                return taken
        if time.monotonic() > deadline:
            raise TimeoutError(f"{count} of {len(devices)} GPUs did not become free within {patience:.0f} s")
        time.sleep(0.2)


def _lock(path: Path, stack: contextlib.ExitStack) -> bool:
    opened = open(path, "a")  # noqa: SIM115
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        opened.close()
        return False
    stack.callback(opened.close)
    return True


def _file_name(device: str) -> str:
    return re.sub(r"[^A-Za-z0-9-]", "_", device)
