"""Every page in a real browser, on the demo's real results."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import polars as pl
import pytest
from axe_playwright_python.sync_playwright import Axe
from browser_helpers import open_page, settle
from playwright.sync_api import Page, expect

pytestmark = [pytest.mark.demo, pytest.mark.slow]

PAGES = ("", "uncertainty", "traits", "safety", "agreement", "compare", "files")
_HOSTILE = "<script>alert(1)</script> ![x](https://example.org/x.png) <img src=x onerror=alert(2)>"


@pytest.mark.parametrize("page", PAGES)
def test_a_page_loads_on_real_results_without_a_word_on_the_console(tab: Page, site: str, page: str):
    open_page(tab, site + page)
    assert tab.locator(".card").count() >= 1
    assert tab.locator(".error").count() == 0
    assert tab.locator("main h1").count() == 1


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_accessible_in_light_and_dark(tab: Page, site: str, page: str, theme: str):
    tab.emulate_media(color_scheme=theme)
    open_page(tab, site + page)
    found = Axe().run(tab, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21aa", "best-practice"]})
    faults = [
        f"{one['id']}: {node['html'][:200]} {node['failureSummary']}"
        for one in found.response["violations"]
        for node in one["nodes"]
    ]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_fits_a_telephone(tab: Page, site: str, page: str):
    tab.set_viewport_size({"width": 390, "height": 844})
    open_page(tab, site + page)
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390


def test_light_and_dark_change_and_are_kept(tab: Page, site: str):
    open_page(tab, site)
    ground = "getComputedStyle(document.body).backgroundColor"
    light = tab.evaluate(ground)
    tab.get_by_role("button", name="Light or dark").click()
    dark = tab.evaluate(ground)
    assert light != dark
    tab.reload()
    settle(tab)
    assert tab.evaluate(ground) == dark


def test_the_navigation_is_reached_by_the_keyboard(tab: Page, site: str):
    open_page(tab, site)
    tab.keyboard.press("Tab")
    expect(tab.locator(":focus")).to_have_text("Skip to the content")
    tab.keyboard.press("Tab")
    expect(tab.locator(":focus")).to_have_text("Overview")
    tab.keyboard.press("Tab")
    tab.keyboard.press("Enter")
    expect(tab.locator("main h1")).to_contain_text("Uncertainty")


def test_the_overview_shows_the_figures_of_the_results(tab: Page, site: str, results_root: Path):
    open_page(tab, site)
    results = json.loads((results_root / "experiments/demo/uncertainty/results.json").read_text())
    record = next(
        one
        for one in results["records"]
        if (one["dataset"], one["outcome"], one["score"], one["metric"]) == ("sums", "accuracy", "accuracy", "auroc")
    )
    row = tab.locator("tr", has_text="AUROC, probe for correctness").filter(has_text="sums")
    expect(row).to_contain_text(f"{record['value']:.2f} [{record['low']:.2f}–{record['high']:.2f}]")
    expect(row).to_contain_text(f"{record['n_rows']} runs of {record['n_questions']} questions")
    tab.get_by_role("link", name="uncertainty", exact=True).click()
    expect(tab.locator("main h1")).to_have_text("Uncertainty: demo")


def test_files_are_filtered_opened_shared_and_downloaded(tab: Page, site: str, results_root: Path):
    open_page(tab, site + "files")
    everything = tab.locator("#files-count").text_content()
    tab.get_by_label("Part of the name").fill("reply_labels")
    tab.keyboard.press("Enter")
    expect(tab.locator("#files-count")).to_contain_text("1 files")
    assert everything != tab.locator("#files-count").text_content()
    # A row without its words yet is none to choose.
    settle(tab)
    tab.locator(".ag-row").first.click()
    expect(tab.locator("#files-details")).to_contain_text("stage_hash")
    shared = tab.url
    assert "name=reply_labels" in shared
    assert "reply_labels.parquet" in shared
    other = tab.context.new_page()
    open_page(other, shared)
    expect(other.locator("#files-count")).to_contain_text("1 files")
    expect(other.locator("#files-details")).to_contain_text("stage_hash")
    with other.expect_download() as waiting:
        other.get_by_role("link", name="as CSV").click()
    path = results_root / "experiments/demo/safety/builtin/reply_labels.parquet"
    assert pl.read_csv(waiting.value.path()).height == pl.read_parquet(path).height
    with other.expect_download() as waiting:
        other.get_by_role("link", name="Download reply_labels.parquet").click()
    assert Path(waiting.value.path()).read_bytes() == path.read_bytes()


def test_experiments_are_compared(tab: Page, serve, results_root: Path, tmp_path: Path):
    for name in ("demo", "again"):
        shutil.copytree(results_root / "experiments/demo", tmp_path / "experiments" / name)
    site = serve(tmp_path)
    open_page(tab, f"{site}compare?figure=agreement%2C+adaptive")
    rows = tab.locator("table tbody tr")
    expect(rows).to_have_count(2)
    expect(rows.filter(has_text="again")).to_have_count(1)
    open_page(tab, f"{site}compare?figure=agreement%2C+adaptive&experiments=again")
    expect(rows).to_have_count(1)


def test_new_results_appear_on_reload(tab: Page, serve, results_root: Path, tmp_path: Path):
    (tmp_path / "experiments").mkdir()
    site = serve(tmp_path)
    open_page(tab, site)
    expect(tab.locator("main")).to_contain_text("make demo")
    shutil.copytree(results_root / "experiments/demo", tmp_path / "experiments/demo")
    tab.reload()
    settle(tab)
    expect(tab.locator("main")).to_contain_text("AUROC, probe for correctness")


def test_a_broken_file_is_an_error_on_its_card_and_the_rest_works(tab: Page, serve, results_root: Path, tmp_path: Path):
    shutil.copytree(results_root / "experiments/demo", tmp_path / "experiments/demo")
    half = tmp_path / "experiments/demo/uncertainty/curves.parquet"
    half.write_bytes(half.read_bytes()[:1000])
    site = serve(tmp_path)
    open_page(tab, site + "uncertainty")
    expect(tab.locator(".card .error").first).to_contain_text("curves.parquet")
    assert tab.locator(".card", has=tab.locator(".figure .main-svg")).count() >= 1
    (tmp_path / "experiments/demo/safety/results.json").write_text('{"benchmarks": [')
    open_page(tab, site)
    expect(tab.locator(".error").first).to_contain_text("results.json")
    expect(tab.locator("main")).to_contain_text("AUROC, probe for correctness")


def test_an_unknown_experiment_has_a_page_that_says_so(tab: Page, site: str):
    for page in ("uncertainty", "traits", "safety", "agreement", "files"):
        open_page(tab, f"{site}{page}?experiment=..%2F..%2Fetc")
        expect(tab.locator("main")).to_contain_text("There is no experiment")


def test_what_a_model_says_stays_text(tab: Page, serve, results_root: Path, tmp_path: Path):
    shutil.copytree(results_root / "experiments/demo", tmp_path / "experiments/demo")
    path = tmp_path / "experiments/demo/uncertainty/results.parquet"
    _say(path, ("answer", "think", "question"))
    _say(tmp_path / "experiments/demo/safety/builtin/prompts.parquet", ("text",))
    dialogs: list[str] = []
    tab.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    asked: list[str] = []
    tab.on("request", lambda request: asked.append(request.url))
    site = serve(tmp_path)
    key = pl.read_parquet(path).select(pl.format("{}/{}/{}", "dataset", "prompt_id", "sample")).item(0, 0)
    open_page(tab, f"{site}uncertainty?split=all&runs={key}")
    expect(tab.locator("main")).to_contain_text("<script>alert(1)</script>")
    open_page(tab, f"{site}safety")
    assert not dialogs
    assert all(url.startswith((site, "data:", "blob:")) for url in asked), asked


def _say(path: Path, columns: tuple[str, ...]) -> None:
    """Put hostile words into every row of a table, and leave its metadata."""
    from tells.tables import read_metadata, write_table

    metadata = read_metadata(path)
    table = pl.read_parquet(path).with_columns(pl.lit(_HOSTILE).alias(name) for name in columns)
    write_table(path, table, metadata["kind"], {key: value for key, value in metadata.items() if key != "kind"})
