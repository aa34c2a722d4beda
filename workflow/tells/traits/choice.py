"""From judged answers to the choice of a steering point, and to what it is worth on the report questions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import polars as pl

from tells.stats import clustered_mean_ci
from tells.traits.pair_bootstrap import expanded_level
from tells.traits.search import Baseline, Point, Verdict, choose, count_reasons, judge_points
from tells.traits.steering import PROMPTING, RANDOM, REFERENCE, STEERED, UNSTEERED

_POINT = ["layer", "method", "ratio", "coefficient"]
_WIDEST = 1 - 1e-6  # two questions would need an interval without end
_NO_POINTS: dict[str, Any] = {"invalid": {}, "n_questions": 0}


def choose_point(
    answers: pl.DataFrame, scores: pl.DataFrame, *, min_coherence: float, max_drop: float
) -> dict[str, Any]:
    """Choose on the search questions.

    Args:
        answers: the table of the search.
        scores: what the judge says of them.
        min_coherence: least mean coherence of a valid point.
        max_drop: largest loss of mean coherence against the unsteered answers.

    Returns:
        `status` (chosen, no_effect, no_valid_point or no_vectors), `optimum` (None where nothing is valid), `baseline`,
        `points` with means and the reasons that make them invalid, and counts of those reasons.
    """
    if answers.is_empty():
        return {**dict.fromkeys(("optimum", "baseline")), "status": "no_vectors", "points": [], **_NO_POINTS}
    judged = answers.join(scores, on="row_id", how="left", maintain_order="left")
    plain = judged.filter((pl.col("kind") == REFERENCE) & pl.col("question_id").str.starts_with("search"))
    baseline = _baseline(plain)
    points = [
        Point(*key, tuple(rows["trait"]), tuple(rows["coherence"]))
        for key, rows in judged.filter(pl.col("kind") == STEERED)
        .partition_by(_POINT, as_dict=True, maintain_order=True)
        .items()
    ]
    verdicts = judge_points(points, baseline=baseline, min_coherence=min_coherence, max_drop=max_drop)
    optimum = choose(points, baseline=baseline, min_coherence=min_coherence, max_drop=max_drop)
    status = "chosen" if points else "no_vectors"
    if points and optimum is None:
        status = "no_valid_point"
    elif optimum is not None and optimum.no_effect:
        status = "no_effect"
    found = None
    if optimum is not None:
        place = {key: getattr(optimum.point, key) for key in _POINT}
        found = {**place, **{key: value for key, value in asdict(optimum).items() if key != "point"}}
    return {
        "status": status,
        "optimum": found,
        "baseline": {
            "trait": _mean(baseline.trait),
            "coherence": _mean(baseline.coherence),
            "n": len(baseline.trait),
            "n_missing": plain.height - plain.drop_nulls(["trait", "coherence"]).height,
        },
        "points": [_point(verdict) for verdict in verdicts],
        "invalid": count_reasons(verdicts),
        "n_questions": plain["question_id"].n_unique(),
    }


def report_effects(answers: pl.DataFrame, scores: pl.DataFrame, *, bootstrap: int, seed: int) -> dict[str, Any]:
    """Effects on the report questions, against the unsteered answers to the same questions.

    Args:
        answers: the table of the report.
        scores: what the judge says of them.
        bootstrap: draws of the intervals, which resample questions.
        seed: of the draws.

    Returns:
        `steered` and `prompting`: delta (mean trait score less the unsteered one, on the questions that have both) with
        its 95% interval, mean coherence, counts; `random`: the deltas of all draws, their mean and 95th percentile;
        `exceeds_random`: the steered delta is above that percentile; `p_random`: the share at or above it of the draws
        and the steered delta itself.
    """
    judged = answers.join(scores, on="row_id", how="left", maintain_order="left")
    plain = judged.filter(pl.col("kind") == UNSTEERED)
    steered = _effect(judged.filter(pl.col("kind") == STEERED), plain, bootstrap, seed)
    draws = [
        _effect(rows, plain, 0, seed)
        for _, rows in sorted(judged.filter(pl.col("kind") == RANDOM).partition_by("draw", as_dict=True).items())
    ]
    deltas = [draw["delta"] for draw in draws if draw and draw["delta"] is not None]
    coherences = [draw["coherence"] for draw in draws if draw and draw["coherence"] is not None]
    delta = steered and steered["delta"]
    known = delta is not None and deltas
    percentile = float(np.quantile(deltas, 0.95, method="higher")) if deltas else None
    return {
        "unsteered": {"trait": _mean(plain["trait"]), "coherence": _mean(plain["coherence"]), "n": plain.height},
        "steered": steered,
        "prompting": _effect(judged.filter(pl.col("kind") == PROMPTING), plain, bootstrap, seed),
        "random": {
            "deltas": deltas,
            "mean": _mean(deltas),
            "percentile_95": percentile,
            "coherence": _mean(coherences),
            "n": len(draws),
        },
        "exceeds_random": bool(delta > percentile) if known and percentile is not None else None,
        "p_random": (1 + sum(one >= delta for one in deltas)) / (len(deltas) + 1) if known else None,
    }


def _effect(rows: pl.DataFrame, plain: pl.DataFrame, bootstrap: int, seed: int) -> dict[str, Any] | None:
    if rows.is_empty():
        return None
    key = ["question_id", "sample"]
    paired = rows.join(plain.select(*key, unsteered="trait"), on=key, how="left")
    differences = paired.select("question_id", delta=pl.col("trait") - pl.col("unsteered")).drop_nulls()
    result: dict[str, Any] = {
        "delta": _mean(differences["delta"]),
        "low": None,
        "high": None,
        "coherence": _mean(rows["coherence"]),
        "n": differences.height,
        "n_questions": differences["question_id"].n_unique(),
        "n_missing": rows.height - differences.height,
        "n_missing_coherence": rows["coherence"].null_count(),
    }
    if bootstrap and result["n_questions"] > 1:
        interval = clustered_mean_ci(
            differences["delta"].to_numpy(),
            differences["question_id"].to_list(),
            n=bootstrap,
            level=min(expanded_level(0.95, result["n_questions"]), _WIDEST),
            seed=seed,
        )
        result |= {"low": interval.low, "high": interval.high}
    return result


def _baseline(plain: pl.DataFrame) -> Baseline:
    """The unsteered answers that have both scores; a question without one keeps its gap, which voids every point."""
    scored = plain.drop_nulls(["trait", "coherence"])
    gaps = plain.join(scored, on="question_id", how="anti").unique("question_id", maintain_order=True)
    kept = pl.concat([scored, gaps])
    return Baseline(tuple(kept["trait"]), tuple(kept["coherence"]))


def _point(verdict: Verdict) -> Mapping[str, Any]:
    own = {key: getattr(verdict.point, key) for key in _POINT}
    means = {"trait": verdict.trait, "coherence": verdict.coherence, "delta": verdict.delta}
    return {**own, **means, "n": len(verdict.point.trait), "reasons": list(verdict.reasons)}


def _mean(values: Any) -> float | None:
    present = [float(value) for value in values if value is not None]
    return sum(present) / len(present) if present else None
