"""Safety studies that are wrongly defined, or whose prompts cannot be read: told at once, before any job."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from workflow_helpers import dry_run_jobs, make_clone, snakemake, tiny_safety, write_experiment

pytestmark = pytest.mark.slow
HEAD = b"id,prompt,label,kind\n"
BENCHMARK = {
    "description": "Prompts of one's own.",
    "licence": "MIT",
    "id": "id",
    "prompt": "prompt",
    "label": {"column": "label", "values": {"bad": "harmful", "good": "benign"}},
    "category": "kind",
}
# Name of the benchmark: its data, and what is said of them.
BROKEN = {
    "lacking": (b"id,text,label,kind\na,What?,bad,x\n", ["column 'prompt' is missing; the file holds 'id', 'kind'"]),
    "foreign": (HEAD + "a,What?,bad,x\nb,Où?,good,x\n".encode("latin-1"), ["row 2: not UTF-8 (column 'prompt')"]),
    "doubled": (HEAD + b"a,What?,bad,x\na,Why?,good,x\n", ["row 2: id 'a' stands in row 1 already"]),
    "hollow": (
        HEAD + b"a,What?,bad,x\nb,,good,x\nc,  ,good,x\n",
        ["row 2: the prompt is empty", "row 3: the prompt is empty"],
    ),
    "nothing": (b"", ["the file is empty"]),
    "absent": (None, ["absent.csv does not exist"]),
}


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone in which nothing has been run, nor will be."""
    return make_clone(tmp_path_factory.mktemp("clone"))


def write_benchmark(clone: Path, name: str, data: bytes | None = None, **changes: object) -> None:
    description = {**BENCHMARK, "file": f"{name}.csv", **changes}
    told = {key: value for key, value in description.items() if value is not None}
    (clone / f"config/benchmarks/{name}.yaml").write_text(yaml.safe_dump(told))
    if data is not None:
        (clone / f"config/benchmarks/{name}.csv").write_bytes(data)


def refused(clone: Path, name: str, **changes: object) -> str:
    """What a run says that ends before its first job."""
    write_experiment(clone, tiny_safety(**changes), name)
    done = snakemake(clone, "safety", experiment=name)
    assert done.returncode == 1, done.stdout
    assert "Traceback" not in done.stdout
    assert "Execute" not in done.stdout
    assert not (clone / f"experiments/{name}").exists()
    assert not (clone / f"logs/{name}").exists()
    assert not (clone / "resources/models").exists()
    return done.stdout


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"labels": {"harm": "oracle"}},
            ["safety.labels.harm: Input should be", "'embedding', 'wildguard', 'llama_guard' or 'judge'", "'oracle'"],
        ),
        (
            {"labels": {"also": ["judge"]}},
            ["safety.labels asks the judge, but judge.provider is exemplar", "set it to openai or gemini"],
        ),
        ({"stopping": {"warmup": 4}}, ["stopping.warmup 4 must be below budget 4"]),
        (
            {"collections": {"nowhere": {}, "builtin": {"path": "mine.jsonl"}}},
            [
                "2 configuration problem(s)",
                "safety.collections.nowhere.benchmark: config/benchmarks/nowhere.yaml does not exist",
                "safety.collections.builtin.path: mine.jsonl does not exist",
            ],
        ),
    ],
    ids=["classifier", "judge", "warm-up", "files"],
)
def test_a_wrong_definition_is_one_message(clone, request, changes, words):
    name = request.node.callspec.id
    told = refused(clone, name, **changes)
    assert [told.count(word) for word in words] == [1] * len(words), told
    assert told.count(f"experiments/{name}.yaml") == (2 if name == "files" else 1)


def test_a_broken_description_is_one_message(clone):
    write_benchmark(clone, "unruly", label={"column": "label"})
    told = refused(clone, "described", collections={"unruly": {}})
    assert told.count("config/benchmarks/unruly.yaml: label: a label rule has one of the keys") == 1
    assert told.count("cure: correct the benchmark") == 1


def test_broken_prompts_are_told_all_at_once_with_their_rows(clone):
    for name, (data, _) in BROKEN.items():
        write_benchmark(clone, name, data)
    told = refused(clone, "broken", collections={name: {} for name in BROKEN})
    assert f"{len(BROKEN)} errors:" in told
    for name, (_, words) in BROKEN.items():
        assert told.count(f"prompts of collection {name} (experiment broken)") == 1, name
        assert [told.count(word) for word in words] == [1] * len(words), (name, told)


def test_data_that_do_not_come_with_the_project_are_told_with_their_source_and_licence(clone):
    write_benchmark(clone, "gated", file=None, get="Ask the authors.", non_commercial=True)
    collections = {"gated": {}, "builtin": {"path": "config"}}
    told = refused(clone, "absentees", collections=collections)
    assert "gated: its data do not come with the project" in told
    assert "Ask the authors. Licence: MIT, non-commercial. Name your copy in the experiment: `path: FILE`" in told
    assert "(`path`) is a folder" in told


def test_one_benchmarks_cells_need_no_arms_and_no_online_stopping(clone):
    write_experiment(clone, tiny_safety(collections={"builtin": {}, "xstest": {}}), "asked")
    jobs = dry_run_jobs(clone, "experiments/asked/safety/builtin/strata.json", experiment="asked")
    assert jobs == {
        **{"fetch_model": 2, "prompts": 1, "merge_samples": 1, "measure_confidence": 1},
        **{"classify": 2, "label": 1, "stratify": 1},
    }
