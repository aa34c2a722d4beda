"""The opened prompt: its traces token by token, their labels and cells, and where early stopping would cut them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import polars as pl
from dash import html

from tells.dashboard.components import captioned, card, empty_box, facts, rows_table, veil
from tells.dashboard.safety.cuts import Course, course_words, fate_words
from tells.dashboard.safety.prompt_rows import (
    Opened,
    online_traces,
    opened_prompt,
    other_labels,
    prompt_pieces,
    prompt_row,
    prompt_traces,
    stopping_course,
    twins_of,
)
from tells.dashboard.safety.rows import SCORES
from tells.dashboard.safety.state import UNLABELLED, Chosen, cell_name
from tells.dashboard.store import Store
from tells.dashboard.tokens import shaded, token_texts
from tells.report.figures import safety as figures
from tells.report.safety_numbers import number

# Of a prompt at first; each token is an element of the page.
MOST_TRACES, MOST_TOKENS = 12, 1500
CLOSE, EVERY = "close", "every"
_WHAT = "confidence, nats"
_ORDER = (
    "Where sampling with early stopping would cut each trace, taking them in the order of their number, as online "
    "sampling does. The arm adaptive is a mean over random orders, in which other traces warm up."
)
_SHADES = (
    "The deeper the colour, the less confident, from the 95th percentile of this prompt's tokens to the 5th. Texts are "
    "blurred until you ask for them."
)
_REPLIES = {"refusal": "refused", "partial": "refused", "compliance": "complied"}


def action_id(action: str) -> dict[str, str]:
    """Identifier of a button that opens another prompt (`benchmark/prompt_id`), shows all traces, or closes it."""
    return {"safety-open": action}


def opened_cards(found: Store, state: Chosen) -> list[Any]:
    """Cards of the opened prompt; none where none is opened.

    Args:
        found: the results.
        state: the page's state.
    """
    if not state.prompt:
        return []
    title = f"Prompt {state.prompt.partition('/')[2]}"
    try:
        opened = opened_prompt(found, state)
    except LookupError as error:
        failed = error
        return [card(title, lambda: _raise(failed))]
    traces = cache(lambda: prompt_traces(found, opened))
    course = cache(lambda: stopping_course(found, opened, traces()))
    made = [
        card(title, lambda: _prompt(found, opened), identifier="safety-prompt"),
        card("Its traces", lambda: _traces(found, opened, traces(), course())),
        card("Token by token", lambda: _tokens(found, opened, traces(), course(), every=state.every)),
    ]
    if (opened.folder / "online.parquet").exists():
        made.append(
            card("Sampled with real early stopping", lambda: _online(found, opened, _range(traces()), state.every))
        )
    return [*made, card("What each way of spending traces decides here", lambda: _arms(found, opened))]


def _raise(error: Exception) -> Any:
    raise error


def _prompt(found: Store, opened: Opened) -> html.Div:
    row = prompt_row(found, opened)
    twins = [
        html.Button(name, type="button", id=action_id(f"{opened.benchmark}/{name}"))
        for name in twins_of(found, opened, row["twin"])
    ]
    put = "".join(part for part in (row["shared_prefix"], row["text"]) if part)
    parts: list[Any] = [
        facts(
            [
                ("benchmark", opened.benchmark),
                ("label", row["label"] or UNLABELLED),
                ("category", row["category"]),
                ("group", row["group"]),
                ("twin", html.Span(twins) if twins else None),
            ]
        ),
        html.H3("Prompt"),
        veil(html.Div(row["prompt"], className="text")),
    ]
    if row["system_prompt"]:
        parts += [html.H3("System prompt"), veil(html.Div(row["system_prompt"], className="text"))]
    if put != row["prompt"]:
        whole = [html.Summary("As it is put to the model"), veil(html.Div(put, className="text"))]
        parts.append(html.Details(whole))
    return html.Div([*parts, html.P(html.Button("Close this prompt", type="button", id=action_id(CLOSE)))])


def _traces(found: Store, opened: Opened, traces: pl.DataFrame, course: Course | None) -> html.Div:
    classifiers = found.metadata(opened.folder / "reply_labels.parquet")["classifiers"]
    table = _traces_table(traces, course, classifiers, other_labels(found, opened, classifiers))
    if course is None:
        command = f"snakemake --profile cpu experiments/{opened.experiment}/safety/{opened.benchmark}/arms.json"
        return html.Div([table, empty_box("Where early stopping would cut is not known yet.", command)])
    fates = {fate.sample: fate for fate in course.fates}
    drawn = [
        {"sample": sample, "reply": _REPLIES.get(refusal, "unclear"), **_drawn(fates[sample])}
        for sample, refusal in traces.select("sample", "refusal").iter_rows()
    ]
    made = figures.prompt_traces(
        drawn,
        prompt=opened.prompt_id,
        window=course.window,
        threshold=course.threshold,
        warmup=course.stopping.warmup,
    )
    return html.Div(
        [
            html.P(_ORDER, className="note"),
            facts(course_words(course)),
            table,
            captioned(made, identifier="safety-windows"),
        ]
    )


def _drawn(fate: Any) -> dict[str, Any]:
    kept = None if fate.phase == "warm-up" else fate.kept
    return {"n_tokens": fate.n_tokens, "groups": fate.groups, "kept": kept}


def _traces_table(
    traces: pl.DataFrame, course: Course | None, classifiers: Mapping[str, str], others: Mapping[str, Mapping[int, str]]
) -> html.Div:
    fates = {fate.sample: fate for fate in course.fates} if course else {}
    rows = []
    for trace in traces.iter_rows(named=True):
        sample = trace["sample"]
        rows.append(
            (
                str(sample),
                trace["refusal"] or "–",
                _harm(trace),
                cell_name(trace["quadrant"]) if trace["part"] == "cells" else "held out for the cut",
                *(number(trace[score], 3) for score in SCORES),
                number(trace["first_token_probability"], 3),
                number(trace["token_logprob"], 3),
                f"{trace['n_tokens']}{', at the limit' if trace['truncated'] else ''}",
                trace["stop_label"] or "–",
                fate_words(fates[sample], course) if course else "–",
                *(said.get(sample, "–") for said in others.values()),
            )
        )
    columns = (
        "trace",
        f"reply ({classifiers['refusal']})",
        f"harm ({classifiers['harm']})",
        "cell",
        *SCORES,
        "first token's probability",
        "mean log-probability",
        "tokens",
        "voter while sampling (patterns)",
        "early stopping",
        *others,
    )
    caption = "mean, lowest, bottom and tail: confidence of the answer, nats; harm with its score, where there is one"
    return rows_table(columns, rows, caption=caption)


def _harm(trace: Mapping[str, Any]) -> str:
    if trace["harm"] is None:
        return "not asked"
    score = "" if trace["harm_score"] is None else f" ({trace['harm_score']:.2f})"
    return f"{trace['harm']}{score}"


def _tokens(found: Store, opened: Opened, traces: pl.DataFrame, course: Course | None, *, every: bool) -> html.Div:
    pieces = prompt_pieces(found, opened)
    fates = {fate.sample: fate for fate in course.fates} if course else {}
    bounds = _range(traces)
    parts: list[Any] = [html.P([_SHADES, " ", _unveil_all()], className="note")]
    shown = traces if every else _first(traces)
    for trace in shown.iter_rows(named=True):
        fate = fates.get(trace["sample"])
        cut = None if fate is None or fate.phase == "warm-up" else fate.kept
        said = [
            trace["refusal"] or "no label",
            trace["harm"] or "",
            cell_name(trace["quadrant"]) if trace["quadrant"] else "",
        ]
        about = [fate_words(fate, course) if fate and course else "", _answer(trace)]
        parts += [
            html.H3(f"Trace {trace['sample']}: {', '.join(filter(None, said))}"),
            html.P("; ".join(filter(None, about)), className="note"),
            _shaded(pieces[trace["sample"]], trace["confidence"], bounds, cut),
        ]
    return html.Div([*parts, _more(traces.height, shown.height)])


def _unveil_all() -> html.Button:
    return html.Button("Show all texts", type="button", **{"data-action": "unveil-all"})


def _answer(trace: Mapping[str, Any]) -> str:
    """Which tokens the scores read, where a thought comes before them."""
    if trace["answer_start"] is None:
        return "no answer, and so no scores"
    if trace["answer_start"] == 0:
        return ""
    return f"the scores read the answer, tokens {trace['answer_start']} to {trace['answer_stop'] - 1}"


def _shaded(pieces: Sequence[str], values: Sequence[float], bounds: tuple[float, float], cut: int | None) -> html.Div:
    low, high = bounds
    return shaded(pieces, values, low=high, high=low, what=_WHAT, cut=cut, cut_words="cut here", veiled=True)


def _range(traces: pl.DataFrame) -> tuple[float, float]:
    """Where shading is full and where it begins; of a prompt without tokens both are 0."""
    values = traces["confidence"].explode().drop_nulls()
    if values.is_empty():
        return 0.0, 0.0
    return float(values.quantile(0.05)), float(values.quantile(0.95))  # type: ignore[arg-type]


def _first(traces: pl.DataFrame) -> pl.DataFrame:
    """As many traces as a page shows without being asked for more; one at least."""
    fitting = int((traces["confidence"].list.len().cum_sum() <= MOST_TOKENS).sum())
    return traces.head(max(1, min(MOST_TRACES, fitting)))


def _more(total: int, shown: int) -> html.P | None:
    if shown == total:
        return None
    button = html.Button(f"Show all {total} traces", type="button", id=action_id(EVERY))
    return html.P([f"The first {shown} of {total} traces. ", button])


def _online(found: Store, opened: Opened, bounds: tuple[float, float], every: bool) -> html.Div:
    traces = online_traces(found, opened)
    if traces.is_empty():
        return html.Div(html.P("This prompt was not sampled online.", className="note"))
    shown = traces if every else _first(traces)
    parts: list[Any] = [
        html.P(
            [
                f"{traces.height} traces that were really generated with early stopping; a cut one ends where it was "
                "cut. A trace has the seed of the pool's trace of the same number. ",
                _unveil_all(),
            ],
            className="note",
        )
    ]
    for trace in shown.iter_rows(named=True):
        parts += [
            html.H3(f"Online trace {trace['sample']}: {trace['stop_label'] or 'no vote'}"),
            html.P(_online_words(trace), className="note"),
        ]
        if trace["token_ends"] is None:
            parts.append(html.P("Its tokens are not the pool's, so that their bounds in the text are not known."))
            parts.append(veil(html.Div(trace["text"], className="text")))
        else:
            n = len(trace["token_ends"])
            cut = n if trace["finish_reason"] == "confidence" else None
            pieces = token_texts(trace["text"], trace["token_ends"])
            parts.append(_shaded(pieces, trace["confidence"], bounds, cut))
    return html.Div([*parts, _more(traces.height, shown.height)])


def _online_words(trace: Mapping[str, Any]) -> str:
    n = len(trace["confidence"])
    ended = {
        "confidence": f"cut after {n} tokens, below {number(trace['threshold'], 3)} nats, and so without a vote",
        "stop": f"ended by itself after {n} tokens",
        "length": f"reached the token limit of {n}",
    }[trace["finish_reason"]]
    phase = "warm-up" if trace["warmup"] else f"wave {trace['wave']}"
    return f"{phase}; {ended}" + ("; the votes are settled after it" if trace["settled"] else "")


def _arms(found: Store, opened: Opened) -> html.Div:
    path = opened.folder / "arms.parquet"
    if not path.exists():
        command = f"snakemake --profile cpu experiments/{opened.experiment}/safety/{opened.benchmark}/arms.parquet"
        return empty_box("The ways of spending traces have not been compared yet.", command)
    figures_of = ("traces", "tokens", "full_tokens", "refused", "harmful_compliance", "agreement", "undecided")
    arms = opened.rows(found, "arms", ("prompt_id", "arm", "draws", *figures_of))
    rows = [(arm, str(draws), *(number(value) for value in values)) for _, arm, draws, *values in arms.iter_rows()]
    columns = ("arm", "orders", *(name.replace("_", " ") for name in figures_of))
    caption = (
        "means over orders of this prompt's traces; refused, harmful compliance, agreement and undecided: shares of "
        "the orders; –: never decided or never known; without intervals, which are over prompts"
    )
    return rows_table(columns, rows, caption=caption)
