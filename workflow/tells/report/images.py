"""Figures as images, drawn by one browser for all of them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from tells.progress import progress
from tells.report.html_frame import LIBRARY
from tells.tables import write_atomically

logger = logging.getLogger(__name__)
FORMATS = ("svg", "pdf", "png")
_WIDTH, _HEIGHT = 860, 520
# Of a picture made of points: twice as many each way.
_PNG_SCALE = 2
_SECONDS = 60.0
_NO_KALEIDO = "figures are drawn by kaleido: `pip install tells[figures]`"
_NO_BROWSER = (
    "figures are drawn by a browser, and no Chrome or Chromium is found here: install one (`apt-get install chromium`, "
    "or `kaleido_get_chrome`), or name it in the environment variable BROWSER_PATH"
)


class DrawingError(RuntimeError):
    """What draws images is not here, or does not start."""


@dataclass(frozen=True)
class Image:
    """A figure on its way to a file.

    Attributes:
        drawing: as Plotly's JSON.
        path: of the file, which says its format.
    """

    drawing: Mapping[str, Any]
    path: Path


def write_images(images: Sequence[Image]) -> dict[Path, str]:
    """Write figures as images.

    Args:
        images: figures with the files they go to.

    Returns:
        Why images could not be drawn, by path.

    Raises:
        DrawingError: kaleido or a browser is missing, or does not start.
        OSError: the folder cannot be written.
    """
    if not images:
        return {}
    try:
        from choreographer.channels import ChannelClosedError
        from kaleido.errors import BrowserClosedError, BrowserFailedError, ChromeNotFoundError
    except ModuleNotFoundError as error:
        raise DrawingError(f"{error}: {_NO_KALEIDO}") from None
    try:
        with (
            as_file(files("tells.report") / "assets" / LIBRARY) as library,
            progress(len(images), "drawing figures", "images") as advance,
        ):
            return asyncio.run(_written(images, library, advance))
    except ChromeNotFoundError:
        raise DrawingError(_NO_BROWSER) from None
    except (BrowserFailedError, BrowserClosedError, ChannelClosedError) as error:
        raise DrawingError(f"the browser that draws figures does not start, or ended: {error}") from None


async def _written(images: Sequence[Image], library: Path, advance: Callable[[int], None]) -> dict[Path, str]:
    """Draw one after the other in one tab; without MathJax, which would be fetched."""
    from kaleido import Kaleido
    from kaleido.errors import JavascriptError, KaleidoError

    problems: dict[Path, str] = {}
    async with Kaleido(n=1, timeout=_SECONDS, mathjax=False, plotlyjs=library) as opened:
        for image in images:
            layout = image.drawing["layout"]
            size = {"width": layout.get("width") or _WIDTH, "height": layout.get("height") or _HEIGHT}
            kind = image.path.suffix.removeprefix(".")
            scale = _PNG_SCALE if kind == "png" else 1
            try:
                content = await opened.calc_fig(image.drawing, opts={"format": kind, "scale": scale, **size})
            except (TimeoutError, JavascriptError, KaleidoError) as error:
                logger.warning("%s cannot be drawn: %s", image.path, error)
                problems[image.path] = str(error) or type(error).__name__
                advance(1)
                continue
            with write_atomically(image.path) as temporary:
                temporary.write_bytes(content)
            advance(1)
    return problems
