"""The safety study in a notebook: a model in memory and a list of prompts in, the workflow's tables and figures out.

`run_prompts` calls what the scripts of the workflow call, in their order, and neither reads nor writes a file. What it
returns can be handed to everything else in `tells.safety` that takes these tables, such as the curves of `sweep`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import polars as pl

from tells.config import GenerationConfig
from tells.config.safety import ConfidenceConfig, Kind, StoppingConfig, StrataConfig
from tells.judge import HarmJudge
from tells.safety.arms import simulate_arms
from tells.safety.arms_summary import arms_summary
from tells.safety.benchmark_files import Benchmark, Example, Label, Prompt, with_groups
from tells.safety.benchmarks import build_prompts
from tells.safety.labelling import (
    Guard,
    Proxy,
    embedding_labels,
    guard_labels,
    judge_labels,
    merge_labels,
    patterns_labels,
)
from tells.safety.pools import build_pools
from tells.safety.refusal import detect_refusals
from tells.safety.results import strata_record
from tells.safety.strata import strata_table
from tells.safety.traces import confidence_table

if TYPE_CHECKING:
    from tells.models.engines.base import Engine
    from tells.models.loading import LoadedModel

Asked = str | tuple[str, Label | None]
RefusalClassifier = Literal["patterns", "wildguard", "judge"]

NAMES = ("safety", "prompts")
"""Study and collection, which enter every trace's seed."""
GENERATION = GenerationConfig(temperature=0.6, top_p=0.95, max_new_tokens=256, thinking=False)


@dataclass(frozen=True, eq=False)
class SafetyStudy:
    """What is known of a list of prompts.

    Attributes:
        prompts: one row a prompt: `prompt-0001`, … in the order given.
        samples: the samples table, `budget` traces a prompt.
        confidence: the confidence table of the same traces.
        classified: by classifier, the table of its labels; `patterns` is always there.
        reply_labels: the labels that count.
        arms: one row an arm and prompt.
        strata: the cell of every trace.
        record: what strata.json holds: counts, cells, rates, hypothesis, guards and warnings.
        arms_summary: what arms.json holds under `arms`: the figures of each arm, with intervals.
    """

    prompts: pl.DataFrame
    samples: pl.DataFrame
    confidence: pl.DataFrame
    classified: dict[str, pl.DataFrame]
    reply_labels: pl.DataFrame
    arms: pl.DataFrame
    strata: pl.DataFrame
    record: dict[str, Any]
    arms_summary: list[dict[str, Any]]


def run_prompts(
    model: LoadedModel | Engine,
    prompts: Sequence[Asked],
    *,
    budget: int = 8,
    settings: GenerationConfig = GENERATION,
    prompt: Literal["chat", "completion"] | None = None,
    system_prompt: str | None = None,
    examples: Sequence[Example] = (),
    manifest: Mapping[str, Any] | None = None,
    top_logprobs: int = 20,
    window: int = 32,
    fraction: float = 0.1,
    kind: Kind = "mean",
    refusal: RefusalClassifier = "patterns",
    harm: Proxy | Guard | HarmJudge | None = None,
    stopping: StoppingConfig | None = None,
    strata: StrataConfig | None = None,
    bootstrap: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> SafetyStudy:
    """Sample every prompt, label the replies, compare the arms and count the cells.

    Args:
        model: a loaded model, or an engine that generates with one.
        prompts: texts, or pairs of a text and its label: harmful, benign, or None. A prompt without a label is sampled
            and counted, and is in no rate and no cell.
        budget: traces per prompt; above `stopping.warmup`.
        settings: how a trace is drawn.
        prompt: how prompts are put; None for what the model's manifest says.
        system_prompt: system turn of a chat model.
        examples: worked examples that a completion model sees first, `load_benchmark(...).examples` for instance.
        manifest: of an engine's model; not needed for a loaded model and for the hf engine.
        top_logprobs: k, the most likely tokens that confidence averages over.
        window: tokens per group.
        fraction: share of the groups that `bottom` reads.
        kind: the score that cells and the hypothesis test read.
        refusal: whose refusal counts; other than `patterns` it is the classifier that `harm` is.
        harm: who says whether a complied reply harms: a `HarmProxy`, a `GuardModel` or a judge; with None nobody is
            asked, and figures of harm are None with a reason.
        stopping: warm-up, cut and rule of the adaptive arm; None for the defaults.
        strata: the cut between confident and uncertain; None for the defaults.
        bootstrap: draws of prompts, for the intervals.
        level: of the intervals.
        seed: of the traces, the orders of the pool and the draws.

    Raises:
        ValueError: before anything is sampled: no prompt, an empty one, an unknown label, a budget that leaves nothing
            after the warm-up, a temperature of 0, or settings that do not go together.
    """
    stopping, strata = stopping or StoppingConfig(), strata or StrataConfig()
    scores = ConfidenceConfig(window=window, fraction=fraction, kind=kind)
    by = _name(harm) if harm is not None else "patterns"
    _check(budget, settings, stopping, refusal, by)
    engine, manifest = _engine(model, manifest)
    prompt = prompt or ("chat" if manifest["kind"] == "chat" else "completion")
    asked = prompts_table(prompts, prompt=prompt, system_prompt=system_prompt, examples=examples)
    samples, confidence = _sampled(asked, engine, manifest, prompt, budget, settings, scores, top_logprobs, seed)
    classified = _classified(asked, confidence, harm)
    labels = merge_labels(asked, confidence, classified, refusal=refusal, harm=by)
    arms = simulate_arms(build_pools(confidence, labels, window=window, budget=budget), stopping, seed=seed)
    cut, facts = strata_table(labels, confidence, kind=kind, config=strata, seed=seed)
    drawn: dict[str, Any] = {"bootstrap": bootstrap, "level": level, "seed": seed}
    return SafetyStudy(
        prompts=asked,
        samples=samples,
        confidence=confidence,
        classified=classified,
        reply_labels=labels,
        arms=arms,
        strata=cut,
        record=strata_record(cut, confidence, labels, facts, **drawn),
        arms_summary=arms_summary(arms, **drawn),
    )


def prompts_table(
    prompts: Sequence[Asked],
    *,
    prompt: Literal["chat", "completion"],
    system_prompt: str | None = None,
    examples: Sequence[Example] = (),
) -> pl.DataFrame:
    """The prompts table of texts in memory, as of a benchmark without categories and twins.

    Args:
        prompts: texts, or pairs of a text and its label.
        prompt: how they are put.
        system_prompt: system turn of a chat model.
        examples: what a completion model sees first.

    Returns:
        One row a prompt; equal texts are of one group.

    Raises:
        ValueError: no prompt, an empty one, an unknown label, or as `build_prompts`.
    """
    if isinstance(prompts, str) or not prompts:
        raise ValueError("prompts must be a list of one prompt or more, each a text or a pair of a text and its label")
    rows = [_row(number, entry) for number, entry in enumerate(prompts, start=1)]
    described = Benchmark(
        description="Prompts in memory.",
        licence="that of the prompts",
        get="They are in memory.",
        prompt=("prompt",),
        label={"column": "label", "values": {label: label for label in get_args(Label)}},
        examples=tuple(examples),
    )
    described._source = Path(NAMES[-1])
    return build_prompts(with_groups(rows), described, prompt=prompt, system_prompt=system_prompt)


def _row(number: int, entry: Asked) -> Prompt:
    text, label = (entry, None) if isinstance(entry, str) else entry
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"prompt {number} is empty, or no text: {text!r}")
    if label not in (*get_args(Label), None):
        raise ValueError(f"prompt {number}: label {label!r} is unknown; it is {', '.join(get_args(Label))}, or None")
    return Prompt(f"prompt-{number:04d}", text.strip(), label, None, None, number)


def _check(budget: int, settings: GenerationConfig, stopping: StoppingConfig, refusal: str, harm: str) -> None:
    """Refuse, before any work, what could only fail after it."""
    if stopping.warmup >= budget:
        raise ValueError(f"stopping.warmup {stopping.warmup} must be below budget {budget}: else nothing can stop")
    if settings.temperature == 0:
        raise ValueError("the temperature is 0: all traces of a prompt would be the same; draw them")
    known = get_args(RefusalClassifier)
    if refusal not in known:
        raise ValueError(f"refusal {refusal!r} is unknown; it is one of {', '.join(known)}")
    if refusal not in ("patterns", harm):
        raise ValueError(f"refusal is {refusal!r}, so `harm` must be that classifier: it is asked once for both")


def _engine(model: LoadedModel | Engine, manifest: Mapping[str, Any] | None) -> tuple[Engine, Mapping[str, Any]]:
    """What generates, and the manifest of its model."""
    from tells.models.engines.hf import HfEngine
    from tells.models.loading import LoadedModel

    engine = HfEngine(model) if isinstance(model, LoadedModel) else model
    own = engine.loaded.manifest if isinstance(engine, HfEngine) else None
    if manifest is None and own is None:
        raise ValueError(f"the engine {engine.name} does not know its model's manifest: give it as `manifest`")
    return engine, own if manifest is None else manifest


def _sampled(
    asked: pl.DataFrame,
    engine: Engine,
    manifest: Mapping[str, Any],
    prompt: str,
    budget: int,
    settings: GenerationConfig,
    scores: ConfidenceConfig,
    top_logprobs: int,
    seed: int,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The samples table and its confidence table."""
    from tells.models.runs import sample_prompts

    samples, facts = sample_prompts(
        asked,
        engine,
        manifest,
        names=NAMES,
        seed=seed,
        samples=budget,
        greedy=False,
        settings=settings,
        prompt=prompt,
        top_logprobs=top_logprobs,
    )
    confidence = confidence_table(
        samples,
        engine.tokenizer,
        opened=facts["opened"],
        think_end=facts["think_end"],
        window=scores.window,
        fraction=scores.fraction,
        k=top_logprobs,
    )
    return samples, confidence


def _name(harm: Proxy | Guard | HarmJudge) -> str:
    """The name of a classifier in the workflow."""
    if isinstance(harm, HarmJudge):
        return "judge"
    if hasattr(harm, "classify"):
        return harm.name
    if hasattr(harm, "scores"):
        return "embedding"
    raise ValueError(f"harm is {type(harm).__name__}: give a HarmProxy, a GuardModel, a judge, or None")


def _classified(
    asked: pl.DataFrame, confidence: pl.DataFrame, harm: Proxy | Guard | HarmJudge | None
) -> dict[str, pl.DataFrame]:
    """Labels by the patterns, and by the classifier of harm where there is one."""
    patterns = patterns_labels(confidence, detect_refusals)
    if harm is None:
        return {"patterns": patterns}
    name = _name(harm)
    if name == "judge":
        # Judging starts an event loop, and in a notebook one is running in this thread already.
        with ThreadPoolExecutor(1) as thread:
            return {"patterns": patterns, name: thread.submit(judge_labels, asked, confidence, harm).result()}
    if name == "embedding":
        return {"patterns": patterns, name: embedding_labels(confidence, harm)}
    return {"patterns": patterns, name: guard_labels(asked, confidence, harm)}
