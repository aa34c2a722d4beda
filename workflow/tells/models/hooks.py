"""Hooks on the blocks of a model: reading what each block puts into the residual stream, and changing it.

A block returns a tensor in new versions of transformers and a tuple in old ones; both are handled. Hooks are detached
whatever happens inside the context. A hook sees what hooks attached before it have changed: capture inside steer reads
steered states.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import numpy as np
import torch
from transformers.cache_utils import Cache


def find_blocks(model: torch.nn.Module) -> torch.nn.ModuleList:
    """The list of a model's transformer blocks.

    Raises:
        ValueError: the model has no list of as many blocks as its configuration says.
    """
    wanted = model.config.get_text_config().num_hidden_layers
    for module in model.base_model.modules():
        if isinstance(module, torch.nn.ModuleList) and len(module) == wanted:
            return module
    raise ValueError(f"{type(model).__name__} has no list of {wanted} blocks; it cannot be captured or steered")


def resolve_layers(layers: str | Sequence[int], n_layers: int) -> list[int]:
    """Block indices from `all` or a list, in which negative ones count from the end.

    Raises:
        ValueError: an index is out of range or stands twice.
    """
    if layers == "all":
        return list(range(n_layers))
    resolved = [layer + n_layers if layer < 0 else layer for layer in layers]
    outside = [layer for layer in resolved if not 0 <= layer < n_layers]
    if outside or len(set(resolved)) < len(resolved):
        raise ValueError(f"layers {list(layers)}: the model has {n_layers} blocks, and each may be named once")
    return resolved


@contextlib.contextmanager
def capture(
    model: torch.nn.Module,
    layers: Sequence[int],
    reduce: Callable[[torch.Tensor], torch.Tensor] = torch.clone,
) -> Iterator[dict[int, torch.Tensor]]:
    """Collect the outputs of blocks, before the final norm.

    Args:
        model: a causal language model.
        layers: block indices.
        reduce: applied to each output [rows, tokens, width] at once, so that only what is asked for is kept.

    Yields:
        By layer, the reduced output of the latest forward pass.
    """
    blocks = find_blocks(model)
    outputs: dict[int, torch.Tensor] = {}
    handles = []

    def hook_of(layer: int) -> Callable[..., None]:
        def hook(_module: torch.nn.Module, _inputs: object, output: torch.Tensor | tuple[torch.Tensor, ...]) -> None:
            outputs[layer] = reduce(output if isinstance(output, torch.Tensor) else output[0])

        return hook

    try:
        handles = [blocks[layer].register_forward_hook(hook_of(layer)) for layer in layers]
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


@contextlib.contextmanager
def steer(
    model: torch.nn.Module,
    layer: int,
    vector: torch.Tensor | np.ndarray,
    coefficient: float | Sequence[float] | torch.Tensor,
    *,
    positions: Literal["response", "all", "prompt"] = "response",
    rows: Sequence[int] | None = None,
    mode: Literal["add", "ablate"] = "add",
    start: Sequence[int] | None = None,
) -> Iterator[None]:
    """Change the output of a block while the context lasts: h' = h + c·v, computed in float32 and cast back.

    Several contexts may be active at once, each on its own rows of one batch. A coefficient of 0 leaves its row
    untouched to the bit. Works with `generate` (with its cache or without) and with plain forward passes.

    Args:
        model: a causal language model.
        layer: index of the block, from 0.
        vector: [width], or [rows, width] with a vector of its own for each of `rows`.
        coefficient: c, a number or one per row of `rows`.
        positions: `response`: from the last prompt token on, and at every decode step; `prompt`: the prompt up to its
            last token alone; `all`: both.
        rows: places in the batch; all by default.
        mode: `add`, or `ablate`: h' = h − c·(h·u)u with the unit vector u, so that c = 1 removes the direction.
        start: [rows] place of the last prompt token in the first call; by default its last place, as left padding
            has it.

    Raises:
        ValueError: the layer, the width, the mode or the positions do not exist, or a number is not finite.
    """
    blocks = find_blocks(model)
    if not 0 <= layer < len(blocks):
        raise ValueError(f"layer {layer}: the model has blocks 0 to {len(blocks) - 1}")
    if positions not in ("response", "all", "prompt") or mode not in ("add", "ablate"):
        raise ValueError(f"positions {positions!r}, mode {mode!r}: choose response, all or prompt, and add or ablate")
    change = RowChange(vector, coefficient, rows, mode=mode, width=model.config.get_text_config().hidden_size)
    place = _Place(layer, positions, start)

    def hook(_module: torch.nn.Module, inputs: tuple[Any, ...], keywords: dict[str, Any], output: Any) -> Any:
        states = output if isinstance(output, torch.Tensor) else output[0]
        steered = change.apply(states, place.chosen(states, (*inputs, *keywords.values())))
        return steered if isinstance(output, torch.Tensor) else (steered, *output[1:])

    handle = blocks[layer].register_forward_hook(hook, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


class RowChange:
    """What is added to, or taken out of, the states of some rows of a batch.

    Args:
        vector: [width] or [rows, width].
        coefficient: a number or one per row.
        rows: places in the batch; None for all.
        mode: `add` or `ablate`.
        width: of the model.

    Raises:
        ValueError: the width differs, or a number is not finite.
    """

    def __init__(
        self,
        vector: torch.Tensor | np.ndarray,
        coefficient: float | Sequence[float] | torch.Tensor,
        rows: Sequence[int] | None,
        *,
        mode: str = "add",
        width: int,
    ) -> None:
        vectors = torch.as_tensor(vector).detach().float().clone()
        coefficients = torch.as_tensor(coefficient, dtype=torch.float32).detach().clone()
        if vectors.shape[-1] != width:
            raise ValueError(f"the vector has width {vectors.shape[-1]}, the model {width}: it is of another model")
        if not (torch.isfinite(vectors).all() and torch.isfinite(coefficients).all()):
            raise ValueError("a vector or coefficient is not finite")
        if mode == "ablate":
            vectors = vectors / vectors.norm(dim=-1, keepdim=True)
        self.mode, self.vectors = mode, vectors.reshape(-1, 1, width)
        self.coefficients = coefficients.reshape(-1, 1, 1)
        self.rows = None if rows is None else torch.as_tensor(list(rows), dtype=torch.long)

    def apply(self, states: torch.Tensor, chosen: torch.Tensor | None = None) -> torch.Tensor:
        """Changed copy of [rows, tokens, width]; only where `chosen` [rows, tokens] says so, everywhere by default."""
        device = states.device
        vectors, coefficients = self.vectors.to(device), self.coefficients.to(device)
        rows = torch.arange(states.shape[0], device=device) if self.rows is None else self.rows.to(device)
        own = states[rows]
        if self.mode == "add":
            changed = own.float() + coefficients * vectors
        else:
            along = (own.float() * vectors).sum(-1, keepdim=True)
            changed = own.float() - coefficients * along * vectors
        # A row with coefficient 0 keeps its very bits (-0.0 + 0.0 would be 0.0).
        wanted = (coefficients != 0).expand(len(rows), own.shape[1], 1)
        if chosen is not None:
            wanted = wanted & chosen[rows][..., None]
        result = states.clone()
        result[rows] = torch.where(wanted, changed.to(states.dtype), own)
        return result


class _Place:
    """Which tokens of each call are steered: tells the first call of a sequence from its decode steps."""

    def __init__(self, layer: int, positions: str, start: Sequence[int] | None) -> None:
        self.layer, self.positions = layer, positions
        self.start = None if start is None else torch.as_tensor(start, dtype=torch.long)
        self.last: torch.Tensor | None = None
        self.shape = (0, 0)

    def chosen(self, states: torch.Tensor, arguments: Sequence[Any]) -> torch.Tensor | None:
        """[rows, tokens] where to steer; None for everywhere."""
        if self.positions == "all":
            return None
        rows, tokens = states.shape[:2]
        cache = next((argument for argument in arguments if isinstance(argument, Cache)), None)
        places = torch.arange(tokens, device=states.device).expand(rows, tokens)
        if cache is not None and int(cache.get_seq_length(self.layer)) > tokens:
            return None if self.positions == "response" else places < 0
        # Without a cache the whole sequence comes again, one token longer: the prompt is still where it was.
        continued = cache is None and self.shape == (rows, tokens - 1)
        self.shape = (rows, tokens)
        if not continued or self.last is None:
            self.last = torch.full((rows,), tokens - 1) if self.start is None else self.start
        last = self.last.to(states.device)[:, None]
        return places >= last if self.positions == "response" else places <= last
