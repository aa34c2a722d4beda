"""Rubrics, items and judges for the tests of the API judges."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from judge_server import JudgeServer

from tells.judge import ApiJudge, Item, Judgement, Rubric
from tells.judge.cache import Cache
from tells.judge.exchange import Access
from tells.judge.providers.gemini import GeminiProvider
from tells.judge.providers.openai import OpenAIProvider
from tells.judge.runner import Budget, Runner

RUBRIC = Rubric("behavioral/formality", "A definition.", "HIGH: formal\nLOW: casual", ("Sir,",), ("hey",))
KEY = "sk-test-0123456789abcdef"


def items(count: int, prefix: str = "text") -> list[Item]:
    return [Item(f"item-{place}", f"{prefix} {place}") for place in range(count)]


def judge_for(
    server: JudgeServer,
    folder: Path,
    kind: str = "token",
    *,
    writer: str = "test",
    concurrency: int = 20,
    retries: int = 4,
    backoff: float = 0.001,
    timeout: float = 10.0,
    budget: Budget | None = None,
) -> ApiJudge:
    """A judge of one of three kinds: token (OpenAI by probabilities), json (OpenAI in words), gemini."""
    access = Access("TEST_KEY", KEY)
    if kind == "gemini":
        provider = GeminiProvider(access, "gemini-2.5-flash", base_url=server.address)
    else:
        provider = OpenAIProvider(access, "a-model", base_url=server.base_url, token=kind == "token")
    numbers = {"concurrency": concurrency, "retries": retries, "backoff": backoff, "timeout": timeout}
    return ApiJudge(provider, Runner(provider, Cache(folder, writer), budget=budget, **numbers))


def scores(judge: ApiJudge, asked: Sequence[Item], task: str = "trait") -> list[Judgement]:
    return asyncio.run(judge.score(task, RUBRIC, asked))
