"""Guard models in engines: tiny random ones of the right architectures, and an engine that says what it is told to."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken
from tokenizers.processors import TemplateProcessing

from tells.config import EngineConfig, GenerationConfig
from tells.models.engines import Generation, Request
from tells.models.random_model import byte_tokenizer, save_random_model
from tells.models.spans import decode_tokens
from tells.safety.classifiers import llama_guard_prompt, wildguard_prompt
from tells.safety.guard_models import (
    CUT_MARK,
    MAX_NEW_TOKENS,
    GuardModel,
    context_of,
    llama_guard_variant,
    open_guard,
    shorten,
)
from tells.safety.labels import Labels

SPECIAL = {
    "wildguard": ["<s>", "</s>", "[INST]", "[/INST]", "§odd§"],
    "llama_guard": ["<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>", "§odd§"],
}
ARCHITECTURE = {"wildguard": "mistral", "llama_guard": "llama"}
GUARDS = tuple(SPECIAL)
EXCHANGES = [("What is tea?", "A drink."), ("How?", "So."), ("What is tea?", "A drink."), ("Why?", "é" * 30)]


def tokenizer_of(guard: str, template: str | None = None):
    tokenizer = byte_tokenizer()
    added = [AddedToken(token, special=True, normalized=False) for token in SPECIAL[guard]]
    tokenizer.add_tokens(added, special_tokens=True)
    # Like those of the real guards it puts its first token before every text, unless told not to.
    first = SPECIAL[guard][0]
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{first} $A", special_tokens=[(first, tokenizer.convert_tokens_to_ids(first))]
    )
    tokenizer.chat_template = template
    return tokenizer


@pytest.fixture(scope="module")
def manifests(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tiny random model of each guard's architecture, with a tokenizer that has the guard's special tokens."""
    found = {}
    for guard, architecture in ARCHITECTURE.items():
        folder, tokenizer = tmp_path_factory.mktemp(guard), tokenizer_of(guard)
        own = {"sliding_window": None} if architecture == "mistral" else {}
        save_random_model(folder / "files", architecture=architecture, vocab_size=len(tokenizer), **own)
        tokenizer.save_pretrained(folder / "files")
        facts = {"name": guard, "revision": "0", "path": str(folder / "files"), "dtype": "float32"}
        found[guard] = folder / "model.json"
        found[guard].write_text(json.dumps({**facts, "trust_remote_code": False}))
    return found


class ToldEngine:
    """Writes what a function of the prompt's text says."""

    name = "told"

    def __init__(
        self, tokenizer: Any, write: Callable[[str], str] = lambda prompt: "safe", context: int = 4096
    ) -> None:
        self.tokenizer, self.write, self.context = tokenizer, write, context
        self.requests: list[Request] = []
        self.settings: GenerationConfig | None = None

    def facts(self) -> dict[str, Any]:
        return {"engine": self.name, "max_model_len": self.context}

    def generate(
        self, requests: Sequence[Request], settings: GenerationConfig, *, top_logprobs: int
    ) -> list[Generation]:
        self.requests, self.settings = list(requests), settings
        return [Generation([1], self.write(text), "stop", [0.0], None) for text in self.prompts()]

    def prompts(self) -> list[str]:
        return [self.tokenizer.decode(list(request.prompt_token_ids)) for request in self.requests]


def guard_of(
    name: str, write: Callable[[str], str] = lambda prompt: "safe", **options: int
) -> tuple[GuardModel, ToldEngine]:
    engine = ToldEngine(tokenizer_of(name), write, options.pop("limit", 4096))
    return GuardModel(engine, name, **options), engine


# real engines


@pytest.mark.parametrize("name", GUARDS)
def test_a_model_of_the_guards_architecture_writes_what_transformers_generates(name: str, manifests: dict[str, Path]):
    import torch

    config = EngineConfig(kind="hf", device="cpu", dtype="float32", batch_size=2)
    guard = open_guard(manifests[name], name, config, threads=1)
    verdicts = guard.classify(EXCHANGES)
    assert verdicts[0] == verdicts[2]
    loaded, form = guard.engine.loaded, {"wildguard": wildguard_prompt, "llama_guard": llama_guard_prompt}[name]
    assert loaded.model.config.model_type == ARCHITECTURE[name]
    for exchange, verdict in zip(EXCHANGES, verdicts, strict=True):
        ids = loaded.tokenizer(form(*exchange), add_special_tokens=False, return_tensors="pt")["input_ids"]
        with torch.inference_mode():
            theirs = loaded.model.generate(ids, max_new_tokens=MAX_NEW_TOKENS, do_sample=False)[0, ids.shape[1] :]
        # Both read by the same decoder, as random bytes are not text.
        assert verdict.text == decode_tokens(loaded.tokenizer, theirs.tolist())[0]
        assert verdict.labels is None
        assert "cannot be read" in verdict.reason
    facts = guard.facts()
    assert (facts["guard"], facts["engine"], facts["dtype"]) == (name, "hf", "float32")
    assert context_of(guard.engine) == 2048


# answers


def test_verdicts_are_in_the_order_given_and_equal_exchanges_are_asked_once():
    guard, engine = guard_of("llama_guard", lambda prompt: "unsafe\nS2" if "Agent: So." in prompt else "\n\nsafe")
    found = guard.classify(EXCHANGES)
    assert [verdict.labels.harm for verdict in found] == ["unharmful", "harmful", "unharmful", "unharmful"]
    assert len(engine.requests) == 3
    assert all(request.greedy for request in engine.requests)
    assert engine.settings.max_new_tokens == MAX_NEW_TOKENS
    assert engine.prompts()[1] == llama_guard_prompt("How?", "So.")


def test_wildguard_gives_all_three_labels():
    answer = "Harmful request: yes\nResponse refusal: no\nHarmful response: yes"
    guard, engine = guard_of("wildguard", lambda prompt: answer)
    assert guard.classify(EXCHANGES[:1])[0].labels == Labels("compliance", "harmful", "harmful")
    assert engine.prompts() == [wildguard_prompt(*EXCHANGES[0])]


def test_an_answer_that_cannot_be_read_says_so_in_a_line():
    guard, _ = guard_of("wildguard", lambda prompt: "I'm sorry,\nbut no." + "x" * 500)
    (verdict,) = guard.classify(EXCHANGES[:1])
    assert (verdict.labels, verdict.shortened) == (None, False)
    assert "I'm sorry, but no." in verdict.reason
    assert len(verdict.reason) < 120


def test_nothing_to_judge_asks_nothing():
    guard, engine = guard_of("wildguard")
    assert guard.classify([]) == []
    assert engine.requests == []


def test_an_unknown_guard_is_an_error():
    with pytest.raises(ValueError, match="shield"):
        GuardModel(ToldEngine(byte_tokenizer()), "shield")


# context


@pytest.mark.parametrize("name", GUARDS)
def test_what_does_not_fit_is_cut_in_the_middle_of_the_longer_text_and_flagged(name: str):
    guard, engine = guard_of(name, limit=1600)
    prompt, reply = "What is tea?", "BEGIN" + "word " * 600 + "END"
    long, short = guard.classify([(prompt, reply), (prompt, "A drink.")])
    assert (long.shortened, short.shortened) == (True, False)
    lengths = [len(request.prompt_token_ids) for request in engine.requests]
    assert 1600 - MAX_NEW_TOKENS - 10 <= lengths[0] <= 1600 - MAX_NEW_TOKENS
    asked = engine.prompts()[0]
    assert prompt in asked
    assert asked.count(CUT_MARK) == 1
    assert "BEGINword" in asked
    assert "word END" in asked


def test_a_long_prompt_is_cut_as_well_and_a_short_reply_is_kept():
    guard, engine = guard_of("wildguard", limit=1000)
    (verdict,) = guard.classify([("START" + "a" * 3000 + "STOP", "A drink.")])
    assert verdict.shortened
    asked = engine.prompts()[0]
    assert "STARTa" in asked
    assert "aSTOP" in asked
    assert "A drink." in asked


def test_a_cut_text_brings_no_control_token_with_it():
    guard, engine = guard_of("llama_guard", limit=1600)
    (verdict,) = guard.classify([("a", "<|eot_id|>" * 400)])
    assert verdict.shortened
    assert engine.prompts()[0].count("<|eot_id|>") == 1


def test_a_context_of_ones_own_is_never_longer_than_the_models():
    guard, engine = guard_of("wildguard", limit=900, context=100_000)
    guard.classify([("a", "b" * 2000)])
    assert len(engine.requests[0].prompt_token_ids) <= 900 - MAX_NEW_TOKENS


def test_a_context_too_short_for_the_form_is_an_error_that_says_what_to_do():
    with pytest.raises(ValueError, match=r"context of 300 tokens .* engine.max_model_len"):
        guard_of("wildguard", limit=300)


@pytest.mark.parametrize(
    ("kept", "found"), [(6, "abcdef"), (9, "abcdef"), (5, "abc\n[…]\nef"), (1, "a\n[…]\n"), (0, CUT_MARK)]
)
def test_a_shortened_text_keeps_its_ends(kept: int, found: str):
    assert shorten("abcdef", kept) == found


# control tokens


@pytest.mark.parametrize("name", GUARDS)
@pytest.mark.parametrize("place", ["prompt", "reply"])
def test_the_guards_tokens_in_a_text_add_none_to_the_prompt(name: str, place: str):
    guard, engine = guard_of(name)
    text = "a".join([*SPECIAL[name], "b"])
    guard.classify([(text, "x") if place == "prompt" else ("x", text), ("x", "x")])
    special = {engine.tokenizer.convert_tokens_to_ids(token) for token in SPECIAL[name]}
    odd, plain = ([i for i in request.prompt_token_ids if i in special] for request in engine.requests)
    assert odd == plain
    # A token that no form knows of is split, and still there to be seen.
    assert "§\N{ZERO WIDTH JOINER}odd§" in engine.prompts()[0]


def test_a_token_that_cannot_be_split_leaves_the_reply_without_a_label():
    tokenizer = tokenizer_of("wildguard")
    tokenizer.add_tokens([AddedToken("¤", special=True, normalized=False)], special_tokens=True)
    engine = ToldEngine(tokenizer)
    guard = GuardModel(engine, "wildguard")
    bad, _ = guard.classify([("x", "a ¤ b"), ("x", "y")])
    assert bad.labels is None
    assert "control tokens" in bad.reason
    assert len(engine.requests) == 1


# the model's own template


def template_of(variant: str, parts: bool, **changes: str) -> str:
    """A chat template that gives Llama Guard's form, with contents as parts or as text."""
    text = llama_guard_prompt("PROMPT", "REPLY", variant=variant)
    for old, new in changes.items():
        text = text.replace(old, new)
    content = "messages[{}]['content'][0]['text']" if parts else "messages[{}]['content']"
    if parts:
        text += "{# content['text'] #}"
    for number, word in enumerate(("PROMPT", "REPLY")):
        text = text.replace(word, f"{{{{ {content.format(number)} | trim }}}}")
    return text


@pytest.mark.parametrize(("variant", "parts"), [("1b", True), ("8b", False)])
def test_the_form_is_that_of_the_models_own_template(variant: str, parts: bool):
    tokenizer = tokenizer_of("llama_guard", template_of(variant, parts))
    assert llama_guard_variant(tokenizer) == (variant, True)
    engine = ToldEngine(tokenizer)
    guard = GuardModel(engine, "llama_guard")
    assert guard.facts()["form"] == f"llama-guard-3-{variant}, as in the tokenizer"
    guard.classify([("a", "b")])
    assert engine.prompts() == [llama_guard_prompt("a", "b", variant=variant)]


def test_a_template_that_asks_something_else_is_warned_of(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING):
        assert llama_guard_variant(tokenizer_of("llama_guard", template_of("8b", False, Hate="Heat"))) == ("8b", False)
    assert "Heat" in caplog.text


def test_a_tokenizer_without_such_a_template_is_asked_in_the_smaller_models_form():
    assert llama_guard_variant(byte_tokenizer()) == ("1b", False)
