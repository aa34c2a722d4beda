from __future__ import annotations

import numpy as np
import pytest
import torch

from tells.config import GenerationConfig
from tells.models.engines import Request
from tells.models.engines.hf import HfEngine
from tells.models.replay import Replayed
from tells.models.runs import replay_samples, sample_prompts

pytestmark = pytest.mark.slow

SETTINGS = GenerationConfig(temperature=0.8, max_new_tokens=32, stop=("\n\n",))
POSITIONS = ("prompt_end", "think_end", "answer_end", "answer_mean")


def sampled(real, prompts, *, batch_size: int = 64, samples: int = 2):
    table, facts = sample_prompts(
        prompts,
        HfEngine(real, batch_size=batch_size),
        real.manifest,
        names=("uncertainty", "sums"),
        seed=0,
        samples=samples,
        greedy=True,
        settings=SETTINGS,
        prompt="completion",
        top_logprobs=5,
    )
    assert facts["opened"]
    return table


def replayed(real, table, *, batch_size: int = 32):
    return replay_samples(
        table,
        real,
        shard=0,
        opened=True,
        think_end="</think>",
        layers=(0, 15, 29),
        positions=POSITIONS,
        batch_size=batch_size,
        backend="hf",
    )


@pytest.fixture(scope="module")
def table(real, sums):
    return sampled(real, sums)


@pytest.fixture(scope="module")
def replay_of_table(real, table):
    return replayed(real, table)


def test_greedy_runs_equal_generate(real, sums_ids):
    settings = GenerationConfig(max_new_tokens=16)
    ours = HfEngine(real).generate([Request(ids, 0, True) for ids in sums_ids[:4]], settings)
    for ids, run in zip(sums_ids, ours, strict=False):
        prompt = torch.tensor([ids])
        theirs = real.model.generate(prompt, attention_mask=torch.ones_like(prompt), do_sample=False, max_new_tokens=16)
        assert run.token_ids == theirs[0, len(ids) :].tolist()


def test_the_replay_gives_the_log_probabilities_of_the_engine(table, replay_of_table):
    rows, _ = replay_of_table
    for engine, replay in zip(table["token_logprobs"], rows["token_logprobs"], strict=True):
        np.testing.assert_allclose(replay, engine, atol=1e-3)


def test_entropy_lies_above_what_the_most_likely_tokens_say(table, replay_of_table):
    rows, _ = replay_of_table
    for top, entropy in zip(table["topk_logprobs"], rows["entropy"], strict=True):
        logprobs = np.array(top.to_list())
        assert np.all(-(np.exp(logprobs) * logprobs).sum(1) <= np.array(entropy) + 1e-3)


def test_another_batch_or_shard_size_gives_the_same_tokens(real, sums, table):
    other = sampled(real, sums, batch_size=5)
    assert other["token_ids"].to_list() == table["token_ids"].to_list()
    shards = [sampled(real, sums[start : start + 5]) for start in range(0, sums.height, 5)]
    assert [ids for shard in shards for ids in shard["token_ids"].to_list()] == table["token_ids"].to_list()


def test_the_samples_of_a_question_differ(table):
    drawn = table.filter(~table["greedy"])
    assert drawn["text"].n_unique() > drawn.height / 2


def test_sampling_again_gives_the_same_bits(real, sums, table):
    assert sampled(real, sums).equals(table)


def test_replaying_again_gives_the_same_bits(real, table, replay_of_table):
    rows, tensors = replay_of_table
    again_rows, again = replayed(real, table)
    assert again_rows.equals(rows)
    assert_equal_bits(again, tensors)


def test_another_batch_size_of_the_replay_changes_rounding_alone(real, table, replay_of_table):
    rows, tensors = replay_of_table
    other_rows, other = replayed(real, table, batch_size=7)
    assert np.array_equal(other.valid, tensors.valid)
    for name in ("entropy", "token_logprobs", "confidence"):
        np.testing.assert_allclose(
            rows[name].explode().to_numpy(), other_rows[name].explode().to_numpy(), atol=1e-3, err_msg=name
        )
    scale = np.abs(tensors.hidden.astype(np.float32)).max(axis=-1, keepdims=True)
    difference = np.abs(other.hidden.astype(np.float32) - tensors.hidden.astype(np.float32))
    assert np.all(difference <= 2e-3 * scale)


def assert_equal_bits(one: Replayed, other: Replayed) -> None:
    assert one.hidden.dtype == other.hidden.dtype
    assert one.hidden.tobytes() == other.hidden.tobytes()
    assert one.valid.tobytes() == other.valid.tobytes()
    for name in ("entropy", "token_logprobs", "confidence"):
        for left, right in zip(getattr(one, name), getattr(other, name), strict=True):
            assert left.tobytes() == right.tobytes(), name
