"""Held-out quality: splits by pair, honest figures of a choice, intervals that cover zero when there is nothing."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.stats import binom

from tells.stats import auroc, bootstrap_ci, spearman
from tells.traits.metrics import choose_threshold, cohens_d, separation
from tells.traits.pair_bootstrap import PairBootstrap, expanded_level
from tells.traits.pair_design import design
from tells.traits.quality import NESTED_WIDENING, cosine_matrix, measure_quality
from tells.traits.vectors import fisher, mean_difference, pairwise_pca, probe

METHODS = {"mean_difference": mean_difference, "probe": probe, "pairwise_pca": pairwise_pca, "fisher": fisher}


def study(n_pairs, layers=3, width=24, seed=0, effect=0.0, effect_layer=1, shuffled=False):
    """One positive and one negative row a pair, with a topic that both share; an effect in one layer."""
    generator = np.random.default_rng(seed)
    scale = np.r_[np.full(4, 3.0), np.ones(width - 4)]
    topic = np.repeat(generator.normal(size=(n_pairs, layers, width)), 2, axis=0)
    states = (generator.normal(size=(2 * n_pairs, layers, width)) + topic) * scale
    polarity = np.tile([True, False], n_pairs)
    states[polarity, effect_layer, 4:10] += effect
    if shuffled:
        polarity ^= np.repeat(generator.random(n_pairs) < 0.5, 2)
    pairs = np.repeat([f"pair-{i:03d}" for i in range(n_pairs)], 2)
    return states, polarity, pairs, generator.integers(5, 30, 2 * n_pairs)


def measure(*arguments, **options):
    return measure_quality(*arguments, **{"random_draws": 20, "bootstrap_draws": 300, **options})


def held_out(n_pairs, seed, **options):
    """The measurement of pairs whose labels are shuffled."""
    return measure(*study(n_pairs, layers=3, width=16, seed=seed, shuffled=True), seed=seed, **options)


def covers(hits, tries):
    """Does so many hits agree with a coverage of 95%? Two-sided, at 1 in 1000."""
    return binom.ppf(0.0005, tries, 0.95) <= hits <= tries


@pytest.mark.parametrize("n_pairs", [100, 132, 1000])
def test_a_split_holds_six_two_and_two_tenths_of_the_pairs_and_parts_no_pair(n_pairs):
    pairs = np.tile([f"p{i}" for i in range(n_pairs)], 2)
    plan = design(pairs, seed=3)
    assert (plan.kind, plan.fitted_on) == ("split", "training pairs")
    sides = [set(pairs[part]) for part in (plan.fit, plan.validation, plan.test)]
    assert sorted(np.concatenate([plan.fit, plan.validation, plan.test])) == list(range(2 * n_pairs))
    assert sum(map(len, sides)) == n_pairs == len(set.union(*sides))
    assert [len(side) for side in sides] == pytest.approx([0.6 * n_pairs, 0.2 * n_pairs, 0.2 * n_pairs], abs=1)
    assert set(pairs[design(pairs, seed=4).test]) != sides[2]
    assert set(pairs[::-1][design(pairs[::-1], seed=3).test]) == sides[2]


@pytest.mark.parametrize("n_pairs", [10, 33, 99])
def test_nested_folds_hold_every_pair_out_once_and_inner_folds_stay_within_the_others(n_pairs):
    pairs = np.repeat([f"p{i}" for i in range(n_pairs)], 2)
    plan = design(pairs, seed=0)
    assert (plan.kind, plan.fitted_on, len(plan.folds)) == ("nested", "all pairs", 5)
    assert sorted(np.concatenate([fold.held for fold in plan.folds])) == list(range(2 * n_pairs))
    for fold in plan.folds:
        assert not set(pairs[fold.fit]) & set(pairs[fold.held])
        assert sorted(np.concatenate([fold.fit, fold.held])) == list(range(2 * n_pairs))
        assert sorted(np.concatenate([held for _, held in fold.inner])) == sorted(fold.fit)
        for fit, held in fold.inner:
            assert sorted(np.concatenate([fit, held])) == sorted(fold.fit)
            assert not set(pairs[fit]) & set(pairs[held])


def test_intervals_are_those_of_the_grouped_bootstrap_at_the_expanded_level():
    generator = np.random.default_rng(0)
    number, positive = np.repeat(np.arange(15), 2), np.tile([True, False], 15)
    number, positive = np.r_[number, 3, 3, 7], np.r_[positive, True, False, True]
    score = np.round(generator.normal(size=33) + positive, 1)
    fast = PairBootstrap(positive, number, draws=200, seed=5, level=0.9)
    for metric, found in ((auroc, fast.auc(score)), (lambda y, s: cohens_d(s[y == 1], s[y == 0]), fast.effect(score))):
        slow = bootstrap_ci(metric, positive, score, number, n=200, seed=5, level=expanded_level(0.9, 15))
        assert (found.low, found.high) == pytest.approx((slow.low, slow.high))
        assert (found.estimate, found.n_groups, found.level) == (slow.estimate, 15, 0.9)


def test_the_expanded_level_replaces_the_normal_by_students_t():
    assert expanded_level(0.95, 10_000) == pytest.approx(0.95, abs=1e-3)
    # 2.262 sqrt(10/9) = 2.385 standard deviations, worked from tables of t with 9 degrees of freedom.
    assert expanded_level(0.95, 10) == pytest.approx(0.98289, abs=2e-4)


def test_a_widened_interval_moves_its_ends_away_from_the_estimate():
    score, positive, number = np.random.default_rng(1).normal(size=40), np.tile([True, False], 20), np.arange(40) // 2
    plain = PairBootstrap(positive, number, draws=200, seed=0).effect(score)
    wide = PairBootstrap(positive, number, draws=200, seed=0, widen=1.5).effect(score)
    assert wide.low == pytest.approx(plain.estimate + 1.5 * (plain.low - plain.estimate))
    assert wide.high == pytest.approx(plain.estimate + 1.5 * (plain.high - plain.estimate))
    assert NESTED_WIDENING == 1.5
    auc = PairBootstrap(positive, number, draws=200, seed=0, widen=50.0).auc(score)
    assert (auc.low, auc.high) == (0.0, 1.0)


@pytest.mark.parametrize("n_pairs", [100, 30])
def test_directions_and_split_figures_are_those_of_the_public_functions(n_pairs):
    states, polarity, pairs, lengths = study(n_pairs, effect=0.6)
    quality = measure(states, polarity, pairs, lengths, layers=[4, 8, 9], methods=list(METHODS), seed=2)
    plan = design(pairs, seed=2)
    assert [(r.method, r.layer) for r in quality.records] == [(m, layer) for m in METHODS for layer in (4, 8, 9)]
    for record in quality.records:
        layer = states[:, [4, 8, 9].index(record.layer)]
        above, below = plan.fit[polarity[plan.fit]], plan.fit[~polarity[plan.fit]]
        direction = METHODS[record.method](layer[above], layer[below])
        np.testing.assert_allclose(record.direction.vector, direction.vector, atol=1e-5)
        assert record.direction.norm == pytest.approx(direction.norm)
        threshold = choose_threshold(layer[above] @ direction.vector, layer[below] @ direction.vector)
        parts = {"train": plan.fit, "validation": plan.validation, "test": plan.test}
        for name, part in parts.items() if n_pairs == 100 else [("train", plan.fit)]:
            rows, figures = layer[part], getattr(record, name)
            found = separation(rows[polarity[part]], rows[~polarity[part]], direction, threshold=threshold)
            for figure in ("cohens_d", "hedges_g", "auc", "accuracy"):
                assert getattr(figures, figure) == pytest.approx(getattr(found, figure), abs=1e-4)
            assert (figures.polarity, figures.n_pairs) == (found.polarity, len(part) // 2)
        if n_pairs == 100:
            expected = spearman(lengths[plan.test], layer[plan.test] @ direction.vector)
            assert record.length_correlation == pytest.approx(expected, abs=1e-3)
            assert record.cross_validated is None
            assert record.fitted_on == "training pairs"
        else:
            assert record.validation is record.test is None
            assert record.fitted_on == "all pairs"


def test_the_choice_has_the_largest_validation_effect_and_is_judged_on_test():
    quality = measure(*study(120, effect=0.8), layers=[3, 6, 9])
    effects = [record.validation.cohens_d for record in quality.records]
    assert quality.chosen is quality.records[int(np.argmax(effects))]
    assert quality.chosen.layer == 6
    assert quality.held_out.figures == quality.chosen.test
    assert quality.held_out.figures.cohens_d_low > quality.held_out.null_band.cohens_d > 0
    assert quality.held_out.figures.auc > quality.held_out.null_band.auc > 0.5
    assert quality.held_out.outer_choices == ()


def test_nested_figures_find_a_real_effect_and_its_layer():
    quality = measure(*study(40, effect=1.0), layers=[3, 6, 9])
    assert (quality.kind, quality.chosen.layer) == ("nested", 6)
    assert {layer for _, layer in quality.held_out.outer_choices} == {6}
    figures = quality.held_out.figures
    assert (figures.n_pairs, figures.n_positive, figures.n_negative) == (40, 40, 40)
    assert figures.cohens_d_low > 0.5
    assert figures.accuracy > 0.75
    assert quality.chosen.train.cohens_d > quality.chosen.cross_validated.cohens_d


def test_nested_projections_of_layers_of_other_scales_are_pooled_on_one():
    states, polarity, pairs, lengths = study(40, effect=0.9, layers=2, effect_layer=0)
    states[polarity, 1, 4:10] += 0.9
    methods = ["mean_difference", "fisher"]
    plain = measure(states, polarity, pairs, lengths, methods=methods)
    assert {layer for _, layer in plain.held_out.outer_choices} == {0, 1}
    # A layer a thousand times larger and far from the origin changes no figure.
    states[:, 1] = states[:, 1] * 1000.0 + 500.0
    scaled = measure(states, polarity, pairs, lengths, methods=methods)
    for figure in ("cohens_d", "cohens_d_low", "auc", "auc_high", "accuracy"):
        expected = getattr(plain.held_out.figures, figure)
        assert getattr(scaled.held_out.figures, figure) == pytest.approx(expected)
    assert scaled.held_out.null_band.cohens_d == pytest.approx(plain.held_out.null_band.cohens_d)
    assert plain.held_out.figures.cohens_d > 0.8


@pytest.mark.parametrize(("n_pairs", "tries"), [(100, 80), (14, 60)])
def test_with_shuffled_labels_the_interval_of_the_choice_covers_nothing_as_often_as_it_says(n_pairs, tries):
    found = [held_out(n_pairs, seed, methods=["mean_difference", "fisher"]) for seed in range(tries)]
    figures = [quality.held_out.figures for quality in found]
    assert {quality.kind for quality in found} == {"split" if n_pairs == 100 else "nested"}
    assert covers(sum(f.cohens_d_low <= 0 <= f.cohens_d_high for f in figures), tries)
    assert covers(sum(f.auc_low <= 0.5 <= f.auc_high for f in figures), tries)
    records = [quality.records[0] for quality in found]
    single = [record.test or record.cross_validated for record in records]
    assert covers(sum(f.cohens_d_low <= 0 <= f.cohens_d_high for f in single), tries)
    # The trap: the best of six on the pairs that chose it looks like an effect; on other pairs it is none.
    naive = np.array([quality.chosen.selection.cohens_d for quality in found])
    honest = np.array([f.cohens_d for f in figures])
    assert naive.mean() > 0.2
    assert abs(honest.mean()) < 4 * honest.std() / np.sqrt(tries)
    assert naive.mean() > 5 * abs(honest.mean())


def test_the_random_band_is_where_effects_of_shuffled_labels_lie():
    inside = 0
    for seed in range(40):
        quality = measure(
            *study(100, layers=1, width=16, seed=seed, shuffled=True, effect_layer=0), methods=["mean_difference"]
        )
        record = quality.records[0]
        assert 0.1 < record.null_band.cohens_d < 1.5
        assert 0.5 < record.null_band.auc < 0.85
        inside += abs(record.test.cohens_d) <= record.null_band.cohens_d
    # A band of 20 draws on one sample of rows is itself random; 95% on average.
    assert inside >= 30


def test_a_direction_that_measures_length_is_told_by_its_correlation():
    states, polarity, pairs, lengths = study(100, effect=1.5)
    measured = measure(states, polarity, pairs, np.where(polarity, 40, 20) + lengths / 10)
    assert measured.held_out.length_correlation > 0.5
    assert abs(measure(states, polarity, pairs, lengths).held_out.length_correlation) < 0.4


def test_the_order_of_rows_and_half_precision_change_little():
    states, polarity, pairs, lengths = study(60, effect=0.7)
    straight = measure(states, polarity, pairs, lengths)
    mixed = np.random.default_rng(0).permutation(len(pairs))
    other = measure(states[mixed], polarity[mixed], pairs[mixed], lengths[mixed])
    assert other.held_out.figures.cohens_d == pytest.approx(straight.held_out.figures.cohens_d, abs=1e-6)
    assert other.held_out.figures.cohens_d_low == pytest.approx(straight.held_out.figures.cohens_d_low, abs=1e-6)
    half = measure(states.astype(np.float16), polarity, pairs, lengths)
    assert half.held_out.figures.cohens_d == pytest.approx(straight.held_out.figures.cohens_d, abs=0.02)


def test_equal_work_gives_equal_figures():
    first, second = (measure(*study(30, effect=0.5), seed=4).summary() for _ in range(2))
    assert first == second
    assert json.loads(json.dumps(first, allow_nan=False))["kind"] == "nested"


def test_too_few_pairs_have_vectors_and_a_reason_but_no_choice():
    quality = measure(*study(9))
    assert (quality.kind, quality.chosen, quality.held_out) == ("none", None, None)
    assert quality.reason == "9 pairs: at least 10 are needed to hold any out"
    for record in quality.records:
        assert record.direction is not None
        assert record.train.cohens_d > 0
        assert record.selection is None
        assert record.reason == quality.reason
        json.dumps(record.row(), allow_nan=False)
    assert measure(*study(10)).held_out is not None


def test_a_layer_without_a_direction_has_a_reason_and_does_not_stop_the_others():
    for n_pairs in (100, 20):
        states, polarity, pairs, lengths = study(n_pairs, effect=1.0)
        states[:, 0] = 1.5
        quality = measure(states, polarity, pairs, lengths)
        assert quality.chosen.layer == 1
        record = quality.record("fisher", 0)
        assert record.direction is record.train is record.selection is None
        assert "mean of the positive rows equals" in record.reason
        assert quality.record("fisher", 1).reason is None


def test_rows_that_lost_their_partner_still_count():
    states, polarity, pairs, lengths = study(110, effect=1.0)
    kept = np.delete(np.arange(220), [0, 13, 100])
    quality = measure(states[kept], polarity[kept], pairs[kept], lengths[kept], methods=list(METHODS))
    assert quality.n_pairs == 110
    assert quality.held_out.figures.cohens_d_low > 0
    figures = quality.chosen
    assert figures.train.n_positive + figures.validation.n_positive + figures.test.n_positive == 108


def test_a_row_is_flat_and_holds_every_figure():
    row = measure(*study(100), layers=[1, 2, 5]).records[4].row()
    assert (row["method"], row["layer"], row["fitted_on"]) == ("probe", 2, "training pairs")
    assert row["test_cohens_d_low"] < row["test_cohens_d"] < row["test_cohens_d_high"]
    assert row["cross_validated_auc"] is None
    assert all(not isinstance(value, dict) for value in row.values())


def test_cosines_between_traits_are_symmetric_with_ones_on_the_diagonal():
    found = cosine_matrix({"a": [1.0, 0.0], "b": [3.0, 4.0], "c": [0.0, -2.0]})
    assert found["a"] == pytest.approx({"a": 1.0, "b": 0.6, "c": 0.0})
    assert found["c"]["b"] == found["b"]["c"] == pytest.approx(-0.8)
    assert found["b"]["b"] == 1.0
    with pytest.raises(ValueError, match="widths 2, 3"):
        cosine_matrix({"a": [1.0, 0.0], "b": [1.0, 0.0, 0.0]})
    with pytest.raises(ValueError, match="zero"):
        cosine_matrix({"a": [0.0, 0.0]})


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({0: np.zeros((60, 24))}, {}, r"\[rows, layers, width\]"),
        ({1: np.ones(60, dtype=bool)}, {}, "60 of 60 rows are positive"),
        ({1: np.full(60, 2.0)}, {}, "0 and 1 only"),
        ({2: ["a"] * 59}, {}, "pairs 59"),
        ({3: [np.nan] * 60}, {}, "lengths has 60 missing"),
        ({}, {"layers": [1, 2]}, "3 layers need as many distinct names"),
        ({}, {"methods": ["probe", "gradient"]}, "methods must be distinct names"),
        ({}, {"methods": []}, "methods must be distinct names"),
        ({}, {"random_draws": 19}, "at least 20"),
    ],
)
def test_bad_arguments_are_refused(change, options, message):
    arguments = [change.get(place, value) for place, value in enumerate(study(30))]
    with pytest.raises(ValueError, match=message):
        measure(*arguments, **options)


def test_a_value_that_is_not_finite_is_refused_with_its_row():
    states, *others = study(30)
    states[7, 2, 3] = np.inf
    with pytest.raises(ValueError, match=r"1 row\(s\) are not finite, the first is row 7"):
        measure(states, *others)
