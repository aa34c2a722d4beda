"""Votes: worked values, ties, and traces that take no part."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta

from tells.safety.voting import (
    adaptive_consistency,
    consensus,
    keep_top,
    majority_vote,
    vote_entropy,
    weighted_vote,
)

LABELS = st.lists(st.sampled_from(["refusal", "compliance", None]), max_size=30)


def test_the_majority_wins_and_ties_go_to_the_first_seen():
    assert majority_vote(["a", "b", "b"]) == "b"
    assert majority_vote(["b", "a", "a", "b"]) == "b"
    assert majority_vote(["a", "b", "b", "a"]) == "a"


def test_traces_without_a_label_take_no_part():
    assert majority_vote([None, None, "a", None]) == "a"
    assert majority_vote([None, "b", "a", None]) == "b"
    assert weighted_vote([None, "a", "b"], [None, 1.0, 2.0]) == "b"
    assert weighted_vote([None, "a"], [math.nan, 1.0]) == "a"
    assert consensus([None, "a", "b"], [9.0, 1.0, 3.0]) == 0.75


def test_nobody_wins_where_nobody_votes():
    for labels in ([], [None, None]):
        weights = [1.0] * len(labels)
        assert majority_vote(labels) is None
        assert weighted_vote(labels, weights) is None
        assert consensus(labels, weights) is None
        assert vote_entropy(labels) is None
        assert adaptive_consistency(labels) == 0.5


def test_weights_can_turn_a_majority():
    labels = ["refusal", "compliance", "compliance"]
    assert weighted_vote(labels, [5.0, 1.0, 2.0]) == "refusal"
    assert consensus(labels, [5.0, 1.0, 2.0]) == 5 / 8
    assert consensus(labels, [1, 1, 1]) == pytest.approx(2 / 3)


def test_weighted_ties_go_to_the_first_seen_though_sums_round():
    # 0.1 + 0.2 is a little more than 0.3 in floating point.
    assert weighted_vote(["a", "b", "b"], [0.3, 0.1, 0.2]) == "a"
    assert weighted_vote(["b", "a", "b"], [0.1, 0.3, 0.2]) == "b"
    assert weighted_vote(["b", "a"], [0.0, 0.0]) == "b"
    assert consensus(["b", "a"], [0.0, 0.0]) is None


@pytest.mark.parametrize("weight", [None, -1.0, math.nan, math.inf])
def test_a_vote_needs_a_weight(weight: float | None):
    with pytest.raises(ValueError, match="weight of trace 1"):
        weighted_vote(["a", "b"], [1.0, weight])
    with pytest.raises(ValueError, match="2 labels but 1 weights"):
        consensus(["a", "b"], [1.0])


def test_the_top_is_kept_with_all_that_stand_at_the_cut():
    assert keep_top([5.0, 1.0, 4.0, 2.0, 3.0], keep=0.5).tolist() == [0, 2, 4]
    assert keep_top([5.0, 4.0, 4.0, 1.0], keep=0.5).tolist() == [0, 1, 2]
    assert keep_top([1.0, 1.0, 1.0], keep=0.1).tolist() == [0, 1, 2]
    assert keep_top([3.0, 1.0, 2.0], keep=0.1).tolist() == [0]
    assert keep_top([3.0, 1.0, 2.0], keep=1.0).tolist() == [0, 1, 2]
    assert keep_top([], keep=0.5).tolist() == []


def test_a_share_to_keep_lies_between_none_and_all():
    for keep in (0.0, 1.1):
        with pytest.raises(ValueError, match="keep"):
            keep_top([1.0], keep=keep)
    with pytest.raises(ValueError, match="step 1"):
        keep_top([1.0, np.nan], keep=0.5)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=20), st.floats(0.01, 1.0))
def test_what_is_kept_is_never_less_confident_than_what_is_not(confidences: list[int], keep: float):
    kept = keep_top(confidences, keep=keep).tolist()
    left = [value for index, value in enumerate(confidences) if index not in kept]
    assert kept
    assert all(confidences[index] > value for index in kept for value in left)


def test_five_to_none_is_settled_at_95_percent_and_four_to_none_at_96():
    assert adaptive_consistency(["a"] * 5) == pytest.approx(0.984, abs=5e-4)
    assert adaptive_consistency(["a"] * 5) == pytest.approx(1 - 0.5**6)
    assert adaptive_consistency(["a"] * 3) == pytest.approx(1 - 0.5**4)
    assert adaptive_consistency(["a", "b"]) == pytest.approx(0.5)


@given(LABELS)
def test_adaptive_consistency_is_the_beta_tail_of_the_two_leading_counts(labels: list[str | None]):
    counts = sorted((labels.count("refusal"), labels.count("compliance")))
    assert adaptive_consistency(labels) == pytest.approx(beta.sf(0.5, counts[1] + 1, counts[0] + 1))
    assert adaptive_consistency(labels) >= 0.5 - 1e-12


def test_only_the_two_leading_labels_count():
    assert adaptive_consistency(["a", "a", "a", "b", "c"]) == adaptive_consistency(["a", "a", "a", "c"])


def test_the_entropy_of_votes():
    assert vote_entropy(["a", "a", None]) == 0.0
    assert vote_entropy(["a", "b"]) == pytest.approx(math.log(2))
    # 19 : 1 is the first division of 20 that the default of 0.2 nats lets pass.
    assert vote_entropy(["a"] * 19 + ["b"]) == pytest.approx(0.1985, abs=1e-4)


@given(LABELS)
def test_equal_weights_give_the_majority_and_its_share(labels: list[str | None]):
    ones = [1.0] * len(labels)
    winner = majority_vote(labels)
    assert weighted_vote(labels, ones) == winner
    if winner is not None:
        voters = [label for label in labels if label is not None]
        assert consensus(labels, ones) == pytest.approx(voters.count(winner) / len(voters))
