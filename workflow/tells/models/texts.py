"""A model on plain lists of texts: their states, and their continuations. For notebooks and for small studies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tells.config import GenerationConfig
from tells.models.engines.base import Request, Steering
from tells.models.engines.hf import HfEngine
from tells.models.hooks import find_blocks
from tells.models.loading import LoadedModel
from tells.models.measures import response_norms
from tells.models.replay import ReplayRow, replay
from tells.models.sampling import derive_seed
from tells.models.spans import Spans

_NO_SPANS = Spans(None, None, None)


def mean_states(loaded: LoadedModel, texts: Sequence[str], *, batch_size: int = 32) -> np.ndarray:
    """Mean state of each text at every block.

    Args:
        loaded: the model.
        texts: the mean is over their tokens but the first, which is the beginning-of-sequence token where there is one.
        batch_size: texts per batch.

    Returns:
        [texts, layers, width] float32.

    Raises:
        ValueError: a text has fewer than two tokens.
    """
    rows = [_row(loaded, text) for text in texts]
    layers = range(len(find_blocks(loaded.model)))
    replayed = replay(loaded, rows, layers=list(layers), positions=["response"], batch_size=batch_size)
    return replayed.hidden[:, :, 0].astype(np.float32)


def mean_norms(loaded: LoadedModel, texts: Sequence[str], *, batch_size: int = 32) -> dict[int, float]:
    """Mean norm of the states at every block, over all tokens of all texts but their first: the unit of a ratio."""
    layers = list(range(len(find_blocks(loaded.model))))
    return response_norms(loaded, [_row(loaded, text) for text in texts], layers, batch_size=batch_size)


def continue_texts(
    loaded: LoadedModel,
    texts: Sequence[str],
    *,
    steering: Steering | Sequence[Steering | None] | None = None,
    max_new_tokens: int = 32,
    temperature: float = 0.7,
    stop: Sequence[str] = (),
    seed: int = 0,
    batch_size: int = 32,
) -> list[str]:
    """Continue each text, steered where asked.

    Args:
        loaded: the model.
        texts: beginnings.
        steering: one for all texts, or one (or None) for each.
        max_new_tokens: per text.
        temperature: 0 takes the most likely token.
        stop: strings that end a continuation.
        seed: each text has its own, derived from it and from the text's place.
        batch_size: texts per batch.
    """
    steerings = list(steering) if isinstance(steering, Sequence) else [steering] * len(texts)
    requests = [
        Request(tuple(loaded.tokenizer(text)["input_ids"]), derive_seed(seed, "continue", place), steering=own)
        for place, (text, own) in enumerate(zip(texts, steerings, strict=True))
    ]
    settings = GenerationConfig(temperature=temperature, max_new_tokens=max_new_tokens, stop=tuple(stop))
    return [run.text for run in HfEngine(loaded, batch_size=batch_size).generate(requests, settings)]


def _row(loaded: LoadedModel, text: str) -> ReplayRow:
    token_ids = loaded.tokenizer(text)["input_ids"]
    if len(token_ids) < 2:
        raise ValueError(f"{text!r} is too short to be read: it has {len(token_ids)} token(s)")
    return ReplayRow((token_ids[0],), tuple(token_ids[1:]), _NO_SPANS, len(token_ids) - 1)
