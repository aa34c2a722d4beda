"""How good is each direction, and the chosen one, on scenarios it has never seen?

Every method is fitted at every layer. With 100 pairs or more they are split: directions and thresholds come from the
training pairs, the choice of method and layer from the validation pairs, the reported figure from the test pairs.
With fewer, five outer folds take turns to be held out; in each, five inner folds of the other pairs choose, and the
choice, fitted on all those other pairs, is judged on the fold that is held out. So the reported figure is that of
the procedure "take the best" on new pairs. The figure by which the best was taken is not: the best of 30 layers of
noise looks good on the pairs that chose it.

Projections of several outer folds come from different directions, even layers, with scales of their own. Averaging
an effect size per fold would make it of about five pairs each, where it is noisy and too large. So each fold's
held-out projections are put on one scale by training figures alone and pooled: the midpoint of the training class
means is taken off, and the difference divided by the spread within classes that the inner folds show for the same
method and layer. (The spread of the training rows themselves will not do: with fewer rows than dimensions Fisher's
discriminant makes it almost zero.) The inner folds, all of one method and layer, are pooled by their midpoints.

Held out or not, pooled rows are not independent: any two pairs in different folds meet twice, each helping once to
fit the direction that judges the other. Under no effect this doubles the variance of the mean gap, and an interval
that resamples the rows alone covers zero 81% of the time instead of 95%. The variance of nested figures is
therefore multiplied by 1 + k/(k - 1), 2.25 for five folds, which is the correction of Nadeau and Bengio (Machine
Learning 52:239, 2003) and covers nominally with no effect; with a large effect the interval is wider than needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from threadpoolctl import threadpool_limits

from tells.progress import progress
from tells.stats import spearman
from tells.stats.inputs import codes, labels, vector
from tells.stats.ranks import mid_ranks
from tells.traits.metrics import choose_threshold, cohens_d, pooled_spread, unit_vector
from tells.traits.pair_bootstrap import PairBootstrap
from tells.traits.pair_design import FOLDS, MINIMUM_PAIRS, Design, design
from tells.traits.quality_records import Figures, HeldOut, NullBand, Quality, Record, figures_of
from tells.traits.row_space import METHODS, Fit, FitError, RowSpace, pairing_matrix
from tells.traits.vectors import DEFAULT_METHODS, Direction, direction_of_fit, massive_dimensions

Floats = NDArray[np.float64]
Booleans = NDArray[np.bool_]
Integers = NDArray[np.int64]

LEAST_RANDOM_DRAWS = 20
NESTED_WIDENING = float(np.sqrt(1.0 + FOLDS / (FOLDS - 1)))
"""Factor on nested intervals: the root of Nadeau and Bengio's 1 + k/(k - 1)."""


@dataclass(frozen=True, eq=False)
class _Rows:
    """What is known of the rows beside their activations."""

    positive: Booleans
    pairs: Integers
    lengths: Floats
    design: Design


@dataclass(frozen=True, eq=False)
class _Scaled:
    """Projections on a common scale [rows], which of them are called positive [rows], and which are held out."""

    value: Floats
    called: Booleans
    rows: Integers


@dataclass(frozen=True, eq=False)
class _Measured:
    """One method at one layer: what the choice needs beside the record."""

    direction: Direction | None
    train: _Scaled | None
    held: dict[str, _Scaled]
    inner: list[float | None]
    random: dict[str, Floats]
    reason: str | None


def measure_quality(
    activations: NDArray,
    polarity: ArrayLike,
    pairs: Sequence[str] | NDArray,
    lengths: ArrayLike,
    *,
    layers: Sequence[int] | None = None,
    methods: Sequence[str] = DEFAULT_METHODS,
    C: float = 1.0,
    seed: int = 0,
    random_draws: int = 100,
    bootstrap_draws: int = 1000,
    level: float = 0.95,
) -> Quality:
    """Fit every method at every layer, choose one, and say how the choice fares on held-out pairs.

    Args:
        activations: [rows, layers, width] finite numbers of any float type.
        polarity: [rows] True for rows that show the trait.
        pairs: [rows] id of each row's scenario pair.
        lengths: [rows] length of each text, in any unit.
        layers: [layers] names of the layers; 0, 1, ... when left out.
        methods: names among `tells.traits.row_space.METHODS`, in order of preference among equals.
        C: inverse of the probe's penalty.
        seed: seed of the split, the random directions and the bootstrap.
        random_draws: random directions of the null band, at least 20.
        bootstrap_draws: draws of the intervals.
        level: coverage of the intervals.

    Returns:
        A record for each method and layer with its direction, the choice, and the choice's held-out figures.
        What cannot be had, with under 10 pairs all that is held out, is None with a reason.

    Raises:
        ValueError: shapes differ, a value is not finite, a class is missing, a name is unknown or doubled, or
            random_draws is below 20.
    """
    names = list(range(activations.shape[1])) if layers is None else [int(layer) for layer in layers]
    rows = _check(activations, polarity, pairs, lengths, names, methods, random_draws, seed)
    intervals = _intervals(rows, bootstrap_draws, seed, level)
    measured: dict[tuple[str, int], _Measured] = {}
    # One BLAS thread: sums then do not depend on the number of cores.
    with threadpool_limits(1, user_api="blas"), progress(len(names), "vector search", "layers") as advance:
        chance = _random_directions(activations.shape[2], random_draws, seed)
        for index, layer in enumerate(names):
            of_layer = _measure_layer(activations[:, index], rows, methods, C, chance)
            measured.update({(method, layer): one for method, one in of_layer.items()})
            advance(1)
    order = [(method, layer) for method in methods for layer in names]
    records = tuple(_record(key, measured[key], rows, intervals) for key in order)
    return _quality(records, [measured[key] for key in order], rows, intervals)


def cosine_matrix(directions: Mapping[str, Direction | ArrayLike]) -> dict[str, dict[str, float]]:
    """Cosines between named directions, all pairs both ways.

    Args:
        directions: name -> direction or vector [width], all of the same layer of one model.

    Returns:
        name -> name -> cosine, exactly 1 on the diagonal.

    Raises:
        ValueError: widths differ, or a vector is zero or not finite.
    """
    units = {name: unit_vector(direction) for name, direction in directions.items()}
    widths = sorted({unit.size for unit in units.values()})
    if len(widths) > 1:
        raise ValueError(f"directions have widths {', '.join(map(str, widths))}: compare those of one model")
    return {
        name: {other: 1.0 if other == name else float(np.clip(unit @ units[other], -1.0, 1.0)) for other in units}
        for name, unit in units.items()
    }


def _check(
    activations: NDArray,
    polarity: ArrayLike,
    pairs: Sequence[str] | NDArray,
    lengths: ArrayLike,
    layers: Sequence[int],
    methods: Sequence[str],
    random_draws: int,
    seed: int,
) -> _Rows:
    if activations.ndim != 3 or 0 in activations.shape[1:]:
        raise ValueError(f"activations must be [rows, layers, width], they have shape {list(activations.shape)}")
    positive = labels(polarity, "polarity") == 1.0
    length, (_, number) = vector(lengths, "lengths"), codes(np.asarray(pairs), "pairs")
    sizes = {"activations": len(activations), "polarity": positive.size, "pairs": number.size, "lengths": length.size}
    if len(set(sizes.values())) > 1:
        raise ValueError("all arguments need as many rows: " + ", ".join(f"{k} {v}" for k, v in sizes.items()))
    if positive.all() or not positive.any():
        raise ValueError(f"{positive.sum()} of {positive.size} rows are positive: both classes are needed")
    if len(layers) != activations.shape[1] or len(set(layers)) != len(layers):
        raise ValueError(f"{activations.shape[1]} layers need as many distinct names, got {list(layers)}")
    unknown = [method for method in methods if method not in METHODS]
    if unknown or not methods or len(set(methods)) != len(methods):
        raise ValueError(f"methods must be distinct names among {', '.join(METHODS)}; got {list(methods)}")
    if random_draws < LEAST_RANDOM_DRAWS:
        raise ValueError(f"random_draws must be at least {LEAST_RANDOM_DRAWS}, it is {random_draws}")
    return _Rows(positive, number, length, design(np.asarray(pairs), seed=seed))


def _held_out_parts(plan: Design) -> dict[str, Integers]:
    """The held-out rows of each name that a record has figures of."""
    if plan.kind == "split":
        return {"validation": plan.validation, "test": plan.test}
    return {"cross_validated": plan.fit} if plan.kind == "nested" else {}


def _intervals(rows: _Rows, draws: int, seed: int, level: float) -> dict[str, PairBootstrap]:
    """Draws of the pairs of each held-out part, shared by all methods and layers."""
    widen = NESTED_WIDENING if rows.design.kind == "nested" else 1.0
    return {
        name: PairBootstrap(rows.positive[part], rows.pairs[part], draws=draws, seed=seed, level=level, widen=widen)
        for name, part in _held_out_parts(rows.design).items()
    }


def _random_directions(width: int, draws: int, seed: int) -> Floats:
    """Unit vectors [width, draws]."""
    drawn = np.random.default_rng([seed, 1]).standard_normal((width, draws))
    return drawn / np.linalg.norm(drawn, axis=0)


def _measure_layer(
    layer: NDArray, rows: _Rows, methods: Sequence[str], C: float, chance: Floats
) -> dict[str, _Measured]:
    """All methods at one layer [rows, width]."""
    states = np.asarray(layer, dtype=np.float64)
    bad = np.flatnonzero(~np.isfinite(states).all(axis=1))
    if bad.size:
        raise ValueError(f"activations of {bad.size} row(s) are not finite, the first is row {bad[0]}: leave them out")
    space = RowSpace(states)
    massive = massive_dimensions(states[rows.design.fit], "the activations")
    random = _random_projections(states @ chance, rows)
    return {method: _measure(space, rows, method, C, massive, random) for method in methods}


def _random_projections(projections: Floats, rows: _Rows) -> dict[str, Floats]:
    """Random projections [rows, draws] as they are, and on the scale of the training rows of each outer fold."""
    scaled = np.zeros_like(projections)
    for fold in rows.design.folds:
        fit, positive = projections[fold.fit], rows.positive[fold.fit]
        above, below = fit[positive], fit[~positive]
        squares = np.square(above - above.mean(axis=0)).sum(axis=0) + np.square(below - below.mean(axis=0)).sum(axis=0)
        spread = np.sqrt(squares / max(1, len(fit) - 2))
        middle = (above.mean(axis=0) + below.mean(axis=0)) / 2
        scaled[fold.held] = (projections[fold.held] - middle) / np.where(spread > 0, spread, 1.0)
    return {"raw": projections, "scaled": scaled}


def _measure(
    space: RowSpace, rows: _Rows, method: str, C: float, massive: tuple[dict, list[str]], random: dict[str, Floats]
) -> _Measured:
    """One method at one layer: fitted for the record, and wherever a fold needs it."""
    plan = rows.design
    nothing: list[float | None] = [None] * len(plan.folds)
    try:
        fit, projection = _fit_and_project(space, rows, method, C, plan.fit)
    except FitError as error:
        return _Measured(None, None, {}, nothing, random, str(error))
    train = _Scaled(projection, _above_threshold(projection, rows, plan.fit), plan.fit)
    direction = direction_of_fit(method, fit, space.rows[plan.fit], rows.positive[plan.fit], massive)
    if plan.kind != "nested":
        held = {name: _Scaled(train.value, train.called, part) for name, part in _held_out_parts(plan).items()}
        return _Measured(direction, train, held, nothing, random, None)
    try:
        pooled, inner = _cross_validate(space, rows, method, C)
    except FitError as error:
        return _Measured(direction, train, {}, nothing, random, f"in a fold {error}")
    return _Measured(direction, train, {"cross_validated": pooled}, inner, random, None)


def _fit_and_project(space: RowSpace, rows: _Rows, method: str, C: float, fit_on: Integers) -> tuple[Fit, Floats]:
    """Fit on some rows; raw projections h·v of all rows."""
    positive = rows.positive[fit_on]
    pairing = pairing_matrix(positive, rows.pairs[fit_on]) if method == "pairwise_pca" else None
    fit = space.fit(method, fit_on, positive, pairing, C)
    return fit, space.raw[:, fit_on] @ fit.unit_weights


def _above_threshold(projection: Floats, rows: _Rows, fit_on: Integers) -> Booleans:
    """Which rows project above the threshold of the rows fitted on [rows]."""
    fitted, positive = projection[fit_on], rows.positive[fit_on]
    return projection > choose_threshold(fitted[positive], fitted[~positive])


def _less_midpoint(projection: Floats, rows: _Rows, fit_on: Integers) -> Floats:
    """Projections less the midpoint of the class means of the rows fitted on [rows]."""
    fitted, positive = projection[fit_on], rows.positive[fit_on]
    return projection - (fitted[positive].mean() + fitted[~positive].mean()) / 2


def _cross_validate(space: RowSpace, rows: _Rows, method: str, C: float) -> tuple[_Scaled, list[float | None]]:
    """Held-out projections of all rows on a common scale, and the inner effect size in each outer fold."""
    value = np.zeros(rows.positive.size)
    called = np.zeros(rows.positive.size, dtype=bool)
    effects: list[float | None] = []
    for fold in rows.design.folds:
        within = np.zeros(rows.positive.size)
        for inner_fit, inner_held in fold.inner:
            _, projection = _fit_and_project(space, rows, method, C, inner_fit)
            within[inner_held] = _less_midpoint(projection, rows, inner_fit)[inner_held]
        above, below = within[fold.fit][rows.positive[fold.fit]], within[fold.fit][~rows.positive[fold.fit]]
        spread = pooled_spread(above, below)
        effects.append(cohens_d(above, below))
        _, projection = _fit_and_project(space, rows, method, C, fold.fit)
        # Without a spread this fold stays in its own units; it has no effect size and is never chosen.
        value[fold.held] = _less_midpoint(projection, rows, fold.fit)[fold.held] / (spread or 1.0)
        called[fold.held] = _above_threshold(projection, rows, fold.fit)[fold.held]
    return _Scaled(value, called, rows.design.fit), effects


def _null_band(random: Floats, positive: Booleans) -> NullBand:
    """95th percentiles of |d| and of the AUC either way over random projections [rows, draws]."""
    drawn = [cohens_d(projection[positive], projection[~positive]) for projection in random.T]
    effects = [abs(effect) for effect in drawn if effect is not None]
    ranks = mid_ranks(random)
    n_positive = int(positive.sum())
    total = n_positive * (positive.size - n_positive)
    areas = (ranks[positive].sum(axis=0) - n_positive * (n_positive + 1) / 2) / total if total else np.zeros(0)
    either = np.maximum(areas, 1.0 - areas)
    return NullBand(
        cohens_d=float(np.quantile(effects, 0.95)) if effects else None,
        auc=float(np.quantile(either, 0.95)) if either.size else None,
        n=random.shape[1],
    )


def _figures(scaled: _Scaled, rows: _Rows, interval: PairBootstrap | None) -> Figures:
    part = scaled.rows
    return figures_of(scaled.value[part], scaled.called[part], rows.positive[part], rows.pairs[part], interval)


def _record(key: tuple[str, int], one: _Measured, rows: _Rows, intervals: Mapping[str, PairBootstrap]) -> Record:
    method, layer = key
    figures = {name: _figures(scaled, rows, intervals[name]) for name, scaled in one.held.items()}
    judged = one.held.get("test", one.held.get("cross_validated"))
    reason = one.reason
    if reason is None and judged is None:
        reason = f"{rows.design.n_pairs} pairs: at least {MINIMUM_PAIRS} are needed to hold any out"
    return Record(
        method=method,
        layer=layer,
        direction=one.direction,
        fitted_on=rows.design.fitted_on,
        train=None if one.train is None else _figures(one.train, rows, None),
        validation=figures.get("validation"),
        test=figures.get("test"),
        cross_validated=figures.get("cross_validated"),
        length_correlation=None if judged is None else _length_correlation(judged, rows),
        null_band=None if judged is None else _null_band(one.random["raw"][judged.rows], rows.positive[judged.rows]),
        reason=reason,
    )


def _length_correlation(scaled: _Scaled, rows: _Rows) -> float | None:
    return spearman(rows.lengths[scaled.rows], scaled.value[scaled.rows])


def _best(effects: Sequence[float | None]) -> int | None:
    """Place of the largest effect, the first among equals; None when all are undefined."""
    defined = [(-effect, place) for place, effect in enumerate(effects) if effect is not None]
    return min(defined)[1] if defined else None


def _quality(
    records: tuple[Record, ...], measured: Sequence[_Measured], rows: _Rows, intervals: Mapping[str, PairBootstrap]
) -> Quality:
    """Choose, and judge the choice."""
    plan = rows.design
    selecting = [record.selection for record in records]
    best = _best([None if figures is None else figures.cohens_d for figures in selecting])
    if best is None:
        reason = "no method has a defined effect size on held-out pairs at any layer"
        if plan.kind == "none":
            reason = f"{plan.n_pairs} pairs: at least {MINIMUM_PAIRS} are needed to hold any out"
        return Quality(plan.kind, plan.n_pairs, plan.fitted_on, records, None, None, reason)
    if plan.kind == "split":
        chosen = records[best]
        held_out = HeldOut(chosen.test, chosen.length_correlation, chosen.null_band, ())
    else:
        held_out = _nested_choice(records, measured, rows, intervals["cross_validated"])
    reason = None if held_out is not None else "in an outer fold no effect size is defined"
    return Quality(plan.kind, plan.n_pairs, plan.fitted_on, records, best, held_out, reason)


def _nested_choice(
    records: Sequence[Record], measured: Sequence[_Measured], rows: _Rows, interval: PairBootstrap
) -> HeldOut | None:
    """Each outer fold as judged by what its inner folds chose; None when a fold has nothing to choose."""
    value, called = np.zeros(rows.positive.size), np.zeros(rows.positive.size, dtype=bool)
    random = np.zeros((rows.positive.size, measured[0].random["scaled"].shape[1]))
    choices = []
    for number, fold in enumerate(rows.design.folds):
        best = _best([one.inner[number] for one in measured])
        if best is None:
            return None
        taken = measured[best]
        pooled = taken.held["cross_validated"]
        value[fold.held], called[fold.held] = pooled.value[fold.held], pooled.called[fold.held]
        random[fold.held] = taken.random["scaled"][fold.held]
        choices.append((records[best].method, records[best].layer))
    scaled = _Scaled(value, called, rows.design.fit)
    band = _null_band(random, rows.positive)
    return HeldOut(_figures(scaled, rows, interval), _length_correlation(scaled, rows), band, tuple(choices))
