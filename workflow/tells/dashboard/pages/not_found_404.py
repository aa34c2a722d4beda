"""The page of an address that there is not."""

from __future__ import annotations

from typing import Any

import dash
from dash import dcc, html

from tells.dashboard.components import page

dash.register_page(__name__, name="Not found", title="Tells: not found")


def layout(**_: Any) -> html.Main:
    """The page."""
    return page(
        "There is no such page", html.P(["See ", dcc.Link("what there is", href=dash.get_relative_path("/")), "."])
    )
