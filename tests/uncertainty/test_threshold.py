"""The threshold that makes a class of semantic entropy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tells.uncertainty.threshold import best_split, degenerate_reason


def test_two_groups_are_parted_by_the_first_cut_between_them():
    values = [0.0, 0.0, 1.0, 1.0]
    assert best_split(values) == pytest.approx(1e-10)
    assert best_split([0.1, 0.1, 1.0, 1.0]) == pytest.approx(np.linspace(1e-10, 1.0, 100)[10])


def test_the_first_of_equal_cuts_is_taken():
    # {0} | {1, 2} and {0, 1} | {2} leave the same error of one half.
    assert best_split([0.0, 1.0, 2.0]) == pytest.approx(1e-10)


def test_a_value_on_the_cut_is_low():
    cut = np.linspace(1e-10, 1.0, 100)[50]
    split = best_split([cut, cut, 1.0, 1.0])
    assert split == cut
    assert sum(value > split for value in [cut, cut, 1.0, 1.0]) == 2


@pytest.mark.parametrize("values", [[], [0.0], [0.0, 0.0, 0.0], [0.7, 0.7], [1.0, 1.0 + 1e-13]])
def test_values_that_no_cut_parts_have_no_threshold(values):
    assert best_split(values) is None
    assert degenerate_reason(values, None)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_values_that_are_not_finite_are_refused(bad):
    with pytest.raises(ValueError, match="NaN or infinity"):
        best_split([0.0, bad])


def _by_the_letter(values):
    errors = []
    cuts = np.linspace(1e-10, max(values), 100)
    for cut in cuts:
        low = [v for v in values if v <= cut]
        high = [v for v in values if v > cut]
        sides = [sum((v - sum(s) / len(s)) ** 2 for v in s) for s in (low, high) if s]
        errors.append(sum(sides) if len(sides) == 2 else math.inf)
    return cuts, errors


@given(st.lists(st.floats(0, 3), min_size=2, max_size=20))
def test_no_cut_leaves_less_error_than_the_one_chosen(values):
    split = best_split(values)
    if split is None:
        return
    cuts, errors = _by_the_letter(values)
    chosen = errors[int(np.flatnonzero(cuts == split)[0])]
    assert chosen <= min(errors) + 1e-9
    assert 0 < sum(v > split for v in values) < len(values)


@given(st.lists(st.floats(0, 3), max_size=20), st.randoms())
def test_the_order_of_questions_does_not_matter(values, random):
    shuffled = values.copy()
    random.shuffle(shuffled)
    assert best_split(values) == best_split(shuffled)


def test_a_class_of_fewer_than_five_questions_is_degenerate_with_a_reason():
    values = [0.0] * 6 + [1.0] * 4
    assert "4 questions above" in degenerate_reason(values, best_split(values))
    values = [0.0] * 5 + [1.0] * 5
    assert degenerate_reason(values, best_split(values)) is None
