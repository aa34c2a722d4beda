"""The Dash app: its frame, its pages, and what keeps it read-only."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import dash
from dash import Dash, dcc, html

from tells.dashboard.downloads import add_downloads
from tells.dashboard.pages import PAGES
from tells.dashboard.security import harden
from tells.dashboard.store import PACKED_KEY, STORE_KEY, Store, current_store


def make_app(
    root: Path, *, base_path: str = "/", frame_ancestors: Sequence[str] = ("'none'",), packed: Path | None = None
) -> Dash:
    """The app over the results below a folder.

    Args:
        root: the folder that holds experiments/ and logs/.
        base_path: the address below which it is served; begins and ends with a slash.
        frame_ancestors: who may show it in a frame: `'none'`, `'self'` or origins.
        packed: a folder like `root`, shown as the packed demo run while `root` holds no results.

    Raises:
        ValueError: the base path does not begin and end with a slash.
    """
    if not (base_path.startswith("/") and base_path.endswith("/")):
        raise ValueError(f"the base path {base_path!r} must begin and end with a slash")
    app = Dash(
        "tells.dashboard",
        use_pages=True,
        pages_folder="",
        assets_folder=str(Path(__file__).with_name("assets")),
        url_base_pathname=base_path,
        suppress_callback_exceptions=True,
        title="Tells",
        update_title="",
        add_log_handler=False,
        enable_mcp=False,
        index_string=_INDEX,
    )
    app.server.config[STORE_KEY] = Store(root.resolve())
    app.server.config[PACKED_KEY] = Store(packed.resolve(), packed=True) if packed else None
    for module in PAGES:
        module.register(app)
    app.layout = _frame
    add_downloads(app.server, base_path)
    harden(app.server, app.csp_hashes, frame_ancestors)
    return app


def _frame() -> html.Div:
    links = [
        html.Li(dcc.Link(one["name"], href=one["relative_path"]))
        for one in dash.page_registry.values()
        if one["path_template"] is None and one["name"] != "Not found"
    ]
    return html.Div(
        [
            html.A("Skip to the content", href="#main", className="skip"),
            html.Header(
                [
                    html.Strong("Tells: packed demo run" if current_store().packed else "Tells"),
                    html.Nav(html.Ul(links), **{"aria-label": "Pages"}),
                    html.Span(
                        [
                            html.Button("Copy link", type="button", **{"data-action": "copy"}),
                            html.Button("Light or dark", type="button", **{"data-action": "theme"}),
                        ],
                        className="tools",
                    ),
                ]
            ),
            dash.page_container,
        ]
    )


_INDEX = """<!DOCTYPE html>
<html lang="en">
    <head>
        {%metas%}
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <meta name="color-scheme" content="light dark">
        <title>{%title%}</title>
        {%favicon%}
        {%css%}
    </head>
    <body>
        {%app_entry%}
        <footer>
            {%config%}
            {%scripts%}
            {%renderer%}
        </footer>
    </body>
</html>"""
