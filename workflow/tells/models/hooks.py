"""Hooks on the blocks of a model: reading what each block puts into the residual stream.

A block returns a tensor in new versions of transformers and a tuple in old ones; both are handled. Hooks are detached
whatever happens inside the context.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

import torch


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
