"""Intervals and p-values of the agreement are those of tells.stats, for many scores at once."""

from __future__ import annotations

import numpy as np
import pytest
from agreement_helpers import SETTINGS, nothing_planted, signal
from scipy.stats import spearmanr

from tells.agreement.block_permutation import permutation_tests
from tells.agreement.cells import cells_of
from tells.agreement.records import all_records
from tells.agreement.resampling import (
    Draws,
    auroc_draws,
    auroc_estimate,
    average_precision_draws,
    average_precision_estimate,
    spearman_draws,
    spearman_estimate,
    stratified_auroc,
    stratified_auroc_estimate,
    weighted_ranks,
)
from tells.stats import (
    auroc,
    average_precision,
    bootstrap_ci,
    holm,
    permutation_test,
    spearman,
    within_group_auroc,
)

LEVEL = 0.9


def rows(seed: int = 0, n_groups: int = 17) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, tied scores and groups of unequal size, in no order."""
    generator = np.random.default_rng(seed)
    groups = generator.integers(0, n_groups, 90)
    score = np.round(generator.normal(size=90) + groups / n_groups, 1)
    return (generator.random(90) < 0.4).astype(float), score, groups


def drawn(groups: np.ndarray) -> Draws:
    return Draws.of(groups, n=150, seed=5, level=LEVEL)


def of_rows(metric, first, second, draws: Draws) -> np.ndarray:
    """A metric on the very rows of each draw, one draw at a time."""
    found = []
    for weights in draws.weights:
        taken = np.repeat(np.arange(first.size), weights[draws.number])
        value = metric(first[taken], second[taken])
        found.append(np.nan if value is None else value)
    return np.array(found)


def test_metrics_of_many_draws_are_those_of_the_drawn_rows():
    y, score, groups = rows()
    draws = drawn(groups)
    np.testing.assert_allclose(auroc_draws(draws, y, score), of_rows(auroc, y, score, draws), atol=1e-12)
    np.testing.assert_allclose(
        average_precision_draws(draws, y, score), of_rows(average_precision, y, score, draws), atol=1e-12
    )
    other = np.round(y + score + np.sin(np.arange(90)), 1)
    np.testing.assert_allclose(spearman_draws(draws, score, other), of_rows(spearman, score, other, draws), atol=1e-12)


@pytest.mark.parametrize("metric", [auroc, average_precision])
def test_intervals_are_those_of_the_bootstrap(metric):
    y, score, groups = rows(3)
    known = bootstrap_ci(metric, y, score, groups, n=150, seed=5, level=LEVEL)
    estimate = {auroc: auroc_estimate, average_precision: average_precision_estimate}[metric]
    found = estimate(drawn(groups), y, score, "")
    assert (found.value, found.low, found.high) == pytest.approx((known.estimate, known.low, known.high), abs=1e-12)


def test_an_auroc_within_strata_counts_pairs_of_one_stratum_alone():
    y, score, groups = rows(4)
    strata = np.arange(y.size) % 3
    assert stratified_auroc(y, score, strata) == pytest.approx(within_group_auroc(y, score, strata))
    found = stratified_auroc_estimate(drawn(groups), y, score, strata, "")
    draws = drawn(groups)
    each = []
    for weights in draws.weights:
        taken = np.repeat(np.arange(y.size), weights[draws.number])
        each.append(within_group_auroc(y[taken], score[taken], strata[taken]))
    assert found.low == pytest.approx(np.quantile(each, 0.05))
    assert found.high == pytest.approx(np.quantile(each, 0.95))


def test_a_confounder_vanishes_within_its_own_strata():
    length = np.repeat([0, 1], 50)
    y = np.concatenate([np.arange(50) < 10, np.arange(50) < 40]).astype(float)
    score = length + 0.0
    assert auroc(y, score) > 0.7
    assert stratified_auroc(y, score, length) == 0.5


def test_ranks_of_rows_that_stand_several_times_are_their_mid_ranks():
    values, weights = np.array([3.0, 1.0, 2.0, 2.0]), np.array([[2, 0, 1, 3], [1, 1, 1, 1]])
    ranks = weighted_ranks(values, weights)
    assert ranks[0, [0, 2, 3]].tolist() == [5.5, 2.5, 2.5]
    assert ranks[1].tolist() == [4.0, 1.0, 2.5, 2.5]


def test_spearman_is_the_one_of_scipy():
    y, score, groups = rows(6)
    other = score + y
    assert spearman_estimate(drawn(groups), score, other, "").value == pytest.approx(spearmanr(score, other).statistic)


def test_one_class_one_group_or_few_defined_draws_give_a_reason_and_no_number():
    y, score, groups = rows()
    none = auroc_estimate(drawn(groups), np.ones(90), score, "one class only")
    assert (none.value, none.low, none.reason) == (None, None, "one class only")
    single = auroc_estimate(drawn(np.zeros(90)), y, score, "")
    assert single.value is not None
    assert single.low is None
    assert "one group" in single.reason
    rare = np.zeros(90)
    rare[groups == 0] = 1.0
    assert "undefined on" in auroc_estimate(drawn(groups), rare, score, "").reason


def test_p_values_are_those_of_the_block_permutation_test():
    y, score, groups = rows(8, n_groups=12)
    scores = {"up": score + 0.4 * y, "down": -score - 0.4 * y, "other": np.cos(np.arange(90) * 1.7)}
    found = permutation_tests(y, scores, groups, n=20000, seed=1)
    for name, values in scores.items():
        sides = [permutation_test(auroc, y, side, groups, n=4000, seed=2) for side in (values, -values)]
        # Rows of unequal groups are cut at random, so that both tests are of nearly the same rows.
        assert found[name].n_left_out == sides[0].n_rows_left_out
    assert found["up"].p == found["down"].p


def test_p_values_with_groups_of_one_size_agree_with_the_block_permutation_test():
    generator = np.random.default_rng(2)
    groups = np.repeat(np.arange(20), 5)
    y = (generator.random(100) < 0.5).astype(float)
    score = generator.normal(size=100) + 0.25 * y
    found = permutation_tests(y, {"score": score}, groups, n=40000, seed=1)["score"].p
    # The order within groups is drawn, and moves a p-value by chance: so the mean over orders is compared.
    ours = np.mean([permutation_tests(y, {"s": score}, groups, n=4000, seed=s)["s"].p for s in range(30)])
    theirs = np.mean(
        [
            2 * min(permutation_test(auroc, y, side, groups, n=1500, seed=s).p for side in (score, -score))
            for s in range(30)
        ]
    )
    assert ours == pytest.approx(theirs, abs=0.02)
    assert 0 < found < 1


def test_what_the_place_within_a_group_tells_is_no_secret_to_the_test():
    """Scores that know the place of a row in its question are dealt on with their block: the rows must be mixed."""
    place = np.tile(np.arange(4), 25)
    found = permutation_tests((place < 2).astype(float), {"s": -place}, np.repeat(np.arange(25), 4), n=2000, seed=0)
    assert found["s"].p < 0.01


def test_more_tables_than_fit_at_once_change_no_p_value(monkeypatch):
    y, score, groups = rows(9)
    scores = {f"s{number}": score * number + np.sin(np.arange(90) * number) for number in range(1, 6)}
    together = permutation_tests(y, scores, groups, n=500, seed=4)
    monkeypatch.setattr("tells.agreement.block_permutation._TABLE_CELLS", 1)
    assert permutation_tests(y, scores, groups, n=500, seed=4) == together


def test_what_cannot_be_permuted_has_no_p_value():
    found = permutation_tests(np.array([0.0, 1.0, 1.0]), {"s": np.arange(3.0)}, np.zeros(3), n=50, seed=0)["s"]
    assert found.p is None
    assert "no two groups" in found.reason
    found = permutation_tests(np.ones(4), {"s": np.arange(4.0)}, np.arange(4), n=50, seed=0)["s"]
    assert (found.p, found.reason) == (None, "the rows that take part are of one class")


def test_the_family_of_tests_keeps_its_level_where_nothing_is_planted():
    """200 tables of ten tests on two outcomes; at level 0.05 a rate above 0.09 comes by chance once in 300 times."""
    alarms, seeds = 0, 200
    for seed in range(seeds):
        cells = []
        for part in range(2):
            table = nothing_planted(1000 * part + seed)
            cells += [cell for cell in cells_of(table, SETTINGS) if cell.rows.height]
        tested = []
        for cell in cells:
            scores = {f"null{number}": cell.score(signal(f"null{number}")) for number in range(5)}
            tested += list(permutation_tests(cell.y, scores, cell.groups, n=800, seed=seed).values())
        alarms += min(holm([test.p for test in tested])) < 0.05
    assert alarms / seeds <= 0.09
    # A test that never alarms would pass the line above; at the level one comes about every twenty tables.
    assert alarms / seeds >= 0.01


def test_rows_taken_for_independent_would_not_keep_the_level():
    """The planted null bites: permuting rows instead of questions gives false alarms far above the level."""
    alarms = 0
    for seed in range(60):
        table = nothing_planted(seed)
        cell = next(cell for cell in cells_of(table, SETTINGS) if cell.rows.height)
        scores = {f"null{number}": cell.score(signal(f"null{number}")) for number in range(5)}
        tests = permutation_tests(cell.y, scores, np.arange(cell.y.size), n=800, seed=seed)
        alarms += min(test.p for test in tests.values()) < 0.01
    assert alarms / 60 > 0.3


def test_figures_and_intervals_do_not_depend_on_the_order_of_the_table():
    table = nothing_planted(4)
    names = [signal(f"null{number}") for number in range(5)]

    def figures(rows):
        records = all_records(list(cells_of(rows, SETTINGS)), names, {})
        return [[one[key] for one in records] for key in ("auroc", "auroc_low", "average_precision_high", "n_groups")]

    np.testing.assert_allclose(figures(table.sample(fraction=1.0, shuffle=True, seed=1)), figures(table), atol=1e-12)
