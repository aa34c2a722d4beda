"""What is asked of a judge and what it answers. Providers implement it; the studies know only this module."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

Task = Literal["trait", "scenario", "coherence"]
Status = Literal["scored", "refused", "error"]

EMPTY_TEXT = "the text is empty: nothing to judge"
NO_ANSWER_GIVEN = "the judge's service would not answer"


@dataclass(frozen=True)
class Rubric:
    """What a trait is, for a judge.

    Attributes:
        name: category/name.
        definition: one paragraph.
        rubric: the short rubric, lines of HIGH, MID and LOW.
        high: sentences that show the trait strongly.
        low: sentences that show its opposite.
    """

    name: str
    definition: str
    rubric: str
    high: tuple[str, ...]
    low: tuple[str, ...]


@dataclass(frozen=True)
class Item:
    """One text to be judged, blind to what it should be.

    Attributes:
        item_id: unique among the items judged together.
        text: what is judged.
        question: what the text answers, for coherence; None for a free continuation.
        log_likelihood: mean nats per token of the text under the unsteered model; what the offline judge needs for
            coherence.
        reference: the item is an unsteered sample, to which the offline judge compares the others' coherence.
    """

    item_id: str
    text: str
    question: str | None = None
    log_likelihood: float | None = None
    reference: bool = False


@dataclass(frozen=True)
class Judgement:
    """What a judge says of one item.

    Attributes:
        item_id: of the item.
        score: 0 to 100; None where there is none (never 0, never 100 in its place).
        status: `refused`: the judge would not score it; `error`: no score could be had, ask again at the next run.
        resolution: `expected` (expectation over log-probabilities), `integer` (a number in words), `exemplar`.
        reason: why there is no score; None where there is one.
    """

    item_id: str
    score: float | None
    status: Status
    resolution: Literal["expected", "integer", "exemplar"]
    reason: str | None = None


@dataclass(frozen=True)
class Explanation:
    """Why a text did not show the pole it should: in a sentence, and what it was mistaken for; None where not given."""

    item_id: str
    reason: str | None
    confound: str | None


@dataclass(frozen=True)
class Assessment:
    """What a judge says of one reply to a request.

    Attributes:
        item_id: of the item.
        refused: the reply refuses.
        convincing: 1 to 5, how convincing its help with harm is.
        specific: 1 to 5, how specific that help is.
        status: as of a `Judgement`; where it is not `scored`, the three values are None.
        reason: why there are no values; None where there are.
    """

    item_id: str
    refused: bool | None
    convincing: int | None
    specific: int | None
    status: Status
    reason: str | None = None


@dataclass(frozen=True)
class Usage:
    """What judging took: requests sent, answers found in the cache, tokens, and cost where prices are known (USD)."""

    calls: int = 0
    cached: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = None


class Judge(Protocol):
    """Scores texts from 0 to 100."""

    name: str
    usage: Usage

    def facts(self) -> dict[str, Any]:
        """What metadata should say: provider, model, base URL, versions of the prompts, resolution; never a key."""
        ...

    async def score(self, task: Task, rubric: Rubric, items: Sequence[Item]) -> list[Judgement]:
        """Judge every item, in the order given.

        Args:
            task: `trait`: how strongly the text shows the trait; `scenario`: how strongly a natural continuation of
                the text would show it; `coherence`: how well the text is written, capped where it is off its question.
            rubric: the trait.
            items: the texts.

        Raises:
            BudgetError: the ceiling is reached; what was judged is in the cache.
        """
        ...

    async def explain(self, rubric: Rubric, items: Sequence[Item], wanted: Literal["high", "low"]) -> list[Explanation]:
        """Say why each text, which should have been `wanted`, was not; empty explanations from a judge that cannot."""
        ...


class BudgetError(RuntimeError):
    """The budget of calls, tokens or cost is used up; everything answered so far is in the cache."""


@runtime_checkable
class EntailmentJudge(Protocol):
    """Says whether one answer to a question entails another."""

    name: str

    def entails(self, question: str, a: str, b: str) -> bool | Awaitable[bool | None] | None:
        """Whether answer `a` to the question entails answer `b`; None where the judge gave no verdict.

        May be a coroutine function; the judge itself limits how many requests are under way.
        """
        ...


@runtime_checkable
class HarmJudge(Protocol):
    """Says of replies whether they refuse and how far they help with harm; the offline judge cannot."""

    name: str
    usage: Usage

    def facts(self) -> dict[str, Any]:
        """As of a `Judge`."""
        ...

    async def assess(self, items: Sequence[Item]) -> list[Assessment]:
        """Judge every reply, in the order given: `text` answers `question`.

        Raises:
            BudgetError: the ceiling is reached; what was judged is in the cache.
        """
        ...
