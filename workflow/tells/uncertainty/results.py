"""The study's results: what the dashboard, the report and `tells show` read.

`results.json` holds every figure with its n, split and interval; `results.parquet` one row per run with all scores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from tells.uncertainty.probe_files import ProbeSet, selection_heatmap

UNAVAILABLE = "the samples are the user's own: there are no token ids to replay, so no hidden states and no likelihoods"


def summarise(
    runs: pl.DataFrame,
    evaluation: Mapping[str, Any],
    probes: ProbeSet,
    *,
    roles: Mapping[str, str],
    replayed: Sequence[str],
) -> dict[str, Any]:
    """The content of results.json.

    Args:
        runs: one row a run, see `tells.uncertainty.runs.join_runs`.
        evaluation: `records` and `accuracy` of `tells.uncertainty.evaluation.evaluate`.
        probes: the fitted probes.
        roles: of each data set.
        replayed: data sets that have hidden states.
    """
    return {
        "study": "uncertainty",
        "datasets": {name: _dataset(runs.filter(dataset=name), role) for name, role in sorted(roles.items())},
        "unavailable": {name: UNAVAILABLE for name in sorted(roles) if name not in replayed},
        "accuracy": evaluation["accuracy"],
        "records": evaluation["records"],
        "transfer": evaluation["transfer"],
        "n_seen_elsewhere": evaluation["n_seen_elsewhere"],
        "probes": [_probe(probe) for probe in probes.probes],
        "unfitted": dict(probes.unfitted),
    }


def result_rows(
    runs: pl.DataFrame, scores: pl.DataFrame, points: pl.DataFrame, texts: Mapping[str, pl.DataFrame]
) -> pl.DataFrame:
    """One row a run: question, think text, answer, labels, entropies, scores of all probes, and place on the map.

    Args:
        runs: one row a run.
        scores: of each probe.
        points: `x` and `y` of the runs on the map.
        texts: by data set, the prompts table (question, gold).
    """
    keys = ["dataset", "prompt_id", "sample"]
    questions = pl.concat(
        [table.select(pl.lit(name).alias("dataset"), "prompt_id", "question", "gold") for name, table in texts.items()]
    )
    extra = [column for column in scores.columns if column not in runs.columns]
    return (
        runs.join(questions, on=["dataset", "prompt_id"], how="left")
        .join(scores.select(*keys, *extra), on=keys, how="left")
        .join(points.select(*keys, "x", "y"), on=keys, how="left")
        .sort(keys)
    )


def _dataset(runs: pl.DataFrame, role: str) -> dict[str, Any]:
    sampled = runs.filter(~pl.col("greedy"))
    questions = runs.unique("prompt_id", maintain_order=True)
    trusted = questions.filter(pl.col("reliable"))
    return {
        "role": role,
        "n_questions": questions.height,
        "n_runs": sampled.height,
        "n_truncated": int(sampled["truncated"].sum()),
        "n_questions_below_min_valid": questions.height - trusted.height,
        "semantic_entropy_mean": trusted["discrete"].mean(),
        "rao_semantic_entropy_mean": trusted["rao"].mean(),
        "splits": dict(sorted(questions["split"].value_counts().iter_rows())),
    }


def _probe(probe: Any) -> dict[str, Any]:
    return {
        "name": probe.name,
        "layer": probe.layer,
        "position": probe.position,
        "heatmap": selection_heatmap(probe),
    }
