"""Curves: against scikit-learn and the areas they belong to, and bands that hold what they should."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from tells.stats import auroc, average_precision, clustered_mean_ci, ece
from tells.stats.curves import precision_recall_curve, rejection_curve, reliability_curve, roc_curve

CURVES = (roc_curve, precision_recall_curve, reliability_curve, rejection_curve)


def rows(n: int = 240, *, seed: int = 0, ties: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, probabilities that tell them somewhat, and groups of four."""
    generator = np.random.default_rng(seed)
    y = (generator.random(n) < 0.4).astype(float)
    score = 1 / (1 + np.exp(-(generator.normal(size=n) + 1.5 * y - 1)))
    return y, np.round(score, 1) if ties else score, np.arange(n) // 4


@pytest.mark.parametrize("ties", [False, True])
def test_roc_is_that_of_sklearn_and_its_area_the_auroc(ties):
    y, score, groups = rows(ties=ties)
    curve = roc_curve(y, score, groups, points=2001, n=2)
    false, true, _ = sklearn_metrics.roc_curve(y, score, drop_intermediate=False)
    inside = np.setdiff1d(curve.x, false)
    assert np.allclose(curve.y[np.isin(curve.x, inside)], np.interp(inside, false, true), atol=1e-9)
    assert curve.y[-1] == 1.0
    assert np.trapezoid(curve.y, curve.x) == pytest.approx(auroc(y, score), abs=2e-3)


def test_where_a_roc_stands_upright_the_upper_end_is_read():
    curve = roc_curve([1, 1, 0, 1, 0], [5, 4, 3, 2, 1], [0, 1, 2, 3, 4], points=5, n=2)
    assert curve.y.tolist() == pytest.approx([2 / 3, 2 / 3, 1.0, 1.0, 1.0])


@pytest.mark.parametrize("ties", [False, True])
def test_precision_is_that_of_the_highest_threshold_that_reaches_the_recall(ties):
    y, score, groups = rows(ties=ties)
    curve = precision_recall_curve(y, score, groups, points=50, n=2)
    for recall, found in zip(curve.x, curve.y, strict=True):
        thresholds = [each for each in np.unique(score) if y[score >= each].sum() / y.sum() >= recall - 1e-12]
        assert found == pytest.approx(y[score >= max(thresholds)].mean())
    n = int(y.sum())
    assert precision_recall_curve(y, score, groups, points=n, n=2).y.mean() == pytest.approx(
        average_precision(y, score)
    )


def test_gaps_of_the_reliability_curve_make_up_the_calibration_error():
    y, p, groups = rows(ties=True)
    curve = reliability_curve(y, p, groups, n=2)
    assert (np.abs(curve.y - curve.x) * curve.rows).sum() / y.size == pytest.approx(ece(y, p))
    assert curve.rows.sum() == y.size
    assert (curve.rows > 0).all()


def test_rejection_keeps_the_most_certain_and_ends_at_the_accuracy_of_all():
    curve = rejection_curve([1, 1, 0, 1, 0, 0, 0, 0, 1, 0], -np.arange(10, 0, -1.0), np.arange(10), points=5, n=2)
    assert curve.x.tolist() == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert curve.y.tolist() == pytest.approx([1.0, 0.75, 0.5, 3 / 8, 0.4])
    assert curve.rows.tolist() == [2, 4, 6, 8, 10]
    tied = rejection_curve([1, 0, 1, 0], [1, 1, 1, 1], np.arange(4), points=4, n=2)
    assert tied.y.tolist() == pytest.approx([0.5] * 4)


@pytest.mark.parametrize("curve", CURVES)
@given(seed=st.integers(0, 50))
@settings(max_examples=10, deadline=None)
def test_the_order_of_rows_changes_nothing(curve, seed: int):
    y, score, groups = rows(60, seed=seed, ties=True)
    shuffled = np.random.default_rng(seed).permutation(60)
    one, other = (curve(*each, n=20) for each in ((y, score, groups), (y[shuffled], score[shuffled], groups[shuffled])))
    for name in ("x", "y", "low", "high", "rows"):
        assert np.allclose(getattr(one, name), getattr(other, name), equal_nan=True)


@pytest.mark.parametrize("curve", CURVES)
def test_a_band_lies_around_its_curve_and_draws_groups(curve):
    y, score, _ = rows(400)
    single, together = np.arange(400), np.argsort(np.argsort(y, kind="stable")) // 20
    narrow, wide = curve(y, score, single), curve(y, score, together)
    for one in (narrow, wide):
        assert (one.low <= one.y + 0.1).all()
        assert (one.high >= one.y - 0.1).all()
        assert (one.low <= one.high).all()
        assert not np.isnan(one.low).any()
    assert (wide.n_groups, narrow.n_groups) == (20, 400)
    assert np.mean(wide.high - wide.low) > np.mean(narrow.high - narrow.low)


def test_the_band_of_all_rows_is_the_interval_of_the_mean():
    y, score, groups = rows()
    curve = rejection_curve(y, -score, groups, n=300, seed=3)
    interval = clustered_mean_ci(y, groups, n=300, seed=3)
    assert (curve.y[-1], curve.low[-1], curve.high[-1]) == pytest.approx(
        (interval.estimate, interval.low, interval.high)
    )


def test_the_band_covers_the_truth_at_about_its_level():
    # Scores of two normal distributions: sensitivity at a false-positive rate of 0.2 is known.
    truth = 0.5 * (1 + _error_function((-0.8416212 + 1.0) / np.sqrt(2)))
    covered = 0
    for seed in range(120):
        generator = np.random.default_rng(seed)
        y = np.tile([0.0, 1.0], 100)
        curve = roc_curve(y, generator.normal(size=200) + y, np.arange(200), points=6, n=200, seed=seed)
        covered += curve.low[1] <= truth <= curve.high[1]
    assert 0.88 <= covered / 120 <= 0.99


def _error_function(x: float) -> float:
    from math import erf

    return erf(x)


@pytest.mark.parametrize("curve", [roc_curve, precision_recall_curve])
def test_without_both_classes_there_is_no_curve(curve):
    assert curve([1, 1], [0.1, 0.2], [0, 1]) is None


@pytest.mark.parametrize("curve", CURVES)
def test_no_rows_no_curve_and_one_group_no_band(curve):
    assert curve([], [], []) is None
    alone = curve([0, 1, 1], [0.1, 0.7, 0.4], ["a", "a", "a"])
    assert np.isnan(alone.low).all()
    assert np.isnan(alone.high).all()
    assert not np.isnan(alone.y).any()


def test_draws_without_a_class_leave_no_band_where_they_are_many():
    curve = roc_curve([1, 0, 0], [0.9, 0.2, 0.1], [0, 1, 2], n=200)
    assert np.isnan(curve.low).all()


def test_a_probability_beyond_one_is_refused():
    with pytest.raises(ValueError, match="between 0 and 1"):
        reliability_curve([0, 1], [0.2, 1.2], [0, 1])
