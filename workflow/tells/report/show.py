"""The reports of all studies, as a terminal shows them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tells.config import AGREEMENT, Experiment
from tells.report.agreement import agreement_report
from tells.report.safety import safety_report
from tells.report.traits import traits_report
from tells.report.uncertainty import uncertainty_report

_REPORTS = {
    "uncertainty": uncertainty_report,
    "traits": traits_report,
    "safety": safety_report,
    AGREEMENT: agreement_report,
}


def study_reports(
    root: Path, experiments: Mapping[str, Experiment], since: float | None = None
) -> Iterator[tuple[Path, Any]]:
    """Results file and report of every study of every experiment, and of the agreement between them.

    Args:
        root: the folder that holds experiments/ and logs/.
        experiments: by name.
        since: seconds since the epoch; results that are older are left out.

    Yields:
        The path, and what rich prints; None where the study has no results yet.
    """
    for name, experiment in experiments.items():
        for study in _told(root, name, experiment):
            results = root / "experiments" / name / study / "results.json"
            if not results.exists():
                yield results, None
            elif since is None or results.stat().st_mtime >= since:
                yield results, _REPORTS[study](results, root / "logs" / name / study)


def _told(root: Path, name: str, experiment: Experiment) -> list[str]:
    """Studies of the definition, and an agreement that was made without being defined."""
    made = (root / "experiments" / name / AGREEMENT / "results.json").exists()
    return experiment.parts() if experiment.agreement or not made else [*experiment.parts(), AGREEMENT]
