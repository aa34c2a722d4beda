"""The agreement on tiny random models: which jobs it takes, what it writes, what a smaller experiment leaves of it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import polars as pl
import pytest
from workflow_helpers import (
    TINY,
    add_models,
    copy_clone,
    dry_run_jobs,
    environment,
    make_clone,
    save_speaking_model,
    snakemake,
    tiny_safety,
    tiny_traits,
    write_experiment,
)

from tells.tables import read_metadata, read_table

pytestmark = pytest.mark.slow
AGREEMENT = "experiments/tiny/agreement"
RESULTS = f"{AGREEMENT}/results.json"
OWN = {"cluster_replies", "train_answer_probes", "measure_signals", "analyse_agreement"}
SMALL = {"bootstrap": 50, "permutations": 200, "clustering": {"embedding_model": "local-embedding"}}


def definition(**changes: object) -> dict:
    """All three studies on a model whose replies refuse and comply, judged offline, and the agreement between them."""
    traits = tiny_traits(
        collections=["behavioral/formality"], steer=None, shard_size=48, vet={"minimum": 1, "responses": True}
    )["traits"]
    safety = tiny_safety(
        labels={"embedding_model": "local-embedding"}, stopping={"warmup": 2, "draws": 2}, shard_size=3
    )["safety"]
    # Enough questions that probes have two classes on either side of the split; p_true is asked nowhere.
    uncertainty = {
        **TINY["uncertainty"],
        "shard_size": 8,
        "probes": {"regularisation": [0.01]},
        "inference": {"bootstrap": 20, "permutations": 20},
    }
    studies = {"uncertainty": uncertainty, "traits": traits, "safety": safety}
    judge = {"provider": "exemplar", "embedding_model": "local-embedding"}
    return {**TINY, "model": "tiny-speaker", "judge": judge, **studies, "agreement": SMALL, **changes}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, embedding_folder: Path) -> Path:
    """A clone in which the agreement has been made, by asking for it alone."""
    clone = make_clone(tmp_path_factory.mktemp("agreeing"))
    speaker = tmp_path_factory.mktemp("speaker")
    save_speaking_model(speaker)
    add_models(
        clone,
        tiny_speaker={"source": "path", "path": str(speaker), "kind": "base"},
        local_embedding={"source": "path", "path": str(embedding_folder), "task": "embed"},
    )
    write_experiment(clone, definition())
    done = snakemake(clone, "agreement")
    assert done.returncode == 0, done.stdout
    return clone


@pytest.fixture(scope="module")
def results(built: Path) -> dict:
    return json.loads((built / RESULTS).read_text())


def test_the_table_holds_every_signal_for_every_outcome_of_every_collection(results: dict):
    names = {signal["name"] for signal in results["signals"]}
    cells = {(cell["study"], cell["collection"], cell["outcome"]) for cell in results["cells"]}
    assert cells == {
        ("uncertainty", "sums", "correct"),
        ("uncertainty", "capitals", "correct"),
        ("safety", "builtin", "refused"),
        ("safety", "builtin", "harmful"),
        ("traits", "behavioral/formality", "shows_trait"),
    }
    assert len(results["records"]) == len(names) * len(cells)
    for record in results["records"]:
        # A trait's own direction could be scored on the test pairs of its split alone.
        own = record["study"] == "traits" and record["collection"] in record["signal"]
        assert record["split"] == ("test" if own or record["study"] == "uncertainty" else "all")
        assert record["n_rows"] or record["reason"]
        assert record["auroc"] is not None or record["reason"]


def test_every_sample_of_every_study_has_a_row(built: Path):
    signals = read_table(built / f"{AGREEMENT}/signals.parquet", "signals")
    for study, collections in (
        ("uncertainty", ["sums", "capitals"]),
        ("traits", ["behavioral/formality"]),
        ("safety", ["builtin"]),
    ):
        for name in collections:
            samples = read_table(built / f"experiments/tiny/{study}/{name}/samples.parquet", "samples")
            own = signals.filter(pl.col("study") == study, pl.col("collection") == name)
            assert own.height == samples.height
            assert own.join(samples, on=["prompt_id", "sample"], how="anti").is_empty()
            tokens = samples.select("prompt_id", "sample", tokens=pl.col("token_ids").list.len().cast(pl.Float64))
            own = own.join(tokens, on=["prompt_id", "sample"], maintain_order="left")
            assert own["length"].to_list() == own["tokens"].to_list()


def test_replies_are_replayed_and_grouped_for_the_agreement_alone(built: Path):
    place = built / "experiments/tiny/safety/builtin"
    assert list(place.glob("shards/replay-*.safetensors"))
    clusters = read_table(place / "clusters.parquet", "clusters")
    assert clusters["cluster"].n_unique() > 1
    assert clusters["method"][0].startswith("cosine threshold=0.3")
    assert read_metadata(place / "clusters.parquet")["stage"] == "cluster_replies"


def test_what_is_there_is_not_made_again(built: Path):
    assert dry_run_jobs(built, "agreement") == Counter()


def test_without_the_key_nothing_of_it_is_asked_for_but_by_its_target(built: Path, tmp_path: Path):
    clone = copy_clone(built, tmp_path)
    told = definition()
    del told["agreement"]
    write_experiment(clone, told)
    for path in (clone / "experiments/tiny/safety/builtin/shards").glob("replay-*"):
        path.unlink()
    assert not {*dry_run_jobs(clone)} & {*OWN, "replay_shard"}
    jobs = dry_run_jobs(clone, "agreement")
    assert jobs["replay_shard"] == 2
    assert {*jobs} >= {"measure_signals", "analyse_agreement", "agreement"}


def test_a_single_study_has_no_agreement_unless_it_is_asked_for(built: Path, tmp_path: Path):
    clone = copy_clone(built, tmp_path)
    alone = {key: value for key, value in definition().items() if key not in ("traits", "safety", "agreement")}
    write_experiment(clone, alone)
    assert dry_run_jobs(clone, "agreement") == Counter({"agreement": 1})
    write_experiment(clone, {**alone, "agreement": SMALL})
    done = snakemake(clone, "agreement")
    assert done.returncode == 0, done.stdout
    content = json.loads((clone / RESULTS).read_text())
    assert {*content["missing_studies"]} == {"traits", "safety"}
    assert {record["study"] for record in content["records"]} == {"uncertainty"}
    assert content["confidence_direction"]["status"] == "absent"
    assert "traits: the experiment has no traits study" in done.stdout


def test_what_changes_a_figure_measures_nothing_again(built: Path, tmp_path: Path):
    clone = copy_clone(built, tmp_path)
    write_experiment(clone, definition(agreement={**SMALL, "bootstrap": 51}))
    assert dry_run_jobs(clone, RESULTS) == Counter({"analyse_agreement": 1})
    other = {**SMALL, "clustering": {**SMALL["clustering"], "threshold": 0.4}}
    write_experiment(clone, definition(agreement=other))
    assert {*dry_run_jobs(clone, RESULTS)} == {"cluster_replies", "measure_signals", "analyse_agreement"}
    write_experiment(clone, definition())
    # A study's own labels change the outcomes, and neither replay nor probes.
    jobs = dry_run_jobs(clone, "-R", "label", "--", RESULTS)
    assert {*jobs} == {"label", "measure_signals", "analyse_agreement"}


def test_equal_work_gives_equal_bytes(built: Path, tmp_path: Path):
    clone = copy_clone(built, tmp_path)
    files = [f"{AGREEMENT}/{name}" for name in ("signals.parquet", "signals.json", "results.json", "results.parquet")]
    before = [(clone / name).read_bytes() for name in files]
    done = snakemake(clone, "-R", "train_answer_probes", "cluster_replies", "--", RESULTS)
    assert done.returncode == 0, done.stdout
    assert [(clone / name).read_bytes() for name in files] == before


def test_the_terminal_and_the_page_show_it(built: Path):
    page = (built / f"{AGREEMENT}/figures.html").read_text()
    assert "every signal for every outcome" in page
    assert "All signals together against the best one" in page
    done = subprocess.run(
        [sys.executable, "-m", "tells.cli", "show", "tiny"],
        cwd=built,
        env=environment(built),
        capture_output=True,
        text=True,
        check=False,
    )
    assert "AUROC of every signal for every outcome" in done.stdout, done.stderr
    assert "all signals together against the best one" in done.stdout
    assert "not there yet" in done.stdout, "of the studies the agreement's own inputs alone were asked for"


STEERING = f"{AGREEMENT}/steering/sums"
STEERED = {"steer_questions", "grade_steered", "cluster_steered", "measure_steered_entropy", "measure_steered"}
STEER = {"questions": 8, "samples": 2, "random_directions": 1, "ratio": 0.5}


def steered_definition(**changes: object) -> dict:
    """Questions and a trait whose scenarios nobody judges, so that its direction is there, and the steered run."""
    vet = {"minimum": 1, "scenarios": False, "responses": False}
    traits = tiny_traits(collections=["behavioral/formality"], steer=None, shard_size=48, vet=vet)["traits"]
    told = {**SMALL, "confidence_trait": "behavioral/formality", "steer": {**STEER, **changes}}
    return {**definition(traits=traits, agreement=told), "safety": None}


@pytest.fixture(scope="module")
def steered(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone in which questions have been asked under steering, too."""
    clone = copy_clone(built, tmp_path_factory.mktemp("steered"))
    write_experiment(clone, steered_definition())
    done = snakemake(clone, "agreement")
    assert done.returncode == 0, done.stdout
    return clone


def test_every_arm_answers_the_same_questions_with_the_same_seeds(steered: Path):
    prompts = read_table(steered / f"{STEERING}/prompts.parquet", "prompts")
    samples = read_table(steered / f"{STEERING}/samples.parquet", "samples")
    arms = ["baseline", "plus", "minus", "random-0"]
    assert prompts["arm"].unique(maintain_order=True).to_list() == arms
    assert prompts.group_by("arm").len()["len"].to_list() == [8] * 4
    rows = samples.join(prompts.select("prompt_id", "arm", "question_id"), on="prompt_id")
    keys = [rows.filter(pl.col("arm") == arm).select("question_id", "sample", "seed").rows() for arm in arms]
    assert all(key == keys[0] for key in keys)
    assert len(keys[0]) == 16
    answers = [rows.filter(pl.col("arm") == arm)["token_ids"].to_list() for arm in arms]
    assert answers[0] not in answers[1:], "steering at half a norm changes some answer of a random model"
    assert answers[1] != answers[2]


def test_unsteered_answers_are_those_of_the_study(steered: Path):
    samples = read_table(steered / f"{STEERING}/samples.parquet", "samples")
    own = read_table(steered / "experiments/tiny/uncertainty/sums/samples.parquet", "samples")
    unsteered = samples.filter(pl.col("prompt_id").str.starts_with("baseline/")).with_columns(
        prompt_id=pl.col("prompt_id").str.strip_prefix("baseline/")
    )
    both = unsteered.join(own, on=["prompt_id", "sample"], suffix="_own")
    assert both.height == 16
    assert both["seed"].to_list() == both["seed_own"].to_list()
    assert both["token_ids"].to_list() == both["token_ids_own"].to_list()


def test_questions_are_the_held_out_ones_first_and_the_vector_the_chosen_one(steered: Path):
    outcomes = read_table(steered / f"{STEERING}/outcomes.parquet", "outcomes")
    splits = read_table(steered / "experiments/tiny/uncertainty/splits.parquet", "splits")
    tested = splits.filter((pl.col("dataset") == "sums") & (pl.col("split") == "test"))["prompt_id"]
    asked = outcomes.filter(pl.col("arm") == "baseline")
    assert {*asked.filter(pl.col("split") == "test")["prompt_id"]} == {*tested}
    facts = read_metadata(steered / f"{STEERING}/samples.parquet")
    vectors = steered / "experiments/tiny/traits/behavioral/formality/vectors.json"
    best = json.loads(vectors.read_text())["best"]
    assert (facts["direction"]["layer"], facts["direction"]["method"]) == (best["layer"], best["method"])
    assert facts["coefficient"] == pytest.approx(0.5 * facts["norm"])
    assert facts["norm"] > 0


def test_the_results_say_what_steering_changes(steered: Path):
    found = json.loads((steered / RESULTS).read_text())["confidence_direction"]
    steering = found["steering"]
    assert found["steering_reason"] is None
    assert [one["collection"] for one in steering["collections"]] == ["sums"]
    assert len(steering["changes"]) == 2 * 5
    confidence = next(one for one in steering["changes"] if one["outcome"] == "confidence")
    assert confidence["n_questions"] == 8
    assert confidence["low"] <= confidence["difference"] <= confidence["high"]
    assert "Steered along behavioral/formality at r = 0.5" in steering["answer"]
    assert "the same questions, steered" in (steered / f"{AGREEMENT}/figures.html").read_text()


def test_what_re_runs_the_steered_run_and_what_does_not(steered: Path, tmp_path: Path):
    clone = copy_clone(steered, tmp_path)
    assert dry_run_jobs(clone, RESULTS) == Counter()
    write_experiment(clone, steered_definition(ratio=0.25))
    assert {*dry_run_jobs(clone, RESULTS)} == {*STEERED, "analyse_agreement"}
    # Where a question lies is decided by the settings of the split, not by what the probes are trained to tell.
    other = steered_definition()
    other["uncertainty"] = {**other["uncertainty"], "probes": {"regularisation": [0.02]}}
    write_experiment(clone, other)
    assert "train_probes" in dry_run_jobs(clone, RESULTS)
    assert not {"steer_questions", "grade_steered"} & {*dry_run_jobs(clone, RESULTS)}
    without = steered_definition()
    del without["agreement"]["steer"]
    write_experiment(clone, without)
    assert dry_run_jobs(clone, RESULTS) == Counter({"analyse_agreement": 1})
    more = steered_definition(collections=["sums", "capitals"])
    write_experiment(clone, more)
    assert dry_run_jobs(clone, RESULTS) == Counter({**dict.fromkeys(STEERED, 1), "analyse_agreement": 1})


def test_without_a_direction_nothing_is_asked_and_the_reason_is_told(steered: Path, tmp_path: Path):
    clone = copy_clone(steered, tmp_path)
    told = steered_definition()
    # Of nine pairs none can be held out, so no direction is chosen.
    told["traits"] = {**told["traits"], "limit": 9}
    write_experiment(clone, told)
    done = snakemake(clone, RESULTS)
    assert done.returncode == 0, done.stdout
    assert read_table(clone / f"{STEERING}/samples.parquet", "samples").is_empty()
    found = json.loads((clone / RESULTS).read_text())["confidence_direction"]
    assert found["steering"] is None
    assert "no direction was chosen" in found["steering_reason"]
