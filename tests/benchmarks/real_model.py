"""What the benchmarks on the real model share: its prompts, medians of interleaved runs, and peak memory.

Every figure is a ratio within one run: the variants take turns, so that whatever else the machine does meets them all.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from tells.models.loading import LoadedModel, load_model
from tells.uncertainty.questions import build_prompts, load_question_set, read_questions

ROOT = Path(__file__).parents[2]
MANIFEST = ROOT / "resources/models/smollm2-135m-instruct/model.json"
QUESTIONS, SAMPLES, TOKENS, BATCH = 16, 8, 32, 64


def real_model() -> LoadedModel:
    """The default model, in the dtype that this processor multiplies fastest."""
    if not MANIFEST.exists():
        sys.exit(f"fetch the model first: snakemake --profile cpu {MANIFEST.relative_to(ROOT)}")
    return load_model(MANIFEST, device="cpu")


def prompt_ids(loaded: LoadedModel) -> list[tuple[int, ...]]:
    """Few-shot prompts of the first sums."""
    question_set = load_question_set(ROOT / "config/questions/sums.yaml")
    prompts = build_prompts(read_questions(question_set), question_set, prompt="completion", limit=QUESTIONS)
    texts = [row["shared_prefix"] + row["text"] for row in prompts.iter_rows(named=True)]
    return [tuple(loaded.tokenizer(text)["input_ids"]) for text in texts]


def rates_in_turns(variants: Mapping[str, Callable[[], int]], repeats: int) -> dict[str, list[float]]:
    """Tokens a second of every variant in every round; the variants, which return their tokens, take turns."""
    rates: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(repeats):
        for name, run in variants.items():
            start = time.perf_counter()
            tokens = run()
            rates[name].append(tokens / (time.perf_counter() - start))
    return rates


def ratio(one: list[float], other: list[float]) -> float:
    """Median over the rounds of one / other."""
    return statistics.median(a / b for a, b in zip(one, other, strict=True))


def peak_of(script: str, variant: str) -> float:
    """Peak memory (MiB) of a process that loads the model and runs one variant once."""
    done = subprocess.run([sys.executable, script, variant], capture_output=True, text=True, check=True, cwd=ROOT)
    return float(done.stdout.split()[-1])


def print_peak() -> None:
    """Print the peak memory (MiB) of this process.

    Not `ru_maxrss`, which a new process on Linux takes over from the one that started it.
    """
    status = Path("/proc/self/status").read_text()
    kibibytes = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
    print(int(kibibytes) / 1024)
