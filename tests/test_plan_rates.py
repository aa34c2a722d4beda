"""Jobs, hours and bytes of a plan: worked values on made-up status files, and nothing where there are none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from test_plan import OPENAI, TRAIT, TRAITS, Place, benchmark, show, uncertainty, with_steer

from tells.plan import Hours, Plan

SHAPE = {"num_hidden_layers": 3, "hidden_size": 8}
GPU, CPU = "NVIDIA A100", "cpu, 2 threads"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def status(place: Place, where: str, **figures: Any) -> None:
    """A finished job of the model `small`: 10 s of work after 5 s of start-up."""
    told = {"state": "done", "job": Path(where).name, "model": "small", "machine": CPU, "startup_seconds": 5.0}
    told |= {"process_seconds": 15.0, "waited_seconds": 0.0, "finished": "2026-01-01T00:00:00+00:00", **figures}
    path = place.root / f"logs/{where}.status.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({key: value for key, value in told.items() if value is not ...}))


def ready(place: Place, name: str = "small", **shape: int) -> None:
    """A model that lies ready, as far as its shape goes."""
    folder = place.root / "resources/models" / name
    (folder / "files").mkdir(parents=True)
    (folder / "model.json").write_text(json.dumps({"path": f"resources/models/{name}/files"}))
    (folder / "files/config.json").write_text(json.dumps({**SHAPE, **shape}))


def hours_of(found: Plan, stage: str) -> Hours:
    (hours,) = [one for one in found.hours if one.work.stage == stage]
    return hours


def sampled(place: Place, **changes: Any) -> Hours:
    """Hours of the 110 tokens at most of 2 questions, 5 runs each."""
    collection = {"questions": "config/questions/here.yaml", "limit": 2}
    study = {"samples": 4, "max_new_tokens": 11, "collections": {"sums": collection}}
    return hours_of(place.plan(None, uncertainty=study, **changes), "sample_shard")


# Jobs


def test_the_jobs_of_a_trait_are_counted_by_rule(place: Place):
    found = place.plan()
    assert found.jobs == {
        "fetch_model": 1,
        **dict.fromkeys(("prompts", "sample_shard", "merge_samples", "judge_scenarios", "judge_responses", "vet"), 1),
        **dict.fromkeys(("replay_shard", "explain_failures", "extract_vectors", "generate_steered"), 1),
        **dict.fromkeys(("judge_steered", "choose", "report_steered", "judge_report", "summarise_trait"), 1),
        "analyse_traits": 1,
        "draw_figures": 1,
    }
    offline = place.plan(judge={"provider": "exemplar"}).jobs
    assert "explain_failures" not in offline
    assert offline["fetch_model"] == 2  # the offline judge's embedding
    without = place.plan({**TRAITS, "steer": None, "vet": {"minimum": 2, "scenarios": False}}).jobs
    assert {"judge_scenarios", "generate_steered", "choose", "judge_report"} & set(without) == set()


@pytest.mark.parametrize(("size", "shards"), [(5, 2), (10, 1), (4, 3), (1, 10)])
def test_shards_are_scenarios_by_their_size(place: Place, size: int, shards: int):
    jobs = place.plan({**TRAITS, "shard_size": size}).jobs
    assert (jobs["sample_shard"], jobs["replay_shard"], jobs["merge_samples"]) == (shards, shards, 1)


def test_the_jobs_of_questions_are_counted_and_own_samples_spare_those_of_the_model(place: Place):
    collection = {"questions": "config/questions/here.yaml"}
    study = {**uncertainty(one=collection, two={**collection, "samples": "mine.jsonl"}), "shard_size": 4}
    (place.root / "mine.jsonl").touch()
    jobs = place.plan(None, uncertainty=study).jobs
    assert (jobs["sample_shard"], jobs["replay_shard"], jobs["ask_p_true"]) == (3, 3, 3)
    assert (jobs["prompts"], jobs["merge_samples"], jobs["merge_replay"], jobs["grade"]) == (2, 2, 1, 2)
    assert "ask_p_true" not in place.plan(None, uncertainty={**study, "p_true": False}).jobs


def test_the_jobs_of_a_benchmark_are_counted(place: Place):
    benchmark(place)
    labels = {"refusal": "judge", "harm": "wildguard", "also": ["embedding"]}
    study = {"collections": {"own": {}}, "shard_size": 4, "labels": labels, "stopping": {"online": True}}
    jobs = place.plan(None, safety=study).jobs
    assert (jobs["sample_shard"], jobs["sample_adaptively"], jobs["merge_online"]) == (3, 3, 1)
    assert (jobs["classify"], jobs["ask_guard"], jobs["label"]) == (3, 1, 1)
    assert "replay_shard" not in jobs


def test_a_number_of_shards_that_is_not_known_is_none_and_only_there(place: Place):
    (place.root / "config/questions/here.jsonl").unlink()
    jobs = place.plan(None, uncertainty=uncertainty(sums={"questions": "config/questions/here.yaml"})).jobs
    assert {rule for rule, count in jobs.items() if count is None} == {"sample_shard", "replay_shard", "ask_p_true"}
    assert jobs["grade"] == 1


def test_a_model_that_lies_ready_is_not_fetched(place: Place):
    ready(place)
    assert "fetch_model" not in place.plan().jobs


# Hours


def test_without_a_finished_job_of_this_model_hours_are_unknown_and_said_to_be(place: Place):
    status(place, "other/uncertainty/sums/sample_shard-0000", tokens=1000, model="large")
    status(place, "other/uncertainty/sums/replay_shard-0000", tokens=1000)
    hours = sampled(place)
    assert (hours.rate, hours.expected, hours.least, hours.most) == (None, None, None, None)
    shown = show(place.plan(None, uncertainty=uncertainty(sums={"questions": "config/questions/here.yaml"})))
    assert "hours unknown, as no such job has finished here: ask_p_true of small; sample_shard of small" in shown


def test_hours_are_tokens_at_most_at_the_recorded_rate_and_the_start_up_of_each_job(place: Place):
    status(place, "other/traits/a/b/sample_shard-0000", tokens=100)
    hours = sampled(place)
    assert (hours.work.amount, hours.work.jobs) == (110, 1)
    assert hours.expected == pytest.approx((110 * 0.1 + 5) / 3600)
    assert (hours.least, hours.most) == (hours.expected, hours.expected)


def test_waiting_for_a_free_gpu_is_no_work(place: Place):
    status(place, "other/traits/a/b/sample_shard-0000", tokens=100, waited_seconds=4.0)
    assert sampled(place).rate.seconds == 6


def test_jobs_count_by_their_tokens_and_the_range_is_that_of_single_jobs(place: Place):
    status(place, "other/traits/a/b/sample_shard-0000", tokens=100)
    status(place, "other/traits/a/b/sample_shard-0001", tokens=400, process_seconds=26.0, startup_seconds=6.0)
    rate = sampled(place).rate
    assert (rate.jobs, rate.amount, rate.seconds, rate.startup) == (2, 500, 30, 5.5)
    assert (rate.fastest, rate.per_unit, rate.slowest) == (0.05, 0.06, 0.1)
    hours = sampled(place)
    assert hours.least < hours.expected < hours.most
    assert hours.most == pytest.approx((110 * 0.1 + 5.5) / 3600)


@pytest.mark.parametrize(
    "spoilt",
    [
        {"state": "failed"},
        {"tokens": 0},
        {"tokens": ...},
        {"startup_seconds": None},
        {"startup_seconds": ...},
        {"process_seconds": 5.0},
        {"machine": ...},
        {"model": ...},
    ],
    ids=str,
)
def test_a_job_that_failed_or_does_not_say_what_a_rate_is_made_of_gives_none(place: Place, spoilt: dict[str, Any]):
    status(place, "other/traits/a/b/sample_shard-0000", **{"tokens": 100, **spoilt})
    assert sampled(place).rate is None


def test_a_broken_status_file_is_passed_over(place: Place):
    status(place, "other/traits/a/b/sample_shard-0000", tokens=100)
    (place.root / "logs/other/traits/a/b/sample_shard-0001.status.json").write_text('{"state": "do')
    assert sampled(place).rate.jobs == 1


def test_a_rate_is_of_one_machine_that_asked_for_or_else_that_of_the_last_job(place: Place):
    status(place, "other/traits/a/b/sample_shard-0000", tokens=100, machine=GPU)
    status(place, "other/traits/a/b/sample_shard-0001", tokens=50, finished="2026-02-01T00:00:00+00:00")
    assert (sampled(place).rate.machine, sampled(place).rate.jobs) == (CPU, 1)
    assert sampled(place, engine={"device": "cuda"}).rate.machine == GPU
    assert sampled(place, engine={"device": "cpu"}).rate.machine == CPU
    status(place, "other/traits/a/b/sample_shard-0002", tokens=70, machine=GPU, finished="2026-03-01T00:00:00+00:00")
    assert (sampled(place).rate.machine, sampled(place).rate.jobs) == (GPU, 2)


def test_jobs_that_ask_a_server_have_a_rate_of_their_own(place: Place):
    status(place, "other/traits/a/b/sample_shard-0000", tokens=100, engine="served", machine=...)
    assert sampled(place).rate is None
    engine = {"kind": "served", "base_url": "http://localhost:8000/v1"}
    assert sampled(place, engine=engine).rate.machine == "a server"


def test_p_true_is_counted_in_runs_and_steering_by_the_model_that_is_steered(place: Place):
    status(place, "other/uncertainty/sums/ask_p_true-0000", runs=50)
    collection = {"questions": "config/questions/here.yaml"}
    hours = hours_of(place.plan(None, uncertainty=uncertainty(sums=collection)), "ask_p_true")
    assert (hours.work.amount, hours.rate.unit) == (55, "runs")
    assert hours.expected == pytest.approx((55 * 10 / 50 + 5) / 3600)
    status(place, f"other/traits/{TRAIT}/report_steered", tokens=100, model="sibling")
    assert hours_of(place.plan(), "report_steered").rate is None
    assert hours_of(place.plan(with_steer(model="sibling")), "report_steered").rate.model == "sibling"


def test_a_guard_has_hours_of_its_own_model_by_replies(place: Place):
    benchmark(place)
    status(place, "other/safety/own/ask_guard-wildguard", replies=20, model="wildguard")
    labels = {"refusal": "wildguard", "harm": "llama_guard"}
    found = place.plan(None, safety={"collections": {"own": {}}, "budget": 6, "labels": labels})
    hours = hours_of(found, "ask_guard wildguard")
    assert hours.expected == pytest.approx((54 * 0.5 + 5) / 3600)
    assert hours_of(found, "ask_guard llama_guard").rate is None


# Storage


def test_hidden_states_are_counted_exactly_where_the_model_lies_ready(place: Place):
    assert place.plan().storage.states is None
    ready(place)
    assert place.plan().storage.states == 10 * 3 * 1 * 8 * 2  # responses, layers, positions, width, bytes
    assert place.plan({**TRAITS, "rollouts": 3}).storage.states == 3 * 480
    two = {**TRAITS, "replay_positions": ["response[:4]", "prompt_last"]}
    assert place.plan(two, replay={"layers": [0, 1]}).storage.states == 10 * 2 * 2 * 8 * 2


def test_a_study_without_hidden_states_has_none(place: Place):
    benchmark(place)
    assert place.plan(None, safety={"collections": {"own": {}}}).storage.states == 0


def test_bytes_of_tables_are_those_per_answer_of_an_earlier_run_of_the_study(place: Place):
    assert place.plan().storage.tables == {"traits": None}
    status(place, "other/traits/a/b/sample_shard-0000", runs=30, bytes={"parquet": 600})
    status(place, "other/traits/a/b/report_steered", runs=20, bytes={"parquet": 300})
    status(place, "other/traits/a/b/extract_vectors", bytes={"safetensors": 9000, "json": 100})
    status(place, "other/safety/own/sample_shard-0000", runs=1000, bytes={"parquet": 1})
    found = place.plan()
    answers = sum(step.answers for step in found.steps)
    assert found.storage.tables == {"traits": round(answers * 1000 / 50)}
    assert found.storage.sources == {"traits": ("other", 50)}
    assert "tables of traits about" in show(found)
    assert "by the 50 answers of other" in show(found)


def test_an_experiments_own_run_stands_before_those_of_others(place: Place):
    status(place, "other/traits/a/b/sample_shard-0000", runs=30, bytes={"parquet": 600})
    status(place, "trial/traits/a/b/sample_shard-0000", runs=10, bytes={"parquet": 50})
    found = place.plan().storage
    assert found.sources == {"traits": ("trial", 10)}


def test_status_files_of_an_older_kind_say_nothing_of_bytes(place: Place):
    status(place, "other/traits/a/b/sample_shard-0000", runs=30)
    assert place.plan().storage.tables == {"traits": None}


# Shown


def test_rates_are_shown_with_what_they_rest_on(place: Place):
    for rule in ("sample_shard-0000", "replay_shard-0000", "report_steered", "generate_steered"):
        status(place, f"other/traits/a/b/{rule}", tokens=1234)
    shown = show(place.plan())
    (row,) = [line for line in shown.splitlines() if "report_steered" in line and CPU in line]
    for cell in ("small", "123.4 tokens", "5.0", "2026-01-01"):
        assert f" {cell} " in row
    assert "unknown, as no such job" not in shown
    assert "judge: openai a-judge" in show(place.plan(judge=OPENAI))


def test_many_collections_of_a_study_are_told_together_with_the_same_totals(place: Place):
    names = [f"many/trait-{number}" for number in range(7)]
    for name in names:
        place.trait(name)
    few, many = (place.plan({**TRAITS, "collections": chosen}) for chosen in (names[:6], names))
    assert show(few).count("traits/many/trait-") == 6 * 9
    shown = show(many)
    assert "traits/many" not in shown
    (row,) = [line for line in shown.splitlines() if "traits: 7 collections" in line and "report_steered" in line]
    assert f" {7 * 6 * 5 * 23:,} " in row
    (total,) = [line for line in shown.splitlines() if line.startswith("│ all")]
    assert f" {sum(many.jobs.values())} " in total


def test_an_unknown_part_of_the_hours_is_marked_in_the_total(place: Place):
    status(place, "other/traits/a/b/sample_shard-0000", tokens=100)
    (total,) = [line for line in show(place.plan()).splitlines() if line.startswith("│ all")]
    assert ") + ? " in total
