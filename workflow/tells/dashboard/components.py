"""Pieces that the pages are made of. Texts are text nodes: nothing a model wrote is read as Markdown or HTML."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from html import unescape
from typing import Any
from urllib.parse import urlencode

import polars as pl
from dash import dcc, get_relative_path, html

from tells.dashboard.store import current_store
from tells.tables import TableError

logger = logging.getLogger(__name__)
Children = Any
# Pixels of a figure that does not say its own.
_FIGURE_HEIGHT = 460


def page(title: str, *children: Children, subtitle: str | None = None) -> html.Main:
    """A page: its heading and its cards."""
    head = [html.H1(title), html.P(subtitle, className="subtitle")] if subtitle else [html.H1(title)]
    return html.Main([*head, *children], id="main", tabIndex="-1")


def card(title: str, content: Callable[[], Children], *, identifier: str | None = None) -> html.Section:
    """A card whose content is made now; where a file cannot be read it says so, and the rest of the page stands.

    Args:
        title: its heading.
        content: makes what stands below it.
        identifier: of the element, for callbacks and links.
    """
    known = {"id": identifier} if identifier else {}
    return html.Section([html.H2(title), guarded(title, content)], className="card", **known)


def guarded(name: str, content: Callable[[], Children]) -> Children:
    """What stands in a part of a page, or why it cannot be made, so that the rest of the page stands.

    Args:
        name: of the part, for the log.
        content: makes it.
    """
    try:
        return content()
    except (TableError, LookupError, OSError, TypeError, ValueError, pl.exceptions.PolarsError) as error:
        logger.info("%r cannot be shown", name, exc_info=error)
        return error_box(error)


def error_box(error: Exception) -> html.Div:
    """What is wrong with a file, in its own words; where the folder lies on the server is nobody's business."""
    said = error.args[0] if isinstance(error, LookupError) and error.args else error
    if isinstance(error, KeyError):
        said = f"the file lacks {said}: it was made by another version of this software"
    words = str(said).replace(f"{current_store().root}/", "")
    return html.Div([html.Strong("This cannot be shown. "), html.Span(words)], className="error", role="alert")


def empty_box(what: str, command: str) -> html.Div:
    """An empty place, and the line that fills it."""
    return html.Div([html.P(what), html.Pre(html.Code(command))], className="empty")


def figure(made: Any, *, identifier: Any, name: str | None = None) -> dcc.Graph:
    """A Plotly figure that can be saved as SVG.

    Args:
        made: the figure.
        identifier: of the element, for callbacks.
        name: of the image that a reader saves; needed where the identifier is no text.
    """
    config = {
        "displaylogo": False,
        "responsive": True,
        # Nothing of a run leaves this server.
        "showSendToCloud": False,
        "toImageButtonOptions": {"format": "svg", "filename": name or identifier},
    }
    style = {"height": made.layout.height or _FIGURE_HEIGHT}
    return dcc.Graph(id=identifier, figure=made, config=config, className="figure", style=style)


def captioned(made: Any, *, identifier: str) -> html.Figure:
    """A Plotly figure whose title and subtitle stand above it as text, which wraps where the page is narrow.

    Args:
        made: a figure of `tells.report.figures`; it is left as it is.
        identifier: of its graph.
    """
    title = made.layout.title
    told = [_as_text(title.text), _as_text(title.subtitle.text)]
    drawn = type(made)(made)
    drawn.layout.title = None
    drawn.update_layout(margin={"t": 24})
    words = [html.Strong(told[0]), *([html.Br(), told[1]] if told[1] else [])]
    return html.Figure([html.Figcaption(words), figure(drawn, identifier=identifier)], className="captioned")


def _as_text(words: str | None) -> str:
    """What Plotly would show of a text that was escaped for it."""
    return unescape((words or "").replace("<br>", " "))


def rows_table(columns: Sequence[str], rows: Sequence[Sequence[Children]], *, caption: str | None = None) -> html.Div:
    """A plain table that a reader of the screen understands; it scrolls sideways where it is too wide.

    Args:
        columns: headings.
        rows: [rows][columns] cells; an `html.Td` stands as it is.
        caption: what the numbers are.
    """
    parts: list[Any] = [html.Caption(caption)] if caption else []
    parts.append(html.Thead(html.Tr([html.Th(name, scope="col") for name in columns])))
    lines = [[cell if isinstance(cell, html.Td) else html.Td(cell) for cell in row] for row in rows]
    parts.append(html.Tbody([html.Tr(line) for line in lines]))
    label = {"aria-label": caption or "table"}
    return html.Div(html.Table(parts), className="scroll", tabIndex="0", role="group", **label)


def badge(state: str, title: str | None = None) -> html.Span:
    """The state of a study as a word in a colour."""
    return html.Span(state, className=f"badge {state}", title=title or state)


def interval_text(value: float | None, low: float | None, high: float | None, digits: int = 2) -> str:
    """A figure with its interval; a dash where there is none."""
    if value is None:
        return "–"
    if low is None or high is None:
        return f"{value:.{digits}f} [–]"
    separator = ".." if low < 0 else "–"
    return f"{value:.{digits}f} [{low:.{digits}f}{separator}{high:.{digits}f}]"


def experiment_links(study: str, names: Sequence[str], chosen: str) -> html.Nav:
    """Links to the same page of other experiments.

    Args:
        study: the page.
        names: of the experiments that have the study.
        chosen: the one that is shown.
    """
    links = [
        html.Li(
            dcc.Link(
                name,
                href=address(study, {"experiment": name}),
                className="here" if name == chosen else "",
            )
        )
        for name in names
    ]
    return html.Nav(html.Ul(links), className="experiments", **{"aria-label": "Experiments"})


def address(page_name: str, query: Mapping[str, str] | None = None) -> str:
    """Address of a page, below the base path."""
    return get_relative_path(f"/{page_name}") + (f"?{urlencode(query)}" if query else "")


def veil(text: Children) -> html.Div:
    """A text that may do harm: blurred until the reader asks for it."""
    return html.Div(
        [
            html.Button("Show the text", type="button", **{"data-action": "unveil", "aria-pressed": "false"}),
            html.Div(text, className="veil-text veiled-text", **{"aria-hidden": "true"}),
        ],
        className="veil",
    )


def facts(pairs: Sequence[tuple[str, Children]]) -> html.Dl:
    """Names and values, one a line; values that are None are left out."""
    shown = [(name, value) for name, value in pairs if value is not None]
    return html.Dl([part for name, value in shown for part in (html.Dt(name), html.Dd(value))], className="facts")
