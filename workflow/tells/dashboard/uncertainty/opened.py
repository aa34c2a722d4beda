"""The opened runs, side by side: question, text with its tokens shaded by entropy, answer, cluster, and all scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from dash import dcc, html

from tells.dashboard.components import guarded
from tells.dashboard.grid import Column, grid
from tells.dashboard.security import within
from tells.dashboard.store import Store
from tells.dashboard.tokens import shaded, token_texts
from tells.dashboard.uncertainty.runs import opened_keys, opened_questions, score_columns
from tells.dashboard.uncertainty.state import MOST_OPENED, PAGE, Chosen
from tells.report.figures.uncertainty_words import words_of
from tells.tables import TableError

Children = Any
Row = Mapping[str, Any]
# Two nats are the surprise of a fair choice among seven tokens.
_FULL_SHADE = 2.0
_WHAT = "entropy of the token, nats"
# Tokens that a page bears: of one run that is read alone, and of several together.
_ALONE, _TOGETHER = 100_000, 50_000
_KEYS = ("prompt_id", "sample")
_GRADES = {True: "correct", False: "wrong", None: "not graded"}
_OF_RUN = (
    *("correct", "greedy", "truncated", "accuracy", "cluster", "p_true", "mean_log_likelihood"),
    *("n_think", "entropy_think_mean", "entropy_think_max", "entropy_think_last10", "x", "y"),
)


def opened_panel(found: Store, state: Chosen, picked: Mapping[str, Any] | None = None) -> Children:
    """The opened runs; nothing where none is.

    Args:
        found: the results.
        state: of the page.
        picked: of a selection: `what` was selected (points or rows) and their `total`, `from` which the shown runs
            begin, and `keys` that can be turned to.
    """
    if not opened_keys(state):
        return []
    return html.Section(
        [
            html.Div([html.H2("Opened runs"), html.P(_said(state, picked), role="status"), *_tools(picked)]),
            guarded("opened runs", lambda: html.Div(_opened(found, state))),
        ],
        className="opened",
        tabIndex="0",
        **{"aria-label": "Opened runs"},
    )


def opened_place(panel: Children, identifier: str) -> html.Div:
    """Where the opened runs stand, at the foot of the window, and the box that lets them fill it.

    Args:
        panel: of `opened_panel`.
        identifier: of the element whose children it is.
    """
    tall = dcc.Checklist(id=f"{identifier}-tall", options=[{"value": "1", "label": "tall"}], value=[])
    return html.Div(
        [html.Div(tall, className="control switch tall"), html.Div(panel, id=identifier)], className="opened-place"
    )


def _said(state: Chosen, picked: Mapping[str, Any] | None) -> str:
    keys = opened_keys(state)
    if picked and picked["total"] > MOST_OPENED:
        first, total, kept = picked["from"] + 1, picked["total"], len(picked["keys"])
        shown = f"{first:,} to {first + len(keys) - 1:,} are shown side by side"
        said = f"{total:,} {picked['what']} selected; {shown}, one of each question before a second."
        return said if kept == total else f"{said} The first {kept:,} can be turned to."
    known = len(dict.fromkeys(state.runs))
    if known > len(keys):
        return f"{known} runs selected; the first {len(keys)} are shown side by side."
    return "1 run" if len(keys) == 1 else f"{len(keys)} runs side by side"


def _tools(picked: Mapping[str, Any] | None) -> list[Children]:
    turns = []
    if picked and len(picked["keys"]) > MOST_OPENED:
        before, after = picked["from"] > 0, picked["from"] + MOST_OPENED < len(picked["keys"])
        turns = [
            _button(f"Earlier {MOST_OPENED}", "turn", "-1", disabled=not before),
            _button(f"Next {MOST_OPENED}", "turn", "1", disabled=not after),
        ]
    return [*turns, _button("Close all", "close", "*")]


def _button(words: str, does: str, which: str, *, label: str | None = None, disabled: bool = False) -> html.Button:
    told = {} if label is None else {"aria-label": label}
    return html.Button(words, id={"page": PAGE, does: which}, type="button", disabled=disabled, **told)


def _opened(found: Store, state: Chosen) -> list[Children]:
    keys = opened_keys(state)
    rows = opened_questions(found, state)
    by_key = {row["key"]: row for row in rows.filter(pl.col("key").is_in(keys)).to_dicts()}
    texts = [
        _run(found, state, by_key[key], rows, len(keys)) if key in by_key else _unknown(key, state) for key in keys
    ]
    known = [by_key[key] for key in keys if key in by_key]
    return [
        html.Div(texts, className="runs alone" if len(keys) == 1 else "runs"),
        *(_scores(found, state, known) if known else []),
    ]


def _unknown(key: str, state: Chosen) -> html.Article:
    close = _button("Close", "close", key, label=f"Close {key}")
    return html.Article([html.H3(key), close, html.P(f"{state.experiment} has no such run.")], className="run")


def _run(found: Store, state: Chosen, row: Row, rows: pl.DataFrame, several: int) -> html.Article:
    """Question, text and answer of one run; where it stands alone, the other runs of its question too."""
    alone = several == 1
    name = _name(row)
    marks = [_GRADES[row.get("correct")], row["split"], "cut" if row.get("truncated") else None]
    siblings = rows.filter(pl.col("dataset") == row["dataset"], pl.col("prompt_id") == row["prompt_id"])
    gold = row.get("gold")
    return html.Article(
        [
            html.Div(
                [
                    html.H3(name),
                    html.P(
                        [
                            *(html.Span(mark, className="badge") for mark in marks if mark),
                            _button("Close", "close", row["key"], label=f"Close {name}"),
                            None if alone else _button("Alone", "alone", row["key"], label=f"{name} alone"),
                        ],
                        className="marks",
                    ),
                    *_text("Question", row.get("question")),
                    *_text("Gold", None if gold is None else " · ".join(gold)),
                ]
            ),
            html.Div(
                [
                    html.H4("Thought and answer, as generated"),
                    guarded("tokens", lambda: _tokens(found, state, row, _ALONE if alone else _TOGETHER // several)),
                ]
            ),
            html.Div(
                [
                    *_text("Answer that was graded", row.get("answer")),
                    html.H4("Cluster"),
                    html.P(_cluster(row, siblings)),
                    _siblings(siblings, row) if alone else None,
                ]
            ),
        ],
        className="run",
    )


def _name(row: Row) -> str:
    sample = "greedy run" if row["sample"] < 0 else f"sample {row['sample']}"
    return f"{row['dataset']}: {row['prompt_id']}, {sample}"


def _text(heading: str, text: str | None) -> list[Children]:
    return [html.H4(heading), html.P("none") if text is None else html.Div(text, className="text")]


def _tokens(found: Store, state: Chosen, row: Row, budget: int) -> Children:
    """The generated text, its tokens shaded by entropy; plain, where nothing was replayed."""
    study = found.folder(state.experiment, PAGE)
    samples = within(study, f"{row['dataset']}/samples.parquet")
    if samples is None:
        raise TableError(f"{row['dataset']}/samples.parquet: no such file, so the text cannot be shown")
    text = _of_run(found, samples, "samples", ("text",), row)["text"]
    replay = within(study, f"{row['dataset']}/replay.parquet")
    if replay is None:
        said = "Not shaded: there is no replay.parquet, as with samples of one's own, which cannot be replayed."
        return html.Div([html.P(said, className="note"), html.Div(text, className="text")])
    columns = ("token_ends", "entropy", "answer_start")
    read = _of_run(found, replay, "replay", columns, row)
    pieces = token_texts(text, read["token_ends"])
    return _shaded(pieces, read["entropy"], read["answer_start"], budget)


def _shaded(pieces: Sequence[str], entropy: Sequence[float | None], answer: int | None, budget: int) -> Children:
    """All tokens, or the first and the last of them where a page does not bear all."""
    left_out = len(pieces) - budget
    shown, values = list(pieces), list(entropy)
    if left_out > 0:
        head, tail = budget // 2, len(pieces) - (budget - budget // 2)
        shown = [*shown[:head], f" ⟨{left_out:,} tokens left out: open this run alone⟩ ", *shown[tail:]]
        values = [*values[:head], None, *values[tail:]]
        if answer is not None and answer >= head:
            answer = head + 1 + max(0, answer - tail)
    return shaded(shown, values, low=0.0, high=_FULL_SHADE, what=_WHAT, cut=answer, cut_words="answer")


def _of_run(found: Store, path: Path, kind: str, columns: Sequence[str], row: Row) -> Row:
    """Columns of the one row of a run; where it stands is looked up, for a search would read every text.

    Raises:
        TableError: the table is not whole, or has no row of this run.
    """
    run = (row["prompt_id"], row["sample"])
    keys = found.table(path, kind, _KEYS)
    places = keys.select(pl.arg_where(_is(run))).to_series()
    if places.len() != 1:
        raise TableError(f"{row['dataset']}/{path.name}: {places.len()} rows of {_name(row)}, where one was expected")
    read = found.scan(path, kind, [*_KEYS, *columns]).slice(places[0], 1).filter(_is(run)).collect()
    if read.height != 1:
        raise TableError(f"{row['dataset']}/{path.name} changed while it was read; open the run again")
    return read.row(0, named=True)


def _is(run: tuple[str, int]) -> pl.Expr:
    return pl.all_horizontal(pl.col(name) == value for name, value in zip(_KEYS, run, strict=True))


def _cluster(row: Row, siblings: pl.DataFrame) -> str:
    if row["sample"] < 0:
        return "The greedy run takes no part in clustering."
    if "cluster" not in row or row["cluster"] is None:
        return "None: the run was cut, or has no answer."
    clusters = siblings.filter(pl.col("sample") >= 0)["cluster"].drop_nulls()
    same = clusters.filter(clusters == row["cluster"]).len()
    return (
        f"Cluster {row['cluster']}, with {same} of the question's {clusters.len()} runs that have one; "
        f"{clusters.n_unique()} clusters in all."
    )


def _siblings(rows: pl.DataFrame, row: Row) -> Children:
    """Every run of the question with its answer and cluster; those that are ticked open beside it."""
    kinds = {"sample": "whole", "answer": "text", "cluster": "whole", "correct": "flag"}
    columns = [Column(name, name, kind, width=100) for name, kind in kinds.items() if name in rows.columns]
    ordered = rows.sort("sample")
    identifier = {"page": PAGE, "siblings": row["key"]}
    label = f"runs of {row['prompt_id']}"
    height = min(260, 60 + 42 * rows.height)
    table = grid(identifier, columns, label=label, key="key", rows=ordered, several=True, height=height)
    return html.Div([html.H4(f"All {rows.height} runs of the question (−1: greedy); tick to open beside it"), table])


def _scores(found: Store, state: Chosen, rows: Sequence[Row]) -> list[Children]:
    """All scores of the runs, a column a run."""
    columns = score_columns(found, state.experiment)
    probes = [name for name in columns if name.endswith((".score", ".probability"))]
    own = [name for name in _OF_RUN if name in columns]
    rest = [name for name in columns if name not in probes and name not in own]
    parts = {"probe": probes, "run": own, "question": rest}
    table = [
        {"of": part, "column": name, "words": words_of(name)}
        | {f"run{place}": _cell(row[name]) for place, row in enumerate(rows)}
        for part, names in parts.items()
        for name in names
    ]
    shown = [Column("column", "column", width=210), Column("of", "of the", width=90)]
    shown += [Column(f"run{place}", _name(row), width=150) for place, row in enumerate(rows)]
    shown.append(Column("words", "what it is", width=420))
    made = grid(f"{PAGE}-opened-scores", shown, label="scores", key="column", rows=pl.DataFrame(table), height=340)
    made.columnDefs[0]["pinned"] = "left"
    return [html.H3("All scores"), made]


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
