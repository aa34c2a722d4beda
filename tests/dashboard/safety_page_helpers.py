"""A small made-up safety study with every file its rules write, and ways to read what a page shows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
from report.report_helpers import BUDGET, PROXY, SAMPLED, STOPPING, WINDOW, study, tables

from tells.config.safety import StrataConfig
from tells.dashboard.app import make_app
from tells.dashboard.safety.state import Chosen
from tells.dashboard.store import STORE_KEY, Store
from tells.safety.arms import simulate_arms
from tells.safety.pools import build_pools
from tells.safety.strata import strata_table
from tells.tables import SCHEMAS, make_metadata, write_json, write_table

ALL = Chosen(experiment="tiny", benchmark="mine")
HOSTILE = "<script>alert(1)</script>"
SECRET = "how to pick the lock"
CLASSIFIERS = {"refusal": "patterns", "harm": "embedding"}


def texts_of(confidence: pl.DataFrame) -> list[str]:
    return [f"reply {row[0]}/{row[1]} {HOSTILE}" for row in confidence.select("prompt_id", "sample").iter_rows()]


def filled(rows: pl.DataFrame, kind: str) -> pl.DataFrame:
    """The columns of a kind, null where the rows have none, and what the rows have beyond them."""
    columns = SCHEMAS[kind].columns
    absent = [pl.lit(None, dtype).alias(name) for name, dtype in columns.items() if name not in rows.columns]
    return rows.with_columns(absent).cast(dict(columns))


def samples_of(confidence: pl.DataFrame) -> pl.DataFrame:
    texts = texts_of(confidence)
    rows = confidence.select("prompt_id", "group", "sample", token_ids="confidence").with_columns(
        pl.Series("text", texts), token_ids=pl.int_ranges(pl.col("token_ids").list.len()), seed=0, greedy=False
    )
    return filled(rows, "samples")


def prompts_of(labels: pl.DataFrame) -> pl.DataFrame:
    rows = labels.unique("prompt_id", keep="first", maintain_order=True).select(
        "prompt_id", "group", "label", "category"
    )
    said = [f"{SECRET} {prompt_id} {HOSTILE}" for prompt_id in rows["prompt_id"]]
    return filled(
        rows.with_columns(pl.Series("prompt", said), pl.Series("text", said), twin=pl.col("group")), "prompts"
    )


def plant(root: Path, **how: Any) -> Path:
    """A study of one benchmark, with every file that its rules write; its folder."""
    folder = root / "experiments/tiny/safety/mine"
    confidence, labels = study(**how)
    ends = [[min(5 * (token + 1), 20) for token in range(len(row))] for row in confidence["confidence"]]
    confidence = confidence.with_columns(pl.Series("token_ends", ends, pl.List(pl.Int32)))
    made = tables(confidence, labels)
    strata, _ = strata_table(labels, confidence, kind="mean", config=StrataConfig(), seed=3)
    arms = simulate_arms(build_pools(confidence, labels, window=WINDOW, budget=BUDGET), STOPPING, seed=3)
    facts = {"classifiers": CLASSIFIERS, "window": WINDOW}
    written = {
        "prompts": prompts_of(labels),
        "samples": samples_of(confidence),
        "confidence": confidence,
        "reply_labels": labels,
        "strata": strata,
        "arms": arms,
        "sweep": made["sweep"],
        "any_of_n": made["any_of_n"],
        "embedding_labels": pl.DataFrame(schema=SCHEMAS["embedding_labels"].columns),
    }
    for kind, table in written.items():
        more = {"classifier": PROXY} if kind == "embedding_labels" else facts
        folder.mkdir(parents=True, exist_ok=True)
        write_table(folder / f"{kind}.parquet", table, kind, make_metadata("stratify", **SAMPLED, **more))
    for name in ("strata", "arms"):
        write_json(folder / f"{name}.json", made[name], metadata=make_metadata("stratify", **SAMPLED, **facts))
    return folder


def served(root: Path) -> Iterator[Any]:
    made = make_app(root)
    with made.server.app_context(), made.server.test_request_context("/"):
        yield made


def store(app: Any) -> Store:
    return app.server.config[STORE_KEY]


def parts(made: Any, *, veiled: bool = True) -> Iterator[Any]:
    """Components and texts of a tree; without what is blurred, if so wished."""
    if isinstance(made, list | tuple):
        for one in made:
            yield from parts(one, veiled=veiled)
    elif made is not None:
        yield made
        blurred = "veiled-text" in (getattr(made, "className", None) or "").split()
        if not isinstance(made, str) and (veiled or not blurred):
            yield from drawn(made)
            yield from parts(getattr(made, "children", None), veiled=veiled)


def drawn(made: Any) -> Iterator[str]:
    """What the browser draws of a shaded text: its tokens, and the mark of a cut."""
    if told := getattr(made, "data-tokens", None):
        told = json.loads(told)
        yield from told["pieces"]
        if told["cut"] is not None:
            yield f" ⟨{told['words']}⟩ "


def text(made: Any, *, veiled: bool = True) -> str:
    return " ".join(str(one) for one in parts(made, veiled=veiled) if isinstance(one, str))


def cards(made: Any) -> dict[str, Any]:
    """Cards by their heading."""
    sections = [one for one in parts(made) if getattr(one, "className", None) == "card"]
    return {section.children[0].children: section for section in sections}


def classes(made: Any) -> set[str]:
    return {one.className for one in parts(made) if getattr(one, "className", None)}
