"""The traits page in a real browser: filters, clicks, shared addresses and downloads against the demo's files."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import polars as pl
import pytest
from browser_helpers import open_page, settle
from playwright.sync_api import Page, expect

from tells.tables import make_metadata, write_table

pytestmark = [pytest.mark.demo, pytest.mark.slow]
TRAIT = "epistemic/confidence"
STEERED = "behavioral/formality"


def choose(tab: Page, control: str, option: str) -> None:
    """Choose from a list."""
    tab.get_by_role("group", name=control, exact=True).locator("button.dash-dropdown").click()
    tab.get_by_role("option", name=option, exact=True).click()
    settle(tab)


def row_texts(tab: Page, column: str) -> list[str]:
    """What stands in a column of the table, from above."""
    return tab.locator(f".ag-row .ag-cell[col-id='{column}']").all_text_contents()


def vetted(root: Path, trait: str) -> pl.DataFrame:
    """The vetting table with its texts, negatives that fail alone, from the highest score."""
    folder = root / "experiments/demo/traits" / trait
    rows = pl.read_parquet(folder / "vetting.parquet")
    texts = pl.read_parquet(folder / "samples.parquet", columns=["prompt_id", "sample", "text"])
    rows = rows.join(texts, on=["prompt_id", "sample"], maintain_order="left")
    fails = pl.col("response_score") > json.loads((folder / "vetting.json").read_text())["thresholds"]["negative_max"]
    return rows.filter(pl.col("polarity") == "negative", fails).sort("response_score", descending=True)


def test_failures_are_filtered_sorted_opened_shared_and_downloaded(tab: Page, site: str, results_root: Path):
    wanted = vetted(results_root, TRAIT)
    open_page(tab, f"{site}traits?trait={TRAIT}")
    choose(tab, "Pole", "negative")
    choose(tab, "What failed", "the response fails")
    expect(tab.locator("#traits-count")).to_contain_text(f"{wanted.height} responses")
    heading = tab.locator(".ag-header-cell[col-id='response_score']")
    heading.click()
    expect(heading).to_have_attribute("aria-sort", "ascending")
    heading.click()
    expect(heading).to_have_attribute("aria-sort", "descending")
    scores = [f"{score:.1f}" for score in wanted["response_score"]]
    expect(tab.locator(".ag-row .ag-cell[col-id='response_score']").first).to_have_text(scores[0])
    tab.locator(".ag-row").first.click()
    opened = tab.locator("#traits-opened")
    expect(opened).to_contain_text(wanted["text"][0].strip())
    expect(opened).to_contain_text(f"fail, score {scores[0]}")
    expect(opened.locator("h3")).to_have_count(2)
    tab.wait_for_url(re.compile(r"failure=response.*row=.*sort=response_score"))
    other = tab.context.new_page()
    open_page(other, tab.url)
    expect(other.locator("#traits-count")).to_contain_text(f"{wanted.height} responses")
    expect(other.locator("#traits-opened")).to_contain_text(wanted["text"][0].strip())
    expect(other.locator(".ag-row .ag-cell[col-id='response_score']").first).to_have_text(scores[0])
    assert row_texts(other, "response_score")[:5] == scores[:5]
    with other.expect_download() as waiting:
        other.locator("#traits-vetting-links").get_by_role("link", name="CSV").click()
    rows = pl.read_csv(waiting.value.path())
    assert rows["prompt_id"].to_list() == wanted["prompt_id"].to_list()
    assert rows["response"].to_list() == wanted["text"].to_list()


def test_vectors_follow_their_controls_and_the_address_restores_them(tab: Page, site: str):
    open_page(tab, f"{site}traits?trait={STEERED}")
    tab.get_by_role("radio", name="Vectors").check()
    settle(tab)
    expect(tab.locator("main")).to_contain_text("Cohen's d of the vectors")
    choose(tab, "Metric", "AUC")
    expect(tab.locator("main")).to_contain_text("AUC of the vectors")
    choose(tab, "Layer", "3")
    expect(tab.locator("main")).to_contain_text(", layer 3)")
    tab.wait_for_url(re.compile("metric=auc.*layer=3"))
    other = tab.context.new_page()
    open_page(other, tab.url)
    for said in ("AUC of the vectors", ", layer 3)"):
        expect(other.locator("main")).to_contain_text(said)
    # What another section had chosen is kept.
    other.get_by_role("radio", name="Steering").check()
    settle(other)
    other.get_by_role("radio", name="Vectors").check()
    settle(other)
    expect(other.locator("main")).to_contain_text("AUC of the vectors")


def test_steered_answers_stand_beside_unsteered_ones(tab: Page, site: str, results_root: Path):
    report = pl.read_parquet(results_root / f"experiments/demo/traits/{STEERED}/steering/report.parquet")
    random = report.filter(pl.col("kind") == "random")
    open_page(tab, f"{site}traits?trait={STEERED}&section=steering")
    choose(tab, "Answers", "random vectors (report questions)")
    expect(tab.locator("#traits-count")).to_contain_text(f"{random.height} answers")
    row = random.row(1, named=True)
    tab.locator(".ag-row[row-index='1']").click()
    opened = tab.locator("#traits-opened")
    expect(opened).to_contain_text("the opened row")
    expect(opened).to_contain_text(row["text"].strip())
    same = report.filter(question_id=row["question_id"], sample=row["sample"])
    for kind in ("unsteered", "steered", "prompting"):
        expect(opened).to_contain_text(same.filter(kind=kind)["text"][0].strip())
    tab.wait_for_url(re.compile("condition=random.*pair="))
    other = tab.context.new_page()
    open_page(other, tab.url)
    expect(other.locator("#traits-count")).to_contain_text(f"{random.height} answers")
    expect(other.locator("#traits-opened")).to_contain_text(row["text"].strip())


def test_texts_are_shaded_along_a_vector_once_they_are_projected(tab: Page, serve, results_root: Path, tmp_path: Path):
    shutil.copytree(results_root / "experiments/demo/traits", tmp_path / "experiments/demo/traits")
    site = serve(tmp_path)
    open_page(tab, f"{site}traits?trait={STEERED}&section=texts")
    line = f"tells project demo/traits/{STEERED} --trait {STEERED}"
    expect(tab.locator(".empty pre")).to_have_text(line)
    table = project_by_hand(tmp_path / "experiments/demo/traits" / STEERED)
    open_page(tab, tab.url)
    expect(tab.locator("#traits-count")).to_contain_text(f"{table.height} texts")
    tab.locator(".ag-row[row-index='2']").click()
    tokens = tab.locator("#traits-opened .tokens .shade")
    expect(tokens).to_have_count(len(table["token_ends"][2]))
    expect(tokens.nth(1)).to_have_attribute("title", "projection h·v: 1.000")


def project_by_hand(folder: Path) -> pl.DataFrame:
    """Projections as `tells project` writes them, of words instead of tokens: the place of each in its text."""
    samples = pl.read_parquet(folder / "samples.parquet", columns=["prompt_id", "sample", "text"])
    ends = [[found.end() for found in re.finditer(r"\s*\S+", text)] for text in samples["text"]]
    table = samples.select(
        "prompt_id",
        "sample",
        trait=pl.lit(STEERED),
        method=pl.lit("probe"),
        layer=pl.lit(3, pl.Int32),
        token_ends=pl.Series(ends, dtype=pl.List(pl.Int32)),
        projection=pl.Series([[float(place) for place in range(len(one))] for one in ends], dtype=pl.List(pl.Float32)),
        mean=pl.lit(0.0),
    )
    model = {"name": "small", "revision": "r"}
    facts = make_metadata("project", params={}, model=model, vectors={"experiment": "demo", "model": model})
    write_table(folder / "projections.parquet", table, "projections", facts)
    return table


def test_a_trait_is_chosen_by_the_keyboard_alone(tab: Page, site: str):
    open_page(tab, f"{site}traits")
    button = tab.get_by_role("group", name="Trait", exact=True).locator("button.dash-dropdown")
    expect(button).to_have_attribute("tabindex", "0")
    button.focus()
    tab.keyboard.press("Enter")
    focused = "document.activeElement.closest('[role=option]')?.textContent"
    tab.wait_for_function(f"{focused} === 'behavioral/formality'")
    tab.keyboard.press("ArrowDown")
    tab.wait_for_function(f"{focused} === 'cognitive/retrieval'")
    tab.keyboard.press("Space")
    tab.wait_for_url(re.compile("trait=cognitive"))
    expect(tab.locator("main")).to_contain_text("What passes: cognitive/retrieval")
