"""Which vectors are steered with, read from real files of vectors and their figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tells.tables import TableError, write_json, write_tensors
from tells.traits.candidates import chosen_row, read_candidates, read_vector
from tells.traits.cosines import trait_cosines
from tells.traits.steering import STEERED, Question

LAYERS = {"probe": [0, 1, 2, 3], "fisher": [1, 3]}
EFFECTS = {("probe", 0): 0.5, ("probe", 1): 2.0, ("probe", 2): None, ("probe", 3): 1.0, ("fisher", 3): 3.0}
BEST = {"method": "probe", "layer": 1}


def vector(method: str, layer: int) -> np.ndarray:
    """Another unit vector for every method and layer."""
    unit = np.zeros(8, np.float32)
    unit[4 * (method == "fisher") + layer] = 1.0
    return unit


def record(method: str, layer: int, **changes: Any) -> dict[str, Any]:
    figures = {"validation_cohens_d": EFFECTS.get((method, layer)), "cross_validated_cohens_d": None}
    return {"method": method, "layer": layer, "norm": 1.0, **figures, **changes}


class Files:
    """A vectors file and its figures."""

    def __init__(self, folder: Path) -> None:
        self.vectors, self.record = folder / "vectors.safetensors", folder / "vectors.json"
        self.write()

    def write(
        self,
        layers: Mapping[str, list[int]] = LAYERS,
        *,
        status: str = "ok",
        best: Mapping[str, Any] | None = BEST,
        records: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        tensors = {name: np.stack([vector(name, layer) for layer in own]) for name, own in layers.items()}
        write_tensors(self.vectors, tensors, {"vector_layers": layers})
        if records is None:
            records = [record(name, layer) for name, own in layers.items() for layer in own]
        write_json(self.record, {"status": status, "best": best, "records": records})

    def candidates(self, layers: int | Sequence[int] = 2, methods: str | Sequence[str] = "best") -> list[tuple]:
        found = read_candidates(self.vectors, self.record, layers=layers, methods=methods)
        for one in found:
            assert np.array_equal(one.vector, vector(one.method, one.layer))
        return [(one.method, one.layer) for one in found]


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.mark.parametrize(("method", "layer"), [("probe", 0), ("probe", 3), ("fisher", 1), ("fisher", 3)])
def test_a_vector_is_found_by_method_and_layer_not_by_its_place(files: Files, method: str, layer: int):
    assert np.array_equal(read_vector(files.vectors, method, layer), vector(method, layer))


@pytest.mark.parametrize(("method", "layer"), [("fisher", 0), ("probe", 4), ("pairwise_pca", 1)])
def test_a_vector_that_is_not_there_is_refused_with_those_that_are(files: Files, method: str, layer: int):
    with pytest.raises(TableError, match=rf"no vector of {method} at layer {layer}.*fisher at 1, 3"):
        read_vector(files.vectors, method, layer)


def test_a_file_without_vectors_says_that_it_holds_none(files: Files):
    files.write({})
    with pytest.raises(TableError, match="holds none"):
        read_vector(files.vectors, "probe", 0)


def test_a_number_of_layers_are_the_best_on_validation_in_their_order(files: Files):
    assert files.candidates(1) == [("probe", 1)]
    assert files.candidates(2) == [("probe", 1), ("probe", 3)]
    assert files.candidates(9) == [("probe", 0), ("probe", 1), ("probe", 3)]


def test_methods_are_the_best_one_or_those_named(files: Files):
    assert files.candidates(1, ["fisher", "probe"]) == [("fisher", 3), ("probe", 1)]
    assert files.candidates([1], ["fisher"]) == [("fisher", 1)]


def test_nested_figures_choose_where_there_is_no_validation(files: Files):
    effects = {0: 0.2, 1: -4.0, 2: 0.9, 3: 0.0}
    records = [record("probe", n, validation_cohens_d=None, cross_validated_cohens_d=d) for n, d in effects.items()]
    files.write(records=records)
    assert files.candidates(2) == [("probe", 0), ("probe", 2)]


def test_an_effect_of_zero_on_validation_is_a_figure(files: Files):
    records = [record("probe", 0, validation_cohens_d=0.0, cross_validated_cohens_d=9.0), record("probe", 1)]
    files.write({"probe": [0, 1]}, records=records)
    assert files.candidates(1) == [("probe", 1)]


def test_equal_effects_give_the_lower_layer(files: Files):
    files.write(records=[record("probe", layer, validation_cohens_d=1.0) for layer in (3, 2, 1, 0)])
    assert files.candidates(2) == [("probe", 0), ("probe", 1)]


def test_a_vector_that_could_not_be_fitted_is_no_candidate(files: Files):
    records = [record("probe", 0), record("probe", 1, norm=None)]
    files.write({"probe": [0]}, records=records)
    assert files.candidates(2) == [("probe", 0)]


def test_layers_that_are_named_count_from_the_end_where_negative(files: Files):
    assert files.candidates([3, 0]) == [("probe", 3), ("probe", 0)]
    assert files.candidates([-1, -4]) == [("probe", 3), ("probe", 0)]
    with pytest.raises(TableError, match="no vector of probe at layer 7"):
        files.candidates([7])
    with pytest.raises(TableError, match="no vector of probe at layer -1"):
        files.candidates([-5])


def test_the_last_layer_is_the_last_even_where_its_vector_could_not_be_fitted(files: Files):
    files.write({"probe": [0, 1]}, records=[record("probe", 0), record("probe", 1), record("probe", 2, norm=None)])
    with pytest.raises(TableError, match="no vector of probe at layer 2"):
        files.candidates([-1])


def test_a_vector_that_is_named_twice_is_tried_once(files: Files):
    assert files.candidates([3, -1, 3]) == [("probe", 3)]
    assert files.candidates([1], ["probe", "fisher", "probe"]) == [("probe", 1), ("fisher", 1)]


def test_layers_cannot_be_chosen_without_figures(files: Files):
    files.write(records=[record("probe", layer, validation_cohens_d=None) for layer in LAYERS["probe"]])
    with pytest.raises(TableError, match=r"no vector of probe has figures.*steer\.layers"):
        files.candidates(1)
    assert files.candidates([2]) == [("probe", 2)]


@pytest.mark.parametrize(
    "changes",
    [{"status": "insufficient"}, {"best": None}, {"best": {"method": None, "layer": None}}],
)
def test_an_insufficient_trait_and_one_without_a_choice_have_no_candidates(files: Files, changes: dict[str, Any]):
    files.write(**changes)
    assert files.candidates(2) == []
    assert files.candidates([1], ["probe"]) == []


def test_the_chosen_row_carries_the_point_and_its_vector(files: Files):
    optimum = {"method": "fisher", "layer": 3, "ratio": -0.5, "coefficient": -4.5, "delta": 20.0}
    question = Question("report-00", "What?")
    row = chosen_row({"optimum": optimum}, files.vectors, question)
    assert (row.kind, row.question, row.sample) == (STEERED, question, 0)
    assert (row.candidate.method, row.candidate.layer, row.ratio, row.coefficient) == ("fisher", 3, -0.5, -4.5)
    assert np.array_equal(row.candidate.vector, vector("fisher", 3))
    assert row.draw is None
    assert row.instruction is None


def test_no_optimum_is_no_row(files: Files):
    assert chosen_row({"optimum": None}, files.vectors, Question("report-00", "What?")) is None


def test_cosines_are_those_of_vectors_of_one_method_and_layer(tmp_path: Path):
    first, second, third = (tmp_path / f"{name}.safetensors" for name in "abc")
    row = np.array([[1, 0], [0.6, 0.8]], np.float32)
    write_tensors(first, {"probe": row}, {"vector_layers": {"probe": [2, 5]}})
    write_tensors(second, {"probe": row[:1]}, {"vector_layers": {"probe": [5]}})
    write_tensors(third, {}, {"vector_layers": {}})
    (found,) = trait_cosines({"x/a": first, "x/b": second, "x/c": third})
    assert (found["method"], found["layer"]) == ("probe", 5)
    assert set(found["cosines"]) == {"x/a", "x/b"}
    assert found["cosines"]["x/a"]["x/b"] == pytest.approx(0.6)
    assert trait_cosines({"x/a": first}) == []
