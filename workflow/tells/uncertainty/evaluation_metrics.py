"""One evaluated number at a time: a metric of one score on one data set, as a record ready for JSON.

A record says what was scored on what, the value with its grouped interval and p-value, how many runs and questions
it rests on, and, where there is no value, why. For a control, which is many scores of the same rows, the value is the
mean over them and the interval is theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tells.stats import (
    Interval,
    aurac,
    auroc,
    average_precision,
    bootstrap_ci,
    brier,
    clustered_mean_ci,
    ece,
    paired_bootstrap,
    permutation_test,
    prediction_rejection_ratio,
    spearman,
    undefined_reason,
    within_group_auroc,
)
from tells.uncertainty.probe_solver import Floats

PRIMARY = "auroc"
Record = dict[str, Any]


@dataclass(frozen=True)
class InferenceSettings:
    """Draws and level of intervals and tests.

    Attributes:
        bootstrap: draws of an interval.
        permutations: of a p-value.
        level: of the intervals.
        seed: of both.
    """

    bootstrap: int = 1000
    permutations: int = 1000
    level: float = 0.95
    seed: int = 0


def _aurac(y: Floats, score: Floats) -> float | None:
    return aurac(y, -score)


def _prediction_rejection_ratio(y: Floats, score: Floats) -> float | None:
    return prediction_rejection_ratio(y, -score)


@dataclass(frozen=True)
class MetricDefinition:
    """How a metric is computed and tested.

    Attributes:
        name: in the records.
        function: of labels and scores (probabilities where `probability`).
        probability: reads the calibrated probability.
        tested: gets a permutation p-value.
        correctness_only: has a meaning for correctness alone.
    """

    name: str
    function: Callable[..., float | None]
    probability: bool = False
    tested: bool = False
    correctness_only: bool = False


AUROC = MetricDefinition(PRIMARY, auroc, tested=True)
QUESTION_AUROC = MetricDefinition("auroc_question", auroc, tested=True)
SPEARMAN = MetricDefinition("spearman", spearman, tested=True)
RUN_METRICS = (
    AUROC,
    MetricDefinition("auroc_within_question", within_group_auroc),
    MetricDefinition("average_precision", average_precision, tested=True),
    MetricDefinition("ece_10", ece, probability=True),
    MetricDefinition("brier", brier, probability=True),
    MetricDefinition("aurac", _aurac, correctness_only=True),
    MetricDefinition("prr", _prediction_rejection_ratio, correctness_only=True),
)


@dataclass(frozen=True)
class ScoredRows:
    """Labels, scores and questions of the rows a record rests on.

    Attributes:
        y: [rows] labels.
        score: [rows] scores.
        groups: [rows] questions.
    """

    y: Floats
    score: Floats
    groups: NDArray

    @classmethod
    def where(cls, mask: NDArray[np.bool_], y: Floats, score: Floats, groups: NDArray) -> ScoredRows:
        """The rows of a mask that have a score."""
        rows = np.flatnonzero(mask & np.isfinite(score))
        return cls(y[rows], score[rows], groups[rows])


def make_record(
    header: Record, metric: MetricDefinition, rows: ScoredRows, settings: InferenceSettings, reason: str | None = None
) -> Record:
    """Evaluate a metric on rows.

    Args:
        header: what is scored on what; copied into the record.
        metric: the metric.
        rows: what it rests on.
        settings: draws and level.
        reason: why there is nothing to evaluate, if that is known beforehand.
    """
    record = _record(header, metric.name, rows, settings)
    if reason is not None or rows.y.size == 0:
        record["reason"] = reason or "no rows"
        return record
    interval = bootstrap_ci(
        metric.function,
        rows.y,
        rows.score,
        rows.groups,
        n=settings.bootstrap,
        level=settings.level,
        seed=settings.seed,
    )
    _enter(record, interval)
    if interval.estimate is None:
        record["reason"] = _why_undefined(metric, rows)
    elif metric.tested:
        test = permutation_test(
            metric.function,
            rows.y,
            rows.score,
            rows.groups,
            n=settings.permutations,
            seed=settings.seed,
        )
        record["p"] = test.p
        record["p_rows_left_out"] = test.n_rows_left_out
        record["reason"] = record["reason"] or test.reason
    return record


def draws_record(
    header: Record,
    metric: MetricDefinition,
    draws: Sequence[ScoredRows],
    settings: InferenceSettings,
    reason: str | None = None,
) -> Record:
    """The mean of a metric over draws of a control, the percentiles of the draws, and the mean's standard error.

    The error is that of drawing again with the same test questions: draws are independent given these, so it is the
    standard deviation of the draws over the root of their number.

    Args:
        header: what is scored on what; copied into the record.
        metric: the metric.
        draws: of each draw, its scores on the same rows.
        settings: the level; nothing is resampled.
        reason: why there is nothing to evaluate, if that is known beforehand.
    """
    empty = ScoredRows(np.zeros(0), np.zeros(0), np.zeros(0))
    rows = draws[0] if draws else empty
    record = _record(header, metric.name, rows, settings)
    if reason is not None or rows.y.size == 0:
        return {**record, "reason": reason or "no rows"}
    found = [metric.function(each.y, each.score) for each in draws]
    values = np.array([value for value in found if value is not None])
    record["n_draws"], record["n_undefined"] = len(found), len(found) - values.size
    if values.size == 0:
        return {**record, "reason": _why_undefined(metric, rows)}
    record["value"] = float(values.mean())
    if values.size == 1:
        return {**record, "reason": "one draw has no spread"}
    record["standard_error"] = float(values.std(ddof=1) / np.sqrt(values.size))
    tail = (1.0 - settings.level) / 2.0
    record["low"], record["high"] = (float(end) for end in np.quantile(values, [tail, 1.0 - tail]))
    return record


def mean_record(header: Record, name: str, rows: ScoredRows, settings: InferenceSettings, **facts: Any) -> Record:
    """The mean of the scores, with a grouped interval; `facts` are added to the record."""
    record = {**_record(header, name, rows, settings), **facts}
    interval = clustered_mean_ci(
        rows.score, rows.groups, n=settings.bootstrap, level=settings.level, seed=settings.seed
    )
    _enter(record, interval)
    return record


def difference_record(
    header: Record, rows: ScoredRows, other: Floats, name: str, settings: InferenceSettings
) -> Record:
    """The AUROC of the scores minus that of `other` [rows] on the same draws; its p is two-sided."""
    record = _record(header, name, rows, settings)
    if rows.y.size == 0:
        return {**record, "reason": "no rows have both scores"}
    paired = paired_bootstrap(
        auroc,
        rows.y,
        rows.score,
        other,
        rows.groups,
        n=settings.bootstrap,
        level=settings.level,
        seed=settings.seed,
    )
    reason = paired.reason
    if paired.difference is None:
        reason = undefined_reason(rows.y, rows.score) or paired.reason
    return {
        **record,
        "value": paired.difference,
        "low": paired.low,
        "high": paired.high,
        "p": paired.p,
        "n_undefined": paired.n_undefined,
        "reason": reason,
    }


def _record(header: Record, metric: str, rows: ScoredRows, settings: InferenceSettings) -> Record:
    binary = rows.y.size > 0 and bool(np.isin(rows.y, (0.0, 1.0)).all())
    return {
        **header,
        "metric": metric,
        "value": None,
        "low": None,
        "high": None,
        "level": settings.level,
        "n_undefined": 0,
        "n_draws": None,
        "standard_error": None,
        "p": None,
        "p_rows_left_out": 0,
        "p_holm": None,
        "n_rows": int(rows.y.size),
        "n_questions": int(np.unique(rows.groups).size),
        "prevalence": float(rows.y.mean()) if binary else None,
        "reason": None,
    }


def _enter(record: Record, interval: Interval) -> None:
    record["value"], record["low"], record["high"] = interval.estimate, interval.low, interval.high
    record["n_undefined"], record["reason"] = interval.n_undefined, interval.reason


def _why_undefined(metric: MetricDefinition, rows: ScoredRows) -> str:
    if metric.function is spearman:
        return "under two rows, or one side is constant"
    known = undefined_reason(rows.y, rows.score, probabilities=metric.probability)
    if known is not None:
        return known
    if metric.function is within_group_auroc:
        return "no question has runs of both classes"
    return "undefined on these rows"


def accuracy_summary(runs: pl.DataFrame, settings: InferenceSettings | None = None) -> list[Record]:
    """How often the model is right, per data set: over all sampled runs, over complete ones, and greedily.

    A truncated run is wrong among all runs and among greedy ones, and so is a complete run without an answer (where
    the column `answer` tells); runs that cannot be graded are left out and counted.

    Args:
        runs: one row a run: dataset, group, greedy, truncated, correct, and answer if there is one.
        settings: draws and level; the defaults when None.

    Returns:
        One record a data set and measure: `all_runs`, `complete_runs`, `greedy`.
    """
    settings = settings or InferenceSettings()
    unanswered = pl.col("answer").is_null() if "answer" in runs.columns else pl.lit(False)
    wrong = pl.col("truncated") | (pl.col("correct").is_null() & unanswered)
    strict = pl.when(wrong).then(0.0).otherwise(pl.col("correct").cast(pl.Float64))
    complete = pl.when(~pl.col("truncated")).then(pl.col("correct").cast(pl.Float64))
    measures = {
        "all_runs": (~pl.col("greedy"), strict),
        "complete_runs": (~pl.col("greedy") & ~pl.col("truncated"), complete),
        "greedy": (pl.col("greedy"), strict),
    }
    records = []
    for dataset in sorted(runs["dataset"].unique().to_list()):
        for measure, (chosen, value) in measures.items():
            part = runs.filter((pl.col("dataset") == dataset) & chosen)
            graded = part.with_columns(value.alias("_value")).filter(pl.col("_value").is_not_null())
            scores = graded["_value"].to_numpy()
            rows = ScoredRows(scores, scores, graded["group"].to_numpy())
            facts = {
                "n_truncated": int(part["truncated"].sum()),
                "n_ungraded": part.height - graded.height,
            }
            records.append(mean_record({"dataset": dataset}, f"accuracy_{measure}", rows, settings, **facts))
    return records
