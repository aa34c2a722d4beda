"""The pages of the report: the figures of one study, and all of an experiment in one file.

What a page says of a run comes from the run's files; a file that cannot be read costs the figure or table that needs
it, and the page says so there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tells.config import AGREEMENT, PARTS, STUDIES
from tells.report.catalogue import StudyState, study_folder, study_state
from tells.report.html import Html, facts_element, joined, table_element, tag
from tells.report.html_frame import Section, page
from tells.report.named_figure import NamedFigure, basis, vector_graphics
from tells.report.named_table import NamedTable
from tells.report.safety_numbers import harm_source
from tells.report.study_figures import Limits, study_figures
from tells.report.study_files import UNREADABLE, in_words
from tells.report.study_tables import BrokenTable, study_tables
from tells.report.terminal import model_title
from tells.report.traits_tables import judge_words
from tells.tables import read_json

# Tables that a reader wants before any figure; all others are exported.
_SHOWN = {
    "uncertainty": ("headlines", "data-sets", "probes"),
    "traits": ("headlines", "traits", "steering"),
    "safety": ("headlines", "traces", "risk-differences", "arms"),
    AGREEMENT: ("headlines", "gains", "confidence-direction"),
}
# Pixels of a figure that does not say how tall it is.
_HEIGHT = 460
_WAITING = "This figure is drawn by a script of this page. Without scripts, see the tables."


def figures_page(
    root: Path, experiment: str, study: str, *, metadata: Mapping[str, Any], limits: Limits | None = None
) -> str:
    """The main figures and tables of one study as one file of HTML.

    Args:
        root: the folder that holds experiments/.
        experiment: its name.
        study: uncertainty, traits, safety or agreement.
        metadata: what makes the page.
        limits: as for `study_figures`.

    Raises:
        ValueError: the name could lead out of experiments/, or there is no such study.
    """
    section = _section(root, experiment, study, limits, _facts(root, experiment, study))
    return page(f"{experiment}: {study}", (), [section], metadata=metadata)


def experiment_page(
    root: Path,
    experiment: str,
    *,
    metadata: Mapping[str, Any],
    studies: Sequence[str] = STUDIES,
    limits: Limits | None = None,
) -> str:
    """An experiment's report as one file of HTML: each study, or that it is missing.

    Args:
        root: the folder that holds experiments/ and logs/.
        experiment: its name.
        metadata: what makes the page.
        studies: those that the experiment has by its definition.
        limits: as for `study_figures`.

    Raises:
        ValueError: the name could lead out of experiments/.
    """
    sections = []
    for study in PARTS:
        if (study_folder(root, experiment, study) / "results.json").exists():
            state = study_state(root, experiment, study)
            facts = [*_facts(root, experiment, study), *_clock(state)]
            sections.append(_section(root, experiment, study, limits, facts))
        elif study in (*STUDIES, *studies):
            # An agreement that nobody asked for is not missed.
            sections.append(Section(study, study, _missing(experiment, study, defined=study in studies), ()))
    head = facts_element([("experiment", experiment), ("written by", f"tells {metadata['versions'].get('tells', '')}")])
    return page(f"{experiment}: report", (head,), sections, metadata=metadata)


def _missing(experiment: str, study: str, *, defined: bool) -> Html:
    if not defined:
        return tag("p", f"The experiment has no {study} study.", class_="empty")
    line = f"snakemake --profile cpu {study} --config experiments={experiment}"
    return tag("p", "There are no results yet. They are made by ", tag("code", line), ".", class_="empty")


def _section(
    root: Path, experiment: str, study: str, limits: Limits | None, facts: Sequence[tuple[str, str | None]]
) -> Section:
    """A study: who and what made it, its tables, what to be wary of, and its figures."""
    wanted = _SHOWN[study]
    tables = {table.name: table for table in study_tables(root, experiment, study)}
    shown = [tables[name] for name in (*wanted, "results") if name in tables]
    drawings: list[Mapping[str, Any]] = []
    figures = study_figures(root, experiment, study, limits=limits)
    drawn = [_figure(figure, study, drawings) for figure in figures]
    above = [
        facts_element(facts),
        *(_table(table, study) for table in shown),
        _warnings(root, experiment, study),
    ]
    contents = [(f"{study}-{figure.name}", figure.title) for figure in figures]
    return Section(study, study, joined([*above, *drawn]), drawings, contents)


def _table(table: NamedTable | BrokenTable, study: str) -> Html:
    if isinstance(table, BrokenTable):
        return tag("p", f"Table {table.name} cannot be shown: {table.reason}", class_="problem")
    return joined((tag("h3", table.title), table_element(table, anchor=f"{study}-table-{table.name}")))


def _figure(named: NamedFigure, study: str, drawings: list[Mapping[str, Any]]) -> Html:
    """A place for a figure, with what it rests on and how it is read; appends what is drawn there."""
    drawn, anchor = named.drawn(), f"{study}-{named.name}"
    if drawn.figure is None:
        said = f"This figure cannot be shown: {drawn.reason}" if drawn.broken else drawn.reason
        problem = tag("p", said, class_="problem" if drawn.broken else "empty")
        return tag("figure", tag("h3", named.title), problem, id=anchor)
    rests = basis(drawn.figure)
    height = int(drawn.figure.layout.height or _HEIGHT)
    # The heading and the line below it say what the title says, and break where the screen ends.
    drawn.figure.update_layout(title={"text": "", "subtitle": {"text": ""}}, margin={"t": 24}, height=height)
    drawings.append(vector_graphics(drawn.figure))
    place = {"role": "group", "aria_label": f"{named.title}. {rests}", "data_name": anchor}
    return tag(
        "figure",
        tag("h3", named.title),
        tag("p", rests, class_="basis"),
        tag("div", _WAITING, class_="drawing", style=f"min-height: {height}px", **place),
        tag("figcaption", named.caption),
        id=anchor,
    )


def _facts(root: Path, experiment: str, study: str) -> list[tuple[str, str | None]]:
    """What the run's own metadata says: model, seed, who judged, versions."""
    try:
        results = read_json(study_folder(root, experiment, study) / "results.json")
        metadata = results["metadata"]
        steered = metadata.get("steered_model")
        return [
            ("model", model_title(metadata["model"])),
            ("steered model", model_title(steered) if steered and steered != metadata["model"] else None),
            ("scores by", judge_words(results) if study == "traits" else None),
            ("labels by", _labellers(metadata) if study == "safety" else None),
            ("seed", str(metadata["seed"])),
            ("versions", ", ".join(f"{name} {version}" for name, version in sorted(metadata["versions"].items()))),
            ("stage", f"{metadata['stage']}, version {metadata['stage_version']}, inputs {metadata['stage_hash']}"),
        ]
    except UNREADABLE as error:
        return [("unknown", in_words(error))]


def _labellers(metadata: Mapping[str, Any]) -> str:
    return f"refusal by {metadata['classifiers']['refusal']}; {harm_source(metadata)}"


def _clock(state: StudyState) -> list[tuple[str, str | None]]:
    """What the jobs' logs say of a study, which changes with the clock."""
    finished = (state.finished or "").replace("T", " ").replace("+00:00", " UTC")
    # That a job runs may be this page's own.
    told = state.reason if state.state in ("older", "failed") else None
    return [
        ("finished", finished or "unknown: its logs are not here"),
        ("seconds", f"{state.seconds:,.0f}" if state.seconds else None),
        ("tokens", f"{state.tokens:,}" if state.tokens else None),
        ("judge calls", f"{state.judge_calls:,}" if state.judge_calls else None),
        (state.state, told),
    ]


def _warnings(root: Path, experiment: str, study: str) -> Html | None:
    """What the study says against itself."""
    try:
        results = read_json(study_folder(root, experiment, study) / "results.json")
        told = list(_told(study, results))
    except UNREADABLE:
        return None
    if not told:
        return None
    items = tag("ul", *(tag("li", line) for line in told), class_="warnings")
    return joined((tag("h3", "To be wary of"), items))


def _told(study: str, results: Mapping[str, Any]) -> Iterator[str]:
    if study == "uncertainty":
        yield from (f"{name} could not be fitted: {reason}" for name, reason in sorted(results["unfitted"].items()))
        yield from (f"unavailable for {name}: {reason}" for name, reason in sorted(results["unavailable"].items()))
    elif study == "traits":
        for summary in results["traits"]:
            if summary["reason"]:
                yield f"{summary['trait']}: {summary['status']}: {summary['reason']}"
            yield from (f"{summary['trait']}: {warning}" for warning in summary["warnings"])
    elif study == AGREEMENT:
        yield f"{results['confidence_direction']['trait']}: {results['confidence_direction']['answer']}"
        yield from results["notes"]
    else:
        yield from (f"{one['benchmark']}: {warning}" for one in results["benchmarks"] for warning in one["warnings"])
