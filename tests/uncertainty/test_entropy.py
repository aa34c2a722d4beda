"""Entropies by worked values, bounds and invariances."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import expm

from tells.uncertainty.entropy import (
    discrete_normalised_entropy,
    discrete_semantic_entropy,
    kernel_language_entropy,
    majority_share,
    miller_madow_correction,
    naive_entropy,
    question_entropies,
    rao_semantic_entropy,
    token_entropy,
    topk_entropy_bounds,
)

IDS = st.lists(st.integers(0, 5), min_size=1, max_size=20)
LIKELIHOODS = st.floats(-2000, 0)


def test_discrete_entropy_of_worked_partitions():
    assert discrete_semantic_entropy([0, 0, 1, 1]) == pytest.approx(math.log(2))
    assert discrete_semantic_entropy([0, 0, 0, 1]) == pytest.approx(0.5623351446)
    assert discrete_semantic_entropy([0, 1, 2]) == pytest.approx(math.log(3))
    assert discrete_semantic_entropy([]) is None
    assert discrete_semantic_entropy([None]) is None
    assert discrete_semantic_entropy([0, None, 1]) == pytest.approx(math.log(2))


def test_one_meaning_has_entropy_plus_zero():
    for entropy in (
        discrete_semantic_entropy([3, 3, 3]),
        rao_semantic_entropy([3, 3], [-1.0, -2.0]),
        naive_entropy([0.0]),
    ):
        assert entropy == 0.0
        assert math.copysign(1, entropy) == 1


def test_normalised_entropy_share_and_correction_of_worked_partitions():
    assert discrete_normalised_entropy([0, 0, 1, 1]) == pytest.approx(0.5)
    assert discrete_normalised_entropy([0, 1, 2]) == pytest.approx(1)
    assert discrete_normalised_entropy([0]) is None
    assert discrete_normalised_entropy([]) is None
    assert majority_share([0, 0, 1, 2]) == 0.5
    assert majority_share([]) is None
    assert miller_madow_correction([0, 0, 1, 2]) == pytest.approx(2 / 8)
    assert miller_madow_correction([0, 0]) == 0.0
    assert miller_madow_correction([]) is None


@given(IDS)
def test_discrete_entropy_lies_between_zero_and_the_logarithm_of_the_number_of_meanings(ids):
    entropy = discrete_semantic_entropy(ids)
    assert 0 <= entropy <= math.log(len(set(ids))) + 1e-12
    assert 1 / len(set(ids)) - 1e-12 <= majority_share(ids) <= 1
    if len(ids) > 1:
        assert 0 <= discrete_normalised_entropy(ids) <= 1


@given(st.lists(st.tuples(st.integers(0, 4), LIKELIHOODS), min_size=1, max_size=15), st.randoms())
def test_neither_the_order_of_samples_nor_the_names_of_clusters_matter(pairs, random):
    shuffled = pairs.copy()
    random.shuffle(shuffled)
    ids, values = zip(*pairs, strict=True)
    other_ids, other_values = zip(*shuffled, strict=True)
    renamed = [100 - 7 * cluster for cluster in other_ids]
    assert discrete_semantic_entropy(ids) == discrete_semantic_entropy(renamed)
    assert rao_semantic_entropy(ids, values) == pytest.approx(rao_semantic_entropy(renamed, other_values), abs=1e-12)
    assert naive_entropy(values) == pytest.approx(naive_entropy(other_values))


def test_rao_entropy_of_a_worked_example():
    # Likelihoods 0.2 + 0.2 for one meaning and 0.4 for the other.
    log = [math.log(0.2), math.log(0.4), math.log(0.2)]
    assert rao_semantic_entropy([0, 1, 0], log) == pytest.approx(math.log(2))
    p = 0.6 / 0.8
    expected = -p * math.log(p) - (1 - p) * math.log(1 - p)
    assert rao_semantic_entropy([0, 0, 1], [math.log(0.2), math.log(0.4), math.log(0.2)]) == pytest.approx(expected)


def test_log_likelihoods_of_minus_two_thousand_are_safe():
    assert rao_semantic_entropy([0, 1], [-2000.0, -2000.0]) == pytest.approx(math.log(2))
    assert rao_semantic_entropy([0, 1], [-2000.0, -1.0]) == 0.0


@given(st.lists(st.tuples(st.integers(0, 4), LIKELIHOODS), min_size=1, max_size=15), st.floats(-50, 50))
def test_rao_entropy_is_bounded_and_blind_to_a_common_shift(pairs, shift):
    ids, values = zip(*pairs, strict=True)
    entropy = rao_semantic_entropy(ids, values)
    assert 0 <= entropy <= math.log(len(set(ids))) + 1e-12
    assert rao_semantic_entropy(ids, [value + shift for value in values]) == pytest.approx(entropy, abs=1e-8)


@given(IDS)
def test_rao_entropy_of_equal_likelihoods_is_the_discrete_one(ids):
    assert rao_semantic_entropy(ids, [-1.5] * len(ids)) == pytest.approx(discrete_semantic_entropy(ids), abs=1e-12)


def test_rao_and_naive_entropy_refuse_what_they_cannot_weigh():
    with pytest.raises(ValueError, match="2 cluster ids but 1"):
        rao_semantic_entropy([0, 1], [-1.0])
    for bad in (math.nan, -math.inf):
        with pytest.raises(ValueError, match="must be finite"):
            rao_semantic_entropy([0], [bad])
        with pytest.raises(ValueError, match="must be finite"):
            naive_entropy([bad])
    assert rao_semantic_entropy([], []) is None


def test_naive_entropy_is_minus_the_mean_log_likelihood():
    assert naive_entropy([-1.0, -2.0, -6.0]) == pytest.approx(3.0)
    assert naive_entropy([]) is None


def _kernel_by_the_letter(e, c, t=0.3):
    n = len(e)
    w = e + e.T + 0.5 * (2 - e - e.T - c - c.T)
    np.fill_diagonal(w, 0)
    h = expm(-t * (np.diag(w.sum(axis=1)) - w))
    k = h / np.sqrt(np.outer(np.diag(h), np.diag(h))) / n
    values = np.linalg.eigvalsh(k)
    return -sum(v * math.log(v) for v in values if v > 0) / math.log(n)


def test_kernel_entropy_of_worked_matrices():
    none = np.zeros((2, 2))
    apart = np.array([[0, 1], [1, 0]])
    # Two answers that contradict each other both ways share no weight: the kernel is the identity over 2.
    assert kernel_language_entropy(none, apart) == pytest.approx(1.0)
    # Two that entail each other: w = 2, off-diagonal kernel (1 - exp(-4t)) / (1 + exp(-4t)).
    k = math.tanh(2 * 0.3)
    p = np.array([(1 + k) / 2, (1 - k) / 2])
    assert kernel_language_entropy(apart, none) == pytest.approx(-(p * np.log(p)).sum() / math.log(2))
    assert kernel_language_entropy(np.zeros((1, 1)), np.zeros((1, 1))) is None
    assert kernel_language_entropy(np.zeros((0, 0)), np.zeros((0, 0))) is None


LABELS = st.integers(2, 6).flatmap(
    lambda n: st.lists(st.integers(0, 2), min_size=n * n, max_size=n * n).map(lambda x: np.array(x).reshape(n, n))
)


@given(LABELS, st.randoms())
def test_kernel_entropy_equals_its_definition_and_ignores_order_and_diagonal(labels, random):
    value = kernel_language_entropy(labels == 2, labels == 0)
    assert value == pytest.approx(_kernel_by_the_letter((labels == 2) * 1.0, (labels == 0) * 1.0), abs=1e-9)
    assert 0 <= value <= 1
    order = list(range(len(labels)))
    random.shuffle(order)
    other = labels[np.ix_(order, order)].copy()
    np.fill_diagonal(other, 0)
    assert kernel_language_entropy(other == 2, other == 0) == pytest.approx(value, abs=1e-9)


def test_kernel_entropy_refuses_what_is_no_pair_of_matrices():
    with pytest.raises(ValueError, match="square"):
        kernel_language_entropy(np.zeros((2, 3)), np.zeros((2, 3)))
    with pytest.raises(ValueError, match="between 0 and 1"):
        kernel_language_entropy(np.full((2, 2), 2), np.zeros((2, 2)))


def test_token_entropy_of_worked_logits():
    assert token_entropy(np.zeros(1000)) == pytest.approx(math.log(1000))
    assert token_entropy(np.array([[0.0, -np.inf], [0.0, 0.0]])) == pytest.approx([0.0, math.log(2)])
    assert token_entropy(np.array([5000.0, 0.0])) == 0.0
    assert token_entropy(np.zeros((2, 3, 8))).shape == (2, 3)
    assert token_entropy(np.zeros((130, 8))) == pytest.approx(np.full(130, math.log(8)))


def test_token_entropy_of_a_zipf_vocabulary_is_the_full_one():
    logits = -np.log(np.arange(1, 151_937))
    assert token_entropy(logits) == pytest.approx(8.21, abs=0.01)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_logits_that_are_not_numbers_are_refused(bad):
    with pytest.raises(ValueError, match="logits hold NaN"):
        token_entropy(np.array([0.0, bad]))
    with pytest.raises(ValueError, match="no finite logit"):
        token_entropy(np.full(3, -np.inf))


def test_token_entropy_of_a_tensor_equals_that_of_an_array():
    torch = pytest.importorskip("torch")
    logits = np.random.default_rng(0).normal(0, 5, (4, 300)).astype(np.float32)
    logits[0, :200] = -np.inf
    entropies = token_entropy(torch.from_numpy(logits))
    assert isinstance(entropies, torch.Tensor)
    assert entropies.numpy() == pytest.approx(token_entropy(logits), abs=1e-5)
    assert token_entropy(torch.tensor([0.0, -math.inf])).item() == 0.0


def test_topk_bounds_of_a_worked_example():
    q = np.array([0.5, 0.25])
    known = -(q * np.log(q)).sum()
    lower, upper = topk_entropy_bounds(np.log(q), 10)
    assert lower == pytest.approx(known - 0.25 * math.log(0.25))
    assert upper == pytest.approx(known + 0.25 * math.log(8 / 0.25))
    assert isinstance(lower, float)
    # A rest smaller than p_k can stand on one token.
    q = np.array([0.6, 0.3])
    lower, _ = topk_entropy_bounds(np.log(q), 10)
    assert lower == pytest.approx(-(q * np.log(q)).sum() - 0.1 * math.log(0.1))


def test_topk_bounds_meet_where_nothing_is_left():
    for logprobs, vocabulary in [(np.log([0.5, 0.5]), 10), (np.log([0.5, 0.5 + 1e-9]), 10), ([0.0, -np.inf], 10)]:
        lower, upper = topk_entropy_bounds(logprobs, vocabulary)
        assert lower == pytest.approx(upper, abs=1e-6)
        assert math.isfinite(lower)
    assert topk_entropy_bounds(np.log([0.5, 0.3]), 2)[0] == topk_entropy_bounds(np.log([0.5, 0.3]), 2)[1]


@given(st.lists(st.floats(-15, 5), min_size=2, max_size=30), st.data())
def test_the_exact_entropy_lies_between_its_topk_bounds(logits, data):
    k = data.draw(st.integers(1, len(logits)))
    x = np.sort(np.array(logits))[::-1]
    logprobs = x - np.log(np.exp(x - x[0]).sum()) - x[0]
    lower, upper = topk_entropy_bounds(logprobs[:k], len(logits))
    assert lower - 1e-9 <= token_entropy(x) <= upper + 1e-9


def test_topk_bounds_of_many_tokens_come_as_arrays():
    lower, upper = topk_entropy_bounds(np.log(np.full((3, 4), 0.2)), 100)
    assert lower.shape == upper.shape == (3,)


@pytest.mark.parametrize("logprobs", [[], [0.0, 0.0, 0.0], [math.nan], [0.5]])
def test_topk_bounds_refuse_what_are_no_probabilities(logprobs):
    with pytest.raises(ValueError, match="log-probabilities"):
        topk_entropy_bounds(logprobs, 2)


def _tables():
    # q1: four sampled answers, a greedy one and a truncated one; q2: nothing valid; q3: two valid runs.
    rows = [
        ("q1", -1, True, False, None, -9.0),
        ("q1", 0, False, False, 0, -1.0),
        ("q1", 1, False, False, 1, -1.0),
        ("q1", 2, False, True, None, None),
        ("q1", 3, False, False, 0, -1.0),
        ("q1", 4, False, False, 1, -1.0),
        ("q2", 0, False, True, None, None),
        ("q2", 1, False, False, None, None),
        ("q3", 0, False, False, 0, -2.0),
        ("q3", 1, False, False, 0, -4.0),
    ]
    names = ["prompt_id", "sample", "greedy", "truncated", "cluster", "mean_log_likelihood"]
    table = pl.DataFrame(rows, schema=names, orient="row").with_columns(group=pl.col("prompt_id") + "-group")
    clusters = table.filter(~pl.col("greedy")).select("prompt_id", "sample", "cluster", method=pl.lit("math"))
    labels = table.select("prompt_id", "group", "sample", "greedy", "truncated")
    return clusters, labels, table.select("prompt_id", "sample", "mean_log_likelihood")


def test_greedy_and_truncated_runs_take_no_part_in_a_question():
    row = question_entropies(*_tables()).row(0, named=True)
    assert (row["prompt_id"], row["group"]) == ("q1", "q1-group")
    assert (row["n_samples"], row["n_truncated"], row["n_no_answer"], row["n_valid"]) == (5, 1, 0, 4)
    assert row["discrete"] == pytest.approx(math.log(2))
    assert row["rao"] == pytest.approx(math.log(2))
    assert row["naive"] == pytest.approx(1.0)
    assert row["mean_log_likelihood"] == pytest.approx(-1.0)
    assert (row["majority_share"], row["n_clusters"], row["miller_madow"]) == (0.5, 2, 0.125)
    assert row["reliable"]
    assert row["kernel_language_entropy"] is None


def test_a_question_without_a_valid_run_has_no_entropy_rather_than_zero():
    row = question_entropies(*_tables()).row(1, named=True)
    assert (row["n_samples"], row["n_truncated"], row["n_no_answer"], row["n_valid"]) == (2, 1, 1, 0)
    assert not row["reliable"]
    for name in ("discrete", "discrete_normalised", "rao", "naive", "majority_share", "miller_madow"):
        assert row[name] is None
    assert row["n_clusters"] == 0


def test_a_question_with_few_valid_runs_keeps_its_value_and_is_not_reliable():
    row = question_entropies(*_tables()).row(2, named=True)
    assert (row["discrete"], row["n_valid"], row["reliable"]) == (0.0, 2, False)
    assert row["naive"] == pytest.approx(3.0)
    assert question_entropies(*_tables(), min_valid=2)["reliable"].to_list() == [True, False, True]


def test_relations_give_the_kernel_entropy_of_the_valid_runs():
    relation = np.full((4, 4), 1, dtype=np.int8)
    table = question_entropies(*_tables(), relations={"q1": relation, "q2": np.zeros((0, 0))})
    assert table["kernel_language_entropy"][0] == pytest.approx(
        _kernel_by_the_letter(np.zeros((4, 4)), np.zeros((4, 4)))
    )
    with pytest.raises(ValueError, match=r"q1: relation of shape \(5, 5\) for 4 valid runs"):
        question_entropies(*_tables(), relations={"q1": np.ones((5, 5))})


def test_without_a_replay_the_likelihood_entropies_are_null():
    clusters, labels, _ = _tables()
    table = question_entropies(clusters, labels, None)
    assert table["rao"].null_count() == table["naive"].null_count() == 3
    assert table["discrete"].null_count() == 1


def test_a_valid_run_missing_from_the_replay_is_an_error():
    clusters, labels, replay = _tables()
    with pytest.raises(ValueError, match="q3, sample 1"):
        question_entropies(clusters, labels, replay.head(len(replay) - 1))


def test_the_order_of_rows_changes_nothing():
    tables = _tables()
    mixed = [table.sample(fraction=1, shuffle=True, seed=3) for table in tables]
    assert question_entropies(*tables).equals(question_entropies(*mixed))


def test_numbers_alone_load_no_model_library():
    modules = "entropy, tells.uncertainty.clustering, tells.uncertainty.splits, tells.uncertainty.threshold"
    code = (
        f"import sys, tells.uncertainty.{modules}, tells.uncertainty.answers; "
        "print([name for name in ('torch', 'transformers', 'sentence_transformers') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
