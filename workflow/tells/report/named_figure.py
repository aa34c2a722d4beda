"""A figure with its name and caption, made when it is asked for; a broken file costs that figure and no other."""

from __future__ import annotations

import html
import logging
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from tells.report.study_files import UNREADABLE, in_words

logger = logging.getLogger(__name__)
# Characters of an axis title that a figure has room for in a line.
_AXIS = 46


@dataclass(frozen=True)
class Drawn:
    """What came of a figure.

    Attributes:
        figure: None where there is nothing to draw.
        reason: why there is none; None with a figure.
        broken: whether that is because of a file.
    """

    figure: go.Figure | None
    reason: str | None = None
    broken: bool = False


@dataclass(frozen=True)
class NamedFigure:
    """A main figure of a study.

    Attributes:
        name: unique in its study; small letters, digits, dots and hyphens, so that it can be a file's name.
        title: what is shown.
        caption: how it is read.
        make: gives the figure; reads the files.
    """

    name: str
    title: str
    caption: str
    make: Callable[[], go.Figure]

    def drawn(self) -> Drawn:
        """Make the figure; what cannot be read is told in words."""
        try:
            figure = self.make()
        except UNREADABLE as error:
            logger.warning("figure %s cannot be drawn: %s", self.name, error)
            return Drawn(None, in_words(error), broken=True)
        return Drawn(figure) if figure.data else Drawn(None, _said(figure))


def basis(figure: go.Figure) -> str:
    """The subtitle as plain text: what the figure rests on."""
    return _unescaped(figure.layout.title.subtitle.text or "")


def noted(figure: go.Figure, words: str) -> go.Figure:
    """The figure with more words in its subtitle."""
    said = figure.layout.title.subtitle.text
    figure.update_layout(title={"subtitle": {"text": f"{said};<br>{words}" if said else words}})
    return figure


def vector_graphics(figure: go.Figure) -> dict[str, Any]:
    """A figure for files, as Plotly's JSON: points as vectors and not by WebGL, long axis titles in lines.

    A page of many figures would ask for more WebGL contexts than a browser gives, and an SVG would hold a raster image.
    """
    drawn = figure.to_plotly_json()
    for trace in drawn["data"]:
        if trace["type"] == "scattergl":
            trace["type"] = "scatter"
            trace.pop("customdata", None)
    for name, axis in drawn["layout"].items():
        if name.startswith(("xaxis", "yaxis")) and axis.get("title", {}).get("text"):
            words = axis["title"]["text"].replace("<br>", " ")
            axis["title"]["text"] = "<br>".join(textwrap.wrap(words, _AXIS, break_long_words=False))
    return drawn


def file_name(*parts: str) -> str:
    """A name that can be a file's, from words of the data: `epistemic/optimism` becomes `epistemic-optimism`."""
    words = "-".join(parts).lower().replace("_", "-").replace("/", "-").replace("@", "-at-")
    return "".join(one if one.isascii() and (one.isalnum() or one in ".-") else "-" for one in words).strip(".-")


def _said(figure: go.Figure) -> str:
    """The words of a figure that says why it is empty."""
    return " ".join(_unescaped(one.text) for one in figure.layout.annotations) or "nothing to show"


def _unescaped(text: str) -> str:
    return html.unescape(text.replace("<br>", " "))
