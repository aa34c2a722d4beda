"""Long tables of the traits page: sorted as the address says, with a download of exactly the rows shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
from dash import html

from tells.dashboard.downloads import download_links
from tells.dashboard.grid import Column, grid, slice_of
from tells.dashboard.traits.state import Chosen, sort_model
from tells.dashboard.urls import query_of

# Height of headings, in pixels.
_TWO_LINES = 52


@dataclass(frozen=True)
class Browser:
    """A table whose rows the server gives, and what opens one of them.

    Attributes:
        identifier: of the table.
        label: what its rows are.
        source: of its rows for download.
        field: of the page's state that holds the key of the opened row.
        click: what opening a row shows.
    """

    identifier: str
    label: str
    source: str
    field: str
    click: str

    def pieces(self, columns: Sequence[Column], state: Chosen, controls: Sequence[Any], count: str) -> list[Any]:
        """The table with its filters, the number of its rows, and its downloads.

        Args:
            columns: what is shown.
            state: of the page.
            controls: the filters.
            count: the number of rows, in words.
        """
        table = grid(self.identifier, columns, label=self.label, key="key")
        table.defaultColDef |= {"wrapHeaderText": True}
        table.dashGridOptions |= {"headerHeight": _TWO_LINES}
        model = {one["colId"]: one["sort"] for one in sort_model(state)}
        for definition in table.columnDefs:
            if definition["field"] in model:
                definition |= {"sort": model[definition["field"]], "sortIndex": list(model).index(definition["field"])}
        how = f"A click on a row, or the space bar, opens {self.click}; a click on a heading sorts."
        return [
            html.Div(controls, className="controls", role="group", **{"aria-label": f"Filters of the {self.label}"}),
            html.P(count, className="note", id="traits-count", role="status"),
            html.P(how, className="note"),
            table,
            html.Div(self.links(state), id=f"{self.source}-links"),
        ]

    def links(self, state: Chosen) -> html.P:
        """Downloads of the rows that a state shows, in its order."""
        return download_links(self.source, query_of(state))


def answer(rows: pl.DataFrame, columns: Sequence[Column], request: Mapping[str, Any]) -> tuple[dict[str, Any], list]:
    """The rows in view that a table asks for, and how it is sorted, as the state says it.

    Args:
        rows: all rows.
        columns: of the table.
        request: of the table.
    """
    order = [f"{one['colId']}.{one['sort']}" for one in request.get("sortModel") or ()]
    return slice_of(rows, columns, "key", request), order
