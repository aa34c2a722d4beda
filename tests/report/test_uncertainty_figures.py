"""The uncertainty study's figures: their values are the tables', they say what they rest on, and data stays text."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import numpy as np
import plotly.graph_objects as go
import polars as pl
import pytest
from uncertainty_figure_helpers import FIT, reason, searched, title

from tells.report.figures.probe_heatmap import probe_heatmap
from tells.report.figures.uncertainty import entropy_against_probe_margin, margin_against_entropy, state_map
from tells.report.figures.uncertainty_curves import precision_recall, rejection, reliability, roc
from tells.report.figures.uncertainty_keys import RunKey, read_key
from tells.report.figures.uncertainty_words import axis_of, plain
from tells.uncertainty.curves import curves_of, no_curves
from tells.uncertainty.evaluation_metrics import InferenceSettings, ScoredRows

SETTINGS = InferenceSettings(bootstrap=40, level=0.9, seed=1)
HOSTILE = "<script>alert(1)</script>%{x}$a$"
CURVES = {"roc": roc, "precision_recall": precision_recall, "reliability": reliability, "rejection": rejection}
SCATTERS = (margin_against_entropy, entropy_against_probe_margin, state_map)


def runs(dataset: str = "sums", prompt: str = "p") -> pl.DataFrame:
    """Three questions of four runs in the test split, one of which is greedy, and one question of training."""
    rows = [
        {
            "dataset": dataset,
            "prompt_id": f"{prompt}{question}",
            "sample": sample,
            "split": "train" if question == 3 else "test",
            "correct": (True, False, None)[(question + sample) % 3],
            "answer": f"answer {question}",
            "semantic_entropy_raw": None if sample < 0 else 0.5 * question,
            "accuracy.score": question - 0.25 * sample,
            "semantic_entropy.score": 0.125 * question + sample,
            "x": None if sample == 2 else float(question),
            "y": None if sample == 2 else float(sample),
        }
        for question in range(4)
        for sample in range(-1, 3)
    ]
    return pl.DataFrame(rows)


def header(score: str, kind: str = "probe", dataset: str = "sums", outcome: str = "accuracy") -> dict[str, str]:
    return {"outcome": outcome, "score": score, "kind": kind, "dataset": dataset, "split": "test"}


@cache
def curves(
    *scores: tuple[str, str], dataset: str = "sums", questions: int = 12, outcome: str = "accuracy"
) -> pl.DataFrame:
    """A curves table as the evaluation writes it."""
    generator = np.random.default_rng(0)
    tables = [no_curves()]
    for name, kind in scores:
        groups = np.repeat(np.arange(questions), 5)
        label = generator.integers(0, 2, groups.size).astype(float)
        score = label + generator.normal(0, 1, groups.size)
        rows, probable = (ScoredRows(label, values, groups) for values in (score, 1 / (1 + np.exp(-score))))
        given = probable if kind == "probe" else None
        of = header(name, kind, dataset, outcome)
        tables += curves_of(of, rows, given, SETTINGS, correctness=outcome == "accuracy")
    return pl.concat(tables)


def record(score: str, metric: str = "auroc", kind: str = "probe", **other: Any) -> dict[str, Any]:
    return {**header(score, kind), "metric": metric, "value": 0.8125, "low": 0.7, "high": 0.9, "level": 0.95, **other}


def lines(figure: go.Figure) -> dict[str, Any]:
    """Lines by score, bands left out."""
    return {trace.legendgroup: trace for trace in figure.data if not trace.name.endswith(", band")}


def bands(figure: go.Figure) -> dict[str, Any]:
    return {trace.legendgroup: trace for trace in figure.data if trace.name.endswith(", band")}


def key_of(text: str) -> RunKey:
    found = read_key(text)
    assert found is not None
    return found


def points(figure: go.Figure) -> dict[tuple[str, str, int], tuple[float, float]]:
    """Places by the keys that a click would find."""
    return {
        key_of(key): (x, y)
        for trace in figure.data
        for key, x, y in zip(trace.customdata, trace.x, trace.y, strict=True)
    }


def expected(table: pl.DataFrame, x: str, y: str) -> dict[tuple[str, str, int], tuple[float, float]]:
    kept = table.filter((pl.col("split") == "test") & pl.col(x).is_not_null() & pl.col(y).is_not_null())
    rows = kept.select("dataset", "prompt_id", "sample", x, y).rows()
    return {row[:3]: row[3:] for row in rows}


def test_margin_against_entropy_shows_every_test_run_with_both_values_and_its_keys():
    figure = margin_against_entropy(runs(), tau=0.625)
    assert points(figure) == expected(runs(), "semantic_entropy_raw", "accuracy.score")
    assert all(isinstance(trace, go.Scattergl) for trace in figure.data)
    assert "sums" not in title(figure)
    assert "all data sets, test split" in title(figure)
    assert "n = 9 runs of 3 questions; a point is a run, no interval; left out: 3" in title(figure)
    assert (figure.layout.shapes[0].x0, figure.layout.shapes[0].x1) == (0.625, 0.625)
    assert "0.625 nats" in figure.layout.annotations[0].text


def test_entropy_against_margin_has_the_axes_exchanged_and_the_threshold_on_the_entropy():
    figure = entropy_against_probe_margin(runs(), tau=0.625, dataset="sums")
    assert points(figure) == expected(runs(), "semantic_entropy.score", "semantic_entropy_raw")
    assert (figure.layout.shapes[0].y0, figure.layout.shapes[0].y1) == (0.625, 0.625)
    assert "surer of high entropy" in figure.layout.xaxis.title.text
    assert figure.layout.yaxis.title.text == "semantic entropy of the question (nats; larger: less sure)"
    assert title(figure).startswith("sums, test split: ")


def test_without_a_threshold_there_is_no_line():
    assert not margin_against_entropy(runs()).layout.shapes
    assert not entropy_against_probe_margin(runs()).layout.shapes


def test_any_score_goes_against_any_other():
    figure = margin_against_entropy(runs(), score="semantic_entropy.score", entropy="accuracy.score", split=None)
    assert len(points(figure)) == 16
    assert "all splits" in title(figure)


def test_points_are_told_apart_by_colour_and_symbol_and_ungraded_runs_are_named():
    figure = margin_against_entropy(runs())
    graded = runs().filter((pl.col("split") == "test") & (pl.col("sample") >= 0))
    names = {"correct": True, "wrong": False, "not graded": None}
    assert [trace.name for trace in figure.data] == [
        f"{name} (n = {graded.filter(pl.col('correct').eq_missing(value)).height})" for name, value in names.items()
    ]
    assert (
        len({trace.marker.color for trace in figure.data}) == len({trace.marker.symbol for trace in figure.data}) == 3
    )


def test_only_the_chosen_data_set_and_split_are_shown():
    both = pl.concat([runs(), runs("capitals")])
    figure = margin_against_entropy(both, dataset="capitals", split="train")
    assert {key[:2] for key in points(figure)} == {("capitals", "p3")}
    assert "n = 3 runs of 1 questions" in title(figure)
    assert "n = 18 runs of 6 questions" in title(margin_against_entropy(both))


@pytest.mark.parametrize("draw", SCATTERS)
def test_a_scatter_without_runs_or_values_or_columns_says_so(draw: Any):
    assert "none of 0 runs" in reason(draw(runs().clear()))
    assert "none of 0 runs" in reason(draw(runs(), dataset="absent"))
    values = ("semantic_entropy_raw", "accuracy.score", "semantic_entropy.score", "x", "y")
    assert "none of 12 runs" in reason(draw(runs().with_columns(pl.lit(None, pl.Float64).alias(v) for v in values)))
    assert "no column" in reason(draw(runs().drop("semantic_entropy_raw", "x")))


def test_the_map_is_coloured_by_a_score_with_its_unit_and_runs_without_one_are_grey():
    figure = state_map(runs(), colour="semantic_entropy_raw")
    assert points(figure) == expected(runs(), "x", "y")
    bare, valued = figure.data
    assert bare.name == "no value (n = 3)"
    assert {key_of(key).sample for key in bare.customdata} == {-1}
    by_key = {row[:3]: row[3] for row in runs().select("dataset", "prompt_id", "sample", "semantic_entropy_raw").rows()}
    assert list(valued.marker.color) == [by_key[key_of(key)] for key in valued.customdata]
    assert "(nats" in valued.marker.colorbar.title.text
    assert valued.marker.showscale
    assert "left out: 3 that have no place on it" in title(figure)
    assert "n = 9 runs of 3 questions" in title(figure)


def test_the_map_is_coloured_by_a_category():
    figure = state_map(runs(), colour="answer")
    assert [trace.name for trace in figure.data] == [f"answer {number} (n = 3)" for number in range(3)]
    for trace in figure.data:
        assert {key_of(key).prompt_id for key in trace.customdata} == {f"p{trace.name[7]}"}


def test_more_categories_than_symbols_lose_no_run():
    rows = pl.concat([runs(prompt=f"q{number}-") for number in range(4)]).with_columns(answer=pl.col("prompt_id"))
    figure = state_map(rows, colour="answer")
    assert len(figure.data) == 8
    assert figure.data[-1].name == "5 others (n = 15)"
    assert sum(len(trace.x) for trace in figure.data) == 36


@pytest.mark.parametrize("name", CURVES)
def test_a_curve_is_the_table_s_with_its_band(name: str):
    table = curves(("accuracy", "probe"), ("rao", "baseline"))
    figure = CURVES[name](table, [], dataset="sums")
    shown = ["accuracy"] if name == "reliability" else ["accuracy", "rao"]
    assert list(lines(figure)) == list(bands(figure)) == shown
    for score, line in lines(figure).items():
        rows = table.filter(curve=name, score=score)
        assert (list(line.x), list(line.y)) == (rows["x"].to_list(), rows["y"].to_list())
        assert [tuple(one) for one in line.customdata] == rows.select("point_rows", "low", "high").rows()
        known = rows.filter(pl.col("low").is_not_null())
        edge = [value for value in bands(figure)[score].y if value is not None]
        assert sorted(edge) == sorted(known["low"].to_list() + known["high"].to_list())
    assert title(figure).startswith("sums, test split: ")
    assert "n = 60 runs of 12 questions; bands: 90% pointwise, by question; AUROC without interval" in title(figure)
    assert "larg" in figure.layout.xaxis.title.text
    assert "surer that the run is correct" in figure.layout.xaxis.title.text


@pytest.mark.parametrize("name", CURVES)
def test_the_legend_gives_the_auroc_of_the_same_outcome_data_set_and_split(name: str):
    wrong = {"outcome": "semantic_entropy", "dataset": "capitals", "split": "train", "metric": "auroc_question"}
    others = [
        record("accuracy", value=0.1, **{"metric": "auroc", key: value})
        for key, value in wrong.items()
        if key != "metric"
    ]
    others.append(record("accuracy", wrong["metric"], value=0.1))
    figure = CURVES[name](curves(("accuracy", "probe")), [*others, record("accuracy"), *others], dataset="sums")
    assert lines(figure)["accuracy"].name == "accuracy: AUROC 0.81 [0.70, 0.90]"
    assert "brackets: 95% interval of AUROC, by question" in title(figure)


def test_an_auroc_without_interval_or_value_or_record_is_a_dash():
    table = curves(("accuracy", "probe"))
    bare = record("accuracy", low=None, high=None)
    for records, text in (([bare], "0.81 [–]"), ([{**bare, "value": None}], "–"), ([], "–")):
        figure = roc(table, records, dataset="sums")
        assert lines(figure)["accuracy"].name == f"accuracy: AUROC {text}"
        assert "AUROC without interval" in title(figure)


def test_curves_other_than_roc_say_their_own_summary_on_hover():
    table = curves(("accuracy", "probe"))
    for name, metric in {
        "precision_recall": "average_precision",
        "reliability": "ece_10",
        "rejection": "aurac",
    }.items():
        figure = CURVES[name](table, [record("accuracy", metric, value=0.25)], dataset="sums")
        assert all("0.25 [0.70, 0.90]" in text for text in lines(figure)["accuracy"].hovertemplate)


def test_chance_and_prevalence_are_drawn():
    table = curves(("accuracy", "probe"))
    prevalence = table["prevalence"][0]
    for name, words in {"precision_recall": "prevalence", "rejection": "accuracy of all runs"}.items():
        figure = CURVES[name](table, [], dataset="sums")
        assert [shape.y0 for shape in figure.layout.shapes] == [prevalence]
        assert figure.layout.annotations[-1].text == f"{words}: {prevalence:.3f}"
    for name in ("roc", "reliability"):
        (shape,) = CURVES[name](table, [], dataset="sums").layout.shapes
        assert (shape.x0, shape.y0, shape.x1, shape.y1) == (0, 0, 1, 1)


def test_points_of_reliability_have_a_symbol_for_each_score():
    figure = reliability(curves(("accuracy", "probe"), ("semantic", "probe")), [], dataset="sums")
    assert len({line.marker.symbol for line in lines(figure).values()}) == 2


def test_points_of_reliability_grow_with_the_runs_of_their_bin():
    table = curves(("accuracy", "probe"))
    sizes = lines(reliability(table, [], dataset="sums"))["accuracy"].marker.size
    rows = table.filter(curve="reliability")["point_rows"].to_list()
    assert len(sizes) == len(rows) > 3
    assert len(set(rows)) > 1
    assert [rows[place] for place in np.argsort(sizes, kind="stable")] == sorted(rows)
    assert max(sizes) > min(sizes)


def test_curves_of_one_question_have_no_band_and_say_so():
    figure = roc(curves(("accuracy", "probe"), questions=1), [], dataset="sums")
    assert "no band" in title(figure)
    assert not bands(figure)["accuracy"].x
    assert len(lines(figure)["accuracy"].y) == 101


def test_a_place_without_a_value_interrupts_the_line_and_its_band():
    table = curves(("accuracy", "probe"))
    gap = pl.when(pl.col("x") == 0.5).then(None)
    table = table.with_columns(gap.otherwise(pl.col(name)).alias(name) for name in ("y", "low", "high"))
    figure = roc(table, [], dataset="sums")
    assert lines(figure)["accuracy"].y[50] is None
    assert None in bands(figure)["accuracy"].y


@pytest.mark.parametrize("name", CURVES)
def test_without_curves_a_figure_says_what_they_need(name: str):
    table = curves(("accuracy", "probe"))
    for absent in (no_curves(), table.filter(pl.col("curve") != name), table.with_columns(y=pl.lit(None, pl.Float64))):
        assert "no such curve of accuracy on sums, test split; it " in reason(CURVES[name](absent, [], dataset="sums"))
    assert "by rao;" in reason(CURVES[name](table, [], dataset="sums", scores=["rao"]))
    assert "on capitals" in reason(CURVES[name](table, [], dataset="capitals"))


def test_a_score_looks_the_same_in_every_figure_and_whichever_are_shown():
    table = curves(*((f"s{number}", "probe") for number in range(9)), ("a", "baseline"))
    looks = {name: (line.line.color, line.line.dash) for name, line in lines(roc(table, [], dataset="sums")).items()}
    assert list(looks) == [*(f"s{number}" for number in range(9)), "a"]
    assert len(set(looks.values())) == 10
    (line,) = lines(rejection(table, [], dataset="sums", scores=["s7"])).values()
    assert (line.line.color, line.line.dash) == looks["s7"]


def test_curves_of_entropy_say_what_a_larger_score_is_surer_of():
    table = curves(("semantic_entropy", "probe"), outcome="semantic_entropy")
    figure = roc(table, [], dataset="sums", outcome="semantic_entropy")
    assert "surer of high entropy" in figure.layout.xaxis.title.text
    assert "correctness alone" in reason(rejection(table, [], dataset="sums", outcome="semantic_entropy"))


def texts(value: Any) -> list[str]:
    """All text of a figure but the keys that points carry."""
    if isinstance(value, dict):
        return [text for key, one in value.items() if key != "customdata" for text in texts(one)]
    if isinstance(value, list):
        return [text for one in value for text in texts(one)]
    return [value] if isinstance(value, str) else []


@cache
def hostile_figures() -> dict[str, go.Figure]:
    rows = runs(HOSTILE, HOSTILE).with_columns(answer=pl.lit(HOSTILE), **{HOSTILE: pl.col("accuracy.score")})
    table = curves((HOSTILE, "probe"), dataset=HOSTILE, outcome=HOSTILE)
    of = {"dataset": HOSTILE, "outcome": HOSTILE}
    heatmap = [{**cell, "position": HOSTILE} for cell in searched()["heatmap"][:1]]
    return {
        "margin": margin_against_entropy(rows, score=HOSTILE, dataset=HOSTILE),
        "category": state_map(rows, colour="answer", dataset=HOSTILE),
        "score": state_map(rows, colour=HOSTILE),
        "absent": state_map(rows, colour=f"{HOSTILE}?"),
        "nothing": margin_against_entropy(rows.clear(), score=HOSTILE, split=HOSTILE),
        "roc": roc(table, [], **of),
        "recall": precision_recall(table, [], **of),
        "reliability": reliability(table, [], **of),
        "rejection": rejection(table, [], **of, scores=[HOSTILE]),
        "heatmap": probe_heatmap(
            searched(HOSTILE, heatmap=heatmap, position=HOSTILE), fit={**FIT, "trained_on": [HOSTILE]}
        ),
        "selection": probe_heatmap(searched(), fit={**FIT, "selection": HOSTILE}),
    }


@pytest.mark.parametrize("name", hostile_figures())
def test_data_is_never_read_as_a_tag_a_template_or_a_formula(name: str):
    found = texts(json.loads(hostile_figures()[name].to_json()))
    assert any("&lt;script&gt;" in text.replace("<br>", "") for text in found)
    assert not any("script>" in text or "$a" in text or "&gt;%{x}" in text for text in found)


def test_the_keys_of_points_stay_as_they_are_in_the_table():
    keys = points(margin_against_entropy(runs(HOSTILE, HOSTILE)))
    assert (HOSTILE, f"{HOSTILE}0", 0) in keys


def test_plain_text_is_shown_as_it_stands_and_told_apart():
    assert plain("a < b & c") == "a &lt; b &amp; c"
    assert plain("%{x} $y$") == "%&#123;x} &#36;y&#36;"
    assert plain("&lt;") != plain("<")


def test_axes_say_unit_and_which_end_is_sure():
    assert axis_of("accuracy.prompt_end.score") == (
        "accuracy.prompt_end probe: margin (no unit; larger: surer that the run is correct)"
    )
    assert "predicted entropy (nats; larger: surer of high entropy)" in axis_of("semantic_entropy_raw.score")
    assert "calibrated probability" in axis_of("semantic_entropy@sums.probability")
    assert axis_of("p_true") == "P(True) (probability; larger: surer)"
    assert axis_of("unknown") == "unknown"
