"""Keys of runs, the choice of points of very many runs, rings around opened ones, and scores with their intervals."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import polars as pl
import pytest

from tells.report.figures.uncertainty import margin_against_entropy, mark_opened, rings, state_map, thinned
from tells.report.figures.uncertainty_keys import RunKey, key_texts, read_key
from tells.report.figures.uncertainty_scores import score_intervals

STRANGE = ("a/b", "~", "%7E", "%25", "50%~", "-1", "é <b>", "/", "%2F")


def many(questions: int, samples: int = 8) -> pl.DataFrame:
    """Runs in the order of their table."""
    n = questions * samples
    return pl.DataFrame(
        {
            "dataset": ["sums"] * n,
            "prompt_id": [f"p{number // samples}" for number in range(n)],
            "sample": pl.Series([number % samples for number in range(n)], dtype=pl.Int32),
            "split": ["test"] * n,
            "correct": [number % 3 == 0 for number in range(n)],
            "semantic_entropy_raw": np.arange(n, dtype=float),
            "accuracy.score": np.arange(n, dtype=float),
            "x": np.arange(n, dtype=float),
            "y": np.arange(n, dtype=float),
        }
    )


@pytest.mark.parametrize("name", STRANGE)
def test_a_key_is_read_as_it_was_written_and_holds_no_separator_of_addresses(name: str):
    key = RunKey(name, name, -1)
    assert read_key(str(key)) == key
    assert "~" not in str(key)
    rows = pl.DataFrame({"dataset": [name], "prompt_id": [name], "sample": [-1]})
    assert rows.select(key_texts()).item() == str(key)


def test_different_runs_have_different_keys():
    keys = {str(RunKey(one, other, sample)) for one in STRANGE for other in STRANGE for sample in (-1, 0, 10)}
    assert len(keys) == 3 * len(STRANGE) ** 2


@pytest.mark.parametrize("text", ["", "sums", "sums/p", "sums/p/", "sums//1", "/p/1", "sums/p/one", "sums/p/1.5"])
def test_what_is_no_key_names_no_run(text: str):
    assert read_key(text) is None


def test_of_very_many_runs_an_even_choice_is_drawn_the_same_each_time():
    rows = many(questions=1000)
    chosen = thinned(rows, 1000)
    assert chosen.equals(thinned(rows, 1000))
    assert chosen.height == chosen.unique(["prompt_id", "sample"]).height == 1000
    places = chosen["x"].to_numpy()
    assert (np.diff(places) > 0).all()
    assert np.array_equal(places // 8, np.arange(1000))
    counts = chosen["sample"].value_counts()["count"]
    assert counts.len() == 8
    assert counts.min() > 80
    assert thinned(rows, 8000).equals(rows)


def test_a_scatter_says_how_many_of_its_runs_are_drawn():
    for draw in (margin_against_entropy, state_map):
        figure = draw(many(questions=100), most=200)
        assert sum(len(trace.x) for trace in figure.data) == 200
        said = figure.layout.title.subtitle.text.replace("<br>", " ")
        assert "n = 800 runs of 100 questions; 200 of 800 runs drawn, evenly chosen" in said
        assert "drawn" not in draw(many(questions=100)).layout.title.subtitle.text.replace("<br>", " ")


def test_values_travel_as_numbers_and_not_as_text():
    content = json.loads(margin_against_entropy(many(questions=50)).to_json())
    assert all({"dtype", "bdata"} == set(trace["x"]) == set(trace["y"]) for trace in content["data"])


def test_opened_runs_have_a_ring_and_others_have_none():
    rows = many(questions=3)
    figure = mark_opened(state_map(rows), rows.filter(prompt_id="p1", sample=2), "x", "y")
    assert (list(figure.data[0].x), list(figure.data[0].y), figure.data[0].showlegend) == ([10.0], [10.0], True)
    assert sum(len(trace.x) for trace in figure.data) == rows.height + 1
    assert rings(rows.with_columns(x=pl.lit(None, pl.Float64)), "x", "y") == {"x": [], "y": [], "showlegend": False}
    empty = mark_opened(state_map(rows.clear()), rows, "x", "y")
    assert not empty.data


def record(score: str, **other: Any) -> dict[str, Any]:
    return {
        **{"outcome": "accuracy", "score": score, "kind": "probe", "dataset": "sums", "metric": "auroc"},
        **{"value": 0.75, "low": 0.5, "high": 0.875, "level": 0.9, "p_holm": 0.03125, "reason": None},
        **{"n_rows": 60, "n_questions": 12, **other},
    }


def test_each_score_has_its_value_interval_and_kind():
    records = [
        record("token_entropy", kind="baseline", low=None, high=None, value=0.625),
        record("accuracy"),
        record("accuracy.shuffled", kind="control", value=0.5, low=0.25, high=0.75),
        record("accuracy", dataset="capitals"),
        record("accuracy", metric="brier"),
        record("accuracy", outcome="semantic_entropy"),
        record("p_true", value=None, low=None, high=None, reason="no answers"),
    ]
    figure = score_intervals(records, outcome="accuracy", dataset="sums")
    probe, baseline, control = figure.data
    assert [trace.name for trace in figure.data] == ["probe", "baseline", "control"]
    assert len({(trace.marker.color, trace.marker.symbol) for trace in figure.data}) == 3
    assert (list(probe.x), list(probe.y)) == ([0.75], ["accuracy"])
    assert (list(probe.error_x.array), list(probe.error_x.arrayminus)) == ([0.125], [0.25])
    assert list(baseline.error_x.array) == [0.0]
    assert list(control.y) == ["accuracy.shuffled"]
    said = figure.layout.title.subtitle.text.replace("<br>", " ")
    assert "n = 60 runs of 12 questions; bars: 90% interval" in said
    assert "left out: 1 without a value" in said
    assert "0.75 [0.50, 0.88]<br>p (Holm) 0.031" in probe.hovertemplate[0]
    assert figure.layout.shapes[0].x0 == 0.5


def test_all_data_sets_stand_on_rows_of_their_own_and_nothing_says_why():
    records = [record("accuracy"), record("accuracy", dataset="capitals", value=0.625)]
    (trace,) = score_intervals(records, outcome="accuracy").data
    assert dict(zip(trace.y, trace.x, strict=True)) == {"accuracy, sums": 0.75, "accuracy, capitals": 0.625}
    none = score_intervals([record("accuracy", value=None, reason="one class <b>")], outcome="accuracy")
    assert not none.data
    assert "one class &lt;b&gt;" in none.layout.annotations[0].text.replace("<br>", " ")
