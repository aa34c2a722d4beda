"""Tables of the uncertainty study: its data sets, and every figure of every score."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tells.report.named_table import NamedTable, count, decimal, flat, interval, phrase, text
from tells.report.safety_numbers import percent

Results = Mapping[str, Any]


def _data_sets(results: Results) -> NamedTable:
    records = tuple({"dataset": name, **flat(facts)} for name, facts in results["datasets"].items())
    columns = (
        text("data set", "dataset"),
        phrase("role", "role"),
        count("questions", "n_questions"),
        count("runs", "n_runs"),
        count("cut", "n_truncated"),
        decimal("semantic entropy (nats)", "semantic_entropy_mean", 3),
    )
    caption = "All splits; semantic entropy: mean over questions, without interval; cut: at the token limit"
    return NamedTable("data-sets", "Data sets", caption, columns, records)


def _accuracy(results: Results) -> NamedTable:
    records = tuple(flat(record) for record in results["accuracy"])
    columns = (
        text("data set", "dataset"),
        phrase("metric", "metric"),
        interval("value", "value", digits=3),
        count("runs", "n_rows"),
        count("questions", "n_questions"),
    )
    caption = f"All splits; {_intervals(records)}; of all runs, those that were cut count as wrong"
    return NamedTable("accuracy", "Accuracy of the answers", caption, columns, records)


def _records(results: Results) -> NamedTable:
    records = tuple(_record(record) for record in results["records"])
    columns = (
        phrase("outcome", "outcome"),
        text("score", "score"),
        text("data set", "dataset"),
        phrase("metric", "metric"),
        interval("value", "value", digits=3),
        decimal("p (Holm)", "p_holm", 3),
        count("runs", "n_rows"),
        count("questions", "n_questions"),
    )
    caption = (
        f"Test questions; {_intervals(records)}, of .shuffled controls percentiles over shuffles; p by blocks of "
        "questions, corrected over the AUROC of every probe on every data set"
    )
    return NamedTable("records", "Every figure of every score", caption, columns, records)


def _record(record: Mapping[str, Any]) -> dict[str, Any]:
    return {**flat(record), "trained_on": ", ".join(record["trained_on"] or ())}


def _transfer(results: Results) -> NamedTable:
    records = tuple(_record(record) if "trained_on" in record else flat(record) for record in results["transfer"])
    columns = (
        phrase("outcome", "outcome"),
        text("trained on", "trained_on"),
        text("tested on", "dataset"),
        interval("AUROC", "value", digits=3),
        count("runs", "n_rows"),
        count("questions", "n_questions"),
    )
    return NamedTable("transfer", "Transfer", f"Test questions; {_intervals(records)}", columns, records)


def _probes(results: Results) -> NamedTable:
    records = tuple(flat(probe) for probe in results["probes"])
    columns = (text("probe", "name"), count("layer", "layer"), phrase("position", "position"))
    caption = "Layers are block indices from 0; chosen on the train and validation splits"
    return NamedTable("probes", "Where the probes read", caption, columns, records)


def _intervals(records: Sequence[Mapping[str, Any]]) -> str:
    levels = sorted({percent(record["level"]) for record in records if record.get("level") is not None})
    return f"in brackets: {', '.join(levels) or 'no'} interval by question"


UNCERTAINTY_TABLES: dict[str, Callable[[Results], NamedTable | None]] = {
    "data-sets": _data_sets,
    "accuracy": _accuracy,
    "records": _records,
    "transfer": _transfer,
    "probes": _probes,
}
"""What makes each table, by its name."""
