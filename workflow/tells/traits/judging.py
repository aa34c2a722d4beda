"""What the traits study asks a judge, and the tables its answers become."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import polars as pl

from tells.judge import EMPTY_TEXT, Explanation, Item, Judge, Judgement, Rubric, Task
from tells.models.spans import decode_tokens, window_tokens
from tells.tables import SCHEMAS
from tells.traits.vetting import Thresholds, outcome_of


def judge_texts(
    judge: Judge, rubric: Rubric, texts: Mapping[tuple[Any, ...], str], task: Literal["trait", "scenario"], kind: str
) -> pl.DataFrame:
    """Score texts for a trait; an empty one is an error, without asking.

    Args:
        judge: who judges.
        rubric: the trait.
        texts: by the key of the table's rows.
        task: whether the texts themselves are judged, or what they will draw out.
        kind: of the table: scenario_scores or response_scores.
    """
    items = [Item("/".join(map(str, key)), text) for key, text in texts.items()]
    judged = asyncio.run(_scores(judge, task, rubric, items))
    schema = SCHEMAS[kind]
    rows = [(*key, one.score, one.status, one.resolution, one.reason) for key, one in zip(texts, judged, strict=True)]
    return pl.DataFrame(rows, schema=schema.columns, orient="row")


def judge_answers(judge: Judge, rubric: Rubric, answers: pl.DataFrame, references: pl.DataFrame) -> pl.DataFrame:
    """Score steered answers for the trait and for coherence; an empty one is an error in both, without asking.

    Args:
        judge: who judges.
        rubric: the trait.
        answers: a table of steered answers; references among them are judged like all others.
        references: unsteered answers of the same model, by which the offline judge measures coherence; those that are
            not among the answers are judged for coherence alone.

    Returns:
        One row per answer; where a score is missing, `reason` says why.
    """
    if answers.is_empty():
        return pl.DataFrame(schema=SCHEMAS["search_scores"].columns)
    rows = answers.to_dicts()
    items = [_item(row, row["kind"] == "reference") for row in rows]
    known = {item.item_id for item in items}
    more = [_item(row, True) for row in references.to_dicts() if row["row_id"] not in known]

    async def ask() -> tuple[list[Judgement], list[Judgement]]:
        trait, coherence = await asyncio.gather(
            _scores(judge, "trait", rubric, items), _scores(judge, "coherence", rubric, [*items, *more])
        )
        return trait, coherence[: len(items)]

    traits, coherences = asyncio.run(ask())
    table = [
        (
            trait.item_id,
            trait.score if trait.status == "scored" else None,
            trait.status,
            coherence.score if coherence.status == "scored" else None,
            coherence.status,
            trait.resolution,
            trait.reason or coherence.reason,
        )
        for trait, coherence in zip(traits, coherences, strict=True)
    ]
    return pl.DataFrame(table, schema=SCHEMAS["search_scores"].columns, orient="row")


def explain_failures(
    judge: Judge,
    rubric: Rubric,
    vetting: pl.DataFrame,
    texts: Mapping[tuple[Any, ...], str],
    thresholds: Thresholds,
) -> list[dict[str, Any]]:
    """Ask why each response that failed by its own score did so; enters no score.

    A response that passed is not explained, though it may be left out for its scenario or its partner.

    Args:
        judge: who judges.
        rubric: the trait.
        vetting: the vetting table.
        texts: of the responses, by prompt_id and sample.
        thresholds: what passes.

    Returns:
        One mapping per failure: prompt_id, sample, polarity, reason, confound.
    """
    failed = [row for row in vetting.iter_rows(named=True) if _fails(row, thresholds)]
    explained: list[dict[str, Any]] = []

    async def ask(polarity: str) -> tuple[Sequence[Mapping[str, Any]], list[Explanation]]:
        rows = [row for row in failed if row["polarity"] == polarity]
        keys = [(row["prompt_id"], row["sample"]) for row in rows]
        items = [Item("/".join(map(str, key)), texts[key]) for key in keys]
        return rows, await judge.explain(rubric, items, "high" if polarity == "positive" else "low")

    async def ask_both() -> list[tuple[Sequence[Mapping[str, Any]], list[Explanation]]]:
        return list(await asyncio.gather(ask("positive"), ask("negative")))

    for rows, explanations in asyncio.run(ask_both()):
        for row, explanation in zip(rows, explanations, strict=True):
            place = {key: row[key] for key in ("prompt_id", "sample", "polarity")}
            explained.append({**place, "reason": explanation.reason, "confound": explanation.confound})
    return explained


def window_texts(load_tokenizer: Callable[[], Any], samples: pl.DataFrame, window: str) -> dict[tuple[str, int], str]:
    """The text of the window that is extracted, of every response: what vetting judges.

    Args:
        load_tokenizer: gives the tokenizer of the model that generated; called where a response is longer than the
            window, since loading one takes longer than reading all responses.
        samples: the samples table.
        window: response[:N], response, or prompt_last, which is judged by the whole response.
    """
    limit, tokenizer, texts = window_tokens(window), None, {}
    for row in samples.iter_rows(named=True):
        text = row["text"]
        if limit is not None and len(row["token_ids"]) > limit:
            tokenizer = load_tokenizer() if tokenizer is None else tokenizer
            text = text[: decode_tokens(tokenizer, row["token_ids"][:limit])[1][-1]]
        texts[row["prompt_id"], row["sample"]] = text
    return texts


async def _scores(judge: Judge, task: Task, rubric: Rubric, items: Sequence[Item]) -> list[Judgement]:
    """Judge the items that hold text; a judge would score the others by their emptiness."""
    full = [item for item in items if item.text.strip()]
    judged = zip(full, await judge.score(task, rubric, full), strict=True)
    found = {item.item_id: judgement for item, judgement in judged}
    resolution = judge.facts()["resolution"]
    return [
        found[item.item_id] if item.item_id in found else Judgement(item.item_id, None, "error", resolution, EMPTY_TEXT)
        for item in items
    ]


def _fails(row: Mapping[str, Any], thresholds: Thresholds) -> bool:
    """Whether a row's response was judged and fails by its own score."""
    status = row["response_status"]
    return status is not None and outcome_of(row["response_score"], status, row["polarity"], thresholds) == "fail"


def _item(row: Mapping[str, Any], reference: bool) -> Item:
    return Item(row["row_id"], row["text"], row["question"], row["log_likelihood"], reference)
