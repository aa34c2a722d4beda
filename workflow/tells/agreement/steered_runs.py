"""Questions of the uncertainty study asked again: unsteered, along a direction and against it, and along random ones.

Every arm asks the same questions with the seeds of the study's own runs, so that differences between arms are
differences of steering. Confidences are those of the distribution that was steered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tells.tables import SCHEMAS
from tells.traits.vectors import random_direction
from tells.uncertainty.probe_targets import held_out

if TYPE_CHECKING:
    from tells.config import GenerationConfig
    from tells.models.engines.hf import HfEngine
    from tells.models.loading import LoadedModel

BASELINE, PLUS, MINUS, RANDOM = "baseline", "plus", "minus", "random"
TEST, OTHER = "test", "other"
TOP_LOGPROBS = 20
"""k of the confidences, that of replay."""


@dataclass(frozen=True, eq=False)
class Arm:
    """One way of asking.

    Attributes:
        name: baseline, plus, minus, or random-0 and so on.
        vector: [width] of length 1, signed; None without steering.
        draw: number of the random vector.
    """

    name: str
    vector: NDArray[np.float32] | None = None
    draw: int | None = None


@dataclass(frozen=True, eq=False)
class Asking:
    """How questions are asked.

    Attributes:
        generation: how an answer is drawn.
        prompt: `chat` or `completion`.
        names: study and collection, which enter every answer's seed.
        seed: of the experiment.
        samples: answers per question and arm.
        batch_size: rows per batch.
    """

    generation: GenerationConfig
    prompt: str
    names: Sequence[str]
    seed: int
    samples: int
    batch_size: int


@dataclass(frozen=True)
class SteeredAnswers:
    """What was asked and answered.

    Attributes:
        prompts: a prompts table with a row a question and arm; `arm`, `draw`, `question_id` and `split` beside.
        samples: a samples table of them, with the `confidence` of each token in the place of log-probabilities.
        facts: for their metadata: `opened`, `think_end`, …, `norm`, `coefficient`, `batch_size`.
    """

    prompts: pl.DataFrame
    samples: pl.DataFrame
    facts: dict[str, Any]


def arms_of(vector: NDArray[np.float32], draws: int, *, seed: int) -> list[Arm]:
    """The arms beside the unsteered one: along a unit vector, against it, and along random ones of its length.

    Args:
        vector: [width] of length 1.
        draws: random vectors.
        seed: of the first of them; the others follow.
    """
    randoms = [random_direction(vector.size, seed=(seed + draw) % 2**32).vector for draw in range(draws)]
    own = [Arm(PLUS, vector), Arm(MINUS, -vector)]
    return own + [Arm(f"{RANDOM}-{draw}", each, draw) for draw, each in enumerate(randoms)]


def choose_questions(
    prompts: pl.DataFrame, splits: pl.DataFrame, *, collection: str, limit: int, seed: int
) -> pl.DataFrame:
    """Questions to be asked: held-out test questions first, then others, each in a seeded order.

    Args:
        prompts: the collection's prompts table.
        splits: the splits table of the study.
        collection: its name.
        limit: at most so many questions.
        seed: of the order.

    Returns:
        The chosen prompts in the order of the table, with `split`: `test`, or `other` where a probe may have learnt.
    """
    tested = splits.filter(pl.Series(held_out(splits))).filter(pl.col("dataset") == collection)["prompt_id"]
    is_test = prompts["prompt_id"].is_in(tested.implode())
    order = np.random.default_rng(seed).permutation(prompts.height)
    ranked = [place for wanted in (True, False) for place in order if is_test[int(place)] is wanted]
    chosen = sorted(ranked[:limit])
    split = pl.when(is_test).then(pl.lit(TEST)).otherwise(pl.lit(OTHER))
    return prompts.with_columns(split=split)[chosen]


def ask_under_steering(
    questions: pl.DataFrame, loaded: LoadedModel, arms: Sequence[Arm], *, layer: int, ratio: float, asking: Asking
) -> SteeredAnswers:
    """Ask every question in every arm, unsteered first, whose states give the norm that scales the vectors.

    Args:
        questions: of `choose_questions`.
        loaded: the model.
        arms: of `arms_of`.
        layer: block whose output is changed.
        ratio: r; the coefficient is r times the mean norm of the layer's states over the unsteered answers.
        asking: how questions are asked.

    Raises:
        ValueError: a vector is of another width than the model, or the unsteered answers hold no token.
    """
    from tells.models.engines.base import Steering
    from tells.models.engines.hf import HfEngine
    from tells.models.runs import render_prompts, sampling_facts

    rendered, opened = render_prompts(
        questions, loaded.tokenizer, loaded.manifest, prompt=asking.prompt, thinking=asking.generation.thinking
    )
    engine = HfEngine(loaded, batch_size=asking.batch_size)
    tables = [_answers(Arm(BASELINE), questions, rendered, engine, asking)]
    norm = _norm(loaded, tables[0], layer, opened, engine.batch_size)
    for arm in arms:
        steering = Steering(layer, arm.vector, ratio * norm, "response")
        tables.append(_answers(arm, questions, rendered, engine, asking, steering))
    told = sampling_facts(loaded.manifest, asking.generation, opened=opened, prompt=asking.prompt)
    facts = {**told, "norm": norm, "coefficient": ratio * norm, "engine": engine.facts()}
    return SteeredAnswers(_asked([Arm(BASELINE), *arms], questions), pl.concat(tables), facts)


def nothing_asked(questions: pl.DataFrame, loaded: Mapping[str, Any], asking: Asking) -> SteeredAnswers:
    """Where there is no direction: the questions, and no answer.

    Args:
        questions: of `choose_questions`.
        loaded: manifest of the model, whose think tags stand in the metadata.
        asking: how they would be asked.
    """
    told = {"opened": False, "think_end": loaded["think_end"], "prompt": asking.prompt}
    samples = pl.DataFrame(schema=_columns())
    return SteeredAnswers(_asked([Arm(BASELINE)], questions), samples, {**told, "norm": None, "coefficient": None})


def _columns() -> dict[str, Any]:
    return {**SCHEMAS["samples"].columns, "confidence": pl.List(pl.Float32)}


def _name(arm: Arm, question: str) -> str:
    return f"{arm.name}/{question}"


def _asked(arms: Sequence[Arm], questions: pl.DataFrame) -> pl.DataFrame:
    """A row a question and arm, so that the study's own stages take each for a question."""
    return pl.concat(
        questions.with_columns(
            prompt_id=pl.format("{}/{}", pl.lit(arm.name), pl.col("prompt_id")),
            question_id=pl.col("prompt_id"),
            arm=pl.lit(arm.name),
            draw=pl.lit(arm.draw, pl.Int32),
        )
        for arm in arms
    )


def _answers(
    arm: Arm,
    questions: pl.DataFrame,
    rendered: Mapping[str, tuple[int, ...]],
    engine: HfEngine,
    asking: Asking,
    steering: Any = None,
) -> pl.DataFrame:
    """The samples table of one arm."""
    from tells.models.confidence import token_confidence
    from tells.models.engines.base import Request
    from tells.models.runs import run_seed

    keys = [
        (row["prompt_id"], row["group"], sample)
        for row in questions.iter_rows(named=True)
        for sample in range(asking.samples)
    ]
    requests = [Request(rendered[name], run_seed(asking.seed, asking.names, name, sample)) for name, _, sample in keys]
    requests = [replace(request, steering=steering) for request in requests]
    runs = engine.generate(requests, asking.generation, top_logprobs=TOP_LOGPROBS)
    return pl.DataFrame(
        {
            "prompt_id": [_name(arm, name) for name, _, _ in keys],
            "group": [group for _, group, _ in keys],
            "sample": [sample for _, _, sample in keys],
            "greedy": [False] * len(keys),
            "seed": [request.seed for request in requests],
            "prompt_token_ids": [list(request.prompt_token_ids) for request in requests],
            "token_ids": [run.token_ids for run in runs],
            "text": [run.text for run in runs],
            "finish_reason": [run.finish_reason for run in runs],
            "token_logprobs": [run.token_logprobs for run in runs],
            "topk_logprobs": [None] * len(keys),
            "confidence": [
                token_confidence(np.array(run.topk_logprobs)).tolist() if run.topk_logprobs else [] for run in runs
            ],
        },
        schema=_columns(),
    )


def _norm(loaded: LoadedModel, answers: pl.DataFrame, layer: int, opened: bool, batch_size: int) -> float:
    """Mean norm of a layer's states over the response tokens of the unsteered answers."""
    from tells.models.measures import response_norms
    from tells.models.runs import replay_row

    rows = [
        replay_row(loaded.tokenizer, row, opened=opened, think_end=loaded.manifest["think_end"])
        for row in answers.select("prompt_token_ids", "token_ids", "text").iter_rows(named=True)
    ]
    return response_norms(loaded, rows, [layer], batch_size=batch_size)[layer]
