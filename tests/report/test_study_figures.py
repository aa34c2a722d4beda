"""The main figures of a study: all are there, each says what is wrong with its own files, and data stays text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from study_folders import plant, plant_traits, plant_uncertainty

from tells.report.named_figure import Drawn, basis, file_name, vector_graphics
from tells.report.study_figures import study_figures
from tells.tables import read_json, read_metadata, write_json, write_table

STUDIES = ("uncertainty", "traits", "safety")
HOSTILE = "<img src=x onerror=alert(1)>%{x}$a$"
FLOOR = {"min_coherence": 70.0, "max_drop": 15.0}


def drawn(root: Path, study: str, **options: Any) -> dict[str, Drawn]:
    return {figure.name: figure.drawn() for figure in study_figures(root, "tiny", study, **options)}


def broken(root: Path, study: str) -> dict[str, str]:
    return {name: one.reason or "" for name, one in drawn(root, study).items() if one.broken}


def rewritten(path: Path, **changes: Any) -> None:
    """A JSON file with other content under some keys."""
    write_json(path, {**read_json(path), **changes})


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for one in value:
            yield from strings(one)
    elif isinstance(value, str):
        yield value


@pytest.mark.parametrize("study", STUDIES)
def test_every_figure_of_a_whole_study_is_drawn_or_says_why_there_is_nothing_to_draw(root: Path, study: str):
    figures = study_figures(root, "tiny", study)
    assert len(figures) >= 6
    for figure in figures:
        made = figure.drawn()
        assert not made.broken, made.reason
        if made.figure is None:
            assert made.reason.startswith("nothing to show: ")
        else:
            assert "n = " in basis(made.figure)
        assert figure.title
        assert figure.caption.endswith(".")


def test_names_are_file_names_and_each_is_there_once(root: Path):
    for study in STUDIES:
        names = [figure.name for figure in study_figures(root, "tiny", study)]
        assert len(set(names)) == len(names)
        assert all(re.fullmatch(r"[a-z0-9.-]+", name) for name in names)
    assert file_name("roc", "../../etc/Passwd") == "roc-..-..-etc-passwd"
    assert file_name("search", "accuracy@sums") == "search-accuracy-at-sums"


def test_traits_whose_names_come_to_the_same_file_name_get_a_number(tmp_path: Path):
    folder = tmp_path / "experiments/tiny/traits"
    plant_traits(folder, "a/b-c")
    content = read_json(folder / "results.json")
    (one,) = content["traits"]
    rewritten(folder / "results.json", traits=[one, {**one, "trait": "a-b/c"}])
    names = [figure.name for figure in study_figures(tmp_path, "tiny", "traits")]
    assert {"vectors-a-b-c", "vectors-a-b-c-2"} <= {*names}


def test_no_file_but_results_is_read_before_a_figure_is_made(root: Path):
    folder = root / "experiments/tiny/uncertainty"
    figures = study_figures(root, "tiny", "uncertainty")
    (folder / "curves.parquet").unlink()
    reasons = {figure.name: figure.drawn().reason for figure in figures if figure.drawn().broken}
    assert set(reasons) == {name for name in reasons if name.startswith(("roc", "precision", "reliability", "rejec"))}
    assert all("curves.parquet: no such file" in reason for reason in reasons.values())
    assert len(reasons) == 6


def test_a_half_written_table_costs_its_own_figures_alone(root: Path):
    path = root / "experiments/tiny/safety/tiny/sweep.parquet"
    path.write_bytes(path.read_bytes()[:100])
    found = broken(root, "safety")
    assert set(found) == {"percentile-tiny"}
    assert "sweep.parquet" in found["percentile-tiny"]


def test_a_run_of_another_version_says_per_figure_what_its_file_lacks(root: Path):
    path = root / "experiments/tiny/safety/results.json"
    (benchmark,) = read_json(path)["benchmarks"]
    del benchmark["stopping"]
    rewritten(path, benchmarks=[benchmark])
    assert broken(root, "safety") == {
        "percentile-tiny": "a file lacks 'stopping': it was made by another version of this software"
    }


def test_a_table_without_a_column_is_told_by_the_figures_that_need_it(root: Path):
    path = root / "experiments/tiny/uncertainty/results.parquet"
    write_table(path, pl.read_parquet(path).drop("x", "y"), "results", read_metadata(path))
    found = drawn(root, "uncertainty")
    assert "has no column x, y" in found["map-correct"].reason
    assert found["probe-against-entropy-sums"].figure is not None


@pytest.mark.parametrize("content", ['{"metadata": ', "[]", '{"metadata": {}}'])
def test_without_readable_results_there_is_one_entry_that_says_so(root: Path, content: str):
    for study in STUDIES:
        (root / f"experiments/tiny/{study}/results.json").write_text(content)
        ((name, made),) = drawn(root, study).items()
        assert (name, made.broken) == ("figures", True)
        assert made.reason


def test_a_study_that_is_not_there_is_an_entry_too(tmp_path: Path):
    ((_, made),) = drawn(tmp_path, "traits").items()
    assert "results.json: no such file" in made.reason


def test_no_name_leads_out_of_the_experiments(tmp_path: Path):
    for name in ("../tiny", "/tiny", "a/b", ".."):
        with pytest.raises(ValueError, match="no study"):
            study_figures(tmp_path, name, "traits")


def test_of_very_many_runs_some_are_drawn_and_the_figure_says_so(tmp_path: Path):
    plant_uncertainty(tmp_path / "experiments/tiny/uncertainty", questions=1000)
    found = drawn(tmp_path, "uncertainty")
    for name in ("probe-against-entropy-sums", "map-correct"):
        figure = found[name].figure
        assert sum(len(trace.x) for trace in figure.data) == 3000
        assert basis(figure).endswith("drawn at random from 4000 test runs")
    again = drawn(tmp_path, "uncertainty")["map-correct"].figure
    assert again.to_json() == found["map-correct"].figure.to_json()


def test_the_limits_of_steering_are_drawn_where_they_are_known(root: Path):
    without, floor = (
        drawn(root, "traits", limits=limits)["steering-search-epistemic-calm"] for limits in (None, FLOOR)
    )
    assert "coherence floor unknown" in basis(without.figure)
    assert "coherence floor 73.0" in basis(floor.figure)


def test_a_figure_for_files_is_drawn_as_vectors_and_without_what_a_click_needs(root: Path):
    figure = drawn(root, "uncertainty")["map-correct"].figure
    assert {trace.type for trace in figure.data} == {"scattergl"}
    drawing = vector_graphics(figure)
    assert {trace["type"] for trace in drawing["data"]} == {"scatter"}
    assert not any("customdata" in trace for trace in drawing["data"])
    assert {trace.type for trace in figure.data} == {"scattergl"}


def test_long_axis_titles_are_broken_into_lines_and_never_within_an_escaped_letter(root: Path):
    figure = drawn(root, "uncertainty")["probe-against-entropy-sums"].figure
    figure.update_layout(yaxis_title_text=f"short words {'&#123;' * 12} and more words after them that are many")
    words = vector_graphics(figure)["layout"]["yaxis"]["title"]["text"]
    assert "<br>" in words
    assert words.count("&#123;") == 12


@pytest.mark.parametrize("study", ["uncertainty", "traits"])
def test_names_of_data_sets_and_traits_stay_text_in_every_figure(tmp_path: Path, study: str):
    plant(tmp_path, name=HOSTILE, trait=HOSTILE)
    figures = [one.figure for one in drawn(tmp_path, study).values() if one.figure is not None]
    assert len(figures) >= 5
    for figure in figures:
        shown = [text for text in strings(figure.to_plotly_json()["layout"]) if "onerror" in text]
        shown += [text for trace in figure.data for text in (trace.name, trace.hovertemplate) if "onerror" in str(text)]
        for text in map(str, shown):
            assert "<img" not in text, text
            assert "%{x}$a$" not in text, text
    assert any("onerror" in figure.layout.title.text for figure in figures)
