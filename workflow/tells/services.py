"""What clients of services share: a key that is told nowhere, addresses without secrets, pauses that are asked for.

The exceptions of HTTP clients carry the request with its headers, so that none of them may be chained to an error that
is shown or logged.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import re
from collections.abc import Coroutine, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from pydantic import SecretStr

if TYPE_CHECKING:
    import ssl

    import httpx2

_LONGEST_MESSAGE = 200
# A key this short is a placeholder such as EMPTY, and may well be a word of the answer.
_SHORTEST_KEY = 8
_KEY_LIKE = re.compile(r"\b(?:sk-|AIza)[\w*-]{4,}|(?i:\bbearer)\s+\S+")
# At lower levels these log addresses, headers and bodies of every request.
_LOGGERS = ("openai", "google_genai", "google.genai", "httpx", "httpx2", "httpcore", "httpcore2", "hpack", "h11")


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


def read_key(variable: str) -> str:
    """The key in an environment variable; empty where there is none.

    Raises:
        ValueError: it holds what a header cannot carry; found here, where it can be told safely.
    """
    key = os.environ.get(variable, "").strip()
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise ValueError(f"the environment variable {variable} holds white space or characters that no key has")
    return key


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


def http_client(concurrency: int, timeout: float, *, connect: float | None = None) -> httpx2.AsyncClient:
    """A client of as many connections as there are requests under way, all kept for the next request.

    It follows no redirects: a header with a key would go along.

    Args:
        concurrency: most connections.
        timeout: seconds for each step of a request.
        connect: seconds until a connection stands; `timeout` where absent.
    """
    import httpx2

    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    limits = httpx2.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
    patience = httpx2.Timeout(timeout, connect=timeout if connect is None else connect)
    return httpx2.AsyncClient(limits=limits, timeout=patience, follow_redirects=False, verify=tls_context())


@functools.cache
def tls_context() -> ssl.SSLContext:
    """The certificates that are trusted: read once, as it takes longer than a request."""
    import httpx2

    return httpx2.create_ssl_context()


async def all_or_first_error(coroutines: Sequence[Coroutine[None, None, None]]) -> None:
    """Run all; at the first error cancel the others, wait for them, and raise it."""
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
