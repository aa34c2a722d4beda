"""Metrics: worked values, ties, what is undefined, and agreement with scikit-learn and SciPy."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from tells.stats import (
    auroc,
    average_precision,
    brier,
    ece,
    group_weights,
    question_level,
    spearman,
    undefined_reason,
    within_group_auroc,
)

rows_with_ties = st.lists(st.tuples(st.integers(0, 1), st.integers(-3, 3)), min_size=2, max_size=40)
rows_of_probabilities = st.lists(st.tuples(st.integers(0, 1), st.floats(0, 1)), min_size=1, max_size=40)


def columns(rows):
    return [row[0] for row in rows], [row[1] for row in rows]


@settings(max_examples=150, deadline=None)
@given(rows_with_ties)
def test_auroc_and_average_precision_agree_with_scikit_learn_also_with_ties(rows):
    y, score = columns(rows)
    if len(set(y)) < 2:
        assert auroc(y, score) is None
        assert average_precision(y, score) is None
    else:
        assert auroc(y, score) == pytest.approx(roc_auc_score(y, score), abs=1e-12)
        assert average_precision(y, score) == pytest.approx(average_precision_score(y, score), abs=1e-12)


@settings(max_examples=100, deadline=None)
@given(rows_with_ties)
def test_auroc_of_the_opposite_score_is_its_complement(rows):
    y, score = columns(rows)
    value = auroc(y, score)
    if value is not None:
        assert auroc(y, [-s for s in score]) == pytest.approx(1 - value, abs=1e-12)
        assert auroc(y, [np.exp(s) for s in score]) == value


def test_auroc_counts_a_tie_as_half_a_win():
    assert auroc([0, 0, 1, 1], [0.1, 0.4, 0.4, 0.8]) == 3.5 / 4
    assert auroc([0, 1], [7, 7]) == 0.5
    assert auroc([True, False], [2, 1]) == 1.0


def test_average_precision_worked_by_hand():
    # Order 1, 0, 1: recall steps at precision 1 and 2/3.
    assert average_precision([1, 0, 1], [3, 2, 1]) == pytest.approx((1 + 2 / 3) / 2)
    # All tied: one step at the prevalence.
    assert average_precision([1, 0, 0, 0], [1, 1, 1, 1]) == 0.25


@pytest.mark.parametrize("metric", [auroc, average_precision])
@pytest.mark.parametrize("y", [[], [0], [1], [0, 0, 0], [1, 1, 1]])
def test_a_missing_class_is_none_and_not_a_half(metric, y):
    assert metric(y, list(range(len(y)))) is None


@pytest.mark.parametrize("metric", [auroc, average_precision, brier, ece])
def test_bad_rows_are_refused_with_their_place(metric):
    with pytest.raises(ValueError, match="row 1"):
        metric([0, 1], [0.5, float("nan")])
    with pytest.raises(ValueError, match="row 1"):
        metric([0, 1], [0.5, None])
    with pytest.raises(ValueError, match="row 2 is 2"):
        metric([0, 1, 2], [0.1, 0.2, 0.3])
    with pytest.raises(ValueError, match="as many rows"):
        metric([0, 1], [0.5])
    with pytest.raises(ValueError, match="one dimension"):
        metric([[0, 1]], [[0.5, 0.5]])


@settings(max_examples=80, deadline=None)
@given(rows_of_probabilities)
def test_brier_agrees_with_scikit_learn(rows):
    y, p = columns(rows)
    assert brier(y, p) == pytest.approx(brier_score_loss(y, p, pos_label=1), abs=1e-12)


@pytest.mark.parametrize("metric", [brier, ece])
def test_scores_that_are_no_probabilities_have_no_calibration(metric):
    assert metric([0, 1], [0.5, 1.1]) is None
    assert metric([0, 1], [-0.1, 0.5]) is None
    assert metric([], []) is None
    assert metric([1, 1], [1.0, 1.0]) == 0.0


def test_ece_bins_are_open_below_and_closed_above():
    # 0.1 lies in (0, 0.1] with 0.05: one bin, |mean y - mean p| = |0.5 - 0.075|.
    assert ece([0, 1], [0.05, 0.1]) == pytest.approx(0.425)
    # Just above the edge it lies in the next: (0.05 + 0.899999) / 2.
    assert ece([0, 1], [0.05, 0.100001]) == pytest.approx((0.05 + 0.899999) / 2)


def test_every_edge_of_ten_bins_belongs_to_the_bin_below_it():
    for k in range(1, 11):
        p = k / 10
        low = p - 0.05
        # One bin: the gaps of a row above and a row below cancel but for the sum; two bins: they add.
        assert ece([0, 1], [low, p]) == pytest.approx(abs(1 - low - p) / 2, abs=1e-12), k


def test_a_probability_of_zero_is_counted_in_the_first_bin():
    assert ece([1, 0], [0.0, 0.0]) == pytest.approx(0.5)
    assert ece([1], [0.0]) == 1.0


def test_ece_weighs_bins_by_their_rows():
    y, p = [1, 0, 0, 1], [0.95, 0.95, 0.95, 0.15]
    assert ece(y, p) == pytest.approx(0.75 * abs(1 / 3 - 0.95) + 0.25 * 0.85)
    assert ece(y, p, bins=1) == pytest.approx(abs(0.5 - 0.75))
    with pytest.raises(ValueError, match="bins"):
        ece(y, p, bins=0)


def test_within_group_auroc_takes_pairs_of_one_question_only():
    # Question a orders its pair wrongly; the score knows the questions perfectly.
    y, score, groups = [0, 1, 1, 1], [2, 1, 9, 9], ["a", "a", "b", "b"]
    assert auroc(y, score) > 0.6
    assert within_group_auroc(y, score, groups) == 0.0
    assert within_group_auroc([0, 0, 1, 1], score, groups) is None
    assert within_group_auroc([], [], []) is None


def test_within_group_auroc_is_averaged_by_pairs():
    generator = np.random.default_rng(3)
    y, score = generator.integers(0, 2, 60), generator.integers(0, 4, 60)
    groups = generator.integers(0, 7, 60)
    wins = pairs = 0.0
    for i in range(60):
        for j in range(60):
            if groups[i] == groups[j] and y[i] == 1 and y[j] == 0:
                pairs += 1
                wins += (score[i] > score[j]) + 0.5 * (score[i] == score[j])
    assert within_group_auroc(y, score, groups) == pytest.approx(wins / pairs, abs=1e-12)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.integers(-4, 4), st.integers(-4, 4)), min_size=2, max_size=30))
def test_spearman_agrees_with_scipy(rows):
    left, right = columns(rows)
    if len(set(left)) < 2 or len(set(right)) < 2:
        assert spearman(left, right) is None
    else:
        assert spearman(left, right) == pytest.approx(spearmanr(left, right).statistic, abs=1e-12)


def test_spearman_needs_two_rows():
    assert spearman([], []) is None
    assert spearman([1.0], [2.0]) is None
    assert spearman([1.0, 2.0], [2.0, 3.0]) == pytest.approx(1.0)


def test_question_level_gives_the_mean_of_each_question_in_one_order():
    names, means = question_level([1, 0, 1, 1], ["b", "a", "b", "a"])
    assert names.tolist() == ["a", "b"]
    assert means.tolist() == [0.5, 1.0]
    assert group_weights(["b", "a", "b", "b"]) == pytest.approx([1 / 3, 1, 1 / 3, 1 / 3])


def test_a_row_without_a_group_is_refused():
    with pytest.raises(ValueError, match="missing key"):
        question_level([1, 0], ["a", None])
    with pytest.raises(ValueError, match="missing key"):
        question_level([1, 0], [1.0, float("nan")])
    with pytest.raises(ValueError, match="as many rows"):
        question_level([1, 0], ["a"])


def test_the_reason_of_an_undefined_metric_is_said():
    assert undefined_reason([0, 1], [0.2, 3.0]) is None
    assert undefined_reason([], []) == "no rows"
    assert undefined_reason([1, 1], [0.2, 0.3]) == "one class only: all 2 rows are 1"
    assert undefined_reason([1, 1], [0.2, 0.3], probabilities=True) is None
    assert undefined_reason([1, 0], [0.2, 3.0], probabilities=True) == "the scores are no probabilities"


def test_importing_the_statistics_imports_no_model_library():
    code = "import sys, tells.stats; print(sorted({'torch', 'transformers', 'pandas'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
