from __future__ import annotations

import numpy as np
import pytest
import torch

from tells.config import GenerationConfig
from tells.models.engines import Request
from tells.models.engines.hf import HfEngine
from tells.models.forward import even_size, halve_on_memory_error
from tells.models.sampling import choose_tokens, derive_seed

PREFIX = "Question: What is 12 + 5?\n<think>12 plus 5 makes 17.</think>\n17\n\n"
PROMPTS = [PREFIX + text for text in ("Question: 3 + 4?", "Question: What is 10 + 9?", "Q", "Question: What is 7 + 1?")]


def requests_for(tiny, samples: int = 2, greedy: bool = False) -> list[Request]:
    ids = [tuple(tiny.tokenizer(text)["input_ids"]) for text in PROMPTS]
    return [
        Request(prompt, derive_seed(7, place, sample), greedy)
        for place, prompt in enumerate(ids)
        for sample in range(samples)
    ]


def test_greedy_runs_equal_generate(tiny):
    settings = GenerationConfig(temperature=1.0, max_new_tokens=24)
    ours = HfEngine(tiny, batch_size=3).generate(requests_for(tiny, 1, greedy=True), settings, top_logprobs=5)
    for text, run in zip(PROMPTS, ours, strict=True):
        ids = tiny.tokenizer(text, return_tensors="pt")
        theirs = tiny.model.generate(
            **ids, do_sample=False, max_new_tokens=24, output_logits=True, return_dict_in_generate=True
        )
        expected = theirs.sequences[0, ids["input_ids"].shape[1] :].tolist()
        assert run.token_ids == expected
        logprobs = torch.log_softmax(torch.stack(theirs.logits)[:, 0].float(), -1)
        chosen = logprobs.gather(1, torch.tensor(expected)[:, None])[:, 0]
        np.testing.assert_allclose(run.token_logprobs, chosen, atol=1e-4)
        np.testing.assert_allclose(run.topk_logprobs, logprobs.topk(5).values, atol=1e-4)


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_the_batch_size_changes_no_token(tiny, batch_size):
    settings = GenerationConfig(temperature=0.8, max_new_tokens=24)
    runs = requests_for(tiny)
    reference = HfEngine(tiny, batch_size=5).generate(runs, settings)
    other = HfEngine(tiny, batch_size=batch_size).generate(runs, settings)
    assert [run.token_ids for run in reference] == [run.token_ids for run in other]


def test_a_seed_belongs_to_a_run_not_to_its_place(tiny):
    settings = GenerationConfig(temperature=0.8, max_new_tokens=16)
    runs = requests_for(tiny)
    forwards = HfEngine(tiny).generate(runs, settings)
    backwards = HfEngine(tiny).generate(runs[::-1], settings)[::-1]
    assert [run.token_ids for run in forwards] == [run.token_ids for run in backwards]
    assert forwards[0].token_ids != forwards[1].token_ids


def test_a_run_ends_at_its_stop_string_and_the_text_does_not_hold_it(tiny):
    free = HfEngine(tiny).generate(requests_for(tiny, 1, True), GenerationConfig(max_new_tokens=24))
    target = next(run for run in free if len(run.text) > 8 and run.text[5].isascii())
    stop = target.text[5:7]
    stopped = HfEngine(tiny).generate(requests_for(tiny, 1, True), GenerationConfig(max_new_tokens=24, stop=(stop,)))
    run = stopped[free.index(target)]
    assert run.finish_reason == "stop"
    assert run.text == target.text[: target.text.index(stop)]
    assert len(run.token_ids) < len(target.token_ids)
    assert all(stop not in run.text for run in stopped)


def test_a_run_that_meets_the_limit_says_so(tiny):
    run = HfEngine(tiny).generate(requests_for(tiny, 1, True)[:1], GenerationConfig(max_new_tokens=3))[0]
    assert run.finish_reason == "length"
    assert len(run.token_ids) == 3


def test_out_of_memory_halves_the_batch_and_the_size_is_recorded(tiny, monkeypatch):
    import tells.models.engines.hf as module

    whole = module._Batch

    class Limited(whole):
        def __init__(self, loaded, requests, *rest):
            if len(requests) > 2:
                raise torch.OutOfMemoryError("too many rows")
            super().__init__(loaded, requests, *rest)

    runs, settings = requests_for(tiny), GenerationConfig(temperature=0.8, max_new_tokens=8)
    expected = HfEngine(tiny, batch_size=8).generate(runs, settings)
    monkeypatch.setattr(module, "_Batch", Limited)
    engine = HfEngine(tiny, batch_size=8)
    assert [run.token_ids for run in engine.generate(runs, settings)] == [run.token_ids for run in expected]
    assert engine.facts()["batch_size"] == 2


def test_a_row_that_does_not_fit_alone_is_an_error():
    def never(size: int) -> None:
        raise torch.OutOfMemoryError("no")

    with pytest.raises(torch.OutOfMemoryError):
        halve_on_memory_error(never, 8)


@pytest.mark.parametrize(("rows", "largest", "sizes"), [(260, 128, [87, 87, 86]), (128, 128, [128]), (3, 8, [3])])
def test_batches_are_few_and_even(rows: int, largest: int, sizes: list[int]):
    found = []
    while rows:
        found.append(even_size(rows, largest))
        rows -= found[-1]
    assert found == sizes


def test_drawn_tokens_follow_the_distribution():
    logits = torch.randn(1, 700, generator=torch.Generator().manual_seed(0)) * 2
    uniform = torch.arange(0, 20000) / 20000
    rows = logits.expand(20000, -1)
    drawn = choose_tokens(rows, uniform, torch.zeros(20000, dtype=bool), temperature=0.8, top_p=1.0, top_k=0)
    shares = torch.bincount(drawn, minlength=700) / 20000
    np.testing.assert_allclose(shares, torch.softmax(logits[0] / 0.8, -1), atol=2e-4)


@pytest.mark.parametrize(("top_p", "top_k"), [(0.7, 0), (1.0, 5), (0.5, 3)])
def test_nucleus_and_top_k_draw_from_the_renormalised_top_alone(top_p, top_k):
    probabilities = torch.tensor([0.4, 0.25, 0.2, 0.1, 0.03, 0.02])
    uniform = torch.arange(0, 10000) / 10000
    drawn = choose_tokens(
        probabilities.log().expand(10000, -1),
        uniform,
        torch.zeros(10000, dtype=bool),
        temperature=1.0,
        top_p=top_p,
        top_k=top_k,
    )
    limited = torch.where(torch.arange(6) < (top_k or 6), probabilities, torch.zeros(6))
    kept = torch.where(limited.cumsum(0) - limited < top_p, limited, torch.zeros(6))
    np.testing.assert_allclose(torch.bincount(drawn, minlength=6) / 10000, kept / kept.sum(), atol=2e-4)


def test_the_largest_uniform_number_never_draws_an_impossible_token():
    logits = torch.full((1, 300), float("-inf"))
    logits[0, [3, 150]] = 0.0
    top = torch.tensor([np.nextafter(np.float32(1), np.float32(0))])
    assert choose_tokens(logits, top, torch.tensor([False]), temperature=1.0, top_p=1.0, top_k=0).item() == 150
