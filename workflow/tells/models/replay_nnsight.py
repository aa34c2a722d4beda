"""The nnsight backend of replay: the same pass, its block outputs read through an nnsight trace."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from tells.models.attention import attend_to
from tells.models.forward import Prefilled, row_inputs
from tells.models.hooks import find_blocks


def read_by_nnsight(
    model: torch.nn.Module,
    prefilled: Prefilled,
    generated: torch.Tensor,
    lengths: torch.Tensor,
    weights: torch.Tensor,
    layers: Sequence[int],
) -> tuple[torch.Tensor, torch.Tensor]:
    """Pass over the last prompt token and the generated ones; as `tells.models.replay` with hooks.

    Returns:
        The last hidden states [rows, tokens, width] after the final norm, and [rows, layers, positions, width] float32.

    Raises:
        ImportError: nnsight is not installed (`pip install 'tells[nnsight]'`).
    """
    from nnsight import NNsight

    token_ids, positions, mask = row_inputs(prefilled, generated, lengths)
    body = model.base_model
    wrapped = NNsight(body)
    blocks = [name for name, module in body.named_children() if module is find_blocks(model)]
    envoys = getattr(wrapped, blocks[0])
    states = []
    with (
        attend_to(prefilled.prefix),
        wrapped.trace(
            token_ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=prefilled.cache,
            use_cache=True,
        ),
    ):
        for layer in layers:
            output = envoys[layer].output
            output = output[0] if isinstance(output, tuple) else output
            states.append(torch.bmm(weights, output.float()))
        states = states.save()
        hidden = wrapped.output.last_hidden_state.save()
    return hidden, torch.stack(list(states), dim=1).cpu()
