"""What is sent to a vLLM server for one run, and what its answer means.

Everything that decides the run is sent in so many words, since a server fills what is left out from the model's own
generation_config.json. Tokens travel as ids: prompts are never encoded by the server, and log-probabilities are named
by id, since two tokens may read alike.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tells.config import GenerationConfig
from tells.models.engines.base import Request
from tells.models.engines.served_client import PassingError, ServerError

_OTHER_SERVER = "correct engine.base_url, or engine.served_model"
_RAW = "start it with --logprobs-mode raw_logprobs"
# What a server writes in the place of minus infinity, which the raw distribution never holds.
_LEAST = -9999.0
_ROUNDING = 1e-3


_Mistake = tuple[str, str]


@dataclass(frozen=True)
class Row:
    """One finished run as the server gave it: all of a generation but its text, which follows from the token ids.

    Attributes:
        token_ids: [tokens] EOS and stop string included.
        finish_reason: `stop` or `length`.
        token_logprobs: [tokens] nats.
        topk_logprobs: [tokens, k] falling; None where none were asked.
    """

    token_ids: list[int]
    finish_reason: str
    token_logprobs: list[float]
    topk_logprobs: list[list[float]] | None


def completion_body(
    model: str, request: Request, settings: GenerationConfig, *, top_logprobs: int, eos_token_ids: Sequence[int]
) -> dict[str, Any]:
    """The body of a request to `/v1/completions`.

    Args:
        model: its name on the server.
        request: the run.
        settings: how it is drawn.
        top_logprobs: k; 0 for none, but the run's own tokens.
        eos_token_ids: tokens that end a run, whatever the server takes for them.
    """
    drawn = not request.greedy and settings.temperature > 0
    return {
        "model": model,
        "prompt": list(request.prompt_token_ids),
        "max_tokens": settings.max_new_tokens,
        "temperature": settings.temperature if drawn else 0.0,
        "top_p": settings.top_p if drawn else 1.0,
        "top_k": settings.top_k if drawn else 0,
        "seed": request.seed % 2**63 if drawn else None,
        "stop": list(settings.stop),
        "stop_token_ids": sorted(eos_token_ids),
        "logprobs": top_logprobs,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "n": 1,
        "return_token_ids": True,
        "return_tokens_as_token_ids": True,
    }


def body_key(body: Mapping[str, Any], *server: str | None) -> str:
    """SHA-256 of all that decides a run: what is asked, and of which server (its model's folder, its version)."""
    text = json.dumps([body, *server], sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def read_answer(answer: Any, body: Mapping[str, Any], *, vocabulary: int | None = None) -> Row:
    """The run in an answer.

    Args:
        answer: of the server, parsed; None where it has no such path.
        body: that was sent.
        vocabulary: how many tokens the model has, where that is known.

    Raises:
        PassingError: the server ended the run itself, as it does when it is stopped.
        ServerError: the answer is not what the body asks for; this would happen again.
    """
    if answer is None:
        raise ServerError("the server has no /v1/completions, as vLLM has", _OTHER_SERVER)
    try:
        choice = answer["choices"][0]
        reason, token_ids = choice["finish_reason"], choice["token_ids"]
        if reason not in ("stop", "length"):
            raise PassingError(f"the server ended a run itself (finish_reason {reason})")
        if token_ids is None:
            raise ServerError("the server gives no token ids", "take vLLM 0.10.2 or newer")
        token_ids = [int(token) for token in token_ids]
        logprobs = choice["logprobs"]
        own = [float(value) for value in logprobs["token_logprobs"]]
        tops = [sorted(map(float, step.values()), reverse=True) for step in logprobs["top_logprobs"]]
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        reason = f"the answer is not that of a vLLM server ({type(error).__name__}: {error})"
        raise ServerError(reason, _OTHER_SERVER) from None
    k = body["logprobs"]
    row = Row(token_ids, reason, own, [step[:k] for step in tops] if k else None)
    if (mistake := _mistake(row, choice, body, vocabulary)) is not None:
        raise ServerError(*mistake)
    return row


def _mistake(row: Row, choice: Mapping[str, Any], body: Mapping[str, Any], vocabulary: int | None) -> _Mistake | None:
    """What is wrong with a row as far as the row shows it, and the cure."""
    count, k, tops = len(row.token_ids), body["logprobs"], row.topk_logprobs
    given = choice.get("prompt_token_ids")
    if given is not None and isinstance(body["prompt"], list) and given != body["prompt"]:
        return "the server changed the token ids of a prompt", _OTHER_SERVER
    if not count or len(row.token_logprobs) != count or (tops is not None and len(tops) != count):
        return "the server gives not one log-probability per token", _OTHER_SERVER
    if row.finish_reason == "length" and count != body["max_tokens"]:
        reason = f"the server ended a run after {count} of {body['max_tokens']} tokens"
        return reason, "start it with a larger --max-model-len, and without a max_new_tokens of its own"
    if vocabulary is not None and not 0 <= min(row.token_ids) <= max(row.token_ids) < vocabulary:
        return f"the server gives tokens that the model, with {vocabulary}, does not have", _OTHER_SERVER
    if tops is not None and min(map(len, tops)) < k:
        return f"the server gives fewer than {k} log-probabilities per token", f"start it with --max-logprobs {k}"
    if not all(map(math.isfinite, row.token_logprobs)):
        return "the server gives a log-probability that is not finite", "start it with another --dtype"
    return _not_raw(row, vocabulary)


def _not_raw(row: Row, vocabulary: int | None) -> _Mistake | None:
    """What shows that numbers are not log-probabilities of the raw distribution, which no setting of sampling moves."""
    tops = row.topk_logprobs or [[value] for value in row.token_logprobs]
    # The likeliest of so many tokens has at least its even share.
    share = -math.log(vocabulary) if vocabulary and row.topk_logprobs else -math.inf
    largest = max(max(step[0], own) for step, own in zip(tops, row.token_logprobs, strict=True))
    heaviest = max(sum(map(math.exp, step)) for step in tops) if largest <= _ROUNDING else math.inf
    if heaviest > 1 + _ROUNDING or min(step[0] for step in tops) < share - _ROUNDING:
        return "the server gives numbers that are no log-probabilities", _RAW
    if min(step[-1] for step in tops) <= _LEAST:
        return "the server gives log-probabilities after temperature, top_p and top_k", _RAW
    return None
