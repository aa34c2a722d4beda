"""Keys of samples of any study as one text each, by which a point, a row and an address name the same sample."""

from __future__ import annotations

from typing import NamedTuple

import polars as pl
from dash import get_relative_path

from tells.dashboard.safety.state import PAGE as SAFETY
from tells.dashboard.safety.state import Chosen as SafetyChosen
from tells.dashboard.traits.state import PAGE as TRAITS
from tells.dashboard.traits.state import Chosen as TraitsChosen
from tells.dashboard.uncertainty.state import PAGE as UNCERTAINTY
from tells.dashboard.uncertainty.state import Chosen as UncertaintyChosen
from tells.dashboard.urls import to_query
from tells.report.figures.uncertainty_keys import RunKey

# Names of studies and collections hold none; a prompt's may.
_BETWEEN = "|"
# Of a sample's number, which tables hold in 32 bits.
_MOST_DIGITS = 9


class SampleKey(NamedTuple):
    """The four columns that tell samples apart.

    Attributes:
        study: uncertainty, traits or safety.
        collection: name of the data set, trait or benchmark.
        prompt_id: of the prompt.
        sample: its number; −1 is a greedy run of the uncertainty study.
    """

    study: str
    collection: str
    prompt_id: str
    sample: int

    def __str__(self) -> str:
        """The key as one text."""
        return _BETWEEN.join(map(str, self))


def key_texts() -> pl.Expr:
    """The keys of a table's rows, as a column `key`."""
    columns = [pl.col(name).cast(pl.String) for name in SampleKey._fields]
    return pl.concat_str(columns, separator=_BETWEEN).alias("key")


def read_key(text: str) -> SampleKey | None:
    """The sample that a text names; None where it names none."""
    study, _, rest = text.partition(_BETWEEN)
    collection, _, rest = rest.partition(_BETWEEN)
    prompt_id, _, sample = rest.rpartition(_BETWEEN)
    digits = sample.removeprefix("-")
    known = digits.isascii() and digits.isdecimal() and len(digits) <= _MOST_DIGITS
    if not (study and collection and prompt_id and known):
        return None
    return SampleKey(study, collection, prompt_id, int(sample))


def page_of(experiment: str, key: SampleKey) -> str | None:
    """Address of the page of the sample's own study, with the sample opened there; None for an unknown study.

    Args:
        experiment: its name.
        key: of the sample.
    """
    _, collection, prompt_id, sample = key
    if key.study == UNCERTAINTY:
        run = str(RunKey(collection, prompt_id, sample))
        which = "greedy" if sample < 0 else "sampled"
        state = UncertaintyChosen(experiment, collection, split="all", which=which, runs=(run,))
    elif key.study == SAFETY:
        state = SafetyChosen(experiment, collection, prompt=f"{collection}/{prompt_id}")
    elif key.study == TRAITS:
        state = TraitsChosen(experiment, collection, row=f"{collection}/{prompt_id}/{sample}")
    else:
        return None
    return get_relative_path(f"/{key.study}") + to_query(state)
