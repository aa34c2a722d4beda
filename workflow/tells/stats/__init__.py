"""Metrics and inference over rows that come in groups (runs of one question, pairs of one scenario).

Everything here takes plain vectors and knows nothing of models or studies. Metrics are functions
`(y, score) -> float | None` where larger scores mean more likely positive; what is undefined is None.
Inference resamples or permutes whole groups, because the rows of one group are not independent.
"""

from tells.stats.bootstrap import (
    Interval,
    PairedDifference,
    bootstrap_ci,
    clustered_mean_ci,
    paired_bootstrap,
)
from tells.stats.inputs import Metric, group_weights, question_level
from tells.stats.metrics import (
    auroc,
    average_precision,
    brier,
    ece,
    spearman,
    undefined_reason,
    within_group_auroc,
)
from tells.stats.multiple import holm
from tells.stats.permutation import Permutation, permutation_p, permutation_test
from tells.stats.rejection import aurac, prediction_rejection_ratio

__all__ = [
    "Interval",
    "Metric",
    "PairedDifference",
    "Permutation",
    "aurac",
    "auroc",
    "average_precision",
    "bootstrap_ci",
    "brier",
    "clustered_mean_ci",
    "ece",
    "group_weights",
    "holm",
    "paired_bootstrap",
    "permutation_p",
    "permutation_test",
    "prediction_rejection_ratio",
    "question_level",
    "spearman",
    "undefined_reason",
    "within_group_auroc",
]
