from __future__ import annotations

import importlib.util
import json
import math
import os
from dataclasses import replace

import numpy as np
import pytest
import torch

from tells.config import EngineConfig, GenerationConfig
from tells.models.confidence import token_confidence
from tells.models.engines import ConfidenceStop, Request, open_engine
from tells.models.engines.hf import HfEngine
from tells.models.engines.vllm import VllmEngine, memory_share
from tells.models.replay import ReplayRow, replay
from tells.models.sampling import derive_seed
from tells.models.spans import Spans, decode_tokens
from tells.safety.confidence import first_stop

pytestmark = [pytest.mark.vllm, pytest.mark.slow]

SETTINGS = GenerationConfig(temperature=0.8, max_new_tokens=40, stop=("\n\n",))


@pytest.fixture(scope="module")
def engine(real_manifest) -> VllmEngine:
    if importlib.util.find_spec("vllm") is None:
        pytest.skip("vllm is not installed")
    config = EngineConfig(kind="vllm", dtype="float32", max_num_seqs=16, max_model_len=512)
    return open_engine(real_manifest, config, seed=3)


@pytest.fixture(scope="module")
def greedy(engine, sums_ids):
    return engine.generate([Request(ids, 0, True) for ids in sums_ids], SETTINGS, top_logprobs=5)


@pytest.fixture(scope="module")
def drawn_requests(sums_ids) -> list[Request]:
    return [Request(ids, derive_seed(7, place, sample)) for place, ids in enumerate(sums_ids[:4]) for sample in (0, 1)]


@pytest.fixture(scope="module")
def drawn(engine, drawn_requests):
    return engine.generate(drawn_requests, SETTINGS, top_logprobs=5)


def test_greedy_runs_equal_those_of_the_hf_engine(greedy, real, sums_ids):
    theirs = HfEngine(real).generate([Request(ids, 0, True) for ids in sums_ids], SETTINGS, top_logprobs=5)
    for ours, other in zip(greedy, theirs, strict=True):
        assert (ours.token_ids, ours.text, ours.finish_reason) == (other.token_ids, other.text, other.finish_reason)
        np.testing.assert_allclose(ours.token_logprobs, other.token_logprobs, atol=1e-3)
        np.testing.assert_allclose(ours.topk_logprobs, other.topk_logprobs, atol=1e-3)


def test_token_log_probabilities_are_those_of_the_replay(drawn, drawn_requests, real):
    nothing = Spans(None, None, None)
    rows = [
        ReplayRow(request.prompt_token_ids, tuple(run.token_ids), nothing, len(run.token_ids))
        for request, run in zip(drawn_requests, drawn, strict=True)
    ]
    exact = replay(real, rows, layers=[0], positions=("prompt_end",)).token_logprobs
    for run, expected in zip(drawn, exact, strict=True):
        np.testing.assert_allclose(run.token_logprobs, expected, atol=1e-3)


def test_top_log_probabilities_are_the_most_likely_ones_alone_and_fall(engine, sums_ids):
    hot = GenerationConfig(temperature=2.0, max_new_tokens=12)
    runs = engine.generate([Request(sums_ids[0], seed) for seed in range(4)], hot, top_logprobs=5)
    steps = [top for run in runs for top in run.topk_logprobs]
    chosen = [logprob for run in runs for logprob in run.token_logprobs]
    assert all(len(top) == 5 and top == sorted(top, reverse=True) for top in steps)
    beyond = [logprob < top[-1] for top, logprob in zip(steps, chosen, strict=True)]
    assert any(beyond), "no token beyond the top 5 was drawn: the case is not tested"
    assert all(outside or logprob in top for top, logprob, outside in zip(steps, chosen, beyond, strict=True))


def test_a_seed_gives_its_run_whatever_stands_beside_it(engine, drawn, drawn_requests):
    alone = engine.generate(drawn_requests[3:4], SETTINGS, top_logprobs=0)[0]
    assert alone.token_ids == drawn[3].token_ids
    assert alone.topk_logprobs is None
    np.testing.assert_allclose(alone.token_logprobs, drawn[3].token_logprobs, atol=1e-3)


def test_different_seeds_give_different_runs(engine, sums_ids):
    free = GenerationConfig(temperature=1.0, max_new_tokens=12)
    runs = engine.generate([Request(sums_ids[0], 2**64 - 1 - seed) for seed in range(6)], free)
    assert len({tuple(run.token_ids) for run in runs}) > 3


def test_a_run_ends_at_its_stop_string_and_the_text_does_not_hold_it(greedy, drawn, real):
    ended = [run for run in greedy + drawn if run.finish_reason == "stop"]
    stopped = [run for run in ended if run.token_ids[-1] not in real.eos_token_ids]
    assert len(stopped) > len(greedy) / 2
    for run in stopped:
        whole, _ = decode_tokens(real.tokenizer, run.token_ids)
        assert "\n\n" in whole
        assert run.text == whole[: whole.index("\n\n")]


def test_a_run_that_meets_the_limit_says_so(engine, sums_ids):
    run = engine.generate([Request(sums_ids[0], 0, True)], GenerationConfig(max_new_tokens=3))[0]
    assert (run.finish_reason, len(run.token_ids)) == ("length", 3)


def test_the_end_of_sequence_is_a_token_of_the_run_but_not_of_its_text(engine, real):
    chat = [{"role": "user", "content": "What is the capital of France? Answer in one word."}]
    text = real.tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    request = Request(tuple(real.tokenizer(text)["input_ids"]), 0, True)
    settings = GenerationConfig(max_new_tokens=60)
    ours = engine.generate([request], settings)[0]
    other = HfEngine(real).generate([request], settings)[0]
    assert (ours.token_ids, ours.text) == (other.token_ids, other.text)
    assert ours.finish_reason == "stop"
    assert ours.token_ids[-1] in real.eos_token_ids
    assert "<|" not in ours.text


@pytest.fixture(scope="module")
def stop(drawn_requests, engine) -> ConfidenceStop:
    """A threshold below which some of the drawn runs fall and others do not."""
    runs = engine.generate(drawn_requests, SETTINGS, top_logprobs=20)
    windows = [np.convolve(token_confidence(np.asarray(run.topk_logprobs)), np.full(4, 0.25), "valid") for run in runs]
    return ConfidenceStop(float(np.median([window.min() for window in windows])), 4)


def stopping(requests: list[Request], stop: ConfidenceStop | None) -> list[Request]:
    return [replace(request, stop_below=stop) for request in requests]


@pytest.mark.parametrize("top_logprobs", [0, 5, 20])
def test_a_run_stops_where_its_confidence_falls_and_keeps_no_token_behind(engine, drawn_requests, stop, top_logprobs):
    whole = engine.generate(drawn_requests, SETTINGS, top_logprobs=20)
    stopped = engine.generate(stopping(drawn_requests, stop), SETTINGS, top_logprobs=top_logprobs)
    reasons = []
    for run, other in zip(stopped, whole, strict=True):
        confidence = token_confidence(np.asarray(other.topk_logprobs))
        at = first_stop(confidence, threshold=stop.threshold, window=stop.window)
        cut = at is not None and (at < len(confidence) - 1 or other.finish_reason == "length")
        kept = at + 1 if cut else len(confidence)
        assert (run.token_ids, run.finish_reason) == (
            other.token_ids[:kept],
            "confidence" if cut else other.finish_reason,
        )
        assert run.text == (decode_tokens(engine.tokenizer, run.token_ids)[0] if cut else other.text)
        assert len(run.token_logprobs) == kept
        assert [len(top) for top in run.topk_logprobs or ()] == ([top_logprobs] * kept if top_logprobs else [])
        reasons.append(run.finish_reason)
    assert "confidence" in reasons
    assert "stop" in reasons


def test_a_stop_concerns_its_own_run_alone_and_leaves_nothing_in_the_engine(engine, drawn_requests, drawn):
    first = stopping(drawn_requests[:1], ConfidenceStop(math.inf, 3))
    runs = engine.generate(first + drawn_requests[1:], SETTINGS, top_logprobs=5)
    assert (runs[0].token_ids, runs[0].finish_reason) == (drawn[0].token_ids[:3], "confidence")
    assert [run.token_ids for run in runs[1:]] == [run.token_ids for run in drawn[1:]]
    assert not engine.llm.llm_engine.has_unfinished_requests()


def test_the_end_of_a_run_wins_at_the_same_token_but_not_its_limit(engine, drawn_requests, drawn, sums_ids):
    place = next(place for place, run in enumerate(drawn) if run.finish_reason == "stop")
    last = ConfidenceStop(math.inf, len(drawn[place].token_ids))
    run = engine.generate(stopping(drawn_requests[place : place + 1], last), SETTINGS)[0]
    assert (run.token_ids, run.text, run.finish_reason) == (drawn[place].token_ids, drawn[place].text, "stop")
    limited = Request(sums_ids[0], 0, True, stop_below=ConfidenceStop(math.inf, 3))
    assert engine.generate([limited], GenerationConfig(max_new_tokens=3))[0].finish_reason == "confidence"


def test_a_threshold_of_minus_infinity_never_stops_a_run(engine, drawn_requests, drawn):
    runs = engine.generate(stopping(drawn_requests, ConfidenceStop(-math.inf, 2)), SETTINGS, top_logprobs=5)
    assert [(run.token_ids, run.finish_reason) for run in runs] == [(run.token_ids, run.finish_reason) for run in drawn]


def test_runs_stop_where_those_of_the_hf_engine_do(engine, greedy, real, sums_ids):
    # Greedy, since the engines draw differently.
    requests = [Request(ids, 0, True) for ids in sums_ids]
    whole = HfEngine(real).generate(requests, SETTINGS, top_logprobs=20)
    lowest = [token_confidence(np.asarray(run.topk_logprobs)).min() for run in whole]
    stop = ConfidenceStop(float(np.median(lowest)) + 0.05, 1)
    ours = engine.generate(stopping(requests, stop), SETTINGS)
    other = HfEngine(real).generate(stopping(requests, stop), SETTINGS)
    assert [run.token_ids for run in ours] == [run.token_ids for run in other]
    assert "confidence" in {run.finish_reason for run in ours}


def test_no_request_gives_no_run(engine):
    assert engine.generate([], SETTINGS) == []


def test_facts_say_what_ran(engine):
    assert json.loads(json.dumps(engine.facts())) == {
        "engine": "vllm",
        "dtype": "float32",
        "device": "cpu",
        "max_num_seqs": 16,
        "max_model_len": 512,
        "enforce_eager": True,
        "tensor_parallel_size": 1,
    }


def test_telemetry_is_off_and_torch_keeps_its_thread_setting(engine):
    from vllm.usage.usage_lib import is_usage_stats_enabled

    assert not is_usage_stats_enabled()
    assert os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] == "0"
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(before + 1)
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)


def test_a_device_that_the_build_does_not_drive_is_an_error(engine, real_manifest):
    with pytest.raises(RuntimeError, match="drives cpu"):
        VllmEngine(real_manifest, EngineConfig(kind="vllm", device="cuda"))


def test_a_missing_model_is_an_error_before_anything_starts(tmp_path, real_manifest):
    facts = json.loads(real_manifest.read_text())
    manifest = tmp_path / "model.json"
    manifest.write_text(json.dumps({**facts, "path": str(tmp_path / "gone")}))
    with pytest.raises(FileNotFoundError, match="fetch"):
        VllmEngine(manifest, EngineConfig(kind="vllm"))


def test_the_memory_share_is_as_configured():
    assert memory_share(EngineConfig(gpu_memory_utilization=0.4), 20.0) == 0.4
