"""The runner: bounds, pauses, retries, ceilings."""

import asyncio
import itertools
import logging
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from judge_helpers import RUBRIC, items, judge_for, scores
from judge_server import Faults, expected_value, judge_server, struck

from tells.judge import ApiJudge, BudgetError, Item, JudgeStoppedError, Usage
from tells.judge.cache import Cache
from tells.judge.exchange import Reply
from tells.judge.runner import Budget, Runner
from tells.services import seconds_to_wait


@pytest.mark.parametrize("concurrency", [1, 7])
def test_never_more_than_allowed_are_under_way(concurrency, tmp_path):
    with judge_server(Faults(latency=0.01, errors=0.2)) as server:
        judge = judge_for(server, tmp_path, concurrency=concurrency)

        async def at_once():
            tasks = [judge.score(task, RUBRIC, items(15)) for task in ("trait", "coherence")]
            await asyncio.gather(*tasks, *(judge.entails("q", "a", str(place)) for place in range(15)))

        asyncio.run(at_once())
        assert server.seen.most_in_flight == concurrency


def test_with_some_500s_and_some_malformed_bodies_every_item_is_scored_or_an_error(tmp_path):
    asked = items(300)
    with judge_server(Faults(errors=0.05, malformed=0.02, times=2)) as server:
        judgements = scores(judge_for(server, tmp_path, retries=1, concurrency=50), asked)
        unlucky = [struck("errors", item.text, 0.05) or struck("malformed", item.text, 0.02) for item in asked]
        assert 5 < sum(unlucky) < 60
        for item, judgement, fails in zip(asked, judgements, unlucky, strict=True):
            assert judgement.status == ("error" if fails else "scored")
            assert judgement.score == (None if fails else pytest.approx(expected_value(item.text)))
        judge = judge_for(server, tmp_path, retries=1)
        assert {judgement.status for judgement in scores(judge, asked)} == {"scored"}
        assert judge.usage.calls == sum(unlucky)


def test_equal_items_are_asked_once(tmp_path):
    same = [Item(f"item-{place}", f"text {place % 3}") for place in range(30)]
    with judge_server(Faults(latency=0.01)) as server:
        judge = judge_for(server, tmp_path)
        judgements = scores(judge, same)
        assert server.seen.requests == judge.usage.calls == 3
    assert [judgement.item_id for judgement in judgements] == [item.item_id for item in same]
    assert [judgement.score for judgement in judgements] == [pytest.approx(expected_value(item.text)) for item in same]


def test_equal_items_of_calls_made_at_once_are_asked_once(tmp_path):
    with judge_server(Faults(latency=0.02, errors=0.5)) as server:
        judge = judge_for(server, tmp_path)

        async def at_once():
            return await asyncio.gather(*(judge.score("trait", RUBRIC, items(10)) for _ in range(4)))

        first, *others = asyncio.run(at_once())
        assert all(other == first for other in others)
        assert server.seen.requests == 10 + sum(struck("errors", item.text, 0.5) for item in items(10))


def test_equal_pairs_are_asked_once(tmp_path):
    with judge_server(Faults(latency=0.02)) as server:
        judge = judge_for(server, tmp_path)

        async def at_once():
            return await asyncio.gather(*(judge.entails("q", "a", "b") for _ in range(10)))

        assert len(set(asyncio.run(at_once()))) == 1
        assert server.seen.requests == 1


def test_a_failure_is_shared_by_those_who_wait_for_it(tmp_path):
    with judge_server(Faults(latency=0.02, status=400)) as server:
        judge = judge_for(server, tmp_path)

        async def at_once():
            return await asyncio.gather(*(judge.entails("q", "a", "b") for _ in range(10)))

        assert asyncio.run(at_once()) == [None] * 10
        assert server.seen.requests == 1


def test_what_is_cached_is_told_apart_from_what_was_asked(tmp_path):
    with judge_server() as server:
        judge = judge_for(server, tmp_path, budget=Budget(input_price=2.0, output_price=8.0))
        scores(judge, items(10))
        assert judge.usage == Usage(10, 0, 1000, 10, pytest.approx(1000 * 2e-6 + 10 * 8e-6))
        scores(judge, items(15))
        assert judge.usage == Usage(15, 10, 1500, 15, pytest.approx(1500 * 2e-6 + 15 * 8e-6))


def test_without_prices_there_is_no_cost(tmp_path):
    with judge_server() as server:
        judge = judge_for(server, tmp_path)
        scores(judge, items(2))
    assert judge.usage.cost is None


def test_tokens_that_the_service_does_not_count_are_estimated(tmp_path):
    with judge_server(Faults(without_usage=True)) as server:
        judge = judge_for(server, tmp_path)
        scores(judge, items(2))
    assert 2 * 50 < judge.usage.input_tokens < 2 * 200


def test_no_items_need_no_service(tmp_path):
    with judge_server() as server:
        assert scores(judge_for(server, tmp_path), []) == []
        assert server.seen.requests == 0


@pytest.mark.parametrize("date", [False, True])
def test_a_pause_that_one_worker_is_told_of_is_kept_by_all(date, tmp_path):
    # A date has whole seconds, so it may be up to one nearer than it was meant.
    header = format_datetime(datetime.now(UTC) + timedelta(seconds=2.5), usegmt=True) if date else "0.5"
    asked = items(40)
    with judge_server(Faults(latency=0.01, limited=0.03, retry_after=header)) as server:
        judgements = scores(judge_for(server, tmp_path, concurrency=4), asked)
        limited = sum(struck("limited", item.text, 0.03) for item in asked)
        times = sorted(server.seen.times)
    assert 1 <= limited <= 3
    assert {judgement.status for judgement in judgements} == {"scored"}
    gaps = [late - early for early, late in itertools.pairwise(times)]
    assert sum(gap > 0.4 for gap in gaps) >= 1
    # Between the telling and the end of the pause only those under way were answered: no request was begun.
    assert sum(gap > 0.4 for gap in gaps) <= limited


def test_a_pause_longer_than_a_job_should_wait_stops_it(tmp_path):
    with judge_server(Faults(status=429, retry_after="86400")) as server:
        with pytest.raises(JudgeStoppedError, match="86400 s"):
            scores(judge_for(server, tmp_path, concurrency=2), items(30))
        assert server.seen.requests <= 2


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("3", 3.0),
        ("0.5", 0.5),
        (" 7 ", 7.0),
        ("Wed, 21 Oct 2015 07:28:10 GMT", 10.0),
        ("Wed, 21 Oct 2015 07:27:00 GMT", 0.0),
        ("soon", None),
        ("-3", None),
        ("", None),
        (None, None),
    ],
)
def test_a_retry_after_header_is_seconds_or_a_date(header, seconds):
    assert seconds_to_wait(header, datetime(2015, 10, 21, 7, 28, tzinfo=UTC)) == seconds


@pytest.mark.parametrize(
    "budget",
    [
        Budget(max_calls=20),
        Budget(max_tokens=20 * 101),
        Budget(max_cost=20 * (100 * 2e-6 + 8e-6) * 1.0001, input_price=2.0, output_price=8.0),
    ],
    ids=["calls", "tokens", "cost"],
)
def test_a_ceiling_stops_cleanly_and_keeps_what_was_answered(budget, tmp_path):
    name = next(name for name in ("max_calls", "max_tokens", "max_cost") if getattr(budget, name))
    with judge_server(Faults(latency=0.01)) as server:
        judge = judge_for(server, tmp_path, budget=budget, concurrency=5)
        with pytest.raises(BudgetError, match=name):
            scores(judge, items(60))
        assert server.seen.requests == judge.usage.calls <= 20
        assert server.seen.requests >= 15
        kept = len((tmp_path / "test.jsonl").read_text().splitlines())
        assert kept == server.seen.requests
        again = judge_for(server, tmp_path)
        scores(again, items(60))
        assert again.usage.calls == 60 - kept


def test_a_ceiling_lets_pairs_under_way_arrive(tmp_path):
    with judge_server(Faults(latency=0.03)) as server:
        judge = judge_for(server, tmp_path, budget=Budget(max_calls=10), concurrency=5)

        async def at_once():
            await asyncio.gather(*(judge.entails("q", "a", str(place)) for place in range(40)))

        with pytest.raises(BudgetError):
            asyncio.run(at_once())
        assert server.seen.requests == 10
    assert len((tmp_path / "test.jsonl").read_text().splitlines()) == 10


def test_what_is_cached_costs_nothing_under_a_ceiling(tmp_path):
    with judge_server() as server:
        scores(judge_for(server, tmp_path), items(10))
        assert len(scores(judge_for(server, tmp_path, budget=Budget(max_calls=1)), items(10))) == 10


def test_a_judge_works_in_one_event_loop_after_another_without_leaving_connections(tmp_path, recwarn):
    with judge_server() as server:
        judge = judge_for(server, tmp_path)
        for count in (3, 6, 9):
            scores(judge, items(count))
        assert server.seen.requests == 9
    del judge
    assert not [warning for warning in recwarn if issubclass(warning.category, ResourceWarning)]


def test_what_has_no_score_is_told_in_the_log(tmp_path, caplog):
    with judge_server(Faults(status=400, message="too long")) as server, caplog.at_level(logging.WARNING):
        scores(judge_for(server, tmp_path), items(4))
    assert "no score for 4 of 4, such as item-0: HTTP 400: too long" in caplog.text


@pytest.mark.parametrize("numbers", [{"concurrency": 0}, {"timeout": 0}, {"retries": -1}, {"backoff": -1}])
def test_numbers_out_of_range_are_errors(numbers, tmp_path):
    with judge_server() as server, pytest.raises(ValueError, match="must be above 0"):
        judge_for(server, tmp_path, **numbers)


class Scripted:
    """A provider and client without connections: gives what it is told to, and counts who asks at a time."""

    name, base_url, model, form = "openai", "http://nowhere", "m", "json"

    def __init__(self, *texts: str) -> None:
        self.texts, self.sent, self.under_way, self.most, self.closed = list(texts), 0, 0, 0, 0

    def parameters(self, prompt):
        return {}

    def open(self, concurrency, timeout):
        return self

    async def close(self):
        self.closed += 1

    async def send(self, request):
        self.sent += 1
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await asyncio.sleep(0.001)
        self.under_way -= 1
        return Reply(text=self.texts.pop(0) if self.texts else '{"refused": false, "score": 7}')


def scripted_judge(provider: Scripted, folder, **numbers) -> ApiJudge:
    numbers = {"retries": 3, "backoff": 0.001, **numbers}
    return ApiJudge(provider, Runner(provider, Cache(folder, "test"), **numbers))


def test_the_runner_itself_bounds_what_is_under_way(tmp_path):
    provider = Scripted()
    judge = scripted_judge(provider, tmp_path, concurrency=6)

    async def at_once():
        await asyncio.gather(*(judge.score(task, RUBRIC, items(20)) for task in ("trait", "coherence", "scenario")))

    asyncio.run(at_once())
    assert provider.most == 6
    assert provider.sent == 60
    assert provider.closed == 1


def test_an_answer_that_holds_no_score_is_asked_for_again_and_not_kept(tmp_path):
    provider = Scripted("about seventy", '{"score": 300}', '{"score": 70}')
    judge = scripted_judge(provider, tmp_path)
    assert [judgement.score for judgement in scores(judge, items(1))] == [70.0]
    assert provider.sent == 3
    assert len((tmp_path / "test.jsonl").read_text().splitlines()) == 1


def test_an_answer_that_never_holds_a_score_is_an_error(tmp_path):
    provider = Scripted(*["about seventy"] * 9)
    judgement = scores(scripted_judge(provider, tmp_path, retries=2), items(1))[0]
    assert (judgement.status, provider.sent) == ("error", 3)
    assert judgement.reason == "the answer holds no whole number from 0 to 100 (3 attempts)"
    assert (tmp_path / "test.jsonl").read_text() == ""


def test_an_interrupted_run_can_be_gone_on_with_in_the_same_process(tmp_path):
    provider = Scripted()
    judge = scripted_judge(provider, tmp_path, concurrency=2)

    async def interrupted():
        run = asyncio.create_task(judge.score("trait", RUBRIC, items(200)))
        while provider.sent < 50:
            await asyncio.sleep(0)
        run.cancel()
        await run

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(interrupted())
    kept = len((tmp_path / "test.jsonl").read_text().splitlines())
    assert 0 < kept < 200
    assert {judgement.score for judgement in scores(judge, items(200))} == {7.0}
    assert judge.usage.cached == kept
