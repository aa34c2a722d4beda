"""The hypothesis of the study: uncertain compliance harms more often than confident compliance. Does it?

Among complied traces with a harm label: the difference of the harm rates of the two cells, overall, within prompt type
and within prompt type and length; how well −confidence ranks harmful replies above harmless ones; and how well simpler
numbers do. All intervals draw prompts with all their traces, within their type.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from tells.safety.constant_classifier import Guard, guard
from tells.safety.strata import COMPLIANCES
from tells.safety.voting import vote_entropy
from tells.stats import Interval, Metric, auroc, average_precision, bootstrap_ci, undefined_reason
from tells.stats.inputs import codes, labels, same_length

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
LENGTH_STRATA = 5
# What ranks replies by harm, and what larger means in each: larger is always taken to be riskier.
ORIENTATIONS = {
    "confidence": "−confidence: the less peaked, the riskier",
    "vote_entropy": "entropy of the prompt's votes between refusal and compliance: the more divided, the riskier",
    "length": "tokens of the answer: the longer, the riskier",
    "first_token_probability": "−probability of the answer's first token: the less likely, the riskier",
    "token_logprob": "−mean log-probability of the chosen tokens: the more surprising, the riskier",
}


@dataclass(frozen=True)
class Estimate:
    """A number with an interval clustered by prompt.

    Attributes:
        value: None where it is undefined.
        low: lower end; None where it is undefined.
        high: upper end; None where it is undefined.
        n: rows it rests on.
        n_prompts: prompts they belong to.
        reason: why the value or its interval is undefined; None where both are defined.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    n_prompts: int
    reason: str | None


@dataclass(frozen=True)
class Ranking:
    """How well a score ranks harmful replies above harmless ones.

    Attributes:
        score: its name.
        orientation: what larger means; larger is taken to be riskier.
        n: rows that have the score.
        prevalence: share of them that harm, which is what the average precision of a useless score is.
        auroc: area under the ROC curve; ½ is chance.
        average_precision: precision over the steps of recall.
    """

    score: str
    orientation: str
    n: int
    prevalence: float | None
    auroc: Estimate
    average_precision: Estimate


@dataclass(frozen=True)
class RiskDifference:
    """Harm rate of uncertain compliances minus that of confident ones.

    Attributes:
        label: prompt type; None for all.
        n_uncertain: scored uncertain compliances.
        n_confident: scored confident compliances.
        uncertain: harm rate of the former; None where there are none.
        confident: harm rate of the latter; None where there are none.
        difference: uncertain − confident.
    """

    label: str | None
    n_uncertain: int
    n_confident: int
    uncertain: float | None
    confident: float | None
    difference: Estimate


@dataclass(frozen=True)
class Hypothesis:
    """What the study says about its hypothesis.

    Attributes:
        n: complied traces with a harm label and a cell.
        n_prompts: prompts they belong to.
        n_harmful: how many of them harm.
        n_unscored: complied traces with a cell but no harm label, which take no part.
        risk_difference: of all rows together.
        by_label: of each prompt type.
        stratified: risk difference within prompt type, averaged with Mantel-Haenszel weights.
        length_controlled: the same within prompt type and fifth of the answer lengths.
        length_cuts: the lengths that separate the fifths, in tokens.
        rankings: of −confidence and of the baselines, confidence first.
        by_label_rankings: ranking of −confidence within each prompt type.
        guard: "an uncertain compliance harms" as a classifier, beside a constant one.
        bootstrap: draws of prompts.
        level: of the intervals.
        seed: of the draws.
    """

    n: int
    n_prompts: int
    n_harmful: int
    n_unscored: int
    risk_difference: RiskDifference
    by_label: tuple[RiskDifference, ...]
    stratified: Estimate
    length_controlled: Estimate
    length_cuts: tuple[float, ...]
    rankings: tuple[Ranking, ...]
    by_label_rankings: dict[str, Ranking]
    guard: Guard
    bootstrap: int
    level: float
    seed: int


@dataclass(frozen=True)
class _Draws:
    bootstrap: int
    level: float
    seed: int

    def interval(
        self, metric: Metric, y: Floats, score: Floats, prompts: NDArray, types: NDArray, reason: str | None
    ) -> Estimate:
        """A metric with its interval; `reason` says why there is none, if there is none."""
        counts = (int(y.size), int(np.unique(prompts).size))
        if reason is not None:
            value = metric(y, score) if y.size else None
            return Estimate(value, None, None, *counts, reason)
        found: Interval = bootstrap_ci(
            metric, y, score, prompts, n=self.bootstrap, level=self.level, seed=self.seed, strata=types
        )
        return Estimate(found.estimate, found.low, found.high, *counts, found.reason)


def stratified_risk_difference(y: ArrayLike, stratum_and_arm: ArrayLike) -> float | None:
    """Difference of the rates of arm 1 and arm 0 within strata, averaged with Mantel-Haenszel weights n₁n₀ / (n₁ + n₀).

    A stratum that lacks an arm has weight 0, so sparse strata do no harm. With one stratum it is the plain difference.

    Args:
        y: [rows] 0 or 1.
        stratum_and_arm: [rows] 2 · stratum + arm, strata numbered from 0.

    Returns:
        Between −1 and 1; None when no stratum has both arms.

    References:
        Greenland and Robins, Biometrics 41:55 (1985), eq. 2.
    """
    code = np.asarray(stratum_and_arm).astype(np.int64)
    if code.size == 0:
        return None
    size = 2 * (int(code.max()) // 2 + 1)
    n = np.bincount(code, minlength=size).astype(np.float64).reshape(-1, 2)
    events = np.bincount(code, weights=np.asarray(y, dtype=np.float64), minlength=size).reshape(-1, 2)
    both = n.all(axis=1)
    if not both.any():
        return None
    n, events = n[both], events[both]
    weight = n[:, 0] * n[:, 1] / n.sum(axis=1)
    rate = events / n
    return float(weight @ (rate[:, 1] - rate[:, 0]) / weight.sum())


def risk_difference(
    harmful: ArrayLike,
    uncertain: ArrayLike,
    prompts: ArrayLike,
    *,
    types: ArrayLike | None = None,
    strata: ArrayLike | None = None,
    bootstrap: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """Harm rate of uncertain rows minus that of confident ones, with an interval that draws prompts.

    Args:
        harmful: [rows] 0 or 1.
        uncertain: [rows] 0 or 1.
        prompts: [rows] prompt of each row, the unit that is drawn.
        types: [rows] type of each row's prompt; prompts are drawn within their type.
        strata: [rows] within which the difference is taken, then averaged with Mantel-Haenszel weights; None for the
            plain difference.
        bootstrap: draws of prompts.
        level: of the interval.
        seed: of the draws.

    Returns:
        The estimate. There is no interval when an arm is missing or all rows have one outcome, because the draws then
        hold no other; `reason` says so.

    Raises:
        ValueError: lengths differ, a value is missing, or a prompt is of two types.
    """
    y, arm = labels(harmful, "harmful"), labels(uncertain, "uncertain")
    ids = np.asarray(prompts)
    kinds = np.zeros(y.size, dtype=np.int64) if types is None else np.asarray(types)
    within = np.zeros(y.size, dtype=np.int64) if strata is None else codes(strata, "strata")[1]
    same_length(harmful=y, uncertain=arm, prompts=ids, types=kinds, strata=within)
    code = (2 * within + arm).astype(np.float64)
    reason = undefined_reason(y, arm)
    if reason is None and stratified_risk_difference(y, code) is None:
        missing = "uncertain" if not arm.any() else "confident"
        both = "no stratum holds both uncertain and confident compliances"
        reason = both if arm.any() and not arm.all() else f"no {missing} compliance"
    return _Draws(bootstrap, level, seed).interval(stratified_risk_difference, y, code, ids, kinds, reason)


def test_hypothesis(
    strata: pl.DataFrame,
    confidence: pl.DataFrame,
    *,
    bootstrap: int,
    level: float,
    seed: int,
) -> Hypothesis:
    """Test whether low-confidence compliance is riskier than high-confidence compliance.

    Rows are the complied traces that have a cell and a harm label. Reply length is controlled for by fifths of the
    answer lengths rather than by regression: five strata take away about nine tenths of the bias of a continuous
    confounder (Cochran 1968), assume no form of the relation, and stay defined where harm is rare and a logistic
    regression would separate. The fifths, like the cut of the cells, are those of the data and not drawn anew.

    Args:
        strata: the strata table.
        confidence: the confidence table of the same traces: answer_start, answer_stop, first_token_probability,
            token_logprob.
        bootstrap: draws of prompts.
        level: of the intervals.
        seed: of the draws.

    Raises:
        ValueError: a trace has no row in the confidence table.
    """
    complied = _compliances(strata, confidence)
    rows = complied.filter(pl.col("harm").is_in(["harmful", "unharmful"]))
    draws = _Draws(bootstrap, level, seed)
    settings = {"bootstrap": bootstrap, "level": level, "seed": seed}
    y, arm, prompts, types = _vectors(rows)
    length_controlled, length_cuts = _length_controlled(rows, settings)
    by_label = {label[0]: part for label, part in rows.partition_by("label", as_dict=True).items()}
    return Hypothesis(
        n=len(rows),
        n_prompts=rows["prompt_id"].n_unique(),
        n_harmful=int(y.sum()),
        n_unscored=len(complied) - len(rows),
        risk_difference=_difference(rows, None, settings),
        by_label=tuple(_difference(by_label[label], label, settings) for label in sorted(by_label)),
        stratified=risk_difference(y, arm, prompts, types=types, strata=types, **settings),
        length_controlled=length_controlled,
        length_cuts=length_cuts,
        rankings=tuple(_ranking(rows, score, draws) for score in ORIENTATIONS),
        by_label_rankings={label: _ranking(by_label[label], "confidence", draws) for label in sorted(by_label)},
        guard=guard(y, arm, -rows["confidence"].to_numpy()),
        **settings,
    )


# Not a test of this project's: its name is what it does.
test_hypothesis.__test__ = False  # type: ignore[attr-defined]


def _compliances(strata: pl.DataFrame, confidence: pl.DataFrame) -> pl.DataFrame:
    """Complied traces with a cell, with every score, larger riskier but for `confidence` and what is probable."""
    keys = ["prompt_id", "sample"]
    votes = strata.filter(pl.col("refused").is_not_null()).group_by("prompt_id", maintain_order=True).agg("refused")
    entropies = [vote_entropy([str(vote) for vote in votes_of]) for votes_of in votes["refused"].to_list()]
    entropy = votes.select("prompt_id", vote_entropy=pl.Series(entropies, dtype=pl.Float64))
    numbers = confidence.select(
        *keys,
        "first_token_probability",
        "token_logprob",
        length=(pl.col("answer_stop") - pl.col("answer_start")).cast(pl.Float64),
    )
    rows = strata.filter(pl.col("quadrant").is_in(COMPLIANCES))
    missing = rows.join(numbers, on=keys, how="anti")
    if len(missing):
        prompt_id, sample = missing.select(keys).row(0)
        raise ValueError(
            f"{len(missing)} traces have no row of confidence (first: prompt {prompt_id}, sample {sample}): "
            "make the confidence table of the same samples"
        )
    rows = rows.join(numbers, on=keys, how="left", maintain_order="left")
    return rows.join(entropy, on="prompt_id", how="left", maintain_order="left")


def _vectors(rows: pl.DataFrame) -> tuple[Floats, Floats, NDArray, NDArray]:
    """Harm, arm, prompt and prompt type [rows]."""
    harmful = (rows["harm"] == "harmful").to_numpy().astype(np.float64)
    uncertain = (rows["quadrant"] == "uncertain_compliance").to_numpy().astype(np.float64)
    return harmful, uncertain, rows["prompt_id"].to_numpy(), rows["label"].to_numpy()


def _length_controlled(rows: pl.DataFrame, settings: dict) -> tuple[Estimate, tuple[float, ...]]:
    """Risk difference within prompt type and fifth of the lengths, and the lengths that separate the fifths."""
    sized = rows.filter(pl.col("length").is_not_null())
    cuts, fifths = _fifths(sized["length"].to_numpy())
    y, arm, prompts, types = _vectors(sized)
    within = [f"{kind} {fifth}" for kind, fifth in zip(types, fifths, strict=True)]
    return risk_difference(y, arm, prompts, types=types, strata=within, **settings), cuts


def _fifths(length: Floats) -> tuple[tuple[float, ...], Integers]:
    """Lengths that separate the fifths, and the fifth of each row; equal lengths are in one fifth."""
    if length.size == 0:
        return (), np.zeros(0, dtype=np.int64)
    cuts = np.quantile(length, np.arange(1, LENGTH_STRATA) / LENGTH_STRATA)
    return tuple(float(cut) for cut in cuts), np.searchsorted(cuts, length, side="left")


def _difference(rows: pl.DataFrame, label: str | None, settings: dict) -> RiskDifference:
    y, arm, prompts, types = _vectors(rows)
    uncertain, confident = y[arm == 1.0], y[arm == 0.0]
    return RiskDifference(
        label=label,
        n_uncertain=int(uncertain.size),
        n_confident=int(confident.size),
        uncertain=float(uncertain.mean()) if uncertain.size else None,
        confident=float(confident.mean()) if confident.size else None,
        difference=risk_difference(y, arm, prompts, types=types, **settings),
    )


def _ranking(rows: pl.DataFrame, score: str, draws: _Draws) -> Ranking:
    """AUROC and average precision of a score for harm, over the rows that have it."""
    known = rows.filter(pl.col(score).is_not_null())
    y, _, prompts, types = _vectors(known)
    risky = known[score].to_numpy().astype(np.float64)
    if ORIENTATIONS[score].startswith("−"):
        risky = -risky
    reason = undefined_reason(y, risky)
    return Ranking(
        score=score,
        orientation=ORIENTATIONS[score],
        n=len(known),
        prevalence=float(y.mean()) if y.size else None,
        auroc=draws.interval(auroc, y, risky, prompts, types, reason),
        average_precision=draws.interval(average_precision, y, risky, prompts, types, reason),
    )
