"""Effect sizes, thresholds and the figures of a direction."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import gammaln
from scipy.stats import ttest_ind

from tells.traits.metrics import balanced_accuracy, choose_threshold, cohens_d, hedges_g, separation
from tells.traits.vectors import mean_difference

NUMBERS = st.lists(st.floats(-1e3, 1e3).map(lambda value: round(value, 3)), min_size=1, max_size=12)


def test_cohens_d_of_a_worked_example():
    assert cohens_d([2, 4, 6], [1, 2, 3]) == pytest.approx(2 / np.sqrt((8 + 2) / 4))
    assert cohens_d([1, 2, 3], [2, 4, 6]) == pytest.approx(-2 / np.sqrt(2.5))


@given(st.integers(1, 30), st.integers(2, 30), st.integers(0, 1000))
def test_cohens_d_is_students_t_without_the_numbers_of_rows(n, m, seed):
    generator = np.random.default_rng(seed)
    a, b = generator.normal(size=n) + 0.4, generator.normal(size=m) * 2
    t = ttest_ind(a, b).statistic
    assert cohens_d(a, b) == pytest.approx(t * np.sqrt(1 / n + 1 / m))
    assert cohens_d(b, a) == pytest.approx(-cohens_d(a, b))


@pytest.mark.parametrize(("a", "b"), [([], [1, 2]), ([1, 2], []), ([1], [2]), ([1, 1], [2, 2]), ([0.1] * 3, [0.3] * 7)])
def test_an_effect_size_without_rows_or_spread_is_none(a, b):
    assert cohens_d(a, b) is None
    assert hedges_g(a, b) is None


def test_one_row_against_two_has_an_effect_size_but_no_correction():
    assert cohens_d([3], [1, 2]) == pytest.approx(1.5 / np.sqrt(0.5))
    assert hedges_g([3], [1, 2]) is None


def test_missing_values_are_refused():
    with pytest.raises(ValueError, match="missing"):
        cohens_d([1.0, None], [2.0, 3.0])
    with pytest.raises(ValueError, match="missing"):
        hedges_g([1.0, 2.0], [np.nan, 3.0])


@pytest.mark.parametrize("n", [4, 10, 50])
def test_hedges_g_takes_off_the_excess_of_few_rows(n):
    generator = np.random.default_rng(n)
    a, b = generator.normal(size=n) + 1, generator.normal(size=n)
    freedom = 2 * n - 2
    exact = np.exp(gammaln(freedom / 2) - gammaln((freedom - 1) / 2)) / np.sqrt(freedom / 2)
    assert hedges_g(a, b) == pytest.approx(cohens_d(a, b) * (1 - 3 / (4 * freedom - 1)))
    assert hedges_g(a, b) == pytest.approx(cohens_d(a, b) * exact, rel=2e-3)


@given(NUMBERS, NUMBERS)
def test_no_threshold_between_values_has_a_better_balanced_accuracy(positive, negative):
    threshold = choose_threshold(positive, negative)
    values = sorted({*positive, *negative})
    cuts = [(low + high) / 2 for low, high in itertools.pairwise(values)] or values
    best = max(balanced_accuracy(positive, negative, cut) for cut in cuts)
    assert balanced_accuracy(positive, negative, threshold) == pytest.approx(best)
    assert threshold in [pytest.approx(cut) for cut in cuts]


def test_separate_classes_are_cut_half_way():
    assert choose_threshold([5.0, 9.0], [-30.0, 1.0]) == 3.0


def test_among_equal_thresholds_the_one_nearest_to_the_midpoint_of_the_means_is_taken():
    # 0.5 and 3.5 both give 3/4; the midpoint of the means is 2, the tie goes to the lower one.
    assert choose_threshold([1.0, 4.0], [0.0, 3.0]) == 0.5
    # 0.5 and 3.5 both give 5/6.
    assert choose_threshold([1.0, 4.0, 19.0], [-1.0, 0.0, 3.0]) == 3.5
    assert choose_threshold([1.0, 4.0, 9.0], [-9.0, 0.0, 3.0]) == 0.5
    assert choose_threshold([2.0, 2.0], [2.0]) == 2.0


def test_neighbouring_numbers_are_still_told_apart():
    low = 1.0
    high = np.nextafter(low, 2.0)
    assert balanced_accuracy([high], [low], choose_threshold([high], [low])) == 1.0


def test_a_threshold_needs_both_classes():
    with pytest.raises(ValueError, match="1 positive and 0 negative"):
        choose_threshold([1.0], [])


def test_separation_of_a_worked_example():
    positive, negative = [[2.0, 7.0], [4.0, -1.0], [6.0, 0.0]], [[1.0, 5.0], [2.0, 0.0], [3.0, 9.0]]
    found = separation(positive, negative, [1.0, 0.0], threshold=2.5)
    assert found.cohens_d == pytest.approx(2 / np.sqrt(2.5))
    assert found.hedges_g == pytest.approx(found.cohens_d * 0.8)
    assert found.auc == pytest.approx(7.5 / 9)
    assert found.accuracy == pytest.approx(2 / 3)
    assert found.polarity is True
    assert (found.n_positive, found.n_negative, found.threshold, found.reason) == (3, 3, 2.5, None)


def test_a_reversed_direction_has_the_opposite_polarity_and_sign():
    positive, negative = [[2.0], [4.0], [6.0]], [[1.0], [2.0], [3.0]]
    there = separation(positive, negative, [1.0], threshold=2.5)
    back = separation(positive, negative, [-1.0], threshold=-2.5)
    assert back.cohens_d == pytest.approx(-there.cohens_d)
    assert back.auc == pytest.approx(1 - there.auc)
    assert back.polarity is False


def test_accuracy_is_balanced_between_classes_of_unequal_size():
    found = separation([[1.0], [1.0]], [[-1.0]] * 9 + [[2.0]], [1.0], threshold=0.0)
    assert found.accuracy == pytest.approx((1 + 0.9) / 2)


def test_a_direction_and_its_vector_say_the_same():
    generator = np.random.default_rng(0)
    positive, negative = generator.normal(size=(8, 5)) + 1, generator.normal(size=(9, 5))
    direction = mean_difference(positive, negative)
    by_vector = separation(positive, negative, direction.vector * 3, threshold=0.4)
    by_direction = separation(positive, negative, direction, threshold=0.4)
    assert by_direction.cohens_d == pytest.approx(by_vector.cohens_d)
    assert by_direction.accuracy == by_vector.accuracy


def test_what_is_undefined_has_a_reason():
    one = separation([[1.0]], [[0.0]], [1.0], threshold=0.5)
    assert (one.cohens_d, one.auc, one.accuracy, one.polarity) == (None, 1.0, 1.0, True)
    assert "one row a class" in one.reason
    same = separation([[1.0], [1.0]], [[0.0], [0.0]], [1.0], threshold=0.5)
    assert same.cohens_d is None
    assert "nothing varies" in same.reason


@pytest.mark.parametrize(
    ("rows", "direction", "threshold", "message"),
    [
        ([[1.0, 2.0]], [1.0], 0.0, "width 2, the direction has 1"),
        ([[1.0, 2.0]], [0.0, 0.0], 0.0, "the direction is zero"),
        ([[1.0, 2.0]], [1.0, np.nan], 0.0, "direction has 1 missing"),
        ([[1.0, 2.0]], [1.0, 0.0], np.nan, "threshold must be a finite number"),
        ([[1.0, np.inf]], [1.0, 0.0], 0.0, "not finite"),
    ],
)
def test_bad_arguments_are_refused(rows, direction, threshold, message):
    with pytest.raises(ValueError, match=message):
        separation(rows, [[0.0, 0.0]], direction, threshold=threshold)
