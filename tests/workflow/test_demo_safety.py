"""What a reader of the demo's safety study relies on; built once, on the real model, in the working tree."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from workflow_helpers import ROOT, build_demo

from tells.safety.confidence import group_confidence, trace_confidence
from tells.safety.rates import any_of_n, asr_at_1, majority_rate
from tells.safety.refusal import detect_refusal

pytestmark = [pytest.mark.demo, pytest.mark.slow]
STUDY = ROOT / "experiments/demo/safety"
BUILTIN = STUDY / "builtin"
PROMPTS, BUDGET, TOKENS, WINDOW = 48, 8, 48, 16
KEYS = ["prompt_id", "sample"]


@pytest.fixture(scope="module")
def printed() -> str:
    """What the run prints; its tables lie beside."""
    build_demo()
    command = [str(Path(sys.executable).with_name("tells")), "show", "demo"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def record(printed) -> dict:
    (benchmark,) = json.loads((STUDY / "results.json").read_text())["benchmarks"]
    return benchmark


def read(name: str) -> pl.DataFrame:
    return pl.read_parquet(BUILTIN / f"{name}.parquet")


def test_every_prompt_has_its_full_budget_of_traces_beside_its_twin(record):
    samples = read("samples")
    assert samples.height == PROMPTS * BUDGET
    assert samples.group_by("prompt_id").agg(pl.col("sample").sort())["sample"].to_list() == [list(range(8))] * PROMPTS
    assert samples["token_ids"].list.len().max() <= TOKENS
    prompts = read("prompts")
    assert prompts.group_by("label").len().sort("label").rows() == [("benign", 24), ("harmful", 24)]
    assert prompts.group_by("group").agg(pl.col("label").n_unique())["label"].to_list() == [2] * 24
    assert samples.group_by("prompt_id").agg(pl.col("text").n_unique())["text"].median() > 4, "traces repeat themselves"


def test_confidence_is_that_of_the_replayed_tokens_and_its_kinds_are_in_order(record):
    confidence = read("confidence")
    assert confidence.height == PROMPTS * BUDGET
    scored = confidence.filter(pl.col("mean").is_not_null())
    assert scored.height >= 0.95 * confidence.height
    assert (scored["lowest"] <= scored["bottom"] + 1e-9).all()
    assert (scored["lowest"] < scored["mean"]).mean() > 0.5, "the window is as long as the traces"
    for row in scored.head(32).iter_rows(named=True):
        answer = np.array(row["confidence"][row["answer_start"] : row["answer_stop"]])
        assert row["mean"] == pytest.approx(trace_confidence(answer, "mean", window=WINDOW))
        assert row["lowest"] == pytest.approx(trace_confidence(answer, "lowest", window=WINDOW))
        # Of the groups; the mean over tokens gives the first and last tokens more weight than the groups do.
        assert row["bottom"] <= group_confidence(answer, WINDOW).mean() + 1e-9


def test_every_trace_is_counted_once(record):
    counts = record["counts"]
    left_out = ("n_held_out", "n_unlabelled", "n_unclear", "n_without_confidence", "n_without_cut")
    assert counts["n_rows"] == PROMPTS * BUDGET
    assert counts["n_in_cells"] + sum(counts[name] for name in left_out) == counts["n_rows"]
    cells = record["cells"]["all"]
    assert len(cells) == 4
    assert sum(cell["n"] for cell in cells) == counts["n_in_cells"]
    for part in ("by_label", "by_category"):
        assert sum(cell["n"] for cell in record["cells"][part]) == counts["n_in_cells"]
    for cell in cells:
        assert cell["n_harmful"] <= cell["n_scored"] <= cell["n"]
        if "refusal" in cell["quadrant"]:
            assert cell["n_scored"] == 0
        else:
            assert cell["n_scored"] + cell["n_unscored"] == cell["n"]


def test_every_rate_has_its_n_and_an_interval_around_it_or_says_why_not(record):
    shown = [*record["rates"]["all"], *record["rates"]["by_category"]]
    cells = [cell for part in record["cells"].values() for cell in part if cell["n_scored"]]
    for one in (*shown, *({**cell, "value": cell["harm_rate"]} for cell in cells)):
        if one["value"] is None or one["low"] is None:
            assert one["reason"], one
        else:
            assert one["low"] <= one["value"] <= one["high"], one
            assert one["n_prompts"] > 0
    for arm in record["arms"]:
        for name in ("harmful_compliance", "over_refusal", "tokens", "agreement", "saving"):
            one = arm[name]
            if one["low"] is None:
                assert one["reason"], (arm["arm"], name)
                continue
            assert one["low"] - 1e-9 <= one["estimate"] <= one["high"] + 1e-9, (arm["arm"], name)
            assert one["n"] > 0


def test_cells_and_rates_are_those_of_the_tables(record):
    strata, labels = read("strata"), read("reply_labels")
    for cell in record["cells"]["all"]:
        own = strata.filter(quadrant=cell["quadrant"])
        assert own.height == cell["n"]
        if cell["n_scored"]:
            scored = own.filter(pl.col("harm").is_in(["harmful", "unharmful"]))
            assert cell["n_scored"] == scored.height
            assert cell["harm_rate"] == pytest.approx((scored["harm"] == "harmful").mean())
    rates = {(rate["measure"], rate["rate"]): rate["value"] for rate in record["rates"]["all"]}
    drawn = {"bootstrap": 10, "level": 0.95, "seed": 0}
    once, majority = asr_at_1(labels, **drawn).value, majority_rate(labels, **drawn).value
    assert rates["harmful_compliance", "asr_at_1"] == once
    assert rates["harmful_compliance", "majority"] == majority
    anywhere = any_of_n(labels, traces=BUDGET, **drawn).value
    assert rates["harmful_compliance", "any_of_n"] == anywhere >= max(once, majority)


def test_uncertain_is_the_less_confident_half(record):
    strata = read("strata").filter(pl.col("quadrant").is_not_null())
    uncertain = pl.col("quadrant").str.starts_with("uncertain")
    assert strata.filter(uncertain)["confidence"].max() <= record["counts"]["cut_value"]
    assert strata.filter(~uncertain)["confidence"].min() > record["counts"]["cut_value"]
    assert abs(strata.select(uncertain.mean()).item() - 0.5) < 0.1


def test_arms_stand_on_equal_terms(record):
    arms = {arm["arm"]: arm for arm in record["arms"]}
    full = arms["fixed_budget"]
    assert full["saving"]["estimate"] == 0
    assert full["agreement"]["estimate"] == 1
    assert full["traces"]["estimate"] == BUDGET
    assert arms["single"]["traces"]["estimate"] == 1
    for name, arm in arms.items():
        assert arm["n"] == PROMPTS, name
        assert arm["tokens"]["estimate"] <= full["tokens"]["estimate"], name
        assert 0 <= arm["agreement"]["estimate"] <= 1
    assert 0 < arms["adaptive"]["saving"]["estimate"] < 1
    matched, adaptive = arms["fixed_matched"], arms["adaptive"]
    one_trace = full["tokens"]["estimate"] / BUDGET
    assert abs(matched["tokens"]["estimate"] - adaptive["tokens"]["estimate"]) <= one_trace


def test_the_text_of_a_reply_bears_its_label(record):
    replies = read("samples").join(read("patterns_labels"), on=KEYS)
    for row in replies.iter_rows(named=True):
        assert detect_refusal(row["text"]) == row["refusal"]
    assert set(replies["refusal"]) >= {"refusal", "compliance"}


def test_the_terminal_shows_counts_warnings_and_what_the_labels_are_worth(record, printed):
    flat = " ".join(printed.split())
    for cell in record["cells"]["all"]:
        assert str(cell["n"]) in flat
    assert "no safety classifier" in flat
    for warning in record["warnings"]:
        assert " ".join(warning.split()) in flat
    assert "is uncertain compliance riskier?" in flat
