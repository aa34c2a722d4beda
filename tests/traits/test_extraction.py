"""Which rows enter a trait's vectors, and the files that come out, on real files whose states name their rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tells.tables import SCHEMAS, TableError, read_json, read_metadata, read_tensors, write_table, write_tensors
from tells.traits.candidates import read_candidates, read_vector
from tells.traits.extraction import Activations, extract, read_activations, write_vectors

WIDTH = 6
POSITIONS = ["response[:16]", "response"]
POLARITIES = ("positive", "negative")


def mark(prompt: str, sample: int, layer: int, position: int) -> np.ndarray:
    """The state of one place, unlike that of any other."""
    polarity, _, number = prompt.partition("-")
    own = [POLARITIES.index(polarity), int(number), sample, layer, position, 1]
    return np.array(own, np.float16)


class Collection:
    """Vetted, replayed responses in files.

    Args:
        folder: where the files lie.
        pairs: number of pairs.
        samples: responses per scenario.
        kept: (prompt, sample) that vetting keeps; all by default.
        empty: (prompt, sample) whose response holds no token.
        layers: blocks that were replayed.
        shards: over how many files the responses are spread, in an order that is not vetting's.
    """

    def __init__(
        self,
        folder: Path,
        *,
        pairs: int = 3,
        samples: int = 1,
        kept: Sequence[tuple[str, int]] | None = None,
        empty: Sequence[tuple[str, int]] = (),
        layers: Sequence[int] = (0, 1, 2),
        shards: int = 2,
    ) -> None:
        self.keys = [(f"{pole}-{n:03d}", s) for n in range(pairs) for pole in POLARITIES for s in range(samples)]
        self.empty, self.layers = set(empty), list(layers)
        rows = [
            {
                "prompt_id": prompt,
                "group": f"pair-{prompt[-3:]}",
                "sample": sample,
                "polarity": prompt.partition("-")[0],
                "outcome": "pass",
                "kept": kept is None or (prompt, sample) in kept,
            }
            for prompt, sample in self.keys
        ]
        self.vetting = pl.DataFrame(rows, schema=SCHEMAS["vetting"].columns)
        texts = {prompt: "x" * (10 + place) for place, (prompt, _) in enumerate(self.keys)}
        self.prompts = pl.DataFrame(
            {"prompt_id": list(texts), "text": list(texts.values()), "polarity": [key[:8] for key in texts]}
        )
        self.replay = [folder / f"replay-{n:04d}.parquet" for n in range(shards)]
        self.states = [folder / f"replay-{n:04d}.safetensors" for n in range(shards)]
        for shard in range(shards):
            self._write(shard, self.keys[shard::shards][::-1])

    def _write(self, shard: int, keys: Sequence[tuple[str, int]]) -> None:
        facts = [
            {"prompt_id": prompt, "sample": sample, "shard": shard, "tensor_row": len(keys) - 1 - row}
            for row, (prompt, sample) in enumerate(keys)
        ]
        hidden = np.array(
            [
                [[mark(*key, layer, position) for position in range(len(POSITIONS))] for layer in self.layers]
                for key in reversed(keys)
            ]
        ).reshape(len(keys), len(self.layers), len(POSITIONS), WIDTH)
        valid = np.array([[key not in self.empty] * len(POSITIONS) for key in reversed(keys)], np.uint8)
        hidden *= valid[:, None, :, None]
        metadata = {"layers": self.layers, "positions": POSITIONS}
        write_tensors(self.states[shard], {"hidden": hidden, "valid": valid}, metadata)
        table = pl.DataFrame(facts, schema=SCHEMAS["replay"].columns)
        write_table(self.replay[shard], table, "replay", metadata)

    def read(self, *, window: str = "response", layers: Any = "all") -> Activations:
        return read_activations(self.vetting, self.prompts, self.replay, self.states, window=window, layers=layers)


def check(found: Activations, position: int) -> None:
    """Every state is that of its row, its layer and the position."""
    assert found.states.shape == (found.rows.height, len(found.layers), WIDTH)
    for row, states in zip(found.rows.iter_rows(named=True), found.states, strict=True):
        for layer, state in zip(found.layers, states, strict=True):
            assert np.array_equal(state, mark(row["prompt_id"], row["sample"], layer, position))


# reading


@pytest.mark.parametrize(("window", "position"), [("response[:16]", 0), ("response", 1)])
@pytest.mark.parametrize("shards", [1, 2, 3])
def test_every_row_keeps_its_own_states_over_all_shards(tmp_path: Path, window: str, position: int, shards: int):
    collection = Collection(tmp_path, pairs=4, samples=2, shards=shards)
    found = collection.read(window=window)
    check(found, position)
    assert set(found.rows.select("prompt_id", "sample").rows()) == set(collection.keys)
    assert (found.layers, found.n_empty) == ((0, 1, 2), 0)
    in_order = [key for shard in range(shards) for key in collection.keys[shard::shards]]
    assert found.rows.select("prompt_id", "sample").rows() == in_order


def test_only_kept_rows_enter(tmp_path: Path):
    kept = [("positive-001", 0), ("negative-001", 0), ("positive-002", 1)]
    found = Collection(tmp_path, samples=2, kept=kept).read()
    check(found, 1)
    assert sorted(found.rows.select("prompt_id", "sample").rows()) == sorted(kept)
    assert found.rows["kept"].all()


def test_rows_carry_the_characters_of_their_scenario(tmp_path: Path):
    collection = Collection(tmp_path)
    found = collection.read().rows
    texts = dict(collection.prompts.select("prompt_id", "text").rows())
    assert found["characters"].to_list() == [len(texts[name]) for name in found["prompt_id"]]


def test_an_empty_window_is_left_out_and_counted(tmp_path: Path):
    empty = [("positive-000", 0), ("negative-002", 0)]
    found = Collection(tmp_path, empty=empty).read()
    check(found, 1)
    assert found.n_empty == 2
    assert found.rows.height == 4
    assert not set(found.rows["prompt_id"]) & {"positive-000", "negative-002"}


def test_a_rejected_row_with_an_empty_window_is_not_counted(tmp_path: Path):
    kept = [("positive-001", 0), ("negative-001", 0)]
    assert Collection(tmp_path, kept=kept, empty=[("positive-000", 0)]).read().n_empty == 0


def test_chosen_layers_come_in_the_order_asked_by_their_names(tmp_path: Path):
    found = Collection(tmp_path, layers=(2, 4, 6)).read(layers=[6, 2])
    assert found.layers == (6, 2)
    check(found, 1)


def test_negative_layers_count_from_the_last_block(tmp_path: Path):
    found = Collection(tmp_path).read(layers=[-1, 0])
    assert found.layers == (2, 0)
    check(found, 1)


@pytest.mark.parametrize("replayed", [(1, 3), (1, 2), (0, 2)])
def test_negative_layers_need_all_blocks_to_be_replayed(tmp_path: Path, replayed: tuple[int, ...]):
    """Of blocks 1 and 3 alone, how many there are is not known: -1 must not become block 1."""
    with pytest.raises(TableError, match=r"layers -1: count from 0.*replay\.layers"):
        Collection(tmp_path, layers=replayed).read(layers=[-1])


def test_a_window_that_was_not_replayed_is_one_clear_error(tmp_path: Path):
    with pytest.raises(TableError, match=r"holds the windows response\[:16\], response, not prompt_last"):
        Collection(tmp_path).read(window="prompt_last")


def test_a_layer_that_was_not_replayed_is_one_clear_error(tmp_path: Path):
    with pytest.raises(TableError, match=r"layers 7, 9 were not replayed; it holds \[0, 1, 2\]"):
        Collection(tmp_path).read(layers=[1, 7, 9])


def test_a_kept_response_without_states_is_an_error(tmp_path: Path):
    collection = Collection(tmp_path)
    with pytest.raises(TableError, match="3 kept responses were not replayed"):
        read_activations(
            collection.vetting, collection.prompts, collection.replay[:1], collection.states[:1],
            window="response", layers="all",
        )  # fmt: skip


def test_no_shards_are_an_error(tmp_path: Path):
    collection = Collection(tmp_path)
    with pytest.raises(TableError, match="no replayed shard"):
        read_activations(collection.vetting, collection.prompts, [], [], window="response", layers="all")


def test_where_nothing_is_kept_there_are_no_rows(tmp_path: Path):
    found = Collection(tmp_path, kept=[]).read()
    assert found.states.shape == (0, 3, WIDTH)
    assert (found.rows.height, found.n_empty) == (0, 0)


# vectors


def activations(n_pairs: int = 12, *, layers: tuple[int, ...] = (3, 5), effect: float = 4.0) -> Activations:
    """Pairs that differ in their first dimension, more at the second layer."""
    generator = np.random.default_rng(0)
    states = generator.normal(size=(2 * n_pairs, len(layers), WIDTH)).astype(np.float32)
    states[::2, -1, 0] += effect
    rows = pl.DataFrame(
        {
            "group": [f"pair-{n:03d}" for n in range(n_pairs) for _ in POLARITIES],
            "polarity": list(POLARITIES) * n_pairs,
            "characters": generator.integers(20, 60, 2 * n_pairs),
        }
    )
    return Activations(states, rows, layers, 0)


METHODS = ("mean_difference", "probe", "fisher")


def write(folder: Path, found: Activations, **facts: Any) -> tuple[Path, Path]:
    quality, reason = extract(found, methods=METHODS, seed=0, bootstrap=50)
    vectors, record = folder / "vectors.safetensors", folder / "vectors.json"
    status = {"status": "insufficient" if quality is None else "ok", "reason": reason, **facts}
    write_vectors(vectors, record, quality, status, {"window": "response"})
    return vectors, record


def test_every_method_at_every_layer_gives_a_unit_vector_that_can_be_read_back(tmp_path: Path):
    vectors, record = write(tmp_path, activations())
    content, tensors = read_json(record), read_tensors(vectors)
    assert content["n_vectors"] == 6
    assert read_metadata(vectors)["vector_layers"] == {method: [3, 5] for method in METHODS}
    assert read_metadata(vectors)["window"] == content["metadata"]["window"] == "response"
    assert {name: tensor.shape for name, tensor in tensors.items()} == dict.fromkeys(METHODS, (2, WIDTH))
    assert {str(tensor.dtype) for tensor in tensors.values()} == {"float32"}
    for tensor in tensors.values():
        assert np.linalg.norm(tensor, axis=1) == pytest.approx(np.ones(2), abs=1e-5)
    assert read_vector(vectors, "mean_difference", 5)[0] > 0.8, "towards what the positive rows have more of"
    assert [(one["method"], one["layer"]) for one in content["records"]] == [(m, n) for m in METHODS for n in (3, 5)]
    assert content["best"]["layer"] == 5
    (chosen,) = read_candidates(vectors, record, layers=1, methods="best")
    assert (chosen.method, chosen.layer) == (content["best"]["method"], 5)


@pytest.mark.parametrize("positives", [0, 1])
def test_too_few_scenarios_give_a_reason_and_files_that_can_be_read(tmp_path: Path, positives: int):
    found = activations(3)
    pairs = found.rows["group"].str.tail(1).cast(pl.Int32)
    few = ((found.rows["polarity"] == "negative") | (pairs < positives)).to_numpy()
    found = Activations(found.states[few], found.rows.filter(pl.Series(few)), found.layers, 0)
    quality, reason = extract(found, methods=METHODS, seed=0, bootstrap=50)
    assert quality is None
    assert reason == f"{positives} positive and 3 negative scenarios survive: 2 of each are needed"
    vectors, record = write(tmp_path, found)
    content = read_json(record)
    assert (content["n_vectors"], content["best"], content["records"]) == (0, None, [])
    assert content["reason"] == reason
    assert read_tensors(vectors) == {}
    assert read_metadata(vectors)["vector_layers"] == {}
    assert read_candidates(vectors, record, layers=2, methods="best") == []


def test_too_few_pairs_to_hold_out_give_vectors_without_a_choice(tmp_path: Path):
    vectors, record = write(tmp_path, activations(4))
    content = read_json(record)
    assert (content["status"], content["n_vectors"]) == ("ok", 6)
    assert content["best"]["method"] is None
    assert "4 pairs" in content["reason"]
    assert len(read_tensors(vectors)) == 3
    assert read_candidates(vectors, record, layers=2, methods="best") == []


def test_a_vector_that_cannot_be_fitted_is_left_out_and_no_nan_is_written(tmp_path: Path):
    found = activations()
    found.states[:, 0] = 1.0
    vectors, record = write(tmp_path, found)
    content, layers = read_json(record), read_metadata(vectors)["vector_layers"]
    unfitted = {(one["method"], one["layer"]) for one in content["records"] if one["norm"] is None}
    assert {layer for _, layer in unfitted} == {3}
    assert layers == {method: [n for n in (3, 5) if (method, n) not in unfitted] for method in METHODS}
    assert content["n_vectors"] == 6 - len(unfitted) < 6
    for method, tensor in read_tensors(vectors).items():
        assert len(tensor) == len(layers[method])
        assert np.isfinite(tensor).all()
    assert np.allclose(read_vector(vectors, "mean_difference", 5)[:1], [1.0], atol=0.2)


def test_equal_rows_and_seeds_give_equal_files(tmp_path: Path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first, second = (write(tmp_path / name, activations()) for name in "ab")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
