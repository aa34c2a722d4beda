"""Tables of the agreement: every figure of every signal, gains, correlations, and what is absent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tells.report.agreement_words import arm_words, signal_words
from tells.report.named_table import Column, NamedTable, Record, count, decimal, flat, interval, phrase, text
from tells.report.safety_numbers import percent

Results = Mapping[str, Any]


def _signal(name: str, key: str = "signal") -> Column:
    return Column(name, lambda record: signal_words(record[key]), (key,), right=False)


def _level(results: Results) -> str:
    levels = sorted({percent(record["level"]) for record in results["records"]})
    return f"in brackets: {', '.join(levels) or 'no'} interval by question, prompt with its twin, or pair"


def _records(results: Results) -> NamedTable:
    records = tuple(flat(record) for record in results["records"])
    columns = (
        phrase("outcome", "outcome"),
        text("collection", "collection"),
        _signal("signal"),
        text("split", "split"),
        interval("AUROC", "auroc", "auroc_low", "auroc_high", digits=3),
        interval(
            "within length", "auroc_within_length", "auroc_within_length_low", "auroc_within_length_high", digits=3
        ),
        interval("average precision", "average_precision", "average_precision_low", "average_precision_high", digits=3),
        decimal("p (Holm)", "p_holm", 4),
        count("samples", "n_rows"),
        count("groups", "n_groups"),
        decimal("prevalence", "prevalence", 2),
    )
    caption = (
        f"Signals as sureness, in a fixed direction; {_level(results)}; p two-sided, by permutation of groups, "
        f"corrected over {results['tests']['n_tests']} tests; within length: among samples of one fifth of the lengths"
    )
    return NamedTable("signals", "Every signal for every outcome", caption, columns, records)


def _combined(results: Results) -> NamedTable:
    records = tuple(_combined_record(one) for one in results["combined"])
    columns = (
        phrase("outcome", "outcome"),
        text("collection", "collection"),
        count("signals", "n_signals"),
        interval("all together", "model_value", "model_low", "model_high", digits=3),
        interval("best one", "single_value", "single_low", "single_high", digits=3),
        interval("gain", "gain_value", "gain_low", "gain_high", digits=3),
        decimal("p", "gain_p", 3),
        text("best one is", "best"),
        count("samples", "n_rows"),
        count("groups", "n_groups"),
        text("why not", "reason"),
    )
    caption = f"Held-out AUROC by folds of groups, over pairs held out together; {_level(results)}"
    return NamedTable("gains", "All signals together against the best one", caption, columns, records)


def _combined_record(one: Record) -> dict[str, Any]:
    best = ", ".join(f"{signal_words(name)} ({n})" for name, n in one["single_signals"].items())
    own = {key: value for key, value in one.items() if key != "single_signals"}
    return {**flat(own), "n_signals": len(one["signals"]), "best": best}


def _correlations(results: Results) -> NamedTable:
    records = tuple(
        {
            **{key: one[key] for key in ("study", "collection", "split", "n_rows", "n_groups", "level")},
            **{"signal": left, "other": right, "spearman": one["values"][row][column]},
            **{key: one[key][row][column] for key in ("low", "high")},
        }
        for one in results["correlations"]
        for row, left in enumerate(one["signals"])
        for column, right in enumerate(one["signals"])
        if one["reason"] is None and row < column
    )
    columns = (
        text("collection", "collection"),
        _signal("signal"),
        _signal("other", "other"),
        interval("Spearman", "spearman"),
        count("samples", "n_rows"),
        count("groups", "n_groups"),
    )
    caption = f"Signals as sureness, scored samples that have all of them; {_level(results)}"
    return NamedTable("correlations", "Rank correlations between signals", caption, columns, records)


def _absent(results: Results) -> NamedTable:
    records = tuple({**one, "collection": one["collection"] or "all"} for one in results["absent"])
    columns = (text("study", "study"), text("collection", "collection"), _signal("signal"), text("reason", "reason"))
    return NamedTable("absent", "Signals that are absent", "Why a place of the table is blank", columns, records)


def _direction(results: Results) -> NamedTable:
    found = results["confidence_direction"]
    records = [
        {
            **{key: one[key] for key in ("collection", "signal", "split", "n_rows", "n_groups", "level", "p_holm")},
            "about": "AUROC for a right answer",
            "value": one["auroc"],
            "low": one["auroc_low"],
            "high": one["auroc_high"],
        }
        for one in found["correctness"]
    ]
    records += [
        {
            **{key: one[key] for key in ("collection", "signal", "split", "n_groups", "level")},
            "p_holm": None,
            "n_rows": one["n_groups"],
            "about": "Spearman with semantic entropy, by question",
            "value": one["spearman"],
            "low": one["spearman_low"],
            "high": one["spearman_high"],
        }
        for one in found["semantic_entropy"]
    ]
    columns = (
        text("collection", "collection"),
        _signal("signal"),
        text("figure", "about"),
        interval("value", "value", digits=3),
        decimal("p (Holm)", "p_holm", 4),
        text("split", "split"),
        count("samples", "n_rows"),
        count("groups", "n_groups"),
    )
    caption = f"{found['trait']}: {found['answer']} {_level(results)}"
    return NamedTable("confidence-direction", "Does the direction read uncertainty?", caption, columns, tuple(records))


def _steered_changes(results: Results) -> NamedTable | None:
    """What steering along the direction changes; None without a steered run."""
    found = results["confidence_direction"]
    steered = found["steering"]
    if steered is None:
        return None
    records = tuple({**flat(one), **_random_range(one), "words": arm_words(one["arm"])} for one in steered["changes"])
    columns = (
        text("collection", "collection"),
        text("arm", "words"),
        phrase("outcome", "outcome"),
        decimal("unsteered", "baseline", 3),
        decimal("steered", "steered", 3),
        interval("difference", "difference", digits=3),
        text("random directions", "random_range"),
        decimal("p (Holm)", "p_holm", 4),
        text("changed", "verdict"),
        text("split", "split"),
        count("questions", "n_questions"),
        count("answers per arm", "n_runs"),
    )
    caption = (
        f"{steered['answer']} Paired by question; {_level(results)}; p by sign flips of questions, corrected over "
        f"{steered['n_tests']} tests; random directions: smallest and largest difference"
    )
    return NamedTable("steered-changes", f"Steered along {found['trait']}: what changes?", caption, columns, records)


def _random_range(one: Record) -> dict[str, Any]:
    values = [each["difference"] for each in one["random"] if each["difference"] is not None]
    ends = {"random_lowest": min(values, default=None), "random_highest": max(values, default=None)}
    told = f"{min(values):.3f} to {max(values):.3f}" if values else "–"
    verdict = "yes" if one["changed"] else "not known" if one["difference"] is None else "no"
    return {**ends, "random_range": told, "verdict": verdict}


def _steered_means(results: Results) -> NamedTable | None:
    """Every outcome in every arm; None without a steered run."""
    steered = results["confidence_direction"]["steering"]
    if steered is None:
        return None
    records = tuple({**one, "words": arm_words(one["arm"])} for one in steered["means"])
    columns = (
        text("collection", "collection"),
        text("arm", "words"),
        phrase("outcome", "outcome"),
        interval("mean", "mean", digits=3),
        text("split", "split"),
        count("questions", "n_questions"),
        count("answers", "n_runs"),
    )
    caption = f"Means over questions, r = {steered['ratio']:g} in block {steered['layer']}; {_level(results)}"
    return NamedTable("steered-means", "Questions asked under steering, by arm", caption, columns, records)


AGREEMENT_TABLES: dict[str, Callable[[Results], NamedTable | None]] = {
    "signals": _records,
    "gains": _combined,
    "confidence-direction": _direction,
    "steered-changes": _steered_changes,
    "steered-means": _steered_means,
    "correlations": _correlations,
    "absent": _absent,
}
"""What makes each table, by its name."""
