"""What looks wrong after vetting, why it is likely so, and what helps.

Behind `tells.traits.vetting`, which decides; nothing here changes what is kept. The diagnosis rests on the median
scores of the two poles.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Protocol

import polars as pl

from tells.judge.protocol import EMPTY_TEXT
from tells.traits.scenarios import NEGATIVE, POLARITIES, POSITIVE

LOW_RATE = 0.7
MAX_PROMPT_GAP = 0.05
MAX_RESPONSE_GAP = 0.2


@dataclass(frozen=True)
class Caution:
    """One thing that looks wrong.

    Attributes:
        code: `both_high`, `both_low`, `swapped`, `weak`, `refusals`, `errors` or `length`.
        stage: scenarios or responses.
        message: what was seen, with its figures.
        cause: what is likely behind it.
        cure: what to do.
    """

    code: str
    stage: str
    message: str
    cause: str
    cure: str

    def __str__(self) -> str:
        return f"{self.stage}: {self.message}. Likely cause: {self.cause}. Cure: {self.cure}."


class Counted(Protocol):
    """Counts of one stage and polarity."""

    stage: str
    polarity: str
    n: int
    n_pass: int
    n_fail: int
    n_error: int
    n_refused: int
    rate: float | None
    median_score: float | None


class Bounds(Protocol):
    """What passes."""

    positive_min: float
    negative_max: float


_DIAGNOSES = {
    "both_high": (
        "both poles score high: the model shows the trait whatever the scenario, as one tuned on instructions often "
        "does, or the scenarios do not ask for its opposite",
        "extract on a base model, or sharpen the negative scenarios",
    ),
    "both_low": (
        "both poles score low: the model never shows the trait, or the rubric asks for more than a short continuation "
        "can show",
        "sharpen the positive scenarios, lower the rubric's HIGH, or extract on a larger model",
    ),
    "swapped": (
        "the poles score the wrong way round: positive.txt and negative.txt, or the rubric's HIGH and LOW, are swapped",
        "compare the files with the rubric and exchange what is swapped",
    ),
    "weak": (
        "the poles lie on their own sides, but many scores fall short of the threshold: scenarios that leave the trait "
        "open, or a judge that hardly tells the poles apart",
        "sharpen the scenarios that fail, so that the first few tokens decide the trait, or use a stronger judge",
    ),
}


def find_cautions(
    counts: Sequence[Counted],
    scored: Mapping[str, pl.DataFrame | None],
    kept: pl.DataFrame,
    prompts: pl.DataFrame,
    samples: pl.DataFrame | None,
    thresholds: Bounds,
) -> Iterator[Caution]:
    """Everything that looks wrong, stage by stage, then lengths.

    Args:
        counts: of each stage that was judged, and polarity.
        scored: by stage, rows with prompt_id, polarity, sample (responses), reason and outcome.
        kept: the labels that survive.
        prompts: prompt_id, text.
        samples: prompt_id, sample, text of the responses; None where not at hand.
        thresholds: what passes.
    """
    for stage, table in scored.items():
        if table is None:
            continue
        poles = {count.polarity: count for count in counts if count.stage == stage}
        yield from _low_rates(stage, poles, thresholds)
        yield from _refusals(stage, poles)
        yield from _errors(stage, poles, table)
    yield from _lengths(kept, prompts, samples)


def diagnose(positive: float | None, negative: float | None, thresholds: Bounds) -> str:
    """Which of the diagnoses two median scores point to; a pole without scores counts as on its own side."""
    middle = (thresholds.positive_min + thresholds.negative_max) / 2
    positive_high = positive is None or positive > middle
    negative_high = negative is not None and negative > middle
    if positive_high:
        return "both_high" if negative_high else "weak"
    return "swapped" if negative_high else "both_low"


def _low_rates(stage: str, poles: Mapping[str, Counted], thresholds: Bounds) -> Iterator[Caution]:
    low = [count for count in poles.values() if count.rate is not None and count.rate < LOW_RATE]
    if not any(count.n_fail > count.n_refused for count in low):
        return
    code = diagnose(poles[POSITIVE].median_score, poles[NEGATIVE].median_score, thresholds)
    medians = ", ".join(f"{name} {count.median_score:.0f}" for name, count in _with_scores(poles))
    message = f"{', '.join(map(_rate, low))}, under {LOW_RATE:.0%} (median scores: {medians})"
    yield Caution(code, stage, message, *_DIAGNOSES[code])


def _with_scores(poles: Mapping[str, Counted]) -> list[tuple[str, Counted]]:
    return [(name, count) for name, count in poles.items() if count.median_score is not None]


def _rate(count: Counted) -> str:
    decided = count.n_pass + count.n_fail
    share = count.n_pass / decided
    return f"{share:.0%} of {count.polarity} {count.stage} pass ({count.n_pass}/{decided}, of {count.n})"


def _refusals(stage: str, poles: Mapping[str, Counted]) -> Iterator[Caution]:
    refused, failed = (sum(getattr(count, name) for count in poles.values()) for name in ("n_refused", "n_fail"))
    if refused and refused * 2 >= failed:
        yield Caution(
            "refusals",
            stage,
            f"the judge would not score {refused} of {sum(count.n for count in poles.values())} texts",
            "texts, or a rubric, that the judge takes for harmful or meaningless",
            "read the texts that were refused; reword the rubric or use another judge",
        )


def _errors(stage: str, poles: Mapping[str, Counted], table: pl.DataFrame) -> Iterator[Caution]:
    errors = sum(count.n_error for count in poles.values())
    if not errors:
        return
    common = _most_frequent(table.filter(pl.col("outcome") == "error")["reason"])
    cause = f"{common[0]} ({common[1]} of {errors})" if common else "the judge gave no reason"
    listed = ", ".join(f"{name} {count.n_error}" for name, count in poles.items())
    message = f"{errors} of {sum(count.n for count in poles.values())} texts have no score ({listed}); kept out"
    cure = "run again: only what is missing is asked"
    if common and common[0] == EMPTY_TEXT:
        cure = "look at the prompts, the stop strings and the number of new tokens, as the model wrote nothing"
    yield Caution("errors", stage, message, cause, cure)


def _most_frequent(texts: pl.Series) -> tuple[str, int] | None:
    """The most frequent text but for case and ends, in its first spelling, and how often; ties by appearance."""
    spellings: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for text in texts.drop_nulls().cast(pl.String).to_list():
        plain = text.strip().rstrip(".")
        if plain:
            spellings.setdefault(plain.casefold(), plain)
            counts[plain.casefold()] += 1
    if not counts:
        return None
    key, count = counts.most_common(1)[0]
    return spellings[key], count


def _lengths(kept: pl.DataFrame, prompts: pl.DataFrame, samples: pl.DataFrame | None) -> Iterator[Caution]:
    texts = []
    if "text" in prompts.columns:
        texts.append(("scenarios", prompts, ["prompt_id"], MAX_PROMPT_GAP))
    if samples is not None and "text" in samples.columns:
        responses = samples.with_columns(pl.col("sample").cast(pl.Int32))
        texts.append(("responses", responses, ["prompt_id", "sample"], MAX_RESPONSE_GAP))
    for stage, table, key, largest in texts:
        words = {}
        for polarity in POLARITIES:
            wanted = kept.filter(pl.col("polarity") == polarity).select(key).unique()
            counts = [len(text.split()) for text in table.join(wanted, on=key, how="semi")["text"].to_list()]
            words[polarity] = fmean(counts) if counts else 0.0
        shorter, longer = sorted(words.values())
        if shorter > 0 and longer - shorter > largest * shorter:
            yield Caution(
                "length",
                stage,
                f"kept positive {stage} have {words[POSITIVE]:.1f} words, negative ones {words[NEGATIVE]:.1f}",
                "poles of unlike length, of which the direction may measure the length",
                "match the lengths of the scenarios, keep pairs whole, or extract from a window of fixed size",
            )
