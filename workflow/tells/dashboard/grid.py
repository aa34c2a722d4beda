"""Tables of rows in the browser: sorted on the server where they are long, so that only the rows in view travel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import dash_ag_grid as dag
import polars as pl

_PAGE = 100
# A dash is a value that is absent; a row that is still to come shows nothing.
_ABSENT = "!params.data ? '' : params.value == null ? '–'"


@dataclass(frozen=True)
class Column:
    """A column of a grid.

    Attributes:
        field: the column of the table.
        heading: what the reader sees.
        kind: how its cells are shown; numbers stand to the right.
        digits: behind the point, of a number.
        width: in pixels; None to share what is left.
        veiled: blur its cells until they are clicked, for texts that may do harm.
    """

    field: str
    heading: str
    kind: Literal["text", "number", "whole", "flag"] = "text"
    digits: int = 3
    width: int | None = None
    veiled: bool = False


def grid(
    identifier: Any,
    columns: Sequence[Column],
    *,
    label: str,
    key: str,
    rows: pl.DataFrame | None = None,
    several: bool = False,
    selected: Sequence[str] = (),
    height: int = 420,
) -> dag.AgGrid:
    """A table that can be sorted, and whose rows can be selected.

    Args:
        identifier: of the element.
        columns: what is shown.
        label: what the rows are, for readers who do not see them.
        key: the column that tells rows apart; it need not be shown.
        rows: all of them; None for a grid that asks `getRowsRequest` for those in view.
        several: whether more than one row may be selected.
        selected: keys of the rows that are selected at first.
        height: in pixels.
    """
    options: dict[str, Any] = {
        "rowSelection": {
            "mode": "multiRow" if several else "singleRow",
            "enableClickSelection": True,
            "checkboxes": several,
            "headerCheckbox": False,
        },
        "enableCellTextSelection": True,
        "ensureDomOrder": True,
        "animateRows": False,
        # Columns such as `accuracy.score` are names, not paths.
        "suppressFieldDotNotation": True,
        "selectionColumnDef": {"headerName": "choose", "width": 90},
        "localeText": {"noRowsToShow": "no rows"},
        # A row stands there before the server has told what is in it; to choose it would choose nothing.
        "rowClassRules": {"tells-waiting": "!params.data"},
    }
    chosen: Any = {"ids": list(selected)}
    told: dict[str, Any] = {}
    if rows is None:
        options |= {"cacheBlockSize": _PAGE, "maxBlocksInCache": 20, "rowBuffer": 20}
        told = {"rowModelType": "infinite"}
    else:
        told = {"rowData": _records(rows, columns, key), "selectedRows": chosen}
    return dag.AgGrid(
        id=identifier,
        columnDefs=[_definition(column) for column in columns],
        defaultColDef={"sortable": True, "resizable": True, "filter": False, "suppressHeaderMenuButton": True},
        dashGridOptions={**options, "context": {"label": label}},
        getRowId=f"params.data['{key}']",
        className="tells-grid",
        style={"height": height},
        **told,
    )


def slice_of(
    rows: pl.DataFrame, columns: Sequence[Column], key: str, request: Mapping[str, Any] | None
) -> dict[str, Any]:
    """What a grid of long tables asks for: the rows in view, sorted as its headings are.

    Args:
        rows: all rows.
        columns: of the grid.
        key: the column that tells rows apart.
        request: of the grid: startRow, endRow, sortModel.
    """
    if request is None:
        return {"rowData": [], "rowCount": 0}
    rows = sorted_by(rows, request.get("sortModel") or ())
    view = rows.slice(request["startRow"], request["endRow"] - request["startRow"])
    return {"rowData": _records(view, columns, key), "rowCount": rows.height}


def sorted_by(rows: pl.DataFrame, model: Sequence[Mapping[str, str]]) -> pl.DataFrame:
    """Rows in the order of a grid's headings; columns that the table lacks are passed over."""
    model = [one for one in model if one["colId"] in rows.columns]
    if not model:
        return rows
    return rows.sort(
        [one["colId"] for one in model],
        descending=[one["sort"] == "desc" for one in model],
        nulls_last=True,
        maintain_order=True,
    )


def _records(rows: pl.DataFrame, columns: Sequence[Column], key: str) -> list[dict[str, Any]]:
    wanted = list(dict.fromkeys([key, *(column.field for column in columns)]))
    return rows.select(pl.col(name) for name in wanted).to_dicts()


def _definition(column: Column) -> dict[str, Any]:
    told: dict[str, Any] = {"field": column.field, "headerName": column.heading, "headerTooltip": column.heading}
    if column.width is not None:
        told["width"] = column.width
    else:
        told |= {"flex": 1, "minWidth": 90}
    if column.kind in ("number", "whole"):
        shape = f",.{column.digits}f" if column.kind == "number" else ",.0f"
        told |= {
            "type": "rightAligned",
            "valueFormatter": {"function": f"{_ABSENT} : d3.format('{shape}')(params.value)"},
        }
    elif column.kind == "flag":
        told["valueFormatter"] = {"function": f"{_ABSENT} : params.value ? 'yes' : 'no'"}
    else:
        told["tooltipField"] = None if column.veiled else column.field
    if column.veiled:
        told["cellClass"] = "veiled"
    return told
