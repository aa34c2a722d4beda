"""The forward passes that engines and replay share: the prefix once, then each prompt once, then the rows.

Rows that share a prompt (the K samples of a question) share its prefill too. The last token of a prompt is left to the
rows' own pass, so that the prefill needs no logits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch

from tells.models.attention import SharedPrefix, attend_to
from tells.models.cache import RowCache
from tells.progress import progress

Result = TypeVar("Result")
_TOKENS_PER_HEAD_PASS = 256
_TOKENS_IN_CACHE = 8


@dataclass
class Prefilled:
    """A batch of rows whose prompts, but for their last token, are in the cache.

    Attributes:
        prefix: what all rows share.
        cache: the rows' own prompt tokens, left-padded.
        mask: [rows, tokens] bool, which of those are no padding.
        positions: [rows] position of each row's next token.
        last_prompt_token: [rows] that next token.
    """

    prefix: SharedPrefix | None
    cache: RowCache
    mask: torch.Tensor
    positions: torch.Tensor
    last_prompt_token: torch.Tensor


def common_prefix(prompts: Sequence[Sequence[int]]) -> list[int]:
    """Longest prefix of all prompts that leaves each of them at least one token."""
    first, last = min(prompts), max(prompts)
    limit = min(map(len, prompts)) - 1
    length = 0
    while length < limit and first[length] == last[length]:
        length += 1
    return list(first[:length])


def n_layers(model: torch.nn.Module) -> int:
    """Blocks of the model."""
    return model.config.get_text_config().num_hidden_layers


@torch.inference_mode()
def compute_prefix(model: torch.nn.Module, token_ids: Sequence[int]) -> SharedPrefix | None:
    """Keys and values of a prefix; None for an empty one."""
    if not token_ids:
        return None
    cache = RowCache(n_layers(model))
    model.base_model(torch.tensor([list(token_ids)], device=model.device), past_key_values=cache, use_cache=True)
    length = len(token_ids)
    return SharedPrefix(
        [layer.keys[0, :, :length].contiguous() for layer in cache.layers],
        [layer.values[0, :, :length].contiguous() for layer in cache.layers],
    )


@torch.inference_mode()
def prefill(
    model: torch.nn.Module, prompts: Sequence[Sequence[int]], prefix: SharedPrefix | None, *, share: bool = True
) -> Prefilled:
    """Fill a cache with the prompts of a batch of rows, each distinct prompt once.

    Args:
        model: a causal language model with the attention of `tells.models.attention`.
        prompts: [rows] token ids, all of which begin with the prefix.
        prefix: keys and values that all rows share.
        share: compute equal prompts once; not where rows are steered in their prompts.
    """
    shared = prefix.length if prefix else 0
    own = [tuple(prompt[shared:]) for prompt in prompts]
    distinct = list(dict.fromkeys(own)) if share else own
    order = {prompt: row for row, prompt in enumerate(distinct)}
    places = [order[prompt] for prompt in own] if share else range(len(own))
    rows = torch.tensor(list(places), device=model.device)
    longest = max(len(prompt) for prompt in distinct) - 1
    lengths = torch.tensor([len(prompt) - 1 for prompt in distinct], device=model.device)
    mask = torch.arange(longest, device=model.device) >= (longest - lengths)[:, None]
    cache = RowCache(n_layers(model))
    if longest:
        padded = [[0] * (longest - len(prompt) + 1) + list(prompt[:-1]) for prompt in distinct]
        positions = (mask.cumsum(1) - 1).clamp(min=0) + shared
        token_ids = torch.tensor(padded, device=model.device)
        run_block(model, token_ids, positions, cache, prefix, causal_mask(mask, longest))
    if len(distinct) < len(prompts):
        cache.select(rows)
    last = torch.tensor([prompt[-1] for prompt in prompts], device=model.device)
    return Prefilled(prefix, cache, mask[rows], (lengths + shared)[rows], last)


def run_block(
    model: torch.nn.Module,
    token_ids: torch.Tensor,
    positions: torch.Tensor,
    cache: RowCache,
    prefix: SharedPrefix | None,
    mask: torch.Tensor | None,
) -> torch.Tensor:
    """One pass of the model's body (no head) over [rows, tokens]; returns [rows, tokens, width], after the final norm.

    Args:
        model: the causal language model.
        token_ids: [rows, tokens].
        positions: [rows, tokens] position of each.
        cache: the rows' earlier tokens; it grows.
        prefix: what all rows also see.
        mask: [rows, 1, tokens, earlier + tokens] bool, which tokens each may see.
    """
    with attend_to(prefix):
        return model.base_model(
            token_ids, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True
        ).last_hidden_state


def causal_mask(valid: torch.Tensor, queries: int) -> torch.Tensor:
    """Mask [rows, 1, queries, tokens] for the last `queries` of [rows, tokens] tokens, of which `valid` are real."""
    tokens = valid.shape[1]
    causal = torch.ones(queries, tokens, dtype=torch.bool, device=valid.device).tril(tokens - queries)
    mask = causal & valid[:, None, None, :]
    # A padded query would see nothing, and a softmax over nothing is NaN: it sees itself.
    own = torch.eye(queries, tokens, dtype=torch.bool, device=valid.device).roll(tokens - queries, 1)
    return mask | own


def row_inputs(
    prefilled: Prefilled, generated: torch.Tensor, lengths: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Ids and positions [rows, 1 + tokens] and mask of the pass over the last prompt token and the generated ones."""
    token_ids = torch.cat([prefilled.last_prompt_token[:, None], generated], dim=1)
    steps = torch.arange(token_ids.shape[1], device=token_ids.device)
    valid = torch.cat([prefilled.mask, steps <= lengths[:, None]], dim=1)
    return token_ids, prefilled.positions[:, None] + steps, causal_mask(valid, token_ids.shape[1])


def logits_of(model: torch.nn.Module, hidden: torch.Tensor) -> torch.Tensor:
    """Logits in float32 [..., vocabulary] of hidden states after the final norm [..., width]."""
    return _in_single_precision(model, model.get_output_embeddings()(hidden))


def logits_by_parts(model: torch.nn.Module, hidden: torch.Tensor) -> Iterator[tuple[slice, torch.Tensor]]:
    """Logits of [tokens, width], a few tokens after the other: where they stand, and [part, vocabulary] in float32.

    The head wants many tokens at once; what follows reads its logits many times, on a CPU best out of the cache.
    """
    at_once = _TOKENS_IN_CACHE if hidden.device.type == "cpu" else _TOKENS_PER_HEAD_PASS
    for start in range(0, len(hidden), _TOKENS_PER_HEAD_PASS):
        output = model.get_output_embeddings()(hidden[start : start + _TOKENS_PER_HEAD_PASS])
        for first in range(0, len(output), at_once):
            part = output[first : first + at_once]
            yield slice(start + first, start + first + len(part)), _in_single_precision(model, part)


def _in_single_precision(model: torch.nn.Module, logits: torch.Tensor) -> torch.Tensor:
    config = model.config.get_text_config()
    logits = logits.float()
    if (scale := getattr(config, "logits_scaling", None)) is not None:
        logits = logits / scale
    if (scale := getattr(config, "logit_scale", None)) is not None:
        logits = logits * scale
    if (cap := getattr(config, "final_logit_softcapping", None)) is not None:
        logits = torch.tanh(logits / cap) * cap
    return logits


def in_batches(
    order: Sequence[int], batch_size: int, run: Callable[[list[int]], None], *, what: str, even: bool = False
) -> int:
    """Call `run` with the rows of one batch after the other, and show how far it has come.

    Args:
        order: [rows] indices, as they follow each other.
        batch_size: rows per batch; halved while the GPU's memory does not suffice.
        run: does a batch; called again with a part of it where the memory ran out.
        what: the work, for the progress bar.
        even: make batches of like size, where the last would be small.

    Returns:
        The batch size that fitted.

    Raises:
        torch.OutOfMemoryError: even one row does not fit.
    """
    start = 0
    with progress(len(order), what, "runs") as advance:
        while start < len(order):
            asked = even_size(len(order) - start, batch_size) if even else batch_size

            def attempt(size: int, start: int = start) -> int:
                batch = list(order[start : start + size])
                run(batch)
                return len(batch)

            done, fitted = halve_on_memory_error(attempt, asked)
            batch_size = batch_size if fitted == asked else fitted
            start += done
            advance(done)
    return batch_size


def pad_generated(
    token_ids: Sequence[Sequence[int]], device: torch.device
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Generated ids [rows, tokens] with zeros behind, lengths [rows], and which ids are real [rows, tokens]."""
    lengths = torch.tensor([len(row) for row in token_ids], device=device)
    longest = max(map(len, token_ids))
    padded = [list(row) + [0] * (longest - len(row)) for row in token_ids]
    generated = torch.tensor(padded, device=device, dtype=torch.long).view(len(token_ids), longest)
    return generated, lengths, torch.arange(longest, device=device) < lengths[:, None]


def even_size(rows: int, largest: int) -> int:
    """Rows of the next batch when `rows` are left: as few batches as may be, all about as large."""
    batches = -(-rows // largest)
    return -(-rows // batches)


def halve_on_memory_error(run: Callable[[int], Result], size: int) -> tuple[Result, int]:
    """Call `run(size)`; while the GPU's memory runs out, halve the size and try again.

    Returns:
        What `run` returned, and the size at which it did.

    Raises:
        torch.OutOfMemoryError: even one row does not fit.
    """
    while True:
        try:
            return run(size), size
        except torch.OutOfMemoryError:
            if size == 1:
                raise
        size = size // 2
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
