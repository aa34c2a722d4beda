"""Correction of p-values for the number of tests that were made."""

from __future__ import annotations

from collections.abc import Sequence


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down adjustment, which holds the family-wise error without assuming independence.

    Args:
        p_values: [tests] p-values; None for a test that could not be made, which does not count.

    Returns:
        [tests] adjusted p-values in the order given, None where there was none.

    Raises:
        ValueError: a p-value lies outside [0, 1].

    References:
        Holm, Scand. J. Statist. 6:65 (1979).
    """
    made = [(p, place) for place, p in enumerate(p_values) if p is not None]
    for p, place in made:
        if not 0.0 <= p <= 1.0:
            raise ValueError(f"p-value {place} is {p}; it must lie in [0, 1], or be None where there is none")
    adjusted: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, place) in enumerate(sorted(made)):
        largest = max(largest, min(1.0, p * (len(made) - rank)))
        adjusted[place] = largest
    return adjusted
