"""Vetting: which responses go into a trait's vectors, with rates that count exactly what the filter keeps.

Between judging and extraction. One predicate, `passes`, stands behind the rates and the filter alike. An error of the
judge is neither pass nor fail: it is counted, kept out of training, and asked again at the next run. What looks wrong
is said with its likely cause and its cure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import polars as pl

from tells.traits.cautions import Caution, find_cautions
from tells.traits.scenarios import NEGATIVE, POLARITIES, POSITIVE

Gate = Literal["responses", "both", "none"]
Outcome = Literal["pass", "fail", "error"]
SCENARIOS, RESPONSES = "scenarios", "responses"
GATES: dict[str, tuple[str, ...]] = {"responses": (RESPONSES,), "both": (SCENARIOS, RESPONSES), "none": ()}
LABELS_SCHEMA: dict[str, Any] = {
    "prompt_id": pl.String,
    "group": pl.String,
    "sample": pl.Int32,
    "polarity": pl.String,
    "scenario_score": pl.Float64,
    "scenario_status": pl.String,
    "response_score": pl.Float64,
    "response_status": pl.String,
    "outcome": pl.String,
    "kept": pl.Boolean,
}


@dataclass(frozen=True)
class Thresholds:
    """From which score a positive passes, and up to which a negative does (0 to 100, the bounds included)."""

    positive_min: float = 60.0
    negative_max: float = 40.0

    def __post_init__(self) -> None:
        if not 0 <= self.negative_max < self.positive_min <= 100:
            raise ValueError(
                f"negative_max ({self.negative_max:g}) must be below positive_min ({self.positive_min:g}), "
                "and both between 0 and 100"
            )


@dataclass(frozen=True)
class StageCount:
    """One stage and polarity; n = n_pass + n_fail + n_error.

    Attributes:
        stage: `scenarios` (n of scenarios) or `responses` (n of responses).
        polarity: positive or negative.
        n: judged.
        n_pass: those that pass.
        n_fail: those that do not, refusals among them.
        n_error: those without an answer of the judge, in neither rate nor training.
        n_refused: those the judge would not score.
        rate: n_pass / (n_pass + n_fail); None where both are 0.
        median_score: of the scores there are; None without any.
    """

    stage: str
    polarity: str
    n: int
    n_pass: int
    n_fail: int
    n_error: int
    n_refused: int
    rate: float | None
    median_score: float | None


@dataclass(frozen=True)
class Survivors:
    """What is left of one polarity for extraction: rows, and the distinct scenarios they come from."""

    rows: int
    scenarios: int


@dataclass(frozen=True)
class Vetting:
    """What vetting found.

    Attributes:
        gate: the stages that filter.
        paired: both of a pair were kept or none.
        thresholds: what passes.
        stages: counts per stage and polarity, of the stages that were judged.
        survivors: per polarity.
        pairs: (pair, sample) of which both poles survive.
        minimum: of surviving scenarios per class.
        status: `insufficient` under that minimum.
        reason: why it is insufficient; None where it is not.
        warnings: what looks wrong, likely cause and cure.
    """

    gate: Gate
    paired: bool
    thresholds: Thresholds
    stages: tuple[StageCount, ...]
    survivors: dict[str, Survivors]
    pairs: int
    minimum: int
    status: Literal["ok", "insufficient"]
    reason: str | None
    warnings: tuple[Caution, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON takes it."""
        return asdict(self)


def passes(score: float | None, polarity: str, *, positive_min: float = 60, negative_max: float = 40) -> bool | None:
    """Whether a score is on its polarity's side: the one predicate of rates and filter.

    Args:
        score: 0 to 100; None where there is none.
        polarity: positive or negative.
        positive_min: a positive passes at or above it.
        negative_max: a negative passes at or below it.

    Returns:
        None where there is no score.

    Raises:
        ValueError: another polarity.
    """
    if polarity not in POLARITIES:
        raise ValueError(f"polarity must be one of {', '.join(POLARITIES)}, it is {polarity!r}")
    if score is None:
        return None
    return score >= positive_min if polarity == POSITIVE else score <= negative_max


def vet(
    prompts: pl.DataFrame,
    scenario_scores: pl.DataFrame | None,
    response_scores: pl.DataFrame | None,
    *,
    gate: Gate = "responses",
    paired: bool = True,
    thresholds: Thresholds = Thresholds(),
    minimum: int = 30,
    samples: pl.DataFrame | None = None,
) -> tuple[pl.DataFrame, Vetting]:
    """Decide which responses are kept.

    Args:
        prompts: one row a scenario: prompt_id, group (the pair), polarity; text to compare lengths.
        scenario_scores: one row a scenario: prompt_id, score, status, reason; None where scenarios were not judged.
        response_scores: one row a response: prompt_id, sample, score, status, reason; None where responses were not.
        gate: the judged stages that filter: `responses`, `both`, or `none`.
        paired: keep a response only with that of the other pole of its pair and the same sample number.
        thresholds: what passes.
        minimum: of distinct surviving scenarios per class.
        samples: the responses (prompt_id, sample, and text to compare lengths); needed where responses were not judged
            and a scenario has more than the one sample 0.

    Returns:
        Labels in the columns of `LABELS_SCHEMA`, in the order of `prompts`, then of samples, and what was found. An
        outcome over two gates is `fail` where either fails, else `error` where either is one; it is null where no
        judged stage filters.

    Raises:
        ValueError: an unknown gate, a minimum under 1, a table that lacks a column or a row, has one twice or one that
            belongs to nothing, or a status that its score contradicts.
    """
    if gate not in GATES:
        raise ValueError(f"gate must be one of {', '.join(GATES)}, it is {gate!r}")
    if minimum < 1:
        raise ValueError(f"minimum is {minimum}; it must be at least 1")
    base = _prompt_columns(prompts)
    rows = _responses(base, response_scores, samples)
    scored = {
        SCENARIOS: _judged(base, scenario_scores, ["prompt_id"], "scenario_scores", thresholds),
        RESPONSES: _judged(rows, response_scores, ["prompt_id", "sample"], "response_scores", thresholds),
    }
    labels = _with_outcomes(rows, scored, GATES[gate], paired=paired)
    kept = labels.filter(pl.col("kept"))
    stages = _counts(scored)
    cautions = find_cautions(stages, scored, kept, prompts, samples, thresholds)
    vetting = _vetting(kept, stages, tuple(cautions), gate=gate, paired=paired, thresholds=thresholds, minimum=minimum)
    return labels.select(LABELS_SCHEMA.keys()), vetting


def outcome_of(score: float | None, status: str, polarity: str, thresholds: Thresholds) -> Outcome:
    """`pass` or `fail` by the predicate; a refusal is a fail, an error is an error.

    Raises:
        ValueError: an unknown status or polarity, a score outside 0 to 100, `scored` without a score or a score
            without `scored`.
    """
    if status not in ("scored", "refused", "error"):
        raise ValueError(f"status must be scored, refused or error, it is {status!r}")
    if (status == "scored") != (score is not None):
        raise ValueError(f"status {status} contradicts the score {score}")
    if score is not None and not 0 <= score <= 100:
        raise ValueError(f"score {score} lies outside 0 to 100")
    if status == "error":
        return "error"
    verdict = passes(score, polarity, positive_min=thresholds.positive_min, negative_max=thresholds.negative_max)
    return "pass" if verdict else "fail"


def _prompt_columns(prompts: pl.DataFrame) -> pl.DataFrame:
    _need(prompts, ("prompt_id", "group", "polarity"), "prompts")
    _need_unique(prompts, ["prompt_id"], "prompts")
    _need_unique(prompts, ["group", "polarity"], "prompts")
    unknown = sorted(set(prompts["polarity"].drop_nulls().to_list()) - set(POLARITIES))
    if unknown or prompts["polarity"].null_count():
        raise ValueError(f"prompts: polarity must be positive or negative; found {', '.join(unknown) or 'null'}")
    return prompts.select("prompt_id", "group", "polarity").with_row_index("place")


def _responses(base: pl.DataFrame, scores: pl.DataFrame | None, samples: pl.DataFrame | None) -> pl.DataFrame:
    """One row a response, in the order of the prompts: place, prompt_id, group, polarity, sample."""
    source, name = (samples, "samples") if samples is not None else (scores, "response_scores")
    if source is None:
        return base.with_columns(pl.lit(0, pl.Int32).alias("sample"))
    _need(source, ("prompt_id", "sample"), name)
    keys = source.select("prompt_id", pl.col("sample").cast(pl.Int32))
    _need_unique(keys, ["prompt_id", "sample"], name)
    _need_same_keys(base.select("prompt_id"), keys.select("prompt_id").unique(), ["prompt_id"], name)
    return base.join(keys, on="prompt_id").sort("place", "sample")


def _judged(
    rows: pl.DataFrame, scores: pl.DataFrame | None, key: list[str], name: str, thresholds: Thresholds
) -> pl.DataFrame | None:
    """The rows with score, status, reason and outcome; None where the stage was not judged."""
    if scores is None:
        return None
    _need(scores, (*key, "score", "status"), name)
    reason = pl.col("reason") if "reason" in scores.columns else pl.lit(None, pl.String).alias("reason")
    keys = [pl.col(column).cast(rows.schema[column]) for column in key]
    chosen = scores.select(*keys, pl.col("score").cast(pl.Float64), "status", reason)
    _need_unique(chosen, key, name)
    _need_same_keys(rows.select(key), chosen.select(key), key, name)
    table = rows.join(chosen, on=key, how="left", maintain_order="left")
    outcomes = []
    for row in table.iter_rows(named=True):
        try:
            outcomes.append(outcome_of(row["score"], row["status"], row["polarity"], thresholds))
        except ValueError as error:
            raise ValueError(f"{name}: {row['prompt_id']}: {error}") from None
    return table.with_columns(pl.Series("outcome", outcomes, pl.String))


def _with_outcomes(
    rows: pl.DataFrame, scored: Mapping[str, pl.DataFrame | None], gates: tuple[str, ...], *, paired: bool
) -> pl.DataFrame:
    """The responses with the scores of both stages, the outcome over the gates, and whether each is kept."""
    keys = {SCENARIOS: ["prompt_id"], RESPONSES: ["prompt_id", "sample"]}
    labels = rows
    for stage, prefix in ((SCENARIOS, "scenario"), (RESPONSES, "response")):
        table = scored[stage]
        names = {"score": f"{prefix}_score", "status": f"{prefix}_status", "outcome": stage}
        if table is None:
            types = zip(names.values(), (pl.Float64, pl.String, pl.String), strict=True)
            labels = labels.with_columns(pl.lit(None, kind).alias(name) for name, kind in types)
        else:
            chosen = table.select(*keys[stage], *names).rename(names)
            labels = labels.join(chosen, on=keys[stage], how="left", maintain_order="left")
    filters = [stage for stage in gates if scored[stage] is not None]
    if not filters:
        labels = labels.with_columns(pl.lit(None, pl.String).alias("outcome"), pl.lit(True).alias("kept"))
    else:
        fails = pl.any_horizontal(pl.col(stage) == "fail" for stage in filters)
        errors = pl.any_horizontal(pl.col(stage) == "error" for stage in filters)
        outcome = pl.when(fails).then(pl.lit("fail")).when(errors).then(pl.lit("error")).otherwise(pl.lit("pass"))
        labels = labels.with_columns(outcome.alias("outcome"))
        labels = labels.with_columns((pl.col("outcome") == "pass").alias("kept"))
    if paired:
        poles = pl.col("polarity").filter(pl.col("kept")).n_unique().over("group", "sample")
        labels = labels.with_columns(pl.col("kept") & (poles == len(POLARITIES)))
    return labels


def _vetting(
    kept: pl.DataFrame,
    stages: tuple[StageCount, ...],
    warnings: tuple[Caution, ...],
    *,
    gate: Gate,
    paired: bool,
    thresholds: Thresholds,
    minimum: int,
) -> Vetting:
    """What was found, and whether what is kept suffices."""
    survivors = {polarity: _survivors(kept, polarity) for polarity in POLARITIES}
    reason = _shortage(survivors, minimum)
    return Vetting(
        gate=gate,
        paired=paired,
        thresholds=thresholds,
        stages=stages,
        survivors=survivors,
        pairs=_whole_pairs(kept),
        minimum=minimum,
        status="insufficient" if reason else "ok",
        reason=reason,
        warnings=warnings,
    )


def _counts(scored: Mapping[str, pl.DataFrame | None]) -> tuple[StageCount, ...]:
    """Of every stage that was judged, both polarities."""
    judged = ((stage, table) for stage, table in scored.items() if table is not None)
    return tuple(_count(stage, polarity, table) for stage, table in judged for polarity in POLARITIES)


def _count(stage: str, polarity: str, table: pl.DataFrame) -> StageCount:
    chosen = table.filter(pl.col("polarity") == polarity)
    counts = {outcome: chosen.filter(pl.col("outcome") == outcome).height for outcome in ("pass", "fail", "error")}
    decided = counts["pass"] + counts["fail"]
    return StageCount(
        stage=stage,
        polarity=polarity,
        n=chosen.height,
        n_pass=counts["pass"],
        n_fail=counts["fail"],
        n_error=counts["error"],
        n_refused=chosen.filter(pl.col("status") == "refused").height,
        rate=counts["pass"] / decided if decided else None,
        median_score=chosen["score"].median(),
    )


def _survivors(kept: pl.DataFrame, polarity: str) -> Survivors:
    chosen = kept.filter(pl.col("polarity") == polarity)
    return Survivors(chosen.height, chosen["prompt_id"].n_unique())


def _shortage(survivors: Mapping[str, Survivors], minimum: int) -> str | None:
    """Why a trait is insufficient; None where it is not."""
    short = [f"{left.scenarios} {name}" for name, left in survivors.items() if left.scenarios < minimum]
    if not short:
        return None
    return f"{' and '.join(short)} scenarios survive vetting; at least {minimum} of each class are needed"


def _whole_pairs(kept: pl.DataFrame) -> int:
    poles = {polarity: kept.filter(pl.col("polarity") == polarity) for polarity in POLARITIES}
    return poles[POSITIVE].join(poles[NEGATIVE], on=["group", "sample"], how="semi").height


def _need(table: pl.DataFrame, columns: tuple[str, ...], name: str) -> None:
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise ValueError(f"{name} lacks the column(s) {', '.join(missing)}; it has {', '.join(table.columns)}")


def _need_unique(table: pl.DataFrame, key: list[str], name: str) -> None:
    twice = table.filter(pl.struct(key).is_duplicated())
    if twice.height:
        raise ValueError(f"{name}: more than one row of {' / '.join(map(str, twice.select(key).row(0)))}")


def _need_same_keys(wanted: pl.DataFrame, given: pl.DataFrame, key: list[str], name: str) -> None:
    for one, other, message in ((wanted, given, "has no row of"), (given, wanted, "has a row of the unknown")):
        odd = one.join(other, on=key, how="anti", nulls_equal=True)
        if odd.height:
            first = " / ".join(map(str, odd.select(key).row(0)))
            raise ValueError(f"{name} {message} {first} ({odd.height} in all)")
