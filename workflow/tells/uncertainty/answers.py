"""Answers: from what a model wrote to what it answered, and whether that is right.

First step of the uncertainty study after sampling. Generated text is cut at the tag that closes the thought,
the last box after it is the answer, and the answer is graded against the gold: mathematics by Math-Verify,
everything else by a normalised match with any alias. `grade_runs` does so for a whole table of samples; the
clustering asks `equivalent` whether two answers are the same.

Math-Verify limits its time with `signal.alarm`, so `grade` and `equivalent` belong to the main thread.
"""

from __future__ import annotations

import re
import sys
import threading
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from typing import Any

import polars as pl
from rich.console import Console
from rich.progress import track

THINK_END = "</think>"
_BOX = re.compile(r"\\boxed\s*\{")
_TEXT_COMMAND = re.compile(r"\\(?:text|textbf|textit|mathrm|mathbf|mbox)\s*\{([^{}]*)\}")
_WORDS = re.compile(r"[A-Za-z]{4,}(?:[ '-][A-Za-z]{2,})*")
_MATH_DELIMITERS = (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"))
_ARTICLES = frozenset({"a", "an", "the"})

LABEL_SCHEMA: dict[str, Any] = {
    "prompt_id": pl.String,
    "group": pl.String,
    "sample": pl.Int32,
    "greedy": pl.Boolean,
    "think": pl.String,
    "answer": pl.String,
    "truncated": pl.Boolean,
    "correct": pl.Boolean,
    "grader": pl.String,
}


@dataclass(frozen=True)
class Parsed:
    """One generation taken apart.

    Attributes:
        think: the thought without its tags; None where the model did not think.
        answer: content of the last box after the thought; None where there is none.
        truncated: the generation ended before the thought was closed.
    """

    think: str | None
    answer: str | None
    truncated: bool


def split_thinking(text: str, *, think_end: str = THINK_END, opened: bool = True) -> tuple[str | None, str, bool]:
    """Cut generated text at the first tag that closes the thought.

    Args:
        text: generated text alone, without the prompt.
        think_end: the closing tag; the opening tag is the same without its slash and counts
            at the beginning of the text alone.
        opened: the prompt had opened the tag, so the generation begins inside the thought.

    Returns:
        The thought (None where there is none), the text after it, and whether the thought was left open
        (the text after it is then empty).

    Raises:
        ValueError: `think_end` is empty.
    """
    if not think_end:
        raise ValueError("think_end is empty: give the tag that closes the thought, such as </think>")
    think_start = think_end.replace("/", "", 1)
    before, closed, after = text.partition(think_end)
    begun = think_start != think_end and before.lstrip().startswith(think_start)
    if not closed and not opened and not begun:
        return None, text, False
    thought = before.lstrip().removeprefix(think_start) if begun else before
    return thought.strip(), after, not closed


def parse_generation(text: str, *, think_end: str = THINK_END, opened: bool = True) -> Parsed:
    r"""Take one generation apart into its thought and its boxed answer.

    A template may pre-fill the opening tag, so text that holds only the closing one is complete. A box inside
    the thought is no answer.

    Args:
        text: generated text alone, without the prompt.
        think_end: the tag that closes the thought.
        opened: the prompt had opened the tag. With False, text without any tag is a complete answer.

    Returns:
        The thought, the answer (content of the last `\boxed{…}` after the thought, or None) and whether the
        generation was cut before the thought ended.

    Raises:
        ValueError: `think_end` is empty.
    """
    think, rest, truncated = split_thinking(text, think_end=think_end, opened=opened)
    return Parsed(think, None if truncated else extract_boxed(rest), truncated)


def extract_boxed(text: str) -> str | None:
    r"""Content of the last `\boxed{…}` whose braces balance, without white space around it.

    Braces escaped by a backslash (`\{`) are symbols and do not count. Of nested boxes the innermost counts.

    Returns:
        The content; None where there is no balanced box or the last one is empty.
    """
    for match in reversed(list(_BOX.finditer(text))):
        stop = _closing_brace(text, match.end())
        if stop is not None:
            return text[match.end() : stop].strip() or None
    return None


def _closing_brace(text: str, start: int) -> int | None:
    """Position of the brace that closes the one just before `start`."""
    depth, position = 1, start
    while position < len(text):
        character = text[position]
        if character == "\\":
            position += 1
        elif character in "{}":
            depth += 1 if character == "{" else -1
            if depth == 0:
                return position
        position += 1
    return None


def grade(gold: str, answer: str | None) -> bool | None:
    r"""Whether a mathematical answer equals the gold, by Math-Verify with the gold first.

    Both may be bare LaTeX, stand between dollars, or hold a box; the last box is cut out before parsing.

    Args:
        gold: the right answer.
        answer: the model's answer, or None where it gave none.

    Returns:
        True or False; None where there is no answer or the gold cannot be parsed.

    Raises:
        RuntimeError: called outside the main thread, where Math-Verify cannot limit its time.
    """
    if answer is None:
        return None
    gold_body, answer_body = math_body(gold), math_body(answer)
    if not gold_body or not _parse(gold_body):
        return None
    return bool(answer_body) and _verify(gold_body, answer_body)


def equivalent(a: str | None, b: str | None) -> bool:
    """Whether two mathematical answers are the same: Math-Verify accepts one for the other, either way.

    Symmetric, and True for answers that read the same; not transitive (10 ~ 10% ~ 0.1, but 10 !~ 0.1). No
    answer (None or blank) equals nothing, not even itself.

    Raises:
        RuntimeError: called outside the main thread.
    """
    if a is None or b is None:
        return False
    first, second = math_body(a), math_body(b)
    if not first or not second:
        return False
    return first == second or _verify(first, second) or _verify(second, first)


def math_body(text: str) -> str:
    """An answer without its box, its dollars and a full stop at its end: what Math-Verify is asked about."""
    body = text.strip()
    if _BOX.search(body):
        body = extract_boxed(body) or ""
    body = re.sub(r"(?<!\\)[.,;]+$", "", body).strip()
    for left, right in _MATH_DELIMITERS:
        inner = body[len(left) : len(body) - len(right)]
        if len(body) >= len(left) + len(right) and body.startswith(left) and body.endswith(right):
            if left not in inner:
                body = inner.strip()
            break
    return body


def _require_main_thread() -> None:
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError(
            "Math-Verify limits its time with signal.alarm and works in the main thread only: "
            "grade and compare answers in the main thread of a process"
        )


@lru_cache(maxsize=65_536)
def _parse(body: str) -> tuple[Any, ...]:
    r"""Math-Verify's readings of an answer wrapped in a box, so that bare golds parse too.

    Words go in as `\text`: as symbols they would be products, and "Paris" would equal "pairs".
    """
    _require_main_thread()
    from math_verify import parse

    wrapped = rf"\text{{{body}}}" if _WORDS.fullmatch(body) else body
    return tuple(parse(rf"\boxed{{{wrapped}}}"))


@lru_cache(maxsize=262_144)
def _verify(gold: str, answer: str) -> bool:
    _require_main_thread()
    from math_verify import verify

    return bool(verify(list(_parse(gold)), list(_parse(answer))))


def normalise_text(text: str) -> str:
    """Free text as it is compared: case, articles, punctuation and white space make no difference.

    LaTeX text commands and dollars are taken off, hyphens and the like become spaces, apostrophes and full
    stops vanish; signs and decimal points of numbers stay, thousands separators go. Where nothing but
    articles or punctuation is left ("A", "+"), they stay.
    """
    folded = unicodedata.normalize("NFKC", text).casefold().replace("−", "-")
    folded = _TEXT_COMMAND.sub(r"\1", folded)
    bare = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", folded)
    bare = re.sub(r"['’`]|\.(?!\d)|(?<=[^\W\d])\.", "", bare)
    bare = re.sub(r"(?<=\w)-|-(?!\.?\d)|[^\w\s.-]|_", " ", bare)
    words = bare.split()
    kept = [word for word in words if word not in _ARTICLES] or words
    return " ".join(kept) or " ".join(folded.split())


def grade_text(gold_aliases: Sequence[str], answer: str | None) -> bool | None:
    """Whether a free-text answer matches any alias of the gold after `normalise_text`.

    Returns:
        True or False; None where there is no answer or no alias.
    """
    aliases = {normalise_text(alias) for alias in gold_aliases} - {""}
    if answer is None or not aliases:
        return None
    return normalise_text(extract_boxed(answer) or answer) in aliases


def grade_run(golds: Sequence[str], answer: str | None, grader: str) -> bool | None:
    """Grade one answer with the named grader; any alias of the gold will do.

    Args:
        golds: aliases of the right answer.
        answer: the model's answer, or None.
        grader: "math" or "text".

    Returns:
        True or False; None where there is no answer or no gold that can be graded against.

    Raises:
        ValueError: unknown grader.
        RuntimeError: "math" outside the main thread.
    """
    if grader == "text":
        return grade_text(golds, answer)
    if grader != "math":
        raise ValueError(f"unknown grader {grader!r}: prompts must say 'math' or 'text'")
    verdicts = [grade(gold, answer) for gold in golds]
    if True in verdicts:
        return True
    return False if False in verdicts else None


@lru_cache(maxsize=8)
def grader_name(grader: str) -> str:
    """Name and version of a grader, as stored with every row.

    Raises:
        ValueError: unknown grader.
    """
    if grader == "math":
        return f"math-verify {version('math-verify')}"
    if grader == "text":
        return "normalised-match 1"
    raise ValueError(f"unknown grader {grader!r}: prompts must say 'math' or 'text'")


def answer_of_run(text: str, grader: str, *, think_end: str = THINK_END, opened: bool = True) -> Parsed:
    """Take a run apart; a free-text run without a box answers with its first line after the thought.

    The last box after the tag is the answer. Where no box was begun and the grader is "text", the first line
    that is not blank is; for "math", and for a box that is empty or never closed, it stays None.
    """
    think, rest, truncated = split_thinking(text, think_end=think_end, opened=opened)
    if truncated:
        return Parsed(think, None, True)
    answer = extract_boxed(rest)
    if answer is None and grader == "text" and not _BOX.search(rest):
        answer = next((line.strip() for line in rest.splitlines() if line.strip()), None)
    return Parsed(think, answer, False)


def grade_runs(
    prompts: pl.DataFrame, samples: pl.DataFrame, *, think_end: str = THINK_END, opened: bool = True
) -> pl.DataFrame:
    """Label every run of a collection: its thought, its answer, whether it was cut and whether it is right.

    The answer is the last box after the tag; where there is no box and the grader is "text", the first line
    after the tag that is not blank. A truncated run has neither answer nor verdict. A complete run without
    an answer is wrong. A question without a gold that can be graded against has no verdicts. Each pair of
    gold and answer is graded once. Runs in the main thread.

    Args:
        prompts: one row a question, with prompt_id, gold and grader.
        samples: one row a run, with prompt_id, group, sample, greedy and text.
        think_end: the tag that closes the thought.
        opened: the prompts had opened the tag.

    Returns:
        The labels table, one row a run in the order of `samples`: prompt_id, group, sample, greedy, think,
        answer, truncated, correct, grader.

    Raises:
        ValueError: a run's prompt_id is not among the prompts, or its grader is unknown.
        RuntimeError: mathematics outside the main thread.
    """
    questions = {row["prompt_id"]: row for row in prompts.select("prompt_id", "gold", "grader").to_dicts()}
    missing = sorted(set(samples["prompt_id"].to_list()) - set(questions))
    if missing:
        raise ValueError(
            f"{len(missing)} prompt_id in samples but not in prompts (first: {missing[0]}): "
            "samples and prompts must come from one collection"
        )
    runs = samples.select("prompt_id", "group", "sample", "greedy", "text").to_dicts()
    console = Console(stderr=True)
    rows = []
    for run in track(runs, description="grading", console=console, disable=not sys.stderr.isatty()):
        question = questions[run["prompt_id"]]
        rows.append(_label(run, question["gold"] or [], question["grader"], think_end, opened))
    return pl.DataFrame(rows, schema=LABEL_SCHEMA)


def _label(run: dict[str, Any], golds: list[str], grader: str, think_end: str, opened: bool) -> dict[str, Any]:
    """One row of the labels table."""
    parsed = answer_of_run(run["text"], grader, think_end=think_end, opened=opened)
    correct = None
    if not parsed.truncated:
        # An answer that no gold can equal shows whether the golds can be graded against at all.
        verdict = grade_run(golds, "no answer" if parsed.answer is None else parsed.answer, grader)
        correct = False if parsed.answer is None and verdict is not None else verdict
    return {
        **{name: run[name] for name in ("prompt_id", "group", "sample", "greedy")},
        "think": parsed.think,
        "answer": parsed.answer,
        "truncated": parsed.truncated,
        "correct": correct,
        "grader": grader_name(grader),
    }
