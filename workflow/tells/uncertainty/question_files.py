"""Read files of questions and gold answers, in the forms in which the common benchmarks come.

A format says which columns hold what; the file's ending says how rows are packed (.jsonl, .json with one
array, .parquet). Every fault of a file is reported at once, with its row. `tells.uncertainty.questions`
finds the files and makes prompts of what is read here.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import polars as pl

from tells.tables import SCHEMAS
from tells.tables.records import DataFileError, RowError, identifier_slug, read_records, repeated_ids
from tells.tables.records import text_group as question_group

ENDINGS = (".jsonl", ".json", ".parquet")


class QuestionFileError(DataFileError):
    """A file of questions cannot be used as it is; see `DataFileError`."""


@dataclass(frozen=True)
class Question:
    """One question: its slug, its text, its accepted answers, and its row in the file (1 is the first)."""

    id: str
    question: str
    gold: tuple[str, ...]
    row: int


@dataclass(frozen=True)
class Questions:
    """The questions of a file in file order, the file, its SHA-256, and its hub commit if it has one."""

    rows: tuple[Question, ...]
    path: Path
    file_digest: str
    revision: str | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Question]:
        return iter(self.rows)

    def __getitem__(self, index: int) -> Question:
        return self.rows[index]


@dataclass(frozen=True)
class Layout:
    """Where a format keeps things: the columns whose texts make the question, the gold answer, the id."""

    question: tuple[str, ...]
    answer: str
    gold: Callable[[Any], list[str]]
    id: str | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that must be there."""
        return (*([self.id] if self.id else []), *self.question, self.answer)


def number_text(value: float | str) -> str:
    """Return a number as people write it: 145.0 as 145, 1e-3 as 0.001.

    Raises:
        RowError: the value is no finite number.
    """
    try:
        number = Decimal(str(value).strip())
    except InvalidOperation:
        number = Decimal("NaN")
    if isinstance(value, bool) or not number.is_finite():
        raise RowError(f"answer {value!r} is not a number")
    whole = number.to_integral_value()
    return format(whole if whole == number else number, "f")


def accepted_answers(value: Any) -> list[str]:
    """Return the accepted answers in a text, a number, or a list of these.

    Raises:
        RowError: there is none, or one of them is empty or something else.
    """
    answers = value if isinstance(value, list) else [value]
    if not answers:
        raise RowError("no answer (an empty list)")
    return [_answer_text(answer) for answer in answers]


def _answer_text(value: Any) -> str:
    if value is None or (isinstance(value, str) and not value.strip()):
        raise RowError("no answer (empty)")
    if isinstance(value, int | float) and not isinstance(value, bool):
        return number_text(value)
    if not isinstance(value, str):
        raise RowError(f"answer {value!r} is neither a text nor a number")
    return value.strip()


def _number_answer(value: Any) -> list[str]:
    return [number_text(_answer_text(value))]


def _answer_after_hashes(value: Any) -> list[str]:
    _, marker, after = _answer_text(value).rpartition("####")
    if not marker:
        raise RowError("no answer ('#### ' is missing)")
    return accepted_answers(after.replace(",", ""))


LAYOUTS: dict[str, tuple[Layout, ...]] = {
    "jsonl": (Layout(("question",), "answer", accepted_answers, id="id"),),
    "gsm8k": (Layout(("question",), "answer", _answer_after_hashes),),
    "math500": (Layout(("problem",), "answer", accepted_answers, id="unique_id"),),
    "svamp": (Layout(("Body", "Question"), "Answer", _number_answer, id="ID"),),
    "multiarith": (
        Layout(("input",), "target", _number_answer),
        Layout(("question",), "final_ans", _number_answer),
    ),
    "nq_open": (Layout(("question",), "answer", accepted_answers),),
}


def read_question_file(path: Path | str, format: str) -> Questions:
    """Read a file of questions and their gold answers.

    Args:
        path: a .jsonl, .json or .parquet file.
        format: a key of `LAYOUTS`.

    Returns:
        The questions in file order. A format without ids names its rows `{format}-{row:04d}`.

    Raises:
        QuestionFileError: with every fault: a missing column, an empty file, an empty question, a question
            without an answer, an id that occurs twice, a row that is not UTF-8 or not JSON.
    """
    if format not in LAYOUTS:
        raise ValueError(f"format {format!r} is unknown; known are {', '.join(LAYOUTS)}")
    path = Path(path)
    data = path.read_bytes()
    records, problems = read_records(path, data, endings=ENDINGS, unit="question")
    layouts = LAYOUTS[format]
    layout = next((one for one in layouts if records and set(one.columns) <= set(records[0][1])), layouts[0])
    questions = []
    for row, record in records:
        question, faults = _question(row, record, layout, format)
        problems += [(row, fault) for fault in faults]
        questions += [question] if question else []
    problems += repeated_ids(questions)
    QuestionFileError.raise_if_any(path, problems)
    return Questions(tuple(questions), path, hashlib.sha256(data).hexdigest())


def read_samples(path: Path | str) -> tuple[Questions, pl.DataFrame]:
    """Read answers that were sampled elsewhere, so that they can be graded and clustered like our own.

    The file is JSONL, one question a line:
    `{"id": …, "question": …, "answer": gold text, number or list, "samples": [text, …], "greedy": text}`.
    A sample is what the model generated, thinking included where there is some, without the prompt and
    without the end-of-sequence token. `greedy` (one answer at temperature 0) may be left out.

    Returns:
        The questions, for `build_prompts`, and a frame in the form of samples.parquet: samples are numbered
        0 … K-1 and the greedy one is -1; `seed`, `prompt_token_ids`, `token_ids`, `finish_reason`,
        `token_logprobs` and `topk_logprobs` are null, since nothing is known of them. Such runs have
        no hidden states and no likelihoods; what needs only texts can be computed.

    Raises:
        QuestionFileError: as `read_question_file`, and for a row without samples or with samples that are
            not texts.
    """
    path = Path(path)
    data = path.read_bytes()
    records, problems = read_records(path, data, endings=ENDINGS, unit="question")
    questions, runs = [], []
    for row, record in records:
        question, faults = _question(row, record, LAYOUTS["jsonl"][0], "jsonl")
        faults = faults + _sample_faults(record)
        problems += [(row, fault) for fault in faults]
        if question is not None:
            questions.append(question)
        if question is not None and not faults:
            runs += _runs(question, record)
    problems += repeated_ids(questions)
    QuestionFileError.raise_if_any(path, problems)
    frame = pl.DataFrame(runs, schema=SCHEMAS["samples"].columns)
    return Questions(tuple(questions), path, hashlib.sha256(data).hexdigest()), frame


def _sample_faults(record: dict[str, Any]) -> list[str]:
    if "samples" not in record:
        return ["column 'samples' is missing"]
    samples = record["samples"]
    if not isinstance(samples, list) or not samples:
        return ["'samples' is not a list of at least one text"]
    faults = [f"sample {i} is not a text" for i, sample in enumerate(samples) if not isinstance(sample, str)]
    if not isinstance(record.get("greedy", ""), str):
        faults.append("'greedy' is not a text; leave it out where there is none")
    return faults


def _runs(question: Question, record: dict[str, Any]) -> list[dict[str, Any]]:
    numbered = list(enumerate(record["samples"]))
    if "greedy" in record:
        numbered = [(-1, record["greedy"]), *numbered]
    unknown = dict.fromkeys(SCHEMAS["samples"].columns)
    names = {"prompt_id": question.id, "group": question_group(question.question)}
    return [{**unknown, **names, "sample": sample, "greedy": sample == -1, "text": text} for sample, text in numbered]


def _question(row: int, record: dict[str, Any], layout: Layout, format: str) -> tuple[Question | None, list[str]]:
    """Return the question of a row, or None and what is wrong with it."""
    faults = [f"column {name!r} is missing" for name in layout.columns if name not in record]
    if faults:
        return None, faults
    texts = [record[name] for name in layout.question]
    if any(not isinstance(text, str) or not text.strip() for text in texts):
        faults.append("the question is empty or not a text")
    identifier, gold = f"{format}-{row:04d}", []
    try:
        gold = layout.gold(record[layout.answer])
    except RowError as error:
        faults.append(str(error))
    if layout.id is not None:
        try:
            identifier = identifier_slug(record[layout.id])
        except RowError as error:
            faults.append(str(error))
    if faults:
        return None, faults
    return Question(identifier, " ".join(text.strip() for text in texts), tuple(gold), row), []
