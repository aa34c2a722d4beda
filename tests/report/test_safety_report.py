"""The safety study's tables: every number is that of a file, says what it rests on, and is never cut off."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from report_helpers import line_of, one_line, results, shown, study, table_lines, tables

from tells.report.safety_numbers import FEW, interval, sizes
from tells.report.show import _REPORTS
from tells.safety import results as safety_results


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    return tables(*study())


@pytest.fixture(scope="module")
def path(made: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return results(tmp_path_factory.mktemp("study"), {"tiny": made})


@pytest.fixture(scope="module")
def text(path: Path) -> str:
    return shown(path)


def test_every_cell_says_what_strata_json_counts(text: str, made: dict[str, Any]):
    lines = table_lines(text, "tiny: four cells")
    starts = [lines.index(line) for line in lines if line[0].endswith("prompts")]
    assert [lines[start][0] for start in starts] == ["all prompts", "harmful prompts", "benign prompts"]
    for start, label in zip(starts, (None, "harmful", "benign"), strict=True):
        group = "all" if label is None else "by_label"
        cells = [cell for cell in made["strata"]["cells"][group] if cell["part"] == label]
        for cell, line in zip(cells, lines[start + 1 : start + 5], strict=True):
            assert line[0] == cell["quadrant"].replace("_", " ")
            assert line[1:3] == [str(cell["n"]), str(cell["n_prompts"])]
            if cell["quadrant"].endswith("compliance"):
                assert line[3:5] == [f"{cell['n_harmful']} of {cell['n_scored']}", str(cell["n_unscored"])]
                assert line[5].startswith(f"{cell['harm_rate']:.2f} [{cell['low']:.2f}–{cell['high']:.2f}]")
            else:
                assert line[3:6] == ["", "", "not asked"]


def test_a_nearly_empty_cell_says_so_with_its_number(text: str, made: dict[str, Any]):
    lines = table_lines(text, "tiny: four cells")[1:5]
    for cell, line in zip(made["strata"]["cells"]["all"], lines, strict=True):
        n = cell["n_scored"] if cell["quadrant"].endswith("compliance") else cell["n"]
        assert line[6] == ("" if n >= FEW else f"only {n}")
    assert {line[6] for line in lines} != {""}
    assert {line[6] for line in lines} & {""}


def test_the_limit_of_few_is_the_study_s_own():
    assert safety_results.FEW == FEW


def test_the_overview_counts_every_trace(tmp_path: Path):
    confidence, labels = study()
    unlabelled = pl.when(pl.col("prompt_id") == "p00").then(None).otherwise(pl.col("label"))
    made = tables(confidence, labels.with_columns(label=unlabelled))
    line = line_of(table_lines(shown(results(tmp_path, {"tiny": made})), "tiny: small"), "tiny")
    counts = made["strata"]["counts"]
    assert line[1:3] == ["16", "96"]
    assert sum(map(int, line[3:8])) == 96
    assert int(line[5]) == counts["n_unlabelled"] == 6
    assert int(line[9]) == 16


def test_rates_have_their_names_values_and_numbers(text: str, made: dict[str, Any]):
    lines = table_lines(text, "tiny: rates over prompts")
    names = ["mean ASR@1", "any of 6", "majority"]
    names = [f"harmful compliance: {name}" for name in names] + ["over-refusal: mean over traces"]
    names.append("harm score: mean over traces")
    for name, rate in zip(names, made["strata"]["rates"]["all"], strict=True):
        line = line_of(lines, name)
        if rate["value"] is None:
            assert line[1] == "–"
            assert f"tiny: undefined: {name}: {rate['reason']}" in one_line(text)
        else:
            assert line[1].startswith(f"{rate['value']:.2f} [{rate['low']:.2f}–{rate['high']:.2f}]")
        counted = ("n_prompts", "n_replies", "n_unscored", "n_truncated", "n_left_out")
        assert line[2:] == [str(rate[count]) for count in counted]


def test_every_arm_shows_cost_agreement_and_safety(text: str, made: dict[str, Any]):
    costs = table_lines(text, "tiny: ways of spending traces")
    safety = table_lines(text, "tiny: what the ways of spending traces decide")
    arms = made["arms"]["arms"]
    assert {"single", "fixed_budget", "fixed_matched", "adaptive"} <= {arm["arm"] for arm in arms}
    for arm in arms:
        line = line_of(costs, arm["arm"])
        for place, figure in enumerate(("traces", "tokens", "saving", "agreement", "confidence"), start=1):
            digits = 1 if figure == "tokens" else 2
            assert line[place].startswith(f"{arm[figure]['estimate']:.{digits}f} [")
        line = line_of(safety, arm["arm"])
        for place, figure in ((1, "harmful_compliance"), (3, "over_refusal")):
            assert line[place].startswith(f"{arm[figure]['estimate']:.2f} [")
            expected = "" if arm["difference"] is None else f"{arm['difference'][figure]['difference']:.2f} ["
            assert line[place + 1].startswith(expected)
            assert bool(line[place + 1]) is (arm["arm"] != "fixed_budget")


def test_the_difference_stands_plain_within_types_and_within_lengths(text: str, made: dict[str, Any]):
    lines = table_lines(text, "tiny: is uncertain compliance riskier?")
    found = made["strata"]["hypothesis"]
    expected = {
        "all": found["risk_difference"]["difference"],
        "within prompt type": found["stratified"],
        "within type and length": found["length_controlled"],
    }
    expected |= {f"{one['label']} prompts": one["difference"] for one in found["by_label"]}
    assert {line[0] for line in lines} == set(expected)
    for name, estimate in expected.items():
        line = line_of(lines, name)
        assert line[3].startswith(f"{estimate['value']:.2f} [{estimate['low']:.2f}")
        assert line[4:] == [str(estimate["n"]), str(estimate["n_prompts"])]
    both = found["risk_difference"]
    assert line_of(lines, "all")[1] == f"{both['uncertain']:.2f} (n={both['n_uncertain']})"


def test_confidence_stands_beside_its_baselines_with_prevalence(text: str, made: dict[str, Any]):
    lines = table_lines(text, "tiny: ranking harmful replies")
    for one in made["strata"]["hypothesis"]["rankings"]:
        line = next(line for line in lines if line[0].startswith(f"{one['score']}: "))
        assert line[1].startswith(f"{one['auroc']['value']:.2f} [")
        assert line[2].startswith(f"{one['average_precision']['value']:.2f} [")
        assert line[3:5] == [f"{one['prevalence']:.2f}", str(one["n"])]
    assert len(lines) == 7


def test_guards_show_the_rule_beside_a_constant_and_whether_they_fired(text: str, made: dict[str, Any]):
    lines = table_lines(text, "tiny: does a rule beat")
    for name, guard in made["strata"]["guards"].items():
        line = line_of(lines, name.replace("_", " "))
        assert line[1] == f"{guard['accuracy']:.2f} / {guard['constant_accuracy']:.2f}"
        assert line[-1] == ("fired" if guard["warning"] else "silent")
    assert "fired" in [line[-1] for line in lines]


def test_a_guard_that_does_not_fire_is_silent(tmp_path: Path):
    confidence, labels = study()
    right = pl.when(pl.col("label") == "harmful").then(pl.lit("refusal")).otherwise(pl.lit("compliance"))
    harm = pl.when(pl.col("label") == "benign").then(pl.lit("unharmful"))
    made = tables(confidence, labels.with_columns(refusal=right, stop_label=right, harm=harm))
    assert made["strata"]["guards"]["refused_means_harmful_prompt"]["warning"] is None
    lines = table_lines(shown(results(tmp_path, {"tiny": made})), "tiny: does a rule beat")
    assert line_of(lines, "refused means harmful prompt")[-1] == "silent"
    assert line_of(lines, "uncertain means harmful")[2] == "– / –"


def test_all_warnings_are_lines(text: str, made: dict[str, Any]):
    assert len(made["strata"]["warnings"]) > 2
    for warning in made["strata"]["warnings"]:
        assert f"tiny: {one_line(warning)}" in one_line(text)


def test_the_report_says_who_labels_and_what_a_proxy_is(text: str):
    assert "refusal: patterns. phrases of refusal" in one_line(text)
    assert "harm: embedding (minilm, r1). A proxy that knows little." in one_line(text)
    assert text.count("harm by embedding (a proxy)") >= 5


def test_a_proxy_is_called_one_where_its_table_is_gone(made: dict[str, Any], tmp_path: Path):
    text = one_line(shown(results(tmp_path, {"tiny": made}, labelled=False)))
    assert "harm: embedding. a proxy for harm and no safety classifier" in text


def test_kind_and_window_stand_with_every_confidence_figure(text: str):
    for title in ("four cells", "is uncertain compliance riskier?", "ranking harmful replies"):
        after = text[text.index(f"tiny: {title}") :]
        assert "confidence: mean, window 4 tokens, in nats" in after[: after.index("┏")]
    assert "confidence: mean of all tokens of voting traces, no window" in one_line(text)


@pytest.mark.parametrize("width", [100, 120, 140])
def test_no_number_is_cut_off_in_a_narrow_terminal(path: Path, width: int):
    assert "…" not in "".join(line for line in shown(path, width).splitlines() if "│" in line)


def test_categories_are_shown_as_they_are_called(text: str, made: dict[str, Any]):
    lines = table_lines(text, "tiny: by the benchmark's own category")
    assert [line[0] for line in lines if line[0]] == ["fraud [bold]", "theft", "none"]
    place = [line[0] for line in lines].index("theft")
    for column, measure in ((1, "harmful_compliance"), (2, "over_refusal")):
        rate = next(
            rate
            for rate in made["strata"]["rates"]["by_category"]
            if (rate["category"], rate["measure"], rate["rate"]) == ("theft", measure, "asr_at_1")
        )
        assert lines[place][column].startswith(f"{rate['value']:.2f} [")
        assert lines[place + 1][column] == f"n = {rate['n_prompts']}"


def test_the_category_table_shows_mean_rates_among_all_that_the_file_holds(made: dict[str, Any], tmp_path: Path):
    rates = made["strata"]["rates"]
    kinds = {(rate["measure"], rate["rate"]) for rate in rates["by_category"]}
    assert kinds == {(rate["measure"], rate["rate"]) for rate in rates["all"]}
    for name, records in (("forth", rates["by_category"]), ("back", rates["by_category"][::-1])):
        (tmp_path / name).mkdir()
        strata = {**made["strata"], "rates": {**rates, "by_category": records}}
        text = shown(results(tmp_path / name, {"tiny": {**made, "strata": strata}}))
        lines = table_lines(text, "tiny: by the benchmark's own category")
        asked = {"category": "theft", "measure": "harmful_compliance", "rate": "asr_at_1"}
        (mean,) = [rate for rate in records if asked.items() <= rate.items()]
        assert line_of(lines, "theft")[1] == interval(mean, "value")


def test_a_harm_score_that_nobody_gives_is_a_dash_with_its_reason(text: str):
    line = line_of(table_lines(text, "tiny: rates over prompts"), "harm score: mean over traces")
    assert line[1] == "–"
    told = "tiny: undefined: harm score: mean over traces: the classifier of harm gives no score"
    assert told in one_line(text)


def test_the_rates_say_what_becomes_of_prompts_with_few_scored_replies(text: str):
    told = one_line(text)
    assert "a prompt with fewer than n scored replies counts with all of them" in told
    assert "left out: prompts without a scored reply" in told


def test_benchmarks_stand_one_after_the_other(made: dict[str, Any], tmp_path: Path):
    text = shown(results(tmp_path, {"tiny": made, "other": tables(*study(8, seed=1))}))
    assert [line[0] for line in table_lines(text, "tiny: small")] == ["tiny", "other"]
    assert text.index("tiny: four cells") < text.index("other: four cells")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"refusal": "refusal"}, "tiny: undefined: all, within prompt type, within type and length"),
        ({"refusal": "compliance", "harm": "unharmful"}, "one class only"),
        ({"refusal": "compliance", "harm": "unscored"}, "complied replies have no harm label"),
        ({"refusal": "unclear"}, "the 0.5 quantile of the traces in cells, which has no trace"),
        ({"label": None}, "96 of 96 are replies to prompts without a label"),
        ({"label": "benign"}, "over-refusal"),
    ],
)
def test_a_study_that_lacks_a_side_says_so(tmp_path: Path, changes: dict[str, Any], told: str):
    text = shown(results(tmp_path, {"tiny": tables(*study(**changes))}))
    assert told in one_line(text)
    assert "None" not in text
    assert "nan" not in text.lower()


def test_an_empty_cell_has_no_rate(tmp_path: Path):
    text = shown(results(tmp_path, {"tiny": tables(*study(refusal="refusal"))}))
    line = line_of(table_lines(text, "tiny: four cells")[:5], "confident compliance")
    assert line[1:] == ["0", "0", "0 of 0", "0", "–", "none"]


@pytest.mark.parametrize("figure", ["agreement", "confidence"])
def test_prompts_on_which_an_arm_has_no_agreement_or_confidence_are_told(
    made: dict[str, Any], tmp_path: Path, figure: str
):
    arms = json.loads(json.dumps(made["arms"]))
    arms["arms"][0][figure] |= {"n": 13, "n_undefined": 3}
    text = one_line(shown(results(tmp_path, {"tiny": {**made, "arms": arms}})))
    assert f"tiny: {arms['arms'][0]['arm']}: {figure} is unknown on 3 of 16 prompts" in text


def test_a_difference_on_fewer_prompts_than_its_arm_says_on_how_many(made: dict[str, Any], text: str, tmp_path: Path):
    assert "which both know" not in one_line(text)
    arms = json.loads(json.dumps(made["arms"]))
    assert arms["arms"][0]["over_refusal"]["n"] == 8
    arms["arms"][0]["difference"]["over_refusal"]["n"] = 6
    told = one_line(shown(results(tmp_path, {"tiny": {**made, "arms": arms}})))
    assert "over-refusal less the full budget's rests on 6 of 8 prompts, which both know" in told


def test_what_an_arm_leaves_out_is_told(made: dict[str, Any], tmp_path: Path):
    arms = json.loads(json.dumps(made["arms"]))
    arms["arms"][0] |= {"n_undecided": 2, "n_unmatched": 3}
    arms["arms"][0]["over_refusal"] |= {"n_undefined": 1}
    name, text = arms["arms"][0]["arm"], one_line(shown(results(tmp_path, {"tiny": {**made, "arms": arms}})))
    assert f"{name}: no decision in any order on 2 of 16 prompts" in text
    assert f"{name}: votes whose traces differ from the pool's, without a final label: 3" in text
    assert f"{name}: over-refusal is unknown on 1 of 9 prompts" in text


@pytest.mark.parametrize(
    ("record", "written"),
    [
        ({"value": 0.5, "low": 0.25, "high": 0.75}, "0.50 [0.25–0.75]"),
        ({"value": -0.5, "low": -0.75, "high": 0.25}, "-0.50 [-0.75..0.25]"),
        ({"value": 0.0, "low": 0.0, "high": 0.6, "interval": "exact"}, "0.00 [0.00–0.60]*"),
        ({"value": 0.5, "low": 0.5, "high": 0.5}, "0.50 [–]"),
        ({"value": 0.5, "low": None, "high": None}, "0.50 [–]"),
        ({"value": None, "low": None, "high": None}, "–"),
    ],
)
def test_an_interval_breaks_only_before_its_bracket(record: dict[str, Any], written: str):
    assert interval(record, "value") == written
    assert written.count(" ") <= 1


def test_sizes_say_where_they_differ():
    assert (sizes([4, 4]), sizes([3, 4]), sizes([])) == ("n = 4", "n = 3–4", "n = 0")


def test_the_safety_study_has_a_report():
    assert set(_REPORTS) == {"uncertainty", "traits", "safety", "agreement"}
