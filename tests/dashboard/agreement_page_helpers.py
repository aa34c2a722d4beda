"""A small made-up agreement of three studies, with every file that its page reads."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from agreement_helpers import facts, signals_table
from safety_page_helpers import HOSTILE, SECRET, filled
from scipy.stats import rankdata

from tells.agreement.cells import InferenceSettings
from tells.agreement.results import analyse
from tells.agreement.signals import Signal
from tells.dashboard.agreement.state import Chosen
from tells.tables import make_metadata, write_json, write_table

MADE = make_metadata(
    "analyse_agreement", params={}, experiment="tiny", model={"name": "small", "revision": "1"}, seed=3
)
ALL = Chosen(experiment="tiny")
TRAIT = "behavioral/tone"
PLACES = ("uncertainty/sums", f"traits/{TRAIT}", "safety/mine")
# Characters that keys, addresses and tags give a meaning.
STRANGE = "50%~|/<b>"
ENTROPY, PROBE, TONE = "token_entropy_mean", "probe.accuracy", f"projection.{TRAIT}.answer"
SIGNALS = (
    Signal(ENTROPY, "token_entropy", -1, "nats", "mean exact token entropy"),
    Signal(PROBE, "probe", 1, "log-odds", "linear probe of the uncertainty study"),
    Signal(TONE, "projection", 1, "activation", "mean state along a direction"),
    Signal("length", "length", -1, "tokens", "generated tokens"),
)
RUNS = 5
REASON = "the probe reads answer_mean, which is not replayed here"
_SETTINGS = InferenceSettings(bootstrap=40, permutations=100, seed=3)


@cache
def signals() -> pl.DataFrame:
    """Samples of three studies; of each question a greedy run, which is not scored, and four sampled ones."""
    generator = np.random.default_rng(5)
    parts = [_of_study(generator, *place.split("/", 1)) for place in PLACES]
    return pl.concat(parts, how="vertical")


def _of_study(generator: np.random.Generator, study: str, collection: str) -> pl.DataFrame:
    prompts, runs = (14, RUNS) if study == "uncertainty" else (12, 3)
    groups = np.repeat(np.arange(prompts), runs)
    sample = np.tile(np.arange(runs), prompts) - (study == "uncertainty")
    hidden = np.repeat(generator.normal(size=prompts), runs) + generator.normal(size=groups.size)
    outcome = hidden + generator.normal(size=groups.size) > 0
    known: dict[str, Any] = {
        "uncertainty": {"correct": outcome},
        "safety": {"refused": outcome, "harmful": ~outcome},
        "traits": {"shows_trait": outcome, "trait_score": 100.0 * outcome},
    }[study]
    columns = {ENTROPY: -hidden, PROBE: hidden + generator.normal(size=groups.size)}
    columns |= {
        TONE: generator.normal(size=groups.size),
        "length": generator.integers(5, 60, groups.size).astype(float),
    }
    table = signals_table(
        columns,
        groups=groups,
        study=study,
        collection=collection,
        sample=sample,
        greedy=sample < 0,
        scored=sample >= 0,
        **known,
    )
    names = [STRANGE if name == "q001" else name for name in table["prompt_id"]]
    table = table.with_columns(pl.Series("prompt_id", names))
    return table.with_columns(pl.lit(None, pl.Float64).alias(PROBE)) if study == "traits" else table


@cache
def told() -> dict[str, Any]:
    """What signals.json says."""
    collections = [{"study": study, "collection": name} for study, _, name in (one.partition("/") for one in PLACES)]
    absent = [{"study": "traits", "collection": None, "signal": PROBE, "reason": REASON}]
    directions = [{"trait": TRAIT, "method": None, "layer": None, "window": "response"}]
    directions[0] |= {"status": "insufficient", "reason": "too few", "projected": False}
    # What notes are made of, of no weight here.
    for one in collections:
        one |= {"labels_by": {}, "share_within_window": 0.0, "confidence_window": 16, "span": "answer"}
    return facts(list(SIGNALS), collections=collections, absent=absent, directions=directions, missing_studies={})


@cache
def found() -> Any:
    """What the study finds in it."""
    return analyse(signals(), told(), confidence_trait="epistemic/confidence", settings=_SETTINGS)


def text_of(key: tuple[Any, ...]) -> str:
    """What the model wrote in a sample."""
    return f"reply {'/'.join(map(str, key))} {HOSTILE}"


def plant(root: Path) -> Path:
    """Write the agreement, and the texts of its samples, below a folder that holds experiments/; gives the former's."""
    folder = root / "experiments/tiny/agreement"
    write_table(folder / "signals.parquet", signals(), "signals", MADE)
    write_json(folder / "signals.json", told(), metadata=MADE)
    write_table(folder / "results.parquet", found().table, "agreement", MADE)
    write_json(folder / "results.json", found().content, metadata=MADE)
    for (study, collection), rows in signals().partition_by("study", "collection", as_dict=True).items():
        place = root / "experiments/tiny" / str(study) / str(collection)
        replies = [text_of(key) for key in rows.select("study", "collection", "prompt_id", "sample").iter_rows()]
        samples = rows.select("prompt_id", "group", "sample", "greedy").with_columns(pl.Series("text", replies))
        write_table(place / "samples.parquet", filled(samples, "samples"), "samples", MADE)
        prompts = rows.select("prompt_id", "group").unique(maintain_order=True)
        said = [f"{SECRET} {name} {HOSTILE}" for name in prompts["prompt_id"]]
        prompts = prompts.with_columns(pl.Series("text", said), shared_prefix=pl.lit("Before: "))
        write_table(place / "prompts.parquet", filled(prompts, "prompts"), "prompts", MADE)
    return folder


def shares(values: np.ndarray) -> np.ndarray:
    """Ranks of values as shares of all, ties half."""
    return (rankdata(values) - 0.5) / values.size
