"""Reading definitions: what is put together, and everything that is wrong said at once."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import yaml

from tells.config import (
    ConfigError,
    load_experiments,
    load_models,
    load_site,
    load_workflow,
    select_experiments,
)
from tells.config.load import UniqueKeyLoader

ROOT = Path(__file__).parents[2]
MODELS = """
    small: {source: random, architecture: llama}
    large: {source: random, architecture: qwen3}
    sentences: {source: hub, task: embed, id: owner/sentences}
"""
DEMO = """
    model: small
    seed: 3
    uncertainty:
      samples: 4
      collections:
        sums: {questions: config/questions/sums.yaml}
        capitals: {questions: config/questions/capitals.yaml, role: out_of_distribution}
"""


class Place:
    """A folder with a site, a catalogue, question sets and the demo."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.write("config/config.yaml", "experiments: [demo]")
        self.write("config/models.yaml", MODELS)
        self.write("config/questions/sums.yaml", "")
        self.write("config/questions/capitals.yaml", "")
        self.write("experiments/demo.yaml", DEMO)

    def write(self, file: str, text: str) -> None:
        path = self.root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text), encoding="utf-8")

    def one(self, name: str):
        """The one experiment that a name gives."""
        (experiment,) = load_experiments(self.root, [name]).values()
        return experiment

    def problems(self, **overrides: Any) -> list[tuple[str, str]]:
        """File and key of every problem of the workflow."""
        return [(problem.file, problem.key) for problem in self.messages(**overrides)]

    def messages(self, **overrides: Any):
        with pytest.raises(ConfigError) as caught:
            load_workflow(self.root, overrides)
        assert all(str(problem) in str(caught.value) for problem in caught.value.problems)
        return caught.value.problems


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_the_projects_own_files_are_sound():
    site, experiments = load_workflow(ROOT, {"experiments": select_experiments(ROOT)})
    assert experiments
    assert {experiment.model for experiment in experiments.values()} <= set(load_models(ROOT / site.models))


def test_a_sound_workflow_is_read_with_its_defaults(place: Place):
    site, experiments = load_workflow(place.root)
    demo = experiments["demo"]
    assert site.experiment_names() == ["demo"]
    assert (demo.name, demo.model, demo.seed, demo.uncertainty.samples) == ("demo", "small", 3, 4)
    assert demo.engine.kind == "auto"
    assert demo.studies() == ["uncertainty"]
    assert demo.collections() == ["sums", "capitals"]


def test_an_override_stands_before_the_file_and_may_be_a_comma_list(place: Place):
    place.write("experiments/other.yaml", "model: large")
    _, experiments = load_workflow(place.root, {"experiments": "other, demo", "threads": 8})
    assert list(experiments) == ["other", "demo"]
    assert load_site(place.root, {"threads": 8}).threads == 8


@pytest.mark.parametrize(
    ("file", "text", "key"),
    [
        ("experiments/demo.yaml", "model: small\nsede: 3", "sede"),
        ("experiments/demo.yaml", "model: small\nengine: {batchsize: 3}", "engine.batchsize"),
        (
            "experiments/demo.yaml",
            DEMO + "        more: {questions: config/questions/sums.yaml, limt: 3}",
            "uncertainty.collections.more.limt",
        ),
        ("config/models.yaml", MODELS + "    huge: {source: hub, id: a/b, revison: x}", "huge.revison"),
        ("config/config.yaml", "experiments: [demo]\nthread: 3", "thread"),
    ],
)
def test_an_unknown_key_is_rejected_with_its_file_and_key_path(place: Place, file: str, text: str, key: str):
    place.write(file, text)
    (problem,) = place.messages()
    assert (problem.file, problem.key) == (file, key)
    assert "unknown key" in problem.message


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("seed: 1", "model"),
        ("model: small\nseed: -1", "seed"),
        ("model: small\nseed: many", "seed"),
        ("model: small\nreplay: {layers: some}", "replay.layers"),
        ("model: small\nreplay: {layers: [1, x]}", "replay.layers"),
        ("model: small\ngpu_memory_gb: .inf", "gpu_memory_gb"),
        ("model: small\ngpu_memory_gb: .nan", "gpu_memory_gb"),
        ("model: small\nuncertainty: {collections: {}}", "uncertainty.collections"),
        (
            "model: small\nuncertainty: {collections: {a: {questions: config/questions/sums.yaml, limit: 0}}}",
            "uncertainty.collections.a.limit",
        ),
        ("model: small\nuncertainty: {collections: {a: {limit: 1}}}", "uncertainty.collections.a.questions"),
        ("name: else\nmodel: small", "name"),
        ("1: 2\nmodel: small", "1"),
    ],
)
def test_a_wrong_value_is_put_down_to_its_key(place: Place, text: str, key: str):
    place.write("experiments/demo.yaml", text)
    assert {key_path.partition("[")[0].removesuffix(".1") for _, key_path in place.problems()} == {key}


@pytest.mark.parametrize("name", ["shards", "models", "steering", "agreement"])
def test_a_collection_cannot_have_a_reserved_name(place: Place, name: str):
    text = f"model: small\nuncertainty: {{collections: {{{name}: {{questions: config/questions/sums.yaml}}}}}}"
    place.write("experiments/demo.yaml", text)
    (problem,) = place.messages()
    assert problem.key == "uncertainty.collections"
    assert name in problem.message


def test_a_probe_position_that_is_not_replayed_is_a_problem(place: Place):
    place.write("experiments/demo.yaml", DEMO + "      replay_positions: [prompt_end]")
    (problem,) = place.messages()
    assert problem.key == "uncertainty"
    assert "think_end" in problem.message


def test_limit_is_read_and_absent_by_default(place: Place):
    place.write("experiments/trial.yaml", "extends: demo\nuncertainty: {collections: {sums: {limit: 5}}}")
    collections = place.one("trial").uncertainty.collections
    assert (collections["sums"].limit, collections["capitals"].limit) == (5, None)


def test_every_problem_of_every_file_is_reported_at_once(place: Place):
    place.write("config/config.yaml", "experiments: [demo, other, third, gone]\nthreads: 0\nspeed: high")
    place.write("config/models.yaml", MODELS + "    broken: {source: hub}\n    Big Model: {source: path, path: x}")
    place.write("experiments/demo.yaml", "model: unknown\nsamples: 4\nseed: -1")
    place.write("experiments/other.yaml", "model: [")
    place.write("experiments/third.yaml", DEMO.replace("small", "unknown").replace("sums.yaml", "gone.yaml"))
    assert set(place.problems()) == {
        ("config/config.yaml", "threads"),
        ("config/config.yaml", "speed"),
        ("config/models.yaml", "broken"),
        ("config/models.yaml", "Big Model"),
        ("experiments/demo.yaml", "samples"),
        ("experiments/demo.yaml", "seed"),
        ("experiments/other.yaml", ""),
        ("experiments/third.yaml", "model"),
        ("experiments/third.yaml", "uncertainty.collections.sums.questions"),
        ("experiments/gone.yaml", ""),
    }


def test_a_reference_to_a_broken_entry_is_no_second_problem(place: Place):
    place.write("config/models.yaml", "small: {source: hub}")
    assert place.problems() == [("config/models.yaml", "small")]


def test_a_missing_catalogue_is_one_problem(place: Place):
    (place.root / "config/models.yaml").unlink()
    assert place.problems() == [("config/models.yaml", "")]


def test_a_reference_to_an_unknown_model_names_the_key_and_the_known_ones(place: Place):
    place.write("experiments/demo.yaml", DEMO.replace("small", "smal"))
    (problem,) = place.messages()
    assert (problem.file, problem.key) == ("experiments/demo.yaml", "model")
    assert "small, large" in problem.message


def test_models_of_clustering_are_looked_up_where_it_uses_them(place: Place):
    place.write("experiments/demo.yaml", DEMO + "      clustering: {embedding_model: gone}")
    load_workflow(place.root)
    place.write("experiments/demo.yaml", DEMO + "      clustering: {text: cosine, embedding_model: gone}")
    assert place.problems() == [("experiments/demo.yaml", "uncertainty.clustering.embedding_model")]
    place.write("experiments/demo.yaml", DEMO + "      clustering: {text: cosine, embedding_model: sentences}")
    load_workflow(place.root)
    place.write("experiments/demo.yaml", DEMO + "      clustering: {text: cosine, embedding_model: small}")
    (problem,) = place.messages()
    assert "task" in problem.message


@pytest.mark.parametrize("key", ["questions", "path", "samples"])
def test_a_missing_file_is_a_problem_with_its_key_path(place: Place, key: str):
    entry = {"questions": "config/questions/sums.yaml", key: "data/gone.jsonl"}
    content = {"model": "small", "uncertainty": {"collections": {"sums": entry}}}
    place.write("experiments/demo.yaml", yaml.safe_dump(content))
    (problem,) = place.messages()
    assert problem.key == f"uncertainty.collections.sums.{key}"
    assert "data/gone.jsonl does not exist" in problem.message


def test_an_unknown_experiment_says_which_there_are(place: Place):
    (problem,) = place.messages(experiments=["dmeo"])
    assert problem.file == "experiments/dmeo.yaml"
    assert "demo" in problem.message


@pytest.mark.parametrize("name", ["../demo", "De mo", ".demo"])
def test_an_experiments_name_is_a_slug(place: Place, name: str):
    assert [file for file, _ in place.problems(experiments=[name])] == [f"experiments/{name}.yaml"]


# extends


def test_extends_merges_changed_keys_deeply_and_replaces_lists(place: Place):
    place.write("experiments/base.yaml", DEMO + "      stop: [a, b]\n    engine: {kind: hf, batch_size: 8}")
    place.write("experiments/middle.yaml", "extends: base\nseed: 5\nengine: {batch_size: 16}")
    place.write("experiments/child.yaml", "extends: middle\nuncertainty: {samples: 9, stop: [c]}")
    child = place.one("child")
    assert (child.name, child.model, child.seed) == ("child", "small", 5)
    assert (child.engine.kind, child.engine.batch_size) == ("hf", 16)
    assert (child.uncertainty.samples, child.uncertainty.stop) == (9, ("c",))
    assert list(child.uncertainty.collections) == ["sums", "capitals"]
    assert place.one("base").uncertainty.samples == 4


def test_extends_can_take_a_study_away(place: Place):
    place.write("experiments/child.yaml", "extends: demo\nuncertainty: null")
    assert place.one("child").studies() == []


@pytest.mark.parametrize("circle", [["a"], ["a", "b"], ["a", "b", "c"]])
def test_extends_in_a_circle_is_reported_with_the_circle(place: Place, circle: list[str]):
    for name, parent in zip(circle, [*circle[1:], circle[0]], strict=True):
        place.write(f"experiments/{name}.yaml", f"extends: {parent}")
    (problem,) = place.messages(experiments=["a"])
    assert problem.key == "extends"
    chain = " -> ".join(f"experiments/{name}.yaml" for name in [*circle, "a"])
    assert problem.message == f"goes in a circle: {chain}"


def test_extends_of_an_absent_file_is_reported(place: Place):
    place.write("experiments/demo.yaml", "extends: gone")
    (problem,) = place.messages()
    assert (problem.file, problem.key) == ("experiments/demo.yaml", "extends")
    assert "experiments/gone.yaml" in problem.message


def test_a_problem_of_an_extended_file_is_put_down_to_that_file(place: Place):
    place.write("experiments/base.yaml", DEMO + "      smaples: 3")
    place.write("experiments/child.yaml", "extends: base\nsede: 1")
    assert set(place.problems(experiments=["child"])) == {
        ("experiments/base.yaml", "uncertainty.smaples"),
        ("experiments/child.yaml", "sede"),
    }


# models


def test_models_expands_to_one_experiment_for_each(place: Place):
    place.write("experiments/both.yaml", DEMO.replace("model: small", "models: [small, large]"))
    experiments = load_experiments(place.root, ["both"])
    assert {name: one.model for name, one in experiments.items()} == {"both-small": "small", "both-large": "large"}
    assert [one.name for one in experiments.values()] == ["both-small", "both-large"]


def test_a_single_variant_can_be_asked_for_by_name(place: Place):
    place.write("experiments/both.yaml", DEMO.replace("model: small", "models: [small, large]"))
    assert place.one("both-large").model == "large"
    assert list(load_experiments(place.root, ["both-large", "both"])) == ["both-large", "both-small"]


def test_a_variant_is_found_where_another_file_is_its_prefix_too(place: Place):
    place.write("experiments/both.yaml", "models: [small, x-large]")
    place.write("experiments/both-x.yaml", "models: [small]")
    assert place.one("both-x-large").model == "x-large"
    assert place.one("both-x-small").model == "small"


def test_a_name_that_only_begins_like_an_experiment_is_not_that_experiment(place: Place):
    place.write("experiments/both.yaml", "models: [small]")
    assert place.problems(experiments=["demo-small"]) == [("experiments/demo-small.yaml", "")]
    (problem,) = place.messages(experiments=["both-large"])
    assert "both-small" in problem.message


def test_problems_of_variants_name_the_file_that_has_them(place: Place):
    text = DEMO.replace("model: small", "models: [small, gone]").replace("sums.yaml", "gone.yaml")
    place.write("experiments/both.yaml", text)
    assert sorted(place.problems(experiments=["both"])) == [
        ("experiments/both.yaml", "models"),
        ("experiments/both.yaml", "uncertainty.collections.sums.questions"),
    ]


@pytest.mark.parametrize("models", ["[]", "small", "{a: b}", "[small]\nmodel: small"])
def test_models_must_be_a_list_in_the_place_of_model(place: Place, models: str):
    place.write("experiments/demo.yaml", f"models: {models}")
    assert place.problems() == [("experiments/demo.yaml", "models")]


def test_models_and_model_of_an_extended_file_give_way_to_each_other(place: Place):
    place.write("experiments/many.yaml", "extends: demo\nmodels: [small, large]")
    place.write("experiments/single.yaml", "extends: many\nmodel: large")
    assert list(load_experiments(place.root, ["many"])) == ["many-small", "many-large"]
    assert place.one("single").model == "large"


def test_a_variant_that_has_a_file_of_its_own_is_a_problem(place: Place):
    place.write("experiments/both.yaml", "models: [small, large]")
    place.write("experiments/both-large.yaml", "model: large")
    (problem,) = place.messages(experiments=["both"])
    assert (problem.key, "both-large" in problem.message) == ("models", True)


# YAML


def test_a_repeated_key_is_rejected_with_its_line(place: Place):
    place.write("experiments/demo.yaml", "model: small\nengine:\n  kind: hf\n  kind: vllm")
    (problem,) = place.messages()
    assert problem.file == "experiments/demo.yaml"
    assert "'kind' stands twice" in problem.message
    assert "line 4" in problem.message


def test_merge_keys_work_and_may_be_overridden(place: Place):
    place.write("config/models.yaml", "a: &a {source: random, architecture: llama}\nb: {<<: *a, architecture: qwen3}")
    models = load_models(place.root / "config/models.yaml")
    assert (models["a"].architecture, models["b"].architecture) == ("llama", "qwen3")


@pytest.mark.parametrize(
    "text",
    [
        "a: &a {k: 1, l: 1}\nb: &b {<<: *a, k: 2}\nc: {<<: *b, l: 3}",
        "a: &a {k: 1, l: 1}\nx: {b: &b {<<: *a, k: 2}}\nc: {<<: *b, l: 3}",
        "a: &a {k: 1, l: 1}\nb: &b {<<: *a, k: 2}\nc: {<<: [{l: 3}, *b]}",
    ],
)
def test_merged_mappings_may_be_merged_again(text: str):
    assert yaml.load(text, UniqueKeyLoader)["c"] == {"k": 2, "l": 3}


@pytest.mark.parametrize("text", ["{a: 1, a: 1}", "{<<: {a: 1}, b: 1, b: 2}", "x: [{a: 1, a: 2}]", "{1: a, 1: b}"])
def test_repeated_keys_are_found_wherever_they_stand(text: str):
    with pytest.raises(yaml.YAMLError, match="stands twice"):
        yaml.load(text, UniqueKeyLoader)


@pytest.mark.parametrize("text", ["a: [", "{{x}}: 1", "- a list", "just text", "when: 2024-13-45", "a: !!python/none"])
def test_what_is_no_mapping_in_yaml_is_one_problem_of_its_file(place: Place, text: str):
    place.write("experiments/demo.yaml", text)
    assert place.problems() == [("experiments/demo.yaml", "")]


def test_a_file_that_is_not_utf_8_is_a_problem(place: Place):
    (place.root / "experiments/demo.yaml").write_bytes(b"model: \xff")
    assert place.problems() == [("experiments/demo.yaml", "")]


def test_an_entry_without_what_its_source_needs_says_what(place: Place):
    place.write("config/models.yaml", MODELS + "    wheel: {source: pypi, package: p, version: '1'}")
    (problem,) = place.messages()
    assert problem.key == "wheel"
    assert "sha256, file" in problem.message
