"""The main figures of a study, from its folder: what the report shows and what is exported."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import plotly.graph_objects as go

from tells.config import AGREEMENT
from tells.report.agreement_figures import agreement_figures
from tells.report.catalogue import study_folder
from tells.report.named_figure import NamedFigure
from tells.report.safety_figures import safety_figures
from tells.report.study_files import UNREADABLE, StudyFiles
from tells.report.traits_figures import traits_figures
from tells.report.uncertainty_figures import uncertainty_figures

Limits = Mapping[str, float]


def study_figures(root: Path, experiment: str, study: str, *, limits: Limits | None = None) -> list[NamedFigure]:
    """The main figures of a study, none of them made yet.

    Where results.json cannot be read, so that nobody knows which figures there are, the list has one entry that says
    so.

    Args:
        root: the folder that holds experiments/.
        experiment: its name.
        study: uncertainty, traits, safety or agreement.
        limits: `min_coherence` and `max_drop` of steering, which no file of a run holds; None for no line there.

    Raises:
        ValueError: the name could lead out of experiments/, or there is no such study.
    """
    files = StudyFiles(study_folder(root, experiment, study))
    try:
        return _unique(list(_figures(files, study, limits or {})))
    except UNREADABLE as error:
        return [NamedFigure("figures", "figures of the study", "", _raising(error))]


def _figures(files: StudyFiles, study: str, limits: Limits) -> Iterator[NamedFigure]:
    if study == "uncertainty":
        return uncertainty_figures(files)
    if study == "traits":
        return traits_figures(files, min_coherence=limits.get("min_coherence"), max_drop=limits.get("max_drop"))
    return agreement_figures(files) if study == AGREEMENT else safety_figures(files)


def _unique(figures: list[NamedFigure]) -> list[NamedFigure]:
    """Figures with a number where names of the data came to the same file name."""
    seen: Counter[str] = Counter()
    named = []
    for figure in figures:
        seen[figure.name] += 1
        count = seen[figure.name]
        named.append(figure if count == 1 else replace(figure, name=f"{figure.name}-{count}"))
    return named


def _raising(error: Exception) -> Callable[[], go.Figure]:
    def make() -> go.Figure:
        raise error

    return make
