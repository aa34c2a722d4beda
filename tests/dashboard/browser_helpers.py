"""What the tests in a real browser do all the time."""

from __future__ import annotations

from playwright.sync_api import Page


def open_page(tab: Page, address: str) -> None:
    """Open an address, and wait until all its figures and tables are drawn."""
    tab.goto(address)
    tab.wait_for_selector("main h1")
    settle(tab)


def settle(tab: Page) -> None:
    """Wait until no callback is under way and every figure is drawn."""
    tab.wait_for_function(
        "!document.title.startsWith('Updating') && !document.querySelector('[data-dash-is-loading=true]')"
        " && [...document.querySelectorAll('.figure')].every((one) => one.querySelector('.main-svg'))"
        " && [...document.querySelectorAll('.tells-grid')].every((one) => one.querySelector('.ag-header-cell')"
        " && one.querySelector('.ag-row, .ag-overlay-no-rows-center') && !one.querySelector('.ag-row-loading'))"
    )
    tab.wait_for_load_state("networkidle")
