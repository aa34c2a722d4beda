"""A made-up safety study: its tables, its records as the library makes them, and its folder."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from rich.console import Console

from tells.config.safety import StoppingConfig, StrataConfig
from tells.report.safety import safety_report
from tells.safety.arms import simulate_arms
from tells.safety.arms_summary import arms_summary
from tells.safety.pools import build_pools
from tells.safety.results import safety_results, strata_record, traces_table
from tells.safety.strata import strata_table
from tells.safety.sweep import any_of_n_table, sweep_pools
from tells.tables import SCHEMAS, make_metadata, write_json, write_table

WINDOW, BUDGET = 4, 6
DRAWN: dict[str, Any] = {"bootstrap": 60, "level": 0.9, "seed": 3}
STOPPING = StoppingConfig(warmup=2, draws=6, keep=0.3)
SAMPLED = {"params": {}, "experiment": "tiny", "model": {"name": "small", "revision": "abc123"}, "seed": 3}
PROXY = {"classifier": "embedding", "name": "minilm", "revision": "r1", "what_it_is": "A proxy that knows little."}


def study(
    prompts: int = 16, *, refusal: str | None = None, harm: str | None = None, label: str | None = "both", seed: int = 0
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The confidence and the reply_labels table; a given refusal, harm or label is that of all."""
    generator = np.random.default_rng(seed)
    rows = []
    for number in range(prompts):
        of_prompt = ("harmful", "benign")[number % 2] if label == "both" else label
        for sample in range(BUDGET):
            said = refusal or str(generator.choice(["refusal", "partial", "compliance", "compliance", "unclear"]))
            judged = harm or str(generator.choice(["harmful", "unharmful", "unharmful", "unscored"]))
            tokens = generator.gamma(4.0, 1.0, int(generator.integers(6, 13))).astype(np.float32).tolist()
            rows.append(
                {
                    "prompt_id": f"p{number:02d}",
                    "group": f"g{number // 2:02d}",
                    "sample": sample,
                    "label": of_prompt,
                    "category": ("theft", "fraud [bold]", None)[number // 2 % 3],
                    "truncated": sample == 0,
                    "empty": False,
                    "stop_label": said,
                    "refusal": said,
                    "harm": judged if said == "compliance" else None,
                    "harm_score": None,
                    "n_tokens": len(tokens),
                    "answer_start": 0,
                    "answer_stop": len(tokens),
                    "first_token_probability": float(generator.random()),
                    "token_logprob": -float(generator.random()),
                    "confidence": tokens,
                    **{kind: float(np.mean(tokens)) for kind in ("mean", "lowest", "bottom", "tail")},
                }
            )
    return _table(rows, "confidence"), _table(rows, "reply_labels")


def _table(rows: list[dict[str, Any]], kind: str) -> pl.DataFrame:
    columns = SCHEMAS[kind].columns
    return pl.DataFrame([{name: row.get(name) for name in columns} for row in rows], schema=columns)


def tables(confidence: pl.DataFrame, labels: pl.DataFrame) -> dict[str, Any]:
    """Everything that the study's later steps make of them, by the name of its file."""
    strata, facts = strata_table(labels, confidence, kind="mean", config=StrataConfig(), seed=3)
    pools = build_pools(confidence, labels, window=WINDOW, budget=BUDGET)
    arms = simulate_arms(pools, STOPPING, seed=3)
    stopping = {**STOPPING.model_dump(mode="json"), "window": WINDOW, "budget": BUDGET}
    return {
        "confidence": confidence,
        "reply_labels": labels,
        "strata": strata_record(strata, confidence, labels, facts, **DRAWN),
        "arms": {"arms": arms_summary(arms, **DRAWN), "stopping": stopping},
        "sweep": sweep_pools(pools, STOPPING, seed=3, keeps=(0.1, 0.5, 0.9)),
        "any_of_n": any_of_n_table(labels, **DRAWN),
        "traces": traces_table(["tiny"], [strata], [confidence]),
    }


def results(folder: Path, made: Mapping[str, Mapping[str, Any]], *, labelled: bool = True) -> Path:
    """Write a study's results.json, and what its classifiers said of themselves."""
    path = folder / "results.json"
    found = safety_results(list(made), [one["strata"] for one in made.values()], [one["arms"] for one in made.values()])
    classifiers = {"refusal": "patterns", "harm": "embedding"}
    metadata = make_metadata("analyse_safety", **SAMPLED, classifiers=classifiers, window=WINDOW, fraction=0.1)
    write_json(path, found, metadata=metadata)
    if labelled:
        empty = pl.DataFrame(schema=SCHEMAS["embedding_labels"].columns)
        facts = make_metadata("classify", **SAMPLED, classifier=PROXY)
        write_table(folder / next(iter(made)) / "embedding_labels.parquet", empty, "embedding_labels", facts)
    return path


def shown(path: Path, width: int = 180) -> str:
    """The report as a terminal of that width shows it, without logs."""
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(safety_report(path, path.parent / "logs"))
    return console.file.getvalue()


def table_lines(text: str, title: str) -> list[list[str]]:
    """Cells of each line of the table whose title contains a text."""
    after = text[text.index(title) :]
    body = after[after.index("┡") : after.index("└")]
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in body.splitlines() if "│" in line]


def line_of(lines: list[list[str]], name: str) -> list[str]:
    """The only line that begins with a name."""
    found = [line for line in lines if line[0] == name]
    assert len(found) == 1, (name, lines)
    return found[0]


def one_line(text: str) -> str:
    """A text without its line breaks."""
    return re.sub(r"\s+", " ", text)
