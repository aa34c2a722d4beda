"""AURAC and prediction rejection ratio: the published sum, worked values, ties."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tells.stats import aurac, prediction_rejection_ratio

rows = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 4)), min_size=1, max_size=40)


def published_aurac(y, uncertainty):
    y, uncertainty = np.asarray(y, float), np.asarray(uncertainty, float)
    total = 0.0
    for q in np.linspace(0.1, 1, 20):
        total += np.mean(y[uncertainty <= np.quantile(uncertainty, q)]) * 0.9 / 19
    return total


def test_the_published_aurac_of_a_model_that_is_always_right_is_0_947368():
    always_right = [1] * 50
    assert aurac(always_right, range(50), reference=True) == pytest.approx(0.947368, abs=5e-7)
    assert aurac(always_right, range(50), reference=True) == pytest.approx(18 / 19, abs=1e-12)
    assert aurac(always_right, range(50)) == pytest.approx(1.0, abs=1e-12)
    assert aurac([0] * 50, range(50)) == 0.0
    assert aurac([], []) is None


@settings(max_examples=150, deadline=None)
@given(rows)
def test_aurac_is_the_published_sum_also_with_ties(table):
    y, uncertainty = [row[0] for row in table], [row[1] for row in table]
    reference = aurac(y, uncertainty, reference=True)
    assert reference == pytest.approx(published_aurac(y, uncertainty), abs=1e-12)
    assert aurac(y, uncertainty) == pytest.approx(reference / (18 / 19), abs=1e-12)


def test_aurac_is_larger_for_the_better_uncertainty():
    y = [1] * 10 + [0] * 10
    assert aurac(y, range(20)) > aurac(y, [0] * 20) > aurac(y, range(20, 0, -1))
    assert aurac(y, [0] * 20) == pytest.approx(0.5)


def literal_area(y, order, rejections):
    n = len(y)
    ordered = np.asarray(y, float)[order]
    return np.mean([ordered[:i].mean() for i in range(n - rejections + 1, n + 1)])


@pytest.mark.parametrize("max_rejection", [1.0, 0.5, 0.3])
def test_prr_without_ties_is_its_definition(max_rejection):
    generator = np.random.default_rng(5)
    y, uncertainty = generator.integers(0, 2, 20), generator.permutation(20)
    r = int(max_rejection * 20)
    chance = y.mean()
    oracle = literal_area(y, np.argsort(-y, kind="stable"), r)
    by_uncertainty = literal_area(y, np.argsort(uncertainty), r)
    expected = (by_uncertainty - chance) / (oracle - chance)
    value = prediction_rejection_ratio(y, uncertainty, max_rejection=max_rejection)
    assert value == pytest.approx(expected, abs=1e-12)


def test_prr_worked_by_hand():
    # y by certainty 1, 0: A_u = (1 + 1/2) / 2 = 3/4 = A_oracle, A_random = 1/2.
    assert prediction_rejection_ratio([1, 0], [0, 1]) == pytest.approx(1.0)
    # The other way round: A_u = (0 + 1/2) / 2 = 1/4.
    assert prediction_rejection_ratio([1, 0], [1, 0]) == pytest.approx(-1.0)
    # 1, 1/2, 1/2 after sharing the tie: A_u = (1 + 3/4 + 2/3) / 3; oracle (1 + 1 + 2/3) / 3.
    expected = ((1 + 0.75 + 2 / 3) / 3 - 2 / 3) / ((2 + 2 / 3) / 3 - 2 / 3)
    assert prediction_rejection_ratio([1, 1, 0], [0, 1, 1]) == pytest.approx(expected)


def test_prr_of_a_constant_uncertainty_is_zero_in_every_row_order():
    generator = np.random.default_rng(1)
    for _ in range(20):
        y = generator.permutation([1] * 7 + [0] * 5)
        assert prediction_rejection_ratio(y, [3.0] * 12) == pytest.approx(0.0, abs=1e-12)


@settings(max_examples=150, deadline=None)
@given(rows, st.randoms(use_true_random=False), st.sampled_from([1.0, 0.5]))
def test_prr_does_not_depend_on_the_order_of_tied_rows(table, random, max_rejection):
    shuffled = list(table)
    random.shuffle(shuffled)
    values = [
        prediction_rejection_ratio([r[0] for r in t], [r[1] for r in t], max_rejection=max_rejection)
        for t in (table, shuffled)
    ]
    assert (values[0] is None) == (values[1] is None)
    if values[0] is not None:
        assert values[0] == pytest.approx(values[1], abs=1e-9)
        assert values[0] <= 1 + 1e-9


def test_prr_is_none_where_the_oracle_gains_nothing():
    assert prediction_rejection_ratio([1, 1, 1], [1, 2, 3]) is None
    assert prediction_rejection_ratio([0, 0, 0], [1, 2, 3]) is None
    assert prediction_rejection_ratio([0.3, 0.3, 0.3], [1, 2, 3]) is None
    assert prediction_rejection_ratio([], []) is None
    # r = 1: only the area of all rows, the same for every order; r = 0: no area.
    assert prediction_rejection_ratio([1, 0, 1, 0], [1, 2, 3, 4], max_rejection=0.25) is None
    assert prediction_rejection_ratio([1, 0], [1, 2], max_rejection=0.25) is None


def test_prr_and_aurac_refuse_what_they_cannot_read():
    with pytest.raises(ValueError, match="max_rejection"):
        prediction_rejection_ratio([1, 0], [1, 2], max_rejection=0.0)
    with pytest.raises(ValueError, match="between 0 and 1"):
        aurac([1, 2], [1, 2])
    with pytest.raises(ValueError, match="row 1"):
        prediction_rejection_ratio([1, 0], [1, float("inf")])
