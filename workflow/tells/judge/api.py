"""The judge behind an API: scores, explanations and entailment, asked for through the runner and its cache."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Literal

from tells.judge import rubrics
from tells.judge.exchange import (
    Failure,
    JudgeStoppedError,
    Provider,
    Reply,
    Request,
    RetryableError,
)
from tells.judge.protocol import NO_ANSWER_GIVEN, Assessment, Explanation, Item, Judgement, Rubric, Task, Usage
from tells.judge.rubrics import Prompt
from tells.judge.runner import Outcome, Runner
from tells.judge.scoring import (
    LEAST_MASS,
    expected_score,
    explanation_in_words,
    harm_in_words,
    longest_number,
    number_mass,
    score_in_words,
    verdict_in_words,
    yes_or_no,
)
from tells.services import shown_url

logger = logging.getLogger(__name__)

# Twenty likeliest tokens hold a number of two digits in nearly every answer of a judge whose tokens can.
_ENOUGH_ANSWERS = 20
_UNREADABLE_HARM = "the answer does not say whether the reply refuses, and two numbers from 1 to 5"


class ApiJudge:
    """A `Judge`, an `EntailmentJudge` and a `HarmJudge` that asks a service.

    Attributes:
        name: provider and model.
    """

    def __init__(self, provider: Provider, runner: Runner) -> None:
        """Take who is asked, and the runner that asks."""
        self.name = f"{provider.name}:{provider.model}"
        self._provider, self._runner = provider, runner
        self._resolution: Literal["expected", "integer"] = "expected" if provider.form == "token" else "integer"

    @property
    def usage(self) -> Usage:
        """What judging took so far."""
        return self._runner.usage

    def facts(self) -> dict[str, Any]:
        """What metadata says of this judge."""
        return {
            "provider": self._provider.name,
            "model": self._provider.model,
            "base_url": shown_url(self._provider.base_url),
            "resolution": self._resolution,
            "prompts": dict(rubrics.VERSIONS),
        }

    async def score(self, task: Task, rubric: Rubric, items: Sequence[Item]) -> list[Judgement]:
        """Judge every item, in the order given; see `tells.judge.Judge`.

        Raises:
            ValueError: two items have the same id.
            BudgetError: a ceiling is reached; what was answered is in the cache.
            JudgeStoppedError: the service does not accept the key, or takes no more requests for now; or the answers
                are those of a model that spells numbers in several tokens, of which only the first could be read.
        """
        _check_ids(items)
        prompts = [rubrics.score_prompt(task, rubric, item, self._provider.form) for item in items]
        outcomes = await self._ask(prompts, f"{task} of {rubric.name} by {self._provider.model}")
        self._check_spelling(prompts, outcomes)
        judgements = [self._judgement(item, outcome) for item, outcome in zip(items, outcomes, strict=True)]
        missing = [judgement for judgement in judgements if judgement.status == "error"]
        if missing:
            logger.warning(
                "%s of %s: no score for %d of %d, such as %s: %s",
                *(task, rubric.name, len(missing), len(items), missing[0].item_id, missing[0].reason),
            )
        return judgements

    async def explain(self, rubric: Rubric, items: Sequence[Item], wanted: Literal["high", "low"]) -> list[Explanation]:
        """Say why each text was not as `wanted`; empty where the service failed or would not say."""
        _check_ids(items)
        prompts = [rubrics.explanation_prompt(rubric, item, wanted) for item in items]
        outcomes = await self._ask(prompts, f"reasons for {rubric.name} by {self._provider.model}")
        found = [
            None if isinstance(outcome, Failure) else explanation_in_words(outcome.text or "") for outcome in outcomes
        ]
        return [
            Explanation(item.item_id, *(explanation or (None, None)))
            for item, explanation in zip(items, found, strict=True)
        ]

    async def entails(self, question: str, a: str, b: str) -> bool | None:
        """Whether answer `a` to the question entails answer `b`; None without a verdict. Errors as in `score`."""
        prompt = rubrics.entailment_prompt(question, a, b, self._provider.form)
        outcome = await self._runner.ask(self._request(prompt))
        if isinstance(outcome, Failure):
            logger.warning("entailment: no verdict: %s", outcome.reason)
            return None
        if outcome.top is not None:
            return yes_or_no(outcome.top)
        return verdict_in_words(outcome.text or "")

    async def assess(self, items: Sequence[Item]) -> list[Assessment]:
        """Say of every reply whether it refuses and how far it helps with harm; errors as in `score`."""
        _check_ids(items)
        outcomes = await self._ask(
            [rubrics.harm_prompt(item) for item in items], f"harm of replies by {self._provider.model}"
        )
        assessments = [_assessment(item, outcome) for item, outcome in zip(items, outcomes, strict=True)]
        missing = [one for one in assessments if one.status == "error"]
        if missing:
            logger.warning(
                "harm: no label for %d of %d replies, such as %s: %s",
                *(len(missing), len(items), missing[0].item_id, missing[0].reason),
            )
        return assessments

    async def _ask(self, prompts: Sequence[Prompt], title: str) -> list[Outcome]:
        return await self._runner.run([self._request(prompt) for prompt in prompts], title)

    def _request(self, prompt: Prompt) -> Request:
        return Request(
            provider=self._provider.name,
            base_url=self._provider.base_url,
            model=self._provider.model,
            version=prompt.version,
            messages=[{"role": "user", "content": prompt.content}],
            parameters=self._provider.parameters(prompt),
            check=_CHECKS[prompt.kind],
        )

    def _check_spelling(self, prompts: Sequence[Prompt], outcomes: Sequence[Outcome]) -> None:
        """Find a model that spells 80 as 8 and 0: its scores would be read as 0 to 9.

        Answers count once each, however many items share them, and those from the cache like any other. Too few of them
        prove nothing, as all may be low: then the log says so.

        Raises:
            JudgeStoppedError: there are enough answers with numbers, and no number in them has two digits.
        """
        answers = {prompt.content: outcome for prompt, outcome in zip(prompts, outcomes, strict=True)}.values()
        tops = [outcome.top for outcome in answers if isinstance(outcome, Reply) and outcome.top is not None]
        count = sum(number_mass(top) >= LEAST_MASS for top in tops)
        if count == 0 or max(map(longest_number, tops)) > 1:
            return
        seen = (
            f"none of {count} answers of {self._provider.model} has a number from 10 to 100 among its likeliest tokens"
        )
        cure = "set `judge.log_probabilities: false`, so that scores are read from what it writes"
        if count >= _ENOUGH_ANSWERS:
            raise JudgeStoppedError(
                f"{seen}: it spells numbers in several tokens, and the first alone is no score; {cure}"
            )
        logger.warning("%s; if it spells numbers in several tokens, the scores are wrong: %s", seen, cure)

    def _judgement(self, item: Item, outcome: Outcome) -> Judgement:
        if isinstance(outcome, Failure):
            return Judgement(item.item_id, None, "error", self._resolution, outcome.reason)
        if outcome.refused:
            return Judgement(item.item_id, None, "refused", self._resolution, NO_ANSWER_GIVEN)
        score = score_in_words(outcome.text or "") if outcome.top is None else expected_score(outcome.top)
        if score is None:
            reason = (
                f"numbers hold {number_mass(outcome.top or {}):.0%} of the probability; {LEAST_MASS:.0%} are needed"
            )
            return Judgement(item.item_id, None, "error", self._resolution, reason)
        if score.refused:
            return Judgement(item.item_id, None, "refused", self._resolution, "the judge answered REFUSAL")
        return Judgement(item.item_id, score.value, "scored", self._resolution)


def _assessment(item: Item, outcome: Outcome) -> Assessment:
    if isinstance(outcome, Failure):
        return Assessment(item.item_id, None, None, None, "error", outcome.reason)
    if outcome.refused:
        return Assessment(item.item_id, None, None, None, "refused", NO_ANSWER_GIVEN)
    found = harm_in_words(outcome.text or "")
    if found is None:
        return Assessment(item.item_id, None, None, None, "error", _UNREADABLE_HARM)
    return Assessment(item.item_id, *found, "scored")


def _check_score(reply: Reply) -> None:
    if reply.text is not None and score_in_words(reply.text) is None:
        raise RetryableError("the answer holds no whole number from 0 to 100")


def _check_verdict(reply: Reply) -> None:
    if reply.text is not None and verdict_in_words(reply.text) is None:
        raise RetryableError("the answer holds no verdict")


def _check_explanation(reply: Reply) -> None:
    if reply.text is not None and explanation_in_words(reply.text) is None:
        raise RetryableError("the answer holds no reason")


def _check_harm(reply: Reply) -> None:
    if reply.text is not None and harm_in_words(reply.text) is None:
        raise RetryableError(_UNREADABLE_HARM)


_CHECKS = {
    "score": _check_score,
    "entailment": _check_verdict,
    "explanation": _check_explanation,
    "harm": _check_harm,
}


def _check_ids(items: Sequence[Item]) -> None:
    seen: set[str] = set()
    for item in items:
        if item.item_id in seen:
            raise ValueError(f"two items have the id {item.item_id!r}: ids must be unique among those judged together")
        seen.add(item.item_id)
