"""P(True): the model is shown its own answer and asked whether it is true.

The probability of "True" as the next token, after a few-shot prompt of right and wrong answers; one pass, no sampling.

References:
    Kadavath et al., Language Models (Mostly) Know What They Know (arXiv 2207.05221), section 3.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from tells.tables import SCHEMAS
from tells.uncertainty.answers import answer_of_run
from tells.uncertainty.questions import FewShotExample

if TYPE_CHECKING:
    from tells.models.loading import LoadedModel

QUESTION = "Question: {question}\nProposed answer: {answer}\nIs the proposed answer true or false?"


def true_false_prefix(examples: Sequence[FewShotExample]) -> str:
    """Few-shot part: the examples by turns with their own answer (True) and with the next one's (False)."""
    shown = []
    for index, example in enumerate(examples):
        other = examples[(index + 1) % len(examples)]
        own = index % 2 == 0 or other.answer == example.answer
        asked = QUESTION.format(question=example.question, answer=example.answer if own else other.answer)
        shown.append(f"{asked} {own}\n\n")
    return "".join(shown)


def ask_p_true(
    prompts: pl.DataFrame,
    samples: pl.DataFrame,
    loaded: LoadedModel,
    examples: Sequence[FewShotExample],
    *,
    prompt: str,
    opened: bool,
    think_end: str,
    batch_size: int,
) -> pl.DataFrame:
    """P(True) of every run that has an answer; null for the others.

    Args:
        prompts: the prompts table (question, grader).
        samples: the samples table.
        loaded: the model that gave the answers.
        examples: of the question set.
        prompt: `chat` or `completion`.
        opened: the prompts ended inside a think tag.
        think_end: the tag that closes it.
        batch_size: prompts per batch.

    Returns:
        The p_true table.
    """
    from tells.models.next_token import next_token_logprobs
    from tells.models.prompts import render_prompt

    questions = {row["prompt_id"]: row for row in prompts.iter_rows(named=True)}
    prefix = true_false_prefix(examples)
    thinking = False if loaded.manifest["thinking"] else None
    keys, rendered = [], []
    for run in samples.select("prompt_id", "sample", "text").iter_rows(named=True):
        question = questions[run["prompt_id"]]
        parsed = answer_of_run(run["text"], question["grader"], think_end=think_end, opened=opened)
        keys.append((run["prompt_id"], run["sample"], parsed.answer is not None))
        if parsed.answer is not None:
            row = _row(question, parsed.answer, prefix)
            rendered.append(
                render_prompt(loaded.tokenizer, row, prompt=prompt, think_end=think_end, thinking=thinking).token_ids
            )
    true_token = loaded.tokenizer("True" if prompt == "chat" else " True", add_special_tokens=False)["input_ids"][0]
    logprobs = iter(next_token_logprobs(loaded, rendered, [true_token], batch_size=batch_size)[:, 0])
    values = [math.exp(next(logprobs)) if answered else None for _, _, answered in keys]
    return pl.DataFrame(
        {"prompt_id": [key[0] for key in keys], "sample": [key[1] for key in keys], "p_true": values},
        schema=SCHEMAS["p_true"].columns,
    )


def _row(question: Mapping[str, Any], answer: str, prefix: str) -> dict[str, Any]:
    text = QUESTION.format(question=question["question"], answer=answer)
    return {"text": text, "shared_prefix": prefix, "system_prompt": None}
