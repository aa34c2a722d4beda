"""The key is in the header of a request, and nowhere else."""

import asyncio
import logging
import traceback
from pathlib import Path

import pytest
from judge_helpers import KEY, RUBRIC, items, judge_for, scores
from judge_server import Faults, judge_server

from tells.judge import JudgeStoppedError
from tells.judge.exchange import Access
from tells.services import shown_url

KINDS = ("token", "json", "gemini")
ECHO = f"Incorrect key provided: {KEY}, also known as {KEY[:10]}"


def told(error: BaseException) -> str:
    """Everything that a report of an error may show, with local variables and all errors behind it."""
    seen, text = error, ""
    while seen is not None:
        text += "".join(traceback.TracebackException.from_exception(seen, capture_locals=True).format())
        text += repr(seen) + repr(vars(seen)) + repr(seen.args)
        seen = seen.__cause__ or seen.__context__
    return text


def behind(error: BaseException) -> list[str]:
    """Modules of the errors that an error is chained to."""
    chain, seen = [], error
    while (seen := seen.__cause__ or seen.__context__) is not None:
        chain.append(type(seen).__module__)
    return chain


def written(folder: Path) -> str:
    return "".join(path.read_text() for path in folder.rglob("*") if path.is_file())


@pytest.fixture(autouse=True)
def everything_logged(caplog):
    caplog.set_level(logging.DEBUG)
    for name in ("openai", "httpx", "httpx2", "httpcore", "httpcore2", "google_genai"):
        logging.getLogger(name).setLevel(logging.DEBUG)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_stops_everything_and_names_its_variable(kind, status, tmp_path, caplog):
    with judge_server(Faults(status=status, message=ECHO, latency=0.01)) as server:
        judge = judge_for(server, tmp_path, kind, concurrency=3)
        with pytest.raises(JudgeStoppedError, match="TEST_KEY") as caught:
            scores(judge, items(50))
        assert server.seen.requests <= 3
        assert behind(caught.value) == []
        text = told(caught.value)
        with pytest.raises(JudgeStoppedError, match="TEST_KEY"):
            asyncio.run(judge.entails("q", "a", "b"))
        assert server.seen.requests <= 3
    assert str(status) in str(caught.value)
    assert KEY not in text + caplog.text + written(tmp_path)
    assert KEY[:10] not in str(caught.value)


def test_the_key_that_gemini_calls_invalid_stops_everything(tmp_path):
    with judge_server(Faults(status=400, message="reason: API_KEY_INVALID")) as server:
        with pytest.raises(JudgeStoppedError, match="TEST_KEY"):
            scores(judge_for(server, tmp_path, "gemini", concurrency=1), items(5))
        assert server.seen.requests == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "faults",
    [
        Faults(),
        Faults(status=400, message=f"bad request: Authorization: Bearer {KEY}"),
        Faults(status=500, message=f"x-goog-api-key: {KEY}"),
        Faults(cut=1.0, times=9),
        Faults(malformed=1.0, times=9),
    ],
    ids=["well", "400", "500", "cut", "malformed"],
)
def test_the_key_is_in_no_log_no_judgement_and_no_file(kind, faults, tmp_path, caplog):
    with judge_server(faults) as server:
        judge = judge_for(server, tmp_path, kind, retries=1)
        judgements = scores(judge, items(3))
        explanations = asyncio.run(judge.explain(RUBRIC, items(3), "high"))
    loggers = {record.name.partition(".")[0] for record in caplog.records if record.levelno < logging.WARNING}
    assert loggers <= {"asyncio", "tells"}
    shown = repr(judgements) + repr(explanations) + repr(judge.facts()) + repr(vars(judge)) + judge.name
    assert KEY not in shown + caplog.text + written(tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_that_quotes_the_key_is_kept_without_it(kind, tmp_path):
    with judge_server(), pytest.MonkeyPatch.context() as patch:
        patch.setattr("judge_server.whole_value", lambda text: KEY)
        with judge_server() as server:
            explanations = asyncio.run(judge_for(server, tmp_path, kind).explain(RUBRIC, items(1), "high"))
    assert explanations[0].reason == "It reads [key]."
    assert KEY not in written(tmp_path)


def test_a_message_is_short_and_free_of_whatever_looks_like_a_key():
    access = Access("K", KEY)
    message = access.message(f"no: {KEY} sk-proj-abcd1234 AIzaSyA-1234567 Bearer abc.def\nx " + "long " * 100)
    assert message.startswith("no: [key] [key] [key] [key] x long")
    assert len(message) <= 201
    assert access.message({"a": 1}) == ""
    assert KEY not in repr(access) + repr(vars(access))


def test_a_placeholder_is_no_key_to_be_cut_out_of_texts():
    assert Access("K", "EMPTY").redacted("EMPTY words") == "EMPTY words"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://api.openai.com/v1", "https://api.openai.com/v1"),
        ("http://me:secret@host:8000/v1", "http://host:8000/v1"),
        ("https://host/v1?key=secret#secret", "https://host/v1"),
        ("https://host?key=a/secret@b", "https://host"),
    ],
)
def test_an_address_is_shown_without_secrets(url, shown):
    assert shown_url(url) == shown
