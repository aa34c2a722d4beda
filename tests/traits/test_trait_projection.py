"""Projection monitoring: every token's projection is that of the plain forward pass, for any study's samples."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from tells.models.hooks import capture
from tells.models.loading import LoadedModel, load_model
from tells.tables import SCHEMAS, TableError, read_metadata, read_table, write_json, write_table, write_tensors
from tells.traits.projection import TraitVector, choose_vector, project_collection, project_samples

TRAIT = "epistemic/optimism"
END = "<|end|>"
RUNS = [("q1", 0, "Ask", "good", END), ("q1", 1, "Ask", "a longer answer", " stop"), ("q2", 0, "Why so", "", END)]


@pytest.fixture(scope="module")
def llama(tiny_manifests: dict[str, Path]) -> LoadedModel:
    return load_model(tiny_manifests["llama"], dtype="float32", device="cpu")


def samples_of(loaded: LoadedModel) -> pl.DataFrame:
    """Runs whose text leaves out an end token, a stop string, or all there is."""
    ids = {text: loaded.tokenizer(text)["input_ids"] for run in RUNS for text in (run[2], run[3] + run[4])}
    rows = [
        {
            "prompt_id": name, "group": name, "sample": sample, "greedy": False, "seed": 0,
            "prompt_token_ids": ids[prompt], "token_ids": ids[text + end], "text": text, "finish_reason": "stop",
        }
        for name, sample, prompt, text, end in RUNS
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=SCHEMAS["samples"].columns)


def unit(loaded: LoadedModel, seed: int) -> np.ndarray:
    vector = np.random.default_rng(seed).normal(size=loaded.model.config.hidden_size).astype(np.float32)
    return vector / np.linalg.norm(vector)


def vectors_of(loaded: LoadedModel) -> list[TraitVector]:
    places = [("a/b", "probe", 2), ("a/c", "fisher", 0), ("a/d", "probe", 2)]
    return [TraitVector(*place, unit(loaded, seed)) for seed, place in enumerate(places)]


def test_projections_are_those_of_the_plain_forward_pass(tiny: LoadedModel):
    samples, vectors = samples_of(tiny), vectors_of(tiny)
    found = project_samples(samples, tiny, vectors, think_end="</think>", batch_size=2)
    assert found.schema == SCHEMAS["projections"].columns
    assert found.height == len(RUNS) * len(vectors)
    by_key = {(row["prompt_id"], row["sample"], row["trait"]): row for row in found.to_dicts()}
    for run in samples.to_dicts():
        prompt, tokens = run["prompt_token_ids"], run["token_ids"]
        with torch.inference_mode(), capture(tiny.model, [0, 2]) as outputs:
            tiny.model(torch.tensor([prompt + tokens]))
        kept = len(run["text"])  # the tokenizer's tokens are bytes
        for vector in vectors:
            row = by_key[run["prompt_id"], run["sample"], vector.trait]
            assert (row["method"], row["layer"]) == (vector.method, vector.layer)
            expected = (outputs[vector.layer][0, len(prompt) :] @ torch.tensor(vector.vector)).numpy()
            assert row["projection"] == pytest.approx(expected.tolist(), abs=1e-4)
            assert len(row["projection"]) == len(tokens)
            assert row["mean"] == (pytest.approx(float(expected[:kept].mean()), abs=1e-4) if kept else None)


def test_the_mean_leaves_out_the_end_token_and_the_stop_string(llama: LoadedModel):
    found = project_samples(samples_of(llama), llama, vectors_of(llama)[:1], think_end="</think>")
    for row, (_, _, _, text, _) in zip(found.to_dicts(), RUNS, strict=True):
        if text:
            assert row["mean"] == pytest.approx(np.mean(row["projection"][: len(text)]), abs=1e-5)
            assert row["mean"] != pytest.approx(np.mean(row["projection"]), abs=1e-5)
        else:
            assert row["mean"] is None


def test_rows_come_run_by_run(llama: LoadedModel, tmp_path: Path):
    found = project_samples(samples_of(llama), llama, vectors_of(llama), think_end="</think>")
    assert [row[:2] for row in found.select("prompt_id", "sample").rows()[::3]] == [run[:2] for run in RUNS]
    write_table(tmp_path / "projections.parquet", found, "projections", {})


def test_no_samples_are_an_empty_table(llama: LoadedModel):
    found = project_samples(samples_of(llama).clear(), llama, vectors_of(llama), think_end="</think>")
    assert (found.height, found.schema) == (0, SCHEMAS["projections"].columns)


@pytest.mark.parametrize(("layer", "width"), [(1, 63), (99, None), (-1, None)])
def test_a_vector_of_another_model_is_refused(llama: LoadedModel, layer: int, width: int | None):
    vector = TraitVector("a/b", "probe", layer, np.ones(width or 64, np.float32))
    with pytest.raises(ValueError, match="the model has width 64 and 4 blocks"):
        project_samples(samples_of(llama), llama, [vector], think_end="</think>")


# files


class Study:
    """Samples of one collection, the model that gave them, and vectors of another experiment."""

    def __init__(self, root: Path, manifest: Path, samples: pl.DataFrame) -> None:
        self.root = root
        facts = json.loads(manifest.read_text())
        place = root / f"resources/models/{facts['name']}/model.json"
        place.parent.mkdir(parents=True)
        shutil.copy(manifest, place)
        self.model = {"name": facts["name"], "revision": facts["revision"]}
        self.samples = root / "experiments/demo/uncertainty/sums/samples.parquet"
        self.samples.parent.mkdir(parents=True)
        write_table(self.samples, samples, "samples", {"model": self.model, "think_end": "</think>", "seed": 3})

    def write(self, trait: str, best: dict[str, Any] | None, *, width: int = 64) -> None:
        folder = self.root / "experiments/other/traits" / trait
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {"probe": np.eye(width, dtype=np.float32)[:2], "fisher": np.eye(width, dtype=np.float32)[2:3]}
        metadata = {"vector_layers": {"probe": [1, 3], "fisher": [1]}, "model": self.model}
        write_tensors(folder / "vectors.safetensors", tensors, metadata)
        write_json(folder / "vectors.json", {"best": best})


@pytest.fixture
def study(tmp_path: Path, tiny_manifests: dict[str, Path], llama: LoadedModel) -> Study:
    study = Study(tmp_path, tiny_manifests["llama"], samples_of(llama))
    study.write(TRAIT, {"method": "probe", "layer": 3})
    return study


@pytest.mark.parametrize(
    ("named", "expected", "place"),
    [
        ({}, ("probe", 3), 1),
        ({"layer": 1}, ("probe", 1), 0),
        ({"method": "fisher", "layer": 1}, ("fisher", 1), 2),
        ({"method": "probe"}, ("probe", 3), 1),
    ],
)
def test_the_vector_is_the_best_on_validation_but_where_named(study: Study, named: dict, expected: tuple, place: int):
    found = choose_vector(study.root / "experiments/other", TRAIT, **named)
    assert (found.trait, found.method, found.layer) == (TRAIT, *expected)
    assert found.vector[place] == 1.0


def test_layer_zero_can_be_named(study: Study):
    with pytest.raises(TableError, match="no vector of probe at layer 0"):
        choose_vector(study.root / "experiments/other", TRAIT, layer=0)


@pytest.mark.parametrize("best", [None, {"method": None, "layer": None}])
def test_where_no_vector_was_chosen_one_must_be_named(study: Study, best: dict | None):
    study.write(TRAIT, best)
    folder = study.root / "experiments/other"
    for named in ({}, {"method": "probe"}, {"layer": 1}):
        with pytest.raises(TableError, match="name a method and a layer"):
            choose_vector(folder, TRAIT, **named)
    assert choose_vector(folder, TRAIT, method="probe", layer=1).layer == 1


def test_a_trait_that_was_not_extracted_is_an_error(study: Study):
    with pytest.raises(TableError, match="no such file"):
        choose_vector(study.root / "experiments/other", "epistemic/gone")


def test_a_collection_is_projected_beside_its_samples(study: Study, llama: LoadedModel):
    study.write("behavioral/formality", {"method": "fisher", "layer": 1})
    traits = [TRAIT, "behavioral/formality"]
    path = project_collection(study.root, "demo", "uncertainty/sums", traits, vectors="other", batch_size=2)
    assert path == study.samples.with_name("projections.parquet")
    found = read_table(path, "projections")
    vectors = [choose_vector(study.root / "experiments/other", trait) for trait in traits]
    expected = project_samples(samples_of(llama), llama, vectors, think_end="</think>")
    key = ["prompt_id", "sample", "trait"]
    assert found.sort(key).drop("projection", "mean").equals(expected.sort(key).drop("projection", "mean"))
    means = [table.sort(key)["mean"].to_list() for table in (found, expected)]
    assert [one is None for one in means[0]] == [one is None for one in means[1]]
    facts = read_metadata(path)
    assert facts["vectors"] == {"experiment": "other", "model": study.model}
    assert (facts["model"], facts["seed"], facts["experiment"]) == (study.model, 3, "demo")


def test_vectors_of_another_width_are_refused(study: Study):
    study.write(TRAIT, {"method": "probe", "layer": 3}, width=32)
    with pytest.raises(ValueError, match="width 32"):
        project_collection(study.root, "demo", "uncertainty/sums", [TRAIT], vectors="other")


def test_the_users_own_samples_are_of_no_known_model(study: Study, llama: LoadedModel):
    write_table(study.samples, samples_of(llama), "samples", {"model": None, "think_end": "</think>", "seed": 3})
    with pytest.raises(TableError, match="the user's own samples"):
        project_collection(study.root, "demo", "uncertainty/sums", [TRAIT], vectors="other")
