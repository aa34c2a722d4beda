"""One request to a judge and what comes back: what the runner, the providers and the cache hand to each other.

Failures are told in words that hold no secret. The exceptions of the SDKs carry the request with its headers, so
none of them is chained to these.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Protocol

from pydantic import SecretStr

from tells.judge.rubrics import Form, Prompt

_LONGEST_MESSAGE = 200
# A key this short is a placeholder such as EMPTY, and may well be a word of the answer.
_SHORTEST_KEY = 8
_KEY_LIKE = re.compile(r"\b(?:sk-|AIza)[\w*-]{4,}|(?i:\bbearer)\s+\S+")


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


class Access:
    """The key of a service, and words free of it.

    Attributes:
        variable: the environment variable it comes from.
    """

    def __init__(self, variable: str, key: str) -> None:
        self.variable = variable
        self._key = SecretStr(key)

    def key(self) -> str:
        """The key itself, for the header of a request and nothing else."""
        return self._key.get_secret_value()

    def redacted(self, text: str) -> str:
        """The text without the key."""
        key = self.key()
        return text.replace(key, "[key]") if len(key) >= _SHORTEST_KEY else text

    def message(self, text: object) -> str:
        """What a service said, as one short line without the key or what looks like one; empty where it is no text."""
        if not isinstance(text, str):
            return ""
        line = " ".join(_KEY_LIKE.sub("[key]", self.redacted(text)).split())
        return line if len(line) <= _LONGEST_MESSAGE else f"{line[:_LONGEST_MESSAGE]}…"

    def refused(self, status: int, where: str) -> JudgeStoppedError:
        """The error for a key that is not accepted; what the service said is left out, as it may quote the key."""
        return JudgeStoppedError(
            f"{shown_url(where)} did not accept the key (HTTP {status}): look at the environment variable "
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


def shown_url(url: str) -> str:
    """An address without user, password, query and fragment, which may hold secrets."""
    scheme, _, rest = url.partition("://")
    rest = re.split(r"[?#]", rest, maxsplit=1)[0]
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


def seconds_to_wait(header: str | None, now: datetime | None = None) -> float | None:
    """Seconds that a Retry-After header asks for: a number of seconds, or a date; None for anything else.

    References:
        RFC 9110, section 10.2.3.
    """
    if header is None:
        return None
    header = header.strip()
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", header):
        return float(header)
    try:
        date = parsedate_to_datetime(header)
    except (ValueError, TypeError, IndexError):
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max(0.0, (date - (now or datetime.now(UTC))).total_seconds())
