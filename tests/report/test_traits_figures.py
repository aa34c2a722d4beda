"""The traits study's figures: their values are the files', they say what they rest on, and names stay plain text."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import plotly.graph_objects as go
import polars as pl
import pytest

from tells.report.figures.steering import coefficient_curves, steering_report
from tells.report.figures.texts import judged_by
from tells.report.figures.theme import BLUE, VERMILION
from tells.report.figures.traits import cosine_matrix, score_distributions, vector_heatmap
from tells.tables import SCHEMAS

TRAIT = "epistemic/calm"
OFFLINE = {"provider": "exemplar", "model": "mini"}
ONLINE = {"provider": "api", "model": "large"}
HOSTILE = "<script>alert(1)</script><a href='x'>&"
ESCAPED = "&lt;script&gt;alert(1)&lt;/script&gt;&lt;a href='x'&gt;&amp;"
PARTS = ("train", "validation", "test", "cross_validated")


def vector(method: str, layer: int, d: float | None, part: str = "cross_validated", **changes: Any) -> dict[str, Any]:
    """A record of vectors.json with figures of one part and of train."""
    record: dict[str, Any] = {"method": method, "layer": layer, "fitted_on": "all pairs", "norm": 2.0}
    for one in PARTS:
        has = d is not None and one in (part, "train")
        ends = has and one != "train"
        record |= {
            f"{one}_cohens_d": d if has else None,
            f"{one}_cohens_d_low": d - 0.5 if ends else None,
            f"{one}_cohens_d_high": d + 0.75 if ends else None,
            f"{one}_auc": 0.5 + d / 10 if has else None,
            f"{one}_auc_low": 0.4 if ends else None,
            f"{one}_auc_high": 0.95 if ends else None,
            f"{one}_reason": None,
            **{f"{one}_n_{what}": 12 if has else None for what in ("pairs", "positive", "negative")},
        }
    return {**record, "null_cohens_d": 1.0, "null_auc": 0.7, "warnings": [], "reason": None, **changes}


def vectors(records: list[dict[str, Any]] | None = None, **changes: Any) -> dict[str, Any]:
    """Content of vectors.json: two methods at layers 3 and 10, of which one has no vector."""
    if records is None:
        records = [
            vector("probe", 10, 2.5),
            vector("probe", 3, -0.5),
            vector("fisher", 3, 1.5, warnings=["dimension 5 is large"]),
            vector("fisher", 10, None, norm=None, reason="no rows at this layer"),
        ]
    best = {"kind": "nested", "method": "probe", "layer": 10, "reason": None}
    plain = {"status": "ok", "reason": None, "metadata": {"window": "response[:16]"}}
    return {"records": records, "best": best, **plain, **changes}


def results() -> dict[str, Any]:
    cosines = {"a/one": {"a/one": 1.0, "b/two": -0.25}, "b/two": {"a/one": -0.25, "b/two": None}}
    best = [{"method": "probe", "layer": 3}, None]
    return {
        "metadata": {"window": "response"},
        "traits": [
            {"trait": name, "best_by_validation": one} for name, one in zip(("a/one", "b/two"), best, strict=True)
        ],
        "cosines": [
            {"method": "probe", "layer": 3, "cosines": cosines},
            {"method": "fisher", "layer": 3, "cosines": {}},
        ],
    }


def vetting(scenario: list[float | None], response: list[float | None]) -> pl.DataFrame:
    """Two responses a scenario, positives and negatives in turn."""
    rows = []
    for place, score in enumerate(response):
        polarity = ("positive", "negative")[place // 2 % 2]
        known = scenario[place // 2]
        rows.append(
            {
                "prompt_id": f"{polarity}-{place // 4:03d}",
                "group": f"pair-{place // 4:03d}",
                "sample": place % 2,
                "polarity": polarity,
                "scenario_score": known,
                "scenario_status": "error" if known is None else "scored",
                "response_score": score,
                "response_status": "refused" if score is None else "scored",
                "outcome": "pass",
                "kept": True,
            }
        )
    return pl.DataFrame(rows, schema=SCHEMAS["vetting"].columns)


def vetted(judge: dict[str, Any] | None = OFFLINE, stages: tuple[str, ...] = ("scenarios", "responses")) -> Any:
    counted = {"n": 9, "n_pass": 5, "n_fail": 3, "n_error": 1, "n_refused": 2}
    return {
        "stages": [
            {"stage": stage, "polarity": pole, **counted} for stage in stages for pole in ("positive", "negative")
        ],
        "thresholds": {"positive_min": 61.0, "negative_max": 38.0},
        "gate": "responses",
        "metadata": {"judge": judge},
    }


def searched(method: str = "probe") -> tuple[pl.DataFrame, pl.DataFrame]:
    """Answers and scores of a search: references, and two answers at each of six points."""
    points = [("probe", 3, -0.2), ("probe", 3, 0.1), ("probe", 3, 0.4), ("probe", 7, 0.1), ("fisher", 3, 0.1)]
    rows: list[dict[str, Any]] = [{"row_id": "ref", "kind": "reference"}]
    scores: list[dict[str, Any]] = [{"row_id": "ref", "trait": 99.0, "coherence": 99.0}]
    for place, (name, layer, ratio) in enumerate(points):
        for sample in (0, 1):
            key = {"row_id": f"p{place}-{sample}", "kind": "steered", "sample": sample}
            name = method if name == "probe" else name
            rows.append({**key, "layer": layer, "method": name, "ratio": ratio, "coefficient": 10 * ratio})
            scores.append({"row_id": key["row_id"], "trait": 10.0 * place + sample, "coherence": 90.0 - 8 * place})
    scores[-1] |= {"trait": None}
    return (
        pl.DataFrame(rows, schema=SCHEMAS["search"].columns),
        pl.DataFrame(scores, schema=SCHEMAS["search_scores"].columns),
    )


def choice(method: str = "probe", **changes: Any) -> dict[str, Any]:
    points = [
        {"layer": 3, "method": method, "ratio": -0.2, "reasons": []},
        {"layer": 3, "method": method, "ratio": 0.1, "reasons": []},
        {"layer": 3, "method": method, "ratio": 0.4, "reasons": ["coherence_drop"]},
        {"layer": 7, "method": method, "ratio": 0.1, "reasons": []},
        {"layer": 3, "method": "fisher", "ratio": 0.1, "reasons": ["missing_score"]},
    ]
    made = {
        "status": "chosen",
        "baseline": {"trait": 44.0, "coherence": 88.0, "n": 30, "n_missing": 1},
        "points": points,
        "optimum": {"layer": 7, "method": method, "ratio": 0.1, "no_effect": False},
        "n_questions": 6,
        "metadata": {"judge": OFFLINE},
    }
    return {**made, **changes}


def summary(**changes: Any) -> dict[str, Any]:
    effect = {"coherence": 84.0, "n": 20, "n_missing": 0, "n_missing_coherence": 2, "n_questions": 10}
    made = {
        "trait": TRAIT,
        "status": "steered",
        "reason": None,
        "best_by_steering": {"method": "probe", "layer": 7, "ratio": 0.15},
        "steering": {
            "steered": {"delta": 30.0, "low": 21.0, "high": 43.0, **effect},
            "prompting": {"delta": 12.0, "low": None, "high": None, **effect},
            "unsteered": {"trait": 52.0, "coherence": 93.0, "n": 20},
            "random": {"deltas": [-5.0, 3.0, 14.0], "mean": 4.0, "percentile_95": 14.0, "n": 3, "coherence": 87.0},
            "p_random": 0.25,
        },
    }
    return {**made, **changes}


def curves(**changes: Any) -> go.Figure:
    return coefficient_curves(*searched(), choice(**changes), trait=TRAIT, min_coherence=70.0, max_drop=15.0)


def title(figure: go.Figure) -> str:
    found = figure.layout.title
    return f"{found.text} {(found.subtitle.text or '').replace('<br>', ' ')}"


def reason(figure: go.Figure) -> str | None:
    """Why a figure is empty; None where it is not."""
    if figure.data:
        return None
    (note,) = figure.layout.annotations
    return note.text.removeprefix("nothing to show: ").replace("<br>", " ")


def named(figure: go.Figure, name: str) -> list[Any]:
    return [trace for trace in figure.data if trace.name == name]


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for one in value:
            yield from strings(one)
    elif isinstance(value, str):
        yield value


def every() -> dict[str, go.Figure]:
    table = vetting([90.0, 10.0], [80.0, 70.0, 20.0, 30.0])
    return {
        "vectors": vector_heatmap(vectors(), trait=TRAIT, judge=OFFLINE),
        "cosines": cosine_matrix(results(), method="probe", layer=3),
        "scenarios": score_distributions(table, vetted(), trait=TRAIT, stage="scenarios"),
        "responses": score_distributions(table, vetted(), trait=TRAIT, stage="responses"),
        "curves": curves(),
        "report": steering_report(summary(), judge=OFFLINE),
    }


@pytest.mark.parametrize("name", every())
def test_every_figure_is_json_without_nan_and_says_what_it_rests_on(name: str):
    figure = every()[name]
    json.loads(figure.to_json(), parse_constant=pytest.fail)
    assert reason(figure) is None
    assert "n = " in title(figure)
    assert "interval" in title(figure)
    assert figure.layout.xaxis.title.text
    assert figure.layout.yaxis.title.text
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
    figure = every()["report"]
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
    record = vector(HOSTILE, 4, None, norm=None, reason=HOSTILE)
    made = vectors([vector(HOSTILE, 3, 2.0, warnings=[HOSTILE], fitted_on=HOSTILE), record])
    made["best"] = {"method": HOSTILE, "layer": 3, "reason": None}
    made["metadata"] = {"window": HOSTILE}
    table = vetting([90.0, 10.0], [80.0, 70.0, 20.0, 30.0])
    other = results()
    other["cosines"][0] = {"method": HOSTILE, "layer": 3, "cosines": {HOSTILE: {HOSTILE: 1.0}}}
    point = choice(HOSTILE, status=HOSTILE, metadata={"judge": bad})
    point["points"][0]["reasons"] = [HOSTILE]
    shown = [
        vector_heatmap(made, trait=HOSTILE, judge=bad),
        vector_heatmap(vectors([], reason=HOSTILE), trait=HOSTILE),
        cosine_matrix(other, method=HOSTILE, layer=3),
        cosine_matrix(other, method=HOSTILE, layer=9),
        score_distributions(
            table.with_columns(prompt_id=pl.lit(HOSTILE)), vetted(bad), trait=HOSTILE, stage="responses"
        ),
        coefficient_curves(*searched(HOSTILE), point, trait=HOSTILE, min_coherence=70.0),
        steering_report(summary(trait=HOSTILE, reason=HOSTILE, status=HOSTILE), judge=bad),
        steering_report(summary(trait=HOSTILE, reason=HOSTILE, steering=None)),
    ]
    for figure in shown:
        texts = [text.replace("<br>", " ") for text in strings(figure.to_plotly_json()["data"])]
        texts += [text.replace("<br>", " ") for text in strings(json.loads(figure.to_json())["layout"])]
        assert not [text for text in texts if "<" in text]
        assert any(ESCAPED.split(" ")[0] in text for text in texts)
