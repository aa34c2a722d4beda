"""Where the think span, its closing tag and the answer lie in a run, in tokens.

Positions are named after text and found through text: the token of a position is the one that holds the last
character of what it is named after. Nothing is decoded and encoded again; offsets come from decoding the stored ids
one by one. Needs no torch.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

RESPONSE_WINDOW = re.compile(r"response(?:\[:(\d+)\])?")


@dataclass(frozen=True)
class Spans:
    """Token spans of one run, half-open, counted in generated tokens; None where the run does not have them.

    `think` ends before the closing tag, `tag_last` is the last token of the tag, `answer` ends before EOS or the stop
    string.
    """

    think: tuple[int, int] | None
    tag_last: int | None
    answer: tuple[int, int] | None


def window_tokens(window: str) -> int | None:
    """N of the window response[:N]; None for a window of another kind, which has no such limit."""
    match = RESPONSE_WINDOW.fullmatch(window)
    return int(match[1]) if match and match[1] else None


def decode_tokens(tokenizer: Any, token_ids: Sequence[int]) -> tuple[str, list[int]]:
    """Text of `token_ids` without special tokens, and how many characters of it stand after each token.

    A character of several tokens belongs to the token that completes it.

    Args:
        tokenizer: a fast tokenizer of transformers.
        token_ids: [tokens] generated ids.

    Returns:
        The text, and [tokens] cumulative character counts.
    """
    from tokenizers.decoders import DecodeStream

    stream = DecodeStream(skip_special_tokens=True)
    backend = tokenizer.backend_tokenizer
    pieces: list[str] = []
    ends: list[int] = []
    length = 0
    for token_id in token_ids:
        piece = stream.step(backend, int(token_id)) or ""
        pieces.append(piece)
        length += len(piece)
        ends.append(length)
    return "".join(pieces), ends


def find_spans(text: str, ends: Sequence[int], *, text_length: int, think_end: str, opened: bool = True) -> Spans:
    """Locate the spans of one run.

    Args:
        text: everything that was generated, the stop string included.
        ends: [tokens] characters of `text` after each token.
        text_length: characters of `text` before EOS or the stop string.
        think_end: the tag that closes the think span.
        opened: the prompt opened the tag; otherwise a think span starts with its opening tag or, where only the
            closing tag is there, with the run, and a run with neither tag is answer from its first token.

    Returns:
        The spans. A run cut before the tag has a think span and nothing else.
    """
    kept = text[:text_length]
    tag_start = kept.find(think_end)
    think_begin = _opening(kept, think_end, opened)
    if tag_start < 0:
        if opened or think_begin is not None:
            return Spans(_tokens(think_begin or 0, text_length, ends), None, None)
        return Spans(None, None, _tokens(0, text_length, ends))
    tag_stop = tag_start + len(think_end)
    answer_start = tag_stop + len(kept[tag_stop:]) - len(kept[tag_stop:].lstrip())
    answer_stop = answer_start + len(kept[answer_start:].rstrip())
    tag_last = _holder(tag_stop - 1, ends)
    answer = _tokens(answer_start, answer_stop, ends)
    if answer is not None and answer[0] <= tag_last:
        answer = (tag_last + 1, answer[1]) if answer[1] > tag_last + 1 else None
    return Spans(_tokens(think_begin or 0, tag_start, ends), tag_last, answer)


def _opening(text: str, think_end: str, opened: bool) -> int | None:
    opening = think_end.replace("/", "", 1)
    at = text.find(opening)
    if at >= 0 and not text[:at].strip():
        return at + len(opening)
    return 0 if opened else None


def _holder(character: int, ends: Sequence[int]) -> int:
    return next(index for index, end in enumerate(ends) if end > character)


def _tokens(start: int, stop: int, ends: Sequence[int]) -> tuple[int, int] | None:
    if stop <= start:
        return None
    return _holder(start, ends), _holder(stop - 1, ends) + 1
