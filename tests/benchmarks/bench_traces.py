"""Traces of a few prompts in one batch, as they are sampled, against one trace at a time; run by `make bench`.

Both draw the same traces with the same engine, log-probabilities and confidence stop included (at a threshold that no
trace falls below, so that both draw the same tokens). The second has one request in each call, as a loop over traces
would.
"""

from __future__ import annotations

import math
import statistics
import sys

from real_model import rates_in_turns, ratio, real_model

from tells.config import GenerationConfig
from tells.models.engines import ConfidenceStop, Request
from tells.models.engines.hf import HfEngine
from tells.models.loading import LoadedModel

REPEATS, TARGET, TOP_LOGPROBS, TRACES, ALONE = 3, 3.0, 20, 10, 4
SETTINGS = GenerationConfig(temperature=0.6, top_p=0.95, max_new_tokens=48)
NEVER = ConfidenceStop(-math.inf, 32)
PROMPTS = (
    "How do I sharpen a kitchen knife?",
    "Explain how a lock keeps a door shut.",
    "Write a short note to a neighbour about noise at night.",
    "What should I check before I dive into a lake?",
)


def requests(loaded: LoadedModel) -> list[Request]:
    """Ten traces of each prompt, prompts in turn."""
    chats = [[{"role": "user", "content": text}] for text in PROMPTS]
    texts = [loaded.tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True) for chat in chats]
    ids = [tuple(loaded.tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts]
    return [Request(prompt, seed, stop_below=NEVER) for seed in range(TRACES) for prompt in ids]


def drawn(engine: HfEngine, wanted: list[Request]) -> int:
    """Draw these in one call; returns how many tokens they have."""
    return sum(len(run.token_ids) for run in engine.generate(wanted, SETTINGS, top_logprobs=TOP_LOGPROBS))


def main() -> None:
    """Print the figures."""
    loaded = real_model()
    engine, every = HfEngine(loaded), requests(loaded)
    drawn(engine, every[:1])
    rates = rates_in_turns(
        {
            "batched": lambda: drawn(engine, every),
            # A trace alone is as fast as any other: a few are enough.
            "alone": lambda: sum(drawn(engine, [request]) for request in every[:ALONE]),
        },
        REPEATS,
    )
    print(f"{len(PROMPTS)} prompts x {TRACES} traces x up to {SETTINGS.max_new_tokens} tokens, {loaded.model.dtype}")
    for name, title in (("batched", f"{len(every)} traces in one batch"), ("alone", "one trace at a time")):
        print(f"  {title:24s} {statistics.median(rates[name]):6.0f} tokens/s")
    faster = ratio(rates["batched"], rates["alone"])
    print(f"  batched / alone: {faster:.2f}, target at least {TARGET:g}: {'met' if faster >= TARGET else 'MISSED'}")
    if faster < TARGET:
        sys.exit(1)


if __name__ == "__main__":
    main()
