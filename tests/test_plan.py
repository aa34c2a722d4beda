"""What a run takes, counted from its definition: worked values on a small trait and a small question set."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from tells.config import ConfigError, Experiment
from tells.plan import Plan, Step, plan, plan_tables

TRAIT = "epistemic/optimism"
PAIRS, SEARCH, REPORT = 5, 4, 6
STEER: dict[str, Any] = {"ratios": [0.1, 0.2, 0.4], "search_questions": 3, "samples": 2, "report_samples": 5}
STEER |= {"max_new_tokens": 10, "random_draws": 20}
TRAITS = {
    "collections": [TRAIT],
    "max_new_tokens": 8,
    "window": "response[:4]",
    "replay_positions": ["response[:4]"],
    "vet": {"minimum": 2},
    "steer": STEER,
}
OPENAI = {"provider": "openai", "model": "a-judge"}
PRICES = {"input_price": 0.4, "output_price": 1.6}


class Place:
    """A folder with one trait and one question set."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.trait(TRAIT)
        questions = root / "config/questions"
        questions.mkdir(parents=True)
        text = "description: Sums.\nfile: here.jsonl\nformat: jsonl\ngrader: math\ninstruction: Answer.\n"
        (questions / "here.yaml").write_text(text)
        (questions / "here.jsonl").write_text("".join(json.dumps({"question": str(n)}) + "\n" for n in range(11)))

    def trait(self, name: str) -> None:
        folder = self.root / "config/traits" / name
        folder.mkdir(parents=True)
        definition = {
            "name": name,
            "definition": "A definition.",
            "rubric": "HIGH: glad\nMID: calm\nLOW: glum\n",
            "exemplars": {"high": ["Oh yes.", "Very well."], "low": ["Oh no.", "Very bad."]},
            "instruction": {"high": "Be glad.", "low": "Be glum."},
        }
        (folder / "definition.yaml").write_text(yaml.safe_dump(definition))
        for polarity in ("positive", "negative"):
            (folder / f"{polarity}.txt").write_text("".join(f"I am {polarity} {n} and\n" for n in range(PAIRS)))
        questions = {"search": [f"What {n}?" for n in range(SEARCH)], "report": [f"Who {n}?" for n in range(REPORT)]}
        (folder / "questions.yaml").write_text(yaml.safe_dump(questions))

    def plan(self, traits: Any = TRAITS, *, judge: Any = OPENAI, **content: Any) -> Plan:
        definition = {"name": "trial", "model": "small", "judge": judge, "traits": traits, **content}
        return plan(self.root, Experiment.model_validate(definition))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def steps_of(found: Plan) -> dict[str, Step]:
    assert len({step.stage for step in found.steps}) == len(found.steps)
    return {step.stage: step for step in found.steps}


def with_steer(**changes: Any) -> dict[str, Any]:
    return {**TRAITS, "steer": {**STEER, **changes}}


def test_every_stage_of_a_trait_is_counted(place: Place):
    steps = steps_of(place.plan())
    references = 9 * 8  # 3 search and 6 report questions, 8 answers each make up at least 64
    grid = 2 * 1 * 2 * 3 * 3 * 2  # layers, methods, signs, ratios, questions, samples
    report = (3 + 20) * 6 * 5  # steered, unsteered, prompted and 20 random; questions; samples
    assert {stage: (step.answers, step.tokens, step.calls) for stage, step in steps.items()} == {
        "sample_shard": (10, 80, 0),
        "judge_scenarios": (0, 0, 10),
        "judge_responses": (0, 0, 10),
        "explain_failures": (0, 0, 10),
        "generate_steered": (references + grid, 10 * (references + grid), 0),
        "judge_steered": (0, 0, 2 * (references + grid)),
        "report_steered": (report, 10 * report, 0),
        "judge_report": (0, 0, 2 * report),
    }
    assert {step.collection for step in steps.values()} == {f"traits/{TRAIT}"}
    assert all((step.calls > 0) == (step.judge_tokens > 0) for step in steps.values())


@pytest.mark.parametrize(
    ("changes", "grid"),
    [
        ({"layers": 3}, 3 * 2 * 3 * 3 * 2),
        ({"layers": [1, 2, 3, 4]}, 4 * 2 * 3 * 3 * 2),
        ({"methods": ["probe", "fisher"]}, 2 * 2 * 2 * 3 * 3 * 2),
        ({"ratios": [0.5]}, 2 * 2 * 1 * 3 * 2),
        ({"samples": 1}, 2 * 2 * 3 * 3 * 1),
    ],
)
def test_the_grid_is_the_product_of_its_sides(place: Place, changes: dict[str, Any], grid: int):
    assert steps_of(place.plan(with_steer(**changes)))["generate_steered"].answers == 72 + grid


def test_no_more_questions_are_counted_than_the_trait_has(place: Place):
    steps = steps_of(place.plan(with_steer(search_questions=10, report_questions=16, samples=1, report_samples=1)))
    assert steps["generate_steered"].answers == 10 * 7 + 2 * 2 * 3 * SEARCH
    assert steps["report_steered"].answers == 23 * REPORT


def test_limit_and_rollouts_count(place: Place):
    steps = steps_of(place.plan({**TRAITS, "limit": 3, "rollouts": 4}))
    assert (steps["sample_shard"].answers, steps["judge_scenarios"].calls) == (24, 6)
    assert steps["judge_responses"].calls == steps["explain_failures"].calls == 24
    assert steps_of(place.plan({**TRAITS, "limit": 99}))["sample_shard"].answers == 2 * PAIRS


@pytest.mark.parametrize(
    ("vet", "stages"),
    [
        ({"responses": False}, {"judge_scenarios"}),
        ({"scenarios": False}, {"judge_responses", "explain_failures"}),
        ({"scenarios": False, "responses": False}, set()),
    ],
)
def test_what_is_not_vetted_is_not_judged(place: Place, vet: dict[str, Any], stages: set[str]):
    steps = steps_of(place.plan({**TRAITS, "vet": {"minimum": 2, **vet}, "steer": None}))
    assert set(steps) == {"sample_shard"} | stages


def test_only_the_traits_that_are_steered_have_steering(place: Place):
    other = "behavioral/formality"
    place.trait(other)
    found = place.plan({**with_steer(collections=[other]), "collections": [TRAIT, other]})
    assert Counter(step.collection for step in found.steps) == {f"traits/{TRAIT}": 4, f"traits/{other}": 8}


def test_a_broken_trait_is_said(place: Place):
    (place.root / "config/traits" / TRAIT / "positive.txt").unlink()
    with pytest.raises(ConfigError, match=r"positive\.txt"):
        place.plan()


# the judge


def test_the_offline_judge_is_asked_nothing(place: Place):
    found = place.plan(judge={"provider": "exemplar"})
    assert set(steps_of(found)) == {"sample_shard", "generate_steered", "report_steered"}
    assert all(step.calls == 0 and step.judge_tokens == 0 for step in found.steps)
    assert [step.answers for step in found.steps] == [s.answers for s in place.plan().steps if s.answers]
    assert found.cost is None
    assert found.judge == "offline (all-minilm-l6-v2), which sends nothing"


def test_an_openai_judge_scores_trait_and_coherence(place: Place):
    found = place.plan()
    steps = steps_of(found)
    assert steps["judge_steered"].calls == 2 * steps["generate_steered"].answers
    assert steps["judge_report"].calls == 2 * steps["report_steered"].answers
    assert found.judge == "openai a-judge"


def test_longer_answers_take_more_tokens_of_the_judge_by_their_characters(place: Place):
    short, long = (steps_of(place.plan(with_steer(max_new_tokens=tokens))) for tokens in (10, 30))
    for stage in ("judge_steered", "judge_report"):
        assert long[stage].judge_tokens - short[stage].judge_tokens == pytest.approx(20 * short[stage].calls, rel=0.01)
    windows = [{**TRAITS, "window": name, "replay_positions": [name]} for name in ("response[:4]", "response")]
    narrow, wide = (steps_of(place.plan(traits)) for traits in windows)
    more = wide["judge_responses"].judge_tokens - narrow["judge_responses"].judge_tokens
    assert more == pytest.approx(4 * 10, abs=10)
    assert wide["judge_scenarios"].judge_tokens == narrow["judge_scenarios"].judge_tokens


@pytest.mark.parametrize("prices", [{}, {"input_price": 1.0}, {"output_price": 1.0}])
def test_without_both_prices_there_is_no_cost(place: Place, prices: dict[str, float]):
    assert place.plan(judge={**OPENAI, **prices}).cost is None


def test_the_cost_is_that_of_tokens_read_and_tokens_written(place: Place):
    steps = place.plan().steps
    asked, calls = sum(step.judge_tokens for step in steps), sum(step.calls for step in steps)
    explained = steps_of(place.plan())["explain_failures"].calls
    written = calls - explained + 60 * explained  # a score is one token, an explanation about sixty
    read = asked - written
    assert place.plan(judge={**OPENAI, **PRICES}).cost == pytest.approx((0.4 * read + 1.6 * written) / 1e6)
    assert place.plan(judge={**OPENAI, "input_price": 0, "output_price": 2}).cost == pytest.approx(2 * written / 1e6)
    assert place.plan(judge={**OPENAI, "input_price": 0, "output_price": 0}).cost == 0


# questions


def uncertainty(**collections: Any) -> dict[str, Any]:
    return {"samples": 4, "max_new_tokens": 7, "collections": collections}


def sums(place: Place, judge: Any = OPENAI, **changes: Any) -> Step:
    collection = {"questions": "config/questions/here.yaml", **changes}
    (step,) = place.plan(None, judge=judge, uncertainty=uncertainty(sums=collection)).steps
    return step


def test_a_question_is_answered_greedily_and_in_samples(place: Place):
    step = sums(place)
    assert (step.collection, step.answers, step.tokens) == ("uncertainty/sums", 11 * 5, 11 * 5 * 7)


@pytest.mark.parametrize(("limit", "questions"), [(3, 3), (100, 11)])
def test_the_limit_of_questions_counts(place: Place, limit: int, questions: int):
    assert sums(place, limit=limit).answers == questions * 5


@pytest.mark.parametrize("judge", [OPENAI, {"provider": "exemplar"}])
def test_a_number_of_questions_that_is_not_known_yet_is_none_and_shown_as_a_question_mark(place: Place, judge: Any):
    (place.root / "config/questions/here.jsonl").unlink()
    assert (sums(place, judge).answers, sums(place, judge).tokens) == (None, None)
    assert sums(place, judge, limit=4).answers == 20
    collection = {"questions": "config/questions/here.yaml"}
    shown = show(place.plan(TRAITS, judge=judge, uncertainty=uncertainty(sums=collection)))
    rows = {line.split("│")[2].strip(): line for line in shown.splitlines() if "uncertainty/sums" in line}
    # Jobs, answers, tokens and hours; nothing is said of the answers of a stage that generates none.
    assert {stage: row.count("?") for stage, row in rows.items()} == {
        "sample_shard": 4,
        "replay_shard": 2,
        "ask_p_true": 2,
    }


def test_samples_that_lie_ready_are_not_generated(place: Place):
    (place.root / "mine.parquet").touch()
    assert sums(place, samples="mine.parquet").answers == 0


# shown


def show(found: Plan) -> str:
    console = Console(width=200)
    with console.capture() as capture:
        console.print(plan_tables(found))
    return capture.get()


def test_the_plan_is_shown_with_its_totals_and_cost(place: Place):
    found = place.plan(judge={**OPENAI, "input_price": 4000, "output_price": 16000})
    (total,) = [line for line in show(found).splitlines() if f"{found.cost:.2f} USD" in line]
    for name in ("answers", "tokens", "calls", "judge_tokens"):
        assert f" {sum(getattr(step, name) for step in found.steps):,} " in total
    assert "trial: what a run takes" in show(found)
    assert "openai a-judge" in show(found)


def test_a_plan_of_no_study_is_empty(place: Place):
    found = place.plan(None)
    assert (found.steps, found.cost) == ((), None)
    show(found)


def benchmark(place: Place, **changes: Any) -> None:
    folder = place.root / "config/benchmarks"
    folder.mkdir(parents=True, exist_ok=True)
    rows = [{"id": f"p{n}", "prompt": f"How {n}?", "label": "harmful"} for n in range(9)]
    (folder / "own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    label = {"column": "label", "values": {"harmful": "harmful"}}
    entry = {"description": "Own.", "licence": "MIT", "file": "own.jsonl", "id": "id", "prompt": "prompt"}
    (folder / "own.yaml").write_text(yaml.safe_dump({**entry, "label": label, **changes}))


def safety_steps(place: Place, **changes: Any) -> dict[str, Step]:
    study = {"collections": {"own": {}}, "budget": 6, "max_new_tokens": 10, **changes}
    return steps_of(place.plan(None, safety=study))


def test_every_stage_of_a_benchmark_is_counted(place: Place):
    benchmark(place)
    labels = {"refusal": "judge", "harm": "wildguard", "also": ["embedding", "llama_guard"]}
    steps = safety_steps(place, labels=labels, stopping={"online": True})
    runs = 9 * 6
    assert {stage: (step.answers, step.tokens, step.calls) for stage, step in steps.items()} == {
        "sample_shard": (runs, 10 * runs, 0),
        "sample_adaptively": (runs, 10 * runs, 0),
        "ask_guard wildguard": (runs, 32 * runs, 0),
        "ask_guard llama_guard": (runs, 32 * runs, 0),
        "classify judge": (0, 0, runs),
    }
    assert {step.collection for step in steps.values()} == {"safety/own"}


def test_prompts_are_counted_as_far_as_they_are_known(place: Place):
    benchmark(place)
    assert safety_steps(place, collections={"own": {"limit": 4}})["sample_shard"].answers == 4 * 6
    hub = {"id": "someone/own", "files": {"test": "own.csv"}}
    (place.root / "config/benchmarks/own.yaml").unlink()
    benchmark(place, file=None, hub=hub, splits="test", get="Take it.")
    assert safety_steps(place)["sample_shard"].answers is None
    assert safety_steps(place, collections={"own": {"limit": 4}})["sample_shard"].answers == 4 * 6
    with pytest.raises(ConfigError, match=r"safety.collections.own.*nowhere.jsonl"):
        safety_steps(place, collections={"own": {"path": "nowhere.jsonl"}})


@pytest.mark.parametrize(("given", "report"), [(None, 5), (1, 1), (5, 5)])
def test_random_vectors_may_answer_less_often(place: Place, given: int | None, report: int):
    steps = steps_of(place.plan(with_steer(random_samples=given)))
    assert steps["report_steered"].answers == 6 * (3 * 5 + 20 * report)


def test_questions_that_are_steered_are_counted_in_every_arm(place: Place):
    questions = {"questions": "config/questions/here.yaml"}
    uncertainty = {"collections": {"here": questions, "there": {**questions, "role": "out_of_distribution"}}}
    uncertainty |= {"samples": 3, "max_new_tokens": 20}
    traits = {**TRAITS, "steer": None}
    agreement = {"confidence_trait": TRAIT, "steer": {"questions": 8, "samples": 2, "random_directions": 4}}
    found = place.plan(traits, uncertainty=uncertainty, agreement=agreement)
    steps = [step for step in found.steps if step.stage == "steer_questions"]
    assert [(step.collection, step.answers) for step in steps] == [("uncertainty/here", 8 * 2 * 7)]
    assert steps[0].tokens == 8 * 2 * 7 * 20
    rules = ("steer_questions", "grade_steered", "cluster_steered", "measure_steered_entropy", "measure_steered")
    assert [found.jobs[rule] for rule in rules] == [1] * 5
    (work,) = [one.work for one in found.hours if one.work.rule == "steer_questions"]
    assert (work.model, work.amount) == ("small", steps[0].tokens)
    agreement["steer"] |= {"questions": 100, "collections": ["there", "here"]}
    steps = place.plan(traits, uncertainty=uncertainty, agreement=agreement).steps
    assert [step.answers for step in steps if step.stage == "steer_questions"] == [11 * 2 * 7] * 2
