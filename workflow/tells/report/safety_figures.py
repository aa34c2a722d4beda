"""The main figures of the safety study: the four cells, how confident traces are, and what early stopping saves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import plotly.graph_objects as go

from tells.report.figures.safety import (
    any_of_n_curve,
    arms_compared,
    confidence_by_cell,
    confidence_by_label,
    percentile_curve,
    quadrant_table,
    risk_differences,
    trace_evolution,
)
from tells.report.named_figure import NamedFigure, file_name
from tells.report.safety_numbers import harm_source
from tells.report.study_files import StudyFiles

_TOKENS = ("prompt_id", "sample", "confidence")


def safety_figures(files: StudyFiles) -> Iterator[NamedFigure]:
    """The main figures, by benchmark.

    Args:
        files: of the study.

    Raises:
        TableError: results.json is absent or not whole.
    """
    for benchmark in files.json("results.json")["benchmarks"]:
        for name, (words, reading, draw) in _FIGURES.items():
            yield NamedFigure(
                file_name(name, benchmark["benchmark"]),
                f"{benchmark['benchmark']}: {words}",
                reading,
                partial(draw, files, benchmark),
            )


def _cells(files: StudyFiles, benchmark: Mapping[str, Any]) -> go.Figure:
    return quadrant_table(
        benchmark["cells"]["all"],
        **_of(benchmark),
        **_score(files, benchmark),
        **_harm(files),
        level=benchmark["hypothesis"]["level"],
    )


def _risk(files: StudyFiles, benchmark: Mapping[str, Any]) -> go.Figure:
    return risk_differences(benchmark["hypothesis"], **_of(benchmark), **_score(files, benchmark), **_harm(files))


def _by_label(files: StudyFiles, benchmark: Mapping[str, Any]) -> go.Figure:
    traces, cut = files.table("results.parquet", "traces"), benchmark["counts"]["cut_value"]
    return confidence_by_label(traces, **_of(benchmark), **_score(files, benchmark), cut_value=cut)


def _by_cell(files: StudyFiles, benchmark: Mapping[str, Any]) -> go.Figure:
    traces, cut = files.table("results.parquet", "traces"), benchmark["counts"]["cut_value"]
    return confidence_by_cell(traces, **_of(benchmark), **_score(files, benchmark), cut_value=cut)


def _evolution(files: StudyFiles, benchmark: Mapping[str, Any]) -> go.Figure:
    name = benchmark["benchmark"]
    confidence = files.table(f"{name}/confidence.parquet", "confidence", _TOKENS)
    return trace_evolution(confidence, files.table(f"{name}/reply_labels.parquet", "reply_labels"), **_of(benchmark))


def _percentiles(files: StudyFiles, benchmark: Mapping[str, Any]) -> go.Figure:
    sweep, keep = files.table(f"{benchmark['benchmark']}/sweep.parquet", "sweep"), benchmark["stopping"]["keep"]
    return percentile_curve(sweep, **_of(benchmark), **_window(files), **_harm(files), configured=100 * (1 - keep))


def _arms(files: StudyFiles, benchmark: Mapping[str, Any]) -> go.Figure:
    level = benchmark["hypothesis"]["level"]
    return arms_compared(benchmark["arms"], **_of(benchmark), **_window(files), **_harm(files), level=level)


def _as_n_grows(files: StudyFiles, benchmark: Mapping[str, Any], measure: Any) -> go.Figure:
    rates = files.table(f"{benchmark['benchmark']}/any_of_n.parquet", "any_of_n")
    level = benchmark["hypothesis"]["level"]
    return any_of_n_curve(rates, **_of(benchmark), **_harm(files), level=level, measure=measure)


def _of(benchmark: Mapping[str, Any]) -> dict[str, str]:
    return {"benchmark": benchmark["benchmark"]}


def _score(files: StudyFiles, benchmark: Mapping[str, Any]) -> dict[str, Any]:
    return {"kind": benchmark["counts"]["kind"], **_window(files)}


def _window(files: StudyFiles) -> dict[str, int]:
    return {"window": files.json("results.json")["metadata"]["window"]}


def _harm(files: StudyFiles) -> dict[str, str]:
    return {"harm_source": harm_source(files.json("results.json")["metadata"])}


_Draw = Callable[[StudyFiles, Mapping[str, Any]], go.Figure]
# By name: what is shown, how it is read, and what draws it.
_FIGURES: dict[str, tuple[str, str, _Draw]] = {
    "cells": (
        "four cells",
        "Replies by whether they refuse and how confident they are. Whether unsure compliance is riskier is the "
        "difference of the harm rates below.",
        _cells,
    ),
    "risk-differences": (
        "is uncertain compliance riskier?",
        "A bar that lies above 0 as a whole says so. Prompt type and length change both confidence and harm; the lower "
        "bars hold them fixed.",
        _risk,
    ),
    "confidence-by-label": (
        "confidence by label of the prompt",
        "Were harmful prompts answered with another confidence, the shapes would lie at different heights.",
        _by_label,
    ),
    "confidence-by-cell": (
        "confidence by cell",
        "The line is where confident and uncertain part.",
        _by_cell,
    ),
    "trace-evolution": (
        "confidence along the trace",
        "Where the lines part, the model's tokens alone tell refusals from compliance.",
        _evolution,
    ),
    "percentile": (
        "adaptive sampling as cutting grows strict",
        "Read what is saved beside the agreement with the full number of traces: what is saved and no longer agrees "
        "was not saved. The dotted line is the experiment's own setting.",
        _percentiles,
    ),
    "arms": (
        "agreement against cost, by way of spending traces",
        "Up and to the left is better. Hold an arm against the one that spends as many tokens.",
        _arms,
    ),
    "any-of-n-harmful-compliance": (
        "harmful compliance as the number of traces grows",
        "Any of n grows with n by construction and is no accuracy; the mean does not depend on n.",
        partial(_as_n_grows, measure="harmful_compliance"),
    ),
    "any-of-n-over-refusal": (
        "over-refusal as the number of traces grows",
        "The same for refusals of benign prompts.",
        partial(_as_n_grows, measure="over_refusal"),
    ),
}
