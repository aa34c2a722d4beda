"""The cards of the safety page. Each reads its own files, so that one that is broken leaves the others as they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from dash import html

from tells.dashboard.binding import choice, switch
from tells.dashboard.components import captioned, card, empty_box, facts
from tells.dashboard.safety import arms, tables
from tells.dashboard.safety.rows import KEYS, folder_of, of_filters, trace_rows
from tells.dashboard.safety.state import PAGE, Chosen, part_name
from tells.dashboard.store import Store
from tells.report.figures import safety as figures
from tells.report.figures.texts import plain
from tells.report.safety_numbers import harm_source, labeller

READ_AT_ONCE = 5000
"""Traces whose tokens are read without being asked for."""
_EVENTS = {"harmful_compliance": "harmful", "over_refusal": "benign"}
_TABLES = ("reply_labels.parquet", "confidence.parquet", "strata.parquet")


def conclusions(found: Store, state: Chosen) -> list[Any]:
    """Cards of what the study concludes: hypothesis and guards, cells, who judged, rates, rankings."""
    strata = ("strata.json",)
    return [
        _card(
            found, state, "Is uncertain compliance riskier?", strata, lambda folder: _hypothesis(found, state, folder)
        ),
        _card(found, state, "Four cells", strata, lambda folder: _cells(found, state, folder)),
        _card(found, state, "Who judged", strata, lambda folder: _judges(found, folder)),
        _card(found, state, "Rates", strata, lambda folder: _rates(found, state, folder)),
        _card(found, state, "Ranking, and simpler numbers", strata, lambda folder: _rankings(found, state, folder)),
    ]


def distributions(found: Store, state: Chosen) -> html.Div:
    """Cards of the confidence of the traces that the filters leave, by label and by cell."""
    needs = (*_TABLES, "strata.json")
    by_label = _card(found, state, "Confidence by label", needs, lambda folder: _by(found, state, folder, "label"))
    by_cell = _card(found, state, "Confidence by cell", needs, lambda folder: _by(found, state, folder, "cell"))
    return html.Div([by_label, by_cell], className="cards")


def stopping(found: Store, state: Chosen) -> list[Any]:
    """Cards of what more traces and early stopping change."""
    return [
        _card(
            found,
            state,
            "Ways of spending traces",
            ("arms.json", "strata.json"),
            lambda folder: _arms(found, state, folder),
        ),
        _card(
            found,
            state,
            "Early stopping as it grows strict",
            ("sweep.parquet", "arms.json"),
            lambda folder: _sweep(found, state, folder),
        ),
        _card(
            found,
            state,
            "Any of n, and majority",
            ("any_of_n.parquet", "strata.json"),
            lambda folder: _any_of_n(found, state, folder),
        ),
        _card(
            found,
            state,
            "Confidence along the trace",
            ("confidence.parquet", "reply_labels.parquet"),
            lambda folder: _evolution(found, state, folder),
        ),
    ]


def missing(found: Store, state: Chosen, names: Sequence[str]) -> html.Div | None:
    """What to run for the first of these files that the benchmark does not have; None where all are there."""
    folder = folder_of(found, state.experiment, state.benchmark)
    for name in names:
        if not (folder / name).exists():
            path = f"experiments/{state.experiment}/{PAGE}/{state.benchmark}/{name}"
            return empty_box(f"{name} of {state.benchmark} has not been made yet.", f"snakemake --profile cpu {path}")
    return None


def _card(
    found: Store, state: Chosen, title: str, needs: Sequence[str], content: Callable[[Path], Any]
) -> html.Section:
    def made() -> Any:
        absent = missing(found, state, needs)
        return absent if absent is not None else content(folder_of(found, state.experiment, state.benchmark))

    return card(title, made)


def _whole(state: Chosen, what: str) -> html.P | None:
    """A note where a filter is on that these figures do not follow."""
    if not state.label and not state.category:
        return None
    return html.P(f"Of the whole benchmark: {what}.", className="note")


def _strata(found: Store, folder: Path) -> tuple[Any, Any, dict[str, Any]]:
    """The record of strata.json, its metadata, and what the figures of cells say of themselves."""
    record = found.json(folder / "strata.json")
    metadata = record["metadata"]
    scored = {"kind": record["counts"]["kind"], "window": metadata["window"], "harm_source": harm_source(metadata)}
    return record, metadata, scored


def _judges(found: Store, folder: Path) -> html.Div:
    record, metadata, _ = _strata(found, folder)
    lines = []
    for axis, classifier in sorted(metadata["classifiers"].items(), reverse=True):
        path = folder / f"{classifier}_labels.parquet"
        known = found.metadata(path).get("classifier", {}) if path.exists() else {}
        lines.append((axis, labeller(axis, classifier, known).removeprefix(f"{axis}: ")))
    return html.Div([facts(lines), html.H3("What became of the traces"), tables.where_traces_went(record["counts"])])


def _hypothesis(found: Store, state: Chosen, folder: Path) -> html.Div:
    record, metadata, scored = _strata(found, folder)
    made = figures.risk_differences(record["hypothesis"], benchmark=plain(state.benchmark), **scored)
    return html.Div(
        [
            _whole(state, "the files hold this test by label, below, and not by category"),
            tables.headline(record["hypothesis"]),
            captioned(made, identifier="safety-differences"),
            tables.hypothesis_table(record, metadata),
            html.H3("Guards and warnings"),
            tables.warnings_list(record),
            tables.guards_table(record),
        ]
    )


def _cells(found: Store, state: Chosen, folder: Path) -> html.Div:
    record, metadata, scored = _strata(found, folder)
    cells = tables.cells_of(record, state)
    shown = state
    note = None
    if state.category and state.label:
        shown = Chosen(benchmark=state.benchmark, category=state.category)
        note = html.P(
            "The files hold cells by label and by category, but not by both: these are the category's, of every label.",
            className="warning",
        )
    made = figures.quadrant_table(
        cells, benchmark=plain(part_name(shown)), level=record["hypothesis"]["level"], **scored
    )
    return html.Div(
        [
            note,
            captioned(made, identifier="safety-cells"),
            html.P("Click a cell to list its traces below.", className="note"),
            tables.cells_table(cells, record, metadata),
        ]
    )


def _rates(found: Store, state: Chosen, folder: Path) -> html.Div:
    record, metadata, _ = _strata(found, folder)
    rates = tables.rates_of(record, state)
    if not rates:
        return html.Div(html.P(f"The files hold no rate of {part_name(state)}.", className="note"))
    parts: list[Any] = [tables.rates_table(rates, record, metadata)]
    by_category = None if state.category else tables.categories_table(record, metadata, state)
    if by_category is not None:
        parts += [html.H3("By the benchmark's own category"), by_category]
    return html.Div(parts)


def _rankings(found: Store, state: Chosen, folder: Path) -> html.Div:
    record, metadata, _ = _strata(found, folder)
    note = _whole(state, "the files hold rankings by label, below, and not by category")
    return html.Div([note, tables.rankings_table(record, metadata)])


def _by(found: Store, state: Chosen, folder: Path, what: str) -> html.Div:
    record, metadata, _ = _strata(found, folder)
    counts = record["counts"]
    kind = state.kind or counts["kind"]
    draw = figures.confidence_by_label if what == "label" else figures.confidence_by_cell
    name = plain(part_name(state))
    made = draw(
        trace_rows(found, state).with_columns(benchmark=pl.lit(name)),
        benchmark=name,
        kind=kind,
        window=metadata["window"],
        cut_value=counts["cut_value"] if kind == counts["kind"] else None,
    )
    note = None
    if kind != counts["kind"]:
        note = html.P(f"The cells are cut by {counts['kind']}, not by {kind}: no line is drawn.", className="note")
    return html.Div([captioned(made, identifier=f"safety-by-{what}"), note])


def _arms(found: Store, state: Chosen, folder: Path) -> html.Div:
    content = found.json(folder / "arms.json")
    metadata, listed = content["metadata"], content["arms"]
    level = found.json(folder / "strata.json")["hypothesis"]["level"]
    made = figures.arms_compared(
        listed,
        benchmark=plain(state.benchmark),
        window=content["stopping"]["window"],
        harm_source=harm_source(metadata),
        level=level,
    )
    return html.Div(
        [
            _whole(state, "the files hold the arms for no part of it"),
            html.P(arms.stopping_words(content["stopping"]), className="note"),
            captioned(made, identifier="safety-arms"),
            html.H3("What they cost, and how often they decide as the full budget does"),
            arms.costs_table(listed, level),
            html.H3("What they decide"),
            arms.decisions_table(listed, metadata, level),
            *arms.arm_notes(listed),
        ]
    )


def _sweep(found: Store, state: Chosen, folder: Path) -> html.Div:
    content = found.json(folder / "arms.json")
    sweep = found.table(folder / "sweep.parquet", "sweep")
    made = figures.percentile_curve(
        sweep,
        benchmark=plain(state.benchmark),
        window=content["stopping"]["window"],
        harm_source=harm_source(content["metadata"]),
        configured=round(100.0 * (1.0 - content["stopping"]["keep"]), 9),
    )
    note = _whole(state, "the files hold this curve for no part of it")
    return html.Div([note, captioned(made, identifier="safety-percentiles"), arms.sweep_values(sweep)])


def _any_of_n(found: Store, state: Chosen, folder: Path) -> html.Div:
    path = folder / "any_of_n.parquet"
    table = found.table(path, "any_of_n")
    level = found.json(folder / "strata.json")["hypothesis"]["level"]
    source = harm_source(found.metadata(path))
    parts: list[Any] = []
    for measure, label in _EVENTS.items():
        if state.label in ("", label):
            made = figures.any_of_n_curve(
                table, benchmark=plain(state.benchmark), harm_source=source, level=level, measure=measure
            )
            values = arms.any_of_n_values(table.filter(pl.col("measure") == measure), level)
            parts.append(html.Div([captioned(made, identifier=f"safety-{measure}"), values]))
    if not parts:
        return html.Div(html.P("Unlabelled prompts are in no rate.", className="note"))
    note = _whole(state, "the files hold these curves by label, and not by category") if state.category else None
    return html.Div([note, html.Div(parts, className="cards")])


def _evolution(found: Store, state: Chosen, folder: Path) -> html.Div:
    labels = of_filters(found.table(folder / "reply_labels.parquet", "reply_labels"), state)
    along = choice(
        PAGE, "along", "Lines by", {"refusal": "refusal of the reply", "label": "label of the prompt"}, state.along
    )
    controls = [along]
    if labels.height > READ_AT_ONCE:
        controls.append(switch(PAGE, "tokens", f"read the tokens of {labels.height:,} traces", state.tokens))
        if not state.tokens:
            words = f"This reads every token of {labels.height:,} traces, which takes a while: tick the box for it."
            return html.Div([html.Div(controls, className="controls"), html.P(words, className="note")])
    scan = found.scan(folder / "confidence.parquet", "confidence", [*KEYS, "confidence"])
    tokens = scan.filter(pl.col("prompt_id").is_in(labels["prompt_id"].unique().implode())).collect()
    made = figures.trace_evolution(tokens, labels, benchmark=plain(part_name(state)), by=state.along)
    return html.Div([html.Div(controls, className="controls"), captioned(made, identifier="safety-evolution")])
