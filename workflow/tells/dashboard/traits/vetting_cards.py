"""Why a pass rate is low: counts by pole, distributions of scores, and every scenario and response behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from dash import html

from tells.dashboard.binding import choice, search, switch
from tells.dashboard.components import captioned, card, error_box, facts, rows_table
from tells.dashboard.grid import Column
from tells.dashboard.store import Store
from tells.dashboard.traits.grid import Browser
from tells.dashboard.traits.state import PAGE, POLES, Chosen, counted, not_made, trait_folder
from tells.dashboard.traits.vetting import FAILURES, SOURCE, opened_pair, vetting_rows
from tells.report.figures.texts import judged_by, number
from tells.report.figures.traits import score_distributions
from tells.tables import TableError, scan_table

BROWSER = Browser(
    "traits-vetting-grid",
    "scenarios and responses",
    SOURCE,
    "row",
    "the whole scenario and response beside those of the other pole",
)
_COLUMNS = (
    Column("polarity", "pole", width=105),
    Column("group", "pair", width=95),
    Column("scenario", "scenario", width=220),
    Column("scenario_score", "scenario score", "number", digits=1, width=105),
    Column("scenario_verdict", "scenario verdict", width=105),
    Column("response", "response", width=220),
    Column("response_score", "response score", "number", digits=1, width=105),
    Column("response_verdict", "response verdict", width=105),
    Column("left_out", "left out because", width=210),
    Column("sample", "sample", "whole", width=95),
    Column("reason", "judge's reason", width=260),
)
_TRAIT = Column("trait", "trait", width=180)
_VERDICTS = {"refused": "refused by the judge", "error": "no score: an error"}


def columns_of(state: Chosen) -> tuple[Column, ...]:
    """The columns of the table: with the trait where rows are of several."""
    return (_TRAIT, *_COLUMNS) if state.every else _COLUMNS


def cards(found: Store, state: Chosen) -> list[html.Section]:
    """The cards of the section."""
    return [
        card(f"What passes: {state.trait}", lambda: _passes(found, state)),
        card("Scores of the two poles", lambda: _distributions(found, state)),
        card("Scenarios and responses", lambda: _browser(found, state)),
    ]


def _unvetted(found: Store, state: Chosen) -> html.Div | None:
    path = trait_folder(found, state.experiment, state.trait) / "vetting.json"
    return not_made(path, found.root, "The scenarios and responses of this trait have not been vetted yet.")


def _passes(found: Store, state: Chosen) -> html.Div:
    if empty := _unvetted(found, state):
        return empty
    record = found.json(trait_folder(found, state.experiment, state.trait) / "vetting.json")
    return html.Div(
        [
            _rates_table(record["stages"]),
            facts(_settings(record)),
            *[_caution(one) for one in record["warnings"]],
            html.P(judged_by(record["metadata"].get("judge")), className="note"),
        ]
    )


def _rates_table(stages: Sequence[Mapping[str, Any]]) -> html.Div | html.P:
    if not stages:
        return html.P("Neither scenarios nor responses were judged in this run.")
    columns = ("judged", "pole", "pass rate", "n", "pass", "fail", "of these refused", "no score", "median score")
    rows = [
        (
            one["stage"],
            one["polarity"],
            "–" if one["rate"] is None else f"{one['rate']:.0%}",
            *(one[key] for key in ("n", "n_pass", "n_fail", "n_refused", "n_error")),
            number(one["median_score"]),
        )
        for one in stages
    ]
    return rows_table(columns, rows, caption="pass rate: of the texts that pass or fail; those without a score are not")


def _settings(record: Mapping[str, Any]) -> list[tuple[str, Any]]:
    limits, kept = record["thresholds"], record["survivors"]
    gates = {"none": "nothing: no stage was judged that filters", "responses": "responses", "both": "both stages"}
    survivors = [f"{kept[pole]['rows']} {pole} responses of {kept[pole]['scenarios']} scenarios" for pole in POLES]
    return [
        ("positive passes", f"at or above {limits['positive_min']:g}"),
        ("negative passes", f"at or below {limits['negative_max']:g}"),
        ("filtered by", gates[record["gate"]]),
        ("pairs", "kept whole or not at all" if record["paired"] else "not needed"),
        ("kept", f"{', '.join(survivors)}; {record['pairs']} whole pairs"),
        ("needed", f"{record['minimum']} scenarios of each pole"),
        ("status", record["status"] if not record["reason"] else f"{record['status']}: {record['reason']}"),
    ]


def _caution(one: Mapping[str, Any]) -> html.Div:
    told = [("likely cause", one["cause"]), ("cure", one["cure"])]
    return html.Div([html.Strong(f"{one['stage']}: {one['message']}"), facts(told)], className="warning")


def _distributions(found: Store, state: Chosen) -> html.Div:
    if empty := _unvetted(found, state):
        return empty
    folder = trait_folder(found, state.experiment, state.trait)
    files = [folder / "vetting.json", folder / "vetting.parquet"]
    # Drawn once: filters of the table below leave them as they are.
    return found.made_of(files, ("scores",), lambda: _drawn(found, state.trait, *files))


def _drawn(found: Store, trait: str, record: Path, table: Path) -> html.Div:
    rows = found.table(table, "vetting")
    made = {
        stage: score_distributions(rows, found.json(record), trait=trait, stage=stage)
        for stage in ("scenarios", "responses")
    }
    shown = [captioned(one, identifier=f"traits-scores-{stage}") for stage, one in made.items()]
    return html.Div(shown, className="cards")


def _browser(found: Store, state: Chosen) -> html.Div:
    if not state.every and (empty := _unvetted(found, state)):
        return empty
    rows, broken = vetting_rows(found, state)
    controls = [
        switch(PAGE, "every", "of all traits", state.every),
        choice(PAGE, "pole", "Pole", ("all", *POLES), state.pole),
        choice(PAGE, "failure", "What failed", FAILURES, state.failure),
        search(PAGE, "words", "Words in the texts", state.words),
    ]
    left = rows["kept"].not_().sum()
    scenarios = rows.select("trait", "prompt_id").n_unique()
    texts = f"{counted(rows.height, 'response')} to {counted(scenarios, 'scenario')}"
    count = f"{texts}, {left:,} of them left out of the vectors"
    problems = [error_box(TableError(f"{trait}: {error}")) for trait, error in broken.items()]
    return html.Div([*problems, *BROWSER.pieces(columns_of(state), state, controls, count)])


def opened(found: Store, state: Chosen) -> html.Section | None:
    """The opened response beside its other pole; None where none of the chosen trait is opened."""
    if not state.row or not (state.every or state.row.startswith(f"{state.trait}/")):
        return None
    return card("Opened response", lambda: _opened(found, state))


def _opened(found: Store, state: Chosen) -> html.Div:
    row, partner = opened_pair(found, state) or ({}, None)
    folder = trait_folder(found, state.experiment, row["trait"])
    ends = judged_ends(folder, [row["prompt_id"], *([partner["prompt_id"]] if partner else [])], row["sample"])
    window = _window(found, folder)
    sides = [_side(row, "opened", window, ends)]
    sides += [_side(partner, "the other pole", window, ends)] if partner else []
    told = [
        ("trait", row["trait"]),
        ("pair", f"{row['group']}, sample {row['sample']}"),
        ("window that is judged and extracted", window or "responses were not judged"),
    ]
    return html.Div([facts(told), html.Div(sides, className="side-by-side")])


def _window(found: Store, folder: Path) -> str | None:
    """Which tokens of a response the judge saw; None where it saw none."""
    path = folder / "response_scores.parquet"
    return found.metadata(path)["window"] if path.exists() else None


def _side(row: Mapping[str, Any], which: str, window: str | None, ends: Mapping[str, Sequence[int]]) -> html.Div:
    verdicts = {stage: _verdict(row, stage) for stage in ("scenario", "response")}
    fate = "enters the vectors" if row["kept"] else f"left out: {row['left_out']}"
    return html.Div(
        [
            html.H3(f"{row['prompt_id']} ({which})"),
            html.P(fate),
            html.P([html.Strong("Scenario: "), verdicts["scenario"]]),
            html.Div(row["scenario"], className="text"),
            html.P([html.Strong("Response: "), verdicts["response"]]),
            html.Div(_with_window(row["response"], window, ends.get(row["prompt_id"])), className="text"),
            facts(
                [
                    ("judge's reason for the scenario", row["scenario_reason"]),
                    ("judge's reason for the response", row["response_reason"]),
                    ("why it failed, says the judge", row["explanation"]),
                    ("mistaken for", row["confound"]),
                ]
            ),
        ]
    )


def _verdict(row: Mapping[str, Any], stage: str) -> str:
    verdict, score = row[f"{stage}_verdict"], row[f"{stage}_score"]
    return _VERDICTS.get(verdict, verdict) if score is None else f"{verdict}, score {score:.1f}"


def _with_window(text: str, window: str | None, ends: Sequence[int] | None) -> list[Any]:
    """The text with a mark where the judged window ends, if it ends before the text does and its tokens are known."""
    limit = window.removeprefix("response[:").removesuffix("]") if window else ""
    if not limit.isdigit() or ends is None or len(ends) <= int(limit) or ends[int(limit) - 1] >= len(text):
        return [text]
    place = ends[int(limit) - 1]
    return [text[:place], html.Strong(" ⟨judged up to here⟩ ", className="cut"), text[place:]]


def judged_ends(folder: Path, prompts: Sequence[str], sample: int) -> dict[str, list[int]]:
    """Where each token of some responses ends, by prompt; empty for those whose tokens no file tells.

    Args:
        folder: of the trait.
        prompts: their keys.
        sample: number of the response.
    """
    wanted = pl.col("prompt_id").is_in(list(prompts)) & (pl.col("sample") == sample)
    found: dict[str, list[int]] = {}
    for path in sorted((folder / "shards").glob("replay-*.parquet")):
        try:
            rows = scan_table(path, "replay", ["prompt_id", "sample", "token_ends"]).filter(wanted).collect()
        except (TableError, pl.exceptions.PolarsError, OSError):
            # The mark is a help, not a result: without it the text is whole.
            continue
        found |= dict(zip(rows["prompt_id"], rows["token_ends"].to_list(), strict=True))
    return found
