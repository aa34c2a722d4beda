"""The main figures of the uncertainty study: what probes and entropies achieve, and where the runs lie."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
import polars as pl

from tells.report.figures.probe_heatmap import probe_heatmap
from tells.report.figures.uncertainty import entropy_against_probe_margin, margin_against_entropy, state_map
from tells.report.figures.uncertainty_curves import precision_recall, rejection, reliability, roc
from tells.report.named_figure import NamedFigure, file_name, noted
from tells.report.study_files import StudyFiles

# Points that an SVG holds without becoming slow.
_MOST_RUNS = 3000
_COLUMNS = (
    *("dataset", "prompt_id", "sample", "split", "correct", "semantic_entropy_raw"),
    *("accuracy.score", "semantic_entropy.score", "x", "y"),
)
_OUTCOMES = {"accuracy": "correctness", "semantic_entropy": "high semantic entropy"}
# Of all scores of an outcome, those that a figure has room for; the others are in the records.
_SHOWN = {
    "accuracy": ("accuracy", "accuracy.prompt_end", "semantic_entropy", "discrete", "token_entropy", "p_true"),
    "semantic_entropy": ("semantic_entropy", "semantic_entropy.prompt_end", "token_entropy", "p_true", "think_length"),
}
_CURVES: dict[str, tuple[Callable[..., go.Figure], str, str]] = {
    "roc": (roc, "ROC", "A score without knowledge lies on the diagonal; the legend has the area under each curve."),
    "precision-recall": (
        precision_recall,
        "precision and recall",
        "A score without knowledge lies on the dotted line.",
    ),
    "reliability": (
        reliability,
        "reliability",
        "A calibrated probability lies on the diagonal; below it, the probe is too sure.",
    ),
    "rejection": (
        rejection,
        "accuracy as the least sure runs are refused",
        "The further a curve rises to the left, the more errors are among the runs that its score is unsure of.",
    ),
}
_DRAWN_FOR = {"accuracy": tuple(_CURVES), "semantic_entropy": ("roc", "precision-recall")}
_MAPS = {"correct": "by correctness", "semantic_entropy_raw": "by semantic entropy"}


def uncertainty_figures(files: StudyFiles) -> Iterator[NamedFigure]:
    """The main figures, by data set; those of all data sets last.

    Args:
        files: of the study.

    Raises:
        TableError: results.json is absent or not whole.
    """
    results = files.json("results.json")
    datasets = sorted(results["datasets"], key=lambda name: results["datasets"][name]["role"] != "in_distribution")
    for dataset in datasets:
        yield from _of_dataset(files, dataset)
    for column, words in _MAPS.items():
        yield NamedFigure(
            file_name("map", column),
            f"map of hidden states {words}",
            "Each point is a test run, placed by UMAP from the hidden state that the accuracy probe reads; a picture, "
            "from which no distance can be read.",
            lambda column=column: _map(files, column),
        )
    yield from _searches(files, results)


def _of_dataset(files: StudyFiles, dataset: str) -> Iterator[NamedFigure]:
    yield NamedFigure(
        file_name("probe-against-entropy", dataset),
        f"{dataset}: accuracy probe against semantic entropy",
        "Each point is a run: how sure the probe is from this one run, against how much the meaning varies over all "
        "runs of its question. The line parts low from high entropy.",
        lambda: _scatter(files, margin_against_entropy, dataset),
    )
    yield NamedFigure(
        file_name("entropy-against-entropy-probe", dataset),
        f"{dataset}: semantic entropy against its probe",
        "Each point is a run: the entropy that sampling measured, against the probe that predicts it without sampling.",
        lambda: _scatter(files, entropy_against_probe_margin, dataset),
    )
    for outcome, names in _DRAWN_FOR.items():
        for name in names:
            _, words, reading = _CURVES[name]
            yield NamedFigure(
                file_name(name, outcome, dataset),
                f"{dataset}: {words}, {_OUTCOMES[outcome]}",
                reading,
                lambda name=name, outcome=outcome: _curve(files, name, outcome, dataset),
            )


def _scatter(files: StudyFiles, draw: Callable[..., go.Figure], dataset: str) -> go.Figure:
    tau = {probe["name"]: probe["tau"] for probe in files.json("probes.json")["probes"]}.get("semantic_entropy")
    rows = files.columns("results.parquet", "results", _COLUMNS)
    return _drawn(rows.filter(pl.col("dataset") == dataset), lambda runs: draw(runs, tau=tau, dataset=dataset))


def _map(files: StudyFiles, column: str) -> go.Figure:
    rows = files.columns("results.parquet", "results", _COLUMNS)
    return _drawn(rows, lambda runs: state_map(runs, colour=column))


def _drawn(rows: pl.DataFrame, draw: Callable[[pl.DataFrame], go.Figure]) -> go.Figure:
    """A figure of the test runs; of very many, of as many as an SVG bears."""
    test = rows.filter(pl.col("split") == "test")
    if test.height <= _MOST_RUNS:
        return draw(rows)
    # In an order of their own, so that the draw does not hang on the order of the file.
    chosen = test.sort("dataset", "prompt_id", "sample").sample(_MOST_RUNS, seed=0)
    return noted(draw(chosen), f"drawn at random from {test.height} test runs")


def _curve(files: StudyFiles, name: str, outcome: str, dataset: str) -> go.Figure:
    curves, records = files.table("curves.parquet", "curves"), files.json("results.json")["records"]
    own = curves.filter(pl.col("outcome") == outcome, pl.col("dataset") == dataset)
    shown = [score for score in _SHOWN[outcome] if score in own["score"]]
    return _CURVES[name][0](curves, records, dataset=dataset, outcome=outcome, scores=shown or None)


def _searches(files: StudyFiles, results: Mapping[str, Any]) -> Iterator[NamedFigure]:
    """Searches over layers and positions; one over layers alone is a part of its probe's."""
    for probe in results["probes"]:
        positions = {cell["position"] for cell in probe["heatmap"]}
        if len(positions) > 1:
            yield NamedFigure(
                file_name("search", probe["name"]),
                f"{probe['name']} probe: search by layer and position",
                "The values choose a place and so flatter it; what the chosen probe is worth stands in the table.",
                lambda probe=probe: probe_heatmap(probe, fit=_fit(files.json("probes.json")["probes"], probe["name"])),
            )


def _fit(fits: Sequence[Mapping[str, Any]], name: str) -> Mapping[str, Any] | None:
    return next((fit for fit in fits if fit["name"] == name), None)
