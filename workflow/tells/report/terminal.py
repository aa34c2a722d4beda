"""Where reports are printed."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

_WIDTH_OF_FILES = 150


def console_of(*, record: bool = False) -> Console:
    """The terminal; a file or pipe is as wide as the tables want."""
    from rich.console import Console

    return Console(record=record, width=None if sys.stdout.isatty() else _WIDTH_OF_FILES)
