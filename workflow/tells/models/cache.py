"""Keys and values of the rows of a batch, written in place.

transformers' dynamic cache copies everything it holds at every step; this one allocates room ahead and hands out
views.
"""

from __future__ import annotations

import torch
from transformers.cache_utils import Cache, DynamicLayer

_GROWTH = 128


class RowLayer(DynamicLayer):
    """One layer: [rows, heads, room, width], of which the first `length` tokens are filled."""

    def __init__(self) -> None:
        super().__init__()
        self.length = 0

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: object, **kwargs: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append [rows, heads, tokens, width]; returns views of everything so far."""
        if not self.is_initialized:
            self.dtype, self.device = key_states.dtype, key_states.device
            self.keys, self.values = key_states[:, :, :0], value_states[:, :, :0]
            self.is_initialized = True
        stop = self.length + key_states.shape[2]
        if stop > self.keys.shape[2]:
            self.keys, self.values = self._grown(self.keys, stop), self._grown(self.values, stop)
        self.keys[:, :, self.length : stop] = key_states
        self.values[:, :, self.length : stop] = value_states
        self.length = stop
        return self.keys[:, :, :stop], self.values[:, :, :stop]

    def _grown(self, tensor: torch.Tensor, stop: int) -> torch.Tensor:
        rows, heads, _, width = tensor.shape
        larger = tensor.new_empty(rows, heads, stop + _GROWTH, width)
        larger[:, :, : self.length] = tensor[:, :, : self.length]
        return larger

    def get_seq_length(self) -> int:
        """Tokens held."""
        return self.length

    def select(self, rows: torch.Tensor) -> None:
        """Keep the given rows [rows], in that order; a row may be named more than once."""
        if self.is_initialized:
            self.keys, self.values = self.keys[rows], self.values[rows]


class RowCache(Cache):
    """A cache of one row layer per block."""

    def __init__(self, layers: int) -> None:
        super().__init__(layers=[RowLayer() for _ in range(layers)])

    def select(self, rows: torch.Tensor) -> None:
        """Keep the given rows in every layer."""
        for layer in self.layers:
            layer.select(rows)
