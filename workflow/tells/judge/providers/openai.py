"""Judges behind OpenAI's chat completions: OpenAI itself, or any server of its protocol, such as vLLM's.

Scores come from the probabilities of one token where the model shows them, from JSON else. Bodies are read as plain
JSON rather than through the SDK's models: what misses a field is then seen at once, and less time goes by per answer.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

from tells.judge.exchange import (
    Access,
    JudgeStoppedError,
    Reply,
    Request,
    RetryableError,
    failure_of_status,
    token_count,
)
from tells.judge.rubrics import SCHEMAS, Form, Prompt
from tells.services import http_client, seconds_to_wait

BASE_URL = "https://api.openai.com/v1"
_TOP_TOKENS = 20
_JSON_TOKENS = {"score": 64, "entailment": 64, "explanation": 400, "harm": 64}
# These think before they answer, within the same limit; they take neither `max_tokens` nor a temperature.
_REASONING_TOKENS = 4096
_REASONING = re.compile(r"(gpt-5|o[1-9])(?![0-9a-z])", re.IGNORECASE)


class OpenAIProvider:
    """Chat completions at any address.

    Attributes:
        name: openai.
        base_url: address up to and with `/v1`.
        model: the model asked.
    """

    name = "openai"

    def __init__(self, access: Access, model: str, *, base_url: str | None = None, token: bool = True) -> None:
        """Prepare; connects nowhere.

        Args:
            access: the key.
            model: the model asked.
            base_url: by default OpenAI's.
            token: score by the probabilities of one token; has no effect on models that do not show them.
        """
        self.base_url, self.model = (base_url or BASE_URL).rstrip("/"), model
        self._access, self._token = access, token and not self._reasons

    @property
    def form(self) -> Form:
        """How scores and verdicts are answered."""
        return "token" if self._token else "json"

    @property
    def _reasons(self) -> bool:
        return _REASONING.match(self.model.rpartition("/")[2]) is not None

    def parameters(self, prompt: Prompt) -> dict[str, Any]:
        """What is sent beside model and messages."""
        if prompt.form == "token":
            return {"max_tokens": 1, "temperature": 0, "logprobs": True, "top_logprobs": _TOP_TOKENS}
        schema = {"name": prompt.kind, "strict": True, "schema": SCHEMAS[prompt.kind]}
        answer = {"response_format": {"type": "json_schema", "json_schema": schema}}
        if self._reasons:
            return {"max_completion_tokens": _REASONING_TOKENS, **answer}
        return {"max_tokens": _JSON_TOKENS[prompt.kind], "temperature": 0, **answer}

    def open(self, concurrency: int, timeout: float) -> OpenAIClient:
        """Make a client for the running event loop."""
        return OpenAIClient(self._access, self.base_url, concurrency, timeout)


class OpenAIClient:
    """Connections to one server."""

    def __init__(self, access: Access, base_url: str, concurrency: int, timeout: float) -> None:
        """Load the SDK and prepare its client.

        Raises:
            ModuleNotFoundError: the SDK is not installed.
        """
        import openai

        self._access, self._base_url, self._errors = access, base_url, openai
        self._http = http_client(concurrency, timeout)
        self._client = openai.AsyncOpenAI(
            api_key=access.key(), base_url=base_url, max_retries=0, timeout=timeout, http_client=self._http
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def send(self, request: Request) -> Reply:
        """Send one request; see `tells.judge.exchange.Client`."""
        failure: Exception
        try:
            response = await self._client.chat.completions.with_raw_response.create(
                model=request.model, messages=request.messages, **request.parameters
            )
            return self._reply(response.content, "logprobs" in request.parameters)
        except self._errors.APIStatusError as error:
            failure = self._status_failure(error)
        except self._errors.OpenAIError as error:
            failure = RetryableError(f"no connection, or cut ({type(error.__cause__ or error).__name__})")
        # Raised here, outside the handlers: the SDK's exception, with the request's headers, is not its context.
        raise failure

    def _status_failure(self, error: Any) -> Exception:
        if error.status_code in (401, 403):
            return self._access.refused(error.status_code, self._base_url)
        body = error.body if isinstance(error.body, dict) else {}
        if error.code == "insufficient_quota":
            return JudgeStoppedError(
                f"the account behind {self._access.variable} has no quota left; what was answered is kept"
            )
        headers = error.response.headers
        wait = seconds_to_wait(headers.get("retry-after"))
        milliseconds = seconds_to_wait(headers.get("retry-after-ms"))
        wait = wait if milliseconds is None else milliseconds / 1000
        return failure_of_status(error.status_code, self._access.message(body.get("message")), wait)

    def _reply(self, body: bytes, with_probabilities: bool) -> Reply:
        try:
            content = json.loads(body)
            choice = content["choices"][0]
            usage = content.get("usage") or {}
            counts = token_count(usage.get("prompt_tokens")), token_count(usage.get("completion_tokens"))
            refused = choice.get("finish_reason") == "content_filter" or bool(choice["message"].get("refusal"))
            if refused:
                return Reply(None, None, True, *counts)
            if with_probabilities:
                return Reply(self._probabilities(choice), None, False, *counts)
            text = choice["message"]["content"]
            if not isinstance(text, str):
                raise TypeError
            return Reply(None, self._access.redacted(text), False, *counts)
        except (ValueError, LookupError, TypeError, AttributeError):
            pass
        raise RetryableError("the body of the answer is not what the protocol says")

    def _probabilities(self, choice: dict[str, Any]) -> dict[str, float]:
        tokens = ((choice.get("logprobs") or {}).get("content") or [{}])[0].get("top_logprobs")
        if not tokens:
            raise RetryableError(
                "the answer holds no log-probabilities; set judge.log_probabilities to false for such a model"
            )
        top: dict[str, float] = {}
        for token in tokens:
            probability = math.exp(min(0.0, float(token["logprob"])))
            if math.isnan(probability):
                raise ValueError
            text = self._access.redacted(token["token"])
            top[text] = min(1.0, top.get(text, 0.0) + probability)
        return top
