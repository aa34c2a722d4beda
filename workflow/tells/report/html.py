"""HTML that is safe by construction: whatever is not a tag made here is escaped."""

from __future__ import annotations

import html
from collections.abc import Iterable

from tells.report.named_table import NamedTable

_VOID = {"meta", "br"}


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


Child = str | None


def tag(name: str, /, *children: Child, **attributes: str | None) -> Html:
    """An element.

    Args:
        name: of the element.
        *children: what stands in it; a text that is no `Html` is escaped, None is left out.
        **attributes: by name, with a hyphen for an underscore (`class_` is `class`); None is left out.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID:
        return Html(f"<{name}{written}>")
    return Html(f"<{name}{written}>{joined(children)}</{name}>")


def joined(children: Iterable[Child]) -> Html:
    """Elements and texts one after the other."""
    return Html("".join(one if isinstance(one, Html) else html.escape(one) for one in children if one is not None))


def table_element(table: NamedTable, *, anchor: str) -> Html:
    """A table that can be read without scripts; it scrolls sideways where it is too wide.

    Args:
        table: of a study.
        anchor: of it on the page.
    """
    head = tag("tr", *(tag("th", column.name, scope="col") for column in table.columns))
    rows = [
        tag("tr", *(_cell(cell, right=column.right) for cell, column in zip(cells, table.columns, strict=True)))
        for cells in table.cells()
    ]
    described = f"about-{anchor}"
    inner = tag("table", tag("thead", head), tag("tbody", *rows), aria_label=table.title, aria_describedby=described)
    # Below the part that scrolls, where it breaks at the width of the screen.
    caption = tag("p", f"{table.caption}.", class_="caption", id=described)
    scroll = tag("div", inner, class_="scroll", tabindex="0", role="group", aria_label=table.title)
    return joined((scroll, caption))


def _cell(text: str, *, right: bool) -> Html:
    return tag("td", text, class_="number" if right else None)


def facts_element(facts: Iterable[tuple[str, str | None]]) -> Html:
    """Names and values; those without a value are left out."""
    known = [(name, value) for name, value in facts if value]
    return tag("dl", *(part for name, value in known for part in (tag("dt", name), tag("dd", value))), class_="facts")
