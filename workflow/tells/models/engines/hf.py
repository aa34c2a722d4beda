"""The hf engine: a decode loop over transformers' forward pass.

`generate` has no per-row seeds and keeps finished rows; this loop draws each row by its own seed, drops finished rows
from the batch, ends a row whose confidence falls below its own threshold, prefills a shared prefix and shared prompts
once, steers each row in its own way, and is equal to greedy `generate` (tested).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from tokenizers.decoders import DecodeStream

from tells.config import GenerationConfig
from tells.models.attention import SharedPrefix
from tells.models.confidence import WindowStop, token_confidence
from tells.models.engines.base import Generation, Request, cut_at_stop
from tells.models.forward import (
    Prefilled,
    common_prefix,
    compute_prefix,
    in_batches,
    logits_by_parts,
    prefill,
    run_block,
)
from tells.models.loading import LoadedModel
from tells.models.sampling import choose_tokens, uniforms
from tells.models.steering import SteeredRows

logger = logging.getLogger(__name__)
_WORTH_DROPPING = 0.9


class HfEngine:
    """Generates on a model loaded by transformers.

    Args:
        loaded: the model and its tokenizer.
        batch_size: rows per batch; halved when the GPU's memory does not suffice.
    """

    name = "hf"

    def __init__(self, loaded: LoadedModel, *, batch_size: int = 64) -> None:
        self.loaded, self.tokenizer, self.batch_size = loaded, loaded.tokenizer, batch_size

    def facts(self) -> dict[str, Any]:
        """Engine, dtype, device and the batch size that fitted."""
        return {"engine": self.name, "batch_size": self.batch_size, **self.loaded.facts()}

    @torch.inference_mode()
    def generate(
        self, requests: Sequence[Request], settings: GenerationConfig, *, top_logprobs: int = 0
    ) -> list[Generation]:
        """Generate every request; see `Engine.generate`."""
        if not requests:
            return []
        # Steered prompts are no longer equal: nothing of them is shared.
        alike = all(request.steering is None or request.steering.positions == "response" for request in requests)
        shared = common_prefix([request.prompt_token_ids for request in requests]) if alike else []
        prefix = compute_prefix(self.loaded.model, shared)
        order = sorted(range(len(requests)), key=lambda index: (len(requests[index].prompt_token_ids), index))
        order = _samples_together(order, requests)
        results: dict[int, Generation] = {}

        def run(batch: list[int]) -> None:
            rows = [requests[index] for index in batch]
            decoded = _Batch(self.loaded, rows, settings, top_logprobs, prefix).decode()
            results.update(zip(batch, decoded, strict=True))

        self.batch_size = in_batches(order, self.batch_size, run, what="sample", even=True)
        return [results[index] for index in range(len(requests))]


def _samples_together(order: list[int], requests: Sequence[Request]) -> list[int]:
    """Order by length, but with the runs of one prompt side by side, so that they share its prefill."""
    first: dict[tuple[int, ...], int] = {}
    for rank, index in enumerate(order):
        first.setdefault(requests[index].prompt_token_ids, rank)
    return sorted(order, key=lambda index: (first[requests[index].prompt_token_ids], index))


@dataclass
class _Drawn:
    """One step of a batch: tokens and their log-probabilities [rows], the largest [rows, k], confidence by k [rows]."""

    tokens: list[int]
    logprobs: list[float]
    top: list[list[float]] | None = None
    confidence: Mapping[int, list[float]] = field(default_factory=dict)


class _Row:
    """What has been generated of one run."""

    def __init__(self, request: Request, settings: GenerationConfig, keeps_top: bool) -> None:
        self.stream = DecodeStream(skip_special_tokens=True)
        self.stop, below = settings.stop, request.stop_below
        self.window = None if below is None else (below.k, WindowStop(below.threshold, below.window))
        self.uniform = None if request.greedy else uniforms(request.seed, settings.max_new_tokens)
        self.token_ids: list[int] = []
        self.logprobs: list[float] = []
        self.top: list[list[float]] | None = [] if keeps_top else None
        self.text = ""
        self.cut: int | None = None

    def add(self, drawn: _Drawn, place: int, backend: Any, eos: frozenset[int]) -> str | None:
        """Append the token drawn at this place of the batch; returns why the run is over, None where it goes on."""
        token_id = drawn.tokens[place]
        self.token_ids.append(token_id)
        self.logprobs.append(drawn.logprobs[place])
        if self.top is not None and drawn.top is not None:
            self.top.append(drawn.top[place])
        if token_id in eos or self._meets_stop_string(token_id, backend):
            return "stop"
        if self.window is not None:
            k, window = self.window
            if window.add(drawn.confidence[k][place]):
                return "confidence"
        return None

    def _meets_stop_string(self, token_id: int, backend: Any) -> bool:
        """Add the token's text; True when the text holds a stop string."""
        piece = self.stream.step(backend, token_id)
        if not piece:
            return False
        before = len(self.text)
        self.text += piece
        if self.stop:
            tail = max(0, before - max(map(len, self.stop)) + 1)
            at = cut_at_stop(self.text[tail:], self.stop)
            self.cut = None if at is None else tail + at
        return self.cut is not None

    def finished(self, reason: str) -> Generation:
        return Generation(self.token_ids, self.text[: self.cut], reason, self.logprobs, self.top)


class _Batch:
    """One batch: prefill, then step by step until every row is finished."""

    def __init__(
        self,
        loaded: LoadedModel,
        requests: Sequence[Request],
        settings: GenerationConfig,
        top_logprobs: int,
        prefix: SharedPrefix | None,
    ) -> None:
        self.loaded, self.settings, self.top_logprobs = loaded, settings, top_logprobs
        self.stop_sizes = {request.stop_below.k for request in requests if request.stop_below is not None}
        self.rows = [_Row(request, settings, bool(top_logprobs)) for request in requests]
        self.results: list[Generation | None] = [None] * len(requests)
        self.alive = list(range(len(requests)))
        self.greedy = torch.tensor([request.greedy for request in requests], device=loaded.model.device)
        numbers = np.stack(
            [np.zeros(settings.max_new_tokens, np.float32) if row.uniform is None else row.uniform for row in self.rows]
        )
        self.uniform = torch.from_numpy(numbers).to(loaded.model.device)
        self.steered = SteeredRows(loaded.model, [request.steering for request in requests])
        prompts = [request.prompt_token_ids for request in requests]
        with self.steered.attached("prompt"):
            share = not self.steered.in_prompt
            self.state: Prefilled = prefill(loaded.model, prompts, prefix, share=share)

    def decode(self) -> list[Generation]:
        tokens = self.state.last_prompt_token
        for step in range(self.settings.max_new_tokens):
            with self.steered.attached("last" if step == 0 else "decode"):
                hidden = self._step(tokens)
            tokens, drawn = self._choose(hidden, step)
            keep = self._append(drawn)
            if not keep:
                break
            if len(keep) <= _WORTH_DROPPING * len(self.alive):
                self._drop(keep)
                tokens = tokens[torch.tensor(keep, device=tokens.device)]
        for index in self.alive:
            if self.results[index] is None:
                self.results[index] = self.rows[index].finished("length")
        return [result for result in self.results if result is not None]

    def _step(self, tokens: torch.Tensor) -> torch.Tensor:
        """One pass over the rows' next tokens; returns [rows, width]."""
        state = self.state
        state.mask = torch.nn.functional.pad(state.mask, (0, 1), value=True)
        visible = None if bool(state.mask.all()) else state.mask[:, None, None, :]
        hidden = run_block(
            self.loaded.model, tokens[:, None], state.positions[:, None], state.cache, state.prefix, visible
        )
        state.positions = state.positions + 1
        return hidden[:, -1]

    def _choose(self, hidden: torch.Tensor, step: int) -> tuple[torch.Tensor, _Drawn]:
        """The next token of each row; every row's logits are finished with while they are in the cache."""
        settings, size = self.settings, max(self.top_logprobs, *self.stop_sizes, 0)
        tokens, logprobs, largest = [], [], []
        for part, logits in logits_by_parts(self.loaded.model, hidden):
            chosen = choose_tokens(
                logits,
                self.uniform[part, step],
                self.greedy[part],
                temperature=settings.temperature,
                top_p=settings.top_p,
                top_k=settings.top_k,
            )
            normaliser = torch.logsumexp(logits, dim=-1, keepdim=True)
            tokens.append(chosen)
            logprobs.append((logits.gather(1, chosen[:, None]) - normaliser)[:, 0])
            if size:
                largest.append(logits.topk(size, dim=-1).values - normaliser)
        drawn = _Drawn((chosen := torch.cat(tokens)).tolist(), torch.cat(logprobs).tolist())
        if size:
            top = torch.cat(largest).cpu().numpy()
            drawn.top = top[:, : self.top_logprobs].tolist() if self.top_logprobs else None
            drawn.confidence = {k: token_confidence(top[:, :k]).tolist() for k in self.stop_sizes}
        return chosen, drawn

    def _append(self, drawn: _Drawn) -> list[int]:
        """Give each row its token; returns the places in the batch of those that go on."""
        backend, eos = self.loaded.tokenizer.backend_tokenizer, self.loaded.eos_token_ids
        keep = []
        for place, index in enumerate(self.alive):
            if self.results[index] is not None:
                continue
            reason = self.rows[index].add(drawn, place, backend, eos)
            if reason is None:
                keep.append(place)
            else:
                self.results[index] = self.rows[index].finished(reason)
        return keep

    def _drop(self, keep: list[int]) -> None:
        rows = torch.tensor(keep, device=self.greedy.device)
        self.alive = [self.alive[place] for place in keep]
        self.state.cache.select(rows)
        self.steered.select(keep)
        self.state.mask, self.state.positions = self.state.mask[rows], self.state.positions[rows]
        self.greedy, self.uniform = self.greedy[rows], self.uniform[rows]
