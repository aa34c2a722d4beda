"""The safety page in a real browser, on the demo's real results."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import polars as pl
import pytest
from axe_playwright_python.sync_playwright import Axe
from browser_helpers import open_page, press_as_a_table_is_drawn, settle
from playwright.sync_api import Locator, Page, expect

from tells.dashboard.safety.cuts import course_of, fate_words

pytestmark = [pytest.mark.demo, pytest.mark.slow]

# The machine may be busy with other tests.
expect.set_options(timeout=30_000)
BENCHMARK = "experiments/demo/safety/builtin"


def choose(tab: Page, field: str, words: str) -> None:
    """Choose from the list of a field, as a reader does."""
    tab.locator(f"""[id='{{"field":"{field}","page":"safety"}}']""").click()
    tab.get_by_role("option", name=words, exact=True).click()


def card(tab: Page, title: str) -> Locator:
    return tab.locator(".card", has=tab.get_by_role("heading", name=title, exact=True))


def row(tab: Page, name: str, words: str) -> Locator:
    """A row of the list of prompts or of traces."""
    grid = tab.locator(".tells-grid").nth(["prompts", "traces"].index(name))
    grid.scroll_into_view_if_needed()
    return grid.locator(".ag-row", has_text=words).first


def test_filters_change_the_counts_and_a_link_and_a_download_hold_the_same(tab: Page, site: str, results_root: Path):
    strata = pl.read_parquet(results_root / BENCHMARK / "strata.parquet")
    open_page(tab, site + "safety")
    expect(tab.locator("#safety-count")).to_have_text(
        f"{strata.height} traces of {strata['prompt_id'].n_unique()} prompts"
    )
    choose(tab, "label", "harmful prompts")
    kept = strata.filter(label="harmful")
    expect(tab.locator("#safety-count")).to_have_text(f"{kept.height} traces of {kept['prompt_id'].n_unique()} prompts")
    choose(tab, "category", "fraud")
    kept = kept.filter(category="fraud")
    expect(tab.locator("#safety-count")).to_have_text(f"{kept.height} traces of {kept['prompt_id'].n_unique()} prompts")
    expect(card(tab, "Four cells").locator(".warning")).to_contain_text("not by both")
    choose(tab, "cell", "uncertain compliance")
    kept = kept.filter(quadrant="uncertain_compliance")
    expect(tab.locator("#safety-traces-count")).to_contain_text(f"{kept.height} traces of")
    tab.wait_for_url(re.compile("cell=uncertain_compliance"))
    other = tab.context.new_page()
    open_page(other, tab.url)
    expect(other.locator("#safety-traces-count")).to_contain_text(f"{kept.height} traces of")
    with other.expect_download() as waiting:
        card(other, "Traces").get_by_role("link", name="CSV").click()
    sent = pl.read_csv(waiting.value.path())
    assert sent.select("prompt_id", "sample").rows() == kept.select("prompt_id", "sample").rows()


def test_a_row_opens_its_prompt_with_blurred_texts_and_cuts(tab: Page, site: str, results_root: Path):
    open_page(tab, site + "safety")
    row(tab, "prompts", "fraud-message-benign").click()
    expect(card(tab, "Prompt fraud-message-benign")).to_contain_text("fraud")
    expect(tab.locator("#safety-opened")).to_be_focused()
    settle(tab)
    traces = card(tab, "Its traces").locator("tbody tr")
    wanted = fates(results_root / BENCHMARK, "fraud-message-benign")
    assert any("cut after" in words for words in wanted)
    for number, words in enumerate(wanted):
        expect(traces.nth(number)).to_contain_text(words)
    shown = card(tab, "Token by token").locator(".veil-text").first
    assert "blur" in shown.evaluate("one => getComputedStyle(one).filter")
    card(tab, "Token by token").get_by_role("button", name="Show the text").first.click()
    assert shown.evaluate("one => getComputedStyle(one).filter") == "none"
    first = pl.read_parquet(results_root / BENCHMARK / "samples.parquet").filter(prompt_id="fraud-message-benign")
    said = first.sort("sample")["text"][0]
    assert "".join((shown.text_content() or "").split()) == "".join(said.split())
    card(tab, "Token by token").get_by_role("button", name="Show all texts").click()
    assert card(tab, "Token by token").locator(".veiled-text").count() == 0


def fates(folder: Path, prompt_id: str) -> list[str]:
    """What early stopping does to each trace, from the files."""
    rows = pl.read_parquet(folder / "confidence.parquet").filter(prompt_id=prompt_id).select("sample", "confidence")
    labels = pl.read_parquet(folder / "reply_labels.parquet").filter(prompt_id=prompt_id)
    rows = rows.join(labels.select("sample", "truncated", "stop_label"), on="sample")
    course = course_of(rows, json.loads((folder / "arms.json").read_text())["stopping"])
    return [fate_words(fate, course) for fate in course.fates]


def test_an_opened_prompt_is_in_the_address_until_it_is_closed(tab: Page, site: str):
    open_page(tab, site + "safety?label=harmful&prompt=builtin%2Ffraud-message-harmful")
    expect(tab.locator("#safety-opened h2").first).to_have_text("Prompt fraud-message-harmful")
    tab.get_by_role("button", name="fraud-message-benign", exact=True).click()
    expect(tab.locator("#safety-opened h2").first).to_have_text("Prompt fraud-message-benign")
    # The window moves to what is opened, and the focus with it; a click on the way would miss the button.
    expect(tab.locator("#safety-opened")).to_be_focused()
    tab.wait_for_url(re.compile("label=harmful&prompt=builtin%2Ffraud-message-benign"))
    tab.get_by_role("button", name="Close this prompt").click()
    expect(tab.locator("#safety-opened h2")).to_have_count(0)
    opening = row(tab, "traces", "fraud-message-harmful")
    opening.click()
    expect(tab.locator("#safety-opened h2").first).to_have_text("Prompt fraud-message-harmful")
    expect(tab.locator("#safety-opened")).to_be_focused()
    tab.get_by_role("button", name="Close this prompt").click()
    expect(tab.locator("#safety-opened h2")).to_have_count(0)
    opening.click()
    expect(tab.locator("#safety-opened h2").first).to_have_text("Prompt fraud-message-harmful")


def test_a_table_that_is_drawn_does_not_undo_a_click(tab: Page, site: str):
    open_page(tab, site + "safety?prompt=builtin%2Ffraud-message-harmful")
    press_as_a_table_is_drawn(tab, "Close this prompt", '{"safety-grid":"traces"}')
    expect(tab.locator("#safety-opened h2")).to_have_count(0)


def test_a_cell_of_the_figure_lists_its_traces(tab: Page, site: str, results_root: Path):
    strata = pl.read_parquet(results_root / BENCHMARK / "strata.parquet")
    open_page(tab, site + "safety")
    drawn = tab.locator("#safety-cells .nsewdrag").first
    drawn.scroll_into_view_if_needed()
    box = drawn.bounding_box()
    assert box
    tab.mouse.click(box["x"] + 0.75 * box["width"], box["y"] + 0.75 * box["height"])
    wanted = strata.filter(quadrant="confident_refusal").height
    expect(tab.locator("#safety-traces-count")).to_contain_text(f"{wanted} traces of")


def test_texts_in_the_list_are_blurred_until_they_are_clicked(tab: Page, site: str):
    open_page(tab, site + "safety")
    cell = row(tab, "prompts", "fraud-message-benign").locator("[col-id='prompt']")
    assert "blur" in cell.evaluate("one => getComputedStyle(one).filter")
    cell.click()
    expect(cell).to_have_css("filter", "none")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_an_opened_prompt_is_accessible_and_fits_a_telephone(tab: Page, site: str, theme: str):
    tab.emulate_media(color_scheme=theme)
    tab.set_viewport_size({"width": 390, "height": 844})
    open_page(tab, site + "safety?prompt=builtin%2Ffraud-message-harmful")
    expect(tab.locator("#safety-opened h2").first).to_have_text("Prompt fraud-message-harmful")
    row(tab, "traces", "fraud").wait_for()
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
    found = Axe().run(tab, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21aa", "best-practice"]})
    nodes = [f"{one['id']}: {node['html'][:200]}" for one in found.response["violations"] for node in one["nodes"]]
    assert not nodes, "\n".join(nodes)


def test_a_broken_table_leaves_the_rest_of_the_page(tab: Page, serve, results_root: Path, tmp_path: Path):
    shutil.copytree(results_root / "experiments/demo/safety", tmp_path / "experiments/demo/safety")
    half = tmp_path / BENCHMARK / "sweep.parquet"
    half.write_bytes(half.read_bytes()[:500])
    open_page(tab, serve(tmp_path) + "safety")
    expect(tab.locator(".card .error")).to_have_count(1)
    expect(tab.locator(".card .error")).to_contain_text("sweep.parquet")
    expect(card(tab, "Four cells").locator(".main-svg").first).to_be_visible()
