"""A model on plain lists of texts, against its own forward pass and its own generation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tells.models.engines.base import Steering
from tells.models.hooks import capture, steer
from tells.models.loading import LoadedModel, load_model
from tells.models.texts import continue_texts, mean_norms, mean_states

TEXTS = ["I like tea.", "No", "A rather longer text than the others"]


@pytest.fixture(scope="module")
def llama(tiny_manifests: dict[str, Path]) -> LoadedModel:
    return load_model(tiny_manifests["llama"], dtype="float32", device="cpu")


def states_of(loaded: LoadedModel, text: str) -> np.ndarray:
    """[layers, tokens but the first, width] by a plain forward pass."""
    token_ids = torch.tensor([loaded.tokenizer(text)["input_ids"]])
    with torch.inference_mode(), capture(loaded.model, range(4)) as outputs:
        loaded.model(token_ids)
    return torch.stack([outputs[layer][0, 1:] for layer in range(4)]).numpy()


def steering(loaded: LoadedModel, coefficient: float, *, layer: int = 1, seed: int = 0) -> Steering:
    vector = np.random.default_rng(seed).normal(size=loaded.model.config.hidden_size).astype(np.float32)
    return Steering(layer, vector / np.linalg.norm(vector), coefficient)


def test_mean_states_are_those_of_all_tokens_but_the_first(tiny: LoadedModel):
    found = mean_states(tiny, TEXTS, batch_size=2)
    assert found.shape == (3, 4, tiny.model.config.hidden_size)
    assert found.dtype == np.float32
    for text, states in zip(TEXTS, found, strict=True):
        expected = states_of(tiny, text).mean(axis=1)
        assert states == pytest.approx(expected, abs=2e-3 * float(np.abs(expected).max()))


def test_mean_norms_weigh_every_token_of_every_text_alike(tiny: LoadedModel):
    norms = mean_norms(tiny, TEXTS, batch_size=2)
    joined = np.concatenate([np.linalg.norm(states_of(tiny, text), axis=-1) for text in TEXTS], axis=1)
    assert norms == {layer: pytest.approx(float(joined[layer].mean()), rel=1e-4) for layer in range(4)}


@pytest.mark.parametrize("text", ["", "x"])
def test_a_text_without_two_tokens_cannot_be_read(llama: LoadedModel, text: str):
    for read in (mean_states, mean_norms):
        with pytest.raises(ValueError, match="too short to be read"):
            read(llama, ["long enough", text])


def test_continuations_are_those_of_greedy_generation(tiny: LoadedModel):
    found = continue_texts(tiny, TEXTS, max_new_tokens=5, temperature=0.0, batch_size=2)
    for text, continuation in zip(TEXTS, found, strict=True):
        token_ids = torch.tensor([tiny.tokenizer(text)["input_ids"]])
        with torch.inference_mode():
            expected = tiny.model.generate(token_ids, max_new_tokens=5, do_sample=False, pad_token_id=0)
        own = tiny.tokenizer.decode(expected[0, token_ids.shape[1] :], skip_special_tokens=True)
        # A character that the limit cuts in two is left out.
        assert own.rstrip("\N{REPLACEMENT CHARACTER}") == continuation.rstrip("\N{REPLACEMENT CHARACTER}")


def test_one_steering_is_for_all_texts_and_a_list_for_each(llama: LoadedModel):
    strong, other = steering(llama, 300.0), steering(llama, 300.0, layer=2, seed=1)
    plain = continue_texts(llama, TEXTS)
    steered = continue_texts(llama, TEXTS, steering=strong)
    mixed = continue_texts(llama, TEXTS, steering=[strong, None, other], batch_size=2)
    assert mixed[:2] == [steered[0], plain[1]]
    assert mixed[2] not in (steered[2], plain[2])
    assert all(a != b for a, b in zip(plain, steered, strict=True))
    assert continue_texts(llama, TEXTS, steering=steering(llama, 0.0)) == plain


def test_steering_is_that_of_the_hook(llama: LoadedModel):
    strong = steering(llama, 40.0)
    (found,) = continue_texts(llama, TEXTS[:1], steering=strong, max_new_tokens=6, temperature=0.0)
    token_ids = torch.tensor([llama.tokenizer(TEXTS[0])["input_ids"]])
    with torch.inference_mode(), steer(llama.model, strong.layer, strong.vector, strong.coefficient):
        tokens = llama.model.generate(token_ids, max_new_tokens=6, do_sample=False, pad_token_id=0)
    own = llama.tokenizer.decode(tokens[0, token_ids.shape[1] :], skip_special_tokens=True)
    assert own.rstrip("\N{REPLACEMENT CHARACTER}") == found.rstrip("\N{REPLACEMENT CHARACTER}")


def test_there_must_be_as_many_steerings_as_texts(llama: LoadedModel):
    with pytest.raises(ValueError, match="zip"):
        continue_texts(llama, TEXTS, steering=[None])


def test_the_seed_and_the_place_decide_and_the_batch_does_not(llama: LoadedModel):
    same = ["I say"] * 4
    found = continue_texts(llama, same, seed=3)
    assert found == continue_texts(llama, same, seed=3, batch_size=1)
    assert len(set(found)) > 1
    assert found != continue_texts(llama, same, seed=4)


def test_a_stop_string_ends_a_continuation_and_is_no_part_of_it(llama: LoadedModel):
    full = continue_texts(llama, ["Tell me"] * 6, seed=1)
    letter = next(letter for text in full for letter in text[1:] if letter.isascii())
    cut = continue_texts(llama, ["Tell me"] * 6, seed=1, stop=[letter])
    assert cut == [text.partition(letter)[0] for text in full]
    assert cut != full


def test_no_texts_have_no_states_and_no_continuations(llama: LoadedModel):
    assert continue_texts(llama, []) == []
    assert mean_states(llama, []).shape == (0, 4, llama.model.config.hidden_size)
