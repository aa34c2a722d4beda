"""Whether one answer entails another: by a natural-language-inference model, by embeddings, or by a judge.

The clustering of free text needs, for every question, a square matrix of entailment labels between its
answers. Here answers are deduplicated, the pairs of all questions are put into common batches, and each pair is
asked once. transformers and sentence-transformers are loaded only by the functions that need them.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track

from tells.judge import EntailmentJudge
from tells.startup import starting_up

CONTRADICTION, NEUTRAL, ENTAILMENT = 0, 1, 2
LABELS = {"contradiction": CONTRADICTION, "neutral": NEUTRAL, "entailment": ENTAILMENT}
_STEMS = {"contradict": CONTRADICTION, "neutral": NEUTRAL, "entail": ENTAILMENT}

Triple = tuple[str, str, str]
"""Question, answer a, answer b: does a entail b?"""


class EntailmentClassifier:
    """A natural-language-inference model that labels pairs, each pair once.

    Attributes:
        name: what is stored with the result.
        n_classified: pairs the model was run on.
        n_at_limit: of these, pairs as long as the model can read, so perhaps truncated.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any = None,
        *,
        name: str | None = None,
        batch_size: int = 64,
        max_length: int = 512,
    ) -> None:
        """Take a loaded model and its tokenizer, or the folder or id to load both from.

        Args:
            model: a sequence-classification model of transformers, or a path or id.
            tokenizer: its tokenizer; None with a path or id.
            name: name of the model; its path or id by default.
            batch_size: pairs per forward pass.
            max_length: most tokens of a pair; less where the model reads less.

        Raises:
            ValueError: the model's config does not name its labels, or a loaded model comes without tokenizer.
        """
        if isinstance(model, str | Path):
            name = name or str(model)
            model, tokenizer = load_entailment_model(model)
        if tokenizer is None:
            raise ValueError("a loaded model needs its tokenizer beside it")
        self.model, self.tokenizer = model.eval(), tokenizer
        self.name = name or getattr(model.config, "name_or_path", "") or type(model).__name__
        self.batch_size = batch_size
        readable = getattr(model.config, "max_position_embeddings", None) or max_length
        self.max_length = int(min(max_length, readable, tokenizer.model_max_length))
        self.n_classified = self.n_at_limit = 0
        self._columns = label_columns(model.config.id2label)
        self._known: dict[tuple[str, str], int] = {}

    def classify(self, pairs: Iterable[tuple[str, str]]) -> list[int]:
        """Label pairs of premise and hypothesis.

        Args:
            pairs: [pairs] premise and hypothesis.

        Returns:
            [pairs] 0 contradiction, 1 neutral, 2 entailment, whatever the order of the model's own ids.
        """
        asked = list(pairs)
        new = sorted(set(asked) - self._known.keys(), key=lambda pair: (len(pair[0]) + len(pair[1]), pair))
        starts = range(0, len(new), self.batch_size)
        console = Console(stderr=True)
        for start in track(starts, description="entailment", console=console, disable=not sys.stderr.isatty()):
            batch = new[start : start + self.batch_size]
            self._known.update(zip(batch, self._forward(batch), strict=True))
        return [self._known[pair] for pair in asked]

    def _forward(self, batch: list[tuple[str, str]]) -> list[int]:
        import torch

        encoded = self.tokenizer(
            [premise for premise, _ in batch],
            [hypothesis for _, hypothesis in batch],
            padding=True,
            truncation="longest_first",
            max_length=self.max_length,
            return_tensors="pt",
        ).to(self.model.device)
        with torch.inference_mode():
            logits = self.model(**encoded).logits.float().cpu().numpy()
        self.n_classified += len(batch)
        self.n_at_limit += int((encoded["attention_mask"].sum(dim=1) >= self.max_length).sum())
        return [int(label) for label in logits[:, self._columns].argmax(axis=1)]

    def relations(self, questions: Sequence[tuple[str, Sequence[str]]]) -> list[np.ndarray]:
        """Entailment between the answers of each question; the premise holds the question.

        Args:
            questions: [questions] a question and its [n] answers.

        Returns:
            [questions] matrices [n, n] int8; row entails column. Answers that read the same entail each other.
        """

        def ask(triples: list[Triple]) -> list[int]:
            return self.classify((f"{question} {a}", b) for question, a, b in triples)

        return relation_matrices(questions, ask)


def label_columns(id2label: dict[int, str]) -> list[int]:
    """Where a model keeps contradiction, neutral and entailment, in this order: models differ.

    Raises:
        ValueError: a label is not named, or named twice.
    """
    found: dict[int, list[int]] = {label: [] for label in LABELS.values()}
    for column, name in id2label.items():
        for stem, label in _STEMS.items():
            # "not_entailment" of two-way models is no entailment.
            if str(name).casefold().startswith(stem):
                found[label].append(int(column))
    if any(len(columns) != 1 for columns in found.values()):
        raise ValueError(
            f"id2label {dict(id2label)} does not name contradiction, neutral and entailment once each: "
            "use a three-way NLI model, or set id2label in its config.json"
        )
    return [found[label][0] for label in (CONTRADICTION, NEUTRAL, ENTAILMENT)]


def load_entailment_model(source: str | Path) -> tuple[Any, Any]:
    """Load a sequence-classification model and its tokenizer in float32 from a folder or an id."""
    with starting_up(str(source)):
        import torch
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        model = AutoModelForSequenceClassification.from_pretrained(source, dtype=torch.float32)
        return model.eval(), AutoTokenizer.from_pretrained(source)


def relation_matrices(
    questions: Sequence[tuple[str, Sequence[str]]], ask: Callable[[list[Triple]], list[int]]
) -> list[np.ndarray]:
    """Build each question's matrix, asking once for all the pairs of unlike answers of all questions.

    Args:
        questions: [questions] a question and its [n] answers.
        ask: labels of (question, a, b) triples; called once, with no triple twice.

    Returns:
        [questions] matrices [n, n] int8 of labels; row entails column.
    """
    triples: dict[Triple, int] = {}
    for question, answers in questions:
        unique = dict.fromkeys(answers)
        triples.update({(question, a, b): NEUTRAL for a in unique for b in unique if a != b})
    triples = dict(zip(triples, ask(list(triples)), strict=True)) if triples else {}
    return [
        np.array(
            [[ENTAILMENT if a == b else triples[question, a, b] for b in answers] for a in answers],
            dtype=np.int8,
        ).reshape(len(answers), len(answers))
        for question, answers in questions
    ]


def matches(relation: Any, *, strict: bool = True) -> np.ndarray:
    """Which answers mean the same: symmetric [n, n] matches from directed labels of entailment.

    Args:
        relation: [n, n] 0 contradiction, 1 neutral, 2 entailment; row entails column; or True entailment,
            False neutral. The diagonal does not matter.
        strict: both directions must entail; otherwise it is enough that neither contradicts and not both are
            neutral.

    Raises:
        ValueError: the relation is not square or holds another label.
    """
    labels = np.array(relation)
    if labels.size == 0:
        return np.zeros((0, 0), dtype=bool)
    if labels.ndim != 2 or labels.shape[0] != labels.shape[1]:
        raise ValueError(f"relation of shape {labels.shape} must be square")
    if labels.dtype == bool:
        labels = np.where(labels, ENTAILMENT, NEUTRAL)
    np.fill_diagonal(labels, ENTAILMENT)
    if not np.isin(labels, (CONTRADICTION, NEUTRAL, ENTAILMENT)).all():
        raise ValueError("relation holds a label other than 0 contradiction, 1 neutral, 2 entailment")
    if strict:
        return (labels == ENTAILMENT) & (labels.T == ENTAILMENT)
    contradict = (labels == CONTRADICTION) | (labels.T == CONTRADICTION)
    return ~contradict & ~((labels == NEUTRAL) & (labels.T == NEUTRAL))


def judge_relations(
    judge: EntailmentJudge, questions: Sequence[tuple[str, Sequence[str]]]
) -> tuple[list[np.ndarray], int]:
    """Entailment between the answers of each question, as a judge sees it.

    A judge says yes (entailment) or no (neutral: a judge's no is not a contradiction). A pair without a
    verdict counts as neutral and is counted.

    Args:
        judge: its `entails` may be a plain or a coroutine function.
        questions: [questions] a question and its [n] answers.

    Returns:
        [questions] matrices [n, n] int8, and the number of pairs without a verdict.
    """
    unanswered = 0

    def ask(triples: list[Triple]) -> list[int]:
        nonlocal unanswered
        verdicts = asyncio.run(_verdicts(judge, triples))
        unanswered = sum(verdict is None for verdict in verdicts)
        return [ENTAILMENT if verdict else NEUTRAL for verdict in verdicts]

    matrices = relation_matrices(questions, ask)
    return matrices, unanswered


async def _verdicts(judge: EntailmentJudge, triples: list[Triple]) -> list[bool | None]:
    async def verdict(triple: Triple) -> bool | None:
        answer = judge.entails(*triple)
        return await answer if inspect.isawaitable(answer) else answer

    return list(await asyncio.gather(*(verdict(triple) for triple in triples)))


def sentence_embeddings(texts: Sequence[str], model: Any, *, batch_size: int = 64) -> np.ndarray:
    """Embeddings of length 1, each text encoded once.

    Args:
        texts: [texts] sentences.
        model: a loaded sentence-transformers model, or the folder or id to load one from (on the CPU).
        batch_size: texts per forward pass.

    Returns:
        [texts, width] float32; [0, 0] for no text.

    Raises:
        ValueError: the embedding of a text is zero.
    """
    if not texts:
        return np.zeros((0, 0), dtype=np.float32)
    if isinstance(model, str | Path):
        from sentence_transformers import SentenceTransformer

        model = SentenceTransformer(str(model), device="cpu")
    unique = {text: row for row, text in enumerate(dict.fromkeys(texts))}
    encoded = np.asarray(
        model.encode(list(unique), batch_size=batch_size, show_progress_bar=sys.stderr.isatty()),
        dtype=np.float32,
    )
    lengths = np.linalg.norm(encoded, axis=1, keepdims=True)
    if not (lengths > 0).all():
        text = list(unique)[int(np.flatnonzero(~(lengths[:, 0] > 0))[0])]
        raise ValueError(f"the embedding of {text!r} is zero or NaN: leave empty answers out")
    return (encoded / lengths)[[unique[text] for text in texts]]
