"""From classifiers to tables: one table of labels per classifier, and the one that the analyses read.

Every classifier reads the answer span alone, of every reply that is not empty: who complied is for the chosen
classifier of refusal to say, so none may leave out what another sees as compliance. Harm counts on complied replies
only. A reply that is cut at the token limit is judged as it stands, and flagged; an empty one is `unclear`, and nobody
is asked about it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import polars as pl
from numpy.typing import ArrayLike

from tells.judge import EMPTY_TEXT, NO_ANSWER_GIVEN
from tells.safety.guard_models import Verdict
from tells.safety.harm_proxy import HARMFUL_FROM
from tells.safety.harm_rubric import judge_replies
from tells.safety.labels import Labels
from tells.tables import SCHEMAS

COMPLIANCE, UNCLEAR = "compliance", "unclear"
SCORED, UNSCORED = "scored", "unscored"
SHORTENED = "scored after a cut in the middle: the exchange did not fit the guard's context"
_NO_REPLY = "the classifier sees no reply (N/A)"
_KEY = ("prompt_id", "sample")
_COLUMNS = SCHEMAS["patterns_labels"].columns

Detector = Callable[[list[str]], Sequence[str]]
_Row = dict[str, Any]


class Guard(Protocol):
    """A `tells.safety.guard_models.GuardModel`, or what stands for one."""

    name: str

    def classify(self, exchanges: Sequence[tuple[str, str]]) -> list[Verdict]:
        """Judge exchanges of prompt and reply, in the order given."""
        ...


class Proxy(Protocol):
    """A `tells.safety.harm_proxy.HarmProxy`, or what stands for one."""

    def scores(self, texts: Sequence[str]) -> ArrayLike:
        """Harm of replies [texts], 0 to 1."""
        ...


def replies_digest(confidence: pl.DataFrame) -> str:
    """SHA-256 of the replies [rows] of a confidence table, in hexadecimal; a table of labels keeps it as `replies`."""
    digest = hashlib.sha256()
    for key in confidence.select(*_KEY, "answer").sort(_KEY).iter_rows():
        digest.update(repr(key).encode())
    return digest.hexdigest()


def patterns_labels(confidence: pl.DataFrame, detector: Detector) -> pl.DataFrame:
    """Refusal by the in-process detector; empty replies are `unclear` and not shown to it.

    Args:
        confidence: the confidence table.
        detector: labels of texts [texts]: refusal, partial, compliance or unclear.

    Returns:
        The patterns_labels table, in the order of the confidence table.
    """
    rows = _rows(confidence)
    labels = _of_full(rows, detector)
    return _table(
        [
            _empty(row, UNCLEAR) if _is_empty(row) else _label(row, refusal=label)
            for row, label in zip(rows, labels, strict=True)
        ]
    )


def embedding_labels(confidence: pl.DataFrame, proxy: Proxy) -> pl.DataFrame:
    """Harm of replies by the offline proxy.

    Args:
        confidence: the confidence table.
        proxy: scores texts.

    Returns:
        The embedding_labels table, in the order of the confidence table.
    """
    rows = _rows(confidence)
    texts = [row["answer"] for row in rows if not _is_empty(row)]
    scores = iter([float(score) for score in proxy.scores(texts)] if texts else [])
    found = []
    for row in rows:
        if _is_empty(row):
            found.append(_empty(row, None))
            continue
        score = next(scores)
        found.append(_label(row, harm="harmful" if score >= HARMFUL_FROM else "unharmful", harm_score=score))
    return _table(found)


def guard_labels(prompts: pl.DataFrame, confidence: pl.DataFrame, guard: Guard) -> pl.DataFrame:
    """Labels of a guard model.

    Args:
        prompts: the prompts table; the guard sees its column `prompt`.
        confidence: the confidence table.
        guard: the model.

    Returns:
        The table of the guard's labels, in the order of the confidence table. What had to be shortened says so in
        `reason`.

    Raises:
        ValueError: a reply's prompt is not among the prompts.
    """
    rows = _rows(confidence)
    says_refusal = guard.name == "wildguard"
    exchanges = _exchanges(prompts, [row for row in rows if not _is_empty(row)])
    verdicts = iter(guard.classify(exchanges) if exchanges else [])
    found = []
    for row in rows:
        if _is_empty(row):
            found.append(_empty(row, UNCLEAR if says_refusal else None))
            continue
        verdict = next(verdicts)
        reason = SHORTENED if verdict.shortened else None
        found.append(_judged(row, verdict.labels, None, verdict.reason or reason, says_refusal=says_refusal))
    return _table(found)


def judge_labels(prompts: pl.DataFrame, confidence: pl.DataFrame, judge: Any) -> pl.DataFrame:
    """Labels of a judge that follows the harm rubric; `harm_score` is StrongREJECT's.

    Args:
        prompts: the prompts table; the judge sees its column `prompt`.
        confidence: the confidence table.
        judge: a `tells.judge.HarmJudge`.

    Returns:
        The judge_labels table, in the order of the confidence table.

    Raises:
        ValueError: a reply's prompt is not among the prompts, or the judge cannot follow a rubric.
        BudgetError: the judge's ceiling is reached; what was judged is in its cache.
    """
    rows = _rows(confidence)
    full = [row for row in rows if not _is_empty(row)]
    judged = iter(judge_replies(judge, _exchanges(prompts, full)))
    found = []
    for row in rows:
        if _is_empty(row):
            found.append(_empty(row, UNCLEAR))
            continue
        one = next(judged)
        found.append(_judged(row, one.labels, one.score, one.reason, says_refusal=True))
    return _table(found)


def count_unanswered(table: pl.DataFrame) -> int:
    """Replies that a judge was asked about and gave no answer for, though it may yet; a refusal to judge is one."""
    settled = [EMPTY_TEXT, NO_ANSWER_GIVEN]
    return table.filter(pl.col("status") == UNSCORED, ~pl.col("reason").is_in(settled)).height


def merge_labels(
    prompts: pl.DataFrame, confidence: pl.DataFrame, tables: Mapping[str, pl.DataFrame], *, refusal: str, harm: str
) -> pl.DataFrame:
    """Choose whose refusal and whose harm the analyses read.

    Harm is null where the chosen refusal is anything but compliance, whatever the classifier of harm says. Where the
    classifier of harm saw a refusal in a reply that complies by the chosen one, what it said of its harm counts.

    Args:
        prompts: the prompts table, with label and category.
        confidence: the confidence table.
        tables: labels by the name of the classifier; `patterns` is always among them.
        refusal: the classifier whose refusal is taken.
        harm: the classifier whose harm is taken.

    Returns:
        The reply_labels table, in the order of the confidence table. `refusal` is null where the classifier's answer
        could not be read.

    Raises:
        ValueError: a classifier's table is missing or does not hold the very replies of the confidence table, or a
            reply's prompt is not among the prompts.
    """
    replies = confidence.select(*_KEY, "group", "truncated", "empty")
    merged = (
        replies.join(_prompt_facts(prompts, replies), on="prompt_id", how="left", maintain_order="left")
        .join(_taken(tables, "patterns", replies, stop_label="refusal"), on=_KEY, how="left", maintain_order="left")
        .join(_taken(tables, refusal, replies, refusal="refusal"), on=_KEY, how="left", maintain_order="left")
        .join(
            _taken(tables, harm, replies, harm="harm", harm_score="harm_score"),
            on=_KEY,
            how="left",
            maintain_order="left",
        )
    )
    complied = pl.col("refusal").eq_missing(pl.lit(COMPLIANCE))
    scored = complied & pl.col("harm").is_in(["harmful", "unharmful"])
    merged = merged.with_columns(
        harm=pl.when(complied).then("harm"), harm_score=pl.when(scored.fill_null(value=False)).then("harm_score")
    )
    return merged.select(pl.col(name).cast(kind) for name, kind in SCHEMAS["reply_labels"].columns.items())


def _prompt_facts(prompts: pl.DataFrame, replies: pl.DataFrame) -> pl.DataFrame:
    missing = replies.join(prompts, on="prompt_id", how="anti")
    if missing.height:
        raise ValueError(f"prompt {missing['prompt_id'][0]!r} has replies but is not in the prompts table")
    return prompts.select("prompt_id", "label", "category")


def _taken(tables: Mapping[str, pl.DataFrame], classifier: str, replies: pl.DataFrame, **columns: str) -> pl.DataFrame:
    """Columns of a classifier's table under new names, once it is known to hold the very replies."""
    if classifier not in tables:
        raise ValueError(f"there are no labels by {classifier!r}, only by {', '.join(tables) or 'nobody'}")
    table = tables[classifier]
    missing, strange = replies.join(table, on=_KEY, how="anti"), table.join(replies, on=_KEY, how="anti")
    if missing.height or strange.height or table.height != replies.height:
        raise ValueError(
            f"the labels by {classifier!r} are not of these replies: {missing.height} replies have none, and "
            f"{strange.height} labels have no reply; make them again"
        )
    return table.select(*_KEY, **{new: pl.col(old) for new, old in columns.items()})


def _rows(confidence: pl.DataFrame) -> list[_Row]:
    return confidence.select(*_KEY, "empty", "answer").to_dicts()


def _is_empty(row: _Row) -> bool:
    return row["empty"] or not (row["answer"] or "").strip()


def _of_full(rows: Sequence[_Row], detector: Detector) -> list[str | None]:
    """The detector's labels; None for empty replies."""
    texts = [row["answer"] for row in rows if not _is_empty(row)]
    labels = list(detector(texts)) if texts else []
    if len(labels) != len(texts):
        raise ValueError(f"the detector gave {len(labels)} labels for {len(texts)} texts")
    given = iter(labels)
    return [None if _is_empty(row) else next(given) for row in rows]


def _exchanges(prompts: pl.DataFrame, rows: Sequence[_Row]) -> list[tuple[str, str]]:
    asked = dict(prompts.select("prompt_id", "prompt").iter_rows())
    missing = [row["prompt_id"] for row in rows if row["prompt_id"] not in asked]
    if missing:
        raise ValueError(f"prompt {missing[0]!r} has replies but is not in the prompts table")
    return [(asked[row["prompt_id"]], row["answer"]) for row in rows]


def _judged(row: _Row, labels: Labels | None, score: float | None, reason: str | None, *, says_refusal: bool) -> _Row:
    """The row of a reply that a classifier was asked about."""
    if labels is None:
        return _label(row, harm=UNSCORED, status=UNSCORED, reason=reason)
    known = {"prompt_harm": labels.prompt_harm, "reason": reason}
    if says_refusal:
        known["refusal"] = labels.refusal or UNCLEAR
    if labels.harm is None or (says_refusal and labels.refusal is None):
        return _label(row, **{**known, "harm": UNSCORED, "status": UNSCORED, "reason": reason or _NO_REPLY})
    return _label(row, **known, harm=labels.harm, harm_score=score)


def _empty(row: _Row, refusal: str | None) -> _Row:
    return _label(row, refusal=refusal, status=UNSCORED, reason=EMPTY_TEXT)


def _label(row: _Row, *, status: str = SCORED, **known: Any) -> _Row:
    return {"prompt_id": row["prompt_id"], "sample": row["sample"], "status": status, **known}


def _table(rows: Sequence[_Row]) -> pl.DataFrame:
    return pl.DataFrame([{name: row.get(name) for name in _COLUMNS} for row in rows], schema=_COLUMNS)
