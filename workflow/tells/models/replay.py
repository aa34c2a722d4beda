"""Replay: one teacher-forced pass over stored token ids, the same for every engine.

It gives hidden states at named positions (the residual stream at the output of each block, before the final norm) and,
for each generated token, its exact log-probability, the exact entropy of the distribution it was drawn from (full
vocabulary, T = 1) and the confidence of its 20 most likely tokens. Prefixes that rows share are computed once; only
what is asked for leaves the device.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from tells.models.forward import (
    Prefilled,
    common_prefix,
    compute_prefix,
    in_batches,
    logits_by_parts,
    pad_generated,
    prefill,
    row_inputs,
    run_block,
)
from tells.models.hooks import capture
from tells.models.loading import LoadedModel
from tells.models.spans import RESPONSE_WINDOW, Spans

logger = logging.getLogger(__name__)

CONFIDENCE_TOKENS = 20
_LARGEST_FLOAT16 = 6e4
_SMALLEST_LOGIT = -1e4


@dataclass(frozen=True)
class ReplayRow:
    """One run to replay: its prompt, what was generated, and where its spans lie."""

    prompt_token_ids: tuple[int, ...]
    token_ids: tuple[int, ...]
    spans: Spans
    response_tokens: int


@dataclass(frozen=True)
class Replayed:
    """What the pass gives, in the order of the rows.

    Attributes:
        hidden: [rows, layers, positions, width], float16, or float32 where float16 would overflow; 0 where not valid.
        valid: [rows, positions] uint8, which positions a row has.
        entropy: per row [tokens], nats.
        token_logprobs: per row [tokens], nats.
        confidence: per row [tokens], minus the mean log-probability of the 20 most likely tokens, nats.
        batch_size: rows per batch that fitted.
    """

    hidden: np.ndarray
    valid: np.ndarray
    entropy: list[np.ndarray]
    token_logprobs: list[np.ndarray]
    confidence: list[np.ndarray]
    batch_size: int


def window_of(position: str, row: ReplayRow) -> tuple[int, int] | None:
    """Half-open range of a named position; 0 is the last prompt token, generated tokens follow.

    Args:
        position: prompt_end, think_end, answer_end, answer_mean, think_mean, response, response[:N] or prompt_last.
        row: the run.

    Returns:
        The range whose mean is the position's vector, or None where the run does not have it.

    Raises:
        ValueError: no such position.
    """
    spans = row.spans
    if position in ("prompt_end", "prompt_last"):
        return 0, 1
    if position == "think_end":
        return None if spans.tag_last is None else (spans.tag_last + 1, spans.tag_last + 2)
    if position == "answer_end":
        return None if spans.answer is None else (spans.answer[1], spans.answer[1] + 1)
    if position in ("answer_mean", "think_mean"):
        span = spans.answer if position == "answer_mean" else spans.think
        return None if span is None else (span[0] + 1, span[1] + 1)
    if match := RESPONSE_WINDOW.fullmatch(position):
        stop = min(row.response_tokens, int(match[1])) if match[1] else row.response_tokens
        return (1, stop + 1) if stop else None
    raise ValueError(f"unknown position {position!r}")


@torch.inference_mode()
def replay(
    loaded: LoadedModel,
    rows: Sequence[ReplayRow],
    *,
    layers: Sequence[int],
    positions: Sequence[str],
    batch_size: int = 32,
    backend: str = "hf",
) -> Replayed:
    """Replay rows.

    Args:
        loaded: the model that generated them, or another with the same tokenizer.
        rows: the runs.
        layers: block indices to capture.
        positions: named positions, see `window_of`.
        batch_size: rows per batch; halved while the GPU's memory does not suffice.
        backend: `hf` (hooks) or `nnsight`.

    Raises:
        ValueError: an unknown position or backend.
    """
    windows = [[window_of(position, row) for position in positions] for row in rows]
    result = _Result(loaded, len(rows), len(layers), len(positions), windows)
    model = loaded.model
    prefix = compute_prefix(model, common_prefix([row.prompt_token_ids for row in rows])) if rows else None
    order = _cheapest_order(rows, prefix.length if prefix else 0, batch_size)
    read = _states_reader(backend)

    def run(batch: list[int]) -> None:
        _replay_batch(model, [rows[i] for i in batch], batch, windows, layers, prefix, result, read)

    return result.finished(in_batches(order, batch_size, run, what="replay"))


def _replay_batch(model, rows, indices, windows, layers, prefix, result, read) -> None:  # noqa: ANN001
    prefilled = prefill(model, [row.prompt_token_ids for row in rows], prefix)
    generated, lengths, seen = pad_generated([row.token_ids for row in rows], model.device)
    weights = torch.zeros(len(rows), len(windows[0]), generated.shape[1] + 1, device=model.device)
    for place, index in enumerate(indices):
        for position, window in enumerate(windows[index]):
            if window is not None:
                weights[place, position, window[0] : window[1]] = 1 / (window[1] - window[0])
    hidden, states = read(model, prefilled, generated, lengths, weights, layers)
    result.put_states(indices, states)
    result.put_tokens(indices, lengths.tolist(), _token_facts(model, hidden[:, :-1][seen], generated[seen]))


def _read_by_hooks(
    model: torch.nn.Module,
    prefilled: Prefilled,
    generated: torch.Tensor,
    lengths: torch.Tensor,
    weights: torch.Tensor,
    layers: Sequence[int],
) -> tuple[torch.Tensor, torch.Tensor]:
    """Pass over the last prompt token and the generated ones.

    Returns:
        The last hidden states [rows, tokens, width] after the final norm, and [rows, layers, positions, width] float32.
    """
    token_ids, positions, mask = row_inputs(prefilled, generated, lengths)

    def reduce(output: torch.Tensor) -> torch.Tensor:
        return torch.bmm(weights, output.float())

    with capture(model, layers, reduce) as outputs:
        hidden = run_block(model, token_ids, positions, prefilled.cache, prefilled.prefix, mask)
    if not layers:
        return hidden, torch.zeros(len(token_ids), 0, weights.shape[1], hidden.shape[-1])
    return hidden, torch.stack([outputs[layer] for layer in layers], dim=1).cpu()


def _states_reader(backend: str):  # noqa: ANN202
    if backend == "hf":
        return _read_by_hooks
    if backend == "nnsight":
        from tells.models.replay_nnsight import read_by_nnsight

        return read_by_nnsight
    raise ValueError(f"unknown replay backend {backend!r}: hf or nnsight")


def _token_facts(model: torch.nn.Module, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Entropy, log-probability and confidence of [tokens]; hidden [tokens, width] -> [3, tokens] float32 on the CPU."""
    facts = torch.empty(3, len(targets), device=hidden.device)
    for part, logits in logits_by_parts(model, hidden):
        facts[:, part] = _facts_of_logits(logits, targets[part])
    return facts.cpu()


def _facts_of_logits(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """As `_token_facts`, from logits [tokens, vocabulary], which are overwritten."""
    top = logits.topk(min(CONFIDENCE_TOKENS, logits.shape[1]), dim=-1).values
    largest = top[:, 0]
    own = logits.gather(1, targets[:, None])[:, 0]
    # A logit of minus infinity weighs nothing, but times its weight of zero it would be NaN.
    shifted = logits.sub_(largest[:, None]).clamp_(min=_SMALLEST_LOGIT)
    weights = shifted.exp()
    total = weights.sum(-1)
    normaliser = total.log()
    entropy = normaliser - weights.mul_(shifted).sum(-1) / total
    return torch.stack([entropy, own - largest - normaliser, largest + normaliser - top.mean(-1)])


class _Result:
    """Arrays for all rows of a shard, filled batch by batch."""

    def __init__(self, loaded: LoadedModel, rows: int, layers: int, positions: int, windows: list) -> None:
        width = loaded.model.config.get_text_config().hidden_size
        self.hidden = np.zeros((rows, layers, positions, width), dtype=np.float32)
        self.valid = np.array([[window is not None for window in row] for row in windows], dtype=np.uint8)
        self.valid = self.valid.reshape(rows, positions)
        self.tokens: list[tuple[np.ndarray, ...]] = [()] * rows

    def put_states(self, indices: Sequence[int], states: torch.Tensor) -> None:
        self.hidden[np.array(indices)] = states.numpy()

    def put_tokens(self, indices: Sequence[int], lengths: Sequence[int], facts: torch.Tensor) -> None:
        for index, part in zip(indices, torch.split(facts, list(lengths), dim=1), strict=True):
            self.tokens[index] = tuple(part.numpy().copy())

    def finished(self, batch_size: int) -> Replayed:
        fits = not self.hidden.size or float(np.abs(self.hidden).max()) <= _LARGEST_FLOAT16
        hidden = self.hidden.astype(np.float16) if fits else self.hidden
        entropy, logprobs, confidence = ([row[kind] for row in self.tokens] for kind in range(3))
        return Replayed(hidden, self.valid, entropy, logprobs, confidence, batch_size)


def _cheapest_order(rows: Sequence[ReplayRow], shared: int, batch_size: int) -> list[int]:
    """Runs of one prompt together (shared prefill) or runs of one length together (no padding), whichever is less."""
    by_length = sorted(range(len(rows)), key=lambda index: (len(rows[index].token_ids), index))
    by_prompt = sorted(
        range(len(rows)), key=lambda index: (len(rows[index].prompt_token_ids), rows[index].prompt_token_ids, index)
    )

    def cost(order: list[int]) -> int:
        total = 0
        for start in range(0, len(order), batch_size):
            batch = [rows[index] for index in order[start : start + batch_size]]
            prompts = {row.prompt_token_ids for row in batch}
            total += len(prompts) * (max(map(len, prompts)) - shared)
            total += len(batch) * max(len(row.token_ids) for row in batch)
        return total

    return min(by_prompt, by_length, key=cost)
