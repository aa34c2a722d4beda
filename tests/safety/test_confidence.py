"""Confidence: worked values, orientation, edges, and batches that agree with single traces."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tells.safety.confidence import (
    KINDS,
    batch_trace_confidence,
    first_stop,
    group_confidence,
    linear_quantile,
    stop_threshold,
    token_confidence,
    trace_confidence,
)

PEAKED = np.log([0.96, 0.01, 0.01, 0.01, 0.01])
UNIFORM = np.log([0.2] * 5)
VALUES = st.lists(st.floats(0, 20), min_size=1, max_size=60)
WINDOWS = st.integers(1, 70)


def test_a_peaked_step_is_confident_and_a_uniform_one_is_not():
    peaked, uniform = token_confidence([PEAKED, UNIFORM])
    assert peaked == pytest.approx(3.692, abs=5e-4)
    assert uniform == pytest.approx(1.609, abs=5e-4)
    assert peaked > uniform


def test_confidence_is_not_the_surprisal_of_the_chosen_token():
    # The likely token's surprisal is small where confidence is large: the orders are opposite.
    surprisal = -np.array([PEAKED[0], UNIFORM[0]])
    confidence = token_confidence([PEAKED, UNIFORM])
    assert surprisal[0] < surprisal[1]
    assert confidence[0] > confidence[1]


def test_log_probabilities_are_not_renormalised():
    assert token_confidence(np.log([[0.5, 0.1]]))[0] == pytest.approx(-(np.log(0.5) + np.log(0.1)) / 2)


def test_the_order_of_the_k_does_not_matter_and_float32_is_summed_in_double():
    topk = np.log(np.random.default_rng(0).dirichlet(np.ones(20), size=50)).astype(np.float32)
    expected = -topk.astype(np.float64).mean(axis=1)
    assert token_confidence(topk) == pytest.approx(expected, abs=1e-12)
    assert token_confidence(topk[:, ::-1].copy()) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("bad", [-np.inf, np.nan, np.inf])
def test_what_is_not_finite_is_refused_by_its_step(bad: float):
    topk = np.full((7, 4), -2.0)
    topk[5, 2] = bad
    with pytest.raises(ValueError, match="step 5"):
        token_confidence(topk)
    confidence = [1.0, 2.0, bad]
    for call in (
        lambda: group_confidence(confidence, 2),
        lambda: trace_confidence(confidence, "mean", window=2),
        lambda: first_stop(confidence, threshold=1.0, window=2),
    ):
        with pytest.raises(ValueError, match="step 2"):
            call()


def test_a_bad_step_is_named_beyond_the_first_piece_of_a_long_input():
    topk = np.full((120_000, 20), -2.0, dtype=np.float32)
    topk[110_001, 3] = np.nan
    with pytest.raises(ValueError, match="step 110001"):
        token_confidence(topk)


def test_k_is_exact():
    with pytest.raises(ValueError, match="step 1 has 3 log-probabilities, not k = 2"):
        token_confidence([[-1.0, -2.0], [-1.0, -2.0, -3.0]])
    for topk in ([[-1.0, -2.0]], np.array([[-1.0, -2.0]])):
        with pytest.raises(ValueError, match="step 0 has 2 log-probabilities, not k = 20"):
            token_confidence(topk, k=20)
    with pytest.raises(ValueError, match="at least 2"):
        token_confidence([[-1.0]])


def test_probabilities_are_refused():
    with pytest.raises(ValueError, match=r"step 1: log-probability 0\.96 is above 0"):
        token_confidence([[-1.0, -2.0], [0.96, -0.1]])


def test_an_empty_trace_has_no_confidence():
    assert token_confidence([]).shape == (0,)
    assert token_confidence(np.zeros((0, 20)), k=20).shape == (0,)
    assert group_confidence([], 32).shape == (0,)
    assert all(trace_confidence([], kind, window=32) is None for kind in KINDS)
    assert first_stop([], threshold=1.0, window=1) is None


def test_groups_are_means_of_every_window():
    assert group_confidence([1, 2, 3, 4], 2).tolist() == [1.5, 2.5, 3.5]


def test_a_trace_shorter_than_the_window_has_one_group():
    assert group_confidence([1.0, 2.0, 6.0], 32).tolist() == [3.0]
    assert {trace_confidence([1.0, 2.0, 6.0], kind, window=32) for kind in KINDS} == {3.0}
    assert group_confidence([1.0, 2.0, 6.0], 3).tolist() == [3.0]


def test_the_kinds_of_a_worked_trace():
    confidence = [8.0, 2.0, 4.0, 6.0, 10.0]
    assert trace_confidence(confidence, "mean", window=2) == 6.0
    assert trace_confidence(confidence, "lowest", window=2) == 3.0
    # Groups 5, 3, 5, 8: half of them are 3 and 5.
    assert trace_confidence(confidence, "bottom", window=2, fraction=0.5) == 4.0
    # A share under one group is one group.
    assert trace_confidence(confidence, "bottom", window=2, fraction=0.1) == 3.0
    assert trace_confidence(confidence, "tail", window=2) == 8.0
    assert trace_confidence(confidence, "tail", window=9) == 6.0


def test_bottom_reads_the_floor_of_the_share_without_rounding_noise():
    # 0.29 · 100 is 28.999… in floating point, and 29 groups all the same.
    confidence = np.arange(100.0)
    assert trace_confidence(confidence, "bottom", window=1, fraction=0.29) == pytest.approx(14.0)
    assert trace_confidence(confidence[:99], "bottom", window=1, fraction=0.29) == pytest.approx(13.5)


def test_unknown_kinds_windows_and_fractions_are_refused():
    with pytest.raises(ValueError, match="kind 'worst'"):
        trace_confidence([1.0], "worst", window=1)
    with pytest.raises(ValueError, match="window must be at least 1"):
        trace_confidence([1.0], "mean", window=0)
    with pytest.raises(ValueError, match="window must be at least 1"):
        group_confidence([1.0], 0)
    for fraction in (0.0, 1.5):
        with pytest.raises(ValueError, match="fraction"):
            trace_confidence([1.0], "bottom", window=1, fraction=fraction)


@given(VALUES)
def test_groups_of_one_token_are_the_tokens(values: list[float]):
    assert group_confidence(values, 1).tolist() == values


@given(VALUES, WINDOWS, st.floats(0.01, 1.0))
def test_lowest_is_at_most_bottom_is_at_most_the_mean_of_groups(values: list[float], window: int, fraction: float):
    lowest = trace_confidence(values, "lowest", window=window)
    bottom = trace_confidence(values, "bottom", window=window, fraction=fraction)
    assert lowest <= bottom <= group_confidence(values, window).mean() + 1e-9


@given(VALUES, WINDOWS)
def test_groups_lie_between_the_extremes_and_number_as_the_windows_do(values: list[float], window: int):
    groups = group_confidence(values, window)
    assert len(groups) == max(1, len(values) - window + 1)
    assert groups.min() >= min(values) - 1e-9
    assert groups.max() <= max(values) + 1e-9


@given(VALUES, WINDOWS, st.integers(1, 60))
def test_a_window_gives_the_same_number_however_much_of_the_trace_is_there(
    values: list[float], window: int, known: int
):
    part = values[:known]
    if len(part) >= window:
        groups = group_confidence(part, window)
        assert groups.tolist() == group_confidence(values, window)[: len(groups)].tolist()
        assert group_confidence(part[-window:], window)[0] == groups[-1]


@given(st.lists(st.lists(st.floats(0, 20), max_size=40), min_size=1, max_size=8), WINDOWS, st.floats(0.01, 1.0))
def test_batches_agree_with_traces_alone(traces: list[list[float]], window: int, fraction: float):
    flat = np.array([value for trace in traces for value in trace])
    found = batch_trace_confidence(flat, [len(trace) for trace in traces], window=window, fraction=fraction)
    for index, trace in enumerate(traces):
        for kind in KINDS:
            alone = trace_confidence(trace, kind, window=window, fraction=fraction)
            value = found[kind][index]
            assert np.isnan(value) if alone is None else value == pytest.approx(alone, abs=1e-12)
            if kind == "lowest" and trace:
                assert value == group_confidence(trace, window).min()


def test_batches_of_many_uneven_traces_keep_their_order():
    generator = np.random.default_rng(0)
    lengths = generator.integers(0, 90, 3000)
    flat = generator.random(lengths.sum())
    found = batch_trace_confidence(flat, lengths, window=32)
    parts = np.split(flat, np.cumsum(lengths)[:-1])
    for index in range(0, 3000, 101):
        if lengths[index]:
            assert found["lowest"][index] == trace_confidence(parts[index], "lowest", window=32)
            assert found["mean"][index] == pytest.approx(parts[index].mean())
    assert np.isnan(found["tail"]).tolist() == (lengths == 0).tolist()


def test_lengths_must_add_up():
    with pytest.raises(ValueError, match="lengths add up to 3 tokens, but there are 4"):
        batch_trace_confidence([1.0] * 4, [1, 2], window=1)


def test_a_threshold_is_the_percentile_that_leaves_the_share_to_keep():
    warmup = [3.0, 1.0, 2.0]
    assert stop_threshold(warmup, keep=0.5) == 2.0
    # Percentile 90 of three values stands at place 1.8, percentile 10 at 0.2.
    assert stop_threshold(warmup, keep=0.1) == pytest.approx(2.8)
    assert stop_threshold(warmup, keep=0.9) == pytest.approx(1.2)
    assert stop_threshold([4.0], keep=0.1) == 4.0


@given(st.lists(st.floats(0, 20), min_size=1, max_size=30), st.floats(0.01, 0.99))
def test_a_threshold_is_numpys_linear_percentile(warmup: list[float], keep: float):
    assert stop_threshold(warmup, keep=keep) == pytest.approx(np.percentile(warmup, 100 * (1 - keep)), abs=1e-6)


def test_a_quantile_that_falls_on_a_value_is_that_value():
    values = np.arange(101) / 3
    assert linear_quantile(values, 0.07) == values[7]
    assert linear_quantile(values, 1 - 0.7) == values[30]


def test_strict_thresholds_are_higher_than_lenient_ones():
    warmup = [3.0, 1.0, 2.0, 5.0]
    assert stop_threshold(warmup, keep=0.1) > stop_threshold(warmup, keep=0.9)


def test_thresholds_need_a_warm_up_and_a_share():
    with pytest.raises(ValueError, match="no values"):
        stop_threshold([], keep=0.1)
    with pytest.raises(ValueError, match="step 1"):
        stop_threshold([1.0, None], keep=0.1)
    for keep in (0.0, 1.0):
        with pytest.raises(ValueError, match="keep"):
            stop_threshold([1.0], keep=keep)
    with pytest.raises(ValueError, match="threshold must be finite"):
        first_stop([1.0], threshold=np.nan, window=1)


def test_a_trace_stops_at_the_last_token_of_the_first_window_below():
    confidence = [5.0, 5.0, 5.0, 1.0, 1.0, 5.0]
    # Windows of two end at tokens 1 to 5: 5, 5, 3, 1, 3.
    assert first_stop(confidence, threshold=3.5, window=2) == 3
    assert first_stop(confidence, threshold=2.0, window=2) == 4
    assert first_stop(confidence, threshold=2.0, window=1) == 3


def test_only_what_is_strictly_below_stops():
    assert first_stop([3.0, 3.0, 3.0], threshold=3.0, window=2) is None
    assert first_stop([3.0, 3.0, 3.0], threshold=np.nextafter(3.0, 4.0), window=2) == 1


def test_only_full_windows_stop():
    assert first_stop([0.0] * 31, threshold=1.0, window=32) is None
    assert first_stop([0.0] * 32, threshold=1.0, window=32) == 31


@given(st.floats(0.1, 20), st.integers(1, 40), WINDOWS)
def test_a_constant_trace_never_falls_below_its_own_lowest_group(value: float, tokens: int, window: int):
    trace = [value] * tokens
    lowest = trace_confidence(trace, "lowest", window=window)
    assert first_stop(trace, threshold=lowest, window=window) is None


@given(VALUES, WINDOWS, st.floats(0, 20))
def test_what_stops_a_trace_does_not_depend_on_what_would_follow(values: list[float], window: int, threshold: float):
    stop = first_stop(values, threshold=threshold, window=window)
    if stop is None:
        assert len(values) < window or min(group_confidence(values, window)) >= threshold
    else:
        assert first_stop(values[: stop + 1], threshold=threshold, window=window) == stop
        assert first_stop(values[:stop], threshold=threshold, window=window) is None


def test_confidence_loads_without_torch():
    code = "import sys, tells.safety.confidence, tells.safety.traces; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
