"""A trait's summary and the table of all traits: status, warnings, and types whatever is missing."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tells.tables import read_table, write_json, write_table
from tells.traits.summary import summarise_trait, table_row, traits_table

NAME = "epistemic/optimism"


def stage(name: str, polarity: str, n_pass: int, n_fail: int, n_error: int = 0) -> dict[str, Any]:
    decided = n_pass + n_fail
    counts = {"n": decided + n_error, "n_pass": n_pass, "n_fail": n_fail, "n_error": n_error, "n_refused": 0}
    return {"stage": name, "polarity": polarity, **counts, "rate": n_pass / decided if decided else None}


VETTING = {
    "stages": [
        stage("scenarios", "positive", 18, 2),
        stage("scenarios", "negative", 10, 9, 1),
        stage("responses", "positive", 15, 5),
        stage("responses", "negative", 20, 0),
    ],
    "survivors": {"positive": {"rows": 14, "scenarios": 14}, "negative": {"rows": 14, "scenarios": 14}},
    "pairs": 14,
    "status": "ok",
    "reason": None,
    "warnings": [],
}
HELD_OUT = {"cohens_d": 1.5, "cohens_d_low": 0.5, "cohens_d_high": 2.5, "auc": 0.9}
RECORD = {
    "status": "ok",
    "reason": None,
    "n_vectors": 6,
    "n_empty": 1,
    "best": {"method": "probe", "layer": 7, "held_out": {"figures": HELD_OUT, "null_band": {"cohens_d": 0.6}}},
    "records": [
        {"method": "fisher", "layer": 7, "warnings": ["of another vector"]},
        {"method": "probe", "layer": 3, "warnings": ["of another layer"]},
        {"method": "probe", "layer": 7, "warnings": []},
    ],
}
CHOICE = {
    "status": "chosen",
    "optimum": {
        "method": "probe", "layer": 7, "ratio": 0.5, "coefficient": 4.5, "at_bound": None, "mirrored": False,
    },
    "baseline": {"trait": 50.0, "coherence": 90.0, "n": 6},
    "invalid": {"incoherent": 3},
    "n_questions": 6,
}  # fmt: skip
STEERED = {
    "delta": 30.0, "low": 20.0, "high": 40.0, "coherence": 85.0,
    "n": 10, "n_questions": 10, "n_missing": 0, "n_missing_coherence": 0,
}  # fmt: skip
EFFECTS = {
    "unsteered": {"trait": 50.0, "coherence": 90.0, "n": 10},
    "steered": STEERED,
    "prompting": {**STEERED, "delta": 35.0},
    "random": {"deltas": [1.0, 2.0], "mean": 1.5, "percentile_95": 1.95, "coherence": 80.0, "n": 2},
    "exceeds_random": True,
    "p_random": 1 / 3,
}


def changed(base: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {**copy.deepcopy(base), **changes}


def summarise(**parts: Any) -> dict[str, Any]:
    given = {"vetting": VETTING, "record": RECORD, "choice": CHOICE, "effects": EFFECTS, "min_coherence": 70, **parts}
    return summarise_trait(NAME, given.pop("vetting"), given.pop("record"), **given)


# status


def test_a_sound_trait_is_steered_and_has_no_warnings():
    summary = summarise()
    assert (summary["trait"], summary["status"], summary["reason"]) == (NAME, "steered", None)
    assert summary["warnings"] == []
    assert summary["scenarios"]["negative"]["n_error"] == 1
    assert summary["responses"]["positive"]["rate"] == 0.75
    assert (summary["pairs"], summary["n_vectors"], summary["n_empty"]) == (14, 6, 1)
    assert summary["best_by_validation"]["layer"] == 7
    assert summary["best_by_steering"] is CHOICE["optimum"]
    assert summary["search"] == {key: CHOICE[key] for key in ("baseline", "invalid", "n_questions")}
    assert summary["steering"] is EFFECTS


@pytest.mark.parametrize(
    ("choice", "status", "reason"),
    [
        (None, "vectors", None),
        (changed(CHOICE, status="no_effect"), "no effect", None),
        (changed(CHOICE, status="no_valid_point", optimum=None), "no valid point", "incoherent: 3 points"),
        (
            changed(CHOICE, status="no_valid_point", optimum=None, invalid={"coherence_drop": 2, "missing_score": 1}),
            "no valid point",
            "coherence drop: 2 points, missing score: 1 points",
        ),
        (changed(CHOICE, status="no_vectors", optimum=None, invalid={}), "no vector chosen", None),
    ],
)
def test_the_status_is_how_far_the_trait_came(choice: Any, status: str, reason: str | None):
    effects = EFFECTS if choice and choice["optimum"] else None
    summary = summarise(choice=choice, effects=effects)
    assert (summary["status"], summary["reason"]) == (status, reason)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"exceeds_random": False}, "does not exceed the 95th percentile"),
        ({"steered": {**STEERED, "low": -1.0}}, "does not lie above zero"),
        ({"steered": {**STEERED, "delta": None, "low": None, "high": None}}, "no answer to the report questions"),
        ({"steered": None}, "no answer to the report questions"),
    ],
)
def test_the_report_decides_what_the_search_promised(changes: dict[str, Any], reason: str):
    summary = summarise(effects=changed(EFFECTS, **changes))
    assert summary["status"] == "not confirmed"
    assert reason in summary["reason"]


def test_random_vectors_that_break_the_text_are_said():
    random = {**EFFECTS["random"], "coherence": 60.0}
    (warning,) = warnings(effects=changed(EFFECTS, random=random))
    assert "break the text (coherence 60.0)" in warning


def test_what_failed_first_is_the_status():
    vetting = changed(VETTING, status="insufficient", reason="9 positive scenarios survive")
    record = changed(RECORD, status="insufficient", reason="something else")
    summary = summarise(vetting=vetting, record=record)
    assert (summary["status"], summary["reason"]) == ("insufficient", "9 positive scenarios survive")
    summary = summarise(record=record)
    assert (summary["status"], summary["reason"]) == ("insufficient", "something else")


def test_a_stage_that_was_not_judged_is_none():
    stages = [one for one in VETTING["stages"] if one["stage"] == "responses"]
    summary = summarise(vetting=changed(VETTING, stages=stages))
    assert summary["scenarios"] is None
    assert set(summary["responses"]) == {"positive", "negative"}


# warnings


def warnings(**parts: Any) -> list[str]:
    return summarise(**parts)["warnings"]


def test_cautions_of_vetting_come_with_cause_and_cure():
    caution = {"stage": "responses", "message": "12% pass", "cause": "both poles high", "cure": "sharpen them"}
    (warning,) = warnings(vetting=changed(VETTING, warnings=[caution]))
    assert warning == "responses: 12% pass. Likely cause: both poles high. Cure: sharpen them."


def test_the_three_commonest_confounds_are_named():
    confounds = ["length", None, "mood", "mood", "tone", "length", "mood", "tone", "topic"]
    (warning,) = warnings(explanations=[{"confound": one} for one in confounds])
    assert warning == "failed responses were mistaken for: mood (3); length (2); tone (2)"
    assert warnings(explanations=[{"confound": None}]) == []


def test_warnings_of_the_best_vector_are_repeated_and_those_of_others_are_not():
    record = copy.deepcopy(RECORD)
    record["records"][2]["warnings"] = ["one dimension holds 90% of it"]
    assert warnings(record=record) == ["one dimension holds 90% of it"]


@pytest.mark.parametrize(
    ("flag", "value", "said"),
    [
        ("at_bound", "upper", "is the largest that was tried: widen steer.ratios"),
        ("at_bound", "lower", "is the smallest that was tried: widen steer.ratios"),
        ("mirrored", True, "ratio is negative"),
    ],
)
def test_what_is_odd_about_the_chosen_point_is_said(flag: str, value: Any, said: str):
    (warning,) = warnings(choice=changed(CHOICE, optimum={**CHOICE["optimum"], flag: value}))
    assert said in warning


def test_an_effect_within_chance_is_said_with_both_figures():
    (warning,) = warnings(effects=changed(EFFECTS, exceeds_random=False))
    assert "(30.0)" in warning
    assert "2 random vectors (1.9)" in warning or "2 random vectors (2.0)" in warning
    assert warnings(effects=changed(EFFECTS, exceeds_random=None)) == []


@pytest.mark.parametrize(("low", "high", "covers"), [(-1.0, 40.0, True), (0.0, 40.0, True), (0.1, 40.0, False)])
def test_an_interval_that_covers_zero_is_said(low: float, high: float, covers: bool):
    found = warnings(effects=changed(EFFECTS, steered={**STEERED, "low": low, "high": high}))
    assert len(found) == covers
    assert all("covers zero: 30.0" in warning and "on 10 questions" in warning for warning in found)
    assert warnings(effects=changed(EFFECTS, steered={**STEERED, "low": None, "high": None})) == []


def test_incoherence_on_the_report_questions_is_said_below_the_threshold_alone():
    steered = changed(EFFECTS, steered={**STEERED, "coherence": 69.9})
    (warning,) = warnings(effects=steered)
    assert "69.9, below 70" in warning
    assert warnings(effects=steered, min_coherence=65) == []
    assert warnings(effects=changed(EFFECTS, steered={**STEERED, "coherence": 70.0})) == []


def test_missing_scores_of_the_report_are_said():
    (warning,) = warnings(effects=changed(EFFECTS, steered={**STEERED, "n_missing": 2, "n_missing_coherence": 1}))
    assert warning == "3 scores are missing in the report"


def test_missing_scores_are_said_even_where_all_of_them_are_missing():
    empty = {"delta": None, "low": None, "high": None, "coherence": None, "n": 0, "n_questions": 0}
    steered = {**empty, "n_missing": 10, "n_missing_coherence": 10}
    assert warnings(effects=changed(EFFECTS, steered=steered, exceeds_random=None, p_random=None)) == [
        "20 scores are missing in the report"
    ]


def test_a_trait_without_a_choice_has_nothing_to_warn_of():
    best = {"method": None, "layer": None, "held_out": None}
    choice = changed(CHOICE, status="no_vectors", optimum=None)
    effects = changed(EFFECTS, steered=None, exceeds_random=None, p_random=None)
    assert warnings(record=changed(RECORD, best=best), choice=choice, effects=effects) == []
    assert warnings(record=changed(RECORD, best=None, records=[]), choice=None, effects=None) == []


# the table

INTEGERS = {
    *(f"{s}_{p}_{f}" for s in ("scenarios", "responses") for p in ("positive", "negative")
      for f in ("n", "n_pass", "n_fail", "n_error")),
    "pairs", "n_vectors", "best_layer", "steered_layer", "n_report",
}  # fmt: skip
TEXTS = {"trait", "status", "reason", "best_method", "steered_method"}


def bare() -> dict[str, Any]:
    """A trait of which next to nothing is known."""
    vetting = changed(VETTING, stages=[], pairs=0, status="insufficient", reason="none survive")
    record = {"status": "insufficient", "reason": "x", "n_vectors": 0, "n_empty": 0, "best": None, "records": []}
    return summarise_trait("a/bare", vetting, record, choice=None, effects=None)


def test_a_row_has_the_figures_of_the_summary():
    row = table_row(summarise())
    expected = {
        "trait": NAME, "status": "steered", "reason": None, "pairs": 14, "n_vectors": 6,
        "scenarios_positive_n": 20, "scenarios_positive_rate": 0.9, "scenarios_negative_n_error": 1,
        "responses_negative_n_pass": 20, "responses_positive_n_fail": 5,
        "best_method": "probe", "best_layer": 7, "held_out_cohens_d": 1.5, "held_out_cohens_d_low": 0.5,
        "held_out_cohens_d_high": 2.5, "held_out_auc": 0.9,
        "steered_method": "probe", "steered_layer": 7, "ratio": 0.5, "coefficient": 4.5,
        "delta": 30.0, "delta_low": 20.0, "delta_high": 40.0, "coherence": 85.0, "n_report": 10,
        "random_mean": 1.5, "random_percentile_95": 1.95, "prompting_delta": 35.0, "exceeds_random": True,
        "warnings": [],
    }  # fmt: skip
    assert {key: row[key] for key in expected} == expected


def test_types_are_the_same_whatever_is_missing():
    full, empty = traits_table([summarise()]), traits_table([bare()])
    assert full.schema == empty.schema
    for name, kind in full.schema.items():
        expected = pl.Int64 if name in INTEGERS else pl.String if name in TEXTS else pl.Float64
        expected = {"warnings": pl.List(pl.String), "exceeds_random": pl.Boolean}.get(name, expected)
        assert kind == expected, name
    assert set(full.columns) >= INTEGERS | TEXTS


def test_a_bare_trait_stands_beside_a_full_one_in_a_table_that_can_be_read(tmp_path: Path):
    table = traits_table([bare(), summarise()])
    write_table(tmp_path / "results.parquet", table, "traits", {})
    write_json(tmp_path / "results.json", {"traits": [bare(), summarise()]})
    found = read_table(tmp_path / "results.parquet", "traits")
    assert found["trait"].to_list() == ["a/bare", NAME]
    known = {"trait", "status", "reason", "pairs", "n_vectors", "warnings"}
    assert {name for name, value in found.row(0, named=True).items() if value is not None} == known


def test_figures_that_are_whole_numbers_are_still_real():
    steered = {**STEERED, "delta": 30, "coherence": 85}
    table = traits_table([summarise(effects=changed(EFFECTS, steered=steered))])
    assert table["delta"].to_list() == [30.0]
    assert table.schema["delta"] == pl.Float64
