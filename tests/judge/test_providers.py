"""Both wire formats, with everything that goes wrong on a wire."""

import asyncio
import itertools
import logging

import pytest
from judge_helpers import RUBRIC, items, judge_for, scores
from judge_server import (
    REFUSED,
    REFUSED_BY_SERVICE,
    VAGUE,
    Faults,
    entailed,
    expected_value,
    judge_server,
    struck,
    whole_value,
)

from tells.judge import Item, JudgeStoppedError
from tells.judge.exchange import Access
from tells.judge.providers.gemini import GeminiProvider
from tells.judge.providers.openai import OpenAIProvider
from tells.judge.rubrics import score_prompt

KINDS = ("token", "json", "gemini")


def value(kind: str, text: str) -> float:
    return expected_value(text) if kind == "token" else whole_value(text)


@pytest.mark.parametrize("kind", KINDS)
def test_every_text_gets_its_own_score_in_the_order_given(kind, tmp_path):
    with judge_server() as server:
        judgements = scores(judge_for(server, tmp_path, kind), items(16))
    assert [judgement.item_id for judgement in judgements] == [item.item_id for item in items(16)]
    assert [judgement.score for judgement in judgements] == [
        pytest.approx(value(kind, item.text)) for item in items(16)
    ]
    assert {judgement.resolution for judgement in judgements} == {"expected" if kind == "token" else "integer"}
    assert {judgement.status for judgement in judgements} == {"scored"}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "faults",
    [
        Faults(errors=0.5),
        Faults(malformed=0.5),
        Faults(cut=0.5),
        Faults(limited=0.2),
        Faults(limited=0.2, retry_after="0.05"),
        Faults(errors=0.2, malformed=0.2, cut=0.2, limited=0.2, times=2),
    ],
    ids=["500", "malformed", "cut", "429", "429-with-retry-after", "all-twice"],
)
def test_what_passes_is_asked_again_until_it_is_scored(kind, faults, tmp_path):
    with judge_server(faults) as server:
        judge = judge_for(server, tmp_path, kind, retries=8)
        judgements = scores(judge, items(16))
        assert judge.usage.calls == server.seen.requests > 16
    assert [judgement.score for judgement in judgements] == [
        pytest.approx(value(kind, item.text)) for item in items(16)
    ]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("fault", "reason"),
    [("errors", "HTTP 500"), ("malformed", "not what the protocol says"), ("cut", "no connection"), ("limited", "429")],
)
def test_what_does_not_pass_is_an_error_with_a_reason_and_the_rest_is_scored(kind, fault, reason, tmp_path):
    with judge_server(Faults(**{fault: 0.3}, times=100)) as server:
        judgements = scores(judge_for(server, tmp_path, kind, retries=2), items(16))
        assert max(server.seen.asked.values()) == 3
    for item, judgement in zip(items(16), judgements, strict=True):
        if struck(fault, item.text, 0.3):
            assert (judgement.status, judgement.score) == ("error", None)
            assert reason in judgement.reason
            assert "3 attempts" in judgement.reason
        else:
            assert judgement.score == pytest.approx(value(kind, item.text))
            assert judgement.reason is None


@pytest.mark.parametrize("kind", KINDS)
def test_a_permanent_error_is_not_asked_again_and_says_what_the_service_says(kind, tmp_path):
    with judge_server(Faults(status=400, message="no such parameter")) as server:
        judgements = scores(judge_for(server, tmp_path, kind), items(3))
        assert server.seen.requests == 3
    assert {judgement.reason for judgement in judgements} == {"HTTP 400: no such parameter"}
    assert {judgement.status for judgement in judgements} == {"error"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_service_that_is_slower_than_the_timeout_is_an_error(kind, tmp_path):
    with judge_server(Faults(latency=0.4)) as server:
        judgements = scores(judge_for(server, tmp_path, kind, timeout=0.05, retries=1), items(2))
    assert {judgement.status for judgement in judgements} == {"error"}


@pytest.mark.parametrize("kind", KINDS)
def test_nobody_at_the_address_is_an_error(kind, tmp_path):
    with judge_server() as server:
        pass
    judgements = scores(judge_for(server, tmp_path, kind, retries=1), items(2))
    assert all("no connection" in judgement.reason for judgement in judgements)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mark", [REFUSED, REFUSED_BY_SERVICE])
def test_a_refusal_is_no_score_and_is_kept(kind, mark, tmp_path):
    asked = [Item("1", f"text {mark}"), Item("2", "text")]
    with judge_server() as server:
        first = scores(judge_for(server, tmp_path, kind), asked)
        second = scores(judge_for(server, tmp_path, kind), asked)
        assert server.seen.requests == 2
    assert first == second
    assert [(judgement.status, judgement.score is None) for judgement in first] == [
        ("refused", True),
        ("scored", False),
    ]
    assert first[0].reason


def test_too_little_mass_is_an_error_that_is_not_asked_again(tmp_path):
    with judge_server() as server:
        judgements = [scores(judge_for(server, tmp_path), [Item("1", f"text {VAGUE}")])[0] for _ in range(2)]
        assert server.seen.requests == 1
    assert [(judgement.status, judgement.score) for judgement in judgements] == [("error", None)] * 2
    assert "10%" in judgements[0].reason


def test_a_server_without_probabilities_says_what_to_set(tmp_path):
    with judge_server(Faults(without_probabilities=True)) as server:
        judgement = scores(judge_for(server, tmp_path), items(1))[0]
    assert judgement.status == "error"
    assert "log_probabilities to false" in judgement.reason


def low_items(count: int) -> list[Item]:
    """Items of which the likely scores have one digit each."""
    texts = (text for number in itertools.count() if whole_value(text := f"low {number}") <= 8)
    return [Item(str(place), text) for place, text in enumerate(itertools.islice(texts, count))]


SPLIT = Faults(split_digits=True)
WHAT_TO_SET = "`judge.log_probabilities: false`"


def test_a_model_that_spells_numbers_digit_by_digit_stops_the_judging(tmp_path):
    with judge_server(SPLIT) as server, pytest.raises(JudgeStoppedError, match="several tokens") as caught:
        scores(judge_for(server, tmp_path), items(20))
    assert WHAT_TO_SET in str(caught.value)
    assert "none of 20 answers of a-model" in str(caught.value)


def test_answers_from_the_cache_stop_a_second_run_with_the_same_words(tmp_path):
    told = []
    with judge_server(SPLIT) as server:
        for asked in (20, 20, 25):
            with pytest.raises(JudgeStoppedError) as caught:
                scores(judge_for(server, tmp_path), items(asked))
            told.append(str(caught.value))
        assert server.seen.requests == 25
    assert told[0] == told[1]


def test_a_second_run_counts_what_is_cached_with_what_is_asked(tmp_path):
    with judge_server(SPLIT) as server:
        scores(judge_for(server, tmp_path), items(19))
        with pytest.raises(JudgeStoppedError):
            scores(judge_for(server, tmp_path), items(20))
        assert server.seen.requests == 20


def test_a_few_answers_without_long_numbers_are_told_in_the_log_alone(tmp_path, caplog):
    with judge_server(SPLIT) as server, caplog.at_level(logging.WARNING):
        judgements = scores(judge_for(server, tmp_path), items(19))
    assert {judgement.status for judgement in judgements} == {"scored"}
    assert "none of 19 answers" in caplog.text
    assert WHAT_TO_SET in caplog.text


def test_equal_texts_are_one_answer(tmp_path):
    with judge_server(SPLIT) as server:
        judgements = scores(
            judge_for(server, tmp_path), [Item(str(place), f"text {place % 19}") for place in range(60)]
        )
    assert len(judgements) == 60


def test_answers_without_numbers_do_not_count_as_numbers_of_one_digit(tmp_path):
    odd = [Item(f"{place} {mark}", f"text {place} {mark}") for place in range(15) for mark in (REFUSED, VAGUE)]
    with judge_server(SPLIT) as server:
        judgements = scores(judge_for(server, tmp_path), [*odd, *items(19)])
    assert [judgement.status for judgement in judgements].count("scored") == 19


def test_a_judge_that_scores_everything_low_is_believed(tmp_path, caplog):
    with judge_server() as server, caplog.at_level(logging.WARNING):
        judgements = scores(judge_for(server, tmp_path), low_items(30))
    assert max(judgement.score for judgement in judgements) < 9
    assert "several tokens" not in caplog.text


def test_one_long_number_among_many_answers_is_enough(tmp_path):
    with judge_server() as server:
        scores(judge_for(server, tmp_path), items(1))
        server.faults.split_digits = True
        assert len(scores(judge_for(server, tmp_path), items(40))) == 40


@pytest.mark.parametrize("kind", ["json", "gemini"])
def test_a_judge_that_answers_in_words_may_split_digits(kind, tmp_path):
    with judge_server(SPLIT) as server:
        judgements = scores(judge_for(server, tmp_path, kind), items(25))
    assert [judgement.score for judgement in judgements] == [whole_value(item.text) for item in items(25)]


@pytest.mark.parametrize("kind", KINDS)
def test_explanations_come_with_reason_and_confound(kind, tmp_path):
    with judge_server() as server:
        judge = judge_for(server, tmp_path, kind)
        explanations = asyncio.run(judge.explain(RUBRIC, items(3), "high"))
    assert [e.reason for e in explanations] == [f"It reads {whole_value(item.text)}." for item in items(3)]
    assert {e.confound for e in explanations} == {"haste"}


def test_an_explanation_that_fails_is_empty(tmp_path):
    with judge_server(Faults(status=400)) as server:
        explanations = asyncio.run(judge_for(server, tmp_path).explain(RUBRIC, items(1), "low"))
    assert (explanations[0].item_id, explanations[0].reason, explanations[0].confound) == ("item-0", None, None)


@pytest.mark.parametrize("kind", KINDS)
def test_entailment_is_asked_by_the_same_runner(kind, tmp_path):
    from tells.judge import EntailmentJudge
    from tells.uncertainty.entailment import ENTAILMENT, judge_relations

    answers = ["Paris", "It is Paris", "Rome", "Lyon", "Paris"]
    with judge_server(Faults(latency=0.02)) as server:
        judge = judge_for(server, tmp_path, kind, concurrency=3)
        assert isinstance(judge, EntailmentJudge)
        (relation,), unanswered = judge_relations(judge, [("What is the capital?", answers)])
        assert server.seen.requests == 12
        assert server.seen.most_in_flight == 3
        again, _ = judge_relations(judge_for(server, tmp_path, kind), [("What is the capital?", answers)])
        assert server.seen.requests == 12
    assert unanswered == 0
    assert (again[0] == relation).all()
    for row, a in enumerate(answers):
        for column, b in enumerate(answers):
            assert (relation[row, column] == ENTAILMENT) == (a == b or entailed(a, b))


def test_an_entailment_that_fails_is_no_verdict(tmp_path):
    with judge_server(Faults(status=400)) as server:
        assert asyncio.run(judge_for(server, tmp_path).entails("q", "a", "b")) is None


@pytest.mark.parametrize(
    ("model", "form", "limit"),
    [
        ("gpt-4.1-mini-2025-04-14", "token", "max_tokens"),
        ("gpt-5-mini", "json", "max_completion_tokens"),
        ("gpt-5.1", "json", "max_completion_tokens"),
        ("openai/gpt-5", "json", "max_completion_tokens"),
        ("o4-mini", "json", "max_completion_tokens"),
        ("gpt-50b", "token", "max_tokens"),
        ("Qwen/Qwen3-8B", "token", "max_tokens"),
    ],
)
def test_models_that_show_no_probabilities_are_asked_in_words(model, form, limit):
    provider = OpenAIProvider(Access("K", "k"), model)
    assert provider.form == form
    parameters = provider.parameters(score_prompt("trait", RUBRIC, items(1)[0], provider.form))
    assert limit in parameters
    assert ("temperature" in parameters) == (limit == "max_tokens")


def test_a_request_by_probabilities_is_one_token_at_temperature_zero(tmp_path):
    with judge_server() as server:
        scores(judge_for(server, tmp_path), items(1))
        body = server.seen.bodies[0]
    assert {name: body[name] for name in ("max_tokens", "temperature", "logprobs", "top_logprobs", "model")} == {
        "max_tokens": 1,
        "temperature": 0,
        "logprobs": True,
        "top_logprobs": 20,
        "model": "a-model",
    }


def test_gemini_is_asked_with_a_schema_and_no_thoughts(tmp_path):
    with judge_server() as server:
        scores(judge_for(server, tmp_path, "gemini"), items(1))
        config = server.seen.bodies[0]["generationConfig"]
        assert server.seen.paths == {"/v1beta/models/gemini-2.5-flash:generateContent"}
    assert config["temperature"] == 0
    assert config["responseMimeType"] == "application/json"
    assert config["responseSchema"]["properties"]["score"]["maximum"] == 100
    assert list(config["thinkingConfig"].values()) == [0]
    assert "thinking_config" not in GeminiProvider(Access("K", "k"), "gemini-2.5-pro").parameters(
        score_prompt("trait", RUBRIC, items(1)[0], "json")
    )


@pytest.mark.parametrize("kind", KINDS)
def test_facts_say_who_judged_and_how(kind, tmp_path):
    with judge_server() as server:
        judge = judge_for(server, tmp_path, kind)
    facts = judge.facts()
    assert facts["provider"] == ("gemini" if kind == "gemini" else "openai")
    assert facts["resolution"] == ("expected" if kind == "token" else "integer")
    assert facts["prompts"]["trait"] == "trait-1"
    assert facts["base_url"].startswith(server.address)


def test_two_items_of_one_id_are_an_error(tmp_path):
    with judge_server() as server, pytest.raises(ValueError, match="'item-0'"):
        scores(judge_for(server, tmp_path), [*items(1), *items(1)])
