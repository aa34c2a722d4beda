"""A vLLM server on this machine as far as our client sees it, for tests: its wire format, and its faults.

A run follows from its request alone, so that a test can tell a right answer from any other. Faults follow from the
order of requests.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import json
import math
import random
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

Writer = Callable[[dict[str, Any]], tuple[list[int], str]]


@dataclass
class Faults:
    """What goes wrong from now on.

    Attributes:
        statuses: HTTP statuses of the next requests for completions, then well again.
        headers: of these answers.
        message: what the server says with an error.
        cut: how many of the next requests are cut without an answer.
        garbled: how many get a body that is no JSON.
        aborted: how many runs the server ends itself.
        fails_after: completions that are answered before every further one is cut; None for all.
        missing: paths that the server does not have.
        mode: `raw_logprobs`, `processed_logprobs` or `raw_logits`.
        changes: what the first choice of every completion holds otherwise.
        tokens: what /tokenize gives; None for what the tokenizer of the tiny models does.
        hold: the next requests are answered once so many are there; the ones after them at once.
    """

    statuses: list[int] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    message: str = "as planned"
    cut: int = 0
    garbled: int = 0
    aborted: int = 0
    fails_after: int | None = None
    missing: tuple[str, ...] = ()
    mode: str = "raw_logprobs"
    changes: dict[str, Any] = field(default_factory=dict)
    tokens: list[int] | None = None
    hold: int = 0


@dataclass
class Seen:
    """What came in: completions of runs, not the one that is asked first to see what the server gives."""

    bodies: list[dict[str, Any]] = field(default_factory=list)
    answered: int = 0
    in_flight: int = 0
    most_in_flight: int = 0
    paths: Counter[str] = field(default_factory=Counter)
    refused_keys: int = 0


def write_run(body: dict[str, Any]) -> tuple[list[int], str]:
    """Tokens of a run, and why it ended: a stop string's bytes, the end of sequence, or its limit."""
    rng, letters = _rng(body), encoded("abcdefghijklmnopqrstuvwxyz ")
    tokens = [rng.choice(letters) for _ in range(body["max_tokens"])]
    ends = [encoded(string) for string in body["stop"]] + [[token] for token in body["stop_token_ids"]]
    end = rng.choice([None, *ends])
    if end is None or len(end) > len(tokens):
        return tokens, "length"
    return tokens[: rng.randrange(len(tokens) - len(end) + 1)] + end, "stop"


def encoded(text: str) -> list[int]:
    """Token ids of a text, as the tokenizer of the tiny models gives them."""
    return list(_tokenizer()(text, add_special_tokens=False)["input_ids"])


@functools.cache
def _tokenizer() -> Any:
    from tells.models.random_model import byte_tokenizer

    return byte_tokenizer()


class CompletionServer:
    """The server.

    Attributes:
        faults: what goes wrong; may be changed at any time.
        seen: what came in so far.
        cards: what /v1/models lists.
        version: of /version.
        key: that requests must bring; None for none.
        write: makes the tokens of a run; they must be ids of the test's model.
    """

    def __init__(self, model: str = "tiny", *, key: str | None = None, write: Writer = write_run) -> None:
        self.faults, self.seen, self.port = Faults(), Seen(), 0
        self.cards: list[dict[str, Any]] = [{"id": model, "root": f"/models/{model}", "max_model_len": 4096}]
        self.version, self.key, self.write = "0.32.0", key, write
        self._held: list[asyncio.Event] = []

    @property
    def base_url(self) -> str:
        """What a client takes."""
        return f"http://127.0.0.1:{self.port}/v1"

    async def start(self) -> asyncio.Server:
        server = await asyncio.start_server(self._connection, "127.0.0.1", self.port, backlog=512)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = re.search(r"(?i)content-length: *(\d+)", head)
                content = await reader.readexactly(int(length[1])) if length else b""
                path = head.split(" ", 2)[1]
                answer = await self._answer(path, head, json.loads(content) if content else {})
                if answer is None:
                    break
                writer.write(answer)
                await writer.drain()
        writer.close()

    async def _answer(self, path: str, head: str, body: dict[str, Any]) -> bytes | None:
        self.seen.paths[path] += 1
        if self.key is not None and path.startswith("/v1") and f"Bearer {self.key}\r\n" not in head:
            self.seen.refused_keys += 1
            return _response(401, {"error": f"Unauthorized: {head}"})
        if path in self.faults.missing:
            return _response(404, {"detail": "Not Found"})
        if path == "/v1/models":
            return _response(200, {"object": "list", "data": self.cards})
        if path == "/version":
            return _response(200, {"version": self.version})
        if path == "/tokenize":
            tokens = encoded(body["prompt"]) if self.faults.tokens is None else self.faults.tokens
            return _response(200, {"count": len(tokens), "tokens": tokens})
        if path != "/v1/completions":
            return _response(404, {"detail": "Not Found"})
        if isinstance(body["prompt"], str):
            return _response(200, self._completion(body))
        return await self._run(body)

    async def _run(self, body: dict[str, Any]) -> bytes | None:
        seen, faults = self.seen, self.faults
        seen.bodies.append(body)
        seen.in_flight += 1
        seen.most_in_flight = max(seen.most_in_flight, seen.in_flight)
        try:
            if faults.hold:
                await self._together(faults.hold)
            return self._fault() or self._run_answer(body)
        except ConnectionError:
            return None
        finally:
            seen.in_flight -= 1

    async def _together(self, count: int) -> None:
        """Wait until so many requests wait."""
        event = asyncio.Event()
        self._held.append(event)
        if len(self._held) >= count:
            for one in self._held:
                one.set()
            self._held, self.faults.hold = [], 0
        await event.wait()

    def _fault(self) -> bytes | None:
        faults = self.faults
        if faults.fails_after is not None and self.seen.answered >= faults.fails_after:
            raise ConnectionError
        if faults.cut:
            faults.cut -= 1
            raise ConnectionError
        if faults.statuses:
            return _response(faults.statuses.pop(0), {"error": {"message": faults.message}}, faults.headers)
        if faults.garbled:
            faults.garbled -= 1
            return _response(200, None)
        return None

    def _run_answer(self, body: dict[str, Any]) -> bytes:
        self.seen.answered += 1
        return _response(200, self._completion(body))

    def _completion(self, body: dict[str, Any]) -> dict[str, Any]:
        token_ids, reason = self.write(body) if isinstance(body["prompt"], list) else (encoded("hi"), "length")
        if self.faults.aborted and isinstance(body["prompt"], list):
            self.faults.aborted -= 1
            token_ids, reason = token_ids[:1], "abort"
        steps = [self._step(body, token, place) for place, token in enumerate(token_ids)]
        prompt = body["prompt"] if isinstance(body["prompt"], list) else encoded(body["prompt"])
        choice = {
            "index": 0,
            "text": "not used",
            "logprobs": {
                "token_logprobs": [step[f"token_id:{token}"] for step, token in zip(steps, token_ids, strict=True)],
                "top_logprobs": steps,
            },
            "finish_reason": reason,
            "token_ids": token_ids,
            "prompt_token_ids": prompt,
            **self.faults.changes,
        }
        return {"object": "text_completion", "model": body["model"], "choices": [choice]}

    def _step(self, body: dict[str, Any], token: int, place: int) -> dict[str, float]:
        """Log-probabilities by id: of the drawn token, which is not among the likeliest, and of those."""
        k, rng = body["logprobs"], _rng(body, place)
        drawn, others = f"token_id:{token}", [f"token_id:{each}" for each in range(200, 200 + k)]
        if self.faults.mode == "raw_logits":
            return {drawn: 11.5, **{name: 12.0 - rank for rank, name in enumerate(others)}}
        if self.faults.mode == "processed_logprobs":
            return {drawn: 0.0, **dict.fromkeys(others[1:], -9999.0)}
        weights = sorted((rng.random() for _ in range(k)), reverse=True)
        top = dict(zip(others, (math.log(0.9 * weight / sum(weights)) for weight in weights), strict=True))
        # As a server of single precision says them.
        return {name: _single(value) for name, value in {drawn: min(top.values(), default=-0.5) - 1.0, **top}.items()}


def _rng(body: dict[str, Any], *more: int) -> random.Random:
    """Of what decides a run; the jitter of retries does not."""
    told = json.dumps([body["prompt"], body["seed"], body["temperature"], *more])
    return random.Random(hashlib.sha256(told.encode()).digest())


def _single(value: float) -> float:
    import numpy as np

    return float(np.float32(value))


def _response(status: int, content: Any, headers: dict[str, str] | None = None) -> bytes:
    body = b"<html>no gateway</html>" if content is None else json.dumps(content).encode()
    lines = [f"HTTP/1.1 {status} Planned", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


@contextlib.contextmanager
def completion_server(model: str = "tiny", **options: Any) -> Iterator[CompletionServer]:
    """Serve from a thread."""
    server, ready = CompletionServer(model, **options), threading.Event()
    with serving(server, ready):
        yield server


@contextlib.contextmanager
def serving(server: CompletionServer, ready: threading.Event | None = None) -> Iterator[None]:
    """Serve from a thread for as long as the block; a server can be started again."""
    loop, ready = asyncio.new_event_loop(), ready or threading.Event()
    stop: asyncio.Event | None = None

    async def serve() -> None:
        nonlocal stop
        stop = asyncio.Event()
        started = await server.start()
        ready.set()
        await stop.wait()
        started.close()

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        thread = threading.Thread(target=runner.run, args=(serve(),), daemon=True)
        thread.start()
        ready.wait()
        try:
            yield
        finally:
            loop.call_soon_threadsafe(stop.set)
            thread.join()
