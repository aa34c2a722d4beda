"""From the configuration to the judge it names."""

from __future__ import annotations

from pathlib import Path

from tells.config.judge import JudgeConfig
from tells.judge.api import ApiJudge
from tells.judge.cache import Cache
from tells.judge.exchange import Access, Provider
from tells.judge.protocol import Judge
from tells.judge.runner import Budget, Runner
from tells.services import read_key


def open_judge(
    config: JudgeConfig,
    *,
    writer: str,
    cache: Path,
    concurrency: int = 50,
    timeout: float = 60,
    embedding: Path | None = None,
) -> Judge:
    """Make the judge of a configuration; nothing is connected to yet.

    Args:
        config: who judges.
        writer: name of the job, from which the name of its file in the cache is made.
        cache: folder of the cache, shared by all jobs.
        concurrency: most requests under way at a time.
        timeout: seconds for one request.
        embedding: folder of the sentence embedding; needed by the offline judge alone.

    Raises:
        ValueError: the key is not in the environment or cannot be one, or the base URL or the embedding is not right.
    """
    if config.provider == "exemplar":
        if embedding is None:
            raise ValueError("the offline judge needs the folder of its sentence embedding: give `embedding`")
        from tells.judge.exemplar import ExemplarJudge

        return ExemplarJudge(embedding)
    provider = _provider(config)
    budget = Budget(
        max_calls=config.max_calls,
        max_tokens=config.max_tokens,
        max_cost=config.max_cost,
        input_price=config.input_price,
        output_price=config.output_price,
    )
    runner = Runner(provider, Cache(cache, writer), concurrency=concurrency, timeout=timeout, budget=budget)
    return ApiJudge(provider, runner)


def _provider(config: JudgeConfig) -> Provider:
    if config.base_url is not None and not config.base_url.startswith(("http://", "https://")):
        raise ValueError(f"base_url {config.base_url!r} of the judge must begin with http:// or https://")
    access = Access(*_key(config))
    if config.provider == "gemini":
        from tells.judge.providers.gemini import GeminiProvider

        return GeminiProvider(access, config.resolved_model, base_url=config.base_url)
    from tells.judge.providers.openai import OpenAIProvider

    return OpenAIProvider(access, config.resolved_model, base_url=config.base_url, token=config.log_probabilities)


def _key(config: JudgeConfig) -> tuple[str, str]:
    """The variable's name and the key; an empty one is an error here."""
    variable = config.resolved_key_variable or ""
    key = read_key(variable)
    if not key:
        raise ValueError(
            f"the judge {config.provider} needs its key in the environment variable {variable}, which is empty or not "
            "set (a server without keys takes any word)"
        )
    return variable, key
