"""The traits page: its rows are the files', its cards say what they rest on, and a broken file stays on its card."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from dash import dcc, html, no_update
from traits_page_helpers import (
    HOSTILE,
    LONG,
    OTHER,
    SCORES,
    TRAIT,
    app_of,
    parts_of,
    pieces_of,
    plant,
    plant_projections,
    plant_results,
    typed,
    vectors,
    words_of,
)

from tells.dashboard.downloads import _SOURCES
from tells.dashboard.pages.traits import _SECTIONS, _answered, _build, _choose, _opened
from tells.dashboard.store import Store, current_store
from tells.dashboard.traits import steering as traits_steering
from tells.dashboard.traits import texts as traits_texts
from tells.dashboard.traits import vectors as traits_vectors
from tells.dashboard.traits import vetting_cards as traits_vetting_cards
from tells.dashboard.traits.answers import answer_pairs, conditions
from tells.dashboard.traits.runs import run_rows, token_range
from tells.dashboard.traits.state import Chosen, traits_of
from tells.dashboard.traits.summary import summary
from tells.dashboard.traits.vetting import FAILURES, vetting_rows
from tells.dashboard.urls import query_of
from tells.tables import make_metadata, read_json, write_json, write_table
from tells.traits.vetting import Thresholds, outcome_of

STATE = Chosen(experiment="tiny", trait=TRAIT)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return plant(tmp_path)


@pytest.fixture
def found(tmp_path: Path, folder: Path) -> Iterator[Store]:
    """The results, while the app is at work."""
    with app_of(tmp_path).server.app_context():
        yield current_store()


def keys(rows: pl.DataFrame) -> list[str]:
    return [key.removeprefix(f"{TRAIT}/") for key in rows["key"]]


def test_verdicts_are_those_of_the_vetting(found: Store):
    rows, broken = vetting_rows(found, STATE)
    assert not broken
    assert rows.height == len(SCORES)
    for row in rows.iter_rows(named=True):
        for stage in ("scenario", "response"):
            score, status, verdict = (row[f"{stage}_{part}"] for part in ("score", "status", "verdict"))
            outcome = outcome_of(score, status, row["polarity"], Thresholds())
            assert verdict == ("refused" if status == "refused" else outcome)


@pytest.mark.parametrize(
    ("failure", "left"),
    [
        ("kept", ["positive-000/0", "negative-000/0", "positive-003/0", "negative-003/0"]),
        ("left_out", ["positive-001/0", "negative-001/0", "positive-002/0", "negative-002/0"]),
        ("scenario", ["positive-003/0"]),
        ("response", ["positive-001/0", "positive-002/0"]),
        ("refused", ["positive-002/0"]),
        ("error", ["negative-002/0"]),
        ("partner", ["negative-001/0"]),
    ],
)
def test_rows_are_filtered_by_what_failed(found: Store, failure: Any, left: list[str]):
    assert keys(vetting_rows(found, replace(STATE, failure=failure))[0]) == left


def test_every_choice_of_a_failure_has_its_filter(found: Store):
    for failure in FAILURES:
        vetting_rows(found, replace(STATE, failure=failure))  # type: ignore[arg-type]


def test_a_response_that_is_left_out_says_why(found: Store):
    told = {row["key"]: row["left_out"] for row in vetting_rows(found, STATE)[0].iter_rows(named=True)}
    assert told[f"{TRAIT}/positive-000/0"] is None
    assert told[f"{TRAIT}/positive-001/0"] == "the response fails"
    assert told[f"{TRAIT}/negative-001/0"] == "the other pole of its pair is left out"
    assert told[f"{TRAIT}/positive-002/0"] == "the judge refused the response"
    assert told[f"{TRAIT}/negative-002/0"] == "the response has no score"


def test_rows_are_filtered_by_pole_words_and_trait(found: Store):
    assert {*vetting_rows(found, replace(STATE, pole="negative"))[0]["polarity"]} == {"negative"}
    # Beyond the beginning that the table shows, and without regard to case.
    assert keys(vetting_rows(found, replace(STATE, words="NEEDLE"))[0]) == ["positive-000/0"]
    assert keys(vetting_rows(found, replace(STATE, words="negative-003"))[0]) == ["negative-003/0"]
    both = vetting_rows(found, replace(STATE, every=True))[0]
    assert both["trait"].unique().sort().to_list() == traits_of(found, "tiny") == [TRAIT, OTHER]
    assert both.height == 2 * len(SCORES)


def test_the_download_has_the_rows_shown_with_whole_texts_in_their_order(found: Store):
    state = replace(STATE, pole="positive", sort=("response_score.desc",))
    shown, _ = vetting_rows(found, state)
    rows = _SOURCES["traits-vetting"](found, query_of(state))
    assert rows["response_score"].to_list() == [95.0, 60.0, 30.0, None]
    assert rows.height == shown.height
    assert rows["response"][0] == LONG
    assert shown["response"][0] != LONG
    assert "key" not in rows.columns


def test_the_judge_s_words_stand_beside_the_response_they_explain(found: Store, folder: Path):
    told = {"prompt_id": "positive-001", "sample": 0, "polarity": "positive", "reason": "cold", "confound": "haste"}
    write_json(folder / "explanations.json", {"explanations": [told]}, metadata={})
    row = vetting_rows(found, replace(STATE, failure="response"))[0].row(0, named=True)
    assert (row["explanation"], row["confound"], row["reason"]) == ("cold", "haste", "cold")
    opened = words_of(traits_vetting_cards.opened(found, replace(STATE, row=f"{TRAIT}/positive-001/0")))
    assert "cold" in opened
    assert "haste" in opened


def test_an_opened_response_shows_both_poles_and_where_the_judged_window_ends(found: Store, folder: Path):
    rows = [{"prompt_id": "positive-000", "sample": 0, "shard": 0, "tensor_row": 0, "token_ends": [5, 10, len(LONG)]}]
    facts = make_metadata("replay", params={})
    write_table(folder / "shards/replay-0000.parquet", typed(rows, "replay"), "replay", facts)
    card = traits_vetting_cards.opened(found, replace(STATE, row=f"{TRAIT}/positive-000/0"))
    words = words_of(card)
    for said in ("pass, score 95.0", "pass, score 5.0", "told negative-000", "response[:2]", "enters the vectors"):
        assert said in words
    texts = [part.children for part in parts_of(card, html.Div) if getattr(part, "className", "") == "text"]
    assert texts[0] == f"{HOSTILE} positive-000"
    assert [part for part in texts[1] if isinstance(part, str)] == [LONG[:10], LONG[10:]]


def test_an_opened_response_is_not_shown_beside_another_trait_s(found: Store):
    opened = replace(STATE, row=f"{OTHER}/positive-000/0")
    assert traits_vetting_cards.opened(found, opened) is None
    assert traits_vetting_cards.opened(found, replace(opened, every=True)) is not None
    assert "there is no response" in words_of(
        traits_vetting_cards.opened(found, replace(STATE, row=f"{TRAIT}/positive-999/0"))
    )


def test_pass_rates_have_their_counts_thresholds_and_judge(found: Store):
    words = words_of(traits_vetting_cards.cards(found, STATE)[0])
    for said in ("50%", "100%", "at or above 60", "at or below 40", "offline judge (mini", "2 whole pairs"):
        assert said in words


def test_answers_stand_beside_the_unsteered_one_to_the_same_question(found: Store):
    rows = answer_pairs(found, STATE)
    assert rows["unsteered_trait"].to_list() == [50.0, 51.0]
    assert rows["trait"].to_list() == [80.0, 81.0]
    assert rows["change"].to_list() == [30.0, 30.0]
    assert rows["unsteered_text"].str.ends_with("unsteered-1-0").to_list() == [False, True]
    assert answer_pairs(found, replace(STATE, question="q1")).height == 1
    random = answer_pairs(found, replace(STATE, condition="random"))
    assert random.select("draw", "change").rows() == [(0, -10.0), (1, -10.0)]


def test_points_of_the_search_are_conditions_of_their_own(found: Store):
    assert [*conditions(found, STATE)] == ["steered", "prompting", "random", "search.5.probe.-0.3"]
    (row,) = answer_pairs(found, replace(STATE, condition="search.5.probe.-0.3")).to_dicts()
    assert (row["unsteered_trait"], row["trait"], row["change"], row["reason"]) == (45.0, None, None, "no answer came")


def test_the_first_row_is_side_by_side_until_one_is_chosen(found: Store):
    steering = replace(STATE, section="steering")
    first = words_of(traits_steering.opened(found, steering))
    for said in ("unsteered-0-0", "steered-0-0", "prompting-0-0", "the first row of the table", "80.0", "50.0"):
        assert said in first
    chosen = words_of(traits_steering.opened(found, replace(steering, pair="steered-1-0")))
    assert "Question 1?" in chosen
    assert "the opened row" in chosen
    by_trait = replace(steering, sort=("trait.desc",))
    assert "Question 1?" in words_of(traits_steering.opened(found, by_trait))


def test_a_trait_that_is_not_steered_says_so(found: Store):
    state = replace(STATE, trait=OTHER, section="steering")
    (card,) = traits_steering.cards(found, state)
    assert "was not steered" in words_of(card)
    assert "snakemake --profile cpu steering --config experiments=tiny" in words_of(card)
    assert traits_steering.opened(found, state) is None


def test_the_cosines_are_those_of_the_trait_s_best_vector_until_a_place_is_chosen(found: Store, folder: Path):
    plant_results(found.root, folder)
    for state, said in (
        (STATE, "probe, layer 5"),
        (replace(STATE, layer="3"), "probe, layer 3"),
        (replace(STATE, trait=OTHER), "probe, layer 3"),
        (replace(STATE, layer="9"), "probe, layer 9"),
    ):
        assert f"cosines between traits ({said})" in words_of(traits_vectors.cards(found, state)[1])


def test_the_summary_has_every_trait_its_status_and_the_offline_judge(found: Store, folder: Path):
    plant_results(found.root, folder)
    words = words_of(summary(found, STATE))
    for said in (
        TRAIT,
        OTHER,
        "vectors",
        "probe, layer 5",
        "+ 50% (2/4)",
        "− 100% (3/3)",
        "offline judge (mini",
        "A stand-in.",
    ):
        assert said in words
    assert _SOURCES["traits-summary"](found, {"experiment": "tiny"})["trait"].to_list() == [TRAIT, OTHER]


def test_texts_are_shown_along_the_chosen_trait_s_vector(found: Store, folder: Path):
    plant_projections(folder, ("positive-000", "negative-000"), (OTHER, TRAIT))
    state = replace(STATE, section="texts", sort=("mean.desc",))
    rows = run_rows(found, state)
    assert {*rows["trait"]} == {TRAIT}
    assert rows["mean"].to_list() == [0.5, 1.5]
    assert {*run_rows(found, replace(state, vector=f"{OTHER}|probe|5"))["trait"]} == {OTHER}
    assert token_range(found, state) == (0.0, 3.0)
    download = _SOURCES["traits-runs"](found, query_of(state))
    assert download["projection"].to_list() == [[1.0, 2.0, 3.0], [0.0, 1.0, 2.0]]
    assert download["text"].to_list() == ["told negative-000", LONG]
    opened = traits_texts.opened(found, state)
    assert pieces_of(opened)[:2] == ["to", "ld"]
    assert "0.00" in words_of(traits_texts.opened(found, replace(state, scale="file")))
    assert "1.00" in words_of(traits_texts.opened(found, replace(state, scale="text")))


def test_texts_of_a_benchmark_are_veiled_wherever_they_stand(found: Store):
    plant_projections(found.root / "experiments/tiny/safety/bench", ("h1", "h2"))
    state = replace(STATE, section="texts")
    veiled = [column.field for column in traits_texts.columns_of(found, state) if column.veiled]
    assert veiled == ["text"]
    card = traits_texts.opened(found, state)
    behind = [part for part in parts_of(card, html.Div) if "veiled-text" in getattr(part, "className", "")]
    assert words_of(behind).count("asked h1") == 1
    assert pieces_of(behind)[:1] == ["to"]
    for veil in behind:
        veil.children = None
    assert "asked h1" not in words_of(card)
    assert pieces_of(card) == []
    (graph,) = parts_of(card, dcc.Graph)
    assert graph.figure.data[0].hovertext[0] == "token 0<br>h·v 0.00"


def test_without_projections_the_line_that_makes_them_is_told(found: Store, folder: Path):
    state = replace(STATE, section="texts")
    line = f"tells project tiny/traits/{TRAIT} --trait {TRAIT}"
    assert words_of(traits_texts.cards(found, state)).endswith(line)
    write_json(folder / "vectors.json", vectors(best=None), metadata={})
    assert words_of(traits_texts.cards(found, state)).endswith(f"{line} --method probe --layer 5")
    assert "has no vector yet" in words_of(traits_texts.cards(found, replace(state, trait=OTHER)))
    assert traits_texts.opened(found, state) is None


def test_a_file_with_other_traits_tells_the_line_that_adds_the_chosen_one(found: Store, folder: Path):
    plant_projections(folder, ("positive-000",), (OTHER,))
    words = words_of(traits_texts.cards(found, replace(STATE, section="texts")))
    assert f"--trait {OTHER} --trait {TRAIT}" in words


@pytest.mark.parametrize("section", _SECTIONS)
def test_no_field_of_the_state_is_lost_in_any_section(found: Store, folder: Path, section: Any):
    plant_results(found.root, folder)
    plant_projections(folder, ("positive-000",))
    page = _build(found, replace(STATE, section=section))
    identifiers = [part.id for part in parts_of(page) if isinstance(getattr(part, "id", None), dict)]
    told = [one.get("field", one.get("held")) for one in identifiers if one["page"] == "traits"]
    assert sorted(told) == sorted(asdict(STATE))


def test_a_broken_file_is_told_on_its_card_and_the_others_stand(found: Store, folder: Path):
    table = folder / "vetting.parquet"
    table.write_bytes(table.read_bytes()[:100])
    shown = {card.children[0].children: words_of(card) for card in traits_vetting_cards.cards(found, STATE)}
    assert "100%" in shown[f"What passes: {TRAIT}"]
    assert "cannot be shown" in shown["Scenarios and responses"]
    rows, broken = vetting_rows(found, replace(STATE, every=True))
    assert ([*broken], {*rows["trait"]}) == ([TRAIT], {OTHER})


def test_what_is_not_made_yet_is_told_with_the_line_that_makes_it(found: Store, folder: Path):
    for name in ("vetting.json", "vectors.json"):
        (folder / name).unlink()
    path = f"experiments/tiny/traits/{TRAIT}"
    assert f"snakemake --profile cpu {path}/vetting.json" in words_of(traits_vetting_cards.cards(found, STATE))
    assert f"snakemake --profile cpu {path}/vectors.json" in words_of(traits_vectors.cards(found, STATE))
    assert "have not been summarised" in words_of(summary(found, STATE))


def test_an_unknown_trait_is_said_and_another_shown(found: Store):
    words = words_of(_build(found, replace(STATE, trait="mood/none")))
    assert f"There is no trait 'mood/none' in tiny: {TRAIT} is shown." in words


def test_a_table_asks_for_its_rows_and_tells_its_order_once(found: Store):
    request = {"startRow": 0, "endRow": 2, "sortModel": [{"colId": "response_score", "sort": "asc"}]}
    columns = traits_vetting_cards.columns_of(STATE)
    response, order = _answered(request, [], lambda store: (vetting_rows(store, STATE)[0], columns))
    assert [row["response_score"] for row in response["rowData"]] == [5.0, 15.0]
    assert response["rowCount"] == len(SCORES)
    assert order == ["response_score.asc"]
    again = _answered(request, order, lambda store: (vetting_rows(store, STATE)[0], columns))[1]
    assert again is no_update
    assert _choose([{"key": "a"}]) == "a"
    assert _choose([]) is no_update


def test_the_opened_part_is_that_of_the_section(found: Store):
    row = replace(STATE, row=f"{TRAIT}/positive-000/0")
    assert "Opened response" in words_of(_opened(found, row))
    assert _opened(found, replace(row, section="vectors")) is None
    assert read_json(found.folder("tiny", "traits") / TRAIT / "vetting.json")["pairs"] == 2
