"""The frame of a study's page: which experiment it shows, and what it says where there is none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from dash import dcc, html

from tells.dashboard.components import address, badge, empty_box, experiment_links, page
from tells.dashboard.store import Store, current_store
from tells.report.catalogue import StudyState

Chosen = TypeVar("Chosen")


def study_page(
    study: str, title: str, state: Chosen, build: Callable[[Store, Chosen], Any], *, command: str | None = None
) -> html.Main:
    """The page of a study.

    Args:
        study: uncertainty, traits or safety.
        title: its heading.
        state: what the address says; its field `experiment` may be empty, for the first one that has the study.
        build: makes the controls and cards, once the experiment is known to be there.
        command: what makes results, where there are none.
    """
    found = current_store()
    names = experiments_of(found, study)
    if not names:
        line = command or f"snakemake --profile cpu {study}"
        return page(title, empty_box(f"No experiment has results of this study here: {study}.", line))
    wanted = state.experiment or names[0]  # type: ignore[attr-defined]
    if wanted not in names:
        return page(
            title,
            html.P(f"There is no experiment {wanted!r} with this study here."),
            html.P(["See ", dcc.Link("what there is", href=address(""))]),
            experiment_links(study, names, wanted),
        )
    state = replace(state, experiment=wanted)  # type: ignore[type-var]
    return page(
        f"{title}: {wanted}",
        experiment_links(study, names, wanted) if len(names) > 1 else None,
        _standing(found.state(wanted, study)),
        build(found, state),
    )


def experiments_of(found: Store, study: str) -> list[str]:
    """Names of the experiments that have files of a study."""
    return [name for name in found.experiments() if (found.root / "experiments" / name / study).is_dir()]


def _standing(state: StudyState) -> html.P:
    """State, model and date of what is shown."""
    when = (state.finished or "").replace("T", " ").removesuffix("+00:00")
    said = [badge(state.state, state.reason), f" {state.model or ''}", f", finished {when} UTC" if when else ""]
    return html.P([*said, f" — {state.reason}" if state.reason else ""], className="subtitle")
