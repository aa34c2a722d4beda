"""What every job of the workflow does around its work: a log, a status file, a lock, and an eye on its head.

A head that is killed leaves its jobs running; such an orphan could overwrite what a restarted run has finished. So a
job holds a kernel lock per output while it lives, and ends itself when the head is gone. The status file carries what
changes with the clock (seconds, tokens, host), which the outputs themselves must not.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import os
import resource
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from tells.devices import LOCKS, VISIBLE, reserved_devices
from tells.startup import process_age, startup_figures
from tells.tables.files import write_json

logger = logging.getLogger(__name__)
HEAD_VARIABLE = "TELLS_HEAD"
_LOCK_PATIENCE_SECONDS = 120.0


@dataclass
class Report:
    """What a job says about itself: figures by name (tokens, runs, batch size), written to its status file."""

    figures: dict[str, Any] = field(default_factory=dict)
    sources: list[Callable[[], Mapping[str, Any]]] = field(default_factory=list)

    def follow(self, source: Callable[[], Mapping[str, Any]]) -> None:
        """Ask `source` for figures when the job ends, well or not: what a judge cost, say."""
        self.sources.append(source)

    def at_end(self) -> dict[str, Any]:
        """All figures."""
        return self.figures | {name: value for source in self.sources for name, value in source().items()}

    def add(self, **figures: Any) -> None:
        """Add figures."""
        self.figures.update(figures)


@contextlib.contextmanager
def job(log: str | Path, outputs: Iterable[str | Path], *, gpus: int = 0) -> Iterator[Report]:
    """Surround a job's work with a log, a status file and locks; yield the report that takes its figures.

    Args:
        log: the rule's log file; the status file stands beside it (`.status.json` for `.log`).
        outputs: the files the job makes.
        gpus: how many GPUs of this machine to hold; see `tells.devices`.

    Raises:
        SystemExit: the work failed; the traceback is in the log, one line on standard error.
    """
    log, outputs = Path(log), [Path(path) for path in outputs]
    status = log.with_suffix(".status.json")
    _log_to(log)
    watch_head()
    report, started = Report(), time.time()
    report.follow(partial(startup_figures, process_age()))
    facts = {"job": log.stem, "outputs": [str(path) for path in outputs], "host": socket.gethostname()}
    facts |= {"pid": os.getpid(), "slurm_job": os.environ.get("SLURM_JOB_ID"), "started": _iso(started)}
    try:
        with contextlib.ExitStack() as stack:
            for path in sorted(outputs):
                stack.enter_context(output_lock(path))
            stack.enter_context(reserved_devices(gpus))
            facts["devices"] = os.environ.get(VISIBLE) if gpus else None
            facts["waited_seconds"] = round(time.time() - started, 3)
            write_json(status, {**facts, "state": "running"})
            yield report
        write_json(status, {**facts, **_ended(started), "state": "done", "bytes": _sizes(outputs), **report.at_end()})
    except (Exception, KeyboardInterrupt) as error:
        logger.exception("failed")
        line = " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")
        # On a full disk the status cannot be written, and the reason still has to be told.
        with contextlib.suppress(OSError):
            write_json(status, {**facts, **report.at_end(), **_ended(started), "state": "failed", "last_line": line})
        print(f"{log.stem}: {line} (traceback in {log})", file=sys.stderr)
        raise SystemExit(1) from None


@contextlib.contextmanager
def output_lock(output: Path, patience: float = _LOCK_PATIENCE_SECONDS) -> Iterator[None]:
    """Hold the kernel's lock for an output; it goes when the process does, however that ends.

    Raises:
        TimeoutError: another process still writes this output.
    """
    LOCKS.mkdir(parents=True, exist_ok=True)
    name = hashlib.sha256(str(output.absolute()).encode()).hexdigest()[:24]
    with open(LOCKS / name, "a") as opened:
        deadline = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{output}: another process has been writing it for {patience:.0f} s") from None
                time.sleep(0.2)
        yield


def watch_head(interval: float = 0.5) -> None:
    """End this process when the head that started it is gone (`TELLS_HEAD` holds its id and start time)."""
    told = os.environ.get(HEAD_VARIABLE)
    if not told:
        return
    pid, started = told.split(":")

    def watch() -> None:
        while process_start(int(pid)) == started:
            time.sleep(interval)
        os._exit(143)

    threading.Thread(target=watch, name="watch-head", daemon=True).start()


def announce_head() -> None:
    """Called by the head: tell the jobs to come who started them, and keep them off the network.

    Only the local rules that fetch take HF_HUB_OFFLINE back.
    """
    os.environ[HEAD_VARIABLE] = f"{os.getpid()}:{process_start(os.getpid())}"
    os.environ["HF_HUB_OFFLINE"] = "1"


def process_start(pid: int) -> str | None:
    """Start time of a process in the kernel's ticks, None when it is gone: a process id alone can come again."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] == "Z" else fields[19]


def _log_to(log: Path) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(log, mode="w", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(levelname)s %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    for noisy in ("httpx", "filelock", "urllib3"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def _ended(started: float) -> dict[str, float | str]:
    memory = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
    return {"seconds": round(time.time() - started, 3), "finished": _iso(time.time()), "max_rss_mb": memory}


def _sizes(outputs: Iterable[Path]) -> dict[str, int]:
    """Bytes by kind of file."""
    sizes: dict[str, int] = {}
    for path in outputs:
        if path.is_file():
            sizes[path.suffix.removeprefix(".")] = sizes.get(path.suffix.removeprefix("."), 0) + path.stat().st_size
    return sizes


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
