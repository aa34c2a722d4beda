"""The cards of what probes and baselines achieve: records, curves, the search for a probe's place, the data sets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import polars as pl
from dash import html

from tells.dashboard.binding import choice
from tells.dashboard.components import empty_box, facts, interval_text, rows_table
from tells.dashboard.downloads import download_links, row_source
from tells.dashboard.grid import Column, grid
from tells.dashboard.store import Store
from tells.dashboard.uncertainty.captions import captioned
from tells.dashboard.uncertainty.runs import data_sets, settled
from tells.dashboard.uncertainty.state import ALL, PAGE, Chosen
from tells.dashboard.urls import from_query, query_of
from tells.report.figures.probe_heatmap import probe_heatmap
from tells.report.figures.uncertainty_curves import precision_recall, rejection, reliability, roc
from tells.report.figures.uncertainty_scores import score_intervals
from tells.report.figures.uncertainty_words import METRICS

Children = Any
CURVES: dict[str, tuple[str, Callable[..., go.Figure]]] = {
    "roc": ("ROC", roc),
    "precision_recall": ("Precision and recall", precision_recall),
    "reliability": ("Reliability", reliability),
    "rejection": ("Rejection", rejection),
}
_OUTCOMES = {
    "accuracy": "the run is correct",
    "semantic_entropy": "its question has high entropy",
    "semantic_entropy_raw": "the entropy itself",
}
_LINES = {"main": "the main ones", "probes": "all probes", "baselines": "all baselines", ALL: "all"}
_MAIN = "main"
# Pixels of a curve, and of each line of its legend.
_CURVE_HEIGHT, _LEGEND_HEIGHT = 380, 30
_MAIN_METRICS = {"accuracy": "auroc", "semantic_entropy": "auroc", "semantic_entropy_raw": "spearman"}
_RECORDS = (
    Column("score", "score", width=230),
    Column("kind", "kind", width=100),
    Column("dataset", "data set", width=110),
    Column("metric", "metric", width=200),
    Column("value", "value", "number", width=95),
    Column("low", "low", "number", width=95),
    Column("high", "high", "number", width=95),
    Column("p", "p", "number", width=95),
    Column("p_holm", "p, Holm", "number", width=95),
    Column("n_rows", "runs", "whole", width=85),
    Column("n_questions", "questions", "whole", width=100),
    Column("prevalence", "prevalence", "number", width=110),
    Column("distribution", "distribution", width=110),
    Column("trained_on", "trained on", width=140),
    Column("level", "level", "number", digits=2, width=80),
    Column("reason", "why there is no value", width=260),
)


def records_card(found: Store, state: Chosen) -> Children:
    """What is predicted and by which metric; every score's figure with its interval, as a picture and as a table.

    Raises:
        LookupError: there is no such experiment.
        TableError: results.json is absent or not whole.
    """
    if (nothing := _absent(found, state, "results.json", "figures")) is not None:
        return nothing
    known = found.results(state.experiment, PAGE)["records"]
    metrics = list(dict.fromkeys(one["metric"] for one in known))
    options = {_MAIN: "AUROC (entropy itself: Spearman)", ALL: ALL, **{one: METRICS.get(one, one) for one in metrics}}
    controls = [
        choice(PAGE, "outcome", "Predicted", _OUTCOMES, state.outcome),
        choice(PAGE, "metric", "Metric", options, state.metric),
    ]
    dataset = None if state.dataset == ALL else state.dataset
    metric = _MAIN_METRICS[state.outcome] if state.metric in (_MAIN, ALL) else state.metric
    rows = records_of(found, state)
    labels = f"records of {_OUTCOMES[state.outcome]}"
    return html.Div(
        [
            html.Div(controls, className="controls"),
            html.P(
                "Of the test questions and all their sampled, complete runs, whatever the filters of split, answers "
                "and runs say. p: one-sided permutation by question; Holm: over the AUROC of all probes and data sets.",
                className="note",
            ),
            captioned(score_intervals(known, outcome=state.outcome, metric=metric, dataset=dataset), f"{PAGE}-scores"),
            grid(f"{PAGE}-records", _RECORDS, label=labels, key="row", rows=rows, height=360),
            download_links("uncertainty-records", query_of(state)),
        ]
    )


def records_of(found: Store, state: Chosen) -> pl.DataFrame:
    """The records of the chosen outcome, metric and data set, with a column `row` that numbers them.

    Raises:
        LookupError: there is no such experiment.
        TableError: results.json is absent or not whole.
    """
    metric = {_MAIN: _MAIN_METRICS[state.outcome], ALL: None}.get(state.metric, state.metric)
    chosen = [
        {column.field: one[column.field] for column in _RECORDS}
        for one in found.results(state.experiment, PAGE)["records"]
        if one["outcome"] == state.outcome
        and metric in (None, one["metric"])
        and state.dataset in (ALL, one["dataset"])
    ]
    for one in chosen:
        one["trained_on"] = None if one["trained_on"] is None else ", ".join(one["trained_on"])
    texts = {column.field: pl.String if column.kind == "text" else pl.Float64 for column in _RECORDS}
    whole = {column.field: pl.Int64 for column in _RECORDS if column.kind == "whole"}
    return pl.DataFrame(chosen, schema=texts | whole).with_row_index("row").with_columns(pl.col("row").cast(pl.String))


@row_source("uncertainty-records")
def _download(found: Store, query: Mapping[str, str]) -> pl.DataFrame:
    return records_of(found, settled(found, from_query(Chosen, query))).drop("row")


def curve_card(found: Store, state: Chosen, name: str) -> Children:
    """One kind of curve, or why there is none for these filters.

    Args:
        found: the results.
        state: of the page.
        name: of `CURVES`.

    Raises:
        LookupError: there is no such experiment.
        TableError: a file is absent or not whole.
    """
    if state.split != "test":
        return html.P(
            f"There are curves of the test split alone, and the filter shows {state.split}: "
            "probes were fitted on the train split, and chosen and calibrated with the help of validation.",
            className="note",
        )
    if state.dataset == ALL:
        names = ", ".join(data_sets(found, state.experiment))
        return html.P(f"A curve is of one data set: choose one of {names} above.", className="note")
    if (nothing := _absent(found, state, "curves.parquet", "curves")) is not None:
        return nothing
    folder = found.folder(state.experiment, PAGE)
    paths = [folder / "curves.parquet", folder / "results.json"]
    # Most changes of the filters leave curves as they are.
    how = ("curve", name, state.dataset, state.outcome, state.lines)
    return found.made_of(paths, how, lambda: _curve(found, state, name))


def _curve(found: Store, state: Chosen, name: str) -> Children:
    curves = found.table(found.folder(state.experiment, PAGE) / "curves.parquet", "curves")
    records = found.results(state.experiment, PAGE)["records"]
    scores = _shown(curves, state)
    figure = CURVES[name][1](curves, records, dataset=state.dataset, outcome=state.outcome, scores=scores)
    lines = sum(trace.showlegend is not False for trace in figure.data)
    figure.update_layout(height=_CURVE_HEIGHT + _LEGEND_HEIGHT * lines)
    return captioned(figure, f"{PAGE}-{name.replace('_', '-')}")


def lines_control(state: Chosen) -> Children:
    """Which scores the curves show."""
    return html.Div(choice(PAGE, "lines", "Scores in the curves", _LINES, state.lines), className="controls")


def heatmap_card(found: Store, state: Chosen) -> Children:
    """The search of one probe over layers and positions.

    Raises:
        LookupError: there is no such experiment.
        TableError: a file is absent or not whole.
    """
    if (nothing := _absent(found, state, "results.json", "probes")) is not None:
        return nothing
    probes = found.results(state.experiment, PAGE)["probes"]
    searched = [one["name"] for one in probes if one["heatmap"]]
    control = choice(PAGE, "probe", "Probe", list(dict.fromkeys((*searched, state.probe))), state.probe)
    probe = next((one for one in probes if one["name"] == state.probe), None)
    if probe is None:
        said = found.results(state.experiment, PAGE)["unfitted"].get(state.probe, "the study has no such probe")
        return html.Div([html.Div(control, className="controls"), html.P(f"{state.probe}: {said}.", className="note")])
    fits = found.json(found.folder(state.experiment, PAGE) / "probes.json")["probes"]
    fit = next((one for one in fits if one["name"] == state.probe), None)
    figure = captioned(probe_heatmap(probe, fit=fit), f"{PAGE}-search")
    return html.Div([html.Div(control, className="controls"), figure])


def datasets_card(found: Store, state: Chosen) -> Children:
    """What each data set holds, how often the model is right on it, and what the study could not do.

    Raises:
        LookupError: there is no such experiment.
        TableError: results.json is absent or not whole.
    """
    if (nothing := _absent(found, state, "results.json", "figures")) is not None:
        return nothing
    results = found.results(state.experiment, PAGE)
    right = {(one["dataset"], one["metric"]): one for one in results["accuracy"]}
    kinds = ("accuracy_all_runs", "accuracy_complete_runs", "accuracy_greedy")
    columns = ("data set", "role", "questions by split", "sampled runs", "cut", "too few complete runs")
    rows = [
        [
            name,
            one["role"].replace("_", " "),
            ", ".join(f"{split} {count:,}" for split, count in one["splits"].items()),
            f"{one['n_runs']:,}",
            f"{one['n_truncated']:,}",
            f"{one['n_questions_below_min_valid']:,} questions",
            *(_interval(right.get((name, kind))) for kind in kinds),
            _number(one["semantic_entropy_mean"]),
            _number(one["rao_semantic_entropy_mean"]),
        ]
        for name, one in results["datasets"].items()
    ]
    heads = ("right: all runs", "right: complete runs", "right: greedy runs", "mean entropy, nats", "mean Rao, nats")
    levels = sorted({f"{100 * one['level']:g}%" for one in results["accuracy"]})
    caption = (
        f"All splits. In brackets: {', '.join(levels)} interval, by question. Of all runs a cut one counts as wrong."
    )
    return html.Div([rows_table((*columns, *heads), rows, caption=caption), facts(_warnings(results))])


def _warnings(results: Mapping[str, Any]) -> list[tuple[str, str | None]]:
    said = [(f"not fitted: {name}", reason) for name, reason in sorted(results["unfitted"].items())]
    said += [(f"not available: {name}", reason) for name, reason in sorted(results["unavailable"].items())]
    seen = results["n_seen_elsewhere"]
    return (
        [*said, ("test runs left out", f"{seen:,}, whose question is trained on in another data set")] if seen else said
    )


def _shown(curves: pl.DataFrame, state: Chosen) -> Sequence[str] | None:
    """Scores that the curves show; None for all."""
    if state.lines == ALL:
        return None
    if state.lines == "main":
        # The entropy itself tells its own class by definition.
        sampled = ("discrete",) if state.outcome == "accuracy" else ()
        return (state.outcome, f"{state.outcome}.prompt_end", "token_entropy", *sampled, "p_true")
    kind = state.lines.removesuffix("s")
    return curves.filter(pl.col("kind") == kind)["score"].unique().to_list()


def _absent(found: Store, state: Chosen, name: str, what: str) -> html.Div | None:
    """What to run where a file is not there yet; None where it is."""
    path: Path = found.folder(state.experiment, PAGE) / name
    if path.exists():
        return None
    line = f"snakemake --profile cpu experiments/{state.experiment}/{PAGE}/{name}"
    return empty_box(f"There are no {what} yet: {name}.", line)


def _interval(record: Mapping[str, Any] | None) -> str:
    return "–" if record is None else interval_text(record["value"], record["low"], record["high"])


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
