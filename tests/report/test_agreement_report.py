"""The agreement on a terminal, on its page, and as files for a paper, from made-up signals."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from agreement_helpers import SETTINGS, facts, nothing_planted, planted, signal, signals_table, steered
from rich.console import Console

from tells.agreement.results import analyse
from tells.agreement.signals import all_signals
from tells.report.agreement import agreement_report
from tells.report.agreement_words import signal_words
from tells.report.catalogue import catalogue, study_state
from tells.report.export import export
from tells.report.figures.agreement import correlation_heatmap, gains, signal_heatmap
from tells.report.headlines import headlines
from tells.report.pages import experiment_page, figures_page
from tells.report.study_figures import study_figures
from tells.report.study_tables import study_tables
from tells.tables import make_metadata, write_json, write_table

MADE = {"params": {}, "experiment": "tiny", "model": {"name": "small", "revision": "abc123"}, "seed": 3}
NAMES = {"informative": "token_entropy_mean", "copy": "semantic_entropy", "null": "probe.accuracy"}
TRAIT = "epistemic/<b>calm"
SIGNALS = [
    *(
        signal(new, sureness=-1 if "entropy" in new else 1, family=family)
        for new, family in zip(NAMES.values(), ("token_entropy", "meaning", "probe"), strict=True)
    ),
    signal(f"projection.{TRAIT}.answer", family="projection"),
    signal("length", -1),
]


def table() -> pl.DataFrame:
    """Two collections, one of which lacks most signals, and an outcome that nobody has."""
    sums = planted(1).rename(NAMES).with_columns(-pl.col("token_entropy_mean", "semantic_entropy"))
    few = signals_table(
        {"length": np.arange(30.0)},
        groups=np.arange(30),
        study="safety",
        collection="built<i>n",
        refused=np.arange(30) > 20,
    )
    return pl.concat([sums, few], how="diagonal").with_columns(
        pl.lit(None, pl.Float64).alias(f"projection.{TRAIT}.answer")
    )


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with the agreement of the experiment `tiny`, and nothing else."""
    root = tmp_path_factory.mktemp("reported")
    folder = root / "experiments/tiny/agreement"
    why = {"study": "safety", "collection": None, "signal": "probe.accuracy", "reason": "no <probe> was trained"}
    made = analyse(table(), facts(SIGNALS, absent=[why]), confidence_trait=TRAIT, settings=SETTINGS)
    metadata = make_metadata("analyse_agreement", **MADE)
    write_json(folder / "results.json", made.content, metadata=metadata)
    write_table(folder / "results.parquet", made.table, "agreement", metadata)
    write_table(folder / "signals.parquet", table(), "signals", make_metadata("measure_signals", **MADE))
    status = {"state": "done", "job": "analyse_agreement", "seconds": 1.5, "started": "2031", "max_rss_mb": 1.0}
    write_json(
        root / "logs/tiny/agreement/analyse_agreement.status.json", {**status, "finished": "2031-05-17T10:00:00"}
    )
    return root


@pytest.fixture(scope="module")
def results(root: Path) -> dict:
    return json.loads((root / "experiments/tiny/agreement/results.json").read_text())


@pytest.fixture(scope="module")
def printed(root: Path) -> str:
    return as_printed(root / "experiments/tiny/agreement/results.json", root / "logs/tiny/agreement")


def as_printed(results: Path, logs: Path) -> str:
    console = Console(record=True, width=150, file=io.StringIO())
    console.print(agreement_report(results, logs))
    return console.export_text()


def test_the_terminal_shows_every_signal_for_every_outcome_with_its_n_prevalence_and_interval(printed, results):
    one = next(one for one in results["records"] if one["signal"] == "token_entropy_mean" and one["n_rows"])
    assert f"{one['auroc']:.3f}*" in printed
    assert f"[{one['auroc_low']:.2f}, {one['auroc_high']:.2f}]".replace("0.", ".") in printed
    assert "160 of 40" in printed
    assert f"{100 * one['prevalence']:.0f}%, test" in printed
    words = " ".join(printed.split())
    assert "all signals together against the best one" in words
    assert "rank correlation with token entropy mean" in words
    assert "note: absent in safety: probe.accuracy: no <probe> was trained" in words
    assert "cannot be told" in words
    assert "analyse_agreement" in words


def test_signals_without_any_figure_are_in_no_table_and_their_absence_is_told(printed):
    assert "calm, answer" not in printed


def test_names_are_words():
    words = [signal_words(one.name) for one in all_signals(["epistemic/calm"])]
    assert len({*words}) == len(words)
    assert not [word for word in words if "_" in word or "." in word]
    assert signal_words("probe.accuracy.prompt_end") == "accuracy probe, at prompt end"
    assert signal_words("projection.epistemic/calm.think") == "epistemic/calm, thought"


def test_the_heatmap_holds_the_figures_of_the_file(results):
    figure = signal_heatmap(results)
    (trace,) = figure.data
    shown = {value for line in trace.z for value in line if value is not None}
    assert shown == {one["auroc"] for one in results["records"] if one["auroc"] is not None and one["n_rows"]}
    assert "built&lt;i&gt;n" in "".join(trace.x)
    assert (trace.zmin, trace.zmax) == (0, 1)
    within = {value for line in signal_heatmap(results, metric="auroc_within_length").data[0].z for value in line}
    assert within - {None} == {one["auroc_within_length"] for one in results["records"]} - {None}


def test_the_gains_and_correlations_hold_the_figures_of_the_file(results):
    figure = gains(results)
    assert [trace.name for trace in figure.data] == ["best one, chosen in the training folds", "all together"]
    known = [one for one in results["combined"] if one["gain"]["value"] is not None]
    assert list(figure.data[1].x) == [one["model"]["value"] for one in known]
    record = next(one for one in results["correlations"] if one["reason"] is None)
    assert [list(line) for line in correlation_heatmap(record).data[0].z] == record["values"]
    empty = next(one for one in results["correlations"] if one["reason"] is not None)
    assert not correlation_heatmap(empty).data


def test_nothing_to_show_is_said(results):
    nothing = {**results, "records": [{**one, "auroc": None, "n_rows": 0} for one in results["records"]]}
    assert not signal_heatmap(nothing).data
    assert not gains({**results, "combined": []}).data


def test_the_figures_and_tables_can_be_made_and_their_names_are_unique(root):
    figures, tables = study_figures(root, "tiny", "agreement"), study_tables(root, "tiny", "agreement")
    assert len({one.name for one in figures}) == len(figures) >= 5
    assert not [one.name for one in figures if one.drawn().broken]
    assert {"headlines", "signals", "gains", "correlations", "absent"} == {one.name for one in tables}
    for one in tables:
        assert one.cells()
        assert one.frame().height == len(one.records)


def test_the_page_shows_it_and_takes_no_markup_from_names(root):
    page = figures_page(root, "tiny", "agreement", metadata=make_metadata("draw_figures", **MADE))
    assert "All signals together against the best one" in page
    assert "To be wary of" in page
    assert "no &lt;probe&gt; was trained" in page
    assert "<probe>" not in page


def test_the_report_of_an_experiment_has_it_where_it_is_made_and_does_not_miss_it_where_nobody_asked(root, tmp_path):
    metadata = make_metadata("write_report", **MADE)
    page = experiment_page(root, "tiny", metadata=metadata, studies=["uncertainty", "agreement"])
    assert 'id="agreement"' in page
    (tmp_path / "experiments/tiny").mkdir(parents=True)
    without = experiment_page(tmp_path, "tiny", metadata=metadata, studies=["uncertainty"])
    assert 'id="agreement"' not in without
    asked = experiment_page(tmp_path, "tiny", metadata=metadata, studies=["uncertainty", "agreement"])
    assert "snakemake --profile cpu agreement --config experiments=tiny" in asked


def test_the_catalogue_lists_it_as_it_lists_studies(root):
    state = study_state(root, "tiny", "agreement")
    assert (state.state, state.model, state.seconds) == ("done", "small", 1.5)
    assert [(one.experiment, one.study) for one in catalogue(root)] == [("tiny", "agreement")]


def test_headlines_are_of_signals_that_were_chosen_beforehand(results):
    found = headlines("agreement", results)
    assert {one.study for one in found} == {"agreement"}
    assert {one.figure.partition(" for ")[0] for one in found if one.figure.startswith("AUROC")} == {
        "AUROC, token entropy mean",
        "AUROC, semantic entropy",
    }
    assert any(one.figure.startswith("gain of all signals") for one in found)
    for one in found:
        assert one.n
        assert one.split in ("test", "all")
        assert one.value is not None or one.note


def test_its_tables_are_written_for_a_paper(root, tmp_path):
    made = export(root, "tiny", tmp_path, formats=())
    assert made.studies == ("agreement",)
    written = pl.read_csv(tmp_path / "agreement/signals.csv")
    assert written.height == len(json.loads((root / "experiments/tiny/agreement/results.json").read_text())["records"])
    assert "\\begin{" in (tmp_path / "agreement/gains.tex").read_text()


def test_a_table_in_which_nothing_is_significant_has_no_star(tmp_path):
    names = [signal(f"null{number}", family="probe") for number in range(3)]
    made = analyse(nothing_planted(3, signals=3), facts(names), confidence_trait="a/b", settings=SETTINGS)
    write_json(tmp_path / "results.json", made.content, metadata=make_metadata("analyse_agreement", **MADE))
    (tmp_path / "logs").mkdir()
    assert made.content["tests"]["n_significant"] == 0
    assert not [
        line
        for line in as_printed(tmp_path / "results.json", tmp_path / "logs").splitlines()
        if "│" in line and "*" in line
    ]


@pytest.fixture(scope="module")
def steered_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root whose agreement has a steered run: two data sets, one of which loses accuracy against the direction."""
    root = tmp_path_factory.mktemp("steered")
    folder = root / "experiments/tiny/agreement"
    sets = [
        steered(1, effects={"minus": {"accuracy": -0.2}}, collection="sums", trait=TRAIT),
        steered(2, collection="cap<i>tals", trait=TRAIT),
    ]
    made = analyse(table(), facts(SIGNALS), confidence_trait=TRAIT, settings=SETTINGS, steered=sets)
    metadata = make_metadata("analyse_agreement", **MADE)
    write_json(folder / "results.json", made.content, metadata=metadata)
    write_table(folder / "results.parquet", made.table, "agreement", metadata)
    write_table(folder / "signals.parquet", table(), "signals", make_metadata("measure_signals", **MADE))
    return root


def test_the_terminal_shows_what_steering_changes_with_its_interval_and_random_directions(steered_root: Path):
    folder = steered_root / "experiments/tiny/agreement"
    steering = json.loads((folder / "results.json").read_text())["confidence_direction"]["steering"]
    (changed,) = [one for one in steering["changes"] if one["changed"]]
    printed = as_printed(folder / "results.json", steered_root / "logs")
    assert "the same questions, steered along" in printed
    assert f"{changed['difference']:.3f}" in printed
    assert printed.count("changed") >= 2
    randoms = [one["difference"] for one in changed["random"]]
    assert f"{min(randoms):.3f} to" in printed
    assert f"{max(randoms):.3f}" in printed
    assert "accuracy changed (sums" in " ".join(printed.split())


def test_the_page_holds_the_figure_and_the_tables_of_the_steered_run(steered_root: Path):
    found = {figure.name: figure for figure in study_figures(steered_root, "tiny", "agreement")}
    drawn = found["steered-questions"].drawn().figure
    rows = {row for trace in drawn.data for row in trace.y}
    assert rows == {"unsteered", "+r", "−r", "random 1", "random 2", "random 3"}
    assert {trace.name for trace in drawn.data} == {"sums", "cap&lt;i&gt;tals"}
    tables = {one.name: one for one in study_tables(steered_root, "tiny", "agreement")}
    changes, means = tables["steered-changes"], tables["steered-means"]
    assert len(changes.cells()) == 2 * 2 * 5
    assert [row[8] for row in changes.cells()].count("yes") == 1
    assert len(means.cells()) == 2 * 6 * 5


def test_without_a_steered_run_there_is_neither_its_figure_nor_its_tables(root: Path, results: dict, printed: str):
    assert results["confidence_direction"]["steering"] is None
    assert "steered-questions" not in {figure.name for figure in study_figures(root, "tiny", "agreement")}
    assert not {"steered-changes", "steered-means"} & {one.name for one in study_tables(root, "tiny", "agreement")}
    assert "the same questions, steered" not in printed
