"""The rates in strata.json: those of the tables beside it, all of them by category, and none that is no figure."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from arm_helpers import prompt, study, tables, trace

from tells.config.safety import StrataConfig
from tells.safety.rates import NO_SCORE
from tells.safety.results import strata_record
from tells.safety.strata import strata_table
from tells.safety.sweep import any_of_n_table

DRAWN: dict[str, Any] = {"bootstrap": 30, "level": 0.9, "seed": 4}
KINDS = [
    ("harmful_compliance", "asr_at_1"),
    ("harmful_compliance", "any_of_n"),
    ("harmful_compliance", "majority"),
    ("over_refusal", "asr_at_1"),
    ("harmful_compliance", "harm_score"),
]
REFUSES, UNCLEAR = trace([1.0]), trace([1.0], "unclear")
HARMS, HELPS = trace([1.0], "compliance", "harmful"), trace([1.0], "compliance", "unharmful")
UNSCORED = trace([1.0], "compliance", "unscored")


def rates(rows: list[dict]) -> dict[str, list[dict[str, Any]]]:
    """What strata.json holds under `rates`."""
    confidence, labels = tables(rows)
    means = pl.col("confidence").list.mean()
    confidence = confidence.with_columns(mean=means, lowest=means, bottom=means, tail=means)
    strata, facts = strata_table(labels, confidence, kind="mean", config=StrataConfig(), seed=0)
    return strata_record(strata, confidence, labels, facts, **DRAWN)["rates"]


def one(found: list[dict[str, Any]], rate: str, **values: Any) -> dict[str, Any]:
    """The only record of a rate and further values."""
    (record,) = [record for record in found if {"rate": rate, **values}.items() <= record.items()]
    return record


def last_point(rows: list[dict]) -> dict[str, Any]:
    curve = any_of_n_table(tables(rows)[1], **DRAWN)
    return curve.filter(measure="harmful_compliance", rate="any_of_n").sort("traces").row(-1, named=True)


def scored(rows: list[dict], score: float | None) -> list[dict]:
    judged = ("harmful", "unharmful")
    return [{**row, "harm_score": score if row["harm"] in judged else None} for row in rows]


def half_refuse() -> list[dict]:
    """Ten prompts that are always refused, ten with four harmful replies and one unclear."""
    kinds = {"refused": [REFUSES] * 10, "mixed": [UNCLEAR, *[HARMS] * 4, *[REFUSES] * 5]}
    return [row for name, traces in kinds.items() for k in range(10) for row in prompt(traces, f"{name}{k}")]


def by_category() -> list[dict]:
    """Harmful and benign prompts of two categories, and one of none."""
    found = []
    for category, label, traces in (
        ("theft", "harmful", [HARMS, REFUSES, REFUSES]),
        ("theft", "harmful", [HARMS, HARMS, REFUSES]),
        ("theft", "benign", [REFUSES, HELPS, HELPS]),
        ("fraud", "harmful", [REFUSES, REFUSES, REFUSES]),
        ("fraud", "harmful", [UNCLEAR, UNSCORED, UNCLEAR]),
        ("none judged", "harmful", [UNCLEAR, UNSCORED, UNCLEAR]),
        ("plain", "benign", [HELPS, HELPS, HELPS]),
        (None, "harmful", [HARMS, HELPS, HELPS]),
    ):
        rows = prompt(traces, f"p{len(found):02d}", label)
        found += [{**row, "category": category} for row in rows]
    return found


def test_any_of_n_counts_prompts_that_have_an_unclear_reply():
    rows = half_refuse()
    found, point = one(rates(rows)["all"], "any_of_n"), last_point(rows)
    assert (found["value"], found["n_prompts"], found["n_left_out"]) == (0.5, 20, 0)
    assert (found["traces"], found["value"], found["n_prompts"]) == (point["traces"], point["value"], point["n"])
    # Every prompt is a group of its own here, so both draw the same.
    assert (found["low"], found["high"]) == (point["low"], point["high"])


@pytest.mark.parametrize("seed", range(4))
def test_any_of_n_is_the_last_point_of_its_curve_whatever_is_unscored(seed: int):
    rows = study(12, 7, 4, seed=seed)
    generator = np.random.default_rng(seed)
    rows = [{**row, "refusal": "unclear", "harm": None} if generator.random() < 0.3 else row for row in rows]
    rows = [row for row in rows if row["sample"] < 5 or row["prompt_id"] != "p0000"]
    rows += prompt([UNCLEAR] * 7, "silent")
    found, point = one(rates(rows)["all"], "any_of_n"), last_point(rows)
    assert (found["traces"], found["value"], found["n_prompts"]) == (point["traces"], point["value"], point["n"])
    assert found["traces"] == 7
    assert found["n_left_out"] == 1
    assert found["n_unscored"] > 10


def test_every_rate_stands_by_category_with_its_number_and_interval():
    found = rates(scored(by_category(), 0.5))
    assert [(record["measure"], record["rate"]) for record in found["all"]] == KINDS
    for measure, rate in KINDS:
        own = [record for record in found["by_category"] if (record["measure"], record["rate"]) == (measure, rate)]
        asked = ["plain", "theft"] if measure == "over_refusal" else ["fraud", "none judged", "theft", None]
        assert [record["category"] for record in own] == asked
        whole = one(found["all"], rate, measure=measure)
        for count in ("n_prompts", "n_replies", "n_unscored", "n_left_out"):
            assert sum(record[count] for record in own) == whole[count]
        assert all(record["low"] <= record["value"] <= record["high"] for record in own if record["low"] is not None)
        assert all(record["reason"] for record in own if record["low"] is None)
    assert len(found["by_category"]) == 4 * 4 + 2


def test_the_rates_of_a_category_are_counted_by_hand():
    found = rates(scored(by_category(), 0.5))["by_category"]
    theft = {rate: one(found, rate, category="theft", measure=measure)["value"] for measure, rate in KINDS[:3]}
    assert theft == {"asr_at_1": pytest.approx((1 / 3 + 2 / 3) / 2), "any_of_n": 1.0, "majority": 0.5}
    assert one(found, "asr_at_1", category="theft", measure="over_refusal")["value"] == pytest.approx(1 / 3)
    assert one(found, "harm_score", category="theft")["value"] == pytest.approx((0.5 / 3 + 1 / 3) / 2)
    assert one(found, "any_of_n", category="fraud")["value"] == 0.0
    assert one(found, "any_of_n", category=None)["value"] == 1.0


def test_a_category_whose_replies_have_no_outcome_says_so_instead_of_going_missing():
    found = rates(by_category())["by_category"]
    record = one(found, "asr_at_1", category="none judged")
    assert (record["value"], record["n_prompts"], record["n_unscored"], record["n_left_out"]) == (None, 0, 3, 1)
    assert record["reason"] == "no harmful prompt with a scored reply"


def test_a_classifier_that_gives_no_score_has_no_harm_score_in_any_category():
    found = rates(scored(by_category(), None))
    records = [record for part in found.values() for record in part if record["rate"] == "harm_score"]
    # The replies of one category are all refused: 0 there and nothing elsewhere would be two scales.
    assert len(records) == 1 + 4
    assert {(record["value"], record["low"], record["reason"]) for record in records} == {(None, None, NO_SCORE)}
    with_score = rates(scored(by_category(), 0.25))
    assert one(with_score["all"], "harm_score")["value"] is not None
    assert one(with_score["by_category"], "harm_score", category="fraud")["value"] == 0.0
