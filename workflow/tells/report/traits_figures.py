"""The main figures of the traits study: what was vetted, how well vectors tell the poles apart, what steering does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import plotly.graph_objects as go

from tells.report.figures.steering import coefficient_curves, steering_report
from tells.report.figures.traits import cosine_matrix, score_distributions, vector_heatmap
from tells.report.named_figure import NamedFigure, file_name
from tells.report.study_files import StudyFiles

_ANSWERS = ("row_id", "kind", "layer", "method", "ratio", "coefficient")


def traits_figures(
    files: StudyFiles, *, min_coherence: float | None = None, max_drop: float | None = None
) -> Iterator[NamedFigure]:
    """The main figures, by trait; the cosines between traits last.

    Args:
        files: of the study.
        min_coherence: least mean coherence of a valid steering point; None for no line.
        max_drop: largest loss of mean coherence against unsteered answers; None for no such limit.

    Raises:
        TableError: results.json is absent or not whole.
    """
    results = files.json("results.json")
    for summary in results["traits"]:
        yield from _of_vectors(files, results, summary)
        if summary.get("search") is not None or summary.get("steering") is not None:
            yield from _of_steering(files, results, summary, min_coherence, max_drop)
    place = _common_place(results)
    if place is not None:
        yield NamedFigure(
            "cosines",
            "cosines between the traits' vectors",
            "Vectors of one method and layer, the place at which most traits have their best vector. Near 0, two "
            "traits have little to do with each other.",
            lambda: cosine_matrix(results, method=place[0], layer=place[1]),
        )


def _of_vectors(files: StudyFiles, results: Mapping[str, Any], summary: Mapping[str, Any]) -> Iterator[NamedFigure]:
    trait, judge = summary["trait"], results["metadata"].get("judge")
    for stage in ("scenarios", "responses"):
        if summary.get(stage) is not None:
            yield NamedFigure(
                file_name("scores", stage, trait),
                f"{trait}: judged {stage}",
                "Texts of the positive pole should score high, those of the negative pole low; what lies beyond its "
                "line passes the vetting.",
                lambda stage=stage: _scores(files, trait, stage),
            )
    yield NamedFigure(
        file_name("vectors", trait),
        f"{trait}: effect size of the vectors by method and layer",
        "How far apart a vector puts the two poles, in pooled standard deviations, on pairs that it was not fitted on. "
        "A cross marks what random directions reach as well; the best of so many cells is too large.",
        lambda: vector_heatmap(files.json(f"{trait}/vectors.json"), trait=trait, judge=judge),
    )


def _scores(files: StudyFiles, trait: str, stage: Any) -> go.Figure:
    vetting, record = files.table(f"{trait}/vetting.parquet", "vetting"), files.json(f"{trait}/vetting.json")
    return score_distributions(vetting, record, trait=trait, stage=stage)


def _of_steering(
    files: StudyFiles,
    results: Mapping[str, Any],
    summary: Mapping[str, Any],
    min_coherence: float | None,
    max_drop: float | None,
) -> Iterator[NamedFigure]:
    trait, judge = summary["trait"], results["metadata"].get("judge")

    def curves() -> go.Figure:
        folder = f"{trait}/steering"
        return coefficient_curves(
            files.table(f"{folder}/search.parquet", "search", _ANSWERS),
            files.table(f"{folder}/search_scores.parquet", "search_scores"),
            files.json(f"{folder}/choice.json"),
            trait=trait,
            min_coherence=min_coherence,
            max_drop=max_drop,
        )

    yield NamedFigure(
        file_name("steering-search", trait),
        f"{trait}: steering with growing vectors",
        "Trait score and coherence as more of the vector is added, on the questions by which the point is chosen: "
        "they flatter it.",
        curves,
    )
    yield NamedFigure(
        file_name("steering-report", trait),
        f"{trait}: effect of steering on questions that were not searched",
        "Steering counts for something where its interval lies above zero and beyond random vectors of equal length.",
        lambda: steering_report(summary, judge=judge),
    )


def _common_place(results: Mapping[str, Any]) -> tuple[str, int] | None:
    """Method and layer with cosines at which most traits have their best vector; ties go to the first in the file."""
    places = [(one["method"], one["layer"]) for one in results["cosines"]]
    best = Counter(
        (one["method"], one["layer"]) for summary in results["traits"] if (one := summary["best_by_validation"])
    )
    return max(places, key=lambda place: best[place], default=None)
