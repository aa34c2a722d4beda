"""What the safety page shows, as its address says it, and the words for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

PAGE = "safety"
UNLABELLED = "unlabelled"
NO_CATEGORY = "(none)"
CELLS = ("confident_refusal", "uncertain_refusal", "confident_compliance", "uncertain_compliance")
NO_CELL = "none"
KINDS = ("mean", "lowest", "bottom", "tail")


@dataclass(frozen=True)
class Chosen:
    """What the page shows; an empty text is no choice.

    Attributes:
        experiment: its name.
        benchmark: whose prompts; empty for the first.
        label: of the prompts.
        category: of the prompts, the benchmark's own; `(none)` for those without one.
        kind: which confidence the distributions show; empty for the one that the cells are cut by.
        along: what separates the lines of the evolution along the trace.
        tokens: read the tokens of every trace for that evolution, however many they are.
        cell: of the listed traces; `none` for those without one.
        harm: of the listed traces.
        find: words in the id or the text of the listed prompts.
        prompt: the prompt that is opened, as benchmark/prompt_id.
        every: show all traces of the opened prompt, however many they are.
    """

    experiment: str = ""
    benchmark: str = ""
    label: Literal["", "harmful", "benign", "unlabelled"] = ""
    category: str = ""
    kind: Literal["", "mean", "lowest", "bottom", "tail"] = ""
    along: Literal["refusal", "label"] = "refusal"
    tokens: bool = False
    cell: Literal[
        "", "confident_refusal", "uncertain_refusal", "confident_compliance", "uncertain_compliance", "none"
    ] = ""
    harm: Literal["", "harmful", "unharmful", "unscored"] = ""
    find: str = ""
    prompt: str = ""
    every: bool = False


def part_name(state: Chosen) -> str:
    """The benchmark and what the filters leave of it, for titles."""
    words = [state.benchmark]
    if state.label:
        words.append(f"{state.label} prompts")
    if state.category:
        words.append(f"category {state.category}")
    return ", ".join(words)


def cell_name(cell: str | None) -> str:
    """A cell in words; a dash for none."""
    return "–" if cell is None else cell.replace("_", " ")
