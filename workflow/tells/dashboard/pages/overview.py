"""What there is: every experiment and study, its state, and its headline figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dash
from dash import dcc, html

from tells.dashboard.components import address, badge, card, empty_box, error_box, interval_text, page, rows_table
from tells.dashboard.packed import COMMAND, NOTICE
from tells.dashboard.store import Store, current_store
from tells.report.catalogue import StudyState
from tells.report.headlines import headlines

_SHOWN = ("done", "older", "failed", "running", "unreadable")


def register(_app: dash.Dash) -> None:
    """Give the app this page."""
    dash.register_page("overview", path="/", name="Overview", title="Tells: overview", order=0, layout=_layout)


def _layout(**_: Any) -> html.Main:
    """The page."""
    found = current_store()
    place = "a temporary folder" if found.packed else "experiments/"
    return page(
        "Experiments",
        _definition_errors(found),
        empty_box(NOTICE, COMMAND) if found.packed else None,
        card("Studies", lambda: _studies(found.catalogue())),
        *[
            card(f"{state.experiment}: {state.study}", lambda state=state: _figures(found, state))
            for state in found.catalogue()
            if state.state in _SHOWN
        ],
        subtitle=f"everything under {place}, as it is on disk now; reload to see what is new",
    )


def _definition_errors(found: Store) -> html.Div | None:
    _, problem = found.definitions()
    return None if problem is None else error_box(ValueError(problem))


def _studies(states: Sequence[StudyState]) -> html.Div:
    if not states:
        return empty_box("No experiment has been run here yet.", "make demo")
    columns = (
        "experiment",
        "study",
        "state",
        "model",
        "finished",
        "seconds",
        "tokens",
        "judge calls",
        "judge cost",
        "why",
    )
    rows = [
        (
            state.experiment,
            _link(state),
            badge(state.state, state.reason),
            state.model or "–",
            (state.finished or "–").replace("T", " ").removesuffix("+00:00"),
            f"{state.seconds:,.0f}",
            f"{state.tokens:,}",
            f"{state.judge_calls:,}",
            "–" if state.cost is None else f"{state.cost:,.2f} USD",
            state.reason or "",
        )
        for state in states
    ]
    caption = (
        "seconds, tokens, calls and cost: sums over finished jobs, from their status files "
        "(no cost without prices in the judge's settings); times in UTC"
    )
    return rows_table(columns, rows, caption=caption)


def _link(state: StudyState) -> Any:
    if state.state == "missing":
        return state.study
    return dcc.Link(state.study, href=address(state.study, {"experiment": state.experiment}))


def _figures(found: Store, state: StudyState) -> html.Div:
    shown = headlines(state.study, found.results(state.experiment, state.study))
    if not shown:
        return empty_box(
            "There are no figures yet.",
            f"snakemake --profile cpu {state.study} --config experiments={state.experiment}",
        )
    columns = ("about", "figure", "value", "chance", "split", "n", "note")
    rows = [
        (
            one.subject,
            one.figure,
            interval_text(one.value, one.low, one.high),
            "–" if one.chance is None else f"{one.chance:.2f}",
            one.split,
            one.n,
            one.note or "",
        )
        for one in shown
    ]
    levels = {one.level for one in shown if one.level is not None}
    caption = (
        f"in brackets: {', '.join(f'{100 * level:g}%' for level in sorted(levels))} interval; [–]: none; chance: what "
        "no knowledge gives, of traits the 95th percentile of random directions"
    )
    return rows_table(columns, rows, caption=caption)
