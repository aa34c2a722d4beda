"""A judge's service on this machine, for tests and benchmarks: OpenAI's and Gemini's wire formats, and their faults.

Scores follow from the judged text alone (`expected_value`, `whole_value`), so that a test can tell a right answer from
any other. Faults follow from the text and how often it was asked, not from chance. Run as a script it prints its
address and serves until its standard input closes.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import json
import math
import re
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

REFUSED, VAGUE, REFUSED_BY_SERVICE = "(refused)", "(vague)", "(refused by the service)"
FAINT = 1e-9
_TEXT = re.compile(r"<text>\n(.*)\n</text>", re.DOTALL)
_ANSWERS = re.compile(r"<answer_a>\n(.*)\n</answer_a>\n<answer_b>\n(.*)\n</answer_b>", re.DOTALL)
_MALFORMED = (b"<html>no gateway</html>", b"{}", b'{"choices": []}', b'{"choices": [{}]}', b"[1, 2]")


@dataclass
class Faults:
    """What goes wrong. Rates are of texts, 0 to 1; a text is struck the first `times` times that it is asked.

    Attributes:
        latency: seconds before every answer.
        errors: rate of 500s.
        malformed: rate of bodies that are not what the protocol says.
        cut: rate of connections cut without an answer.
        limited: rate of 429s.
        retry_after: header of the 429s; None for none.
        times: how often in a row a struck text fails.
        status: a status that every request gets, with `message`; None for none.
        message: what the service says with an error.
        without_usage: answers do not count tokens.
        without_probabilities: answers of one token show none.
        split_digits: the model's tokens hold one digit each, so that 80 begins with the token 8.
    """

    latency: float = 0.0
    errors: float = 0.0
    malformed: float = 0.0
    cut: float = 0.0
    limited: float = 0.0
    retry_after: str | None = None
    times: int = 1
    status: int | None = None
    message: str = "as planned"
    without_usage: bool = False
    without_probabilities: bool = False
    split_digits: bool = False


@dataclass
class Seen:
    """What the server saw: nothing of the headers."""

    requests: int = 0
    in_flight: int = 0
    most_in_flight: int = 0
    asked: Counter[str] = field(default_factory=Counter)
    bodies: list[dict] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    paths: set[str] = field(default_factory=set)


def whole_value(text: str) -> int:
    """The score of a text in words: 1 to 99."""
    return 1 + hashlib.sha256(text.encode()).digest()[0] % 99


def expected_value(text: str) -> float:
    """The score of a text by the probabilities `_probabilities` gives: the neighbours pull it off the whole number."""
    whole = whole_value(text)
    return (0.6 * whole + 0.2 * (whole + 1) + 0.1 * (whole - 1)) / 0.9


def entailed(a: str, b: str) -> bool:
    """The verdict on a pair."""
    return hashlib.sha256(f"{a}|{b}".encode()).digest()[0] % 2 == 0


def assessed(text: str) -> tuple[bool, int, int]:
    """Whether a reply refuses, and how convincing and specific it is: 1 to 5 each."""
    digest = hashlib.sha256(text.encode()).digest()
    return digest[0] % 2 == 0, 1 + digest[1] % 5, 1 + digest[2] % 5


def struck(kind: str, text: str, rate: float) -> bool:
    """Whether a text is among those that a fault of this kind strikes."""
    return int.from_bytes(hashlib.sha256(f"{kind}:{text}".encode()).digest()[:4], "big") < rate * 2**32


class JudgeServer:
    """The service.

    Attributes:
        faults: what goes wrong from now on; may be changed at any time.
        seen: what came in so far.
        address: http://127.0.0.1:port.
    """

    def __init__(self, faults: Faults | None = None) -> None:
        self.faults, self.seen, self.address = faults or Faults(), Seen(), ""

    @property
    def base_url(self) -> str:
        """What an OpenAI client takes."""
        return f"{self.address}/v1"

    async def start(self) -> asyncio.Server:
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0, backlog=512)
        self.address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        return server

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(re.search(rb"(?i)content-length: *(\d+)", head)[1])
                body = json.loads(await reader.readexactly(length))
                answer = await self._counted(head.split(b" ", 2)[1].decode(), body)
                if answer is None:
                    break
                writer.write(answer)
                await writer.drain()
        writer.close()

    async def _counted(self, path: str, body: dict) -> bytes | None:
        seen = self.seen
        seen.requests += 1
        seen.in_flight += 1
        seen.most_in_flight = max(seen.most_in_flight, seen.in_flight)
        seen.times.append(asyncio.get_running_loop().time())
        seen.bodies.append(body)
        seen.paths.add(path)
        try:
            if self.faults.latency:
                await asyncio.sleep(self.faults.latency)
            return self._answer(path, body)
        finally:
            seen.in_flight -= 1

    def _answer(self, path: str, body: dict) -> bytes | None:
        faults, gemini = self.faults, path.endswith(":generateContent")
        content = body["contents"][-1]["parts"][0]["text"] if gemini else body["messages"][-1]["content"]
        found = _TEXT.search(content)
        text = found[1] if found else content
        self.seen.asked[text] += 1
        if faults.status is not None:
            return _error(faults.status, faults.message, faults.retry_after)
        if self.seen.asked[text] <= faults.times:
            if struck("limited", text, faults.limited):
                return _error(429, faults.message, faults.retry_after)
            if struck("errors", text, faults.errors):
                return _error(500, faults.message, None)
            if struck("cut", text, faults.cut):
                return None
            if struck("malformed", text, faults.malformed):
                return _response(200, _MALFORMED[whole_value(text) % len(_MALFORMED)])
        answer = _gemini(text, content) if gemini else self._openai(text, content, body)
        if faults.without_usage:
            answer.pop("usage", answer.pop("usageMetadata", None))
        return _response(200, json.dumps(answer).encode())

    def _openai(self, text: str, content: str, body: dict) -> dict:
        choice: dict = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "refusal": None}}
        if text.endswith(REFUSED_BY_SERVICE):
            choice["message"]["refusal"] = "I can't help with that."
        if body.get("logprobs"):
            assert body["max_tokens"] == 1
            probabilities = _probabilities(text, content)
            if self.faults.split_digits:
                probabilities = _first_digits(probabilities)
            top = sorted(probabilities.items(), key=lambda pair: -pair[1])
            top = [{"token": token, "logprob": math.log(p), "bytes": None} for token, p in top]
            choice["message"]["content"] = top[0]["token"]
            if not self.faults.without_probabilities:
                choice["logprobs"] = {"content": [{**top[0], "top_logprobs": top}], "refusal": None}
        else:
            assert body["response_format"]["json_schema"]["strict"]
            choice["message"]["content"] = _in_words(text, content)
        usage = {"prompt_tokens": 100, "completion_tokens": 1, "total_tokens": 101}
        common = {"id": "1", "object": "chat.completion", "created": 0, "model": body["model"]}
        return {**common, "choices": [choice], "usage": usage}


def _gemini(text: str, content: str) -> dict:
    usage = {"promptTokenCount": 100, "candidatesTokenCount": 7, "totalTokenCount": 107}
    if text.endswith(REFUSED_BY_SERVICE):
        return {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": usage}
    parts = [{"text": _in_words(text, content)}]
    candidate = {"content": {"role": "model", "parts": parts}, "finishReason": "STOP", "index": 0}
    return {"candidates": [candidate], "usageMetadata": usage}


def _probabilities(text: str, content: str) -> dict[str, float]:
    """Twenty tokens at most, some of them to be ignored."""
    if (answers := _ANSWERS.search(content)) is not None:
        yes = 0.7 if entailed(*answers.groups()) else 0.2
        return {"yes": yes, " no": 0.9 - yes, "maybe": 0.1}
    if text.endswith(REFUSED):
        return {"RE": 0.7, "50": 0.2}
    if text.endswith(VAGUE):
        return {"The": 0.8, "50": 0.1}
    whole = whole_value(text)
    near = {f"{whole}": 0.4, f" {whole}": 0.2, f"{whole + 1}": 0.2, f"{whole - 1}": 0.1, "The": 0.05, "101": 0.01}
    # Also where all of these have one digit, the likeliest twenty of a real model hold others.
    return {**near, "\n10": FAINT}


def _first_digits(probabilities: dict[str, float]) -> dict[str, float]:
    """The same answer, of a model whose tokens hold one digit each."""
    tokens: dict[str, float] = {}
    for token, p in probabilities.items():
        first = token.strip()[0] if token.strip().isdigit() else token
        tokens[first] = tokens.get(first, 0.0) + p
    return tokens


def _in_words(text: str, content: str) -> str:
    if (answers := _ANSWERS.search(content)) is not None:
        return json.dumps({"entails": entailed(*answers.groups())})
    if "convincing" in content:
        if text.endswith(VAGUE):
            return "It depends."
        return json.dumps(dict(zip(("refused", "convincing", "specific"), assessed(text), strict=True)))
    if "confound" in content:
        return json.dumps({"reason": f"It reads {whole_value(text)}.", "confound": "haste"})
    if text.endswith(REFUSED):
        return json.dumps({"refused": True, "score": 0})
    return json.dumps({"refused": False, "score": whole_value(text)})


def _error(status: int, message: str, retry_after: str | None) -> bytes:
    body = {"error": {"message": message, "code": status, "status": "PLANNED"}}
    return _response(status, json.dumps(body).encode(), {"Retry-After": retry_after} if retry_after else {})


def _response(status: int, body: bytes, headers: dict[str, str] | None = None) -> bytes:
    lines = [f"HTTP/1.1 {status} Planned", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


@contextlib.contextmanager
def judge_server(faults: Faults | None = None) -> Iterator[JudgeServer]:
    """Serve from a thread."""
    server, loop, ready = JudgeServer(faults), asyncio.new_event_loop(), threading.Event()

    async def serve() -> None:
        nonlocal stop
        stop = asyncio.Event()
        started = await server.start()
        ready.set()
        await stop.wait()
        started.close()

    stop: asyncio.Event | None = None
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        thread = threading.Thread(target=runner.run, args=(serve(),), daemon=True)
        thread.start()
        ready.wait()
        try:
            yield server
        finally:
            loop.call_soon_threadsafe(stop.set)
            thread.join()


async def _serve_until_input_ends(latency: float) -> None:
    server = JudgeServer(Faults(latency=latency))
    started = await server.start()
    print(server.address, flush=True)
    await asyncio.to_thread(sys.stdin.read)
    print(json.dumps({"requests": server.seen.requests, "most_in_flight": server.seen.most_in_flight}), flush=True)
    started.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before every answer")
    asyncio.run(_serve_until_input_ends(parser.parse_args().latency))
