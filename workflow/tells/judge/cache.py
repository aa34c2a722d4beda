"""Every answer of a judge, kept: killed half-way and run again, a job asks only for what is missing.

A cache is a folder of JSON Lines files. Each job appends to a file of its own, under the kernel's lock, and reads
those of all others, so nothing is written by two (a database in one file is not safe on network file systems). An
answer is one line, written at once by one system call; a line that a killed job left torn is not read, and goes when
its file is next written.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import json
import logging
import os
import re
import time
from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path

from tells.judge.exchange import Reply, Request

logger = logging.getLogger(__name__)
_PATIENCE_SECONDS = 30.0
_LONGEST_NAME = 120


class Cache:
    """Answers by the key of their request.

    Attributes:
        folder: where the files of all jobs lie.
        path: the file this job writes.
    """

    def __init__(self, folder: Path, writer: str, *, patience: float = _PATIENCE_SECONDS) -> None:
        """Read everything in the folder; the file of this job is made with its first answer.

        Args:
            folder: made where it is missing.
            writer: name of the job, from which the name of its file is made.
            patience: seconds to wait for another process that writes the same file.

        Raises:
            ValueError: the writer's name holds neither letters nor digits.
        """
        self.folder, self.path, self._patience = folder, folder / f"{_slug(writer)}.jsonl", patience
        self._replies: dict[str, Reply] = {}
        self._read: dict[Path, int] = {}
        self._writers = 0
        self._descriptor: int | None = None
        self._opening: asyncio.Future[None] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self.refresh()

    def __len__(self) -> int:
        return len(self._replies)

    def get(self, key: str) -> Reply | None:
        """The answer to a request, if there is one."""
        return self._replies.get(key)

    def refresh(self) -> None:
        """Read what has been written since the last time, by any job."""
        for path in sorted(self.folder.glob("*.jsonl")):
            self._read_on(path)

    @contextlib.asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        """Hold this job's file, so that answers can be stored; may be entered many times over.

        Raises:
            TimeoutError: another process has been writing the file all the time.
        """
        self._writers += 1
        try:
            while self._descriptor is None:
                await self._open()
            yield
        finally:
            self._writers -= 1
            if self._writers == 0:
                self._close()

    def store(self, request: Request, reply: Reply) -> None:
        """Write an answer to the file; call it within `writing`."""
        if self._descriptor is None:
            raise RuntimeError("an answer can be stored only within `writing`")
        record = {"key": request.key, "model": request.model, "prompt": request.version, **asdict(reply)}
        line = json.dumps(record, ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode() + b"\n"
        left = memoryview(line)
        while left:
            left = left[os.write(self._descriptor, left) :]
        self._replies[request.key] = reply

    async def _open(self) -> None:
        """Take the lock without blocking the event loop; the first who needs it opens for all."""
        if self._opening is not None:
            await asyncio.wait({self._opening})
            return
        self._opening = asyncio.get_running_loop().create_future()
        descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            deadline = time.monotonic() + self._patience
            while not _locked(descriptor):
                if time.monotonic() > deadline:
                    raise TimeoutError(
                        f"{self.path}: another process has been writing it for {self._patience:.0f} s; "
                        "let it end, or end it"
                    )
                await asyncio.sleep(0.05)
            _drop_torn_line(descriptor)
            self._descriptor, descriptor = descriptor, -1
            self.refresh()
        finally:
            if descriptor >= 0:
                os.close(descriptor)
            self._opening.set_result(None)
            self._opening = None

    def _close(self) -> None:
        if self._descriptor is not None:
            # What this job wrote itself need not be read again.
            self._read[self.path] = os.fstat(self._descriptor).st_size
            os.fsync(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = None

    def _read_on(self, path: Path) -> None:
        start = self._read.get(path, 0)
        with open(path, "rb") as opened:
            size = os.fstat(opened.fileno()).st_size
            if size == start:
                return
            if size < start:
                start = 0
            opened.seek(start)
            content = opened.read()
        whole = content[: content.rfind(b"\n") + 1]
        self._read[path] = start + len(whole)
        unreadable = 0
        for line in whole.splitlines():
            try:
                record = json.loads(line)
                key, _, _ = record.pop("key"), record.pop("model"), record.pop("prompt")
                self._replies[key] = Reply(**record)
            except (ValueError, KeyError, TypeError, AttributeError):
                unreadable += 1
        if unreadable:
            logger.warning("%s: %d lines cannot be read; what they answered is asked again", path, unreadable)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _drop_torn_line(descriptor: int) -> None:
    """Cut what stands after the last line end: the next answer would be glued to it."""
    size = end = os.lseek(descriptor, 0, os.SEEK_END)
    while end > 0:
        start = max(0, end - 65536)
        found = os.pread(descriptor, end - start, start).rfind(b"\n")
        if found >= 0:
            end = start + found + 1
            break
        end = start
    if end < size:
        os.ftruncate(descriptor, end)


def _slug(writer: str) -> str:
    slug = re.sub(r"[^a-z0-9]+", "-", writer.lower()).strip("-")
    if not slug:
        raise ValueError(f"the writer's name {writer!r} holds neither letters nor digits: name it after its job")
    if len(slug) <= _LONGEST_NAME:
        return slug
    return f"{slug[:_LONGEST_NAME]}-{hashlib.sha256(writer.encode()).hexdigest()[:8]}"
