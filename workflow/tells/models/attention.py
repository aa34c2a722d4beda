"""Attention over a prefix that all rows of a batch share, without a copy of its keys and values for each row.

Few-shot examples or a system prompt are the larger part of most prompts. Their keys and values are computed once
[heads, prefix, width]; each row keeps only its own suffix. A step of decoding scores the queries of all rows against
the prefix in one matrix product per head (the rows' queries side by side), against the suffix row by row, and takes
one softmax over both: the same numbers as attention over the concatenation, up to rounding. Registered with
transformers as the attention implementation `tells`; without a prefix it is plain scaled-dot-product attention, and
it honours soft-capping and sliding windows (Gemma 2).

References:
    Juravsky et al., Hydragen (arXiv 2402.05099); Ye et al., cascade inference (flashinfer.ai/2024/02/02).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass

import torch

from tells.models.transformers_parts import AttentionInterface, AttentionMaskInterface, sdpa_mask

IMPLEMENTATION = "tells"


@dataclass(frozen=True)
class SharedPrefix:
    """Keys and values of a shared prefix.

    Attributes:
        keys: by layer, [heads, prefix, width].
        values: by layer, [heads, prefix, width].
    """

    keys: list[torch.Tensor]
    values: list[torch.Tensor]

    @property
    def length(self) -> int:
        """Tokens of the prefix."""
        return self.keys[0].shape[1]


_active: ContextVar[SharedPrefix | None] = ContextVar("shared_prefix", default=None)


@contextlib.contextmanager
def attend_to(prefix: SharedPrefix | None) -> Iterator[None]:
    """Let every attention of the model in this block also see `prefix`."""
    token = _active.set(prefix)
    try:
        yield
    finally:
        _active.reset(token)


def shared_prefix_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    softcap: float | None = None,
    sliding_window: int | None = None,
    **_: object,
) -> tuple[torch.Tensor, None]:
    """Attention of queries over the active prefix and the given keys.

    Args:
        module: the attention block; its `layer_idx` picks the prefix's layer.
        query: [rows, query heads, queries, width].
        key: [rows, heads, keys, width], without the prefix.
        value: [rows, heads, keys, width].
        attention_mask: [rows, 1, queries, keys] of bool (True: seen), or None for causal.
        dropout: not used; models are in evaluation mode.
        scaling: factor of the scores; 1/sqrt(width) if None.
        softcap: cap of the scores by tanh (Gemma 2).
        sliding_window: queries see at most so many tokens back, themselves included.

    Returns:
        [rows, queries, query heads, width], and None for the weights.
    """
    prefix = _active.get()
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    queries, keys, length = query.shape[2], key.shape[2], prefix.length if prefix else 0
    if sliding_window is not None and keys + length > sliding_window:
        attention_mask = _within_window(attention_mask, query, keys, sliding_window)
    elif sliding_window is not None:
        sliding_window = None
    if prefix is not None and queries == 1 and sliding_window is None:
        output = _decode_step(query, key, value, attention_mask, prefix, module.layer_idx, scaling, softcap)
    else:
        if prefix is not None:
            key, value, attention_mask = _expanded(
                query, key, value, attention_mask, prefix, module.layer_idx, sliding_window
            )
        output = _plain(query, key, value, attention_mask, scaling, softcap)
    return output.transpose(1, 2).contiguous(), None


def _decode_step(query, key, value, mask, prefix, layer, scaling, softcap):  # noqa: ANN001, ANN202
    rows, query_heads, _, width = query.shape
    heads, keys = key.shape[1], key.shape[2]
    group = query_heads // heads
    grouped = query.reshape(rows, heads, group, width)
    side_by_side = grouped.transpose(0, 1).reshape(heads, rows * group, width)
    to_prefix = torch.matmul(side_by_side, prefix.keys[layer].transpose(1, 2))
    to_prefix = to_prefix.view(heads, rows, group, prefix.length).transpose(0, 1)
    to_suffix = torch.matmul(grouped, key.transpose(2, 3))
    scores = torch.cat([to_prefix, to_suffix], dim=-1).float() * scaling
    if softcap is not None:
        scores = torch.tanh(scores / softcap) * softcap
    if mask is not None:
        scores[..., prefix.length :].masked_fill_(~mask, float("-inf"))
    weights = torch.softmax(scores, dim=-1).to(query.dtype)
    from_prefix, from_suffix = weights.split([prefix.length, keys], dim=-1)
    side_by_side = from_prefix.transpose(0, 1).reshape(heads, rows * group, prefix.length)
    output = torch.matmul(side_by_side, prefix.values[layer]).view(heads, rows, group, width).transpose(0, 1)
    return (output + torch.matmul(from_suffix, value)).reshape(rows, query_heads, 1, width)


def _expanded(query, key, value, mask, prefix, layer, sliding_window):  # noqa: ANN001, ANN202
    rows, queries, keys = key.shape[0], query.shape[2], key.shape[2]
    prefix_keys = prefix.keys[layer].unsqueeze(0).expand(rows, -1, -1, -1)
    prefix_values = prefix.values[layer].unsqueeze(0).expand(rows, -1, -1, -1)
    if mask is None:
        mask = _causal(queries, keys, query.device).expand(rows, 1, queries, keys)
    seen = mask.new_ones(rows, 1, queries, prefix.length)
    if sliding_window is not None:
        # Distances count the tokens that a row really has: padding between prefix and suffix takes no place.
        own = mask.sum(-1, keepdim=True)
        distance_to_suffix = torch.arange(prefix.length, 0, -1, device=mask.device) - 1
        seen = (own + distance_to_suffix) < sliding_window
    return (
        torch.cat([prefix_keys, key], dim=2),
        torch.cat([prefix_values, value], dim=2),
        torch.cat([seen.expand(rows, 1, queries, prefix.length), mask], dim=-1),
    )


def _plain(query, key, value, mask, scaling, softcap):  # noqa: ANN001, ANN202
    if softcap is None:
        causal = mask is None and query.shape[2] > 1
        if causal and key.shape[2] > query.shape[2]:
            mask, causal = _causal(query.shape[2], key.shape[2], query.device), False
        return torch.nn.functional.scaled_dot_product_attention(
            query, key, value, attn_mask=mask, scale=scaling, is_causal=causal, enable_gqa=True
        )
    group = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(group, 1), value.repeat_interleave(group, 1)
    scores = torch.matmul(query, key.transpose(2, 3)).float() * scaling
    scores = torch.tanh(scores / softcap) * softcap
    if mask is None:
        mask = _causal(query.shape[2], key.shape[2], query.device)
    scores = scores.masked_fill(~mask, float("-inf"))
    return torch.matmul(torch.softmax(scores, dim=-1).to(query.dtype), value)


def _within_window(mask, query, keys, window):  # noqa: ANN001, ANN202
    queries = query.shape[2]
    inside = _causal(queries, keys, query.device)
    back = torch.arange(keys - queries, keys, device=query.device)[:, None] - torch.arange(keys, device=query.device)
    inside = inside & (back < window)
    return inside.expand(query.shape[0], 1, queries, keys) if mask is None else mask & inside


def _causal(queries: int, keys: int, device: torch.device) -> torch.Tensor:
    return torch.ones(queries, keys, dtype=torch.bool, device=device).tril(keys - queries)


AttentionInterface.register(IMPLEMENTATION, shared_prefix_attention)
AttentionMaskInterface.register(IMPLEMENTATION, sdpa_mask)
