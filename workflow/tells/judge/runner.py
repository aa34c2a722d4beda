"""Asks a judge: many requests at a time but never more than allowed, each question once, every answer kept at once.

A service that asks for a pause is given it by all workers, not only by the one that was told. What fails is tried
again after a growing, jittered pause; what keeps failing becomes a failure with a reason, and the rest goes on.
Ceilings of requests, tokens and cost stop the asking, let what is under way arrive, and are then reported.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from tells.judge.cache import Cache
from tells.judge.exchange import (
    Client,
    Failure,
    JudgeStoppedError,
    PermanentError,
    Provider,
    Reply,
    Request,
    RetryableError,
)
from tells.judge.protocol import BudgetError, Usage
from tells.progress import progress
from tells.services import all_or_first_error

_LONGEST_BACKOFF_SECONDS = 60.0
_LONGEST_WAIT_SECONDS = 900.0
_CHARACTERS_PER_TOKEN = 4
_ESTIMATED_OUTPUT_TOKENS = 20

Outcome = Reply | Failure


@dataclass(frozen=True)
class Budget:
    """Ceilings, None where there is none, and prices, None where they are not known.

    Attributes:
        max_calls: requests, retries included.
        max_tokens: input and output together.
        max_cost: USD.
        input_price: USD per million tokens.
        output_price: USD per million tokens.
    """

    max_calls: int | None = None
    max_tokens: int | None = None
    max_cost: float | None = None
    input_price: float | None = None
    output_price: float | None = None

    def cost(self, input_tokens: float, output_tokens: float) -> float | None:
        """USD; None where a price is not known."""
        if self.input_price is None or self.output_price is None:
            return None
        return (input_tokens * self.input_price + output_tokens * self.output_price) / 1e6


@dataclass
class _Session:
    """What belongs to one event loop: connections, slots, the pause all keep, and what is being asked."""

    loop: asyncio.AbstractEventLoop
    client: Client
    slots: asyncio.Semaphore
    closer: AsyncGenerator[None, None] | None = None
    opens_at: float = 0.0
    under_way: dict[str, asyncio.Future[Outcome | None]] = field(default_factory=dict)

    async def pause(self, jitter: random.Random) -> None:
        """Wait until the service may be asked again; not all at the same instant."""
        waited = False
        while (delay := self.opens_at - self.loop.time()) > 0:
            await asyncio.sleep(delay + (jitter.uniform(0, min(1.0, delay / 4)) if not waited else 0))
            waited = True

    def close_for(self, seconds: float) -> None:
        """Let nobody ask for so many seconds."""
        self.opens_at = max(self.opens_at, self.loop.time() + seconds)


class Runner:
    """Asks one provider, through a cache.

    Attributes:
        usage: what asking has taken so far.
    """

    def __init__(
        self,
        provider: Provider,
        cache: Cache,
        *,
        concurrency: int = 50,
        timeout: float = 60.0,
        retries: int = 8,
        backoff: float = 1.0,
        budget: Budget | None = None,
    ) -> None:
        """Prepare; connections are made with the first request.

        Args:
            provider: who is asked.
            cache: where answers are kept.
            concurrency: most requests under way at a time.
            timeout: seconds for one request.
            retries: how often a request is sent again.
            backoff: seconds before the first retry; doubled with each, at most 60, less a random part up to a half.
            budget: ceilings and prices.

        Raises:
            ValueError: a number is out of its range.
        """
        if concurrency < 1 or timeout <= 0 or retries < 0 or backoff < 0:
            raise ValueError(f"{concurrency=}, {timeout=}: must be above 0; {retries=}, {backoff=}: 0 or more")
        self._provider, self._cache, self._budget = provider, cache, budget or Budget()
        self._concurrency, self._timeout, self._retries, self._backoff = concurrency, timeout, retries, backoff
        self.usage = Usage(cost=self._budget.cost(0, 0))
        self._session: _Session | None = None
        self._stopped: str | None = None
        self._reserved = [0.0, 0.0]
        self._answered = 0
        self._showing = False

    async def run(self, requests: Sequence[Request], title: str) -> list[Outcome]:
        """Ask for all, each different request once.

        Args:
            requests: [requests] in any number; equal ones may stand among them.
            title: what the progress bar says.

        Returns:
            [requests] a reply or a failure each, in the order given.

        Raises:
            BudgetError: a ceiling is reached.
            JudgeStoppedError: the service takes no request of this user.
        """
        unique = {request.key: request for request in requests}
        self._cache.refresh()
        outcomes: dict[str, Outcome] = {}
        with self._progress(len(unique), title) as advance:
            for key in unique:
                if (known := self._cache.get(key)) is not None:
                    outcomes[key] = known
            self._count(cached=len(outcomes))
            advance(len(outcomes))
            missing = iter([request for key, request in unique.items() if key not in outcomes])

            async def work() -> None:
                for request in missing:
                    outcomes[request.key] = await self.ask(request)
                    advance(1)

            await all_or_first_error([work() for _ in range(min(self._concurrency, len(unique) - len(outcomes)))])
        return [outcomes[request.key] for request in requests]

    async def ask(self, request: Request) -> Outcome:
        """Ask for one, unless the answer is known or another has just asked; errors as in `run`."""
        if (known := self._cache.get(request.key)) is not None:
            self._count(cached=1)
            return known
        session = await self._opened()
        while (pending := session.under_way.get(request.key)) is not None:
            await asyncio.wait({pending})
            if (outcome := pending.result()) is not None:
                return outcome
        future = session.under_way[request.key] = session.loop.create_future()
        outcome = None
        try:
            async with self._cache.writing():
                if (outcome := self._cache.get(request.key)) is not None:
                    self._count(cached=1)
                else:
                    outcome = await self._exchange(request, session)
                return outcome
        except BudgetError:
            future.set_result(None)
            del session.under_way[request.key]
            # What is under way has been paid for: let it arrive before the error ends everything.
            while session.under_way:
                await asyncio.wait(session.under_way.values())
            raise
        finally:
            if not future.done():
                future.set_result(outcome)
                del session.under_way[request.key]

    async def _exchange(self, request: Request, session: _Session) -> Outcome:
        """Send until there is an answer that can be read, or no retry left."""
        jitter = random.Random(request.key)
        reason = ""
        for attempt in range(self._retries + 1):
            try:
                async with session.slots:
                    await session.pause(jitter)
                    reply = await self._send(request, session)
                request.check(reply)
            except PermanentError as error:
                return Failure(str(error))
            except RetryableError as error:
                reason, wait = str(error), error.wait
            else:
                self._cache.store(request, reply)
                return reply
            if wait:
                self._check_wait(wait)
                session.close_for(wait)
            elif attempt < self._retries:
                delay = min(self._backoff * 2**attempt, _LONGEST_BACKOFF_SECONDS)
                await asyncio.sleep(delay * jitter.uniform(0.5, 1.0))
        return Failure(f"{reason} ({self._retries + 1} attempts)")

    async def _send(self, request: Request, session: _Session) -> Reply:
        if self._stopped is not None:
            raise JudgeStoppedError(self._stopped)
        estimate = self._estimate(request)
        self._check_budget(estimate)
        self._count(calls=1)
        self._reserve(estimate, 1)
        reply = None
        try:
            async with asyncio.timeout(self._timeout):
                reply = await session.client.send(request)
        except TimeoutError:
            pass
        except JudgeStoppedError as error:
            self._stopped = str(error)
            raise
        finally:
            self._reserve(estimate, -1)
        if reply is None:
            raise RetryableError(f"no answer within {self._timeout:g} s")
        self._count_tokens(request, reply)
        return reply

    def _check_wait(self, wait: float) -> None:
        if wait > _LONGEST_WAIT_SECONDS:
            self._stopped = (
                f"the judge's service asks for a pause of {wait:.0f} s: run again after that; what was answered is kept"
            )
            raise JudgeStoppedError(self._stopped)

    def _check_budget(self, estimate: tuple[float, float]) -> None:
        """Refuse a request that could pass a ceiling, with what is under way."""
        budget, usage = self._budget, self.usage
        tokens = (usage.input_tokens + self._reserved[0] + estimate[0]) + (
            usage.output_tokens + self._reserved[1] + estimate[1]
        )
        cost = budget.cost(
            usage.input_tokens + self._reserved[0] + estimate[0], usage.output_tokens + self._reserved[1] + estimate[1]
        )
        for name, needed, ceiling in (
            ("max_calls", usage.calls + 1, budget.max_calls),
            ("max_tokens", tokens, budget.max_tokens),
            ("max_cost", cost, budget.max_cost),
        ):
            if ceiling is not None and needed is not None and needed > ceiling:
                raise BudgetError(
                    f"the judge's ceiling {name} = {ceiling} is reached; what was answered is in {self._cache.folder}: "
                    f"raise {name} of `judge`, or run again to go on under a fresh ceiling"
                )

    def _estimate(self, request: Request) -> tuple[float, float]:
        """Input and output tokens of a request: as the answered ones on average, by its length before the first."""
        if self._answered:
            return self.usage.input_tokens / self._answered, self.usage.output_tokens / self._answered
        return _tokens_of(request), float(_ESTIMATED_OUTPUT_TOKENS)

    def _reserve(self, estimate: tuple[float, float], sign: int) -> None:
        self._reserved = [held + sign * part for held, part in zip(self._reserved, estimate, strict=True)]

    def _count_tokens(self, request: Request, reply: Reply) -> None:
        """Count what the service counted; what it did not is estimated by length, so that ceilings still hold."""
        given, got = reply.input_tokens, reply.output_tokens
        self._answered += 1
        self._count(
            input_tokens=round(_tokens_of(request)) if given is None else given,
            output_tokens=max(1, len(reply.text or "") // _CHARACTERS_PER_TOKEN) if got is None else got,
        )

    def _count(self, calls: int = 0, cached: int = 0, input_tokens: int = 0, output_tokens: int = 0) -> None:
        usage = self.usage
        read, written = usage.input_tokens + input_tokens, usage.output_tokens + output_tokens
        self.usage = replace(
            usage,
            calls=usage.calls + calls,
            cached=usage.cached + cached,
            input_tokens=read,
            output_tokens=written,
            cost=self._budget.cost(read, written),
        )

    async def _opened(self) -> _Session:
        """The session of the running event loop; the loop closes its connections when it ends."""
        loop = asyncio.get_running_loop()
        if self._session is None or self._session.loop is not loop:
            client = self._provider.open(self._concurrency, self._timeout)
            session = self._session = _Session(loop, client, asyncio.Semaphore(self._concurrency))
            # asyncio.run closes the async generators that were begun and not ended: the one hook at a loop's end.
            session.closer = _closing(client)
            await anext(session.closer)
            return session
        return self._session

    @contextlib.contextmanager
    def _progress(self, total: int, title: str) -> Iterator[Callable[[int], None]]:
        """A progress bar, unless one is shown already: a terminal has room for one."""
        if self._showing:
            yield lambda count: None
            return
        self._showing = True
        try:
            with progress(total, title, "items") as advance:
                yield advance
        finally:
            self._showing = False


async def _closing(client: Client) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        await client.close()


def _tokens_of(request: Request) -> float:
    return sum(len(message["content"]) for message in request.messages) / _CHARACTERS_PER_TOKEN
