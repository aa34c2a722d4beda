"""Grouped permutation: type-I error, strata, agreement of the fast and the generic way."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tells.stats import (
    aurac,
    auroc,
    average_precision,
    brier,
    ece,
    permutation_p,
    permutation_test,
    within_group_auroc,
)
from tells.stats.permutation import merge_strata


def null_study(generator, questions=40, rows=10):
    """Labels and scores that both vary by question and know nothing of each other."""
    groups = np.arange(questions).repeat(rows)
    y = generator.random(questions * rows) < generator.beta(0.5, 0.5, questions).repeat(rows)
    score = generator.normal(size=questions).repeat(rows) + 0.5 * generator.normal(size=questions * rows)
    return y.astype(int), score, groups


def test_rows_permuted_singly_reject_a_true_null_far_too_often_and_blocks_do_not():
    generator = np.random.default_rng(2024)
    trials, by_block, by_row = 250, 0, 0
    for trial in range(trials):
        y, score, groups = null_study(generator)
        by_block += permutation_p(auroc, y, score, groups, n=199, seed=trial) <= 0.05
        by_row += permutation_p(auroc, y, score, np.arange(y.size), n=199, seed=trial) <= 0.05
    # Three standard errors of 250 trials at 0.05 are 0.041.
    assert 0.01 <= by_block / trials <= 0.091
    assert by_row / trials > 0.2


def test_the_type_one_error_holds_with_questions_of_uneven_size():
    generator = np.random.default_rng(7)
    trials, rejected = 250, 0
    for trial in range(trials):
        y, score, groups = null_study(generator, questions=30, rows=8)
        # Truncated runs have no row: sizes 8, 7, 6, ... with few questions each.
        keep = generator.random(y.size) < 0.8
        p = permutation_p(auroc, y[keep], score[keep], groups[keep], n=199, seed=trial)
        rejected += p <= 0.05
    assert 0.01 <= rejected / trials <= 0.091


@pytest.mark.parametrize("uneven", [False, True])
def test_the_fast_way_of_auroc_gives_the_numbers_of_the_generic_way(uneven):
    generator = np.random.default_rng(0)
    y, score, groups = null_study(generator, questions=23, rows=5)
    score = np.round(score + 0.4 * y, 1)
    keep = generator.random(y.size) < 0.8 if uneven else np.ones(y.size, bool)
    arguments = (y[keep], score[keep], groups[keep])
    fast = permutation_test(auroc, *arguments, n=300, seed=5)
    slow = permutation_test(lambda a, b: auroc(a, b), *arguments, n=300, seed=5)
    assert fast == slow
    assert 1 / 301 < fast.p < 1


def test_the_fast_way_of_within_group_auroc_gives_the_numbers_of_a_plain_loop():
    generator = np.random.default_rng(1)
    y, score, groups = null_study(generator, questions=8, rows=4)
    score = np.round(score + 0.5 * y, 1)
    # Every question keeps four rows, so group numbers of the rows that take part are known to the loop.
    slow = permutation_test(
        lambda a, b: within_group_auroc(a, b, np.arange(8).repeat(4)), y, score, groups, n=200, seed=3
    )
    fast = permutation_test(within_group_auroc, y, score, groups, n=200, seed=3)
    assert fast == slow
    assert fast.observed == within_group_auroc(y, score, groups)


def test_p_is_that_of_all_arrangements_of_three_questions():
    y = np.array([0, 0, 0, 1, 1, 1])
    score = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    groups = np.arange(3).repeat(2)

    def arrangement_counts(flip):
        """The mid question may keep or swap its rows: average over the seeded alignment below."""
        labels, scores = y.reshape(3, 2), score.reshape(3, 2)
        labels = np.stack([row[::-1] if f else row for row, f in zip(labels, flip, strict=True)])
        scores = np.stack([row[::-1] if f else row for row, f in zip(scores, flip, strict=True)])
        observed = auroc(y, score)
        orders = itertools.permutations(range(3))
        return np.mean([auroc(labels.ravel(), scores[list(o)].ravel()) >= observed for o in orders])

    possible = {arrangement_counts(flip) for flip in itertools.product([0, 1], repeat=3)}
    p = permutation_p(auroc, y, score, groups, n=6000, seed=0)
    assert min(abs(p - exact) for exact in possible) < 0.03


def test_p_at_its_floor_and_ceiling():
    y = np.arange(40) % 2
    groups = np.arange(40)
    assert permutation_p(auroc, y, y + 0.0, groups, n=199) == pytest.approx(1 / 200)
    assert permutation_p(auroc, y, -y + 0.0, groups, n=199) == 1.0
    # Every permutation of a constant equals the observed value, and counts.
    assert permutation_p(auroc, y, np.zeros(40), groups, n=199) == 1.0
    assert permutation_p(average_precision, y, np.zeros(40), groups, n=19) == 1.0


def test_matched_pairs_in_file_order_can_still_be_significant():
    # Each question holds a positive row first and a negative row second, and the score is right in all.
    y = np.tile([1, 0], 30)
    generator = np.random.default_rng(0)
    score = generator.normal(size=30).repeat(2) * 0.1 + y
    for metric in (auroc, within_group_auroc):
        assert permutation_p(metric, y, score, np.arange(30).repeat(2), n=199) == pytest.approx(1 / 200)


def test_the_order_of_the_file_does_not_hide_a_signal_within_questions():
    # Runs sorted by score: without a random order within questions every permutation would look the same.
    generator = np.random.default_rng(6)
    score = np.sort(generator.normal(size=(30, 6)), axis=1)
    y = (score + generator.normal(size=(30, 6)) > 0).astype(int)
    p = permutation_p(within_group_auroc, y.ravel(), score.ravel(), np.arange(30).repeat(6), n=199)
    assert p <= 0.01


def test_the_order_of_questions_changes_nothing():
    generator = np.random.default_rng(3)
    y, score, groups = null_study(generator, questions=20, rows=4)
    order = np.argsort(generator.permutation(20)[groups], kind="stable")
    assert permutation_test(auroc, y, score, groups, n=99) == permutation_test(
        auroc, y[order], score[order], groups[order], n=99
    )


def test_the_seed_decides_the_permutations():
    y, score, groups = null_study(np.random.default_rng(3))
    first, again, other = (permutation_p(auroc, y, score, groups, n=500, seed=s) for s in (1, 1, 2))
    assert first == again
    assert first != other


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=60))
def test_every_question_is_in_one_stratum_and_strata_have_five_where_there_are_five(sizes):
    sizes = np.array(sizes)
    strata = merge_strata(sizes, np.random.default_rng(0))
    members = np.concatenate([groups for _, groups in strata])
    assert sorted(members) == list(range(sizes.size))
    for size, groups in strata:
        assert size == sizes[groups].min()
        assert groups.size >= min(5, sizes.size)


def test_large_strata_are_left_whole_and_a_lone_short_question_costs_few_rows():
    sizes = np.array([10] * 100 + [1])
    strata = merge_strata(sizes, np.random.default_rng(0))
    assert [(size, groups.size) for size, groups in strata] == [(10, 96), (1, 5)]
    assert merge_strata(np.array([3] * 5 + [2] * 5), np.random.default_rng(0))[0][0] == 3
    # Four short questions would borrow one of five and leave four: too few, so all join.
    few = merge_strata(np.array([3] * 5 + [2] * 4), np.random.default_rng(0))
    assert [(size, groups.size) for size, groups in few] == [(2, 9)]
    # A small stratum at the top joins the next size.
    top = merge_strata(np.array([9] * 2 + [8] * 30), np.random.default_rng(0))
    assert [(size, groups.size) for size, groups in top] == [(8, 32)]


def test_rows_left_out_by_merging_are_counted_and_observed_is_of_the_rest():
    sizes = [4] * 6 + [3] * 2 + [2] * 1
    groups = np.repeat(np.arange(9), sizes)
    generator = np.random.default_rng(0)
    y, score = generator.integers(0, 2, groups.size), generator.normal(size=groups.size)
    seen = []

    def metric(a, b):
        seen.append((len(a), auroc(a, b)))
        return seen[-1][1]

    result = permutation_test(metric, y, score, groups, n=20)
    # Three questions of sizes 3, 3 and 2 borrow two of size 4, but four would be left: all nine join at 2.
    assert (result.n_strata, result.n_rows, result.n_rows_left_out) == (1, 18, groups.size - 18)
    assert {length for length, _ in seen} == {18}
    assert result.observed == seen[0][1]


def test_scores_move_only_between_questions_of_equal_size_and_none_is_lost():
    groups = np.repeat(np.arange(14), [3] * 7 + [2] * 7)
    score = np.arange(groups.size, dtype=float)
    y = np.repeat([1, 0], [21, 14])
    kept_apart = []

    def metric(a, b):
        assert sorted(b) == sorted(score)
        kept_apart.append(set(b[a == 1]) == set(score[:21]))
        return 0.0

    permutation_p(metric, y, score, groups, n=30)
    assert all(kept_apart)


def test_given_strata_keep_their_scores():
    y = np.tile([0, 1], 10)
    kind = np.repeat(["a", "b"], 10)
    score = np.repeat([0.0, 9.0], 10) + np.random.default_rng(0).random(20)
    sums = []

    def metric(a, b):
        sums.append(int((b[:10] < 5).sum()))
        return 0.0

    permutation_p(metric, y, score, np.arange(20), n=20, strata=kind)
    assert len(set(sums)) == 1


def test_what_cannot_be_tested_is_none_and_says_why():
    one_class = permutation_test(auroc, [1, 1, 1], [1, 2, 3], list("abc"))
    assert (one_class.p, one_class.observed) == (None, None)
    assert "undefined" in one_class.reason
    one_question = permutation_test(auroc, [0, 1, 1], [1, 2, 3], list("aaa"))
    assert (one_question.p, one_question.observed) == (None, 1.0)
    assert "change places" in one_question.reason
    assert permutation_p(auroc, [], [], []) is None


def test_permutations_on_which_the_metric_is_undefined_count_against_it():
    calls = []

    def metric(y, score):
        calls.append(1)
        return 1.0 if len(calls) == 1 else (None if len(calls) % 2 else 0.0)

    result = permutation_test(metric, [0, 1, 0], [1, 2, 3], list("abc"), n=99)
    assert result.n_undefined == 49
    assert result.p == pytest.approx(50 / 100)


def test_a_metric_that_is_better_when_smaller_is_refused():
    for metric in (brier, ece):
        with pytest.raises(ValueError, match="better when smaller"):
            permutation_p(metric, [0, 1], [0.1, 0.9], list("ab"))
    assert permutation_p(lambda y, p: -brier(y, p), [0, 1] * 10, [0.1, 0.9] * 10, range(20), n=99) == 0.01


def test_other_metrics_run_the_generic_way():
    y = np.array([1] * 15 + [0] * 15)
    uncertainty = np.arange(30.0)
    assert permutation_p(aurac, y, uncertainty, np.arange(30), n=99) == 0.01
    assert permutation_p(average_precision, y, -uncertainty, np.arange(30), n=99) == 0.01


def test_no_permutation_is_refused():
    with pytest.raises(ValueError, match="at least 1"):
        permutation_p(auroc, [0, 1], [1, 2], list("ab"), n=0)
