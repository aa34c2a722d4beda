"""Every main figure as an image and every table as CSV and LaTeX, in one folder for a paper."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from tells.config import PARTS
from tells.report.catalogue import study_folder
from tells.report.images import FORMATS, Image, write_images
from tells.report.latex import latex
from tells.report.named_figure import vector_graphics
from tells.report.study_figures import Limits, study_figures
from tells.report.study_tables import BrokenTable, study_tables
from tells.tables import write_atomically

_CONTENTS = dict.fromkeys(("file", "study", "status", "title", "caption", "reason"), pl.String)


@dataclass(frozen=True)
class Exported:
    """What an export gave.

    Attributes:
        folder: where the files are.
        studies: those that have results.
        contents: one row a file: `file` (below the folder), `study`, `status` (`written`; `empty`, where there is
            nothing to draw; `broken`, where a file of the run cannot be read or the browser failed), `title`,
            `caption`, and the `reason` of the last two.
    """

    folder: Path
    studies: tuple[str, ...]
    contents: pl.DataFrame


@dataclass(frozen=True)
class _Entry:
    """A file of the export."""

    study: str
    name: str
    title: str
    caption: str
    status: str = "written"
    reason: str | None = None

    def row(self) -> dict[str, str | None]:
        file = f"{self.study}/{self.name}"
        told = {"study": self.study, "status": self.status, "title": self.title, "caption": self.caption}
        return {"file": file, **told, "reason": self.reason}


def export(
    root: Path, experiment: str, folder: Path, *, formats: Sequence[str] = ("svg", "pdf"), limits: Limits | None = None
) -> Exported:
    """Write an experiment's tables and figures, and contents.csv, which says what each file is.

    The names depend on the studies, data sets, traits and benchmarks alone; files of these names are replaced, others
    stay. Tables are written first, so that they are there where figures cannot be drawn.

    Args:
        root: the folder that holds experiments/.
        experiment: its name.
        folder: where the files go; made where it is not there.
        formats: of the figures, out of `tells.report.images.FORMATS`; none for the tables alone.
        limits: as for `study_figures`.

    Raises:
        ValueError: the experiment's name could lead out of experiments/, or a format is unknown.
        LookupError: the experiment has no results.
        DrawingError: kaleido or a browser is missing; the tables are there all the same.
        OSError: the folder cannot be written.
    """
    if unknown := sorted(set(formats) - set(FORMATS)):
        raise ValueError(f"no such format: {', '.join(unknown)}; there are {', '.join(FORMATS)}")
    studies = tuple(study for study in PARTS if (study_folder(root, experiment, study) / "results.json").exists())
    if not studies:
        raise LookupError(f"{experiment}: no results below {root / 'experiments' / experiment}")
    rows = [entry.row() for study in studies for entry in _tables(root, experiment, study, folder / study)]
    _write_contents(folder, rows)
    images: dict[Path, tuple[_Entry, Image]] = {}
    for study in studies:
        for entry, image in _figures(root, experiment, study, folder / study, formats, limits):
            if image is None:
                rows.append(entry.row())
            else:
                images[image.path] = (entry, image)
    problems = write_images([image for _, image in images.values()])
    for path, (entry, _) in images.items():
        failed = {"status": "broken", "reason": problems[path]} if path in problems else {}
        rows.append(replace(entry, **failed).row())
    return Exported(folder, studies, _write_contents(folder, rows))


def _tables(root: Path, experiment: str, study: str, folder: Path) -> Iterator[_Entry]:
    for table in study_tables(root, experiment, study):
        if isinstance(table, BrokenTable):
            yield _Entry(study, table.name, table.name, "", "broken", table.reason)
            continue
        label = f"{experiment}-{study}-{table.name}"
        content = {"csv": table.frame().write_csv(), "tex": latex(table, label=label)}
        for ending, text in content.items():
            with write_atomically(folder / f"{table.name}.{ending}") as temporary:
                temporary.write_text(text, encoding="utf-8")
            yield _Entry(study, f"{table.name}.{ending}", table.title, table.caption)


def _figures(
    root: Path, experiment: str, study: str, folder: Path, formats: Sequence[str], limits: Limits | None
) -> Iterator[tuple[_Entry, Image | None]]:
    """Figures with the images that are to be made of them; none where there is nothing to draw."""
    for named in study_figures(root, experiment, study, limits=limits) if formats else ():
        drawn = named.drawn()
        if drawn.figure is None:
            status = "broken" if drawn.broken else "empty"
            yield _Entry(study, named.name, named.title, named.caption, status, drawn.reason), None
            continue
        drawing = vector_graphics(drawn.figure)
        for kind in dict.fromkeys(formats):
            entry = _Entry(study, f"{named.name}.{kind}", named.title, named.caption)
            yield entry, Image(drawing, folder / entry.name)


def _write_contents(folder: Path, rows: Sequence[dict[str, str | None]]) -> pl.DataFrame:
    contents = pl.DataFrame(rows, schema=_CONTENTS, orient="row")
    with write_atomically(folder / "contents.csv") as temporary:
        contents.write_csv(temporary)
    return contents
