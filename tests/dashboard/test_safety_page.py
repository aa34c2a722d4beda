"""The safety page's filters, cards and lists, on a small made-up study with planted faults."""

from __future__ import annotations

import io
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from report.report_helpers import BUDGET, SAMPLED
from safety_page_helpers import (
    ALL,
    SECRET,
    cards,
    classes,
    parts,
    plant,
    served,
    store,
    text,
)

from tells.dashboard.pages import safety as page
from tells.dashboard.safety import cards as safety_cards
from tells.dashboard.safety import prompt as safety_prompt
from tells.dashboard.safety import rows as safety_rows
from tells.dashboard.safety import tables as safety_tables
from tells.dashboard.safety.state import NO_CATEGORY, NO_CELL, Chosen
from tells.dashboard.store import Store
from tells.dashboard.urls import from_query, to_query
from tells.tables import make_metadata, write_table


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    plant(folder)
    return folder


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small")
    plant(folder, prompts=4)
    return folder


@pytest.fixture
def folder(small: Path, tmp_path: Path) -> Path:
    """The folder of a benchmark of four prompts, to be spoilt; its root is `tmp_path`."""
    shutil.copytree(small, tmp_path, dirs_exist_ok=True)
    return tmp_path / "experiments/tiny/safety/mine"


def test_an_address_restores_what_was_chosen():
    state = Chosen(
        "tiny", "mine", "harmful", "fraud [bold]", "tail", "label", True, NO_CELL, "harmful", "a b", "mine/p01", True
    )
    assert from_query(Chosen, to_query(state)) == state
    assert from_query(Chosen, "?label=odd&kind=median&cell=other&tokens=maybe") == Chosen()


@pytest.mark.parametrize(
    ("state", "kept"),
    [
        (ALL, pl.lit(value=True)),
        (replace(ALL, label="harmful"), pl.col("label") == "harmful"),
        (replace(ALL, label="unlabelled"), pl.col("label").is_null()),
        (replace(ALL, category="theft"), pl.col("category") == "theft"),
        (replace(ALL, category=NO_CATEGORY), pl.col("category").is_null()),
        (
            replace(ALL, category="theft", label="benign"),
            (pl.col("category") == "theft") & (pl.col("label") == "benign"),
        ),
        (replace(ALL, category="nowhere"), pl.lit(value=False)),
    ],
)
def test_filters_keep_the_traces_of_their_prompts(app: Any, root: Path, state: Chosen, kept: pl.Expr):
    labels = pl.read_parquet(root / "experiments/tiny/safety/mine/reply_labels.parquet").filter(kept)
    rows = safety_rows.trace_rows(store(app), state)
    assert rows.select("prompt_id", "sample").equals(labels.select("prompt_id", "sample"))
    assert f"{labels.height:,} traces of {labels['prompt_id'].n_unique():,} prompts" in text(page._content(state))


def test_lists_keep_the_traces_of_a_cell_and_their_prompts_with_all_counts(app: Any, root: Path):
    folder = root / "experiments/tiny/safety/mine"
    strata, labels = (pl.read_parquet(folder / f"{name}.parquet") for name in ("strata", "reply_labels"))
    for cell in ("uncertain_compliance", NO_CELL):
        wanted = strata.filter(pl.col("quadrant").is_null() if cell == NO_CELL else pl.col("quadrant") == cell)
        traces = safety_rows.listed_traces(store(app), replace(ALL, cell=cell))
        assert 0 < traces.height < strata.height
        assert traces.select("prompt_id", "sample").equals(wanted.select("prompt_id", "sample"))
    harmful = safety_rows.listed_prompts(store(app), replace(ALL, harm="harmful"))
    assert set(harmful["prompt_id"]) == set(labels.filter(harm="harmful")["prompt_id"])
    for row in harmful.iter_rows(named=True):
        own = labels.filter(prompt_id=row["prompt_id"])
        assert row["traces"] == own.height
        assert row["refused"] == own["refusal"].is_in(["refusal", "partial"]).sum()
        assert row["complied"] == (own["refusal"] == "compliance").sum()
        assert row["unclear"] == (own["refusal"] == "unclear").sum()
        assert row["harmful"] == (own["harm"] == "harmful").sum() > 0


def test_words_are_found_in_ids_and_texts_whatever_their_case(app: Any):
    assert safety_rows.listed_prompts(store(app), replace(ALL, find="P07"))["prompt_id"].to_list() == ["p07"]
    assert safety_rows.listed_prompts(store(app), replace(ALL, find=f"{SECRET.upper()} p03"))[
        "prompt_id"
    ].to_list() == ["p03"]
    assert safety_rows.listed_traces(store(app), replace(ALL, find="p07")).height == BUDGET
    assert safety_rows.listed_prompts(store(app), replace(ALL, find="p0.")).height == 0


def test_cells_and_rates_are_the_file_s_records_of_what_is_chosen(app: Any, root: Path):
    record = json.loads((root / "experiments/tiny/safety/mine/strata.json").read_text())
    assert safety_tables.cells_of(record, ALL) == record["cells"]["all"]
    for state, part in ((replace(ALL, label="benign"), "benign"), (replace(ALL, category="theft"), "theft")):
        found = safety_tables.cells_of(record, state)
        assert [cell["part"] for cell in found] == [part] * 4
    none = safety_tables.cells_of(record, replace(ALL, category=NO_CATEGORY))
    assert {(cell["by"], cell["part"]) for cell in none} == {("category", None)}
    assert safety_tables.cells_of(record, replace(ALL, label="unlabelled")) == []
    rates = safety_tables.rates_of(record, replace(ALL, label="benign", category="theft"))
    assert {(rate["measure"], rate["category"]) for rate in rates} == {("over_refusal", "theft")}
    both = text(cards(page._content(replace(ALL, label="harmful", category="theft")))["Four cells"])
    assert "but not by both" in both


def test_a_figure_stands_with_its_interval_n_and_judge(app: Any, root: Path):
    record = json.loads((root / "experiments/tiny/safety/mine/strata.json").read_text())
    difference = record["hypothesis"]["risk_difference"]["difference"]
    shown = text(cards(page._content(ALL))["Is uncertain compliance riskier?"])
    assert f"{difference['value']:.2f} [{difference['low']:.2f}" in shown
    assert f"{difference['n']} {difference['n_prompts']}" in shown
    assert "90% interval by prompt" in shown
    assert "harm by embedding (a proxy)" in shown
    for warning in record["warnings"]:
        assert warning in shown
    assert "A proxy that knows little." in text(cards(page._content(ALL))["Who judged"])


FILES = {
    "strata.json": {
        *("Is uncertain compliance riskier?", "Four cells", "Who judged", "Rates", "Ranking, and simpler numbers"),
        *("Confidence by label", "Confidence by cell", "Ways of spending traces", "Any of n, and majority"),
    },
    "arms.json": {"Ways of spending traces", "Early stopping as it grows strict"},
    "strata.parquet": {"Confidence by label", "Confidence by cell", "Prompts", "Traces"},
    "confidence.parquet": {
        "Confidence by label",
        "Confidence by cell",
        "Confidence along the trace",
        "Prompts",
        "Traces",
    },
    "reply_labels.parquet": {
        *("Confidence by label", "Confidence by cell", "Confidence along the trace", "Prompts", "Traces"),
    },
    "prompts.parquet": {"Prompts"},
    "sweep.parquet": {"Early stopping as it grows strict"},
    "any_of_n.parquet": {"Any of n, and majority"},
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


@pytest.mark.parametrize("name", FILES)
def test_an_absent_file_is_a_place_that_says_what_to_run(folder: Path, tmp_path: Path, name: str):
    (folder / name).unlink()
    for _ in served(tmp_path):
        made = page._layout(experiment="tiny")
        empty = {title for title, one in cards(made).items() if "empty" in classes(one)}
        wanted = FILES[name] | ({"Traces"} if name == "prompts.parquet" else set())
        assert empty == wanted
        assert not any("error" in classes(one) for one in cards(made).values())
        assert f"snakemake --profile cpu experiments/tiny/safety/mine/{name}" in text(made)


def test_tables_of_different_runs_are_refused(folder: Path, tmp_path: Path):
    strata = pl.read_parquet(folder / "strata.parquet").filter(pl.col("sample") > 0)
    write_table(folder / "strata.parquet", strata, "strata", make_metadata("stratify", **SAMPLED))
    for _ in served(tmp_path):
        assert "4 of 24 labelled traces are not in both" in text(cards(page._content(ALL))["Traces"])


def test_unknown_benchmarks_and_prompts_are_said_to_be_so(app: Any):
    assert "There is no benchmark '../mine' here" in text(page._layout(experiment="tiny", benchmark="../mine"))
    for prompt in ("mine/absent", "../../mine/p01", "other/p01", "p01"):
        made = safety_prompt.opened_cards(store(app), replace(ALL, prompt=prompt))
        assert "error" in classes(made)
        assert "Traceback" not in text(made)
    assert app.server.test_client().get("/rows/safety-traces.csv?experiment=tiny&benchmark=..").status_code == 404


def test_the_tokens_of_many_traces_are_read_only_when_asked_for(app: Any, monkeypatch: pytest.MonkeyPatch):
    read: list[str] = []
    scan = Store.scan
    monkeypatch.setattr(
        Store, "scan", lambda self, path, kind, columns: (read.extend(columns), scan(self, path, kind, columns))[1]
    )
    monkeypatch.setattr(safety_cards, "READ_AT_ONCE", 10)
    made = cards(page._content(ALL))["Confidence along the trace"]
    assert "confidence" not in read
    assert "read the tokens of 96 traces" in str(made)
    made = cards(page._content(replace(ALL, tokens=True)))["Confidence along the trace"]
    assert "confidence" in read
    assert any(type(one).__name__ == "Graph" for one in parts(made))


def test_downloads_hold_the_rows_that_are_shown(app: Any):
    client = app.server.test_client()
    state = replace(ALL, label="harmful", cell="confident_refusal")
    for name, rows_of in (("traces", safety_rows.listed_traces), ("prompts", safety_rows.listed_prompts)):
        shown = rows_of(store(app), state)
        assert shown.height > 0
        answer = client.get(f"/rows/safety-{name}.parquet{to_query(state)}")
        sent = pl.read_parquet(io.BytesIO(answer.data))
        assert sent.equals(shown.select(sent.columns))
        assert pl.read_csv(client.get(f"/rows/safety-{name}.csv{to_query(state)}").data).height == shown.height


def test_the_grid_gets_the_rows_in_view_in_the_order_of_its_heading(app: Any):
    request = {"startRow": 2, "endRow": 5, "sortModel": [{"colId": "lowest", "sort": "asc"}]}
    answer = page._rows_of("traces")(request, to_query(replace(ALL, label="benign")))
    rows = safety_rows.trace_rows(store(app), replace(ALL, label="benign")).sort("lowest")
    assert answer["rowCount"] == rows.height
    assert [row["lowest"] for row in answer["rowData"]] == rows["lowest"][2:5].to_list()
    assert "confidence" not in answer["rowData"][0]


def test_another_benchmark_has_its_own_categories(app: Any):
    options, value = page._follow_benchmark("mine", "fraud [bold]", "tiny")
    assert [one["value"] for one in options] == ["", "fraud [bold]", "theft", NO_CATEGORY]
    assert value == "fraud [bold]"
    assert page._follow_benchmark("mine", "elsewhere", "tiny")[1] == ""


def test_a_cell_of_the_figure_chooses_its_traces():
    assert page._choose_cell({"points": [{"x": "uncertain", "y": "compliance"}]}) == "uncertain_compliance"
