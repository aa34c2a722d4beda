"""A small made-up study with a signal planted at a known layer and position."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy import stats

LAYERS = [3, 7, 11]
POSITIONS = ["prompt_end", "answer_end"]
PLANTED = (7, "answer_end")


@dataclass
class ArrayStates:
    """Hidden states in memory: hidden [rows, layers, positions, width], valid [rows, positions]."""

    hidden: np.ndarray
    valid: np.ndarray
    layers: list[int]
    positions: list[str]

    def states(self, layer_index, position_index):
        return self.hidden[:, layer_index, position_index].astype(np.float32), self.valid[:, position_index]


def chance_tolerance(record: Mapping, *, checks: int = 1, risk: float = 1e-3, asymmetry: float = 0.01) -> float:
    """How far from 0.5 a control's mean AUROC may lie when it knows nothing.

    All shuffles are scored on the same test questions with the same, correlated states, so their AUROCs scatter widely
    (a direction that happens to sort few questions sorts all their runs); but given states and test labels the shuffles
    are independent draws, so that scatter over the root of their number is the error of their mean, whatever the rows
    share. Nor does the test set move what the mean tends to: a shuffle and the opposite shuffle are (nearly) equally
    likely, they give opposite weights, and AUROCs of opposite scores add up to 1; so 0.5 is the centre for every test
    set, and there is no variance of a centre to be added. What is left:

    - the error, estimated from the draws themselves: the quantile of Student's t at which `checks` of them together
      fail by chance with probability `risk` (Bonferroni, which asks for no independence between them);
    - `asymmetry`: with unequal classes the opposite shuffle is not exactly as likely. On the demo's states, with
      classes of 60 and 40 in 100, the mean of 4000 shuffles lay within 0.005 of a half; twice that is granted.
    """
    quantile = stats.t.ppf(1 - risk / (2 * checks), record["n_draws"] - record["n_undefined"] - 1)
    return quantile * record["standard_error"] + asymmetry


def make_study(*, questions=60, samples=5, width=16, seed=0, signal=3.0, datasets=("sums",), outside=(), greedy=True):
    """Runs and states: each question has a doubt in [0, 1]; entropy rises with it, correctness falls with it.

    The planted state carries the question's doubt (dimension 0) and each run's correctness (dimension 1).
    """
    generator = np.random.default_rng(seed)
    rows, doubts = [], []
    for dataset in (*datasets, *outside):
        for question in range(questions):
            doubt = generator.random()
            place = question / questions
            split = "train" if place < 0.6 else "validation" if place < 0.8 else "test"
            for sample in range(-1 if greedy else 0, samples):
                correct = bool(generator.random() > doubt)
                rows.append(
                    {
                        "dataset": dataset,
                        "prompt_id": f"q{question:03d}",
                        "group": f"{dataset}-{question:03d}",
                        "sample": sample,
                        "greedy": sample < 0,
                        "split": "test" if dataset in outside else split,
                        "correct": correct,
                        "truncated": False,
                        "n_valid": samples,
                        "discrete": 1.5 * (doubt > 0.5) + 0.3 * (doubt > 0.25),
                        "rao": doubt,
                        "majority_share": 1 - doubt / 2,
                        "mean_log_likelihood": -doubt - generator.random(),
                        "n_think": int(generator.integers(5, 30)),
                        "entropy_think_mean": doubt + 0.5 * generator.normal(),
                    }
                )
                doubts.append(doubt)
    runs = pl.DataFrame(rows)
    hidden = generator.normal(size=(runs.height, len(LAYERS), len(POSITIONS), width))
    first_runs = runs.with_row_index("row").group_by("dataset", "prompt_id").agg(pl.col("row").min())
    first = runs.join(first_runs, on=["dataset", "prompt_id"], how="left")["row"].to_numpy()
    hidden[:, :, 0] = hidden[first, :, 0]
    planted = hidden[:, LAYERS.index(PLANTED[0]), POSITIONS.index(PLANTED[1])]
    planted[:, 0] += signal * 2 * (np.array(doubts) - 0.5)
    planted[:, 1] += signal * 0.5 * np.where(runs["correct"].to_numpy(), 1, -1)
    valid = np.ones((runs.height, len(POSITIONS)), dtype=bool)
    return runs, ArrayStates(hidden, valid, list(LAYERS), list(POSITIONS))
