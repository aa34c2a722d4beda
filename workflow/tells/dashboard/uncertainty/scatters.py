"""The cards of runs: scatters by two scores, the map of hidden states, and rings around the runs that are opened."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import plotly.graph_objects as go
import polars as pl
from dash import Patch, html

from tells.dashboard.binding import choice
from tells.dashboard.components import empty_box
from tells.dashboard.store import Store
from tells.dashboard.uncertainty.captions import captioned
from tells.dashboard.uncertainty.runs import opened_keys, opened_questions, runs_of, score_columns, table_of
from tells.dashboard.uncertainty.state import ALL, PAGE, Chosen
from tells.report.figures.uncertainty import (
    entropy_against_probe_margin,
    margin_against_entropy,
    mark_opened,
    rings,
    state_map,
)

Children = Any
_TARGET_ENTROPY = "semantic_entropy_raw"
_ENTROPIES = (
    _TARGET_ENTROPY,
    *("discrete", "discrete_normalised", "rao", "naive", "kernel_language_entropy"),
    *("entropy_think_mean", "entropy_think_max", "entropy_think_last10"),
)
_ENTROPY_PROBE = "semantic_entropy"
_CATEGORIES = ("correct", "dataset", "split")


def scatter_id(name: str) -> dict[str, str]:
    """Identifier of a scatter, for callbacks: `margin`, `entropy` or `map`."""
    return {"page": PAGE, "scatter": name}


def axes_of(state: Chosen) -> dict[str, tuple[str, str]]:
    """Columns of the horizontal and vertical axis of each scatter."""
    return {
        "margin": (state.entropy, state.score),
        "entropy": (state.entropy_probe, state.entropy),
        "map": ("x", "y"),
    }


def margin_card(found: Store, state: Chosen) -> Children:
    """Probe margin against entropy, with the threshold.

    Raises:
        LookupError: there is no such experiment.
        TableError: a file is absent or not whole.
    """
    if (nothing := no_table(found, state)) is not None:
        return nothing
    columns = score_columns(found, state.experiment)
    controls = [
        _columns("score", "Margin of", [one for one in columns if one.endswith(".score")], state.score),
        _columns("entropy", "Entropy, in both figures", [one for one in _ENTROPIES if one in columns], state.entropy),
    ]
    rows = runs_of(found, state, (state.entropy, state.score))
    tau, said = _threshold(found, state, _ENTROPY_PROBE)
    figure = margin_against_entropy(
        rows, score=state.score, entropy=state.entropy, tau=tau, dataset=_one(state.dataset), split=_one(state.split)
    )
    return html.Div([_row(controls), _scatter(found, state, figure, "margin"), *_notes(state, said)])


def entropy_card(found: Store, state: Chosen) -> Children:
    """Semantic entropy against the margin of the probe that predicts it.

    Raises:
        LookupError: there is no such experiment.
        TableError: a file is absent or not whole.
    """
    if (nothing := no_table(found, state)) is not None:
        return nothing
    columns = score_columns(found, state.experiment)
    probes = [one for one in columns if one.startswith(_ENTROPY_PROBE) and one.endswith(".score")]
    rows = runs_of(found, state, (state.entropy, state.entropy_probe))
    tau, said = _threshold(found, state, state.entropy_probe.removesuffix(".score"))
    figure = entropy_against_probe_margin(
        rows,
        score=state.entropy_probe,
        entropy=state.entropy,
        tau=tau,
        dataset=_one(state.dataset),
        split=_one(state.split),
    )
    controls = [_columns("entropy_probe", "Margin of the entropy probe", probes, state.entropy_probe)]
    return html.Div([_row(controls), _scatter(found, state, figure, "entropy"), *_notes(state, said)])


def map_card(found: Store, state: Chosen) -> Children:
    """The map of hidden states, coloured by any column.

    Raises:
        LookupError: there is no such experiment.
        TableError: the table is absent or not whole.
    """
    if (nothing := no_table(found, state)) is not None:
        return nothing
    columns = [one for one in score_columns(found, state.experiment) if one not in ("x", "y", *_CATEGORIES)]
    rows = runs_of(found, state, ("x", "y", state.colour))
    figure = state_map(rows, colour=state.colour, dataset=_one(state.dataset), split=_one(state.split))
    control = _columns("colour", "Colour", [*_CATEGORIES, *columns], state.colour)
    return html.Div([_row([control]), _scatter(found, state, figure, "map")])


def no_table(found: Store, state: Chosen) -> html.Div | None:
    """What to run where there is no table of runs yet; None where there is one.

    Raises:
        LookupError: there is no such experiment.
    """
    if table_of(found, state.experiment).exists():
        return None
    line = f"snakemake --profile cpu experiments/{state.experiment}/{PAGE}/results.parquet"
    return empty_box("There is no table of runs yet: results.parquet.", line)


def ring_patches(found: Store, state: Chosen, names: Iterable[str]) -> list[Patch]:
    """What changes in scatters that are drawn when other runs are opened.

    Args:
        found: the results.
        state: of the page, with the runs that are opened now.
        names: of the scatters.

    Raises:
        LookupError: there is no such experiment.
        TableError: the table is absent or not whole.
    """
    axes, names = axes_of(state), list(names)
    if not names:
        return []
    rows = _opened(found, state, [column for pair in axes.values() for column in pair])
    patches = []
    for name in names:
        patch = Patch()
        for key, value in rings(rows, *axes[name]).items():
            patch["data"][0][key] = value
        patches.append(patch)
    return patches


def _scatter(found: Store, state: Chosen, figure: go.Figure, name: str) -> Children:
    x, y = axes_of(state)[name]
    if figure.data:
        mark_opened(figure, _opened(found, state, (x, y)), x, y)
        # A reader's zoom outlives a ring or a colour, but not another axis or another choice of runs.
        figure.update_layout(uirevision="/".join((state.dataset, state.split, state.answers, state.which, x, y)))
    return captioned(figure, f"{PAGE}-{name}", scatter_id(name))


def _opened(found: Store, state: Chosen, columns: Sequence[str]) -> pl.DataFrame:
    """The opened runs, with columns of figures."""
    keys = opened_keys(state)
    if not keys:
        return pl.DataFrame(schema=dict.fromkeys(columns, pl.Float64))
    rows = opened_questions(found, state, columns)
    lacking = [pl.lit(None, pl.Float64).alias(name) for name in columns if name not in rows.columns]
    return rows.filter(pl.col("key").is_in(keys)).with_columns(lacking)


def _threshold(found: Store, state: Chosen, probe: str) -> tuple[float | None, str | None]:
    """The threshold of a probe between low and high entropy; or why no line is drawn."""
    if state.entropy != _TARGET_ENTROPY:
        return None, f"No threshold is drawn: tau is one of {_TARGET_ENTROPY}."
    path = found.folder(state.experiment, PAGE) / "probes.json"
    fits = found.json(path)["probes"] if path.exists() else []
    tau = {fit["name"]: fit["tau"] for fit in fits}.get(probe)
    return tau, None if tau is not None else f"No threshold is drawn: probes.json has none of the probe {probe}."


def _notes(state: Chosen, said: str | None) -> list[html.P]:
    notes = [] if said is None else [said]
    if state.which in ("greedy", ALL) and state.entropy == _TARGET_ENTROPY:
        notes.append(f"Greedy runs have no {_TARGET_ENTROPY}; the entropy of their question stands under discrete.")
    return [html.P(note, className="note") for note in notes]


def _columns(field: str, label: str, columns: Sequence[str], value: str) -> html.Div:
    """A choice of columns; what the address names stands there even where the table lacks it."""
    return choice(PAGE, field, label, list(dict.fromkeys((*columns, value))), value)


def _row(controls: Sequence[Children]) -> html.Div:
    return html.Div(list(controls), className="controls")


def _one(chosen: str) -> str | None:
    return None if chosen == ALL else chosen
