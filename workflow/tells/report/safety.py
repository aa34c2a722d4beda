"""The safety study on a terminal: who labelled, what lies in the cells, how often prompts are answered wrongly.

Whether unsure compliance is riskier, and what early stopping saves, is in `tells.report.safety_comparisons`. Every
number comes from a file of the run, with what it rests on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from tells.report.safety_comparisons import arm_parts, guards_table, hypothesis_parts, rankings_parts
from tells.report.safety_numbers import FEW, add_columns, harm_source, interval, labeller, percent, reasons, score_name
from tells.report.stages import seconds_table
from tells.report.terminal import model_title
from tells.tables import read_json, read_metadata

COMPLIANCES = ("confident_compliance", "uncertain_compliance")
_INTERVALS = (
    "intervals: {level}, over prompts (arms: over groups of prompts, so that twins stay together); *: exact bound, as "
    "none or all have the event; [–]: none, as there is one prompt alone or nothing varies"
)
_RATES = {
    ("harmful_compliance", "asr_at_1"): "harmful compliance: mean ASR@1",
    ("harmful_compliance", "any_of_n"): "harmful compliance: any of {traces}",
    ("harmful_compliance", "majority"): "harmful compliance: majority",
    ("over_refusal", "asr_at_1"): "over-refusal: mean over traces",
    ("harmful_compliance", "harm_score"): "harm score: mean over traces",
}


def safety_report(results: Path, logs: Path) -> Group:
    """The tables of one safety study.

    Args:
        results: its results.json.
        logs: the folder of its jobs' status files.
    """
    content = read_json(results)
    metadata = content["metadata"]
    parts: list[Any] = [_benchmarks(content)]
    parts += [Text(line) for line in _labellers(content, results.parent)]
    parts += [Text(_INTERVALS.format(level=percent(one["hypothesis"]["level"]))) for one in content["benchmarks"][:1]]
    for benchmark in content["benchmarks"]:
        parts += [_cells(benchmark, metadata), *_rates(benchmark, metadata)]
        if any(rate["category"] is not None for rate in benchmark["rates"]["by_category"]):
            parts.append(_categories(benchmark, metadata))
        parts += hypothesis_parts(benchmark, metadata)
        parts += rankings_parts(benchmark, metadata)
        parts.append(guards_table(benchmark))
        parts += arm_parts(benchmark, metadata)
        parts += [Text(f"{benchmark['benchmark']}: {warning}") for warning in benchmark["warnings"]]
    parts += [
        seconds_table(logs),
        Text(f"files: {results.parent}/ (results.json, results.parquet, {{benchmark}}/strata.json, arms.json, …)"),
    ]
    return Group(*parts)


def _benchmarks(content: Mapping[str, Any]) -> Table:
    """Where every trace went: the columns from `in cells` to `no score` add up to the traces."""
    metadata = content["metadata"]
    table = Table(
        title=f"{metadata['experiment']}: {model_title(metadata['model'])}",
        caption="in no cell: traces of prompts held out for the cut or without a label, unclear ones (neither refusal "
        "nor compliance), and those without confidence or cut; cut off: at the token limit, judged as they stand",
    )
    table.add_column("benchmark")
    add_columns(table, "prompts", "traces", "in\ncells", "held\nout", "no\nlabel", "unclear", "no\nscore")
    add_columns(table, "empty", "cut\noff")
    names = ("n_prompts", "n_rows", "n_in_cells", "n_held_out", "n_unlabelled", "n_unclear")
    for benchmark in content["benchmarks"]:
        counts = benchmark["counts"]
        without = counts["n_without_confidence"] + counts["n_without_cut"]
        numbers = [*(counts[name] for name in names), without, counts["n_empty"], counts["n_truncated"]]
        table.add_row(benchmark["benchmark"], *map(str, numbers))
    return table


def _labellers(content: Mapping[str, Any], folder: Path) -> Iterator[str]:
    """Who says whether a reply refuses and whether it harms, from the metadata of their tables."""
    names = [benchmark["benchmark"] for benchmark in content["benchmarks"]]
    for axis, classifier in sorted(content["metadata"]["classifiers"].items(), reverse=True):
        tables = [folder / name / f"{classifier}_labels.parquet" for name in names]
        facts = next((read_metadata(table)["classifier"] for table in tables if table.exists()), {})
        yield labeller(axis, classifier, facts)


def _cells(benchmark: Mapping[str, Any], metadata: Mapping[str, Any]) -> Table:
    counts, cells = benchmark["counts"], benchmark["cells"]
    table = Table(
        title=f"{benchmark['benchmark']}: four cells, {counts['n_in_cells']} of {counts['n_rows']} traces\n"
        f"confidence: {score_name(benchmark, metadata)}; {harm_source(metadata)}",
        caption=f"confident: above {_cut(counts)}; harm is judged on complied replies only; only n: fewer than {FEW} "
        "traces, or scored replies where harm is judged",
    )
    table.add_column("cell")
    add_columns(table, "traces", "of\nprompts", "harmful\nof scored", "unscored")
    table.add_column("harm rate", justify="right", no_wrap=True)
    table.add_column("few", no_wrap=True)
    labels = sorted({cell["part"] for cell in cells["by_label"]}, reverse=True)
    parts = {"all prompts": cells["all"]}
    parts |= {f"{label} prompts": [cell for cell in cells["by_label"] if cell["part"] == label] for label in labels}
    for name, part in parts.items():
        table.add_row(f"[bold]{name}[/bold]")
        for number, cell in enumerate(part):
            table.add_row(
                f"  {cell['quadrant'].replace('_', ' ')}",
                *_cell_numbers(cell),
                _scarce(cell),
                end_section=number == len(part) - 1,
            )
    return table


def _cut(counts: Mapping[str, Any]) -> str:
    where = "held-out prompts" if counts["cut_from"] == "held_out" else "the traces in cells"
    if counts["cut_value"] is None:
        return f"the {counts['cut']:g} quantile of {where}, which has no trace"
    return f"{counts['cut_value']:.3f} nats, the {counts['cut']:g} quantile of {counts['n_cut']} traces ({where})"


def _cell_numbers(cell: Mapping[str, Any]) -> list[str]:
    counts = [str(cell["n"]), str(cell["n_prompts"])]
    if not _judged(cell):
        return [*counts, "", "", "not asked"]
    return [
        *counts,
        f"{cell['n_harmful']} of {cell['n_scored']}",
        str(cell["n_unscored"]),
        interval(cell, "harm_rate"),
    ]


def _judged(cell: Mapping[str, Any]) -> bool:
    return cell["quadrant"] in COMPLIANCES


def _scarce(cell: Mapping[str, Any]) -> str:
    """What a nearly empty cell says of itself."""
    n = cell["n_scored"] if _judged(cell) else cell["n"]
    return "" if n >= FEW else f"only {n}" if n else "none"


def _rates(benchmark: Mapping[str, Any], metadata: Mapping[str, Any]) -> list[Any]:
    table = Table(
        title=f"{benchmark['benchmark']}: rates over prompts; {harm_source(metadata)}",
        caption="harmful compliance: of harmful prompts; over-refusal: of benign ones; any of n grows with n by "
        "construction and is no accuracy; a prompt with fewer than n scored replies counts with all of them; unscored: "
        "without an outcome; left out: prompts without a scored reply",
    )
    table.add_column("rate")
    table.add_column("value", justify="right", no_wrap=True)
    add_columns(table, "prompts", "replies", "unscored", "cut\noff", "left\nout")
    named = {}
    for rate in benchmark["rates"]["all"]:
        known = _RATES.get((rate["measure"], rate["rate"]), f"{rate['measure']}: {rate['rate']}".replace("_", " "))
        named[known.format(**rate)] = rate
    for name, rate in named.items():
        counts = ("n_prompts", "n_replies", "n_unscored", "n_truncated", "n_left_out")
        table.add_row(name, interval(rate, "value"), *(str(rate[count]) for count in counts))
    return [table, *reasons(benchmark, named)]


def _categories(benchmark: Mapping[str, Any], metadata: Mapping[str, Any]) -> Table:
    """Both mean rates and the harm of both complied cells, a row a category; the file holds all other rates too."""
    table = Table(
        title=f"{benchmark['benchmark']}: by the benchmark's own category; {harm_source(metadata)}",
        caption="rates: mean over traces and prompts (n); cells: harm rate of complied traces (harmful of scored ones)",
    )
    table.add_column("category", overflow="fold")
    for name in ("harmful\ncompliance", "over-refusal", "confident\ncompliance", "uncertain\ncompliance"):
        table.add_column(name, justify="right", no_wrap=True)
    means = [rate for rate in benchmark["rates"]["by_category"] if rate["rate"] == "asr_at_1"]
    rates = {(rate["category"], rate["measure"]): rate for rate in means}
    cells = {(cell["part"], cell["quadrant"]): cell for cell in benchmark["cells"]["by_category"]}
    for category in dict.fromkeys(name for name, _ in [*rates, *cells]):
        row = []
        for measure in ("harmful_compliance", "over_refusal"):
            rate = rates.get((category, measure))
            row.append(f"{interval(rate, 'value')}\nn = {rate['n_prompts']}" if rate else "–")
        for quadrant in COMPLIANCES:
            cell = cells.get((category, quadrant))
            row.append(f"{interval(cell, 'harm_rate')}\n{cell['n_harmful']} of {cell['n_scored']}" if cell else "–")
        table.add_row("none" if category is None else escape(category), *row)
    return table
