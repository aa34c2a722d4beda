"""Cells: counts add up, the cut is a quantile, and what it may depend on."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tells.config.safety import StrataConfig
from tells.safety.strata import QUADRANTS, cells, quadrants, strata_table
from tells.tables import SCHEMAS

ROWS = st.lists(st.tuples(st.integers(-50, 50), st.booleans()), min_size=1, max_size=40)
CUTS = st.sampled_from([0.1, 0.25, 0.3, 0.5, 0.7, 0.75, 0.9])
SWAPPED = {
    "confident_refusal": "uncertain_refusal",
    "uncertain_refusal": "confident_refusal",
    "confident_compliance": "uncertain_compliance",
    "uncertain_compliance": "confident_compliance",
}
COUNTS = ("n_in_cells", "n_held_out", "n_unlabelled", "n_unclear", "n_without_confidence", "n_without_cut")


def study(prompts: int = 40, samples: int = 5, seed: int = 0) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Reply labels and confidence of made-up traces; prompts come in pairs of one group."""
    generator = np.random.default_rng(seed)
    rows = prompts * samples
    prompt = np.repeat(np.arange(prompts), samples)
    refusal = generator.choice(["refusal", "partial", "compliance", "compliance", "unclear"], rows)
    harm = np.where(refusal == "compliance", generator.choice(["harmful", "unharmful", "unscored"], rows), None)
    labels = pl.DataFrame(
        {
            "prompt_id": [f"p{number:03d}" for number in prompt],
            "group": [f"g{number // 2:03d}" for number in prompt],
            "sample": np.tile(np.arange(samples), prompts),
            "label": [(("harmful", "benign") * 4 + (None, None))[number % 10] for number in prompt],
            "category": [("theft", "fraud", None)[number % 3] for number in prompt],
            "truncated": generator.random(rows) < 0.1,
            "empty": refusal == "unclear",
            "stop_label": refusal,
            "refusal": refusal,
            "harm": harm.tolist(),
            "harm_score": np.zeros(rows),
        },
        schema=SCHEMAS["reply_labels"].columns,
    )
    value = np.round(generator.normal(5, 1, rows), 1)
    confidence = labels.select("prompt_id", "sample").with_columns(
        mean=pl.Series(value).set(pl.Series(generator.random(rows) < 0.05), None), lowest=pl.Series(value - 1)
    )
    return labels, confidence


def test_the_four_cells_of_a_worked_example():
    found = quadrants([1.0, 2.0, 3.0, 4.0], [True, False, True, False], cut=0.5)
    assert found == ["uncertain_refusal", "uncertain_compliance", "confident_refusal", "confident_compliance"]


def test_a_trace_at_the_cut_is_uncertain():
    assert quadrants([1.0, 2.0, 3.0], [False] * 3, cut=0.5) == [
        "uncertain_compliance",
        "uncertain_compliance",
        "confident_compliance",
    ]
    assert set(quadrants([2.0] * 5, [False] * 5)) == {"uncertain_compliance"}


@given(ROWS, CUTS)
def test_every_trace_is_in_exactly_one_cell(rows: list[tuple[int, bool]], cut: float):
    confidence, refused = zip(*rows, strict=True)
    found = quadrants(confidence, refused, cut=cut)
    assert len(found) == len(rows)
    assert set(found) <= set(QUADRANTS)
    assert [cell.endswith("refusal") for cell in found] == list(refused)


@given(ROWS, CUTS, st.integers(1, 9), st.integers(-20, 20))
def test_a_positive_affine_change_of_the_score_changes_nothing(rows, cut: float, scale: int, shift: int):
    confidence, refused = zip(*rows, strict=True)
    changed = [scale * value / 8 + shift for value in confidence]
    assert quadrants(changed, refused, cut=cut) == quadrants(confidence, refused, cut=cut)


@given(ROWS, CUTS)
def test_a_sign_flip_with_the_other_cut_swaps_the_columns_but_for_the_boundary(rows, cut: float):
    confidence, refused = zip(*rows, strict=True)
    before = quadrants(confidence, refused, cut=cut)
    after = quadrants([-value for value in confidence], refused, cut=1 - cut)
    boundary = np.quantile(confidence, cut)
    for value, old, new in zip(confidence, before, after, strict=True):
        if abs(value - boundary) > 1e-9:
            assert new == SWAPPED[old]
        else:
            assert old == new
            assert old.startswith("uncertain")


def test_traces_without_confidence_or_verdict_have_no_cell_and_do_not_move_the_cut():
    found = quadrants([1.0, 2.0, None, 100.0, 3.0], [False, False, True, None, False], cut=0.5)
    assert found == ["uncertain_compliance", "uncertain_compliance", None, None, "confident_compliance"]
    assert quadrants([None], [True]) == [None]
    assert quadrants([], []) == []


def test_a_cut_is_a_quantile_never_a_value():
    for cut in (0.0, 1.0, 3.7):
        with pytest.raises(ValueError, match="must be a quantile"):
            quadrants([1.0], [True], cut=cut)
    with pytest.raises(ValueError, match="2 confidences but 1"):
        quadrants([1.0, 2.0], [True])
    with pytest.raises(ValueError, match="it must be finite"):
        quadrants([1.0, float("nan")], [True, True])


@pytest.mark.parametrize("cut_from", ["dataset", "held_out"])
def test_the_counts_of_rows_add_up(cut_from: str):
    labels, confidence = study()
    table, facts = strata_table(
        labels, confidence, kind="mean", config=StrataConfig(cut_from=cut_from, held_out=0.3), seed=1
    )
    assert table.schema == SCHEMAS["strata"].columns
    assert len(table) == facts["n_rows"] == 200
    assert sum(facts[name] for name in COUNTS) == 200
    assert sum(cell.n for cell in cells(table, bootstrap=20)) == facts["n_in_cells"] > 50
    for by in ("category", "label"):
        assert sum(cell.n for cell in cells(table, by=by, bootstrap=20)) == facts["n_in_cells"]
    for reason in ("n_unlabelled", "n_unclear", "n_without_confidence"):
        assert facts[reason] > 0
    assert (facts["n_held_out"] > 0) == (cut_from == "held_out")
    assert facts["cut_from"] == cut_from


def test_unlabelled_prompts_and_unclear_replies_have_no_cell():
    labels, confidence = study()
    table, _ = strata_table(labels, confidence, kind="mean", config=StrataConfig(), seed=0)
    assert table.filter(pl.col("label").is_null())["quadrant"].null_count() == 40
    unclear = table.filter(labels["refusal"] == "unclear")
    assert unclear["refused"].null_count() == unclear["quadrant"].null_count() == len(unclear) > 0
    assert {cell.part for cell in cells(table, by="label", bootstrap=20)} == {"harmful", "benign"}


def test_partial_refusals_are_refusals():
    labels, confidence = study()
    table, _ = strata_table(labels, confidence, kind="lowest", config=StrataConfig(), seed=0)
    assert table.filter(labels["refusal"] == "partial")["refused"].all()


def test_the_cut_of_the_data_set_is_its_quantile():
    labels, confidence = study()
    table, facts = strata_table(labels, confidence, kind="lowest", config=StrataConfig(cut=0.25), seed=0)
    inside = table.filter(pl.col("quadrant").is_not_null())
    assert facts["n_cut"] == len(inside)
    assert facts["cut_value"] == pytest.approx(np.quantile(inside["confidence"], 0.25))
    uncertain = inside["quadrant"].str.starts_with("uncertain")
    assert (uncertain == (inside["confidence"] <= facts["cut_value"])).all()
    assert facts["n_at_cut"] == int((inside["confidence"] == facts["cut_value"]).sum())


def test_a_held_out_part_gives_the_cut_and_has_no_cell():
    labels, confidence = study()
    config = StrataConfig(cut_from="held_out", held_out=0.3)
    table, facts = strata_table(labels, confidence, kind="lowest", config=config, seed=3)
    held_out = table.filter(pl.col("part") == "held_out")
    assert held_out["quadrant"].null_count() == len(held_out) == facts["n_held_out"] == 60
    source = held_out.filter(pl.col("label").is_not_null() & pl.col("refused").is_not_null())["confidence"]
    assert facts["cut_value"] == pytest.approx(np.quantile(source, 0.5))
    assert facts["n_prompts_held_out"] == 12
    # Whole prompts, and both of a pair.
    assert table.group_by("group").agg(pl.col("part").n_unique())["part"].max() == 1
    # What the others score changes neither the cut nor who is held out.
    others = pl.col("prompt_id").is_in(held_out["prompt_id"].unique().to_list()).not_()
    moved = confidence.with_columns(lowest=pl.when(others).then(pl.col("lowest") + 10).otherwise("lowest"))
    again, other_facts = strata_table(labels, moved, kind="lowest", config=config, seed=3)
    assert other_facts["cut_value"] == facts["cut_value"]
    assert set(again["quadrant"].drop_nulls()) <= {"confident_refusal", "confident_compliance"}


def test_the_held_out_part_depends_on_the_seed_and_not_on_the_order_of_rows():
    labels, confidence = study()
    config = StrataConfig(cut_from="held_out")

    def parts(table: pl.DataFrame, seed: int) -> set[str]:
        found, _ = strata_table(table, confidence, kind="mean", config=config, seed=seed)
        return set(found.filter(pl.col("part") == "held_out")["prompt_id"])

    assert parts(labels, 0) == parts(labels.reverse(), 0) != parts(labels, 1)


def test_a_change_of_unit_changes_no_cell_of_the_table():
    labels, confidence = study()
    for config in (StrataConfig(), StrataConfig(cut_from="held_out")):
        table, _ = strata_table(labels, confidence, kind="mean", config=config, seed=0)
        changed = confidence.with_columns(pl.col("mean") * 4 + 16)
        assert strata_table(labels, changed, kind="mean", config=config, seed=0)[0]["quadrant"].equals(
            table["quadrant"]
        )


def test_without_a_cut_there_are_no_cells_and_a_reason():
    labels, confidence = study(prompts=4)
    table, facts = strata_table(
        labels.with_columns(label=pl.lit(None, pl.String)), confidence, kind="mean", config=StrataConfig(), seed=0
    )
    assert table["quadrant"].null_count() == facts["n_unlabelled"] == 20
    assert facts["cut_value"] is None
    assert facts["reason"].startswith("no trace gives a cut")
    empty, facts = strata_table(labels.clear(), confidence, kind="mean", config=StrataConfig(), seed=0)
    assert (len(empty), facts["n_rows"]) == (0, 0)


def test_what_cannot_be_joined_is_refused():
    labels, confidence = study(prompts=4)
    with pytest.raises(ValueError, match=r"2 replies have no row of confidence \(first: prompt p000, sample 0"):
        strata_table(labels, confidence[2:], kind="mean", config=StrataConfig(), seed=0)
    with pytest.raises(ValueError, match="kind 'median'"):
        strata_table(labels, confidence, kind="median", config=StrataConfig(), seed=0)
    one = labels.with_columns(group=pl.lit("g"))
    with pytest.raises(ValueError, match="none can be held out"):
        strata_table(one, confidence, kind="mean", config=StrataConfig(cut_from="held_out"), seed=0)


def rows_of(quadrant: str, harms: list[str | None], prompts: list[str], category: str | None = None) -> pl.DataFrame:
    count = len(harms)
    return pl.DataFrame(
        {
            "prompt_id": prompts,
            "group": prompts,
            "sample": range(count),
            "label": ["harmful"] * count,
            "category": [category] * count,
            "part": ["cells"] * count,
            "confidence": [1.0] * count,
            "refused": [quadrant.endswith("refusal")] * count,
            "quadrant": [quadrant] * count,
            "harm": harms,
        },
        schema=SCHEMAS["strata"].columns,
    )


def test_a_cell_counts_prompts_scores_and_harm():
    harms = ["harmful", "unharmful", "unharmful", "unscored", None]
    table = pl.concat(
        [
            rows_of("uncertain_compliance", harms, ["a", "a", "b", "b", "c"]),
            rows_of("confident_refusal", [None, "harmful"], ["a", "d"]),
        ]
    )
    found = {cell.quadrant: cell for cell in cells(table)}
    assert list(found) == list(QUADRANTS)
    cell = found["uncertain_compliance"]
    assert (cell.n, cell.n_prompts, cell.n_scored, cell.n_unscored, cell.n_harmful) == (5, 3, 3, 2, 1)
    assert cell.harm_rate == pytest.approx(1 / 3)
    assert cell.low <= cell.harm_rate <= cell.high
    assert cell.interval == "bootstrap"
    refusal = found["confident_refusal"]
    assert (refusal.n, refusal.n_prompts, refusal.n_unscored, refusal.harm_rate) == (2, 2, 0, None)
    assert refusal.reason == "harm is judged on complied replies only"
    nothing = found["confident_compliance"]
    assert (nothing.n, nothing.harm_rate, nothing.reason) == (0, None, "no scored reply in this cell")


def test_a_cell_without_harm_has_an_interval_that_is_no_point():
    table = rows_of("uncertain_compliance", ["unharmful"] * 6, ["a", "a", "b", "b", "c", "c"])
    cell = next(cell for cell in cells(table) if cell.n)
    assert (cell.harm_rate, cell.low, cell.interval) == (0.0, 0.0, "exact")
    # The bound of three prompts, not of six traces.
    assert cell.high == pytest.approx(1 - 0.025 ** (1 / 3))


def test_cells_by_category_give_all_four_of_each():
    table = pl.concat(
        [
            rows_of("uncertain_compliance", ["harmful"], ["a"], "theft"),
            rows_of("confident_compliance", ["unharmful"], ["b"], None),
        ]
    )
    found = cells(table, by="category")
    assert [(cell.part, cell.quadrant) for cell in found] == [
        (part, name) for part in ("theft", None) for name in QUADRANTS
    ]
    assert [cell.n for cell in found if cell.n] == [1, 1]
