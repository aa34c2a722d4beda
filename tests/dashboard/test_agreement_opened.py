"""The agreement page's opened sample, and what it says where files are absent or broken."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import dash
import polars as pl
import pytest
from agreement_page_helpers import ALL, ENTROPY, PLACES, STRANGE, plant, shares, signals, text_of
from safety_page_helpers import HOSTILE, SECRET, cards, classes, parts, served, store, text

from tells.dashboard.agreement import keys
from tells.dashboard.agreement.opened import opened_cards
from tells.dashboard.pages import agreement as page

TWO = ("Two signals", "Surer by x than by y", "Surer by y than by x")
SAME = "Do the signals say the same?"
CONCLUDED = (
    *("Every signal for every outcome", "All signals together against the best one"),
    *("Does the confidence direction read uncertainty?", "What is missing, and what to know"),
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    plant(folder)
    return folder


@pytest.fixture
def folder(root: Path, tmp_path: Path) -> Path:
    """The folder of an agreement, to be spoilt; its root is `tmp_path`."""
    shutil.copytree(root, tmp_path, dirs_exist_ok=True)
    return tmp_path / "experiments/tiny/agreement"


# The opened sample


@pytest.mark.parametrize("place", PLACES)
def test_an_opened_sample_shows_its_texts_as_text(app: Any, place: str):
    study, _, collection = place.partition("/")
    key = keys.SampleKey(study, collection, STRANGE, 1)
    made = opened_cards(store(app), replace(ALL, sample=str(key)))
    assert "error" not in classes(made)
    for words in (text_of(key), f"{SECRET} {STRANGE} {HOSTILE}", "Before: "):
        assert words in text(made)
        assert (words in text(made, veiled=False)) is (study != "safety")
    links = [one.href for one in parts(made) if type(one).__name__ == "Link"]
    assert links == [keys.page_of("tiny", key)]


def test_an_opened_sample_has_every_signal_with_its_rank(app: Any):
    key = keys.SampleKey("uncertainty", "sums", "q003", 1)
    own = signals().filter(pl.col("study") == "uncertainty", pl.col("scored"))
    place = own.select(pl.arg_where((pl.col("prompt_id") == "q003") & (pl.col("sample") == 1))).item()
    made = text(cards(opened_cards(store(app), replace(ALL, sample=str(key))))["What every signal says of it"])
    value, rank = own[ENTROPY][place], shares(-own[ENTROPY].to_numpy())[place]
    assert f"token entropy mean {value:.4g} nats {100 * rank:.0f}%" in made
    greedy = replace(ALL, sample=str(key._replace(sample=-1)))
    made = text(cards(opened_cards(store(app), greedy))["What every signal says of it"])
    assert "no: no figure rests on it" in made
    assert "nats –" in made


@pytest.mark.parametrize(
    "sample",
    [
        *("x", "safety|mine|absent|0", "safety|mine|q000|77", "safety|../mine|q000|0", "nothing|mine|q000|0"),
        *("agreement|.|q000|0", "safety|..|q000|0", "traits|behavioral|q000|0"),
    ],
)
def test_an_unknown_sample_is_said_to_be_so(app: Any, root: Path, sample: str):
    made = opened_cards(store(app), replace(ALL, sample=sample))
    assert "error" in classes(made)
    assert "Traceback" not in text(made)
    assert str(root) not in text(made)


# What is missing or broken

FILES = {
    "results.json": {*CONCLUDED, SAME},
    "results.parquet": {"The one table"},
    "signals.parquet": set(TWO),
    "signals.json": set(TWO),
}


@pytest.mark.parametrize("name", FILES)
def test_a_broken_file_is_an_error_on_the_cards_that_read_it_and_no_others(folder: Path, tmp_path: Path, name: str):
    path = folder / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    for _ in served(tmp_path):
        made = page._layout(experiment="tiny")
        faulty = {title for title, one in cards(made).items() if "error" in classes(one)}
        assert faulty == FILES[name]
        assert name in text(made)
        assert str(tmp_path) not in text(made)


@pytest.mark.parametrize("name", FILES)
def test_an_absent_file_is_a_place_that_says_what_to_run(folder: Path, tmp_path: Path, name: str):
    (folder / name).unlink()
    for _ in served(tmp_path):
        made = page._layout(experiment="tiny")
        empty = {title for title, one in cards(made).items() if "empty" in classes(one)}
        assert empty == FILES[name]
        assert not any("error" in classes(one) for one in cards(made).values())
        assert f"snakemake --profile cpu experiments/tiny/agreement/{name}" in text(made)


def test_texts_that_are_not_there_are_told_on_their_card(folder: Path, tmp_path: Path):
    (folder.parent / "safety/mine/samples.parquet").unlink()
    for app in served(tmp_path):
        made = cards(opened_cards(store(app), replace(ALL, sample="safety|mine|q000|1")))
        assert "samples.parquet: no such file" in text(made["mine: q000, sample 1"])
        assert "error" not in classes(made["What every signal says of it"])


def test_an_experiment_without_agreement_says_so_with_the_line_that_makes_it(folder: Path, tmp_path: Path):
    line = "snakemake --profile cpu agreement --config experiments=tiny"
    (folder.parents[1] / "other/agreement").mkdir(parents=True)
    shutil.rmtree(folder)
    for _ in served(tmp_path):
        made = page._layout(experiment="tiny")
        assert "tiny has no agreement between its studies yet" in text(made)
        assert line in text(made)
        assert "experiments=other" in text(page._layout(experiment="other"))
        assert "There is no experiment '../tiny' with this study here" in text(page._layout(experiment="../tiny"))
    (folder.parents[1] / "other/agreement").rmdir()
    for _ in served(tmp_path):
        assert line in text(page._layout())


def test_an_unknown_collection_signal_or_outcome_is_an_error_on_its_cards(app: Any):
    for state in (replace(ALL, place="safety/other"), replace(ALL, y="odd"), replace(ALL, colour="odd")):
        made = cards(page._content(state))
        faulty = {title for title, one in made.items() if "error" in classes(one)}
        assert faulty == set(TWO)


def test_the_overview_leads_to_the_page(app: Any):
    pages = {one["name"]: one for one in dash.page_registry.values()}
    assert pages["Agreement"]["path"] == "/agreement"
    made = pages["Overview"]["layout"]()
    links = [one.href for one in parts(made) if type(one).__name__ == "Link"]
    assert "/agreement?experiment=tiny" in links
    assert "gain of all signals over the best one" in text(made)
