"""What steering does: growing vectors in the search, the chosen point in the report, and the answers themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from dash import html

from tells.dashboard.binding import choice
from tells.dashboard.components import captioned, card, empty_box, facts
from tells.dashboard.grid import Column
from tells.dashboard.store import Store
from tells.dashboard.traits.answers import SOURCE, answer_pairs, conditions, opened_answers, steering_folder
from tells.dashboard.traits.grid import Browser
from tells.dashboard.traits.state import PAGE, Chosen, counted, trait_folder
from tells.report.figures.steering import coefficient_curves, steering_report
from tells.report.figures.texts import judged_by, number

BROWSER = Browser(
    "traits-answers-grid",
    "answers",
    SOURCE,
    "pair",
    "the answer beside the unsteered one and those of other conditions",
)
COLUMNS = (
    Column("question", "question", width=190),
    Column("unsteered_text", "unsteered answer", width=230),
    Column("text", "answer", width=230),
    Column("unsteered_trait", "trait, unsteered", "number", digits=1, width=110),
    Column("trait", "trait", "number", digits=1, width=80),
    Column("change", "change", "number", digits=1, width=95),
    Column("unsteered_coherence", "coherence, unsteered", "number", digits=1, width=115),
    Column("coherence", "coherence", "number", digits=1, width=115),
    Column("sample", "sample", "whole", width=95),
    Column("draw", "random vector", "whole", width=95),
    Column("reason", "judge's reason", width=220),
)
_NAMES = {
    "steered": "steered at the chosen point",
    "prompting": "asked for the trait in words",
    "random": "random vector",
}


def cards(found: Store, state: Chosen) -> list[html.Section]:
    """The cards of the section."""
    title = f"Growing vectors: {state.trait}"
    if not steering_folder(found, state).is_dir():
        return [card(f"Steering: {state.trait}", lambda: _not_steered(found, state))]
    return [
        card(title, lambda: _curves(found, state)),
        card("Effect of the chosen point", lambda: _report(found, state)),
        card("Answers, steered and not", lambda: _browser(found, state)),
    ]


def _not_steered(found: Store, state: Chosen) -> html.Div:
    """Why there is nothing, in the words of the trait's summary, and what would make it."""
    path = trait_folder(found, state.experiment, state.trait) / "summary.json"
    why = "It has not been summarised yet."
    if path.exists():
        record = found.json(path)
        why = f"It ended as {record['status']!r}{': ' + record['reason'] if record['reason'] else ''}."
    what = f"The trait {state.trait} was not steered in this run. {why} Which traits are steered stands in the "
    line = f"snakemake --profile cpu steering --config experiments={state.experiment}"
    return empty_box(f"{what}experiment's definition under traits: steer.", line)


def _curves(found: Store, state: Chosen) -> html.Div:
    folder = steering_folder(found, state)
    if not (folder / "choice.json").exists():
        return _unfinished(state, "The answers of the search have not been judged yet.")
    limits, note = _limits(found, state)
    made = coefficient_curves(
        found.table(folder / "search.parquet", "search"),
        found.table(folder / "search_scores.parquet", "search_scores"),
        found.json(folder / "choice.json"),
        trait=state.trait,
        **limits,
    )
    return html.Div([captioned(made, identifier="traits-curves"), html.P(note, className="note")])


def _limits(found: Store, state: Chosen) -> tuple[dict[str, float | None], str]:
    """What a valid point needs, which stands in the definition alone, and where it was read."""
    definition = found.definitions()[0].get(state.experiment)
    steer = definition.traits.steer if definition and definition.traits else None
    if steer is None:
        return {}, "The coherence floor is not drawn: the experiment's definition is not here."
    limits = {"min_coherence": steer.min_coherence, "max_drop": steer.max_drop}
    return limits, "The coherence floor follows the experiment's definition as it stands now."


def _unfinished(state: Chosen, what: str) -> html.Div:
    return empty_box(what, f"snakemake --profile cpu steering --config experiments={state.experiment}")


def _report(found: Store, state: Chosen) -> html.Div:
    path = trait_folder(found, state.experiment, state.trait) / "summary.json"
    if not path.exists():
        return _unfinished(state, "The report questions have not been answered and judged yet.")
    judge = found.json(steering_folder(found, state) / "choice.json")["metadata"].get("judge")
    return html.Div(captioned(steering_report(found.json(path), judge=judge), identifier="traits-steering"))


def _browser(found: Store, state: Chosen) -> html.Div:
    known = conditions(found, state)
    if not known:
        return _unfinished(state, "No steered answer has been judged yet.")
    if state.condition not in known:
        known = {state.condition: f"{state.condition}: no answers in this run", **known}
    rows = answer_pairs(found, state)
    asked = (
        answer_pairs(found, replace(state, question="")).select("question_id", "question").unique(maintain_order=True)
    )
    questions = dict(zip(asked["question_id"], asked["question"], strict=True))
    controls = [
        choice(PAGE, "condition", "Answers", known, state.condition),
        choice(PAGE, "question", "Question", questions, state.question, none="all"),
    ]
    count = f"{counted(rows.height, 'answer')} to {counted(rows['question_id'].n_unique(), 'question')}"
    return html.Div(
        [
            *BROWSER.pieces(COLUMNS, state, controls, count),
            html.P(
                f"Scores from 0 to 100, one answer each, without intervals; change: trait score less that of the "
                f"unsteered answer to the same question with the same seed. {judged_by(_judge(found, state))}.",
                className="note",
            ),
        ]
    )


def _judge(found: Store, state: Chosen) -> Mapping[str, Any] | None:
    file = "search" if state.condition.startswith("search.") else "report"
    return found.metadata(steering_folder(found, state) / f"{file}_scores.parquet").get("judge")


def opened(found: Store, state: Chosen) -> html.Section | None:
    """The opened answers side by side; None where the trait has none."""
    if not steering_folder(found, state).is_dir():
        return None
    return card("Side by side", lambda: _opened(found, state))


def _opened(found: Store, state: Chosen) -> html.Div:
    answers = opened_answers(found, state)
    if not answers:
        return html.Div(html.P("There is no answer with these filters."))
    first = answers[0]
    which = "the opened row" if state.pair == first["key"] else "the first row of the table"
    sides = [_side("unsteered", first, "unsteered_")]
    sides += [_side(f"{_name(one)}{f' ({which})' if one is first else ''}", one, "") for one in answers]
    told = [("question", first["question"]), ("answer", f"sample {first['sample']}: all with the same seed")]
    return html.Div([facts(told), html.Div(sides, className="side-by-side")])


def _name(row: Mapping[str, Any]) -> str:
    if row["method"] is None:
        return _NAMES.get(row["condition"], row["condition"])
    point = f"{row['method']}, layer {row['layer']}, r = {row['ratio']:g}"
    if row["condition"] == "random":
        point = f"number {row['draw']}, layer {row['layer']}, r = {row['ratio']:g}"
    return f"{_NAMES.get(row['condition'], 'steered in the search')}: {point}"


def _side(name: str, row: Mapping[str, Any], prefix: str) -> html.Div:
    own = {key.removeprefix(prefix): value for key, value in row.items() if key.startswith(prefix)}
    if own["text"] is None:
        return html.Div([html.H3(name), html.P("There is no answer to this question with this seed.")])
    return html.Div(
        [
            html.H3(name),
            html.Div(own["text"], className="text"),
            facts(
                [
                    ("trait", _score(own, "trait")),
                    ("coherence", _score(own, "coherence")),
                    ("judge's reason", own["reason"]),
                    ("tokens", f"{own['n_tokens']}, ended by {own['finish_reason']}"),
                    ("log-likelihood", f"{number(own['log_likelihood'], 2)} nats a token, under the unsteered model"),
                ]
            ),
        ]
    )


def _score(row: Mapping[str, Any], which: str) -> str:
    value, status = row[which], row[f"{which}_status"]
    return f"{value:.1f}" if value is not None else f"none: {status or 'not judged'}"
