"""Experiments side by side on any headline figure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import dash
import polars as pl
from dash import html

from tells.dashboard.binding import bind, bound, choice
from tells.dashboard.components import card, empty_box, error_box, figure, interval_text, page, rows_table
from tells.dashboard.downloads import download_links, row_source
from tells.dashboard.store import Store, current_store
from tells.dashboard.urls import from_query, query_of
from tells.report.catalogue import StudyState
from tells.report.figures.comparison import headline_comparison
from tells.report.headlines import Headline, headlines
from tells.tables import TableError

_PAGE = "compare"
_ROWS = {"experiment": pl.String, "model": pl.String, "study": pl.String, "subject": pl.String, "figure": pl.String}
_NUMBERS = ("value", "low", "high", "level", "chance")
_WORDS = ("n", "split", "note")


@dataclass(frozen=True)
class Chosen:
    """What is compared.

    Attributes:
        figure: the headline figure; empty for the first there is.
        experiments: names; none for all.
    """

    figure: str = ""
    experiments: tuple[str, ...] = ()


def register(app: dash.Dash) -> None:
    """Give the app this page."""
    dash.register_page(_PAGE, path="/compare", name="Compare", title="Tells: compare", order=5, layout=_layout)
    bind(app, _PAGE, Chosen, _content)


def _layout(**query: Any) -> html.Main:
    state = from_query(Chosen, query)
    found = current_store()
    studies, broken = _headlines(found)
    warnings = [error_box(error) for error in broken]
    if not studies:
        return page("Compare", *warnings, empty_box("No experiment has results yet.", "make demo"))
    figures = _figure_names(studies)
    names = sorted({one.experiment for one, _ in studies})
    shown = [name for name in state.experiments if name in names]
    controls = [
        choice(
            _PAGE,
            "figure",
            "Figure",
            {"": f"{figures[0]} (the first)", **{name: name for name in figures}},
            state.figure,
        ),
        choice(_PAGE, "experiments", "Experiments (none: all)", names, shown, several=True),
    ]
    return page(
        "Compare",
        *warnings,
        bound(_PAGE, state, controls, _content(state)),
        subtitle="headline figures of the experiments that have results, as they stand in their files",
    )


def _content(state: Chosen) -> list[Any]:
    studies, _ = _headlines(current_store())
    name = state.figure or _figure_names(studies)[0]
    chosen = [(one, found) for one, found in studies if not state.experiments or one.experiment in state.experiments]
    by_name: dict[str, list[Headline]] = {}
    for one, found in chosen:
        by_name.setdefault(f"{one.experiment}, {one.model}", []).extend(found)
    return [
        card("Side by side", lambda: figure(headline_comparison(name, by_name), identifier="compare-figure")),
        card("In numbers", lambda: _table(state, rows_of(current_store(), state))),
    ]


def _table(state: Chosen, rows: pl.DataFrame) -> html.Div:
    columns = ("experiment", "model", "about", "value", "chance", "split", "n", "note")
    cells = [
        (
            row["experiment"],
            row["model"],
            row["subject"],
            interval_text(row["value"], row["low"], row["high"]),
            "–" if row["chance"] is None else f"{row['chance']:.2f}",
            row["split"],
            row["n"],
            row["note"] or "",
        )
        for row in rows.iter_rows(named=True)
    ]
    levels = sorted(rows["level"].drop_nulls().unique())
    said = f"in brackets: {', '.join(f'{100 * level:g}%' for level in levels)} interval; [–]: none"
    return html.Div([rows_table(columns, cells, caption=said), download_links("compare", query_of(state))])


@row_source("compare")
def _download(found: Store, query: Mapping[str, str]) -> pl.DataFrame:
    return rows_of(found, from_query(Chosen, query))


def rows_of(found: Store, state: Chosen) -> pl.DataFrame:
    """One row a value of the chosen figure.

    Raises:
        LookupError: no experiment has results.
    """
    studies, _ = _headlines(found)
    if not studies:
        raise LookupError("no experiment has results")
    name = state.figure or _figure_names(studies)[0]
    rows = [
        {
            "experiment": one.experiment,
            "model": one.model,
            "study": one.study,
            **{key: getattr(each, key) for key in ("subject", "figure", *_NUMBERS, *_WORDS)},
        }
        for one, own in studies
        if not state.experiments or one.experiment in state.experiments
        for each in own
        if each.figure == name
    ]
    schema = {**_ROWS, **dict.fromkeys(_NUMBERS, pl.Float64), **dict.fromkeys(_WORDS, pl.String)}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _headlines(found: Store) -> tuple[list[tuple[StudyState, list[Headline]]], list[Exception]]:
    """Headlines of every study that has results, and what is wrong with those that cannot be read."""
    shown: list[tuple[StudyState, list[Headline]]] = []
    broken: list[Exception] = []
    for state in found.catalogue():
        if not (found.root / "experiments" / state.experiment / state.study / "results.json").exists():
            continue
        try:
            shown.append((state, headlines(state.study, found.results(state.experiment, state.study))))
        except (TableError, KeyError, TypeError) as error:
            broken.append(ValueError(f"{state.experiment}, {state.study}: {error}"))
    return shown, broken


def _figure_names(studies: list[tuple[StudyState, list[Headline]]]) -> list[str]:
    return list(dict.fromkeys(each.figure for _, found in studies for each in found))
