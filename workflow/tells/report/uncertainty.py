"""An experiment's results on a terminal. Every number comes from a file of the run, with its n, split and interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.table import Table

from tells.report.stages import seconds_table
from tells.report.terminal import model_title
from tells.tables import read_json

_OUTCOMES = {
    "accuracy": "predicting that a run is correct",
    "semantic_entropy": "predicting high semantic entropy of the question",
}


def uncertainty_report(results: Path, logs: Path) -> Group:
    """The tables of one uncertainty study.

    Args:
        results: its results.json.
        logs: the folder of its jobs' status files.
    """
    content = read_json(results)
    metadata = content["metadata"]
    title = f"{metadata['experiment']}: {model_title(metadata['model'])}"
    parts: list[Any] = [_data_sets(content, title)]
    parts += [_scores(content["records"], outcome, text) for outcome, text in _OUTCOMES.items()]
    parts += [f"not fitted: {name}: {reason}" for name, reason in sorted(content["unfitted"].items())]
    parts += [f"unavailable for {name}: {reason}" for name, reason in content["unavailable"].items()]
    parts += [seconds_table(logs), f"files: {results.parent}/ (results.json, results.parquet, probes.json, …)"]
    return Group(*parts)


def _data_sets(content: Mapping[str, Any], title: str) -> Table:
    table = Table(
        title=title, caption="mean with 95% interval, by question; accuracy of all runs counts cut runs as wrong"
    )
    for column in ("data set", "role", "questions", "runs", "cut", "accuracy: all runs", "complete", "greedy"):
        table.add_column(column, justify="left" if column in ("data set", "role") else "right")
    table.add_column("semantic entropy (nats)", justify="right")
    accuracy = {(record["dataset"], record["metric"]): record for record in content["accuracy"]}
    for name, facts in content["datasets"].items():
        entropy = facts["semantic_entropy_mean"]
        table.add_row(
            name,
            facts["role"].replace("_", " "),
            str(facts["n_questions"]),
            str(facts["n_runs"]),
            str(facts["n_truncated"]),
            *(interval(accuracy[name, f"accuracy_{runs}"]) for runs in ("all_runs", "complete_runs", "greedy")),
            "–" if entropy is None else f"{entropy:.3f}",
        )
    return table


def _scores(records: Sequence[Mapping[str, Any]], outcome: str, text: str) -> Table:
    """AUROC of every probe and baseline, data sets side by side."""
    chosen = [record for record in records if record["outcome"] == outcome and record["metric"] == "auroc"]
    chosen = [record for record in chosen if record["kind"] != "transfer"]
    datasets = sorted({(record["dataset"], record["distribution"]) for record in chosen}, key=lambda pair: pair[1])
    sizes: dict[str, Mapping[str, Any]] = {}
    for record in sorted(chosen, key=lambda record: record["n_rows"]):
        sizes[record["dataset"]] = record
    table = Table(
        title=f"AUROC of {text}, test questions",
        caption="95% interval and p by question blocks; Holm over all probes and data sets" + _control_caption(chosen),
    )
    table.add_column("score")
    for dataset, distribution in datasets:
        size = sizes[dataset]
        where = {"in": "in distribution", "out": "out of distribution"}[distribution]
        n = f"up to {size['n_rows']} runs of {size['n_questions']} questions"
        table.add_column(f"{dataset} ({where})\n{n}", justify="right")
        table.add_column("p (Holm)", justify="right")
    names = dict.fromkeys(record["score"] for record in chosen)
    found = {(record["score"], record["dataset"]): record for record in chosen}
    for name in names:
        cells = []
        for dataset, _ in datasets:
            record = found.get((name, dataset))
            cells += ["", ""] if record is None else [interval(record), _p_value(record)]
        table.add_row(name, *cells)
    return table


def _control_caption(records: Sequence[Mapping[str, Any]]) -> str:
    """What a control's figure is, which differs from all others in the table."""
    controls = [record for record in records if record["n_draws"] is not None]
    if not controls:
        return ""
    draws, level = max(record["n_draws"] for record in controls), controls[0]["level"]
    low, high = (f"{100 * share:g}" for share in ((1 - level) / 2, (1 + level) / 2))
    return f"; a .shuffled control is the mean over {draws} shuffles of labels [{low}th, {high}th percentile of them]"


def interval(record: Mapping[str, Any]) -> str:
    """`0.81 [0.74, 0.88]`, or a dash and why there is no value."""
    if record["value"] is None:
        return f"– ({record['reason']})" if record.get("reason") else "–"
    if record["low"] is None:
        return f"{record['value']:.3f} [–]"
    return f"{record['value']:.3f} [{record['low']:.3f}, {record['high']:.3f}]"


def _p_value(record: Mapping[str, Any]) -> str:
    corrected = record.get("p_holm")
    return "" if corrected is None else f"{corrected:.3f}" if corrected >= 0.001 else "< 0.001"
