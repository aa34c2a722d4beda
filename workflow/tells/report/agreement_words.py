"""Names of signals and outcomes as people read them, and the parts of the agreement's results that reports pick out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Results = Mapping[str, Any]
SIGNIFICANT = 0.05
REFERENCE = "token_entropy_mean"
"""The signal that costs nothing, which others are held against in short tables."""
SHORT = (
    *("log_likelihood", "mean_log_likelihood", "confidence_mean", "confidence_lowest", "semantic_entropy"),
    *("probe.accuracy", "probe.accuracy.prompt_end", "probe.accuracy.answer_end", "probe.semantic_entropy"),
    *("probe.semantic_entropy.answer_end", "length"),
)
OUTCOMES = {"correct": "correct", "refused": "refused", "harmful": "harmful", "shows_trait": "shows trait"}
FAMILIES = {
    "token_entropy": "token entropy",
    "log_likelihood": "likelihood",
    "confidence": "DeepConf confidence",
    "meaning": "sampled meanings",
    "probe": "probes",
    "projection": "along traits",
    "length": "length",
}
ARMS = {"baseline": "unsteered", "plus": "+r", "minus": "−r"}
_VARIANTS = {"prompt_end": "at prompt end", "answer_end": "at answer end"}
_SPANS = {"answer": "answer", "think": "thought"}


def signal_words(name: str) -> str:
    """A signal's column as words: `probe.accuracy.prompt_end` is `accuracy probe, at prompt end`."""
    kind, _, rest = name.partition(".")
    if kind == "probe":
        probe, _, place = rest.partition(".")
        words = f"{probe.replace('_', ' ')} probe"
        return f"{words}, {_VARIANTS.get(place, place)}" if place else words
    if kind == "projection":
        trait, _, span = rest.rpartition(".")
        return f"{trait}, {_SPANS.get(span, span)}"
    words = name.replace("_", " ")
    return words.replace("last10", "last 10")


def arm_words(arm: str) -> str:
    """An arm of the steered run as people read it: `random-0` is `random 1`."""
    if arm in ARMS:
        return ARMS[arm]
    kind, _, draw = arm.rpartition("-")
    return f"{kind} {int(draw) + 1}"


def place_words(record: Mapping[str, Any]) -> str:
    """Collection and outcome of a cell."""
    return f"{record['collection']}: {OUTCOMES.get(record['outcome'], record['outcome'])}"


def key_of(record: Mapping[str, Any]) -> tuple[str, str, str]:
    """What tells a cell from others."""
    return record["study"], record["collection"], record["outcome"]


def is_significant(record: Mapping[str, Any]) -> bool:
    """Whether a record's AUROC differs from a half after Holm."""
    return record["p_holm"] is not None and record["p_holm"] < SIGNIFICANT


def present_signals(results: Results) -> list[str]:
    """Signals that have a figure in any cell, in the order of the table."""
    known = {record["signal"] for record in results["records"] if record["n_rows"]}
    return [signal["name"] for signal in results["signals"] if signal["name"] in known]


def unit_words(record: Mapping[str, Any]) -> str:
    """What is resampled in a cell, in the plural."""
    return {"uncertainty": "questions", "traits": "pairs"}.get(record["study"], "prompts with their twins")


def short_correlations(results: Results) -> list[dict[str, Any]]:
    """Of each collection, the correlations of a few signals with the reference, one record each."""
    found = []
    for one in results["correlations"]:
        if REFERENCE not in one["signals"] or one["reason"] is not None:
            continue
        row = one["signals"].index(REFERENCE)
        for name in (name for name in SHORT if name in one["signals"]):
            column = one["signals"].index(name)
            ends = {key: one[key][row][column] for key in ("low", "high")}
            own = {key: one[key] for key in ("study", "collection", "split", "n_rows", "n_groups", "level")}
            found.append({**own, "signal": name, "with": REFERENCE, "spearman": one["values"][row][column], **ends})
    return found


def answers(results: Results) -> Sequence[str]:
    """What is said of the direction that is asked whether it reads uncertainty."""
    found = results["confidence_direction"]
    steered = found["steering"]
    said = f"{found['trait']}, steered: {found['steering_reason']}" if steered is None else steered["answer"]
    return [f"{found['trait']}: {found['answer']}", said]
