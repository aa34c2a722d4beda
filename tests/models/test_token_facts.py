from __future__ import annotations

import numpy as np
import pytest
import torch

from tells.models.replay import _facts_of_logits, _token_facts


def exactly(logits: torch.Tensor, targets: torch.Tensor) -> np.ndarray:
    """Entropy, log-probability and confidence in float64; impossible tokens weigh nothing."""
    logprobs = torch.log_softmax(logits.double(), dim=-1)
    entropy = -torch.where(logprobs == -torch.inf, 0.0, logprobs.exp() * logprobs).sum(-1)
    own = logprobs.gather(1, targets[:, None])[:, 0]
    return torch.stack([entropy, own, -logprobs.topk(20).values.mean(-1)]).numpy()


@pytest.mark.parametrize("scale", [0.0, 1.0, 10.0, 100.0])
@pytest.mark.parametrize("shift", [0.0, 1000.0, -1000.0])
def test_entropy_log_probability_and_confidence_are_exact(scale, shift):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(40, 5000, generator=generator) * scale + shift
    targets = torch.randint(0, 5000, (40,), generator=generator)
    expected = exactly(logits, targets)
    np.testing.assert_allclose(_facts_of_logits(logits.clone(), targets), expected, rtol=1e-5, atol=2e-4)


def test_a_uniform_distribution_has_the_entropy_of_the_vocabulary():
    entropy, own, confidence = _facts_of_logits(torch.zeros(1, 49152), torch.tensor([7])).numpy()
    np.testing.assert_allclose([entropy[0], -own[0], confidence[0]], np.log(49152), rtol=1e-6)


def test_impossible_tokens_give_no_nan():
    logits = torch.randn(3, 300, generator=torch.Generator().manual_seed(1))
    logits[:, 100:] = -torch.inf
    targets = torch.tensor([1, 2, 3])
    np.testing.assert_allclose(_facts_of_logits(logits.clone(), targets), exactly(logits, targets), atol=1e-5)


def test_a_certain_token_has_entropy_zero():
    logits = torch.full((1, 300), -200.0)
    logits[0, 5] = 200.0
    entropy, own, _ = _facts_of_logits(logits, torch.tensor([5])).numpy()
    assert (entropy[0], own[0]) == (0.0, 0.0)


@pytest.mark.parametrize("tokens", [1, 15, 16, 17, 256, 300])
def test_every_token_is_counted_whatever_the_pieces(tiny, tokens):
    generator = torch.Generator().manual_seed(2)
    hidden = torch.randn(tokens, tiny.model.config.hidden_size, generator=generator)
    targets = torch.randint(0, tiny.model.config.vocab_size, (tokens,), generator=generator)
    with torch.inference_mode():
        facts = _token_facts(tiny.model, hidden, targets)
        logits = torch.cat([tiny.model.get_output_embeddings()(row[None]) for row in hidden])
        if cap := getattr(tiny.model.config, "final_logit_softcapping", None):
            logits = torch.tanh(logits / cap) * cap
    np.testing.assert_allclose(facts, exactly(logits, targets), atol=1e-4)
