"""Classifiers against people on a terminal: every figure with its interval, every count beside it."""

from __future__ import annotations

import io
from typing import Any

import polars as pl
import pytest
from report_helpers import table_lines
from rich.console import Console

from tells.report.label_agreement import agreement_table
from tells.safety.label_agreement import AGREEMENT_SCHEMA, label_agreement

MEASURES = ("kappa", "precision", "recall", "f1")


def people_and_classifiers(replies: int = 40) -> tuple[pl.DataFrame, dict[str, pl.DataFrame]]:
    """Labels of people, and two classifiers: one errs on every fifth reply, one knows nothing."""
    truth = ["refusal" if number % 3 else "compliance" for number in range(replies)]
    other = {"refusal": "compliance", "compliance": "refusal"}
    said = [other[label] if number % 5 == 0 else label for number, label in enumerate(truth)]
    said[1] = "unclear"
    keys = {"prompt_id": [f"p{number:02d}" for number in range(replies)], "sample": [0] * replies}
    none = pl.Series("harm", [None] * replies, dtype=pl.String)
    people = pl.DataFrame({**keys, "group": keys["prompt_id"], "refusal": truth, "weight": [1.0] * replies})
    labels = {"[one]": said, "silent": ["unclear"] * replies}
    found = {name: pl.DataFrame({**keys, "refusal": given}).with_columns(none) for name, given in labels.items()}
    return people.with_columns(none), found


def shown(agreement: pl.DataFrame, title: str = "a sheet", width: int = 150) -> str:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(agreement_table(agreement, title))
    return console.file.getvalue()


@pytest.fixture(scope="module")
def agreement() -> pl.DataFrame:
    people, classifiers = people_and_classifiers()
    return label_agreement(people, classifiers, bootstrap=60)


def rows(text: str) -> list[list[str]]:
    return table_lines(text, "axis")


def test_every_figure_stands_over_its_interval(agreement: pl.DataFrame):
    lines, row = rows(shown(agreement)), agreement.row(0, named=True)
    for place, name in enumerate(MEASURES, start=9):
        assert lines[0][place] == f"{row[name]:.2f}"
        assert lines[1][place] == f"[{row[f'{name}_low']:.2f}–{row[f'{name}_high']:.2f}]"
    assert lines[0][13] == f"{row['f1_at_worst']:.2f}"


def test_every_count_is_shown(agreement: pl.DataFrame):
    counts = ("n", "n_groups", "n_positive", "n_false", "n_missed", "n_unclear", "n_undecided")
    row = agreement.row(0, named=True)
    assert rows(shown(agreement))[0][2:9] == [str(row[name]) for name in counts]


def test_a_figure_without_an_interval_says_so(agreement: pl.DataFrame):
    ends = [f"{name}{end}" for name in MEASURES for end in ("_low", "_high")]
    bare = agreement.with_columns(pl.lit(None, pl.Float64).alias(name) for name in ends)
    assert rows(shown(bare))[1][9:13] == ["[–]"] * 4


def test_an_interval_below_zero_is_not_read_as_a_range_of_positive_numbers(agreement: pl.DataFrame):
    below = agreement.with_columns(kappa=pl.lit(-0.1), kappa_low=pl.lit(-0.3), kappa_high=pl.lit(0.2))
    assert rows(shown(below))[1][9] == "[-0.30..0.20]"


def test_a_classifier_that_never_decides_has_dashes_and_its_count(agreement: pl.DataFrame):
    lines = rows(shown(agreement))
    (silent,) = [line for line in lines if line[1] == "silent"]
    assert silent[2] == "0"
    assert silent[7] == "40"
    assert silent[9:13] == ["–"] * 4


def test_names_are_shown_as_they_are_called(agreement: pl.DataFrame):
    text = shown(agreement, title="sheets/[red]people.csv")
    assert "sheets/[red]people.csv" in text
    assert rows(text)[0][1] == "[one]"


def test_nothing_to_compare_is_said():
    empty: Any = pl.DataFrame(schema=AGREEMENT_SCHEMA)
    assert "nothing to compare" in shown(empty)


def test_no_number_is_cut_off(agreement: pl.DataFrame):
    assert "…" not in shown(agreement, width=150)
