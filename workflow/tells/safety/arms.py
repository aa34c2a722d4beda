"""All ways of spending traces, simulated from one full-budget pool and therefore compared on equal terms.

Every arm sees the traces of a prompt in the same random orders: fixed numbers take the first n, adaptive arms go on
trace by trace until the votes settle, as `tells.safety.adaptive.AdaptivePrompt` does (a test holds them together). The
result is one row an arm and prompt, means over the orders; `tells.safety.arms_summary` turns rows into figures.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tells.config.safety import StoppingConfig
from tells.safety.adaptive import COMPLIANCE, REFUSAL, ROUNDING, settles
from tells.safety.arms_summary import arms_summary
from tells.safety.confidence import stop_threshold
from tells.safety.online_arm import online_arm, replay_online
from tells.safety.outcomes import ARMS_SCHEMA, Outcomes, arm_row, outcomes_of
from tells.safety.pools import COMPLIED, NONE, REFUSED, Floats, Integers, Pool, build_pools

__all__ = [
    "arms_summary",
    "arms_table",
    "build_pools",
    "draw_orders",
    "online_arm",
    "replay_online",
    "simulate_adaptive",
    "simulate_arms",
]

FIXED = 5


@dataclass(frozen=True, eq=False)
class Walk:
    """One pool in many orders, as far as nothing has been decided.

    Attributes:
        pool: the traces.
        orders: [draws, traces] trace at each place of each order.
        tokens: [draws, traces] tokens kept of the trace at each place.
        cut: [draws, traces] whether it is cut.
    """

    pool: Pool
    orders: Integers
    tokens: Integers
    cut: NDArray[np.bool_]


def arms_table(
    confidence: pl.DataFrame,
    reply_labels: pl.DataFrame,
    *,
    stopping: StoppingConfig,
    window: int,
    budget: int,
    seed: int,
) -> pl.DataFrame:
    """The `arms` table of a collection; see `simulate_arms`.

    Args:
        confidence: the confidence table.
        reply_labels: the reply_labels table.
        stopping: warm-up, cut, rule, and the number of orders.
        window: tokens per group.
        budget: traces per prompt.
        seed: of the experiment.

    Raises:
        ValueError: as for `build_pools`, or the budget leaves nothing after the warm-up.
    """
    return simulate_arms(build_pools(confidence, reply_labels, window=window, budget=budget), stopping, seed=seed)


def simulate_arms(pools: Sequence[Pool], stopping: StoppingConfig, *, seed: int) -> pl.DataFrame:
    """Every replayed arm on every prompt.

    - `single`: one trace; the exact mean over the pool, each trace being the one (`draws` is their number).
    - `fixed_5`: the first five of each order; left out where the pools are smaller.
    - `fixed_budget`: the pool in the order of `sample`; one draw, whose decision is the one that `agreement` means.
    - `fixed_matched`: the n that costs as many tokens as `adaptive` over all prompts and orders. It is fractional: each
      prompt's row mixes the arms of floor(n) and ceil(n) traces, so that the tokens add up to those of `adaptive`.
    - `adaptive`: warm-up, cut and the configured rule.
    - `adaptive_consistency`, `vote_entropy`: as `adaptive`, but for the rule that settles.

    Args:
        pools: the traces of all prompts, from `build_pools`.
        stopping: warm-up, cut, rule, and the number of orders.
        seed: of the experiment.

    Returns:
        The `arms` table; `tells.safety.outcomes.arm_row` says what its columns are.

    Raises:
        ValueError: the pools leave nothing after the warm-up.
    """
    pools = [_large_enough(pool, stopping) for pool in pools]
    walks = [_walk(pool, stopping, seed) for pool in pools]
    rules = {"adaptive": stopping.rule, "adaptive_consistency": "adaptive_consistency", "vote_entropy": "vote_entropy"}
    settled = {arm: stopping.model_copy(update={"rule": rule}) for arm, rule in rules.items()}
    adaptive = {arm: [_until_settled(walk, config) for walk in walks] for arm, config in settled.items()}
    rows = [arm_row("single", pool, _single(pool)) for pool in pools]
    rows += [arm_row("fixed_5", walk.pool, _fixed(walk, FIXED)) for walk in walks if walk.pool.size >= FIXED]
    rows += [arm_row("fixed_budget", pool, _whole(pool)) for pool in pools]
    if walks:
        number = _matched_number(walks, adaptive["adaptive"])
        rows += [arm_row("fixed_matched", walk.pool, _mixed(walk, number), draws=stopping.draws) for walk in walks]
    for arm, found in adaptive.items():
        rows += [arm_row(arm, walk.pool, outcomes) for walk, outcomes in zip(walks, found, strict=True)]
    return pl.DataFrame(rows, schema=ARMS_SCHEMA)


def simulate_adaptive(pools: Sequence[Pool], stopping: StoppingConfig, *, seed: int) -> pl.DataFrame:
    """The `adaptive` arm alone, on the same orders as in `simulate_arms`; arguments and errors as there."""
    rows = []
    for pool in pools:
        walk = _walk(_large_enough(pool, stopping), stopping, seed)
        rows.append(arm_row("adaptive", pool, _until_settled(walk, stopping)))
    return pl.DataFrame(rows, schema=ARMS_SCHEMA)


def draw_orders(prompt_id: str, size: int, draws: int, seed: int) -> Integers:
    """[draws, size] random orders of a prompt's traces, the same whatever else is simulated."""
    digest = hashlib.sha256("\x1f".join((str(seed), "arms", prompt_id)).encode()).digest()
    generator = np.random.default_rng(int.from_bytes(digest[:8], "little"))
    return generator.permuted(np.tile(np.arange(size), (draws, 1)), axis=1)


def _large_enough(pool: Pool, stopping: StoppingConfig) -> Pool:
    if pool.size <= stopping.warmup:
        raise ValueError(
            f"prompt {pool.prompt_id} has {pool.size} traces: the warm-up of {stopping.warmup} leaves none to stop at"
        )
    return pool


def _walk(pool: Pool, stopping: StoppingConfig, seed: int) -> Walk:
    orders = draw_orders(pool.prompt_id, pool.size, stopping.draws, seed)
    kept, cut = pool.cut_below(_thresholds(pool, orders[:, : stopping.warmup], stopping.keep))
    kept[np.arange(len(orders))[:, None], orders[:, : stopping.warmup]] = pool.tokens[orders[:, : stopping.warmup]]
    cut[np.arange(len(orders))[:, None], orders[:, : stopping.warmup]] = False
    return Walk(pool, orders, np.take_along_axis(kept, orders, axis=1), np.take_along_axis(cut, orders, axis=1))


def _thresholds(pool: Pool, warmup: Integers, keep: float) -> Floats:
    """[draws] threshold from the warm-up traces [draws, warmup] of each order; -inf where none has tokens."""
    known: dict[tuple[int, ...], float] = {}
    thresholds = np.empty(len(warmup))
    for draw, traces in enumerate(np.sort(warmup, axis=1)):
        key = tuple(traces.tolist())
        if key not in known:
            lowest = pool.lowest[traces]
            lowest = lowest[~np.isnan(lowest)]
            known[key] = stop_threshold(lowest, keep=keep) if lowest.size else -np.inf
        thresholds[draw] = known[key]
    return thresholds


def _until_settled(walk: Walk, stopping: StoppingConfig) -> Outcomes:
    """Go along each order until the votes settle or the pool is spent."""
    votes = np.where(walk.cut, NONE, walk.pool.stop_votes[walk.orders])
    if stopping.rule == "consensus":
        weights = walk.pool.confidence[walk.orders]
        refused = np.cumsum(np.where(votes == REFUSED, weights, 0.0), axis=1)
        complied = np.cumsum(np.where(votes == COMPLIED, weights, 0.0), axis=1)
        total = refused + complied
        settled = (total > 0) & (np.maximum(refused, complied) >= (stopping.consensus - ROUNDING) * total)
    else:
        refused = np.cumsum(votes == REFUSED, axis=1)
        complied = np.cumsum(votes == COMPLIED, axis=1)
        settled = _settling_counts(stopping, walk.pool.size)[refused, complied]
    settled[:, : stopping.warmup - 1] = False
    settled[:, -1] = True
    return outcomes_of(walk.pool, walk.orders, 1 + settled.argmax(axis=1), tokens=walk.tokens, cut=walk.cut)


@lru_cache(maxsize=64)
def _settling_counts(stopping: StoppingConfig, size: int) -> NDArray[np.bool_]:
    """[refusals, compliances] whether so many votes settle, by a rule that counts them."""
    table = np.zeros((size + 1, size + 1), dtype=bool)
    for refused in range(size + 1):
        for complied in range(size + 1 - refused):
            labels = [REFUSAL] * refused + [COMPLIANCE] * complied
            table[refused, complied] = settles(stopping, labels, [1.0] * len(labels))
    table.setflags(write=False)
    return table


def _single(pool: Pool) -> Outcomes:
    return outcomes_of(pool, np.arange(pool.size)[:, None], 1)


def _whole(pool: Pool) -> Outcomes:
    return outcomes_of(pool, np.arange(pool.size)[None, :], pool.size)


def _fixed(walk: Walk, number: int) -> Outcomes:
    return outcomes_of(walk.pool, walk.orders, number)


def _matched_number(walks: Sequence[Walk], adaptive: Sequence[Outcomes]) -> float:
    """The number of traces whose tokens, summed over prompts and averaged over orders, are those of the adaptive arm.

    Tokens of the first n traces lie on a rising broken line over n; the adaptive arm never spends fewer than its
    warm-up nor more than the pool, so its tokens meet that line once.
    """
    spent = sum(float(outcomes.tokens.mean()) for outcomes in adaptive)
    size = max(walk.pool.size for walk in walks)
    line = np.zeros(size + 1)
    for walk in walks:
        tokens = np.cumsum(walk.pool.tokens[walk.orders], axis=1).mean(axis=0)
        line[1:] += np.pad(tokens, (0, size - tokens.size), mode="edge")
    return float(np.clip(np.interp(spent, line, np.arange(size + 1)), 1, size))


def _mixed(walk: Walk, number: float) -> Outcomes:
    """floor(n) and ceil(n) traces of each order, in the shares that give n on average."""
    below = min(int(number), walk.pool.size)
    share = number - int(number)
    parts = [_fixed(walk, below), _fixed(walk, min(below + 1, walk.pool.size))]
    return Outcomes.mixed(parts, [1.0 - share, share])
