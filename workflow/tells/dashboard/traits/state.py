"""What the traits page shows, and where the files of its traits lie."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import polars as pl
from dash import html

from tells.dashboard.components import empty_box
from tells.dashboard.store import Store

PAGE = "traits"
POLES = ("positive", "negative")
# Characters of a text that a table's cell holds; the whole stands where its row is opened.
PREVIEW = 120

Section = Literal["vetting", "vectors", "steering", "texts"]
Failure = Literal["all", "kept", "left_out", "scenario", "response", "refused", "error", "partner"]
Metric = Literal["cohens_d", "hedges_g", "auc", "accuracy"]
Part = Literal["held_out", "validation", "train"]


@dataclass(frozen=True)
class Chosen:
    """What the page shows.

    Attributes:
        experiment: its name.
        trait: category/name; empty for the first.
        section: which cards are shown below the summary.
        every: the responses of all traits, not of the chosen one alone.
        pole: of the scenarios.
        failure: what failed.
        words: what a scenario or response must contain.
        metric: of the heatmap.
        part: whose rows the heatmap shows.
        method: of the cosines; empty for that of the trait's best vector.
        layer: of the cosines, from 0; empty for that of the trait's best vector.
        condition: `steered`, `prompting` or `random`, or a point of the search as `search.LAYER.METHOD.RATIO`.
        question: key of one question; empty for all.
        file: study/collection whose projections are shown; empty for the first that has some.
        vector: trait|method|layer; empty for the first of the chosen trait.
        scale: whether shading spans all texts of the file, or the opened one.
        row: the opened response, as category/name/prompt_id/sample.
        pair: the opened answer of the steering, by its row_id.
        run: the opened run of the projections, as prompt_id/sample.
        sort: columns by which the table is sorted, as `name.asc` or `name.desc`.
    """

    experiment: str = ""
    trait: str = ""
    section: Section = "vetting"
    every: bool = False
    pole: Literal["all", "positive", "negative"] = "all"
    failure: Failure = "all"
    words: str = ""
    metric: Metric = "cohens_d"
    part: Part = "held_out"
    method: str = ""
    layer: str = ""
    condition: str = "steered"
    question: str = ""
    file: str = ""
    vector: str = ""
    scale: Literal["file", "text"] = "file"
    row: str = ""
    pair: str = ""
    run: str = ""
    sort: tuple[str, ...] = ()


def traits_of(found: Store, experiment: str) -> list[str]:
    """Names of the traits that have files.

    Raises:
        LookupError: there is no such experiment with this study.
    """
    folder = found.folder(experiment, PAGE)
    places = [path for path in folder.glob("*/*") if path.is_dir() and next(path.glob("*.*"), None)]
    return sorted(f"{path.parent.name}/{path.name}" for path in places)


def with_trait(found: Store, state: Chosen) -> Chosen:
    """The state with a trait that is there: the first one where it names none, or one that is not there.

    Raises:
        LookupError: there is no such experiment, or it has no trait.
    """
    names = traits_of(found, state.experiment)
    if not names:
        raise LookupError(f"no trait of {state.experiment} has files yet")
    return state if state.trait in names else replace(state, trait=names[0])


def trait_folder(found: Store, experiment: str, trait: str) -> Path:
    """Where a trait's files lie.

    Raises:
        LookupError: there is no such trait.
    """
    if trait not in traits_of(found, experiment):
        raise LookupError(f"there is no trait {trait!r} in {experiment}")
    return found.folder(experiment, PAGE) / trait


def not_made(path: Path, root: Path, what: str) -> html.Div | None:
    """Says what makes a file that is not there; None where it is.

    Args:
        path: of the file.
        root: the folder that holds experiments/.
        what: is missing, as a sentence.
    """
    return None if path.exists() else empty_box(what, f"snakemake --profile cpu {path.relative_to(root)}")


def preview(column: str) -> pl.Expr:
    """The beginning of a text, for a table's cell."""
    text = pl.col(column)
    cut = pl.concat_str(text.str.slice(0, PREVIEW), pl.lit("…"))
    return pl.when(text.str.len_chars() > PREVIEW).then(cut).otherwise(text).alias(column)


def counted(number: int, what: str) -> str:
    """`1 response`, `2,048 responses`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def sort_model(state: Chosen) -> list[dict[str, str]]:
    """The sorting of the address as a grid tells it."""
    pairs = [one.rpartition(".") for one in state.sort]
    return [{"colId": name, "sort": way} for name, _, way in pairs if name and way in ("asc", "desc")]
