"""The words of the uncertainty study's figures: plain text, what a column measures and which end of it is sure.

Plotly reads some HTML, templates and formulas in every text it draws; whatever comes from data goes through `plain`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from tells.report.figures import texts
from tells.report.figures.texts import bracketed
from tells.report.safety_numbers import percent

# Beside tags: templates of texts that are read on hover, and formulas.
_PLAIN = str.maketrans({"$": "&#36;", "{": "&#123;"})
# What `plain` writes otherwise, as a regular expression.
MARKED = r"[&<>${]"
_COLUMNS = {
    "discrete": "semantic entropy of the question (nats; larger: less sure)",
    "semantic_entropy_raw": "semantic entropy of the question (nats; larger: less sure)",
    "discrete_normalised": "semantic entropy over ln of valid runs (0 to 1; larger: less sure)",
    "rao": "semantic entropy by likelihood, Rao (nats; larger: less sure)",
    "naive": "mean negative log-likelihood of the question (nats per token; larger: less sure)",
    "kernel_language_entropy": "kernel language entropy of the question (0 to 1; larger: less sure)",
    "majority_share": "share of the largest cluster (larger: surer)",
    "n_clusters": "clusters of the question (count; larger: less sure)",
    "miller_madow": "first-order bias of the entropy (nats)",
    "mean_log_likelihood": "mean log-likelihood of the answer (nats per token; larger: surer)",
    "p_true": "P(True) (probability; larger: surer)",
    "n_think": "length of the thought (tokens)",
    "entropy_think_mean": "token entropy of the thought, mean (nats; larger: less sure)",
    "entropy_think_max": "token entropy of the thought, largest (nats; larger: less sure)",
    "entropy_think_last10": "token entropy of the thought's last 10 tokens, mean (nats; larger: less sure)",
    "accuracy": "correctness (0 or 1)",
    "semantic_entropy": "high entropy of the question (0 or 1)",
}
METRICS = {
    "auroc": "AUROC over all runs",
    "auroc_question": "AUROC, one row a question (of correctness its greedy run)",
    "auroc_within_question": "AUROC within questions",
    "average_precision": "average precision (read it against prevalence)",
    "ece_10": "calibration error in ten bins (smaller: better)",
    "brier": "Brier score (smaller: better)",
    "aurac": "area under rejection-accuracy",
    "prr": "prediction rejection ratio",
    "spearman": "Spearman correlation with the entropy",
    "auroc_minus_token_entropy": "AUROC less that of token entropy, paired",
    "confidence_when_correct": "mean probability given to correct runs",
    "confidence_when_incorrect": "mean probability given to wrong runs",
}
# Longer names first: the beginning of a probe's name is its target.
_TARGETS = {
    "semantic_entropy_raw": "surer of high entropy",
    "semantic_entropy": "surer of high entropy",
    "accuracy": "surer that the run is correct",
}


def plain(value: object) -> str:
    """A value of the data as text that Plotly draws as it stands: no tag, no template, no formula."""
    return texts.plain(value).translate(_PLAIN)


def axis_of(column: str) -> str:
    """What a column measures, its unit, and which end of it is sure, as Plotly draws it.

    Args:
        column: of the study's results table.
    """
    return plain(words_of(column))


def words_of(column: str) -> str:
    """What a column measures, its unit, and which end of it is sure, for pages, which escape texts themselves.

    Args:
        column: of the study's results table.
    """
    if column in _COLUMNS:
        return _COLUMNS[column]
    name, _, part = column.rpartition(".")
    target = next(
        (target for target in _TARGETS if name == target or name.startswith((f"{target}.", f"{target}@"))), ""
    )
    if not target or part not in ("score", "probability"):
        return column
    if part == "probability":
        return f"{name} probe: calibrated probability (larger: {_TARGETS[target]})"
    what = "predicted entropy (nats" if target == "semantic_entropy_raw" else "margin (no unit"
    return f"{name} probe: {what}; larger: {_TARGETS[target]})"


def surer_of(outcome: str) -> str:
    """What a larger score is surer of."""
    return _TARGETS.get(outcome, f"surer of class 1 of {plain(outcome)}")


def place_of(dataset: str | None, split: str | None) -> str:
    """Data set and split, or that they are all there."""
    of = "all data sets" if dataset is None else plain(dataset)
    return f"{of}, {'all splits' if split is None else f'{plain(split)} split'}"


def counted(runs: pl.DataFrame) -> str:
    """How many runs of how many questions a table of runs holds."""
    questions = runs.select(pl.struct("dataset", "prompt_id").n_unique()).item() if runs.height else 0
    return f"n = {runs.height:,} runs of {questions:,} questions"


def figure_of(record: Mapping[str, Any] | None) -> str:
    """`0.81 [0.74, 0.88]`; a dash for what is missing."""
    return "–" if record is None else bracketed(record["value"], record["low"], record["high"])


def levels_of(levels: pl.Series) -> str:
    """`95%`; several, where they differ."""
    return ", ".join(percent(level) for level in levels.drop_nulls().unique().sort())
