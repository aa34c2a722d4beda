"""From a row of the prompts table to the token ids the model is given.

Chat models get the tokenizer's own template; completion models get text. Which one is said in the model's entry, never
guessed. A prompt gets as many beginning-of-sequence tokens as the tokenizer itself adds, never two.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tells.startup import starting_up
from tells.tables.files import read_json


@dataclass(frozen=True)
class RenderedPrompt:
    """Token ids of a prompt, and whether it ends inside an open think tag."""

    token_ids: tuple[int, ...]
    opened: bool


def load_tokenizer(manifest: str | Path) -> Any:
    """The tokenizer of a model that lies ready, without its weights."""
    with starting_up():
        from tells.models.transformers_parts import AutoTokenizer

        facts = read_json(manifest)
        return AutoTokenizer.from_pretrained(facts["path"], trust_remote_code=bool(facts["trust_remote_code"]))


def render_prompt(
    tokenizer: Any, row: Mapping[str, Any], *, prompt: str, think_end: str, thinking: bool | None
) -> RenderedPrompt:
    """Render one row.

    Args:
        tokenizer: the model's tokenizer.
        row: `text`, `shared_prefix` and `system_prompt` of the prompts table.
        prompt: `chat` or `completion`.
        think_end: the tag that closes a think span; its opening form tells whether the prompt opens it.
        thinking: passed to a template that has the switch `enable_thinking`; None where it has not.

    Raises:
        ValueError: a chat prompt is asked of a tokenizer without a template.
    """
    if prompt == "completion":
        text = "".join(part for part in (row["system_prompt"], row["shared_prefix"], row["text"]) if part)
        token_ids = tokenizer(text, add_special_tokens=True)["input_ids"]
    else:
        text = _chat_text(tokenizer, row, thinking)
        token_ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    return RenderedPrompt(tuple(token_ids), text.rstrip().endswith(think_end.replace("/", "", 1)))


def _chat_text(tokenizer: Any, row: Mapping[str, Any], thinking: bool | None) -> str:
    if tokenizer.chat_template is None:
        raise ValueError("the tokenizer has no chat template; set `kind: base` for this model in config/models.yaml")
    switch = {} if thinking is None else {"enable_thinking": thinking}
    user = {"role": "user", "content": row["shared_prefix"] + row["text"]}
    system = row["system_prompt"]
    if not system:
        return tokenizer.apply_chat_template([user], tokenize=False, add_generation_prompt=True, **switch)
    messages = [{"role": "system", "content": system}, user]
    if not _has_system_role(tokenizer):
        messages = [{"role": "user", "content": f"{system}\n\n{user['content']}"}]
    return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, **switch)


def _has_system_role(tokenizer: Any) -> bool:
    """Whether the template shows a system message (some refuse it, some drop it silently)."""
    from jinja2 import TemplateError

    probe = [{"role": "system", "content": "tells-probe"}, {"role": "user", "content": "x"}]
    try:
        return "tells-probe" in tokenizer.apply_chat_template(probe, tokenize=False)
    except TemplateError:
        return False
