"""What a service left unanswered, noted beside a table of answers, so that the next run of the workflow asks again."""

from __future__ import annotations

from pathlib import Path

from tells.tables import read_json, write_json


def note_errors(table: str | Path, errors: int) -> None:
    """Note how many items of a table have no answer, though one may yet come.

    Where as many are left as the run before left nothing new is noted: then the next run lets them be.

    Args:
        table: the table's file.
        errors: items without an answer; a refusal is an answer.
    """
    note = _note_of(Path(table))
    earlier = read_json(note) if note.exists() else {"runs": 0, "errors": 0}
    if errors != earlier["errors"]:
        write_json(note, {"runs": earlier["runs"] + bool(errors), "errors": errors})


def unanswered_runs(table: Path) -> int | None:
    """How many runs have left items of a table unanswered and noted it; None for none."""
    note = _note_of(table)
    return read_json(note)["runs"] if note.exists() else None


def _note_of(table: Path) -> Path:
    return table.with_suffix(".unanswered.json")
