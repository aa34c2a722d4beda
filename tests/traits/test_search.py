"""The choice of a steering point on synthetic judged grids."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tells.traits.search import Baseline, Point, choose, count_reasons, judge_points

BASELINE = Baseline(trait=(40.0, 60.0), coherence=(90.0, 94.0))


def point(ratio, trait, coherence=90.0, *, layer=10, method="probe"):
    """A point with two samples, 5 above and 5 below the trait score given."""
    return Point(layer, method, ratio, ratio * 80.0, (trait - 5.0, trait + 5.0), (coherence, coherence))


def chosen(points, **limits):
    return choose(points, baseline=BASELINE, **limits)


def test_the_point_that_raises_the_trait_most_is_chosen_before_the_cliff_of_coherence():
    grid = [point(0.15, 55), point(0.3, 70), point(0.5, 80, 78), point(0.8, 95, 40), point(1.1, 95, 5)]
    optimum = chosen(grid)
    assert optimum.point is grid[2]
    assert (optimum.delta, optimum.trait, optimum.coherence) == (30.0, 80.0, 78.0)
    assert (optimum.baseline_trait, optimum.baseline_coherence) == (50.0, 92.0)
    assert not optimum.at_bound
    assert not optimum.mirrored
    assert not optimum.no_effect
    assert (optimum.n_points, optimum.n_valid) == (5, 3)
    assert optimum.invalid == {"coherence_drop": 2, "incoherent": 2}


def test_a_point_on_the_limits_is_valid_and_one_below_is_not():
    assert chosen([point(0.3, 70, 77.0)]) is not None
    assert chosen([point(0.3, 70, 76.9)]) is None
    low = Baseline(trait=(50.0,), coherence=(75.0,))
    assert choose([point(0.3, 70, 70.0)], baseline=low) is not None
    assert choose([point(0.3, 70, 69.9)], baseline=low) is None
    assert chosen([point(0.3, 70, 60.0)], min_coherence=60, max_drop=40) is not None


def test_the_limit_does_not_hang_on_the_rounding_of_a_mean():
    tenths = Point(1, "probe", 0.3, 1.0, (80.0,) * 3, (70.1, 70.0, 69.9))
    assert choose([tenths], baseline=Baseline((50.0,), (80.0,))) is not None


def test_no_valid_point_is_no_choice_and_the_reasons_are_counted():
    grid = [point(0.15, 90, 60), point(0.3, 95, 20), point(-0.15, 10, 72)]
    assert chosen(grid) is None
    assert choose([], baseline=BASELINE) is None
    counts = count_reasons(judge_points(grid, baseline=BASELINE))
    assert counts == {"coherence_drop": 3, "incoherent": 2}


@pytest.mark.parametrize("part", ["trait", "coherence"])
def test_a_missing_score_makes_a_point_invalid_and_is_neither_0_nor_100(part):
    best = replace(point(0.5, 90), **{part: (90.0, None)})
    optimum = chosen([point(0.3, 70), best])
    assert optimum.point.ratio == 0.3
    assert optimum.invalid == {"missing_score": 1}
    verdict = judge_points([best], baseline=BASELINE)[0]
    assert getattr(verdict, part) is None
    assert not verdict.valid


def test_a_point_without_scores_is_invalid():
    empty = Point(10, "probe", 0.3, 1.0, (), ())
    assert chosen([empty]) is None
    assert judge_points([empty], baseline=BASELINE)[0].reasons == ("no_scores",)


def test_a_baseline_with_a_missing_score_leaves_nothing_to_compare_with():
    broken = Baseline(trait=(40.0, None), coherence=(90.0, 90.0))
    assert choose([point(0.3, 70)], baseline=broken) is None
    verdict = judge_points([point(0.3, 70)], baseline=broken)[0]
    assert (verdict.delta, verdict.reasons) == (None, ("incomplete_baseline",))
    with pytest.raises(ValueError, match="baseline has no scores"):
        choose([point(0.3, 70)], baseline=Baseline((), ()))


def test_a_best_point_against_the_direction_is_flagged_as_mirrored():
    optimum = chosen([point(0.3, 40), point(0.5, 30), point(-0.3, 70), point(-0.5, 65)])
    assert optimum.point.ratio == -0.3
    assert optimum.mirrored
    assert optimum.at_bound == "lower"


def test_no_effect_is_a_result_and_says_so():
    optimum = chosen([point(0.15, 50), point(0.3, 45), point(-0.3, 40)])
    assert optimum.no_effect
    assert optimum.delta == 0.0
    assert not optimum.mirrored
    worse = chosen([point(0.3, 45), point(-0.15, 48)])
    assert worse.no_effect
    assert worse.delta == -2.0
    assert not worse.mirrored


def test_a_choice_at_the_end_of_the_grid_of_its_layer_method_and_sign_is_flagged():
    grid = [point(0.15, 60), point(0.3, 70), point(-1.1, 20), point(0.8, 60, layer=11), point(1.0, 60, method="fisher")]
    assert chosen(grid).point.ratio == 0.3
    assert chosen(grid).at_bound == "upper"
    assert chosen([*grid, point(0.5, 95, 10)]).at_bound is None
    assert chosen([point(0.15, 70), point(0.3, 60), point(-0.1, 20)]).at_bound == "lower"


def test_equal_points_give_way_to_the_smaller_ratio_and_then_to_the_direction_itself():
    assert chosen([point(0.5, 70), point(0.3, 70), point(-0.3, 70)]).point.ratio == 0.3
    assert chosen([point(0.5, 70), point(-0.3, 70)]).point.ratio == -0.3
    assert chosen([point(0.3, 70, layer=12), point(0.3, 70, layer=4)]).point.layer == 4
    assert chosen([point(0.3, 70), point(0.3, 70, method="fisher")]).point.method == "fisher"
    # 0.1 + 0.2 is not 0.3 in binary: such points are equal.
    first, second = (
        Point(1, "probe", r, r, t, (90.0,) * 3) for r, t in ((0.3, (50.3, 50, 50)), (0.5, (50.1, 50.2, 50)))
    )
    assert chosen([second, first]).point is first


def test_the_unsteered_point_is_no_candidate():
    optimum = chosen([point(0.0, 90), point(0.3, 60)])
    assert optimum.point.ratio == 0.3
    assert optimum.invalid == {"unsteered": 1}


@pytest.mark.parametrize("score", [-0.1, 100.1, float("nan"), float("inf")])
def test_a_score_off_the_scale_is_refused_with_its_place(score):
    bad = Point(10, "probe", 0.3, 1.0, (50.0, score), (90.0, 90.0))
    with pytest.raises(ValueError, match=r"layer 10, probe, ratio 0\.3: trait score 1"):
        chosen([bad])
    with pytest.raises(ValueError, match="the baseline: coherence score 0"):
        choose([], baseline=Baseline((50.0,), (score,)))


def test_lengths_and_ratios_are_checked():
    with pytest.raises(ValueError, match="1 trait scores and 2 coherence scores"):
        chosen([Point(10, "probe", 0.3, 1.0, (50.0,), (90.0, 90.0))])
    with pytest.raises(ValueError, match="ratio must be a finite number"):
        chosen([point(float("nan"), 50)])


POINTS = st.lists(
    st.builds(
        point,
        st.sampled_from([-1.1, -0.5, -0.15, 0.15, 0.5, 1.1]),
        st.integers(5, 95),
        st.sampled_from([20.0, 76.9, 77.0, 92.0]),
        layer=st.integers(1, 3),
    ),
    max_size=12,
)


@given(POINTS, st.randoms(use_true_random=False))
def test_the_choice_is_valid_unbeaten_and_does_not_hang_on_the_order(points, random):
    optimum = chosen(points)
    valid = [verdict for verdict in judge_points(points, baseline=BASELINE) if verdict.valid]
    assert (optimum is None) == (not valid)
    mixed = points[:]
    random.shuffle(mixed)
    assert chosen(mixed) == optimum
    if optimum is not None:
        assert optimum.delta == max(verdict.delta for verdict in valid)
        assert optimum.coherence >= 77.0
        assert optimum.n_valid == len(valid)
