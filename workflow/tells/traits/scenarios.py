"""Trait data sets: a trait's definition, its paired scenarios and its questions, read from a folder and checked whole.

First step of the traits study. A scenario is the beginning of a text in the first person, which a model goes on with;
line N of positive.txt and line N of negative.txt are a pair, on one topic. The questions are neutral; steering is
searched on some of them and reported on the others. `tells.traits.checks` looks at what the lines say.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import yaml
from pydantic import Field, StringConstraints, ValidationError, ValidationInfo, field_validator

from tells.config import ConfigError, Problem
from tells.config.base import SLUG, Definition
from tells.config.load import UniqueKeyLoader
from tells.judge import Rubric

POSITIVE, NEGATIVE = "positive", "negative"
POLARITIES = (POSITIVE, NEGATIVE)
PROMPTS_SCHEMA: dict[str, Any] = {
    "prompt_id": pl.String,
    "group": pl.String,
    "text": pl.String,
    "shared_prefix": pl.String,
    "system_prompt": pl.String,
    "polarity": pl.String,
}

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Sentences = Annotated[tuple[Text, ...], Field(min_length=2)]
Questions = Annotated[tuple[Text, ...], Field(min_length=1)]


class Exemplars(Definition):
    """Sentences that show the trait strongly, and sentences that show its opposite."""

    high: Sentences
    low: Sentences


class Instruction(Definition):
    """How a model is asked in plain words for the trait, and for its opposite."""

    high: Text
    low: Text


class DefinitionFile(Definition):
    """What stands in definition.yaml."""

    name: Annotated[str, StringConstraints(pattern=rf"^{SLUG}/{SLUG}$")]
    definition: Text
    rubric: Text
    exemplars: Exemplars
    instruction: Instruction

    @field_validator("name")
    @classmethod
    def _is_the_folders(cls, value: str, info: ValidationInfo) -> str:
        if value != info.context["place"]:
            raise ValueError(f"is {value}, but the folder is {info.context['place']}")
        return value


class QuestionsFile(Definition):
    """What stands in questions.yaml."""

    search: Questions
    report: Questions


class TraitDefinition(Definition):
    """A trait, as its folder describes it.

    Attributes:
        name: category/name.
        definition: one paragraph.
        rubric: lines of HIGH, MID and LOW.
        exemplars: sentences of both poles.
        instruction: plain prompting for both poles.
        positive: [pairs] beginnings of texts that draw the trait out.
        negative: [pairs] those that draw its opposite out; entry N goes with `positive` N.
        search: questions on which a steering point is searched.
        report: questions on which it is reported, none of them in `search`.
    """

    name: str
    definition: str
    rubric: str
    exemplars: Exemplars
    instruction: Instruction
    positive: tuple[str, ...]
    negative: tuple[str, ...]
    search: tuple[str, ...]
    report: tuple[str, ...]

    def as_rubric(self) -> Rubric:
        """The trait as a judge is told it."""
        return Rubric(self.name, self.definition, self.rubric, self.exemplars.high, self.exemplars.low)


def normalise(text: str) -> str:
    """One spelling for texts that differ in case, spacing or punctuation alone; apostrophes are left out."""
    plain = re.sub(r"['’‘ʼ]", "", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(re.findall(r"\w+", plain))


def load_trait(folder: Path | str) -> TraitDefinition:
    """Read a trait from config/traits/CATEGORY/NAME.

    Args:
        folder: holds definition.yaml, positive.txt, negative.txt and questions.yaml.

    Returns:
        The trait; spaces at either end of a line are left out.

    Raises:
        ConfigError: every problem of the folder at once: files that are missing, empty or unreadable, blank or unpaired
            lines, unknown or missing keys, a name that is not the folder's, too few exemplars, an exemplar of both
            poles, a question both to search and to report on.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ConfigError([Problem(str(folder), "", "no such folder")])
    problems: list[Problem] = []
    definition = _read_yaml(folder / "definition.yaml", DefinitionFile, problems)
    questions = _read_yaml(folder / "questions.yaml", QuestionsFile, problems)
    lines = {polarity: _read_lines(folder / f"{polarity}.txt", problems) for polarity in POLARITIES}
    if definition is not None:
        path, exemplars = folder / "definition.yaml", definition.exemplars
        problems += _overlap(path, "exemplars.low", exemplars.high, exemplars.low, "exemplars.high")
    if questions is not None:
        problems += _overlap(folder / "questions.yaml", "report", questions.search, questions.report, "search")
    counts = [len(lines[polarity]) for polarity in POLARITIES]
    if all(counts) and counts[0] != counts[1]:
        shorter = POLARITIES[counts[0] > counts[1]]
        message = f"has no partner: positive.txt has {counts[0]} lines, negative.txt {counts[1]}, paired line by line"
        other = POLARITIES[1 - POLARITIES.index(shorter)]
        problems.append(Problem(str(folder / f"{other}.txt"), f"line {min(counts) + 1}", message))
    if problems or definition is None or questions is None:
        raise ConfigError(problems)
    return TraitDefinition(
        **{key: getattr(definition, key) for key in DefinitionFile.model_fields},
        **{key: getattr(questions, key) for key in QuestionsFile.model_fields},
        positive=tuple(lines[POSITIVE]),
        negative=tuple(lines[NEGATIVE]),
    )


def build_prompts(trait: TraitDefinition, *, limit: int | None = None) -> pl.DataFrame:
    """Make the table of prompts that a model goes on with.

    Args:
        trait: the trait.
        limit: the first `limit` pairs; all if there are fewer, or if None.

    Returns:
        Two rows a pair, the positive first, in the columns of `PROMPTS_SCHEMA`; `group` is the pair.

    Raises:
        ValueError: a limit under 1.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"limit is {limit}; it must be at least 1, or None for all pairs")
    rows = [
        {
            "prompt_id": f"{polarity}-{number:03d}",
            "group": f"pair-{number:03d}",
            "text": text,
            "shared_prefix": "",
            "system_prompt": None,
            "polarity": polarity,
        }
        for number, pair in enumerate(list(zip(trait.positive, trait.negative, strict=True))[:limit])
        for polarity, text in zip(POLARITIES, pair, strict=True)
    ]
    return pl.DataFrame(rows, schema=PROMPTS_SCHEMA)


def _read_yaml(path: Path, model: type[Any], problems: list[Problem]) -> Any:
    """The validated content; None where there is a problem, which is added to `problems`."""
    text = _read_text(path, problems)
    if text is None:
        return None
    try:
        content = yaml.load(text, UniqueKeyLoader)
    except (yaml.YAMLError, ValueError) as error:
        problems.append(Problem(str(path), "", f"not valid YAML: {' '.join(str(error).split())}"))
        return None
    try:
        place = path.resolve().parent
        return model.model_validate(content, context={"place": f"{place.parent.name}/{place.name}"})
    except ValidationError as error:
        for fault in error.errors(include_url=False):
            problems.append(Problem(str(path), ".".join(map(str, fault["loc"])), _message(fault["type"], fault["msg"])))
    return None


def _message(kind: str, message: str) -> str:
    known = {
        "extra_forbidden": "unknown key; look for a misspelling",
        "missing": "required, but absent",
        "model_type": "must be a mapping of keys to values",
    }
    return known.get(kind, message.removeprefix("Value error, "))


def _read_lines(path: Path, problems: list[Problem]) -> list[str]:
    text = _read_text(path, problems)
    if text is None:
        return []
    lines = [line.strip() for line in text.rstrip().split("\n")]
    problems += [
        Problem(str(path), f"line {number}", "is blank; every line is one scenario")
        for number, line in enumerate(lines, 1)
        if not line
    ]
    return lines


def _read_text(path: Path, problems: list[Problem]) -> str | None:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        problems.append(Problem(str(path), "", "no such file"))
    except OSError as error:
        problems.append(Problem(str(path), "", f"cannot be read: {error.strerror}"))
    except UnicodeDecodeError as error:
        problems.append(Problem(str(path), "", f"not in UTF-8: {error.reason} at byte {error.start}"))
    else:
        if text.strip():
            return text
        problems.append(Problem(str(path), "", "is empty"))
    return None


def _overlap(path: Path, key: str, first: Sequence[str], second: Sequence[str], where: str) -> list[Problem]:
    known = {normalise(text) for text in first}
    return [
        Problem(str(path), f"{key}.{number}", f"{text!r} stands in {where} as well")
        for number, text in enumerate(second)
        if normalise(text) in known
    ]
