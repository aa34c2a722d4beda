"""Signals of made-up studies: which rows have them, where they come from, and that no fit is scored on its own rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from made_up_studies import (
    MADE,
    QUESTIONS,
    RUNS,
    TRAIT,
    inputs_of,
    plant_studies,
    plant_trait,
    probe,
    write,
)

from tells.agreement.cells import InferenceSettings
from tells.agreement.inputs import StudyInputs
from tells.agreement.measure import NO_MEANING, Measured, SignalSettings, measure_signals
from tells.agreement.projection_signals import window_of_span
from tells.agreement.results import analyse
from tells.agreement.signals import projection_name
from tells.safety.confidence import trace_confidence
from tells.tables import TableError, make_metadata, read_json, read_table, write_json, write_table
from tells.traits.pair_design import design
from tells.uncertainty.probe_files import ProbeSet, apply, save_probes
from tells.uncertainty.results import UNAVAILABLE

PROBES = ("probe.accuracy", "probe.accuracy.prompt_end", "probe.semantic_entropy", "probe.accuracy.answer_end")
OWN = [projection_name(TRAIT, span) for span in ("answer", "think")]
SMALL = InferenceSettings(bootstrap=50, permutations=200, seed=1)


def settings(**changes: object) -> SignalSettings:
    known = {"studies": ("uncertainty", "traits", "safety"), "projections": (TRAIT,), "window": 4, "fraction": 0.5}
    return SignalSettings(**{**known, "seed": MADE["seed"], **changes})


def measured(folder: Path, **changes: object) -> Measured:
    place = folder / "agreement"
    probes = ProbeSet((probe("accuracy.answer_end", "answer_end"),), {"semantic_entropy.answer_end": "one class"})
    trained = str(place / "probes.safetensors"), str(place / "probes.json")
    save_probes(*trained, probes, metadata=make_metadata("train_answer_probes", **MADE))
    return measure_signals(inputs_of(folder), settings(**changes), trained)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return plant_studies(tmp_path_factory.mktemp("studies"))


@pytest.fixture(scope="module")
def found(folder: Path) -> Measured:
    return measured(folder)


def of(table: pl.DataFrame, study: str) -> pl.DataFrame:
    return table.filter(pl.col("study") == study)


def reasons(found: Measured) -> dict[tuple[str, str | None, str], str]:
    return {(one["study"], one["collection"], one["signal"]): one["reason"] for one in found.facts["absent"]}


def test_every_sample_of_every_study_has_a_row(found: Measured):
    counts = dict(found.table["study"].value_counts().iter_rows())
    assert counts == {"uncertainty": QUESTIONS * (RUNS + 1), "traits": 24, "safety": 40}
    assert not found.table.select("study", "collection", "prompt_id", "sample").is_duplicated().any()


# No row that trained a probe or chose a layer is scored


def test_no_probe_is_scored_on_a_question_that_trained_or_chose_it(folder: Path, found: Measured):
    splits = read_table(folder / "uncertainty/splits.parquet", "splits")
    rows = of(found.table, "uncertainty").drop("split").join(splits, on="prompt_id", how="left", suffix="_given")
    learnt = splits.filter(pl.col("split") != "test")["group"]
    seen = rows.filter((pl.col("split") != "test") | pl.col("group").is_in(learnt.implode()))
    assert set(seen["split"]) == {"train", "validation", "test"}, "a test question that stands in train is among them"
    for name in PROBES:
        assert seen[name].null_count() == seen.height, name
        assert rows[name].null_count() < rows.height, name
    assert not seen["scored"].any()
    scored = rows.filter("scored")
    assert set(scored["split"]) == {"test"}
    assert scored["prompt_id"].n_unique() == 5
    assert not scored["greedy"].any()


def test_the_table_rests_on_rows_that_may_be_scored_alone(folder: Path, found: Measured):
    splits = dict(read_table(folder / "uncertainty/splits.parquet", "splits").select("prompt_id", "split").iter_rows())
    content = analyse(found.table, found.facts, confidence_trait=TRAIT, settings=SMALL).content
    allowed = 5 * RUNS
    assert sum(split == "test" for split in splits.values()) == 6
    for record in (one for one in content["records"] if one["study"] == "uncertainty"):
        assert record["n_rows"] in (0, allowed)
        assert record["split"] == "test"
    assert all(one["n_rows"] <= allowed for one in content["combined"] if one["study"] == "uncertainty")


def test_a_direction_of_few_pairs_is_not_scored_on_its_own_responses(found: Measured):
    rows = of(found.table, "traits")
    assert rows[OWN[0]].null_count() == rows.height
    assert "under 100 there is no split" in reasons(found)["traits", TRAIT, OWN[0]]
    assert of(found.table, "safety")[OWN[0]].null_count() == 0
    assert of(found.table, "uncertainty")[OWN[0]].null_count() == 0


def test_a_direction_of_many_pairs_is_scored_on_the_test_pairs_of_its_split_alone(tmp_path: Path):
    folder = plant_studies(tmp_path, studies=())
    plant_trait(folder / "traits" / TRAIT, 130, kept=110)
    rows = of(measured(folder, studies=("traits",)).table, "traits")
    kept = [f"pair-{pair:03d}" for pair in range(110)]
    plan = design(kept, seed=MADE["seed"])
    test = {kept[row] for row in plan.test}
    used = {kept[row] for row in (*plan.fit, *plan.validation)}
    scored = set(rows.filter(pl.col(OWN[0]).is_not_null())["group"])
    assert scored == test
    assert not scored & used
    assert len(test) == 22
    found = measured(folder, studies=("traits",))
    content = analyse(found.table, found.facts, confidence_trait=TRAIT, settings=SMALL).content
    splits = {one["signal"]: one["split"] for one in content["records"] if one["n_rows"]}
    assert (splits[OWN[0]], splits["length"]) == ("test", "all")
    assert any("the trait's own direction is scored on the test pairs" in note for note in content["notes"])


def test_a_split_that_is_not_the_vectors_own_is_refused(tmp_path: Path):
    folder = plant_studies(tmp_path, studies=("traits",))
    vectors = folder / "traits" / TRAIT / "vectors.json"
    content = read_json(vectors)
    content["best"]["n_pairs"] += 1
    write_json(vectors, content)
    with pytest.raises(TableError, match="extract the vectors again"):
        measured(folder, studies=("traits",))


# Where the signals come from


def test_scores_of_the_study_are_taken_as_they_stand(folder: Path, found: Measured):
    scores = read_table(folder / "uncertainty/scores.parquet", "scores").select("prompt_id", "sample", "accuracy.score")
    rows = of(found.table, "uncertainty").filter("scored").join(scores, on=["prompt_id", "sample"])
    assert rows["probe.accuracy"].to_list() == rows["accuracy.score"].to_list()


def test_probes_are_applied_to_other_studies_as_they_were_trained(folder: Path, found: Measured):
    inputs = inputs_of(folder)
    replayed = pl.concat([read_table(path, "replay") for path in inputs.shards("safety", "builtin", "replay.parquet")])
    states = inputs.states("safety", "builtin", replayed)
    hidden, _ = states.states(1, states.positions.index("answer_mean"))
    expected = replayed.select("prompt_id", "sample").with_columns(
        score=pl.Series(apply(probe("accuracy", "answer_mean"), hidden).score)
    )
    rows = of(found.table, "safety").join(expected, on=["prompt_id", "sample"])
    assert rows["probe.accuracy"].to_list() == rows["score"].to_list()
    assert rows["probe.accuracy.answer_end"].null_count() == 0


def test_the_end_of_a_prompt_is_one_token_by_both_its_names(found: Measured):
    assert of(found.table, "traits")["probe.accuracy.prompt_end"].null_count() == 0


def test_what_is_missing_is_missing_with_a_reason(found: Measured):
    why = reasons(found)
    assert "reads think_end, which is not replayed here" in why["safety", "builtin", "probe.semantic_entropy"]
    assert why["safety", None, "probe.semantic_entropy.prompt_end"] == "degenerate: one class"
    assert why["uncertainty", None, "probe.semantic_entropy.answer_end"] == "one class"
    assert "no window of the thought" in why["safety", "builtin", OWN[1]]
    assert why["traits", TRAIT, "semantic_entropy"] == NO_MEANING


def test_entropies_are_of_the_thought_or_of_the_answer_and_likelihoods_of_the_answer(folder: Path, found: Measured):
    for study, name, start, stop in (("uncertainty", "sums", 0, 8), ("safety", "builtin", 0, 12)):
        replayed = pl.concat(
            [read_table(path, "replay") for path in inputs_of(folder).shards(study, name, "replay.parquet")]
        )
        rows = of(found.table, study).join(replayed, on=["prompt_id", "sample"])
        for row in rows.iter_rows(named=True):
            own = np.asarray(row["entropy"], dtype=np.float32)[start:stop].astype(float)
            assert row["token_entropy_mean"] == own.mean()
            assert row["token_entropy_max"] == own.max()
            assert row["token_entropy_last10"] == own[-10:].mean()
            assert row["log_likelihood"] == row["answer_log_likelihood"]
            assert row["length"] == 12
    assert rows.height == 40
    thoughts = of(found.table, "uncertainty").join(replayed_of(folder), on=["prompt_id", "sample"])
    assert thoughts["token_entropy_mean"].to_list() == thoughts["entropy_think_mean"].to_list()


def replayed_of(folder: Path) -> pl.DataFrame:
    paths = inputs_of(folder).shards("uncertainty", "sums", "replay.parquet")
    return pl.concat(
        [read_table(path, "replay", ["prompt_id", "sample", "entropy_think_mean", "confidence"]) for path in paths]
    )


def test_confidences_are_of_replay_and_in_the_safety_study_its_own(folder: Path, found: Measured):
    rows = of(found.table, "uncertainty").join(replayed_of(folder), on=["prompt_id", "sample"])
    for row in rows.iter_rows(named=True):
        for kind in ("mean", "lowest", "bottom", "tail"):
            known = trace_confidence(row["confidence"][:8], kind, window=4, fraction=0.5)
            assert row[f"confidence_{kind}"] == pytest.approx(known, abs=1e-12)
    own = read_table(folder / "safety/builtin/confidence.parquet", "confidence")
    rows = of(found.table, "safety").join(own, on=["prompt_id", "sample"])
    for kind in ("mean", "lowest", "bottom", "tail"):
        assert rows[f"confidence_{kind}"].to_list() == rows[kind].to_list()
    told = {one["study"]: one for one in found.facts["collections"]}
    assert (told["safety"]["confidence_from"], told["uncertainty"]["confidence_from"]) == ("samples", "replay")
    assert (told["safety"]["span"], told["uncertainty"]["span"]) == ("answer", "think")


def test_entropy_over_meanings_is_of_the_prompt(folder: Path, found: Measured):
    entropy = read_table(folder / "uncertainty/sums/entropy.parquet", "entropy").select("prompt_id", "discrete")
    rows = of(found.table, "uncertainty").join(entropy, on="prompt_id")
    assert rows["semantic_entropy"].to_list() == rows["discrete"].to_list()
    safety = of(found.table, "safety")
    assert safety["semantic_entropy"].to_list() == pytest.approx([np.log(2)] * safety.height)
    assert set(safety["majority_share"]) == {0.5}


def test_one_valid_answer_is_no_agreement(tmp_path: Path):
    folder = plant_studies(tmp_path, studies=("uncertainty",))
    path = folder / "uncertainty/sums/entropy.parquet"
    entropy = read_table(path, "entropy")
    first = pl.col("prompt_id") == entropy["prompt_id"][0]
    changed = entropy.with_columns(n_valid=pl.when(first).then(1).otherwise("n_valid"))
    write(path, "entropy", changed.select(entropy.columns))
    rows = of(measured(folder, studies=("uncertainty",), projections=()).table, "uncertainty")
    for name in ("semantic_entropy", "majority_share"):
        assert rows.filter(first)[name].null_count() == rows.filter(first).height > 0
        assert rows.filter(~first)[name].null_count() == 0


def test_cut_runs_are_not_scored_and_probes_still_read_their_questions(tmp_path: Path):
    folder = plant_studies(tmp_path, studies=("uncertainty",))
    path = folder / "uncertainty/sums/labels.parquet"
    labels = read_table(path, "labels")
    cut = (pl.col("prompt_id") == "q14") & (pl.col("sample") >= 0)
    write(path, "labels", labels.with_columns(truncated=cut, correct=pl.when(~cut).then("correct")))
    rows = of(measured(folder, studies=("uncertainty",), projections=()).table, "uncertainty")
    own = rows.filter(pl.col("prompt_id") == "q14")
    assert not own["scored"].any()
    assert own["probe.accuracy.answer_end"].null_count() == 0
    assert rows.filter("scored")["prompt_id"].n_unique() == 4


def test_without_a_split_nothing_is_scored(tmp_path: Path):
    folder = plant_studies(tmp_path, studies=("uncertainty",))
    (folder / "uncertainty/splits.parquet").unlink()
    rows = of(measured(folder, studies=("uncertainty",), projections=()).table, "uncertainty")
    assert not rows["scored"].any()
    assert rows["probe.accuracy.answer_end"].null_count() == rows.height


def test_the_window_nearest_to_a_span_is_taken():
    assert window_of_span("answer", ["prompt_end", "answer_end", "answer_mean"]) == "answer_mean"
    assert window_of_span("answer", ["response[:4]", "response[:16]", "prompt_last"]) == "response[:16]"
    assert window_of_span("answer", ["response[:16]", "response"]) == "response"
    assert window_of_span("answer", ["prompt_end", "answer_end"]) == "answer_end"
    assert window_of_span("think", ["think_end", "think_mean"]) == "think_mean"
    assert window_of_span("think", ["prompt_end", "answer_end"]) is None


# Outcomes


def test_outcomes_are_those_of_the_studies(folder: Path, found: Measured):
    labels = read_table(folder / "safety/builtin/reply_labels.parquet", "reply_labels")
    rows = of(found.table, "safety").join(labels, on=["prompt_id", "sample"])
    for row in rows.iter_rows(named=True):
        refused = {"refusal": True, "partial": True, "compliance": False}.get(row["refusal"])
        assert row["refused"] is refused
        harm = {"harmful": True, "unharmful": False}.get(row["harm"])
        complied = row["refusal"] == "compliance" and row["label"] is not None
        assert row["harmful"] is (harm if complied else None)
    assert rows.filter(pl.col("label").is_null())["harmful"].null_count() == 4
    traits = of(found.table, "traits")
    assert traits.filter(pl.col("prompt_id").str.starts_with("positive"))["shows_trait"].all()
    assert not traits.filter(pl.col("prompt_id").str.starts_with("negative"))["shows_trait"].any()
    uncertainty = of(found.table, "uncertainty")
    assert uncertainty.filter("greedy")["correct"].null_count() == QUESTIONS


def test_a_score_between_the_poles_shows_neither(tmp_path: Path):
    folder = plant_studies(tmp_path, studies=("traits",))
    place = folder / "traits" / TRAIT / "vetting.parquet"
    vetting = read_table(place, "vetting").with_columns(response_score=pl.lit(50.0))
    write(place, "vetting", vetting)
    rows = of(measured(folder, studies=("traits",)).table, "traits")
    assert rows["shows_trait"].null_count() == rows.height
    assert rows["trait_score"].to_list() == [50.0] * rows.height


# Missing parts


@pytest.mark.parametrize("missing", ["uncertainty", "traits", "safety"])
def test_a_missing_study_gives_a_smaller_table_and_says_so(tmp_path: Path, missing: str):
    left = tuple(study for study in ("uncertainty", "traits", "safety") if study != missing)
    folder = plant_studies(tmp_path, studies=left)
    smaller = measured(folder, studies=left, projections=(TRAIT,) if "traits" in left else ())
    assert set(smaller.table["study"]) == {*left}
    content = analyse(smaller.table, smaller.facts, confidence_trait=TRAIT, settings=SMALL).content
    assert content["missing_studies"] == {missing: f"the experiment has no {missing} study"}
    assert f"{missing}: the experiment has no {missing} study" in content["notes"]
    assert {one["study"] for one in content["records"]} == {*left}
    if missing != "safety":
        assert content["confidence_direction"]["status"] == "absent"


def test_without_an_uncertainty_study_there_are_no_probes_and_their_absence_is_told(tmp_path: Path):
    folder = plant_studies(tmp_path, studies=("safety",))
    found = measure_signals(inputs_of(folder), settings(studies=("safety",), projections=()))
    assert "no uncertainty study" in reasons(found)["safety", None, "probe.accuracy"]
    assert found.table["probe.accuracy"].null_count() == found.table.height


def test_a_users_own_samples_have_meanings_and_nothing_else(tmp_path: Path):
    folder = plant_studies(tmp_path, studies=("uncertainty",))
    for path in (folder / "uncertainty/sums/shards").iterdir():
        path.unlink()
    found = measured(folder, studies=("uncertainty",), projections=())
    rows = found.table.filter("scored")
    assert rows["semantic_entropy"].null_count() == 0
    for name in ("token_entropy_mean", "log_likelihood", "confidence_mean", "length"):
        assert found.table[name].null_count() == found.table.height
        assert reasons(found)["uncertainty", "sums", name] == UNAVAILABLE


def test_collections_are_found_by_their_place_whatever_they_are_called():
    inputs = StudyInputs(
        [
            "a/experiments/x/experiments/tiny/uncertainty/safety/labels.parquet",
            "a/experiments/x/experiments/tiny/traits/a/b/shards/replay-0001.parquet",
            "a/experiments/x/experiments/tiny/traits/a/b/shards/replay-0000.parquet",
            "a/experiments/x/experiments/tiny/uncertainty/splits.parquet",
            "config/traits/a/b/definition.yaml",
        ]
    )
    assert inputs.collections("uncertainty") == ["safety"]
    assert inputs.collections("safety") == []
    assert inputs.collections("traits") == ["a/b"]
    assert [path.name for path in inputs.shards("traits", "a/b", "replay.parquet")] == [
        "replay-0000.parquet",
        "replay-0001.parquet",
    ]
    assert inputs.of_study("uncertainty", "splits.parquet") is not None


def test_signals_are_written_as_the_schema_has_them(found: Measured, tmp_path: Path):
    metadata = make_metadata("measure_signals", **MADE)
    write_table(tmp_path / "signals.parquet", found.table, "signals", metadata)
    write_json(tmp_path / "signals.json", found.facts, metadata=metadata)
    assert read_table(tmp_path / "signals.parquet", "signals").equals(found.table)
