"""The report's pages: whole in one file, readable without scripts, honest about what is missing, and safe."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import plotly.offline
import pytest
from study_folders import plant
from workflow_helpers import ROOT

from tells.report.headlines import headlines
from tells.report.html import Html, tag
from tells.report.html_frame import FRAMED_BYTES, LIBRARY, asset
from tells.report.pages import experiment_page, figures_page
from tells.tables import make_metadata, read_json, write_json

STUDIES = ("uncertainty", "traits", "safety")
HOSTILE = "<img src=x onerror=alert(1)>%{x}$a$"
METADATA = make_metadata("write_report", params={}, experiment="tiny", model={"name": "small", "revision": "r"}, seed=3)


class Reader(HTMLParser):
    """What a browser without scripts shows of a page: its elements, their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.scripts: dict[str, str] = {}
        self._within: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._within.append(tag)

    def handle_endtag(self, tag: str) -> None:
        self._within.pop()
        if tag == "meta":
            self._within.pop()

    def handle_data(self, data: str) -> None:
        if self._within and self._within[-1] == "script":
            self.scripts[self.elements[-1][1].get("id") or "own"] = data
        elif "style" not in self._within[-1:]:
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))

    def drawings(self) -> list[dict[str, Any]]:
        return json.loads(gzip.decompress(base64.b64decode(self.scripts["drawings"])))


def read(root: Path, **options: Any) -> Reader:
    return Reader(experiment_page(root, "tiny", metadata=METADATA, **options))


def test_a_page_is_one_file_that_names_no_other_place(root: Path):
    page = experiment_page(root, "tiny", metadata=METADATA)
    reader = Reader(page)
    for _, attributes in reader.elements:
        assert not {"src", "srcset", "data", "action"} & set(attributes)
        assert (attributes.get("href") or "#").startswith("#")
    assert not {name for name, _ in reader.elements} & {"link", "img", "iframe", "object", "base"}
    policy = next(one["content"] for name, one in reader.elements if one.get("http-equiv"))
    assert policy.startswith("default-src 'none';")
    assert gzip.decompress(base64.b64decode(reader.scripts["library"])).decode() == asset(LIBRARY)
    assert page.count('id="library"') == 1


def test_a_page_says_of_each_study_what_made_it(root: Path):
    text = read(root).text
    assert "tiny: report" in text
    for words in (
        "small (abc123)",
        "2031-05-17 10:00:00 UTC",
        "polars ",
        "offline judge (mini)",
        "refusal by patterns",
    ):
        assert words in text, words
    assert text.count(" seed 3 ") == 3


@pytest.mark.parametrize("study", STUDIES)
def test_every_headline_is_in_the_text_with_its_interval_split_and_n(root: Path, study: str):
    found = headlines(study, read_json(root / f"experiments/tiny/{study}/results.json"))
    text = Reader(figures_page(root, "tiny", study, metadata=METADATA)).text
    assert found
    for one in found:
        assert one.figure in text
        assert one.n in text
        assert one.split in text
        if one.value is not None and one.low is not None and one.low != one.high:
            assert f"{one.value:.2f} [{one.low:.2f}, {one.high:.2f}]" in text
        if one.note:
            assert one.note in text


def test_figures_come_with_what_they_rest_on_and_how_they_are_read(root: Path):
    reader = Reader(figures_page(root, "tiny", "safety", metadata=METADATA))
    places = [one for name, one in reader.elements if one.get("class") == "drawing"]
    assert len(places) == len(reader.drawings()) == 9
    assert all("n = " in one["aria-label"] for one in places)
    # The words stand beside the figure, where they break, and not in it.
    assert all(not drawing["layout"]["title"]["text"] for drawing in reader.drawings())
    assert "Any of n grows with n by construction" in reader.text
    anchors = {one.get("id") for _, one in reader.elements}
    links = [one["href"].removeprefix("#") for name, one in reader.elements if name == "a"]
    assert len(links) == 9
    assert {*links} <= anchors


def test_figures_hold_the_numbers_of_the_files(root: Path):
    reader = Reader(figures_page(root, "tiny", "traits", metadata=METADATA))
    steered = next(drawing for drawing in reader.drawings() if any(one.get("error_x") for one in drawing["data"]))
    (trace,) = (one for one in steered["data"] if one["name"].startswith("steered"))
    assert trace["x"] == [30.0]
    assert (trace["error_x"]["array"], trace["error_x"]["arrayminus"]) == ([13.0], [9.0])


def test_what_a_study_says_against_itself_is_on_the_page(root: Path):
    text = read(root).text
    assert "semantic_entropy could not be fitted: one class <b>alone</b>" in text
    assert "epistemic/calm: the chosen ratio is the largest that was tried" in text


def test_a_missing_study_is_said_to_be_missing(root: Path):
    shutil.rmtree(root / "experiments/tiny/traits")
    assert "There are no results yet. They are made by snakemake --profile cpu traits" in read(root).text
    assert "The experiment has no traits study." in read(root, studies=("uncertainty", "safety")).text


def test_broken_files_are_told_in_their_place_and_the_rest_stands(root: Path):
    (root / "experiments/tiny/uncertainty/results.json").write_text('{"metadata": ')
    (root / "experiments/tiny/safety/tiny/any_of_n.parquet").unlink()
    reader = read(root)
    assert "Table results cannot be shown" in reader.text
    assert reader.text.count("any_of_n.parquet: no such file") == 2
    assert "confidence along the trace" in reader.text
    assert len(reader.drawings()) > 10


def test_names_and_reasons_stay_text(tmp_path: Path):
    plant(tmp_path, name=HOSTILE, trait=HOSTILE, benchmark=HOSTILE)
    path = tmp_path / "experiments/tiny/traits/results.json"
    content = read_json(path)
    content["traits"][0]["warnings"] = ["</p><script>alert(2)</script>"]
    content["metadata"]["judge"]["model"] = '"><script>alert(3)</script>'
    write_json(path, content)
    page = experiment_page(tmp_path, "tiny", metadata={**METADATA, "seed": '"><script>alert(4)</script>'})
    reader = Reader(page)
    assert [one.get("id") for name, one in reader.elements if name == "script"] == ["library", "drawings", None]
    assert "img" not in {name for name, _ in reader.elements}
    assert all(not key.startswith("on") for _, attributes in reader.elements for key in attributes)
    assert HOSTILE in reader.text
    assert "</p><script>alert(2)</script>" in reader.text


def test_whatever_is_no_element_is_escaped():
    assert tag("p", "<b>", tag("b", "&"), None, title='"x"') == '<p title="&quot;x&quot;">&lt;b&gt;<b>&amp;</b></p>'
    assert tag("p", Html("<b>")) == "<p><b></p>"


def test_equal_files_give_equal_bytes(root: Path):
    first, second = (figures_page(root, "tiny", "safety", metadata=METADATA) for _ in range(2))
    assert first == second


def test_the_library_is_the_part_of_plotly_that_fits_and_as_documented():
    script = asset(LIBRARY)
    assert f"plotly.js (cartesian - minified) v{plotly.offline.get_plotlyjs_version()}" in script[:300]
    text = (ROOT / "docs/report.md").read_text(encoding="utf-8")
    assert hashlib.sha256(script.encode()).hexdigest() in text


# In a browser


@pytest.fixture(scope="module")
def browser():
    """A real browser."""
    from playwright.sync_api import sync_playwright

    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    assert path, "the tests need Chromium: apt-get install chromium"
    with sync_playwright() as started:
        yield started.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])


def opened(browser: Any, path: Path, **options: Any) -> tuple[Any, list[str]]:
    """A page with all its figures drawn, and what it complained of or asked the network for."""
    tab, heard = browser.new_page(**options), []
    tab.on("console", lambda said: heard.append(said.text))
    tab.on("pageerror", lambda error: heard.append(str(error)))
    tab.on("dialog", lambda shown: heard.append(shown.message))
    tab.on("request", lambda asked: heard.append(asked.url) if asked.url.startswith("http") else None)
    tab.goto(path.as_uri())
    return tab, heard


@pytest.mark.slow
def test_a_page_draws_every_figure_in_a_browser_on_a_narrow_screen(tmp_path: Path, browser: Any):
    plant(tmp_path, name=HOSTILE, trait=HOSTILE)
    path = tmp_path / "report.html"
    path.write_text(experiment_page(tmp_path, "tiny", metadata=METADATA), encoding="utf-8")
    tab, heard = opened(browser, path, viewport={"width": 390, "height": 800}, color_scheme="dark")
    tab.wait_for_selector("html[data-drawn]", timeout=60_000)
    places = tab.locator(".drawing")
    assert places.count() > 20
    assert tab.locator(".drawing .main-svg").count() >= places.count()
    assert tab.evaluate("document.documentElement.scrollWidth") == 390
    # No button sends a figure to a service.
    buttons = tab.locator(".modebar-btn").evaluate_all("all => all.map((one) => one.dataset.title)")
    assert buttons
    assert not [title for title in buttons if re.search("cloud|share|studio", title or "", re.IGNORECASE)]
    assert heard == []


@pytest.mark.slow
def test_a_page_is_shown_in_the_frame_that_snakemakes_report_puts_it_in(root: Path, browser: Any):
    page = figures_page(root, "tiny", "uncertainty", metadata=METADATA).encode()
    assert len(page) < FRAMED_BYTES
    for name, content in {"short": page, "long": page + b" " * (FRAMED_BYTES + 100_000 - len(page))}.items():
        address = f"data:text/html;charset=utf8;filename=figures.html;base64,{base64.b64encode(content).decode()}"
        path = root / f"{name}.html"
        path.write_text(f'<!doctype html><iframe src="{address}" width="900" height="600"></iframe>')
        tab, heard = opened(browser, path)
        frame = tab.frame_locator("iframe")
        if name == "short":
            frame.locator("html[data-drawn]").wait_for(state="attached", timeout=60_000)
            assert frame.locator(".main-svg").count() > 5
        else:
            tab.wait_for_timeout(1000)
            assert frame.locator("h1").count() == 0, "longer pages are shown by now: FRAMED_BYTES can grow"
        assert heard == []
