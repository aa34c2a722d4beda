"""The uncertainty page on small planted files: what is counted, shown, said, and read from disk."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from dash import Dash
from dash.development.base_component import Component
from flask import current_app
from uncertainty_helpers import STRANGE, TEXT, plant_study, results

from tells.dashboard.app import make_app
from tells.dashboard.pages import uncertainty as page
from tells.dashboard.store import STORE_KEY, Store, current_store
from tells.dashboard.uncertainty.opened import opened_panel
from tells.dashboard.uncertainty.runs import data_sets, grid_rows, runs_of, settled
from tells.dashboard.uncertainty.scatters import ring_patches
from tells.dashboard.uncertainty.scores import CURVES, records_of
from tells.dashboard.uncertainty.state import Chosen
from tells.dashboard.urls import from_query, to_query
from tells.report.figures.uncertainty_keys import RunKey

STATE = Chosen(experiment="demo", dataset="sums")


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """The folder of a planted study."""
    return plant_study(tmp_path)


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Dash:
    return make_app(tmp_path_factory.mktemp("empty"))


@pytest.fixture
def found(app: Dash, study: Path) -> Iterator[Store]:
    """The results of the app in whose context a test runs."""
    app.server.config[STORE_KEY] = Store(study.parents[2])
    with app.server.app_context(), app.server.test_request_context("/uncertainty"):
        yield current_store()


def words(part: Any) -> str:
    """All text of a part of the page."""
    if isinstance(part, list | tuple):
        return " ".join(map(words, part))
    if isinstance(part, Component):
        return words(getattr(part, "children", None))
    return "" if part is None else str(part)


def parts(part: Any, kind: str) -> list[Any]:
    """All components of a kind."""
    if isinstance(part, list | tuple):
        return [one for each in part for one in parts(each, kind)]
    if not isinstance(part, Component):
        return []
    below = parts(getattr(part, "children", None), kind)
    return [part, *below] if type(part).__name__ == kind else below


def texts(part: Any) -> list[dict[str, Any]]:
    """What the browser draws of shaded texts."""
    told = [getattr(one, "data-tokens", None) for one in parts(part, "Div")]
    return [json.loads(one) for one in told if one is not None]


def cards(state: Chosen) -> dict[str, Any]:
    """The cards of the page by their headings."""
    sections = [one for one in parts(page._content(state), "Section") if one.className == "card"]
    return {words(parts(one, "H2")): one for one in sections}


def keys(*runs: tuple[str, str, int]) -> tuple[str, ...]:
    return tuple(str(RunKey(*run)) for run in runs)


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({}, (pl.col("split") == "test") & (pl.col("sample") >= 0)),
        ({"which": "all"}, pl.col("split") == "test"),
        ({"which": "greedy"}, (pl.col("split") == "test") & pl.col("greedy")),
        ({"which": "first"}, (pl.col("split") == "test") & (pl.col("sample") == 0)),
        ({"split": "all"}, pl.col("sample") >= 0),
        ({"answers": "correct"}, (pl.col("split") == "test") & (pl.col("sample") >= 0) & pl.col("correct")),
        ({"answers": "ungraded"}, (pl.col("split") == "test") & (pl.col("sample") == 2)),
        ({"contains": "WHAT IS A"}, (pl.col("prompt_id") == "a") & (pl.col("sample") >= 0)),
        ({"contains": "wer 1"}, (pl.col("split") == "test") & (pl.col("sample") == 1)),
    ],
)
def test_each_filter_leaves_its_runs(found: Store, change: dict[str, Any], wanted: pl.Expr):
    left = runs_of(found, replace(STATE, **change))
    expected = results().filter(pl.col("dataset") == "sums", wanted)
    columns = ["dataset", "prompt_id", "sample"]
    assert left.select(columns).rows() == expected.select(columns).rows()
    assert left.height > 0


def test_all_data_sets_are_one_choice_and_the_first_in_distribution_the_one_at_first(found: Store):
    assert data_sets(found, "demo") == ["sums", "capitals"]
    assert settled(found, Chosen(experiment="demo")) == STATE
    everything = replace(STATE, dataset="all", split="all", which="all")
    assert runs_of(found, everything).height == results().height


def test_the_count_says_what_is_counted(found: Store):
    said = words(page._count(found, STATE))
    assert said.startswith("6 runs of 2 questions : 2 correct, 2 wrong, 2 not graded. Sampled runs")
    assert "greedy runs (sample −1) are not counted" in said
    assert "8 runs" in words(page._count(found, replace(STATE, which="all")))
    assert "the greedy one" in words(page._count(found, replace(STATE, which="greedy")))


def test_the_page_reads_no_thought_and_no_column_that_it_does_not_show(found: Store, monkeypatch: pytest.MonkeyPatch):
    read: set[str] = set()
    table, scan = Store.table, Store.scan

    def noted(how: Any) -> Any:
        def reading(self: Store, path: Path, kind: str, columns: Any = None) -> Any:
            if kind == "results":
                read.update(["everything"] if columns is None else columns)
            return how(self, path, kind, columns)

        return reading

    monkeypatch.setattr(Store, "table", noted(table))
    monkeypatch.setattr(Store, "scan", noted(scan))
    page._content(STATE)
    assert "accuracy.score" in read
    assert not read & {"everything", "think", "gold", "greedy", "group"}


def test_the_threshold_is_the_probe_s_and_only_for_the_entropy_it_is_of(found: Store):
    (graph,) = parts(cards(STATE)["Probe margin and entropy"], "Graph")
    assert [shape.x0 for shape in graph.figure.layout.shapes] == [0.125]
    card = cards(replace(STATE, entropy="discrete"))["Probe margin and entropy"]
    assert not parts(card, "Graph")[0].figure.layout.shapes
    assert "No threshold is drawn" in words(card)
    greedy = cards(replace(STATE, which="greedy"))["Probe margin and entropy"]
    assert "none of 2 runs" in words(greedy)
    assert "stands under discrete" in words(greedy)


def test_opened_runs_are_ringed_in_every_scatter_whatever_the_filters_say(found: Store):
    state = replace(STATE, runs=keys(("sums", "c", 1)))
    graphs = {one.id["scatter"]: one.figure for one in parts(page._content(state), "Graph") if isinstance(one.id, dict)}
    assert {name: (list(one.data[0].x), list(one.data[0].y)) for name, one in graphs.items()} == {
        "margin": ([0.5], [1.5]),
        "entropy": ([0.5], [0.5]),
        "map": ([2.0], [1.0]),
    }
    (patch,) = ring_patches(found, replace(state, runs=keys(("sums", "a", 0))), ["map"])
    changed = {tuple(one["location"]): one["params"]["value"] for one in patch.to_plotly_json()["operations"]}
    assert changed == {("data", 0, "x"): [0.0], ("data", 0, "y"): [0.0], ("data", 0, "showlegend"): True}
    (none,) = ring_patches(found, replace(state, runs=()), ["map"])
    assert [one["params"]["value"] for one in none.to_plotly_json()["operations"]] == [[], [], False]


def test_curves_are_of_one_data_set_and_the_test_split_and_say_so_otherwise(found: Store, study: Path):
    titles = [title for title, _ in CURVES.values()]
    assert all(len(parts(cards(STATE)[title], "Graph")) == 1 for title in titles)
    for change, said in (
        ({"split": "train"}, "test split alone, and the filter shows train"),
        ({"dataset": "all"}, "one"),
    ):
        for title in titles:
            card = cards(replace(STATE, **change))[title]
            assert said in words(card)
            assert not parts(card, "Graph")
    (study / "curves.parquet").unlink()
    assert "snakemake --profile cpu experiments/demo/uncertainty/curves.parquet" in words(cards(STATE)["ROC"])


def test_the_lines_of_the_curves_can_be_chosen(found: Store):
    def shown(lines: Any) -> set[str]:
        (graph,) = parts(cards(replace(STATE, lines=lines))["ROC"], "Graph")
        return {trace.legendgroup for trace in graph.figure.data}

    assert shown("main") == {"accuracy", "p_true"}
    assert shown("probes") == {"accuracy"}
    assert shown("baselines") == {"p_true", "rao"}
    assert shown("all") == {"accuracy", "p_true", "rao"}


def test_records_are_those_of_outcome_metric_and_data_set_and_so_is_their_download(found: Store):
    def told(**change: Any) -> list[tuple[str, str, str]]:
        state = replace(STATE, **change)
        rows = records_of(found, state)
        sent = current_app.test_client().get(f"/rows/uncertainty-records.csv{to_query(state)}")
        assert pl.read_csv(sent.data)["value"].to_list() == rows["value"].to_list()
        return rows.select("score", "dataset", "metric").rows()

    assert told() == [("accuracy", "sums", "auroc"), ("p_true", "sums", "auroc")]
    assert told(metric="brier") == [("accuracy", "sums", "brier")]
    assert len(told(metric="all", dataset="all")) == 4
    assert told(outcome="semantic_entropy_raw") == [("semantic_entropy_raw", "sums", "spearman")]


def test_the_runs_are_downloaded_as_they_are_filtered_with_every_column(found: Store):
    state = replace(STATE, answers="wrong", contains="answer 1")
    sent = current_app.test_client().get(f"/rows/uncertainty-runs.parquet{to_query(state)}")
    got = pl.read_parquet(sent.data)
    assert got.columns == results().columns
    assert got.rows() == results().filter(dataset="sums", split="test", sample=1, correct=False).rows()


def test_a_page_of_the_table_is_sorted_and_has_keys(found: Store):
    request = {"startRow": 1, "endRow": 3, "sortModel": [{"colId": "accuracy.score", "sort": "desc"}]}
    answer = page._rows(request, to_query(STATE))
    assert answer["rowCount"] == 6
    wanted = grid_rows(found, STATE).sort("accuracy.score", descending=True)["key"].to_list()[1:3]
    assert [row["key"] for row in answer["rowData"]] == wanted


def test_an_opened_run_shows_question_gold_tokens_answer_cluster_and_scores(found: Store):
    run = keys(("sums", STRANGE, 1))
    panel = opened_panel(found, from_query(Chosen, to_query(replace(STATE, runs=run))))
    said = words(panel)
    assert f"What is {STRANGE}?" in said
    assert "4 · four" in said
    assert "answer 1" in said
    assert "Cluster 1, with 1 of the question's 2 runs that have one; 2 clusters in all." in said
    assert "All 4 runs of the question" in said
    (told,) = texts(panel)
    assert "".join(told["pieces"]) == TEXT
    assert told["values"] == [round(0.1 * n, 4) for n in range(8)]
    assert (told["pieces"][told["cut"]], told["words"]) == ("\\boxed{", "answer")
    grids = {str(one.id): one.rowData for one in parts(panel, "AgGrid")}
    siblings, scores = grids.values()
    assert [one["answer"] for one in siblings] == ["answer -1", "answer 0", "answer 1", None]
    assert {one["column"]: one["run0"] for one in scores}.items() >= {"accuracy.score": "0.5", "cluster": "1"}.items()


def test_the_greedy_run_and_a_cut_run_say_why_they_have_no_cluster(found: Store):
    panel = opened_panel(found, replace(STATE, runs=keys(("sums", "a", -1), ("sums", "a", 2))))
    assert "The greedy run takes no part in clustering." in words(panel)
    assert "None: the run was cut, or has no answer." in words(panel)
    assert words(parts(panel, "Span")).count("cut") == 1


def test_more_runs_than_stand_side_by_side_are_said_and_an_unknown_one_too(found: Store):
    assert opened_panel(found, STATE) == []
    many = [str(RunKey("sums", prompt, sample)) for prompt in "acd" for sample in range(-1, 3)]
    panel = opened_panel(found, replace(STATE, runs=tuple(many)))
    assert "12 runs selected; the first 10 are shown side by side." in words(panel)
    assert len(parts(panel, "Article")) == 10
    picked = {"keys": many[:11], "total": 1234, "from": 10, "what": "points"}
    assert "1,234 points selected; 11 to 11 are shown" in words(
        opened_panel(found, replace(STATE, runs=("x/y/0",)), picked)
    )
    said = words(opened_panel(found, replace(STATE, runs=("sums/absent/0", "nonsense", "../etc/0"))))
    assert said.count("demo has no such run.") == 3


def test_long_texts_keep_their_beginning_and_end_when_several_are_opened(found: Store, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tells.dashboard.uncertainty.opened._TOGETHER", 8)
    both = opened_panel(found, replace(STATE, runs=keys(("sums", "a", 0), ("sums", "a", 1))))
    told, _ = texts(both)
    assert told["pieces"] == ["I", " think", " ⟨4 tokens left out: open this run alone⟩ ", "4}", ""]
    assert told["values"][2] is None
    assert told["pieces"][told["cut"]] == "4}"
    (alone,) = texts(opened_panel(found, replace(STATE, runs=keys(("sums", "a", 0)))))
    assert "".join(alone["pieces"]) == TEXT


def test_a_run_without_replay_is_plain_and_a_broken_file_costs_its_text_alone(found: Store, study: Path):
    state = replace(STATE, runs=keys(("sums", "a", 0)))
    (study / "sums/replay.parquet").write_bytes(b"PAR1")
    said = words(opened_panel(found, state))
    assert "replay.parquet: not a whole Parquet file" in said
    assert "What is a?" in said
    (study / "sums/replay.parquet").unlink()
    plain = opened_panel(found, state)
    assert "Not shaded: there is no replay.parquet" in words(plain)
    assert TEXT in words(plain)


def test_a_broken_table_costs_its_cards_and_no_other(found: Store, study: Path):
    half = (study / "results.parquet").read_bytes()[:500]
    (study / "results.parquet").write_bytes(half)
    shown = cards(STATE)
    for title in ("Probe margin and entropy", "Semantic entropy and its probe", "Map of hidden states", "Runs"):
        assert "results.parquet" in words(shown[title])
        assert parts(shown[title], "Div")[0].className == "error"
    assert parts(shown["ROC"], "Graph")
    assert parts(shown["What the scores achieve"], "Graph")
    (study / "results.json").write_text('{"records": [')
    assert "results.json" in words(cards(STATE)["Data sets"])


def test_without_results_the_page_says_what_to_run(found: Store, study: Path):
    for name in ("results.parquet", "results.json"):
        (study / name).unlink()
    content = page._content(STATE)
    assert "snakemake --profile cpu uncertainty --config experiments=demo" in words(content)
    assert not parts(content, "Section")


def test_the_data_sets_say_what_was_left_out(found: Store):
    said = words(cards(STATE)["Data sets"])
    assert "not fitted: broken too few runs" in said
    assert "3, whose question is trained on in another data set" in said


def test_an_address_gives_the_same_page_again(found: Store):
    state = replace(
        STATE,
        split="all",
        which="greedy",
        score="semantic_entropy.score",
        runs=keys(("sums", STRANGE, 0), ("sums", "a", 1)),
    )
    assert from_query(Chosen, to_query(state)) == state
    assert words(page._layout(**{"experiment": "demo", "dataset": "capitals"})).count("3 runs of 1 questions :") == 1
