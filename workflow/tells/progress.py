"""Progress bars with counts and rates on a terminal, a log line now and then elsewhere."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections.abc import Callable, Iterator

logger = logging.getLogger(__name__)
_EVERY_SECONDS = 10.0


@contextlib.contextmanager
def progress(total: int, title: str, unit: str) -> Iterator[Callable[[int], None]]:
    """Yield a function that is told how many more are done.

    Args:
        total: how many there are.
        title: what is going on.
        unit: of what, in the plural.
    """
    done, started, reported = 0, time.monotonic(), time.monotonic()
    with contextlib.ExitStack() as stack:
        bar = None
        if sys.stderr.isatty():
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), TextColumn(unit), TimeRemainingColumn())
            bar = stack.enter_context(Progress(*columns, transient=True))
            task = bar.add_task(title, total=total)

        def advance(count: int) -> None:
            nonlocal done, reported
            done += count
            if bar is not None:
                bar.advance(task, count)
            elif time.monotonic() - reported > _EVERY_SECONDS:
                reported = time.monotonic()
                rate = done / (reported - started)
                logger.info("%s: %d of %d %s, %.1f a second", title, done, total, unit, rate)

        yield advance
    seconds = time.monotonic() - started
    logger.info("%s: %d %s in %.1f s", title, done, unit, seconds)
