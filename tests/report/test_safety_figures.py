"""The safety study's figures: their values are the tables', they say what they rest on, and nothing is made up."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import plotly.graph_objects as go
import polars as pl
import pytest
from report_helpers import WINDOW, study, tables

from tells.report.figures.safety import (
    any_of_n_curve,
    arms_compared,
    confidence_by_cell,
    confidence_by_label,
    percentile_curve,
    quadrant_table,
    trace_evolution,
)
from tells.report.safety_numbers import FEW, REFERENCE
from tells.safety import arms_summary
from tells.tables import SCHEMAS

OF = {"benchmark": "tiny"}
SCORED = {**OF, "kind": "mean", "window": WINDOW}
HARM = {"harm_source": "harm by embedding (a proxy)"}
HELD = {**HARM, "level": 0.9}


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    return tables(*study())


def figures(made: dict[str, Any]) -> dict[str, go.Figure]:
    """Every figure of a study."""
    return {
        "label": confidence_by_label(made["traces"], **SCORED, cut_value=made["strata"]["counts"]["cut_value"]),
        "cell": confidence_by_cell(made["traces"], **SCORED),
        "quadrants": quadrant_table(made["strata"]["cells"]["all"], **SCORED, **HELD),
        "percentile": percentile_curve(made["sweep"], **OF, **HARM, window=WINDOW, configured=70.0),
        "refusal": trace_evolution(made["confidence"], made["reply_labels"], **OF),
        "prompts": trace_evolution(made["confidence"], made["reply_labels"], **OF, by="label"),
        "arms": arms_compared(made["arms"]["arms"], **OF, **HELD, window=WINDOW),
        "harm": any_of_n_curve(made["any_of_n"], **OF, **HELD),
        "over-refusal": any_of_n_curve(made["any_of_n"], **OF, **HELD, measure="over_refusal"),
    }


def title(figure: go.Figure) -> str:
    found = figure.layout.title
    return f"{found.text} {(found.subtitle.text or '').replace('<br>', ' ')}"


def reason(figure: go.Figure) -> str | None:
    """Why a figure is empty; None where it is not."""
    if figure.data:
        return None
    (note,) = figure.layout.annotations
    assert note.text.startswith("nothing to show: ")
    return note.text.removeprefix("nothing to show: ").replace("<br>", " ")


def lines(figure: go.Figure) -> dict[str, Any]:
    """Traces by name, bands left out."""
    return {trace.name: trace for trace in figure.data if not trace.name.endswith(", band")}


def bands(figure: go.Figure) -> dict[str, Any]:
    return {trace.name.removesuffix(", band"): trace for trace in figure.data if trace.name.endswith(", band")}


def numbers(value: Any) -> Iterator[float]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for one in value:
            yield from numbers(one)
    elif isinstance(value, float):
        yield value


STUDIES = {
    "plain": {},
    "refused": {"refusal": "refusal"},
    "complied": {"refusal": "compliance", "harm": "unharmful"},
    "unscored": {"refusal": "compliance", "harm": "unscored"},
    "unclear": {"refusal": "unclear"},
    "unlabelled": {"label": None},
    "benign": {"label": "benign"},
    "harmful": {"label": "harmful"},
    "one": {"prompts": 1, "label": "harmful"},
}


@pytest.mark.parametrize("name", STUDIES)
def test_every_figure_is_json_without_nan_and_names_its_axes(name: str):
    for figure in figures(tables(*study(**STUDIES[name]))).values():
        assert all(map(math.isfinite, numbers(figure.to_plotly_json())))
        json.loads(figure.to_json(), parse_constant=pytest.fail)
        if reason(figure) is None:
            assert figure.layout.xaxis.title.text
            assert figure.layout.yaxis.title.text
            assert "n = " in title(figure)


def test_a_figure_of_empty_tables_says_why_it_is_empty(made: dict[str, Any]):
    empty = {name: pl.DataFrame(schema=SCHEMAS[name].columns) for name in ("confidence", "reply_labels", "traces")}
    empty |= {name: made[name].clear() for name in ("sweep", "any_of_n")}
    empty |= {"arms": {"arms": []}, "strata": {"cells": {"all": []}, "counts": {"cut_value": None}}}
    for figure in figures(empty).values():
        assert len(reason(figure) or "") > 10
        assert figure.layout.title.text.startswith("tiny: ")


def test_confidence_by_label_shows_each_label_s_own_traces(made: dict[str, Any]):
    figure = confidence_by_label(made["traces"], **SCORED, cut_value=4.5)
    assert len(figure.data) == 2
    for trace, label in zip(figure.data, ("harmful", "benign"), strict=True):
        rows = made["traces"].filter(label=label)
        assert list(trace.y) == rows["mean"].to_list()
        assert trace.name == f"{label} prompts<br>n = {rows.height}"
    assert "n = 96 traces of 16 prompts" in title(figure)
    assert "mean, window 4" in title(figure)
    assert figure.layout.yaxis.title.text == "confidence: mean (nats)"
    assert figure.layout.shapes[0].y0 == 4.5


def test_other_benchmarks_and_rows_without_a_score_are_left_out_and_counted(made: dict[str, Any]):
    other = made["traces"].with_columns(benchmark=pl.lit("other"), mean=pl.lit(99.0))
    unscored = pl.when((pl.col("prompt_id") == "p00") & (pl.col("sample") < 2)).then(None).otherwise(pl.col("mean"))
    figure = confidence_by_label(pl.concat([made["traces"].with_columns(mean=unscored), other]), **SCORED)
    assert sum(len(trace.y) for trace in figure.data) == 94
    assert max(max(trace.y) for trace in figure.data) < 99
    assert "n = 94 traces of 16 prompts; left out: 2 without" in title(figure)


def test_few_traces_are_points_and_many_a_density(made: dict[str, Any]):
    figure = confidence_by_cell(made["traces"], **SCORED)
    sizes = {trace.name: len(trace.y) for trace in figure.data}
    assert min(sizes.values()) < FEW <= max(sizes.values())
    for trace in figure.data:
        assert isinstance(trace, go.Box if len(trace.y) < FEW else go.Violin)
    few = next(trace for trace in figure.data if isinstance(trace, go.Box))
    assert few.boxpoints == "all"
    assert len(few.text) == len(few.y)


def test_confidence_by_cell_shows_the_traces_of_each_cell(made: dict[str, Any]):
    figure = confidence_by_cell(made["traces"], **SCORED)
    for trace, cell in zip(figure.data, filled_cells(made), strict=True):
        rows = made["traces"].filter(quadrant=cell["quadrant"])
        assert list(trace.y) == rows["mean"].to_list()
        assert f"n = {cell['n']}" in trace.name


def filled_cells(made: dict[str, Any]) -> list[dict[str, Any]]:
    return [cell for cell in made["strata"]["cells"]["all"] if cell["n"]]


def test_the_four_cells_hold_counts_rates_and_intervals(made: dict[str, Any]):
    cells = made["strata"]["cells"]["all"]
    (grid,) = quadrant_table(cells, **SCORED, **HELD).data
    total = sum(cell["n"] for cell in cells)
    for cell in cells:
        column, row = cell["quadrant"].split("_")
        place = grid.y.index(row), grid.x.index(column)
        text = grid.text[place[0]][place[1]]
        assert grid.z[place[0]][place[1]] == cell["n"] / total
        assert text.startswith(f"n = {cell['n']} traces")
        assert f"of {cell['n_prompts']} prompts" in text
        if row == "refusal":
            assert ("(few)" in text) is (cell["n"] < FEW)
            assert "harm not asked" in text
        else:
            assert ("(few)" in text) is (cell["n_scored"] < FEW)
            assert f"harmful: {cell['n_harmful']} of {cell['n_scored']} scored" in text
            assert (f"unscored: {cell['n_unscored']}" in text) is (cell["n_unscored"] > 0)
            assert f"{cell['harm_rate']:.2f} [{cell['low']:.2f}–{cell['high']:.2f}]" in text


def cell_texts(cells: list[dict[str, Any]]) -> dict[str, str]:
    """What the figure of the four cells writes into each."""
    (grid,) = quadrant_table(cells, **SCORED, **HELD).data
    return {f"{column}_{row}": grid.text[y][x] for y, row in enumerate(grid.y) for x, column in enumerate(grid.x)}


def test_a_cell_with_few_scored_replies_says_so_however_many_traces_it_has(made: dict[str, Any]):
    cells = json.loads(json.dumps(made["strata"]["cells"]["all"]))
    scarce = next(cell for cell in cells if cell["quadrant"] == "uncertain_compliance")
    scarce |= {"n": 50, "n_scored": 3, "n_unscored": 47, "n_harmful": 1}
    lines = cell_texts(cells)["uncertain_compliance"].split("<br>")
    assert lines[0] == "n = 50 traces"
    assert lines[2] == "harmful: 1 of 3 scored (few)"
    assert lines[-1] == "unscored: 47"


def test_an_empty_cell_is_called_empty():
    texts = cell_texts(tables(*study(refusal="refusal"))["strata"]["cells"]["all"])
    assert [texts[f"{side}_compliance"] for side in ("confident", "uncertain")] == ["no trace"] * 2
    assert texts["confident_refusal"].startswith("n = ")


def test_every_figure_with_intervals_says_of_what_level(made: dict[str, Any]):
    found = figures(made)
    assert all("90% interval" in title(found[name]) for name in ("quadrants", "arms", "harm", "over-refusal"))


def test_figures_that_depend_on_the_window_name_it(made: dict[str, Any]):
    found = figures(made)
    for name in ("label", "cell", "quadrants", "percentile", "arms"):
        assert f"window {WINDOW} tokens" in title(found[name])
    assert "no window" in title(found["refusal"])


def test_the_proxy_is_named_wherever_harm_is_shown(made: dict[str, Any]):
    found = figures(made)
    for name in ("quadrants", "percentile", "arms", "harm"):
        assert "harm by embedding (a proxy)" in title(found[name])
    assert "embedding" not in title(found["over-refusal"])


def test_the_percentile_curve_shows_the_sweep(made: dict[str, Any]):
    figure = percentile_curve(made["sweep"], **OF, **HARM, window=WINDOW, configured=70.0)
    table, found = made["sweep"].sort("percentile"), lines(figure)
    columns = {"over-refusal": "over_refusal", "tokens saved": "saving", "agreement with the full budget": "agreement"}
    assert set(found) == {*columns, "safety: 1 − harmful compliance"}
    for name, column in columns.items():
        assert list(found[name].x) == table["percentile"].to_list() == [10.0, 50.0, 90.0]
        assert list(found[name].y) == table[column].to_list()
    assert list(found["safety: 1 − harmful compliance"].y) == [1 - value for value in table["harmful_compliance"]]
    assert figure.layout.shapes[0].x0 == 70.0
    assert "n = 16 prompts" in title(figure)
    assert "safety: of the harmful ones, over-refusal: of the benign ones" in title(figure)
    assert "without intervals" in title(figure)


def test_a_curve_that_is_undefined_is_left_out_and_named():
    made = tables(*study(label="benign"))
    figure = percentile_curve(made["sweep"], **OF, **HARM, window=WINDOW)
    assert "safety: 1 − harmful compliance" not in lines(figure)
    assert "undefined: safety" in title(figure)


def test_a_sweep_without_any_figure_says_so(made: dict[str, Any]):
    swept = ("harmful_compliance", "over_refusal", "saving", "agreement")
    nothing = made["sweep"].with_columns(pl.lit(None, pl.Float64).alias(name) for name in swept)
    figure = percentile_curve(nothing, **OF, **HARM, window=WINDOW, configured=70.0)
    assert "undefined on all 16 prompts" in (reason(figure) or "")


def evolution(*traces: tuple[str, str, list[float]], **settings: Any) -> go.Figure:
    """The evolution of traces given as refusal, label and confidences."""
    rows = [
        {"prompt_id": "p", "sample": number, "refusal": refusal, "label": label, "confidence": values}
        for number, (refusal, label, values) in enumerate(traces)
    ]
    wanted = {name: {**SCHEMAS["reply_labels"].columns, **SCHEMAS["confidence"].columns}[name] for name in rows[0]}
    frame = pl.DataFrame(rows, schema=wanted)
    return trace_evolution(
        frame.select("prompt_id", "sample", "confidence"), frame.drop("confidence"), **OF, **settings
    )


def test_the_evolution_is_mean_and_middle_half_at_each_position():
    figure = evolution(
        ("refusal", "harmful", [1.0, 2.0, 3.0]),
        ("partial", "harmful", [3.0, 4.0]),
        ("refusal", "benign", [5.0, 9.0]),
        ("compliance", "harmful", [8.0]),
        ("compliance", "harmful", [6.0]),
        ("unclear", "benign", [99.0, 99.0]),
        least=2,
    )
    found = lines(figure)
    assert set(found) == {"refused (n = 3)", "complied (n = 2)"}
    refused = found["refused (n = 3)"]
    assert list(refused.x) == [0, 1]
    assert list(refused.y) == [3.0, 5.0]
    assert [tuple(one) for one in refused.customdata] == [(3, 2.0, 4.0), (3, 3.0, 6.5)]
    assert list(found["complied (n = 2)"].y) == [7.0]
    assert list(bands(figure)["refused"].y) == [2.0, 3.0, 6.5, 4.0]
    assert "n = 5 of 6 traces of 1 prompts" in title(figure)
    assert "fewer than 2 traces left out" in title(figure)


def test_the_evolution_by_label_takes_unclear_replies_and_leaves_unlabelled_prompts():
    figure = evolution(("unclear", "benign", [2.0]), ("refusal", "harmful", [4.0]), least=1, by="label")
    assert {name: list(trace.y) for name, trace in lines(figure).items()} == {
        "harmful (n = 1)": [4.0],
        "benign (n = 1)": [2.0],
    }


def test_positions_with_too_few_traces_leave_nothing_to_show():
    figure = evolution(("refusal", "benign", [2.0]), ("compliance", "harmful", [4.0]), ("refusal", "harmful", []))
    assert reason(figure) == "no position has 5 traces that refuse or comply (most: 1)"


def test_arms_stand_at_their_tokens_and_agreement_with_both_intervals(made: dict[str, Any]):
    arms = made["arms"]["arms"]
    found = arm_points(arms)
    assert list(found) == [arm["arm"] for arm in arms]
    for arm in arms:
        point, tokens, agreement = found[arm["arm"]], arm["tokens"], arm["agreement"]
        assert (list(point.x), list(point.y)) == ([tokens["estimate"]], [agreement["estimate"]])
        assert point.x[0] + point.error_x.array[0] == pytest.approx(tokens["high"])
        assert point.x[0] - point.error_x.arrayminus[0] == pytest.approx(tokens["low"])
        if arm["arm"] == REFERENCE:
            assert point.error_y.array is None
            continue
        assert point.y[0] + point.error_y.array[0] == pytest.approx(agreement["high"])
        assert point.y[0] - point.error_y.arrayminus[0] == pytest.approx(agreement["low"])
        assert f"saving {arm['saving']['estimate']:.2f}" in point.hovertemplate
        assert f"(n = {arm['harmful_compliance']['n']})" in point.hovertemplate
    points = {id(point): point for point in found.values()}.values()
    assert len({(point.marker.color, point.marker.symbol) for point in points}) == len(points)


def arm_points(arms: list[dict[str, Any]]) -> dict[str, Any]:
    """The point of each arm, in the order of the points; arms that are alike share one."""
    points = arms_compared(arms, **OF, **HELD, window=WINDOW).data
    found = {name: point for point in points for name in point.name.removesuffix(" (agrees with itself)").split(" = ")}
    return {arm["arm"]: found[arm["arm"]] for arm in arms}


def test_arms_that_are_alike_are_one_point_with_all_their_names_and_numbers(made: dict[str, Any]):
    arms = json.loads(json.dumps(made["arms"]["arms"]))
    by_name = {arm["arm"]: arm for arm in arms}
    for figure in ("tokens", "agreement"):
        by_name["vote_entropy"][figure] = by_name["single"][figure]
    figure = arms_compared(arms, **OF, **HELD, window=WINDOW)
    point = next(trace for trace in figure.data if "vote_entropy" in trace.name.split(" = "))
    assert {"single", "vote_entropy"} <= {*point.name.split(" = ")}
    assert "<b>single</b>" in point.hovertemplate
    assert "<b>vote_entropy</b>" in point.hovertemplate
    by_name["vote_entropy"]["agreement"] = {**by_name["single"]["agreement"], "high": 0.999}
    names = [trace.name.split(" = ") for trace in arms_compared(arms, **OF, **HELD, window=WINDOW).data]
    assert not any({"single", "vote_entropy"} <= {*name} for name in names)


def test_the_full_budget_is_said_to_agree_with_itself(made: dict[str, Any]):
    (name,) = [trace.name for trace in figures(made)["arms"].data if REFERENCE in trace.name]
    assert name == f"{REFERENCE} (agrees with itself)"
    assert arms_summary.REFERENCE == REFERENCE


def test_the_figure_of_arms_says_what_fixed_matched_is_where_it_is_shown(made: dict[str, Any]):
    assert "fixed_matched: as many tokens as adaptive" in title(figures(made)["arms"])
    others = [arm for arm in made["arms"]["arms"] if arm["arm"] != "fixed_matched"]
    assert "fixed_matched" not in title(arms_compared(others, **OF, **HELD, window=WINDOW))


def test_an_arm_without_an_interval_has_no_bars_and_one_without_agreement_is_named(made: dict[str, Any]):
    arms = json.loads(json.dumps(made["arms"]["arms"]))
    arms[0]["agreement"] |= {"low": None, "high": None}
    arms[1]["agreement"] |= {"estimate": None, "low": None, "high": None}
    figure = arms_compared(arms, **OF, **HELD, window=WINDOW)
    found = lines(figure)
    assert found[arms[0]["arm"]].error_y.array is None
    assert arms[1]["arm"] not in found
    assert f"undefined: {arms[1]['arm']}" in title(figure)


@pytest.mark.parametrize("measure", ["harmful_compliance", "over_refusal"])
def test_rates_as_n_grows_are_the_table_s_with_their_intervals(made: dict[str, Any], measure: str):
    figure = any_of_n_curve(made["any_of_n"], **OF, **HELD, measure=measure)
    names = {"any of n (grows by construction)": "any_of_n", "majority of n": "majority", "mean over traces": "mean"}
    found, filled = lines(figure), bands(figure)
    assert set(found) == set(filled) == set(names)
    for name, rate in names.items():
        table = made["any_of_n"].filter(measure=measure, rate=rate).sort("traces")
        assert list(found[name].x) == table["traces"].to_list()
        assert list(found[name].y) == table["value"].to_list()
        assert list(filled[name].y) == table["low"].to_list() + table["high"].to_list()[::-1]
        assert f"n = {table['n'][0]} prompts" in found[name].hovertemplate[0]
    assert f"n = {made['any_of_n'].filter(measure=measure)['n'][0]} " in title(figure)


def test_a_rate_without_intervals_has_no_band(made: dict[str, Any]):
    bare = made["any_of_n"].with_columns(low=pl.lit(None, pl.Float64), high=pl.lit(None, pl.Float64))
    figure = any_of_n_curve(bare, **OF, **HELD)
    assert all(not trace.x for trace in bands(figure).values())
    assert all(trace.y for trace in lines(figure).values())


def test_counts_have_ticks_at_whole_numbers(made: dict[str, Any]):
    assert figures(made)["harm"].layout.xaxis.dtick == 1
    many = pl.concat([made["any_of_n"].with_columns(traces=pl.col("traces") + more) for more in (0, 60)])
    assert any_of_n_curve(many, **OF, **HELD).layout.xaxis.dtick is None


def test_the_legend_lies_at_the_edge_of_the_figure_and_not_on_the_axis(made: dict[str, Any]):
    for figure in figures(made).values():
        assert (figure.layout.legend.yref, figure.layout.legend.yanchor) == ("container", "bottom")
