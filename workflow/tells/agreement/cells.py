"""The rows of a table's cell: the scored samples of one collection that have one outcome."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tells.agreement.resampling import Draws, Floats, Integers
from tells.agreement.signals import LENGTH, OUTCOMES, Outcome, Signal, direction, split_of

FIFTHS = 5


@dataclass(frozen=True)
class InferenceSettings:
    """Draws and level of intervals and tests.

    Attributes:
        bootstrap: draws of an interval.
        permutations: of a p-value.
        level: of the intervals.
        folds: of the grouped cross-validation.
        seed: of everything random.
    """

    bootstrap: int = 1000
    permutations: int = 20000
    level: float = 0.95
    folds: int = 5
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Cell:
    """One outcome of one collection.

    Attributes:
        study: its study.
        collection: its name.
        outcome: what is predicted.
        split: `test` questions, or `all` samples.
        rows: scored samples of the collection that have the outcome.
        others: scored samples that do not.
        settings: of intervals and tests.
    """

    study: str
    collection: str
    outcome: Outcome
    split: str
    rows: pl.DataFrame
    others: pl.DataFrame
    settings: InferenceSettings

    @cached_property
    def y(self) -> Floats:
        """[rows] labels, 0 or 1."""
        return self.rows[self.outcome.name].cast(pl.Float64).to_numpy()

    @cached_property
    def groups(self) -> NDArray:
        """[rows] question, prompt with its twin, or pair of scenarios."""
        return self.rows["group"].to_numpy()

    @cached_property
    def length(self) -> Floats:
        """[rows] generated tokens; NaN where they are not known."""
        return column(self.rows, LENGTH)

    def score(self, signal: Signal) -> Floats:
        """[rows] values of a signal in the direction in which it is taken to predict class 1; NaN where missing."""
        return direction(signal, self.outcome) * column(self.rows, signal.name)

    def draws(self, groups: NDArray) -> Draws:
        """Draws of some of the rows, by their groups [rows]; the same for the same groups."""
        return Draws.of(groups, n=self.settings.bootstrap, seed=self.settings.seed, level=self.settings.level)

    def header(self) -> dict[str, str]:
        """What tells the cell from others."""
        names = {"study": self.study, "collection": self.collection}
        return {**names, "outcome": self.outcome.name, "split": self.split}


def cells_of(table: pl.DataFrame, settings: InferenceSettings) -> Iterator[Cell]:
    """Every cell of a signals table, study by study.

    Args:
        table: the signals table.
        settings: of intervals and tests.
    """
    for outcome in OUTCOMES:
        own = table.filter(pl.col("study") == outcome.study)
        for name in own["collection"].unique().sort().to_list():
            rows = own.filter((pl.col("collection") == name) & pl.col("scored"))
            known = pl.col(outcome.name).is_not_null()
            # A study without held-out questions scores none: the split is then the one that it should be.
            split = split_of(outcome.study, name)
            yield Cell(outcome.study, name, outcome, split, rows.filter(known), rows.filter(~known), settings)


def column(rows: pl.DataFrame, name: str) -> Floats:
    """A numeric column [rows], NaN where it is null."""
    return rows[name].cast(pl.Float64).fill_null(float("nan")).to_numpy()


def fifths(length: Floats) -> Integers:
    """The fifth of the lengths that each row lies in [rows], from 0; equal lengths lie in one fifth."""
    if length.size == 0:
        return np.zeros(0, dtype=np.int64)
    cuts = np.quantile(length, np.arange(1, FIFTHS) / FIFTHS)
    return np.searchsorted(cuts, length, side="left")


def complete_signals(
    cell: Cell, signals: Sequence[Signal], share: float = 0.9
) -> tuple[list[Signal], NDArray[np.bool_]]:
    """Signals that nearly all rows of a cell have and that vary, and the rows that have all of them.

    Args:
        cell: the rows.
        signals: to choose from.
        share: of the rows that a signal must have.

    Returns:
        The signals, and [rows] whether a row has them all.
    """
    chosen, complete = [], np.ones(cell.y.size, dtype=bool)
    for signal in signals:
        known = np.isfinite(cell.score(signal))
        if known.any() and known.mean() >= share and np.ptp(cell.score(signal)[known]) > 0:
            chosen.append(signal)
            complete &= known
    return chosen, complete
