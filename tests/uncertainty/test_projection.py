"""The map of hidden states."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import types

import numpy as np
import polars as pl
import pytest
from probe_helpers import LAYERS, PLANTED, POSITIONS, ArrayStates, make_study

from tells.uncertainty.projection import ProjectionSettings, project_states

SMALL = ProjectionSettings(neighbours=5, sample=150)


class StandInMap:
    """In place of UMAP, which takes long to compile: a projection that depends on the rows it is fitted on."""

    def __init__(self, *, random_state, **_):
        self.random_state = random_state

    def fit_transform(self, rows):
        self.axes = np.random.default_rng(self.random_state).normal(size=(rows.shape[1], 2)) + rows[:2].T
        return rows @ self.axes

    def transform(self, rows):
        return rows @ self.axes


@pytest.fixture
def study(monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", types.SimpleNamespace(UMAP=StandInMap))
    runs, states = make_study(questions=30, samples=3)
    return runs, states, project_states(runs, states, layer=PLANTED[0], position=PLANTED[1], settings=SMALL)


@pytest.mark.slow
def test_umap_itself_maps_the_same_way_twice_and_training_points_regardless_of_the_rest():
    pytest.importorskip("umap", reason="umap-learn is not installed")
    runs, states = make_study(questions=30, samples=3)
    train = (runs["split"] == "train").to_numpy()
    hidden = states.hidden.copy()
    hidden[~train] += 50.0
    place = {"layer": PLANTED[0], "position": PLANTED[1], "settings": SMALL}
    once, again = (project_states(runs, states, **place) for _ in range(2))
    moved = project_states(runs, ArrayStates(hidden, states.valid, LAYERS, POSITIONS), **place)
    assert once.equals(again)
    assert np.isfinite(once.select("x", "y").to_numpy()).all()
    assert moved.filter(pl.Series(train)).equals(once.filter(pl.Series(train)))


def test_every_run_has_a_place_and_its_split(study):
    runs, _, points = study
    assert points.columns == ["dataset", "prompt_id", "sample", "x", "y", "split"]
    assert points.select("dataset", "prompt_id", "sample", "split").equals(
        runs.select("dataset", "prompt_id", "sample", "split")
    )
    assert np.isfinite(points.select("x", "y").to_numpy()).all()


def test_test_states_do_not_move_the_training_points(study):
    runs, states, points = study
    train = (runs["split"] == "train").to_numpy()
    hidden = states.hidden.copy()
    hidden[~train] += 50.0
    moved = project_states(
        runs,
        ArrayStates(hidden, states.valid, LAYERS, POSITIONS),
        layer=PLANTED[0],
        position=PLANTED[1],
        settings=SMALL,
    )
    assert moved.filter(pl.Series(train)).equals(points.filter(pl.Series(train)))
    assert not moved.filter(pl.Series(~train)).equals(points.filter(pl.Series(~train)))


def test_no_more_runs_than_the_sample_are_drawn_and_invalid_ones_are_left_out(study):
    runs, states, _ = study
    valid = states.valid.copy()
    valid[0] = False
    source = ArrayStates(states.hidden, valid, LAYERS, POSITIONS)
    settings = dataclasses.replace(SMALL, sample=60)
    points = project_states(runs, source, layer=3, position="answer_end", settings=settings)
    assert points.height == 60
    assert points.filter(prompt_id="q000", sample=-1).is_empty()
    assert points.select("prompt_id", "sample").is_unique().all()


def test_a_place_that_is_not_stored_or_too_few_training_runs_is_an_error(study):
    runs, states, _ = study
    with pytest.raises(ValueError, match="layer 4"):
        project_states(runs, states, layer=4, position="answer_end")
    with pytest.raises(ValueError, match="needs 10 training runs"):
        project_states(runs, states, layer=3, position="answer_end", settings=dataclasses.replace(SMALL, sample=5))
    with pytest.raises(TypeError, match="neighbors"):
        ProjectionSettings.from_mapping({"neighbors": 3})


def test_numbers_alone_load_no_model_library_and_no_umap():
    code = (
        "import sys; import tells.uncertainty.evaluation, tells.uncertainty.projection, tells.uncertainty.probes; "
        "print(sorted({'torch', 'umap', 'transformers', 'sentence_transformers'} & set(sys.modules)))"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"
