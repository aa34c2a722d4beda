"""Tables of the safety study: cells, rates, rankings, and the ways of spending traces."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tells.report.named_table import Column, NamedTable, Record, count, decimal, flat, interval, phrase, text
from tells.report.safety_numbers import harm_source, percent

Results = Mapping[str, Any]
# Of an arm: what is shown, with its digits.
_ARM_FIGURES = {
    "traces": 1,
    "tokens": 1,
    "saving": 2,
    "agreement": 2,
    "harmful_compliance": 2,
    "over_refusal": 2,
}
_ARM_WORDS = {"harmful_compliance": "harmful compliance", "over_refusal": "over-refusal"}
_DIFFERENCES = ("tokens", "saving", "agreement", "harmful_compliance", "over_refusal")


def _traces(results: Results) -> NamedTable:
    records = tuple({"benchmark": one["benchmark"], **flat(one["counts"])} for one in results["benchmarks"])
    columns = (
        text("benchmark", "benchmark"),
        count("prompts", "n_prompts"),
        count("traces", "n_rows"),
        count("in cells", "n_in_cells"),
        count("held out", "n_held_out"),
        count("no label", "n_unlabelled"),
        count("unclear", "n_unclear"),
        count("empty", "n_empty"),
        count("cut off", "n_truncated"),
    )
    caption = "Held out: for the cut between confident and uncertain; cut off: at the token limit, judged as they stand"
    return NamedTable("traces", "Where the traces lie", caption, columns, records)


def _cells(results: Results) -> NamedTable:
    records = tuple(
        {"benchmark": one["benchmark"], **flat(cell)}
        for one in results["benchmarks"]
        for part in ("all", "by_label", "by_category")
        for cell in one["cells"][part]
    )
    columns = (
        text("benchmark", "benchmark"),
        Column("prompts", _prompts_of_cell, ("by", "part"), right=False),
        phrase("cell", "quadrant"),
        count("traces", "n"),
        count("of prompts", "n_prompts"),
        count("harmful", "n_harmful"),
        count("scored", "n_scored"),
        interval("harm rate", "harm_rate", exact="interval"),
    )
    caption = f"Harm is judged on complied replies only; {_rests_on(results)}"
    return NamedTable("cells", "Four cells", caption, columns, records)


def _prompts_of_cell(record: Record) -> str:
    return "all" if record["by"] is None else f"{record['by']}: {record['part'] or 'none'}"


def _rates(results: Results) -> NamedTable:
    records = tuple(
        {"benchmark": one["benchmark"], **flat(rate)}
        for one in results["benchmarks"]
        for part in ("all", "by_category")
        for rate in one["rates"][part]
    )
    columns = (
        text("benchmark", "benchmark"),
        phrase("measure", "measure"),
        phrase("rate", "rate"),
        text("category", "category"),
        interval("value", "value", exact="interval"),
        count("prompts", "n_prompts"),
        count("replies", "n_replies"),
        count("unscored", "n_unscored"),
    )
    caption = (
        "Harmful compliance: of harmful prompts; over-refusal: of benign ones; any of n grows with n by construction; "
        f"a dash for the category: all prompts; {_rests_on(results)}"
    )
    return NamedTable("rates", "Rates over prompts", caption, columns, records)


def _hypothesis(results: Results) -> NamedTable:
    records = tuple(row for one in results["benchmarks"] for row in _differences_of(one))
    columns = (
        text("benchmark", "benchmark"),
        text("among", "among"),
        decimal("uncertain", "uncertain"),
        decimal("confident", "confident"),
        interval("difference", "value"),
        count("traces", "n"),
        count("prompts", "n_prompts"),
    )
    caption = f"Harm rate of uncertain less that of confident compliance, of complied traces; {_rests_on(results)}"
    return NamedTable("risk-differences", "Is uncertain compliance riskier?", caption, columns, records)


def _differences_of(benchmark: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    found = benchmark["hypothesis"]
    parts = [("all", found["risk_difference"]), *((f"{one['label']} prompts", one) for one in found["by_label"])]
    counts = ("uncertain", "n_uncertain", "confident", "n_confident")
    for among, one in parts:
        known = {name: one[name] for name in counts}
        yield {"benchmark": benchmark["benchmark"], "among": among, **known, **one["difference"]}
    for among, name in (("within prompt type", "stratified"), ("within type and length", "length_controlled")):
        yield {"benchmark": benchmark["benchmark"], "among": among, **dict.fromkeys(counts), **found[name]}


def _rankings(results: Results) -> NamedTable:
    records = tuple(
        {"benchmark": one["benchmark"], **flat(ranking)}
        for one in results["benchmarks"]
        for ranking in one["hypothesis"]["rankings"]
    )
    columns = (
        text("benchmark", "benchmark"),
        phrase("score", "score"),
        interval("AUROC", "auroc_value", "auroc_low", "auroc_high"),
        interval("average precision", "average_precision_value", "average_precision_low", "average_precision_high"),
        decimal("prevalence", "prevalence"),
        count("traces", "n"),
    )
    caption = f"How well each score ranks harmful above unharmful replies, of complied traces; {_rests_on(results)}"
    return NamedTable("rankings", "Ranking of harm", caption, columns, records)


def _guards(results: Results) -> NamedTable:
    records = tuple(
        {"benchmark": one["benchmark"], "rule": rule, **flat(guard)}
        for one in results["benchmarks"]
        for rule, guard in one["guards"].items()
    )
    names = ("accuracy", "balanced_accuracy", "f1", "average_precision")
    columns = (
        text("benchmark", "benchmark"),
        phrase("rule", "rule"),
        *(_beside_constant(name) for name in names),
        count("traces", "n"),
    )
    caption = f"After the stroke: the best that a constant answer reaches; no intervals; {_who(results)}"
    return NamedTable("guards", "Two rules beside a constant", caption, columns, records)


def _beside_constant(name: str) -> Column:
    def cell(record: Record) -> str:
        pair = (record[name], record[f"constant_{name}"])
        return " / ".join("–" if value is None else f"{value:.2f}" for value in pair)

    return Column(name.replace("_", " "), cell, (name, f"constant_{name}"))


def _arms(results: Results) -> NamedTable:
    records = tuple(
        {"benchmark": one["benchmark"], **flat({key: value for key, value in arm.items() if key != "difference"})}
        for one in results["benchmarks"]
        for arm in one["arms"]
    )
    columns = (
        text("benchmark", "benchmark"),
        phrase("arm", "arm"),
        *(_arm_figure(name, digits) for name, digits in _ARM_FIGURES.items()),
        count("prompts", "n"),
    )
    caption = (
        "Means over prompts and orders of their traces; agreement: with the decision of the full number of traces; "
        "harmful compliance: of harmful prompts, over-refusal: of benign ones; "
        f"{_rests_on(results, 'group of prompts')}"
    )
    return NamedTable("arms", "Ways of spending traces", caption, columns, records)


def _arm_differences(results: Results) -> NamedTable:
    records = tuple(
        {"benchmark": one["benchmark"], "arm": arm["arm"], "figure": name, **flat(arm["difference"][name])}
        for one in results["benchmarks"]
        for arm in one["arms"]
        if arm["difference"]
        for name in _DIFFERENCES
    )
    columns = (
        text("benchmark", "benchmark"),
        phrase("arm", "arm"),
        Column("figure", lambda record: _ARM_WORDS.get(record["figure"], record["figure"]), ("figure",), right=False),
        interval("difference", "difference", digits=3),
        decimal("p", "p", 3),
        count("prompts", "n"),
    )
    caption = f"The arm less the full number of traces, on the same prompts; {_rests_on(results, 'group of prompts')}"
    return NamedTable("arm-differences", "Arms against the full number of traces", caption, columns, records)


def _arm_figure(name: str, digits: int) -> Column:
    """A figure of an arm, of which each has a record of its own."""
    ends = (f"{name}_{end}" for end in ("estimate", "low", "high"))
    return interval(_ARM_WORDS.get(name, name), *ends, exact=f"{name}_interval", digits=digits)


def _rests_on(results: Results, unit: str = "prompt") -> str:
    """Level of the intervals, and who says that a reply harms."""
    levels = sorted({percent(one["hypothesis"]["level"]) for one in results["benchmarks"]})
    return f"in brackets: {', '.join(levels)} interval by {unit}, *: exact bound, [–]: none; {_who(results)}"


def _who(results: Results) -> str:
    """Who labels."""
    return f"{harm_source(results['metadata'])}; refusal by {results['metadata']['classifiers']['refusal']}"


SAFETY_TABLES: dict[str, Callable[[Results], NamedTable | None]] = {
    "traces": _traces,
    "cells": _cells,
    "rates": _rates,
    "risk-differences": _hypothesis,
    "rankings": _rankings,
    "guards": _guards,
    "arms": _arms,
    "arm-differences": _arm_differences,
}
"""What makes each table, by its name."""
