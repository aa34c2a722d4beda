"""The trait folders of a workflow, read together so that all their problems are told at once."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

import polars as pl

from tells.config import TRAITS_FOLDER, ConfigError, Problem
from tells.judge import EMPTY_TEXT, Rubric
from tells.judge.unanswered import note_errors, unanswered_runs
from tells.traits.scenarios import TraitDefinition, load_trait

__all__ = ["load_traits", "note_unanswered", "read_rubric", "rubric_digest", "unanswered_runs"]


def load_traits(root: Path, names: Iterable[str]) -> dict[str, TraitDefinition]:
    """Traits by name.

    Raises:
        ConfigError: every problem of every folder.
    """
    traits: dict[str, TraitDefinition] = {}
    problems: list[Problem] = []
    for name in dict.fromkeys(names):
        try:
            traits[name] = load_trait(root / TRAITS_FOLDER / name)
        except ConfigError as error:
            problems += [Problem(os.path.relpath(one.file, root), one.key, one.message) for one in error.problems]
    if problems:
        raise ConfigError(problems)
    return traits


def read_rubric(root: Path, name: str) -> Rubric:
    """What a judge is told of a trait."""
    return load_trait(root / TRAITS_FOLDER / name).as_rubric()


def rubric_digest(rubric: Rubric, *, offline: bool) -> str:
    """Short hash of what a judge is told: an edit of anything else in a definition asks nobody again.

    Args:
        rubric: the trait's.
        offline: the offline judge reads the exemplars, a judge that is asked the rubric.
    """
    read = (rubric.high, rubric.low) if offline else (rubric.name, rubric.rubric)
    return hashlib.sha256(repr(read).encode()).hexdigest()[:16]


def note_unanswered(scores: str | Path, table: pl.DataFrame) -> int:
    """Note beside a table of scores that a service left items of it unanswered, so that the next run asks again.

    Where as many are left as the run before left nothing new is noted: then the next run lets them be. A refusal is
    an answer.

    Args:
        scores: the table's file.
        table: the table.

    Returns:
        How many items have no answer.
    """
    columns = [name for name in table.columns if name.endswith("status")]
    # What is empty was not asked about, and will not be.
    asked = table.filter(pl.col("reason").ne_missing(EMPTY_TEXT))
    errors = int(asked.select(pl.any_horizontal(pl.col(columns) == "error").sum()).item())
    note_errors(scores, errors)
    return errors
