"""Every file of an experiment: what made it, and its download."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import dash
import polars as pl
from dash import Input, Output, State, dcc, html, no_update

from tells.config import PARTS
from tells.dashboard.binding import bind, bound, choice, held, held_id, search, switch
from tells.dashboard.components import address, card, empty_box, experiment_links, facts, page
from tells.dashboard.downloads import download_links, file_link, row_source
from tells.dashboard.grid import Column, grid, slice_of
from tells.dashboard.security import within
from tells.dashboard.store import Store, current_store
from tells.dashboard.urls import from_query, query_of

_PAGE = "files"


@dataclass(frozen=True)
class Chosen:
    """What is listed.

    Attributes:
        experiment: its name; empty for the first.
        study: one of the studies, the agreement, or `all`.
        name: a part of the path.
        shards: list the files of shards too.
        file: the file whose metadata are shown, below experiments/.
    """

    experiment: str = ""
    study: str = "all"
    name: str = ""
    shards: bool = False
    file: str = ""


_COLUMNS = (
    Column("file", "file", width=420),
    Column("stage", "stage", width=150),
    Column("state", "state", width=90),
    Column("model", "model", width=170),
    Column("revision", "revision", width=130),
    Column("seed", "seed", "whole", width=70),
    Column("configuration", "configuration", width=140),
    Column("seconds", "seconds", "number", digits=1, width=90),
    Column("bytes", "bytes", "whole", width=110),
    Column("changed", "changed (UTC)", width=180),
)


def register(app: dash.Dash) -> None:
    """Give the app this page."""
    dash.register_page(_PAGE, path="/files", name="Files", title="Tells: files", order=6, layout=_layout)
    bind(app, _PAGE, Chosen, _content)
    app.callback(
        Output("files-grid", "getRowsResponse"),
        Input("files-grid", "getRowsRequest"),
        State("files-rendered", "data"),
    )(_rows)
    app.callback(
        Output(held_id(_PAGE, "file"), "data"), Input("files-grid", "selectedRows"), prevent_initial_call=True
    )(_choose)
    app.callback(Output("files-details", "children"), Input(held_id(_PAGE, "file"), "data"), prevent_initial_call=True)(
        _details
    )


def _layout(**query: Any) -> html.Main:
    state = from_query(Chosen, query)
    names = current_store().experiments()
    if not names:
        return page("Files", empty_box("No experiment has been run here yet.", "make demo"))
    wanted = state.experiment or names[0]
    if wanted not in names:
        return page(
            "Files",
            html.P(f"There is no experiment {wanted!r} here."),
            html.P(["See ", dcc.Link("what there is", href=address(""))]),
            experiment_links(_PAGE, names, wanted),
        )
    state = replace(state, experiment=wanted)
    controls = [
        held(_PAGE, "experiment", wanted),
        choice(_PAGE, "study", "Study", ("all", *PARTS), state.study),
        search(_PAGE, "name", "Part of the name", state.name),
        switch(_PAGE, "shards", "files of shards too", state.shards),
        held(_PAGE, "file", state.file),
    ]
    return page(
        f"Files: {wanted}",
        experiment_links(_PAGE, names, wanted) if len(names) > 1 else None,
        bound(_PAGE, state, controls, _content(state)),
        html.Div(_details(state.file), id="files-details"),
    )


def _content(state: Chosen) -> html.Section:
    return card("Files", lambda: _listing(state))


def _listing(state: Chosen) -> html.Div:
    rows = files_of(current_store(), state)
    total = rows["bytes"].sum() / 2**20
    return html.Div(
        [
            html.P(f"{rows.height:,} files, {total:,.1f} MiB", className="note", id="files-count"),
            grid("files-grid", _COLUMNS, label="files", key="file", height=460),
            download_links("files", query_of(state)),
        ]
    )


def files_of(found: Store, state: Chosen) -> pl.DataFrame:
    """The files that the filters leave.

    Raises:
        LookupError: there is no such experiment.
    """
    if state.experiment not in found.experiments():
        raise LookupError(f"there is no experiment {state.experiment!r} here")
    rows = found.outputs(state.experiment, shards=state.shards)
    if state.study != "all":
        rows = rows.filter(pl.col("study") == state.study)
    return rows.filter(pl.col("file").str.contains(state.name, literal=True)) if state.name else rows


@row_source(_PAGE)
def _download(found: Store, query: Mapping[str, str]) -> pl.DataFrame:
    return files_of(found, from_query(Chosen, query))


def _rows(request: Any, query: str) -> Any:
    if request is None:
        return no_update
    return slice_of(files_of(current_store(), from_query(Chosen, query)), _COLUMNS, "file", request)


def _choose(rows: Any) -> Any:
    return rows[0]["file"] if rows else no_update


def _details(file: str) -> Any:
    """Metadata and downloads of one file."""
    if not file:
        return html.P("Click a row for its metadata and its download.", className="note")
    return card(file, lambda: _described(file))


def _described(file: str) -> html.Div:
    found = current_store()
    path = within(found.root / "experiments", file)
    if path is None:
        raise LookupError("there is no such file under experiments/")
    links: list[Any] = [file_link(file, f"Download {path.name}")]
    if path.suffix == ".parquet":
        links += [" or ", file_link(file, "as CSV", as_csv=True)]
    if path.suffix == ".html":
        return html.Div(html.P(links))
    metadata = found.metadata(path)
    told = [(name, value if isinstance(value, str) else json.dumps(value)) for name, value in metadata.items()]
    return html.Div([html.P(links), html.H3("Metadata"), facts(told), *_columns(found, path)])


def _columns(found: Store, path: Any) -> list[Any]:
    if path.suffix != ".parquet":
        return []
    listed = [(name, str(dtype)) for name, dtype in found.columns(path).items()]
    return [html.H3("Columns"), facts(listed)]
