"""What the agreement concludes: heatmap, the one table, gains, the confidence direction, and what is missing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dash import html

from tells.dashboard.agreement.records import COLUMNS, SOURCE, filtered, n_absent, table_rows
from tells.dashboard.agreement.state import PAGE, RESULTS, TABLE, Chosen, missing
from tells.dashboard.binding import choice, switch
from tells.dashboard.components import captioned, card, facts, rows_table
from tells.dashboard.downloads import download_links
from tells.dashboard.grid import grid
from tells.dashboard.store import Store
from tells.dashboard.urls import query_of
from tells.report.agreement_tables import AGREEMENT_TABLES
from tells.report.agreement_words import answers, key_of, present_signals
from tells.report.figures.agreement import gains, signal_heatmap
from tells.report.figures.steered_questions import steered_means

Children = Any
TABLE_GRID = f"{PAGE}-table"
# Pixels of a column with a number in it, and of what stands beside the columns.
_COLUMN, _LABELS = 44, 300
# What a browser draws without long waits; a study of some hundred traits has many times as much.
_MOST_CELLS, _MOST_SIGNALS = 40, 120
_METRICS = {"auroc": "AUROC", "auroc_within_length": "AUROC among samples of like length"}
_READING = (
    "Each signal is read as sureness, in a direction fixed beforehand: blue where the surer samples are right, refuse, "
    "do not harm, or show their trait; red where the opposite holds; white at chance."
)
_TABLE_NOTE = (
    "Signals as sureness, in a fixed direction: an AUROC below a half says that the opposite holds. From, to: interval "
    "by question, prompt with its twin, or pair. p: two-sided, by permutation of these groups; Holm: over every AUROC "
    "of the whole table, whatever the filters say. Within length: among samples of the same fifth of the lengths."
)


def conclusions(found: Store, state: Chosen) -> list[html.Section]:
    """The cards of the filtered figures."""
    return [
        card("Every signal for every outcome", lambda: _heatmap(found, state)),
        card("The one table", lambda: _table(found, state)),
        card("All signals together against the best one", lambda: _gains(found, state)),
    ]


def answered(found: Store, state: Chosen) -> list[html.Section]:
    """The cards of what is said in words, which no filter changes."""
    return [
        card("Does the confidence direction read uncertainty?", lambda: _direction(found, state)),
        card("What is missing, and what to know", lambda: _notes(found, state)),
    ]


def _heatmap(found: Store, state: Chosen) -> Children:
    if (nothing := missing(found, state, RESULTS)) is not None:
        return nothing
    results, left_out = drawn(filtered(found.results(state.experiment, PAGE), state))
    control = choice(PAGE, "metric", "Shown", _METRICS, state.metric)
    return html.Div(
        [
            html.Div(control, className="controls"),
            html.P(_READING, className="note"),
            left_out,
            wide(signal_heatmap(results, metric=state.metric), f"{PAGE}-heatmap", column=_COLUMN),
        ]
    )


def drawn(results: Mapping[str, Any]) -> tuple[dict[str, Any], html.P | None]:
    """As much of the filtered results as a page can draw, and what is left out; None where all is drawn.

    Args:
        results: as `filtered` gives them.
    """
    cells, names = [one for one in results["cells"] if one["n_rows"]], present_signals(results)
    told = [
        f"{most} of {len(listed):,} {what}"
        for listed, most, what in ((cells, _MOST_CELLS, "columns"), (names, _MOST_SIGNALS, "signals"))
        if len(listed) > most
    ]
    if not told:
        return dict(results), None
    places, kept = {key_of(one) for one in cells[:_MOST_CELLS]}, set(names[:_MOST_SIGNALS])
    less = {key: [one for one in results[key] if key_of(one) in places] for key in ("cells", "combined")}
    less["records"] = [one for one in results["records"] if key_of(one) in places and one["signal"] in kept]
    said = f"Drawn are the first {' and the first '.join(told)}; the filters above choose others."
    return {**results, **less}, html.P(said, className="note")


def wide(made: Any, identifier: str, *, column: int = 0) -> html.Div:
    """A figure of many cells, which scrolls sideways where the page is narrow.

    Args:
        made: the figure.
        identifier: of its graph.
        column: pixels that a column of a heatmap needs; 0 for no more than any figure has.
    """
    cells = len(made.data[0].x) if made.data else 0
    style = {"minWidth": _LABELS + column * cells} if column else None
    told = {"aria-label": "figure, scrolls sideways"}
    inside = html.Div(captioned(made, identifier=identifier), style=style)
    return html.Div(inside, className="scroll wide", tabIndex="0", role="group", **told)


def _table(found: Store, state: Chosen) -> Children:
    if (nothing := missing(found, state, TABLE)) is not None:
        return nothing
    rows, absent = table_rows(found, state), n_absent(found, state)
    levels = ", ".join(f"{100 * level:g}%" for level in rows["level"].drop_nulls().unique().sort())
    counted = rows.height if not state.absent else rows.height - absent
    said = f"{counted:,} figures; {absent:,} places have none{f'; intervals: {levels}' if levels else ''}."
    return html.Div(
        [
            html.P(said, className="note", id=f"{PAGE}-count", role="status"),
            html.P(_TABLE_NOTE, className="note"),
            html.Div(
                switch(PAGE, "absent", "list the places without a figure too, with why", state.absent),
                className="controls",
            ),
            grid(TABLE_GRID, COLUMNS, label="signals and outcomes", key="key"),
            download_links(SOURCE, query_of(state)),
        ]
    )


def _gains(found: Store, state: Chosen) -> Children:
    if (nothing := missing(found, state, RESULTS)) is not None:
        return nothing
    results, left_out = drawn(filtered(found.results(state.experiment, PAGE), state))
    return html.Div([left_out, wide(gains(results), f"{PAGE}-gains"), _named("gains", results)])


def _named(name: str, results: Mapping[str, Any]) -> Children:
    """A table of the study's report, as it stands there; nothing where it has no row."""
    made = AGREEMENT_TABLES[name](results)
    if made is None or not made.records:
        return None
    return rows_table([column.name for column in made.columns], made.cells(), caption=made.caption)


def _direction(found: Store, state: Chosen) -> Children:
    if (nothing := missing(found, state, RESULTS)) is not None:
        return nothing
    results = found.results(state.experiment, PAGE)
    direction = results["confidence_direction"]
    told = [
        ("trait", direction["trait"]),
        ("status", direction["status"]),
        ("method", direction["method"]),
        ("layer", None if direction["layer"] is None else str(direction["layer"])),
    ]
    return html.Div(
        [
            *[html.P(line) for line in answers(results)],
            facts(told),
            _named("confidence-direction", results),
            _steered(results),
        ]
    )


def _steered(results: Mapping[str, Any]) -> Children:
    """What steering along the direction changes, where questions were asked so."""
    if results["confidence_direction"]["steering"] is None:
        return None
    return html.Div(
        [
            wide(steered_means(results), f"{PAGE}-steered"),
            _named("steered-changes", results),
            _named("steered-means", results),
        ]
    )


def _notes(found: Store, state: Chosen) -> Children:
    if (nothing := missing(found, state, RESULTS)) is not None:
        return nothing
    results = found.results(state.experiment, PAGE)
    if not (said := results["notes"]):
        return html.P("Nothing is missing, and there is nothing to know.")
    return html.Ul([html.Li(line) for line in said], className="notes")
