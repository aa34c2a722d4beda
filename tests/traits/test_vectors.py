"""Directions: each method agrees with an independent implementation in full width; sign, sizes and bad input."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.covariance import ledoit_wolf
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import normalize

from tells.traits.vectors import (
    Direction,
    fisher,
    massive_dimensions,
    mean_difference,
    pairwise_pca,
    probe,
    random_direction,
)

METHODS = {"mean_difference": mean_difference, "probe": probe, "pairwise_pca": pairwise_pca, "fisher": fisher}
ANY_METHOD = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)


def classes(n=20, m=20, width=50, seed=0, shift=0.5, offset=0.0):
    """Two classes that differ along the first five dimensions, of unequal spread by dimension."""
    generator = np.random.default_rng(seed)
    scale = np.geomspace(3.0, 0.3, width)
    positive, negative = (generator.normal(size=(rows, width)) * scale + offset for rows in (n, m))
    positive[:, :5] += shift
    return positive, negative


def unit(vector):
    return vector / np.linalg.norm(vector)


def dense_fisher(positive, negative):
    rows = np.concatenate([positive - positive.mean(axis=0), negative - negative.mean(axis=0)])
    covariance, shrinkage = ledoit_wolf(rows, assume_centered=True)
    return np.linalg.solve(covariance, positive.mean(axis=0) - negative.mean(axis=0)), shrinkage


@ANY_METHOD
def test_a_direction_is_a_float32_unit_vector_with_positive_rows_above(method):
    positive, negative = classes()
    direction = method(positive, negative)
    assert isinstance(direction, Direction)
    assert direction.vector.dtype == np.float32
    assert direction.vector.shape == (50,)
    assert np.linalg.norm(direction.vector.astype(float)) == pytest.approx(1.0, abs=1e-6)
    assert (positive @ direction.vector).mean() > (negative @ direction.vector).mean()
    assert METHODS[direction.method] is method
    assert direction.warnings == []
    assert (direction.diagnostics["n_positive"], direction.diagnostics["n_negative"]) == (20, 20)


@ANY_METHOD
def test_swapping_the_classes_turns_the_direction_round(method):
    positive, negative = classes(seed=3)
    there, back = method(positive, negative), method(negative, positive)
    np.testing.assert_allclose(there.vector, -back.vector, atol=1e-6)
    assert there.norm == pytest.approx(back.norm)


@ANY_METHOD
def test_the_positive_rows_lie_above_whatever_the_sign_of_an_eigenvector(method):
    for seed in range(40):
        positive, negative = classes(n=4, m=4, seed=seed, shift=0.0)
        direction = method(positive, negative).vector
        assert (positive @ direction).mean() > (negative @ direction).mean()


def test_mean_difference_is_the_difference_of_the_means():
    positive, negative = classes(n=7, m=12)
    gap = positive.mean(axis=0) - negative.mean(axis=0)
    direction = mean_difference(positive, negative)
    np.testing.assert_allclose(direction.vector, unit(gap), atol=1e-6)
    assert direction.norm == pytest.approx(np.linalg.norm(gap))


@pytest.mark.parametrize("C", [0.01, 1.0, 100.0, 1e4])
@pytest.mark.parametrize(("n", "m", "width"), [(20, 20, 60), (5, 31, 40), (60, 40, 8)])
def test_the_probe_is_that_of_scikit_learn_on_rows_of_unit_length(C, n, m, width):
    positive, negative = classes(n, m, width, seed=1)
    rows, labels = normalize(np.concatenate([positive, negative])), np.repeat([1, 0], [n, m])
    reference = LogisticRegression(C=C, tol=1e-12, max_iter=100_000, solver="newton-cholesky").fit(rows, labels)
    direction = probe(positive, negative, C=C)
    np.testing.assert_allclose(direction.vector, unit(reference.coef_[0]), atol=2e-6)
    assert direction.norm == pytest.approx(np.linalg.norm(reference.coef_), rel=1e-6)
    assert direction.diagnostics["intercept"] == pytest.approx(reference.intercept_[0], rel=1e-5, abs=1e-6)


def test_the_seed_of_the_probe_changes_nothing():
    positive, negative = classes()
    np.testing.assert_array_equal(probe(positive, negative, seed=1).vector, probe(positive, negative, seed=2).vector)


@pytest.mark.parametrize(("n", "width"), [(20, 60), (60, 20)])
def test_pairwise_pca_is_the_top_singular_vector_of_the_uncentred_differences(n, width):
    positive, negative = classes(n, n, width, seed=2)
    _, values, vectors = np.linalg.svd(positive - negative)
    direction = pairwise_pca(positive, negative)
    assert abs(direction.vector @ vectors[0]) == pytest.approx(1.0, abs=1e-6)
    assert direction.norm == pytest.approx(values[0])
    assert direction.diagnostics["share_of_squares"] == pytest.approx(values[0] ** 2 / (values**2).sum())


def test_pairwise_pca_keeps_the_mean_that_centring_would_remove():
    positive, negative = classes(n=60, m=60, shift=3.0)
    differences = positive - negative
    centred = np.linalg.svd(differences - differences.mean(axis=0))[2][0]
    mean = mean_difference(positive, negative).vector
    assert abs(pairwise_pca(positive, negative).vector @ mean) > 0.9
    assert abs(centred @ mean) < 0.5


@pytest.mark.parametrize(("n", "m", "width"), [(20, 20, 80), (3, 9, 80), (2, 1, 80), (90, 70, 10)])
@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_fisher_is_the_dense_solution_with_the_shrinkage_of_scikit_learn(n, m, width, offset):
    positive, negative = classes(n, m, width, seed=4, offset=offset)
    expected, shrinkage = dense_fisher(positive, negative)
    direction = fisher(positive, negative)
    assert direction.diagnostics["shrinkage"] == pytest.approx(shrinkage, abs=1e-7)
    np.testing.assert_allclose(direction.vector, unit(expected), atol=1e-6)
    assert direction.norm == pytest.approx(np.linalg.norm(expected), rel=1e-5)


def test_dividing_by_degrees_of_freedom_leaves_fishers_direction_as_it_is():
    positive, negative = classes(seed=5)
    rows = np.concatenate([positive - positive.mean(axis=0), negative - negative.mean(axis=0)])
    shrinkage = ledoit_wolf(rows, assume_centered=True)[1]
    pooled = rows.T @ rows / (len(rows) - 2)
    shrunk = (1 - shrinkage) * pooled + shrinkage * np.trace(pooled) / 50 * np.eye(50)
    expected = np.linalg.solve(shrunk, positive.mean(axis=0) - negative.mean(axis=0))
    np.testing.assert_allclose(fisher(positive, negative).vector, unit(expected), atol=1e-6)


def test_fisher_has_a_direction_where_the_shrinkage_is_zero():
    # Both classes vary along one line by the same step: Ledoit and Wolf see no reason to shrink, S has rank one.
    step = np.array([0.0, 1.0, 0.0])
    gap = np.array([1.0, 0.5, 0.0])
    direction = fisher([gap - step, gap + step], [-step, step])
    assert direction.diagnostics["shrinkage"] == 0.0
    np.testing.assert_allclose(direction.vector, [1.0, 0.0, 0.0], atol=1e-5)


@pytest.mark.parametrize("method", [mean_difference, probe, pairwise_pca])
def test_one_row_a_class_gives_a_direction_where_one_is_defined(method):
    direction = method([[3.0, 4.0, 0.0]], [[0.0, 4.0, 0.0]])
    expected = [1.0, 0.0, 0.0] if method is not probe else unit(np.array([0.6, 0.8 - 1.0, 0.0]))
    np.testing.assert_allclose(direction.vector, expected, atol=1e-6)


def test_fisher_says_that_it_needs_a_spread_within_a_class():
    with pytest.raises(ValueError, match="no class has two different rows"):
        fisher([[1.0, 2.0]], [[0.0, 0.0]])
    with pytest.raises(ValueError, match="no class has two different rows"):
        fisher([[1.1, 2.3]] * 5, [[0.3, 0.7]] * 5)


@ANY_METHOD
def test_identical_classes_have_no_direction(method):
    rows = classes()[0]
    for offset in (0.0, 1e4):
        with pytest.raises(ValueError, match="mean of the positive rows equals"):
            method(rows + offset, (rows + offset)[::-1])
    with pytest.raises(ValueError, match="mean of the positive rows equals"):
        method(np.zeros((3, 4)), np.zeros((3, 4)))


def test_a_probe_of_classes_that_differ_in_length_alone_has_no_direction():
    rows = classes()[0]
    with pytest.raises(ValueError, match="every row has length 1"):
        probe(2.0 * rows, rows)


@ANY_METHOD
@pytest.mark.parametrize(
    ("positive", "negative", "message"),
    [
        (np.zeros((0, 3)), np.ones((2, 3)), r"positive has shape \[0, 3\]"),
        (np.ones((2, 3)), np.zeros((0, 3)), r"negative has shape \[0, 3\]"),
        (np.ones((2, 3)), np.ones((2, 4)), "width 3, negative rows 4"),
        (np.ones(3), np.ones((2, 3)), r"positive must have two dimensions"),
        (np.ones((2, 3)), np.array([[1.0, 2.0, 3.0], [1.0, np.nan, 3.0]]), r"negative has 1 row\(s\).*row 1"),
        (np.array([[70000.0, 1.0]]).astype(np.float32), np.array([[np.inf, 1.0]]), "negative has 1 row"),
    ],
)
def test_bad_rows_are_refused_with_a_place(method, positive, negative, message):
    with pytest.raises(ValueError, match=message):
        method(positive, negative)


def test_pairs_must_be_complete():
    with pytest.raises(ValueError, match="got 3 and 2"):
        pairwise_pca(np.eye(3), np.eye(3)[:2])


@pytest.mark.parametrize("C", [0.0, -1.0, np.nan, np.inf])
def test_the_penalty_of_a_probe_must_be_positive(C):
    with pytest.raises(ValueError, match="C must be positive"):
        probe(*classes(), C=C)


@ANY_METHOD
def test_half_precision_is_computed_in_double_precision(method):
    positive, negative = (rows.astype(np.float16) for rows in classes(offset=3.0))
    direction = method(positive, negative)
    exact = method(positive.astype(np.float64), negative.astype(np.float64))
    np.testing.assert_array_equal(direction.vector, exact.vector)
    unrounded = method(*classes(offset=3.0))
    assert direction.vector @ unrounded.vector > 0.999


@ANY_METHOD
def test_rows_rounded_to_bfloat16_give_nearly_the_same_direction(method):
    def rounded(rows):
        return (rows.astype(np.float32).view(np.uint32) + 0x8000 & 0xFFFF0000).view(np.float32)

    positive, negative = classes()
    assert not np.array_equal(rounded(positive), positive.astype(np.float32))
    assert method(rounded(positive), rounded(negative)).vector @ method(positive, negative).vector > 0.999


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 12), st.integers(1, 30), st.integers(0, 10_000), st.sampled_from(list(METHODS)))
def test_turning_the_activations_turns_the_direction(n, width, seed, name):
    positive, negative = classes(n, n, width, seed=seed)
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(width, width)))[0]
    turned = METHODS[name](positive @ turn, negative @ turn).vector
    np.testing.assert_allclose(turned, METHODS[name](positive, negative).vector @ turn, atol=2e-4)


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 12), st.integers(0, 10_000), st.sampled_from(["mean_difference", "pairwise_pca", "fisher"]))
def test_moving_and_scaling_both_classes_leaves_the_direction(n, seed, name):
    positive, negative = classes(n, n, 30, seed=seed)
    moved = METHODS[name](positive * 40.0 + 1000.0, negative * 40.0 + 1000.0).vector
    np.testing.assert_allclose(moved, METHODS[name](positive, negative).vector, atol=1e-4)


def test_a_massive_dimension_of_activations_and_direction_is_named():
    positive, negative = classes(offset=1.0)
    positive[:, 17] += 4000.0
    negative[:, 17] += 3000.0
    direction = mean_difference(positive, negative)
    assert direction.diagnostics["activations"]["dimension"] == 17
    assert direction.diagnostics["activations"]["ratio"] > 1000
    assert direction.diagnostics["direction"]["share"] > 0.99
    said = " / ".join(direction.warnings)
    assert "dimension 17 of the activations is" in said
    assert "dimension 17 holds 100% of the squared norm of the direction" in said


def test_massive_dimensions_are_measured_by_mean_over_median_and_share_of_squares():
    figures, warnings = massive_dimensions([1.0, -1.0, 1.0, -99.0, 1.0], "it")
    assert figures == {"dimension": 3, "ratio": 99.0, "share": 9801 / 9805}
    assert warnings == ["dimension 3 holds 100% of the squared norm of it"]
    figures, warnings = massive_dimensions(np.r_[np.ones(99_999), 101.0], "it")
    assert figures["share"] < 0.8
    assert warnings == ["dimension 99999 of it is 101 times the median dimension"]
    assert massive_dimensions([0.0, 0.0, 0.0], "it") == ({"dimension": 0, "ratio": None, "share": None}, [])
    assert massive_dimensions([2.0], "it")[1] == []


def test_random_directions_are_unit_vectors_that_hang_on_the_seed_alone():
    draws = np.stack([random_direction(400, seed=seed).vector for seed in range(50)])
    np.testing.assert_allclose(np.linalg.norm(draws, axis=1), 1.0, atol=1e-6)
    np.testing.assert_array_equal(draws[7], random_direction(400, seed=7).vector)
    cosines = (draws @ draws.T)[~np.eye(50, dtype=bool)]
    assert np.abs(cosines).max() < 0.3
    assert cosines.std() == pytest.approx(1 / 20, rel=0.1)
    with pytest.raises(ValueError, match="width must be at least 1"):
        random_direction(0, seed=0)
