"""What a judge is asked by the traits study, and the tables its answers become, with a judge that keeps its post."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import polars as pl
import pytest

from tells.judge import EMPTY_TEXT, BudgetError, Explanation, Item, Judgement, Rubric, Usage
from tells.models.random_model import byte_tokenizer
from tells.tables import SCHEMAS
from tells.traits.judging import explain_failures, judge_answers, judge_texts, window_texts
from tells.traits.vetting import Thresholds, vet

RUBRIC = Rubric("epistemic/optimism", "A definition.", "HIGH: glad\nLOW: glum", ("Oh yes.",), ("Oh no.",))
Answer = float | str
ERRORS = {"refused": "it would not", "error": "no answer came"}


class FakeJudge:
    """Answers by a function of the task and the item: a score, `refused` or `error`."""

    name = "fake"

    def __init__(self, answer: Callable[[str, Item], Answer] = lambda task, item: 50.0) -> None:
        self.answer, self.usage = answer, Usage()
        self.asked: dict[str, list[Item]] = {}
        self.rubrics: set[Rubric] = set()

    def facts(self) -> dict[str, Any]:
        return {"provider": "fake", "resolution": "expected"}

    async def score(self, task: str, rubric: Rubric, items: Sequence[Item]) -> list[Judgement]:
        assert len({item.item_id for item in items}) == len(items)
        self.asked.setdefault(task, []).extend(items)
        self.rubrics.add(rubric)
        return [self._judgement(task, item) for item in items]

    async def explain(self, rubric: Rubric, items: Sequence[Item], wanted: str) -> list[Explanation]:
        self.asked.setdefault(wanted, []).extend(items)
        return [Explanation(item.item_id, f"why {item.text}", f"not {wanted}") for item in items]

    def _judgement(self, task: str, item: Item) -> Judgement:
        answer = self.answer(task, item)
        if isinstance(answer, str):
            return Judgement(item.item_id, None, answer, "expected", ERRORS[answer])
        return Judgement(item.item_id, answer, "scored", "expected")


def texts_of(judge: FakeJudge, task: str) -> list[str]:
    return [item.text for item in judge.asked.get(task, [])]


# texts


def test_every_text_has_one_row_under_its_key_in_order():
    texts = {("q-001", 1): "bright", ("q-001", 0): "dim", ("q-002", 0): "grey"}
    judge = FakeJudge(lambda task, item: {"bright": 90.0, "dim": 10.0, "grey": 50.5}[item.text])
    found = judge_texts(judge, RUBRIC, texts, "trait", "response_scores")
    assert found.schema == SCHEMAS["response_scores"].columns
    rows = [("q-001", 1, 90.0), ("q-001", 0, 10.0), ("q-002", 0, 50.5)]
    assert found.select("prompt_id", "sample", "score").rows() == rows
    assert set(found["status"]) == {"scored"}
    assert found["reason"].null_count() == 3
    assert judge.rubrics == {RUBRIC}


def test_scenarios_are_asked_as_scenarios_and_blind():
    judge = FakeJudge()
    found = judge_texts(judge, RUBRIC, {("positive-001",): "I think", ("negative-001",): "I doubt"}, "scenario",
                        "scenario_scores")  # fmt: skip
    assert found.schema == SCHEMAS["scenario_scores"].columns
    assert list(judge.asked) == ["scenario"]
    assert all(item.question is None and not item.reference for item in judge.asked["scenario"])
    assert texts_of(judge, "scenario") == ["I think", "I doubt"]


def test_a_refusal_and_an_error_are_neither_dropped_nor_scored():
    answers: Mapping[str, Answer] = {"a": 70.0, "b": "refused", "c": "error", "d": 0.0}
    judge = FakeJudge(lambda task, item: answers[item.text])
    found = judge_texts(judge, RUBRIC, {(name, 0): name for name in answers}, "trait", "response_scores")
    assert found["status"].to_list() == ["scored", "refused", "error", "scored"]
    assert found["score"].to_list() == [70, None, None, 0]
    assert found["reason"].to_list() == [None, "it would not", "no answer came", None]


def test_an_empty_text_is_an_error_and_is_not_sent():
    judge = FakeJudge()
    texts = {("a", 0): "", ("b", 0): "words", ("c", 0): " \n\u2003"}
    found = judge_texts(judge, RUBRIC, texts, "trait", "response_scores")
    assert texts_of(judge, "trait") == ["words"]
    assert found.rows() == [
        ("a", 0, None, "error", "expected", EMPTY_TEXT),
        ("b", 0, 50.0, "scored", "expected", None),
        ("c", 0, None, "error", "expected", EMPTY_TEXT),
    ]


def test_texts_that_are_all_empty_ask_nothing():
    judge = FakeJudge()
    found = judge_texts(judge, RUBRIC, {("q-001",): "", ("q-002",): " "}, "scenario", "scenario_scores")
    assert texts_of(judge, "scenario") == []
    assert found["status"].to_list() == ["error", "error"]


def test_an_empty_response_drops_its_pair_as_an_error():
    keys = [
        (f"{polarity}-{pair}", f"pair-{pair}", polarity) for pair in (1, 2) for polarity in ("positive", "negative")
    ]
    prompts = pl.DataFrame(keys, schema=["prompt_id", "group", "polarity"], orient="row")
    judge = FakeJudge(lambda task, item: 90.0 if item.text == "bright" else 5.0)
    texts = {("positive-1", 0): "bright", ("negative-1", 0): "", ("positive-2", 0): "bright", ("negative-2", 0): "dim"}
    labels, vetting = vet(prompts, None, judge_texts(judge, RUBRIC, texts, "trait", "response_scores"), minimum=1)
    assert labels["outcome"].to_list() == ["pass", "error", "pass", "pass"]
    assert labels["kept"].to_list() == [False, False, True, True]
    assert [(one.n_pass, one.n_fail, one.n_error) for one in vetting.stages] == [(2, 0, 0), (1, 0, 1)]


def test_no_texts_are_an_empty_table():
    found = judge_texts(FakeJudge(), RUBRIC, {}, "trait", "response_scores")
    assert (found.height, found.schema) == (0, SCHEMAS["response_scores"].columns)


def test_a_budget_that_is_used_up_is_not_swallowed():
    def spent(task: str, item: Item) -> Answer:
        raise BudgetError("the ceiling is reached")

    with pytest.raises(BudgetError, match="ceiling"):
        judge_texts(FakeJudge(spent), RUBRIC, {("q", 0): "a"}, "trait", "response_scores")
    with pytest.raises(BudgetError, match="ceiling"):
        judge_answers(FakeJudge(spent), RUBRIC, answers_of("steered"), answers_of())


# answers


def answers_of(*kinds: str, part: str = "search") -> pl.DataFrame:
    rows = [
        {
            "row_id": f"{kind}-{part}-{place}", "kind": kind, "question_id": f"{part}-{place:02d}",
            "question": f"Question {place}?", "text": f"{kind} {place}", "log_likelihood": -float(place) - 1,
        }
        for place, kind in enumerate(kinds)
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=SCHEMAS["search"].columns)


def test_trait_and_coherence_are_asked_apart_and_joined_by_row():
    judge = FakeJudge(lambda task, item: {"trait": 80.0, "coherence": 90.0}[task] - float(item.text[-1]))
    answers = answers_of("reference", "steered", "steered")
    found = judge_answers(judge, RUBRIC, answers, answers.filter(pl.col("kind") == "reference"))
    assert found.schema == SCHEMAS["search_scores"].columns
    assert found["row_id"].to_list() == answers["row_id"].to_list()
    assert found["trait"].to_list() == [80, 79, 78]
    assert found["coherence"].to_list() == [90, 89, 88]
    assert set(found["trait_status"]) | set(found["coherence_status"]) == {"scored"}


def test_a_judge_is_told_the_question_and_the_likelihood_and_which_are_references():
    judge = FakeJudge()
    judge_answers(judge, RUBRIC, answers_of("reference", "steered", "random"), answers_of())
    for items in judge.asked.values():
        assert [item.question for item in items] == ["Question 0?", "Question 1?", "Question 2?"]
        assert [item.log_likelihood for item in items] == [-1, -2, -3]
        assert [item.reference for item in items] == [True, False, False]


def test_references_from_elsewhere_are_judged_for_coherence_alone_and_have_no_row():
    judge = FakeJudge()
    answers, references = answers_of("unsteered", "steered", part="report"), answers_of("reference", "reference")
    found = judge_answers(judge, RUBRIC, answers, references)
    assert found["row_id"].to_list() == answers["row_id"].to_list()
    assert texts_of(judge, "trait") == ["unsteered 0", "steered 1"]
    assert sorted(texts_of(judge, "coherence")) == ["reference 0", "reference 1", "steered 1", "unsteered 0"]
    assert [item.text for item in judge.asked["coherence"] if item.reference] == ["reference 0", "reference 1"]


def test_references_among_the_answers_are_judged_once_and_keep_their_trait_score():
    """The baseline of the search is made of them."""
    judge = FakeJudge()
    answers = answers_of("reference", "steered")
    found = judge_answers(judge, RUBRIC, answers, answers.filter(pl.col("kind") == "reference"))
    assert texts_of(judge, "coherence") == texts_of(judge, "trait") == ["reference 0", "steered 1"]
    assert found["trait"].null_count() == 0


@pytest.mark.parametrize("outcome", ["refused", "error"])
@pytest.mark.parametrize("task", ["trait", "coherence"])
def test_a_missing_score_is_none_under_its_own_name_with_its_reason(task: str, outcome: str):
    judge = FakeJudge(lambda asked, item: outcome if asked == task and item.text == "steered 1" else 60.0)
    answers = answers_of("steered", "steered", "steered")
    found = judge_answers(judge, RUBRIC, answers, answers_of())
    other = "coherence" if task == "trait" else "trait"
    assert found[task].to_list() == [60, None, 60]
    assert found[other].to_list() == [60, 60, 60]
    assert found[f"{task}_status"].to_list() == ["scored", outcome, "scored"]
    assert found[f"{other}_status"].to_list() == ["scored"] * 3
    assert found["reason"].to_list() == [None, ERRORS[outcome], None]


def test_empty_answers_and_references_are_not_sent_and_keep_their_rows():
    judge = FakeJudge(lambda task, item: {"trait": 20.0, "coherence": 80.0}[task] + float(item.text[-1]))
    emptied = pl.when(pl.col("row_id").str.ends_with("1")).then(pl.lit(" ")).otherwise("text").alias("text")
    answers = answers_of("unsteered", "steered", "steered", part="report").with_columns(emptied)
    references = answers_of("reference", "reference").with_columns(emptied)
    found = judge_answers(judge, RUBRIC, answers, references)
    assert texts_of(judge, "trait") == ["unsteered 0", "steered 2"]
    assert texts_of(judge, "coherence") == ["unsteered 0", "steered 2", "reference 0"]
    assert found["row_id"].to_list() == answers["row_id"].to_list()
    assert found["trait"].to_list() == [20, None, 22]
    assert found["coherence"].to_list() == [80, None, 82]
    assert found["trait_status"].to_list() == found["coherence_status"].to_list() == ["scored", "error", "scored"]
    assert found["reason"].to_list() == [None, EMPTY_TEXT, None]
    assert set(found["resolution"]) == {"expected"}


# explanations

THRESHOLDS = Thresholds(60, 40)


def vetted(outcome: str | None = None, **scores: Answer | None) -> pl.DataFrame:
    """Vetting of responses by their scores; the outcome as a gate over more than these would have it."""
    rows = [
        {
            "prompt_id": name.replace("_", "-"), "sample": 0, "polarity": name.partition("_")[0], "outcome": outcome,
            "response_score": score if isinstance(score, float) else None,
            "response_status": "scored" if isinstance(score, float) else score,
        }
        for name, score in scores.items()
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=SCHEMAS["vetting"].columns)


def test_failures_alone_are_explained_each_by_its_own_pole():
    vetting = vetted(positive_1=59.0, positive_2=60.0, negative_1="error", negative_2="refused", negative_3=40.0)
    texts = {(name, 0): f"text of {name}" for name in vetting["prompt_id"]}
    judge = FakeJudge()
    found = explain_failures(judge, RUBRIC, vetting, texts, THRESHOLDS)
    assert found == [
        {"prompt_id": "positive-1", "sample": 0, "polarity": "positive", "reason": "why text of positive-1",
         "confound": "not high"},
        {"prompt_id": "negative-2", "sample": 0, "polarity": "negative", "reason": "why text of negative-2",
         "confound": "not low"},
    ]  # fmt: skip
    assert (texts_of(judge, "high"), texts_of(judge, "low")) == (["text of positive-1"], ["text of negative-2"])


def test_where_nothing_failed_nothing_is_asked():
    judge = FakeJudge()
    assert explain_failures(judge, RUBRIC, vetted(positive_1=90.0, negative_1="error"), {}, THRESHOLDS) == []
    assert texts_of(judge, "high") == texts_of(judge, "low") == []


def test_a_response_that_passed_is_not_explained_where_its_scenario_failed():
    judge = FakeJudge()
    vetting = vetted("fail", positive_1=90.0, positive_2=10.0, negative_1=5.0)
    found = explain_failures(judge, RUBRIC, vetting, {("positive-2", 0): "dim"}, THRESHOLDS)
    assert [one["prompt_id"] for one in found] == ["positive-2"]
    assert (texts_of(judge, "high"), texts_of(judge, "low")) == (["dim"], [])


def test_failing_is_by_the_thresholds_given():
    vetting = vetted(positive_1=55.0, negative_1=45.0)
    texts = {("positive-1", 0): "bright", ("negative-1", 0): "dim"}
    assert explain_failures(FakeJudge(), RUBRIC, vetting, texts, Thresholds(50, 49)) == []
    assert len(explain_failures(FakeJudge(), RUBRIC, vetting, texts, THRESHOLDS)) == 2


def test_responses_that_were_not_judged_are_not_explained():
    assert explain_failures(FakeJudge(), RUBRIC, vetted("fail", positive_1=None), {}, THRESHOLDS) == []


# windows


def samples_of(**texts: tuple[str, str]) -> pl.DataFrame:
    """Samples of (text, what was generated beyond it)."""
    tokenizer = byte_tokenizer()
    rows = [
        {"prompt_id": name, "sample": 0, "token_ids": tokenizer(text + beyond)["input_ids"], "text": text}
        for name, (text, beyond) in texts.items()
    ]
    return pl.DataFrame(rows, schema=SCHEMAS["samples"].columns)


@pytest.mark.parametrize(
    ("window", "long", "short"),
    [("response[:5]", "I was", "Yes"), ("response", "I was glad.", "Yes"), ("prompt_last", "I was glad.", "Yes")],
)
def test_a_window_is_cut_at_its_tokens_and_never_beyond_the_text(window: str, long: str, short: str):
    samples = samples_of(a=("I was glad.", "<|end|>"), b=("Yes", "\n\nQuestion"), c=("", "<|end|>"))
    found = window_texts(byte_tokenizer, samples, window)
    assert found == {("a", 0): long, ("b", 0): short, ("c", 0): ""}


def test_a_character_of_several_tokens_is_whole_or_absent():
    samples = samples_of(a=("né!", ""))
    found = [window_texts(byte_tokenizer, samples, f"response[:{n}]")["a", 0] for n in (1, 2, 3, 4, 9)]
    assert found == ["n", "n", "né", "né!", "né!"]


def test_no_tokenizer_is_loaded_where_no_response_is_longer_than_the_window_and_else_one():
    samples, loads = samples_of(a=("I was glad.", ""), b=("He was sad.", ""), c=("Yes", "")), []

    def load() -> object:
        loads.append(1)
        return byte_tokenizer()

    longest = samples["token_ids"].list.len().max()
    whole = dict.fromkeys(("a", "b", "c"))
    for window in (f"response[:{longest}]", "response", "prompt_last"):
        whole = window_texts(load, samples, window)
    assert loads == []
    assert list(whole.values()) == samples["text"].to_list()
    window_texts(load, samples, "response[:4]")
    assert loads == [1]


def test_a_response_without_tokens_is_an_empty_text():
    samples = samples_of(a=("", ""))
    assert window_texts(byte_tokenizer, samples, "response[:16]") == {("a", 0): ""}
