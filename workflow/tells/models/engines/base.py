"""What an engine takes and gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

from tells.config import GenerationConfig


@dataclass(frozen=True, eq=False)
class Steering:
    """What is added to the states of one run: `coefficient` times `vector` [width] at the output of block `layer`.

    `positions` are those of `tells.models.hooks.steer`.
    """

    layer: int
    vector: np.ndarray
    coefficient: float
    positions: Literal["response", "all", "prompt"] = "response"


@dataclass(frozen=True)
class Request:
    """One run to be generated: the ids of its prompt, its own seed, whether it is greedy, and how it is steered."""

    prompt_token_ids: tuple[int, ...]
    seed: int
    greedy: bool = False
    steering: Steering | None = None


@dataclass(frozen=True)
class Generation:
    """One run.

    Attributes:
        token_ids: [tokens] generated, the tokens of EOS and stop string included.
        text: what they say, without special tokens, EOS and stop string.
        finish_reason: `stop` (EOS or a stop string) or `length`.
        token_logprobs: [tokens] log-probability of each token, raw distribution (before temperature), nats.
        topk_logprobs: [tokens, k] the k largest log-probabilities of each step, falling; None where none were asked.
    """

    token_ids: list[int]
    text: str
    finish_reason: str
    token_logprobs: list[float]
    topk_logprobs: list[list[float]] | None


class Engine(Protocol):
    """Generates runs, in the order of the requests."""

    name: str
    tokenizer: Any

    def generate(
        self, requests: Sequence[Request], settings: GenerationConfig, *, top_logprobs: int
    ) -> list[Generation]:
        """Generate every request.

        Args:
            requests: the runs to draw.
            settings: temperature, limits and stop strings of all of them.
            top_logprobs: k, how many log-probabilities to keep per step; 0 for none.
        """
        ...

    def facts(self) -> dict[str, Any]:
        """What metadata should say about the engine: its name, dtype, device and sizes."""
        ...


def cut_at_stop(text: str, stop: Sequence[str]) -> int | None:
    """Where the first stop string begins in `text`; None where there is none."""
    found = [at for at in (text.find(string) for string in stop) if at >= 0]
    return min(found) if found else None
