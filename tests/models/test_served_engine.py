"""The client of a served model, against a server that plays vLLM's part."""

from __future__ import annotations

import asyncio
import copy
import json
import logging
import math
import random
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from completion_server import CompletionServer, completion_server, encoded, serving

from tells.config import EngineConfig, GenerationConfig
from tells.models.engines import ConfidenceStop, Generation, Request, Steering, open_engine
from tells.models.engines import served_client as client_module
from tells.models.engines.finished_rows import FinishedRows, finished_rows_path
from tells.models.engines.served_client import ServerError, growing_pauses
from tells.models.engines.served_protocol import Row
from tells.models.spans import decode_tokens

SETTINGS = GenerationConfig(temperature=0.8, top_p=0.9, top_k=7, max_new_tokens=12, stop=("\n\n",))
KEY = "sk-0123456789-abcdef"
REQUESTS = [Request(tuple(range(10, 20 + place)), 2**64 - 1 - place, place % 4 == 0) for place in range(12)]

Open = Callable[..., Any]


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "_FIRST_PAUSE_SECONDS", 0.001)


@pytest.fixture
def server() -> Iterator[CompletionServer]:
    with completion_server("tiny-llama") as started:
        yield started


@pytest.fixture
def opened(server: CompletionServer, tiny_manifests: dict[str, Path]) -> Open:
    """Opens the engine on the server; keywords are of the configuration."""

    def open_it(finished: Path | None = None, **changes: Any) -> Any:
        told = {"kind": "served", "base_url": server.base_url, "patience": 5, "timeout": 20, **changes}
        return open_engine(tiny_manifests["llama"], EngineConfig.model_validate(told), finished=finished)

    return open_it


def undisturbed(server: CompletionServer, requests: list[Request] = REQUESTS, k: int = 5) -> list[list[int]]:
    """Token ids that the server gives for requests, worked out without the client."""
    bodies = [
        {
            "prompt": list(request.prompt_token_ids),
            "seed": None if request.greedy else request.seed % 2**63,
            "temperature": 0.0 if request.greedy else 0.8,
            "max_tokens": 12,
            "stop": ["\n\n"],
            "stop_token_ids": [256],
        }
        for request in requests
    ]
    return [server.write(body)[0] for body in bodies]


def fields(runs: list[Generation]) -> list[tuple]:
    return [(run.token_ids, run.text, run.finish_reason, run.token_logprobs, run.topk_logprobs) for run in runs]


# What is sent


def test_everything_that_decides_a_run_is_sent(opened, server):
    opened().generate(REQUESTS[:2], SETTINGS, top_logprobs=5)
    greedy, drawn = sorted(server.seen.bodies, key=lambda body: len(body["prompt"]))
    common = {
        "model": "tiny-llama",
        "max_tokens": 12,
        "stop": ["\n\n"],
        "stop_token_ids": [256],
        "logprobs": 5,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "n": 1,
        "return_token_ids": True,
        "return_tokens_as_token_ids": True,
    }
    assert greedy == {
        **common,
        "prompt": list(range(10, 20)),
        "temperature": 0.0,
        "top_p": 1.0,
        "top_k": 0,
        "seed": None,
    }
    assert drawn == {
        **common,
        "prompt": list(range(10, 21)),
        "temperature": 0.8,
        "top_p": 0.9,
        "top_k": 7,
        "seed": 2**63 - 2,
    }


@pytest.mark.vllm
def test_vllm_accepts_the_request_and_reads_it_as_it_is_meant(opened, server):
    protocol = pytest.importorskip("vllm.entrypoints.openai.completion.protocol")
    opened().generate(REQUESTS[1:2], SETTINGS, top_logprobs=5)
    request = protocol.CompletionRequest.model_validate(server.seen.bodies[0])
    assert not request.model_extra
    # As the defaults of a model whose generation_config.json has an opinion on everything.
    defaults = {"temperature": 0.1, "top_p": 0.1, "top_k": 1, "min_p": 0.5, "repetition_penalty": 1.3}
    told = request.to_sampling_params(12, defaults)
    assert (told.temperature, told.top_p, told.top_k, told.min_p, told.repetition_penalty) == (0.8, 0.9, 7, 0.0, 1.0)
    assert (told.seed, told.max_tokens, told.logprobs, told.stop_token_ids) == (2**63 - 2, 12, 5, [256])


def test_a_temperature_of_zero_is_greedy_whatever_the_seed(opened, server):
    opened().generate(REQUESTS[1:2], GenerationConfig(temperature=0, top_k=3, max_new_tokens=4))
    assert (server.seen.bodies[0]["seed"], server.seen.bodies[0]["top_k"]) == (None, 0)


# What comes back


def test_runs_come_back_in_the_order_of_the_requests_with_their_tokens(opened, server):
    runs = opened(concurrency=5).generate(REQUESTS, SETTINGS, top_logprobs=5)
    assert [run.token_ids for run in runs] == undisturbed(server)
    assert {run.finish_reason for run in runs} == {"stop", "length"}


def test_text_ends_before_the_stop_string_and_holds_no_end_of_sequence(opened):
    engine = opened()
    runs = engine.generate(REQUESTS, SETTINGS, top_logprobs=5)
    endings = set()
    for run in runs:
        whole, _ = decode_tokens(engine.tokenizer, run.token_ids)
        endings.add("stop string" if "\n\n" in whole else "end" if run.token_ids[-1] == 256 else "limit")
        assert run.text == whole.partition("\n\n")[0]
        assert "<|" not in run.text
    assert endings == {"stop string", "end", "limit"}


@pytest.mark.parametrize("k", [0, 1, 5])
def test_log_probabilities_are_exactly_k_and_fall_without_a_drawn_token_beyond_them(opened, k):
    runs = opened().generate(REQUESTS, SETTINGS, top_logprobs=k)
    assert all(len(run.token_logprobs) == len(run.token_ids) for run in runs)
    if k == 0:
        assert all(run.topk_logprobs is None for run in runs)
        return
    for run in runs:
        assert [len(step) for step in run.topk_logprobs] == [k] * len(run.token_ids)
        assert all(step == sorted(step, reverse=True) for step in run.topk_logprobs)
        below = [own < step[-1] for own, step in zip(run.token_logprobs, run.topk_logprobs, strict=True)]
        assert all(below), "the server of this test draws a token beyond the likeliest"


def test_no_request_asks_nothing(opened, server):
    assert opened().generate([], SETTINGS) == []
    assert server.seen.bodies == []


def test_facts_say_what_ran_but_not_where(opened):
    engine = opened()
    assert engine.facts() == {"engine": "served", "server_version": "0.32.0", "served_model": "tiny-llama"}
    assert engine.name == "served"


def test_it_works_where_a_loop_runs_already(opened, server):
    async def in_a_notebook() -> list[Generation]:
        return opened().generate(REQUESTS[:3], SETTINGS)

    assert [run.token_ids for run in asyncio.run(in_a_notebook())] == undisturbed(server, REQUESTS[:3])


# How many at a time, and again


def test_as_many_requests_are_in_flight_as_are_allowed_and_no_more(opened, server):
    engine = opened(concurrency=4)
    server.faults.hold = 4
    engine.generate(REQUESTS, SETTINGS)
    assert server.seen.most_in_flight == 4


@pytest.mark.parametrize(
    "faults",
    [
        {"statuses": [500, 503, 429, 502]},
        {"statuses": [429], "headers": {"Retry-After": "0.01"}},
        {"cut": 3},
        {"garbled": 2},
        {"aborted": 3},
    ],
    ids=["errors", "asked to wait", "cut", "no JSON", "ended by the server"],
)
def test_what_may_pass_is_tried_again_and_changes_nothing(opened, server, faults):
    engine = opened()
    expected = fields(engine.generate(REQUESTS, SETTINGS, top_logprobs=5))
    asked = len(server.seen.bodies)
    vars(server.faults).update(copy.deepcopy(faults))
    assert fields(engine.generate(REQUESTS, SETTINGS, top_logprobs=5)) == expected
    times = sum(value if isinstance(value, int) else len(value) for name, value in faults.items() if name != "headers")
    assert len(server.seen.bodies) - asked == len(REQUESTS) + times


def test_pauses_double_less_a_random_part_and_have_an_end(monkeypatch):
    monkeypatch.setattr(client_module, "_FIRST_PAUSE_SECONDS", 0.5)
    pauses = growing_pauses(random.Random(3))
    drawn = [next(pauses) for _ in range(10)]
    full = [min(0.5 * 2**place, 30.0) for place in range(10)]
    assert all(whole / 2 <= pause <= whole for pause, whole in zip(drawn, full, strict=True))
    assert len({pause / whole for pause, whole in zip(drawn, full, strict=True)}) == 10


@pytest.mark.parametrize(
    ("faults", "words"),
    [
        ({"statuses": [500] * 99}, ["fails (HTTP 500: as planned)", "look at its log"]),
        ({"cut": 99}, ["does not answer (", "start it with `vllm serve "]),
        ({"statuses": [429] * 99, "headers": {"Retry-After": "3600"}}, ["fails (HTTP 429"]),
        ({"aborted": 99}, ["ended a run itself (finish_reason abort)"]),
    ],
    ids=["errors", "cut", "asked to wait too long", "ended by the server"],
)
def test_what_does_not_pass_ends_the_job_with_the_reason_and_the_cure(opened, server, faults, words):
    engine = opened(patience=0.02, concurrency=2)
    vars(server.faults).update(copy.deepcopy(faults))
    with pytest.raises(ServerError) as caught:
        engine.generate(REQUESTS, SETTINGS)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert "tried again for 0.02 s" in str(caught.value)


def test_what_the_server_refuses_is_not_asked_again(opened, server):
    engine = opened(concurrency=1)
    server.faults.statuses, server.faults.message = [400], "Requested sample logprobs of 5, max allowed: 2"
    with pytest.raises(ServerError, match=r"refuses a request \(HTTP 400: Requested sample logprobs.*--max-logprobs"):
        engine.generate(REQUESTS, SETTINGS, top_logprobs=5)
    assert len(server.seen.bodies) == 1


def test_an_answer_that_does_not_come_in_time_is_told_as_such(opened, server):
    engine = opened(timeout=0.2, patience=0, concurrency=1)
    server.faults.hold = 2
    with pytest.raises(ServerError, match=r"gave no answer within 0.2 s: raise engine.timeout"):
        engine.generate(REQUESTS[:1], SETTINGS)


def test_a_server_that_is_not_there_is_told_with_the_line_that_starts_it(opened, tiny_manifests):
    folder = json.loads(tiny_manifests["llama"].read_text())["path"]
    with pytest.raises(ServerError) as caught:
        opened(base_url="http://127.0.0.1:9/v1", patience=0.01)
    assert str(caught.value) == (
        "the server at http://127.0.0.1:9 does not answer (ConnectError); tried again for 0.01 s: start it with `vllm "
        f"serve {folder} --served-model-name tiny-llama --host 127.0.0.1 --port 9 --logprobs-mode raw_logprobs`"
    )


# Finished runs


def test_a_job_that_failed_goes_on_where_it_was(opened, server, tmp_path):
    expected = fields(opened().generate(REQUESTS, SETTINGS, top_logprobs=5))
    path = finished_rows_path(tmp_path / "samples-0003.parquet")
    server.faults.fails_after = server.seen.answered + 7
    with pytest.raises(ServerError, match=r"7 of 12 runs are kept for the next try"):
        opened(path, patience=0.01, concurrency=3).generate(REQUESTS, SETTINGS, top_logprobs=5)
    assert path == tmp_path / "samples-0003.finished.jsonl"
    server.faults.fails_after, asked = None, len(server.seen.bodies)
    runs = opened(path).generate(REQUESTS, SETTINGS, top_logprobs=5)
    assert len(server.seen.bodies) - asked == 5
    for run, other in zip(fields(runs), expected, strict=True):
        assert run[:3] == other[:3]
        np.testing.assert_array_equal(np.float32(run[3]), np.float32(other[3]))
        np.testing.assert_array_equal(np.float32(run[4]), np.float32(other[4]))
    assert len(path.read_text().splitlines()) == 12


def test_a_server_that_dies_and_is_started_again_finishes(tiny_manifests, tmp_path):
    server, path = CompletionServer("tiny-llama"), tmp_path / "a.finished.jsonl"

    def generate(patience: float) -> list[Generation]:
        told = {"kind": "served", "base_url": server.base_url, "patience": patience, "concurrency": 2}
        return open_engine(tiny_manifests["llama"], EngineConfig(**told), finished=path).generate(REQUESTS, SETTINGS)

    with serving(server):
        server.faults.fails_after = 5
        with pytest.raises(ServerError, match="5 of 12 runs"):
            generate(0.01)
    with pytest.raises(ServerError, match=r"does not answer \(ConnectError\).*vllm serve"):
        generate(0.01)
    server.faults.fails_after = None
    with serving(server):
        assert [run.token_ids for run in generate(5)] == undisturbed(server)
    assert server.seen.answered == 12


@pytest.mark.parametrize("change", ["version", "root", "settings", "seed"])
def test_only_what_an_equal_request_to_an_equal_server_gave_is_taken(opened, server, tmp_path, change):
    path = tmp_path / "a.finished.jsonl"
    opened(path).generate(REQUESTS, SETTINGS)
    requests, settings = list(REQUESTS), SETTINGS
    if change == "version":
        server.version = "0.33.0"
    elif change == "root":
        server.cards[0]["root"] = "/models/another"
    elif change == "settings":
        settings = SETTINGS.model_copy(update={"temperature": 0.9})
    else:
        requests = [Request(request.prompt_token_ids, 5, request.greedy) for request in REQUESTS]
    asked = len(server.seen.bodies)
    opened(path).generate(requests, settings)
    # The greedy ones have no seed and no temperature.
    again = 9 if change in ("settings", "seed") else 12
    assert len(server.seen.bodies) - asked == again


def test_a_torn_line_is_cut_off_and_an_unreadable_one_is_drawn_again(tmp_path, caplog):
    path = tmp_path / "a.finished.jsonl"
    rows = {name: Row([3, 4], "stop", [-0.5, -1.25], [[-0.25, -2.0], [-0.5, -3.0]]) for name in "abc"}
    with FinishedRows(path).opened() as finished:
        for name, row in rows.items():
            finished.add(name, row)
    whole = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(whole[0] + b'{"key": "b"}\n' + whole[2][:-20])
    with FinishedRows(path).opened() as finished:
        assert (finished.get("a"), finished.get("b"), finished.get("c")) == (rows["a"], None, None)
        finished.add("d", rows["b"])
    with FinishedRows(path).opened() as finished:
        assert finished.get("d") == rows["b"]
    assert "1 line(s) cannot be read" in caplog.text


def test_rows_without_likeliest_tokens_are_kept_as_such(tmp_path):
    row = Row([3], "length", [-0.5], None)
    with FinishedRows(tmp_path / "a.jsonl").opened() as finished:
        finished.add("a", row)
    with FinishedRows(tmp_path / "a.jsonl").opened() as finished:
        assert finished.get("a") == row


# The right server


def test_the_model_is_found_by_its_name_among_others(opened, server):
    server.cards.insert(0, {"id": "another"})
    assert opened().server.model == "tiny-llama"


def test_the_model_is_found_by_its_folder(opened, server, tiny_manifests):
    folder = json.loads(tiny_manifests["llama"].read_text())["path"]
    server.cards = [{"id": "another"}, {"id": "x", "root": str(Path(folder).absolute())}]
    assert (opened().server.model, opened().server.names_agree) == ("x", True)


def test_a_name_that_is_given_is_the_one_asked(opened, server):
    server.cards.append({"id": "mine"})
    assert opened(served_model="mine").server.model == "mine"
    with pytest.raises(ServerError, match=r"serves tiny-llama, mine, not other: correct engine\.served_model"):
        opened(served_model="other")


def test_the_only_model_is_taken_and_its_name_doubted(opened, server, caplog):
    server.cards = [{"id": "somebody/else"}]
    engine = opened()
    assert (engine.server.model, engine.server.names_agree) == ("somebody/else", False)
    assert "nothing but the tokenizer shows that somebody/else is tiny-llama" in caplog.text


@pytest.mark.parametrize("names", [["a", "b"], []])
def test_several_models_of_other_names_are_an_error(opened, server, names):
    server.cards = [{"id": name} for name in names]
    with pytest.raises(ServerError, match=rf"serves {', '.join(names) or 'nothing'}, none of them known as tiny-llama"):
        opened()


def test_a_tokenizer_that_encodes_otherwise_is_an_error(opened, server):
    server.faults.tokens = [1, 2, 3]
    with pytest.raises(ServerError, match=r"tiny-llama of the server at .* is another model: it encodes text"):
        opened()


def test_a_server_without_tokenize_and_version_is_taken_with_a_warning(opened, server, caplog):
    server.faults.missing = ("/tokenize", "/version")
    engine = opened()
    assert engine.facts()["server_version"] is None
    assert "whether its tokenizer is the model's is not known" in caplog.text


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("processed_logprobs", "after temperature, top_p and top_k: start it with --logprobs-mode raw_logprobs"),
        ("raw_logits", "numbers that are no log-probabilities: start it with --logprobs-mode raw_logprobs"),
    ],
)
def test_numbers_of_another_kind_are_noticed_before_the_first_run(opened, server, mode, words):
    server.faults.mode = mode
    with pytest.raises(ServerError, match=words):
        opened()
    assert server.seen.bodies == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"token_ids": None}, "gives no token ids: take vLLM 0.10.2"),
        ({"token_ids": [97] * 3, "finish_reason": "length"}, "not one log-probability per token"),
        ({"token_ids": []}, "not one log-probability per token"),
        ({"prompt_token_ids": [1]}, "changed the token ids of a prompt"),
        ({"logprobs": None}, "not that of a vLLM server"),
    ],
)
def test_an_answer_that_is_not_what_was_asked_for_is_an_error(opened, server, changes, words):
    engine = opened()
    server.faults.changes = changes
    with pytest.raises(ServerError, match=words):
        engine.generate(REQUESTS[:1], SETTINGS, top_logprobs=5)


@pytest.mark.parametrize(
    ("token_ids", "own", "tops", "words"),
    [
        ([97], -1.0, [-0.5], "fewer than 2 log-probabilities"),
        ([9999], -1.0, [-0.5, -1.0], "tokens that the model, with 260, does not have"),
        ([97], math.nan, [-0.5, -1.0], "not finite"),
        ([97], -9.0, [-7.0, -8.0], "no log-probabilities"),
        ([97], -0.1, [-0.2, -0.3], "no log-probabilities"),
        ([97], 0.0, [0.0, -9999.0], "after temperature"),
    ],
    ids=["too few", "unknown token", "no number", "below an even share", "more than one in all", "masked"],
)
def test_a_row_that_cannot_be_is_an_error(opened, server, token_ids, own, tops, words):
    engine = opened()
    top = {f"token_id:{place}": value for place, value in enumerate(tops)}
    server.faults.changes = {
        "token_ids": token_ids,
        "finish_reason": "stop",
        "logprobs": {"token_logprobs": [own], "top_logprobs": [top]},
    }
    with pytest.raises(ServerError, match=words):
        engine.generate(REQUESTS[:1], SETTINGS, top_logprobs=2)


def test_a_run_that_the_server_cuts_short_is_an_error(opened, server):
    engine = opened()
    server.write = lambda body: (encoded("abc"), "length")
    with pytest.raises(ServerError, match="ended a run after 3 of 12 tokens: start it with a larger --max-model-len"):
        engine.generate(REQUESTS[:1], SETTINGS)


def test_what_does_not_fit_the_server_is_said_before_anything_is_sent(opened, server):
    server.cards[0]["max_model_len"] = 32
    engine = opened()
    with pytest.raises(ValueError, match="are 33 tokens, but the server takes 32: start it with --max-model-len 33"):
        engine.generate(REQUESTS, SETTINGS)
    assert server.seen.bodies == []
    engine.generate(REQUESTS[:-1], SETTINGS)


@pytest.mark.parametrize(
    ("own", "words"),
    [
        ({"steering": Steering(1, np.zeros(64, np.float32), 2.0)}, "does not change hidden states: steer with"),
        (
            {"stop_below": ConfidenceStop(-2.0, 4)},
            "does not end runs on their confidence: set engine.kind",
        ),
    ],
)
def test_what_a_server_cannot_do_is_said_before_anything_is_sent(opened, server, own, words):
    engine = opened()
    with pytest.raises(ValueError, match=words):
        engine.generate([*REQUESTS, Request((1, 2), 3, **own)], SETTINGS)
    assert server.seen.bodies == []


# The key


@pytest.fixture
def guarded(monkeypatch: pytest.MonkeyPatch) -> Iterator[CompletionServer]:
    monkeypatch.setenv("SERVER_KEY", KEY)
    with completion_server("tiny-llama", key=KEY) as started:
        yield started


@pytest.mark.parametrize("fault", [None, "wrong key", "errors", "refused", "cut"])
def test_the_key_is_sent_and_is_in_no_file_log_error_or_fact(opened, guarded, fault, tmp_path, caplog, monkeypatch):
    caplog.set_level(logging.DEBUG)
    path = tmp_path / "a.finished.jsonl"
    told = {"base_url": guarded.base_url, "key_variable": "SERVER_KEY", "patience": 0.01}
    guarded.faults.message = f"Authorization: Bearer {KEY}"
    engine = opened(path, **told)
    shown = repr(engine.facts()) + repr(vars(engine)) + repr(engine.config)
    if fault == "wrong key":
        guarded.key = "sk-another-0123456789"
    guarded.faults.statuses = {"errors": [500] * 99, "refused": [400] * 99}.get(fault, [])
    guarded.faults.cut = 99 if fault == "cut" else 0
    if fault is None:
        assert len(engine.generate(REQUESTS, SETTINGS, top_logprobs=5)) == 12
        assert guarded.seen.refused_keys == 0
    else:
        with pytest.raises(ServerError) as caught:
            engine.generate(REQUESTS, SETTINGS, top_logprobs=5)
        shown += "".join(traceback.format_exception(caught.value))
        assert caught.value.__context__ is None or caught.value.__suppress_context__
        if fault == "wrong key":
            assert "asks for another key (HTTP 401): look at the environment variable SERVER_KEY" in str(caught.value)
    loggers = {record.name.partition(".")[0] for record in caplog.records if record.levelno < logging.WARNING}
    assert loggers <= {"asyncio", "tells", "filelock"}
    assert KEY not in shown + caplog.text + path.read_text()


def test_a_key_that_is_missing_or_not_named_is_told(opened, guarded, monkeypatch):
    with pytest.raises(ServerError, match=r"\(HTTP 401\): name the environment variable .* in engine\.key_variable"):
        opened(base_url=guarded.base_url)
    monkeypatch.delenv("SERVER_KEY")
    with pytest.raises(ServerError, match=r"engine\.key_variable is SERVER_KEY, but .* not set: export SERVER_KEY="):
        opened(base_url=guarded.base_url, key_variable="SERVER_KEY")
    monkeypatch.setenv("SERVER_KEY", "two words")
    with pytest.raises(ValueError, match="SERVER_KEY holds white space"):
        opened(base_url=guarded.base_url, key_variable="SERVER_KEY")


def test_a_redirection_is_not_followed_with_the_key(opened, guarded):
    engine = opened(base_url=guarded.base_url, key_variable="SERVER_KEY")
    guarded.faults.statuses, guarded.faults.headers = [307], {"Location": "http://127.0.0.1:9/"}
    with pytest.raises(ServerError, match="HTTP 307"):
        engine.generate(REQUESTS[:1], SETTINGS)
