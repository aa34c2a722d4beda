"""The signals every probe is held against, and the direction each of them points in.

A baseline is a column of the runs: an uncertainty (larger means less sure) or a confidence. Its sign towards a target
follows from that definition and is never fitted: for `accuracy`, class 1 is a correct run and uncertainties are
negated; for semantic entropy, class 1 is high entropy and confidences are negated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tells.uncertainty.probe_files import Probe, ProbeSet, StatesSource, apply, apply_control
from tells.uncertainty.probe_solver import Floats
from tells.uncertainty.probe_targets import ACCURACY, SEMANTIC_ENTROPY, SEMANTIC_ENTROPY_RAW
from tells.uncertainty.probes import TOKEN_ENTROPY_COLUMN

TOKEN_ENTROPY = "token_entropy"
OUTCOMES = (ACCURACY, SEMANTIC_ENTROPY, SEMANTIC_ENTROPY_RAW)


@dataclass(frozen=True)
class Baseline:
    """A column of the runs that says how sure the model is.

    Attributes:
        name: of the baseline.
        column: of the runs.
        uncertainty: larger values mean less sure.
        optional: whether the column may be missing without a record that says so.
    """

    name: str
    column: str
    uncertainty: bool
    optional: bool = False


BASELINES = (
    Baseline(TOKEN_ENTROPY, TOKEN_ENTROPY_COLUMN, uncertainty=True),
    Baseline("discrete", "discrete", uncertainty=True),
    Baseline("rao", "rao", uncertainty=True),
    Baseline("majority_share", "majority_share", uncertainty=False),
    Baseline("mean_log_likelihood", "mean_log_likelihood", uncertainty=False),
    Baseline("think_length", "n_think", uncertainty=True),
    Baseline("p_true", "p_true", uncertainty=False, optional=True),
)


@dataclass(frozen=True)
class Score:
    """A score of every run towards one outcome, larger meaning class 1.

    Attributes:
        name: of the probe or baseline.
        kind: `probe`, `control` (a probe's fit on shuffled labels), `transfer` (trained on one data set) or `baseline`.
        outcome: what it is scored on.
        values: [rows], of a control [shuffles, rows]; NaN where a run has none.
        probability: [rows] calibrated probability of class 1; None for a score that is no probability.
        trained_on: data sets with training rows; None for what is not trained.
        reason: why there is no score at all; None when there is one.
    """

    name: str
    kind: str
    outcome: str
    values: Floats
    probability: Floats | None = None
    trained_on: tuple[str, ...] | None = None
    reason: str | None = None


@dataclass(frozen=True)
class ProbeScores:
    """Raw scores and probabilities [rows] by probe, and raw scores [shuffles, rows] by control.

    NaN where a run lacks the position.
    """

    raw: dict[str, Floats]
    probability: dict[str, Floats]
    controls: dict[str, Floats]


def score_runs(runs: pl.DataFrame, source: StatesSource, probes: ProbeSet) -> ProbeScores:
    """Apply every probe and control to every run.

    Args:
        runs: one row a run.
        source: hidden states of the same rows.
        probes: the fitted probes.

    Raises:
        ValueError: a probe reads a layer or position that is not stored, or a column that is missing.
    """
    raw: dict[str, Floats] = {}
    probability: dict[str, Floats] = {}
    controls: dict[str, Floats] = {}
    for probe in probes.probes:
        states, valid = _states(probe, runs, source)
        applied = apply(probe, states[valid])
        raw[probe.name] = _spread(applied.score, valid)
        if applied.probability is not None:
            probability[probe.name] = _spread(applied.probability, valid)
        for control in probes.controls:
            if control.probe == probe.name:
                shuffles = apply_control(control, probe, states[valid])
                controls[control.name] = np.stack([_spread(score, valid) for score in shuffles])
    return ProbeScores(raw, probability, controls)


def _states(probe: Probe, runs: pl.DataFrame, source: StatesSource) -> tuple[NDArray, NDArray[np.bool_]]:
    """What a probe reads [rows, width], and which rows have it [rows]."""
    if probe.layer is None:
        return _column(runs, probe.position, probe.name)
    if probe.layer in source.layers and probe.position in source.positions:
        return source.states(source.layers.index(probe.layer), source.positions.index(probe.position))
    raise ValueError(
        f"probe {probe.name} reads layer {probe.layer} at {probe.position}; the states hold layers "
        f"{source.layers} at {', '.join(source.positions)}"
    )


def _column(runs: pl.DataFrame, column: str, name: str) -> tuple[Floats, NDArray[np.bool_]]:
    if column not in runs.columns:
        raise ValueError(f"probe {name} reads the column {column}, which the runs lack")
    values = column_values(runs, column)
    return values[:, None], np.isfinite(values)


def column_values(runs: pl.DataFrame, column: str) -> Floats:
    """A numeric column [rows], NaN where it is null."""
    return runs[column].cast(pl.Float64).fill_null(float("nan")).to_numpy()


def _spread(values: Floats, valid: NDArray[np.bool_]) -> Floats:
    spread = np.full(valid.size, np.nan)
    spread[valid] = values
    return spread


def sign_towards(outcome: str, *, uncertainty: bool) -> float:
    """+1 when a signal of that direction predicts class 1 of the outcome, -1 when its negative does.

    Raises:
        ValueError: no such outcome.
    """
    if outcome not in OUTCOMES:
        raise ValueError(f"outcome must be one of {', '.join(OUTCOMES)}, it is {outcome!r}")
    return 1.0 if uncertainty == (outcome != ACCURACY) else -1.0


def baseline_scores(runs: pl.DataFrame, scored: ProbeScores, outcome: str, *, entropy: str) -> list[Score]:
    """Every baseline towards an outcome.

    Args:
        runs: one row a run.
        scored: where the one-feature regression on token entropy has its probabilities.
        outcome: `accuracy`, `semantic_entropy` or `semantic_entropy_raw`.
        entropy: column the semantic-entropy targets are made of; it cannot be scored on itself.
    """
    scores = []
    for baseline in BASELINES:
        if baseline.column not in runs.columns:
            if not baseline.optional:
                reason = f"the runs have no column {baseline.column}"
                scores.append(Score(baseline.name, "baseline", outcome, np.full(runs.height, np.nan), reason=reason))
            continue
        if outcome != ACCURACY and baseline.column == entropy:
            reason = "the target is made of this score"
            scores.append(Score(baseline.name, "baseline", outcome, np.full(runs.height, np.nan), reason=reason))
            continue
        values = sign_towards(outcome, uncertainty=baseline.uncertainty) * column_values(runs, baseline.column)
        probability = None
        if baseline.name == TOKEN_ENTROPY:
            probability = scored.probability.get(f"{outcome}.{TOKEN_ENTROPY}")
        scores.append(Score(baseline.name, "baseline", outcome, values, probability))
    return scores


def probe_scores(probes: ProbeSet, scored: ProbeScores, outcome: str) -> list[Score]:
    """Every probe that is scored on an outcome: those trained on it and, on correctness, the entropy probes.

    A probe of semantic entropy is an uncertainty: on correctness its score is negated and is no probability. A control
    follows its probe, on the probe's own outcome.
    """
    scores = []
    for probe in probes.probes:
        own = probe.target == outcome
        # The plain entropy probes alone are scored on what they were not trained for.
        crossed = probe.target != ACCURACY and probe.name == probe.target and outcome != SEMANTIC_ENTROPY_RAW
        if probe.layer is None or not (own or crossed):
            continue
        sign = 1.0 if own else sign_towards(outcome, uncertainty=True)
        probability = scored.probability.get(probe.name) if own else None
        kind = kind_of(probe.name)
        scores.append(Score(probe.name, kind, outcome, sign * scored.raw[probe.name], probability, probe.trained_on))
        scores += [
            Score(name, kind_of(name), outcome, scored.controls[name], None, probe.trained_on)
            for name in (control.name for control in probes.controls if own and control.probe == probe.name)
        ]
    return scores


def kind_of(name: str) -> str:
    """What a fit of that name is for: `control`, `transfer`, or `probe`."""
    if name.endswith(".shuffled"):
        return "control"
    return "transfer" if "@" in name else "probe"


def unfitted_scores(probes: ProbeSet, outcome: str, rows: int) -> list[Score]:
    """A score without values, with its reason, for every probe and control of an outcome that could not be fitted."""
    empty = np.full(rows, np.nan)
    return [
        Score(name, kind_of(name), outcome, empty, reason=reason)
        for name, reason in probes.unfitted.items()
        if name.split("@")[0].split(".")[0] == outcome and not name.endswith(f".{TOKEN_ENTROPY}")
    ]
