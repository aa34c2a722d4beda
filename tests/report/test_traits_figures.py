"""Figures of a trait's vectors and of judged texts: their values are the files', and they say what they rest on."""

from __future__ import annotations

import math

import plotly.graph_objects as go
import polars as pl
import pytest
from traits_figure_helpers import (
    HOSTILE,
    OFFLINE,
    ONLINE,
    TRAIT,
    check_plain,
    check_words,
    named,
    reason,
    results,
    title,
    vector,
    vectors,
    vetted,
    vetting,
)

from tells.report.figures.texts import judged_by
from tells.report.figures.theme import BLUE, VERMILION
from tells.report.figures.traits import cosine_matrix, score_distributions, vector_heatmap


def every() -> dict[str, go.Figure]:
    table = vetting([90.0, 10.0], [80.0, 70.0, 20.0, 30.0])
    return {
        "vectors": vector_heatmap(vectors(), trait=TRAIT, judge=OFFLINE),
        "cosines": cosine_matrix(results(), method="probe", layer=3),
        "scenarios": score_distributions(table, vetted(), trait=TRAIT, stage="scenarios"),
        "responses": score_distributions(table, vetted(), trait=TRAIT, stage="responses"),
    }


@pytest.mark.parametrize("name", every())
def test_every_figure_is_json_without_nan_and_says_what_it_rests_on(name: str):
    figure = every()[name]
    check_words(figure)
    if name != "cosines":
        assert TRAIT in title(figure)
        assert "offline judge (mini" in title(figure)


def test_only_the_exemplar_judge_is_called_offline():
    assert judged_by(OFFLINE).startswith("offline judge")
    assert judged_by(ONLINE) == "judge: api (large)"
    assert judged_by(None) == "nobody judged"


def test_the_heatmap_has_the_records_figures_at_their_method_and_layer():
    for metric, shift in (("cohens_d", lambda d: d), ("auc", lambda d: 0.5 + d / 10)):
        grid = vector_heatmap(vectors(), trait=TRAIT, metric=metric, judge=OFFLINE).data[0]
        assert (grid.x, grid.y) == (("3", "10"), ("probe", "fisher"))
        assert [list(line) for line in grid.z] == [[shift(-0.5), shift(2.5)], [shift(1.5), None]]
        assert math.isclose((grid.zmin + grid.zmax) / 2, shift(0.0))
        assert (grid.colorscale[0][1], grid.colorscale[-1][1]) == (VERMILION, BLUE)


def test_the_heatmap_says_value_interval_band_and_why_a_cell_is_blank():
    figure = vector_heatmap(vectors(), trait=TRAIT, judge=OFFLINE, level=0.9)
    texts = figure.data[0].hovertext
    assert "Cohen's d 2.50 [2.00, 3.25] (n = 12 pairs)" in texts[0][1]
    assert "null band 1.00 (not above it)" in texts[0][0]
    assert texts[0][1].endswith("null band 1.00")
    assert texts[1][0].endswith("warning: dimension 5 is large")
    assert texts[1][1] == "fisher, layer 10<br>no vector: no rows at this layer"
    for said in ("n = 12 pairs", "3 of 4 vectors", "90% interval by pair", "1.00–1.00 by vector", "nested folds"):
        assert said in title(figure)


def test_the_heatmap_marks_the_best_cell_and_those_within_the_null_band():
    figure = vector_heatmap(vectors(), trait=TRAIT)
    (best,) = named(figure, "best on the pairs that choose")
    (inside,) = named(figure, "within the null band")
    assert (best.x, best.y) == (("10",), ("probe",))
    assert (inside.x, inside.y) == (("3",), ("probe",))
    assert best.marker.symbol != inside.marker.symbol


def test_metrics_without_interval_and_null_band_say_so():
    for metric, value, centre in (("hedges_g", 0.9 * 2.5, 0.0), ("accuracy", 0.75, 0.5)):
        figure = vector_heatmap(vectors(), trait=TRAIT, metric=metric)
        assert figure.data[0].z[0][1] == value
        assert math.isclose((figure.data[0].zmin + figure.data[0].zmax) / 2, centre)
        assert "no intervals" in title(figure)
        assert "no null band of this metric" in title(figure)
        assert not named(figure, "within the null band")


def test_an_auc_far_below_a_half_is_outside_the_null_band():
    figure = vector_heatmap(vectors([vector("probe", 3, -4.0), vector("probe", 10, 1.0)]), trait=TRAIT, metric="auc")
    (inside,) = named(figure, "within the null band")
    assert inside.x == ("10",)


def test_a_part_without_random_directions_has_no_null_band():
    records = [vector("probe", 3, 0.1, "validation")]
    for part, said in (("validation", "on hover: 95% interval"), ("train", "no intervals")):
        figure = vector_heatmap(vectors(records), trait=TRAIT, part=part)
        assert not named(figure, "within the null band")
        assert "no null band" in title(figure)
        assert said in title(figure)
    assert "flattering" in title(figure)


def test_a_split_shows_its_test_pairs_where_no_part_is_asked_for():
    assert "test pairs, held out" in title(vector_heatmap(vectors([vector("probe", 3, 2.0, "test")]), trait=TRAIT))


def test_a_method_that_lacks_a_layer_leaves_a_blank_that_says_so():
    grid = vector_heatmap(vectors([vector("probe", 3, 1.0), vector("fisher", 4, 2.0)]), trait=TRAIT).data[0]
    assert [list(line) for line in grid.z] == [[1.0, None], [None, 2.0]]
    assert "not among the run's vectors" in grid.hovertext[0][1]


def test_vectors_without_held_out_figures_say_why():
    none = [vector("probe", 3, 2.0, "train", reason="4 pairs: at least 10 are needed")]
    best = {"kind": "none", "method": None, "layer": None, "reason": None}
    assert reason(vector_heatmap(vectors(none, best=best), trait=TRAIT)) == "4 pairs: at least 10 are needed"
    few = vectors([], best=best, status="insufficient", reason="too few survive")
    assert reason(vector_heatmap(few, trait=TRAIT)) == "too few survive"


def test_the_cosines_are_those_of_one_method_and_layer():
    figure = every()["cosines"]
    (grid,) = figure.data
    assert grid.x == grid.y == ("a/one ★", "b/two")
    assert [list(line) for line in grid.z] == [[1.0, -0.25], [-0.25, None]]
    assert [list(line) for line in grid.text] == [["1.00", "-0.25"], ["-0.25", "–"]]
    assert "probe, layer 3" in title(figure)
    assert "n = 2 traits" in title(figure)
    assert "no intervals" in title(figure)
    assert "no two traits" in (reason(cosine_matrix(results(), method="probe", layer=4)) or "")


def test_scenarios_are_counted_once_however_many_responses_they_have():
    table = vetting([90.0, 10.0, None, 30.0], [80.0, 70.0, 20.0, None, 60.0, 50.0, 25.0, 15.0])
    scenarios = score_distributions(table, vetted(), trait=TRAIT, stage="scenarios")
    assert [list(trace.y) for trace in scenarios.data] == [[90.0], [10.0, 30.0]]
    responses = score_distributions(table, vetted(), trait=TRAIT, stage="responses")
    assert [list(trace.y) for trace in responses.data] == [[80.0, 70.0, 60.0, 50.0], [20.0, 25.0, 15.0]]
    assert list(responses.data[1].text) == [
        "negative-000, sample 0",
        "negative-001, sample 0",
        "negative-001, sample 1",
    ]
    assert "n = 18 responses, 7 with a score" in title(responses)


def test_scores_have_their_thresholds_and_the_file_s_counts():
    figure = every()["responses"]
    assert [line.y0 for line in figure.layout.shapes] == [61.0, 38.0]
    assert [note.text for note in figure.layout.annotations] == [
        "positive passes at or above 61",
        "negative passes at or below 38",
    ]
    assert figure.data[0].name == "positive, n = 9<br>pass 5, fail 3 (2 refused), error 1"
    assert figure.layout.shapes[0].line.dash != figure.layout.shapes[1].line.dash


def test_many_scores_are_a_density_and_few_are_points():
    many = vetting([90.0, 10.0] * 10, [float(place) for place in range(40)])
    shown = score_distributions(many, vetted(), trait=TRAIT, stage="responses").data
    assert all(isinstance(trace, go.Violin) for trace in shown)
    assert all(isinstance(trace, go.Box) and trace.boxpoints == "all" for trace in every()["responses"].data)


def test_what_was_not_judged_or_has_no_score_is_said():
    table = vetting([None, None], [None] * 4)
    assert "none of 4 responses has a score (4 refused)" in str(
        reason(score_distributions(table, vetted(), trait=TRAIT, stage="responses"))
    )
    unjudged = score_distributions(table, vetted(stages=("responses",)), trait=TRAIT, stage="scenarios")
    assert reason(unjudged) == "scenarios were not judged in this run"
    assert reason(score_distributions(table.clear(), vetted(), trait=TRAIT, stage="responses"))


def test_names_and_reasons_from_files_are_plain_text():
    bad = {"provider": HOSTILE, "model": HOSTILE}
    record = vector(HOSTILE, 4, None, norm=None, reason=HOSTILE)
    made = vectors([vector(HOSTILE, 3, 2.0, warnings=[HOSTILE], fitted_on=HOSTILE), record])
    made["best"] = {"method": HOSTILE, "layer": 3, "reason": None}
    made["metadata"] = {"window": HOSTILE}
    table = vetting([90.0, 10.0], [80.0, 70.0, 20.0, 30.0]).with_columns(prompt_id=pl.lit(HOSTILE))
    other = results()
    other["cosines"][0] = {"method": HOSTILE, "layer": 3, "cosines": {HOSTILE: {HOSTILE: 1.0}}}
    check_plain(
        [
            vector_heatmap(made, trait=HOSTILE, judge=bad),
            vector_heatmap(vectors([], reason=HOSTILE), trait=HOSTILE),
            cosine_matrix(other, method=HOSTILE, layer=3),
            cosine_matrix(other, method=HOSTILE, layer=9),
            score_distributions(table, vetted(bad), trait=HOSTILE, stage="responses"),
        ]
    )
