"""What steering along a direction changes, question by question, and whether random directions change as much.

An arm is compared with the unsteered answers to the same questions, drawn with the same seeds. Bootstrap draws and sign
flips take a whole group: a question, with any that reads like it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tells.agreement.cells import InferenceSettings, column
from tells.agreement.resampling import Draws, Estimate, Floats
from tells.stats import holm

BASELINE, DIRECTED = "baseline", ("plus", "minus")
ASKED = ("accuracy", "semantic_entropy", "confidence")
MEASURED = (*ASKED, "valid_share", "tokens")
SIGNIFICANT = 0.05
NO_STEERING = "there is no direction to steer along"
_WORDS = {"plus": "+r", "minus": "−r"}
_FLIPS_AT_ONCE = 1 << 20
_TOLERANCE = 1e-9


@dataclass(frozen=True, eq=False)
class SteeredQuestions:
    """The outcomes of one data set.

    Attributes:
        collection: its name.
        outcomes: the outcomes table.
        facts: of its metadata: `direction` (trait, method, layer, status, reason), `ratio`, `norm`, `coefficient`.
    """

    collection: str
    outcomes: pl.DataFrame
    facts: Mapping[str, Any]


def steering_record(
    steered: Sequence[SteeredQuestions], settings: InferenceSettings
) -> tuple[dict[str, Any] | None, str | None]:
    """Everything that steering along the direction changed, or why that is not known.

    Args:
        steered: the data sets.
        settings: of intervals and tests.

    Returns:
        The record: `status`, `reason`, `ratio`, `collections`, `means`, `changes`, `n_tests` and `answer`; or None with
        the reason.
    """
    asked = [one for one in steered if one.outcomes.height]
    if not asked:
        reasons = [one.facts["direction"]["reason"] or NO_STEERING for one in steered]
        return None, "; ".join(dict.fromkeys(reasons)) or NO_STEERING
    direction = asked[0].facts["direction"]
    changes = [record for one in asked for record in _changes(one, settings)]
    _correct(changes)
    record = {
        **{key: direction[key] for key in ("status", "reason", "method", "layer")},
        "ratio": asked[0].facts["ratio"],
        "collections": [_basis(one) for one in asked],
        "means": [record for one in asked for record in _means(one, settings)],
        "changes": changes,
        "n_tests": sum(change["p"] is not None for change in changes),
    }
    return {**record, "answer": _answer(direction, record)}, None


def _basis(one: SteeredQuestions) -> dict[str, Any]:
    """What the figures of a data set rest on."""
    questions = one.outcomes.unique("prompt_id")
    return {
        "collection": one.collection,
        "split": _split(one),
        "n_questions": questions.height,
        "n_test_questions": int((questions["split"] == "test").sum()),
        "n_runs": int(one.outcomes["n_runs"].sum()),
        "n_random": len(_randoms(one)),
        **{key: one.facts[key] for key in ("norm", "coefficient")},
    }


def _split(one: SteeredQuestions) -> str:
    return "test" if (one.outcomes["split"] == "test").all() else "all"


def _randoms(one: SteeredQuestions) -> list[str]:
    return one.outcomes.filter(pl.col("draw").is_not_null()).sort("draw")["arm"].unique(maintain_order=True).to_list()


def _means(one: SteeredQuestions, settings: InferenceSettings) -> list[dict[str, Any]]:
    """The mean of every outcome in every arm."""
    found = []
    for arm in one.outcomes["arm"].unique(maintain_order=True).to_list():
        rows = one.outcomes.filter(pl.col("arm") == arm)
        for outcome in MEASURED:
            known = rows.drop_nulls(outcome)
            figure = _mean(known["group"].to_numpy(), column(known, outcome), settings)
            found.append(
                {
                    **{"collection": one.collection, "arm": arm, "outcome": outcome, "split": _split(one)},
                    **_counts(known),
                    **{"level": settings.level, "mean": figure.value, "low": figure.low, "high": figure.high},
                    "reason": figure.reason,
                }
            )
    return found


def _counts(rows: pl.DataFrame) -> dict[str, int]:
    return {
        "n_questions": rows.height,
        "n_groups": rows["group"].n_unique(),
        "n_runs": int(rows["n_runs"].sum()),
    }


def _changes(one: SteeredQuestions, settings: InferenceSettings) -> Iterable[dict[str, Any]]:
    """The change of every outcome along the direction and against it, the random directions' beside."""
    present = one.outcomes["arm"].unique().to_list()
    for arm in (arm for arm in DIRECTED if arm in present):
        for outcome in MEASURED:
            pairs = _pairs(one, arm, outcome)
            differences = (pairs["steered"] - pairs[outcome]).to_numpy()
            groups = pairs["group"].to_numpy()
            figure = _mean(groups, differences, settings)
            p = (
                None
                if figure.value is None
                else sign_flip_p(differences, groups, n=settings.permutations, seed=settings.seed)
            )
            yield {
                **{"collection": one.collection, "arm": arm, "outcome": outcome, "split": _split(one)},
                **_counts(pairs),
                "level": settings.level,
                **{"baseline": pairs[outcome].mean(), "steered": pairs["steered"].mean()},
                **{"difference": figure.value, "low": figure.low, "high": figure.high},
                **{"p": p, "p_holm": None, "random": _random_changes(one, pairs, outcome, settings)},
                "reason": figure.reason,
            }


def _pairs(one: SteeredQuestions, arm: str, outcome: str) -> pl.DataFrame:
    """Questions whose outcome is known without steering and in an arm, where it is `steered`."""
    rows = one.outcomes.select("arm", "prompt_id", "group", "n_runs", outcome).drop_nulls(outcome)
    steered = rows.filter(pl.col("arm") == arm).select("prompt_id", pl.col(outcome).alias("steered"))
    unsteered = rows.filter(pl.col("arm") == BASELINE)
    return unsteered.join(steered, on="prompt_id", how="inner", maintain_order="left")


def _random_changes(
    one: SteeredQuestions, directed: pl.DataFrame, outcome: str, settings: InferenceSettings
) -> list[dict[str, Any]]:
    """What each random direction changes, and by how much more the direction changes the same questions."""
    found = []
    for arm in _randoms(one):
        pairs = _pairs(one, arm, outcome)
        figure = _mean(pairs["group"].to_numpy(), (pairs["steered"] - pairs[outcome]).to_numpy(), settings)
        ends = {"difference": figure.value, "low": figure.low, "high": figure.high}
        more = _excess(directed, pairs, outcome, settings)
        excess = {"excess": more.value, "excess_low": more.low, "excess_high": more.high}
        found.append({"arm": arm, "n_questions": pairs.height, **ends, **excess})
    return found


def _excess(directed: pl.DataFrame, random: pl.DataFrame, outcome: str, settings: InferenceSettings) -> Estimate:
    """Size of one change less that of another, by question, each in the direction that it has on the mean."""
    both = directed.join(random.select("prompt_id", random="steered"), on="prompt_id", maintain_order="left")
    changes = [(both[name] - both[outcome]).to_numpy() for name in ("steered", "random")]
    sizes = [np.copysign(1.0, change.sum()) * change for change in changes]
    return _mean(both["group"].to_numpy(), sizes[0] - sizes[1], settings)


def _mean(groups: NDArray, values: Floats, settings: InferenceSettings) -> Estimate:
    """A mean over questions with its interval by group."""
    if not values.size:
        return Estimate(None, None, None, "no question has this outcome in both arms")
    draws = Draws.of(groups, n=settings.bootstrap, seed=settings.seed, level=settings.level)
    sums, counts = np.bincount(draws.number, values), np.bincount(draws.number)
    return draws.estimate(float(values.mean()), lambda: (draws.weights @ sums) / (draws.weights @ counts), "")


def sign_flip_p(differences: Floats, groups: NDArray, *, n: int, seed: int) -> float:
    """Two-sided p of a mean difference: whole groups change their sign by chance.

    Args:
        differences: [questions] steered less unsteered.
        groups: [questions] group of each.
        n: sign flips.
        seed: of the flips.

    Returns:
        (1 + #{|flipped| >= |observed|}) / (n + 1).

    References:
        Phipson and Smyth, Stat. Appl. Genet. Mol. Biol. 9:39 (2010).
    """
    _, number = np.unique(groups, return_inverse=True)
    sums = np.bincount(number, differences)
    observed = abs(sums.sum()) - _TOLERANCE * max(1.0, np.abs(sums).sum())
    generator, reached = np.random.default_rng(seed), 0
    at_once = max(1, _FLIPS_AT_ONCE // sums.size)
    for start in range(0, n, at_once):
        signs = 2.0 * generator.integers(0, 2, (min(at_once, n - start), sums.size)) - 1.0
        reached += int((np.abs(signs @ sums) >= observed).sum())
    return (1 + reached) / (n + 1)


def _correct(changes: Sequence[dict[str, Any]]) -> None:
    """Holm over all changes; and which of them are claimed."""
    for change, adjusted in zip(changes, holm([change["p"] for change in changes]), strict=True):
        change["p_holm"] = adjusted
        known = [one for one in change["random"] if one["excess"] is not None]
        lows = [one["excess_low"] for one in known]
        change["beyond_random"] = all(low is not None and low > 0 for low in lows) if known else None
        off_zero = change["low"] is not None and (change["low"] > 0 or change["high"] < 0)
        significant = adjusted is not None and adjusted < SIGNIFICANT
        change["changed"] = bool(off_zero and significant and change["beyond_random"])


def _answer(direction: Mapping[str, Any], record: Mapping[str, Any]) -> str:
    """The answer in words."""
    told = [f"Steered along {direction['trait']} at r = {record['ratio']:g}:"]
    parts = []
    for outcome in ASKED:
        own = [one for one in record["changes"] if one["outcome"] == outcome and one["difference"] is not None]
        changed = [one for one in own if one["changed"]]
        name = outcome.replace("_", " ")
        if not own:
            parts.append(f"{name} insufficient: no question has it in both arms")
        elif changed:
            parts.append(f"{name} changed ({', '.join(map(_change_words, changed))})")
        else:
            parts.append(f"{name} not changed in any of {len(own)} comparisons")
    told.append("; ".join(parts) + ".")
    told.append(
        f"Changed: the interval lies off zero, p < {SIGNIFICANT} after Holm over {record['n_tests']} tests, and "
        "the change is larger than that of each random direction of equal length, by the interval of the difference."
    )
    if direction["status"] != "ok":
        told.append(
            f"The direction is {direction['status']} ({direction['reason']}): it steers all the same, but this proves "
            "nothing of the trait."
        )
    return " ".join(told)


def _change_words(one: Mapping[str, Any]) -> str:
    ends = f"[{one['low']:+.3f}, {one['high']:+.3f}]"
    return f"{one['collection']} {_WORDS[one['arm']]}: {one['difference']:+.3f} {ends}, {one['n_questions']} questions"
