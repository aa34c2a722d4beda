"""The probes of the uncertainty study at the end of the answer, for studies whose runs have no thought.

The study keeps a probe at the end of the prompt beside the best one; the same for the end of the answer is trained
here, on the same rows and in the same way. Layer and strength are what the study's own search found best there, so
nothing is searched again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tells.agreement.signals import PROBES
from tells.uncertainty.probe_files import Probe, ProbeSet, StatesSource
from tells.uncertainty.probe_search import best_choice
from tells.uncertainty.probes import ProbeSettings, fit_probes

ANSWER_END = "answer_end"


class OneLayer:
    """States of one layer alone, as a source of its own."""

    def __init__(self, source: StatesSource, layer: int) -> None:
        """Narrow a source.

        Args:
            source: of all layers.
            layer: block index of the one that is kept.
        """
        self._source, self._index = source, source.layers.index(layer)
        self.layers = [layer]
        self.positions = list(source.positions)

    def states(self, layer_index: int, position_index: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """States [rows, width] at that layer and a position, and which rows have it [rows]."""
        if layer_index:
            raise IndexError(f"one layer is here, there is none at {layer_index}")
        return self._source.states(self._index, position_index)


def train_answer_probes(
    runs: pl.DataFrame, source: StatesSource, probes: ProbeSet, settings: ProbeSettings
) -> ProbeSet:
    """Train the probes of correctness and of semantic entropy at `answer_end`.

    Args:
        runs: one row a run, as the study's probes were trained on.
        source: hidden states of the same rows.
        probes: the study's own.
        settings: with which they were trained.

    Returns:
        Probes named `accuracy.answer_end` and `semantic_entropy.answer_end`, and why one could not be fitted.
    """
    fitted: list[Probe] = []
    unfitted: dict[str, str] = {}
    for name in PROBES:
        found = _train(name, runs, source, probes, settings)
        if isinstance(found, str):
            unfitted[f"{name}.{ANSWER_END}"] = found
        else:
            fitted.append(found)
    return ProbeSet(tuple(fitted), unfitted)


def _train(
    name: str, runs: pl.DataFrame, source: StatesSource, probes: ProbeSet, settings: ProbeSettings
) -> Probe | str:
    known = {probe.name: probe for probe in probes.probes}
    if name not in known:
        return probes.unfitted.get(name, f"the study has no probe {name}")
    choice = best_choice(_at_answer_end(known[name].table))
    if choice is None:
        return f"{ANSWER_END} is none of the positions that the study searched (uncertainty.probes.positions)"
    narrow = replace(
        settings, positions=(ANSWER_END,), regularisation=(choice["strength"],), transfer=False, shuffles=1
    )
    again = fit_probes(runs, OneLayer(source, choice["layer"]), narrow)
    trained = {probe.name: probe for probe in again.probes}
    if name not in trained:
        return again.unfitted.get(name, "it could not be fitted")
    return replace(trained[name], name=f"{name}.{ANSWER_END}")


def _at_answer_end(table: Sequence[dict]) -> list[dict]:
    return [row for row in table if row["position"] == ANSWER_END]
