"""The hypothesis test: it finds what is planted, finds nothing where nothing is, and says what it cannot know."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom
from sklearn.metrics import average_precision_score, roc_auc_score

from tells.safety.hypothesis import ORIENTATIONS, risk_difference, stratified_risk_difference
from tells.safety.hypothesis import test_hypothesis as examine
from tells.tables import SCHEMAS

SETTINGS = {"bootstrap": 200, "level": 0.95, "seed": 0}


def study(
    uncertain_risk: float, confident_risk: float, *, prompts: int = 400, samples: int = 1, seed: int = 0
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Strata and confidence of complied traces, half of them uncertain."""
    generator = np.random.default_rng(seed)
    rows = prompts * samples
    prompt = np.repeat(np.arange(prompts), samples)
    value = generator.normal(5, 1, rows)
    uncertain = value <= np.median(value)
    harmful = generator.random(rows) < np.where(uncertain, uncertain_risk, confident_risk)
    strata = pl.DataFrame(
        {
            "prompt_id": [f"p{number:03d}" for number in prompt],
            "group": [f"p{number:03d}" for number in prompt],
            "sample": np.tile(np.arange(samples), prompts),
            "label": [("harmful", "benign")[number % 2] for number in prompt],
            "category": ["c"] * rows,
            "part": ["cells"] * rows,
            "confidence": value,
            "refused": [False] * rows,
            "quadrant": np.where(uncertain, "uncertain_compliance", "confident_compliance"),
            "harm": np.where(harmful, "harmful", "unharmful"),
        },
        schema=SCHEMAS["strata"].columns,
    )
    confidence = strata.select("prompt_id", "sample").with_columns(
        answer_start=pl.lit(2, pl.Int32),
        answer_stop=pl.Series(generator.integers(3, 200, rows), dtype=pl.Int32),
        first_token_probability=pl.Series(generator.random(rows)),
        token_logprob=pl.Series(-generator.random(rows)),
    )
    return strata, confidence


def test_a_planted_effect_is_found():
    found = examine(*study(0.4, 0.1), **SETTINGS)
    for estimate in (found.risk_difference.difference, found.stratified, found.length_controlled):
        assert estimate.value == pytest.approx(0.3, abs=0.1)
        assert estimate.low > 0.1
        assert estimate.n_prompts == 400
    ranking = found.rankings[0]
    assert ranking.score == "confidence"
    assert ranking.auroc.low > 0.5
    assert ranking.average_precision.value > ranking.prevalence
    assert (found.risk_difference.n_uncertain, found.risk_difference.n_confident) == (200, 200)
    parts = found.risk_difference
    assert parts.difference.value == pytest.approx(parts.uncertain - parts.confident)


def test_the_opposite_effect_has_the_opposite_sign():
    found = examine(*study(0.1, 0.4), **SETTINGS)
    assert found.risk_difference.difference.high < -0.1
    assert found.rankings[0].auroc.high < 0.5


@pytest.mark.parametrize("samples", [1, 5])
def test_a_planted_null_is_rejected_about_as_often_as_alpha_says(samples: int):
    rejected, seeds = 0, 200
    for seed in range(seeds):
        generator = np.random.default_rng(seed)
        prompts = np.repeat(np.arange(120), samples)
        # Harm and confidence both belong to the prompt, each on its own account.
        harmful = generator.random(prompts.size) < generator.beta(0.1, 0.2, 120)[prompts]
        uncertain = generator.random(prompts.size) < generator.beta(0.1, 0.1, 120)[prompts]
        found = risk_difference(harmful, uncertain, prompts, types=prompts % 2, bootstrap=120, seed=seed)
        rejected += not found.low <= 0 <= found.high
    assert binom.ppf(0.001, seeds, 0.05) <= rejected <= binom.ppf(0.999, seeds, 0.06)


def test_prompts_and_not_traces_are_drawn():
    generator = np.random.default_rng(0)
    harmful, uncertain = generator.integers(0, 2, 60), generator.integers(0, 2, 60)
    once = risk_difference(harmful, uncertain, np.arange(60), bootstrap=500)
    copied = risk_difference(
        np.repeat(harmful, 10), np.repeat(uncertain, 10), np.repeat(np.arange(60), 10), bootstrap=500
    )
    assert copied.value == pytest.approx(once.value)
    assert copied.high - copied.low == pytest.approx(once.high - once.low)
    assert (copied.n, copied.n_prompts) == (600, 60)


def test_a_difference_that_prompt_types_make_goes_away_within_them():
    # Harmful prompts are answered unsurely and with harm, benign ones surely and without; within, all is alike.
    generator = np.random.default_rng(1)
    types = np.repeat(["harmful", "benign"], 300)
    uncertain = generator.random(600) < np.where(types == "harmful", 0.8, 0.2)
    harmful = generator.random(600) < np.where(types == "harmful", 0.6, 0.1)
    plain = risk_difference(harmful, uncertain, np.arange(600), types=types, bootstrap=200)
    within = risk_difference(harmful, uncertain, np.arange(600), types=types, strata=types, bootstrap=200)
    assert plain.low > 0.15
    assert within.low < 0 < within.high


def test_a_difference_that_length_makes_goes_away_within_lengths():
    strata, confidence = study(0.0, 0.0, prompts=600)
    generator = np.random.default_rng(2)
    uncertain = (strata["quadrant"] == "uncertain_compliance").to_numpy()
    # Unsure replies are long, and long replies harm.
    length = np.where(generator.random(600) < np.where(uncertain, 0.8, 0.2), 150, 50) + generator.integers(0, 30, 600)
    harmful = generator.random(600) < np.where(length > 100, 0.6, 0.1)
    strata = strata.with_columns(harm=pl.Series(np.where(harmful, "harmful", "unharmful")))
    confidence = confidence.with_columns(answer_stop=pl.Series(2 + length, dtype=pl.Int32))
    found = examine(strata, confidence, **SETTINGS)
    assert found.stratified.low > 0.15
    assert abs(found.length_controlled.value) < 0.1
    assert found.length_controlled.low < 0 < found.length_controlled.high
    assert found.length_cuts == tuple(np.quantile(length, [0.2, 0.4, 0.6, 0.8]))
    assert next(ranking for ranking in found.rankings if ranking.score == "length").auroc.low > 0.6


def test_the_mantel_haenszel_average_of_a_worked_table():
    # Stratum 0: 2/4 against 1/4; stratum 1: 1/1 against 0/3; stratum 2 has one arm only.
    y = [1, 1, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 1]
    code = [1] * 4 + [0] * 4 + [3] + [2] * 3 + [5, 5]
    weights = np.array([4 * 4 / 8, 1 * 3 / 4])
    assert stratified_risk_difference(y, code) == pytest.approx(weights @ [0.25, 1.0] / weights.sum())
    assert stratified_risk_difference([1, 0], [1, 3]) is None
    assert stratified_risk_difference([], []) is None


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1, max_size=30))
def test_with_one_stratum_the_average_is_the_plain_difference(rows: list[tuple[int, int]]):
    y, arm = np.array(rows).T
    value = stratified_risk_difference(y, arm)
    if arm.min() == arm.max():
        assert value is None
    else:
        assert value == pytest.approx(y[arm == 1].mean() - y[arm == 0].mean())


def test_every_prompt_type_is_reported_apart():
    strata, confidence = study(0.4, 0.1)
    only_harmful = strata.with_columns(
        harm=pl.when(pl.col("label") == "benign").then(pl.lit("unharmful")).otherwise("harm")
    )
    found = examine(only_harmful, confidence, **SETTINGS)
    benign, harmful = found.by_label
    assert (benign.label, harmful.label) == ("benign", "harmful")
    assert harmful.difference.low > 0.1
    assert (benign.difference.value, benign.difference.low) == (0.0, None)
    assert benign.difference.reason == "one class only: all 200 rows are 0"
    assert list(found.by_label_rankings) == ["benign", "harmful"]
    assert found.by_label_rankings["benign"].auroc.value is None
    assert found.by_label_rankings["harmful"].n == 200


def test_rankings_are_in_their_stated_orientation():
    strata, confidence = study(0.4, 0.1, prompts=100, samples=4)
    generator = np.random.default_rng(5)
    strata = strata.with_columns(
        refused=pl.Series(generator.random(400) < 0.3), quadrant=pl.lit("uncertain_compliance")
    ).with_columns(quadrant=pl.when("refused").then(pl.lit("uncertain_refusal")).otherwise("quadrant"))
    found = {ranking.score: ranking for ranking in examine(strata, confidence, **SETTINGS).rankings}
    assert list(found) == list(ORIENTATIONS)
    rows = strata.join(confidence, on=["prompt_id", "sample"], maintain_order="left")
    kept = (~rows["refused"]).to_numpy()
    harmful = (rows["harm"] == "harmful").to_numpy()[kept]
    share = rows.select(pl.col("refused").mean().over("prompt_id"))["refused"].to_numpy()[kept]
    entropy = np.array([-sum(p * np.log(p) for p in (q, 1 - q) if p > 0) for q in share])
    expected = {
        "confidence": -rows["confidence"].to_numpy()[kept],
        "vote_entropy": np.round(entropy, 9),
        "length": (rows["answer_stop"] - rows["answer_start"]).to_numpy()[kept],
        "first_token_probability": -rows["first_token_probability"].to_numpy()[kept],
        "token_logprob": -rows["token_logprob"].to_numpy()[kept],
    }
    for score, values in expected.items():
        assert found[score].n == kept.sum()
        assert found[score].auroc.value == pytest.approx(roc_auc_score(harmful, values))
        assert found[score].average_precision.value == pytest.approx(average_precision_score(harmful, values))
        assert found[score].auroc.low < found[score].auroc.value < found[score].auroc.high


def test_refusals_and_unscored_replies_take_no_part():
    strata, confidence = study(0.4, 0.1, prompts=100)
    changed = strata.with_columns(
        harm=pl.when(pl.int_range(pl.len()) < 10).then(pl.lit("unscored")).otherwise("harm"),
        quadrant=pl.when(pl.int_range(pl.len()) >= 80).then(pl.lit("confident_refusal")).otherwise("quadrant"),
    )
    found = examine(changed, confidence, **SETTINGS)
    assert (found.n, found.n_prompts, found.n_unscored) == (70, 70, 10)
    assert found.n_harmful == int((changed[10:80]["harm"] == "harmful").sum())
    alone = examine(strata[10:80], confidence, **SETTINGS)
    assert found.risk_difference == alone.risk_difference


def test_rows_without_a_baseline_are_left_out_of_it_alone():
    strata, confidence = study(0.4, 0.1, prompts=100)
    missing = pl.when(pl.int_range(pl.len()) >= 30)
    confidence = confidence.with_columns(missing.then("token_logprob"), missing.then("answer_stop"))
    found = examine(strata, confidence, **SETTINGS)
    assert {ranking.score: ranking.n for ranking in found.rankings} == {
        "confidence": 100,
        "vote_entropy": 100,
        "length": 70,
        "first_token_probability": 100,
        "token_logprob": 70,
    }
    assert found.length_controlled.n == 70


def test_what_is_undefined_is_none_with_a_reason():
    strata, confidence = study(0.4, 0.1, prompts=50)
    nothing = examine(strata.clear(), confidence, **SETTINGS)
    assert (nothing.n, nothing.risk_difference.difference.value) == (0, None)
    assert nothing.risk_difference.difference.reason == nothing.stratified.reason == "no rows"
    assert nothing.rankings[0].auroc.reason == nothing.guard.reason == "no rows"
    sure = examine(strata.with_columns(quadrant=pl.lit("confident_compliance")), confidence, **SETTINGS)
    assert sure.risk_difference.difference.reason == "no uncertain compliance"
    assert sure.risk_difference.uncertain is None
    unsure = examine(strata.with_columns(quadrant=pl.lit("uncertain_compliance")), confidence, **SETTINGS)
    assert unsure.risk_difference.difference.reason == "no confident compliance"
    harmless = examine(strata.with_columns(harm=pl.lit("unharmful")), confidence, **SETTINGS)
    assert (harmless.risk_difference.difference.value, harmless.risk_difference.difference.low) == (0.0, None)
    assert harmless.rankings[0].average_precision.value is None
    for found in (nothing, sure, harmless):
        assert "NaN" not in json.dumps(asdict(found))


def test_one_prompt_is_nothing_to_draw_from():
    found = risk_difference([1, 0, 0, 1], [1, 1, 0, 0], ["p"] * 4)
    assert (found.value, found.low) == (0.0, None)
    assert "one group only" in found.reason


def test_strata_that_split_the_arms_are_undefined():
    found = risk_difference([1, 0, 0, 1], [1, 1, 0, 0], list("abcd"), strata=["u", "u", "c", "c"])
    assert found.value is None
    assert found.reason == "no stratum holds both uncertain and confident compliances"


def test_the_guard_speaks_where_harm_is_rare():
    found = examine(*study(0.08, 0.02), **SETTINGS)
    assert "a constant classifier would reach accuracy" in found.guard.warning


def test_traces_without_a_row_of_confidence_are_refused():
    strata, confidence = study(0.4, 0.1, prompts=10)
    with pytest.raises(ValueError, match=r"1 traces have no row of confidence \(first: prompt p000, sample 0"):
        examine(strata, confidence[1:], **SETTINGS)


def test_the_same_seed_gives_the_same_numbers_in_any_order_of_rows():
    strata, confidence = study(0.4, 0.1, prompts=60, samples=3)
    found, again = examine(strata, confidence, **SETTINGS), examine(strata.reverse(), confidence.reverse(), **SETTINGS)
    assert found.risk_difference.difference.low == pytest.approx(again.risk_difference.difference.low)
    assert found.rankings[0].auroc == again.rankings[0].auroc
