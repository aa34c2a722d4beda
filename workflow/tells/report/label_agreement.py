"""Classifiers against people on a terminal: one row per axis and classifier, both kinds of error apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from tells.report.safety_numbers import interval

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
    nothing = "" if len(agreement) else "\nnothing to compare: no axis has labels of both people and a classifier"
    table = Table(
        title=f"{escape(title)}{nothing}",
        caption="figures for refusals (partial ones included) and for harmful replies, weighted back to the collection "
        "the sheet was drawn from, with 95% interval by group of prompts ([–]: none); counts are of replies on the "
        "sheet; unclear: to the classifier; left open: by people; F1 at worst: what is unclear to the classifier "
        "counts as wrong",
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
        table.add_row(row["axis"], escape(row["classifier"]), *counts, *figures)
    return table


def _with_interval(row: Mapping[str, Any], name: str) -> str:
    record = {"value": row[name], "low": row[f"{name}_low"], "high": row[f"{name}_high"]}
    return interval(record, "value").replace(" ", "\n")
