"""The uncertainty page in a real browser: filters, clicks and selections, shared addresses, downloads."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from browser_helpers import open_page, settle
from playwright.sync_api import Locator, Page, expect

pytestmark = [pytest.mark.demo, pytest.mark.slow]
# What the server has to answer first may take its time on a busy machine, in milliseconds.
_PATIENCE = 20_000

# Where a point lies in the window, and which run it is: [figure, place in its second trace].
_POINT = """([number, place]) => {
  const figure = document.querySelectorAll('.js-plotly-plot')[number];
  const at = figure.getBoundingClientRect(), layout = figure._fullLayout, trace = figure._fullData[1];
  return {x: at.left + layout._size.l + layout.xaxis.d2p(trace.x[place]),
          y: at.top + layout._size.t + layout.yaxis.d2p(trace.y[place]), key: trace.customdata[place]};
}"""
_AREA = """(number) => {
  const figure = document.querySelectorAll('.js-plotly-plot')[number];
  const at = figure.getBoundingClientRect(), size = figure._fullLayout._size;
  return {x: at.left + size.l, y: at.top + size.t, width: size.w, height: size.h};
}"""
_SELECTED = """(number) => {
  const [box] = document.querySelectorAll('.js-plotly-plot')[number].layout.selections;
  return [Math.min(box.x0, box.x1), Math.max(box.x0, box.x1)];
}"""
_RINGS = "[...document.querySelectorAll('.js-plotly-plot')].slice(0, 3).map((one) => one._fullData[0].x.length)"


@pytest.fixture(scope="module")
def runs(results_root: Path) -> pl.DataFrame:
    return pl.read_parquet(results_root / "experiments/demo/uncertainty/results.parquet")


def choose(tab: Page, label: str, option: str) -> None:
    """Choose from a list, and wait for the page that follows."""
    before = tab.url
    tab.get_by_label(label, exact=True).click()
    tab.get_by_role("option").filter(has_text=re.compile(f"^{re.escape(option)}$")).click()
    tab.wait_for_function("(before) => location.href !== before", arg=before)
    settle(tab)


def opened(tab: Page, number: int) -> None:
    """Wait until so many runs stand side by side."""
    expect(tab.locator("article.run")).to_have_count(number, timeout=_PATIENCE)


def counted(rows: pl.DataFrame) -> str:
    return f"{rows.height:,} runs of {rows.select(pl.struct('dataset', 'prompt_id').n_unique()).item():,} questions"


def status(tab: Page) -> Locator:
    return tab.locator(".opened p[role=status]")


def click_point(tab: Page, place: int) -> str:
    """Click a point of the first figure; gives the key of its run."""
    figure = tab.locator(".js-plotly-plot").first
    figure.locator("canvas").first.wait_for()
    figure.scroll_into_view_if_needed()
    point = tab.evaluate(_POINT, [0, place])
    tab.mouse.move(point["x"], point["y"])
    tab.wait_for_selector(".hoverlayer .hovertext")
    tab.mouse.click(point["x"], point["y"])
    return point["key"]


def row_of(runs: pl.DataFrame, key: str) -> dict[str, Any]:
    dataset, prompt, sample = key.split("/")
    return runs.filter(dataset=dataset, prompt_id=prompt, sample=int(sample)).row(0, named=True)


def test_filters_change_the_count_and_the_address_restores_it(tab: Page, site: str, runs: pl.DataFrame):
    open_page(tab, site + "uncertainty")
    count = tab.locator("#uncertainty-count")
    sampled = runs.filter(pl.col("dataset") == "sums", pl.col("sample") >= 0)
    expect(count).to_contain_text(counted(sampled.filter(split="test")))
    choose(tab, "Answers", "wrong")
    expect(count).to_contain_text(counted(sampled.filter(split="test", correct=False)))
    choose(tab, "Split", "train")
    expect(count).to_contain_text(counted(sampled.filter(split="train", correct=False)))
    expect(tab.locator(".card", has_text="ROC").last).to_contain_text("test split alone")
    choose(tab, "Runs", "one a question: greedy")
    wrong = runs.filter(dataset="sums", split="train", correct=False, greedy=True)
    expect(count).to_contain_text(counted(wrong))
    choose(tab, "Colour", "p_true")
    expect(tab.locator("#uncertainty-content :focus")).to_have_count(1)
    other = tab.context.new_page()
    open_page(other, tab.url)
    expect(other.locator("#uncertainty-count")).to_contain_text(counted(wrong))
    expect(other.get_by_label("Colour", exact=True)).to_contain_text("p_true")


def test_a_click_opens_a_run_that_a_shared_address_opens_too(tab: Page, site: str, runs: pl.DataFrame):
    open_page(tab, site + "uncertainty")
    key = click_point(tab, 3)
    opened(tab, 1)
    expect(status(tab)).to_have_text("1 run")
    row = row_of(runs, key)
    run = tab.locator("article.run")
    expect(run).to_contain_text(row["question"])
    expect(run).to_contain_text(row["gold"][0])
    expect(run.locator(".badge").first).to_have_text("correct" if row["correct"] else "wrong")
    shaded = "".join(run.locator(".tokens .shade").all_text_contents())
    assert row["think"] in shaded
    assert row["answer"] in shaded
    score = tab.locator("#uncertainty-opened-scores [row-id='accuracy.score'] [col-id=run0]")
    expect(score).to_have_text(f"{row['accuracy.score']:.4g}")
    assert tab.evaluate(_RINGS) == [1, 1, 1]
    tab.get_by_label("clicks add to the opened runs").check()
    other_key = click_point(tab, 100)
    assert other_key != key
    opened(tab, 2)
    expect(status(tab)).to_have_text("2 runs side by side")
    other = tab.context.new_page()
    open_page(other, tab.url)
    expect(status(other)).to_have_text("2 runs side by side")
    for one, shown in zip((key, other_key), other.locator("article.run").all(), strict=True):
        expect(shown).to_contain_text(row_of(runs, one)["question"])
    assert other.evaluate(_RINGS) == [2, 2, 2]
    other.get_by_role("button", name="Close all").click()
    opened(other, 0)
    expect(other).not_to_have_url(re.compile("runs="))


def test_a_closed_run_opens_again_by_the_same_click(tab: Page, site: str):
    open_page(tab, site + "uncertainty")
    click_point(tab, 3)
    tab.get_by_role("button", name="Close all").click()
    opened(tab, 0)
    click_point(tab, 3)
    opened(tab, 1)
    tab.locator("article.run .ag-row .ag-checkbox-input").first.click()
    opened(tab, 2)
    expect(tab.locator("article.run h3").last).to_contain_text("greedy run")
    tab.get_by_role("button", name=re.compile("greedy run alone")).click()
    opened(tab, 1)
    tab.get_by_role("button", name=re.compile("^Close .* greedy run")).click()
    opened(tab, 0)


def test_a_box_opens_its_runs_ten_at_a_time(tab: Page, site: str, runs: pl.DataFrame):
    open_page(tab, site + "uncertainty")
    figure = tab.locator(".js-plotly-plot").first
    figure.scroll_into_view_if_needed()
    figure.hover()
    figure.locator("[data-title='Box Select']").click()
    area = tab.evaluate(_AREA, 0)
    tab.mouse.move(area["x"] + 0.3 * area["width"], area["y"] + 2)
    tab.mouse.down()
    tab.mouse.move(area["x"] + 0.8 * area["width"], area["y"] + area["height"] - 2, steps=8)
    tab.mouse.up()
    opened(tab, 10)
    low, high = tab.evaluate(_SELECTED, 0)
    test = runs.filter(pl.col("dataset") == "sums", pl.col("split") == "test", pl.col("sample") >= 0)
    inside = test.filter(pl.col("semantic_entropy_raw").is_between(low, high), pl.col("accuracy.score").is_not_null())
    assert inside.height > 20
    expect(status(tab)).to_contain_text(f"{inside.height} points selected; 1 to 10 are shown side by side")
    questions = set(tab.locator("article.run .text:first-of-type").all_text_contents())
    assert len(questions) > 1
    first = tab.locator("article.run h3").all_text_contents()
    tab.get_by_role("button", name="Next 10").click()
    expect(status(tab)).to_contain_text("11 to 20 are shown", timeout=_PATIENCE)
    assert not set(first) & set(tab.locator("article.run h3").all_text_contents())


def test_ticked_rows_are_compared_and_stay_open_when_a_filter_changes(tab: Page, site: str):
    open_page(tab, site + "uncertainty")
    boxes = tab.locator(".ag-row .ag-checkbox-input")
    boxes.nth(0).click()
    boxes.nth(2).click()
    opened(tab, 2)
    expect(status(tab)).to_have_text("2 runs side by side")
    shared = tab.url
    choose(tab, "Answers", "correct")
    opened(tab, 2)
    assert re.findall("runs=[^&]+", shared) == re.findall("runs=[^&]+", tab.url)
    boxes.nth(1).click()
    opened(tab, 1)
    boxes.nth(1).click()
    opened(tab, 0)


def test_downloads_give_the_rows_shown(tab: Page, site: str, runs: pl.DataFrame):
    open_page(tab, site + "uncertainty?dataset=capitals&answers=correct")
    with tab.expect_download() as waiting:
        tab.locator(".card", has_text="Runs").get_by_role("link", name="CSV").first.click()
    got = pl.read_csv(waiting.value.path())
    wanted = runs.filter(pl.col("dataset") == "capitals", pl.col("sample") >= 0, pl.col("correct"))
    assert got.select("prompt_id", "sample").rows() == wanted.select("prompt_id", "sample").rows()
    expect(tab.locator("#uncertainty-count")).to_contain_text(counted(wanted))
    card = tab.locator(".card", has_text="What the scores achieve")
    with tab.expect_download() as waiting:
        card.get_by_role("link", name="CSV").click()
    records = pl.read_csv(waiting.value.path())
    assert set(records["metric"]) == {"auroc"}
    assert set(records["dataset"]) == {"capitals"}
    names = card.locator(".ag-center-cols-container [col-id=score]").all_text_contents()
    assert names
    assert set(names) <= set(records["score"])
