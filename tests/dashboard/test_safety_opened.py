"""An opened prompt of the safety page: its traces, texts and cuts, and the figures that the page alone draws."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import polars as pl
import pytest
from report.report_helpers import BUDGET, DRAWN, SAMPLED, WINDOW
from safety.arm_helpers import online_rows
from safety.arm_helpers import study as pool_study
from safety.arm_helpers import tables as pool_tables
from safety_page_helpers import (
    ALL,
    HOSTILE,
    SECRET,
    cards,
    filled,
    parts,
    plant,
    served,
    store,
    text,
)

from tells.config.safety import StoppingConfig
from tells.dashboard.pages import safety as page
from tells.dashboard.safety import prompt as safety_prompt
from tells.dashboard.safety import rows as safety_rows
from tells.dashboard.safety.cuts import course_of, fate_words
from tells.dashboard.safety.state import Chosen
from tells.report.figures import safety as figures
from tells.tables import make_metadata, write_table


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    plant(folder)
    return folder


def test_every_prompt_and_reply_is_blurred_and_stays_text(app: Any):
    made = page._layout(experiment="tiny", prompt="mine/p01")
    opened = cards(made)
    assert f"{SECRET} p01 {HOSTILE}" in text(opened["Prompt p01"])
    assert "replyp01/0<script>" in text(opened["Token by token"]).replace(" ", "")
    clear = text(made, veiled=False)
    assert SECRET not in clear
    assert "reply p01" not in clear
    assert "script" not in clear
    (column,) = [one for one in safety_rows.PROMPT_COLUMNS if one.field == "prompt"]
    assert column.veiled
    assert not {"prompt", "text", "answer"} & {one.field for one in safety_rows.TRACE_COLUMNS}


def test_an_opened_prompt_shows_the_labels_scores_and_cut_of_each_trace(app: Any, root: Path):
    folder = root / "experiments/tiny/safety/mine"
    rows = pl.read_parquet(folder / "confidence.parquet").filter(prompt_id="p05")
    labels = pl.read_parquet(folder / "reply_labels.parquet").filter(prompt_id="p05")
    cells = pl.read_parquet(folder / "strata.parquet").filter(prompt_id="p05")["quadrant"]
    settings = json.loads((folder / "arms.json").read_text())["stopping"]
    course = course_of(rows.with_columns(labels["stop_label"]), settings)
    assert any(fate.kept for fate in course.fates)
    made = cards(safety_prompt.opened_cards(store(app), replace(ALL, prompt="mine/p05")))
    (body,) = [one for one in parts(made["Its traces"]) if type(one).__name__ == "Tbody"]
    for row, fate, label, cell, mean in zip(
        body.children, course.fates, labels.iter_rows(named=True), cells, rows["mean"], strict=True
    ):
        said = [cell.children for cell in row.children]
        assert said[1] == label["refusal"]
        assert said[2] == (label["harm"] or "not asked")
        assert said[3] == (cell.replace("_", " ") if cell else "–")
        assert said[4] == f"{mean:.3f}"
        assert fate_words(fate, course) in said
    cut_marks = sum(one == " ⟨cut here⟩ " for one in map(str, parts(made["Token by token"])))
    assert cut_marks == sum(fate.kept is not None and fate.phase != "warm-up" for fate in course.fates)


def test_of_many_traces_the_first_are_shown_until_all_are_asked_for(app: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(safety_prompt, "MOST_TRACES", 2)
    state = replace(ALL, prompt="mine/p01")

    def headings(state: Chosen) -> int:
        made = cards(safety_prompt.opened_cards(store(app), state))["Token by token"]
        return sum(type(one).__name__ == "H3" for one in parts(made))

    assert headings(state) == 2
    assert f"Show all {BUDGET} traces" in text(safety_prompt.opened_cards(store(app), state))
    assert headings(replace(state, every=True)) == BUDGET
    monkeypatch.setattr(safety_prompt, "MOST_TOKENS", 3)
    assert headings(state) == 1


@pytest.mark.parametrize("rule", ["consensus", "adaptive_consistency", "vote_entropy"])
@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9])
def test_cuts_are_those_of_online_sampling(rule: str, keep: float):
    stopping = StoppingConfig(warmup=2, keep=keep, rule=rule)
    rows = pool_study(40, 8, 20)
    confidence, labels = pool_tables(rows)
    online = online_rows(rows, stopping, 4)
    traces = confidence.join(labels.select("prompt_id", "sample", "stop_label"), on=["prompt_id", "sample"])
    settings = {**stopping.model_dump(), "window": 4, "budget": 8}
    cut = 0
    for (prompt_id,), part in traces.group_by("prompt_id", maintain_order=True):
        course = course_of(part, settings)
        real = online.filter(prompt_id=prompt_id).sort("sample")
        begun = [fate for fate in course.fates if fate.phase != "not begun"]
        assert [fate.kept or fate.n_tokens for fate in begun] == real["confidence"].list.len().to_list()
        assert [fate.kept is not None for fate in begun] == (real["finish_reason"] == "confidence").to_list()
        thresholds = real["threshold"].drop_nulls().unique().to_list()
        assert thresholds in ([], [course.threshold])
        assert (course.settled_after is not None) == real["settled"][-1]
        cut += sum(fate.kept is not None for fate in begun)
    assert cut > 0


def test_online_traces_are_shaded_where_their_tokens_are_the_pool_s(tmp_path: Path):
    folder = plant(tmp_path, prompts=4)
    samples = pl.read_parquet(folder / "samples.parquet").filter(prompt_id="p00").head(3)
    confidence = pl.read_parquet(folder / "confidence.parquet").filter(prompt_id="p00").head(3)
    ids = [samples["token_ids"][0].to_list(), samples["token_ids"][1].to_list()[:4], [99, 98, 97, 96]]
    rows = samples.select("prompt_id", "group", "sample", text=pl.lit("wordsabcdewordsabcde")).with_columns(
        pl.Series("token_ids", ids),
        pl.Series("confidence", [row[: len(part)] for row, part in zip(confidence["confidence"], ids, strict=True)]),
        pl.Series("finish_reason", ["stop", "confidence", "length"]),
        pl.Series("threshold", [None, 3.25, 3.25]),
        pl.Series("warmup", [True, False, False]),
        pl.Series("wave", [0, 1, 2]),
        stop_label=pl.lit("refusal"),
        settled=pl.lit(value=False),
    )
    write_table(folder / "online.parquet", filled(rows, "online"), "online", make_metadata("sample", **SAMPLED))
    for app in served(tmp_path):
        made = cards(safety_prompt.opened_cards(store(app), replace(ALL, prompt="mine/p00")))
        card = made["Sampled with real early stopping"]
        assert "wave 1; cut after 4 tokens, below 3.250 nats" in text(card)
        assert text(card).count("Its tokens are not the pool's") == 1
        assert sum(one == " ⟨cut here⟩ " for one in map(str, parts(card))) == 1
        assert "words" not in text(card, veiled=False)


def test_differences_stand_in_the_figure_with_their_intervals(root: Path):
    record = json.loads((root / "experiments/tiny/safety/mine/strata.json").read_text())["hypothesis"]
    made = figures.risk_differences(record, benchmark="mine", kind="mean", window=WINDOW, harm_source="harm by nobody")
    (first,) = [trace for trace in made.data if trace.y[0] == "all"]
    difference = record["risk_difference"]["difference"]
    assert first.x[0] == difference["value"]
    assert first.error_x.array[0] == pytest.approx(difference["high"] - difference["value"])
    assert first.error_x.arrayminus[0] == pytest.approx(difference["value"] - difference["low"])
    subtitle = made.layout.title.subtitle.text.replace("<br>", " ")
    assert "harm by nobody" in subtitle
    assert f"{DRAWN['level']:.0%} intervals" in subtitle


def test_the_mark_of_a_cut_lies_on_the_first_window_below_the_threshold():
    rows = pool_study(1, 8, 30)
    confidence, labels = pool_tables(rows)
    traces = confidence.with_columns(labels["stop_label"])
    stopping = StoppingConfig(warmup=2, keep=0.2)
    course = course_of(traces, {**stopping.model_dump(), "window": 5, "budget": 8})
    drawn = [{"sample": fate.sample, "reply": "refused", **safety_prompt._drawn(fate)} for fate in course.fates]
    made = figures.prompt_traces(drawn, prompt="p<b>", window=5, threshold=course.threshold, warmup=2)
    assert made.layout.title.text.startswith("p&lt;b&gt;")
    (marks,) = [trace for trace in made.data if trace.mode == "markers" and trace.name == "below the threshold"]
    lines = {trace.hovertemplate.split(" (")[0]: trace for trace in made.data if trace.name == "refused"}
    for sample, place, value in zip(marks.customdata, marks.x, marks.y, strict=True):
        line = lines[f"trace {sample}"]
        at = list(line.x).index(place)
        assert line.y[at] == value < course.threshold
        assert all(earlier >= course.threshold for earlier in line.y[:at])


def test_many_traces_are_drawn_from_their_quantiles(monkeypatch: pytest.MonkeyPatch, root: Path):
    traces = pl.DataFrame(
        {"benchmark": "mine", "prompt_id": "p", "sample": range(5000), "label": "harmful"}
    ).with_columns(mean=pl.int_range(5000).shuffle(seed=1) / 1000.0)
    made = figures.confidence_by_label(traces, benchmark="mine", kind="mean", window=4)
    (violin,) = made.data
    assert isinstance(violin, go.Violin)
    assert len(violin.y) == 2000
    assert (min(violin.y), max(violin.y)) == (0.0, 4.999)
    assert "n = 5000" in violin.name
    assert "2000 traces are drawn from as many quantiles" in made.layout.title.subtitle.text.replace("<br>", " ")


def test_the_evolution_is_the_same_a_few_positions_at_a_time(monkeypatch: pytest.MonkeyPatch, root: Path):
    folder = root / "experiments/tiny/safety/mine"
    given = [pl.read_parquet(folder / f"{name}.parquet") for name in ("confidence", "reply_labels")]
    whole = figures.trace_evolution(*given, benchmark="mine")
    monkeypatch.setattr(figures, "_TOKENS_AT_ONCE", 3 * given[0].height)
    assert figures.trace_evolution(*given, benchmark="mine").to_json() == whole.to_json()
    assert len(whole.data) == 4
