"""The curves behind the figures: ROC, precision-recall, reliability, rejection of a score, with bands by question."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import polars as pl

from tells.stats.curves import Curve, precision_recall_curve, rejection_curve, reliability_curve, roc_curve
from tells.tables import SCHEMAS
from tells.uncertainty.evaluation_metrics import InferenceSettings, ScoredRows

# A band is for the eye: the figures' own intervals have the draws that are configured.
_DRAWS = 300
_OF_WHAT = ("outcome", "score", "kind", "dataset", "split")


def curves_of(
    header: Mapping[str, Any],
    rows: ScoredRows,
    probabilities: ScoredRows | None,
    settings: InferenceSettings,
    *,
    correctness: bool,
) -> Iterator[pl.DataFrame]:
    """Every curve of one score on one data set.

    Args:
        header: what is scored on what.
        rows: labels, scores and questions.
        probabilities: the same with the calibrated probability in the place of the score; None where there is none.
        settings: level and seed.
        correctness: whether the label is correctness, which a rejection curve needs.

    Yields:
        Tables of the schema `curves`; none for a curve that the rows do not have.
    """
    drawn: dict[str, Any] = {"n": min(_DRAWS, settings.bootstrap), "level": settings.level, "seed": settings.seed}
    found: dict[str, Curve | None] = {
        "roc": roc_curve(rows.y, rows.score, rows.groups, **drawn),
        "precision_recall": precision_recall_curve(rows.y, rows.score, rows.groups, **drawn),
    }
    if probabilities is not None:
        found["reliability"] = reliability_curve(probabilities.y, probabilities.score, probabilities.groups, **drawn)
    if correctness:
        found["rejection"] = rejection_curve(rows.y, -rows.score, rows.groups, **drawn)
    for name, curve in found.items():
        if curve is not None:
            yield _table(header, name, curve, rows)


def _table(header: Mapping[str, Any], name: str, curve: Curve, rows: ScoredRows) -> pl.DataFrame:
    facts = {
        **{key: header[key] for key in _OF_WHAT},
        "curve": name,
        "level": curve.level,
        "n_rows": rows.y.size,
        "n_questions": curve.n_groups,
        "prevalence": float(np.mean(rows.y)),
    }
    points = {"x": curve.x, "y": curve.y, "low": curve.low, "high": curve.high, "point_rows": curve.rows}
    table = pl.DataFrame(points).with_columns(pl.lit(value).alias(key) for key, value in facts.items())
    schema = SCHEMAS["curves"].columns
    return table.with_columns(pl.col("y", "low", "high").fill_nan(None)).select(
        pl.col(column).cast(dtype) for column, dtype in schema.items()
    )


def no_curves() -> pl.DataFrame:
    """The table without rows."""
    return pl.DataFrame(schema=dict(SCHEMAS["curves"].columns))
