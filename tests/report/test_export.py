"""Figures and tables as files: the run's numbers, sound LaTeX, stable names, and plain words where a part fails."""

from __future__ import annotations

import csv
import re
import sys
from pathlib import Path

import polars as pl
import pytest
from study_folders import plant

from tells.cli import main
from tells.report.export import export
from tells.report.images import DrawingError, Image, write_images
from tells.report.latex import escaped, latex
from tells.report.named_table import Column, NamedTable, flat, interval, text
from tells.report.study_tables import BrokenTable, study_tables
from tells.tables import read_json

STUDIES = ("uncertainty", "traits", "safety")
DRAWING = {"data": [{"type": "scatter", "x": [1, 2], "y": [3, 1]}], "layout": {"title": {"text": "one"}}}


def tables(root: Path, study: str) -> dict[str, NamedTable]:
    found = study_tables(root, "tiny", study)
    assert not [table for table in found if isinstance(table, BrokenTable)]
    return {table.name: table for table in found}


def small(*rows: dict[str, object], title: str = "title") -> NamedTable:
    columns = (text("name", "name"), interval("value", "value", "low", "high"))
    return NamedTable("small", title, "n = 3 test questions; 95% interval", columns, rows)


# Tables


def test_the_numbers_of_a_table_are_those_of_the_file(root: Path):
    results = read_json(root / "experiments/tiny/safety/results.json")
    frame = tables(root, "safety")["arms"].frame()
    for row, arm in zip(frame.iter_rows(named=True), results["benchmarks"][0]["arms"], strict=True):
        assert row["arm"] == arm["arm"]
        assert row["agreement_estimate"] == arm["agreement"]["estimate"]
        assert row["tokens_low"] == arm["tokens"]["low"]
    rates = tables(root, "safety")["rates"].frame()
    given = results["benchmarks"][0]["rates"]
    assert rates["value"].to_list() == [rate["value"] for part in ("all", "by_category") for rate in given[part]]


def test_steering_has_a_row_for_each_kind_of_answers(root: Path):
    frame = tables(root, "traits")["steering"].frame()
    rows = {row["answers"]: row for row in frame.iter_rows(named=True)}
    assert set(rows) == {"unsteered", "steered", "prompting", "random"}
    assert (rows["steered"]["delta"], rows["steered"]["low"], rows["steered"]["p_random"]) == (30.0, 21.0, 0.25)
    assert (rows["random"]["delta"], rows["random"]["percentile_95"]) == (-1.0, 3.0)
    assert (rows["unsteered"]["delta"], rows["unsteered"]["trait_score"]) == (None, 52.0)


@pytest.mark.parametrize("study", STUDIES)
def test_every_caption_names_interval_and_who_judged(root: Path, study: str):
    found = tables(root, study)
    assert "headlines" in found
    for table in found.values():
        assert table.columns
        assert all(len(cells) == len(table.columns) for cells in table.cells())
        if study == "safety" and table.name not in ("headlines", "traces"):
            assert "harm by embedding (a proxy); refusal by patterns" in table.caption
        if study == "traits" and table.name != "headlines":
            assert "offline judge (mini)" in table.caption
        bracketed = any("[" in cell for cells in table.cells() for cell in cells)
        assert not bracketed or "interval" in table.caption


def test_an_interval_of_no_width_and_an_exact_one_are_marked():
    columns = interval("value", "value", exact="interval")
    known = {"value": 0.5, "low": 0.25, "high": 0.75, "interval": "bootstrap"}
    assert columns.cell(known) == "0.50 [0.25, 0.75]"
    assert columns.cell({**known, "interval": "exact"}) == "0.50 [0.25, 0.75]*"
    assert columns.cell({**known, "low": 0.5, "high": 0.5}) == "0.50 [–]"
    assert columns.cell({**known, "low": None, "high": None}) == "0.50 [–]"
    assert columns.cell({**known, "value": None}) == "–"


def test_records_within_records_become_columns_and_what_people_read_comes_first():
    record = flat({"b": {"low": 1.0, "deep": {"x": 2}}, "a": 3, "many": [1, 2]})
    assert record == {"b_low": 1.0, "b_deep_x": 2, "a": 3}
    table = NamedTable("t", "t", "c", (Column("a", str, ("a",)), text("none", "absent")), (record,))
    assert table.frame().columns == ["a", "b_low", "b_deep_x"]


def test_a_broken_table_is_told_and_the_others_are_there(root: Path):
    path = root / "experiments/tiny/safety/results.json"
    path.write_text(path.read_text().replace('"rankings"', '"ranks"'))
    found = study_tables(root, "tiny", "safety")
    (broken,) = [table for table in found if isinstance(table, BrokenTable)]
    assert broken.name == "rankings"
    assert "'rankings'" in broken.reason
    assert len(found) == 9


# LaTeX


def test_latex_reads_nothing_of_the_data_as_a_command():
    hostile = r"a_b & 50% \input{/etc/passwd} $x$ #1 ~^ {y} [z] <w> − ≥"
    expected = (
        r"a\_b \& 50\% \textbackslash{}input\{/etc/passwd\} \$x\$ \#1 \textasciitilde{}\textasciicircum{} "
        r"\{y\} {[}z{]} \textless{}w\textgreater{} $-$ $\geq$"
    )
    assert escaped(hostile) == expected
    source = latex(small({"name": hostile, "value": 0.5, "low": None, "high": None}, title=hostile), label="a_b/c")
    assert source.count(expected) == 2
    assert "\\label{tab:a-b-c}" in source


def test_a_latex_table_has_the_rules_of_booktabs_and_its_caption():
    row = {"name": "probe", "value": 0.8125, "low": 0.7, "high": 0.9}
    lines = latex(small(row), label="x").splitlines()
    assert lines[0] == "% needs: booktabs; \\input this file"
    assert "\\caption{title. n = 3 test questions; 95\\% interval.}" in lines
    assert "\\begin{tabular}{lr}" in lines
    body = [line for line in lines if line.endswith(r"\\") or "rule" in line]
    assert body[1:] == [r"name & value \\", "\\midrule", r"probe & 0.81 {[}0.70, 0.90{]} \\", "\\bottomrule"]


def test_a_long_latex_table_breaks_over_pages():
    rows = [{"name": f"n{number}", "value": 0.5, "low": None, "high": None} for number in range(41)]
    source = latex(small(*rows), label="x")
    assert source.startswith("% needs: booktabs, longtable")
    assert "\\begin{longtable}{lr}" in source
    assert "\\begin{table}" not in source
    for command in ("begin", "end"):
        assert len(re.findall(rf"\\{command}\{{", source)) == 1


# The folder


@pytest.fixture(scope="module")
def exported(planted: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything of the planted studies, in SVG."""
    before = sorted(planted.rglob("*"))
    folder = tmp_path_factory.mktemp("exported")
    made = export(planted, "tiny", folder, formats=["svg"])
    assert made.studies == STUDIES
    assert sorted(planted.rglob("*")) == before
    return folder


def contents(folder: Path) -> list[dict[str, str]]:
    with open(folder / "contents.csv", newline="", encoding="utf-8") as opened:
        return list(csv.DictReader(opened))


@pytest.mark.slow
def test_contents_name_every_file_and_why_one_is_not_there(exported: Path):
    rows = contents(exported)
    there = {path.relative_to(exported).as_posix() for path in exported.rglob("*.*") if path.is_file()}
    assert {row["file"] for row in rows if row["status"] == "written"} == there - {"contents.csv"}
    empty = {row["file"]: row["reason"] for row in rows if row["status"] == "empty"}
    assert "nothing to show" in empty["uncertainty/reliability-accuracy-sums"]
    assert {row["status"] for row in rows} == {"written", "empty"}
    assert all(row["title"] and row["caption"] for row in rows)
    wanted = ("safety/arms-tiny.svg", "safety/arms.csv", "safety/arms.tex", "traits/steering-report-epistemic-calm.svg")
    assert {*wanted} <= there
    assert len([name for name in there if name.endswith(".svg")]) > 18


@pytest.mark.slow
def test_an_svg_is_of_vectors_and_fetches_nothing(exported: Path):
    image = (exported / "uncertainty/map-correct.svg").read_text(encoding="utf-8")
    assert image.startswith("<svg ")
    assert "<image" not in image
    assert set(re.findall(r'https?://[^"\s]+', image)) <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert "n = 48 runs of 12 questions" in image


@pytest.mark.slow
def test_the_tables_of_the_export_hold_the_files_numbers(exported: Path, planted: Path):
    written = pl.read_csv(exported / "uncertainty/records.csv")
    (record,) = read_json(planted / "experiments/tiny/uncertainty/results.json")["records"]
    assert written.row(0, named=True)["value"] == record["value"] == 0.8125
    assert "0.812 {[}0.700, 0.900{]}" in (exported / "uncertainty/records.tex").read_text()


@pytest.mark.slow
def test_each_format_is_what_it_is_called(tmp_path: Path):
    paths = {kind: tmp_path / f"figure.{kind}" for kind in ("svg", "pdf", "png")}
    assert write_images([Image(DRAWING, path) for path in paths.values()]) == {}
    starts = {"svg": b"<svg ", "pdf": b"%PDF-", "png": b"\x89PNG"}
    for kind, path in paths.items():
        assert path.read_bytes().startswith(starts[kind])
    assert sorted(tmp_path.iterdir()) == sorted(paths.values())


@pytest.mark.slow
def test_a_figure_that_the_browser_refuses_costs_no_other(tmp_path: Path):
    refused = Image({"data": None, "layout": {}}, tmp_path / "refused.svg")
    found = write_images([refused, Image(DRAWING, tmp_path / "drawn.svg")])
    assert list(found) == [refused.path]
    assert [path.name for path in tmp_path.iterdir()] == ["drawn.svg"]


def test_without_a_browser_the_tables_are_there_and_the_error_says_what_to_install(
    root: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("BROWSER_PATH", str(root / "no-browser"))
    with pytest.raises(DrawingError, match=r"apt-get install chromium.*BROWSER_PATH"):
        export(root, "tiny", root / "out")
    assert (root / "out/safety/arms.tex").exists()
    assert {row["status"] for row in contents(root / "out")} == {"written"}


def test_without_kaleido_the_error_says_what_to_install(root: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "kaleido.errors", None)
    with pytest.raises(DrawingError, match=r"pip install tells\[figures\]"):
        export(root, "tiny", root / "out")


def test_what_is_not_there_or_not_known_is_an_error_before_anything_is_written(root: Path):
    with pytest.raises(ValueError, match="no such format: gif; there are svg, pdf, png"):
        export(root, "tiny", root / "out", formats=["svg", "gif"])
    with pytest.raises(LookupError, match="nothing: no results"):
        export(root, "nothing", root / "out")
    with pytest.raises(ValueError, match="no study"):
        export(root, "../tiny", root / "out")
    assert not (root / "out").exists()


def test_names_of_the_data_lead_nowhere_else(tmp_path: Path):
    plant(tmp_path, name="../../up", trait="a/b", benchmark="x")
    made = export(tmp_path, "tiny", tmp_path / "out", formats=[])
    assert {path.parent.name for path in (tmp_path / "out").rglob("*.csv")} == {"out", *STUDIES}
    assert made.contents["file"].str.contains("..", literal=True).sum() == 0


# The command


@pytest.mark.slow
def test_the_command_writes_below_the_experiment_and_says_what_is_broken(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    monkeypatch.chdir(root)
    for study in ("uncertainty", "safety"):
        (root / f"experiments/tiny/{study}/results.json").unlink()
    (root / "experiments/tiny/traits/epistemic/calm/vetting.json").unlink()
    assert main(["figures", "tiny", "--format", "svg"]) == 1
    said = capsys.readouterr().out
    assert "broken: traits/scores-scenarios-epistemic-calm: " in said
    assert "vetting.json: no such file" in said
    assert "experiments/tiny/figures: 10 files of traits; contents.csv lists them" in said
    assert (root / "experiments/tiny/figures/traits/cosines.svg").exists()


def test_the_command_says_what_is_wrong_in_a_line(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    monkeypatch.chdir(root)
    assert main(["figures", "nothing"]) == 1
    assert main(["figures", "tiny", "--format", "gif"]) == 1
    assert main(["figures", "../tiny"]) == 1
    assert capsys.readouterr().err.count("\n") == 3
