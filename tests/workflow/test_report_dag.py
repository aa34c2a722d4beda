"""The report's rules: what they draw from, what makes them run, and what `snakemake --report` makes of them."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import pytest
from study_folders import plant
from workflow_helpers import TINY, dry_run_jobs, make_clone, snakemake, tiny_safety, tiny_traits, write_experiment

from tells.config import STUDIES
from tells.report.study_figures import study_figures
from tells.report.study_files import StudyFiles
from tells.report.study_tables import study_tables

pytestmark = pytest.mark.slow
FIGURES = "experiments/tiny/{}/figures.html"
REPORT = "experiments/tiny/report.html"
DEFINITION = {
    **tiny_safety(),
    **tiny_traits(collections=["behavioral/formality"]),
    "judge": {"provider": "exemplar"},
    "uncertainty": TINY["uncertainty"],
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone in which the figures of three made-up studies have been drawn by the default target."""
    clone = make_clone(tmp_path_factory.mktemp("reported"))
    plant(clone, trait="behavioral/formality", benchmark="builtin")
    write_experiment(clone, DEFINITION)
    # Without the rules that make them, the files of the studies are there to be taken as they are.
    text = (clone / "Snakefile").read_text()
    others = r'include: "rules/(?!graph|common|inputs|engines|report)\w+\.smk"\n'
    (clone / "Snakefile").write_text(re.sub(others, "", text))
    done = snakemake(clone)
    assert done.returncode == 0, done.stdout
    return clone


def inputs_of(printed: str, rule: str) -> list[set[str]]:
    """Inputs of each job of a rule in what a dry run prints."""
    found = re.findall(rf"rule {rule}:\n\s+input: ([^\n]+)", printed)
    return [set(one.split(", ")) for one in found]


def test_the_rule_knows_every_file_that_the_figures_and_tables_read(tmp_path, monkeypatch):
    clone = make_clone(tmp_path)
    write_experiment(clone, {**DEFINITION, **tiny_traits(), "judge": {"provider": "exemplar"}})
    printed = snakemake(clone, "-n", "-F", *(FIGURES.format(study) for study in STUDIES)).stdout
    declared = {next(iter(files)).split("/")[2]: files for files in inputs_of(printed, "draw_figures")}
    assert set(declared) == {*STUDIES}, printed
    for study in STUDIES:
        assert files_read(clone, study, monkeypatch) == declared[study]


def files_read(clone: Path, study: str, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """What figures and tables ask for in a folder where nothing is but results that name the collections."""
    folder = clone / "experiments/tiny" / study
    folder.mkdir(parents=True, exist_ok=True)
    known = {"best_by_validation": None, "best_by_steering": None, "steering": None}
    vetted = {"scenarios": {}, "responses": {}}
    traits = [
        {"trait": "behavioral/formality", **known, **vetted, "search": {}},
        {"trait": "epistemic/optimism", **known, **vetted},
    ]
    results = {
        "uncertainty": {"datasets": {name: {"role": ""} for name in ("sums", "capitals")}, "probes": []},
        "traits": {"traits": traits, "cosines": []},
        "safety": {"benchmarks": [{"benchmark": "builtin", "counts": {"kind": "", "cut_value": 0}}]},
    }[study]
    if study == "safety":
        results["benchmarks"][0] |= {"hypothesis": {"level": 0.95}, "stopping": {"keep": 0.5}}
    metadata = {"window": 4, "classifiers": {"harm": "embedding", "refusal": "patterns"}}
    (folder / "results.json").write_text(json.dumps({**results, "metadata": metadata}))
    asked: set[str] = set()
    once = StudyFiles._once

    def watched(files, key, read):
        asked.add(str((files.folder / key[0]).relative_to(clone)))
        return once(files, key, read if key[0] == "results.json" else lambda: one_more(key[0]))

    def one_more(name: str) -> object:
        # The first file of a figure must not keep it from asking for the next.
        return {"probes": []} if name.endswith(".json") else _Anything()

    monkeypatch.setattr(StudyFiles, "_once", watched)
    for figure in study_figures(clone, "tiny", study):
        figure.drawn()
    study_tables(clone, "tiny", study)
    monkeypatch.undo()
    return asked


class _Anything:
    """Stands for a table; a figure that looks into it has asked for all its files before."""

    def __getattr__(self, name: str) -> object:
        raise ValueError(name)


def test_the_default_target_draws_every_study_and_a_second_run_does_nothing(built):
    for study in STUDIES:
        assert (built / FIGURES.format(study)).stat().st_size < 1_500_000
        status = json.loads((built / f"logs/tiny/{study}/draw_figures.status.json").read_text())
        assert status["state"] == "done"
    assert not (built / REPORT).exists()
    assert not dry_run_jobs(built)


def test_new_results_are_drawn_again(built):
    results = built / "experiments/tiny/safety/results.json"
    results.write_text(results.read_text() + "\n")
    assert dry_run_jobs(built) == {"draw_figures": 1, "all": 1}
    assert snakemake(built).returncode == 0
    assert not dry_run_jobs(built)


def test_the_limits_of_steering_are_a_matter_of_the_traits_alone(built):
    steer = {**DEFINITION["traits"]["steer"], "min_coherence": 2}
    write_experiment(built, {**DEFINITION, "traits": {**DEFINITION["traits"], "steer": steer}})
    pages = {study: dry_run_jobs(built, FIGURES.format(study)) for study in STUDIES}
    assert pages == {"uncertainty": {}, "traits": {"draw_figures": 1}, "safety": {}}
    write_experiment(built, DEFINITION)


def test_the_target_report_writes_a_page_for_each_experiment(built):
    done = snakemake(built, "report")
    assert done.returncode == 0, done.stdout
    page = (built / REPORT).read_text()
    assert "tiny: report" in page
    assert all(f"analyse_{study}, version" in page for study in STUDIES)
    assert not dry_run_jobs(built, "report")


def test_a_study_that_the_experiment_does_not_have_is_said_to_be_missing(built):
    only = {name: value for name, value in DEFINITION.items() if name != "traits"}
    write_experiment(built, only)
    (built / "experiments/tiny/traits").rename(built / "elsewhere")
    done = snakemake(built, "report")
    assert done.returncode == 0, done.stdout
    assert "The experiment has no traits study." in (built / REPORT).read_text()
    (built / "elsewhere").rename(built / "experiments/tiny/traits")
    write_experiment(built, DEFINITION)


def test_snakemakes_report_is_one_file_with_captions_categories_and_the_figures(built):
    done = snakemake(built, "--report", "report.html")
    assert done.returncode == 0, done.stdout
    text = (built / "report.html").read_text()
    captions = ("Does the model know?", "Which direction is a trait?", "Is an unsure yes")
    for study, caption in zip(STUDIES, captions, strict=True):
        assert f'"{study.capitalize()}"' in text
        assert caption in text
    assert text.count('"experiment": "tiny"') == len(STUDIES)
    packed = re.findall(r"data:text/html;charset=utf8;filename=figures\.html;base64,([\w+/=]+)", text)
    pages = {base64.b64decode(one).decode() for one in packed}
    assert pages == {(built / FIGURES.format(study)).read_text() for study in STUDIES}
    assert not re.search(r'<(?:script|link|img)[^>]+(?:src|href)="https?:', text)
