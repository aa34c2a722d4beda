"""Drawing tokens: one uniform number per (run, step), derived from the run's seed alone.

Batch, order and shard therefore change nothing but floating-point noise in the logits.
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch

_BLOCK = 256


def derive_seed(seed: int, *names: str | int) -> int:
    """A 64-bit seed for one purpose, from the experiment's seed and names (stage, collection, prompt, sample)."""
    digest = hashlib.sha256("\x1f".join(map(str, (seed, *names))).encode()).digest()
    return int.from_bytes(digest[:8], "little")


def uniforms(seed: int, count: int) -> np.ndarray:
    """[count] uniform numbers in [0, 1) of one run, float32."""
    return np.random.Generator(np.random.Philox(key=seed)).random(count, dtype=np.float32)


def choose_tokens(
    logits: torch.Tensor, uniform: torch.Tensor, greedy: torch.Tensor, *, temperature: float, top_p: float, top_k: int
) -> torch.Tensor:
    """The next token of each row.

    Args:
        logits: [rows, vocabulary], float32, raw.
        uniform: [rows] in [0, 1).
        greedy: [rows] bool; these rows take the most likely token.
        temperature: divides the logits; 0 makes every row greedy.
        top_p: only the most likely tokens that together hold this much are drawn from.
        top_k: only so many are drawn from; 0 for all.

    Returns:
        [rows] token ids.
    """
    best = logits.argmax(-1)
    if temperature == 0 or bool(greedy.all()):
        return best
    if top_p < 1 or top_k:
        drawn = _draw_from_top(logits / temperature, uniform, top_p, top_k)
    else:
        drawn = _draw((logits - logits.gather(1, best[:, None])).div_(temperature).exp_(), uniform)
    return torch.where(greedy, best, drawn)


def _draw(weights: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
    """Invert the cumulative distribution in two steps: first the block of tokens, then the token in it."""
    rows, vocabulary = weights.shape
    if vocabulary % _BLOCK:
        weights = torch.nn.functional.pad(weights, (0, _BLOCK - vocabulary % _BLOCK))
    blocks = weights.view(rows, -1, _BLOCK)
    cumulative = blocks.sum(-1, dtype=torch.float64).cumsum(-1)
    target = uniform.double()[:, None] * cumulative[:, -1:]
    block = torch.searchsorted(cumulative, target, right=True).clamp(max=cumulative.shape[1] - 1)
    before = torch.where(block > 0, cumulative.gather(1, (block - 1).clamp(min=0)), torch.zeros_like(target))
    within = blocks[torch.arange(rows, device=weights.device), block[:, 0]].double().cumsum(-1)
    token = torch.searchsorted(within, target - before, right=True)
    last_possible = _BLOCK - 1 - (blocks[torch.arange(rows), block[:, 0]].flip(-1) > 0).int().argmax(-1, keepdim=True)
    return (block * _BLOCK + torch.minimum(token, last_possible))[:, 0]


def _draw_from_top(logits: torch.Tensor, uniform: torch.Tensor, top_p: float, top_k: int) -> torch.Tensor:
    probabilities = torch.softmax(logits, dim=-1)
    size = min(top_k or 256, logits.shape[1])
    while True:
        values, tokens = probabilities.topk(size, dim=-1)
        if top_k or size == logits.shape[1] or bool((values.sum(-1) >= top_p).all()):
            break
        size = min(size * 8, logits.shape[1])
    # A token is kept while those before it hold less than top_p: the one that crosses the line stays in.
    kept = torch.where(values.cumsum(-1) - values < top_p, values, torch.zeros_like(values)).double()
    cumulative = kept.cumsum(-1)
    target = uniform.double()[:, None] * cumulative[:, -1:]
    last = (kept > 0).sum(-1, keepdim=True) - 1
    choice = torch.minimum(torch.searchsorted(cumulative, target, right=True), last)
    return tokens.gather(1, choice)[:, 0]
