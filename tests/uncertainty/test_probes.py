"""Probes: the solver, the choice of layer and position, targets, calibration and storage."""

from __future__ import annotations

import dataclasses

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from probe_helpers import LAYERS, PLANTED, POSITIONS, ArrayStates, make_study
from safetensors.numpy import save_file
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

from tells.stats import auroc
from tells.tables import TableError
from tells.uncertainty.probe_files import (
    HiddenStates,
    ProbeSet,
    apply,
    apply_control,
    load_probes,
    save_probes,
    selection_heatmap,
)
from tells.uncertainty.probe_search import SEARCH_TOLERANCE, best_choice
from tells.uncertainty.probe_solver import WeightedDesign, platt_scaling, standardise
from tells.uncertainty.probe_targets import make_targets, question_folds, shuffle_by_question
from tells.uncertainty.probes import ProbeSettings, fit_probes
from tells.uncertainty.threshold import best_split

FAST = ProbeSettings(regularisation=(0.01, 0.1))


def assert_same(one, other):
    for field in dataclasses.fields(one):
        left, right = getattr(one, field.name), getattr(other, field.name)
        if isinstance(left, np.ndarray):
            assert left.tobytes() == right.tobytes(), field.name
        else:
            assert left == right, field.name


def _problem(rows, width, seed, rank=None):
    generator = np.random.default_rng(seed)
    states = generator.normal(size=(rows, rank or width)) @ generator.normal(size=(rank or width, width)) + 5.0
    labels = (states[:, 0] + generator.normal(size=rows) > np.median(states[:, 0])).astype(float)
    weights = 1.0 / generator.integers(1, 6, size=rows)
    return states, labels, weights


# Solver


@pytest.mark.parametrize(("rows", "width", "rank"), [(80, 12, None), (30, 90, None), (40, 40, None), (60, 90, 7)])
@pytest.mark.parametrize("strength", [1e-3, 1e-1, 10.0])
def test_the_solver_agrees_with_scikit_learn_also_in_the_row_space(rows, width, rank, strength):
    states, labels, weights = _problem(rows, width, seed=rows + width, rank=rank)
    design = WeightedDesign(states, weights)
    design.set_strength(strength)
    ours, intercept = design.unrotate(design.fit_logistic(labels, None, 1e-9))
    reference = LogisticRegression(C=strength, tol=1e-10, max_iter=100_000)
    reference.fit(StandardScaler().fit_transform(states), labels, sample_weight=weights)
    assert np.allclose(ours, reference.coef_[0], atol=1e-4, rtol=0)
    assert intercept == pytest.approx(reference.intercept_[0], abs=1e-4)


@pytest.mark.parametrize(("rows", "width"), [(80, 12), (30, 90)])
def test_the_rotation_into_row_space_keeps_the_optimum_exactly(rows, width):
    states, labels, weights = _problem(rows, width, seed=3)
    design = WeightedDesign(states, weights)
    design.set_strength(0.3)
    ours, intercept = design.unrotate(design.fit_logistic(labels, None, 1e-10))
    standard, _, _ = standardise(states)
    residual = weights * (1 / (1 + np.exp(-(standard @ ours + intercept))) - labels)
    assert np.abs(ours + 0.3 * standard.T @ residual).max() < 1e-9
    assert abs(residual.sum()) < 1e-9


@pytest.mark.parametrize(("rows", "width"), [(80, 12), (30, 90)])
def test_the_ridge_agrees_with_scikit_learn(rows, width):
    states, _, weights = _problem(rows, width, seed=1)
    values = states[:, 0] * 0.1 + np.sin(np.arange(rows))
    design = WeightedDesign(states, weights)
    design.set_strength(0.4)
    ours, intercept = design.unrotate(design.fit_ridge(values, 1e-11))
    # Half the squared weights plus C/8 times the squared error is ridge with alpha 4/C.
    reference = Ridge(alpha=4 / 0.4).fit(StandardScaler().fit_transform(states), values, sample_weight=weights)
    assert np.allclose(ours, reference.coef_, atol=1e-7)
    assert intercept == pytest.approx(reference.intercept_, abs=1e-7)


def test_a_warm_start_in_single_precision_ranks_as_the_exact_fit_does():
    states, labels, weights = _problem(120, 60, seed=5)
    fresh, start = _problem(200, 60, seed=6)[0], None
    single, double = WeightedDesign(states, weights, precision=np.float32), WeightedDesign(states, weights)
    for strength in (0.001, 0.01, 0.1, 1.0):
        single.set_strength(strength)
        double.set_strength(strength)
        start = single.fit_logistic(labels, start, SEARCH_TOLERANCE)
        exact = double.fit_logistic(labels, None, 1e-10)
        held = (fresh - double.mean) / double.scale
        one, other = held @ single.unrotate(start)[0], held @ double.unrotate(exact)[0]
        assert np.corrcoef(one, other)[0, 1] > 0.99999


def test_a_constant_feature_takes_no_part():
    states, labels, weights = _problem(40, 5, seed=0)
    states[:, 2] = 0.1
    design = WeightedDesign(states, weights)
    design.set_strength(1.0)
    assert design.unrotate(design.fit_logistic(labels, None, 1e-9))[0][2] == 0.0


def test_one_class_has_no_logistic_fit():
    states, labels, weights = _problem(40, 5, seed=0)
    design = WeightedDesign(states, weights)
    design.set_strength(1.0)
    with pytest.raises(ValueError, match="both classes"):
        design.fit_logistic(np.ones_like(labels), None, 1e-9)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.2, 5.0), st.floats(-2.0, 2.0))
def test_calibration_turns_with_the_scores(seed, factor, shift):
    generator = np.random.default_rng(seed)
    scores, weights = generator.normal(size=50), np.full(50, 0.5)
    labels = (scores + generator.normal(size=50) > 0).astype(float)
    slope, offset = platt_scaling(scores, labels, weights)
    turned, moved = platt_scaling(factor * scores + shift, labels, weights)
    assert turned * factor == pytest.approx(slope, rel=1e-5, abs=1e-7)
    assert moved + turned * shift == pytest.approx(offset, rel=1e-5, abs=1e-6)


def test_calibration_of_separable_scores_is_finite_and_of_one_class_is_none():
    scores, weights = np.linspace(-1, 1, 20), np.ones(20)
    slope, offset = platt_scaling(scores, (scores > 0).astype(float), weights)
    assert np.isfinite([slope, offset]).all()
    assert slope > 0
    assert platt_scaling(scores, np.ones(20), weights) is None
    assert platt_scaling(np.zeros(20), (scores > 0).astype(float), weights) is None


# Targets


def test_truncated_greedy_and_ungraded_runs_have_no_label():
    runs, _ = make_study()
    runs = runs.with_row_index("row").with_columns(
        truncated=pl.col("row") == 1, correct=pl.when(pl.col("row") != 2).then("correct")
    )
    targets = make_targets(runs)
    assert not targets["accuracy"].usable[:3].any()
    assert targets["semantic_entropy"].usable[:3].tolist() == [False, False, True]
    assert targets["accuracy"].usable[3:6].all()


def test_the_threshold_comes_from_training_questions_once_each():
    runs, _ = make_study()
    # A test question of extreme entropy and one training question with more runs must not move it.
    runs = runs.with_columns(discrete=pl.when(pl.col("split") == "test").then(50.0).otherwise("discrete"))
    trained = runs.filter(pl.col("split") == "train").unique("prompt_id")["discrete"].to_numpy()
    target = make_targets(runs)["semantic_entropy"]
    assert target.tau == best_split(trained)
    usable = target.usable
    assert (target.values[usable] == (runs["discrete"].to_numpy()[usable] > target.tau)).all()


def test_a_question_with_too_few_valid_samples_stays_out_of_threshold_and_target():
    runs, _ = make_study()
    runs = runs.with_columns(
        n_valid=pl.when(pl.col("prompt_id") == "q000").then(3).otherwise("n_valid"),
        discrete=pl.when(pl.col("prompt_id") == "q000").then(99.0).otherwise("discrete"),
    )
    target = make_targets(runs)["semantic_entropy"]
    assert not target.usable[(runs["prompt_id"] == "q000").to_numpy()].any()
    assert target.tau < 2
    assert target.counts["questions_below_min_valid"] == 1


@pytest.mark.parametrize("equal", [0.0, 0.7])
def test_equal_entropies_make_the_target_degenerate_and_the_rest_goes_on(equal):
    runs, states = make_study()
    fitted = fit_probes(runs.with_columns(discrete=pl.lit(equal)), states, FAST)
    assert "degenerate" in fitted.unfitted["semantic_entropy"]
    assert "degenerate" in fitted.unfitted["semantic_entropy.prompt_end"]
    assert "degenerate" in fitted.unfitted["semantic_entropy.shuffled"]
    assert [control.name for control in fitted.controls] == ["accuracy.shuffled"]
    assert fitted["accuracy"].layer == PLANTED[0]


def test_a_class_of_under_five_training_questions_is_degenerate():
    runs, states = make_study()
    few = pl.col("prompt_id").is_in(["q000", "q001", "q002", "q003"])
    fitted = fit_probes(runs.with_columns(discrete=pl.when(few).then(2.0).otherwise(0.1)), states, FAST)
    assert "4 with class 1" in fitted.unfitted["semantic_entropy"]
    assert fitted["semantic_entropy_raw"].kind == "ridge"


def test_a_question_in_train_and_validation_is_refused():
    runs, states = make_study()
    runs = runs.with_columns(group=pl.when(pl.col("prompt_id") == "q059").then(pl.lit("sums-000")).otherwise("group"))
    fit_probes(runs, states, FAST)  # a test row of a known question is left to the evaluation
    runs = runs.with_columns(group=pl.when(pl.col("prompt_id") == "q040").then(pl.lit("sums-000")).otherwise("group"))
    with pytest.raises(ValueError, match="sums-000"):
        fit_probes(runs, states, FAST)


@given(st.lists(st.tuples(st.integers(0, 12), st.floats(0, 1)), min_size=2, max_size=60), st.integers(0, 3))
def test_a_question_lies_in_one_fold_and_folds_are_even(rows, seed):
    groups, values = np.array([group for group, _ in rows]), np.array([value for _, value in rows])
    if np.unique(groups).size < 2:
        with pytest.raises(ValueError, match="two questions"):
            question_folds(values, groups, folds=5, seed=seed)
        return
    folds = question_folds(values, groups, folds=5, seed=seed)
    by_group = {group: set(folds[groups == group].tolist()) for group in groups.tolist()}
    assert all(len(found) == 1 for found in by_group.values())
    sizes = np.bincount([found.pop() for found in by_group.values()])
    assert sizes.max() - sizes.min() <= 1


def test_shuffling_moves_whole_questions_within_their_split():
    groups = np.repeat(np.arange(20), 4)
    splits = np.repeat(["train", "validation", "test"], [48, 16, 16])
    values = groups.astype(float)
    values[0] = np.nan
    shuffled = shuffle_by_question(values, groups, splits, seed=0)
    assert np.isnan(shuffled[0])
    assert (shuffled[splits == "test"] == values[splits == "test"]).all()
    assert set(shuffled[splits == "validation"]) == set(values[splits == "validation"])
    assert all(np.unique(shuffled[4:][groups[4:] == group]).size == 1 for group in range(1, 20))
    assert (shuffled[4:48] != values[4:48]).any()
    again = shuffle_by_question(values, groups, splits, seed=0, draw=1)
    assert (again[4:48] != shuffled[4:48]).any()


# Fitting


def test_a_planted_signal_is_found_at_its_layer_and_position():
    runs, states = make_study()
    fitted = fit_probes(runs, states, FAST)
    assert fitted.unfitted == {}
    for name in ("accuracy", "semantic_entropy", "semantic_entropy_raw"):
        assert (fitted[name].layer, fitted[name].position) == PLANTED
        heatmap = selection_heatmap(fitted[name])
        assert len(heatmap) == len(LAYERS) * len(POSITIONS)
        assert max(heatmap, key=lambda row: row["value"])["layer"] == PLANTED[0]
    assert fitted["semantic_entropy.prompt_end"].position == "prompt_end"
    assert {row["position"] for row in fitted["accuracy.prompt_end"].table} == {"prompt_end"}


def test_the_stored_weights_are_those_of_scikit_learn_on_the_training_rows():
    runs, states = make_study()
    # Questions with unequal numbers of runs: each row weighs 1/K of its question.
    kept = (runs["sample"] < 2 + runs["prompt_id"].str.slice(1).cast(pl.Int32) % 3).to_numpy()
    runs, states = runs.filter(kept), ArrayStates(states.hidden[kept], states.valid[kept], LAYERS, POSITIONS)
    probe = fit_probes(runs, states, FAST)["accuracy"]
    rows = ((runs["split"] == "train") & ~runs["greedy"]).to_numpy()
    planted = states.states(LAYERS.index(probe.layer), POSITIONS.index(probe.position))[0][rows].astype(float)
    scaler = StandardScaler().fit(planted)
    sizes = runs.filter(rows).select(pl.len().over("group")).to_series().to_numpy()
    assert set(sizes) == {2, 3, 4}
    reference = LogisticRegression(C=probe.strength, tol=1e-10, max_iter=10_000)
    reference.fit(scaler.transform(planted), runs.filter(rows)["correct"].to_numpy(), sample_weight=1 / sizes)
    assert np.allclose(probe.weights, reference.coef_[0], atol=1e-4)
    assert np.allclose(probe.mean, scaler.mean_)
    assert np.allclose(probe.scale, scaler.scale_)
    assert probe.n_train_rows == rows.sum()
    assert probe.n_train_questions == 36


def test_a_control_is_the_fit_of_its_probe_on_shuffled_labels():
    runs, states = make_study()
    # Questions with unequal numbers of runs, and validation and test labels that must not come into it.
    kept = (runs["sample"] < 2 + runs["prompt_id"].str.slice(1).cast(pl.Int32) % 3).to_numpy()
    runs, states = runs.filter(kept), ArrayStates(states.hidden[kept], states.valid[kept], LAYERS, POSITIONS)
    fitted = fit_probes(runs, states, dataclasses.replace(FAST, shuffles=4, seed=5))
    probe, control = fitted["accuracy"], fitted.controls[0]
    assert (control.name, control.probe, control.n_undefined) == ("accuracy.shuffled", "accuracy", 0)
    assert control.weights.shape == (4, probe.weights.size)
    rows = ((runs["split"] == "train") & ~runs["greedy"]).to_numpy()
    place = LAYERS.index(probe.layer), POSITIONS.index(probe.position)
    planted = states.states(*place)[0]
    standard = (planted[rows] - probe.mean) / probe.scale
    sizes = runs.filter(rows).select(pl.len().over("group")).to_series().to_numpy()
    correct = np.where(rows, runs["correct"].to_numpy().astype(float), np.nan)
    scores = apply_control(control, probe, planted)
    for draw in range(4):
        labels = shuffle_by_question(correct, runs["group"].to_numpy(), runs["split"].to_numpy(), seed=5, draw=draw)
        reference = LogisticRegression(C=probe.strength, tol=1e-10, max_iter=10_000)
        reference.fit(standard, labels[rows], sample_weight=1 / sizes)
        assert np.allclose(control.weights[draw], reference.coef_[0], atol=2e-3)
        assert np.allclose(scores[draw][rows], reference.decision_function(standard), atol=5e-3)
    with pytest.raises(ValueError, match="belongs to probe accuracy"):
        apply_control(control, fitted["semantic_entropy"], planted)


def test_more_shuffles_keep_the_first_ones_and_all_differ():
    runs, states = make_study(questions=40)
    few = fit_probes(runs, states, dataclasses.replace(FAST, shuffles=3)).controls[0]
    many = fit_probes(runs, states, dataclasses.replace(FAST, shuffles=6)).controls[0]
    assert (many.weights[:3] == few.weights).all()
    assert np.unique(many.weights[:, 0]).size == 6


def test_shuffles_that_lose_a_class_are_left_out_and_counted():
    runs, states = make_study(samples=6)
    # Five longer questions alone have a correct run, their last: handed on to a shorter question it is cut off.
    longer = pl.col("prompt_id").str.slice(1).cast(pl.Int32) < 5
    runs = runs.with_columns(correct=longer & (pl.col("sample") == 5))
    kept = runs.select(longer | (pl.col("sample") < 5)).to_series().to_numpy()
    runs, states = runs.filter(kept), ArrayStates(states.hidden[kept], states.valid[kept], LAYERS, POSITIONS)
    train = (runs["split"] == "train").to_numpy() & ~runs["greedy"].to_numpy()
    labels = np.where(train, runs["correct"].to_numpy().astype(float), np.nan)
    keys = labels, runs["group"].to_numpy(), runs["split"].to_numpy()
    lost = [np.nanmax(shuffle_by_question(*keys, seed=0, draw=draw)) == 0 for draw in range(12)]
    assert 0 < sum(lost) < 12
    control = fit_probes(runs, states, dataclasses.replace(FAST, shuffles=12)).controls[0]
    assert control.n_undefined == sum(lost)
    assert len(control.weights) == len(control.intercepts) == 12 - sum(lost)
    seed = next(seed for seed in range(50) if np.nanmax(shuffle_by_question(*keys, seed=seed)) == 0)
    alone = fit_probes(runs, states, dataclasses.replace(FAST, shuffles=1, seed=seed))
    assert "one class" in alone.unfitted["accuracy.shuffled"]
    assert alone["accuracy"].weights.any()


def test_more_runs_of_each_question_give_it_no_more_weight():
    runs, states = make_study(questions=40, samples=3, greedy=False)
    more = runs.with_columns(pl.col("sample") + 100)
    twice = ArrayStates(np.tile(states.hidden, (2, 1, 1, 1)), np.tile(states.valid, (2, 1)), LAYERS, POSITIONS)
    once = fit_probes(runs, states, FAST)["accuracy"]
    again = fit_probes(pl.concat([runs, more]), twice, FAST)["accuracy"]
    assert again.n_train_rows == 2 * once.n_train_rows
    assert np.allclose(once.weights, again.weights, atol=1e-7)
    assert once.slope == pytest.approx(again.slope, abs=1e-6)


def test_few_validation_questions_are_cross_validated_and_many_are_not():
    few = fit_probes(*make_study(questions=60), FAST)["accuracy"]
    assert few.selection == "cross_validation"
    assert few.n_validation_questions == 12
    at_least = dataclasses.replace(FAST, minimum_validation_questions=12)
    many = fit_probes(*make_study(questions=60), at_least)["accuracy"]
    assert many.selection == "validation"
    assert fit_probes(*make_study(questions=500, samples=2), FAST)["accuracy"].selection == "validation"


def test_a_choice_on_the_validation_split_is_the_auroc_of_its_rows():
    runs, states = make_study(questions=80)
    probe = fit_probes(runs, states, dataclasses.replace(FAST, minimum_validation_questions=1))["accuracy"]
    rows = ((runs["split"] == "validation") & ~runs["greedy"]).to_numpy()
    planted = states.states(LAYERS.index(probe.layer), POSITIONS.index(probe.position))[0]
    expected = auroc(runs.filter(rows)["correct"].to_numpy(), apply(probe, planted[rows]).score)
    assert probe.selection_value == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize("minimum_validation_questions", [1, 100])
def test_held_out_questions_take_no_part_in_the_fit_they_judge(minimum_validation_questions):
    runs, states = make_study(questions=60, width=80, signal=0.0)
    settings = dataclasses.replace(FAST, minimum_validation_questions=minimum_validation_questions)
    values = [row["value"] for row in fit_probes(runs, states, settings)["accuracy"].table]
    # Labels without a signal: a fit that has seen what it is judged on would reach 0.9.
    assert len(values) == len(LAYERS) * len(POSITIONS) * 2
    assert 0.35 < np.mean(values) < 0.65


def test_no_test_row_has_any_influence():
    runs, states = make_study(datasets=("sums", "capitals"), outside=("far",), questions=40)
    before = fit_probes(runs, states, FAST)
    assert {probe.name for probe in before.probes} >= {"accuracy", "accuracy@sums", "semantic_entropy.prompt_end"}
    assert [control.name for control in before.controls] == ["accuracy.shuffled", "semantic_entropy.shuffled"]
    test = (runs["split"] == "test").to_numpy()
    hidden = states.hidden.copy()
    hidden[test] = np.random.default_rng(9).normal(size=hidden[test].shape) * 100
    changed = runs.with_columns(
        pl.when(pl.col("split") == "test").then(~pl.col("correct")).otherwise("correct").alias("correct"),
        *[
            pl.when(pl.col("split") == "test").then(9.0 - pl.col(name)).otherwise(name).alias(name)
            for name in ("discrete", "entropy_think_mean", "rao")
        ],
    )
    after = fit_probes(changed, ArrayStates(hidden, states.valid, LAYERS, POSITIONS), FAST)
    assert [probe.name for probe in before.probes] == [probe.name for probe in after.probes]
    for one, other in zip(before.probes + before.controls, after.probes + after.controls, strict=True):
        assert_same(one, other)


def test_fitting_twice_and_on_several_threads_gives_the_same_bits():
    runs, states = make_study(datasets=("sums", "capitals"), questions=40)
    once = fit_probes(runs, states, FAST)
    again = fit_probes(runs, states, dataclasses.replace(FAST, workers=3))
    for one, other in zip(once.probes + once.controls, again.probes + again.controls, strict=True):
        assert_same(one, other)


def test_rows_without_a_position_take_no_part_in_it():
    runs, states = make_study()
    states.valid[::7, 1] = False
    states.hidden[::7, :, 1] = 1e30
    probe = fit_probes(runs, states, FAST)["accuracy"]
    assert (probe.layer, probe.position) == PLANTED
    assert np.abs(probe.mean).max() < 10


def test_a_state_that_is_not_finite_is_an_error_that_says_where():
    runs, states = make_study()
    states.hidden[5, 1, 0, 0] = np.nan
    with pytest.raises(ValueError, match="layer 7 at prompt_end of run 5"):
        fit_probes(runs, states, FAST)


def test_a_data_set_without_replay_has_no_part_in_training():
    runs, states = make_study(datasets=("sums", "typed"), questions=40)
    runs = runs.with_columns(shard=pl.when(pl.col("dataset") == "sums").then(0), tensor_row=pl.int_range(pl.len()))
    states.valid[(runs["dataset"] == "typed").to_numpy()] = False
    fitted = fit_probes(runs, states, FAST)
    assert fitted["accuracy"].trained_on == ("sums",)
    assert fitted["accuracy"].n_validation_questions == 8
    inside = (runs["dataset"] == "sums").to_numpy()
    kept = ArrayStates(states.hidden[inside], states.valid[inside], LAYERS, POSITIONS)
    alone = fit_probes(runs.filter(inside), kept, FAST)
    assert (fitted.controls[0].weights == alone.controls[0].weights).all()
    assert not any("@" in name for name in fitted.unfitted)


def test_the_first_of_equal_choices_is_taken():
    table = [{"value": None}, {"value": 0.7, "layer": 1}, {"value": 0.7, "layer": 2}]
    assert best_choice(table)["layer"] == 1
    assert best_choice(table[:1]) is None


# Storage


def test_probes_survive_storage_bit_by_bit_and_without_pickle(tmp_path):
    runs, states = make_study(questions=30)
    fitted = fit_probes(runs.with_columns(discrete=pl.lit(0.5)), states, FAST)
    paths = tmp_path / "probes.safetensors", tmp_path / "probes.json"
    save_probes(*paths, fitted, metadata={"stage": "train_probes"})
    loaded = load_probes(*paths)
    assert loaded.unfitted == fitted.unfitted
    assert loaded.controls
    for one, other in zip(fitted.probes + fitted.controls, loaded.probes + loaded.controls, strict=True):
        assert_same(one, other)
    first = [path.read_bytes() for path in paths]
    save_probes(*paths, loaded, metadata={"stage": "train_probes"})
    assert [path.read_bytes() for path in paths] == first
    assert "NaN" not in paths[1].read_text()


def test_a_damaged_probe_file_is_named(tmp_path):
    fitted = fit_probes(*make_study(questions=30), FAST)
    paths = tmp_path / "probes.safetensors", tmp_path / "probes.json"
    save_probes(*paths, fitted)
    paths[0].write_bytes(paths[0].read_bytes()[:100])
    with pytest.raises(TableError, match=r"probes\.safetensors"):
        load_probes(*paths)
    with pytest.raises(ValueError, match="names must differ"):
        save_probes(*paths, ProbeSet(fitted.probes[:1] * 2))
    with pytest.raises(ValueError, match="names must differ"):
        save_probes(*paths, ProbeSet(fitted.probes, controls=fitted.controls[:1] * 2))


def test_equal_states_have_equal_scores_wherever_they_stand():
    probe = fit_probes(*make_study(questions=30, width=577), FAST)["accuracy"]
    state = np.random.default_rng(0).normal(size=(1, probe.weights.size))
    # A matrix product rounds equal rows differently at some of these heights.
    for rows in range(2, 70):
        assert np.unique(apply(probe, np.repeat(state, rows, axis=0)).score).size == 1
    with pytest.raises(ValueError, match="reads"):
        apply(probe, state[:, :-1])


def test_hidden_states_come_in_the_order_of_the_runs(tmp_path):
    generator = np.random.default_rng(0)
    tensors = {
        key: generator.normal(size=(4, 2, 3, 5)).astype(dtype)
        for key, dtype in ((("a", 0), np.float16), (("a", 1), np.float32), (("b", 0), np.float16))
    }
    valid = np.ones((4, 3), dtype=np.uint8)
    valid[2, 1] = 0
    shards = {}
    for (dataset, shard), hidden in tensors.items():
        shards[dataset, shard] = tmp_path / f"{dataset}-{shard:04d}.safetensors"
        save_file({"hidden": hidden, "valid": valid}, shards[dataset, shard])
    places = [("b", 0, 3), ("a", 1, 2), ("a", 0, 0), ("a", 1, 1), ("b", None, None)]
    runs = pl.DataFrame(places, schema=["dataset", "shard", "tensor_row"], orient="row")
    source = HiddenStates(runs, shards, layers=[2, 9], positions=["x", "y", "z"])
    states, found = source.states(1, 1)
    assert found.tolist() == [True, False, True, True, False]
    for row, (dataset, shard, tensor_row) in enumerate(places):
        if found[row]:
            assert (states[row] == tensors[dataset, shard][tensor_row, 1, 1].astype(np.float32)).all()
    assert (states[~found] == 0).all()
    with pytest.raises(ValueError, match="shard 1 of a"):
        HiddenStates(runs, {("a", 0): "x", ("b", 0): "y"}, layers=[2, 9], positions=["x", "y", "z"])
    with pytest.raises(TableError, match="expected 3 layers"):
        HiddenStates(runs, shards, layers=[2, 9, 10], positions=["x", "y", "z"]).states(0, 0)
