"""Where probes and the hidden states they read are kept.

`HiddenStates` reads one (layer, position) slice at a time from the replay shards, in the order of a table of runs,
so that a study of many gigabytes never lies in memory. `Probe` is everything a fitted probe is; a `ProbeSet` is
stored as safetensors (the vectors) and JSON (choice, calibration, search table), without pickle, and so are its
controls, the fits of a probe on shuffled labels.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import expit

from tells.tables import TableError, read_json, read_tensors, write_json, write_tensors
from tells.uncertainty.probe_solver import Floats

FORMAT_VERSION = 2
_VECTORS = ("mean", "scale", "weights")
_CONTROL_VECTORS = ("weights", "intercepts")


class StatesSource(Protocol):
    """Hidden states of the rows of a table of runs.

    Attributes:
        layers: block index of each stored layer.
        positions: name of each stored position.
    """

    layers: list[int]
    positions: list[str]

    def states(self, layer_index: int, position_index: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """States [rows, width] at one layer and position, and which rows have that position [rows]."""
        ...


class HiddenStates:
    """Hidden states in replay shards, read slice by slice.

    Each shard holds `hidden` [shard rows, layers, positions, width] (float16 or float32) and `valid`
    [shard rows, positions]. What is asked for alone is read from disk.
    """

    def __init__(
        self,
        runs: pl.DataFrame,
        shards: Mapping[tuple[str, int], str | Path],
        *,
        layers: Sequence[int],
        positions: Sequence[str],
    ) -> None:
        """Find the place of every run.

        Args:
            runs: columns dataset, shard, tensor_row; the order of its rows is the order of all states. A run whose
                shard is null was not replayed and is valid at no position.
            shards: path of each shard by (dataset, shard number).
            layers: block index of each stored layer, in the order of the tensor.
            positions: name of each stored position, in the order of the tensor.

        Raises:
            ValueError: a column is missing or a run lies in a shard that is not listed.
        """
        missing = [name for name in ("dataset", "shard", "tensor_row") if name not in runs.columns]
        if missing:
            raise ValueError(f"runs lacks the column(s) {', '.join(missing)}: join the replay table first")
        self.layers, self.positions = list(layers), list(positions)
        self._rows = runs.height
        self._parts: list[tuple[Path, NDArray[np.int64], NDArray[np.int64]]] = []
        placed = runs.select("dataset", "shard", "tensor_row").with_row_index("row").drop_nulls()
        for (dataset, shard), part in placed.group_by(["dataset", "shard"], maintain_order=True):
            if (dataset, shard) not in shards:
                raise ValueError(f"shard {shard} of {dataset} holds {part.height} run(s) but has no file")
            rows, tensor_rows = part["row"].to_numpy(), part["tensor_row"].to_numpy()
            self._parts.append((Path(shards[(dataset, shard)]), rows.astype(int), tensor_rows.astype(int)))

    def states(self, layer_index: int, position_index: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """States [rows, width] and validity [rows] at one layer and position; rows without it are zero.

        Raises:
            TableError: a shard is absent, truncated, or of another shape.
        """
        valid = np.zeros(self._rows, dtype=bool)
        states: NDArray[np.float32] | None = None
        for path, rows, tensor_rows in self._parts:
            part, part_valid = self._read(path, layer_index, position_index)
            if tensor_rows.max() >= len(part):
                raise TableError(f"{path}: holds {len(part)} rows, the table asks for row {tensor_rows.max()}")
            if states is None:
                states = np.zeros((self._rows, part.shape[1]), dtype=np.float32)
            if part.shape[1] != states.shape[1]:
                raise TableError(f"{path}: width {part.shape[1]}, other shards have {states.shape[1]}")
            valid[rows] = part_valid[tensor_rows] != 0
            states[rows] = part[tensor_rows]
        if states is None:
            return np.zeros((self._rows, 0), dtype=np.float32), valid
        states[~valid] = 0.0
        return states, valid

    def _read(self, path: Path, layer_index: int, position_index: int) -> tuple[NDArray, NDArray]:
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(str(path), framework="numpy") as opened:
                hidden, valid = opened.get_slice("hidden"), opened.get_slice("valid")
                shape = hidden.get_shape()
                if shape[1:3] != [len(self.layers), len(self.positions)]:
                    raise TableError(
                        f"{path}: hidden is {shape}; expected {len(self.layers)} layers and "
                        f"{len(self.positions)} positions"
                    )
                return (
                    np.asarray(hidden[:, layer_index, position_index]),
                    np.asarray(valid[:, position_index]),
                )
        except FileNotFoundError:
            raise TableError(f"{path}: no such file; run the replay of its shard") from None
        except SafetensorError as error:
            raise TableError(f"{path}: not a replay shard ({error}); delete it and make it again") from None


@dataclass(frozen=True)
class Probe:
    """A fitted linear probe.

    Attributes:
        name: its target, with `.prompt_end`, `.token_entropy` or `@dataset` for variants.
        target: what it predicts.
        kind: `logistic`, or `ridge` (a continuous target; no probability).
        layer: block index; None when the feature is a column of the runs.
        position: position name, or the column.
        strength: C.
        mean: [width] of the training rows.
        scale: [width] of the training rows.
        weights: [width] on standardised states.
        intercept: of the raw score.
        slope: of the Platt calibration; None when it has none.
        offset: of the Platt calibration.
        tau: threshold of the target in nats; None when the target has none.
        trained_on: data sets with training rows.
        selection: how layer, position and C were chosen: `validation`, `cross_validation` or `none`.
        selection_value: the metric of the choice there (AUROC; Spearman for ridge).
        table: the search, one mapping a choice: layer, position, strength, value.
        n_train_rows: rows fitted.
        n_train_questions: their questions.
        n_validation_rows: rows the calibration saw.
        n_validation_questions: their questions.
        seed: of the folds.
        note: what to know, such as why there is no calibration.
    """

    name: str
    target: str
    kind: str
    layer: int | None
    position: str
    strength: float
    mean: Floats
    scale: Floats
    weights: Floats
    intercept: float
    slope: float | None
    offset: float | None
    tau: float | None
    trained_on: tuple[str, ...]
    selection: str
    selection_value: float | None
    table: tuple[dict[str, Any], ...]
    n_train_rows: int
    n_train_questions: int
    n_validation_rows: int
    n_validation_questions: int
    seed: int
    note: str | None = None


@dataclass(frozen=True)
class Control:
    """A probe's fit repeated on shuffled labels: same rows, layer, position and C, and nothing to learn.

    Attributes:
        name: the probe's, with `.shuffled`.
        probe: name of the probe, whose `mean` and `scale` standardise the states here too.
        weights: [shuffles, width] on standardised states.
        intercepts: [shuffles] of the raw scores.
        n_undefined: shuffles without a fit, because they left the training rows with one class.
        seed: of the shuffles.
    """

    name: str
    probe: str
    weights: Floats
    intercepts: Floats
    n_undefined: int
    seed: int


@dataclass(frozen=True)
class ProbeSet:
    """Probes of one study, their controls, and why others could not be fitted.

    Attributes:
        probes: the fitted probes.
        unfitted: reason by the name of each probe or control that could not be fitted.
        controls: fits on shuffled labels.
    """

    probes: tuple[Probe, ...]
    unfitted: dict[str, str] = field(default_factory=dict)
    controls: tuple[Control, ...] = ()

    def __getitem__(self, name: str) -> Probe:
        for probe in self.probes:
            if probe.name == name:
                return probe
        raise KeyError(f"no probe {name!r}; there are {', '.join(probe.name for probe in self.probes)}")


class Applied(NamedTuple):
    """Raw score [rows] (larger predicts class 1) and calibrated probability [rows], if the probe has one."""

    score: Floats
    probability: Floats | None


def apply(probe: Probe, states: NDArray) -> Applied:
    """Score states with a probe.

    Args:
        probe: the probe.
        states: [rows, width] at the probe's layer and position.

    Raises:
        ValueError: the width differs from the probe's.
    """
    values = np.asarray(states, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] != probe.weights.size:
        raise ValueError(
            f"probe {probe.name} reads [rows, {probe.weights.size}] states of layer {probe.layer} at "
            f"{probe.position}; got {list(values.shape)}"
        )
    # Not a matrix product: it may round equal rows differently by their place and break ties within a question.
    score = (((values - probe.mean) / probe.scale) * probe.weights).sum(axis=1) + probe.intercept
    if probe.slope is None or probe.offset is None:
        return Applied(score, None)
    return Applied(score, expit(probe.slope * score + probe.offset))


def apply_control(control: Control, probe: Probe, states: NDArray) -> Floats:
    """Raw scores [shuffles, rows] of a control.

    Args:
        control: the control.
        probe: the probe it belongs to.
        states: [rows, width] at the probe's layer and position.

    Raises:
        ValueError: the probe is another one, or the width differs.
    """
    if control.probe != probe.name:
        raise ValueError(f"control {control.name} belongs to probe {control.probe}, not to {probe.name}")
    shuffles = zip(control.weights, control.intercepts.tolist(), strict=True)
    return np.stack(
        [apply(replace(probe, weights=weights, intercept=intercept), states).score for weights, intercept in shuffles]
    )


def selection_heatmap(probe: Probe) -> list[dict[str, Any]]:
    """Best search value of each (layer, position) over C, one mapping each: layer, position, strength, value."""
    best: dict[tuple[int, str], dict[str, Any]] = {}
    for choice in probe.table:
        place = (choice["layer"], choice["position"])
        value = choice["value"]
        if place not in best or (value is not None and value > (best[place]["value"] or -np.inf)):
            best[place] = dict(choice)
    return list(best.values())


def save_probes(
    path_safetensors: str | Path,
    path_json: str | Path,
    probes: ProbeSet,
    *,
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Write a probe set: vectors `{name}.mean`, `.scale`, `.weights` as safetensors, all else as JSON.

    A control has `.weights` [shuffles, width] and `.intercepts` [shuffles].

    Raises:
        ValueError: two probes have one name.
    """
    names = [each.name for each in (*probes.probes, *probes.controls)]
    if len(set(names)) != len(names):
        raise ValueError(f"probe names must differ, got {', '.join(names)}")
    tensors = {f"{probe.name}.{name}": getattr(probe, name) for probe in probes.probes for name in _VECTORS}
    tensors |= {f"{each.name}.{name}": getattr(each, name) for each in probes.controls for name in _CONTROL_VECTORS}
    write_tensors(path_safetensors, tensors, metadata or {})
    content = {
        "format_version": FORMAT_VERSION,
        "probes": [_scalars(probe, _VECTORS) for probe in probes.probes],
        "controls": [_scalars(control, _CONTROL_VECTORS) for control in probes.controls],
        "unfitted": dict(probes.unfitted),
    }
    write_json(path_json, content, metadata=metadata or {})


def _scalars(fitted: Probe | Control, vectors: Sequence[str]) -> dict[str, Any]:
    return {
        entry.name: getattr(fitted, entry.name) for entry in dataclasses.fields(fitted) if entry.name not in vectors
    }


def load_probes(path_safetensors: str | Path, path_json: str | Path) -> ProbeSet:
    """Read what `save_probes` wrote.

    Raises:
        TableError: a file is absent, truncated, of another format, or the two do not belong together.
    """
    content = read_json(path_json)
    if not isinstance(content, dict) or content.get("format_version") != FORMAT_VERSION:
        raise TableError(f"{path_json}: not a probe file of format {FORMAT_VERSION}; train the probes again")
    kinds: list[tuple[type[Probe | Control], str, Sequence[str]]] = [
        (Probe, "probes", _VECTORS),
        (Control, "controls", _CONTROL_VECTORS),
    ]
    wanted = [f"{entry['name']}.{name}" for _, key, names in kinds for entry in content[key] for name in names]
    tensors = read_tensors(path_safetensors, wanted)
    loaded: dict[str, list[Any]] = {key: [] for _, key, _ in kinds}
    for kind, key, names in kinds:
        known = {entry.name for entry in dataclasses.fields(kind)} - set(names)
        for entry in content[key]:
            if set(entry) != known:
                raise TableError(f"{path_json}: {key} {entry.get('name')!r} has other fields; train the probes again")
            lists = {name: tuple(entry[name]) for name in ("trained_on", "table") if name in entry}
            vectors = {name: tensors[f"{entry['name']}.{name}"] for name in names}
            loaded[key].append(kind(**{**entry, **lists, **vectors}))
    return ProbeSet(tuple(loaded["probes"]), dict(content["unfitted"]), tuple(loaded["controls"]))
