"""Training of the uncertainty probes: for each target a search, one fit, a calibration.

From a table of runs and their hidden states this makes the probes of `accuracy`, `semantic_entropy` (above the
threshold) and `semantic_entropy_raw` (a ridge), and what they must be held against: the best probe at the end of the
prompt alone, the probe's own fit repeated on many shuffles of its labels, and a one-feature logistic regression on
token entropy. With two or more in-distribution data sets it also trains one probe on each, for the transfer matrix.
Test rows influence nothing here.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from tells.stats import group_weights
from tells.uncertainty.probe_files import Control, Probe, ProbeSet, StatesSource
from tells.uncertainty.probe_search import (
    SEARCH_TOLERANCE,
    SearchRows,
    Task,
    best_choice,
    finite_states,
    linear_scores,
    search,
)
from tells.uncertainty.probe_solver import Floats, WeightedDesign, platt_scaling
from tells.uncertainty.probe_targets import (
    ACCURACY,
    SEMANTIC_ENTROPY,
    SEMANTIC_ENTROPY_RAW,
    Target,
    class_question_reason,
    data_sets_with_training,
    make_targets,
    question_folds,
    shuffle_by_question,
)

logger = logging.getLogger(__name__)

FINAL_TOLERANCE = 1e-9
TOKEN_ENTROPY_COLUMN = "entropy_think_mean"
TOKEN_ENTROPY_STRENGTH = 1.0
PROMPT_END = "prompt_end"
NOTHING_TO_TRAIN_ON = "no in-distribution training question has hidden states: its samples were not replayed"


@dataclass(frozen=True)
class ProbeSettings:
    """How probes are searched for.

    Attributes:
        positions: names to search; None for all that are stored.
        regularisation: values of C.
        folds: of the cross-validation.
        minimum_validation_questions: below so many, choices are cross-validated.
        entropy: column of the semantic entropy.
        min_valid: complete samples a trusted entropy needs.
        transfer: train one probe on each in-distribution data set too, if there are two.
        shuffles: of the labels, for the control of a probe.
        seed: of folds and shuffles.
        workers: threads of the search; the result does not depend on it.
    """

    positions: tuple[str, ...] | None = None
    regularisation: tuple[float, ...] = (0.001, 0.01, 0.1, 1.0)
    folds: int = 5
    minimum_validation_questions: int = 100
    entropy: str = "discrete"
    min_valid: int = 4
    transfer: bool = True
    shuffles: int = 100
    seed: int = 0
    workers: int = 1


@dataclass(frozen=True)
class _Study:
    """What every fit needs: the rows by column, and where their states are."""

    runs: pl.DataFrame
    source: StatesSource
    settings: ProbeSettings
    groups: NDArray[np.int64]
    splits: NDArray
    datasets: NDArray
    replayed: NDArray[np.bool_]

    def rows(self, target: Target, train_on: Sequence[str]) -> SearchRows:
        """Training and validation rows of a target, with folds when validation questions are few."""
        learn = target.usable & self.replayed & (self.splits != "test") & np.isin(self.datasets, list(train_on))
        train = learn & (self.splits == "train")
        n_validation = np.unique(self.groups[learn & ~train]).size
        folds = None
        if n_validation < self.settings.minimum_validation_questions:
            folds = np.full(learn.size, -1)
            folds[learn] = question_folds(
                target.values[learn], self.groups[learn], folds=self.settings.folds, seed=self.settings.seed
            )
        return SearchRows(learn, train, self.groups, folds)


def fit_probes(runs: pl.DataFrame, source: StatesSource, settings: ProbeSettings | None = None) -> ProbeSet:
    """Train every probe of a study.

    Args:
        runs: one row a run: prompt_id, group, sample, greedy, dataset, split, correct, truncated, n_valid, the
            entropy column and entropy_think_mean. Data sets without training rows are out of distribution.
        source: hidden states of the same rows in the same order.
        settings: the search space; the defaults when None.

    Returns:
        The probes and controls, and the reason of each that could not be fitted (a degenerate target stops no other).

    Raises:
        ValueError: the table or the states are not what is asked.
    """
    settings = settings or ProbeSettings()
    targets = make_targets(runs, entropy=settings.entropy, min_valid=settings.min_valid)
    # Runs of a data set without replay have labels but no states; they must not count as validation questions.
    replayed = runs["shard"].is_not_null() if "shard" in runs.columns else pl.repeat(True, runs.height, eager=True)
    study = _Study(
        runs,
        source,
        settings,
        np.unique(runs["group"].to_numpy(), return_inverse=True)[1].astype(np.int64),
        runs["split"].to_numpy(),
        runs["dataset"].to_numpy(),
        replayed.to_numpy(),
    )
    fitted = _Fitted()
    trained = data_sets_with_training(runs.filter(replayed))
    entropies = [targets[SEMANTIC_ENTROPY], targets[SEMANTIC_ENTROPY_RAW]]
    if not trained:
        plans = [plan for target in targets.values() for plan in _plans(study, target)]
        return ProbeSet((), {name: NOTHING_TO_TRAIN_ON for plan in plans for name in plan.names})
    for related in ([targets[ACCURACY]], entropies):
        _fit_related(study, related, trained, fitted)
        _fit_token_entropy(study, related[0], trained, fitted)
    if settings.transfer and len(trained) > 1:
        for dataset in trained:
            for target in (targets[ACCURACY], targets[SEMANTIC_ENTROPY]):
                _fit_one_data_set(study, target, dataset, fitted)
    for name, reason in fitted.unfitted.items():
        logger.warning("probe %s: %s", name, reason)
    return ProbeSet(tuple(fitted.probes), fitted.unfitted, tuple(fitted.controls))


@dataclass(frozen=True)
class _Fitted:
    """What is there so far, filled as the fits go on."""

    probes: list[Probe] = field(default_factory=list)
    controls: list[Control] = field(default_factory=list)
    unfitted: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Plan:
    """One probe to come: its name, target, labels, the positions it may choose from (None: all), and its control."""

    name: str
    target: Target
    task: Task
    positions: tuple[str, ...] | None = None
    control: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name,) if self.control is None else (self.name, self.control)


def _plans(study: _Study, target: Target) -> list[_Plan]:
    """The probe of a target and its variants."""
    task = Task(target.name, target.values, target.binary)
    plans = [_Plan(target.name, target, task, control=f"{target.name}.shuffled" if target.binary else None)]
    if target.binary and PROMPT_END in _positions(study):
        plans.append(_Plan(f"{target.name}.{PROMPT_END}", target, task, (PROMPT_END,)))
    return plans


def _fit_related(study: _Study, related: list[Target], trained: Sequence[str], fitted: _Fitted) -> None:
    """Fit targets that have labels on the same rows, and their variants, in one search."""
    plans = []
    for target in related:
        if target.reason is None:
            plans += _plans(study, target)
        else:
            for plan in _plans(study, target):
                fitted.unfitted.update(dict.fromkeys(plan.names, target.reason))
    if not plans:
        return
    # Folds follow the last target: the raw entropy orders questions more finely than its classes.
    rows = study.rows(plans[-1].target, trained)
    tasks = {plan.task.name: plan.task for plan in plans}
    tables = _search(study, list(tasks.values()), rows)
    for plan in plans:
        _choose_and_fit(study, plan, rows, trained, tables[plan.task.name], fitted)


def _positions(study: _Study) -> Sequence[str]:
    return study.source.positions if study.settings.positions is None else study.settings.positions


def _search(study: _Study, tasks: Sequence[Task], rows: SearchRows) -> Mapping[str, list[dict[str, Any]]]:
    settings = study.settings
    return search(
        study.source,
        tasks,
        rows,
        positions=_positions(study),
        strengths=sorted(settings.regularisation),
        workers=settings.workers,
    )


def _choose_and_fit(
    study: _Study,
    plan: _Plan,
    rows: SearchRows,
    trained: Sequence[str],
    table: Sequence[dict[str, Any]],
    fitted: _Fitted,
) -> None:
    """Take the best choice of a search, fit it on training rows and calibrate it on validation rows."""
    allowed = [row for row in table if plan.positions is None or row["position"] in plan.positions]
    choice = best_choice(allowed)
    if choice is None:
        reason = "no choice of layer, position and C has a defined value on held-out questions"
        fitted.unfitted.update(dict.fromkeys(plan.names, reason))
        return
    layer = study.source.layers.index(choice["layer"])
    position = study.source.positions.index(choice["position"])
    states, valid = study.source.states(layer, position)
    seen = np.flatnonzero(rows.learn & valid)
    chosen = finite_states(states, seen, choice["layer"], choice["position"])
    fit = _fit_at(chosen, seen, plan.task, rows, choice["strength"])
    if isinstance(fit, str):
        fitted.unfitted.update(dict.fromkeys(plan.names, fit))
        return
    probe = replace(
        fit,
        name=plan.name,
        target=plan.target.name,
        layer=choice["layer"],
        position=choice["position"],
        tau=plan.target.tau,
        trained_on=tuple(trained),
        selection="validation" if rows.folds is None else "cross_validation",
        selection_value=choice["value"],
        table=tuple(allowed),
        seed=study.settings.seed,
    )
    fitted.probes.append(probe)
    if plan.control is not None:
        _fit_control(study, plan.control, probe, chosen, seen, rows, plan.task, fitted)


def _fit_control(
    study: _Study,
    name: str,
    probe: Probe,
    states: Floats,
    seen: NDArray,
    rows: SearchRows,
    task: Task,
    fitted: _Fitted,
) -> None:
    """Repeat a probe's fit on the states [seen, width] for every shuffle of its training labels.

    The choice of layer, position and C stays the probe's: a search for each shuffle would cost a search each, and
    the test questions, on which a control is judged, had no part in the choice. All shuffles share one factor.
    """
    train = rows.train[seen]
    fit = seen[train]
    labels = np.full(task.values.size, np.nan)
    labels[fit] = task.values[fit]
    fits = []
    settings = study.settings
    with threadpool_limits(1, user_api="blas"):
        design = WeightedDesign(states[train], group_weights(rows.groups[fit]))
        design.set_strength(probe.strength)
        for draw in range(settings.shuffles):
            shuffled = shuffle_by_question(labels, study.groups, study.splits, seed=settings.seed, draw=draw)[fit]
            # Questions of unequal size may hand on a part of their labels alone, and so lose a class.
            if np.ptp(shuffled) > 0:
                fits.append(design.unrotate(design.fit_logistic(shuffled, None, SEARCH_TOLERANCE)))
    if not fits:
        fitted.unfitted[name] = f"each of {settings.shuffles} shuffles left the training rows with one class"
        return
    weights, intercepts = (np.array(part) for part in zip(*fits, strict=True))
    fitted.controls.append(Control(name, probe.name, weights, intercepts, settings.shuffles - len(fits), settings.seed))


def _fit_at(states: Floats, seen: NDArray, task: Task, rows: SearchRows, strength: float) -> Probe | str:
    """Fit the states [seen, width] of the rows `seen` at one C; the reason when that is impossible."""
    train = rows.train[seen]
    fit, held = seen[train], seen[~train]
    if fit.size == 0 or np.ptp(task.values[fit]) == 0:
        return "the training rows that have this feature hold one class only"
    with threadpool_limits(1, user_api="blas"):
        design = WeightedDesign(states[train], group_weights(rows.groups[fit]))
        design.set_strength(strength)
        if task.binary:
            coefficients = design.fit_logistic(task.values[fit], None, FINAL_TOLERANCE)
        else:
            coefficients = design.fit_ridge(task.values[fit], FINAL_TOLERANCE)
        weights, intercept = design.unrotate(coefficients)
        calibration, note = None, None
        if task.binary:
            scores = linear_scores((states[~train] - design.mean) / design.scale, weights, intercept)
            if held.size:
                calibration = platt_scaling(scores, task.values[held], group_weights(rows.groups[held]))
            if calibration is None:
                note = "not calibrated: the validation rows lack a class or have one score only"
    slope, offset = calibration or (None, None)
    return Probe(
        name=task.name,
        target="",
        kind="logistic" if task.binary else "ridge",
        layer=None,
        position="",
        strength=strength,
        mean=design.mean,
        scale=design.scale,
        weights=weights,
        intercept=intercept,
        slope=slope,
        offset=offset,
        tau=None,
        trained_on=(),
        selection="none",
        selection_value=None,
        table=(),
        n_train_rows=int(fit.size),
        n_train_questions=int(np.unique(rows.groups[fit]).size),
        n_validation_rows=int(held.size),
        n_validation_questions=int(np.unique(rows.groups[held]).size),
        seed=0,
        note=note,
    )


def _fit_token_entropy(study: _Study, target: Target, trained: Sequence[str], fitted: _Fitted) -> None:
    """The one-feature baseline: a logistic regression on the mean token entropy of the think span."""
    name = f"{target.name}.token_entropy"
    if target.reason is not None:
        fitted.unfitted[name] = target.reason
        return
    if TOKEN_ENTROPY_COLUMN not in study.runs.columns:
        fitted.unfitted[name] = f"the runs have no column {TOKEN_ENTROPY_COLUMN}"
        return
    feature = study.runs[TOKEN_ENTROPY_COLUMN].cast(pl.Float64).fill_null(float("nan")).to_numpy()
    rows = replace(study.rows(target, trained), folds=None)
    seen = np.flatnonzero(rows.learn & np.isfinite(feature))
    task = Task(name, target.values, True)
    fit = _fit_at(feature[seen][:, None], seen, task, rows, TOKEN_ENTROPY_STRENGTH)
    if isinstance(fit, str):
        fitted.unfitted[name] = fit
        return
    fitted.probes.append(
        replace(
            fit,
            target=target.name,
            position=TOKEN_ENTROPY_COLUMN,
            tau=target.tau,
            trained_on=tuple(trained),
            seed=study.settings.seed,
        )
    )


def _fit_one_data_set(study: _Study, target: Target, dataset: str, fitted: _Fitted) -> None:
    """Fit a probe on one data set alone, with the threshold of all of them, so that its cells compare."""
    name = f"{target.name}@{dataset}"
    prompts = study.runs["prompt_id"].to_numpy()
    train = (study.splits == "train") & (study.datasets == dataset)
    reason = target.reason or class_question_reason(target.values, prompts, train)
    if reason is not None:
        fitted.unfitted[name] = reason
        return
    rows = study.rows(target, [dataset])
    plan = _Plan(name, target, Task(name, target.values, True))
    table = _search(study, [plan.task], rows)[name]
    _choose_and_fit(study, plan, rows, [dataset], table, fitted)
