"""What the probes are worth: every probe and baseline on every data set's held-out questions.

Per outcome (correctness, high semantic entropy, raw semantic entropy) and data set this computes the metrics of
`evaluation_metrics` with grouped intervals and p-values, the paired differences to the token-entropy baseline, Holm's
correction over the probes' primary metric, the transfer matrix, and how confident the probe is of right and of wrong
runs. The result is a list of plain records and a table of scores by run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tells.progress import progress
from tells.stats import holm, question_level
from tells.uncertainty.baselines import (
    OUTCOMES,
    TOKEN_ENTROPY,
    ProbeScores,
    Score,
    baseline_scores,
    probe_scores,
    score_runs,
    unfitted_scores,
)
from tells.uncertainty.curves import curves_of, no_curves
from tells.uncertainty.evaluation_metrics import (
    AUROC,
    PRIMARY,
    QUESTION_AUROC,
    RUN_METRICS,
    SPEARMAN,
    InferenceSettings,
    MetricDefinition,
    Record,
    ScoredRows,
    accuracy_summary,
    difference_record,
    draws_record,
    make_record,
    mean_record,
)
from tells.uncertainty.probe_files import ProbeSet, StatesSource
from tells.uncertainty.probe_solver import Floats
from tells.uncertainty.probe_targets import (
    ACCURACY,
    SEMANTIC_ENTROPY_RAW,
    Target,
    data_sets_with_training,
    held_out,
    make_targets,
)

__all__ = ["Evaluation", "InferenceSettings", "accuracy_summary", "evaluate", "transfer_matrix"]

DIFFERENCE = "auroc_minus_token_entropy"
CONFIDENCE = {1.0: "confidence_when_correct", 0.0: "confidence_when_incorrect"}


@dataclass(frozen=True)
class Evaluation:
    """The numbers of a study.

    Attributes:
        records: one a (outcome, score, data set, metric): value, low, high, p, p_holm, n_rows, n_questions,
            prevalence, and reason where the value is None; of a control also n_draws and standard_error.
        accuracy: how often the model is right, see `accuracy_summary`.
        scores: one row a run: its keys, its labels, and `PROBE.score` and `PROBE.probability` of each probe.
        curves: of every probe and baseline, the table of `tells.uncertainty.curves`.
        n_seen_elsewhere: test rows left out because their question was trained on in another data set.
    """

    records: list[Record]
    accuracy: list[Record]
    scores: pl.DataFrame
    curves: pl.DataFrame
    n_seen_elsewhere: int


@dataclass(frozen=True)
class _Outcome:
    """An outcome and which rows it is judged on."""

    target: Target
    held_out: NDArray[np.bool_]
    datasets: NDArray
    groups: NDArray
    greedy: NDArray[np.bool_]
    greedy_correct: Floats
    trained: Sequence[str]
    settings: InferenceSettings

    def header(self, score: Score, dataset: str) -> Record:
        trained_on = self.trained if score.trained_on is None else score.trained_on
        return {
            "outcome": self.target.name,
            "score": score.name,
            "kind": score.kind,
            "trained_on": None if score.trained_on is None else list(score.trained_on),
            "dataset": dataset,
            "distribution": "in" if dataset in trained_on else "out",
            "split": "test",
        }

    def rows(self, values: Floats, dataset: str) -> ScoredRows:
        return ScoredRows.where(self.mask(dataset), self.target.values, values, self.groups)

    def mask(self, dataset: str) -> NDArray[np.bool_]:
        return self.held_out & self.target.usable & (self.datasets == dataset)


def evaluate(
    runs: pl.DataFrame,
    source: StatesSource,
    probes: ProbeSet,
    *,
    entropy: str = "discrete",
    min_valid: int = 4,
    settings: InferenceSettings | None = None,
) -> Evaluation:
    """Evaluate every probe and baseline on the held-out questions of every data set.

    Args:
        runs: the table the probes were trained on, with the baselines' columns.
        source: hidden states of the same rows in the same order.
        probes: from `tells.uncertainty.probes.fit_probes`.
        entropy: column of the semantic entropy, as in training.
        min_valid: complete samples a trusted entropy needs, as in training.
        settings: draws and level; the defaults when None.

    Raises:
        ValueError: the table is not the one the probes were trained on.
    """
    settings = settings or InferenceSettings()
    targets = make_targets(runs, entropy=entropy, min_valid=min_valid)
    _check_thresholds(probes, targets)
    scored = score_runs(runs, source, probes)
    outside = held_out(runs)
    jobs: list[tuple[_Outcome, list[Score], str]] = []
    for name in OUTCOMES:
        outcome = _outcome(targets[name], runs, outside, settings)
        scores = [
            *probe_scores(probes, scored, name),
            *unfitted_scores(probes, name, runs.height),
            *baseline_scores(runs, scored, name, entropy=entropy),
        ]
        jobs += [(outcome, scores, dataset) for dataset in runs["dataset"].unique().sort().to_list()]
    records = _all_records(jobs)
    return Evaluation(
        records,
        accuracy_summary(runs, settings),
        _score_table(runs, targets, scored),
        _all_curves(jobs),
        int(((runs["split"] == "test").to_numpy() & ~outside).sum()),
    )


def _outcome(target: Target, runs: pl.DataFrame, outside: NDArray[np.bool_], settings: InferenceSettings) -> _Outcome:
    return _Outcome(
        target,
        held_out=outside,
        datasets=runs["dataset"].to_numpy(),
        groups=runs["group"].to_numpy(),
        greedy=runs["greedy"].to_numpy(),
        greedy_correct=_greedy_correct(runs),
        trained=data_sets_with_training(runs),
        settings=settings,
    )


def _all_records(jobs: Sequence[tuple[_Outcome, list[Score], str]]) -> list[Record]:
    """Records of every score of every (outcome, scores, data set), corrected for their number."""
    records: list[Record] = []
    with progress(sum(len(scores) for _, scores, _ in jobs), "evaluation", "scores") as advance:
        for outcome, scores, dataset in jobs:
            baseline = next((score for score in scores if score.name == TOKEN_ENTROPY), None)
            for score in scores:
                records += _records(outcome, score, baseline, dataset)
                advance(1)
    _correct_for_many(records)
    return records


def _all_curves(jobs: Sequence[tuple[_Outcome, list[Score], str]]) -> pl.DataFrame:
    """Curves of every probe and baseline that has values, but for the entropy itself, which is no class."""
    tables = [no_curves()]
    for outcome, scores, dataset in jobs:
        if outcome.target.name == SEMANTIC_ENTROPY_RAW:
            continue
        for score in scores:
            if score.kind in ("probe", "baseline") and score.reason is None:
                probable = None if score.probability is None else outcome.rows(score.probability, dataset)
                tables += curves_of(
                    outcome.header(score, dataset),
                    outcome.rows(score.values, dataset),
                    probable,
                    outcome.settings,
                    correctness=outcome.target.name == ACCURACY,
                )
    return pl.concat(tables)


def _records(outcome: _Outcome, score: Score, baseline: Score | None, dataset: str) -> list[Record]:
    """All records of one score on one data set."""
    header, settings = outcome.header(score, dataset), outcome.settings
    reason = score.reason or (None if outcome.target.usable.any() else outcome.target.reason)
    if score.kind == "control":
        return _control_records(outcome, score, dataset, header, reason)
    rows = outcome.rows(score.values, dataset)
    if outcome.target.name == SEMANTIC_ENTROPY_RAW:
        return [make_record(header, SPEARMAN, rows, settings, reason)]
    if score.kind == "transfer":
        return [make_record(header, AUROC, rows, settings, reason)]
    records = [_run_record(outcome, score, metric, dataset, rows, header, reason) for metric in RUN_METRICS]
    rows, missing = _question_rows(outcome, score.values, dataset)
    records.append(make_record(header, QUESTION_AUROC, rows, settings, reason or missing))
    if score.kind == "probe" and baseline is not None and reason is None:
        both = np.flatnonzero(outcome.mask(dataset) & np.isfinite(score.values) & np.isfinite(baseline.values))
        paired = ScoredRows(outcome.target.values[both], score.values[both], outcome.groups[both])
        records.append(difference_record(header, paired, baseline.values[both], DIFFERENCE, settings))
    if outcome.target.name == ACCURACY and score.probability is not None:
        records += _confidence_records(outcome, score, dataset, header)
    return records


def _run_record(
    outcome: _Outcome,
    score: Score,
    metric: MetricDefinition,
    dataset: str,
    rows: ScoredRows,
    header: Record,
    reason: str | None,
) -> Record:
    if metric.correctness_only and outcome.target.name != ACCURACY:
        reason = reason or "defined for correctness only"
    if metric.probability:
        if score.probability is None:
            reason = reason or "the score is no probability of this outcome"
        else:
            rows = outcome.rows(score.probability, dataset)
    return make_record(header, metric, rows, outcome.settings, reason)


def _control_records(outcome: _Outcome, score: Score, dataset: str, header: Record, reason: str | None) -> list[Record]:
    """AUROC of a control over runs and over questions: what a fit without knowledge comes to on these questions."""
    draws: list[ScoredRows] = []
    questions: list[ScoredRows] = []
    missing = None
    for values in score.values if reason is None else ():
        draws.append(outcome.rows(values, dataset))
        rows, missing = _question_rows(outcome, values, dataset)
        questions.append(rows)
    return [
        draws_record(header, AUROC, draws, outcome.settings, reason),
        draws_record(header, QUESTION_AUROC, questions, outcome.settings, reason or missing),
    ]


def _question_rows(outcome: _Outcome, values: Floats, dataset: str) -> tuple[ScoredRows, str | None]:
    """One row a question, and why there can be none.

    For correctness the row is the greedy run, with its own score; for entropy it is the mean score of the sampled
    runs, which share the label.
    """
    if outcome.target.name == ACCURACY:
        mask = outcome.held_out & outcome.greedy & (outcome.datasets == dataset)
        usable = mask & np.isfinite(outcome.greedy_correct)
        rows = ScoredRows.where(usable, outcome.greedy_correct, values, outcome.groups)
        return rows, None if mask.any() else "no greedy runs"
    rows = outcome.rows(values, dataset)
    groups, labels = question_level(rows.y, rows.groups)
    # Texts that stand in a data set twice can have two labels: such a question has none.
    clear = np.flatnonzero((labels == 0.0) | (labels == 1.0))
    return ScoredRows(labels[clear], question_level(rows.score, rows.groups)[1][clear], groups[clear]), None


def _confidence_records(outcome: _Outcome, score: Score, dataset: str, header: Record) -> list[Record]:
    assert score.probability is not None
    rows = outcome.rows(score.probability, dataset)
    records = []
    for label, name in CONFIDENCE.items():
        chosen = rows.y == label
        part = ScoredRows(rows.y[chosen], rows.score[chosen], rows.groups[chosen])
        records.append(mean_record(header, name, part, outcome.settings))
    return records


def _greedy_correct(runs: pl.DataFrame) -> Floats:
    complete = pl.col("greedy") & ~pl.col("truncated")
    values = runs.select(pl.when(complete).then(pl.col("correct").cast(pl.Float64)).alias("value"))["value"]
    return values.fill_null(float("nan")).to_numpy()


def _check_thresholds(probes: ProbeSet, targets: dict[str, Target]) -> None:
    for probe in probes.probes:
        if probe.target not in targets:
            raise ValueError(f"probe {probe.name} has the target {probe.target!r}, which is unknown")
        if probe.tau != targets[probe.target].tau:
            raise ValueError(
                f"probe {probe.name} was trained with the threshold {probe.tau}, these runs give "
                f"{targets[probe.target].tau}: train the probes on these runs again"
            )


def _correct_for_many(records: list[Record]) -> None:
    """Holm over the primary metric of every probe on every data set."""
    family = [record for record in records if record["kind"] == "probe" and record["metric"] == PRIMARY]
    for record, adjusted in zip(family, holm([record["p"] for record in family]), strict=True):
        record["p_holm"] = adjusted
        record["n_tests"] = sum(other["p"] is not None for other in family)


def _score_table(runs: pl.DataFrame, targets: dict[str, Target], scored: ProbeScores) -> pl.DataFrame:
    columns = {name: target.values for name, target in targets.items()}
    for name, values in scored.raw.items():
        columns[f"{name}.score"] = values
        if name in scored.probability:
            columns[f"{name}.probability"] = scored.probability[name]
    keys = runs.select("dataset", "prompt_id", "group", "sample", "greedy", "split")
    return keys.with_columns(
        pl.Series(name, values, dtype=pl.Float64).fill_nan(None) for name, values in columns.items()
    )


def transfer_matrix(records: Sequence[Record]) -> list[Record]:
    """Cells (outcome, train, test, auroc, ...) of the probes trained on one data set each.

    Every cell is on held-out questions, the diagonal too.
    """
    return [
        {
            "outcome": record["outcome"],
            "train": record["score"].split("@")[1],
            "test": record["dataset"],
            **{key: record[key] for key in ("value", "low", "high", "p", "n_rows", "n_questions", "reason")},
        }
        for record in records
        if record["kind"] == "transfer" and record["metric"] == PRIMARY
    ]
