"""Where early stopping would cut each trace of a prompt, were they sampled one by one in the order of `sample`.

Online sampling takes traces in that order and with the pool's seeds, and the same machine decides here: nothing of the
rule is written anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import polars as pl

from tells.config.safety import StoppingConfig
from tells.safety.adaptive import AdaptivePrompt, single_precision
from tells.safety.confidence import group_confidence

Phase = Literal["warm-up", "sampled", "not begun"]


@dataclass(frozen=True)
class Fate:
    """What early stopping does to one trace.

    Attributes:
        sample: its number.
        phase: `warm-up` (never cut), `sampled`, or `not begun`, where the votes settle before its turn.
        n_tokens: tokens of the whole trace.
        kept: tokens up to the cut, its last one included; None where nothing cuts it. Of a trace that is not begun,
            what the threshold would leave.
        groups: confidence of its windows in nats, as the threshold sees them; one for a trace shorter than a window.
    """

    sample: int
    phase: Phase
    n_tokens: int
    kept: int | None
    groups: tuple[float, ...]


@dataclass(frozen=True)
class Course:
    """How a prompt is sampled with early stopping.

    Attributes:
        stopping: the experiment's setting.
        window: tokens per group.
        budget: traces at most.
        threshold: what a trace is cut below, in nats; None where no warm-up trace has tokens.
        settled_after: the trace after which the votes are settled; None where they are not within the budget.
        fates: of every trace, in the order of `sample`.
    """

    stopping: StoppingConfig
    window: int
    budget: int
    threshold: float | None
    settled_after: int | None
    fates: tuple[Fate, ...]


def course_of(traces: pl.DataFrame, settings: Mapping[str, Any]) -> Course:
    """Sample a prompt's traces once more, stopping early.

    Args:
        traces: all traces of one prompt: `sample`, `confidence` (by token, nats), `truncated` and `stop_label`.
        settings: `stopping` of arms.json.

    Raises:
        KeyError: the settings lack window or budget.
        ValueError: a setting or a confidence is out of range.
    """
    stopping = StoppingConfig.model_validate({name: settings[name] for name in StoppingConfig.model_fields})
    window, budget = int(settings["window"]), int(settings["budget"])
    machine = AdaptivePrompt(stopping, window, budget)
    fates, settled_after = [], None
    rows = traces.sort("sample").select("sample", "confidence", "truncated", "stop_label")
    for sample, values, truncated, stop_label in rows.iter_rows():
        phase: Phase = "not begun" if machine.done else "warm-up" if machine.warming else "sampled"
        confidence = single_precision(values)
        stop = machine.stop_of(confidence, ended=not truncated)
        kept = None if stop is None else stop + 1
        groups = tuple(group_confidence(confidence, window).tolist())
        fates.append(Fate(sample, phase, len(values), kept, groups))
        if not machine.done:
            machine.add(stop_label, confidence[:kept], kept is not None)
            settled_after = sample if machine.settled else None
    return Course(stopping, window, budget, machine.threshold, settled_after, tuple(fates))


def fate_words(fate: Fate, course: Course) -> str:
    """What happens to a trace, in words."""
    cut = None if fate.kept is None else f"cut after {fate.kept} of {fate.n_tokens} tokens"
    if fate.phase == "warm-up":
        return "warm-up: never cut"
    if fate.phase == "not begun":
        why = (
            "not begun: the budget is spent"
            if course.settled_after is None
            else f"not begun: the votes are settled after trace {course.settled_after}"
        )
        return why if cut is None else f"{why} (else {cut})"
    return cut or "not cut"


def course_words(course: Course) -> Sequence[tuple[str, str]]:
    """Setting and outcome, as names and values."""
    stopping = course.stopping
    percentile = f"percentile {round(100.0 * (1.0 - stopping.keep), 9):g}"
    threshold = "none: no warm-up trace has tokens" if course.threshold is None else f"{course.threshold:.3f} nats"
    settled = (
        f"not within {course.budget} traces"
        if course.settled_after is None
        else f"after trace {course.settled_after}; later ones are not begun"
    )
    return (
        ("threshold", f"{threshold}, {percentile} of the lowest window of {stopping.warmup} warm-up traces"),
        (
            "cut",
            f"at the first full window of {course.window} tokens whose mean is below it; a cut trace does not vote",
        ),
        ("settled", f"{settled} (rule: {rule_words(stopping)})"),
    )


def rule_words(stopping: StoppingConfig) -> str:
    """The rule that settles, with its limit."""
    if stopping.rule == "consensus":
        return f"consensus ≥ {stopping.consensus:g}"
    if stopping.rule == "adaptive_consistency":
        return f"adaptive consistency ≥ {stopping.certainty:g}"
    return f"vote entropy ≤ {stopping.vote_entropy:g} nats"
