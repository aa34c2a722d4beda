"""The tables of a study, from its results.json: what the report shows and what is exported."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tells.config import AGREEMENT
from tells.report.agreement_tables import AGREEMENT_TABLES
from tells.report.catalogue import study_folder
from tells.report.headlines import headlines
from tells.report.named_table import Column, NamedTable, decimal, interval, text
from tells.report.safety_numbers import percent
from tells.report.safety_tables import SAFETY_TABLES
from tells.report.study_files import UNREADABLE, in_words
from tells.report.traits_tables import TRAITS_TABLES
from tells.report.uncertainty_tables import UNCERTAINTY_TABLES
from tells.tables import read_json

logger = logging.getLogger(__name__)
Results = Mapping[str, Any]
_TABLES: dict[str, dict[str, Callable[[Results], NamedTable | None]]] = {
    "uncertainty": UNCERTAINTY_TABLES,
    "traits": TRAITS_TABLES,
    "safety": SAFETY_TABLES,
    AGREEMENT: AGREEMENT_TABLES,
}


@dataclass(frozen=True)
class BrokenTable:
    """A table that cannot be made.

    Attributes:
        name: of the table.
        reason: why.
    """

    name: str
    reason: str


def study_tables(root: Path, experiment: str, study: str) -> list[NamedTable | BrokenTable]:
    """The tables of a study, the headline figures first; tables that a run has no records for are left out.

    Args:
        root: the folder that holds experiments/.
        experiment: its name.
        study: uncertainty, traits, safety or agreement.

    Raises:
        ValueError: the name could lead out of experiments/, or there is no such study.
    """
    path = study_folder(root, experiment, study) / "results.json"
    try:
        results = read_json(path)
    except UNREADABLE as error:
        return [BrokenTable("results", in_words(error))]
    makers = {"headlines": lambda found: headline_table(study, found), **_TABLES[study]}
    return [made for name, make in makers.items() for made in _made(name, make, results)]


def _made(
    name: str, make: Callable[[Results], NamedTable | None], results: Results
) -> Iterator[NamedTable | BrokenTable]:
    try:
        table = make(results)
    except UNREADABLE as error:
        logger.warning("table %s cannot be made: %s", name, error)
        yield BrokenTable(name, in_words(error))
    else:
        if table is not None and table.records:
            yield table


def headline_table(study: str, results: Results) -> NamedTable:
    """The few figures by which studies are told apart.

    Args:
        study: uncertainty, traits, safety or agreement.
        results: content of its results.json.

    Raises:
        KeyError: the file lacks what its kind has.
    """
    records = tuple(asdict(one) for one in headlines(study, results))
    levels = sorted({percent(one["level"]) for one in records if one["level"] is not None})
    columns: tuple[Column, ...] = (
        text("about", "subject"),
        text("figure", "figure"),
        interval("value", "value"),
        decimal("chance", "chance"),
        text("split", "split"),
        text("n", "n"),
        text("note", "note"),
    )
    caption = f"In brackets: {', '.join(levels) or 'no'} interval; [–]: none; chance: what no knowledge would reach"
    return NamedTable("headlines", "Headline figures", caption, columns, records)
