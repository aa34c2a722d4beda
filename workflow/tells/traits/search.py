"""Which steering point raises the trait most while the text stays coherent?

The grid (layers × methods × strengths, both signs) was generated and judged on the search questions; `choose` picks
one point of it. What it gains there is flattering, since it was picked for it: the report questions say what it is
worth. That no point is valid is a result, and so is a best point that does not raise the trait.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

_DECIMALS = 9
"""Differences of mean scores are equal to so many decimals."""

UNSTEERED = "unsteered"
NO_SCORES = "no_scores"
MISSING_SCORE = "missing_score"
INCOHERENT = "incoherent"
COHERENCE_DROP = "coherence_drop"
INCOMPLETE_BASELINE = "incomplete_baseline"


@dataclass(frozen=True)
class Point:
    """One judged row of the steering grid.

    Attributes:
        layer: where the vector was added.
        method: what the vector was made by.
        ratio: length of what was added over the mean length of the activations; its sign is the direction.
        coefficient: length of what was added.
        trait: [samples] judged trait, 0 to 100; None where the judge gave no score.
        coherence: [samples] judged coherence, 0 to 100; None where the judge gave no score.
    """

    layer: int
    method: str
    ratio: float
    coefficient: float
    trait: tuple[float | None, ...]
    coherence: tuple[float | None, ...]


@dataclass(frozen=True)
class Baseline:
    """The unsteered model on the same questions.

    Attributes:
        trait: [samples] judged trait, 0 to 100; None where the judge gave no score.
        coherence: [samples] judged coherence, 0 to 100; None where the judge gave no score.
    """

    trait: tuple[float | None, ...]
    coherence: tuple[float | None, ...]


@dataclass(frozen=True)
class Verdict:
    """What a point is worth and whether it may be chosen.

    Attributes:
        point: the point.
        trait: mean trait score; None when one is missing.
        coherence: mean coherence; None when one is missing.
        delta: mean trait score less the baseline's; None when either is missing.
        reasons: why it may not be chosen, by name: `unsteered` (ratio 0, the baseline itself), `no_scores`,
            `missing_score`, `incoherent` (below the least coherence), `coherence_drop` (too far below the
            baseline's), `incomplete_baseline` (no score there to compare with).
    """

    point: Point
    trait: float | None
    coherence: float | None
    delta: float | None
    reasons: tuple[str, ...]

    @property
    def valid(self) -> bool:
        """It may be chosen."""
        return not self.reasons


@dataclass(frozen=True)
class Optimum:
    """The point that raises the trait most, and what to know about it.

    Attributes:
        point: the point.
        delta: its mean trait score less the baseline's, on the search questions.
        trait: its mean trait score.
        coherence: its mean coherence.
        baseline_trait: the baseline's mean trait score.
        baseline_coherence: the baseline's mean coherence.
        mirrored: the trait rises against the direction (a negative ratio).
        no_effect: no valid point raises the trait; this one lowers it least.
        at_bound: its ratio is the largest (`upper`) or the smallest (`lower`) of its sign that was tried for its layer
            and method; None in between, and where only one was tried `upper`.
        n_points: points of the grid.
        n_valid: valid points among them.
        invalid: reason -> number of points it holds for; a point can have several.
    """

    point: Point
    delta: float
    trait: float
    coherence: float
    baseline_trait: float
    baseline_coherence: float
    mirrored: bool
    no_effect: bool
    at_bound: Literal["upper", "lower"] | None
    n_points: int
    n_valid: int
    invalid: dict[str, int]


def judge_points(
    points: Iterable[Point], *, baseline: Baseline, min_coherence: float = 70.0, max_drop: float = 15.0
) -> tuple[Verdict, ...]:
    """Say of each point whether it may be chosen, and if not, why.

    Args:
        points: judged rows of the grid.
        baseline: the unsteered model on the same questions.
        min_coherence: least mean coherence of a valid point, 0 to 100.
        max_drop: how far the mean coherence may lie below the baseline's.

    Returns:
        A verdict for each point, in their order.

    Raises:
        ValueError: a score lies outside 0 to 100 or is not a number, a point has not as many trait scores as
            coherence scores, its ratio is not finite, or the baseline has no score at all.
    """
    _check_scores(baseline.trait, baseline.coherence, "the baseline")
    if not baseline.trait:
        raise ValueError("the baseline has no scores: judge the unsteered samples of the same questions first")
    trait, coherence = _mean(baseline.trait), _mean(baseline.coherence)
    return tuple(_verdict(point, trait, coherence, min_coherence, max_drop) for point in points)


def count_reasons(verdicts: Iterable[Verdict]) -> dict[str, int]:
    """How many points each reason makes invalid, by name; a point with several counts for each."""
    return dict(sorted(Counter(reason for verdict in verdicts for reason in verdict.reasons).items()))


def choose(
    points: Iterable[Point], *, baseline: Baseline, min_coherence: float = 70.0, max_drop: float = 15.0
) -> Optimum | None:
    """The valid point that raises the mean trait score most.

    Equal points (to 9 decimals) give way to the smaller |ratio|, then to the positive one, then to the lower
    layer and the method that comes first by name.

    Args:
        points: judged rows of the grid.
        baseline: the unsteered model on the same questions.
        min_coherence: least mean coherence of a valid point, 0 to 100.
        max_drop: how far the mean coherence may lie below the baseline's.

    Returns:
        The point, flagged `no_effect` when even the best does not raise the trait; None when no point is valid
        (`count_reasons(judge_points(...))` says why).

    Raises:
        ValueError: as for `judge_points`.
    """
    grid = tuple(points)
    verdicts = judge_points(grid, baseline=baseline, min_coherence=min_coherence, max_drop=max_drop)
    valid = [verdict for verdict in verdicts if verdict.valid]
    if not valid:
        return None
    best = min(valid, key=_preference)
    point, no_effect = best.point, round(best.delta, _DECIMALS) <= 0.0
    return Optimum(
        point=point,
        delta=best.delta,
        trait=best.trait,
        coherence=best.coherence,
        baseline_trait=_mean(baseline.trait),
        baseline_coherence=_mean(baseline.coherence),
        mirrored=point.ratio < 0.0 and not no_effect,
        no_effect=no_effect,
        at_bound=_bound(grid, point),
        n_points=len(grid),
        n_valid=len(valid),
        invalid=count_reasons(verdicts),
    )


def _verdict(
    point: Point, base_trait: float | None, base_coherence: float | None, min_coherence: float, max_drop: float
) -> Verdict:
    where = f"the point at layer {point.layer}, {point.method}, ratio {point.ratio:g}"
    _check_scores(point.trait, point.coherence, where)
    if not math.isfinite(point.ratio):
        raise ValueError(f"{where}: the ratio must be a finite number")
    trait, coherence = _mean(point.trait), _mean(point.coherence)
    reasons = []
    if point.ratio == 0.0:
        reasons.append(UNSTEERED)
    if not point.trait:
        reasons.append(NO_SCORES)
    elif trait is None or coherence is None:
        reasons.append(MISSING_SCORE)
    if coherence is not None and round(coherence - min_coherence, _DECIMALS) < 0.0:
        reasons.append(INCOHERENT)
    if base_trait is None or base_coherence is None:
        reasons.append(INCOMPLETE_BASELINE)
    elif coherence is not None and round(coherence - (base_coherence - max_drop), _DECIMALS) < 0.0:
        reasons.append(COHERENCE_DROP)
    delta = None if trait is None or base_trait is None else trait - base_trait
    return Verdict(point, trait, coherence, delta, tuple(reasons))


def _preference(verdict: Verdict) -> tuple[float, float, bool, int, str]:
    """Sort key: the better point comes first."""
    point = verdict.point
    return -round(verdict.delta, _DECIMALS), abs(point.ratio), point.ratio < 0.0, point.layer, point.method


def _bound(points: Iterable[Point], chosen: Point) -> Literal["upper", "lower"] | None:
    """The end of the grid at which the chosen point lies, among all that was tried of its layer, method and sign."""
    tried = [
        abs(point.ratio)
        for point in points
        if (point.layer, point.method) == (chosen.layer, chosen.method) and point.ratio * chosen.ratio > 0.0
    ]
    if abs(chosen.ratio) >= max(tried):
        return "upper"
    return "lower" if abs(chosen.ratio) <= min(tried) else None


def _mean(scores: Sequence[float | None]) -> float | None:
    """Mean of the scores; None when there is none or one is missing."""
    present = [float(score) for score in scores if score is not None]
    return math.fsum(present) / len(present) if present and len(present) == len(scores) else None


def _check_scores(trait: Sequence[float | None], coherence: Sequence[float | None], where: str) -> None:
    if len(trait) != len(coherence):
        raise ValueError(f"{where} has {len(trait)} trait scores and {len(coherence)} coherence scores")
    for name, scores in (("trait", trait), ("coherence", coherence)):
        for place, score in enumerate(scores):
            if score is not None and not 0.0 <= score <= 100.0:
                raise ValueError(f"{where}: {name} score {place} is {score}; scores lie in 0 to 100, missing is None")
