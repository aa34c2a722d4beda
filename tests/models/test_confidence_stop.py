from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tells.config import GenerationConfig
from tells.models.confidence import WindowStop, token_confidence
from tells.models.engines import ConfidenceStop, Generation, Request
from tells.models.engines import hf as hf_module
from tells.models.engines.hf import HfEngine
from tells.models.sampling import derive_seed
from tells.models.spans import decode_tokens
from tells.safety.confidence import first_stop
from tells.safety.confidence import token_confidence as defined_confidence

PREFIX = "Question: What is 12 + 5?\n<think>12 plus 5 makes 17.</think>\n17\n\n"
PROMPTS = [PREFIX + text for text in ("Question: 3 + 4?", "Question: What is 10 + 9?", "Q", "Question: What is 7 + 1?")]
SETTINGS = GenerationConfig(temperature=0.9, max_new_tokens=32)
K = 20


@pytest.fixture(scope="module")
def llama(tiny_manifests):
    from tells.models.loading import load_model

    return load_model(tiny_manifests["llama"], dtype="float32", device="cpu")


@pytest.fixture(scope="module")
def engine(llama) -> HfEngine:
    return HfEngine(llama)


def requests_for(loaded, stop: ConfidenceStop | None = None, samples: int = 3) -> list[Request]:
    return [
        Request(tuple(loaded.tokenizer(text)["input_ids"]), derive_seed(7, place, sample), stop_below=stop)
        for place, text in enumerate(PROMPTS)
        for sample in range(samples)
    ]


@pytest.fixture(scope="module")
def whole(engine, llama) -> list[Generation]:
    runs = engine.generate(requests_for(llama), SETTINGS, top_logprobs=K)
    assert {run.finish_reason for run in runs} == {"stop", "length"}, "both ends are needed here"
    return runs


def confidence_of(run: Generation) -> np.ndarray:
    return defined_confidence(run.topk_logprobs).astype(np.float32).astype(np.float64)


def middle_threshold(runs: list[Generation], window: int) -> float:
    means = [
        np.convolve(confidence_of(run), np.full(window, 1 / window), "valid").min()
        for run in runs
        if len(run.token_ids) >= window
    ]
    return float(np.median(means))


def cut(run: Generation, stop: ConfidenceStop) -> tuple[list[int], str]:
    """What is left of a whole run, by the definition of the stop."""
    at = first_stop(confidence_of(run), threshold=stop.threshold, window=stop.window)
    if at is None or (at == len(run.token_ids) - 1 and run.finish_reason == "stop"):
        return run.token_ids, run.finish_reason
    return run.token_ids[: at + 1], "confidence"


@pytest.mark.parametrize("window", [1, 5, 12])
def test_a_stopped_run_is_the_whole_run_cut_at_its_first_stop(tiny, window):
    engine = HfEngine(tiny, batch_size=5)
    runs = engine.generate(requests_for(tiny), SETTINGS, top_logprobs=K)
    stop = ConfidenceStop(middle_threshold(runs, window), window)
    stopped = engine.generate(requests_for(tiny, stop), SETTINGS, top_logprobs=K)
    expected = [cut(run, stop) for run in runs]
    assert [(run.token_ids, run.finish_reason) for run in stopped] == expected
    assert {"confidence"} < {reason for _, reason in expected}, "some runs must stop and others not"
    for run, other in zip(stopped, runs, strict=True):
        kept = len(run.token_ids)
        assert len(run.token_logprobs) == len(run.topk_logprobs) == kept
        np.testing.assert_allclose(run.topk_logprobs, other.topk_logprobs[:kept], atol=1e-4)
        assert other.text.startswith(run.text.rstrip("\ufffd"))
        assert run.text == decode_tokens(tiny.tokenizer, run.token_ids)[0][: len(run.text)]


@pytest.mark.parametrize("window", [1, 4, 32])
def test_an_infinite_threshold_stops_at_the_last_token_of_the_first_window(engine, llama, whole, window):
    stopped = engine.generate(requests_for(llama, ConfidenceStop(math.inf, window)), SETTINGS)
    for run, other in zip(stopped, whole, strict=True):
        ends_before = len(other.token_ids) < window or (
            len(other.token_ids) == window and other.finish_reason == "stop"
        )
        assert len(run.token_ids) == min(window, len(other.token_ids))
        assert run.finish_reason == (other.finish_reason if ends_before else "confidence")


def test_a_threshold_of_minus_infinity_changes_nothing(engine, llama, whole):
    stopped = engine.generate(requests_for(llama, ConfidenceStop(-math.inf, 4)), SETTINGS, top_logprobs=K)
    assert stopped == whole


def test_a_window_that_no_run_fills_changes_nothing(engine, llama, whole):
    stopped = engine.generate(requests_for(llama, ConfidenceStop(math.inf, 33)), SETTINGS, top_logprobs=K)
    assert stopped == whole


def test_the_mean_must_be_strictly_below_the_threshold(engine, llama):
    request = requests_for(llama)[0]
    alone = engine.generate([request], SETTINGS, top_logprobs=K)[0]
    confidence = confidence_of(alone)
    lowest, at = float(confidence.min()), int(confidence.argmin())
    assert at < len(confidence) - 1

    def tokens(threshold: float) -> int:
        stop = ConfidenceStop(threshold, 1)
        return len(
            engine.generate([Request(request.prompt_token_ids, request.seed, stop_below=stop)], SETTINGS)[0].token_ids
        )

    assert tokens(lowest) == len(alone.token_ids)
    assert tokens(math.nextafter(lowest, math.inf)) == at + 1


def test_the_other_rows_of_the_batch_go_on_as_without(engine, llama, whole):
    requests = requests_for(llama)
    for place in (0, 5):
        request = requests[place]
        requests[place] = Request(request.prompt_token_ids, request.seed, stop_below=ConfidenceStop(math.inf, 3))
    stopped = engine.generate(requests, SETTINGS)
    for place, (run, other) in enumerate(zip(stopped, whole, strict=True)):
        assert run.token_ids == (other.token_ids[:3] if place in (0, 5) else other.token_ids)
        assert run.finish_reason == ("confidence" if place in (0, 5) else other.finish_reason)


def test_each_row_has_its_own_threshold_window_and_k(engine, llama, whole):
    k_of = [2, 5, 20]
    requests, expected = [], []
    for place, (request, run) in enumerate(zip(requests_for(llama), whole, strict=True)):
        k, window = k_of[place % 3], 1 + place % 4
        confidence = defined_confidence(np.asarray(run.topk_logprobs)[:, :k])
        stop = ConfidenceStop(float(np.median(confidence)), window, k)
        requests.append(Request(request.prompt_token_ids, request.seed, stop_below=stop))
        at = first_stop(confidence.astype(np.float32), threshold=stop.threshold, window=window)
        expected.append(len(run.token_ids) if at is None else at + 1)
    assert [len(run.token_ids) for run in engine.generate(requests, SETTINGS)] == expected
    assert len(set(expected)) > 3


@pytest.mark.parametrize("top_logprobs", [0, 5, 20])
def test_what_is_stored_does_not_change_where_a_run_stops(engine, llama, whole, top_logprobs):
    stop = ConfidenceStop(middle_threshold(whole, 4), 4)
    stopped = engine.generate(requests_for(llama, stop), SETTINGS, top_logprobs=top_logprobs)
    assert [(run.token_ids, run.finish_reason) for run in stopped] == [cut(run, stop) for run in whole]
    widths = {len(top) for run in stopped for top in run.topk_logprobs or ()}
    assert widths == ({top_logprobs} if top_logprobs else set())
    assert all((run.topk_logprobs is None) == (top_logprobs == 0) for run in stopped)


def test_the_end_of_sequence_wins_at_the_same_token(engine, llama, whole):
    place = next(place for place, run in enumerate(whole) if run.finish_reason == "stop")
    request, run = requests_for(llama)[place], whole[place]

    def ends(window: int) -> tuple[int, str]:
        stop = ConfidenceStop(math.inf, window)
        again = engine.generate([Request(request.prompt_token_ids, request.seed, stop_below=stop)], SETTINGS)[0]
        return len(again.token_ids), again.finish_reason

    assert ends(len(run.token_ids)) == (len(run.token_ids), "stop")
    assert ends(len(run.token_ids) - 1) == (len(run.token_ids) - 1, "confidence")


def test_a_stop_string_wins_at_the_same_token(engine, llama, whole):
    place = next(place for place, run in enumerate(whole) if len(run.text) > 10)
    request, run = requests_for(llama)[place], whole[place]
    settings = GenerationConfig(temperature=0.9, max_new_tokens=32, stop=(run.text[7:9],))
    ended = engine.generate([request], settings)[0]
    stop = ConfidenceStop(math.inf, len(ended.token_ids))
    again = engine.generate([Request(request.prompt_token_ids, request.seed, stop_below=stop)], settings)[0]
    assert len(ended.token_ids) < 32
    assert (again.token_ids, again.text, again.finish_reason) == (ended.token_ids, ended.text, "stop")


def test_the_limit_of_tokens_loses_at_the_same_token(engine, llama, whole):
    place = next(place for place, run in enumerate(whole) if run.finish_reason == "length")
    request = requests_for(llama)[place]
    stop = ConfidenceStop(math.inf, 32)
    run = engine.generate([Request(request.prompt_token_ids, request.seed, stop_below=stop)], SETTINGS)[0]
    assert (len(run.token_ids), run.finish_reason) == (32, "confidence")


def test_stopped_rows_leave_the_batch(llama, monkeypatch):
    rows: list[int] = []
    run_block = hf_module.run_block

    def counted(model, tokens, *rest):
        rows.append(tokens.shape[0])
        return run_block(model, tokens, *rest)

    monkeypatch.setattr(hf_module, "run_block", counted)
    requests = requests_for(llama, ConfidenceStop(math.inf, 4))
    requests[1] = Request(requests[1].prompt_token_ids, requests[1].seed)
    runs = HfEngine(llama).generate(requests, SETTINGS)
    assert rows[:5] == [12, 12, 12, 12, 1]
    assert len(rows) == len(runs[1].token_ids)


@pytest.mark.parametrize("wrong", [{"threshold": math.nan}, {"window": 0}, {"k": 1}])
def test_a_stop_without_meaning_is_refused(wrong):
    with pytest.raises(ValueError, match="must be"):
        ConfidenceStop(**{"threshold": 1.0, "window": 4, "k": 20, **wrong})


def test_confidence_is_high_where_a_step_is_peaked():
    peaked, uniform = np.log([0.96, 0.01, 0.01, 0.01, 0.01]), np.log(np.full(5, 0.2))
    np.testing.assert_allclose(token_confidence(np.stack([peaked, uniform])), [3.692, 1.609], atol=1e-3)
    assert token_confidence(peaked) == token_confidence(np.stack([peaked, uniform]))[0]


@pytest.mark.parametrize("value", [-math.inf, math.nan])
def test_a_log_probability_that_is_not_finite_is_named_by_its_step(value):
    with pytest.raises(ValueError, match="step 1"):
        token_confidence(np.array([[-1.0, -2.0], [-1.0, value]]))


def test_a_step_without_log_probabilities_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        token_confidence(np.zeros((3, 0)))


def test_many_steps_at_once_give_every_bit_of_one_at_a_time():
    logits = np.random.default_rng(0).normal(0, 6, (400, 260))
    logprobs = (logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)).astype(np.float32)
    top = np.sort(logprobs, axis=1)[:, : -K - 1 : -1]
    assert token_confidence(top).tolist() == [float(token_confidence(row)) for row in top.tolist()]
    assert token_confidence(top).tolist() == defined_confidence(top).astype(np.float32).tolist()


# Confidence with k tokens is at least ln k: below that none can occur.
STORED = st.lists(st.floats(float(np.float32(math.log(2))), 60, width=32), min_size=1, max_size=80)


@given(STORED, st.integers(1, 20), st.data())
def test_token_by_token_a_trace_stops_where_the_stored_confidences_say(confidence, window, data):
    means = [float(np.mean(confidence[at : at + window])) for at in range(len(confidence) - window + 1)]
    threshold = data.draw(st.sampled_from(means) | st.floats(0, 70) if means else st.floats(0, 70))
    stop = WindowStop(threshold, window)
    stopped = next((at for at, value in enumerate(confidence) if stop.add(value)), None)
    assert stopped == first_stop(confidence, threshold=threshold, window=window)
