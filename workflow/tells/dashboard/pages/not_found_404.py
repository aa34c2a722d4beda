"""The page of an address that there is not."""

from __future__ import annotations

from typing import Any

import dash
from dash import dcc, html

from tells.dashboard.components import page


def register(_app: dash.Dash) -> None:
    """Give the app this page."""
    dash.register_page("not_found_404", name="Not found", title="Tells: not found", layout=_layout)


def _layout(**_: Any) -> html.Main:
    """The page."""
    return page(
        "There is no such page", html.P(["See ", dcc.Link("what there is", href=dash.get_relative_path("/")), "."])
    )
