"""What probes predict: labels of runs, the threshold behind them, and the folds they are chosen on.

Every label that enters a fit or a choice comes from training and validation questions; test rows carry labels too,
but only evaluation reads them. The threshold of semantic entropy is found on training questions alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tells.uncertainty.probe_solver import Floats
from tells.uncertainty.threshold import best_split

SPLITS = ("train", "validation", "test")
MINIMUM_CLASS_QUESTIONS = 5
ACCURACY = "accuracy"
SEMANTIC_ENTROPY = "semantic_entropy"
SEMANTIC_ENTROPY_RAW = "semantic_entropy_raw"
_COLUMNS = ("dataset", "prompt_id", "group", "sample", "greedy", "split", "correct", "truncated", "n_valid")


@dataclass(frozen=True)
class Target:
    """Something to predict for runs.

    Attributes:
        name: `accuracy`, `semantic_entropy` or `semantic_entropy_raw`.
        binary: whether it has classes 0 and 1.
        values: [rows] label of each run; NaN where the run has none (greedy, truncated, ungraded, too few samples).
        tau: threshold in nats between low (at most tau) and high entropy; None where there is none.
        reason: why it cannot be learnt (`degenerate`); None when it can.
        counts: training questions by class, questions without a trusted entropy, and the like.
    """

    name: str
    binary: bool
    values: Floats
    tau: float | None
    reason: str | None
    counts: dict[str, int]

    @property
    def usable(self) -> NDArray[np.bool_]:
        """[rows] whether a run has a label."""
        return ~np.isnan(self.values)


def check_runs(runs: pl.DataFrame, entropy: str) -> None:
    """Refuse a table of runs that cannot be learnt from.

    Raises:
        ValueError: a column is missing, a run stands twice, a split is unknown, or a question lies both in train and
            in validation.
    """
    missing = [name for name in (*_COLUMNS, entropy) if name not in runs.columns]
    if missing:
        raise ValueError(f"runs lacks the column(s) {', '.join(missing)}: join labels, entropies and splits first")
    duplicated = runs.select("dataset", "prompt_id", "sample").is_duplicated()
    if duplicated.any():
        row = runs.row(int(duplicated.arg_true()[0]), named=True)
        raise ValueError(f"run {row['sample']} of {row['prompt_id']} in {row['dataset']} stands twice")
    unknown = sorted(set(runs["split"].unique().to_list()) - set(SPLITS), key=str)
    if unknown:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}; found {', '.join(map(str, unknown))}")
    learnt = runs.filter(pl.col("split") != "test").group_by("group").agg(pl.col("split").n_unique())
    torn = learnt.filter(pl.col("split") > 1)["group"].sort().to_list()
    if torn:
        raise ValueError(f"{len(torn)} question(s) lie in train and in validation, first {torn[0]}: split by group")


def held_out(runs: pl.DataFrame) -> NDArray[np.bool_]:
    """[rows] test rows whose question stands in no training or validation row, in whatever data set."""
    learnt = runs.filter(pl.col("split") != "test")["group"].unique()
    return runs.select((pl.col("split") == "test") & ~pl.col("group").is_in(learnt.implode())).to_series().to_numpy()


def make_targets(
    runs: pl.DataFrame,
    *,
    entropy: str = "discrete",
    min_valid: int = 4,
    minimum_class_questions: int = MINIMUM_CLASS_QUESTIONS,
) -> dict[str, Target]:
    """Label every run with correctness and with the semantic entropy of its question.

    Sampled, complete runs have labels: greedy runs are the question-level outcome and truncated ones have no answer.

    Args:
        runs: one row a run, see `check_runs`.
        entropy: column of the question's semantic entropy, in nats.
        min_valid: complete samples below which a question's entropy is not trusted.
        minimum_class_questions: training questions that each class must have.

    Returns:
        The targets by name.

    Raises:
        ValueError: the table is not a table of runs (see `check_runs`).
    """
    check_runs(runs, entropy)
    complete = ~pl.col("greedy") & ~pl.col("truncated")
    trusted = complete & (pl.col("n_valid") >= min_valid)
    correct = _column(runs, pl.when(complete).then(pl.col("correct").cast(pl.Float64)))
    raw = _column(runs, pl.when(trusted).then(pl.col(entropy).cast(pl.Float64)))
    train = (runs["split"] == "train").to_numpy()
    prompts = (runs["dataset"] + "/" + runs["prompt_id"]).to_numpy()
    tau = _threshold(prompts, raw, train)
    # Comparing NaN is False, so rows without an entropy must be kept apart from rows of low entropy.
    high = np.full(raw.size, np.nan) if tau is None else np.where(np.isnan(raw), np.nan, raw > tau)
    untrusted = runs.filter(~pl.col("greedy") & (pl.col("n_valid").fill_null(0) < min_valid))
    left_out = untrusted.select("dataset", "prompt_id").n_unique()
    counts = _class_questions(correct, prompts, train)
    accuracy = Target(ACCURACY, True, correct, None, _too_few(counts, minimum_class_questions), counts)
    counts = {**_class_questions(high, prompts, train), "questions_below_min_valid": left_out}
    reason = _too_few(counts, minimum_class_questions)
    if tau is None:
        reason = "degenerate: the training questions have no two different entropies, so there is no threshold"
    binary = Target(SEMANTIC_ENTROPY, True, high, tau, reason, counts)
    raw_reason = None if tau is not None else reason
    raw_counts = {"questions_below_min_valid": left_out}
    continuous = Target(SEMANTIC_ENTROPY_RAW, False, raw, None, raw_reason, raw_counts)
    return {target.name: target for target in (accuracy, binary, continuous)}


def _column(runs: pl.DataFrame, expression: pl.Expr) -> Floats:
    return runs.select(expression.alias("value"))["value"].fill_null(float("nan")).to_numpy().copy()


def _threshold(prompts: NDArray, raw: Floats, train: NDArray[np.bool_]) -> float | None:
    rows = np.flatnonzero(train & ~np.isnan(raw))
    _, first = np.unique(prompts[rows], return_index=True)
    values = raw[rows[first]]
    if values.size == 0 or values.max() == values.min():
        return None
    return best_split(values)


def _class_questions(values: Floats, prompts: NDArray, train: NDArray[np.bool_]) -> dict[str, int]:
    return {f"train_questions_{label}": int(np.unique(prompts[train & (values == label)]).size) for label in (0, 1)}


def class_question_reason(
    values: Floats, prompts: NDArray, train: NDArray[np.bool_], minimum: int = MINIMUM_CLASS_QUESTIONS
) -> str | None:
    """Why the training rows cannot teach two classes: under `minimum` questions of one; None when they can.

    Args:
        values: [rows] labels, NaN where there is none.
        prompts: [rows] question.
        train: [rows] training rows.
        minimum: questions that each class must have.
    """
    return _too_few(_class_questions(values, prompts, train), minimum)


def _too_few(counts: dict[str, int], minimum: int) -> str | None:
    few = {label: counts[f"train_questions_{label}"] for label in (0, 1)}
    if min(few.values()) >= minimum:
        return None
    return (
        f"degenerate: {few[0]} training question(s) with class 0 and {few[1]} with class 1; each class needs {minimum}"
    )


def shuffle_by_question(values: Floats, groups: NDArray, splits: NDArray, *, seed: int, draw: int = 0) -> Floats:
    """Deal the questions' label blocks to other questions of the same split.

    A question with more labelled rows than its block repeats it. Rows without a label keep having none.

    Args:
        values: [rows] labels, NaN where there is none.
        groups: [rows] question.
        splits: [rows] split; labels stay within it, and test labels stay where they are.
        seed: of all dealings.
        draw: number of this dealing.
    """
    shuffled = values.copy()
    for number, split in enumerate(SPLITS[:2]):
        rows = np.flatnonzero((splits == split) & ~np.isnan(values))
        distinct, code = np.unique(groups[rows], return_inverse=True)
        blocks = [rows[code == question] for question in range(distinct.size)]
        order = np.random.default_rng([seed, number, draw]).permutation(distinct.size)
        for block, donor in zip(blocks, order, strict=True):
            shuffled[block] = np.resize(values[blocks[donor]], block.size)
    return shuffled


def question_folds(values: Floats, groups: NDArray, *, folds: int, seed: int) -> NDArray[np.int64]:
    """Fold number of each row; a question lies in one fold, and folds have similar labels.

    Questions are sorted by their mean label (equal ones in seeded random order) and dealt out like cards.

    Args:
        values: [rows] labels, finite.
        groups: [rows] question.
        folds: number of folds, lowered to the number of questions.
        seed: of the order among equals.

    Raises:
        ValueError: under two questions.
    """
    distinct, code = np.unique(groups, return_inverse=True)
    if distinct.size < 2:
        raise ValueError(f"cross-validation needs two questions, there are {distinct.size}")
    means = np.bincount(code, weights=values) / np.bincount(code)
    chance = np.random.default_rng([seed, 2]).random(distinct.size)
    fold = np.empty(distinct.size, dtype=np.int64)
    fold[np.lexsort((chance, means))] = np.arange(distinct.size) % min(folds, distinct.size)
    return fold[code]


def data_sets_with_training(runs: pl.DataFrame) -> Sequence[str]:
    """Names of the in-distribution data sets, sorted: those with training rows."""
    return sorted(runs.filter(pl.col("split") == "train")["dataset"].unique().to_list())
