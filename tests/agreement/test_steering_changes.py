"""Steered arms with planted effects: what changes is found, what does not is not, and chance seldom looks like it."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from agreement_helpers import DIRECTION, facts, planted, signal, steered

from tells.agreement.cells import InferenceSettings
from tells.agreement.results import analyse
from tells.agreement.steered_outcomes import outcomes_of
from tells.agreement.steered_runs import arms_of, choose_questions
from tells.agreement.steering_changes import ASKED, MEASURED, SteeredQuestions, sign_flip_p, steering_record
from tells.stats import holm

SETTINGS = InferenceSettings(bootstrap=300, permutations=2000, seed=5)


def record_of(*sets: SteeredQuestions) -> dict[str, Any]:
    record, reason = steering_record(sets, SETTINGS)
    assert record is not None
    assert reason is None
    return record


def changes(record: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(one["arm"], one["outcome"]): one for one in record["changes"]}


def test_an_arm_that_changes_accuracy_is_found_and_the_others_are_not():
    record = record_of(steered(1, effects={"minus": {"accuracy": -0.15}}))
    found = changes(record)
    changed = found["minus", "accuracy"]
    assert changed["changed"]
    assert changed["difference"] == pytest.approx(-0.15, abs=0.06)
    assert changed["low"] < changed["difference"] < changed["high"] < 0
    assert changed["steered"] - changed["baseline"] == pytest.approx(changed["difference"])
    assert [key for key, one in found.items() if one["changed"]] == [("minus", "accuracy")]
    assert "accuracy changed (made-up −r: -0.1" in record["answer"]
    assert "semantic entropy not changed" in record["answer"]
    assert "proves nothing" not in record["answer"]


def test_a_change_that_a_random_direction_makes_too_is_no_change():
    effects = {"plus": {"confidence": -0.2}, "random-1": {"confidence": 0.5}}
    found = changes(record_of(steered(2, effects=effects)))["plus", "confidence"]
    assert found["p_holm"] < 0.05
    assert found["high"] < 0
    assert found["beyond_random"] is False
    assert not found["changed"]
    assert [one["arm"] for one in found["random"]] == ["random-0", "random-1", "random-2"]
    assert found["random"][1]["difference"] == pytest.approx(0.5, abs=0.1)


def test_a_change_a_little_larger_than_a_random_directions_is_no_change():
    """The larger of two like changes is so by chance every other time."""
    claims = 0
    for seed in range(30):
        effects = {"plus": {"confidence": -0.5}, "random-1": {"confidence": -0.5}}
        found = changes(record_of(steered(seed, effects=effects)))["plus", "confidence"]
        assert found["p_holm"] < 0.05
        claims += found["changed"]
    assert claims <= 4


def test_without_a_random_direction_nothing_is_claimed():
    found = changes(record_of(steered(3, effects={"plus": {"accuracy": 0.4}}, randoms=0)))["plus", "accuracy"]
    assert found["beyond_random"] is None
    assert not found["changed"]


def test_under_a_null_p_is_near_its_level_and_claims_are_rare():
    flips, claims = [], 0
    for seed in range(200):
        differences = np.random.default_rng([seed, 4]).normal(size=24)
        flips.append(sign_flip_p(differences, np.arange(24), n=400, seed=seed) <= 0.05)
    assert 0.01 <= np.mean(flips) <= 0.10
    small = InferenceSettings(bootstrap=60, permutations=600, seed=1)
    for seed in range(60):
        record, _ = steering_record([steered(1000 + seed, questions=16, randoms=1)], small)
        claims += any(one["changed"] for one in record["changes"])
    assert claims <= 6


def test_a_group_of_like_questions_flips_as_one():
    groups = np.repeat(np.arange(5), 8)
    differences = np.ones(40)
    alone = sign_flip_p(differences, np.arange(40), n=4000, seed=0)
    together = sign_flip_p(differences, groups, n=4000, seed=0)
    assert alone < 0.001
    assert together == pytest.approx(2 / 2**5, abs=0.02)
    assert sign_flip_p(np.zeros(9), np.arange(9), n=100, seed=0) == 1.0


def test_questions_are_paired_and_those_without_a_value_in_both_arms_left_out():
    one = steered(6)
    lost = pl.col("arm").eq("plus") & pl.col("prompt_id").is_in(["q00", "q01"])
    table = one.outcomes.with_columns(semantic_entropy=pl.when(~lost).then("semantic_entropy"))
    found = changes(record_of(SteeredQuestions("made-up", table, one.facts)))
    assert found["plus", "semantic_entropy"]["n_questions"] == 38
    assert found["minus", "semantic_entropy"]["n_questions"] == 40
    wide = table.filter(pl.col("arm").is_in(["plus", "baseline"])).pivot("arm", index="prompt_id", values="accuracy")
    expected = (wide["plus"] - wide["baseline"]).mean()
    assert found["plus", "accuracy"]["difference"] == pytest.approx(expected)


def test_holm_counts_every_comparison_of_every_data_set():
    record = record_of(steered(7), steered(8, collection="other"))
    assert record["n_tests"] == 2 * 2 * len(MEASURED)
    assert [one["p_holm"] for one in record["changes"]] == holm([one["p"] for one in record["changes"]])
    assert {one["collection"] for one in record["means"]} == {"made-up", "other"}
    assert {one["n_random"] for one in record["collections"]} == {3}
    assert {one["split"] for one in record["collections"]} == {"test"}


def test_an_insufficient_direction_is_steered_and_the_words_say_what_it_proves():
    record = record_of(steered(9, status="insufficient", reason="few hedge"))
    assert record["status"] == "insufficient"
    assert "insufficient (few hedge)" in record["answer"]
    assert "proves nothing of the trait" in record["answer"]


def test_without_a_direction_there_is_a_reason_and_no_record():
    one = steered(10, layer=None, status="insufficient", reason="no direction was chosen: 4 pairs")
    record, reason = steering_record([SteeredQuestions("made-up", one.outcomes.clear(), one.facts)], SETTINGS)
    assert record is None
    assert reason == "no direction was chosen: 4 pairs"


def test_questions_that_a_probe_may_have_learnt_make_the_split_all():
    one = steered(11)
    other = pl.when(pl.col("prompt_id") == "q00").then(pl.lit("other")).otherwise("split")
    record = record_of(SteeredQuestions("made-up", one.outcomes.with_columns(split=other), one.facts))
    assert record["collections"][0]["split"] == "all"
    assert record["collections"][0]["n_test_questions"] == 39


def test_an_outcome_that_no_question_has_is_told_with_its_reason():
    one = steered(12)
    table = one.outcomes.with_columns(semantic_entropy=pl.lit(None, pl.Float64))
    record = record_of(SteeredQuestions("made-up", table, one.facts))
    found = changes(record)["plus", "semantic_entropy"]
    assert (found["difference"], found["p"], found["changed"], found["n_questions"]) == (None, None, False, 0)
    assert "no question" in found["reason"]
    assert "semantic entropy insufficient" in record["answer"]
    assert {*ASKED} == {"accuracy", "semantic_entropy", "confidence"}


def asked() -> pl.DataFrame:
    keys = [(arm, name) for arm in ("baseline", "plus") for name in ("a", "b")]
    return pl.DataFrame(
        {
            "prompt_id": [f"{arm}/{name}" for arm, name in keys],
            "question_id": [name for _, name in keys],
            "arm": [arm for arm, _ in keys],
            "draw": pl.Series([None] * 4, dtype=pl.Int32),
            "split": ["test"] * 4,
            "group": [f"g{name}" for _, name in keys],
        }
    )


def test_outcomes_of_a_question_count_cut_answers_as_not_right():
    samples = pl.DataFrame(
        {
            "prompt_id": [name for name in asked()["prompt_id"] for _ in range(4)],
            "sample": [0, 1, 2, 3] * 4,
            "token_ids": [[1, 2]] * 8 + [[1, 2, 3, 4]] * 8,
            "confidence": [[2.0, 4.0]] * 8 + [[1.0, 2.0, 3.0, 4.0]] * 8,
        }
    )
    truncated = [False] * 8 + [True, True, False, False] * 2
    correct = [True, True, True, False] + [None] * 4 + [None, None, True, True] + [None] * 4
    labels = samples.select("prompt_id", "sample").with_columns(
        truncated=pl.Series(truncated), correct=pl.Series(correct, dtype=pl.Boolean)
    )
    entropy = pl.DataFrame(
        {"prompt_id": asked()["prompt_id"], "n_valid": [4, 4, 2, 1], "discrete": [0.5, 0.1, 0.2, 0.0]}
    )
    found = {(one["arm"], one["prompt_id"]): one for one in outcomes_of(asked(), samples, labels, entropy).to_dicts()}
    assert [found[arm, "a"]["accuracy"] for arm in ("baseline", "plus")] == [0.75, 0.5]
    assert found["plus", "b"]["accuracy"] is None, "its answers cannot be graded in any arm"
    assert [found[arm, "a"]["valid_share"] for arm in ("baseline", "plus")] == [1.0, 0.5]
    assert found["plus", "a"]["semantic_entropy"] == 0.2
    assert found["plus", "b"]["semantic_entropy"] is None
    assert [found[arm, "a"]["confidence"] for arm in ("baseline", "plus")] == [3.0, 2.5]
    assert [found[arm, "a"]["tokens"] for arm in ("baseline", "plus")] == [2.0, 4.0]


def test_test_questions_come_first_and_the_order_is_of_the_seed_alone():
    names = [f"q{number:02d}" for number in range(20)]
    prompts = pl.DataFrame({"prompt_id": names, "group": [f"g{name}" for name in names]})
    split = ["test"] * 6 + ["train"] * 14
    splits = prompts.with_columns(dataset=pl.lit("sums"), split=pl.Series(split))
    # A test question that another data set trains on is none.
    other = pl.DataFrame({"prompt_id": ["x"], "group": ["gq05"], "dataset": ["other"], "split": ["train"]})
    splits = pl.concat([splits, other.select(splits.columns)])
    few = choose_questions(prompts, splits, collection="sums", limit=3, seed=1)
    assert {*few["prompt_id"]} < {*names[:5]}
    assert {*few["split"]} == {"test"}
    more = choose_questions(prompts, splits, collection="sums", limit=8, seed=1)
    assert {*names[:5]} < {*more["prompt_id"]}
    assert more["split"].to_list().count("test") == 5
    assert more["prompt_id"].is_sorted()
    assert choose_questions(prompts, splits, collection="sums", limit=8, seed=1).equals(more)
    assert choose_questions(prompts, splits, collection="sums", limit=99, seed=1).height == 20


def test_arms_have_one_length_and_the_two_signs():
    vector = np.full(16, 0.25, dtype=np.float32)
    plus, minus, *randoms = arms_of(vector, 3, seed=2**40)
    assert (plus.name, minus.name) == ("plus", "minus")
    assert np.allclose(plus.vector, -minus.vector)
    assert [one.draw for one in randoms] == [0, 1, 2]
    assert np.allclose([np.linalg.norm(one.vector) for one in (plus, minus, *randoms)], 1.0)
    assert len({one.vector.tobytes() for one in randoms}) == 3


def test_an_interval_that_holds_zero_claims_nothing_however_small_p_is():
    wide = InferenceSettings(bootstrap=4000, permutations=20000, level=0.9999, seed=5)
    record, _ = steering_record([steered(23, effects={"plus": {"accuracy": 0.07}})], wide)
    found = changes(record)["plus", "accuracy"]
    assert found["p_holm"] < 0.05
    assert found["low"] < 0 < found["high"]
    assert not found["changed"]


def test_notes_tell_few_questions_and_those_that_are_not_held_out():
    one = steered(13, questions=12)
    other = pl.when(pl.col("prompt_id") < "q03").then(pl.lit("other")).otherwise("split")
    sets = [SteeredQuestions("sums", one.outcomes.with_columns(split=other), one.facts)]
    trait = DIRECTION["trait"]
    content = analyse(planted(0), facts([signal("copy")]), confidence_trait=trait, settings=SETTINGS, steered=sets)
    notes = content.content["notes"]
    assert "steered sums: 12 questions, whose intervals say little" in notes
    assert "steered sums: 3 of 12 questions are none of the held-out test questions of the table" in notes
