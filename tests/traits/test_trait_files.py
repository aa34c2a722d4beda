"""Trait folders read together: every problem of every folder at once."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from tells.config import ConfigError
from tells.judge import EMPTY_TEXT, Rubric
from tells.traits.files import load_traits, note_unanswered, rubric_digest, unanswered_runs

ROOT = Path(__file__).parents[2]
NAMES = ["epistemic/optimism", "behavioral/formality"]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "config/traits", tmp_path / "config/traits")
    return tmp_path


def test_traits_come_by_name_in_the_order_asked_and_once(place: Path):
    found = load_traits(place, [*NAMES, NAMES[0]])
    assert list(found) == NAMES
    assert all(trait.name == name for name, trait in found.items())


def test_no_names_are_no_traits(place: Path):
    assert load_traits(place, []) == {}


def test_the_problems_of_all_folders_are_told_at_once(place: Path):
    for name in NAMES:
        (place / "config/traits" / name / "questions.yaml").unlink()
    (place / "config/traits" / NAMES[0] / "positive.txt").write_text("")
    with pytest.raises(ConfigError) as caught:
        load_traits(place, [*NAMES, "epistemic/gone", "epistemic/confidence"])
    found = [(Path(one.file).relative_to("config/traits").as_posix(), one.message) for one in caught.value.problems]
    assert found == [
        ("epistemic/optimism/questions.yaml", "no such file"),
        ("epistemic/optimism/positive.txt", "is empty"),
        ("behavioral/formality/questions.yaml", "no such file"),
        ("epistemic/gone", "no such folder"),
    ]


def scores_with(errors: int) -> pl.DataFrame:
    statuses = ["error"] * errors + ["error", "refused", "scored"]
    reasons = ["no answer"] * errors + [EMPTY_TEXT, "it refused", None]
    return pl.DataFrame({"status": statuses, "reason": reasons})


def test_what_was_left_unanswered_is_asked_again_until_asking_brings_no_more(tmp_path: Path):
    scores = tmp_path / "scores.parquet"
    assert unanswered_runs(scores) is None
    seen = []
    for errors in (5, 5, 2, 2, 0, 0, 60, 0):
        assert note_unanswered(scores, scores_with(errors)) == errors
        seen.append(unanswered_runs(scores))
    # A new number makes the next run ask again; the number of the run before lets it be.
    assert seen == [1, 1, 2, 2, 2, 2, 3, 3]


def test_a_table_without_errors_leaves_no_note(tmp_path: Path):
    statuses = {"trait_status": ["scored", "refused"], "coherence_status": ["scored", "scored"]}
    table = pl.DataFrame({**statuses, "reason": [None, "it refused"]})
    assert note_unanswered(tmp_path / "scores.parquet", table) == 0
    assert not list(tmp_path.iterdir())
    note_unanswered(tmp_path / "scores.parquet", table.with_columns(coherence_status=pl.lit("error")))
    assert unanswered_runs(tmp_path / "scores.parquet") == 1


def test_only_what_a_judge_reads_changes_the_digest_of_a_rubric():
    rubric = Rubric("behavioral/formality", "a definition", "HIGH: formal", ("Dear Sir",), ("hey",))
    online, offline = rubric_digest(rubric, offline=False), rubric_digest(rubric, offline=True)
    for changes, asks_again in (
        ({"definition": "other words"}, (False, False)),
        ({"rubric": "HIGH: very formal"}, (True, False)),
        ({"high": ("Dear Madam",)}, (False, True)),
        ({"low": ("yo",)}, (False, True)),
    ):
        changed = replace(rubric, **changes)
        found = (rubric_digest(changed, offline=False) != online, rubric_digest(changed, offline=True) != offline)
        assert found == asks_again, changes
