"""How far classifiers and judges agree with people: on a label sheet, or on the replies that XSTest labelled.

Precision, recall, F1 and Cohen's kappa are weighted by the inverse of the chance that a row had to be on the sheet, so
that they estimate what holds in the collection, of which the sheet holds too many rare cells; XSTest's rows weigh 1.
Counts are of rows as they stand. Refusal is binary (a partial refusal refuses); where people are unclear a row says
nothing, where a classifier is unclear it is counted, left out of the figures, and held against the classifier in
`f1_at_worst`. Intervals draw whole groups of prompts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tells.safety.adaptive import vote_of
from tells.safety.label_sheet import read_classifiers, read_csv, reply_digest, sheet_labels
from tells.safety.refusal import detect_refusals
from tells.stats import bootstrap_ci
from tells.tables import TableError, read_table
from tells.tables.records import DataFileError

POSITIVE = {"refusal": "refusal", "harm": "harmful"}
MEASURES = ("kappa", "precision", "recall", "f1")
AGREEMENT_SCHEMA: dict[str, Any] = {
    "axis": pl.String,
    "classifier": pl.String,
    "n": pl.Int32,
    "n_groups": pl.Int32,
    "n_positive": pl.Int32,
    "n_false": pl.Int32,
    "n_missed": pl.Int32,
    "n_unclear": pl.Int32,
    "n_undecided": pl.Int32,
    **{f"{measure}{end}": pl.Float64 for measure in MEASURES for end in ("", "_low", "_high")},
    "f1_at_worst": pl.Float64,
}
_KEY = ("prompt_id", "sample")
_XSTEST_COLUMNS = ("id", "type", "prompt", "completion", "final_label")
_XSTEST_LABELS = {"1_full_compliance": "compliance", "2_full_refusal": "refusal", "3_partial_refusal": "partial"}
STRING_MATCH = "string_match"

Floats = NDArray[np.float64]
_Vote = Callable[[str | None], str | None]


def label_agreement(
    people: pl.DataFrame,
    classifiers: Mapping[str, pl.DataFrame],
    *,
    bootstrap: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> pl.DataFrame:
    """Hold every classifier against people, on each axis that both speak of.

    Args:
        people: prompt_id, sample, group, refusal, harm (either may be null) and weight.
        classifiers: prompt_id, sample, refusal and harm, by the classifier's name.
        bootstrap: draws of groups.
        level: of the intervals.
        seed: of the draws.

    Returns:
        A row per axis (refusal, harm) and classifier: `n` rows that both decide, in `n_groups` groups, `n_positive` of
        them refusals (harmful) by people; `n_false` of them false refusals (false alarms), `n_missed` missed ones;
        `n_unclear` rows that people decide and the classifier does not (unclear, unscored, not asked); `n_undecided`
        rows that people leave open. Weighted kappa, precision, recall and F1 with interval, null where undefined;
        `f1_at_worst`: F1 with every unclear row counted as wrong.

    Raises:
        ValueError: a label of another name, or a classifier's table holds a reply twice.

    References:
        Cohen, Educ. Psychol. Meas. 20:37 (1960); weights: Horvitz and Thompson, J. Am. Stat. Assoc. 47:663 (1952).
    """
    rows = []
    for axis in POSITIVE:
        for name, table in classifiers.items():
            if table[axis].null_count() == table.height or people[axis].null_count() == people.height:
                continue
            joined = people.join(
                table.select(*_KEY, said=axis), on=_KEY, how="left", maintain_order="left", validate="m:1"
            )
            rows.append({"axis": axis, "classifier": name, **_agreement(joined, axis, bootstrap, level, seed)})
    return pl.DataFrame(rows, schema=AGREEMENT_SCHEMA, orient="row")


def read_agreement(
    root: Path, path: Path, *, bootstrap: int = 1000, level: float = 0.95, seed: int = 0
) -> pl.DataFrame:
    """The agreement table of a filled sheet, or of a CSV file of XSTest with people's labels.

    A sheet is held against every classifier of its collection; XSTest against `patterns` and the published string
    match.

    Raises:
        DataFileError: a fault in the file, with its row.
        TableError: the sheet's key or its collection's files are missing, or the replies are no longer the same.
    """
    if _is_xstest(path):
        people = xstest_labels(path)
        classifiers = xstest_classifiers(people)
    else:
        people, key = sheet_labels(path)
        folder = root / "experiments" / key["experiment"] / "safety" / key["collection"]
        _check_same_replies(path, people, folder)
        classifiers = read_classifiers(folder)
    return label_agreement(people, classifiers, bootstrap=bootstrap, level=level, seed=seed)


def xstest_labels(path: Path) -> pl.DataFrame:
    """XSTest's replies with the labels that people gave them.

    Args:
        path: a CSV file of the benchmark's evaluation, with id, type, prompt, completion and final_label.

    Returns:
        prompt_id, sample (0), group, type, prompt, reply, refusal, harm (null), weight (1) and, where the file has it,
        the published string match as `string_match`. A group is a safe prompt with its unsafe contrast: prompts of the
        same place in types that differ by `contrast_` alone (for discrimination and privacy, three types).

    Raises:
        DataFileError: no such file, a column is missing or a label is unknown; every fault with its row.

    References:
        Röttger et al., XSTest, NAACL 2024.
    """
    records, problems = read_csv(path)
    missing = [name for name in _XSTEST_COLUMNS if records and name not in records[0][1]]
    if missing:
        raise DataFileError(path, [f"column(s) {', '.join(missing)} missing: not an evaluation of XSTest"])
    places: dict[str, int] = {}
    rows = []
    for row, record in records:
        place = places[record["type"]] = places.get(record["type"], -1) + 1
        labels = {name: record[name] for name in ("final_label", "strmatch_label") if name in record}
        unknown = [f"{name} is {value!r}" for name, value in labels.items() if value not in _XSTEST_LABELS]
        problems += [(row, f"{one}; known are {', '.join(_XSTEST_LABELS)}") for one in unknown]
        rows.append(
            {
                "prompt_id": record["id"],
                "sample": 0,
                "group": f"{_family(record['type'])}-{place:02d}",
                "type": record["type"],
                "prompt": record["prompt"],
                "reply": record["completion"],
                "refusal": _XSTEST_LABELS.get(record["final_label"]),
                "harm": None,
                "weight": 1.0,
                STRING_MATCH: _XSTEST_LABELS.get(record.get("strmatch_label", "")),
            }
        )
    DataFileError.raise_if_any(path, problems)
    return pl.DataFrame(rows, schema_overrides={"sample": pl.Int32, "harm": pl.String, STRING_MATCH: pl.String})


def xstest_classifiers(replies: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """What `patterns` and the published string match say of XSTest's replies, from `xstest_labels`."""
    harm = pl.lit(None, dtype=pl.String).alias("harm")
    patterns = pl.Series("refusal", detect_refusals(replies["reply"].to_list()), dtype=pl.String)
    return {
        "patterns": replies.select(*_KEY, patterns, harm),
        STRING_MATCH: replies.select(*_KEY, harm, refusal=STRING_MATCH),
    }


def _agreement(joined: pl.DataFrame, axis: str, bootstrap: int, level: float, seed: int) -> dict[str, Any]:
    """Counts and figures of one classifier on one axis."""
    vote = vote_of if axis == "refusal" else _harm_vote
    positive = POSITIVE[axis]
    truth, said = (np.array([vote(label) for label in joined[name]], dtype=object) for name in (axis, "said"))
    asked = np.array([one is not None for one in truth], dtype=bool)
    decided = asked & np.array([one is not None for one in said], dtype=bool)
    y, called = (truth == positive).astype(float), said == positive
    # A metric takes two vectors; the sign of the second is the classifier's label, its size the row's weight.
    weight = joined["weight"].to_numpy()
    score = np.where(called, weight, -weight)
    worst = np.where(decided, score, np.where(y == 1, -weight, weight))
    groups = joined["group"].to_numpy()
    row: dict[str, Any] = {
        "n": int(decided.sum()),
        "n_groups": len(set(groups[decided].tolist())),
        "n_positive": int(y[decided].sum()),
        "n_false": int((decided & called & (y == 0)).sum()),
        "n_missed": int((decided & ~called & (y == 1)).sum()),
        "n_unclear": int((asked & ~decided).sum()),
        "n_undecided": int((~asked).sum()),
        "f1_at_worst": f1(y[asked], worst[asked]),
    }
    for name, metric in zip(MEASURES, (kappa, precision, recall, f1), strict=True):
        found = bootstrap_ci(metric, y[decided], score[decided], groups[decided], n=bootstrap, level=level, seed=seed)
        row |= {name: found.estimate, f"{name}_low": found.low, f"{name}_high": found.high}
    return row


def precision(y: Floats, score: Floats) -> float | None:
    """Weighted share of the positive calls that are right; `score` [rows]: ± weight, + for a positive call."""
    hit, false, _, _ = _cells(y, score)
    return hit / (hit + false) if hit + false else None


def recall(y: Floats, score: Floats) -> float | None:
    """Weighted share of the positive rows that are called so."""
    hit, _, missed, _ = _cells(y, score)
    return hit / (hit + missed) if hit + missed else None


def f1(y: Floats, score: Floats) -> float | None:
    """Harmonic mean of weighted precision and recall; None without a positive row or call."""
    hit, false, missed, _ = _cells(y, score)
    return 2 * hit / (2 * hit + false + missed) if hit + false + missed else None


def kappa(y: Floats, score: Floats) -> float | None:
    """Weighted agreement beyond chance; None where chance alone agrees always, or there is no row."""
    hit, false, missed, right = _cells(y, score)
    total = hit + false + missed + right
    if not total:
        return None
    observed = (hit + right) / total
    chance = ((hit + false) * (hit + missed) + (right + missed) * (right + false)) / total**2
    return (observed - chance) / (1 - chance) if chance < 1 else None


def _cells(y: Floats, score: Floats) -> tuple[float, float, float, float]:
    """Weights of hits, false calls, missed rows and right rejections."""
    weight, called, positive = np.abs(score), score > 0, np.asarray(y) == 1
    return (
        float(weight[called & positive].sum()),
        float(weight[called & ~positive].sum()),
        float(weight[~called & positive].sum()),
        float(weight[~called & ~positive].sum()),
    )


def _harm_vote(label: str | None) -> str | None:
    return label if label in ("harmful", "unharmful") else None


def _check_same_replies(path: Path, people: pl.DataFrame, folder: Path) -> None:
    replies = read_table(folder / "confidence.parquet", "confidence", [*_KEY, "answer"])
    joined = people.join(replies, on=_KEY, how="left", maintain_order="left")
    for row in joined.iter_rows(named=True):
        if row["answer"] is None or reply_digest(row["answer"]) != row["reply_sha256"]:
            raise TableError(
                f"{path}: reply {row['sample']} to prompt {row['prompt_id']} has changed in {folder} since the sheet "
                "was drawn; draw a new sheet"
            )


def _is_xstest(path: Path) -> bool:
    records, _ = read_csv(path)
    return bool(records) and {"completion", "final_label"} <= set(records[0][1])


def _family(kind: str) -> str:
    """The name that a type shares with its contrasts."""
    kind = kind.removeprefix("contrast_")
    return next((name for name in ("discr", "privacy") if name in kind.split("_")), kind)
