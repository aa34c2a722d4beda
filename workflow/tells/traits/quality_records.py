"""The records that `tells.traits.quality` gives, and the figures of one set of projections."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tells.stats import auroc
from tells.traits.metrics import cohens_d, corrected
from tells.traits.pair_bootstrap import PairBootstrap
from tells.traits.vectors import Direction


@dataclass(frozen=True)
class Figures:
    """How projections tell the classes apart on one set of rows.

    Attributes:
        cohens_d: signed effect size; None where undefined.
        cohens_d_low: lower end of its interval by pair; None on rows that were fitted on.
        cohens_d_high: upper end.
        hedges_g: effect size corrected for few rows.
        auc: chance that a positive row projects above a negative one.
        auc_low: lower end of its interval by pair.
        auc_high: upper end.
        accuracy: balanced accuracy at the threshold of the rows fitted on.
        polarity: the positive rows project higher on average.
        n_positive: positive rows.
        n_negative: negative rows.
        n_pairs: scenario pairs.
        reason: why a figure is None.
    """

    cohens_d: float | None
    cohens_d_low: float | None
    cohens_d_high: float | None
    hedges_g: float | None
    auc: float | None
    auc_low: float | None
    auc_high: float | None
    accuracy: float | None
    polarity: bool | None
    n_positive: int
    n_negative: int
    n_pairs: int
    reason: str | None = None


@dataclass(frozen=True)
class NullBand:
    """What random directions of the same layer reach on the same rows.

    Attributes:
        cohens_d: 95th percentile of |d|.
        auc: 95th percentile of the AUC, taken the better way round.
        n: directions drawn.
    """

    cohens_d: float | None
    auc: float | None
    n: int


@dataclass(frozen=True, eq=False)
class Record:
    """One method at one layer.

    Attributes:
        method: its name.
        layer: its name.
        direction: the direction to write; None when these rows define none.
        fitted_on: "training pairs" or "all pairs".
        train: figures on the rows that the direction was fitted on: flattering.
        validation: figures on the pairs that choose, of a split.
        test: figures on the pairs that judge, of a split. The best of many records is no honest figure: see
            `Quality.held_out` for that.
        cross_validated: figures on all pairs, each held out once, of nested folds; these choose.
        length_correlation: Spearman's correlation of the projections with text length, on the test rows or
            over the folds.
        null_band: what random directions reach on those rows.
        reason: why something is None.
    """

    method: str
    layer: int
    direction: Direction | None
    fitted_on: str
    train: Figures | None
    validation: Figures | None
    test: Figures | None
    cross_validated: Figures | None
    length_correlation: float | None
    null_band: NullBand | None
    reason: str | None = None

    @property
    def selection(self) -> Figures | None:
        """The figures by which a record is chosen."""
        return self.validation if self.validation is not None else self.cross_validated

    def row(self) -> dict[str, Any]:
        """One flat row for a table, without the direction: `test_cohens_d`, `null_auc`, ..."""
        flat: dict[str, Any] = {"method": self.method, "layer": self.layer, "fitted_on": self.fitted_on}
        flat["norm"] = None if self.direction is None else self.direction.norm
        names = list(Figures.__dataclass_fields__)
        for part in ("train", "validation", "test", "cross_validated"):
            figures = getattr(self, part)
            values = {} if figures is None else asdict(figures)
            flat.update({f"{part}_{name}": values.get(name) for name in names})
        flat["length_correlation"] = self.length_correlation
        flat["null_cohens_d"] = None if self.null_band is None else self.null_band.cohens_d
        flat["null_auc"] = None if self.null_band is None else self.null_band.auc
        flat["warnings"] = [] if self.direction is None else self.direction.warnings
        flat["reason"] = self.reason
        return flat


@dataclass(frozen=True)
class HeldOut:
    """The choice, on pairs that neither fitted nor chose it.

    Attributes:
        figures: with intervals by pair.
        length_correlation: Spearman's correlation of the held-out projections with text length.
        null_band: what random directions of the chosen layers reach on the same rows.
        outer_choices: (method, layer) that each outer fold chose, of nested folds; empty for a split.
    """

    figures: Figures
    length_correlation: float | None
    null_band: NullBand
    outer_choices: tuple[tuple[str, int], ...]


@dataclass(frozen=True, eq=False)
class Quality:
    """All records of one trait, and the choice among them.

    Attributes:
        kind: "split", "nested", or "none" with too few pairs.
        n_pairs: scenario pairs in all.
        fitted_on: what the written directions were fitted on: "training pairs" or "all pairs".
        records: one for each method and layer, methods first.
        chosen_index: place of the chosen record; None without a choice.
        held_out: how the choice fares on pairs that neither fitted nor chose it.
        reason: why there is no choice or no held-out figure.
    """

    kind: str
    n_pairs: int
    fitted_on: str
    records: tuple[Record, ...]
    chosen_index: int | None
    held_out: HeldOut | None
    reason: str | None = None

    @property
    def chosen(self) -> Record | None:
        """The record with the largest effect on the pairs that choose."""
        return None if self.chosen_index is None else self.records[self.chosen_index]

    def record(self, method: str, layer: int) -> Record:
        """The record of a method and layer; KeyError when there is none."""
        for record in self.records:
            if (record.method, record.layer) == (method, layer):
                return record
        raise KeyError(f"no record of {method} at layer {layer}")

    def summary(self) -> dict[str, Any]:
        """The choice and its held-out figures, for JSON."""
        chosen, held_out = self.chosen, self.held_out
        return {
            "kind": self.kind,
            "n_pairs": self.n_pairs,
            "fitted_on": self.fitted_on,
            "method": None if chosen is None else chosen.method,
            "layer": None if chosen is None else chosen.layer,
            "selection": None if chosen is None or chosen.selection is None else asdict(chosen.selection),
            "held_out": None if held_out is None else asdict(held_out),
            "reason": self.reason,
        }


def figures_of(
    projection: NDArray[np.float64],
    called: NDArray[np.bool_],
    positive: NDArray[np.bool_],
    pairs: NDArray[np.int64],
    interval: PairBootstrap | None,
) -> Figures:
    """Figures of projections on a common scale.

    Args:
        projection: [rows] larger means more of the trait.
        called: [rows] projection above its fold's threshold.
        positive: [rows] class.
        pairs: [rows] scenario pair.
        interval: draws of the pairs of these very rows; None for no interval.
    """
    above, below = projection[positive], projection[~positive]
    both = above.size > 0 and below.size > 0
    effect = cohens_d(above, below)
    reason = None
    if not both:
        reason = f"{above.size} positive and {below.size} negative rows: both classes are needed"
    elif effect is None:
        reason = "too few rows, or nothing varies within the classes: an effect size is undefined"
    of_effect = None if interval is None else interval.effect(projection)
    of_auc = None if interval is None else interval.auc(projection)
    if reason is None and of_effect is not None:
        reason = of_effect.reason
    return Figures(
        cohens_d=effect,
        cohens_d_low=None if of_effect is None else of_effect.low,
        cohens_d_high=None if of_effect is None else of_effect.high,
        hedges_g=corrected(effect, projection.size),
        auc=auroc(positive, projection),
        auc_low=None if of_auc is None else of_auc.low,
        auc_high=None if of_auc is None else of_auc.high,
        accuracy=float((np.mean(called[positive]) + np.mean(~called[~positive])) / 2) if both else None,
        polarity=bool(above.mean() > below.mean()) if both else None,
        n_positive=int(above.size),
        n_negative=int(below.size),
        n_pairs=int(np.unique(pairs).size),
        reason=reason,
    )
