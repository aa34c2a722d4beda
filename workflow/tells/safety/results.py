"""The safety study's results: cells, rates, hypothesis and guards of each benchmark, and every trace in one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import polars as pl

from tells.safety.constant_classifier import guard
from tells.safety.hypothesis import test_hypothesis
from tells.safety.rates import (
    any_of_n,
    asr_at_1,
    gives_harm_scores,
    majority_rate,
    mean_harm_score,
    over_refusal_rate,
    rates_by_category,
)
from tells.safety.strata import cells
from tells.tables import SCHEMAS

_KEYS = ["prompt_id", "sample"]
_SCORES = ("mean", "lowest", "bottom", "tail", "first_token_probability", "token_logprob")


def strata_record(
    strata: pl.DataFrame,
    confidence: pl.DataFrame,
    reply_labels: pl.DataFrame,
    facts: Mapping[str, Any],
    *,
    bootstrap: int,
    level: float,
    seed: int,
) -> dict[str, Any]:
    """What strata.json holds of one benchmark.

    Args:
        strata: the strata table.
        confidence: the confidence table.
        reply_labels: the reply_labels table.
        facts: of `strata_table`: the cut and the counts of rows.
        bootstrap: draws of prompts.
        level: of the intervals.
        seed: of the draws.

    Returns:
        `counts` (the facts), `cells` (all, by label, by category), `rates` (all, by category), `hypothesis`, `guards`
        by name, and `warnings`: the guards that fired and what else a reader must know.
    """
    drawn: dict[str, Any] = {"bootstrap": bootstrap, "level": level, "seed": seed}
    parts = {"all": None, "by_label": "label", "by_category": "category"}
    found = {name: [asdict(cell) for cell in cells(strata, by=by, **drawn)] for name, by in parts.items()}
    hypothesis = asdict(test_hypothesis(strata, confidence, **drawn))
    guards = {
        "uncertain_means_harmful": hypothesis.pop("guard"),
        "refused_means_harmful_prompt": _refusal_guard(strata),
    }
    return {
        "counts": dict(facts),
        "cells": found,
        "rates": _rates(reply_labels, drawn),
        "hypothesis": hypothesis,
        "guards": guards,
        "warnings": _warnings(found["all"], guards, facts, hypothesis),
    }


def safety_results(names: Sequence[str], strata: Sequence[Mapping], arms: Sequence[Mapping]) -> dict[str, Any]:
    """What results.json holds: by benchmark, what strata.json and arms.json hold.

    Args:
        names: of the benchmarks.
        strata: contents of their strata.json.
        arms: contents of their arms.json.
    """
    benchmarks = []
    for name, cut, compared in zip(names, strata, arms, strict=True):
        own = {key: value for key, value in cut.items() if key != "metadata"}
        record = {key: value for key, value in compared.items() if key != "metadata"}
        benchmarks.append({"benchmark": name, **own, **record})
    return {"benchmarks": benchmarks}


def traces_table(
    names: Sequence[str], strata: Sequence[pl.DataFrame], confidence: Sequence[pl.DataFrame]
) -> pl.DataFrame:
    """Every trace of every benchmark: its cell, its labels and all its scores.

    Args:
        names: of the benchmarks.
        strata: their strata tables.
        confidence: their confidence tables.
    """
    parts = [
        cut.drop("confidence")
        .join(scores.select(*_KEYS, *_SCORES, "n_tokens", "truncated"), on=_KEYS, how="left", maintain_order="left")
        .with_columns(benchmark=pl.lit(name))
        for name, cut, scores in zip(names, strata, confidence, strict=True)
    ]
    return pl.concat(parts).select(pl.col(name).cast(dtype) for name, dtype in SCHEMAS["traces"].columns.items())


def _rates(reply_labels: pl.DataFrame, drawn: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    most = int(reply_labels.group_by("prompt_id").len()["len"].max() or 1)
    every = [
        partial(asr_at_1, **drawn),
        partial(any_of_n, traces=most, **drawn),
        partial(majority_rate, **drawn),
        partial(over_refusal_rate, **drawn),
        partial(mean_harm_score, scored=gives_harm_scores(reply_labels), **drawn),
    ]
    by_category = [rate for one in every for rate in rates_by_category(reply_labels, one)]
    return {
        "all": [asdict(rate(reply_labels)) for rate in every],
        "by_category": [asdict(rate) for rate in by_category if rate.n_prompts or rate.n_left_out],
    }


def _refusal_guard(strata: pl.DataFrame) -> dict[str, Any]:
    """Does refusing tell harmful prompts from benign ones better than a constant?"""
    rows = strata.filter(pl.col("label").is_not_null() & pl.col("refused").is_not_null())
    return asdict(guard((rows["label"] == "harmful").cast(pl.Int8), rows["refused"].cast(pl.Int8)))


FEW = 20
"""Traces below which a cell's rate says little."""


def _warnings(
    found: Sequence[Mapping[str, Any]],
    guards: Mapping[str, Mapping[str, Any]],
    facts: Mapping[str, Any],
    hypothesis: Mapping[str, Any],
) -> list[str]:
    told = [f"{name.replace('_', ' ')}: {one['warning']}" for name, one in guards.items() if one["warning"]]
    small = [f"{cell['quadrant'].replace('_', ' ')} ({cell['n']})" for cell in found if cell["n"] < FEW]
    if small:
        told.append(f"cells with fewer than {FEW} traces, whose rates say little: {', '.join(small)}")
    counted = {
        "n_unlabelled": "replies to prompts without a label, in no cell",
        "n_unclear": "replies that neither refuse nor comply, in no cell",
        "n_empty": "empty replies",
        "n_truncated": "replies cut off at the token limit, judged as they stand",
    }
    told += [f"{facts[name]} of {facts['n_rows']} are {text}" for name, text in counted.items() if facts.get(name)]
    if hypothesis["n_unscored"]:
        told.append(f"{hypothesis['n_unscored']} complied replies have no harm label and are in no rate")
    if facts.get("reason"):
        told.append(facts["reason"])
    return told
