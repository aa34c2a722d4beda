"""Which model a server serves, and whether what it gives is what is needed: asked before the first run.

A server does not say which revision it has loaded, nor in which dtype: that is the user's to see to. What can be seen
is its name, the length of its context, how it encodes text, and of which distribution its log-probabilities are.
"""

from __future__ import annotations

import logging
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tells.config import EngineConfig, GenerationConfig
from tells.models.engines.base import Request
from tells.models.engines.served_client import ServerClient, ServerError
from tells.models.engines.served_protocol import completion_body, read_answer

logger = logging.getLogger(__name__)
_PROBE = "The capital of France is"
# At a temperature and a top_k that would show in every number that is not of the raw distribution.
_PROBE_SETTINGS = GenerationConfig(temperature=0.5, top_k=1, max_new_tokens=2)
_SAMPLE_TEXTS = (
    "The quick brown fox jumps over 13 lazy dogs, and 2.5 cats.\n\n",
    "  def f(x): return x**2  # größer, élan, 東京, Привет, 🙂\t",
)


@dataclass(frozen=True)
class Server:
    """What a server says of itself.

    Attributes:
        model: the name under which the model is asked.
        names_agree: the server has it under a name or in a folder that the experiment knows it by.
        root: the model's folder or id, as the server was told; None where it does not say.
        max_model_len: longest prompt plus answer, in tokens; None where it does not say.
        version: of vLLM; None where it does not say.
    """

    model: str
    names_agree: bool
    root: str | None
    max_model_len: int | None
    version: str | None


async def look_at_server(client: ServerClient, config: EngineConfig, names: Sequence[str], start: str) -> Server:
    """Find the model on a server, and see whether its log-probabilities are those of the raw distribution.

    Args:
        client: open.
        config: may name the model on the server.
        names: by which the experiment knows it: name, id, folder.
        start: the command that would start the right server.

    Raises:
        ServerError: it does not answer, serves other models, or gives other numbers.
    """
    cards = await client.ask("/v1/models", _cards)
    card, agrees = _chosen(cards, config.served_model, names, client.url, start)
    version = await client.ask("/version", lambda answer: (answer or {}).get("version"))
    await _probe(client, card["id"])
    length = card.get("max_model_len")
    return Server(
        model=card["id"],
        names_agree=agrees,
        root=_word(card.get("root")),
        max_model_len=length if isinstance(length, int) else None,
        version=_word(version),
    )


async def check_tokenizer(client: ServerClient, model: str, tokenizer: Any) -> None:
    """See whether a server encodes texts as the model's own tokenizer does.

    Raises:
        ServerError: it does not: it serves another model.
    """
    for text in _SAMPLE_TEXTS:
        body = {"model": model, "prompt": text, "add_special_tokens": False}
        theirs = await client.ask("/tokenize", lambda answer: (answer or {}).get("tokens"), body)
        if theirs is None:
            logger.warning("%s: has no /tokenize; whether its tokenizer is the model's is not known", client.url)
            return
        if theirs != list(tokenizer(text, add_special_tokens=False)["input_ids"]):
            reason = f"{model} of the server at {client.url} is another model: it encodes text in another way"
            raise ServerError(reason, "correct engine.base_url, or engine.served_model")


def model_names(manifest: Mapping[str, Any]) -> list[str]:
    """By what a model that lies ready may be known to a server: its name, its hub id, its folder."""
    folder = manifest["path"]
    origin = [manifest["origin"]] if manifest.get("source") == "hub" else []
    return [manifest["name"], *origin, folder, str(Path(folder).absolute()), str(Path(folder).resolve())]


def start_command(
    config: EngineConfig, folder: str, name: str, *, revision: str | None = None, trust_remote_code: bool = False
) -> str:
    """The command that starts the server an experiment needs.

    Args:
        config: an engine of kind served.
        folder: of the model, or its hub id.
        name: under which it is to be asked.
        revision: of the hub id.
        trust_remote_code: the model's entry allows code of its own.
    """
    address = urlsplit(str(config.base_url))
    command = ["vllm", "serve", folder, "--served-model-name", config.served_model or name]
    command += ["--revision", revision] if revision else []
    if address.scheme == "http":
        command += ["--host", str(address.hostname), "--port", str(address.port or 80)]
    command += [] if config.dtype == "auto" else ["--dtype", config.dtype]
    command += ["--trust-remote-code"] if trust_remote_code else []
    return shlex.join([*command, "--logprobs-mode", "raw_logprobs"])


def _cards(answer: Any) -> list[dict[str, Any]]:
    cards = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(cards, list) or not all(isinstance(card, dict) and _word(card.get("id")) for card in cards):
        raise ServerError(
            "the server does not say at /v1/models what it serves, as vLLM does", "correct engine.base_url"
        )
    return cards


def _chosen(
    cards: Sequence[dict[str, Any]], asked: str | None, names: Sequence[str], url: str, start: str
) -> tuple[dict[str, Any], bool]:
    """The card of the model, and whether its name or folder is one that the experiment knows."""
    served = ", ".join(card["id"] for card in cards) or "nothing"
    if asked is not None:
        for card in cards:
            if card["id"] == asked:
                return card, True
        reason = f"the server at {url} serves {served}, not {asked}"
        raise ServerError(reason, f"correct engine.served_model, or start the server with `{start}`")
    for card in cards:
        if card["id"] in names or card.get("root") in names:
            return card, True
    if len(cards) == 1:
        return cards[0], False
    reason = f"the server at {url} serves {served}, none of them known as {names[0]}"
    raise ServerError(reason, f"say in engine.served_model which one it is, or start the server with `{start}`")


async def _probe(client: ServerClient, model: str) -> None:
    """One short run, as text, so that no tokenizer is needed."""
    body = completion_body(model, Request((), 0), _PROBE_SETTINGS, top_logprobs=2, eos_token_ids=())
    body |= {"prompt": _PROBE}

    def read(answer: Any) -> None:
        read_answer(answer, body)

    await client.ask("/v1/completions", read, body)


def _word(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
