"""The cards of two signals: a scatter, their rank correlation, and the samples on which they disagree most."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dash import html

from tells.dashboard.agreement.cards import wide
from tells.dashboard.agreement.pairs import (
    DISAGREEMENTS,
    POINTS,
    Pair,
    correlation_of,
    defaults_of,
    disagreements,
    facts_of,
    pair_of,
    places_of,
    present_here,
    settled,
)
from tells.dashboard.agreement.state import COUNTS, FACTS, PAGE, RESULTS, SIGNALS, Chosen, missing
from tells.dashboard.binding import choice, switch
from tells.dashboard.components import card, interval_text
from tells.dashboard.downloads import download_links
from tells.dashboard.grid import Column, grid
from tells.dashboard.store import Store
from tells.dashboard.uncertainty.captions import captioned
from tells.dashboard.urls import query_of
from tells.report.agreement_words import OUTCOMES, signal_words
from tells.report.figures.agreement import correlation_heatmap
from tells.report.figures.agreement_pairs import signal_scatter
from tells.tables import TableError

Children = Any
# Pixels of the scatter, and of a column of the correlations.
_HEIGHT, _COLUMN = 520, 26
_CLICK = "A click on a point or on a row, or the space bar on a row, opens the sample."


def controls(found: Store, state: Chosen) -> html.Div:
    """What the cards of two signals are of; it stands whatever is wrong with the files."""
    try:
        place, present = _present(found, state)
    except (TableError, LookupError, KeyError, TypeError):
        # The cards say which file it is; without it there is nothing to choose.
        place, present = state.place, []
    x, y = defaults_of(present, state.x)
    names = dict.fromkeys((*present, *(name for name in (state.x, state.y) if name)))
    words = {name: signal_words(name) for name in names}
    places = dict.fromkeys((*places_of(found, state.experiment), *((state.place,) if state.place else ())))
    outcomes = dict.fromkeys((*_outcomes(found, state, place), *((state.colour,) if state.colour else ())))
    return html.Div(
        [
            choice(
                PAGE,
                "place",
                "Samples of",
                {name: name.replace("/", ": ", 1) for name in places},
                state.place,
                none=f"the first: {place.replace('/', ': ', 1)}" if place else "none",
            ),
            choice(PAGE, "x", "One signal, x", words, state.x, none=f"by default: {signal_words(x)}"),
            choice(PAGE, "y", "Another signal, y", words, state.y, none=f"by default: {signal_words(y)}"),
            choice(
                PAGE,
                "colour",
                "Colour",
                {name: OUTCOMES.get(name, name) for name in outcomes},
                state.colour,
                none="the first outcome of these samples",
            ),
            choice(PAGE, "most", "Listed on either side", COUNTS, state.most),
            switch(PAGE, "once", "list each prompt once", state.once),
        ],
        className="controls",
        role="group",
        **{"aria-label": "Two signals"},
    )


def _present(found: Store, state: Chosen) -> tuple[str, list[str]]:
    place = settled(found, state).place
    return place, present_here(found, state.experiment, place)


def _outcomes(found: Store, state: Chosen, place: str) -> list[str]:
    try:
        told = facts_of(found, state.experiment)["outcomes"]
        return [one["name"] for one in told if one["study"] == place.partition("/")[0]]
    except (TableError, KeyError, TypeError):
        return []


def scatter_id() -> dict[str, str]:
    """Identifier of the scatter, for callbacks."""
    return {"page": PAGE, "scatter": "pair"}


def cards(found: Store, state: Chosen) -> list[Any]:
    """The cards of the two chosen signals."""
    return [
        card("Two signals", lambda: _scatter(found, state)),
        html.Div(
            [
                card("Surer by x than by y", lambda: _list(found, state, "x")),
                card("Surer by y than by x", lambda: _list(found, state, "y")),
            ],
            className="cards",
        ),
        card("Do the signals say the same?", lambda: _correlations(found, state)),
    ]


def _scatter(found: Store, state: Chosen) -> Children:
    if (nothing := missing(found, state, SIGNALS, FACTS)) is not None:
        return nothing
    pair = pair_of(found, state)
    if pair.rows.is_empty():
        return html.P(_why_none(found, state, pair), className="note")
    made = signal_scatter(
        pair.rows,
        pair.x,
        pair.y,
        collection=pair.collection,
        outcome=pair.outcome,
        split=pair.split,
        n_groups=pair.rows["group"].n_unique(),
        opened=state.sample,
    )
    # A reader's zoom outlives a ring, but not other signals or samples.
    made.update_layout(uirevision="|".join((pair.place, pair.x["name"], pair.y["name"])), height=_HEIGHT)
    left_out = pair.n_scored - pair.rows.height
    other = f" These samples have no outcome {state.colour}." if state.colour not in ("", pair.outcome) else ""
    lacking = f" {left_out:,} of {pair.n_scored:,} scored samples lack one of the two." if left_out else ""
    return html.Div(
        [
            html.P(_correlation(found, state, pair), id=f"{PAGE}-correlation"),
            html.P(f"{_CLICK}{lacking}{other}", className="note"),
            captioned(made, f"{PAGE}-pair", scatter_id()),
            download_links(POINTS, query_of(state)),
        ]
    )


def _why_none(found: Store, state: Chosen, pair: Pair) -> str:
    """Why no sample has both signals, in the words of signals.json."""
    here = present_here(found, state.experiment, pair.place)
    lacking = [one["name"] for one in (pair.x, pair.y) if one["name"] not in here]
    reasons = [
        f"{signal_words(one['signal'])}: {one['reason']}"
        for one in facts_of(found, state.experiment)["absent"]
        if one["signal"] in lacking and one["study"] == pair.study and one["collection"] in (None, pair.collection)
    ]
    said = f" {'; '.join(dict.fromkeys(reasons))}." if reasons else ""
    return f"No scored sample of {pair.place} has both signals.{said} Choose another one above."


def _correlation(found: Store, state: Chosen, pair: Pair) -> Children:
    names = f"{signal_words(pair.x['name'])} and {signal_words(pair.y['name'])}"
    try:
        told, reason = correlation_of(found.results(state.experiment, PAGE), pair)
    except (TableError, KeyError, TypeError) as error:
        told, reason = None, str(error).replace(f"{found.root}/", "")
    if told is None:
        return f"Rank correlation of {names}: none. {reason}."
    value = interval_text(told["value"], told["low"], told["high"], 3)
    return [
        html.Strong(f"Spearman {value}"),
        f" between {names}, both as sureness: {told['n_rows']:,} samples of {told['n_groups']:,} groups "
        f"({told['split']}) that have all compared signals; {100 * told['level']:g}% interval by group.",
    ]


def list_id(side: str) -> dict[str, str]:
    """Identifier of a list of disagreements: of `x` or of `y`."""
    return {"agreement-grid": side}


def _list(found: Store, state: Chosen, side: str) -> Children:
    if (nothing := missing(found, state, SIGNALS, FACTS)) is not None:
        return nothing
    pair = pair_of(found, state)
    rows = disagreements(pair, side, state)
    if rows.is_empty():
        why = "the two signals are one" if pair.x["name"] == pair.y["name"] else "there is none"
        return html.P(f"No sample to list: {why}.", className="note")
    surer, other = (pair.x, pair.y) if side == "x" else (pair.y, pair.x)
    said = (
        f"{rows.height:,} of {pair.rows.height:,} samples ({pair.split}): sure by {signal_words(surer['name'])}, "
        f"unsure by {signal_words(other['name'])}. Ranks: share of these samples that are less sure, ties half. "
        "Samples without difference are in neither list."
    )
    return html.Div(
        [
            html.P(said, className="note", id=f"{PAGE}-count-{side}"),
            grid(list_id(side), _columns(pair), label=f"samples surer by {side}", key="key", rows=rows, height=360),
            download_links(DISAGREEMENTS, query_of(state)),
        ]
    )


def _columns(pair: Pair) -> list[Column]:
    outcome = "" if pair.outcome is None else OUTCOMES.get(pair.outcome, pair.outcome)
    columns = [
        Column("prompt_id", "prompt", width=165),
        Column("sample", "sample", "whole", width=85),
        Column("difference", "rank by y less by x", "number", digits=2, width=145),
        Column("rank_x", "rank by x", "number", digits=2, width=95),
        Column("rank_y", "rank by y", "number", digits=2, width=95),
        Column("class", outcome, width=120),
        Column("x", f"x: {signal_words(pair.x['name'])}, {pair.x['unit']}", "number", width=190),
        Column("y", f"y: {signal_words(pair.y['name'])}, {pair.y['unit']}", "number", width=190),
    ]
    return columns if outcome else [one for one in columns if one.field != "class"]


def _correlations(found: Store, state: Chosen) -> Children:
    if (nothing := missing(found, state, RESULTS)) is not None:
        return nothing
    told: list[Mapping[str, Any]] = found.results(state.experiment, PAGE)["correlations"]
    names = [f"{one['study']}/{one['collection']}" for one in told]
    place = state.place or next(iter(places_of(found, state.experiment)), "") or next(iter(names), "")
    if place not in names:
        return html.P(f"results.json has no correlations of {place or 'any collection'}.", className="note")
    record = told[names.index(place)]
    left_out = f"Left out, of very many signals: {', '.join(map(signal_words, record['left_out']))}."
    return html.Div(
        [
            html.P("Dark blue squares off the diagonal are signals that order the samples alike.", className="note"),
            wide(correlation_heatmap(record), f"{PAGE}-correlations", column=_COLUMN),
            html.P(left_out, className="note") if record["left_out"] else None,
        ]
    )
