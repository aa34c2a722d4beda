"""The table of signals: one row a sample of any study, one column a signal, and why a signal is missing.

What a trained signal has seen is null in the table, so that nobody who reads it can score a fit on its own rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import polars as pl

from tells.agreement.inputs import StudyInputs
from tells.agreement.probe_signals import probe_signals, read_probes, studied_scores
from tells.agreement.projection_signals import (
    TraitDirection,
    projection_signals,
    read_directions,
    unseen_pairs,
    window_of_span,
)
from tells.agreement.reply_clusters import LEAST_REPLIES, meaning_signals
from tells.agreement.signals import (
    MAJORITY_SHARE,
    OUTCOMES,
    SEMANTIC_ENTROPY,
    SPANS,
    all_signals,
    projection_name,
)
from tells.agreement.study_rows import labels_by, rows_of
from tells.agreement.token_signals import CONFIDENCES, share_within, span_of, token_signals
from tells.config import STUDIES
from tells.safety.confidence import KINDS
from tells.uncertainty.probe_files import HiddenStates, Probe
from tells.uncertainty.probe_targets import held_out
from tells.uncertainty.results import UNAVAILABLE

_KEYS = ["prompt_id", "sample"]
NO_MEANING = "one response to a scenario: there is nothing to group by meaning (traits.rollouts)"


@dataclass(frozen=True)
class SignalSettings:
    """What is measured.

    Attributes:
        studies: of the experiment's definition.
        projections: traits whose directions are projected on.
        window: tokens per group of the confidences.
        fraction: share of the groups that the confidence `bottom` reads.
        seed: of the experiment.
    """

    studies: Sequence[str]
    projections: Sequence[str]
    window: int
    fraction: float
    seed: int


@dataclass(frozen=True)
class Measured:
    """The table, and what there is to say about it.

    Attributes:
        table: the signals table.
        facts: content of signals.json: `signals`, `outcomes`, `collections`, `directions`, `probes`, `absent` and
            `missing_studies`.
    """

    table: pl.DataFrame
    facts: dict[str, Any]


@dataclass(frozen=True)
class _Known:
    """What all collections share."""

    inputs: StudyInputs
    settings: SignalSettings
    probes: Mapping[str, Probe]
    directions: Sequence[TraitDirection]
    absent: list[dict[str, Any]] = field(default_factory=list)
    collections: list[dict[str, Any]] = field(default_factory=list)

    def miss(self, study: str, collection: str | None, reasons: Mapping[str, str]) -> None:
        """Note why signals are missing; of a whole study where the collection is None."""
        self.absent.extend(
            {"study": study, "collection": collection, "signal": signal, "reason": reason}
            for signal, reason in reasons.items()
        )


def measure_signals(
    inputs: StudyInputs, settings: SignalSettings, trained_here: tuple[str, str] | None = None
) -> Measured:
    """Measure every signal of every sample of an experiment.

    Args:
        inputs: files of its studies; what is missing makes a smaller table.
        settings: what is measured.
        trained_here: tensors and record of the probes at `answer_end`; None where there are none.
    """
    probes, unfitted = read_probes(inputs, trained_here)
    known = _Known(inputs, settings, probes, read_directions(inputs, settings.projections))
    signals = all_signals(settings.projections)
    parts = []
    for study in STUDIES:
        rows = rows_of(inputs, study)
        collections = inputs.collections(study)
        if collections:
            known.miss(study, None, unfitted)
        measured = [one for name in collections if (one := _collection(known, study, name)) is not None]
        found = pl.concat(measured, how="diagonal") if measured else None
        parts.append(_joined(rows, found, [signal.name for signal in signals]))
    table = pl.concat(parts)
    missing = {study: f"the experiment has no {study} study" for study in STUDIES if study not in settings.studies}
    facts = {
        "signals": [asdict(signal) for signal in signals],
        "outcomes": [asdict(outcome) for outcome in OUTCOMES],
        "collections": known.collections,
        "directions": [_told_direction(one) for one in known.directions],
        "probes": [_told_probe(name, probe) for name, probe in probes.items()],
        "absent": known.absent,
        "missing_studies": missing,
    }
    return Measured(table, facts)


def _joined(rows: pl.DataFrame, found: pl.DataFrame | None, names: Sequence[str]) -> pl.DataFrame:
    """Rows with a column for every signal, null where it is missing."""
    if found is not None:
        rows = rows.join(found, on=["collection", *_KEYS], how="left", maintain_order="left")
    columns = [pl.col(name) if name in rows.columns else pl.lit(None).alias(name) for name in names]
    first = [name for name in rows.columns if name not in names]
    return rows.select(*first, *(column.cast(pl.Float64) for column in columns))


def _collection(known: _Known, study: str, name: str) -> pl.DataFrame | None:
    """The signals of one collection: collection, prompt_id, sample and a column each."""
    shards = known.inputs.shards(study, name, "replay.parquet")
    span = span_of(study, shards)
    settings = known.settings
    runs = token_signals(shards, span=span, window=settings.window, fraction=settings.fraction) if shards else None
    states = known.inputs.states(study, name, runs)
    found = _keys(known, study, name) if runs is None else runs.drop("shard", "tensor_row")
    if found is None:
        return None
    if runs is None:
        known.miss(study, name, dict.fromkeys(_replayed_signals(settings.projections), UNAVAILABLE))
    else:
        found = _with_states(known, study, name, found, states)
    found = _with_confidences(known, study, name, found)
    found = _with_meaning(known, study, name, found)
    known.collections.append(_told_collection(known, study, name, span, found, states))
    return found.with_columns(collection=pl.lit(name))


def _keys(known: _Known, study: str, name: str) -> pl.DataFrame | None:
    """Prompts and samples of a collection that was not replayed."""
    kind = {"uncertainty": "labels", "safety": "reply_labels", "traits": "vetting"}[study]
    table = known.inputs.table(study, name, kind)
    return None if table is None else table.select(_KEYS)


def _replayed_signals(traits: Sequence[str]) -> list[str]:
    """Signals that a sample without token ids cannot have."""
    return [signal.name for signal in all_signals(traits) if signal.family != "meaning"]


def _with_states(
    known: _Known, study: str, name: str, found: pl.DataFrame, states: HiddenStates | None
) -> pl.DataFrame:
    """Scores of the probes and projections, null on rows that made them."""
    scores, why = probe_signals(known.probes, states)
    projected, why_not = projection_signals(known.directions, states)
    known.miss(study, name, {**why, **why_not})
    found = found.with_columns(*scores.values(), *projected.values())
    if study == "uncertainty":
        return _with_held_out_scores(known, name, found, list(scores))
    own = next((one for one in known.directions if study == "traits" and one.trait == name), None)
    return found if own is None or own.vector is None or states is None else _without_seen(known, own, found, states)


def _with_held_out_scores(known: _Known, name: str, found: pl.DataFrame, applied: Sequence[str]) -> pl.DataFrame:
    """The study's own scores in the place of ours, and nulls for all runs of questions that are not held out."""
    given = studied_scores(known.inputs, known.probes)
    columns = [] if given is None else [column for column in given.columns if column in known.probes]
    if given is not None:
        own = given.filter(pl.col("collection") == name).drop("collection")
        dropped = [column for column in columns if column in found.columns]
        found = found.drop(dropped).join(own, on=_KEYS, how="left", maintain_order="left")
    rows = rows_of(known.inputs, "uncertainty")
    questions = rows.filter(pl.Series(held_out(rows)) & (pl.col("collection") == name))["prompt_id"].unique()
    outside = pl.col("prompt_id").is_in(questions.implode())
    return found.with_columns(pl.when(outside).then(column).alias(column) for column in {*columns, *applied})


def _without_seen(known: _Known, own: TraitDirection, found: pl.DataFrame, states: HiddenStates) -> pl.DataFrame:
    """The projections on a trait's own direction, null where their pair fitted or chose it."""
    pairs, reason = unseen_pairs(known.inputs, own, found, states, seed=known.settings.seed)
    names = [projection_name(own.trait, span) for span in SPANS]
    present = [name for name in names if name in found.columns]
    if reason is not None:
        known.miss("traits", own.trait, dict.fromkeys(present, reason))
        return found.drop(present)
    vetting = known.inputs.table("traits", own.trait, "vetting").select(*_KEYS, "group")
    groups = found.select(_KEYS).join(vetting, on=_KEYS, how="left", maintain_order="left")["group"]
    unseen = groups.is_in(sorted(pairs))
    return found.with_columns(pl.when(unseen).then(pl.col(name)).alias(name) for name in present)


def _with_confidences(known: _Known, study: str, name: str, found: pl.DataFrame) -> pl.DataFrame:
    """The safety study's own confidences in the place of those of replay: its k and its log-probabilities."""
    table = known.inputs.table(study, name, "confidence") if study == "safety" else None
    if table is None:
        return found
    own = table.select(*_KEYS, *[pl.col(kind).alias(f"confidence_{kind}") for kind in KINDS])
    present = [column for column in CONFIDENCES if column in found.columns]
    return found.drop(present).join(own, on=_KEYS, how="left", maintain_order="left")


def _with_meaning(known: _Known, study: str, name: str, found: pl.DataFrame) -> pl.DataFrame:
    """Semantic entropy and majority share of each sample's prompt."""
    names = (SEMANTIC_ENTROPY, MAJORITY_SHARE)
    if study == "uncertainty":
        entropy = known.inputs.table(study, name, "entropy")
        enough = pl.when(pl.col("n_valid") >= LEAST_REPLIES)
        own = (
            None
            if entropy is None
            else entropy.select(
                "prompt_id", enough.then(MAJORITY_SHARE).alias(MAJORITY_SHARE), semantic_entropy=enough.then("discrete")
            )
        )
    else:
        clusters = known.inputs.table(study, name, "clusters")
        own = None if clusters is None else meaning_signals(clusters)
    if own is None:
        reason = NO_MEANING if study == "traits" else "its samples are not grouped by meaning here"
        known.miss(study, name, dict.fromkeys(names, reason))
        return found
    return found.join(own, on="prompt_id", how="left", maintain_order="left")


def _told_collection(
    known: _Known, study: str, name: str, span: str, found: pl.DataFrame, states: HiddenStates | None
) -> dict[str, Any]:
    """What a collection's signals were read from."""
    positions = states.positions if states else []
    own = known.inputs.table(study, name, "confidence") if study == "safety" else None
    return {
        "study": study,
        "collection": name,
        "n_samples": found.height,
        "labels_by": labels_by(known.inputs, study, name),
        "span": span if states else None,
        "windows": {each: window_of_span(each, positions) for each in SPANS},
        "confidence_from": "samples" if own is not None else "replay" if states else None,
        "confidence_window": known.settings.window,
        "confidence_fraction": known.settings.fraction,
        "share_within_window": share_within(found) if {*CONFIDENCES} <= {*found.columns} else None,
    }


def _told_direction(one: TraitDirection) -> dict[str, Any]:
    return {
        "trait": one.trait,
        "method": one.method,
        "layer": one.layer,
        "window": one.window,
        "status": one.status,
        "reason": one.reason,
        "projected": one.vector is not None,
    }


def _told_probe(name: str, probe: Probe) -> dict[str, Any]:
    own = ("layer", "position", "strength", "selection", "selection_value", "tau")
    return {"signal": name, "trained_on": list(probe.trained_on), **{key: getattr(probe, key) for key in own}}
