"""Steering runs: the grid on the search questions, the choice and its controls on the report questions.

What is generated here is judged elsewhere: a table of answers comes out, each with its point of the grid and with its
likelihood under the unsteered model. Every point of the grid is so many rows of a batch. The same question and sample
has the same seed at every point, so that differences between points are differences of steering.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from tells.config.traits import NORM_QUESTIONS
from tells.tables import SCHEMAS
from tells.traits.vectors import random_direction

if TYPE_CHECKING:
    from tells.config import GenerationConfig
    from tells.models.loading import LoadedModel

# The vector of a control has no method of its own.
RANDOM, PROMPTING, UNSTEERED, REFERENCE, STEERED = "random", "prompting", "unsteered", "reference", "steered"


@dataclass(frozen=True)
class Question:
    """A neutral question, and its name."""

    question_id: str
    text: str


@dataclass(frozen=True)
class Candidate:
    """A vector to be tried: where it comes from, and its unit vector [width]."""

    layer: int
    method: str
    vector: np.ndarray


@dataclass(frozen=True)
class SteeredRow:
    """One answer to be generated.

    Attributes:
        kind: reference, unsteered, steered, random or prompting.
        question: what is asked.
        sample: number of the answer to this question.
        candidate: the vector; None where there is none.
        ratio: r, the coefficient over the mean norm of the layer's states.
        coefficient: c.
        draw: number of the random vector.
        instruction: what is put before the question, for plain prompting.
    """

    kind: str
    question: Question
    sample: int
    candidate: Candidate | None = None
    ratio: float | None = None
    coefficient: float | None = None
    draw: int | None = None
    instruction: str | None = None

    @property
    def row_id(self) -> str:
        """Kind, point, question and sample."""
        point = "" if self.candidate is None else f"{self.candidate.method}-{self.candidate.layer}-{self.ratio:+g}-"
        draw = "" if self.draw is None else f"{self.draw}-"
        return f"{self.kind}-{point}{draw}{self.question.question_id}-{self.sample}"


def name_questions(questions: Sequence[str], part: str, limit: int) -> list[Question]:
    """The first `limit` questions of a part (search or report), with their names."""
    return [Question(f"{part}-{index:02d}", text) for index, text in enumerate(questions[:limit])]


def reference_rows(questions: Sequence[Question], at_least: int) -> list[SteeredRow]:
    """Unsteered answers to all questions, as many per question as make up `at_least`."""
    samples = math.ceil(at_least / len(questions))
    return [SteeredRow(REFERENCE, question, sample) for question in questions for sample in range(samples)]


def grid_rows(
    candidates: Sequence[Candidate],
    ratios: Sequence[float],
    norms: Mapping[int, float],
    questions: Sequence[Question],
    samples: int,
) -> list[SteeredRow]:
    """Every candidate at every ratio with both signs, on every question.

    Args:
        candidates: the vectors.
        ratios: r, positive.
        norms: A_L by layer; the coefficient is r·A_L.
        questions: the search questions.
        samples: answers per question and point.
    """
    return [
        SteeredRow(STEERED, question, sample, candidate, ratio, ratio * norms[candidate.layer])
        for candidate in candidates
        for ratio in (*(-ratio for ratio in reversed(ratios)), *ratios)
        for question in questions
        for sample in range(samples)
    ]


def report_rows(
    chosen: SteeredRow | None,
    questions: Sequence[Question],
    samples: int,
    *,
    draws: int,
    random_samples: int,
    seed: int,
    instruction: str,
) -> list[SteeredRow]:
    """Answers to the report questions: unsteered, prompted, and where a point was chosen steered and by chance.

    Args:
        chosen: a row of the chosen point; None where there is none.
        questions: the report questions.
        samples: answers per question and kind.
        draws: random vectors, of the chosen one's layer and coefficient.
        random_samples: answers per question and random vector.
        seed: of the random vectors.
        instruction: what plain prompting says.
    """
    asked = [(question, sample) for question in questions for sample in range(samples)]
    rows = [SteeredRow(UNSTEERED, *each) for each in asked]
    rows += [SteeredRow(PROMPTING, *each, instruction=instruction) for each in asked]
    if chosen is None or chosen.candidate is None:
        return rows
    rows += [replace(chosen, question=question, sample=sample) for question, sample in asked]
    for draw in range(draws):
        direction = random_direction(len(chosen.candidate.vector), seed=seed + draw)
        candidate = Candidate(chosen.candidate.layer, RANDOM, direction.vector)
        point = replace(chosen, kind=RANDOM, candidate=candidate, draw=draw)
        rows += [
            replace(point, question=question, sample=sample) for question, sample in asked if sample < random_samples
        ]
    return rows


def generate_rows(
    rows: Sequence[SteeredRow],
    loaded: LoadedModel,
    settings: GenerationConfig,
    *,
    names: Sequence[str],
    seed: int,
    prompt: str,
    positions: str,
    batch_size: int,
) -> tuple[pl.DataFrame, int]:
    """Generate answers, each steered in its own way, and read their likelihood under the unsteered model.

    Args:
        rows: what to generate.
        loaded: the model that is steered.
        settings: how an answer is drawn.
        names: study and trait, which enter every answer's seed.
        seed: of the experiment.
        prompt: `chat` or `completion`.
        positions: of `tells.models.hooks.steer`.
        batch_size: rows per batch.

    Returns:
        The table of answers, and the batch size that fitted.

    Raises:
        ValueError: a vector is of another width than the model.
    """
    from tells.models.engines.hf import HfEngine
    from tells.models.sampling import derive_seed

    plain = {row.question: _render(loaded, row.question.text, None, prompt) for row in rows}
    engine = HfEngine(loaded, batch_size=batch_size)
    requests = [
        _request(row, loaded, plain, prompt, positions, derive_seed(seed, *_seed_of(row, names))) for row in rows
    ]
    runs = engine.generate(requests, settings)
    likelihoods, counts = _likelihoods(loaded, [plain[row.question] for row in rows], runs, engine.batch_size)
    table = _answers_table(rows, [request.seed for request in requests], runs, likelihoods, counts)
    return table, engine.batch_size


def measure_norms(
    loaded: LoadedModel, references: pl.DataFrame, layers: Sequence[int], *, prompt: str, batch_size: int
) -> dict[int, float]:
    """A_L by layer, over the response tokens of the unsteered answers.

    Raises:
        ValueError: the answers hold no token, or come from fewer than 16 prompts.
    """
    from tells.models.measures import response_norms
    from tells.models.replay import ReplayRow
    from tells.models.spans import Spans

    if not layers:
        return {}
    if (prompts := references["question_id"].n_unique()) < NORM_QUESTIONS:
        raise ValueError(
            f"the norms of states need at least {NORM_QUESTIONS} questions, there are {prompts}: raise search_questions"
        )
    rows = [
        ReplayRow(_render(loaded, row["question"], None, prompt), tuple(row["token_ids"]), Spans(None, None, None), n)
        for row in references.iter_rows(named=True)
        for n in [row["n_tokens"]]
    ]
    return response_norms(loaded, rows, layers, batch_size=batch_size)


def _answers_table(
    rows: Sequence[SteeredRow],
    seeds: Sequence[int],
    runs: Sequence[Any],
    likelihoods: Sequence[float | None],
    counts: Sequence[int],
) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "row_id": [row.row_id for row in rows],
            "kind": [row.kind for row in rows],
            "question_id": [row.question.question_id for row in rows],
            "question": [row.question.text for row in rows],
            "sample": [row.sample for row in rows],
            "layer": [row.candidate.layer if row.candidate else None for row in rows],
            "method": [row.candidate.method if row.candidate else None for row in rows],
            "ratio": [row.ratio for row in rows],
            "coefficient": [row.coefficient for row in rows],
            "draw": [row.draw for row in rows],
            "seed": list(seeds),
            "token_ids": [run.token_ids for run in runs],
            "text": [run.text for run in runs],
            "finish_reason": [run.finish_reason for run in runs],
            "n_tokens": counts,
            "log_likelihood": likelihoods,
        },
        schema=SCHEMAS["search"].columns,
    )


def _seed_of(row: SteeredRow, names: Sequence[str]) -> tuple[str | int, ...]:
    return ("steer", *names, row.question.question_id, row.sample)


def _request(
    row: SteeredRow,
    loaded: LoadedModel,
    plain: Mapping[Question, tuple[int, ...]],
    prompt: str,
    positions: Any,
    seed: int,
) -> Any:
    from tells.models.engines.base import Request, Steering

    if row.instruction is not None:
        return Request(_render(loaded, row.question.text, row.instruction, prompt), seed)
    if row.candidate is None or row.coefficient is None:
        return Request(plain[row.question], seed)
    steering = Steering(row.candidate.layer, row.candidate.vector, row.coefficient, positions)
    return Request(plain[row.question], seed, steering=steering)


def _render(loaded: LoadedModel, question: str, instruction: str | None, prompt: str) -> tuple[int, ...]:
    from tells.models.prompts import render_prompt

    if prompt == "completion":
        system, text = f"{instruction}\n\n" if instruction else None, f"Question: {question}\nAnswer:"
    else:
        system, text = instruction, question
    row = {"system_prompt": system, "shared_prefix": "", "text": text}
    thinking = False if loaded.manifest["thinking"] else None
    think_end = loaded.manifest["think_end"]
    return render_prompt(loaded.tokenizer, row, prompt=prompt, think_end=think_end, thinking=thinking).token_ids


def _likelihoods(
    loaded: LoadedModel, prompts: Sequence[tuple[int, ...]], runs: Sequence[Any], batch_size: int
) -> tuple[list[float | None], list[int]]:
    """Mean log-likelihood (nats per token) of each answer under the unsteered model, and its number of tokens."""
    from tells.models.measures import token_log_likelihoods
    from tells.models.runs import replay_row

    rows = [
        replay_row(
            loaded.tokenizer,
            {"prompt_token_ids": prompt, "token_ids": run.token_ids, "text": run.text},
            opened=False,
            think_end=loaded.manifest["think_end"],
        )
        for prompt, run in zip(prompts, runs, strict=True)
    ]
    likelihoods = token_log_likelihoods(loaded, rows, batch_size=batch_size)
    means = [
        float(logprobs[: row.response_tokens].astype(np.float64).mean()) if row.response_tokens else None
        for row, logprobs in zip(rows, likelihoods, strict=True)
    ]
    return means, [row.response_tokens for row in rows]
