"""The offline judge: how near a text lies to a trait's exemplar sentences, and how likely and varied its words are.

The default where no API is at hand: it needs a small sentence embedding, no network, no key and no waiting. It knows a
trait by the rubric's exemplars alone, so its scores rank texts fairly and measure nothing finely; `facts` says so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tells.judge.embedding import SentenceEmbedder
from tells.judge.protocol import EMPTY_TEXT, Explanation, Item, Judgement, Rubric, Task, Usage

Floats = NDArray[np.float64]
Embedder = Callable[[Sequence[str]], Floats]

VERSION = 1
WHAT_IT_IS = (
    "An offline judge: trait scores compare a sentence embedding of the text with the trait's exemplar sentences "
    "(a scenario is scored by its own words, not by what a model would go on with); coherence is made of likelihood "
    "and variety of words, and does not see whether an answer is on its question. Good for ranking, not for fine "
    "measures."
)
MIN_REFERENCES = 64
MIN_BASELINE = 85.0
_INVERSE_REGULARISATION = 10.0
_RESOLUTION: Literal["exemplar"] = "exemplar"


@dataclass(frozen=True)
class TraitModel:
    """A calibrated logistic model of a trait on embeddings.

    Attributes:
        weights: [width] of the logistic regression.
        bias: its intercept.
        slope: of the calibration; positive.
        offset: of the calibration.
        held_out: [exemplars] decision values of the high exemplars, then of the low, each from a model that did not
            see it.
    """

    weights: Floats
    bias: float
    slope: float
    offset: float
    held_out: Floats

    def scores(self, embeddings: Floats) -> Floats:
        """100 times the calibrated probability of the trait [texts] of embeddings [texts, width]."""
        from scipy.special import expit

        return 100 * expit(self.slope * (embeddings @ self.weights + self.bias) + self.offset)


@dataclass(frozen=True)
class CoherenceScale:
    """What unsteered text is like.

    Attributes:
        mean: negative log-likelihood of the references (nats per token).
        deviation: its standard deviation.
        variety: 5th percentile of their distinct bigrams.
    """

    mean: float
    deviation: float
    variety: float

    def score(self, log_likelihood: float, text: str) -> float:
        """0 to 100: falls with a likelihood more than one deviation under the mean, and with repetition."""
        z = (-log_likelihood - self.mean) / self.deviation
        return 100 * min(1.0, float(np.exp(-max(0.0, z - 1)))) * min(1.0, distinct_bigrams(text) / self.variety)


class ExemplarJudge:
    """Judges by exemplars; implements `tells.judge.Judge`.

    Args:
        embedding_folder: files of the sentence embedding; loaded when the first text is embedded.
        embedder: embeds texts as [texts, width] in the place of the folder's model.

    Raises:
        FileNotFoundError, ValueError: the folder holds no model, or one of an unknown kind (see `SentenceEmbedder`).
    """

    name = "exemplar"

    def __init__(self, embedding_folder: str | Path, *, embedder: Embedder | None = None) -> None:
        self._embedding = {"name": Path(embedding_folder).name, "revision": None}
        if embedder is None:
            embedder = SentenceEmbedder(embedding_folder)
            self._embedding = embedder.facts()
        self._embedder = embedder
        self._models: dict[Rubric, TraitModel] = {}
        self.usage = Usage()

    def facts(self) -> dict[str, Any]:
        """Provider, embedding and its revision, version of the method, resolution, and what its scores are."""
        return {
            "provider": self.name,
            "model": self._embedding["name"],
            "revision": self._embedding["revision"],
            "version": VERSION,
            "resolution": _RESOLUTION,
            "what_it_is": WHAT_IT_IS,
        }

    async def score(self, task: Task, rubric: Rubric, items: Sequence[Item]) -> list[Judgement]:
        """Judge every item, in the order given; nothing is asked of anyone.

        Args:
            task: `trait` and `scenario` alike: the probability of the trait by the text's embedding; `coherence`:
                likelihood and variety against the items with `reference=True`, which are judged as well.
            rubric: the trait.
            items: the texts; for coherence with their log-likelihoods.

        Raises:
            ValueError: an unknown task; exemplars that cannot be told apart; for coherence, fewer than 64 references or
                references that are themselves incoherent.
        """
        if task == "coherence":
            return judge_coherence(items)
        if task not in ("trait", "scenario"):
            raise ValueError(f"task must be trait, scenario or coherence, it is {task!r}")
        texts = list(dict.fromkeys(item.text for item in items if item.text.strip()))
        scores = dict(zip(texts, self.trait_model(rubric).scores(self._embedder(texts)), strict=True)) if texts else {}
        return [
            _scored(item, float(scores[item.text])) if item.text in scores else _error(item, EMPTY_TEXT)
            for item in items
        ]

    async def explain(self, rubric: Rubric, items: Sequence[Item], wanted: Literal["high", "low"]) -> list[Explanation]:
        """Empty explanations: this judge has no words."""
        return [Explanation(item.item_id, None, None) for item in items]

    def trait_model(self, rubric: Rubric) -> TraitModel:
        """The model of a trait, fitted once.

        Raises:
            ValueError: fewer than two exemplars of a pole, or exemplars that cannot be told apart.
        """
        if rubric not in self._models:
            if min(len(rubric.high), len(rubric.low)) < 2:
                raise ValueError(f"{rubric.name}: the offline judge needs at least two exemplars of each pole")
            try:
                model = fit_trait_model(self._embedder(rubric.high), self._embedder(rubric.low))
            except ValueError as error:
                raise ValueError(f"{rubric.name}: {error}") from error
            self._models[rubric] = model
        return self._models[rubric]


def fit_trait_model(high: Floats, low: Floats) -> TraitModel:
    """Fit a logistic regression to embeddings of exemplars, and calibrate it on held-out decision values.

    Exemplars are left out one of each pole at a time, those at the same place together: the classes stay balanced, and
    a sentence is not held against its own counterpart, whose likeness in all but the trait would pull it to the wrong
    side.

    Args:
        high: [high, width] embeddings of exemplars that show the trait.
        low: [low, width] of those that show its opposite.

    Raises:
        ValueError: held-out exemplars do not lie on their own sides.

    References:
        Platt, Probabilistic outputs for support vector machines (1999): the sigmoid and its smoothed targets.
    """
    embeddings = np.concatenate([high, low])
    labels = np.concatenate([np.ones(len(high)), np.zeros(len(low))])
    places = np.concatenate([np.arange(len(high)), np.arange(len(low))])
    held_out = np.empty(len(labels))
    for place in range(max(len(high), len(low))):
        out = places == place
        weights, bias = fit_logistic(embeddings[~out], labels[~out])
        held_out[out] = embeddings[out] @ weights + bias
    slope, offset = fit_sigmoid(held_out, labels)
    if slope <= 0:
        raise ValueError(
            "the exemplars of the two poles cannot be told apart by this embedding: write exemplars that differ more "
            "in the trait, or use another judge"
        )
    weights, bias = fit_logistic(embeddings, labels)
    return TraitModel(weights, bias, slope, offset, held_out)


def fit_logistic(embeddings: Floats, labels: Floats) -> tuple[Floats, float]:
    """Weights [width] and intercept of a logistic regression with balanced classes and a squared penalty.

    What scikit-learn's LogisticRegression finds, without its import, which takes longer than all fits of a job.

    Args:
        embeddings: [rows, width]
        labels: [rows] 0 or 1.
    """
    from scipy.optimize import minimize
    from scipy.special import expit

    share = labels.mean()
    importance = _INVERSE_REGULARISATION * np.where(labels == 1, 0.5 / share, 0.5 / (1 - share))

    def loss(parameters: Floats) -> tuple[float, Floats]:
        weights, bias = parameters[:-1], parameters[-1]
        logits = embeddings @ weights + bias
        value = importance @ (np.logaddexp(0, logits) - labels * logits) + weights @ weights / 2
        slopes = importance * (expit(logits) - labels)
        return float(value), np.append(embeddings.T @ slopes + weights, slopes.sum())

    start = np.zeros(embeddings.shape[1] + 1)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 1000, "gtol": 1e-6, "ftol": 1e-14})
    return found.x[:-1], float(found.x[-1])


def fit_sigmoid(decisions: Floats, labels: Floats) -> tuple[float, float]:
    """Slope and offset of the sigmoid that turns decision values into probabilities, with Platt's smoothed targets.

    Args:
        decisions: [rows]
        labels: [rows] 0 or 1.

    References:
        Platt (1999), section 2.2; Lin, Lin and Weng, A note on Platt's probabilistic outputs (2007).
    """
    from scipy.optimize import minimize
    from scipy.special import expit

    positives = labels.sum()
    negatives = len(labels) - positives
    targets = np.where(labels == 1, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    # Decision values differ in scale from trait to trait; the optimiser should not.
    scale = float(np.abs(decisions).max()) or 1.0
    features = np.stack([decisions / scale, np.ones(len(decisions))], axis=1)

    def loss(parameters: Floats) -> tuple[float, Floats]:
        logits = features @ parameters
        value = (np.logaddexp(0, logits) - targets * logits).sum()
        return float(value), features.T @ (expit(logits) - targets)

    found = minimize(loss, np.zeros(2), jac=True, method="BFGS", options={"gtol": 1e-8})
    return float(found.x[0] / scale), float(found.x[1])


def judge_coherence(items: Sequence[Item]) -> list[Judgement]:
    """Coherence of every item, measured by the items that are references.

    Args:
        items: texts with mean log-likelihoods (nats per token) under the unsteered model.

    Returns:
        In the order given; an error where a text is empty or its log-likelihood is missing.

    Raises:
        ValueError: fewer than 64 usable references, references that are all alike, or a baseline under 85.
    """
    problems = [_problem(item) for item in items]
    references = [item for item, problem in zip(items, problems, strict=True) if item.reference and problem is None]
    scale = _coherence_scale(references)
    judged = [
        _error(item, problem) if problem else _scored(item, scale.score(item.log_likelihood, item.text))
        for item, problem in zip(items, problems, strict=True)
    ]
    scores = [scale.score(item.log_likelihood, item.text) for item in references]
    baseline = float(np.mean(scores))
    if baseline < MIN_BASELINE:
        raise ValueError(
            f"the unsteered answers have a mean coherence of {baseline:.1f}; at least {MIN_BASELINE:g} is needed for "
            "them to be a measure of the others: look at them, and at temperature and stop strings"
        )
    return judged


def distinct_bigrams(text: str) -> float:
    """Distinct pairs of neighbouring words among all of them, 0 to 1.

    A mark of punctuation counts as a word. A text of fewer than two words is taken by its characters instead, so that
    one long run of the same letter is not varied; a text of one character is 1.
    """
    words: Sequence[str] = re.findall(r"\w+|[^\w\s]", text.casefold())
    if len(words) < 2:
        words = "".join(text.casefold().split())
    pairs = list(pairwise(words))
    return len(set(pairs)) / len(pairs) if pairs else 1.0


def _coherence_scale(references: Sequence[Item]) -> CoherenceScale:
    if len(references) < MIN_REFERENCES:
        raise ValueError(
            f"{len(references)} unsteered answers with a log-likelihood; coherence needs at least {MIN_REFERENCES} as "
            "its measure: draw more of them"
        )
    surprise = np.array([-item.log_likelihood for item in references])
    variety = np.array([distinct_bigrams(item.text) for item in references])
    deviation = float(surprise.std(ddof=1))
    if not deviation > 0:
        raise ValueError("all unsteered answers have the same log-likelihood, which measures nothing: draw them anew")
    return CoherenceScale(float(surprise.mean()), deviation, float(np.quantile(variety, 0.05)))


def _problem(item: Item) -> str | None:
    """Why an item can have no coherence; None where it can."""
    if not item.text.strip():
        return EMPTY_TEXT
    if item.log_likelihood is None:
        return "the text has no log-likelihood under the unsteered model"
    if not np.isfinite(item.log_likelihood):
        return f"the log-likelihood of the text is {item.log_likelihood}"
    return None


def _scored(item: Item, score: float) -> Judgement:
    return Judgement(item.item_id, score, "scored", _RESOLUTION)


def _error(item: Item, reason: str) -> Judgement:
    return Judgement(item.item_id, None, "error", _RESOLUTION, reason)
