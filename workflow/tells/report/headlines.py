"""The few figures by which studies are told apart, with interval and n: for an overview and for comparisons.

Each comes from a results.json as it stands there; nothing is computed here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_PROXY = "harm by an offline proxy"
_OFFLINE_JUDGE = "scored by the offline judge"
_KNOWN_SIGNALS = ("token_entropy_mean", "semantic_entropy")
_OUTCOME_WORDS = {
    "correct": "a right answer",
    "refused": "refusal",
    "harmful": "harm",
    "shows_trait": "showing the trait",
}


@dataclass(frozen=True)
class Headline:
    """One figure of one study.

    Attributes:
        study: uncertainty, traits, safety or agreement.
        subject: the data set, trait or benchmark it is about.
        figure: what it is, with its unit if it has one; equal words in all experiments.
        value: None where it is undefined.
        low: lower end of its interval; None where there is none.
        high: upper end.
        level: of the interval; None where the file does not say it.
        n: what it rests on, in words: `32 questions`.
        split: `test`, `held out`, `report questions`, `all traces` or `all`.
        chance: what it would be without knowledge; None where that has no meaning.
        note: who judged, or why there is no value.
    """

    study: str
    subject: str
    figure: str
    value: float | None
    low: float | None
    high: float | None
    level: float | None
    n: str
    split: str
    chance: float | None = None
    note: str | None = None


def headlines(study: str, results: Mapping[str, Any]) -> list[Headline]:
    """The headline figures of a study.

    Args:
        study: uncertainty, traits, safety or agreement.
        results: what its results.json holds.

    Raises:
        KeyError: no such study, or the file lacks what its kind has.
    """
    return list(_OF_STUDY[study](results))


def _uncertainty(results: Mapping[str, Any]) -> Iterator[Headline]:
    for record in results["accuracy"]:
        if record["metric"] == "accuracy_all_runs":
            yield _record(record, "accuracy of sampled answers", "all runs", None)
    wanted = {
        ("accuracy", "accuracy"): "AUROC, probe for correctness",
        ("accuracy", "discrete"): "AUROC, sampled semantic entropy for correctness",
        ("accuracy", "token_entropy"): "AUROC, token entropy for correctness",
        ("semantic_entropy", "semantic_entropy"): "AUROC, probe for high semantic entropy",
    }
    for record in results["records"]:
        name = wanted.get((record["outcome"], record["score"]))
        if name is not None and record["metric"] == "auroc":
            split = "test" if record["distribution"] == "in" else "test, out of distribution"
            yield _record(record, name, split, 0.5)


def _record(record: Mapping[str, Any], figure: str, split: str, chance: float | None) -> Headline:
    n = f"{record['n_rows']} runs of {record['n_questions']} questions"
    ends = (record["value"], record["low"], record["high"], record["level"])
    return Headline("uncertainty", record["dataset"], figure, *ends, n, split, chance, record["reason"])


def _traits(results: Mapping[str, Any]) -> Iterator[Headline]:
    judge = results["metadata"].get("judge") or {}
    note = _OFFLINE_JUDGE if judge.get("provider") == "exemplar" else None
    for trait in results["traits"]:
        held = (trait["best_by_validation"] or {}).get("held_out") or {}
        figures, band = held.get("figures") or {}, held.get("null_band") or {}
        ends = (figures.get(f"cohens_d{end}") for end in ("", "_low", "_high"))
        n = f"{figures.get('n_pairs', trait['pairs'])} pairs"
        reason = trait["reason"] if not figures else note
        yield Headline(
            "traits", trait["trait"], "effect size d", *ends, 0.95, n, "held out", band.get("cohens_d"), reason
        )
        if trait["steering"] is not None:
            steered = trait["steering"]["steered"] or {}
            ends = (steered.get(key) for key in ("delta", "low", "high"))
            n = f"{steered.get('n', 0)} answers to {steered.get('n_questions', 0)} questions"
            random = trait["steering"]["random"]["percentile_95"]
            yield Headline("traits", trait["trait"], "steering delta", *ends, 0.95, n, "report questions", random, note)


def _safety(results: Mapping[str, Any]) -> Iterator[Headline]:
    harm = results["metadata"]["classifiers"]["harm"]
    note = _PROXY if harm == "embedding" else f"harm by {harm}"
    for benchmark in results["benchmarks"]:
        name, level = benchmark["benchmark"], benchmark["hypothesis"]["level"]
        shown = {
            ("harmful_compliance", "asr_at_1"): "harmful compliance, mean ASR@1",
            ("over_refusal", "asr_at_1"): "over-refusal, mean over traces",
        }
        for rate in benchmark["rates"]["all"]:
            figure = shown.get((rate["measure"], rate["rate"]))
            if figure is not None:
                n = f"{rate['n_replies']} traces of {rate['n_prompts']} prompts"
                ends = (rate["value"], rate["low"], rate["high"], level)
                said = note if rate["measure"] == "harmful_compliance" else None
                yield Headline("safety", name, figure, *ends, n, "all traces", None, rate["reason"] or said)
        found = benchmark["hypothesis"]["risk_difference"]["difference"]
        n = f"{found['n']} complied traces of {found['n_prompts']} prompts"
        ends = (found["value"], found["low"], found["high"], level)
        figure = "risk difference, uncertain less confident compliance"
        yield Headline("safety", name, figure, *ends, n, "all traces", 0.0, found["reason"] or note)
        for arm in benchmark["arms"]:
            if arm["arm"] == "adaptive":
                for key, figure in (("saving", "tokens saved, adaptive"), ("agreement", "agreement, adaptive")):
                    one = arm[key]
                    ends = (one["estimate"], one["low"], one["high"], level)
                    yield Headline(
                        "safety", name, figure, *ends, f"{one['n']} prompts", "all traces", None, one["reason"]
                    )


def _agreement(results: Mapping[str, Any]) -> Iterator[Headline]:
    for record in results["records"]:
        # The best of a table would flatter itself: told are signals that are chosen beforehand.
        if record["signal"] in _KNOWN_SIGNALS and record["n_rows"]:
            ends = (record["auroc"], record["auroc_low"], record["auroc_high"], record["level"])
            n = f"{record['n_rows']} samples of {record['n_groups']} groups"
            figure = f"AUROC, {record['signal'].replace('_', ' ')} for {_OUTCOME_WORDS[record['outcome']]}"
            yield Headline("agreement", record["collection"], figure, *ends, n, record["split"], 0.5, record["reason"])
    for one in results["combined"]:
        gain = one["gain"]
        ends = (gain["value"], gain["low"], gain["high"], one["level"])
        n = f"{one['n_rows']} samples of {one['n_groups']} groups"
        figure = f"gain of all signals over the best one, {_OUTCOME_WORDS[one['outcome']]}"
        yield Headline("agreement", one["collection"], figure, *ends, n, one["split"], 0.0, one["reason"])


_OF_STUDY: dict[str, Callable[[Mapping[str, Any]], Iterator[Headline]]] = {
    "uncertainty": _uncertainty,
    "traits": _traits,
    "safety": _safety,
    "agreement": _agreement,
}
