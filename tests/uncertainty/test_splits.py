"""Splits by question."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tells.uncertainty.splits import SPLITS, group_split

FRACTIONS = {"train": 0.6, "validation": 0.2, "test": 0.2}


def _sides(groups, split):
    return {groups[row]: name for name in SPLITS for row in split[name]}


@given(st.lists(st.text("abcdef", max_size=2), max_size=60), st.integers(0, 5))
def test_every_row_stands_in_one_split_and_no_group_in_two(groups, seed):
    split = group_split(groups, FRACTIONS, seed=seed)
    assert list(split) == list(SPLITS)
    assert sorted(np.concatenate(list(split.values())).tolist()) == list(range(len(groups)))
    for name in SPLITS:
        others = {groups[row] for other in SPLITS if other != name for row in split[other]}
        assert not {groups[row] for row in split[name]} & others


@given(st.integers(0, 300))
def test_the_proportions_of_groups_are_exact_up_to_rounding(n):
    groups = [f"g{i}" for i in range(n)]
    split = group_split(groups, (0.6, 0.2, 0.2), seed=1)
    for name, share in FRACTIONS.items():
        assert abs(len(split[name]) - share * n) <= 1


def test_ten_and_a_hundred_questions_are_cut_exactly():
    for n in (10, 100, 1000):
        split = group_split([f"g{i}" for i in range(n)], FRACTIONS, seed=0)
        assert [len(split[name]) for name in SPLITS] == [n * 6 // 10, n // 5, n // 5]


def test_the_cuts_are_rounded_to_the_nearest_question():
    split = group_split([f"g{i}" for i in range(11)], FRACTIONS, seed=0)
    assert [len(split[name]) for name in SPLITS] == [7, 2, 2]


def test_the_runs_of_a_question_and_duplicate_questions_stay_together():
    groups = [f"g{i // 10}" for i in range(300)]
    split = group_split(groups, FRACTIONS, seed=3)
    assert [len(split[name]) for name in SPLITS] == [180, 60, 60]


def test_the_order_and_number_of_rows_do_not_move_a_group():
    groups = [f"g{i}" for i in range(50)]
    mixed = groups[::-1] + groups[:7]
    first = _sides(groups, group_split(groups, FRACTIONS, seed=5))
    assert first == _sides(mixed, group_split(mixed, FRACTIONS, seed=5))


def test_another_seed_is_another_split():
    groups = [f"g{i}" for i in range(50)]
    assert _sides(groups, group_split(groups, FRACTIONS, seed=0)) != _sides(
        groups, group_split(groups, FRACTIONS, seed=1)
    )


def test_a_set_out_of_distribution_is_test_only():
    split = group_split(["a", "b", "c"], {"test": 1.0}, seed=0)
    assert split["test"].tolist() == [0, 1, 2]
    assert split["train"].dtype == np.int64
    assert len(split["train"]) == len(split["validation"]) == 0


@pytest.mark.parametrize(
    ("fractions", "message"),
    [
        ((0.6, 0.4), "2 fractions"),
        ((0.6, 0.6, -0.2), "at least 0"),
        ((0.5, 0.2, 0.2), "add up to 1"),
        ({"train": 0.8, "dev": 0.2}, "unknown split dev"),
    ],
)
def test_fractions_that_are_no_split_are_refused(fractions, message):
    with pytest.raises(ValueError, match=message):
        group_split(["a"], fractions, seed=0)


def test_a_row_without_a_group_is_refused():
    with pytest.raises(ValueError, match="row 1 has no group"):
        group_split(["a", None], FRACTIONS, seed=0)
