"""Requests to a vLLM server: with a limit on how many are in flight, tried again where the failure may pass.

The errors say what to do, and hold no key: none of them is chained to an exception of the HTTP client, which carries
the request with its headers.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from tells.config import EngineConfig
from tells.services import Access, http_client, read_key, seconds_to_wait, shown_url

logger = logging.getLogger(__name__)
Answer = TypeVar("Answer")
_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 30.0
_CONNECT_SECONDS = 10.0
_MAY_PASS = frozenset({408, 409, 425, 429})


class ServerError(RuntimeError):
    """A server does not do what is asked of it.

    Attributes:
        reason: what is wrong.
        cure: what to do.
    """

    def __init__(self, reason: str, cure: str) -> None:
        super().__init__(f"{reason}: {cure}")
        self.reason, self.cure = reason, cure


class PassingError(ServerError):
    """A request failed in a way that may pass.

    Attributes:
        wait: seconds for which the server asked that nobody ask; None where it did not say.
    """

    def __init__(self, reason: str, cure: str = "look at its log", *, wait: float | None = None) -> None:
        super().__init__(reason, cure)
        self.wait = wait


class ServerClient:
    """Connections to one server, for the event loop that it is entered in.

    Attributes:
        url: the address without `/v1`, as it may be shown.
        retried: how many requests were sent again.
    """

    def __init__(self, config: EngineConfig, start: str, *, hurried: float | None = None) -> None:
        """Read the key; connects nowhere.

        Args:
            config: an engine of kind served.
            start: the command that starts the server, for whom it does not answer.
            hurried: seconds for one request that is not sent again, in the place of the configured times.

        Raises:
            ServerError: the variable of the key is not set.
        """
        self._root = str(config.base_url).rstrip("/").removesuffix("/v1")
        self.url = shown_url(self._root)
        self._access = _access(config)
        self._start, self._concurrency = start, config.concurrency
        self._timeout, self._patience = (config.timeout, config.patience) if hurried is None else (hurried, 0.0)
        self.retried = 0

    async def __aenter__(self) -> ServerClient:
        self._http = http_client(self._concurrency, self._timeout, connect=min(_CONNECT_SECONDS, self._timeout))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def ask(self, path: str, read: Callable[[Any], Answer], body: Mapping[str, Any] | None = None) -> Answer:
        """Ask until there is an answer that can be read, with growing pauses.

        Args:
            path: below the address without `/v1`.
            read: makes of the parsed answer what is wanted; gets None where the server has no such path (HTTP 404 or
                405 without a word of its own). A PassingError of it is one of the request.
            body: posted as JSON; None gets the path.

        Raises:
            ServerError: it does not answer for as long as we are patient, or refuses.
        """
        loop = asyncio.get_running_loop()
        content = None if body is None else json.dumps(body, separators=(",", ":"), allow_nan=False).encode()
        # The jitter decides nothing but when a request is sent again.
        pauses, gives_up = growing_pauses(random.Random(content)), None
        while True:
            try:
                return read(await self._send(path, content))
            except PassingError as error:
                failure = error
            now = loop.time()
            gives_up = now + self._patience if gives_up is None else gives_up
            pause = max(next(pauses), failure.wait or 0.0)
            if now + pause > gives_up:
                waited = f"; tried again for {self._patience:g} s" if self._patience else ""
                raise ServerError(f"{failure.reason}{waited}", failure.cure)
            if not self.retried:
                logger.warning("%s; trying again", failure.reason)
            self.retried += 1
            await asyncio.sleep(pause)

    async def _send(self, path: str, content: bytes | None) -> Any:
        """One attempt."""
        import httpx2

        headers = {"Content-Type": "application/json"}
        if self._access is not None:
            headers["Authorization"] = f"Bearer {self._access.key()}"
        method, address = "GET" if content is None else "POST", f"{self._root}{path}"
        try:
            async with asyncio.timeout(self._timeout):
                response = await self._http.request(method, address, content=content, headers=headers)
        except httpx2.ConnectTimeout:
            reason = "no connection in time"
        except (TimeoutError, httpx2.TimeoutException):
            reason = None
        except httpx2.RequestError as error:
            reason = type(error).__name__
        else:
            return self._answer(response)
        # Raised here, outside the handlers: the client's exception, with the request's headers, is not its context.
        if reason is None:
            slow = f"the server at {self.url} gave no answer within {self._timeout:g} s"
            raise PassingError(slow, "raise engine.timeout, or lower engine.concurrency")
        raise PassingError(f"the server at {self.url} does not answer ({reason})", f"start it with `{self._start}`")

    def _answer(self, response: Any) -> Any:
        status = response.status_code
        try:
            content = json.loads(response.content)
        except ValueError:
            content = None
        if status == 200:
            if isinstance(content, dict):
                return content
            raise PassingError(f"the server at {self.url} answers with something that is no JSON object")
        said = self._said(content)
        if status in (404, 405) and not said:
            return None
        if status in (401, 403):
            raise self._no_entry(status)
        reason = f"the server at {self.url} fails (HTTP {status}{said})"
        if status in _MAY_PASS or status >= 500:
            raise PassingError(reason, wait=seconds_to_wait(response.headers.get("retry-after")))
        limits = "start it with the limits that the experiment needs (--max-model-len, --max-logprobs)"
        raise ServerError(f"the server at {self.url} refuses a request (HTTP {status}{said})", limits)

    def _said(self, content: Any) -> str:
        """What the server says of an error, with a colon before it; without the key."""
        error = content.get("error") if isinstance(content, dict) else None
        words = error.get("message") if isinstance(error, dict) else error
        message = (self._access or Access("", "")).message(words)
        return f": {message}" if message else ""

    def _no_entry(self, status: int) -> ServerError:
        if self._access is None:
            cure = "name the environment variable that holds its key in engine.key_variable"
        else:
            cure = f"look at the environment variable {self._access.variable}"
        return ServerError(f"the server at {self.url} asks for another key (HTTP {status})", cure)


def growing_pauses(jitter: random.Random) -> Iterator[float]:
    """Seconds before each further attempt: doubled with each, less a random part up to a half."""
    pause = _FIRST_PAUSE_SECONDS
    while True:
        yield pause * jitter.uniform(0.5, 1.0)
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)


def _access(config: EngineConfig) -> Access | None:
    if config.key_variable is None:
        return None
    key = read_key(config.key_variable)
    if not key:
        reason = f"engine.key_variable is {config.key_variable}, but that environment variable is empty or not set"
        raise ServerError(reason, f"export {config.key_variable}=…")
    return Access(config.key_variable, key)
