"""From judged answers to the choice of a point, and its worth on the report questions, on worked values."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import polars as pl
import pytest

from tells.tables import SCHEMAS
from tells.traits.choice import choose_point, report_effects
from tells.traits.search import COHERENCE_DROP, INCOHERENT, MISSING_SCORE

Pair = tuple[float | None, float | None]


class Judged:
    """A table of answers and the scores of them."""

    def __init__(self, kind: str) -> None:
        self.kind, self.answers, self.scores = kind, [], []

    def add(self, kind: str, pairs: Sequence[Pair], *, part: str = "search", samples: int = 1, **point: Any) -> Judged:
        """Answers to question 0, 1, … with (trait, coherence) each."""
        for place, (trait, coherence) in enumerate(pairs):
            question, sample = f"{part}-{place // samples:02d}", place % samples
            row_id = f"{kind}-{'-'.join(map(str, point.values()))}-{question}-{sample}"
            self.answers.append({"row_id": row_id, "kind": kind, "question_id": question, "sample": sample, **point})
            self.scores.append({"row_id": row_id, "trait": trait, "coherence": coherence})
        return self

    def tables(self) -> tuple[pl.DataFrame, pl.DataFrame]:
        answers = pl.DataFrame(self.answers, schema=SCHEMAS[self.kind].columns)
        scores = pl.DataFrame(self.scores, schema=SCHEMAS[f"{self.kind}_scores"].columns)
        return answers, scores.reverse()


def search(baseline: Sequence[Pair] = ((40, 90), (60, 90))) -> Judged:
    return Judged("search").add("reference", baseline)


def point(ratio: float, *, layer: int = 3, method: str = "probe") -> dict[str, Any]:
    return {"layer": layer, "method": method, "ratio": ratio, "coefficient": 10 * ratio}


def choose(judged: Judged, *, min_coherence: float = 70, max_drop: float = 15) -> dict[str, Any]:
    choice = choose_point(*judged.tables(), min_coherence=min_coherence, max_drop=max_drop)
    json.dumps(choice, allow_nan=False)
    return choice


# the choice


def test_the_valid_point_that_raises_the_trait_most_is_chosen():
    judged = search().add("steered", [(60, 85), (70, 85)], **point(0.2))
    judged.add("steered", [(70, 80), (90, 80)], **point(0.4, method="fisher", layer=5))
    judged.add("steered", [(99, 20), (99, 20)], **point(0.8))
    choice = choose(judged)
    assert choice["status"] == "chosen"
    optimum = choice["optimum"]
    assert {key: optimum[key] for key in point(0)} == point(0.4, method="fisher", layer=5)
    assert (optimum["trait"], optimum["delta"], optimum["coherence"]) == (80, 30, 80)
    assert (optimum["n_points"], optimum["n_valid"]) == (3, 2)
    assert choice["baseline"] == {"trait": 50, "coherence": 90, "n": 2, "n_missing": 0}
    assert choice["n_questions"] == 2
    assert [one["delta"] for one in choice["points"]] == [15, 30, 49]
    assert [one["reasons"] for one in choice["points"]] == [[], [], [INCOHERENT, COHERENCE_DROP]]
    assert choice["invalid"] == {INCOHERENT: 1, COHERENCE_DROP: 1}
    assert [one["n"] for one in choice["points"]] == [2, 2, 2]


def test_points_of_equal_ratio_at_other_layers_are_other_points():
    judged = search().add("steered", [(60, 90), (60, 90)], **point(0.2, layer=1))
    judged.add("steered", [(80, 90), (80, 90)], **point(0.2, layer=2))
    judged.add("steered", [(70, 90), (70, 90)], **point(-0.2, layer=2))
    choice = choose(judged)
    assert len(choice["points"]) == 3
    assert choice["optimum"]["layer"] == 2
    assert choice["optimum"]["mirrored"] is False


def test_a_best_point_that_does_not_raise_the_trait_is_no_effect():
    choice = choose(search().add("steered", [(30, 90), (40, 90)], **point(0.2)))
    assert choice["status"] == "no_effect"
    assert choice["optimum"]["delta"] == -15


def test_no_valid_point_is_a_result_with_its_reasons():
    choice = choose(search().add("steered", [(99, 10), (99, 10)], **point(0.2)))
    assert (choice["status"], choice["optimum"]) == ("no_valid_point", None)
    assert choice["invalid"] == {INCOHERENT: 1, COHERENCE_DROP: 1}


def test_a_grid_without_points_is_no_vectors():
    choice = choose(search())
    assert (choice["status"], choice["optimum"], choice["points"]) == ("no_vectors", None, [])
    assert choice["baseline"]["trait"] == 50


@pytest.mark.parametrize("missing", [(None, 90), (90, None)])
def test_a_missing_score_makes_a_point_invalid(missing: Pair):
    judged = search().add("steered", [(95, 90), missing], **point(0.2))
    judged.add("steered", [(60, 90), (60, 90)], **point(0.1))
    choice = choose(judged)
    assert choice["optimum"]["ratio"] == 0.1
    assert choice["points"][0]["reasons"] == [MISSING_SCORE]
    assert choose(search().add("steered", [(95, 90), missing], **point(0.2)))["status"] == "no_valid_point"


def test_an_answer_that_was_not_judged_at_all_is_a_missing_score():
    answers, scores = search().add("steered", [(95, 90), (95, 90)], **point(0.2)).tables()
    kept = scores.filter(~pl.col("row_id").str.ends_with("search-01-0") | ~pl.col("row_id").str.starts_with("steered"))
    choice = choose_point(answers, kept, min_coherence=70, max_drop=15)
    assert choice["points"][0]["reasons"] == [MISSING_SCORE]
    assert choice["points"][0]["n"] == 2


def test_a_missing_score_of_the_baseline_leaves_nothing_to_compare_with():
    choice = choose(search([(None, 90), (60, 90)]).add("steered", [(95, 90), (95, 90)], **point(0.2)))
    assert choice["status"] == "no_valid_point"
    assert choice["baseline"] == {"trait": 60, "coherence": 90, "n": 2, "n_missing": 1}
    assert choice["invalid"] == {"incomplete_baseline": 1}


def test_a_question_with_another_scored_answer_has_its_baseline():
    judged = search([(50, 90), (60, 90)]).add("reference", [(None, 90), (70, None)], part="search", sample=1)
    choice = choose(judged.add("steered", [(95, 90), (95, 90)], **point(0.2)))
    assert choice["status"] == "chosen"
    assert choice["baseline"] == {"trait": 55, "coherence": 90, "n": 2, "n_missing": 2}


def test_only_references_to_search_questions_are_the_baseline():
    judged = search().add("reference", [(100, 100)] * 5, part="report")
    choice = choose(judged.add("steered", [(60, 90), (60, 90)], **point(0.2)))
    assert choice["baseline"] == {"trait": 50, "coherence": 90, "n": 2, "n_missing": 0}
    assert choice["n_questions"] == 2


def test_the_thresholds_are_those_given():
    judged = search().add("steered", [(95, 72), (95, 72)], **point(0.2))
    assert choose(judged)["invalid"] == {COHERENCE_DROP: 1}
    assert choose(judged, max_drop=18)["status"] == "chosen"
    assert choose(judged, max_drop=18, min_coherence=73)["invalid"] == {INCOHERENT: 1}


# the report


def report(unsteered: Sequence[Pair] = ((40, 90), (60, 80)), **keywords: Any) -> Judged:
    return Judged("report").add("unsteered", unsteered, part="report", **keywords)


def effects(judged: Judged, *, bootstrap: int = 200, seed: int = 0) -> dict[str, Any]:
    found = report_effects(*judged.tables(), bootstrap=bootstrap, seed=seed)
    json.dumps(found, allow_nan=False)
    return found


def with_random(judged: Judged, deltas: Sequence[float], base: Sequence[float] = (40, 60)) -> Judged:
    for draw, delta in enumerate(deltas):
        judged.add("random", [(one + delta, 70) for one in base], part="report", **point(0.4), draw=draw)
    return judged


def test_a_delta_is_the_mean_gain_on_the_same_questions_with_its_interval():
    judged = report().add("steered", [(50, 85), (90, 75)], part="report", **point(0.4))
    found = effects(judged)
    assert found["unsteered"] == {"trait": 50, "coherence": 85, "n": 2}
    steered = found["steered"]
    assert (steered["delta"], steered["coherence"]) == (20, 80)
    assert (steered["n"], steered["n_questions"]) == (2, 2)
    assert (steered["n_missing"], steered["n_missing_coherence"]) == (0, 0)
    assert (steered["low"], steered["high"]) == (10, 30)
    assert found["prompting"] is None


def test_the_interval_resamples_questions_and_not_their_answers():
    judged = report([(50, 90)] * 8, samples=4)
    judged.add("steered", [(60, 90)] * 4 + [(80, 90)] * 4, part="report", samples=4, **point(0.4))
    steered = effects(judged)["steered"]
    assert (steered["delta"], steered["low"], steered["high"]) == (20, 10, 30)
    assert (steered["n"], steered["n_questions"]) == (8, 2)


def test_one_question_has_no_interval():
    steered = effects(report([(40, 90)]).add("steered", [(50, 90)], part="report", **point(0.4)))["steered"]
    assert (steered["delta"], steered["low"], steered["high"]) == (10, None, None)


def test_a_delta_pairs_answers_by_question_and_sample():
    judged = report([(10, 90), (20, 90), (30, 90), (None, 90)], samples=2)
    judged.add("steered", [(15, 90), (35, 90), (None, 90), (99, 90)], part="report", samples=2, **point(0.4))
    steered = effects(judged)["steered"]
    assert (steered["delta"], steered["n"], steered["n_questions"]) == (10, 2, 1)
    assert (steered["n_missing"], steered["n_missing_coherence"]) == (2, 0)


def test_missing_scores_are_counted_and_enter_no_mean():
    judged = report().add("steered", [(None, 60), (70, None)], part="report", **point(0.4))
    steered = effects(judged)["steered"]
    assert (steered["delta"], steered["coherence"]) == (10, 60)
    assert (steered["n_missing"], steered["n_missing_coherence"]) == (1, 1)


def test_where_every_score_is_missing_nothing_is_claimed():
    judged = with_random(report().add("steered", [(None, None)] * 2, part="report", **point(0.4)), [1, 2])
    found = effects(judged)
    steered = found["steered"]
    assert (steered["delta"], steered["low"], steered["coherence"]) == (None, None, None)
    assert (steered["n"], steered["n_missing"], steered["n_missing_coherence"]) == (0, 2, 2)
    assert (found["exceeds_random"], found["p_random"]) == (None, None)
    assert found["random"]["mean"] == 1.5


def test_random_vectors_give_a_mean_a_percentile_and_a_p_value():
    deltas = list(range(21))
    judged = report().add("steered", [(59, 90), (80, 90)], part="report", **point(0.4))
    found = effects(with_random(judged, deltas))
    assert found["random"]["deltas"] == deltas
    assert (found["random"]["mean"], found["random"]["percentile_95"]) == (10, 19)
    assert (found["random"]["n"], found["random"]["coherence"]) == (21, 70)
    assert found["steered"]["delta"] == 19.5
    assert found["exceeds_random"] is True
    assert found["p_random"] == pytest.approx((1 + 1) / 22)


@pytest.mark.parametrize(("gain", "exceeds", "p"), [(19, False, 3 / 22), (30, True, 1 / 22), (-1, False, 22 / 22)])
def test_a_draw_as_large_as_the_delta_speaks_against_it(gain: float, exceeds: bool, p: float):
    judged = report().add("steered", [(40 + gain, 90), (60 + gain, 90)], part="report", **point(0.4))
    found = effects(with_random(judged, list(range(21))))
    assert found["exceeds_random"] is exceeds
    assert found["p_random"] == pytest.approx(p)


def test_draws_keep_their_order_beyond_nine():
    judged = report().add("steered", [(59, 90), (80, 90)], part="report", **point(0.4))
    assert effects(with_random(judged, [n % 7 for n in range(12)]))["random"]["deltas"] == [n % 7 for n in range(12)]


def test_a_draw_without_a_score_is_left_out_of_the_band_but_counted():
    judged = report().add("steered", [(59, 90), (80, 90)], part="report", **point(0.4))
    judged.add("random", [(None, None)] * 2, part="report", **point(0.4), draw=5)
    found = effects(with_random(judged, [1, 3]))
    assert found["random"]["deltas"] == [1, 3]
    assert found["random"]["n"] == 3
    assert found["p_random"] == pytest.approx(1 / 3)


def test_without_a_chosen_point_the_report_still_has_its_prompting():
    found = effects(report().add("prompting", [(80, 90), (80, 70)], part="report"))
    assert found["steered"] is None
    assert (found["prompting"]["delta"], found["prompting"]["coherence"]) == (30, 80)
    assert found["prompting"]["low"] == 20
    assert found["random"] == {"deltas": [], "mean": None, "percentile_95": None, "coherence": None, "n": 0}
    assert (found["exceeds_random"], found["p_random"]) == (None, None)


def test_the_interval_comes_from_the_seed():
    pairs = [(50 + 7 * n % 31, 90) for n in range(12)]
    judged = report([(50, 90)] * 12).add("steered", pairs, part="report", **point(0.4))
    first, again, other = (effects(judged, seed=seed)["steered"] for seed in (1, 1, 2))
    assert first == again
    assert (first["low"], first["high"]) != (other["low"], other["high"])
    assert first["low"] < first["delta"] < first["high"]
