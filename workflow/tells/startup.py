"""What a job spends before its work begins: the start of Python, imports, and loading a model.

A process counts for itself: `tells.jobs` writes the figures to the job's status file, and `make bench` adds them up.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class Startup:
    """Seconds of start-up within a job's body, the models that were loaded, and what they run on."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.loads: list[str] = []
        self.machine: str | None = None
        self._depth = 0

    @contextlib.contextmanager
    def counted(self, model: str | None = None) -> Iterator[None]:
        """Count the seconds of a block as start-up; a block within another counts once.

        Args:
            model: name of the model that the block loads, if it loads one.
        """
        began, self._depth = time.monotonic(), self._depth + 1
        try:
            yield
            if model is not None:
                self.loads.append(model)
        finally:
            self._depth -= 1
            if not self._depth:
                self.seconds += time.monotonic() - began


_process = Startup()


def starting_up(model: str | None = None) -> contextlib.AbstractContextManager[None]:
    """Count a block of this process as start-up: slow imports, or the loading of `model`; see `Startup.counted`."""
    return _process.counted(model)


def runs_on(machine: str) -> None:
    """Say what this process's model runs on: the name of a GPU, or `cpu` with its threads."""
    _process.machine = machine


def startup_figures(before: float | None) -> dict[str, Any]:
    """What a status file says of this process's start.

    Args:
        before: age of the process (seconds) when its job began, `process_age()` at that moment.

    Returns:
        `startup_seconds`: from the start of the process to its job, and what counts as start-up within the job.
        `process_seconds`: from the start of the process until now. Both None where the age is not known.
        `model_loads`: how many models were loaded. Where one was, `model`, the last of them, and `machine`, if that
        was said.
    """
    now = process_age()
    known = before is not None and now is not None
    figures: dict[str, Any] = {
        "startup_seconds": round(before + _process.seconds, 3) if known else None,
        "process_seconds": round(now, 3) if known else None,
        "model_loads": len(_process.loads),
    }
    if _process.loads:
        figures["model"] = _process.loads[-1]
    if _process.machine is not None:
        figures["machine"] = _process.machine
    return figures


def process_age() -> float | None:
    """Seconds since this process was started, to a hundredth; None where the kernel does not tell (not Linux)."""
    try:
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK")
