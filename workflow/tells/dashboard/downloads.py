"""Downloads: a file as it lies on disk, a table as CSV, and the rows that a page shows."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from urllib.parse import urlencode

import polars as pl
from dash import get_relative_path, html
from flask import Flask, Response, abort, request, send_file

from tells.dashboard.security import within
from tells.dashboard.store import Store, current_store
from tells.tables import TableError

RowSource = Callable[[Store, Mapping[str, str]], pl.DataFrame]
_SOURCES: dict[str, RowSource] = {}
_KINDS = {"csv": "text/csv", "parquet": "application/vnd.apache.parquet"}


def row_source(name: str) -> Callable[[RowSource], RowSource]:
    """Register what makes the rows of a page from the query of its address.

    Args:
        name: of the rows, which the downloaded file bears.
    """

    def register(source: RowSource) -> RowSource:
        _SOURCES[name] = source
        return source

    return register


def download_links(name: str, query: Mapping[str, str]) -> html.P:
    """Links that give the rows of a page as CSV and as Parquet.

    Args:
        name: of a row source.
        query: the page's state.
    """
    ask = f"?{urlencode(query)}" if query else ""
    links = [
        html.A(f"{kind.upper() if kind == 'csv' else 'Parquet'}", href=get_relative_path(f"/rows/{name}.{kind}") + ask)
        for kind in _KINDS
    ]
    return html.P(["These rows as ", links[0], " or ", links[1], "."], className="downloads")


def file_link(relative: str, words: str, *, as_csv: bool = False) -> html.A:
    """A link to a file below experiments/.

    Args:
        relative: its path below experiments/.
        words: of the link.
        as_csv: turn a Parquet table into CSV on the way.
    """
    return html.A(words, href=get_relative_path(f"/download/{relative}") + ("?as=csv" if as_csv else ""))


def add_downloads(server: Flask, base_path: str) -> None:
    """Add the addresses of the downloads to the server, below its base path."""
    base = base_path.rstrip("/")

    @server.get(f"{base}/rows/<name>.<kind>")
    def rows(name: str, kind: str) -> Response:
        if name not in _SOURCES or kind not in _KINDS:
            abort(404)
        try:
            found = _SOURCES[name](current_store(), request.args)
        except LookupError:
            abort(404)
        except TableError as error:
            return Response(str(error), status=409, mimetype="text/plain")
        return _sent(found, f"{name}.{kind}", kind)

    @server.get(f"{base}/download/<path:relative>")
    def file(relative: str) -> Response:
        folder = current_store().root / "experiments"
        path = within(folder, relative)
        if path is None or path.suffix not in (".parquet", ".json", ".safetensors", ".html"):
            abort(404)
        if request.args.get("as") == "csv" and path.suffix == ".parquet":
            try:
                return _sent(pl.read_parquet(path), f"{path.stem}.csv", "csv")
            except (pl.exceptions.PolarsError, OSError) as error:
                return Response(f"{relative}: {error}", status=409, mimetype="text/plain")
        # An attachment always: a report holds scripts, and must not run with this app's rights.
        return send_file(path.resolve(), as_attachment=True, download_name=path.name)


def _sent(rows: pl.DataFrame, name: str, kind: str) -> Response:
    if kind == "parquet":
        buffer = io.BytesIO()
        rows.write_parquet(buffer)
        content: bytes = buffer.getvalue()
    else:
        content = flat(rows).write_csv().encode()
    answer = Response(content, mimetype=_KINDS[kind])
    answer.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return answer


def flat(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows with nested columns as JSON text, which CSV cannot hold otherwise."""
    nested = [name for name, dtype in rows.schema.items() if dtype.is_nested()]
    as_text = [
        pl.Series(name, [None if value is None else _json(value) for value in rows[name].to_list()], pl.String)
        for name in nested
    ]
    return rows.with_columns(as_text) if nested else rows


def _json(value: object) -> str:
    import json

    return json.dumps(value, ensure_ascii=False, default=str)
