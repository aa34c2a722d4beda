"""Steering many runs of one batch, each at its own layer, along its own vector, by its own coefficient.

A grid of layers, vectors and coefficients is so many rows of a batch, not so many runs of the model.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import torch

from tells.models.engines.base import Steering
from tells.models.hooks import RowChange, find_blocks

Moment = Literal["prompt", "last", "decode"]
_MOMENTS: dict[str, tuple[Moment, ...]] = {
    "response": ("last", "decode"),
    "prompt": ("prompt", "last"),
    "all": ("prompt", "last", "decode"),
}


class SteeredRows:
    """The changes of a batch's rows, which follow them when rows leave it.

    Args:
        model: a causal language model.
        steerings: [rows] how each is steered, None where it is not.

    Raises:
        ValueError: a layer does not exist, or a vector's width is not the model's.
    """

    def __init__(self, model: torch.nn.Module, steerings: Sequence[Steering | None]) -> None:
        self.steerings = list(steerings)
        self.blocks = find_blocks(model) if any(self.steerings) else []
        self.width = model.config.get_text_config().hidden_size
        for steering in self.steerings:
            if steering is not None and not 0 <= steering.layer < len(self.blocks):
                raise ValueError(f"layer {steering.layer}: the model has blocks 0 to {len(self.blocks) - 1}")
        self.changes: dict[Moment, dict[int, RowChange]] = {}
        self._group()

    @property
    def in_prompt(self) -> bool:
        """Whether a row is steered before its last prompt token."""
        return bool(self.changes["prompt"])

    def select(self, places: Sequence[int]) -> None:
        """Keep the rows at the given places, in that order."""
        self.steerings = [self.steerings[place] for place in places]
        self._group()

    @contextlib.contextmanager
    def attached(self, moment: Moment) -> Iterator[None]:
        """Hooks on all layers concerned, for passes over the prompt, over its last token, or over decode steps."""
        handles = []
        try:
            for layer, change in self.changes[moment].items():
                handles.append(self.blocks[layer].register_forward_hook(_hook_of(change)))
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _group(self) -> None:
        self.changes = {moment: self._changes_at(moment) for moment in ("prompt", "last", "decode")}

    def _changes_at(self, moment: Moment) -> dict[int, RowChange]:
        by_layer: dict[int, list[int]] = {}
        for place, steering in enumerate(self.steerings):
            if steering is not None and moment in _MOMENTS[steering.positions]:
                by_layer.setdefault(steering.layer, []).append(place)
        changes = {}
        for layer, places in by_layer.items():
            rows = [steering for place in places if (steering := self.steerings[place]) is not None]
            vectors = torch.stack([torch.as_tensor(row.vector, dtype=torch.float32) for row in rows])
            changes[layer] = RowChange(vectors, [row.coefficient for row in rows], places, width=self.width)
        return changes


def _hook_of(change: RowChange) -> Any:
    def hook(_module: torch.nn.Module, _inputs: object, output: Any) -> Any:
        states = output if isinstance(output, torch.Tensor) else output[0]
        steered = change.apply(states)
        return steered if isinstance(output, torch.Tensor) else (steered, *output[1:])

    return hook
