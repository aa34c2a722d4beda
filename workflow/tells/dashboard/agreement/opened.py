"""The opened sample: its transcript, what every signal says of it, and the way to it on its own study's page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from dash import dcc, html

from tells.dashboard.agreement.keys import SampleKey, page_of, read_key
from tells.dashboard.agreement.pairs import facts_of, sureness_rank
from tells.dashboard.agreement.state import PAGE, SIGNALS, Chosen
from tells.dashboard.components import card, facts, rows_table, veil
from tells.dashboard.security import within
from tells.dashboard.store import Store
from tells.report.agreement_words import OUTCOMES, signal_words
from tells.report.figures.agreement_pairs import class_words
from tells.tables import TableError

Children = Any
Row = Mapping[str, Any]
OPENED = f"{PAGE}-opened"
# What a benchmark asks for, and what is replied, may do harm.
_VEILED = "safety"
_KEYS = SampleKey._fields
# Columns of a prompt, the first of which that a study has is what was asked; then what was put to the model.
_ASKED = ("question", "prompt", "text")
_PUT = ("shared_prefix", "text")


def close_id() -> dict[str, str]:
    """Identifier of the button that closes the sample."""
    return {"agreement-close": "sample"}


def opened_cards(found: Store, state: Chosen) -> list[Any]:
    """Cards of the opened sample; none where none is opened."""
    if not state.sample:
        return []
    key = read_key(state.sample)
    if key is None:
        return [card("Opened sample", lambda: _unknown(state.sample))]
    return [
        card(f"{key.collection}: {key.prompt_id}, sample {key.sample}", lambda: _transcript(found, state, key)),
        card("What every signal says of it", lambda: _signals(found, state, key)),
    ]


def _unknown(name: str) -> html.Div:
    raise LookupError(f"there is no sample {name!r}: choose one in a list above")


def _transcript(found: Store, state: Chosen, key: SampleKey) -> html.Div:
    folder = _folder(found, state, key)
    prompt = _row(folder / "prompts.parquet", "prompts", found, pl.col("prompt_id") == key.prompt_id)
    same = (pl.col("prompt_id") == key.prompt_id) & (pl.col("sample") == key.sample)
    reply = _row(folder / "samples.parquet", "samples", found, same)
    if prompt is None or reply is None:
        lacking = "prompts.parquet" if prompt is None else "samples.parquet"
        raise LookupError(f"{key.study}/{key.collection}/{lacking} has no sample {key.sample} of {key.prompt_id!r}")
    asked = next(prompt[name] for name in _ASKED if prompt.get(name) is not None)
    put = "".join(prompt[name] for name in _PUT if prompt.get(name))
    hidden = key.study == _VEILED
    parts = [html.H3("What was asked"), _text(asked, hidden)]
    if prompt.get("system_prompt"):
        parts += [html.H3("System prompt"), _text(prompt["system_prompt"], hidden)]
    if put != asked:
        parts.append(html.Details([html.Summary("As it is put to the model"), _text(put, hidden)]))
    gold = prompt.get("gold")
    told = [("study", key.study), ("gold", " · ".join(gold) if gold else None), ("label", prompt.get("label"))]
    told.append(("pole of the scenario", prompt.get("polarity")))
    return html.Div(
        [
            html.P(
                [
                    dcc.Link(
                        f"Open it on the page of the {key.study} study", href=page_of(state.experiment, key) or ""
                    ),
                    " ",
                    html.Button("Close this sample", type="button", id=close_id()),
                ]
            ),
            facts(told),
            *parts,
            html.H3("What the model wrote"),
            _text(reply["text"], hidden),
        ]
    )


def _text(text: str, hidden: bool) -> html.Div:
    shown = html.Div(text, className="text")
    return veil(shown) if hidden else shown


def _folder(found: Store, state: Chosen, key: SampleKey) -> Path:
    """The folder of the sample's collection.

    Raises:
        LookupError: there is no such study or collection.
    """
    prompts = within(found.folder(state.experiment, key.study), f"{key.collection}/prompts.parquet")
    if key.study == PAGE or prompts is None:
        raise LookupError(f"{state.experiment} has no prompts of a collection {key.study}/{key.collection}")
    return prompts.parent


def _row(path: Path, kind: str, found: Store, same: pl.Expr) -> Row | None:
    """The one row of a table of texts; of the samples no more than its text is read."""
    wanted = ["prompt_id", "sample", "text"] if kind == "samples" else _columns(found, path)
    try:
        rows = found.scan(path, kind, wanted).filter(same).collect()
    except pl.exceptions.PolarsError as error:
        raise TableError(f"{path.name}: cannot be read ({str(error).splitlines()[0]}); make it again") from None
    return None if rows.is_empty() else rows.row(0, named=True)


def _columns(found: Store, path: Path) -> list[str]:
    known = found.columns(path)
    wanted = dict.fromkeys(("prompt_id", *_ASKED, *_PUT, "system_prompt", "gold", "label", "polarity"))
    return [name for name in wanted if name in known]


def _signals(found: Store, state: Chosen, key: SampleKey) -> html.Div:
    told = facts_of(found, state.experiment)
    path = found.folder(state.experiment, PAGE) / SIGNALS
    known = found.columns(path)
    signals = [one for one in told["signals"] if one["name"] in known]
    outcomes = [one["name"] for one in told["outcomes"] if one["study"] == key.study and one["name"] in known]
    names = [one["name"] for one in signals]
    rows = found.scan(path, "signals", [*_KEYS, "split", "scored", *outcomes, *names])
    own = rows.filter(pl.col("study") == key.study, pl.col("collection") == key.collection).collect()
    return _table(own, key, signals, outcomes)


def _table(own: pl.DataFrame, key: SampleKey, signals: Sequence[Row], outcomes: Sequence[str]) -> html.Div:
    is_it = (pl.col("prompt_id") == key.prompt_id) & (pl.col("sample") == key.sample)
    found = own.filter(is_it)
    if found.is_empty():
        raise LookupError(f"signals.parquet has no sample {key.sample} of {key.prompt_id!r} in {key.collection}")
    row, scored = found.row(0, named=True), own.filter("scored")
    ranks = scored.with_columns(sureness_rank(one["name"], one["sureness"]) for one in signals).filter(is_it)
    rank = ranks.row(0, named=True) if ranks.height else {}
    lines = [
        (
            signal_words(one["name"]),
            f"{row[one['name']]:.4g}",
            one["unit"],
            "–" if rank.get(one["name"]) is None else f"{100 * rank[one['name']]:.0f}%",
            one["meaning"],
        )
        for one in signals
        if row[one["name"]] is not None
    ]
    caption = (
        f"surer than: share of the {scored.height:,} scored samples of {key.collection} that are less sure, of those "
        "with the signal, ties half; signals that the sample lacks are left out"
    )
    told = [(OUTCOMES.get(name, name), class_words(name, row[name])) for name in outcomes]
    told += [("split", row["split"]), ("scored", "yes" if row["scored"] else "no: no figure rests on it")]
    return html.Div(
        [facts(told), rows_table(("signal", "value", "unit", "surer than", "what it is"), lines, caption=caption)]
    )
