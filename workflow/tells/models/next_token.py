"""The probability of given next tokens, one forward pass per prompt."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from tells.models.forward import (
    causal_mask,
    common_prefix,
    compute_prefix,
    halve_on_memory_error,
    logits_of,
    prefill,
    run_block,
)
from tells.models.loading import LoadedModel
from tells.progress import progress


@torch.inference_mode()
def next_token_logprobs(
    loaded: LoadedModel, prompts: Sequence[tuple[int, ...]], tokens: Sequence[int], *, batch_size: int = 32
) -> np.ndarray:
    """Log-probabilities of `tokens` right after each prompt.

    Args:
        loaded: the model.
        prompts: token ids; equal ones are computed once.
        tokens: ids to ask about.
        batch_size: prompts per batch; halved while the GPU's memory does not suffice.

    Returns:
        [prompts, tokens], nats, float32.
    """
    model = loaded.model
    distinct = sorted(dict.fromkeys(prompts), key=lambda prompt: (len(prompt), prompt))
    prefix = compute_prefix(model, common_prefix(distinct)) if distinct else None
    wanted = torch.tensor(list(tokens), device=model.device)
    found: dict[tuple[int, ...], np.ndarray] = {}
    start = 0
    with progress(len(distinct), "next tokens", "prompts") as advance:
        while start < len(distinct):

            def run(size: int, start: int = start) -> int:
                batch = distinct[start : start + size]
                state = prefill(model, batch, prefix)
                valid = torch.nn.functional.pad(state.mask, (0, 1), value=True)
                hidden = run_block(
                    model,
                    state.last_prompt_token[:, None],
                    state.positions[:, None],
                    state.cache,
                    prefix,
                    causal_mask(valid, 1),
                )
                logprobs = torch.log_softmax(logits_of(model, hidden[:, -1]), dim=-1)[:, wanted].cpu().numpy()
                found.update(zip(batch, logprobs, strict=True))
                return len(batch)

            done, batch_size = halve_on_memory_error(run, batch_size)
            start += done
            advance(done)
    return np.stack([found[prompt] for prompt in prompts]) if prompts else np.zeros((0, len(wanted)), np.float32)
