"""Sampling against the question-by-question loop it replaces, and against what the processor allows; `make bench`.

The loop: `generate` with the samples of one question as its batch, then the entropy of every token in Python. What the
processor allows: the matrix products of the linear layers alone, at the very sizes at which the engine asks for them.
"""

from __future__ import annotations

import statistics
import sys
from collections import Counter
from collections.abc import Callable

import torch
from real_model import (
    BATCH,
    QUESTIONS,
    SAMPLES,
    TOKENS,
    peak_of,
    print_peak,
    prompt_ids,
    rates_in_turns,
    ratio,
    real_model,
)

from tells.config import GenerationConfig
from tells.models.engines import Request
from tells.models.engines.hf import HfEngine
from tells.models.loading import LoadedModel

REPEATS, TARGET, TOP_LOGPROBS = 3, 3.5, 20
LOOP_QUESTIONS = 4  # the loop is as fast on each question, and slow
SETTINGS = GenerationConfig(temperature=0.8, max_new_tokens=TOKENS)


def ours(loaded: LoadedModel) -> int:
    """The engine; returns how many tokens it drew."""
    requests = [Request(ids, seed) for ids in prompt_ids(loaded) for seed in range(SAMPLES)]
    runs = HfEngine(loaded, batch_size=BATCH).generate(requests, SETTINGS, top_logprobs=TOP_LOGPROBS)
    return sum(len(run.token_ids) for run in runs)


@torch.inference_mode()
def question_by_question(loaded: LoadedModel) -> int:
    """The loop; returns how many tokens it drew."""
    loaded.model.set_attn_implementation("sdpa")
    torch.manual_seed(0)
    tokens = 0
    for ids in prompt_ids(loaded)[:LOOP_QUESTIONS]:
        prompt = torch.tensor([ids])
        drawn = loaded.model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            do_sample=True,
            temperature=SETTINGS.temperature,
            top_k=0,
            num_return_sequences=SAMPLES,
            max_new_tokens=TOKENS,
            output_scores=True,
            return_dict_in_generate=True,
        )
        for row in drawn.sequences[:, len(ids) :].tolist():
            row_tokens = next((place + 1 for place, token in enumerate(row) if token in loaded.eos_token_ids), len(row))
            tokens += row_tokens
        for row in range(SAMPLES):
            [entropy_of(step[row]) for step in drawn.scores]
    loaded.model.set_attn_implementation("tells")
    return tokens


def entropy_of(scores: torch.Tensor) -> float:
    """Entropy of one token's distribution, nats."""
    probabilities = torch.softmax(scores.float(), dim=-1)
    return -(probabilities * torch.log(probabilities + 1e-12)).sum().item()


def linear_layers_of(loaded: LoadedModel) -> Callable[[], int]:
    """The matrix products of one run of the engine, as a function that does them and returns the run's tokens."""
    calls: Counter[tuple[torch.nn.Linear, int]] = Counter()

    def note(module: torch.nn.Linear, inputs: tuple[torch.Tensor, ...]) -> None:
        calls[module, inputs[0].numel() // module.in_features] += 1

    linear = [module for module in loaded.model.modules() if isinstance(module, torch.nn.Linear)]
    handles = [module.register_forward_pre_hook(note) for module in linear]
    tokens = ours(loaded)
    for handle in handles:
        handle.remove()
    sizes = {(rows, module.in_features) for module, rows in calls}
    inputs = {size: torch.randn(size).to(loaded.model.dtype) for size in sizes}

    @torch.inference_mode()
    def multiply() -> int:
        for (module, rows), times in calls.items():
            for _ in range(times):
                module(inputs[rows, module.in_features])
        return tokens

    return multiply


def main() -> None:
    """Print the figures."""
    loaded = real_model()
    variants = {"engine": lambda: ours(loaded), "loop": lambda: question_by_question(loaded)}
    if len(sys.argv) > 1:
        variants[sys.argv[1]]()
        print_peak()
        return
    print(f"{QUESTIONS} sums x {SAMPLES} samples x {TOKENS} tokens, batches of {BATCH}, {loaded.model.dtype}")
    rates = rates_in_turns({**variants, "products": linear_layers_of(loaded)}, REPEATS)
    print(f"  {'':24s} {'tokens/s':>9s} {'peak MiB':>9s}")
    for name, title in (("engine", "engine"), ("loop", "question by question"), ("products", "matrix products alone")):
        peak = "" if name == "products" else f"{peak_of(__file__, name):9.0f}"
        print(f"  {title:24s} {statistics.median(rates[name]):9.0f} {peak}")
    faster = ratio(rates["engine"], rates["loop"])
    print(f"  engine / loop: {faster:.2f}, target at least {TARGET}: {'met' if faster >= TARGET else 'MISSED'}")
    print(f"  engine / what the products allow: {ratio(rates['engine'], rates['products']):.0%}")


if __name__ == "__main__":
    main()
