"""The signals and the outcomes: what each is, and which direction it is read in.

No direction is fitted. Every signal is read as *sureness*: what is larger when the model is less sure (entropies, the
probe of semantic entropy, length) is negated, and a projection is taken as its vector points. Sureness is taken to
predict the good outcome: that an answer is correct, that a reply refuses, that a reply does not harm; and that a
response shows its trait. An AUROC below a half says that the opposite holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

PROJECTION = "projection"
ANSWER, THOUGHT = "answer", "think"
SPANS = (ANSWER, THOUGHT)
TEST, ALL = "test", "all"
LENGTH = "length"
PROBES = ("accuracy", "semantic_entropy")
PLACES = ("prompt_end", "answer_end")
SEMANTIC_ENTROPY, MAJORITY_SHARE = "semantic_entropy", "majority_share"


@dataclass(frozen=True)
class Signal:
    """One signal of a sample.

    Attributes:
        name: its column in signals.parquet.
        family: token_entropy, log_likelihood, confidence, meaning, probe, projection or length.
        sureness: +1 where larger values are read as surer, -1 where they are read as less sure.
        unit: of its values.
        meaning: what it is, in a line.
    """

    name: str
    family: str
    sureness: int
    unit: str
    meaning: str


@dataclass(frozen=True)
class Outcome:
    """One outcome of a sample.

    Attributes:
        name: its column in signals.parquet.
        study: the study whose samples have it.
        sureness: +1 where sureness is taken to predict class 1, -1 where it is taken to predict class 0.
        meaning: what class 1 is, in a line.
        score: column of the number that it was made of; None where there is none.
    """

    name: str
    study: str
    sureness: int
    meaning: str
    score: str | None = None


OUTCOMES = (
    Outcome("correct", "uncertainty", 1, "the answer is right"),
    Outcome("refused", "safety", 1, "the reply refuses, in full or in part"),
    Outcome("harmful", "safety", -1, "the reply complies and harms; among complied replies"),
    Outcome("shows_trait", "traits", 1, "the response passes as positive, not as negative", score="trait_score"),
)

_SPAN = "over the thought (uncertainty) or the answer (safety, traits)"
_FIXED = (
    Signal("token_entropy_mean", "token_entropy", -1, "nats", f"mean exact token entropy {_SPAN}"),
    Signal("token_entropy_max", "token_entropy", -1, "nats", f"largest exact token entropy {_SPAN}"),
    Signal(
        "token_entropy_last10", "token_entropy", -1, "nats", f"mean exact token entropy of the last 10 tokens {_SPAN}"
    ),
    Signal("log_likelihood", "log_likelihood", 1, "nats", "sum of the log-probabilities of the answer's tokens"),
    Signal("mean_log_likelihood", "log_likelihood", 1, "nats per token", "the same, per token"),
    Signal("confidence_mean", "confidence", 1, "nats", f"DeepConf confidence, mean {_SPAN}"),
    Signal("confidence_lowest", "confidence", 1, "nats", f"DeepConf confidence, lowest group {_SPAN}"),
    Signal("confidence_bottom", "confidence", 1, "nats", f"DeepConf confidence, mean of the lowest groups {_SPAN}"),
    Signal("confidence_tail", "confidence", 1, "nats", f"DeepConf confidence, last window {_SPAN}"),
    Signal(SEMANTIC_ENTROPY, "meaning", -1, "nats", "discrete semantic entropy of all samples of the prompt"),
    Signal(MAJORITY_SHARE, "meaning", 1, "share", "share of the prompt's samples that mean what most of them mean"),
)
_LENGTH = Signal(LENGTH, "length", -1, "tokens", "generated tokens, the end token included")


def probe_name(probe: str, place: str | None = None) -> str:
    """Column of a probe's score; `place` for the variant that reads one position alone."""
    return ".".join(("probe", probe, *((place,) if place else ())))


def projection_name(trait: str, span: str) -> str:
    """Column of the projection on a trait's direction over a span."""
    return f"{PROJECTION}.{trait}.{span}"


def split_of(study: str, collection: str, *signals: str) -> str:
    """The split of the samples that a figure rests on: `test` questions, or `all` samples.

    A trait's own direction has values on the test pairs of its split alone.

    Args:
        study: of the samples.
        collection: of the samples.
        *signals: that the figure is of.
    """
    own = {projection_name(collection, span) for span in SPANS} if study == "traits" else set()
    return TEST if study == "uncertainty" or not own.isdisjoint(signals) else ALL


def _probe_signals() -> list[Signal]:
    what = {"accuracy": ("that the answer is right", 1), "semantic_entropy": ("that the entropy is high", -1)}
    found = []
    for probe in PROBES:
        meaning, sureness = what[probe]
        for place in (None, *PLACES):
            where = "at its own position" if place is None else f"at {place}"
            text = f"linear probe of the uncertainty study, {meaning}, {where}; raw score"
            found.append(Signal(probe_name(probe, place), "probe", sureness, "log-odds", text))
    return found


def _projection_signals(traits: Iterable[str]) -> list[Signal]:
    words = {ANSWER: "the answer", THOUGHT: "the thought"}
    return [
        Signal(
            projection_name(trait, span),
            PROJECTION,
            1,
            "activation",
            f"mean state of {words[span]} along the direction of {trait}, at its chosen layer",
        )
        for trait in traits
        for span in SPANS
    ]


def all_signals(traits: Sequence[str]) -> list[Signal]:
    """Every signal there can be, in the order of the table.

    Args:
        traits: names of the traits whose directions are projected on.
    """
    return [*_FIXED, *_probe_signals(), *_projection_signals(traits), _LENGTH]


def outcomes_of(study: str) -> list[Outcome]:
    """The outcomes that a study's samples have."""
    return [outcome for outcome in OUTCOMES if outcome.study == study]


def direction(signal: Signal, outcome: Outcome) -> int:
    """+1 where larger values of the signal are taken to predict class 1 of the outcome, -1 where smaller ones are."""
    return signal.sureness * outcome.sureness
