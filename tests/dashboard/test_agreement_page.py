"""The agreement page's filters, cards, lists and opened samples, on a small made-up agreement with planted faults."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from agreement_page_helpers import (
    ALL,
    ENTROPY,
    MADE,
    PLACES,
    PROBE,
    REASON,
    STRANGE,
    TRAIT,
    found,
    plant,
    shares,
    signals,
)
from safety_page_helpers import cards, classes, parts, served, store, text

from tells.dashboard.agreement import cards as agreement_cards
from tells.dashboard.agreement import keys, pair_cards, pairs, records
from tells.dashboard.agreement.state import Chosen
from tells.dashboard.pages import agreement as page
from tells.dashboard.safety.state import Chosen as SafetyChosen
from tells.dashboard.traits.state import Chosen as TraitsChosen
from tells.dashboard.uncertainty.state import Chosen as UncertaintyChosen
from tells.dashboard.urls import from_query, to_query
from tells.report.figures.agreement_pairs import ring, signal_scatter
from tells.report.figures.uncertainty_keys import read_key
from tells.tables import write_json


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    plant(folder)
    return folder


def graphs(made: Any) -> dict[str, Any]:
    """Figures by the identifier of their element."""
    return {str(one.id): one.figure for one in parts(made) if type(one).__name__ == "Graph"}


# State, keys and addresses


def test_an_address_restores_what_was_chosen():
    state = Chosen(
        *("tiny", "safety", "safety/mine", "harmful", (ENTROPY, "length"), "auroc_within_length", True),
        *("safety/mine", "length", PROBE, "harmful", 50, True, f"safety|mine|{STRANGE}|2"),
    )
    assert from_query(Chosen, to_query(state)) == state
    assert from_query(Chosen, "?metric=odd&most=many&once=maybe") == Chosen()


def test_a_key_names_its_sample_whatever_its_prompt_is_called():
    rows = signals().select(keys.key_texts(), *keys.SampleKey._fields)
    for text_, *columns in rows.iter_rows():
        key = keys.SampleKey(*columns)
        assert keys.read_key(text_) == key
        assert str(key) == text_
    for odd in (
        "",
        "safety",
        "safety|mine|p",
        "safety|mine|p|x",
        f"safety|mine|p|{10**20}",
        "safety|mine||1",
        "|mine|p|1",
    ):
        assert keys.read_key(odd) is None


def test_a_sample_is_opened_on_the_page_of_its_own_study(app: Any):
    run = keys.page_of("tiny", keys.SampleKey("uncertainty", "sums", STRANGE, -1))
    state = from_query(UncertaintyChosen, run.partition("?")[2])
    assert run.startswith("/uncertainty?")
    assert (state.experiment, state.dataset, state.split, state.which) == ("tiny", "sums", "all", "greedy")
    assert [tuple(read_key(one)) for one in state.runs] == [("sums", STRANGE, -1)]
    reply = keys.page_of("tiny", keys.SampleKey("safety", "mine", STRANGE, 2))
    state = from_query(SafetyChosen, reply.partition("?")[2])
    assert reply.startswith("/safety?")
    assert (state.benchmark, state.prompt) == ("mine", f"mine/{STRANGE}")
    response = keys.page_of("tiny", keys.SampleKey("traits", TRAIT, "q002", 1))
    state = from_query(TraitsChosen, response.partition("?")[2])
    assert response.startswith("/traits?")
    assert (state.trait, state.section, state.row) == (TRAIT, "vetting", f"{TRAIT}/q002/1")
    assert keys.page_of("tiny", keys.SampleKey("agreement", "x", "y", 0)) is None


# The one table and what is concluded


@pytest.mark.parametrize(
    ("state", "kept"),
    [
        (ALL, pl.lit(value=True)),
        (replace(ALL, study="safety"), pl.col("study") == "safety"),
        (replace(ALL, collection=f"traits/{TRAIT}"), pl.col("collection") == TRAIT),
        (replace(ALL, outcome="harmful"), pl.col("outcome") == "harmful"),
        (replace(ALL, signals=(ENTROPY, PROBE)), pl.col("signal").is_in([ENTROPY, PROBE])),
        (replace(ALL, study="safety", outcome="correct"), pl.lit(value=False)),
    ],
)
@pytest.mark.parametrize("absent", [False, True])
def test_filters_keep_the_figures_of_the_file(app: Any, state: Chosen, kept: pl.Expr, absent: bool):
    state = replace(state, absent=absent)
    wanted = found().table.filter(kept)
    known = wanted.filter(pl.col("auroc").is_not_null())
    rows = records.table_rows(store(app), state)
    shown = wanted if absent else known
    assert rows.select(shown.columns).equals(shown)
    said = text(cards(page._content(state))["The one table"])
    assert f"{known.height} figures; {wanted.height - known.height} places have none" in said
    answer = app.server.test_client().get(f"/rows/agreement-table.parquet{to_query(state)}")
    assert pl.read_parquet(io.BytesIO(answer.data)).equals(shown)


def test_an_absent_figure_says_why(app: Any):
    rows = records.table_rows(store(app), replace(ALL, study="traits", signals=(PROBE,), absent=True))
    assert rows["reason"].to_list() == [REASON]
    assert REASON in text(cards(page._content(ALL))["What is missing, and what to know"])


def test_the_table_gets_the_rows_in_view_in_the_order_of_its_heading(app: Any):
    request = {"startRow": 1, "endRow": 3, "sortModel": [{"colId": "auroc", "sort": "desc"}]}
    answer = page._rows(request, to_query(replace(ALL, study="safety")))
    wanted = found().table.filter(pl.col("study") == "safety", pl.col("auroc").is_not_null())
    assert answer["rowCount"] == wanted.height
    assert [row["auroc"] for row in answer["rowData"]] == wanted["auroc"].sort(descending=True)[1:3].to_list()
    asked = {"split", "p_holm", "prevalence", "n_rows", "auroc_low", "auroc_high"}
    assert asked <= set(answer["rowData"][0])


def test_the_heatmap_and_the_gains_follow_the_filters(app: Any):
    whole = graphs(page._content(ALL))
    assert len(whole["agreement-heatmap"].data[0].x) == 4
    part = graphs(page._content(replace(ALL, study="safety", signals=(ENTROPY,), metric="auroc_within_length")))
    drawn = part["agreement-heatmap"].data[0]
    wanted = found().table.filter(pl.col("study") == "safety", pl.col("signal") == ENTROPY)
    assert list(drawn.y) == ["token entropy mean"]
    assert list(drawn.z[0]) == wanted["auroc_within_length"].to_list()
    assert len(part["agreement-gains"].data[0].x) == 2
    for state in (replace(ALL, outcome="harmful"), replace(ALL, collection="uncertainty/sums")):
        one = graphs(page._content(state))
        assert len(one["agreement-heatmap"].data[0].x) == len(one["agreement-gains"].data[0].x) == 1
    nothing = cards(page._content(replace(ALL, study="safety", outcome="correct")))
    assert not any("error" in classes(one) for one in nothing.values())


def test_more_than_a_page_can_draw_is_said_to_be_left_out(app: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(agreement_cards, "_MOST_CELLS", 3)
    monkeypatch.setattr(agreement_cards, "_MOST_SIGNALS", 2)
    made = page._content(ALL)
    drawn = graphs(made)["agreement-heatmap"].data[0]
    assert (len(drawn.x), list(drawn.y)) == (3, ["token entropy mean", "accuracy probe"])
    said = "Drawn are the first 3 of 4 columns and the first 2 of 4 signals"
    assert said in text(cards(made)["Every signal for every outcome"])
    assert len(graphs(made)["agreement-gains"].data[0].x) == 3
    assert said not in text(page._content(replace(ALL, study="safety", signals=(ENTROPY,))))


def test_a_gain_and_the_direction_stand_with_what_they_rest_on(app: Any):
    made = cards(page._content(ALL))
    one = found().content["combined"][0]
    shown = text(made["All signals together against the best one"])
    assert f"{one['gain']['value']:.3f} [{one['gain']['low']:.3f}, {one['gain']['high']:.3f}]" in shown
    assert "95% interval by question, prompt with its twin, or pair" in shown
    told = found().content["confidence_direction"]
    direction = text(made["Does the confidence direction read uncertainty?"])
    assert told["answer"] in direction
    assert told["steering_reason"] in direction
    for note in found().content["notes"]:
        assert note in text(made["What is missing, and what to know"])


def test_a_missing_study_is_told_once(tmp_path: Path):
    folder, line = plant(tmp_path), "safety: the experiment has no safety study"
    content = {**found().content, "missing_studies": {"safety": line.removeprefix("safety: ")}}
    write_json(folder / "results.json", {**content, "notes": [line, *content["notes"]]}, metadata=MADE)
    for _ in served(tmp_path):
        assert text(cards(page._content(ALL))["What is missing, and what to know"]).count(line) == 1


# Two signals


def test_samples_are_ranked_by_sureness_among_the_scored_ones(app: Any):
    pair = pairs.pair_of(store(app), replace(ALL, place="uncertainty/sums", x=ENTROPY, y=PROBE))
    own = signals().filter(pl.col("study") == "uncertainty", pl.col("scored"))
    assert pair.rows.height == own.height == pair.n_scored == 56
    assert np.allclose(pair.rows["rank_x"], shares(-own[ENTROPY].to_numpy()))
    assert np.allclose(pair.rows["rank_y"], shares(own[PROBE].to_numpy()))
    assert (pair.split, pair.outcome) == ("test", "correct")


def test_the_samples_of_the_largest_differences_come_first_on_either_side(app: Any):
    state = replace(ALL, place="uncertainty/sums", x=ENTROPY, y="length", most=10)
    pair = pairs.pair_of(store(app), state)
    own = signals().filter(pl.col("study") == "uncertainty", pl.col("scored"))
    less = shares(-own["length"].to_numpy()) - shares(-own[ENTROPY].to_numpy())
    by_x, by_y = (pairs.disagreements(pair, side, state) for side in ("x", "y"))
    assert by_x.height == by_y.height == 10
    assert np.allclose(by_x["difference"], np.sort(less)[:10])
    assert np.allclose(by_y["difference"], np.sort(less)[::-1][:10])
    # Surer by x, which is read the other way round: of little entropy, and long.
    assert by_x[ENTROPY].mean() < own[ENTROPY].mean()
    assert by_x["length"].mean() > own["length"].mean()
    assert set(by_x["key"]).isdisjoint(by_y["key"])
    words = {True: "correct", False: "wrong"}
    assert by_x["class"].to_list() == [words[one] for one in by_x["correct"]]
    once = pairs.disagreements(pair, "x", replace(state, once=True))
    assert once["prompt_id"].is_unique().all()
    assert once["key"][0] == by_x["key"][0]
    odd = pairs.disagreements(pair, "x", replace(state, most=10_000_000))
    assert odd.height == 10


def test_one_signal_twice_disagrees_nowhere(app: Any):
    state = replace(ALL, place="uncertainty/sums", x=ENTROPY, y=ENTROPY)
    made = cards(page._content(state))
    assert "the two signals are one" in text(made["Surer by x than by y"])
    assert not any("error" in classes(one) for one in made.values())


def test_the_correlation_is_that_of_the_file(app: Any):
    record = found().content["correlations"][0]
    row, column = record["signals"].index(ENTROPY), record["signals"].index(PROBE)
    shown = text(page._content(replace(ALL, place="uncertainty/sums", x=ENTROPY, y=PROBE)))
    ends = [record[key][row][column] for key in ("values", "low", "high")]
    dash_ = ".." if ends[1] < 0 else "–"
    assert f"Spearman {ends[0]:.3f} [{ends[1]:.3f}{dash_}{ends[2]:.3f}]" in shown
    assert f"{record['n_rows']} samples of {record['n_groups']} groups (test)" in shown


def test_a_pair_without_a_correlation_says_why(app: Any):
    pair = pairs.pair_of(store(app), replace(ALL, place=f"traits/{TRAIT}", x=ENTROPY, y=PROBE))
    told, reason = pairs.correlation_of(found().content, pair)
    assert told is None
    assert PROBE in reason
    assert pairs.correlation_of({"correlations": []}, pair)[1] == f"results.json has no correlations of traits/{TRAIT}"


def test_signals_that_no_sample_has_say_why(app: Any):
    made = cards(page._content(replace(ALL, place=f"traits/{TRAIT}", y=PROBE)))
    assert f"accuracy probe: {REASON}" in text(made["Two signals"])
    assert "No sample to list" in text(made["Surer by x than by y"])
    assert not any("error" in classes(one) for one in made.values())


def test_where_none_is_chosen_two_signals_that_are_there_are_shown(app: Any):
    state = pairs.settled(store(app), ALL)
    assert (state.place, state.x, state.y) == (PLACES[0], ENTROPY, PROBE)
    state = pairs.settled(store(app), replace(ALL, place=f"traits/{TRAIT}"))
    assert (state.x, state.y) == (ENTROPY, "length")
    assert pairs.settled(store(app), replace(ALL, x=PROBE)).y == "length"
    assert pairs.defaults_of([], "") == (ENTROPY, ENTROPY)


def test_points_carry_their_keys_and_the_colour_of_their_outcome(app: Any):
    state = replace(ALL, place="safety/mine", x=ENTROPY, y=PROBE, colour="harmful", sample="safety|mine|q000|1")
    drawn = graphs(page._content(state))[str(pair_cards.scatter_id())]
    rows = signals().filter(pl.col("study") == "safety")
    opened, *traces = drawn.data
    keys_ = [key for trace in traces for key in trace.customdata]
    assert sorted(keys_) == sorted(rows.select(keys.key_texts())["key"])
    assert [trace.name for trace in traces] == [
        f"harmful (n = {rows['harmful'].sum()})",
        f"not harmful (n = {rows.height - rows['harmful'].sum()})",
    ]
    one = rows.filter(pl.col("prompt_id") == "q000", pl.col("sample") == 1)
    assert (list(opened.x), list(opened.y)) == (one[ENTROPY].to_list(), one[PROBE].to_list())
    assert ring(rows.with_columns(keys.key_texts()), "", ENTROPY, PROBE) == {"x": [], "y": []}


def test_the_outcome_of_another_study_gives_way_with_a_word(app: Any):
    state = replace(ALL, place="uncertainty/sums", colour="harmful")
    assert pairs.pair_of(store(app), state).outcome == "correct"
    assert "These samples have no outcome harmful." in text(cards(page._content(state))["Two signals"])
    assert "have no outcome" not in text(page._content(replace(ALL, place="safety/mine", colour="harmful")))


def test_names_of_prompts_stay_text_in_the_figure(app: Any):
    drawn = graphs(page._content(replace(ALL, place="safety/mine")))[str(pair_cards.scatter_id())]
    said = [words for trace in drawn.data[1:] for words in trace.text]
    assert f"{STRANGE.replace('<b>', '&lt;b&gt;')}, sample 0" in said


def test_a_figure_of_no_sample_says_so():
    rows = pl.DataFrame(schema={"key": pl.String, "a": pl.Float64})
    one = {"name": "a", "unit": "", "sureness": 1}
    made = signal_scatter(rows, one, one, collection="sums", outcome=None, split="test", n_groups=0)
    assert "no scored sample has both signals" in made.layout.annotations[0].text


def test_downloads_hold_the_rows_that_are_shown(app: Any):
    state = replace(ALL, place="uncertainty/sums", x=ENTROPY, y=PROBE, most=20, once=True)
    client, pair = app.server.test_client(), pairs.pair_of(store(app), state)
    sent = pl.read_parquet(io.BytesIO(client.get(f"/rows/agreement-disagreements.parquet{to_query(state)}").data))
    lists = pl.concat([pairs.disagreements(pair, side, state) for side in ("x", "y")])
    assert sent.select("prompt_id", "sample", "difference").equals(lists.select("prompt_id", "sample", "difference"))
    assert sent["surer_by"].unique(maintain_order=True).to_list() == [ENTROPY, PROBE]
    sent = pl.read_csv(client.get(f"/rows/agreement-samples.csv{to_query(state)}").data)
    assert sent.height == pair.rows.height
    for name in ("table", "samples", "disagreements"):
        assert client.get(f"/rows/agreement-{name}.csv?experiment=..").status_code == 404
