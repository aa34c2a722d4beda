"""The sample and replay stages on tables: prompts in, samples out; samples in, replay out.

Nothing here knows a study: what to ask stands in the prompts table, what it means comes later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from tells.config import GenerationConfig
from tells.models.engines.base import Engine, Request
from tells.models.loading import LoadedModel
from tells.models.prompts import render_prompt
from tells.models.replay import Replayed, ReplayRow, replay
from tells.models.sampling import derive_seed
from tells.models.spans import decode_tokens, find_spans
from tells.tables import SCHEMAS

GREEDY = -1


def sample_prompts(
    prompts: pl.DataFrame,
    engine: Engine,
    manifest: Mapping[str, Any],
    *,
    names: Sequence[str],
    seed: int,
    samples: int,
    greedy: bool,
    settings: GenerationConfig,
    prompt: str,
    top_logprobs: int,
) -> tuple[pl.DataFrame, dict[str, Any]]:
    """Generate `samples` runs of every prompt, and a greedy one if asked for.

    Args:
        prompts: the prompts table.
        engine: what generates.
        manifest: of the model: think tags, and whether its template has a thinking switch.
        names: of study and collection, which enter every run's seed.
        seed: of the experiment.
        samples: runs per prompt.
        greedy: add a greedy run (sample -1) per prompt.
        settings: how a run is drawn.
        prompt: `chat` or `completion`.
        top_logprobs: log-probabilities kept per step.

    Returns:
        The samples table, and facts for its metadata (`opened`: the prompts end inside a think tag).

    Raises:
        ValueError: some prompts open the think tag and others do not.
    """
    rendered, opened = render_prompts(prompts, engine.tokenizer, manifest, prompt=prompt, thinking=settings.thinking)
    keys, requests = [], []
    for row in prompts.iter_rows(named=True):
        for sample in ([GREEDY] if greedy else []) + list(range(samples)):
            row_seed = run_seed(seed, names, row["prompt_id"], sample)
            keys.append((row["prompt_id"], row["group"], sample, row_seed))
            requests.append(Request(rendered[row["prompt_id"]], row_seed, sample == GREEDY))
    runs = engine.generate(requests, settings, top_logprobs=top_logprobs)
    table = pl.DataFrame(
        {
            "prompt_id": [key[0] for key in keys],
            "group": [key[1] for key in keys],
            "sample": [key[2] for key in keys],
            "greedy": [request.greedy for request in requests],
            "seed": [key[3] for key in keys],
            "prompt_token_ids": [list(request.prompt_token_ids) for request in requests],
            "token_ids": [run.token_ids for run in runs],
            "text": [run.text for run in runs],
            "finish_reason": [run.finish_reason for run in runs],
            "token_logprobs": [run.token_logprobs for run in runs],
            "topk_logprobs": [run.topk_logprobs for run in runs],
        },
        schema=SCHEMAS["samples"].columns,
    )
    return table, sampling_facts(manifest, settings, opened=opened, prompt=prompt)


def render_prompts(
    prompts: pl.DataFrame, tokenizer: Any, manifest: Mapping[str, Any], *, prompt: str, thinking: bool
) -> tuple[dict[str, tuple[int, ...]], bool]:
    """Token ids by prompt, and whether the prompts end inside a think tag.

    Args:
        prompts: the prompts table.
        tokenizer: of the model.
        manifest: of the model: think tags, and whether its template has a thinking switch.
        prompt: `chat` or `completion`.
        thinking: how that switch is set.

    Raises:
        ValueError: some prompts open the think tag and others do not.
    """
    switch = thinking if manifest["thinking"] else None
    token_ids, opened = {}, set()
    for row in prompts.iter_rows(named=True):
        rendered = render_prompt(tokenizer, row, prompt=prompt, think_end=manifest["think_end"], thinking=switch)
        token_ids[row["prompt_id"]] = rendered.token_ids
        opened.add(rendered.opened)
    if len(opened) > 1:
        raise ValueError("some prompts of this collection end inside a think tag and others do not")
    return token_ids, opened == {True}


def run_seed(seed: int, names: Sequence[str], prompt_id: str, sample: int) -> int:
    """The seed of one run: of the experiment, of study and collection, of prompt and sample, and of nothing else."""
    return derive_seed(seed, "sample", *names, prompt_id, sample)


def sampling_facts(
    manifest: Mapping[str, Any], settings: GenerationConfig, *, opened: bool, prompt: str
) -> dict[str, Any]:
    """What a samples table's metadata says of its prompts; `thinking` is None where the template has no such switch."""
    return {
        "opened": opened,
        "think_end": manifest["think_end"],
        "prompt": prompt,
        "thinking": settings.thinking if manifest["thinking"] else None,
    }


def replay_samples(
    samples: pl.DataFrame,
    loaded: LoadedModel,
    *,
    shard: int,
    opened: bool,
    think_end: str,
    layers: Sequence[int],
    positions: Sequence[str],
    batch_size: int,
    backend: str,
) -> tuple[pl.DataFrame, Replayed]:
    """Replay every run of a samples table.

    Returns:
        The replay table, and the tensors its `tensor_row` points into.
    """
    rows, ends = [], []
    for row in samples.select("prompt_token_ids", "token_ids", "text").iter_rows(named=True):
        text, after = decode_tokens(loaded.tokenizer, row["token_ids"])
        rows.append(_located(row, text, after, opened=opened, think_end=think_end))
        ends.append(after)
    result = replay(loaded, rows, layers=layers, positions=positions, batch_size=batch_size, backend=backend)
    facts = [
        _scalars(row, entropy, logprobs)
        for row, entropy, logprobs in zip(rows, result.entropy, result.token_logprobs, strict=True)
    ]
    table = samples.select("prompt_id", "sample").with_columns(
        pl.lit(shard, pl.Int32).alias("shard"),
        pl.int_range(pl.len(), dtype=pl.Int32).alias("tensor_row"),
        pl.Series("token_ends", ends, pl.List(pl.Int32)),
        pl.Series("entropy", [row.tolist() for row in result.entropy], pl.List(pl.Float32)),
        pl.Series("token_logprobs", [row.tolist() for row in result.token_logprobs], pl.List(pl.Float32)),
        pl.Series("confidence", [row.tolist() for row in result.confidence], pl.List(pl.Float32)),
    )
    columns = {name: dtype for name, dtype in SCHEMAS["replay"].columns.items() if name not in table.columns}
    return table.hstack(pl.DataFrame(facts, schema=columns, orient="row")), result


def replay_row(tokenizer: Any, row: Mapping[str, Any], *, opened: bool, think_end: str) -> ReplayRow:
    """Find the spans of one run of the samples table."""
    return _located(row, *decode_tokens(tokenizer, row["token_ids"]), opened=opened, think_end=think_end)


def _located(row: Mapping[str, Any], text: str, ends: Sequence[int], *, opened: bool, think_end: str) -> ReplayRow:
    kept = len(row["text"])
    spans = find_spans(text, ends, text_length=kept, think_end=think_end, opened=opened)
    response = next((index + 1 for index, end in enumerate(ends) if end >= kept), 0) if kept else 0
    return ReplayRow(tuple(row["prompt_token_ids"]), tuple(row["token_ids"]), spans, response)


def _scalars(row: ReplayRow, entropy: np.ndarray, logprobs: np.ndarray) -> dict[str, Any]:
    think, answer = row.spans.think, row.spans.answer
    thinking = entropy[slice(*think)].astype(np.float64) if think else np.zeros(0)
    answered = logprobs[slice(*answer)].astype(np.float64) if answer else np.zeros(0)
    return {
        "think_start": think[0] if think else None,
        "think_stop": think[1] if think else None,
        "answer_start": answer[0] if answer else None,
        "answer_stop": answer[1] if answer else None,
        "n_think": len(thinking),
        "entropy_think_mean": float(thinking.mean()) if len(thinking) else None,
        "entropy_think_max": float(thinking.max()) if len(thinking) else None,
        "entropy_think_last10": float(thinking[-10:].mean()) if len(thinking) else None,
        "answer_log_likelihood": float(answered.sum()) if len(answered) else None,
        "answer_tokens": len(answered),
        "mean_log_likelihood": float(answered.mean()) if len(answered) else None,
    }
