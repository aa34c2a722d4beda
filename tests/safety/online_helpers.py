"""Online sampling on a tiny random model; run as a program, it stalls in a wave, to be killed there."""

from __future__ import annotations

import json
import sys
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from tells.config import GenerationConfig
from tells.config.safety import StoppingConfig
from tells.models.engines import Generation, Request
from tells.safety.sampling import sample_adaptively
from tells.tables import SCHEMAS

WINDOW, BUDGET, K = 4, 8, 20
CONFIG = StoppingConfig(warmup=3, keep=0.9, consensus=0.7)
SETTINGS = GenerationConfig(temperature=0.9, max_new_tokens=24)
NAMES = ("safety", "tiny")


def prompts_table(count: int = 6) -> pl.DataFrame:
    """Prompts of several lengths, not in the order of their names."""
    rows = [(f"p{count - place}", f"g{place % 3}", f"Question {'x' * place}?", "", None) for place in range(count)]
    return pl.DataFrame(rows, SCHEMAS["prompts"].columns, orient="row")


def vote(texts: Sequence[str]) -> list[str]:
    """Labels that differ between the traces of a prompt, by nothing but their text."""
    outcomes = ("refusal", "partial", "compliance", "compliance", "unclear")
    return [outcomes[zlib.crc32(text.encode()) % 5] if text else "unclear" for text in texts]


class Counting:
    """An engine that notes what it is asked for, and fails or stalls in a wave."""

    def __init__(self, engine: Any, *, fails_in: int | None = None, stalls_in: int | None = None) -> None:
        self.engine, self.name, self.tokenizer = engine, engine.name, engine.tokenizer
        self.fails_in, self.stalls_in, self.waves = fails_in, stalls_in, []

    def facts(self) -> dict[str, Any]:
        return self.engine.facts()

    def generate(
        self, requests: Sequence[Request], settings: GenerationConfig, *, top_logprobs: int
    ) -> list[Generation]:
        if len(self.waves) == self.fails_in:
            raise RuntimeError("the machine is gone")
        if len(self.waves) == self.stalls_in:
            print("stalling", flush=True)
            time.sleep(600)
        self.waves.append(list(requests))
        return self.engine.generate(requests, settings, top_logprobs=top_logprobs)


def sample(engine: Any, manifest: Path, partial: Path | None = None, **changes: Any) -> pl.DataFrame:
    """The online table of the tiny model, with some parameters changed."""
    facts = json.loads(manifest.read_text())
    parameters = {
        "prompts": prompts_table(),
        "names": NAMES,
        "seed": 5,
        "config": CONFIG,
        "window": WINDOW,
        "budget": BUDGET,
        "k": K,
        "settings": SETTINGS,
        "prompt": "completion",
        "vote": vote,
        **changes,
    }
    return sample_adaptively(parameters.pop("prompts"), engine, facts, partial=partial, **parameters)[0]


def tiny_engine(manifest: Path) -> Any:
    """The hf engine on the model of a manifest."""
    from tells.models.engines.hf import HfEngine
    from tells.models.loading import load_model

    return HfEngine(load_model(manifest, dtype="float32", device="cpu"))


if __name__ == "__main__":
    path, folder, wave = sys.argv[1:]
    sample(Counting(tiny_engine(Path(path)), stalls_in=int(wave)), Path(path), Path(folder))
