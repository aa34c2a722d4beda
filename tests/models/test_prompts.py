from __future__ import annotations

import pytest

from tells.models.prompts import render_prompt
from tells.models.random_model import CHAT_TEMPLATE, byte_tokenizer

BOS = "<s>"
GEMMA_LIKE = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}"
    "{% endif %}{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
DROPS_THE_SYSTEM_TURN = (
    "{% for message in messages if message['role'] != 'system' %}<|{{ message['role'] }}|>{{ message['content'] }}"
    "<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
QWEN_LIKE = CHAT_TEMPLATE + (
    "{% if add_generation_prompt %}{% if enable_thinking is defined and enable_thinking is false %}"
    "<think>\n\n</think>\n\n{% else %}<think>\n{% endif %}{% endif %}"
)


def row(text: str = "What is 3 + 4?", *, shared_prefix: str = "", system_prompt: str | None = None) -> dict:
    return {"text": text, "shared_prefix": shared_prefix, "system_prompt": system_prompt}


def render(
    tokenizer, content: dict, *, prompt: str = "chat", think_end: str = "</think>", thinking: bool | None = None
):
    rendered = render_prompt(tokenizer, content, prompt=prompt, think_end=think_end, thinking=thinking)
    return tokenizer.decode(rendered.token_ids), rendered.opened


def tokenizer_that_adds_bos():
    from tokenizers.processors import TemplateProcessing

    tokenizer = byte_tokenizer()
    tokenizer.add_special_tokens({"bos_token": BOS})
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A {BOS} $B", special_tokens=[(BOS, tokenizer.bos_token_id)]
    )
    assert tokenizer("x")["input_ids"][0] == tokenizer.bos_token_id
    return tokenizer


def test_a_chat_prompt_is_the_template_with_the_turn_of_the_assistant_begun():
    text, opened = render(byte_tokenizer(), row(shared_prefix="Look: "))
    assert text == "<|user|>Look: What is 3 + 4?<|end|><|assistant|>"
    assert not opened


def test_the_tags_of_the_template_are_single_tokens():
    tokenizer = byte_tokenizer()
    ids = render_prompt(tokenizer, row("x"), prompt="chat", think_end="</think>", thinking=None).token_ids
    assert ids == tuple(tokenizer.convert_tokens_to_ids(["<|user|>", "x", "<|end|>", "<|assistant|>"]))


def test_a_system_prompt_is_a_turn_of_its_own_where_the_template_has_one():
    text, _ = render(byte_tokenizer(), row(system_prompt="Be brief."))
    assert text == "<|system|>Be brief.<|end|><|user|>What is 3 + 4?<|end|><|assistant|>"


@pytest.mark.parametrize("template", [GEMMA_LIKE, DROPS_THE_SYSTEM_TURN], ids=["raises", "drops"])
def test_a_system_prompt_joins_the_turn_of_the_user_where_the_template_has_none(template):
    tokenizer = tokenizer_that_adds_bos()
    tokenizer.chat_template = template
    text, _ = render(tokenizer, row(system_prompt="Be brief."))
    assert text.removeprefix(BOS) == "<|user|>Be brief.\n\nWhat is 3 + 4?<|end|><|assistant|>"


def test_an_empty_system_prompt_is_no_system_prompt():
    assert render(byte_tokenizer(), row(system_prompt=""))[0] == render(byte_tokenizer(), row())[0]


def test_a_template_with_bos_gives_exactly_one_from_a_tokenizer_that_adds_one_too():
    tokenizer = tokenizer_that_adds_bos()
    tokenizer.chat_template = GEMMA_LIKE
    ids = render_prompt(tokenizer, row(), prompt="chat", think_end="</think>", thinking=None).token_ids
    assert ids.count(tokenizer.bos_token_id) == 1
    assert ids[0] == tokenizer.bos_token_id


def test_a_completion_prompt_gets_the_bos_that_the_tokenizer_adds_once():
    tokenizer = tokenizer_that_adds_bos()
    ids = render_prompt(tokenizer, row(), prompt="completion", think_end="</think>", thinking=None).token_ids
    assert ids.count(tokenizer.bos_token_id) == 1
    assert ids[0] == tokenizer.bos_token_id


@pytest.mark.parametrize("prompt", ["chat", "completion"])
def test_a_tokenizer_that_adds_no_bos_gives_none(prompt):
    tokenizer = byte_tokenizer()
    tokenizer.add_special_tokens({"bos_token": BOS})
    ids = render_prompt(tokenizer, row(), prompt=prompt, think_end="</think>", thinking=None).token_ids
    assert tokenizer.bos_token_id not in ids


def test_a_completion_prompt_is_the_shared_prefix_and_the_text():
    text, opened = render(
        byte_tokenizer(), row("Question: 1 + 1?\n<think>", shared_prefix="A\n\n"), prompt="completion"
    )
    assert text == "A\n\nQuestion: 1 + 1?\n<think>"
    assert opened


@pytest.mark.parametrize(
    ("text", "think_end", "opened"),
    [
        ("Q\n<think>", "</think>", True),
        ("Q\n<think>\n", "</think>", True),
        ("Q\n<think>\n\n</think>\n\n", "</think>", False),
        ("Q", "</think>", False),
        ("Q\n<reason>", "</think>", False),
        ("Q\n<reason>", "</reason>", True),
    ],
)
def test_a_prompt_that_ends_in_the_opening_tag_has_opened_it(text, think_end, opened):
    assert render(byte_tokenizer(), row(text), prompt="completion", think_end=think_end)[1] is opened


@pytest.mark.parametrize(
    ("thinking", "end", "opened"),
    [(True, "<think>\n", True), (False, "<think>\n\n</think>\n\n", False), (None, "<think>\n", True)],
)
def test_the_thinking_switch_reaches_the_template(thinking, end, opened):
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = QWEN_LIKE
    text, seen = render(tokenizer, row(), thinking=thinking)
    assert text.endswith("<|assistant|>" + end)
    assert seen is opened


def test_the_thinking_switch_reaches_the_template_beside_a_system_prompt():
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = QWEN_LIKE
    assert render(tokenizer, row(system_prompt="S"), thinking=False)[0].endswith("</think>\n\n")


def test_a_chat_prompt_without_a_template_is_an_error_that_says_what_to_do():
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = None
    with pytest.raises(ValueError, match=r"no chat template; set `kind: base`.*config/models\.yaml"):
        render(tokenizer, row())
