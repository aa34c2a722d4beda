"""Sampling that really stops early: warm-up traces, then one trace after the other until a prompt's answer is settled.

All open prompts go on together, wave by wave, each with the threshold of its own warm-up; `AdaptivePrompt` decides, as
it does where the stopping is simulated on a full pool. Trace i of a prompt has the seed that it has in that pool, so
that an online trace is a prefix of the pool's. Each wave is written when it is done: a run that is killed goes on
after the last whole wave, to the same table.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from tells.models.confidence import token_confidence
from tells.models.engines.base import ConfidenceStop, Request
from tells.models.spans import decode_tokens, find_spans
from tells.safety.adaptive import CUT, AdaptivePrompt
from tells.safety.traces import split_text
from tells.tables import SCHEMAS, TableError, read_metadata, read_table, write_table

if TYPE_CHECKING:
    from tells.config import GenerationConfig
    from tells.config.safety import StoppingConfig
    from tells.models.engines.base import Engine

logger = logging.getLogger(__name__)
_PLANNED = ["prompt_id", "sample", "threshold"]


def sample_adaptively(
    prompts: pl.DataFrame,
    engine: Engine,
    manifest: Mapping[str, Any],
    *,
    names: Sequence[str],
    seed: int,
    config: StoppingConfig,
    window: int,
    budget: int,
    k: int,
    settings: GenerationConfig,
    prompt: str,
    vote: Callable[[list[str]], Sequence[str]],
    partial: Path | None = None,
) -> tuple[pl.DataFrame, dict[str, Any]]:
    """Sample every prompt until its answer is settled or the budget is spent.

    Args:
        prompts: the prompts table.
        engine: what generates.
        manifest: of the model: its name and revision, think tags, and whether its template has a thinking switch.
        names: of study and collection, which enter every trace's seed.
        seed: of the experiment.
        config: warm-up, threshold and rule.
        window: tokens per group of the confidence that stops a trace.
        budget: traces per prompt, at most; above the warm-up.
        k: log-probabilities that confidence averages over.
        settings: how a trace is drawn.
        prompt: `chat` or `completion`.
        vote: gives each answer `refusal`, `partial`, `compliance` or `unclear`.
        partial: folder for the waves that are done, so that a killed run goes on there; what other parameters have left
            in it is removed. The caller removes the folder once the table is written. None: nothing is kept.

    Returns:
        The online table, one row per trace; facts for its metadata (`opened`: the prompts end inside a think tag),
        alike for every shard of a collection; and how many waves it took.

    Raises:
        ValueError: the budget leaves nothing after the warm-up, or some prompts open the think tag and others do not.
    """
    from tells.models.runs import render_prompts, sampling_facts

    token_ids, opened = render_prompts(prompts, engine.tokenizer, manifest, prompt=prompt, thinking=settings.thinking)
    facts = sampling_facts(manifest, settings, opened=opened, prompt=prompt)
    draw = _Draw(engine, settings, token_ids, tuple(names), seed, window, k, facts, vote)
    sampling = _Sampling(prompts, draw, config, window, budget)
    finished = _FinishedWaves(partial, _digest(draw, manifest, config, budget, prompts["group"].to_list()))
    for rows in finished.read():
        if not sampling.fits(rows):
            finished.discard(len(sampling.waves))
            break
        sampling.take(rows)
    while not sampling.done:
        rows = sampling.take(sampling.draw_wave())
        finished.write(len(sampling.waves) - 1, rows)
    return sampling.table(), facts, len(sampling.waves)


def answer_text(tokenizer: Any, token_ids: Sequence[int], text: str, *, think_end: str, opened: bool) -> str:
    """What a trace answers, behind its think span; empty where it was cut before.

    Args:
        tokenizer: of the model that generated.
        token_ids: [tokens] the trace.
        text: what it says, without EOS and stop string.
        think_end: the tag that closes the think span.
        opened: the prompt opened the tag.
    """
    whole, ends = decode_tokens(tokenizer, token_ids)
    spans = find_spans(whole, ends, text_length=len(text), think_end=think_end, opened=opened)
    return split_text(text, spans, think_end)[1]


def _digest(draw: _Draw, manifest: Mapping[str, Any], config: StoppingConfig, budget: int, groups: list[str]) -> str:
    """SHA-256 of all that decides the table, but for the vote, which is asked again."""
    known = {
        "names": draw.names,
        "seed": draw.seed,
        "stopping": config.model_dump(mode="json"),
        "sizes": [draw.window, budget, draw.k],
        "generation": draw.settings.model_dump(mode="json"),
        "model": [manifest["name"], manifest["revision"]],
        "engine": [draw.engine.name, draw.engine.facts().get("dtype")],
        "prompts": [groups, list(draw.token_ids.items())],
        **draw.facts,
    }
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class _Draw:
    """Draws traces and labels their answers."""

    engine: Engine
    settings: GenerationConfig
    token_ids: Mapping[str, tuple[int, ...]]
    names: tuple[str, ...]
    seed: int
    window: int
    k: int
    facts: Mapping[str, Any]
    vote: Callable[[list[str]], Sequence[str]]

    def __call__(self, planned: pl.DataFrame) -> pl.DataFrame:
        """Columns of the online table for the planned traces; all but those that the order of traces decides."""
        from tells.models.runs import run_seed

        requests = [
            Request(
                self.token_ids[prompt_id],
                run_seed(self.seed, self.names, prompt_id, sample),
                stop_below=None if threshold is None else ConfidenceStop(threshold, self.window, self.k),
            )
            for prompt_id, sample, threshold in planned.select(_PLANNED).iter_rows()
        ]
        runs = self.engine.generate(requests, self.settings, top_logprobs=self.k)
        columns = {
            "seed": [request.seed for request in requests],
            "prompt_token_ids": [list(request.prompt_token_ids) for request in requests],
            "token_ids": [run.token_ids for run in runs],
            "text": [run.text for run in runs],
            "finish_reason": [run.finish_reason for run in runs],
            "confidence": [token_confidence(np.asarray(run.topk_logprobs)).tolist() for run in runs],
        }
        schema = SCHEMAS["online"].columns
        drawn = planned.with_columns(pl.Series(name, values, schema[name]) for name, values in columns.items())
        return drawn.with_columns(pl.Series("stop_label", self.labels(drawn), pl.String))

    def labels(self, rows: pl.DataFrame) -> list[str]:
        """Outcome of the vote on each trace's answer."""
        span = {"think_end": self.facts["think_end"], "opened": self.facts["opened"]}
        pairs = rows.select("token_ids", "text").iter_rows()
        return list(self.vote([answer_text(self.engine.tokenizer, ids, text, **span) for ids, text in pairs]))


class _Sampling:
    """The waves so far, and what every prompt has come to."""

    def __init__(self, prompts: pl.DataFrame, draw: _Draw, config: StoppingConfig, window: int, budget: int) -> None:
        self.prompts, self.draw, self.warmup = prompts.select("prompt_id", "group"), draw, config.warmup
        self.states = {name: AdaptivePrompt(config, window, budget) for name in prompts["prompt_id"]}
        self.waves: list[pl.DataFrame] = []

    @property
    def done(self) -> bool:
        """Every prompt is settled or has spent its budget."""
        return all(state.done for state in self.states.values())

    def planned(self) -> pl.DataFrame:
        """The traces of the next wave: all of the warm-up, then one of every open prompt."""
        wave = len(self.waves)
        samples = range(self.warmup) if wave == 0 else [self.warmup + wave - 1]
        rows = [
            (name, group, sample, wave, wave == 0, self.states[name].threshold if wave else None)
            for name, group in self.prompts.iter_rows()
            if not self.states[name].done
            for sample in samples
        ]
        columns = ("prompt_id", "group", "sample", "wave", "warmup", "threshold")
        return pl.DataFrame(rows, {name: SCHEMAS["online"].columns[name] for name in columns}, orient="row")

    def draw_wave(self) -> pl.DataFrame:
        """The next wave, all but what comes of it."""
        return self.draw(self.planned())

    def fits(self, rows: pl.DataFrame) -> bool:
        """Whether these rows are what the next wave would be, and still get the labels they have."""
        planned = self.planned()
        same = rows.select(planned.columns).equals(planned)
        return same and self.draw.labels(rows) == rows["stop_label"].to_list()

    def take(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Add a wave: each trace in its turn is told to its prompt. Returns the wave with what came of it."""
        settled = []
        columns = ("prompt_id", "stop_label", "confidence", "finish_reason")
        for name, label, confidence, reason in rows.select(columns).iter_rows():
            state = self.states[name]
            state.add(label, confidence, reason == CUT)
            settled.append(state.settled)
        rows = rows.with_columns(pl.Series("settled", settled, pl.Boolean)).select(list(SCHEMAS["online"].columns))
        self.waves.append(rows)
        return rows

    def table(self) -> pl.DataFrame:
        """All waves, prompts in their order, traces in theirs."""
        empty = pl.DataFrame(schema=SCHEMAS["online"].columns)
        order = {name: place for place, name in enumerate(self.prompts["prompt_id"])}
        place = pl.col("prompt_id").replace_strict(order, return_dtype=pl.UInt32)
        return pl.concat([empty, *self.waves]).sort(place, "sample")


class _FinishedWaves:
    """Finished waves on disk, one Parquet file each, marked with a digest of all that decides them."""

    def __init__(self, folder: Path | None, digest: str) -> None:
        self.folder, self.digest = folder, digest

    def read(self) -> Iterator[pl.DataFrame]:
        """The waves of this digest, from the first on; what else lies there is removed."""
        if self.folder is None:
            return
        for leftover in self.folder.glob(".wave-*.part"):
            leftover.unlink()
        found = [path for path in sorted(self.folder.glob("wave-*.parquet")) if self._is_ours(path)]
        usable = [path for wave, path in enumerate(found) if path == self._path(wave)]
        if usable:
            logger.info("%s: going on after %d finished wave(s)", self.folder, len(usable))
        for path in usable:
            yield read_table(path, "online")

    def _is_ours(self, path: Path) -> bool:
        try:
            found = read_metadata(path).get("sampling")
        except TableError as error:
            found = str(error)
        if found != self.digest:
            logger.warning("%s: left by a run of other parameters, or not whole; removed", path)
            path.unlink()
        return found == self.digest

    def write(self, wave: int, rows: pl.DataFrame) -> None:
        if self.folder is not None:
            write_table(self._path(wave), rows, "online", {"sampling": self.digest})

    def discard(self, wave: int) -> None:
        """Remove the waves from this one on."""
        logger.warning("%s: waves from %d on do not follow from those before; drawn again", self.folder, wave)
        for path in sorted(self.folder.glob("wave-*.parquet")) if self.folder else ():
            if path >= self._path(wave):
                path.unlink()

    def _path(self, wave: int) -> Path:
        return Path(self.folder or "") / f"wave-{wave:04d}.parquet"
