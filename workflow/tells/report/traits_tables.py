"""Tables of the traits study: the traits with their vectors, and what steering does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tells.report.named_table import Column, NamedTable, count, decimal, interval, text

Results = Mapping[str, Any]
_OFFLINE = "exemplar"


def judge_words(results: Results) -> str:
    """Who gave the scores, as plain text; the offline judge is named as such.

    Args:
        results: content of results.json.
    """
    judge = results["metadata"].get("judge")
    if not judge:
        return "nobody judged"
    kind = "offline judge" if judge["provider"] == _OFFLINE else f"judge: {judge['provider']}"
    return f"{kind} ({judge['model']})"


def _traits(results: Results) -> NamedTable:
    records = tuple(_trait(summary) for summary in results["traits"])
    columns = (
        text("trait", "trait"),
        text("status", "status"),
        _passed("scenarios"),
        _passed("responses"),
        count("pairs", "pairs"),
        text("best on validation", "best"),
        interval("held-out d", "cohens_d", "cohens_d_low", "cohens_d_high"),
        decimal("chance |d|", "null_cohens_d"),
        interval("held-out AUC", "auc", "auc_low", "auc_high"),
    )
    caption = (
        "Pass: positive / negative texts that pass the vetting, of those that were scored; d and AUC: on pairs that "
        "neither fitted nor chose the vector, in brackets the 95% interval by pair; chance: 95th percentile of random "
        f"vectors; {judge_words(results)}"
    )
    return NamedTable("traits", "Traits and their vectors", caption, columns, records)


def _trait(summary: Mapping[str, Any]) -> dict[str, Any]:
    best = summary["best_by_validation"] or {}
    held = best.get("held_out") or {}
    figures, band = held.get("figures") or {}, held.get("null_band") or {}
    record = {name: summary[name] for name in ("trait", "status", "reason", "pairs", "n_vectors")}
    for stage in ("scenarios", "responses"):
        for polarity in ("positive", "negative"):
            one = (summary[stage] or {}).get(polarity, {})
            record |= {f"{stage}_{polarity}_{name}": one.get(name) for name in ("n_pass", "n_fail", "n_error", "rate")}
    record |= {"method": best.get("method"), "layer": best.get("layer")}
    record["best"] = f"{best['method']}, layer {best['layer']}" if best.get("method") else None
    for metric in ("cohens_d", "auc"):
        record |= {f"{metric}{end}": figures.get(f"{metric}{end}") for end in ("", "_low", "_high")}
        record[f"null_{metric}"] = band.get(metric)
    return {**record, "n_pairs": figures.get("n_pairs")}


def _passed(stage: str) -> Column:
    """How many of both poles pass."""

    def cell(record: Mapping[str, Any]) -> str:
        poles = [[record[f"{stage}_{pole}_{end}"] for end in ("n_pass", "n_fail")] for pole in ("positive", "negative")]
        if None in (poles[0][0], poles[1][0]):
            return "not judged"
        return " / ".join(f"{passed} of {passed + failed}" for passed, failed in poles)

    keys = tuple(f"{stage}_{pole}_{end}" for pole in ("positive", "negative") for end in ("n_pass", "n_fail"))
    return Column(f"{stage} pass", cell, keys)


def _steering(results: Results) -> NamedTable:
    records = tuple(row for summary in results["traits"] if summary["steering"] for row in _answers(summary))
    columns = (
        text("trait", "trait"),
        text("status", "status"),
        text("answers", "answers"),
        interval("delta", "delta", digits=1),
        decimal("95th percentile", "percentile_95", 1),
        decimal("coherence", "coherence", 1),
        count("n", "n"),
        decimal("p", "p_random", 3),
    )
    caption = (
        "Questions that were not searched; delta: mean trait score (0 to 100) less that of unsteered answers to the "
        "same questions, in brackets the 95% interval by question; random: vectors of equal length, mean and 95th "
        f"percentile of their deltas; p: share of all draws that reach the steered delta; {judge_words(results)}"
    )
    return NamedTable("steering", "Effect of steering", caption, columns, records)


def _answers(summary: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """A row each for unsteered, steered, prompted and randomly steered answers."""
    effects, point = summary["steering"], summary["best_by_steering"] or {}
    place = {name: point.get(name) for name in ("method", "layer", "ratio", "coefficient")}
    blank = dict.fromkeys(("trait_score", "delta", "low", "high", "percentile_95", "coherence", "n", "n_questions"))
    for kind in ("unsteered", "steered", "prompting", "random"):
        one = effects[kind]
        if one is not None:
            known = {name: one[name] for name in blank if name in one}
            known |= {"trait_score": one["trait"]} if kind == "unsteered" else {}
            known |= {"delta": one["mean"]} if kind == "random" else {}
            p = effects["p_random"] if kind == "steered" else None
            named = {"trait": summary["trait"], "status": summary["status"], "answers": kind}
            yield {**named, **blank, **known, "p_random": p, **place}


TRAITS_TABLES: dict[str, Callable[[Results], NamedTable | None]] = {"traits": _traits, "steering": _steering}
"""What makes each table, by its name."""
