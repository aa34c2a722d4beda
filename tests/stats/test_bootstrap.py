"""Intervals: whole groups are drawn, fast and generic ways agree, undefined draws are counted."""

import numpy as np
import pytest

from tells.stats import (
    auroc,
    average_precision,
    bootstrap_ci,
    clustered_mean_ci,
    paired_bootstrap,
    within_group_auroc,
)


def study(questions=30, seed=0, uneven=False):
    """A score that knows a little, ties included; K rows a question."""
    generator = np.random.default_rng(seed)
    sizes = generator.integers(1, 7, questions) if uneven else np.full(questions, 4)
    groups = np.repeat([f"q{i:03d}" for i in range(questions)], sizes)
    rate = np.repeat(generator.random(questions), sizes)
    y = (generator.random(groups.size) < rate).astype(int)
    score = np.round(rate + y * 0.3 + generator.normal(size=groups.size) * 0.5, 1)
    return y, score, groups


def mean_of_score(y, score):
    return float(np.mean(score)) if len(score) else None


@pytest.mark.parametrize("uneven", [False, True])
@pytest.mark.parametrize("strata", [False, True])
def test_the_fast_way_of_auroc_gives_the_numbers_of_the_generic_way(uneven, strata):
    y, score, groups = study(uneven=uneven)
    kind = np.char.endswith(groups.astype(str), "3") if strata else None
    fast = bootstrap_ci(auroc, y, score, groups, n=300, seed=4, strata=kind)
    slow = bootstrap_ci(lambda a, b: auroc(a, b), y, score, groups, n=300, seed=4, strata=kind)
    assert fast == slow
    assert fast.low < fast.estimate < fast.high
    assert fast.estimate == auroc(y, score)


def test_the_fast_way_drops_the_same_undefined_draws():
    y, score, groups = [1, 0, 0, 0, 0], [3, 1, 4, 1, 5], list("abcde")
    fast = bootstrap_ci(auroc, y, score, groups, n=200, seed=1)
    slow = bootstrap_ci(lambda a, b: auroc(a, b), y, score, groups, n=200, seed=1)
    assert fast == slow
    assert fast.n_undefined > 20


def test_bootstrap_is_the_percentile_of_metrics_of_drawn_questions():
    y, score, groups = study(questions=12, uneven=True)
    names = np.unique(groups)
    generator = np.random.default_rng(9)
    values = []
    for _ in range(150):
        rows = np.concatenate([np.flatnonzero(groups == names[g]) for g in generator.integers(0, 12, 12)])
        values.append(auroc(y[rows], score[rows]))
    interval = bootstrap_ci(auroc, y, score, groups, n=150, level=0.8, seed=9)
    assert [interval.low, interval.high] == pytest.approx(np.quantile(values, [0.1, 0.9]), abs=1e-12)


def test_within_group_auroc_keeps_two_copies_of_a_question_apart():
    y, score, groups = study(questions=12, uneven=True)
    names = np.unique(groups)
    generator = np.random.default_rng(2)
    values = []
    for _ in range(100):
        draw = generator.integers(0, 12, 12)
        rows = [np.flatnonzero(groups == names[g]) for g in draw]
        copies = np.repeat(np.arange(12), [r.size for r in rows])
        rows = np.concatenate(rows)
        values.append(within_group_auroc(y[rows], score[rows], copies))
    interval = bootstrap_ci(within_group_auroc, y, score, groups, n=100, seed=2)
    assert [interval.low, interval.high] == pytest.approx(np.quantile(values, [0.025, 0.975]), abs=1e-12)
    assert interval.estimate == within_group_auroc(y, score, groups)


def test_the_order_of_rows_changes_nothing():
    y, score, groups = study(uneven=True)
    order = np.random.default_rng(8).permutation(y.size)
    assert bootstrap_ci(auroc, y, score, groups, n=100) == bootstrap_ci(
        auroc, y[order], score[order], groups[order], n=100
    )


def test_the_seed_decides_the_draws():
    y, score, groups = study()
    first, again, other = (bootstrap_ci(auroc, y, score, groups, n=100, seed=s) for s in (1, 1, 2))
    assert first == again
    assert first.low != other.low


def test_an_interval_with_over_a_tenth_of_undefined_draws_is_none_and_says_why():
    y, score = [1] + [0] * 9, list(range(10))
    interval = bootstrap_ci(auroc, y, score, range(10), n=400)
    assert interval.low is None
    assert interval.high is None
    assert interval.estimate == 0.0
    assert interval.n_undefined > 100
    assert "undefined on" in interval.reason


def test_a_few_undefined_draws_are_left_out_and_counted():
    y, score = [1] * 4 + [0] * 6, list(range(10))
    interval = bootstrap_ci(auroc, y, score, range(10), n=2000)
    assert 0 < interval.n_undefined <= 200
    assert interval.low is not None
    assert interval.reason is None


@pytest.mark.parametrize(
    ("undefined_draws", "defined"),
    [(10, True), (11, False)],
)
def test_a_tenth_of_undefined_draws_is_the_most_that_is_allowed(undefined_draws, defined):
    calls = []

    def metric(y, score):
        calls.append(1)
        # The first call is on all rows.
        return None if 1 < len(calls) <= 1 + undefined_draws else float(np.mean(score))

    interval = bootstrap_ci(metric, [0, 1, 0], [1, 2, 3], [1, 2, 3], n=100)
    assert interval.n_undefined == undefined_draws
    assert (interval.low is not None) == defined


def test_an_undefined_metric_and_a_single_question_have_no_interval():
    undefined = bootstrap_ci(auroc, [1, 1, 1], [1, 2, 3], list("abc"))
    assert (undefined.low, undefined.high, undefined.estimate) == (None, None, None)
    single = bootstrap_ci(auroc, [0, 1, 1], [1, 2, 3], list("aaa"))
    assert (single.low, single.high, single.estimate) == (None, None, 1.0)
    assert "one group" in single.reason
    empty = bootstrap_ci(auroc, [], [], [])
    assert (empty.low, empty.estimate, empty.n_groups) == (None, None, 0)


def test_a_metric_that_answers_nan_is_refused():
    with pytest.raises(ValueError, match="must return None"):
        bootstrap_ci(lambda y, s: float("nan"), [0, 1], [1, 2], list("ab"))


def test_intervals_by_question_are_wider_than_by_row_when_rows_repeat():
    y, score, _ = study(questions=40)
    y, score, groups = y[::4].repeat(4), score[::4].repeat(4), np.arange(40).repeat(4)
    by_question = bootstrap_ci(auroc, y, score, groups, n=500)
    by_row = bootstrap_ci(auroc, y, score, np.arange(160), n=500)
    ratio = (by_question.high - by_question.low) / (by_row.high - by_row.low)
    assert 1.6 < ratio < 2.5


def test_strata_keep_their_number_of_questions():
    kind = ["x"] * 5 + ["z"] * 5
    values = []

    def share_of_the_first_stratum(y, score):
        values.append(float(np.mean(score)))
        return values[-1]

    bootstrap_ci(share_of_the_first_stratum, [0] * 10, [1] * 5 + [0] * 5, range(10), n=50, strata=kind)
    assert set(values) == {0.5}
    with pytest.raises(ValueError, match="more than one stratum"):
        bootstrap_ci(auroc, [0, 1], [1, 2], ["a", "a"], strata=["x", "z"])


def test_a_paired_difference_is_that_of_the_same_draws():
    y, a, groups = study(uneven=True)
    b = np.random.default_rng(5).normal(size=y.size)
    fast = paired_bootstrap(auroc, y, a, b, groups, n=300, seed=3)
    slow = paired_bootstrap(lambda p, q: auroc(p, q), y, a, b, groups, n=300, seed=3)
    assert fast == slow
    assert fast.difference == pytest.approx(auroc(y, a) - auroc(y, b))
    assert fast.low > 0
    assert fast.p < 0.05
    reverse = paired_bootstrap(auroc, y, b, a, groups, n=300, seed=3)
    assert (reverse.low, reverse.high) == pytest.approx((-fast.high, -fast.low))
    assert reverse.p == fast.p


def test_a_score_does_not_differ_from_itself():
    y, score, groups = study()
    for metric in (auroc, average_precision, within_group_auroc):
        same = paired_bootstrap(metric, y, score, score * 2 + 1, groups, n=100)
        assert (same.difference, same.low, same.high, same.p) == (0.0, 0.0, 0.0, 1.0)


def test_the_paired_p_value_is_at_least_two_draws_of_all():
    y = np.tile([0, 1], 50)
    best = paired_bootstrap(auroc, y, y * 1.0, -y * 1.0, np.arange(50).repeat(2), n=99)
    assert best.difference == 1.0
    assert best.p == pytest.approx(2 / 100)
    none = paired_bootstrap(auroc, [1, 1], [1, 2], [2, 1], list("ab"))
    assert (none.difference, none.p) == (None, None)


def test_the_clustered_mean_agrees_with_the_generic_way():
    _, value, groups = study(uneven=True)
    fast = clustered_mean_ci(value, groups, n=200, seed=6)
    slow = bootstrap_ci(mean_of_score, np.zeros(value.size), value, groups, n=200, seed=6)
    assert (fast.low, fast.high) == pytest.approx((slow.low, slow.high), abs=1e-12)
    assert fast.estimate == pytest.approx(value.mean())
    assert clustered_mean_ci([], []).reason == "no rows"
    assert clustered_mean_ci([1, 2], ["a", "a"]).low is None


def test_the_clustered_mean_covers_the_truth_about_as_often_as_it_says():
    generator = np.random.default_rng(11)
    covered = 0
    for trial in range(200):
        value = np.repeat(generator.normal(size=40), 5) + generator.normal(size=200) * 0.3
        interval = clustered_mean_ci(value, np.arange(40).repeat(5), n=200, seed=trial)
        covered += interval.low <= 0.0 <= interval.high
    assert 0.88 <= covered / 200 <= 0.99


@pytest.mark.parametrize("options", [{"n": 0}, {"level": 1.0}, {"level": 0.0}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match="must"):
        bootstrap_ci(auroc, [0, 1], [1, 2], list("ab"), **options)


def test_lengths_that_differ_are_refused_by_name():
    with pytest.raises(ValueError, match="groups 3"):
        bootstrap_ci(auroc, [0, 1], [1, 2], list("abc"))
