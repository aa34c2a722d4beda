"""Does the direction of a trait such as `epistemic/confidence` read uncertainty?

It does where its projection predicts that an answer is right, and that the semantic entropy of its question is low.
What steering along it changes is another question, answered beside it where its questions were asked so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from tells.agreement.cells import InferenceSettings, column
from tells.agreement.resampling import Draws, spearman_estimate
from tells.agreement.signals import SEMANTIC_ENTROPY, SPANS, projection_name
from tells.agreement.steering_changes import SteeredQuestions, steering_record

NOT_STEERED = "no steered run of the uncertainty study's questions is part of this experiment"
SIGNIFICANT = 0.05


def direction_record(
    trait: str,
    table: pl.DataFrame,
    records: Sequence[Mapping[str, Any]],
    facts: Mapping[str, Any],
    settings: InferenceSettings,
    steered: Sequence[SteeredQuestions] = (),
) -> dict[str, Any]:
    """What the projection on a trait's direction says of correctness and semantic entropy.

    Args:
        trait: category/name.
        table: the signals table.
        records: of the table, corrected.
        facts: content of signals.json.
        settings: of the intervals.
        steered: answers to the study's questions under steering along the direction.

    Returns:
        `status` (`measured`, `insufficient` or `absent`) and its `reason`; `method` and `layer`; `correctness`: the
        table's records of its projections on uncertainty data sets; `semantic_entropy`: Spearman's correlation of the
        question's mean projection with its entropy, expected below 0; `answer` in words;
        `steering`, what steering along it changes, or `steering_reason`.
    """
    known = next((one for one in facts["directions"] if one["trait"] == trait), None)
    names = [projection_name(trait, span) for span in SPANS]
    correctness = [dict(record) for record in records if record["signal"] in names and record["outcome"] == "correct"]
    measured = [record for record in correctness if record["auroc"] is not None]
    status, reason = _status(known, facts, measured)
    entropy = _entropies(table, names, settings) if measured else []
    steering, unsteered = steering_record(steered, settings) if steered else (None, NOT_STEERED)
    return {
        "trait": trait,
        "status": status,
        "reason": reason,
        "method": known["method"] if known else None,
        "layer": known["layer"] if known else None,
        "correctness": correctness if measured else [],
        "semantic_entropy": entropy,
        "answer": _answer(trait, status, reason, measured, entropy),
        "steering": steering,
        "steering_reason": unsteered,
    }


def _status(
    known: Mapping[str, Any] | None, facts: Mapping[str, Any], measured: Sequence[Any]
) -> tuple[str, str | None]:
    if "uncertainty" in facts["missing_studies"]:
        return "absent", facts["missing_studies"]["uncertainty"]
    if known is None:
        return "absent", facts["missing_studies"].get("traits", "the trait is none of those that are projected on")
    if not known["projected"] or not measured:
        status = "insufficient" if known["status"] == "insufficient" else "absent"
        return status, known["reason"] or "no run of the uncertainty study has a projection"
    return ("measured", None) if known["status"] == "ok" else (known["status"], known["reason"])


def _entropies(table: pl.DataFrame, names: Sequence[str], settings: InferenceSettings) -> list[dict[str, Any]]:
    """By data set and span, the correlation of a question's mean projection with its semantic entropy."""
    rows = table.filter((pl.col("study") == "uncertainty") & pl.col("scored"))
    found = []
    for collection in rows["collection"].unique().sort().to_list():
        own = rows.filter(pl.col("collection") == collection)
        for name in (name for name in names if name in own.columns):
            questions = own.drop_nulls([name, SEMANTIC_ENTROPY]).group_by("group", maintain_order=True)
            means = questions.agg(pl.col(name).mean(), pl.col(SEMANTIC_ENTROPY).mean()).sort("group")
            found.append(_entropy_record(collection, name, means, settings))
    return found


def _entropy_record(collection: str, name: str, means: pl.DataFrame, settings: InferenceSettings) -> dict[str, Any]:
    record = {"collection": collection, "signal": name, "split": "test", "n_groups": means.height}
    record |= {"level": settings.level, "spearman": None, "spearman_low": None, "spearman_high": None}
    if means.height < 2:
        return {**record, "reason": f"{means.height} questions have both"}
    draws = Draws.of(np.arange(means.height), n=settings.bootstrap, seed=settings.seed, level=settings.level)
    one = spearman_estimate(draws, column(means, name), column(means, SEMANTIC_ENTROPY), "one side is constant")
    ends = {"spearman": one.value, "spearman_low": one.low, "spearman_high": one.high}
    return {**record, **ends, "reason": one.reason}


def _answer(
    trait: str, status: str, reason: str | None, measured: Sequence[Mapping[str, Any]], entropy: Sequence[Mapping]
) -> str:
    """The answer in a sentence or two."""
    if not measured:
        return f"It cannot be told whether {trait} reads uncertainty: {status}: {reason}."
    right = [one for one in measured if one["p_holm"] is not None and one["p_holm"] < SIGNIFICANT]
    agreeing = [one for one in right if one["auroc"] > 0.5]
    unsure = [one for one in entropy if one["spearman_high"] is not None and one["spearman_high"] < 0]
    opposite = [one for one in entropy if one["spearman_low"] is not None and one["spearman_low"] > 0]
    told = [
        f"Of {len(measured)} projections on {trait} {len(agreeing)} predict that an answer is right and "
        f"{len(right) - len(agreeing)} that it is wrong (p < {SIGNIFICANT} after Holm).",
        f"Of {len(entropy)} correlations with semantic entropy {len(unsure)} are below zero, as they should be, and "
        f"{len(opposite)} above, by their intervals.",
    ]
    if status == "insufficient":
        told.append(f"The direction is insufficient ({reason}), so this proves nothing of the trait.")
    return " ".join(told)
