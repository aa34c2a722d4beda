"""Checks of what trait data sets say: enough of them, of equal length, none twice, all beginnings in the first person.

Behind the command `tells check-traits`. A direction taken from poles of unequal length measures length, and a line that
two traits share ties their directions together; both are faults of the text and cheap to see before any model runs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tells.config import ConfigError, Problem
from tells.config.traits import TRAITS_FOLDER
from tells.traits.scenarios import NEGATIVE, POLARITIES, POSITIVE, TraitDefinition, load_trait, normalise

MIN_SCENARIOS = 100
MIN_QUESTIONS = 20
MAX_GAP_WORDS = 0.5
MAX_GAP_SHARE = 0.05
MAX_PAIR_GAP = 3

_ENDED = re.compile(r"[.!?…][\"'”’)\]]*$")
_FIRST_PERSON = re.compile(r"\b(?:my|mine|me|myself|we|our|ours|us|ourselves)\b", re.IGNORECASE)
_I = re.compile(r"\b[Ii]\b(?!\.\w)")


@dataclass(frozen=True)
class TraitCheck:
    """What one trait's data set measures; None where its files could not be read.

    Attributes:
        trait: category/name.
        positive: number of positive scenarios.
        negative: number of negative scenarios.
        positive_words: mean words of a positive scenario.
        negative_words: mean words of a negative one.
        duplicates: lines that stand elsewhere as well, in this trait or in another.
        questions: number of questions, to search and to report on.
    """

    trait: str
    positive: int | None = None
    negative: int | None = None
    positive_words: float | None = None
    negative_words: float | None = None
    duplicates: int | None = None
    questions: int | None = None

    @property
    def gap(self) -> float | None:
        """Mean words of the positive scenarios less those of the negative."""
        if self.positive_words is None or self.negative_words is None:
            return None
        return self.positive_words - self.negative_words


@dataclass(frozen=True)
class TraitReport:
    """One check a trait, and everything that is wrong; prints as a table with the list of failures below."""

    checks: tuple[TraitCheck, ...]
    problems: tuple[Problem, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def __rich__(self) -> Any:
        """The report as rich prints it."""
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table(title="trait data sets", caption="words: mean of a scenario; gap: positive less negative")
        table.add_column("trait")
        for column in ("positive", "negative", "words +", "words −", "gap", "duplicates", "questions"):
            table.add_column(column, justify="right")
        for check in self.checks:
            counts = [_cell(value, "d") for value in (check.positive, check.negative)]
            words = [_cell(value, ".2f") for value in (check.positive_words, check.negative_words)]
            others = [_cell(check.gap, "+.2f"), _cell(check.duplicates, "d"), _cell(check.questions, "d")]
            table.add_row(check.trait, *counts, *words, *others)
        verdict = f"{len(self.problems)} failure(s)" if self.problems else "all pass"
        return Group(table, Text("\n".join([verdict, *(f"  - {problem}" for problem in self.problems)])))


def check_traits(root: Path, names: Sequence[str] | None = None) -> TraitReport:
    """Check trait data sets.

    Args:
        root: the folder that holds config/traits.
        names: category/name of the traits to check; None for all. Lines are compared with those of all traits in
            either case, so a trait that cannot be read is a failure even where it is not named.

    Returns:
        A check of each trait named, and all failures, their files relative to `root`.
    """
    found = find_traits(root)
    chosen = list(dict.fromkeys(found if names is None else names))
    folder = root / TRAITS_FOLDER
    problems: list[Problem] = []
    if not chosen:
        problems.append(Problem(str(folder), "", "holds no trait (CATEGORY/NAME/definition.yaml)"))
    traits: dict[str, TraitDefinition] = {}
    for name in dict.fromkeys([*chosen, *found]):
        try:
            traits[name] = load_trait(folder / name)
        except ConfigError as error:
            problems += error.problems
    places = _places(traits)
    checks = []
    for name in chosen:
        trait = traits.get(name)
        if trait is None:
            checks.append(TraitCheck(name))
            continue
        repeated = list(_duplicates(trait, folder, places))
        checks.append(_measured(trait, len(repeated)))
        problems += [*_count_problems(trait, folder), *_length_problems(trait, folder), *repeated]
        problems += [*_form_problems(trait, folder), *_question_problems(trait, folder)]
    return TraitReport(tuple(checks), tuple(_below(problem, root) for problem in problems))


def find_traits(root: Path) -> list[str]:
    """Names of all traits below `root`/config/traits, whole or not: two levels of folders."""
    folder = root / TRAITS_FOLDER
    return sorted(path.relative_to(folder).as_posix() for path in folder.glob("*/*") if path.is_dir())


def is_first_person(text: str) -> bool:
    """Whether a word of the first person stands in a text: I, my, me, we, our and their forms ("US" is a country)."""
    others = (match.group() for match in _FIRST_PERSON.finditer(text))
    return bool(_I.search(text)) or any(word != "US" for word in others)


def is_prefix(text: str) -> bool:
    """Whether a text is left open for a continuation: it does not end with the mark of a sentence's end."""
    return not _ENDED.search(text.rstrip())


def _below(problem: Problem, root: Path) -> Problem:
    return replace(problem, file=Path(problem.file).relative_to(root).as_posix())


def _cell(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def _words(text: str) -> int:
    return len(text.split())


def _mean_words(lines: Sequence[str]) -> float:
    return sum(map(_words, lines)) / len(lines)


def _measured(trait: TraitDefinition, duplicates: int) -> TraitCheck:
    return TraitCheck(
        trait=trait.name,
        positive=len(trait.positive),
        negative=len(trait.negative),
        positive_words=_mean_words(trait.positive),
        negative_words=_mean_words(trait.negative),
        duplicates=duplicates,
        questions=len(trait.search) + len(trait.report),
    )


def _lines(trait: TraitDefinition) -> Iterator[tuple[str, int, str]]:
    """Pole, number from 1, and text of every scenario."""
    for polarity, lines in zip(POLARITIES, (trait.positive, trait.negative), strict=True):
        for number, line in enumerate(lines, 1):
            yield polarity, number, line


def _file(folder: Path, trait: TraitDefinition, stem: str) -> str:
    return str(folder / trait.name / stem)


def _places(traits: Mapping[str, TraitDefinition]) -> dict[str, list[tuple[str, str, int]]]:
    """Trait, pole and number of every place where a text stands, by its normalised form."""
    places: dict[str, list[tuple[str, str, int]]] = {}
    for name, trait in traits.items():
        for polarity, number, line in _lines(trait):
            places.setdefault(normalise(line), []).append((name, polarity, number))
    return places


def _duplicates(
    trait: TraitDefinition, folder: Path, places: Mapping[str, Sequence[tuple[str, str, int]]]
) -> Iterator[Problem]:
    """Every line that stands in more than one place of all traits, with the other places."""
    for polarity, number, line in _lines(trait):
        others = [place for place in places[normalise(line)] if place != (trait.name, polarity, number)]
        if others:
            listed = ", ".join(f"{name}/{pole}.txt line {where}" for name, pole, where in others)
            message = f"duplicate: {line!r} stands in {listed} as well, but for case, spaces or punctuation"
            yield Problem(_file(folder, trait, f"{polarity}.txt"), f"line {number}", message)


def _count_problems(trait: TraitDefinition, folder: Path) -> Iterator[Problem]:
    for polarity, lines in zip(POLARITIES, (trait.positive, trait.negative), strict=True):
        if len(lines) < MIN_SCENARIOS:
            message = f"{len(lines)} scenarios; at least {MIN_SCENARIOS} are needed"
            yield Problem(_file(folder, trait, f"{polarity}.txt"), "", message)
    questions = len(trait.search) + len(trait.report)
    if questions < MIN_QUESTIONS:
        message = f"{questions} questions; at least {MIN_QUESTIONS} are needed"
        yield Problem(_file(folder, trait, "questions.yaml"), "", message)


def _length_problems(trait: TraitDefinition, folder: Path) -> Iterator[Problem]:
    means = {POSITIVE: _mean_words(trait.positive), NEGATIVE: _mean_words(trait.negative)}
    gap = round(abs(means[POSITIVE] - means[NEGATIVE]), 9)
    if gap > MAX_GAP_WORDS or gap > MAX_GAP_SHARE * min(means.values()):
        message = (
            f"length gap: positive scenarios have {means[POSITIVE]:.2f} words, negative ones {means[NEGATIVE]:.2f}; "
            f"at most {MAX_GAP_WORDS:g} words and {MAX_GAP_SHARE:.0%} apart, or the direction measures length"
        )
        yield Problem(_file(folder, trait, ""), "", message)
    for number, (positive, negative) in enumerate(zip(trait.positive, trait.negative, strict=True), 1):
        if abs(_words(positive) - _words(negative)) > MAX_PAIR_GAP:
            message = (
                f"pair of {_words(positive)} words (positive) and {_words(negative)} (negative); "
                f"at most {MAX_PAIR_GAP} apart"
            )
            yield Problem(_file(folder, trait, "positive.txt"), f"line {number}", message)


def _form_problems(trait: TraitDefinition, folder: Path) -> Iterator[Problem]:
    for polarity, number, line in _lines(trait):
        file, key = _file(folder, trait, f"{polarity}.txt"), f"line {number}"
        if not is_prefix(line):
            yield Problem(file, key, f"{line!r} is a finished sentence; leave its end to the model")
        if not is_first_person(line):
            yield Problem(file, key, f"{line!r} is not in the first person: no I, my, me, we or our")


def _question_problems(trait: TraitDefinition, folder: Path) -> Iterator[Problem]:
    """Questions that stand twice within a list; a question in both lists is refused at reading."""
    for key, questions in (("search", trait.search), ("report", trait.report)):
        for number in _repeats(questions):
            message = f"{questions[number]!r} stands twice, but for case, spaces or punctuation"
            yield Problem(_file(folder, trait, "questions.yaml"), f"{key}.{number}", message)


def _repeats(texts: Iterable[str]) -> Iterator[int]:
    seen: set[str] = set()
    for number, text in enumerate(texts):
        key = normalise(text)
        if key in seen:
            yield number
        seen.add(key)
