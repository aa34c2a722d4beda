"""The one table on made-up signals: it finds what is planted, and says what it cannot tell."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from agreement_helpers import NAMES, SETTINGS, facts, nothing_planted, planted, signal, signals_table

from tells.agreement.cells import cells_of, fifths
from tells.agreement.combined import combined_record
from tells.agreement.correlations import correlations_of
from tells.agreement.records import all_records, cell_records
from tells.agreement.results import analyse
from tells.agreement.signals import OUTCOMES, all_signals, direction, outcomes_of
from tells.stats import holm
from tells.tables import SCHEMAS, make_metadata, write_json, write_table

SIGNALS = [signal(name) for name in (*NAMES, "length")]


def cell_of(table: pl.DataFrame):
    return next(cell for cell in cells_of(table, SETTINGS) if cell.rows.height)


def found(table: pl.DataFrame, signals=SIGNALS) -> dict[str, dict]:
    return {record["signal"]: record for record in all_records([cell_of(table)], signals, {})}


def test_an_informative_signal_its_noisy_copy_and_a_null_are_told_apart():
    records = found(planted(1))
    assert records["informative"]["auroc"] > records["copy"]["auroc"] > 0.6
    for name in ("informative", "copy"):
        assert records[name]["auroc_low"] > 0.5
        assert records[name]["p_holm"] < 0.05
    assert records["null"]["auroc_low"] < 0.5 < records["null"]["auroc_high"]
    assert records["null"]["p_holm"] > 0.05


def test_every_figure_has_its_n_split_and_interval():
    for record in found(planted(2)).values():
        assert (record["n_rows"], record["n_groups"], record["split"]) == (160, 40, "test")
        assert record["level"] == SETTINGS.level
        assert 0 < record["prevalence"] < 1
        for metric in ("auroc", "average_precision", "auroc_within_length"):
            assert record[f"{metric}_low"] <= record[metric] <= record[f"{metric}_high"]


def test_directions_are_fixed_and_never_fitted():
    table = planted(3)
    up, down = (found(table, [signal("informative", sign)])["informative"] for sign in (1, -1))
    assert up["auroc"] == pytest.approx(1 - down["auroc"])
    assert up["p"] == down["p"]
    assert (up["direction"], down["direction"]) == (1, -1)


def test_sureness_predicts_what_is_right_refused_and_harmless():
    by_name = {outcome.name: outcome for outcome in OUTCOMES}
    signals = {one.name: one for one in all_signals(["epistemic/confidence"])}
    expected = {
        "token_entropy_mean": (-1, -1, 1),
        "semantic_entropy": (-1, -1, 1),
        "majority_share": (1, 1, -1),
        "confidence_lowest": (1, 1, -1),
        "probe.accuracy": (1, 1, -1),
        "probe.semantic_entropy.answer_end": (-1, -1, 1),
        "projection.epistemic/confidence.answer": (1, 1, -1),
        "length": (-1, -1, 1),
    }
    for name, signs in expected.items():
        assert tuple(direction(signals[name], by_name[one]) for one in ("correct", "refused", "harmful")) == signs, name
    assert {outcome.name for study in ("uncertainty", "safety", "traits") for outcome in outcomes_of(study)} == {
        *by_name
    }


def test_a_signal_that_is_length_alone_says_nothing_among_samples_of_like_length():
    generator = np.random.default_rng(0)
    groups = np.repeat(np.arange(80), 5)
    length = generator.integers(10, 200, groups.size).astype(float)
    correct = generator.random(groups.size) < 1 / (1 + np.exp((length - 100) / 20))
    table = signals_table({"null": -length, "length": length}, groups=groups, correct=correct)
    record = found(table, [signal("null"), signal("length", -1)])["null"]
    assert record["auroc"] > 0.85
    assert abs(record["auroc_within_length"] - 0.5) < abs(record["auroc"] - 0.5) / 2
    assert found(table, [signal("length", -1)])["length"]["auroc"] == pytest.approx(record["auroc"])


def test_equal_lengths_lie_in_one_fifth():
    assert set(fifths(np.ones(7)).tolist()) == {0}
    assert np.bincount(fifths(np.arange(100.0))).tolist() == [20, 20, 20, 20, 20]
    assert fifths(np.zeros(0)).size == 0


def test_samples_without_a_signal_are_left_out_and_counted():
    table = planted(4).with_columns(null=pl.when(pl.col("sample") % 4 == 0).then(None).otherwise("null"))
    record = found(table)["null"]
    assert (record["n_rows"], record["n_left_out"]) == (120, 40)
    assert found(table)["copy"]["n_rows"] == 160


def test_a_signal_that_is_absent_has_a_record_with_its_reason():
    table = planted(5).with_columns(null=pl.lit(None, pl.Float64))
    (record,) = cell_records(cell_of(table), [signal("null")], {("uncertainty", "made-up", "null"): "not replayed"})
    assert (record["auroc"], record["n_rows"], record["reason"]) == (None, 0, "not replayed")
    assert record["p"] is None


def test_one_class_alone_has_no_figure_and_says_so():
    table = planted(6).with_columns(correct=pl.lit(True))
    record = found(table)["informative"]
    assert record["auroc"] is None
    assert "one class only" in record["reason"]
    assert record["prevalence"] == 1.0


def test_samples_that_may_not_be_scored_enter_no_figure():
    table = planted(7).with_columns(scored=pl.col("group") < "g010")
    assert found(table)["copy"]["n_rows"] == 40
    assert combined_record(cell_of(table), SIGNALS)["n_rows"] == 40
    assert correlations_of(table, SIGNALS, SETTINGS)[0]["n_rows"] == 40


def test_holm_counts_every_test_of_the_table():
    records = found(planted(8))
    tested = [record for record in records.values() if record["p"] is not None]
    assert {record["n_tests"] for record in tested} == {len(tested)}
    assert [record["p_holm"] for record in tested] == holm([record["p"] for record in tested])


def test_the_trait_outcome_has_a_rank_correlation_with_its_score_beside_it():
    generator = np.random.default_rng(3)
    groups = np.repeat(np.arange(30), 2)
    score = generator.uniform(0, 100, 60)
    shows = pl.Series(score).map_elements(
        lambda value: True if value >= 60 else False if value <= 40 else None, return_dtype=pl.Boolean
    )
    table = signals_table(
        {"informative": score + generator.normal(size=60), "length": np.ones(60)},
        groups=groups,
        study="traits",
        collection="epistemic/calm",
        shows_trait=shows,
        trait_score=score,
    )
    record = found(table, [signal("informative")])["informative"]
    assert record["n_rows"] == shows.drop_nulls().len() < 60
    assert record["n_spearman"] == 60
    assert record["spearman_low"] > 0.9


# All signals together


def halves(seed: int) -> pl.DataFrame:
    """Two signals that know different halves of the truth, and noise."""
    generator = np.random.default_rng(seed)
    groups = np.repeat(np.arange(60), 4)
    left, right = generator.normal(size=(2, groups.size))
    correct = 1.5 * (left + right) + generator.logistic(size=groups.size) > 0
    columns = {"informative": left, "copy": right, "null": generator.normal(size=groups.size)}
    return signals_table({**columns, "length": np.ones(groups.size)}, groups=groups, correct=correct)


def test_signals_that_know_different_things_gain_by_being_put_together():
    record = combined_record(cell_of(halves(1)), SIGNALS)
    assert record["gain"]["low"] > 0
    assert record["gain"]["p"] < 0.05
    assert record["model"]["value"] > record["single"]["value"]
    assert record["signals"] == ["informative", "copy", "null"]
    assert record["left_out"] == ["length"]
    assert sum(record["single_signals"].values()) == SETTINGS.folds


def one_sided(sign: float) -> pl.DataFrame:
    """A signal that orders the samples without a fault, the way round that `sign` says, and noise."""
    generator = np.random.default_rng(4)
    correct = np.arange(60) % 2 == 0
    informative = sign * (5.0 * correct + generator.normal(scale=0.1, size=60))
    columns = {"informative": informative, "copy": generator.normal(size=60), "null": generator.normal(size=60)}
    return signals_table({**columns, "length": np.ones(60)}, groups=np.arange(60), correct=correct)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_best_signal_is_found_whichever_way_round_it_orders(sign: float):
    record = combined_record(cell_of(one_sided(sign)), SIGNALS)
    assert record["single_signals"] == {"informative": SETTINGS.folds}
    assert record["single"]["value"] == 1.0
    assert record["gain"]["value"] == 0.0


def test_a_gain_without_an_interval_has_no_p():
    """Ten questions of one class each, in so many folds that few draws hold both classes in any of them."""
    correct = np.arange(10) % 2 == 0
    columns = {name: np.random.default_rng(5).normal(size=10) + correct for name in ("informative", "copy", "null")}
    table = signals_table({**columns, "length": np.arange(10.0)}, groups=np.arange(10), correct=correct)
    (cell,) = [one for one in cells_of(table, replace(SETTINGS, folds=8)) if one.study == "uncertainty"]
    gain = combined_record(cell, SIGNALS)["gain"]
    assert gain["value"] is not None
    assert (gain["low"], gain["high"], gain["p"]) == (None, None, None)


def test_a_copy_gains_nothing():
    gains = [combined_record(cell_of(planted(seed)), SIGNALS)["gain"]["value"] for seed in range(6)]
    assert abs(np.mean(gains)) < 0.04


def test_neither_the_model_nor_the_best_signal_flatters_itself_where_nothing_is_planted():
    """The best of five null signals reaches 0.6 on its own rows; chosen on other folds it must stay at a half."""
    names = [signal(f"null{number}") for number in range(5)]
    single, model, best = [], [], []
    for seed in range(20):
        cell = cell_of(nothing_planted(seed))
        record = combined_record(cell, names)
        single.append(record["single"]["value"])
        model.append(record["model"]["value"])
        aurocs = [one["auroc"] for one in cell_records(cell, names, {})]
        best.append(max(max(one, 1 - one) for one in aurocs))
    assert np.mean(best) > 0.57
    assert abs(np.mean(single) - 0.5) < 0.05
    assert abs(np.mean(model) - 0.5) < 0.05


def test_groups_lie_in_one_fold():
    from tells.uncertainty.probe_targets import question_folds

    cell = cell_of(planted(9))
    folds = question_folds(cell.y, cell.groups, folds=5, seed=3)
    assert all(len({*folds[cell.groups == group]}) == 1 for group in np.unique(cell.groups))


def test_too_few_groups_have_no_model_and_say_so():
    table = planted(10, questions=8)
    record = combined_record(cell_of(table), SIGNALS)
    assert record["model"]["value"] is None
    assert record["reason"].startswith("insufficient: 8 groups")


# Signals against one another


def test_correlations_find_the_copy_and_not_the_null():
    (record,) = [one for one in correlations_of(planted(11), SIGNALS, SETTINGS) if one["study"] == "uncertainty"]
    place = {name: number for number, name in enumerate(record["signals"])}
    row = record["values"][place["informative"]]
    assert row[place["copy"]] > 0.7
    assert record["low"][place["informative"]][place["copy"]] > 0.5
    assert record["low"][place["informative"]][place["null"]] < 0 < record["high"][place["informative"]][place["null"]]
    assert row[place["informative"]] == 1.0
    assert record["values"] == [list(column) for column in zip(*record["values"], strict=True)]


def test_of_very_many_signals_the_first_are_compared_and_the_others_named(monkeypatch):
    monkeypatch.setattr("tells.agreement.correlations.MOST_COMPARED", 2)
    (record,) = correlations_of(planted(11), SIGNALS, SETTINGS)
    assert (record["signals"], record["left_out"]) == (["informative", "copy"], ["null", "length"])
    assert np.shape(record["values"]) == np.shape(record["low"]) == (2, 2)


def test_samples_that_lack_a_signal_which_is_not_compared_stay(monkeypatch):
    monkeypatch.setattr("tells.agreement.correlations.MOST_COMPARED", 2)
    table = planted(11).with_row_index().with_columns(null=pl.when(pl.col("index") % 20 > 0).then("null"))
    (record,) = correlations_of(table.drop("index"), SIGNALS, SETTINGS)
    assert record["left_out"] == ["null", "length"]
    assert record["n_rows"] == table.height


# Results


def results_of(table: pl.DataFrame, **changes) -> dict:
    trait = changes.pop("confidence_trait", "epistemic/confidence")
    return analyse(table, facts(SIGNALS, **changes), confidence_trait=trait, settings=SETTINGS).content


def test_results_are_the_same_twice_and_hold_no_nan(tmp_path):
    made = analyse(planted(12), facts(SIGNALS), confidence_trait="epistemic/confidence", settings=SETTINGS)
    again = analyse(planted(12), facts(SIGNALS), confidence_trait="epistemic/confidence", settings=SETTINGS)
    assert json.dumps(made.content, sort_keys=True) == json.dumps(again.content, sort_keys=True)
    metadata = make_metadata("analyse_agreement", params={})
    write_json(tmp_path / "results.json", made.content, metadata=metadata)
    write_table(tmp_path / "results.parquet", made.table, "agreement", metadata)
    assert made.table.columns == list(SCHEMAS["agreement"].columns)


def test_missing_studies_and_absent_signals_are_told_in_words():
    absent = [
        {"study": "uncertainty", "collection": None, "signal": "copy", "reason": "it was not trained"},
        {"study": "uncertainty", "collection": "made-up", "signal": "null", "reason": "it was not replayed"},
    ]
    table = planted(13).with_columns(pl.lit(None, pl.Float64).alias(name) for name in ("copy", "null"))
    content = results_of(table, absent=absent)
    told = {record["signal"]: record["reason"] for record in content["records"]}
    assert (told["copy"], told["null"]) == ("it was not trained", "it was not replayed")
    assert "traits: the experiment has no traits study" in content["notes"]
    assert "absent in uncertainty: copy: it was not trained" in content["notes"]


def test_too_few_permutations_for_the_family_are_told():
    content = analyse(
        planted(14), facts(SIGNALS), confidence_trait="a/b", settings=type(SETTINGS)(bootstrap=20, permutations=100)
    ).content
    assert not content["tests"]["suffices"]
    assert any("raise agreement.permutations" in note for note in content["notes"])


# Does the confidence direction read uncertainty?

NAME = "projection.epistemic/confidence.answer"
DIRECTION = {
    "trait": "epistemic/confidence",
    "method": "fisher",
    "layer": 12,
    "window": "response[:16]",
    "status": "ok",
    "reason": None,
    "projected": True,
}


def projected(seed: int, strength: float) -> pl.DataFrame:
    """A projection that knows of correctness and entropy as much as it is told."""
    table, generator = planted(seed, questions=80), np.random.default_rng(seed)
    own = strength * table["informative"].to_numpy() + generator.normal(size=table.height)
    entropy = table.group_by("group").agg(-pl.col("informative").mean().alias("semantic_entropy"))
    return table.with_columns(pl.Series(NAME, own)).join(entropy, on="group", maintain_order="left")


def direction_of(table: pl.DataFrame, **changes) -> dict:
    projection = signal(NAME, family="projection")
    return analyse(
        table,
        facts([*SIGNALS, projection], **changes),
        confidence_trait="epistemic/confidence",
        settings=SETTINGS,
    ).content["confidence_direction"]


def test_a_direction_that_reads_uncertainty_is_said_to():
    record = direction_of(projected(1, 2.0), directions=[DIRECTION], missing_studies={})
    assert record["status"] == "measured"
    assert record["correctness"][0]["auroc_low"] > 0.5
    assert record["semantic_entropy"][0]["spearman_high"] < 0
    assert record["semantic_entropy"][0]["n_groups"] == 80
    assert "1 predict that an answer is right" in record["answer"]
    assert "1 are below zero" in record["answer"]


def test_a_direction_that_does_not_is_not_said_to():
    record = direction_of(projected(2, 0.0), directions=[DIRECTION], missing_studies={})
    assert "0 predict that an answer is right and 0 that it is wrong" in record["answer"]


def test_an_insufficient_or_absent_direction_is_said_to_be():
    why = {
        **DIRECTION,
        "projected": False,
        "status": "insufficient",
        "reason": "4 pairs",
        "method": None,
        "layer": None,
    }
    table = projected(3, 2.0).with_columns(pl.lit(None, pl.Float64).alias(NAME))
    record = direction_of(table, directions=[why], missing_studies={})
    assert (record["status"], record["reason"]) == ("insufficient", "4 pairs")
    assert "cannot be told" in record["answer"]
    record = direction_of(planted(4).with_columns(pl.lit(None, pl.Float64).alias(NAME)))
    assert record["status"] == "absent"
    assert record["reason"] == "the experiment has no traits study"
    doubtful = {**DIRECTION, "status": "insufficient", "reason": "12 pairs"}
    record = direction_of(projected(1, 2.0), directions=[doubtful], missing_studies={})
    assert record["status"] == "insufficient"
    assert "proves nothing" in record["answer"]


def test_the_steered_run_has_a_place_of_its_own():
    record = direction_of(projected(1, 2.0), directions=[DIRECTION], missing_studies={})
    assert record["steering"] is None
    assert record["steering_reason"].startswith("no steered run")
