"""What a reader of the demo's traits relies on; built once, on the real model, in the working tree."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from workflow_helpers import ROOT, build_demo

from tells.tables import read_metadata, read_tensors
from tells.traits.vetting import passes

pytestmark = [pytest.mark.demo, pytest.mark.slow]
STUDY = ROOT / "experiments/demo/traits"
FORMALITY = STUDY / "behavioral/formality"
STEERED = ("behavioral/formality", "epistemic/optimism")


@pytest.fixture(scope="module")
def traits() -> dict[str, dict]:
    """Summaries of the demo's traits by name."""
    build_demo()
    return {trait["trait"]: trait for trait in json.loads((STUDY / "results.json").read_text())["traits"]}


def test_every_item_is_pass_fail_or_error_and_the_filter_is_the_predicate(traits):
    assert len(traits) == 4
    for name, trait in traits.items():
        vetting = pl.read_parquet(STUDY / name / "vetting.parquet")
        for polarity in ("positive", "negative"):
            rows = vetting.filter(polarity=polarity)
            passed = [passes(score, polarity) for score in rows["response_score"]]
            one = trait["responses"][polarity]
            assert one["n_pass"] + one["n_fail"] + one["n_error"] == one["n"] == 24
            assert one["n_pass"] == sum(bool(each) for each in passed)
            kept = rows.filter("kept")
            assert all(passes(score, polarity) for score in kept["response_score"])
        pairs = vetting.filter("kept").group_by("group").agg(pl.col("polarity").n_unique())
        assert (pairs["polarity"] == 2).all()
        assert pairs.height == trait["pairs"]


def test_vectors_are_unit_vectors_at_every_layer_by_every_method(traits):
    tensors = read_tensors(FORMALITY / "vectors.safetensors")
    metadata = read_metadata(FORMALITY / "vectors.safetensors")
    assert set(tensors) == {"mean_difference", "probe", "fisher"}
    assert traits["behavioral/formality"]["n_vectors"] == 90
    for method, tensor in tensors.items():
        assert tensor.shape == (30, 576)
        assert metadata["vector_layers"][method] == list(range(30))
        assert np.allclose(np.linalg.norm(tensor, axis=1), 1, atol=1e-5)


def test_formality_separates_scenarios_it_has_not_seen_beyond_chance(traits):
    held_out = traits["behavioral/formality"]["best_by_validation"]["held_out"]
    assert held_out["figures"]["auc"] > 0.9
    assert held_out["figures"]["cohens_d_low"] > held_out["null_band"]["cohens_d"]


def test_steering_exceeds_chance_or_the_table_says_plainly_that_it_does_not(traits):
    for name in STEERED:
        trait = traits[name]
        effects, warnings = trait["steering"], " ".join(trait["warnings"])
        steered, percentile = effects["steered"], effects["random"]["percentile_95"]
        assert effects["random"]["n"] == 20
        assert sum(delta > percentile for delta in effects["random"]["deltas"]) <= 1
        assert effects["exceeds_random"] == (steered["delta"] > percentile)
        assert effects["exceeds_random"] or "does not exceed" in warnings
        assert steered["low"] > 0 or "covers zero" in warnings
        assert steered["coherence"] >= 70 or "coherence on the report questions" in warnings


def test_formality_is_steered(traits):
    """The direction is real: more of it is more formal, against it less, at every valid point of both layers."""
    choice = json.loads((FORMALITY / "steering/choice.json").read_text())
    valid = [point for point in choice["points"] if not point["reasons"]]
    assert len(valid) >= 4
    for point in valid:
        assert point["delta"] * point["ratio"] > 0, point
    assert traits["behavioral/formality"]["steering"]["steered"]["low"] > 0


def test_the_choice_rests_on_search_questions_and_the_report_on_others(traits):
    search = pl.read_parquet(FORMALITY / "steering/search.parquet")
    report = pl.read_parquet(FORMALITY / "steering/report.parquet")
    steered = search.filter(kind="steered")
    assert not set(steered["question"]) & set(report["question"])
    # 2 layers x 5 ratios x 2 signs x 6 questions
    assert steered.height == 120
    assert read_metadata(FORMALITY / "steering/search.parquet")["norms"].keys() == {"12", "16"}


def test_a_trait_that_the_offline_judge_cannot_see_says_so(traits):
    confidence = traits["epistemic/confidence"]
    if confidence["status"] == "insufficient":
        assert "survive" in confidence["reason"]
        assert confidence["warnings"]
    assert (STUDY / "epistemic/confidence/vectors.safetensors").exists()
