"""What the uncertainty page shows, as its address says it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

PAGE = "uncertainty"
ALL = "all"
# Runs that are read side by side.
MOST_OPENED = 10


@dataclass(frozen=True)
class Chosen:
    """What the page shows.

    Attributes:
        experiment: its name.
        dataset: whose runs, or `all`; empty for the first data set in distribution.
        split: train, validation, test or `all`.
        answers: of the runs: correct, wrong, ungraded or `all`.
        which: sampled runs, the first sample of each question, the greedy run of each question, or `all`.
        contains: text that the question or the answer holds.
        score: column on the vertical axis of the first figure.
        entropy: column of the entropy, in both figures that have one.
        entropy_probe: the probe's column in the second.
        colour: column that colours the map.
        outcome: what the curves and records predict.
        lines: which scores the curves show.
        metric: of the records; `main` for AUROC, or the rank correlation where the outcome is no class.
        probe: whose search the heatmap shows.
        runs: keys of the runs that are opened, see `tells.report.figures.uncertainty_keys`.
    """

    experiment: str = ""
    dataset: str = ""
    split: Literal["test", "validation", "train", "all"] = "test"
    answers: Literal["all", "correct", "wrong", "ungraded"] = "all"
    which: Literal["sampled", "first", "greedy", "all"] = "sampled"
    contains: str = ""
    score: str = "accuracy.score"
    entropy: str = "semantic_entropy_raw"
    entropy_probe: str = "semantic_entropy.score"
    colour: str = "correct"
    outcome: Literal["accuracy", "semantic_entropy", "semantic_entropy_raw"] = "accuracy"
    lines: Literal["main", "probes", "baselines", "all"] = "main"
    metric: str = "main"
    probe: str = "accuracy"
    runs: tuple[str, ...] = ()
