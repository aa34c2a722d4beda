"""Sampling, replay and a steering grid on random weights of real shapes, where there is a GPU; `make bench`.

Each against what plain transformers does with the same batch in the same run: `generate` for what is drawn, one forward
pass for replay. Weights are random, so the figures are of speed and memory alone.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

import torch
from real_model import rates_in_turns, ratio

from tells.config import GenerationConfig
from tells.models.attention import IMPLEMENTATION
from tells.models.engines import Request
from tells.models.engines.hf import HfEngine
from tells.models.loading import LoadedModel, limit_gpu_memory, machine_name
from tells.models.random_model import byte_tokenizer
from tells.models.replay import ReplayRow, replay
from tells.models.spans import Spans
from tells.models.transformers_parts import AutoModelForCausalLM
from tells.traits.steering import Candidate, generate_rows, grid_rows, name_questions
from tells.traits.vectors import random_direction

QWEN3_4B = {
    **{"vocab_size": 151_936, "hidden_size": 2560, "intermediate_size": 9728, "num_hidden_layers": 36},
    **{"num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128, "tie_word_embeddings": True},
}
GEMMA_2_2B = {
    **{"vocab_size": 256_000, "hidden_size": 2304, "intermediate_size": 9216, "num_hidden_layers": 26},
    **{"num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "query_pre_attn_scalar": 256},
    **{"sliding_window": 4096, "tie_word_embeddings": True},
}
TINY = {
    **{"vocab_size": 260, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 4},
    **{"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16},
}
SHAPES = {"qwen3-4b": ("qwen3", QWEN3_4B), "gemma-2-2b": ("gemma2", GEMMA_2_2B), "tiny": ("qwen3", TINY)}
BYTES, POSITIONS = 256, ("prompt_end", "response")
LIMIT_SLACK_GB = 0.1


def random_weights(shape: str, device: torch.device) -> LoadedModel:
    """A model of a real shape, its weights made where it runs; no token ends a run."""
    from transformers import AutoConfig

    architecture, sizes = SHAPES[shape]
    config = AutoConfig.for_model(architecture, **sizes, bos_token_id=None, eos_token_id=None, pad_token_id=0)
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    torch.manual_seed(0)
    with device:
        model = AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation=IMPLEMENTATION)
    manifest = {"name": shape, "revision": "random", "kind": "base", "thinking": None, "think_end": "</think>"}
    return LoadedModel(model.eval().requires_grad_(False), byte_tokenizer(), manifest, frozenset())


def prompts_of(rows: int, tokens: int) -> list[tuple[int, ...]]:
    """Prompts of random bytes, of one length, so that nothing is padded on either side."""
    draw = random.Random(0)
    return [tuple(draw.randrange(BYTES) for _ in range(tokens)) for _ in range(rows)]


def plainly(loaded: LoadedModel, run: Callable[[], Any]) -> Any:
    """Run with the attention that transformers takes by itself."""
    loaded.model.set_attn_implementation("sdpa")
    with torch.inference_mode():
        result = run()
    loaded.model.set_attn_implementation(IMPLEMENTATION)
    return result


def generate_plainly(loaded: LoadedModel, prompts: list[tuple[int, ...]], tokens: int) -> int:
    """`generate` of transformers; gives the tokens drawn."""
    ids = torch.tensor(prompts, device=loaded.model.device)
    settings = {"do_sample": True, "temperature": 0.8, "top_k": 0, "min_new_tokens": tokens, "max_new_tokens": tokens}
    drawn = plainly(loaded, lambda: loaded.model.generate(ids, attention_mask=torch.ones_like(ids), **settings))
    return drawn[:, ids.shape[1] :].numel()


def generate_by_engine(loaded: LoadedModel, prompts: list[tuple[int, ...]], tokens: int) -> int:
    """The hf engine, with the log-probabilities that studies store."""
    requests = [Request(ids, seed) for seed, ids in enumerate(prompts)]
    settings = GenerationConfig(temperature=0.8, max_new_tokens=tokens)
    runs = HfEngine(loaded, batch_size=len(prompts)).generate(requests, settings, top_logprobs=20)
    return sum(len(run.token_ids) for run in runs)


def generate_steered(loaded: LoadedModel, rows: int, prompt_tokens: int, tokens: int) -> int:
    """A steering grid of so many rows, each with a vector of its own, and their likelihoods."""
    layers, width = loaded.model.config.num_hidden_layers, loaded.model.config.hidden_size
    candidates = [
        Candidate(layer, "random", random_direction(width, seed=layer).vector)
        for layer in range(0, layers, layers // 4)
    ]
    questions = name_questions(["a" * prompt_tokens], "search", 1)
    grid = grid_rows(candidates, (0.1,), {one.layer: 1.0 for one in candidates}, questions, 1)
    grid = (grid * (rows // len(grid) + 1))[:rows]
    settings = GenerationConfig(temperature=0.8, max_new_tokens=tokens)
    named = {"names": ("bench",), "seed": 0, "prompt": "completion", "positions": "response", "batch_size": rows}
    table, _ = generate_rows(grid, loaded, settings, **named)
    return int(table["token_ids"].list.len().sum())


def forward_plainly(loaded: LoadedModel, rows: list[ReplayRow]) -> int:
    """One pass over prompts and runs with the logits of what was generated, nothing kept; gives the run's tokens."""
    ids = torch.tensor([row.prompt_token_ids + row.token_ids for row in rows], device=loaded.model.device)
    tokens = len(rows[0].token_ids)
    plainly(loaded, lambda: loaded.model(ids, use_cache=False, logits_to_keep=tokens))
    return tokens * len(rows)


def replay_rows(loaded: LoadedModel, rows: list[ReplayRow]) -> int:
    """Replay of every layer."""
    layers = range(loaded.model.config.num_hidden_layers)
    replay(loaded, rows, layers=layers, positions=POSITIONS, batch_size=len(rows))
    return sum(len(row.token_ids) for row in rows)


def measure(title: str, ours: Callable[[], int], plain: Callable[[], int], repeats: int) -> None:
    """Print tokens a second of both, their ratio, and the most memory that ours held."""
    ours()
    plain()
    rates = rates_in_turns({"ours": ours, "plain": plain}, repeats)
    speeds = {name: statistics.median(values) for name, values in rates.items()}
    peak = f"{peak_of(ours):.1f}" if torch.cuda.is_available() else "–"
    print(f"| {title} | {speeds['ours']:.0f} | {speeds['plain']:.0f} | {ratio(*rates.values()):.2f} | {peak} |")


def peak_of(run: Callable[[], int]) -> float:
    """The most GPU memory (GB) that tensors held while this ran."""
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    run()
    return torch.cuda.max_memory_allocated() / 2**30


def keep_to_limit(loaded: LoadedModel, gigabytes: float, tokens: int) -> None:
    """Sample more rows than fit a slice, and say whether the memory that was reserved stayed within it."""
    torch.cuda.empty_cache()
    limit_gpu_memory(loaded.model.device, gigabytes)
    torch.cuda.reset_peak_memory_stats()
    rows = 4096
    began = time.perf_counter()
    drawn = generate_by_engine(loaded, prompts_of(rows, 512), tokens)
    speed, reserved = drawn / (time.perf_counter() - began), torch.cuda.max_memory_reserved() / 2**30
    verdict = "kept" if reserved <= gigabytes + LIMIT_SLACK_GB else "BROKEN"
    asked = f"limit of {gigabytes:g} GB, {rows} rows asked for at once"
    print(f"\n{asked}: {verdict}, {reserved:.1f} GB at most, {speed:.0f} tokens/s")


def measure_shape(loaded: LoadedModel, chosen: argparse.Namespace) -> None:
    """Print the table of one model."""
    prompts, tokens = prompts_of(chosen.rows, chosen.prompt_tokens), chosen.tokens
    spans = Spans(None, None, (0, tokens))
    runs = zip(prompts, prompts_of(chosen.rows, tokens), strict=True)
    rows = [ReplayRow(prompt, run, spans, tokens) for prompt, run in runs]
    sizes = f"{chosen.rows} rows, {chosen.prompt_tokens} prompt tokens, {tokens} tokens"
    print(f"\n{loaded.name}, {loaded.model.dtype}, {sizes}\n")
    print("| what | tokens/s | plain transformers | ratio | peak GB |\n|---|---|---|---|---|")
    plain = partial(generate_plainly, loaded, prompts, tokens)
    measure("sampling", partial(generate_by_engine, loaded, prompts, tokens), plain, chosen.repeats)
    steered = partial(generate_steered, loaded, chosen.rows, chosen.prompt_tokens, tokens)
    measure("steering grid", steered, plain, chosen.repeats)
    measure("replay", partial(replay_rows, loaded, rows), partial(forward_plainly, loaded, rows), chosen.repeats)


def main() -> None:
    """Print one table for each shape."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=SHAPES, nargs="+", default=["qwen3-4b", "gemma-2-2b"])
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--rows", type=int, default=64, help="rows of a batch")
    parser.add_argument("--prompt-tokens", type=int, default=256)
    parser.add_argument("--tokens", type=int, default=128, help="tokens drawn, or replayed, per row")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--gpu-memory-gb", type=float, help="at the end, sample within this slice")
    chosen = parser.parse_args()
    if chosen.device == "cuda" and not torch.cuda.is_available():
        print("no GPU here: nothing is measured")
        return
    device = torch.device(chosen.device)
    print(f"{datetime.now(UTC):%Y-%m-%d}, {machine_name(device)}, `python {' '.join(sys.argv)}`")
    for shape in chosen.shape:
        loaded = random_weights(shape, device)
        measure_shape(loaded, chosen)
        if chosen.gpu_memory_gb and device.type == "cuda":
            keep_to_limit(loaded, chosen.gpu_memory_gb, chosen.tokens)
        del loaded


if __name__ == "__main__":
    main()
