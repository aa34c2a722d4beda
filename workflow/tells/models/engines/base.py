"""What an engine takes and gives."""

from __future__ import annotations

import math
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
class ConfidenceStop:
    """When a run ends for want of confidence.

    The confidence of a token is minus the mean of the k largest log-probabilities of its step, raw distribution, in
    single precision (`tells.models.confidence`). The run ends at the first full window whose mean is strictly below the
    threshold; the window's last token is kept.

    Attributes:
        threshold: nats; -inf never stops.
        window: tokens per window.
        k: log-probabilities per step; 2 or more.
    """

    threshold: float
    window: int
    k: int = 20

    def __post_init__(self) -> None:
        if math.isnan(self.threshold) or self.window < 1 or self.k < 2:
            raise ValueError(f"{self}: the threshold must be a number, the window 1 or more, k 2 or more")


@dataclass(frozen=True)
class Request:
    """One run to be generated.

    Attributes:
        prompt_token_ids: the ids of its prompt.
        seed: its own.
        greedy: takes the most likely token at every step.
        steering: how it is steered, if it is.
        stop_below: when it ends for want of confidence; None for never.
    """

    prompt_token_ids: tuple[int, ...]
    seed: int
    greedy: bool = False
    steering: Steering | None = None
    stop_below: ConfidenceStop | None = None


@dataclass(frozen=True)
class Generation:
    """One run.

    Attributes:
        token_ids: [tokens] generated, the tokens of EOS and stop string included.
        text: what they say, without special tokens, EOS and stop string.
        finish_reason: `stop` (EOS or a stop string), `confidence` (the request's `stop_below`) or `length`. Where more
            than one holds at the last token, it is the one named first here.
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
