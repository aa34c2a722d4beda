"""What the agreement page shows, as its address says it, and where its files lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dash import html

from tells.config import AGREEMENT
from tells.dashboard.components import empty_box
from tells.dashboard.store import Store

PAGE = AGREEMENT
RESULTS, TABLE, SIGNALS, FACTS = "results.json", "results.parquet", "signals.parquet", "signals.json"
COUNTS = (10, 20, 50, 100)
"""How many samples can be listed on either side."""


@dataclass(frozen=True)
class Chosen:
    """What the page shows; an empty text is no choice.

    Attributes:
        experiment: its name.
        study: whose figures the table, the heatmap and the gains show.
        collection: whose figures they show, as study/collection.
        outcome: of these figures.
        signals: of these figures; none for all.
        metric: of the heatmap.
        absent: list the signals without a figure too, with why.
        place: study/collection whose samples are compared by two signals; empty for the first.
        x: one of the two signals; empty for the one that costs nothing, where it is there.
        y: the other one; empty for one of another kind.
        colour: outcome that colours the samples; empty for the first of their study.
        most: samples listed on either side.
        once: list of each prompt the sample with the largest difference alone.
        sample: the sample that is opened, as `keys.SampleKey` writes it.
    """

    experiment: str = ""
    study: str = ""
    collection: str = ""
    outcome: str = ""
    signals: tuple[str, ...] = ()
    metric: Literal["auroc", "auroc_within_length"] = "auroc"
    absent: bool = False
    place: str = ""
    x: str = ""
    y: str = ""
    colour: str = ""
    most: int = COUNTS[0]
    once: bool = False
    sample: str = ""


def missing(found: Store, state: Chosen, *names: str) -> html.Div | None:
    """What makes the first of the page's files that is not there; None where all are.

    Args:
        found: the results.
        state: of the page.
        names: of files.

    Raises:
        LookupError: there is no such experiment.
    """
    folder = found.folder(state.experiment, PAGE)
    name = next((name for name in names if not (folder / name).exists()), None)
    if name is None:
        return None
    line = f"snakemake --profile cpu experiments/{state.experiment}/{PAGE}/{name}"
    return empty_box(f"This file is not there yet: {name}.", line)
