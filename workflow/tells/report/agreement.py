"""The agreement on a terminal: one table of every signal against every outcome, and what all of them add."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from tells.report.agreement_words import (
    FAMILIES,
    OUTCOMES,
    REFERENCE,
    answers,
    arm_words,
    is_significant,
    key_of,
    place_words,
    present_signals,
    short_correlations,
    signal_words,
)
from tells.report.safety_numbers import percent
from tells.report.stages import seconds_table
from tells.report.terminal import model_title
from tells.tables import read_json

Results = Mapping[str, Any]
# Columns that a terminal has room for; an experiment of more collections has several tables.
_COLUMNS = 8
# Collections of a study that are printed; the others are in results.parquet.
_MOST_COLLECTIONS = 8
# Share of a cell's samples that a signal may lack without a word.
_UNSAID = 0.02


def agreement_report(results: Path, logs: Path) -> Group:
    """The tables of one agreement.

    Args:
        results: its results.json.
        logs: the folder of its jobs' status files.
    """
    content = read_json(results)
    shown, left_out = _shown_cells(content)
    parts: list[Any] = [_auroc_table(content, cells) for cells in _in_pages(shown)]
    parts += [Text(f"{left_out} more columns are in results.parquet")] if left_out else []
    parts += [_gain_table(content, shown), _correlation_table(content), _steering_table(content)]
    parts += [Text(line) for line in answers(content)]
    parts += [Text(f"note: {line}") for line in content["notes"]]
    files = f"files: {results.parent}/ (results.json, results.parquet, signals.parquet)"
    return Group(*[part for part in parts if part is not None], seconds_table(logs), Text(files))


def _shown_cells(content: Results) -> tuple[list[Mapping[str, Any]], int]:
    """Columns that are printed, and how many are not."""
    shown: list[Mapping[str, Any]] = []
    for _, cells in groupby(content["cells"], key=lambda cell: (cell["study"], cell["outcome"])):
        shown += list(cells)[:_MOST_COLLECTIONS]
    return shown, len(content["cells"]) - len(shown)


def _in_pages(cells: Sequence[Mapping[str, Any]]) -> list[Sequence[Mapping[str, Any]]]:
    """As many columns together as a terminal has room for."""
    return [cells[start : start + _COLUMNS] for start in range(0, len(cells), _COLUMNS)]


def _auroc_table(content: Results, cells: Sequence[Mapping[str, Any]]) -> Table:
    metadata, tests = content["metadata"], content["tests"]
    level = percent(content["records"][0]["level"]) if content["records"] else "95%"
    table = Table(
        title=f"{metadata['experiment']}: {model_title(metadata['model'])}\nAUROC of every signal for every outcome",
        caption=f"signals as sureness, in a fixed direction: below a half means that the opposite holds; {level} "
        f"interval by question, prompt (with its twin) or pair; *: p < 0.05 after Holm over {tests['n_tests']} tests; "
        "under each heading samples of so many groups, and the share that is so; n: where a signal has fewer",
    )
    table.add_column("signal", no_wrap=True)
    for cell in cells:
        table.add_column(_heading(cell), justify="right", no_wrap=True)
    found = {(*key_of(record), record["signal"]): record for record in content["records"]}
    families = {signal["name"]: signal["family"] for signal in content["signals"]}
    for family, names in groupby(present_signals(content), key=families.__getitem__):
        table.add_row(f"[bold]{FAMILIES.get(family, family)}[/bold]")
        rows = list(names)
        for number, name in enumerate(rows):
            own = [_figure(found.get((*key_of(cell), name)), cell) for cell in cells]
            table.add_row(f"  {signal_words(name)}", *own, end_section=number == len(rows) - 1)
    return table


def _heading(cell: Mapping[str, Any]) -> str:
    """`sums`, `correct`, `256 of 32`, `64%, test`."""
    share = "–" if cell["prevalence"] is None else f"{100 * cell['prevalence']:.0f}%"
    name = cell["collection"].replace("/", "/\n")
    outcome = OUTCOMES.get(cell["outcome"], cell["outcome"])
    return f"{name}\n{outcome}\n{cell['n_rows']} of {cell['n_groups']}\n{share}, {cell['split']}"


def _figure(record: Mapping[str, Any] | None, cell: Mapping[str, Any]) -> str:
    if record is None or record["auroc"] is None:
        return "–"
    few = f" n={record['n_rows']}" if record["n_rows"] < (1 - _UNSAID) * cell["n_rows"] else ""
    told = f"{record['auroc']:.3f}{'*' if is_significant(record) else ''}{few}"
    if record["auroc_low"] is None:
        return f"{told}\n[–]"
    return f"{told}\n[{_short(record['auroc_low'])}, {_short(record['auroc_high'])}]"


def _short(value: float) -> str:
    """Two digits, without the zero before the point."""
    return f"{value:.2f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:.2f}"


def _gain_table(content: Results, cells: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(
        title="all signals together against the best one",
        caption="a logistic model of all signals, and the single signal that is best in the training folds; AUROC over "
        "pairs of samples that were held out together; intervals and p (two-sided) by group, on the same draws",
    )
    for name in ("collection: outcome", "signals", "samples", "groups", "all", "best one", "gain", "p", "best one is"):
        table.add_column(name, justify="left" if name in ("collection: outcome", "best one is") else "right")
    shown = {key_of(cell) for cell in cells}
    for record in (one for one in content["combined"] if key_of(one) in shown):
        counts = [str(len(record["signals"])), str(record["n_rows"]), str(record["n_groups"])]
        if record["reason"] is not None and record["gain"]["value"] is None:
            table.add_row(place_words(record), *counts, "–", "–", "–", "", record["reason"])
            continue
        figures = [_interval(record[key]) for key in ("model", "single", "gain")]
        single = ", ".join(f"{signal_words(name)} ({n})" for name, n in record["single_signals"].items())
        p = record["gain"]["p"]
        table.add_row(place_words(record), *counts, *figures, "" if p is None else f"{p:.3f}", single)
    return table


def _interval(figure: Mapping[str, Any]) -> str:
    if figure["value"] is None:
        return "–"
    ends = "[–]" if figure["low"] is None else f"[{_short(figure['low'])}, {_short(figure['high'])}]"
    return f"{figure['value']:.3f}\n{ends}"


def _correlation_table(content: Results) -> Table | None:
    found = short_correlations(content)
    if not found:
        return None
    places = list(dict.fromkeys((one["study"], one["collection"]) for one in found))[:_COLUMNS]
    table = Table(
        title=f"rank correlation with {signal_words(REFERENCE)}, both as sureness",
        caption="Spearman, scored samples that have all of the signals, interval by group; every pair is in "
        "results.json and figures.html",
    )
    table.add_column("signal")
    for study, collection in places:
        one = next(each for each in found if (each["study"], each["collection"]) == (study, collection))
        name = collection.replace("/", "/\n")
        table.add_column(f"{name}\n{one['n_rows']} of {one['n_groups']}", justify="right")
    by_place = {(one["study"], one["collection"], one["signal"]): one for one in found}
    for name in dict.fromkeys(one["signal"] for one in found):
        table.add_row(signal_words(name), *_correlations(by_place, places, name))
    return table


def _steering_table(content: Results) -> Table | None:
    """What steering along the direction changes in accuracy, entropy and confidence; None without a steered run."""
    found = content["confidence_direction"]
    steered = found["steering"]
    if steered is None:
        return None
    table = Table(
        title=f"the same questions, steered along {found['trait']}\nblock {steered['layer']}, r = {steered['ratio']:g}",
        caption="differences to the unsteered answers, paired by question, with intervals and p (sign flips, Holm over "
        f"{steered['n_tests']} tests) by question; random: smallest and largest difference by random "
        "directions of equal length",
    )
    for name in ("collection", "outcome", "arm", "questions", "unsteered", "steered", "difference", "random", "p", ""):
        table.add_column(name, justify="left" if name in ("collection", "outcome", "arm") else "right")
    for one in steered["changes"]:
        p = "–" if one["p_holm"] is None else f"{one['p_holm']:.3f}"
        own = [_decimal(one["baseline"]), _decimal(one["steered"]), _interval({**one, "value": one["difference"]})]
        randoms = [each["difference"] for each in one["random"] if each["difference"] is not None]
        spread = f"{min(randoms):.3f} to\n{max(randoms):.3f}" if randoms else "–"
        told = [one["collection"], one["outcome"].replace("_", " "), arm_words(one["arm"])]
        counts = f"{one['n_questions']}, {one['split']}"
        table.add_row(*told, counts, *own, spread, p, "changed" if one["changed"] else "")
    return table


def _decimal(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _correlations(
    by_place: Mapping[tuple[str, str, str], Mapping[str, Any]], places: Sequence[tuple[str, str]], name: str
) -> Iterator[str]:
    for place in places:
        one = by_place.get((*place, name))
        if one is None or one["spearman"] is None:
            yield "–"
        else:
            yield _interval({**one, "value": one["spearman"]})
