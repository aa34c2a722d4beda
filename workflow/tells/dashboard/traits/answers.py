"""Steered and unsteered answers as pairs: the same question and the same seed, with a vector and without."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from tells.dashboard.downloads import row_source
from tells.dashboard.grid import sorted_by
from tells.dashboard.store import Store
from tells.dashboard.traits.state import Chosen, sort_model, trait_folder, with_trait
from tells.dashboard.urls import from_query
from tells.tables import read_table

SOURCE = "traits-answers"
_SEARCH = "search"
_POINT = ("layer", "method", "ratio")
_REPORT = {
    "steered": "steered at the chosen point (report questions)",
    "prompting": "asked for the trait in words (report questions)",
    "random": "random vectors (report questions)",
}
# Without a vector, by file.
_PLAIN = {"report": "unsteered", "search": "reference"}
_SCORED = ("text", "trait", "trait_status", "coherence", "coherence_status", "reason")
_OWN = ("finish_reason", "n_tokens", "log_likelihood")
_ORDER = (
    *("row_id", "condition", "question_id", "question", "sample", *_POINT, "coefficient", "draw"),
    *(f"unsteered_{name}" for name in (*_SCORED, *_OWN)),
    *(_SCORED[:2]),
    "change",
    *(*_SCORED[2:], *_OWN),
)


def steering_folder(found: Store, state: Chosen) -> Path:
    """Where a trait's steered answers lie.

    Raises:
        LookupError: there is no such trait.
    """
    return trait_folder(found, state.experiment, state.trait) / "steering"


def conditions(found: Store, state: Chosen) -> dict[str, str]:
    """What answers are compared with unsteered ones, and in words: kinds of the report, then points of the search.

    Raises:
        LookupError: there is no such trait.
        TableError: a table of answers is not whole.
    """
    told = {}
    for file in ("report", _SEARCH):
        for name in _answers(found, state, file)["condition"].unique(maintain_order=True):
            told[name] = _REPORT.get(name) or _search_words(name)
    order = [*_REPORT, *sorted((name for name in told if name not in _REPORT), key=_point_of)]
    return {name: told[name] for name in order if name in told}


def _point_of(condition: str) -> tuple[str, int, float]:
    _, layer, method, ratio = condition.split(".", 3)
    return method, int(layer), float(ratio)


def _search_words(condition: str) -> str:
    method, layer, ratio = _point_of(condition)
    return f"{method}, layer {layer}, r = {ratio:g} (search questions)"


def answer_pairs(found: Store, state: Chosen) -> pl.DataFrame:
    """The answers of a condition, each beside the unsteered one to the same question with the same seed.

    Args:
        found: the results.
        state: of the page.

    Returns:
        A row an answer: `key`, and the columns of the download; without an unsteered partner its columns are null.

    Raises:
        LookupError: there is no such trait.
        TableError: a table is absent or not whole.
    """
    state = with_trait(found, state)
    file = _SEARCH if state.condition.startswith(f"{_SEARCH}.") else "report"
    rows = _answers(found, state, file).filter(pl.col("condition") == state.condition)
    return rows.filter(pl.col("question_id") == state.question) if state.question else rows


def _answers(found: Store, state: Chosen, file: str) -> pl.DataFrame:
    folder = steering_folder(found, state)
    paths = [folder / f"{file}.parquet", folder / f"{file}_scores.parquet"]
    if not all(path.exists() for path in paths):
        return pl.DataFrame(schema={"key": pl.String, **dict.fromkeys(_ORDER, pl.String)})
    return found.made_of(paths, ("answers",), lambda: _paired(paths, file))


def _paired(paths: list[Path], file: str) -> pl.DataFrame:
    """All answers with a vector or a prompt, and their partners without."""
    columns = ["row_id", "kind", "question_id", "question", "sample", *_POINT, "coefficient", "draw", "text", *_OWN]
    answers = read_table(paths[0], file, columns)
    scores = read_table(paths[1], f"{file}_scores")
    rows = answers.join(scores.drop("resolution"), on="row_id", how="left", maintain_order="left")
    plain = rows.filter(pl.col("kind") == _PLAIN[file])
    plain = plain.select("question_id", "sample", pl.col(*_SCORED, *_OWN).name.prefix("unsteered_"))
    rows = rows.filter(pl.col("kind") != _PLAIN[file])
    rows = rows.join(plain, on=["question_id", "sample"], how="left", maintain_order="left")
    point = pl.format(f"{_SEARCH}.{{}}.{{}}.{{}}", "layer", "method", "ratio")
    named = point if file == _SEARCH else pl.col("kind")
    return rows.with_columns(
        condition=named, change=pl.col("trait") - pl.col("unsteered_trait"), key=pl.col("row_id")
    ).select("key", *_ORDER)


@row_source(SOURCE)
def _download(found: Store, query: Mapping[str, str]) -> pl.DataFrame:
    state = from_query(Chosen, query)
    return sorted_by(answer_pairs(found, state), sort_model(state)).drop("key")


def opened_answers(found: Store, state: Chosen) -> list[dict[str, Any]]:
    """The opened answer, or the first of a table without it, and the other answers to its question and sample.

    Args:
        found: the results.
        state: of the page.

    Returns:
        The opened one first; then the answers of the report's other conditions but random ones. Empty where there is
        no answer.

    Raises:
        LookupError: there is no such trait.
        TableError: a table is absent or not whole.
    """
    rows = sorted_by(answer_pairs(found, state), sort_model(state))
    if rows.is_empty():
        return []
    own = pl.concat([rows.filter(pl.col("key") == state.pair), rows.head(1)]).row(0, named=True)
    others = _answers(found, with_trait(found, state), "report").filter(
        pl.col("question_id") == own["question_id"],
        pl.col("sample") == own["sample"],
        ~pl.col("condition").is_in(["random", own["condition"]]),
    )
    return [own, *others.iter_rows(named=True)]
