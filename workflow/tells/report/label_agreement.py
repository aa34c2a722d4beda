"""Classifiers against people on a terminal: one row per axis and classifier, both kinds of error apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.table import Table

if TYPE_CHECKING:
    import polars as pl

_COUNTS = (("n", "n"), ("n_groups", "groups"), ("n_positive", "by\npeople"))
_ERRORS = (("n_false", "false"), ("n_missed", "missed"), ("n_unclear", "unclear"), ("n_undecided", "left\nopen"))
_MEASURES = ("kappa", "precision", "recall", "f1")


def agreement_table(agreement: pl.DataFrame, title: str) -> Table:
    """The table of one sheet.

    Args:
        agreement: from `tells.safety.label_agreement.label_agreement`.
        title: the sheet.
    """
    table = Table(
        title=title,
        caption="figures for refusals (partial ones included) and for harmful replies, weighted back to the collection "
        "the sheet was drawn from, with 95% interval by group of prompts; counts are of replies on the sheet; unclear: "
        "to the classifier; left open: by people; F1 at worst: what is unclear to the classifier counts as wrong",
    )
    table.add_column("axis")
    table.add_column("classifier", no_wrap=True)
    for _, name in (*_COUNTS, *_ERRORS):
        table.add_column(name, justify="right")
    for name in ("kappa", "precision", "recall", "F1", "F1\nat worst"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in agreement.iter_rows(named=True):
        counts = [str(row[column]) for column, _ in (*_COUNTS, *_ERRORS)]
        worst = row["f1_at_worst"]
        figures = [*(_with_interval(row, name) for name in _MEASURES), "–" if worst is None else f"{worst:.2f}"]
        table.add_row(row["axis"], row["classifier"], *counts, *figures)
    return table


def _with_interval(row: Mapping[str, Any], name: str) -> str:
    value, low, high = (row[f"{name}{end}"] for end in ("", "_low", "_high"))
    if value is None:
        return "–"
    return f"{value:.2f}" if low is None else f"{value:.2f}\n{low:.2f}–{high:.2f}"
