"""The guard against measures that a constant classifier would reach."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, balanced_accuracy_score, f1_score

from tells.safety.constant_classifier import guard

TRUTH = np.repeat([0, 1], [95, 5])


@pytest.mark.parametrize("constant", [0, 1])
def test_a_constant_classifier_triggers_the_guard(constant: int):
    found = guard(TRUTH, np.full(100, constant))
    assert found.accuracy == (0.95 if constant == 0 else 0.05)
    assert found.balanced_accuracy == 0.5
    assert found.average_precision == pytest.approx(0.05)
    assert "accuracy 0.950" in found.warning
    assert "balanced_accuracy 0.500" in found.warning


def test_high_accuracy_below_the_constants_is_called_what_it_is():
    predicted = TRUTH.copy()
    predicted[:4], predicted[-2:] = 1, 0
    found = guard(TRUTH, predicted)
    assert found.accuracy == pytest.approx(0.94)
    assert found.constant_accuracy == 0.95
    assert "a constant classifier would reach accuracy 0.950 (here 0.940)" in found.warning
    # It does see the rare class, which the other measures show.
    assert "balanced_accuracy" not in found.warning
    assert found.balanced_accuracy > 0.75


def test_a_good_classifier_passes():
    predicted = TRUTH.copy()
    predicted[-1] = 0
    found = guard(TRUTH, predicted, np.linspace(0, 1, 100))
    assert found.warning is None
    assert found.reason is None
    assert found.average_precision == 1.0


def test_measures_are_those_of_scikit_learn():
    generator = np.random.default_rng(0)
    truth, score = generator.integers(0, 2, 200), generator.random(200)
    predicted = (score > 0.6).astype(int)
    found = guard(truth, predicted, score)
    assert found.balanced_accuracy == pytest.approx(balanced_accuracy_score(truth, predicted))
    assert found.f1 == pytest.approx(f1_score(truth, predicted))
    assert found.average_precision == pytest.approx(average_precision_score(truth, score))
    assert found.constant_f1 == pytest.approx(f1_score(truth, np.ones(200)))


def test_one_class_leaves_measures_undefined_with_a_reason():
    found = guard([0, 0], [0, 0])
    assert found.balanced_accuracy is None
    assert found.f1 is None
    assert found.average_precision is None
    assert found.reason == "one class only: all 2 rows are 0"
    assert found.warning is not None
    assert guard([], []).reason == "no rows"
    assert guard([], []).accuracy is None


def test_labels_are_0_and_1():
    with pytest.raises(ValueError, match="truth must hold 0 and 1"):
        guard([2], [0])
    with pytest.raises(ValueError, match="as many rows"):
        guard([1, 0], [1])
