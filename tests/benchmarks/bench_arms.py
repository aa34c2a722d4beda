"""How long the simulation of all arms takes; run by `make bench`."""

import time
from collections.abc import Callable

import numpy as np
import polars as pl

from tells.config.safety import StoppingConfig
from tells.safety.arms import arms_summary, build_pools, simulate_arms
from tells.safety.sweep import any_of_n_table, sweep_pools

PROMPTS, TRACES, TOKENS, DRAWS, WINDOW, TARGET_SECONDS = 500, 20, 256, 64, 32, 20.0


def study(seed: int = 0) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Confidence and reply labels of 250 pairs of twins; traces of one prompt differ in confidence and in label."""
    generator = np.random.default_rng(seed)
    rows = PROMPTS * TRACES
    lengths = generator.integers(TOKENS // 2, TOKENS + 1, rows)
    level = np.repeat(generator.normal(4.0, 0.5, rows), lengths)
    values = np.maximum(level + generator.normal(0.0, 1.0, lengths.sum()), 0.7).astype(np.float32)
    number = np.repeat(np.arange(PROMPTS), TRACES)
    refused = generator.random(rows) < np.repeat(generator.beta(0.7, 0.7, PROMPTS), TRACES)
    refusal = np.where(refused, "refusal", "compliance")
    harm = np.where(generator.random(rows) < 0.3, "harmful", "unharmful")
    keys = pl.DataFrame(
        {
            "prompt_id": [f"prompt-{one:04d}" for one in number],
            "group": [f"pair-{one // 2:04d}" for one in number],
            "sample": np.tile(np.arange(TRACES, dtype=np.int32), PROMPTS),
        }
    )
    confidence = keys.with_columns(
        n_tokens=pl.Series(lengths),
        truncated=pl.Series(lengths == TOKENS),
        confidence=pl.Series(np.split(values, np.cumsum(lengths)[:-1]), dtype=pl.List(pl.Float32)),
    )
    labels = keys.with_columns(
        label=pl.Series(np.where(number % 2 == 0, "harmful", "benign")),
        category=pl.lit(None, dtype=pl.String),
        stop_label=pl.Series(refusal),
        refusal=pl.Series(refusal),
        harm=pl.Series([None if no else one for no, one in zip(refused, harm, strict=True)], dtype=pl.String),
    )
    return confidence, labels


def timed(name: str, function: Callable[[], object]) -> tuple[object, float]:
    """Call once; print and return the seconds it took."""
    start = time.perf_counter()
    found = function()
    took = time.perf_counter() - start
    print(f"  {name:34s} {took:7.2f} s")
    return found, took


def main() -> None:
    """Print the figures."""
    confidence, labels = study()
    stopping = StoppingConfig(draws=DRAWS)
    print(f"{PROMPTS} prompts x {TRACES} traces of up to {TOKENS} tokens, {DRAWS} orders, window {WINDOW}")
    pools, building = timed("pools", lambda: build_pools(confidence, labels, window=WINDOW, budget=TRACES))
    table, simulating = timed("all arms", lambda: simulate_arms(pools, stopping, seed=0))
    records, _ = timed("summary with intervals", lambda: arms_summary(table, bootstrap=1000, level=0.95, seed=0))
    timed("percentile curve of 19 cuts", lambda: sweep_pools(pools, stopping, seed=0))
    timed("any-of-n curves with intervals", lambda: any_of_n_table(labels, bootstrap=1000, level=0.95, seed=0))
    for record in records:
        figures = ", ".join(f"{name} {record[name]['estimate']:.3f}" for name in ("traces", "saving", "agreement"))
        print(f"    {record['arm']:22s} {figures}")
    verdict = "met" if building + simulating < TARGET_SECONDS else "MISSED"
    print(f"  target: pools and all arms under {TARGET_SECONDS:.0f} s: {verdict}")


if __name__ == "__main__":
    main()
