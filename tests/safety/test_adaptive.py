"""The decision machine of one prompt: warm-up, threshold, cuts, votes, and the three rules that settle."""

import numpy as np
import pytest
from arm_helpers import pools_of_traces
from hypothesis import given
from hypothesis import strategies as st

from tells.config.safety import StoppingConfig
from tells.safety.adaptive import AdaptivePrompt, settles, vote_of


def machine(budget=10, window=2, **settings):
    return AdaptivePrompt(StoppingConfig(**{"warmup": 2, "keep": 0.5, **settings}), window, budget)


def told(prompt, *labels, confidence=(2.0, 2.0)):
    for label in labels:
        prompt.add(label, confidence, False)
    return prompt


def test_partial_refusals_vote_as_refusals_and_unclear_replies_do_not_vote():
    assert [vote_of(label) for label in ("refusal", "partial", "compliance", "unclear", None)] == [
        "refusal",
        "refusal",
        "compliance",
        None,
        None,
    ]
    with pytest.raises(ValueError, match="'yes' is unknown"):
        vote_of("yes")


def test_an_unknown_label_is_refused():
    with pytest.raises(ValueError, match="'yes' is unknown"):
        machine().add("yes", [1.0], False)


@pytest.mark.parametrize(("third", "settled"), [(0.999, True), (1.0, True), (1.001, False)])
def test_consensus_settles_at_its_limit_and_not_just_below(third, settled):
    # β = 3 / (3 + third): 0.75 at 1.
    prompt = machine(warmup=3, consensus=0.75)
    prompt.add("refusal", [1.0], False)
    prompt.add("partial", [2.0], False)
    prompt.add("compliance", [third], False)
    assert prompt.settled is settled
    assert prompt.done is settled


def test_a_share_that_stands_on_the_limit_but_for_rounding_settles():
    # 2.1 of 2.8 is 0.7499999999999999 in floating point.
    weights = [0.7, 0.7, 0.7, 0.7]
    labels = ["refusal", "refusal", "refusal", "compliance"]
    for order in ([0, 1, 2, 3], [3, 2, 1, 0], [0, 3, 1, 2]):
        rule = StoppingConfig(consensus=0.75)
        assert settles(rule, [labels[place] for place in order], [weights[place] for place in order])


def test_a_vote_weighs_the_mean_confidence_of_all_tokens_of_its_trace():
    prompt = machine(warmup=2, consensus=0.9)
    prompt.add("refusal", [1.0, 17.0], False)
    prompt.add("compliance", [1.0, 1.0, 1.0, 1.0], False)
    assert prompt.settled
    assert machine(warmup=2, consensus=0.9).settled is False


def test_agreement_settles_at_the_end_of_the_warm_up_and_never_before():
    prompt = told(machine(warmup=3), "refusal", "refusal")
    assert not prompt.settled
    assert told(prompt, "refusal").settled


def test_a_tie_is_not_settled():
    assert not told(machine(consensus=0.51), "refusal", "compliance").settled


@pytest.mark.parametrize(("votes", "settled"), [(3, False), (4, True)])
def test_adaptive_consistency_asks_for_four_equal_votes(votes, settled):
    # P(Beta(v+1, 1) > 1/2) = 1 − 2^−(v+1): 0.9375 at 3, 0.96875 at 4.
    prompt = told(machine(rule="adaptive_consistency", warmup=2), *["compliance"] * votes)
    assert prompt.settled is settled


def test_vote_entropy_settles_where_few_dissent():
    # 1 of 20: 0.199 nats; 1 of 19: 0.206 nats.
    labels = ["compliance"] + ["refusal"] * 18
    rule = StoppingConfig(rule="vote_entropy")
    assert not settles(rule, labels, [1.0] * 19)
    assert settles(rule, [*labels, "refusal"], [1.0] * 20)


@pytest.mark.parametrize("rule", ["consensus", "adaptive_consistency", "vote_entropy"])
def test_without_votes_nothing_is_settled_and_the_budget_is_spent(rule):
    prompt = told(machine(budget=4, rule=rule), "unclear", None, "unclear")
    assert not prompt.done
    assert told(prompt, None).done
    assert not prompt.settled
    assert prompt.votes == (None,) * 4


@pytest.mark.parametrize("rule", ["consensus", "adaptive_consistency", "vote_entropy"])
def test_traces_without_a_vote_do_not_change_what_is_settled(rule):
    labels = ["refusal"] * 5
    mixed = [None, "refusal", None, *["refusal"] * 4, None]
    config = StoppingConfig(rule=rule)
    assert settles(config, labels, [2.0] * 5)
    assert settles(config, mixed, [2.0] * 8)


def test_the_threshold_is_a_percentile_of_the_lowest_groups_of_the_warm_up():
    prompt = machine(warmup=2, keep=0.25)
    assert prompt.threshold is None
    prompt.add("refusal", [5.0, 1.0, 2.0], False)
    assert prompt.threshold is None
    prompt.add("compliance", [4.0, 4.0, 9.0], False)
    # Lowest groups of two tokens: 1.5 and 4; 75th percentile.
    assert prompt.threshold == pytest.approx(1.5 + 0.75 * 2.5)
    prompt.add("compliance", [0.1, 0.1], True)
    prompt.add("compliance", [0.1, 0.1], False)
    assert prompt.threshold == pytest.approx(3.375)


def test_a_trace_shorter_than_the_window_counts_in_the_threshold_with_its_mean_but_is_never_cut():
    prompt = machine(window=4)
    prompt.add("refusal", [1.0, 3.0], False)
    prompt.add("compliance", [2.0], False)
    assert prompt.threshold == pytest.approx(2.0)
    assert prompt.stop_of([0.0, 0.0, 0.0], ended=False) is None
    assert prompt.stop_of([0.0, 0.0, 0.0, 0.0, 0.0], ended=False) == 3


def test_warm_up_traces_are_never_cut():
    prompt = machine(warmup=2)
    assert prompt.warming
    assert prompt.stop_of([0.0] * 10, ended=False) is None
    with pytest.raises(ValueError, match="warm-up traces are never cut"):
        prompt.add("refusal", [0.0] * 10, True)


def test_a_trace_is_cut_at_the_last_token_of_its_first_window_below():
    prompt = told(machine(window=2), "refusal", "compliance")
    assert prompt.threshold == 2.0
    assert prompt.stop_of([9.0, 9.0, 2.0, 2.0, 1.5, 9.0, 0.0, 0.0], ended=True) == 4


def test_a_window_at_the_threshold_does_not_cut():
    prompt = told(machine(window=2), "refusal", "compliance")
    assert prompt.stop_of([2.0, 2.0, 2.0], ended=False) is None


def test_a_trace_that_ends_by_itself_where_it_would_be_cut_is_whole():
    prompt = told(machine(window=2), "refusal", "compliance")
    assert prompt.stop_of([3.0, 3.0, 0.5], ended=True) is None
    assert prompt.stop_of([3.0, 3.0, 0.5], ended=False) == 2
    assert prompt.stop_of([0.5, 0.5, 3.0], ended=True) == 1


def test_cut_traces_count_but_do_not_vote():
    prompt = told(machine(budget=4, window=2, consensus=0.7), "refusal", "compliance")
    prompt.add("refusal", [0.5, 0.5], True)
    prompt.add("refusal", [0.5, 0.5], True)
    assert prompt.votes == ("refusal", "compliance", None, None)
    assert prompt.traces == 4
    assert prompt.done
    assert not prompt.settled


def test_empty_warm_up_traces_are_left_out_of_the_threshold_and_do_not_vote():
    prompt = machine(warmup=2)
    prompt.add("unclear", [], False)
    prompt.add("refusal", [3.0, 1.0], False)
    assert prompt.threshold == 2.0
    assert prompt.votes == (None, "refusal")


def test_a_warm_up_without_tokens_cuts_nothing():
    prompt = machine(warmup=2)
    prompt.add("unclear", [], False)
    prompt.add("unclear", [], False)
    assert not prompt.warming
    assert prompt.threshold is None
    assert prompt.stop_of([0.0] * 9, ended=False) is None
    with pytest.raises(ValueError, match="there is no threshold"):
        prompt.add("refusal", [0.0], True)


def test_a_trace_without_tokens_does_not_vote_whatever_its_label():
    prompt = machine(warmup=2)
    prompt.add("refusal", [], False)
    assert prompt.votes == (None,)


@pytest.mark.parametrize("labels", [["refusal"] * 3, ["refusal", "compliance", "refusal", "compliance"]])
def test_no_trace_follows_when_the_prompt_is_done(labels):
    prompt = told(machine(budget=4, warmup=3), *labels)
    with pytest.raises(ValueError, match=r"settled|budget of 4 traces"):
        prompt.add("refusal", [2.0], False)


def test_a_budget_within_the_warm_up_is_refused():
    with pytest.raises(ValueError, match="budget 3 must be above the warm-up of 3"):
        machine(budget=3, warmup=3)


def test_a_window_below_one_token_is_refused():
    with pytest.raises(ValueError, match="window must be at least 1"):
        machine(window=0)


def test_double_precision_decides_as_the_single_precision_that_is_stored():
    # 0.1 in single precision is above 0.1 in double precision.
    prompt = told(machine(window=1), "refusal", "compliance", confidence=(float(np.float32(0.1)),))
    assert prompt.stop_of([0.1], ended=False) is None
    assert prompt.stop_of([0.0999], ended=False) == 0


def test_a_confidence_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match="step 1: confidence is nan"):
        machine().add("refusal", [1.0, float("nan")], False)


@given(pools_of_traces(), st.sampled_from(["consensus", "adaptive_consistency", "vote_entropy"]), st.integers(1, 3))
def test_the_budget_is_never_exceeded_and_the_warm_up_always_spent(traces, rule, window):
    prompt = machine(budget=len(traces), rule=rule, window=window, warmup=3)
    while not prompt.done:
        row = traces[prompt.traces]
        prompt.add(row["stop_label"], row["confidence"], prompt.stop_of(row["confidence"], ended=False) is not None)
    assert 3 <= prompt.traces <= len(traces)
    assert None not in {prompt.votes[trace] for trace in range(3) if _votes(traces[trace])}


def _votes(row):
    return bool(row["confidence"]) and row["stop_label"] != "unclear"
