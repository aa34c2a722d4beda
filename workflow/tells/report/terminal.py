"""Where reports are printed, and what their titles say."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

_WIDTH_OF_FILES = 150


def console_of(*, record: bool = False) -> Console:
    """The terminal; a file or pipe is as wide as the tables want."""
    from rich.console import Console

    return Console(record=record, width=None if sys.stdout.isatty() else _WIDTH_OF_FILES)


def model_title(model: Mapping[str, Any] | None) -> str:
    """Name and revision of a model; the user's own samples have none."""
    return "the user's own samples" if model is None else f"{model['name']} ({model['revision']})"
