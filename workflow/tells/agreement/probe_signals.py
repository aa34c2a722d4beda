"""Scores of the uncertainty study's probes on the samples of every study, applied as they were trained.

On the study's own runs they are those of its scores table. They are null on every run of a question that is not held
out: a probe is never scored on rows that fitted, calibrated or chose it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl

from tells.agreement.inputs import StudyInputs
from tells.agreement.signals import PLACES, PROBES, probe_name
from tells.tables import read_table
from tells.uncertainty.probe_files import HiddenStates, Probe, apply, load_probes

# Names of one token in the studies: the last of the prompt.
SAME_PLACE = {"prompt_end": "prompt_last", "prompt_last": "prompt_end"}
Reasons = dict[str, str]


def read_probes(inputs: StudyInputs, trained_here: tuple[str, str] | None) -> tuple[dict[str, Probe], Reasons]:
    """The probes by the name of their signal, and why one is not there.

    Args:
        inputs: files of the experiment.
        trained_here: tensors and record of the probes at `answer_end`; None where there are none.
    """
    own = inputs.of_study("uncertainty", "probes.safetensors"), inputs.of_study("uncertainty", "probes.json")
    names = {probe_name(probe, place): f"{probe}.{place}" if place else probe for probe, place in _variants()}
    if own[0] is None or own[1] is None:
        return {}, dict.fromkeys(names, "the experiment has no uncertainty study, whose probes these would be")
    sets = [load_probes(*own)] + ([load_probes(*trained_here)] if trained_here else [])
    fitted = {probe.name: probe for each in sets for probe in each.probes}
    unfitted = {name: reason for each in sets for name, reason in each.unfitted.items()}
    reasons = {signal: unfitted.get(name, f"no probe {name} was trained") for signal, name in names.items()}
    return (
        {signal: fitted[name] for signal, name in names.items() if name in fitted},
        {signal: reason for signal, reason in reasons.items() if names[signal] not in fitted},
    )


def _variants() -> list[tuple[str, str | None]]:
    return [(probe, place) for probe in PROBES for place in (None, *PLACES)]


def probe_signals(probes: Mapping[str, Probe], states: HiddenStates | None) -> tuple[dict[str, pl.Series], Reasons]:
    """Apply the probes to the runs of one collection.

    Args:
        probes: by the name of their signal.
        states: hidden states of its runs; None where nothing was replayed.

    Returns:
        By signal the raw scores [runs], null where a run does not have the position; and by signal why there are none.
    """
    found: dict[str, pl.Series] = {}
    reasons: Reasons = {}
    for signal, probe in probes.items():
        applied = _applied(probe, states)
        if isinstance(applied, str):
            reasons[signal] = applied
        else:
            found[signal] = pl.Series(signal, applied, nan_to_null=True)
    return found, reasons


def _applied(probe: Probe, states: HiddenStates | None) -> np.ndarray | str:
    """Raw scores [runs], NaN without the position; or why there are none."""
    if states is None:
        return "nothing was replayed here"
    place = next((one for one in (probe.position, SAME_PLACE.get(probe.position)) if one in states.positions), None)
    if place is None:
        also = f" or {SAME_PLACE[probe.position]}" if probe.position in SAME_PLACE else ""
        return f"the probe reads {probe.position}{also}, which is not replayed here (replay_positions)"
    if probe.layer not in states.layers:
        return f"the probe reads block {probe.layer}, which is not replayed here (replay.layers)"
    hidden, valid = states.states(states.layers.index(probe.layer), states.positions.index(place))
    if not valid.any():
        return f"no run here has the position {place}"
    if hidden.shape[1] != probe.weights.size:
        return f"the states have width {hidden.shape[1]}, the probe reads {probe.weights.size}"
    scores = np.full(valid.size, np.nan)
    scores[valid] = apply(probe, hidden[valid]).score
    return scores


def studied_scores(inputs: StudyInputs, probes: Mapping[str, Probe]) -> pl.DataFrame | None:
    """The scores that the study itself gave its runs: collection, prompt_id, sample, and a column a signal."""
    path = inputs.of_study("uncertainty", "scores.parquet")
    if path is None:
        return None
    table = read_table(path, "scores")
    own = {signal: f"{probe.name}.score" for signal, probe in probes.items() if f"{probe.name}.score" in table.columns}
    return table.select(
        "prompt_id",
        "sample",
        collection="dataset",
        **{signal: pl.col(column) for signal, column in own.items()},
    )
