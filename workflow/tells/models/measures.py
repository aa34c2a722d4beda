"""Numbers read from every token: its likelihood, the norm of its state, and how far that lies along directions.

The passes are those of replay: shared prefixes and prompts once, states reduced on the device where they arise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

from tells.models.attention import SharedPrefix
from tells.models.forward import (
    common_prefix,
    compute_prefix,
    in_batches,
    logits_by_parts,
    pad_generated,
    prefill,
    row_inputs,
    run_block,
)
from tells.models.hooks import capture, find_blocks
from tells.models.loading import LoadedModel
from tells.models.replay import ReplayRow

Reduce = Callable[[torch.Tensor], torch.Tensor]


@torch.inference_mode()
def measure_tokens(
    loaded: LoadedModel, rows: Sequence[ReplayRow], layers: Sequence[int], reduce: Reduce, *, batch_size: int = 32
) -> list[np.ndarray]:
    """Reduce the states at the last prompt token and at every generated token.

    Args:
        loaded: the model.
        rows: the runs.
        layers: block indices.
        reduce: [rows, tokens, width] to [rows, tokens] or [rows, tokens, numbers], applied to each layer's states.
        batch_size: rows per batch; halved while the GPU's memory does not suffice.

    Returns:
        Per row [layers, 1 + tokens, …], float32; token 0 is the last of the prompt.
    """

    def measure(batch: Sequence[ReplayRow], prefix: SharedPrefix | None) -> list[np.ndarray]:
        with capture(loaded.model, layers, reduce) as outputs:
            _pass_over(loaded.model, batch, prefix)
        stacked = torch.stack([outputs[layer] for layer in layers], dim=1).float().cpu().numpy()
        return [stacked[place, :, : len(row.token_ids) + 1].copy() for place, row in enumerate(batch)]

    return _in_batches(loaded.model, rows, measure, batch_size)


@torch.inference_mode()
def token_log_likelihoods(loaded: LoadedModel, rows: Sequence[ReplayRow], *, batch_size: int = 32) -> list[np.ndarray]:
    """Log-probability (nats, T = 1) of every generated token; what `replay` gives beside its other numbers.

    Args:
        loaded: the model.
        rows: the runs.
        batch_size: rows per batch; halved while the GPU's memory does not suffice.

    Returns:
        Per row [tokens], float32.
    """

    def measure(batch: Sequence[ReplayRow], prefix: SharedPrefix | None) -> list[np.ndarray]:
        hidden, generated, seen = _pass_over(loaded.model, batch, prefix)
        targets = generated[seen]
        logprobs = torch.empty(len(targets), device=targets.device)
        for part, logits in logits_by_parts(loaded.model, hidden[:, :-1][seen]):
            own = logits.gather(1, targets[part, None])[:, 0]
            logprobs[part] = own - torch.logsumexp(logits, dim=-1)
        lengths = [len(row.token_ids) for row in batch]
        return [part.numpy().copy() for part in torch.split(logprobs.cpu(), lengths)]

    return _in_batches(loaded.model, rows, measure, batch_size)


def _in_batches(
    model: torch.nn.Module,
    rows: Sequence[ReplayRow],
    measure: Callable[[Sequence[ReplayRow], SharedPrefix | None], list[np.ndarray]],
    batch_size: int,
) -> list[np.ndarray]:
    """What `measure` gives for every row, in the order of the rows; it is called with rows of like length."""
    prefix = compute_prefix(model, common_prefix([row.prompt_token_ids for row in rows])) if rows else None
    order = sorted(range(len(rows)), key=lambda index: (len(rows[index].token_ids), index))
    found: dict[int, np.ndarray] = {}

    def run(batch: list[int]) -> None:
        found.update(zip(batch, measure([rows[index] for index in batch], prefix), strict=True))

    in_batches(order, batch_size, run, what="measure")
    return [found[index] for index in range(len(rows))]


def _pass_over(
    model: torch.nn.Module, rows: Sequence[ReplayRow], prefix: SharedPrefix | None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """One pass over the last prompt token and the generated ones.

    Returns:
        States after the final norm [rows, 1 + tokens, width], padded ids [rows, tokens], and which of these are real.
    """
    prefilled = prefill(model, [row.prompt_token_ids for row in rows], prefix)
    generated, lengths, real = pad_generated([row.token_ids for row in rows], model.device)
    token_ids, positions, mask = row_inputs(prefilled, generated, lengths)
    hidden = run_block(model, token_ids, positions, prefilled.cache, prefix, mask)
    return hidden, generated, real


def response_norms(
    loaded: LoadedModel, rows: Sequence[ReplayRow], layers: Sequence[int], *, batch_size: int = 32
) -> dict[int, float]:
    """A_L: by layer, the mean norm of the states over all response tokens of all rows; empty without layers.

    Raises:
        ValueError: the rows have no response tokens.
    """
    if not layers:
        return {}
    measured = measure_tokens(loaded, rows, layers, lambda states: states.float().norm(dim=-1), batch_size=batch_size)
    kept = [each[:, 1 : row.response_tokens + 1] for each, row in zip(measured, rows, strict=True)]
    joined = np.concatenate(kept, axis=1).astype(np.float64) if kept else np.zeros((len(layers), 0))
    if not joined.shape[1]:
        raise ValueError("the unsteered answers hold no token: no norm to scale steering by")
    return dict(zip(layers, joined.mean(axis=1).tolist(), strict=True))


def project_tokens(
    loaded: LoadedModel, rows: Sequence[ReplayRow], directions: Mapping[int, np.ndarray], *, batch_size: int = 32
) -> list[dict[int, np.ndarray]]:
    """h·v of every generated token, h being the state from which the token after it is drawn.

    Args:
        loaded: the model.
        rows: the runs.
        directions: by layer, unit vectors [directions, width].
        batch_size: rows per batch.

    Returns:
        Per row, by layer [directions, tokens] projections at the generated tokens.

    Raises:
        ValueError: a direction's width is not the model's, or its layer does not exist.
    """
    width, n_layers = loaded.model.config.get_text_config().hidden_size, len(find_blocks(loaded.model))
    for layer, vectors in directions.items():
        if vectors.shape[-1] != width or not 0 <= layer < n_layers:
            raise ValueError(
                f"a direction of width {vectors.shape[-1]} at layer {layer}: the model has width {width} and "
                f"{n_layers} blocks"
            )
    layers = sorted(directions)
    result: list[dict[int, np.ndarray]] = [{} for _ in rows]
    for layer in layers:
        vectors = torch.as_tensor(directions[layer], dtype=torch.float32, device=loaded.model.device)

        def along(states: torch.Tensor, vectors: torch.Tensor = vectors) -> torch.Tensor:
            return states.float() @ vectors.T

        for index, measured in enumerate(measure_tokens(loaded, rows, [layer], along, batch_size=batch_size)):
            result[index][layer] = measured[0, 1:].T
    return result
