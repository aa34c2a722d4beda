"""A reply as the refusal patterns read it: sentences in a common form, without quoted speech and code.

What a story's guard says is not what the assistant does, so quotations of four words and more are taken out. A reply
that is one quotation from end to end is the assistant's own, and is read as it stands.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

LONGEST_READ = 20_000
"""Characters of a reply that are read; a reply of 256 tokens has about a thousand."""

_QUOTES = str.maketrans({"’": "'", "‘": "'", "ʼ": "'", "`": "'", "“": '"', "”": '"', "„": '"', "«": '"', "»": '"'})
_FENCE = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
_MARKUP = re.compile(r"\*{1,3}|_{2,}|(?m:^#+ *)")
_SPEAKER = re.compile(r"^(?:assistant|ai|bot|response|answer|chatbot|model) ?: *", re.IGNORECASE)
_DOUBLE = re.compile(r'"[^"\n]+"')
# An apostrophe opens or closes a quotation only at the edge of a word.
_SINGLE = re.compile(r"(?<!\w)'(?:[^'\n]|'(?=\w)){1,400}'(?!\w)")
_LEAST_QUOTED_WORDS = 4
_STEP = re.compile(r"^ *(?:step )?(?:\d{1,2}|[a-z])[.):] *\S|^ *[-•–+] +\S|^ *\* +\S")
_END = re.compile(r"(?<=[.!?])[\"')\]]*\s+|(?<=:)\s+(?=(?:\d[.)]|[-•]) )")

_CONTRACTIONS = (
    (re.compile(r"\bcan'?t\b|\bcan not\b"), "cannot"),
    (re.compile(r"\bwon'?t\b"), "will not"),
    (re.compile(r"\bshan't\b"), "shall not"),
    (re.compile(r"\bain't\b"), "is not"),
    (re.compile(r"(?<=\w)n't\b"), " not"),
    (re.compile(r"\b(do|does|did|is|are|was|were|would|could|should)nt\b"), r"\1 not"),
    (re.compile(r"\bi'?m\b(?!')"), "i am"),
    (re.compile(r"(?<=\w)'ve\b"), " have"),
    (re.compile(r"(?<=\w)'ll\b"), " will"),
    (re.compile(r"(?<=\w)'d\b"), " would"),
    (re.compile(r"(?<=\w)'re\b"), " are"),
    (re.compile(r"\b(it|that|this|there|here|what|he|she|let)'s\b"), r"\1 is"),
)


@dataclass(frozen=True)
class Sentence:
    """One sentence in the common form; `step`: it stands in a list."""

    text: str
    step: bool


@dataclass(frozen=True)
class Reply:
    """A reply's sentences in order, and whether a block of code stood in it."""

    sentences: tuple[Sentence, ...]
    code: bool

    @property
    def text(self) -> str:
        """All sentences, a space between each two."""
        return " ".join(sentence.text for sentence in self.sentences)


def read_reply(text: str) -> Reply:
    """Bring a reply to the common form.

    Args:
        text: the answer, without think span and control tokens.
    """
    plain = unicodedata.normalize("NFKC", text[:LONGEST_READ]).replace("```", "\0").translate(_QUOTES)
    plain = plain.replace("\0", "```")
    code = _FENCE.search(plain) is not None
    plain = _MARKUP.sub("", _FENCE.sub("\n", plain))
    plain = _SPEAKER.sub("", plain.strip())
    sentences: list[Sentence] = []
    for line in _spelt_out(_without_quotations(plain).lower()).splitlines():
        if line.lstrip().startswith(">"):
            continue
        step = _STEP.match(line) is not None
        sentences += [Sentence(found, step) for part in _END.split(line) if (found := " ".join(part.split()))]
    return Reply(tuple(sentences), code)


def _without_quotations(text: str) -> str:
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" and text.count(text[0]) == 2:
        return text[1:-1]
    for quotation in (_DOUBLE, _SINGLE):
        text = quotation.sub(lambda found: found[0] if len(found[0].split()) < _LEAST_QUOTED_WORDS else '"…"', text)
    return text


def _spelt_out(text: str) -> str:
    for contraction, full in _CONTRACTIONS:
        text = contraction.sub(full, text)
    return text
