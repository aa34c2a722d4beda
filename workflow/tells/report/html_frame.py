"""The frame of a page that needs nothing but itself: its style, and its figures and their library, packed into it."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from plotly.utils import PlotlyJSONEncoder

from tells.report.html import Html, joined, tag

LIBRARY = "plotly-cartesian.min.js"
"""The part of Plotly that draws on two axes: a third of the whole."""
# Significant digits of a coordinate.
_DIGITS = 6
FRAMED_BYTES = 1_500_000
"""What Chromium shows of a page within `snakemake --report`: addresses of 2 MiB, which hold it in base64."""
# No address but the page's own, so that nothing is fetched and nothing is sent.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data: blob:"


@dataclass(frozen=True)
class Section:
    """A part of a page.

    Attributes:
        title: its heading.
        anchor: by which it is linked to.
        body: what stands below the heading.
        drawings: its figures in the order of their places, as Plotly's JSON.
        contents: anchors and titles of its figures.
    """

    title: str
    anchor: str
    body: Html
    drawings: Sequence[Mapping[str, Any]]
    contents: Sequence[tuple[str, str]] = ()


def page(title: str, head: Sequence[Html], sections: Sequence[Section], *, metadata: Mapping[str, Any]) -> str:
    """A whole page.

    Args:
        title: of the page.
        head: what stands between the title and the contents.
        sections: what stands below.
        metadata: what made it, as in every file of the workflow.
    """
    drawings = [drawing for section in sections for drawing in section.drawings]
    main = tag(
        "main",
        tag("h1", title),
        *head,
        _contents(sections),
        *(
            tag("section", tag("h2", section.title), section.body, id=section.anchor, aria_label=section.title)
            for section in sections
        ),
    )
    made = json.dumps(metadata, sort_keys=True, ensure_ascii=False)
    parts = (
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="tells", content=made),
        tag("title", title),
        tag("style", Html(asset("report.css"))),
    )
    scripts = _scripts(drawings) if drawings else ()
    return "<!doctype html>\n" + tag("html", tag("head", *parts), tag("body", main, *scripts), lang="en") + "\n"


def _contents(sections: Sequence[Section]) -> Html | None:
    """Links to all figures, by section where there are several."""
    lists = [
        tag("ul", *(tag("li", tag("a", words, href=f"#{anchor}")) for anchor, words in section.contents))
        if section.contents
        else Html()
        for section in sections
    ]
    if len(sections) > 1:
        links = [tag("a", section.title, href=f"#{section.anchor}") for section in sections]
        lists = [joined((tag("p", link, class_="part"), inner)) for link, inner in zip(links, lists, strict=True)]
    return tag("nav", *lists, aria_label="Contents") if any(lists) else None


def _scripts(drawings: Sequence[Mapping[str, Any]]) -> tuple[Html, ...]:
    values = [_rounded(json.loads(json.dumps(drawing, cls=PlotlyJSONEncoder))) for drawing in drawings]
    told = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return (
        tag("script", packed(asset(LIBRARY)), id="library", type="text/plain"),
        tag("script", packed(told), id="drawings", type="text/plain"),
        tag("script", Html(asset("report.js"))),
    )


def _rounded(value: Any) -> Any:
    """Numbers as exact as a picture can be; a third of its length is digits that nobody sees."""
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}")
    if isinstance(value, dict):
        return {name: _rounded(one) for name, one in value.items()}
    return [_rounded(one) for one in value] if isinstance(value, list) else value


def packed(text: str) -> Html:
    """A text compressed, in letters that mean nothing to HTML."""
    return Html(base64.b64encode(gzip.compress(text.encode(), 9, mtime=0)).decode())


def asset(name: str) -> str:
    """A file that belongs to the pages."""
    return (files("tells.report") / "assets" / name).read_text(encoding="utf-8")
