"""The traits study on a tiny random model and a judge on this machine: which jobs run, and which do not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from judge_server import Faults, JudgeServer, judge_server
from workflow_helpers import dry_run_jobs, make_clone, snakemake, tiny_traits, write_experiment

pytestmark = pytest.mark.slow
KEY = "sk-tiny-0123456789-never-to-be-seen"
FORMALITY = "experiments/tiny/traits/behavioral/formality"
GPU_RULES = {"sample_shard", "replay_shard", "generate_steered", "report_steered"}
STEERING = {"generate_steered", "judge_steered", "choose", "report_steered", "judge_report"}
AFTER_VETTING = {"extract_vectors", *STEERING, "summarise_trait", "analyse_traits", "draw_figures"}


@pytest.fixture(scope="module", autouse=True)
def key() -> Iterator[None]:
    """The judge's key, in the environment and nowhere else."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TINY_KEY", KEY)
        yield


@pytest.fixture(scope="module")
def server() -> Iterator[JudgeServer]:
    """A judge that now and then fails."""
    with judge_server(Faults(errors=0.05, malformed=0.02)) as running:
        yield running


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, server: JudgeServer) -> Path:
    """A clone in which two traits have been taken from scenarios to the report."""
    clone = make_clone(tmp_path_factory.mktemp("built"), uncertainty=None)
    write_experiment(clone, tiny_traits(server.base_url))
    done = snakemake(clone, "traits")
    assert done.returncode == 0, done.stdout
    (clone / "printed.txt").write_text(done.stdout)
    return clone


@pytest.fixture
def copy(built: Path, tmp_path: Path) -> Path:
    """A copy of the built clone that a test may change."""
    shutil.copytree(built, tmp_path / "copy", symlinks=True)
    return tmp_path / "copy"


def test_every_trait_comes_to_its_end_and_every_item_is_accounted_for(built: Path) -> None:
    results = json.loads((built / "experiments/tiny/traits/results.json").read_text())
    assert [trait["trait"] for trait in results["traits"]] == ["behavioral/formality", "epistemic/optimism"]
    for trait in results["traits"]:
        for stage in ("scenarios", "responses"):
            for one in trait[stage].values():
                assert one["n_pass"] + one["n_fail"] + one["n_error"] == one["n"] == 24
    steered, extracted = results["traits"]
    assert steered["steering"]["random"]["n"] == 20
    assert steered["steering"]["unsteered"]["n"] == 10
    assert extracted["steering"] is None
    assert extracted["status"] == "vectors"
    table = pl.read_parquet(built / "experiments/tiny/traits/results.parquet")
    assert table["n_vectors"].to_list() == [trait["n_vectors"] for trait in results["traits"]]


def test_a_run_ends_with_the_tables_of_what_it_made(built: Path) -> None:
    printed = (built / "printed.txt").read_text()
    for shown in ("held-out d", "steering, on questions that were not searched", "judge: openai"):
        assert printed.count(shown) == 1
    assert "seconds per stage" in printed


def test_a_second_run_does_nothing(built: Path) -> None:
    done = snakemake(built, "traits")
    assert "Nothing to be done" in done.stdout
    assert "held-out d" not in done.stdout


def test_the_key_stands_in_no_file(built: Path) -> None:
    files = [path for path in built.rglob("*") if path.is_file() and path.name != Path(__file__).name]
    assert len(files) > 300
    assert not [path for path in files if KEY.encode() in path.read_bytes()]


def test_judging_again_asks_the_cache(copy: Path, server: JudgeServer) -> None:
    before, scores = server.seen.requests, (copy / FORMALITY / "response_scores.parquet").read_bytes()
    done = snakemake(copy, "-f", f"{FORMALITY}/response_scores.parquet")
    assert done.returncode == 0, done.stdout
    assert server.seen.requests == before
    assert (copy / FORMALITY / "response_scores.parquet").read_bytes() == scores


def test_a_changed_rubric_lists_neither_sample_nor_replay(copy: Path) -> None:
    definition = copy / "config/traits/behavioral/formality/definition.yaml"
    definition.write_text(definition.read_text().replace("HIGH", "HIGHEST", 1))
    jobs = dry_run_jobs(copy, "traits")
    assert not {"prompts", "sample_shard", "replay_shard"} & set(jobs)
    judging = {"judge_scenarios", "judge_responses", "explain_failures", "vet"}
    assert set(jobs) - {"traits"} == judging | AFTER_VETTING
    assert all(jobs[rule] == 1 for rule in jobs)


def test_a_changed_threshold_lists_no_judging_of_texts_and_no_sampling(copy: Path, server: JudgeServer) -> None:
    write_experiment(copy, tiny_traits(server.base_url, vet={"minimum": 1, "positive_min": 60, "negative_max": 30}))
    jobs = dry_run_jobs(copy, "traits")
    assert not {"prompts", "sample_shard", "replay_shard", "judge_scenarios", "judge_responses"} & set(jobs)
    assert jobs["vet"] == 2
    assert jobs["extract_vectors"] == 2
    assert jobs["generate_steered"] == 1


def test_a_changed_coherence_threshold_lists_at_most_the_report(copy: Path, server: JudgeServer) -> None:
    study = tiny_traits(server.base_url)["traits"]
    steer = {**study["steer"], "min_coherence": 2}
    write_experiment(copy, tiny_traits(server.base_url, steer=steer))
    jobs = set(dry_run_jobs(copy, "traits")) - {"traits"}
    report = {"choose", "report_steered", "judge_report", "summarise_trait", "analyse_traits", "draw_figures"}
    assert jobs == report


def test_another_ceiling_price_or_concurrency_re_runs_nothing(copy: Path, server: JudgeServer) -> None:
    definition = tiny_traits(server.base_url)
    definition["judge"] |= {"max_calls": 10_000, "input_price": 1.0, "output_price": 2.0}
    write_experiment(copy, definition)
    site = copy / "config/config.yaml"
    site.write_text(site.read_text() + "\njudge_concurrency: 7\n")
    assert not dry_run_jobs(copy, "traits")


def test_one_traits_vectors_are_redone_by_naming_their_file(built: Path) -> None:
    assert dry_run_jobs(built, "-f", f"{FORMALITY}/vectors.safetensors") == {"extract_vectors": 1}


def test_vectors_alone_need_no_steering(built: Path, server: JudgeServer, tmp_path: Path) -> None:
    clone = make_clone(tmp_path, uncertainty=None)
    write_experiment(clone, tiny_traits(server.base_url))
    shutil.copytree(built / "resources", clone / "resources")
    assert not GPU_RULES & set(dry_run_jobs(clone, "vectors")) - {"sample_shard", "replay_shard"}
    write_experiment(clone, tiny_traits(server.base_url, steer=None))
    assert not STEERING & set(dry_run_jobs(clone, "traits"))


def test_a_ceiling_stops_cleanly_and_a_higher_one_goes_on_from_there(built: Path, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    shutil.copytree(built, clone, symlinks=True)
    shutil.rmtree(clone / "resources/judge")
    with judge_server() as fresh:
        definition = tiny_traits(fresh.base_url)
        definition["judge"]["max_calls"] = 10
        write_experiment(clone, definition)
        target = f"{FORMALITY}/scenario_scores.parquet"
        done = snakemake(clone, "-f", target)
        assert done.returncode != 0
        assert "max_calls" in done.stdout
        asked = fresh.seen.requests
        assert asked == 10
        definition["judge"]["max_calls"] = 1000
        write_experiment(clone, definition)
        done = snakemake(clone, "-f", target)
        assert done.returncode == 0, done.stdout
        assert fresh.seen.requests == 48


def test_items_left_unanswered_are_asked_again_at_the_next_run_and_not_for_ever(built: Path, tmp_path: Path) -> None:
    clone, target = tmp_path / "clone", f"{FORMALITY}/scenario_scores.parquet"
    shutil.copytree(built, clone, symlinks=True)
    shutil.rmtree(clone / "resources/judge")
    with judge_server(Faults(status=400)) as failing:
        write_experiment(clone, tiny_traits(failing.base_url))
        assert snakemake(clone, target).returncode == 0
        assert set(pl.read_parquet(clone / target)["status"]) == {"error"}
        failing.faults.status = None
        done = snakemake(clone, target)
        assert done.returncode == 0, done.stdout
        assert set(pl.read_parquet(clone / target)["status"]) <= {"scored", "refused"}
        asked = failing.seen.requests
        assert "Nothing to be done" in snakemake(clone, target).stdout
        assert failing.seen.requests == asked


def test_a_missing_key_is_told_before_the_first_job(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TINY_KEY")
    done = snakemake(copy, "-F", "traits")
    assert done.returncode != 0
    assert "TINY_KEY is not set" in done.stdout
    assert "done" not in done.stdout.partition("TINY_KEY is not set")[2].partition("\n")[0]


def test_an_unknown_trait_and_a_broken_one_are_told_before_any_job(copy: Path, server: JudgeServer) -> None:
    write_experiment(copy, tiny_traits(server.base_url, collections=["behavioral/formality", "epistemic/hope"]))
    done = snakemake(copy, "-n", "traits")
    assert done.returncode != 0
    assert "config/traits/epistemic/hope" in done.stdout
    assert "epistemic/optimism" in done.stdout
    write_experiment(copy, tiny_traits(server.base_url))
    (copy / "config/traits/behavioral/formality/positive.txt").write_text("")
    lines = (copy / "config/traits/epistemic/optimism/negative.txt").read_text().splitlines()
    (copy / "config/traits/epistemic/optimism/negative.txt").write_text("\n".join(lines[:-1]))
    done = snakemake(copy, "-n", "traits")
    assert done.returncode != 0
    assert "formality/positive.txt: is empty" in done.stdout
    assert "line 120: has no partner" in done.stdout


def test_layers_that_do_not_exist_are_told_before_the_first_job(copy: Path, server: JudgeServer) -> None:
    write_experiment(copy, tiny_traits(server.base_url, layers=[0, 99]))
    done = snakemake(copy, "traits")
    assert done.returncode != 0
    assert "traits.layers 99: the model has" in done.stdout
