"""Finished runs of a job, kept in a file until its table is written: a job that fails goes on where it was.

One run is one line, written by one system call as soon as the run is there, and found again by the hash of all that
decides it; a line that a killed job left torn is cut off. The numbers are kept in single precision, like the table's.
"""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tells.models.engines.served_protocol import Row

logger = logging.getLogger(__name__)
_NUMBERS = np.dtype("<f4")


def finished_rows_path(output: str | Path) -> Path:
    """Where the finished runs of a job lie: beside the table that it makes."""
    return Path(output).with_suffix(".finished.jsonl")


class FinishedRows:
    """Finished runs by their key; without a path none is kept.

    Only the job that makes the output may use its file: see `tells.jobs.output_lock`.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._descriptor: int | None = None
        self._rows: dict[str, Row] = {}

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def kept(self) -> bool:
        """Whether there is a file."""
        return self._path is not None

    def get(self, key: str) -> Row | None:
        """The run of a key, if it is finished."""
        return self._rows.get(key)

    @contextlib.contextmanager
    def opened(self) -> Iterator[FinishedRows]:
        """Read what is there, and let runs be added until the end of the block."""
        if self._path is None:
            try:
                yield self
            finally:
                self._rows.clear()
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            self._read()
            yield self
        finally:
            os.fsync(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = None
            self._rows.clear()

    def add(self, key: str, row: Row) -> None:
        """Keep a finished run.

        Raises:
            OSError: the disk is full; the runs before it are kept.
        """
        self._rows[key] = row
        if self._descriptor is None:
            return
        line = json.dumps({"key": key, **_packed(row)}, separators=(",", ":")).encode() + b"\n"
        left = memoryview(line)
        while left:
            left = left[os.write(self._descriptor, left) :]

    def _read(self) -> None:
        content = self._path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):
            os.ftruncate(self._descriptor, len(whole))
        unreadable = 0
        for line in whole.splitlines():
            try:
                record = json.loads(line)
                self._rows[record.pop("key")] = _unpacked(record)
            except (ValueError, KeyError, TypeError, AttributeError):
                unreadable += 1
        if unreadable:
            logger.warning("%s: %d line(s) cannot be read; these runs are drawn again", self._path, unreadable)


def _packed(row: Row) -> dict[str, object]:
    tops = None if row.topk_logprobs is None else _text(np.asarray(row.topk_logprobs, _NUMBERS))
    return {
        "token_ids": row.token_ids,
        "finish_reason": row.finish_reason,
        "token_logprobs": _text(np.asarray(row.token_logprobs, _NUMBERS)),
        "topk_logprobs": tops,
    }


def _unpacked(record: dict[str, object]) -> Row:
    token_ids, packed = record["token_ids"], record["topk_logprobs"]
    own = _numbers(record["token_logprobs"]).tolist()
    tops = None if packed is None else _numbers(packed).reshape(len(token_ids), -1).tolist()
    if len(own) != len(token_ids):
        raise ValueError("not one number per token")
    return Row(token_ids, record["finish_reason"], own, tops)


def _text(numbers: np.ndarray) -> str:
    return base64.b64encode(numbers.tobytes()).decode()


def _numbers(text: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text, validate=True), _NUMBERS)
