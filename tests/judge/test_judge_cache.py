"""The cache: durable, shared, one writer a file."""

import asyncio
import fcntl
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from judge_helpers import RUBRIC, items, judge_for, scores
from judge_server import Faults, judge_server

from tells.judge.cache import Cache
from tells.judge.exchange import Reply, Request

TESTS = Path(__file__).parents[1]
JUDGING = """
import asyncio, sys
from pathlib import Path
from judge_helpers import RUBRIC, items, judge_for
from judge_server import JudgeServer
server = JudgeServer()
server.address = sys.argv[1]
judge = judge_for(server, Path(sys.argv[2]), writer=sys.argv[3], concurrency=4)
print("ready", flush=True)
asyncio.run(judge.score("trait", RUBRIC, items(int(sys.argv[4]))))
print(judge.usage.calls, judge.usage.cached)
"""


def request(text: str = "text", **changes) -> Request:
    parts = {"provider": "openai", "base_url": "http://a", "model": "m", "version": "trait-1", "parameters": {"t": 0}}
    return Request(**{**parts, "messages": [{"role": "user", "content": text}], "check": lambda reply: None} | changes)


def store(cache: Cache, *replies: tuple[Request, Reply]) -> None:
    async def write() -> None:
        async with cache.writing():
            for asked, reply in replies:
                cache.store(asked, reply)

    asyncio.run(write())


def judging(server, folder: Path, writer: str, count: int) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS / "judge")])}
    command = [sys.executable, "-c", JUDGING, server.address, str(folder), writer, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def test_a_run_killed_half_way_asks_only_for_what_is_missing_and_a_third_run_for_nothing(tmp_path):
    with judge_server(Faults(latency=0.02)) as server:
        killed = judging(server, tmp_path, "job", 60)
        killed.stdout.readline()
        while server.seen.requests < 25:
            time.sleep(0.005)
        killed.kill()
        killed.wait()
        # What it sent last may still come in.
        time.sleep(0.2)
        kept = sum(line.endswith("\n") for line in (tmp_path / "job.jsonl").open())
        assert 0 < kept < 60
        asked = server.seen.requests
        again = judge_for(server, tmp_path, writer="job")
        judgements = scores(again, items(60))
        assert server.seen.requests - asked == again.usage.calls == 60 - kept
        assert again.usage.cached == kept
        third = judge_for(server, tmp_path, writer="job")
        assert scores(third, items(60)) == judgements
        assert (third.usage.calls, third.usage.cached) == (0, 60)
        assert server.seen.requests - asked == 60 - kept
    assert len({json.loads(line)["key"] for line in (tmp_path / "job.jsonl").open()}) == 60


def test_two_jobs_read_each_others_files(tmp_path):
    with judge_server() as server:
        first, second = judging(server, tmp_path, "a", 20), judging(server, tmp_path, "b", 30)
        first.communicate()
        second.communicate()
        asked = server.seen.requests
        assert {path.name for path in tmp_path.iterdir()} <= {"a.jsonl", "b.jsonl"}
        for writer in ("a", "b", "c"):
            judge = judge_for(server, tmp_path, writer=writer)
            scores(judge, items(30))
            assert (judge.usage.calls, judge.usage.cached) == (0, 30)
        assert server.seen.requests == asked


def test_what_another_job_wrote_since_the_start_is_seen_by_the_next_call(tmp_path):
    with judge_server() as server:
        early, other = judge_for(server, tmp_path, writer="early"), judge_for(server, tmp_path, writer="other")
        scores(other, items(5))
        scores(early, items(5))
        assert server.seen.requests == 5


def test_two_judges_of_one_name_in_one_process_write_in_turns(tmp_path):
    with judge_server(Faults(latency=0.02)) as server:
        judges = [judge_for(server, tmp_path, writer="same") for _ in range(2)]

        async def both():
            await asyncio.gather(*(judge.score("trait", RUBRIC, items(10)) for judge in judges))

        asyncio.run(both())
    lines = (tmp_path / "same.jsonl").read_text().splitlines()
    assert len({json.loads(line)["key"] for line in lines}) == len(lines) == server.seen.requests == 10


def test_every_part_of_a_request_changes_its_key():
    plain = request()
    assert plain.key == request().key
    assert plain.key == request(check=lambda reply: None).key
    changes = {"provider": "gemini", "base_url": "http://b", "model": "n", "version": "trait-2", "parameters": {"t": 1}}
    keys = {request(**{name: value}).key for name, value in changes.items()} | {plain.key, request("other").key}
    assert len(keys) == 7
    assert all(len(key) == 64 for key in keys)


def test_what_was_stored_is_read_back_in_full(tmp_path):
    replies = [Reply({"8": 0.5, " ☃": 0.1}, None, False, 3, 1), Reply(None, "ü\n\u2028{}", False, None, None)]
    replies.append(Reply(refused=True))
    asked = [request(str(place)) for place in range(3)]
    store(Cache(tmp_path, "job"), *zip(asked, replies, strict=True))
    other = Cache(tmp_path, "other")
    assert [other.get(one.key) for one in asked] == replies
    assert len(other) == 3


def test_a_torn_last_line_is_not_read_and_does_not_spoil_the_next_answer(tmp_path):
    store(Cache(tmp_path, "job"), (request("1"), Reply(text="1")))
    with (tmp_path / "job.jsonl").open("a") as opened:
        opened.write('{"key": "abc", "rep')
    cache = Cache(tmp_path, "job")
    assert len(cache) == 1
    store(cache, (request("2"), Reply(text="2")))
    reread = Cache(tmp_path, "job")
    assert [reread.get(request(text).key) for text in "12"] == [Reply(text="1"), Reply(text="2")]
    assert len((tmp_path / "job.jsonl").read_text().splitlines()) == 2


def test_a_file_of_nothing_but_a_torn_line_is_written_anew(tmp_path):
    (tmp_path / "job.jsonl").write_text("x" * 200_000)
    store(Cache(tmp_path, "job"), (request("2"), Reply(text="2")))
    assert len(Cache(tmp_path, "job")) == 1
    assert len((tmp_path / "job.jsonl").read_text().splitlines()) == 1


def test_a_spoilt_line_in_the_middle_is_told_and_the_rest_is_read(tmp_path, caplog):
    store(Cache(tmp_path, "job"), (request("1"), Reply(text="1")))
    with (tmp_path / "job.jsonl").open("a") as opened:
        opened.write('nonsense\n[]\n{"key": "abc"}\n')
    store(Cache(tmp_path, "job"), (request("2"), Reply(text="2")))
    caplog.clear()
    assert len(Cache(tmp_path, "other")) == 2
    assert "3 lines cannot be read" in caplog.text


def test_a_file_that_another_process_writes_is_waited_for_and_then_told(tmp_path):
    cache = Cache(tmp_path, "job", patience=0.1)
    with (tmp_path / "job.jsonl").open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(TimeoutError, match="another process has been writing"):
            store(cache, (request(), Reply(text="1")))
    store(cache, (request(), Reply(text="1")))
    assert len(Cache(tmp_path, "job")) == 1


def test_failures_and_malformed_bodies_are_not_stored(tmp_path):
    with judge_server(Faults(errors=0.4, malformed=0.4, times=100)) as server:
        judgements = scores(judge_for(server, tmp_path, retries=0), items(40))
    stored = len((tmp_path / "test.jsonl").read_text().splitlines())
    assert stored == sum(judgement.status == "scored" for judgement in judgements) < 40


@pytest.mark.parametrize(
    ("writer", "name"),
    [("demo-traits-behavioral-formality-responses", None), ("A/b c", "a-b-c"), ("../../etc/x", "etc-x"), ("é1", "1")],
)
def test_the_name_of_a_file_is_made_from_its_writer(writer, name, tmp_path):
    assert Cache(tmp_path, writer).path == tmp_path / f"{name or writer}.jsonl"


def test_a_long_name_is_cut_but_stays_its_own(tmp_path):
    paths = {Cache(tmp_path, "x" * 300 + end).path for end in "ab"}
    assert len(paths) == 2
    assert all(len(path.name) < 150 for path in paths)


def test_a_name_of_nothing_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="neither letters nor digits"):
        Cache(tmp_path, "//")
