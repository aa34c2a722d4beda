"""The runs of a collection along a trait's vector: what `tells project` wrote, beside the texts it was written for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from tells.config import STUDIES
from tells.dashboard.downloads import row_source
from tells.dashboard.grid import sorted_by
from tells.dashboard.store import Store
from tells.dashboard.traits.state import Chosen, preview, sort_model, with_trait
from tells.dashboard.urls import from_query
from tells.tables import scan_table

SOURCE = "traits-runs"
_FILE = "projections.parquet"
_RUN = ["prompt_id", "sample"]
_VECTOR = ["trait", "method", "layer"]
# Shading spans these quantiles of a file's tokens: a few tokens of very large states would leave no shade to others.
QUANTILES = (0.01, 0.99)


@dataclass(frozen=True)
class Vector:
    """A vector that texts were projected on."""

    trait: str
    method: str
    layer: int

    @property
    def key(self) -> str:
        """As the address has it."""
        return f"{self.trait}|{self.method}|{self.layer}"

    @property
    def words(self) -> str:
        """As a reader has it."""
        return f"{self.trait}: {self.method}, layer {self.layer}"


def projected(found: Store, experiment: str) -> dict[str, Path]:
    """The collections that have projections, as study/collection, and their folders.

    Raises:
        LookupError: there is no such experiment.
    """
    return {_name(found, experiment, path): path for path in _with(found, experiment, _FILE)}


def sampled(found: Store, experiment: str) -> list[str]:
    """The collections whose samples could be projected, as study/collection.

    Raises:
        LookupError: there is no such experiment.
    """
    return [_name(found, experiment, path) for path in _with(found, experiment, "samples.parquet")]


def _with(found: Store, experiment: str, file: str) -> list[Path]:
    """Folders of collections that have a file; a trait's lies two steps below its study, as its name has two parts."""
    studies = [found.folder(experiment, study) for study in STUDIES]
    return [path.parent for study in studies for step in ("*", "*/*") for path in sorted(study.glob(f"{step}/{file}"))]


def _name(found: Store, experiment: str, folder: Path) -> str:
    return folder.relative_to(found.root / "experiments" / experiment).as_posix()


def vectors_of(found: Store, folder: Path) -> list[Vector]:
    """The vectors of a file of projections.

    Raises:
        TableError: it is not whole.
    """
    rows = found.table(folder / _FILE, "projections", [*_RUN, *_VECTOR, "mean"])
    return [Vector(*row) for row in rows.select(_VECTOR).unique(maintain_order=True).sort(_VECTOR).iter_rows()]


def chosen_place(found: Store, state: Chosen) -> tuple[str, Path]:
    """The collection that is shown: the chosen one, or the first.

    Raises:
        LookupError: the address names one without projections, or there are none at all.
    """
    places = projected(found, state.experiment)
    name = state.file or next(iter(places), "")
    if name not in places:
        raise LookupError(f"{name or state.experiment} has no projections")
    return name, places[name]


def chosen_vector(state: Chosen, vectors: list[Vector]) -> Vector:
    """The vector that is shown: the chosen one, else the first of the chosen trait, else the first.

    Raises:
        LookupError: the address names a vector that the file has not.
    """
    by_key = {one.key: one for one in vectors}
    if state.vector:
        if state.vector not in by_key:
            raise LookupError(f"this file has no projections on {state.vector!r}: choose another vector")
        return by_key[state.vector]
    return next((one for one in vectors if one.trait == state.trait), vectors[0])


def run_rows(found: Store, state: Chosen) -> pl.DataFrame:
    """The runs of the chosen file on the chosen vector, with the beginnings of their texts.

    Raises:
        LookupError: there is no such file or vector.
        TableError: it is not whole, or the samples beside it are not.
    """
    state = with_trait(found, state)
    _, folder = chosen_place(found, state)
    vector = chosen_vector(state, vectors_of(found, folder))
    return found.made_of(
        [folder / _FILE, folder / "samples.parquet"], ("runs", vector.key), lambda: _runs(found, folder, vector)
    )


def _runs(found: Store, folder: Path, vector: Vector) -> pl.DataFrame:
    rows = found.table(folder / _FILE, "projections", [*_RUN, *_VECTOR, "mean"]).filter(_on(vector))
    texts = scan_table(folder / "samples.parquet", "samples", [*_RUN, "text"]).with_columns(preview("text")).collect()
    rows = rows.join(texts, on=_RUN, how="left", maintain_order="left")
    return rows.select(pl.format("{}/{}", *_RUN).alias("key"), *_RUN, *_VECTOR, "mean", "text")


def _on(vector: Vector) -> pl.Expr:
    return pl.all_horizontal(pl.col(name) == getattr(vector, name) for name in _VECTOR)


@row_source(SOURCE)
def _download(found: Store, query: Mapping[str, str]) -> pl.DataFrame:
    """The rows shown, in the order shown, with whole texts and the projections of their tokens."""
    state = with_trait(found, from_query(Chosen, query))
    _, folder = chosen_place(found, state)
    rows = sorted_by(run_rows(found, state), sort_model(state)).drop("key", "text")
    vector = chosen_vector(state, vectors_of(found, folder))
    tokens = scan_table(folder / _FILE, "projections").filter(_on(vector)).select(*_RUN, "token_ends", "projection")
    texts = scan_table(folder / "samples.parquet", "samples", [*_RUN, "text"])
    for more in (tokens, texts):
        rows = rows.join(more.collect(), on=_RUN, how="left", maintain_order="left")
    return rows


def opened_run(found: Store, state: Chosen) -> dict[str, Any] | None:
    """The opened run, or the first of a table without it, with text, prompt and tokens; None where there is none.

    Raises:
        LookupError: there is no such file or vector.
        TableError: a file is absent or not whole.
    """
    rows = sorted_by(run_rows(found, state), sort_model(state))
    if rows.is_empty():
        return None
    row = pl.concat([rows.filter(pl.col("key") == state.run), rows.head(1)]).row(0, named=True)
    state = with_trait(found, state)
    _, folder = chosen_place(found, state)
    same = [pl.col(name) == row[name] for name in _RUN]
    vector = Vector(*(row[name] for name in _VECTOR))
    tokens = scan_table(folder / _FILE, "projections").filter(_on(vector), *same)
    text = scan_table(folder / "samples.parquet", "samples", [*_RUN, "text"]).filter(*same)
    prompt = scan_table(folder / "prompts.parquet", "prompts", ["prompt_id", "text"]).filter(same[0])
    return {
        **row,
        **tokens.select("token_ends", "projection").collect().row(0, named=True),
        "text": _only(text.collect()),
        "prompt": _only(prompt.collect()),
    }


def _only(rows: pl.DataFrame) -> str | None:
    return None if rows.is_empty() else rows["text"][0]


def token_range(found: Store, state: Chosen) -> tuple[float, float] | None:
    """Between which projections the tokens of the chosen file and vector lie, but for `QUANTILES` of them at each end.

    Raises:
        LookupError: there is no such file or vector.
        TableError: it is not whole.
    """
    state = with_trait(found, state)
    _, folder = chosen_place(found, state)
    vector = chosen_vector(state, vectors_of(found, folder))

    def measure() -> tuple[float, float] | None:
        rows = scan_table(folder / _FILE, "projections").filter(_on(vector)).select("projection").collect()
        values = rows["projection"].explode(empty_as_null=False).drop_nulls()
        low, high = (values.quantile(share) for share in QUANTILES)
        return None if low is None or high is None else (low, high)

    return found.made_of([folder / _FILE], ("token range", vector.key), measure)
