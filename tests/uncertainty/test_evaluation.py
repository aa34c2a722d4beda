"""Evaluation: what is scored on which rows, in which direction, and what stands in a record."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from probe_helpers import LAYERS, POSITIONS, ArrayStates, chance_tolerance, make_study
from rich.console import Console

from tells.report.uncertainty import uncertainty_report
from tells.stats import auroc, ece, holm, question_level, spearman
from tells.uncertainty import probes as probes_module
from tells.uncertainty.baselines import BASELINES, sign_towards
from tells.uncertainty.evaluation import evaluate, transfer_matrix
from tells.uncertainty.evaluation_metrics import (
    AUROC,
    InferenceSettings,
    ScoredRows,
    accuracy_summary,
    draws_record,
)
from tells.uncertainty.probe_files import ProbeSet, apply, apply_control
from tells.uncertainty.probes import ProbeSettings, fit_probes

QUICK = InferenceSettings(bootstrap=40, permutations=39)
BARE = InferenceSettings(bootstrap=2, permutations=1)
METRICS = [
    "aurac",
    "auroc",
    "auroc_minus_token_entropy",
    "auroc_question",
    "auroc_within_question",
    "average_precision",
    "brier",
    "confidence_when_correct",
    "confidence_when_incorrect",
    "ece_10",
    "prr",
]
FAST = ProbeSettings(regularisation=(0.01, 0.1))


@pytest.fixture(scope="module")
def study():
    """Two in-distribution data sets and one outside, with the probes and their evaluation."""
    runs, states = make_study(questions=50, datasets=("capitals", "sums"), outside=("far",))
    probes = fit_probes(runs, states, FAST)
    return runs, states, probes, evaluate(runs, states, probes, settings=QUICK)


def find(records, **keys):
    found = [record for record in records if all(record[key] == value for key, value in keys.items())]
    assert len(found) == 1, f"{len(found)} records with {keys}"
    return found[0]


def held_out_rows(runs, dataset):
    return ((runs["split"] == "test") & ~runs["greedy"] & (runs["dataset"] == dataset)).to_numpy()


def scores_of(probe, states):
    place = LAYERS.index(probe.layer), POSITIONS.index(probe.position)
    return apply(probe, states.states(*place)[0])


def test_a_record_holds_the_metric_of_the_held_out_sampled_runs(study):
    runs, states, probes, evaluation = study
    rows = held_out_rows(runs, "sums")
    applied = scores_of(probes["accuracy"], states)
    correct = runs["correct"].to_numpy()[rows]
    record = find(evaluation.records, outcome="accuracy", score="accuracy", dataset="sums", metric="auroc")
    assert record["value"] == auroc(correct, applied.score[rows])
    assert record["low"] <= record["value"] <= record["high"]
    assert record["p"] == 1 / (QUICK.permutations + 1)
    assert (record["n_rows"], record["n_questions"], record["split"]) == (50, 10, "test")
    assert record["prevalence"] == pytest.approx(correct.mean())
    record = find(evaluation.records, outcome="accuracy", score="accuracy", dataset="sums", metric="ece_10")
    assert record["value"] == ece(correct, applied.probability[rows])


def test_every_metric_stands_for_every_probe_and_baseline_on_every_data_set(study):
    evaluation = study[3]
    names = {record["score"] for record in evaluation.records if record["outcome"] == "accuracy"}
    baselines = {baseline.name for baseline in BASELINES if not baseline.optional}
    assert names == baselines | {
        "accuracy",
        "accuracy.prompt_end",
        "accuracy.shuffled",
        "accuracy@capitals",
        "accuracy@sums",
        "semantic_entropy",
        "semantic_entropy_raw",
    }
    for dataset in ("capitals", "sums", "far"):
        found = [
            record["metric"]
            for record in evaluation.records
            if (record["outcome"], record["score"], record["dataset"]) == ("accuracy", "accuracy", dataset)
        ]
        assert sorted(found) == METRICS


def test_a_data_set_without_training_rows_is_out_of_distribution(study):
    records = study[3].records
    for record in records:
        if record["kind"] in ("probe", "control"):
            assert record["trained_on"] == ["capitals", "sums"]
            assert record["distribution"] == ("out" if record["dataset"] == "far" else "in")
    record = find(records, outcome="accuracy", score="accuracy", dataset="far", metric="auroc")
    assert (record["n_rows"], record["n_questions"]) == (250, 50)
    assert record["value"] > 0.8


def test_curves_are_of_the_rows_that_the_records_rest_on(study):
    evaluation = study[3]
    curves = evaluation.curves
    keys = ["outcome", "score", "kind", "dataset"]
    assert set(curves["kind"]) == {"probe", "baseline"}
    assert set(curves["outcome"]) == {"accuracy", "semantic_entropy"}
    records = pl.DataFrame([record for record in evaluation.records if record["metric"] == "auroc"])
    expected = records.filter(pl.col("value").is_not_null() & pl.col("kind").is_in(["probe", "baseline"]))
    drawn = curves.filter(curve="roc").group_by(keys).agg(pl.col("n_rows", "n_questions").first(), "x", "y")
    both = expected.join(drawn, on=keys, how="full", validate="1:1")
    assert both.height == expected.height == drawn.height
    for row in both.iter_rows(named=True):
        assert (row["n_rows"], row["n_questions"]) == (row["n_rows_right"], row["n_questions_right"])
        # A hundred places see the area of a curve of 50 rows to about a step.
        assert np.trapezoid(row["y"], row["x"]) == pytest.approx(row["value"], abs=0.02)
    by_kind = {name: set(part["outcome"]) for (name,), part in curves.group_by("curve")}
    assert by_kind["rejection"] == {"accuracy"}
    # Of all baselines the regression on token entropy alone gives a calibrated probability.
    assert set(curves.filter(curve="reliability", kind="baseline")["score"]) == {"token_entropy"}
    assert set(curves.filter(curve="roc", kind="baseline")["score"]) > {"token_entropy", "discrete"}
    assert curves.filter(pl.col("low") > pl.col("high")).is_empty()


CONTROLS = [(target, dataset) for target in ("accuracy", "semantic_entropy") for dataset in ("sums", "far")]


def controls_of(runs, states, settings=None):
    """The controls' AUROC records with their tolerances, and the evaluation."""
    evaluation = evaluate(runs, states, fit_probes(runs, states, settings or FAST), settings=BARE)
    keys = {"kind": "control", "metric": "auroc"}
    records = [find(evaluation.records, outcome=target, dataset=dataset, **keys) for target, dataset in CONTROLS]
    return records, [chance_tolerance(record, checks=len(records)) for record in records], evaluation


def test_shuffled_labels_know_nothing_on_average():
    """Single shuffles land far from a half; the mean lies within what `chance_tolerance` derives."""
    records, tolerances, evaluation = controls_of(*make_study(questions=60, outside=("far",)))
    for record, tolerance in zip(records, tolerances, strict=True):
        assert record["n_draws"] == FAST.shuffles
        assert abs(record["value"] - 0.5) < tolerance < 0.12, record
    assert max(record["high"] for record in records) > 0.7
    for target, dataset in CONTROLS:
        probe = find(evaluation.records, outcome=target, score=target, dataset=dataset, metric="auroc")
        assert probe["value"] > 0.8


def test_classes_of_unequal_size_move_the_mean_of_shuffles_by_less_than_is_granted():
    runs, states = make_study(questions=100, samples=4, signal=0.0)
    labels = runs.with_columns(correct=pl.col("prompt_id").str.slice(1).cast(pl.Int32) % 7 == 0)
    settings = replace(FAST, shuffles=1500)
    evaluation = evaluate(labels, states, fit_probes(labels, states, settings), settings=BARE)
    record = find(evaluation.records, kind="control", outcome="accuracy", metric="auroc")
    assert record["prevalence"] == 0.15
    assert abs(record["value"] - 0.5) < 3 * record["standard_error"] + 0.01
    assert record["standard_error"] < 0.005


def test_a_leak_of_test_labels_into_training_lifts_the_control_out_of_its_tolerance(monkeypatch):
    right = probes_module._Study.rows

    def leaking(study, target, train_on):
        rows = right(study, target, train_on)
        test = target.usable & (study.splits == "test")
        folds = None if rows.folds is None else np.where(test, 0, rows.folds)
        return replace(rows, learn=rows.learn | test, train=rows.train | test, folds=folds)

    monkeypatch.setattr(probes_module._Study, "rows", leaking)
    records, tolerances, _ = controls_of(*make_study(questions=60, width=64, outside=("far",)))
    assert all(record["value"] - 0.5 > tolerance for record, tolerance in zip(records, tolerances, strict=True))


def test_labels_that_were_not_shuffled_lift_the_control_out_of_its_tolerance(monkeypatch):
    monkeypatch.setattr(probes_module, "shuffle_by_question", lambda values, *_, **__: values)
    records, tolerances, _ = controls_of(*make_study(questions=60, outside=("far",)), replace(FAST, shuffles=5))
    assert all(record["value"] - 0.5 > tolerance for record, tolerance in zip(records, tolerances, strict=True))


def test_a_control_is_scored_shuffle_by_shuffle_on_the_held_out_rows(study):
    runs, states, probes, evaluation = study
    probe, control = probes["semantic_entropy"], probes.controls[1]
    place = LAYERS.index(probe.layer), POSITIONS.index(probe.position)
    scores = apply_control(control, probe, states.states(*place)[0])
    rows = held_out_rows(runs, "far")
    high, groups = runs["discrete"].to_numpy()[rows] > probe.tau, runs["group"].to_numpy()[rows]
    by_run = [auroc(high, score[rows]) for score in scores]
    by_question = [auroc(question_level(high, groups)[1], question_level(score[rows], groups)[1]) for score in scores]
    for metric, values in (("auroc", by_run), ("auroc_question", by_question)):
        record = find(evaluation.records, score="semantic_entropy.shuffled", dataset="far", metric=metric)
        assert record["value"] == pytest.approx(np.mean(values))
        assert record["standard_error"] == pytest.approx(np.std(values, ddof=1) / 10)
        assert [record["low"], record["high"]] == pytest.approx(np.percentile(values, [2.5, 97.5]))
        assert (record["n_draws"], record["n_undefined"], record["p"]) == (100, 0, None)
    found = {record["metric"] for record in evaluation.records if record["kind"] == "control"}
    assert found == {"auroc", "auroc_question"}
    others = [record for record in evaluation.records if record["kind"] != "control"]
    assert all(record["n_draws"] is None and record["standard_error"] is None for record in others)


def test_the_record_of_draws_in_worked_values():
    labels, groups = np.array([0.0, 0.0, 1.0, 1.0]), np.array([0, 1, 2, 3])
    up, down, half = np.array([1.0, 2, 3, 4]), np.array([4.0, 3, 2, 1]), np.array([1.0, 4, 2, 3])
    draws = [ScoredRows(labels, score, groups) for score in (up, up, half, down)]
    record = draws_record({}, AUROC, draws, InferenceSettings(level=0.5))
    # AUROCs 1, 1, 1/2, 0: mean 5/8, squared deviations 11/16 in all.
    assert record["value"] == 0.625
    assert record["standard_error"] == pytest.approx(np.sqrt(11 / 16 / 3) / 2)
    assert (record["low"], record["high"]) == (0.375, 1.0)
    assert (record["n_draws"], record["n_undefined"], record["n_rows"], record["n_questions"]) == (4, 0, 4, 4)
    single = draws_record({}, AUROC, draws[:1], InferenceSettings())
    assert (single["value"], single["low"], single["standard_error"]) == (1.0, None, None)
    assert single["reason"] == "one draw has no spread"
    one_class = draws_record({}, AUROC, [ScoredRows(np.ones(4), up, groups)] * 2, InferenceSettings())
    assert (one_class["value"], one_class["n_undefined"]) == (None, 2)
    assert "one class only" in one_class["reason"]
    assert draws_record({}, AUROC, [], InferenceSettings())["reason"] == "no rows"
    assert draws_record({}, AUROC, draws, InferenceSettings(), "degenerate")["value"] is None


def test_the_table_says_what_a_control_is(study, tmp_path):
    records = [record for record in study[3].records if record["dataset"] == "far"]
    content = {
        "metadata": {"experiment": "planted", "model": {"name": "none", "revision": "0"}},
        "datasets": {},
        "accuracy": [],
        "records": records,
        "unfitted": {},
        "unavailable": {},
    }
    path = tmp_path / "results.json"
    path.write_text(json.dumps(content))
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(uncertainty_report(path, tmp_path))
    text = console.export_text()
    control = find(records, score="accuracy.shuffled", metric="auroc")
    row = next(line for line in text.splitlines() if "accuracy.shuffled" in line)
    assert f"{control['value']:.3f} [{control['low']:.3f}, {control['high']:.3f}]" in row
    caption = " ".join(text.split())
    assert "a .shuffled control is the mean over 100 shuffles of labels [2.5th, 97.5th percentile of them]" in caption


def test_the_shuffled_probe_is_a_control_outside_the_corrected_family(study):
    record = find(study[3].records, outcome="accuracy", score="accuracy.shuffled", dataset="far", metric="auroc")
    assert record["kind"] == "control"
    assert record["value"] is not None
    assert record["p_holm"] is None


def test_the_entropy_probe_is_scored_on_correctness_as_an_uncertainty(study):
    runs, states, probes, evaluation = study
    rows = held_out_rows(runs, "far")
    score = scores_of(probes["semantic_entropy"], states).score[rows]
    keys = {"score": "semantic_entropy", "dataset": "far"}
    crossed = find(evaluation.records, outcome="accuracy", metric="auroc", **keys)
    assert crossed["value"] == auroc(runs["correct"].to_numpy()[rows], -score)
    assert crossed["value"] > 0.7
    own = find(evaluation.records, outcome="semantic_entropy", metric="auroc", **keys)
    high = runs["discrete"].to_numpy()[rows] > probes["semantic_entropy"].tau
    assert own["value"] == auroc(high, score)
    calibration = find(evaluation.records, outcome="accuracy", metric="brier", **keys)
    assert calibration["value"] is None
    assert "no probability" in calibration["reason"]


def test_the_raw_entropy_is_judged_by_rank_correlation(study):
    runs, states, probes, evaluation = study
    rows = held_out_rows(runs, "far")
    keys = {"outcome": "semantic_entropy_raw", "score": "semantic_entropy_raw", "dataset": "far"}
    record = find(evaluation.records, **keys)
    score = scores_of(probes["semantic_entropy_raw"], states).score[rows]
    assert record["metric"] == "spearman"
    assert record["value"] == pytest.approx(spearman(runs["discrete"].to_numpy()[rows], score))


@pytest.mark.parametrize(
    ("column", "direction"),
    [("entropy_think_mean", -1), ("rao", -1), ("n_think", -1), ("majority_share", 1), ("mean_log_likelihood", 1)],
)
def test_the_direction_of_a_baseline_is_fixed_and_never_fitted(study, column, direction):
    runs, states, probes, _ = study
    name = next(baseline.name for baseline in BASELINES if baseline.column == column)
    # Turned round in the data, the signal must be reported below chance, not turned back.
    turned = runs.with_columns(-pl.col(column).cast(pl.Float64))
    plain = ProbeSet(tuple(probe for probe in probes.probes if probe.layer is not None))
    for table, sign in ((runs, 1), (turned, -1)):
        evaluation = evaluate(table, states, plain, settings=BARE)
        rows = held_out_rows(table, "far")
        values = sign * direction * runs[column].to_numpy()[rows]
        record = find(evaluation.records, outcome="accuracy", score=name, dataset="far", metric="auroc")
        assert record["value"] == pytest.approx(auroc(runs["correct"].to_numpy()[rows], values))
        record = find(evaluation.records, outcome="semantic_entropy", score=name, dataset="far", metric="auroc")
        high = runs["discrete"].to_numpy()[rows] > probes["semantic_entropy"].tau
        assert record["value"] == pytest.approx(auroc(high, -values))


def test_uncertainty_is_negated_for_accuracy_and_confidence_for_entropy():
    assert sign_towards("accuracy", uncertainty=True) == -1
    assert sign_towards("accuracy", uncertainty=False) == 1
    assert sign_towards("semantic_entropy", uncertainty=True) == 1
    assert sign_towards("semantic_entropy_raw", uncertainty=False) == -1
    with pytest.raises(ValueError, match="outcome"):
        sign_towards("luck", uncertainty=True)


def test_the_question_level_outcome_is_the_greedy_run(study):
    runs, states, probes, evaluation = study
    rows = ((runs["dataset"] == "far") & runs["greedy"]).to_numpy()
    keys = {"dataset": "far", "metric": "auroc_question"}
    record = find(evaluation.records, outcome="accuracy", score="accuracy", **keys)
    score = scores_of(probes["accuracy"], states).score[rows]
    assert record["value"] == auroc(runs["correct"].to_numpy()[rows], score)
    assert record["n_rows"] == record["n_questions"] == 50
    entropy = find(evaluation.records, outcome="semantic_entropy", score="semantic_entropy", **keys)
    assert entropy["n_rows"] == 50


def test_without_greedy_runs_the_question_level_says_so():
    runs, states = make_study(questions=40, greedy=False)
    evaluation = evaluate(runs, states, fit_probes(runs, states, FAST), settings=BARE)
    record = find(evaluation.records, outcome="accuracy", score="accuracy", metric="auroc_question")
    assert (record["value"], record["reason"]) == (None, "no greedy runs")
    assert find(evaluation.accuracy, metric="accuracy_greedy")["reason"] == "no rows"


def test_an_entropy_cannot_be_scored_on_itself_nor_within_a_question(study):
    records = study[3].records
    record = find(records, outcome="semantic_entropy", score="discrete", dataset="sums", metric="auroc")
    assert (record["value"], record["reason"]) == (None, "the target is made of this score")
    keys = {"score": "semantic_entropy", "dataset": "sums", "metric": "auroc_within_question"}
    record = find(records, outcome="semantic_entropy", **keys)
    assert (record["value"], record["reason"]) == (None, "no question has runs of both classes")


def test_the_prompt_end_cannot_tell_runs_of_one_question_apart(study):
    keys = {"outcome": "accuracy", "dataset": "far", "metric": "auroc_within_question"}
    assert find(study[3].records, score="accuracy.prompt_end", **keys)["value"] == 0.5
    assert find(study[3].records, score="accuracy", **keys)["value"] > 0.8


def test_the_paired_difference_is_that_of_the_two_aurocs_on_common_rows(study):
    runs, states, _, _ = study
    missing = runs.with_columns(
        entropy_think_mean=pl.when(pl.col("sample") == 0).then(None).otherwise("entropy_think_mean")
    )
    probes = fit_probes(missing, states, FAST)
    evaluation = evaluate(missing, states, probes, settings=BARE)
    keys = {"outcome": "accuracy", "dataset": "far"}
    record = find(evaluation.records, score="accuracy", metric="auroc_minus_token_entropy", **keys)
    rows = held_out_rows(runs, "far") & (runs["sample"] != 0).to_numpy()
    correct, feature = runs["correct"].to_numpy()[rows], runs["entropy_think_mean"].to_numpy()[rows]
    score = scores_of(probes["accuracy"], states).score[rows]
    assert record["value"] == pytest.approx(auroc(correct, score) - auroc(correct, -feature))
    assert record["n_rows"] == rows.sum() == 200
    assert find(evaluation.records, score="token_entropy", metric="auroc", **keys)["n_rows"] == 200
    assert find(evaluation.records, score="accuracy", metric="auroc", **keys)["n_rows"] == 250
    brier = find(evaluation.records, score="token_entropy", metric="brier", **keys)
    assert 0 < brier["value"] < 0.5


def test_holm_covers_the_primary_metric_of_every_probe_and_data_set(study):
    records = study[3].records
    family = [record for record in records if record["kind"] == "probe" and record["metric"] == "auroc"]
    # Probes on correctness: accuracy, its prompt end, two crossed; on entropy: two and the raw one.
    assert len(family) == (4 + 3) * 3
    assert [record["p_holm"] for record in family] == holm([record["p"] for record in family])
    assert all(record["n_tests"] == len(family) for record in family)
    assert all(record["p_holm"] is None for record in records if not any(record is other for other in family))


def test_the_transfer_matrix_holds_out_its_diagonal(study):
    _, _, probes, evaluation = study
    cells = transfer_matrix(evaluation.records)
    assert {(cell["outcome"], cell["train"], cell["test"]) for cell in cells} == {
        (outcome, train, test)
        for outcome in ("accuracy", "semantic_entropy")
        for train in ("capitals", "sums")
        for test in ("capitals", "sums", "far")
    }
    diagonal = find(cells, outcome="accuracy", train="sums", test="sums")
    assert diagonal["n_questions"] == 10
    assert probes["accuracy@sums"].trained_on == ("sums",)
    other = find(evaluation.records, score="accuracy@sums", dataset="capitals")
    assert other["distribution"] == "out"


def test_a_test_question_that_was_trained_on_elsewhere_is_left_out_and_counted():
    runs, states = make_study(questions=40, outside=("far",))
    shared = (pl.col("dataset") == "far") & (pl.col("prompt_id") == "q000")
    runs = runs.with_columns(group=pl.when(shared).then(pl.lit("sums-000")).otherwise("group"))
    evaluation = evaluate(runs, states, fit_probes(runs, states, FAST), settings=BARE)
    record = find(evaluation.records, outcome="accuracy", score="accuracy", dataset="far", metric="auroc")
    assert record["n_questions"] == 39
    assert evaluation.n_seen_elsewhere == 6


def test_the_probe_is_more_confident_of_correct_runs(study):
    runs, states, probes, evaluation = study
    keys = {"outcome": "accuracy", "score": "accuracy", "dataset": "far"}
    right = find(evaluation.records, metric="confidence_when_correct", **keys)
    wrong = find(evaluation.records, metric="confidence_when_incorrect", **keys)
    assert right["low"] > wrong["high"]
    rows = held_out_rows(runs, "far") & runs["correct"].to_numpy()
    assert right["value"] == pytest.approx(scores_of(probes["accuracy"], states).probability[rows].mean())
    assert right["n_rows"] + wrong["n_rows"] == 250


def test_a_degenerate_target_has_records_that_say_why():
    runs, states = make_study(questions=40)
    runs = runs.with_columns(discrete=pl.lit(0.7))
    evaluation = evaluate(runs, states, fit_probes(runs, states, FAST), settings=BARE)
    for score in ("semantic_entropy", "semantic_entropy.shuffled", "token_entropy"):
        record = find(evaluation.records, outcome="semantic_entropy", score=score, metric="auroc")
        assert record["value"] is None
        assert "degenerate" in record["reason"]
    assert find(evaluation.records, outcome="accuracy", score="accuracy", metric="auroc")["value"] > 0.7


def test_one_class_in_the_test_set_is_none_with_a_reason():
    runs, states = make_study(questions=40)
    runs = runs.with_columns(correct=pl.when(pl.col("split") == "test").then(pl.lit(True)).otherwise("correct"))
    evaluation = evaluate(runs, states, fit_probes(runs, states, FAST), settings=QUICK)
    record = find(evaluation.records, outcome="accuracy", score="accuracy", metric="auroc")
    assert (record["value"], record["low"], record["p"], record["p_holm"]) == (None, None, None, None)
    assert "one class only" in record["reason"]
    assert find(evaluation.records, outcome="accuracy", score="accuracy", metric="brier")["value"] is not None
    assert find(evaluation.records, score="accuracy", metric="confidence_when_incorrect")["reason"] == "no rows"


def test_everything_is_ready_for_json_and_twice_the_same(study):
    runs, states, probes, evaluation = study
    text = json.dumps([evaluation.records, evaluation.accuracy], allow_nan=False)
    again = evaluate(runs, states, probes, settings=QUICK)
    assert json.dumps([again.records, again.accuracy], allow_nan=False) == text
    assert again.scores.equals(evaluation.scores)
    assert all(record["reason"] for record in evaluation.records if record["value"] is None)
    keys = [(record["outcome"], record["score"], record["dataset"], record["metric"]) for record in evaluation.records]
    assert len(set(keys)) == len(keys)


def test_the_scores_table_has_a_row_a_run_and_null_where_there_is_no_state():
    runs, states = make_study(questions=40)
    states.valid[3, :] = False
    probes = fit_probes(runs, states, FAST)
    scores = evaluate(runs, states, probes, settings=BARE).scores
    assert scores.height == runs.height
    assert scores["accuracy.score"].null_count() == scores["accuracy.probability"].null_count() == 1
    assert scores["semantic_entropy_raw.score"].null_count() == 1
    assert "semantic_entropy_raw.probability" not in scores.columns
    assert not [name for name in scores.columns if "shuffled" in name]
    assert not any(scores[name].is_nan().any() for name, kind in scores.schema.items() if kind.is_float())


def test_probes_of_other_runs_are_refused(study):
    runs, states, probes, _ = study
    with pytest.raises(ValueError, match="threshold"):
        evaluate(runs.with_columns(pl.col("discrete") * 2), states, probes, settings=BARE)
    other = ArrayStates(states.hidden[:, :1], states.valid, LAYERS[:1], POSITIONS)
    with pytest.raises(ValueError, match="layer 7"):
        evaluate(runs, other, probes, settings=BARE)


def test_accuracy_is_given_over_all_and_over_complete_runs_and_greedily():
    rows = [
        # group, greedy, truncated, correct, answer
        ("a", False, False, True, "1"),
        ("a", False, True, None, None),
        ("a", False, False, None, "x"),
        ("b", False, False, False, "2"),
        ("b", False, False, True, "3"),
        ("b", False, False, None, None),
        ("a", True, False, True, "1"),
        ("b", True, True, None, None),
    ]
    runs = pl.DataFrame(rows, schema=["group", "greedy", "truncated", "correct", "answer"], orient="row")
    records = accuracy_summary(runs.with_columns(dataset=pl.lit("sums")), QUICK)
    everything = find(records, metric="accuracy_all_runs")
    # The run with an answer that cannot be graded is left out; truncated and unanswered ones are wrong.
    assert everything["value"] == pytest.approx(2 / 5)
    assert (everything["n_rows"], everything["n_truncated"], everything["n_ungraded"]) == (5, 1, 1)
    complete = find(records, metric="accuracy_complete_runs")
    assert complete["value"] == pytest.approx(2 / 3)
    assert (complete["n_rows"], complete["n_truncated"], complete["n_ungraded"]) == (3, 0, 2)
    greedy = find(records, metric="accuracy_greedy")
    assert (greedy["value"], greedy["n_rows"], greedy["n_questions"]) == (0.5, 2, 2)
    assert greedy["low"] == 0.0
    assert greedy["high"] == 1.0
