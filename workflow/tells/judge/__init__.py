"""What the studies ask of a judge. Providers implement it; the studies know only the protocol."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Protocol, runtime_checkable


@runtime_checkable
class EntailmentJudge(Protocol):
    """Says whether one answer to a question entails another."""

    name: str

    def entails(self, question: str, a: str, b: str) -> bool | Awaitable[bool | None] | None:
        """Whether answer `a` to the question entails answer `b`; None where the judge gave no verdict.

        May be a coroutine function; the judge itself limits how many requests are under way.
        """
        ...
