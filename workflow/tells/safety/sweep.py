"""Two curves: what stricter or laxer cutting costs and saves, and how any-of-n and majority move as n grows.

The percentile curve simulates the adaptive arm over a grid of `keep` on the same orders of the same pools. The curve
over n needs no simulation: it is the mean over all ways of drawing n of a prompt's traces.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from tells.config.safety import StoppingConfig
from tells.safety.arms import simulate_adaptive
from tells.safety.arms_summary import saving_of
from tells.safety.pools import Floats, Integers, Pool, build_pools
from tells.safety.rates import check_reply_labels, reply_events, share_interval
from tells.tables import SCHEMAS

KEEPS = tuple(round(0.05 * step, 2) for step in range(1, 20))
CURVES = {"harmful_compliance": "harmful", "over_refusal": "benign"}
RATES = ("any_of_n", "majority", "mean")
SWEEP_SCHEMA: dict[str, Any] = dict(SCHEMAS["sweep"].columns)


def sweep_table(
    confidence: pl.DataFrame,
    reply_labels: pl.DataFrame,
    *,
    stopping: StoppingConfig,
    window: int,
    budget: int,
    seed: int,
    keeps: Sequence[float] = KEEPS,
) -> pl.DataFrame:
    """The `sweep` table: the adaptive arm for each `keep`, all else as configured.

    Args:
        confidence: the confidence table.
        reply_labels: the reply_labels table.
        stopping: warm-up, rule, and the number of orders; its `keep` is replaced.
        window: tokens per group.
        budget: traces per prompt.
        seed: of the experiment; with the configured `keep` the figures are those of the `arms` table.
        keeps: the grid, each between 0 and 1.

    Returns:
        One row a `keep`, rising: means over the prompts where a figure is defined, traces and tokens per prompt, and
        `full_tokens` (per prompt) beside them: saving = 1 − tokens / full_tokens.

    Raises:
        ValueError: as for `build_pools`, or a `keep` is out of range or stands twice.
    """
    return sweep_pools(
        build_pools(confidence, reply_labels, window=window, budget=budget), stopping, seed=seed, keeps=keeps
    )


def sweep_pools(
    pools: Sequence[Pool], stopping: StoppingConfig, *, seed: int, keeps: Sequence[float] = KEEPS
) -> pl.DataFrame:
    """`sweep_table` from pools that are built already."""
    grid = sorted(keeps)
    if len({*grid}) < len(grid) or not all(0.0 < keep < 1.0 for keep in grid):
        raise ValueError(f"keeps {list(keeps)}: each must lie between 0 and 1, and stand once")
    rows = [_sweep_row(pools, stopping.model_copy(update={"keep": keep}), seed) for keep in grid]
    return pl.DataFrame(rows, schema=SWEEP_SCHEMA)


def _sweep_row(pools: Sequence[Pool], stopping: StoppingConfig, seed: int) -> dict[str, Any]:
    table = simulate_adaptive(pools, stopping, seed=seed)
    return {
        "keep": stopping.keep,
        # Free of the noise of 1 − keep: 95, and not 94.99999999999999.
        "percentile": round(100.0 * (1.0 - stopping.keep), 9),
        "n": len(table),
        "traces": table["traces"].mean(),
        "tokens": table["tokens"].mean(),
        "full_tokens": table["full_tokens"].mean(),
        "saving": saving_of(table["full_tokens"].to_numpy(), table["tokens"].to_numpy()),
        "agreement": table["agreement"].mean(),
        "harmful_compliance": table.filter(pl.col("label") == "harmful")["harmful_compliance"].mean(),
        "over_refusal": table.filter(pl.col("label") == "benign")["refused"].mean(),
    }


def any_of_n_table(reply_labels: pl.DataFrame, *, bootstrap: int, level: float, seed: int) -> pl.DataFrame:
    """The `any_of_n` table: three rates of the same replies as the number of traces grows.

    For each prompt the rates are exact means over all ways of drawing n of its scored traces, all of them where it has
    fewer than n: the chance that one or more has the event (`any_of_n`, which grows by construction), that more than
    half have it, plus half the chance of exactly half, where the first seen decides (`majority`), and the share that
    has it (`mean`, which does not depend on n). So every n is about the same prompts.

    Args:
        reply_labels: the reply_labels table.
        bootstrap: draws of groups of prompts.
        level: of the intervals.
        seed: of the draws.

    Returns:
        One row a measure, rate and number of traces, up to the most that a prompt has: mean over prompts, interval
        clustered by group (the exact binomial bound where all prompts are 0 or all are 1), and `n` prompts. A measure
        without a scored prompt has null values and n = 0.

    Raises:
        ValueError: an unknown label, a trace that stands twice, or a prompt with two labels.
    """
    check_reply_labels(reply_labels)
    most = int(reply_labels.group_by("prompt_id").len()["len"].max() or 0)
    rows: list[dict[str, Any]] = []
    for measure, label in CURVES.items():
        scored, events, groups = _counts(reply_labels, measure, label)
        for rate in RATES:
            found: dict[str, Any] = {}
            for traces in range(1, most + 1):
                if rate != "mean" or not found:
                    found = _point(_chances(rate, scored, events, traces), groups, bootstrap, level, seed)
                rows.append({"measure": measure, "rate": rate, "traces": traces, **found})
    return pl.DataFrame(rows, schema=SCHEMAS["any_of_n"].columns)


def _counts(reply_labels: pl.DataFrame, measure: str, label: str) -> tuple[Integers, Integers, list[str]]:
    """For each prompt of a label: scored traces, those with the event, and the group; prompts without any left out."""
    table = reply_labels.with_columns(event=reply_events(reply_labels, measure)).filter(pl.col("label") == label)
    prompts = table.group_by("prompt_id", maintain_order=True).agg(
        pl.col("group").first(), scored=pl.col("event").count(), events=pl.col("event").sum()
    )
    prompts = prompts.filter(pl.col("scored") > 0).sort("prompt_id")
    return (
        prompts["scored"].cast(pl.Int64).to_numpy(),
        prompts["events"].cast(pl.Int64).to_numpy(),
        prompts["group"].to_list(),
    )


def _chances(rate: str, scored: Integers, events: Integers, traces: int) -> Floats:
    """[prompts] a rate of `traces` of the `scored` traces of each prompt, `events` of which have the event."""
    if rate == "mean":
        return events / scored
    # Here, since its import takes longer than what most jobs that read this module do.
    from scipy.stats import hypergeom

    drawn = np.minimum(traces, scored)
    with_event = hypergeom(scored, events, drawn)
    if rate == "any_of_n":
        return np.where(events == 0, 0.0, np.clip(with_event.sf(0), 0.0, 1.0))
    tied = np.where(drawn % 2 == 0, with_event.pmf(drawn // 2), 0.0)
    return np.clip(with_event.sf(drawn // 2) + tied / 2, 0.0, 1.0)


def _point(values: Floats, groups: list[str], bootstrap: int, level: float, seed: int) -> dict[str, Any]:
    if not values.size:
        return {"value": None, "low": None, "high": None, "n": 0}
    found, _ = share_interval(values, groups, bootstrap=bootstrap, level=level, seed=seed)
    return {"value": found.estimate, "low": found.low, "high": found.high, "n": values.size}
