from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from tells.models.hooks import capture, find_blocks, resolve_layers
from tells.models.replay import ReplayRow, replay, window_of
from tells.models.spans import Spans, decode_tokens, find_spans

POSITIONS = ("prompt_end", "think_end", "answer_end", "answer_mean", "think_mean", "response[:4]")
PREFIX = "Question: What is 12 + 5?\n<think>12 plus 5 makes 17.</think>\n17\n\n"
RUNS = [
    ("Question: 3 + 4?\n<think>", "3 plus 4 makes 7.</think>\n\\boxed{7}"),
    ("Question: 3 + 4?\n<think>", "It is 8</think>\n\\boxed{8}"),
    ("Question: What is 10 + 9?\n<think>", "ten</think> 19"),
    ("Question: What is 10 + 9?\n<think>", "cut off before the ta"),
    ("Q\n<think>", "x</think>"),
]


def rows_for(tokenizer) -> list[ReplayRow]:
    rows = []
    for prompt, generated in RUNS:
        token_ids = tuple(tokenizer(generated)["input_ids"])
        text, ends = decode_tokens(tokenizer, token_ids)
        spans = find_spans(text, ends, text_length=len(text), think_end="</think>")
        rows.append(ReplayRow(tuple(tokenizer(PREFIX + prompt)["input_ids"]), token_ids, spans, len(token_ids)))
    return rows


def plain_pass(loaded, row: ReplayRow) -> tuple[torch.Tensor, torch.Tensor]:
    """Block outputs [layers, tokens, width] and log-probabilities [tokens, vocabulary] without any of our machinery."""
    blocks, kept, handles = find_blocks(loaded.model), [], []
    for block in blocks:
        handles.append(block.register_forward_hook(lambda m, i, o: kept.append(o if torch.is_tensor(o) else o[0])))
    with torch.no_grad():
        logits = loaded.model(torch.tensor([row.prompt_token_ids + row.token_ids]), use_cache=False).logits[0]
    for handle in handles:
        handle.remove()
    first = len(row.prompt_token_ids) - 1
    return torch.cat(kept)[:, first:], torch.log_softmax(logits[first:-1].float(), -1)


@pytest.mark.parametrize("backend", ["hf", "nnsight"])
@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_replay_equals_the_plain_forward_pass(tiny, backend, batch_size):
    rows = rows_for(tiny.tokenizer)
    result = replay(tiny, rows, layers=range(4), positions=POSITIONS, batch_size=batch_size, backend=backend)
    for place, row in enumerate(rows):
        states, logprobs = plain_pass(tiny, row)
        np.testing.assert_allclose(result.entropy[place], -(logprobs.exp() * logprobs).sum(-1), atol=1e-4)
        chosen = logprobs.gather(1, torch.tensor(row.token_ids)[:, None])[:, 0]
        np.testing.assert_allclose(result.token_logprobs[place], chosen, atol=1e-4)
        np.testing.assert_allclose(result.confidence[place], -logprobs.topk(20).values.mean(-1), atol=1e-4)
        for index, position in enumerate(POSITIONS):
            window = window_of(position, row)
            assert bool(result.valid[place, index]) == (window is not None)
            if window is None:
                assert not result.hidden[place, :, index].any()
            else:
                expected = states[:, window[0] : window[1]].mean(1)
                np.testing.assert_allclose(result.hidden[place, :, index], expected, rtol=2e-3, atol=2e-3)


def test_the_two_backends_agree_to_a_ten_thousandth(tiny):
    rows = rows_for(tiny.tokenizer)
    hooks, nnsight = (
        replay(tiny, rows, layers=[0, 3], positions=POSITIONS, batch_size=3, backend=backend)
        for backend in ("hf", "nnsight")
    )
    np.testing.assert_allclose(hooks.hidden, nnsight.hidden, atol=1e-4)
    np.testing.assert_allclose(np.concatenate(hooks.entropy), np.concatenate(nnsight.entropy), atol=1e-4)


def test_a_token_after_a_position_does_not_change_its_vector(tiny):
    row = rows_for(tiny.tokenizer)[0]
    changed = dataclasses.replace(row, token_ids=(*row.token_ids[:-1], row.token_ids[-1] - 1))
    one, other = replay(tiny, [row, changed], layers=[3], positions=POSITIONS, batch_size=2).hidden
    for position in ("prompt_end", "think_end", "think_mean", "response[:4]"):
        index = POSITIONS.index(position)
        np.testing.assert_allclose(one[:, index], other[:, index], atol=2e-3)
    assert np.abs(one[:, 2] - other[:, 2]).max() > 0.01


def test_a_run_cut_before_the_tag_has_no_think_end(tiny):
    rows = rows_for(tiny.tokenizer)
    result = replay(tiny, rows, layers=[0], positions=("think_end", "answer_mean", "think_mean"))
    assert result.valid[3].tolist() == [0, 0, 1]
    assert result.valid[4].tolist() == [1, 0, 1]


def test_states_too_large_for_float16_are_stored_in_float32(tiny):
    rows = rows_for(tiny.tokenizer)[:1]
    assert replay(tiny, rows, layers=[1], positions=("prompt_end",)).hidden.dtype == np.float16
    block = find_blocks(tiny.model)[1]
    handle = block.register_forward_hook(lambda module, inputs, output: output * 1e6)
    try:
        large = replay(tiny, rows, layers=[1], positions=("prompt_end",)).hidden
    finally:
        handle.remove()
    assert large.dtype == np.float32
    assert np.abs(large).max() > 6e4


def test_no_hook_stays_after_an_error(tiny):
    def fail() -> None:
        with capture(tiny.model, [0]):
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert not any(block._forward_hooks for block in find_blocks(tiny.model))


def test_layers_out_of_range_are_an_error():
    assert resolve_layers([0, -1], 4) == [0, 3]
    with pytest.raises(ValueError, match="4 blocks"):
        resolve_layers([4], 4)
    with pytest.raises(ValueError, match="once"):
        resolve_layers([3, -1], 4)


def test_spans_are_found_through_text(tiny):
    text = "a b</think>\n\\boxed{7}\n\nQuestion"
    token_ids = tiny.tokenizer(text)["input_ids"]
    whole, ends = decode_tokens(tiny.tokenizer, token_ids)
    assert whole == text
    spans = find_spans(whole, ends, text_length=text.index("\n\n"), think_end="</think>")
    assert spans == Spans(think=(0, 3), tag_last=10, answer=(12, 21))


def test_a_character_of_several_bytes_belongs_to_the_token_that_completes_it(tiny):
    token_ids = tiny.tokenizer("é!")["input_ids"]
    assert decode_tokens(tiny.tokenizer, token_ids) == ("é!", [0, 1, 2])


@pytest.mark.parametrize(
    ("text", "opened", "expected"),
    [
        ("no tag at all", False, Spans(None, None, (0, 13))),
        ("no tag at all", True, Spans((0, 13), None, None)),
        ("<think>ab</think>c", False, Spans((7, 9), 16, (17, 18))),
        ("<think>cut", False, Spans((7, 10), None, None)),
        ("ab</think>c", False, Spans((0, 2), 9, (10, 11))),
        ("</think>", True, Spans(None, 7, None)),
    ],
)
def test_spans_with_and_without_an_opened_tag(text, opened, expected):
    ends = list(range(1, len(text) + 1))
    assert find_spans(text, ends, text_length=len(text), think_end="</think>", opened=opened) == expected
