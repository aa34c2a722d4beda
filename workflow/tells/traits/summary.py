"""One trait on a page, and all traits in one table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from tells.traits.scenarios import POLARITIES

NOT_CONFIRMED = "not confirmed"
_ENDINGS = {
    "chosen": "steered",
    "no_effect": "no effect",
    "no_valid_point": "no valid point",
    "no_vectors": "no vector chosen",
}


def summarise_trait(
    name: str,
    vetting: Mapping[str, Any],
    record: Mapping[str, Any],
    *,
    choice: Mapping[str, Any] | None,
    effects: Mapping[str, Any] | None,
    explanations: Sequence[Mapping[str, Any]] = (),
    min_coherence: float | None = None,
) -> dict[str, Any]:
    """Everything about one trait.

    Args:
        name: category/name.
        vetting: what vetting found.
        record: figures of the vectors.
        choice: the steering point; None where the trait is not steered.
        effects: what it is worth on the report questions.
        explanations: why responses failed.
        min_coherence: below it, a steered answer's trait score proves nothing.

    Returns:
        Rates with their counts, the best vector by validation with its held-out figures, the best point by steering
        with its effect beside its controls, status and warnings.
    """
    counted = {(one["stage"], one["polarity"]): one for one in vetting["stages"]}
    status, reason = _status(vetting, record, choice, effects)
    return {
        "trait": name,
        "status": status,
        "reason": reason,
        "scenarios": _stage(counted, "scenarios"),
        "responses": _stage(counted, "responses"),
        "survivors": vetting["survivors"],
        "pairs": vetting["pairs"],
        "n_vectors": record["n_vectors"],
        "n_empty": record["n_empty"],
        "best_by_validation": record["best"],
        "best_by_steering": None if choice is None else choice["optimum"],
        "search": None if choice is None else {key: choice[key] for key in ("baseline", "invalid", "n_questions")},
        "steering": effects,
        "warnings": _warnings(vetting, record, choice, effects, explanations, min_coherence),
    }


def table_row(summary: Mapping[str, Any]) -> dict[str, Any]:
    """A trait's row of the table of all traits; numbers that do not exist are None."""
    best, point = summary["best_by_validation"] or {}, summary["best_by_steering"] or {}
    held = (best.get("held_out") or {}).get("figures") or {}
    effects = summary["steering"] or {}
    steered, random, prompting = (effects.get(kind) or {} for kind in ("steered", "random", "prompting"))
    rates = {
        f"{stage}_{polarity}_{figure}": ((summary[stage] or {}).get(polarity) or {}).get(figure)
        for stage in ("scenarios", "responses")
        for polarity in POLARITIES
        for figure in ("n", "n_pass", "n_fail", "n_error", "rate")
    }
    return {
        "trait": summary["trait"],
        "status": summary["status"],
        "reason": summary["reason"],
        **rates,
        "pairs": summary["pairs"],
        "n_vectors": summary["n_vectors"],
        "best_method": best.get("method"),
        "best_layer": best.get("layer"),
        "held_out_cohens_d": held.get("cohens_d"),
        "held_out_cohens_d_low": held.get("cohens_d_low"),
        "held_out_cohens_d_high": held.get("cohens_d_high"),
        "held_out_auc": held.get("auc"),
        "steered_method": point.get("method"),
        "steered_layer": point.get("layer"),
        "ratio": point.get("ratio"),
        "coefficient": point.get("coefficient"),
        "delta": steered.get("delta"),
        "delta_low": steered.get("low"),
        "delta_high": steered.get("high"),
        "coherence": steered.get("coherence"),
        "n_report": steered.get("n"),
        "random_mean": random.get("mean"),
        "random_percentile_95": random.get("percentile_95"),
        "prompting_delta": prompting.get("delta"),
        "exceeds_random": effects.get("exceeds_random"),
        "warnings": list(summary["warnings"]),
    }


_REAL_PARTS = ("rate", "cohens_d", "auc", "ratio", "coefficient", "delta", "coherence", "random")
_TEXTS = ("trait", "status", "reason", "best_method", "steered_method")


def traits_table(summaries: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """All traits, one row each, with the same types whatever is missing."""
    rows = [table_row(summary) for summary in summaries]
    return pl.DataFrame(rows, schema={name: _type_of(name) for name in rows[0]})


def _type_of(name: str) -> Any:
    if name in _TEXTS:
        return pl.String
    if name == "warnings":
        return pl.List(pl.String)
    if name == "exceeds_random":
        return pl.Boolean
    return pl.Float64 if any(part in name for part in _REAL_PARTS) else pl.Int64


def _stage(counted: Mapping[tuple[str, str], Mapping[str, Any]], stage: str) -> dict[str, Any] | None:
    found = {polarity: counted[stage, polarity] for polarity in POLARITIES if (stage, polarity) in counted}
    return found or None


def _status(
    vetting: Mapping[str, Any],
    record: Mapping[str, Any],
    choice: Mapping[str, Any] | None,
    effects: Mapping[str, Any] | None,
) -> tuple[str, str | None]:
    """How far a trait came: the report questions decide what the search questions promised."""
    if vetting["status"] == "insufficient":
        return "insufficient", vetting["reason"]
    if record["status"] != "ok":
        return record["status"], record["reason"]
    if choice is None:
        return "vectors", None
    if choice["status"] == "no_valid_point":
        counts = (f"{name.replace('_', ' ')}: {count} points" for name, count in choice["invalid"].items())
        return _ENDINGS["no_valid_point"], ", ".join(counts)
    doubts = _doubts(effects) if choice["status"] == "chosen" else None
    return (NOT_CONFIRMED, doubts) if doubts else (_ENDINGS[choice["status"]], None)


def _doubts(effects: Mapping[str, Any] | None) -> str | None:
    """Why the report questions do not confirm the choice; None where they do."""
    steered = effects and effects["steered"]
    if not effects or not steered or steered["delta"] is None:
        return "no answer to the report questions has a score"
    doubts = []
    if steered["low"] is None or steered["low"] <= 0:
        doubts.append("the interval of the steered delta does not lie above zero")
    if not effects["exceeds_random"]:
        doubts.append("the steered delta does not exceed the 95th percentile of the random vectors")
    return "; ".join(doubts) or None


def _warnings(
    vetting: Mapping[str, Any],
    record: Mapping[str, Any],
    choice: Mapping[str, Any] | None,
    effects: Mapping[str, Any] | None,
    explanations: Sequence[Mapping[str, Any]],
    min_coherence: float | None,
) -> list[str]:
    warnings = [
        f"{one['stage']}: {one['message']}. Likely cause: {one['cause']}. Cure: {one['cure']}."
        for one in vetting["warnings"]
    ]
    confounds = Counter(one["confound"] for one in explanations if one["confound"])
    if confounds:
        named = "; ".join(f"{confound} ({count})" for confound, count in confounds.most_common(3))
        warnings.append(f"failed responses were mistaken for: {named}")
    best = record["best"]
    if best and best["method"] is not None:
        chosen = next(
            one for one in record["records"] if (one["method"], one["layer"]) == (best["method"], best["layer"])
        )
        warnings += list(chosen["warnings"])
    optimum = choice and choice["optimum"]
    if optimum and optimum["at_bound"]:
        end = {"upper": "largest", "lower": "smallest"}[optimum["at_bound"]]
        warnings.append(f"the chosen ratio is the {end} that was tried: widen steer.ratios")
    if optimum and optimum["mirrored"]:
        warnings.append("the trait rises against its vector: the chosen ratio is negative")
    steered = effects and effects["steered"]
    if effects and steered and effects["exceeds_random"] is False:
        warnings.append(
            f"the steered delta ({steered['delta']:.1f}) does not exceed the 95th percentile of "
            f"{effects['random']['n']} random vectors ({effects['random']['percentile_95']:.1f})"
        )
    random_coherence = effects and effects["random"]["coherence"]
    if random_coherence is not None and min_coherence is not None and random_coherence < min_coherence:
        warnings.append(
            f"random vectors of this length break the text (coherence {random_coherence:.1f}): to exceed them says less"
        )
    if steered and steered["low"] is not None and steered["low"] <= 0 <= steered["high"]:
        warnings.append(
            f"the interval of the steered delta covers zero: {steered['delta']:.1f} "
            f"[{steered['low']:.1f}, {steered['high']:.1f}] on {steered['n_questions']} questions"
        )
    coherence = steered and steered["coherence"]
    if coherence is not None and min_coherence is not None and coherence < min_coherence:
        warnings.append(f"coherence on the report questions is {coherence:.1f}, below {min_coherence:g}")
    if steered and (missing := steered["n_missing"] + steered["n_missing_coherence"]):
        warnings.append(f"{missing} scores are missing in the report")
    return warnings
