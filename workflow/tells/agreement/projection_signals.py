"""How far the states of every sample lie along each trait's direction, at the layer and by the method chosen for it.

The choice is the traits study's own, made on held-out pairs. A trait's own responses are scored only where their pair
neither fitted nor chose the direction: with 100 pairs or more the test pairs of its split, with fewer none, since then
every pair fits it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tells.agreement.inputs import StudyInputs
from tells.agreement.signals import ANSWER, SPANS, THOUGHT, projection_name
from tells.models.spans import RESPONSE_WINDOW
from tells.tables import TableError, read_json, read_metadata
from tells.traits.candidates import read_vector
from tells.traits.pair_design import SPLIT_PAIRS, design
from tells.uncertainty.probe_files import HiddenStates

_WHOLE = {ANSWER: ("answer_mean", "response"), THOUGHT: ("think_mean",)}
_END = {ANSWER: ("answer_end",), THOUGHT: ("think_end",)}


@dataclass(frozen=True, eq=False)
class TraitDirection:
    """The chosen direction of a trait.

    Attributes:
        trait: category/name.
        method: that made it.
        layer: block index.
        vector: [width] of length 1; None where there is none.
        window: whose states it was extracted from.
        status: `ok` or `insufficient`, as the traits study has it.
        reason: why there is no vector, or why it is insufficient.
    """

    trait: str
    method: str | None
    layer: int | None
    vector: NDArray[np.float32] | None
    window: str | None
    status: str
    reason: str | None


def read_directions(inputs: StudyInputs, traits: Sequence[str]) -> list[TraitDirection]:
    """The chosen directions of traits, or why there is none.

    Args:
        inputs: files of the experiment.
        traits: their names.
    """
    return [_read_direction(inputs, trait) for trait in traits]


def _read_direction(inputs: StudyInputs, trait: str) -> TraitDirection:
    record, tensors = (inputs.file("traits", trait, f"vectors.{ending}") for ending in ("json", "safetensors"))
    if record is None or tensors is None:
        return TraitDirection(trait, None, None, None, None, "absent", "the trait has no vectors here")
    content, window = read_json(record), read_metadata(tensors)["window"]
    best = content["best"] or {}
    method, layer = best.get("method"), best.get("layer")
    status, reason = content["status"], content["reason"] or best.get("reason")
    if method is None or layer is None:
        return TraitDirection(trait, None, None, None, window, status, f"no direction was chosen: {reason}")
    return TraitDirection(trait, method, layer, read_vector(tensors, method, layer), window, status, reason)


def window_of_span(span: str, positions: Sequence[str]) -> str | None:
    """The replayed position that is nearest to the mean over a span; None where there is none.

    The mean over the whole span comes first, then that over the longest beginning of a response, then its last token.

    Args:
        span: `answer` or `think`.
        positions: that were replayed.
    """
    beginnings = [name for name in positions if (found := RESPONSE_WINDOW.fullmatch(name)) and found[1]]
    beginnings.sort(key=lambda name: -int(RESPONSE_WINDOW.fullmatch(name)[1]))
    wanted = [*_WHOLE[span], *(beginnings if span == ANSWER else ()), *_END[span]]
    return next((name for name in wanted if name in positions), None)


def projection_signals(
    directions: Sequence[TraitDirection], states: HiddenStates | None
) -> tuple[dict[str, pl.Series], dict[str, str]]:
    """Project the runs of one collection on every direction, over both spans.

    Args:
        directions: of the traits.
        states: hidden states of its runs; None where nothing was replayed.

    Returns:
        By signal h·v [runs], null where a run lacks the span; and by signal why there is none.
    """
    found: dict[str, pl.Series] = {}
    reasons: dict[str, str] = {}
    for direction in directions:
        for span in SPANS:
            name = projection_name(direction.trait, span)
            values = _projected(direction, span, states)
            if isinstance(values, str):
                reasons[name] = values
            else:
                found[name] = pl.Series(name, values, nan_to_null=True)
    return found, reasons


def _projected(direction: TraitDirection, span: str, states: HiddenStates | None) -> NDArray[np.float64] | str:
    if direction.vector is None:
        return direction.reason or "no direction was chosen"
    if states is None:
        return "nothing was replayed here"
    place = window_of_span(span, states.positions)
    if place is None:
        return f"no window of the {'answer' if span == ANSWER else 'thought'} is replayed here (replay_positions)"
    if direction.layer not in states.layers:
        return f"the direction lies in block {direction.layer}, which is not replayed here (replay.layers)"
    hidden, valid = states.states(states.layers.index(direction.layer), states.positions.index(place))
    if not valid.any():
        return f"no run here has the position {place}"
    if hidden.shape[1] != direction.vector.size:
        return f"the states have width {hidden.shape[1]}, the direction has {direction.vector.size}"
    values = np.full(valid.size, np.nan)
    # Row by row, as probes are applied: a matrix product may round equal rows differently by their place.
    values[valid] = (hidden[valid].astype(np.float64) * direction.vector.astype(np.float64)).sum(axis=1)
    return values


def unseen_pairs(
    inputs: StudyInputs, direction: TraitDirection, runs: pl.DataFrame, states: HiddenStates, *, seed: int
) -> tuple[set[str], str | None]:
    """Pairs of a trait's own scenarios that neither fitted nor chose its direction.

    Args:
        inputs: files of the experiment.
        direction: of the trait.
        runs: prompt_id, sample of the rows of `states`.
        states: hidden states of the trait's own responses.
        seed: of the experiment, which split the pairs.

    Returns:
        Their groups, and why there are none.

    Raises:
        TableError: the split is not the one that the vectors were made with.
    """
    vetting = inputs.table("traits", direction.trait, "vetting")
    record = inputs.file("traits", direction.trait, "vectors.json")
    if vetting is None or record is None or direction.window not in states.positions:
        return set(), "which pairs fitted the direction cannot be told from the files here"
    _, valid = states.states(0, states.positions.index(direction.window))
    there = runs.select("prompt_id", "sample").with_columns(valid=pl.Series(valid))
    fitted = vetting.filter("kept").join(there.filter("valid"), on=["prompt_id", "sample"], how="semi")
    plan, best = design(fitted["group"].to_list(), seed=seed), read_json(record)["best"] or {}
    if (plan.kind, plan.n_pairs) != (best.get("kind"), best.get("n_pairs")):
        raise TableError(
            f"{record}: made with {best.get('n_pairs')} pairs ({best.get('kind')}), the tables here give "
            f"{plan.n_pairs} ({plan.kind}): extract the vectors again"
        )
    if plan.kind != "split":
        return set(), f"all {plan.n_pairs} pairs fitted or chose the direction: under {SPLIT_PAIRS} there is no split"
    return set(fitted["group"].gather(plan.test).to_list()), None
