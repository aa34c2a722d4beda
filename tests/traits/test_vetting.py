import json

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tells.judge import EMPTY_TEXT
from tells.traits import vetting as vetting_module
from tells.traits.cautions import Caution, diagnose
from tells.traits.scenarios import POLARITIES
from tells.traits.vetting import LABELS_SCHEMA, Thresholds, outcome_of, passes, vet

LENIENT = Thresholds(50, 49)


def prompts(pairs, words=(5, 5)):
    rows = [
        {
            "prompt_id": f"{polarity}-{number:03d}",
            "group": f"pair-{number:03d}",
            "polarity": polarity,
            "text": " ".join(["I", *["word"] * (count - 1)]),
        }
        for number in range(pairs)
        for polarity, count in zip(POLARITIES, words, strict=True)
    ]
    return pl.DataFrame(rows)


SCORES = {
    "prompt_id": pl.String,
    "sample": pl.Int32,
    "score": pl.Float64,
    "status": pl.String,
    "resolution": pl.String,
    "reason": pl.String,
}


def scores(answers):
    """Score table of {(prompt_id, sample): 83.0 | "refused" | "error"}."""
    rows = []
    for (prompt_id, sample), answer in answers.items():
        scored = isinstance(answer, int | float)
        rows.append(
            {
                "prompt_id": prompt_id,
                "sample": sample,
                "score": float(answer) if scored else None,
                "status": "scored" if scored else answer,
                "resolution": "exemplar",
                "reason": None if scored else f"{answer} for a reason",
            }
        )
    return pl.DataFrame(rows, schema=SCORES)


def by_pair(*pairs, sample=0):
    """Score table of (positive, negative) answers pair by pair; a sample of each."""
    answers = {}
    for number, pair in enumerate(pairs):
        for polarity, answer in zip(POLARITIES, pair, strict=True):
            answers[f"{polarity}-{number:03d}", sample] = answer
    return scores(answers)


def counts(vetting, stage="responses"):
    return {one.polarity: (one.n, one.n_pass, one.n_fail, one.n_error) for one in vetting.stages if one.stage == stage}


def kept(labels):
    return labels.filter(pl.col("kept"))["prompt_id"].to_list()


def codes(vetting):
    return [(caution.stage, caution.code) for caution in vetting.warnings]


# --- the predicate


@pytest.mark.parametrize(
    ("score", "polarity", "expected"),
    [
        (60.0, "positive", True),
        (59.999, "positive", False),
        (100.0, "positive", True),
        (40.0, "negative", True),
        (40.001, "negative", False),
        (0.0, "negative", True),
        (50.0, "positive", False),
        (50.0, "negative", False),
        (None, "positive", None),
        (None, "negative", None),
    ],
)
def test_the_bounds_themselves_pass(score, polarity, expected):
    assert passes(score, polarity) is expected


def test_thresholds_are_those_given():
    assert passes(55, "positive", positive_min=55) is True
    assert passes(45, "negative", negative_max=45) is True


def test_an_unknown_polarity_is_refused():
    with pytest.raises(ValueError, match="polarity"):
        passes(50, "neutral")


@pytest.mark.parametrize(("positive_min", "negative_max"), [(40, 60), (50, 50), (101, 40), (60, -1)])
def test_thresholds_must_lie_apart(positive_min, negative_max):
    with pytest.raises(ValueError, match="negative_max"):
        Thresholds(positive_min, negative_max)


def test_a_refusal_is_a_fail_and_an_error_an_error():
    thresholds = Thresholds()
    assert outcome_of(None, "refused", "positive", thresholds) == "fail"
    assert outcome_of(None, "refused", "negative", thresholds) == "fail"
    assert outcome_of(None, "error", "positive", thresholds) == "error"
    assert outcome_of(10.0, "scored", "negative", thresholds) == "pass"


@pytest.mark.parametrize(
    ("score", "status"), [(None, "scored"), (50.0, "error"), (50.0, "refused"), (50.0, "fine"), (101.0, "scored")]
)
def test_a_status_that_its_score_contradicts_is_refused(score, status):
    with pytest.raises(ValueError, match=r"status|score"):
        outcome_of(score, status, "positive", Thresholds())


# --- a worked run

WORKED = by_pair((90, 10), (60, 40), (59, 10), (90, "error"), ("refused", 20), (90, 41))


def test_outcomes_counts_and_rates_of_a_worked_run():
    labels, vetting = vet(prompts(6), None, WORKED, minimum=1)
    assert labels.schema == LABELS_SCHEMA
    assert labels["outcome"].to_list() == [
        *("pass", "pass", "pass", "pass", "fail", "pass", "pass", "error", "fail", "pass", "pass", "fail")
    ]
    assert counts(vetting) == {"positive": (6, 4, 2, 0), "negative": (6, 4, 1, 1)}
    assert [one.rate for one in vetting.stages] == [4 / 6, 4 / 5]
    assert [one.n_refused for one in vetting.stages] == [1, 0]
    assert [one.median_score for one in vetting.stages] == [90, 20]


def test_both_of_a_pair_are_kept_or_none():
    labels, vetting = vet(prompts(6), None, WORKED, minimum=1)
    assert kept(labels) == ["positive-000", "negative-000", "positive-001", "negative-001"]
    assert vetting.pairs == 2
    assert {name: (left.rows, left.scenarios) for name, left in vetting.survivors.items()} == {
        "positive": (2, 2),
        "negative": (2, 2),
    }


def test_unpaired_all_that_pass_are_kept():
    labels, vetting = vet(prompts(6), None, WORKED, minimum=1, paired=False)
    assert labels["kept"].to_list() == (labels["outcome"] == "pass").to_list()
    assert vetting.pairs == 2
    assert [left.rows for left in vetting.survivors.values()] == [4, 4]


def test_rows_stand_in_the_order_of_the_prompts_whatever_the_order_of_scores():
    expected, _ = vet(prompts(6), None, WORKED, minimum=1)
    labels, _ = vet(prompts(6), None, WORKED.sample(fraction=1, shuffle=True, seed=3), minimum=1)
    assert labels.equals(expected)


# --- stages and gates

SCENARIO_SCORES = by_pair((90, 10), (30, 10), ("error", 10), ("error", 90)).drop("sample")
RESPONSE_SCORES = by_pair((90, 10), (90, 10), (90, 10), (10, 10))


def test_scenario_scores_only_inform_by_default():
    labels, vetting = vet(prompts(4), SCENARIO_SCORES, RESPONSE_SCORES, minimum=1)
    assert labels["outcome"].to_list() == ["pass"] * 6 + ["fail", "pass"]
    assert labels["scenario_score"].to_list() == [90, 10, 30, 10, None, 10, None, 90]
    assert labels["scenario_status"].to_list()[4] == "error"
    assert counts(vetting, "scenarios") == {"positive": (4, 1, 1, 2), "negative": (4, 3, 1, 0)}


def test_with_both_gates_a_fail_of_either_fails_and_an_error_of_either_is_an_error():
    labels, _ = vet(prompts(4), SCENARIO_SCORES, RESPONSE_SCORES, gate="both", minimum=1)
    assert labels["outcome"].to_list() == ["pass", "pass", "fail", "pass", "error", "pass", "fail", "fail"]
    assert kept(labels) == ["positive-000", "negative-000"]


def test_a_null_or_minus_one_sample_of_a_scenario_score_does_not_matter():
    expected = vet(prompts(4), SCENARIO_SCORES, RESPONSE_SCORES, gate="both", minimum=1)
    for sample in (None, -1):
        given = SCENARIO_SCORES.with_columns(pl.lit(sample, pl.Int32).alias("sample"))
        labels, vetting = vet(prompts(4), given, RESPONSE_SCORES, gate="both", minimum=1)
        assert labels.equals(expected[0])
        assert vetting == expected[1]


def test_a_stage_that_is_off_is_null_and_filters_nothing():
    labels, vetting = vet(prompts(4), None, RESPONSE_SCORES, gate="both", minimum=1)
    assert labels["scenario_score"].null_count() == labels["scenario_status"].null_count() == 8
    assert labels.equals(vet(prompts(4), None, RESPONSE_SCORES, minimum=1)[0])
    assert {one.stage for one in vetting.stages} == {"responses"}
    labels, vetting = vet(prompts(4), SCENARIO_SCORES, None, minimum=1)
    assert labels["kept"].all()
    assert labels["outcome"].null_count() == 8
    assert {one.stage for one in vetting.stages} == {"scenarios"}
    labels, vetting = vet(prompts(4), SCENARIO_SCORES, None, gate="both", minimum=1)
    assert kept(labels) == ["positive-000", "negative-000"]
    labels, vetting = vet(prompts(4), None, None, minimum=4)
    assert (labels["kept"].all(), vetting.stages, vetting.status, vetting.pairs) == (True, (), "ok", 4)


def test_without_a_gate_everything_is_counted_and_nothing_filtered():
    labels, vetting = vet(prompts(6), None, WORKED, gate="none", minimum=1)
    assert labels["kept"].all()
    assert labels["outcome"].null_count() == 12
    assert labels["response_score"].null_count() == 2
    assert counts(vetting) == {"positive": (6, 4, 2, 0), "negative": (6, 4, 1, 1)}


def test_an_unknown_gate_or_minimum_is_refused():
    with pytest.raises(ValueError, match="gate must be"):
        vet(prompts(1), None, None, gate="scenario")
    with pytest.raises(ValueError, match="minimum"):
        vet(prompts(1), None, None, minimum=0)


# --- several samples


def test_pairing_is_by_pair_and_sample():
    given = scores(
        {
            ("positive-000", 0): 90,
            ("positive-000", 1): 10,
            ("negative-000", 0): 90,
            ("negative-000", 1): 10,
            ("positive-001", 0): 90,
            ("positive-001", 1): 90,
            ("negative-001", 0): 10,
            ("negative-001", 1): 90,
        }
    )
    labels, vetting = vet(prompts(2), None, given, minimum=1)
    left = labels.filter(pl.col("kept")).select("prompt_id", "sample").rows()
    assert left == [("positive-001", 0), ("negative-001", 0)]
    assert (vetting.pairs, counts(vetting)["positive"]) == (1, (4, 3, 1, 0))


def test_the_minimum_counts_scenarios_and_not_their_samples():
    given = pl.concat([by_pair((90, 10), (90, 10), sample=sample) for sample in range(3)])
    labels, vetting = vet(prompts(2), None, given, minimum=3)
    assert labels["kept"].sum() == 12
    assert (vetting.survivors["positive"].rows, vetting.survivors["positive"].scenarios) == (6, 2)
    assert vetting.status == "insufficient"


def test_the_samples_say_which_responses_there_are():
    samples = pl.DataFrame({"prompt_id": ["positive-000", "negative-000"] * 2, "sample": [0, 0, 1, 1]})
    labels, _ = vet(prompts(1), by_pair((90, 10)).drop("sample"), None, samples=samples, gate="both", minimum=1)
    assert labels.select("prompt_id", "sample", "kept").rows() == [
        ("positive-000", 0, True),
        ("positive-000", 1, True),
        ("negative-000", 0, True),
        ("negative-000", 1, True),
    ]


# --- what is left


def test_too_few_survivors_are_insufficient_with_a_reason_and_their_labels():
    answers = [(90, 10)] * 30
    _, vetting = vet(prompts(30), None, by_pair(*answers))
    assert (vetting.status, vetting.reason) == ("ok", None)
    answers[7] = (90, 50)
    labels, vetting = vet(prompts(30), None, by_pair(*answers))
    assert vetting.status == "insufficient"
    assert vetting.reason == (
        "29 positive and 29 negative scenarios survive vetting; at least 30 of each class are needed"
    )
    assert labels.height == 60
    _, vetting = vet(prompts(30), None, by_pair(*answers), paired=False)
    assert vetting.reason == "29 negative scenarios survive vetting; at least 30 of each class are needed"


def test_a_run_of_errors_alone_has_no_rate():
    labels, vetting = vet(prompts(2), None, by_pair(("error", "error"), ("error", "error")), minimum=1)
    assert [one.rate for one in vetting.stages] == [None, None]
    assert counts(vetting)["positive"] == (2, 0, 0, 2)
    assert not labels["kept"].any()
    assert codes(vetting) == [("responses", "errors")]
    assert "error for a reason (4 of 4)" in vetting.warnings[0].cause


def test_the_record_is_json():
    _, vetting = vet(prompts(6), None, WORKED, minimum=1)
    again = json.loads(json.dumps(vetting.to_dict(), allow_nan=False))
    assert again["stages"][0]["n_pass"] == 4
    assert again["thresholds"] == {"positive_min": 60.0, "negative_max": 40.0}
    assert again["warnings"][0]["code"] == vetting.warnings[0].code


# --- accounting

ANSWERS = st.one_of(st.floats(0, 100), st.sampled_from(["refused", "error", 60.0, 40.0, 59.0, 41.0]))


@st.composite
def runs(draw):
    pairs, rollouts = draw(st.integers(1, 6)), draw(st.integers(1, 3))
    table = prompts(pairs)
    ids = table["prompt_id"].to_list()
    responses = scores({(one, sample): draw(ANSWERS) for one in ids for sample in range(rollouts)})
    scenarios = draw(st.none() | st.just({(one, None): draw(ANSWERS) for one in ids}))
    bounds = draw(st.sampled_from([Thresholds(), LENIENT, Thresholds(80, 20)]))
    return table, scenarios and scores(scenarios), responses, bounds


@settings(max_examples=60, deadline=None)
@given(run=runs(), gate=st.sampled_from(["responses", "both", "none"]), paired=st.booleans())
def test_every_text_is_counted_once_and_the_filter_keeps_what_the_rate_counts(run, gate, paired):
    table, scenarios, responses, bounds = run
    labels, vetting = vet(table, scenarios, responses, gate=gate, paired=paired, thresholds=bounds, minimum=1)
    assert labels.height == responses.height
    for one in vetting.stages:
        assert one.n_pass + one.n_fail + one.n_error == one.n
        assert one.n == (table.height // 2 if one.stage == "scenarios" else responses.height // 2)
        decided = one.n_pass + one.n_fail
        assert one.rate == (one.n_pass / decided if decided else None)
        assert one.n_refused <= one.n_fail
    if gate == "responses":
        for polarity, (_, *expected) in counts(vetting).items():
            rows = labels.filter(pl.col("polarity") == polarity)
            assert [rows.filter(pl.col("outcome") == name).height for name in ("pass", "fail", "error")] == expected
    for row in labels.iter_rows(named=True):
        verdict = passes(
            row["response_score"],
            row["polarity"],
            positive_min=bounds.positive_min,
            negative_max=bounds.negative_max,
        )
        assert not row["kept"] or gate == "none" or (verdict and row["outcome"] == "pass")
        assert not row["kept"] or gate == "none" or row["response_status"] == "scored"
    if paired:
        left = labels.filter(pl.col("kept")).group_by("group", "sample").len()
        assert set(left["len"]) <= {2}
        assert vetting.pairs == left.height
    elif gate == "responses":
        assert labels["kept"].sum() == sum(one.n_pass for one in vetting.stages if one.stage == "responses")


def test_a_flipped_predicate_changes_the_rate_and_the_filter_alike(monkeypatch):
    given = by_pair(*[(90, 10)] * 3, (10, 90))
    _, before = vet(prompts(4), None, given, minimum=1)
    assert (counts(before)["positive"][1], before.survivors["positive"].rows) == (3, 3)

    def flipped(score, polarity, *, positive_min, negative_max):
        return score is not None and (score <= negative_max if polarity == "positive" else score >= positive_min)

    monkeypatch.setattr(vetting_module, "passes", flipped)
    _, after = vet(prompts(4), None, given, minimum=1)
    assert (counts(after)["positive"][1], after.survivors["positive"].rows) == (1, 1)


# --- warnings


@pytest.mark.parametrize(
    ("positive", "negative", "code", "cure"),
    [
        (90, 80, "both_high", "base model"),
        (20, 10, "both_low", "sharpen the positive"),
        (10, 90, "swapped", "exchange"),
        (55, 10, "weak", "stronger judge"),
        (90, 45, "weak", "sharpen the scenarios"),
    ],
)
def test_a_low_rate_comes_with_its_likely_cause_and_cure(positive, negative, code, cure):
    _, vetting = vet(prompts(5), None, by_pair(*[(positive, negative)] * 5), minimum=1)
    (caution,) = vetting.warnings
    assert (caution.stage, caution.code) == ("responses", code)
    assert cure in caution.cure
    assert "0% of" in caution.message
    assert "(0/5, of 5)" in caution.message
    assert caution.cause in str(caution)
    assert caution.cure in str(caution)


@pytest.mark.parametrize(("passing", "warned"), [(7, False), (6, True)])
def test_seventy_percent_are_enough(passing, warned):
    answers = [(90, 10)] * passing + [(50, 10)] * (10 - passing)
    _, vetting = vet(prompts(10), None, by_pair(*answers), minimum=1)
    assert codes(vetting) == [("responses", "weak")] * warned


def test_errors_are_left_out_of_the_rate_that_is_warned_of():
    _, vetting = vet(prompts(10), None, by_pair(*[(90, 10)] * 5, *[("error", 10)] * 5), minimum=1)
    assert codes(vetting) == [("responses", "errors")]
    assert "5 of 20" in vetting.warnings[0].message
    assert "positive 5, negative 0" in vetting.warnings[0].message


def test_the_cure_of_empty_texts_is_not_to_ask_again():
    empty = by_pair(("error", 10), (90, 10)).with_columns(
        reason=pl.when(pl.col("status") == "error").then(pl.lit(EMPTY_TEXT))
    )
    _, vetting = vet(prompts(2), None, empty, minimum=1)
    assert vetting.warnings[0].cause == f"{EMPTY_TEXT} (1 of 1)"
    assert "stop strings" in vetting.warnings[0].cure
    _, vetting = vet(prompts(2), None, by_pair(("error", 10), (90, 10)), minimum=1)
    assert vetting.warnings[0].cure.startswith("run again")


def test_refusals_are_told_from_low_scores():
    _, vetting = vet(prompts(4), None, by_pair(*[(90, "refused")] * 4), minimum=1)
    assert codes(vetting) == [("responses", "refusals")]
    assert "4 of 8" in vetting.warnings[0].message


def test_both_stages_are_looked_at():
    _, vetting = vet(prompts(3), by_pair(*[(90, 90)] * 3), by_pair(*[(10, 10)] * 3), minimum=1)
    assert codes(vetting) == [("scenarios", "both_high"), ("responses", "both_low")]


def test_poles_of_unlike_length_are_warned_of():
    _, vetting = vet(prompts(2, words=(10, 8)), None, by_pair((90, 10), (90, 10)), minimum=1)
    assert codes(vetting) == [("scenarios", "length")]
    assert "10.0 words, negative ones 8.0" in vetting.warnings[0].message
    samples = by_pair((0, 0), (0, 0)).select("prompt_id", "sample")
    texts = pl.Series("text", ["long " * 13, "short " * 10] * 2)
    _, vetting = vet(prompts(2), None, by_pair((90, 10), (90, 10)), minimum=1, samples=samples.with_columns(texts))
    assert codes(vetting) == [("responses", "length")]


def test_a_clean_run_has_no_warnings():
    _, vetting = vet(prompts(30), None, by_pair(*[(90, 10)] * 30))
    assert vetting.warnings == ()


def test_a_pole_without_scores_is_no_evidence():
    assert diagnose(None, 10, Thresholds()) == "weak"
    assert diagnose(None, 90, Thresholds()) == "both_high"
    assert diagnose(10, None, Thresholds()) == "both_low"
    assert str(Caution("weak", "responses", "seen", "why", "what")) == "responses: seen. Likely cause: why. Cure: what."


# --- tables that do not fit


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.head(3), "has no row of negative-001 / 0|has no row of negative-001"),
        (lambda table: pl.concat([table, table.head(1)]), "more than one row of positive-000 / 0"),
        (lambda table: table.with_columns(prompt_id=pl.col("prompt_id") + "x"), "has no row of"),
        (lambda table: table.drop("status"), "lacks the column"),
        (lambda table: table.with_columns(score=pl.lit(None, pl.Float64)), "positive-000: status scored contradicts"),
    ],
)
def test_a_table_of_scores_that_does_not_fit_is_refused(change, message):
    given = by_pair((90, 10), (90, 10))
    with pytest.raises(ValueError, match=f"response_scores.*({message})"):
        vet(prompts(2), None, change(given), minimum=1)


def test_a_response_without_a_judgement_is_refused():
    samples = by_pair((0, 0)).select("prompt_id", "sample")
    samples = pl.concat([samples, samples.with_columns(pl.lit(1, pl.Int32).alias("sample"))])
    with pytest.raises(ValueError, match=r"response_scores has no row of .* \(2 in all\)"):
        vet(prompts(1), None, by_pair((90, 10)), samples=samples)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.with_columns(pl.lit("neutral").alias("polarity")), "more than one row|polarity must"),
        (lambda table: table.with_columns(pl.lit("pair").alias("group")), "more than one row of pair / positive"),
        (lambda table: table.drop("group"), "lacks the column"),
    ],
)
def test_prompts_that_are_no_pairs_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        vet(change(prompts(2)), None, None)
