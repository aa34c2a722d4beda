"""Question sets: what to ask, how it is graded, and the prompts that ask it.

A YAML file in config/questions describes a set (`QuestionSet`); its data are a file beside it, a file the
user names, or a file on the Hugging Face hub. `read_questions` reads them, `build_prompts` makes the table
of prompts that the sampling stage takes, for chat models and for completion models.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Self

import polars as pl
from pydantic import ConfigDict, model_validator

from tells.config.base import Definition
from tells.config.data_sets import DataSet, HubFiles, Text, commit_of, fetch_hub_file, load_description
from tells.uncertainty.question_files import (
    Question,
    QuestionFileError,
    Questions,
    question_group,
    read_question_file,
    read_samples,
)

__all__ = [
    "FewShotExample",
    "HubFiles",
    "Question",
    "QuestionFileError",
    "QuestionSet",
    "Questions",
    "build_prompts",
    "few_shot_prefix",
    "find_question_file",
    "load_question_set",
    "prompts_of",
    "question_group",
    "read_question_file",
    "read_questions",
    "read_samples",
]

PROMPTS_SCHEMA = {
    "prompt_id": pl.String,
    "group": pl.String,
    "question": pl.String,
    "text": pl.String,
    "shared_prefix": pl.String,
    "system_prompt": pl.String,
    "gold": pl.List(pl.String),
    "grader": pl.String,
}


class FewShotExample(Definition):
    """One worked example for completion models.

    Attributes:
        question: the question, as it would stand in the data.
        think: the reasoning, without tags.
        answer: the final answer, without its box.
    """

    model_config = ConfigDict(coerce_numbers_to_str=True)

    question: Text
    think: Text
    answer: Text

    @model_validator(mode="after")
    def _is_without_markup(self) -> Self:
        if "<think>" in self.think or "</think>" in self.think or "\\boxed" in self.answer:
            raise ValueError("leave out <think>, </think> and \\boxed{}; they are added")
        return self


class QuestionSet(DataSet):
    """A question set as config/questions/NAME.yaml describes it.

    Attributes:
        description: what the questions are, for people.
        file: the data file, relative to the folder of the YAML file; either this or `hub`.
        hub: the data set on the hub; either this or `file`.
        split: which of the hub's splits is read.
        format: how the columns are named (see `question_files.LAYOUTS`).
        grader: "math" (mathematical equality) or "text" (normalised match with any accepted answer).
        instruction: what a chat model is told after the question.
        examples: the worked examples that a completion model sees first.
    """

    split: Text | None = None
    format: Literal["jsonl", "gsm8k", "math500", "svamp", "multiarith", "nq_open"]
    grader: Literal["math", "text"]
    instruction: Text
    examples: tuple[FewShotExample, ...] = ()

    @model_validator(mode="after")
    def _has_one_source(self) -> Self:
        if (self.file is None) == (self.hub is None):
            raise ValueError("give either `file` or `hub`, and not both")
        if self.hub is None and self.split is not None:
            raise ValueError("`split` goes with `hub`; a `file` has no splits")
        if self.hub is not None and self.split not in self.hub.files:
            raise ValueError(f"`split` must be one of hub.files: {', '.join(self.hub.files)}")
        return self


def load_question_set(path: Path | str) -> QuestionSet:
    """Read the description of a question set.

    Args:
        path: a YAML file, such as config/questions/sums.yaml.

    Returns:
        The set, with its `name` taken from the file and `data_file` beside it.

    Raises:
        ConfigError: with every fault: no such file, not UTF-8, not YAML, unknown or missing keys, wrong
            values.
    """
    return load_description(Path(path), QuestionSet, "question set")


def find_question_file(question_set: QuestionSet, *, path: Path | str | None = None, split: str | None = None) -> Path:
    """Return the local path of a set's data, downloading them from the hub if they are not cached.

    Args:
        question_set: the set.
        path: a local copy to read instead of the set's own data, relative to the working folder.
        split: a split of `hub.files` to read instead of the set's own.

    Returns:
        Path of a file that exists.

    Raises:
        FileNotFoundError: a local file is not there, or the hub's file is neither cached nor reachable;
            the message says what to do.
        ValueError: the set has no such split.
    """
    local = Path(path) if path is not None else question_set.data_file
    if local is not None:
        if split is not None:
            raise ValueError(f"{question_set.name}: split {split!r} has no meaning for the local file {local}")
        if not local.is_file():
            key = "path" if path is not None else "file"
            raise FileNotFoundError(f"{question_set.name}: {local} does not exist; correct `{key}`")
        return local
    split = split or question_set.split
    if split not in question_set.hub.files:
        known = ", ".join(question_set.hub.files)
        raise ValueError(f"{question_set.name}: no split {split!r} in hub.files; there are: {known}")
    return fetch_hub_file(question_set.name, question_set.hub, question_set.hub.files[split])


def read_questions(question_set: QuestionSet, *, path: Path | str | None = None, split: str | None = None) -> Questions:
    """Find and read the questions of a set.

    Args:
        question_set: the set.
        path: a local copy to read instead of the set's own data.
        split: a split of `hub.files` to read instead of the set's own.

    Returns:
        The questions in file order, with the SHA-256 of the file (`file_digest`) and, for a file in the
        hub's cache, the commit it belongs to (`revision`).

    Raises:
        FileNotFoundError, ValueError: as `find_question_file`.
        QuestionFileError: the file has faults; all are listed.
    """
    found = find_question_file(question_set, path=path, split=split)
    questions = read_question_file(found, question_set.format)
    if path is not None or question_set.hub is None:
        return questions
    return replace(questions, revision=commit_of(found))


def prompts_of(settings: Mapping[str, Any]) -> tuple[pl.DataFrame, dict[str, str | None]]:
    """The prompts table of a collection, from what its stage is told; and digest and revision of its data.

    Args:
        settings: questions, path, samples, prompt, system_prompt and limit.

    Raises:
        QuestionFileError: the data cannot be used.
    """
    question_set = load_question_set(settings["questions"])
    if settings["samples"]:
        questions, _ = read_samples(settings["samples"])
    else:
        questions = read_questions(question_set, path=settings["path"])
    prompts = build_prompts(
        questions,
        question_set,
        prompt=settings["prompt"],
        system_prompt=settings["system_prompt"],
        limit=settings["limit"],
    )
    return prompts, {"sha256": questions.file_digest, "revision": questions.revision}


def few_shot_prefix(examples: Iterable[FewShotExample]) -> str:
    """Return the worked examples as the text that a completion model sees before each question."""
    return "".join(
        f"Question: {example.question}\n<think>{example.think}</think>\n\\boxed{{{example.answer}}}\n\n"
        for example in examples
    )


def build_prompts(
    questions: Iterable[Question],
    question_set: QuestionSet,
    *,
    prompt: Literal["chat", "completion"],
    system_prompt: str | None = None,
    limit: int | None = None,
    seed: int = 0,
) -> pl.DataFrame:
    """Make the table of prompts that asks the questions.

    A chat model gets the question, an empty line and the instruction as the user's turn. A completion model
    gets the worked examples (`shared_prefix`), then the question with its thinking opened (`text`).

    Args:
        questions: what to ask.
        question_set: instruction, examples and grader.
        prompt: the kind of model.
        system_prompt: system turn of a chat model; None for none.
        limit: ask only the first `limit` questions in file order; all if there are fewer.
        seed: no part of this table is drawn at random, so the seed changes nothing; it is taken so that
            all makers of prompts are called alike.

    Returns:
        One row a question, in file order, in the columns of `PROMPTS_SCHEMA`.

    Raises:
        ValueError: an unknown kind of prompt, a limit under 1, no question, a system prompt or no examples
            for a completion model, or a question that is among the examples (its answer would be given away).
    """
    if prompt not in ("chat", "completion"):
        raise ValueError(f"prompt {prompt!r} is unknown; it is 'chat' or 'completion'")
    if limit is not None and limit < 1:
        raise ValueError(f"limit is {limit}; it must be at least 1, or None for all questions")
    chosen = list(questions)[:limit]
    if not chosen:
        raise ValueError(f"{question_set.name}: there is no question to ask")
    if prompt == "completion":
        _check_completion(chosen, question_set, system_prompt)
    prefix = few_shot_prefix(question_set.examples) if prompt == "completion" else ""
    rows = [
        {
            "prompt_id": question.id,
            "group": question_group(question.question),
            "question": question.question,
            "text": _prompt_text(question, question_set, prompt),
            "shared_prefix": prefix,
            "system_prompt": system_prompt,
            "gold": list(question.gold),
            "grader": question_set.grader,
        }
        for question in chosen
    ]
    return pl.DataFrame(rows, schema=PROMPTS_SCHEMA)


def _prompt_text(question: Question, question_set: QuestionSet, prompt: str) -> str:
    if prompt == "completion":
        return f"Question: {question.question}\n<think>"
    return f"{question.question}\n\n{question_set.instruction}"


def _check_completion(questions: list[Question], question_set: QuestionSet, system_prompt: str | None) -> None:
    name = question_set.name
    if system_prompt is not None:
        raise ValueError(f"{name}: a completion model has no system turn; leave out the system prompt")
    if not question_set.examples:
        raise ValueError(f"{name}: a completion model needs `examples` in the question set; there are none")
    shown = {question_group(example.question) for example in question_set.examples}
    leaked = [question.row for question in questions if question_group(question.question) in shown]
    if leaked:
        raise ValueError(f"{name}: rows {leaked} ask what an example answers; replace those `examples`")
