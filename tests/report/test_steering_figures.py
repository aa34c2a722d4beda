"""Figures of steering: points and effects are the files', the search and the report are kept apart."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go
import pytest
from traits_figure_helpers import (
    HOSTILE,
    OFFLINE,
    ONLINE,
    TRAIT,
    check_plain,
    check_words,
    choice,
    named,
    reason,
    searched,
    summary,
    title,
)

from tells.report.figures.steering import coefficient_curves, steering_report


def curves(**changes: Any) -> go.Figure:
    return coefficient_curves(*searched(), choice(**changes), trait=TRAIT, min_coherence=70.0, max_drop=15.0)


@pytest.mark.parametrize("name", ["curves", "report"])
def test_every_figure_is_json_without_nan_and_says_what_it_rests_on(name: str):
    figure = curves() if name == "curves" else steering_report(summary(), judge=OFFLINE)
    check_words(figure)
    assert TRAIT in title(figure)
    assert "offline judge (mini" in title(figure)


def test_curves_are_means_of_the_joined_scores_by_layer_and_method():
    figure = curves()
    trait, coherence = named(figure, "probe, layer 3")
    assert list(trait.x) == list(coherence.x) == [-0.2, 0.1, 0.4]
    assert list(trait.y) == [0.5, 10.5, 20.5]
    assert list(coherence.y) == [90.0, 82.0, 74.0]
    assert (trait.yaxis, coherence.yaxis) == ("y", "y2")
    assert list(trait.marker.symbol) == ["square", "square", "square-open"]
    assert trait.hovertext[2].endswith("not valid: coherence drop")
    assert "c = 4.00" in trait.hovertext[2]
    signs = {(one.line.color, one.line.dash) for one in figure.data if one.mode == "lines+markers"}
    assert len(signs) == 3


def test_a_missing_score_is_left_out_of_its_mean_and_counted():
    figure = curves()
    trait, coherence = named(figure, "fisher, layer 3")
    assert (list(trait.y), list(coherence.y)) == ([40.0], [58.0])
    assert "trait 40.0 (n = 1 of 2)" in trait.hovertext[0]
    assert "1 scores missing" in title(figure)


def test_the_chosen_point_the_unsteered_answers_and_the_floor_are_marked():
    figure = curves()
    assert [(list(one.x), list(one.y)) for one in named(figure, "chosen point")] == [([0.1], [30.5]), ([0.1], [66.0])]
    assert [(one.x, one.y) for one in named(figure, "unsteered (n = 30)")] == [((0.0,), (44.0,)), ((0.0,), (88.0,))]
    (floor,) = figure.layout.shapes
    assert (floor.y0, floor.yref) == (73.0, "y2")
    for said in ("search questions", "n = 2 answers a point", "flattering", "without intervals", "floor 73.0"):
        assert said in title(figure)


@pytest.mark.parametrize(("least", "drop", "floor"), [(80.0, 15.0, 80.0), (70.0, None, 70.0), (None, 8.0, 80.0)])
def test_the_floor_is_the_stricter_of_both_limits(least: float | None, drop: float | None, floor: float):
    figure = coefficient_curves(*searched(), choice(), trait=TRAIT, min_coherence=least, max_drop=drop)
    assert figure.layout.shapes[0].y0 == floor


def test_curves_without_limits_or_choice_draw_neither():
    nothing = choice(optimum=None, baseline=None, status="no_valid_point")
    figure = coefficient_curves(*searched(), nothing, trait=TRAIT, max_drop=15.0)
    assert not figure.layout.shapes
    assert {one.name for one in figure.data} == {"probe, layer 3", "probe, layer 7", "fisher, layer 3"}
    assert "coherence floor unknown" in title(figure)
    assert "no valid point" in title(figure)


def test_an_optimum_without_effect_is_not_called_chosen():
    figure = curves(optimum={"layer": 7, "method": "probe", "ratio": 0.1, "no_effect": True})
    assert not named(figure, "chosen point")
    assert len(named(figure, "no effect: best valid point")) == 2


def test_an_empty_search_and_one_without_scores_say_so():
    answers, scores = searched()
    empty = coefficient_curves(answers.clear(), scores.clear(), choice(status="no_vectors", points=[]), trait=TRAIT)
    assert "no steered answer" in (reason(empty) or "")
    unscored = coefficient_curves(answers, scores.clear(), choice(), trait=TRAIT)
    assert reason(unscored) == "none of 10 steered answers has a score"


def test_the_report_has_steered_prompting_random_and_unsteered_side_by_side():
    figure = steering_report(summary(), judge=OFFLINE)
    (steered,), (prompting,) = named(figure, "steered (n = 20)"), named(figure, "prompting (n = 20)")
    assert list(steered.x) == [30.0]
    assert (steered.error_x.array, steered.error_x.arrayminus) == ((13.0,), (9.0,))
    assert list(prompting.x) == [12.0]
    assert prompting.error_x.array is None
    assert "delta 12.0 [–]" in prompting.hovertext[0]
    (draws,) = named(figure, "random vectors (n = 3)")
    assert list(draws.x) == [-5.0, 3.0, 14.0]
    assert [named(figure, name)[0].x for name in ("random, mean", "random, 95th percentile")] == [(4.0,), (14.0,)]
    assert named(figure, "unsteered (n = 20), 0 by definition")[0].x == (0.0,)
    assert (
        "mean trait score 52.0, coherence 93.0" in named(figure, "unsteered (n = 20), 0 by definition")[0].hovertext[0]
    )
    for said in (
        "report questions",
        "n = 20 pairs of answers to 10",
        "95% interval by question",
        "p = 0.250",
        "r = 0.15",
    ):
        assert said in title(figure)


def test_a_trait_that_is_not_steered_says_why():
    assert reason(steering_report(summary(steering=None, status="vectors"))) == "vectors: it is not steered in this run"
    few = summary(steering=None, status="insufficient", reason="too few")
    assert reason(steering_report(few)) == "insufficient: too few"
    lacking = {**summary()["steering"], "steered": None, "prompting": None, "p_random": None}
    lacking["random"] = {"deltas": [], "mean": None, "percentile_95": None, "n": 0, "coherence": None}
    assert "no delta" in (reason(steering_report(summary(steering=lacking))) or "")


def test_a_missing_delta_leaves_the_others():
    effects = summary()["steering"]
    unscored = {
        **effects,
        "steered": {**effects["steered"], "delta": None, "low": None, "high": None},
        "p_random": None,
    }
    figure = steering_report(summary(steering=unscored, best_by_steering=None), judge=ONLINE)
    assert not named(figure, "steered (n = 20)")
    assert "no delta: steered" in title(figure)
    assert "judge: api (large)" in title(figure)


def test_names_and_reasons_from_files_are_plain_text():
    bad = {"provider": HOSTILE, "model": HOSTILE}
    point = choice(HOSTILE, status=HOSTILE, metadata={"judge": bad})
    point["points"][0]["reasons"] = [HOSTILE]
    check_plain(
        [
            coefficient_curves(*searched(HOSTILE), point, trait=HOSTILE, min_coherence=70.0),
            steering_report(summary(trait=HOSTILE, reason=HOSTILE, status=HOSTILE), judge=bad),
            steering_report(summary(trait=HOSTILE, reason=HOSTILE, steering=None)),
        ]
    )
