"""Judging 1,264 texts at 200 ms each: 50 at a time against one by one. The service runs in a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tells.config.judge import JudgeConfig
from tells.judge import Item, Rubric, open_judge

ITEMS, SAMPLE, CONCURRENCY, LATENCY, TARGET_SECONDS = 1264, 20, 50, 0.2, 8.0
SERVER = Path(__file__).parents[1] / "judge_server.py"
RUBRIC = Rubric("behavioral/formality", "How formal.", "HIGH: formal\nMID: neither\nLOW: casual", ("Sir,",), ("hey",))


def seconds(base_url: str, folder: Path, count: int, concurrency: int) -> float:
    """Time to judge so many texts with an empty cache, connections and all."""
    config = JudgeConfig(provider="openai", base_url=f"{base_url}/v1", key_variable="BENCH_JUDGE_KEY")
    items = [Item(str(place), f"text {place}: " + "some words that were sampled " * 8) for place in range(count)]
    start = time.perf_counter()
    judge = open_judge(config, writer="bench", cache=folder, concurrency=concurrency)
    judgements = asyncio.run(judge.score("trait", RUBRIC, items))
    elapsed = time.perf_counter() - start
    if judge.usage.calls != count or any(judgement.score is None for judgement in judgements):
        sys.exit(f"{judge.usage.calls} requests for {count} texts, or texts without a score")
    return elapsed


def main() -> None:
    """Print the seconds of both, and their ratio."""
    os.environ["BENCH_JUDGE_KEY"] = "no-key-needed"
    command = [sys.executable, str(SERVER), "--latency", str(LATENCY)]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    base_url = server.stdout.readline().strip()
    with tempfile.TemporaryDirectory() as folder:
        seconds(base_url, Path(folder, "imports"), 1, 1)
        sample = seconds(base_url, Path(folder, "sample"), SAMPLE, 1)
        many = seconds(base_url, Path(folder, "many"), ITEMS, CONCURRENCY)
    told = json.loads(server.communicate("")[0])
    single = sample / SAMPLE * ITEMS
    least = -(-ITEMS // CONCURRENCY) * LATENCY
    print(f"{ITEMS} texts at {LATENCY * 1000:.0f} ms, {CONCURRENCY} at a time (most seen: {told['most_in_flight']}):")
    print(f"  {many:.2f} s, {ITEMS / many:.0f} requests/s; the latency alone takes {least:.1f} s")
    print(f"  one by one: {single:.0f} s (estimated from {SAMPLE} texts in {sample:.2f} s); ratio {single / many:.1f}")
    print(f"  target: under {TARGET_SECONDS:.0f} s: {'met' if many < TARGET_SECONDS else 'MISSED'}")
    if many >= TARGET_SECONDS:
        sys.exit(1)


if __name__ == "__main__":
    main()
