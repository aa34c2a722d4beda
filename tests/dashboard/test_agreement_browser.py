"""The agreement page in a real browser, on the demo's real results."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from axe_playwright_python.sync_playwright import Axe
from browser_helpers import open_page, press_as_a_table_is_drawn, settle
from playwright.sync_api import Locator, Page, expect

from tells.dashboard.agreement.keys import read_key

pytestmark = [pytest.mark.demo, pytest.mark.slow]

# The machine may be busy with other tests.
expect.set_options(timeout=30_000)
FOLDER = "experiments/demo/agreement"
SAFETY = "agreement?place=safety%2Fbuiltin&x=token_entropy_mean&y=length"
# Where a point of the scatter lies in the window, and whose it is: its place in the second trace.
_POINT = """(place) => {
  const figure = document.querySelector('.figure[id*="scatter"] .js-plotly-plot');
  const at = figure.getBoundingClientRect(), layout = figure._fullLayout, trace = figure._fullData[1];
  return {x: at.left + layout._size.l + layout.xaxis.d2p(trace.x[place]),
          y: at.top + layout._size.t + layout.yaxis.d2p(trace.y[place]), key: trace.customdata[place]};
}"""
_RINGED = """() => document.querySelector('.figure[id*="scatter"] .js-plotly-plot')._fullData[0].x.length === 1"""


def choose(tab: Page, field: str, words: str) -> None:
    """Choose from the list of a field, as a reader does, and wait for the page that follows."""
    before = tab.url
    tab.locator(f"""[id='{{"field":"{field}","page":"agreement"}}']""").click()
    tab.get_by_role("option", name=words, exact=True).click()
    tab.wait_for_function("(before) => location.href !== before", arg=before)
    settle(tab)


def card(tab: Page, title: str) -> Locator:
    return tab.locator(".card", has=tab.get_by_role("heading", name=title, exact=True))


def first_row(tab: Page, side: str) -> Locator:
    """The sample of the largest difference on one side."""
    other = "y" if side == "x" else "x"
    table = card(tab, f"Surer by {side} than by {other}").locator(".tells-grid")
    table.scroll_into_view_if_needed()
    return table.locator(".ag-row[row-index='0']")


def reply_of(root: Path, key: Any) -> str:
    rows = pl.read_parquet(root / "experiments/demo" / key.study / key.collection / "samples.parquet")
    return rows.filter(prompt_id=key.prompt_id, sample=key.sample)["text"][0]


def squeezed(words: str | None) -> str:
    return "".join((words or "").split())


def test_filters_change_the_table_and_a_link_and_a_download_hold_the_same(tab: Page, site: str, results_root: Path):
    table = pl.read_parquet(results_root / FOLDER / "results.parquet").filter(pl.col("auroc").is_not_null())
    open_page(tab, site + "agreement")
    count = tab.locator("#agreement-count")
    expect(count).to_contain_text(f"{table.height} figures")
    choose(tab, "study", "safety")
    kept = table.filter(study="safety")
    expect(count).to_contain_text(f"{kept.height} figures")
    choose(tab, "outcome", "harmful")
    kept = kept.filter(outcome="harmful")
    expect(count).to_contain_text(f"{kept.height} figures")
    tab.wait_for_url(re.compile("outcome=harmful"))
    other = tab.context.new_page()
    open_page(other, tab.url)
    expect(other.locator("#agreement-count")).to_contain_text(f"{kept.height} figures")
    shown = card(other, "The one table").locator(".ag-row[row-index='0']")
    expect(shown.locator("[col-id='auroc']")).to_have_text(f"{kept['auroc'][0]:.3f}")
    expect(shown.locator("[col-id='split']")).to_have_text("all")
    with other.expect_download() as waiting:
        card(other, "The one table").get_by_role("link", name="CSV").click()
    assert (
        pl.read_csv(waiting.value.path()).select("signal", "outcome").rows() == kept.select("signal", "outcome").rows()
    )


def test_two_signals_are_chosen_and_their_correlation_is_told(tab: Page, site: str, results_root: Path):
    results = json.loads((results_root / FOLDER / "results.json").read_text())
    open_page(tab, site + "agreement")
    choose(tab, "place", "uncertainty: sums")
    choose(tab, "x", "semantic entropy")
    choose(tab, "y", "length")
    record = next(one for one in results["correlations"] if one["collection"] == "sums")
    value = record["values"][record["signals"].index("semantic_entropy")][record["signals"].index("length")]
    expect(tab.locator("#agreement-correlation")).to_contain_text(f"Spearman {value:.3f}")
    tab.wait_for_url(re.compile("place=uncertainty%2Fsums&x=semantic_entropy&y=length"))
    expect(tab.locator("#agreement-count-x")).to_contain_text("sure by semantic entropy, unsure by length")
    settle(tab)
    assert tab.locator(".error").count() == 0


def test_a_row_opens_its_blurred_transcript_and_leads_to_its_study(tab: Page, site: str, results_root: Path):
    open_page(tab, site + SAFETY)
    first_row(tab, "x").click()
    tab.wait_for_url(re.compile("sample=safety"))
    key = read_key(tab.evaluate("new URLSearchParams(location.search).get('sample')"))
    assert key
    opened = tab.locator("#agreement-opened")
    expect(opened.locator("h2").first).to_have_text(f"builtin: {key.prompt_id}, sample {key.sample}")
    expect(opened).to_be_focused()
    shown = opened.locator(".veil-text").last
    assert "blur" in shown.evaluate("one => getComputedStyle(one).filter")
    opened.get_by_role("button", name="Show the text").last.click()
    assert shown.evaluate("one => getComputedStyle(one).filter") == "none"
    assert squeezed(shown.text_content()) == squeezed(reply_of(results_root, key))
    other = tab.context.new_page()
    open_page(other, tab.url)
    expect(other.locator("#agreement-opened h2").first).to_have_text(f"builtin: {key.prompt_id}, sample {key.sample}")
    other.get_by_role("link", name="Open it on the page of the safety study").click()
    expect(other.locator("#safety-opened h2").first).to_have_text(f"Prompt {key.prompt_id}")
    tab.get_by_role("button", name="Close this sample").click()
    expect(opened.locator("h2")).to_have_count(0)
    first_row(tab, "x").click()
    expect(opened.locator("h2").first).to_have_text(f"builtin: {key.prompt_id}, sample {key.sample}")


@pytest.mark.parametrize("place", ["uncertainty/sums", "traits/behavioral/formality"])
def test_a_sample_stands_on_the_page_of_its_study(tab: Page, site: str, results_root: Path, place: str):
    open_page(tab, f"{site}agreement?place={place}&y=length")
    first_row(tab, "y").click()
    opened = tab.locator("#agreement-opened")
    expect(opened.locator("h2")).to_have_count(2)
    tab.wait_for_url(re.compile("sample="))
    key = read_key(tab.evaluate("new URLSearchParams(location.search).get('sample')"))
    assert key
    said = squeezed(reply_of(results_root, key))
    assert said in squeezed(opened.text_content())
    opened.get_by_role("link", name="Open it on the page of").click()
    expect(tab.locator("main h1")).to_contain_text(f"{key.study.capitalize()}: demo")
    settle(tab)
    assert tab.locator(".error").count() == 0
    expect(tab.locator("main")).to_contain_text(key.prompt_id)


def test_a_point_opens_its_sample_again_and_again(tab: Page, site: str):
    open_page(tab, f"{site}agreement?place=uncertainty%2Fsums")
    tab.locator(".figure[id*='scatter'] canvas").first.wait_for()
    opened = tab.locator("#agreement-opened")
    for _ in range(2):
        tab.locator(".figure[id*='scatter']").scroll_into_view_if_needed()
        point = tab.evaluate(_POINT, 3)
        tab.mouse.move(point["x"], point["y"])
        tab.wait_for_selector(".hoverlayer .hovertext")
        tab.mouse.click(point["x"], point["y"])
        expect(opened.locator("h2").first).to_contain_text("sums: ")
        tab.wait_for_function(_RINGED)
        # The window moves to what is opened, and the focus with it; a click on the way would miss the button.
        expect(opened).to_be_focused()
        tab.get_by_role("button", name="Close this sample").click()
        expect(opened.locator("h2")).to_have_count(0)
        tab.mouse.move(0, 0)


def test_a_table_that_is_drawn_does_not_undo_a_click(tab: Page, site: str):
    open_page(tab, site + SAFETY)
    first_row(tab, "x").click()
    opened = tab.locator("#agreement-opened")
    expect(opened.locator("h2").first).to_contain_text("builtin: ")
    settle(tab)
    press_as_a_table_is_drawn(tab, "Close this sample", '{"agreement-grid":"y"}')
    expect(opened.locator("h2")).to_have_count(0)


def test_a_sample_is_opened_by_the_keyboard_alone(tab: Page, site: str):
    open_page(tab, site + SAFETY)
    first_row(tab, "y").locator("[col-id='prompt_id']").focus()
    tab.keyboard.press("Space")
    expect(tab.locator("#agreement-opened h2").first).to_contain_text("builtin: ")
    expect(tab.locator(":focus")).to_have_attribute("id", "agreement-opened")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_an_opened_sample_is_accessible_and_fits(tab: Page, site: str, theme: str, width: int):
    tab.emulate_media(color_scheme=theme)
    tab.set_viewport_size({"width": width, "height": 844})
    open_page(tab, f"{site}{SAFETY}&absent=1&sample=safety%7Cbuiltin%7Cfraud-message-harmful%7C0")
    expect(tab.locator("#agreement-opened h2").first).to_have_text("builtin: fraud-message-harmful, sample 0")
    first_row(tab, "x").wait_for()
    assert tab.locator(".error").count() == 0
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    found = Axe().run(tab, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21aa", "best-practice"]})
    nodes = [f"{one['id']}: {node['html'][:200]}" for one in found.response["violations"] for node in one["nodes"]]
    assert not nodes, "\n".join(nodes)


def test_a_broken_table_leaves_the_rest_of_the_page(tab: Page, serve, results_root: Path, tmp_path: Path):
    shutil.copytree(results_root / FOLDER, tmp_path / FOLDER)
    half = tmp_path / FOLDER / "signals.parquet"
    half.write_bytes(half.read_bytes()[:500])
    open_page(tab, serve(tmp_path) + "agreement")
    expect(tab.locator(".card .error")).to_have_count(3)
    expect(tab.locator(".card .error").first).to_contain_text("signals.parquet")
    expect(card(tab, "Every signal for every outcome").locator(".main-svg").first).to_be_visible()
    expect(card(tab, "The one table").locator(".ag-row").first).to_be_visible()
