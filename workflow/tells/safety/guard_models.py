"""WildGuard and Llama Guard, run on whole exchanges by the same engines that sample.

An exchange that does not fit the model's context is shortened in the middle of its longer text, and says so. A prompt
never holds more control tokens than the guard's own form has: what the tokenizer would take for one in the judged texts
is broken up, and where that fails there is no label.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

from tells.config import EngineConfig, GenerationConfig
from tells.models.engines.base import Engine, Request
from tells.safety.classifiers import (
    Labels,
    LlamaGuardVariant,
    harmless,
    llama_guard_prompt,
    parse_llama_guard,
    parse_wildguard,
    wildguard_prompt,
)

logger = logging.getLogger(__name__)

GuardName = Literal["wildguard", "llama_guard"]
MAX_NEW_TOKENS = 32
CUT_MARK = "\n[…]\n"
_JOINER = "\N{ZERO WIDTH JOINER}"
_LONGEST_QUOTE = 60
_PROBE = ("What is tea?", "A drink.")
_OF_LLAMA_GUARD = "UNSAFE CONTENT CATEGORIES"


@dataclass(frozen=True)
class Verdict:
    """What a guard model made of one exchange.

    Attributes:
        labels: None where its answer cannot be read.
        text: what it wrote.
        shortened: a text was cut in the middle to fit the context.
        reason: why there are no labels; None where there are.
    """

    labels: Labels | None
    text: str
    shortened: bool
    reason: str | None = None


class GuardModel:
    """A guard model in an engine.

    Args:
        engine: has loaded the model.
        name: which form of prompt and answer.
        context: most tokens of prompt and answer together; by default what the model takes.

    Raises:
        ValueError: there is no such guard, or its context holds not even the empty form.
    """

    def __init__(self, engine: Engine, name: GuardName, *, context: int | None = None) -> None:
        self.engine, self.name = engine, name
        self._prompt, self._parse, self._form = _form_of(engine, name)
        self._control = _control_tokens(engine.tokenizer)
        most = context_of(engine)
        self._room = (most if context is None else min(most, context)) - MAX_NEW_TOKENS
        self._own = self._control_count(self._ids(self._prompt("", "")))
        if not self._fits(CUT_MARK * 2, CUT_MARK * 2, 0):
            raise ValueError(
                f"{name}: a context of {self._room + MAX_NEW_TOKENS} tokens is too short for its form; raise "
                "engine.max_model_len"
            )

    def facts(self) -> dict[str, Any]:
        """What metadata says: the guard, its form, and the engine."""
        return {"guard": self.name, "form": self._form, **self.engine.facts()}

    def classify(self, exchanges: Sequence[tuple[str, str]]) -> list[Verdict]:
        """Judge exchanges, equal ones once.

        Args:
            exchanges: [exchanges] prompt and reply.

        Returns:
            [exchanges] in the order given.
        """
        unique = {exchange: self._prepared(*exchange) for exchange in dict.fromkeys(exchanges)}
        asked = {exchange: ids for exchange, (ids, _) in unique.items() if ids is not None}
        settings = GenerationConfig(temperature=0, max_new_tokens=MAX_NEW_TOKENS)
        requests = [Request(tuple(ids), seed=0, greedy=True) for ids in asked.values()]
        texts = [run.text for run in self.engine.generate(requests, settings, top_logprobs=0)] if requests else []
        written = dict(zip(asked, texts, strict=True))
        verdicts = {
            exchange: self._verdict(written.get(exchange), shortened) for exchange, (_, shortened) in unique.items()
        }
        shortened = sum(verdict.shortened for verdict in verdicts.values())
        if shortened:
            logger.warning("%s: %d of %d exchanges did not fit and were shortened", self.name, shortened, len(verdicts))
        return [verdicts[exchange] for exchange in exchanges]

    def _verdict(self, text: str | None, shortened: bool) -> Verdict:
        if text is None:
            return Verdict(None, "", shortened, "the exchange holds control tokens of the guard that cannot be broken")
        labels = self._parse(text)
        if labels is not None:
            return Verdict(labels, text, shortened)
        line = " ".join(text.split())
        quote = line if len(line) <= _LONGEST_QUOTE else f"{line[:_LONGEST_QUOTE]}…"
        return Verdict(None, text, shortened, f"the guard's answer cannot be read: {quote!r}")

    def _prepared(self, prompt: str, reply: str) -> tuple[list[int] | None, bool]:
        """Token ids of an exchange, None where it cannot be asked about; and whether it was shortened."""
        longest = max(len(prompt), len(reply))
        kept = longest
        if not self._fits(prompt, reply, longest):
            kept, too_long = 0, longest
            while too_long - kept > 1:
                middle = (kept + too_long) // 2
                kept, too_long = (middle, too_long) if self._fits(prompt, reply, middle) else (kept, middle)
        ids = self._asked(prompt, reply, kept)
        return (ids if self._control_count(ids) == self._own else None), kept < longest

    def _fits(self, prompt: str, reply: str, kept: int) -> bool:
        return len(self._asked(prompt, reply, kept)) <= self._room

    def _asked(self, prompt: str, reply: str, kept: int) -> list[int]:
        texts = (self._broken(shorten(text, kept)) for text in (prompt, reply))
        return self._ids(self._prompt(*texts))

    def _broken(self, text: str) -> str:
        """The text, its control tokens split by a joiner where the form itself leaves them as they are."""
        for token in self._control.values():
            if len(token) > 1 and token in text and token in harmless(text):
                text = text.replace(token, f"{token[0]}{_JOINER}{token[1:]}")
        return text

    def _ids(self, text: str) -> list[int]:
        return self.engine.tokenizer(text, add_special_tokens=False)["input_ids"]

    def _control_count(self, ids: Sequence[int]) -> Counter[int]:
        return Counter(token for token in ids if token in self._control)


def open_guard(
    manifest: str | Path,
    name: GuardName,
    config: EngineConfig,
    *,
    gpu_memory_gb: float | None = None,
    threads: int | None = None,
    seed: int = 0,
) -> GuardModel:
    """Load a guard model in the engine that fits this machine; arguments and errors as `open_engine`."""
    from tells.models.engines import open_engine

    return GuardModel(open_engine(manifest, config, gpu_memory_gb=gpu_memory_gb, threads=threads, seed=seed), name)


def shorten(text: str, kept: int) -> str:
    """A text of at most `kept` characters and a mark, cut in the middle: its beginning and end say most about it."""
    if len(text) <= kept:
        return text
    head = (kept + 1) // 2
    return f"{text[:head]}{CUT_MARK}{text[len(text) - (kept - head) :]}"


def context_of(engine: Engine) -> int:
    """Most tokens of prompt and answer together that an engine's model takes."""
    facts = engine.facts()
    if "max_model_len" in facts:
        return int(facts["max_model_len"])
    return int(engine.loaded.model.config.max_position_embeddings)


def _form_of(engine: Engine, name: GuardName) -> tuple[Callable[[str, str], str], Callable[[str], Labels | None], str]:
    """How a guard is asked and read, and what metadata says of the form."""
    if name == "wildguard":
        return wildguard_prompt, parse_wildguard, "wildguard"
    if name == "llama_guard":
        variant, checked = llama_guard_variant(engine.tokenizer)
        form = f"llama-guard-3-{variant}, {'as in' if checked else 'not in'} the tokenizer"
        return partial(llama_guard_prompt, variant=variant), parse_llama_guard, form
    raise ValueError(f"there is no guard {name!r}: there are {', '.join(get_args(GuardName))}")


def llama_guard_variant(tokenizer: Any) -> tuple[LlamaGuardVariant, bool]:
    """Which of Llama Guard's forms a tokenizer's own chat template has.

    Returns:
        The variant, by the number of categories where the template is neither (the log warns) and 1b where there is
        none; and whether the template gives the very text that is asked here.
    """
    from jinja2 import TemplateError

    template = tokenizer.chat_template or ""
    if _OF_LLAMA_GUARD not in template:
        return "1b", False
    parts = "content['text']" in template or 'content["text"]' in template
    turns = [
        {"role": role, "content": [{"type": "text", "text": text}] if parts else text}
        for role, text in zip(("user", "assistant"), _PROBE, strict=True)
    ]
    try:
        own = tokenizer.apply_chat_template(turns, tokenize=False)
    except TemplateError as error:
        own = f"{type(error).__name__}: {error}"
    for variant in get_args(LlamaGuardVariant):
        if own == llama_guard_prompt(*_PROBE, variant=variant):
            return variant, True
    logger.warning("the model's own template differs from the form of Llama Guard 3 that it is asked in: %r", own)
    return ("8b" if "S14" in template else "1b"), False


def _control_tokens(tokenizer: Any) -> dict[int, str]:
    """Special tokens by id, but for the one that stands for unknown text."""
    added = {index: token.content for index, token in tokenizer.added_tokens_decoder.items() if token.special}
    named = dict(zip(tokenizer.all_special_ids, tokenizer.all_special_tokens, strict=True))
    return {index: token for index, token in {**added, **named}.items() if index != tokenizer.unk_token_id}
