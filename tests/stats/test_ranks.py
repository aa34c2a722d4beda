"""Mid-ranks are those of SciPy, for vectors and for columns."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata

from tells.stats.ranks import mid_ranks


@given(st.lists(st.sampled_from([-1.5, -0.0, 0.0, 1.0, 2.0, 3.5, float("inf")]), min_size=1, max_size=30))
def test_ranks_of_a_vector_are_those_of_scipy(values):
    assert np.array_equal(mid_ranks(np.array(values)), rankdata(values))


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (17, 5), (40, 1)])
@pytest.mark.parametrize("kinds", [2, 5, 10_000])
def test_ranks_of_columns_are_those_of_scipy(shape, kinds):
    values = np.random.default_rng(kinds).integers(0, kinds, shape)
    assert np.array_equal(mid_ranks(values), rankdata(values, axis=0))


def test_ties_share_the_mean_of_their_ranks():
    assert mid_ranks(np.array([3.0, 1.0, 3.0, 2.0])).tolist() == [3.5, 1.0, 3.5, 2.0]


@pytest.mark.parametrize("shape", [(0,), (0, 4)])
def test_nothing_has_no_ranks(shape):
    assert mid_ranks(np.zeros(shape)).shape == shape
