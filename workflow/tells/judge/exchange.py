"""One request to a judge and what comes back: what the runner, the providers and the cache hand to each other.

Failures are told in words that hold no secret. The exceptions of the SDKs carry the request with its headers, so
none of them is chained to these.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from tells import services
from tells.judge.rubrics import Form, Prompt


@dataclass(frozen=True)
class Reply:
    """What a judge answered.

    Attributes:
        top: probability by the text of the token, for an answer of one token; else None.
        text: what it wrote, for an answer in JSON; else None.
        refused: the service or the model would not answer.
        input_tokens: as counted by the service; None where it did not.
        output_tokens: likewise.
    """

    top: dict[str, float] | None = None
    text: str | None = None
    refused: bool = False
    input_tokens: int | None = None
    output_tokens: int | None = None


@dataclass(frozen=True)
class Failure:
    """Why no answer was had, in words that hold no secret."""

    reason: str


@dataclass(frozen=True)
class Request:
    """A request, and whether a reply to it can be read.

    Attributes:
        provider: openai or gemini.
        base_url: address of the API.
        model: the model asked.
        version: of the prompt.
        messages: role and content each.
        parameters: everything else that is sent.
        check: raises RetryableError for a reply that cannot be read.
        key: SHA-256 of everything but `check`.
    """

    provider: str
    base_url: str
    model: str
    version: str
    messages: list[dict[str, str]]
    parameters: dict[str, Any]
    check: Callable[[Reply], None] = field(compare=False)
    key: str = field(init=False)

    def __post_init__(self) -> None:
        parts = [self.provider, self.base_url, self.model, self.version, self.messages, self.parameters]
        text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        object.__setattr__(self, "key", hashlib.sha256(text.encode()).hexdigest())


class RetryableError(Exception):
    """A request failed in a way that may pass.

    Attributes:
        wait: seconds for which the service asked that nobody ask; None where it did not say.
    """

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


class PermanentError(Exception):
    """A request failed, and would again."""


class JudgeStoppedError(RuntimeError):
    """No request to this judge can succeed until its user does something: the key, the quota, a setting."""


class Client(Protocol):
    """Connections of one event loop."""

    async def send(self, request: Request) -> Reply:
        """Send one request.

        Raises:
            RetryableError: it may succeed later.
            PermanentError: it will not.
            JudgeStoppedError: nor will any other.
        """
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


class Provider(Protocol):
    """A service that judges are asked through."""

    name: str
    base_url: str
    model: str

    @property
    def form(self) -> Form:
        """How scores and verdicts are answered."""
        ...

    def parameters(self, prompt: Prompt) -> dict[str, Any]:
        """What is sent beside model and messages."""
        ...

    def open(self, concurrency: int, timeout: float) -> Client:
        """Make a client of at most `concurrency` connections; `timeout` in seconds."""
        ...


class Access(services.Access):
    """The key of a judge's service, and words free of it."""

    def refused(self, status: int, where: str) -> JudgeStoppedError:
        """The error for a key that is not accepted; what the service said is left out, as it may quote the key."""
        return JudgeStoppedError(
            f"{services.shown_url(where)} did not accept the key (HTTP {status}): look at the environment variable "
            f"{self.variable}, and at what its key may use"
        )


def failure_of_status(status: int, message: str, wait: float | None) -> RetryableError | PermanentError:
    """The failure that an HTTP status stands for, where it is not the key's."""
    reason = f"HTTP {status}" + (f": {message}" if message else "")
    if status in (408, 409, 425, 429) or status >= 500:
        return RetryableError(reason, wait)
    return PermanentError(reason)


def token_count(value: object) -> int | None:
    """A count of tokens as a service gave it; None where it is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
