"""Judges behind Google's Gemini API, through the google-genai SDK and its asynchronous client.

Gemini spreads numbers over several tokens, so scores come as JSON of a schema. Bodies are read as plain JSON, for the
same reasons as OpenAI's.
"""

from __future__ import annotations

import json
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
from tells.services import http_client, seconds_to_wait, tls_context

BASE_URL = "https://generativelanguage.googleapis.com"
_API_VERSION = "v1beta"
# Thinking models count their thoughts towards the limit.
_MOST_TOKENS = 4096
_REFUSALS = frozenset({"SAFETY", "PROHIBITED_CONTENT", "BLOCKLIST", "SPII"})


class GeminiProvider:
    """The Gemini API.

    Attributes:
        name: gemini.
        base_url: address without the version of the API.
        model: the model asked.
    """

    name = "gemini"
    form: Form = "json"

    def __init__(self, access: Access, model: str, *, base_url: str | None = None) -> None:
        """Prepare; connects nowhere.

        Args:
            access: the key.
            model: the model asked.
            base_url: by default Google's.
        """
        self.base_url, self.model = (base_url or BASE_URL).rstrip("/"), model
        self._access = access

    def parameters(self, prompt: Prompt) -> dict[str, Any]:
        """What is sent beside model and messages."""
        schema = {key: value for key, value in SCHEMAS[prompt.kind].items() if key != "additionalProperties"}
        parameters = {
            "temperature": 0,
            "max_output_tokens": _MOST_TOKENS,
            "response_mime_type": "application/json",
            "response_schema": schema,
        }
        # Others cannot be told not to think, or not in this way.
        if self.model.startswith("gemini-2.5-flash"):
            parameters["thinking_config"] = {"thinking_budget": 0}
        return parameters

    def open(self, concurrency: int, timeout: float) -> GeminiClient:
        """Make a client for the running event loop."""
        return GeminiClient(self._access, self.base_url, concurrency, timeout)


class GeminiClient:
    """Connections to one server."""

    def __init__(self, access: Access, base_url: str, concurrency: int, timeout: float) -> None:
        """Load the SDK and prepare its client.

        Raises:
            ModuleNotFoundError: the SDK is not installed.
        """
        import httpx2
        from google import genai
        from google.genai import errors

        self._access, self._base_url = access, base_url
        self._status_error, self._http_error = errors.APIError, httpx2.HTTPError
        self._http = http_client(concurrency, timeout)
        options = genai.types.HttpOptions(
            base_url=base_url,
            api_version=_API_VERSION,
            timeout=int(timeout * 1000),
            httpx_async_client=self._http,
            # Never used; without it the SDK reads the certificates twice more.
            httpx_client=httpx2.Client(verify=tls_context()),
        )
        # The environment could turn it into a client of Vertex AI.
        self._client = genai.Client(api_key=access.key(), vertexai=False, http_options=options)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()
        self._client.close()

    async def send(self, request: Request) -> Reply:
        """Send one request; see `tells.judge.exchange.Client`."""
        failure: Exception
        config = {**request.parameters, "should_return_http_response": True}
        contents = [{"role": message["role"], "parts": [{"text": message["content"]}]} for message in request.messages]
        try:
            response = await self._client.aio.models.generate_content(
                model=request.model, contents=contents, config=config
            )
            return self._reply(response.sdk_http_response.body)
        except self._status_error as error:
            failure = self._status_failure(error)
        except self._http_error as error:
            failure = RetryableError(f"no connection, or cut ({type(error).__name__})")
        except UnicodeDecodeError:
            failure = RetryableError("the body of the answer is not text")
        # Raised here, outside the handlers: the exception with the request's headers is not its context.
        raise failure

    def _status_failure(self, error: Any) -> Exception:
        text = json.dumps(error.details, default=str) if error.details is not None else ""
        if error.code in (401, 403) or (error.code == 400 and "API_KEY_INVALID" in text):
            return self._access.refused(error.code, self._base_url)
        if error.code == 429 and "PerDay" in text:
            return JudgeStoppedError(
                f"the account behind {self._access.variable} has no quota left today; what was answered is kept"
            )
        wait = seconds_to_wait(error.response.headers.get("retry-after")) if error.response is not None else None
        if wait is None and (told := re.search(r'"retryDelay": "([0-9.]+)s"', text)):
            wait = float(told[1])
        message = error.details.get("error", error.details) if isinstance(error.details, dict) else {}
        message = message.get("message") if isinstance(message, dict) else None
        return failure_of_status(error.code, self._access.message(message), wait)

    def _reply(self, body: str | None) -> Reply:
        try:
            content = json.loads(body or "")
            usage = content.get("usageMetadata") or {}
            output = token_count(usage.get("candidatesTokenCount")), token_count(usage.get("thoughtsTokenCount"))
            written = None if output == (None, None) else sum(count or 0 for count in output)
            counts = token_count(usage.get("promptTokenCount")), written
            if (content.get("promptFeedback") or {}).get("blockReason"):
                return Reply(None, None, True, *counts)
            candidate = content["candidates"][0]
            if candidate.get("finishReason") in _REFUSALS:
                return Reply(None, None, True, *counts)
            parts = candidate["content"]["parts"]
            text = "".join(part["text"] for part in parts if not part.get("thought"))
            return Reply(None, self._access.redacted(text), False, *counts)
        except (ValueError, LookupError, TypeError, AttributeError):
            pass
        raise RetryableError("the body of the answer is not what the protocol says")
