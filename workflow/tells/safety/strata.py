"""Four cells: confident or uncertain, refusal or compliance. How many traces lie in each, and how many of them harm.

The cut between confident and uncertain is a quantile, never a value, so that the unit of the score does not matter. The
strata table gives every trace its cell, or none for a reason that is counted; `cells` counts them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from tells.config.safety import Kind, StrataConfig
from tells.safety.confidence import KINDS, linear_quantile
from tells.safety.reply_events import check_reply_labels, share_interval
from tells.tables import SCHEMAS

Quadrant = Literal["confident_refusal", "uncertain_refusal", "confident_compliance", "uncertain_compliance"]
QUADRANTS: tuple[Quadrant, ...] = get_args(Quadrant)
COMPLIANCES: tuple[Quadrant, ...] = ("confident_compliance", "uncertain_compliance")
CELLS, HELD_OUT = "cells", "held_out"
_KEYS = ["prompt_id", "sample"]


@dataclass(frozen=True)
class Cell:
    """One cell, of all rows or of a part of them.

    Attributes:
        quadrant: which cell.
        by: what the part is of: `category` or `label`; None for all rows.
        part: which category or label; None for all rows, and for rows without a category.
        n: traces in the cell.
        n_prompts: prompts they belong to.
        n_scored: complied traces with a harm label.
        n_unscored: complied traces without one, which are in no rate.
        n_harmful: scored traces that are harmful.
        harm_rate: n_harmful / n_scored; None without scored traces.
        low: lower end of its interval, clustered by prompt; None where it is undefined.
        high: upper end of its interval; None where it is undefined.
        interval: `bootstrap` by prompt, or `exact` where no or every scored trace is harmful; None without ends.
        reason: why the rate or its interval is undefined; None where both are defined.
    """

    quadrant: Quadrant
    by: str | None
    part: str | None
    n: int
    n_prompts: int
    n_scored: int
    n_unscored: int
    n_harmful: int
    harm_rate: float | None
    low: float | None
    high: float | None
    interval: str | None
    reason: str | None


def quadrants(
    confidence: Sequence[float | None] | NDArray,
    refused: Sequence[bool | None] | NDArray,
    *,
    cut: float = 0.5,
    reference: ArrayLike | None = None,
) -> list[Quadrant | None]:
    """The cell of each trace.

    A trace is uncertain where its confidence is at or below the cut. Traces without a confidence, and those that
    neither refuse nor comply, have no cell and do not enter the quantile.

    Args:
        confidence: [traces] larger is more confident; None where there is none.
        refused: [traces] whether the trace refuses; None where that is unclear.
        cut: a quantile, between 0 and 1.
        reference: [others] confidences whose quantile is the cut; by default those of the traces that have a cell.

    Returns:
        [traces] cells; None for a trace without one.

    Raises:
        ValueError: lengths differ, a confidence is NaN or infinite, the cut is no quantile, or there is no confidence
            to take it from.
    """
    if len(confidence) != len(refused):
        raise ValueError(f"{len(confidence)} confidences but {len(refused)} refusals: every trace needs both")
    if not 0.0 < cut < 1.0:
        raise ValueError(f"cut must be a quantile, between 0 and 1, it is {cut}; a value of the score is none")
    has_cell = [value is not None and said is not None for value, said in zip(confidence, refused, strict=True)]
    inside = [value for value, there in zip(confidence, has_cell, strict=True) if there]
    if not inside:
        return [None] * len(has_cell)
    value_at_cut = linear_quantile(inside if reference is None else reference, cut)
    return [
        _cell(float(value), bool(said), value_at_cut) if there else None
        for value, said, there in zip(confidence, refused, has_cell, strict=True)
    ]


def _cell(confidence: float, refused: bool, value_at_cut: float) -> Quadrant:
    if not np.isfinite(confidence):
        raise ValueError(f"a confidence is {confidence}: give None where there is none")
    if confidence <= value_at_cut:
        return "uncertain_refusal" if refused else "uncertain_compliance"
    return "confident_refusal" if refused else "confident_compliance"


def strata_table(
    reply_labels: pl.DataFrame,
    confidence: pl.DataFrame,
    *,
    kind: Kind | str,
    config: StrataConfig,
    seed: int,
) -> tuple[pl.DataFrame, dict[str, Any]]:
    """Give every trace its cell.

    With `cut_from: held_out` a share of the prompts, drawn by seed with twins (one `group`) kept together, gives the
    cut and has no cell. Otherwise the traces that have a cell give it themselves. Traces of unlabelled prompts, unclear
    ones (empty ones among them) and those without a confidence have no cell and do not enter the quantile.

    Args:
        reply_labels: the reply_labels table.
        confidence: the confidence table of the same traces.
        kind: which of its scores is the confidence: mean, lowest, bottom or tail.
        config: cut and where it comes from.
        seed: of the held-out part.

    Returns:
        The strata table in the order of `reply_labels`, and facts: the cut, where it comes from and its value (None
        with a `reason` where there is none), and the count of rows in cells and of each reason to be in none, which
        add up to `n_rows`.

    Raises:
        ValueError: an unknown kind or label, a trace that stands twice or has no row of confidence, or fewer than two
            groups to hold out from.
    """
    if kind not in KINDS:
        raise ValueError(f"kind {kind!r} is unknown: use one of {', '.join(KINDS)}")
    check_reply_labels(reply_labels)
    rows = _joined(reply_labels, confidence, kind)
    held_out = _held_out_groups(rows["group"], config, seed)
    rows = rows.with_columns(
        part=pl.when(pl.col("group").is_in(held_out)).then(pl.lit(HELD_OUT)).otherwise(pl.lit(CELLS))
    )
    complete = pl.col("label").is_not_null() & pl.col("refused").is_not_null() & pl.col("confidence").is_not_null()
    source = rows.filter(complete & (pl.col("part") == (HELD_OUT if held_out else CELLS)))["confidence"].to_numpy()
    inside = rows.select(complete & (pl.col("part") == CELLS)).to_series()
    masked = rows.with_columns(refused=pl.when(inside).then("refused"))
    found: list[Quadrant | None] = [None] * len(rows)
    if source.size:
        found = quadrants(masked["confidence"].to_list(), masked["refused"].to_list(), cut=config.cut, reference=source)
    table = rows.with_columns(quadrant=pl.Series(found, dtype=pl.String))
    table = table.select(pl.col(name).cast(dtype) for name, dtype in SCHEMAS["strata"].columns.items())
    return table, {"kind": kind, "seed": seed, **_facts(rows, table, source, config)}


def _joined(reply_labels: pl.DataFrame, confidence: pl.DataFrame, kind: str) -> pl.DataFrame:
    """Replies with the score `kind` as `confidence`, and whether they refuse, in the order of the replies."""
    scores = confidence.select(*_KEYS, confidence=pl.col(kind).cast(pl.Float64))
    missing = reply_labels.join(scores, on=_KEYS, how="anti")
    if len(missing):
        prompt_id, sample = missing.select(_KEYS).row(0)
        raise ValueError(
            f"{len(missing)} replies have no row of confidence (first: prompt {prompt_id}, sample {sample}): "
            "make the confidence table of the same samples"
        )
    refused = pl.when(pl.col("refusal").is_in(["refusal", "partial"])).then(True)
    return reply_labels.join(scores, on=_KEYS, how="left", maintain_order="left", validate="1:1").with_columns(
        refused=refused.when(pl.col("refusal") == "compliance").then(False)
    )


def _held_out_groups(groups: pl.Series, config: StrataConfig, seed: int) -> list[str]:
    """Groups of prompts that give the cut; the draw depends on the groups alone, not on labels or order."""
    if config.cut_from == "dataset":
        return []
    distinct = groups.unique().sort().to_list()
    if len(distinct) < 2:
        raise ValueError(f"{len(distinct)} group(s) of prompts: none can be held out; use cut_from: dataset")
    count = min(max(round(config.held_out * len(distinct)), 1), len(distinct) - 1)
    drawn = np.random.default_rng(seed).permutation(len(distinct))[:count]
    return [distinct[index] for index in sorted(drawn)]


def _facts(rows: pl.DataFrame, table: pl.DataFrame, source: NDArray, config: StrataConfig) -> dict[str, Any]:
    """Where the cut comes from, and what became of every row; the first reason to be in no cell counts."""
    held_out = rows["part"] == HELD_OUT
    unlabelled = ~held_out & rows["label"].is_null()
    unclear = ~held_out & ~unlabelled & rows["refused"].is_null()
    in_cells = table["quadrant"].is_not_null()
    rest = ~(held_out | unlabelled | unclear | in_cells)
    without_confidence = rest & rows["confidence"].is_null()
    value = linear_quantile(source, config.cut) if source.size else None
    return {
        "cut": config.cut,
        "cut_from": config.cut_from,
        "held_out": config.held_out if config.cut_from == "held_out" else None,
        "cut_value": value,
        "n_cut": int(source.size),
        "reason": None if source.size else "no trace gives a cut: all are unlabelled, unclear or without confidence",
        "n_rows": len(rows),
        "n_in_cells": int(in_cells.sum()),
        "n_held_out": int(held_out.sum()),
        "n_unlabelled": int(unlabelled.sum()),
        "n_unclear": int(unclear.sum()),
        "n_without_confidence": int(without_confidence.sum()),
        "n_without_cut": int((rest & ~without_confidence).sum()),
        "n_prompts": rows["prompt_id"].n_unique(),
        "n_prompts_held_out": rows.filter(held_out)["prompt_id"].n_unique(),
        "n_empty": int(rows["empty"].sum()),
        "n_truncated": int(rows["truncated"].sum()),
        "n_at_cut": 0 if value is None else int((in_cells & (rows["confidence"] == value)).sum()),
    }


def cells(
    strata: pl.DataFrame,
    *,
    by: Literal["category", "label"] | None = None,
    bootstrap: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> list[Cell]:
    """Count the cells, and how many of their traces harm.

    Args:
        strata: the strata table.
        by: count each category, or each label of prompts, apart.
        bootstrap: draws of prompts.
        level: of the intervals.
        seed: of the draws.

    Returns:
        All four cells of every part, empty ones too; parts in their order, rows without a category last.
    """
    inside = strata.filter(pl.col("quadrant").is_not_null())
    parts = [None] if by is None else inside[by].unique().sort(nulls_last=True).to_list()
    found = []
    for part in parts:
        rows = inside if by is None else inside.filter(pl.col(by).eq_missing(pl.lit(part)))
        for quadrant in QUADRANTS:
            found.append(_count(rows, quadrant, by, part, bootstrap, level, seed))
    return found


def _count(
    rows: pl.DataFrame, quadrant: Quadrant, by: str | None, part: str | None, bootstrap: int, level: float, seed: int
) -> Cell:
    members = rows.filter(pl.col("quadrant") == quadrant)
    judged = quadrant in COMPLIANCES
    scored = members.filter(pl.col("harm").is_in(["harmful", "unharmful"])) if judged else members.clear()
    harmful = (scored["harm"] == "harmful").to_numpy()
    found, method = share_interval(harmful, scored["prompt_id"].to_list(), bootstrap=bootstrap, level=level, seed=seed)
    reason = found.reason
    if not len(scored):
        reason = "no scored reply in this cell" if judged else "harm is judged on complied replies only"
    return Cell(
        quadrant=quadrant,
        by=by,
        part=part,
        n=len(members),
        n_prompts=members["prompt_id"].n_unique(),
        n_scored=len(scored),
        n_unscored=len(members) - len(scored) if judged else 0,
        n_harmful=int(harmful.sum()),
        harm_rate=found.estimate,
        low=found.low,
        high=found.high,
        interval=method,
        reason=reason,
    )
