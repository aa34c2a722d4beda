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
        " && one.querySelector('.ag-row, .ag-overlay-no-rows-center') && !one.querySelector('.tells-waiting'))"
    )
    tab.wait_for_load_state("networkidle")


def press_as_a_table_is_drawn(tab: Page, button: str, table: str) -> None:
    """Press a button just as a table tells, as one that was drawn does, that none of its rows is selected.

    Args:
        tab: the browser's.
        button: its words.
        table: its identifier, as the browser has it.
    """
    tab.get_by_role("button", name=button, exact=True).evaluate(
        """(button, table) => {
          window.dash_clientside.set_props(JSON.parse(table), {selectedRows: []});
          button.click();
        }""",
        table,
    )
