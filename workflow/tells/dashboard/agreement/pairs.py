"""Two signals of a collection's scored samples: their values, their ranks as sureness, and where these differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from tells.agreement.signals import split_of
from tells.dashboard.agreement.keys import key_texts
from tells.dashboard.agreement.records import place_name
from tells.dashboard.agreement.state import COUNTS, FACTS, PAGE, SIGNALS, Chosen
from tells.dashboard.downloads import row_source
from tells.dashboard.store import Store
from tells.dashboard.urls import from_query
from tells.report.agreement_words import REFERENCE
from tells.report.figures.agreement_pairs import class_words
from tells.tables import TableError

Facts = Mapping[str, Any]
DISAGREEMENTS, POINTS = "agreement-disagreements", "agreement-samples"
SIDES = ("x", "y")
_KEYS = ("study", "collection", "prompt_id", "group", "sample", "split")
# What the other signal is when none is chosen: the first of these that the samples have.
_OTHERS = ("probe.accuracy", "semantic_entropy", "mean_log_likelihood", "length")


@dataclass(frozen=True)
class Pair:
    """Two signals on the samples of one collection.

    Attributes:
        study: of the samples.
        collection: of the samples.
        x: one signal, as signals.json tells it.
        y: the other one.
        outcome: column that colours the samples: the chosen one, else the first of their study; None where it has none.
        rows: scored samples that have both: `key`, keys, both signals, the outcomes, `rank_x` and `rank_y` (shares of
            the samples that are less sure, ties half) and `difference`, the latter less the former.
        n_scored: scored samples, with both or not.
    """

    study: str
    collection: str
    x: Mapping[str, Any]
    y: Mapping[str, Any]
    outcome: str | None
    rows: pl.DataFrame
    n_scored: int

    @property
    def place(self) -> str:
        """Study and collection, as the address has them."""
        return f"{self.study}/{self.collection}"

    @property
    def split(self) -> str:
        """The split of the samples, in words."""
        return split_of(self.study, self.collection, self.x["name"], self.y["name"])


def places_of(found: Store, experiment: str) -> list[str]:
    """The collections whose samples can be compared, as study/collection; none where signals.json is not whole.

    Raises:
        LookupError: there is no such experiment.
    """
    try:
        return [place_name(one) for one in facts_of(found, experiment)["collections"]]
    except (TableError, KeyError, TypeError):
        return []


def facts_of(found: Store, experiment: str) -> Facts:
    """What signals.json says.

    Raises:
        LookupError: there is no such experiment.
        TableError: it is absent or not whole.
    """
    return found.json(found.folder(experiment, PAGE) / FACTS)


def present_here(found: Store, experiment: str, place: str) -> list[str]:
    """Signals that a scored sample of a collection has, in the order of the table.

    Raises:
        LookupError: there is no such experiment.
        TableError: a file is absent or not whole.
    """
    names = [one["name"] for one in facts_of(found, experiment)["signals"]]
    path = found.folder(experiment, PAGE) / SIGNALS

    def present() -> list[str]:
        rows = _scored(found, experiment, place, [name for name in names if name in found.columns(path)])
        return [name for name in names if name in rows.columns and rows[name].is_finite().any()]

    return found.made_of([path, path.with_name(FACTS)], ("present", place), present)


def settled(found: Store, state: Chosen) -> Chosen:
    """The state with a collection and two signals, where the address names none.

    Raises:
        LookupError: there is no such experiment.
        TableError: a file is absent or not whole.
    """
    place = state.place or next(iter(places_of(found, state.experiment)), "")
    x, y = defaults_of(present_here(found, state.experiment, place), state.x)
    return replace(state, place=place, x=state.x or x, y=state.y or y)


def defaults_of(present: Sequence[str], x: str) -> tuple[str, str]:
    """The two signals that are shown where none is chosen.

    Args:
        present: signals that the samples have.
        x: the chosen one; empty for none.
    """
    first = REFERENCE if REFERENCE in present else next(iter(present), REFERENCE)
    others = [name for name in (*_OTHERS, *present) if name in present and name != (x or first)]
    return first, next(iter(others), first)


def pair_of(found: Store, state: Chosen) -> Pair:
    """The chosen signals on the chosen collection.

    Args:
        found: the results.
        state: of the page.

    Raises:
        LookupError: there is no such experiment, collection, signal or outcome.
        TableError: a file is absent or not whole.
    """
    state = settled(found, state)
    if state.place not in places_of(found, state.experiment):
        raise LookupError(f"there is no collection {state.place!r} in this agreement: choose another one")
    facts = facts_of(found, state.experiment)
    study, _, collection = state.place.partition("/")
    outcomes = tuple(one["name"] for one in facts["outcomes"] if one["study"] == study)
    if state.colour and state.colour not in [one["name"] for one in facts["outcomes"]]:
        raise LookupError(f"this agreement has no outcome {state.colour!r}: choose another one")
    signals = {one["name"]: one for one in facts["signals"]}
    for name in (state.x, state.y):
        if name not in signals:
            raise LookupError(f"this agreement has no signal {name!r}: choose another one")
    folder = found.folder(state.experiment, PAGE)
    x, y = signals[state.x], signals[state.y]
    rows, n_scored = found.made_of(
        [folder / SIGNALS, folder / FACTS],
        ("pair", state.place, state.x, state.y),
        lambda: _compared(_scored(found, state.experiment, state.place, [state.x, state.y, *outcomes]), x, y),
    )
    outcome = state.colour if state.colour in outcomes else next(iter(outcomes), None)
    return Pair(study, collection, x, y, outcome, rows, n_scored)


def _scored(found: Store, experiment: str, place: str, columns: Sequence[str]) -> pl.DataFrame:
    """Scored samples of a collection, with some columns."""
    study, _, collection = place.partition("/")
    path = found.folder(experiment, PAGE) / SIGNALS
    rows = found.scan(path, "signals", list(dict.fromkeys((*_KEYS, "scored", *columns))))
    return rows.filter("scored", pl.col("study") == study, pl.col("collection") == collection).drop("scored").collect()


def _compared(rows: pl.DataFrame, x: Mapping[str, Any], y: Mapping[str, Any]) -> tuple[pl.DataFrame, int]:
    names = list(dict.fromkeys((x["name"], y["name"])))
    both = rows.filter(pl.all_horizontal(pl.col(name).is_finite().fill_null(value=False) for name in names))
    ranked = both.with_columns(
        key_texts(),
        sureness_rank(x["name"], x["sureness"]).alias("rank_x"),
        sureness_rank(y["name"], y["sureness"]).alias("rank_y"),
    )
    return ranked.with_columns(difference=pl.col("rank_y") - pl.col("rank_x")), rows.height


def sureness_rank(name: str, sureness: int) -> pl.Expr:
    """Share of the rows that are less sure by a signal, ties half: between 0 and 1, ½ where all are equal.

    Args:
        name: its column.
        sureness: 1 where larger values are surer, −1 where they are less sure.
    """
    value = pl.col(name) * sureness
    return (value.rank("average") - 0.5) / value.count()


def disagreements(pair: Pair, side: str, state: Chosen) -> pl.DataFrame:
    """The samples on which the signals disagree most, in one way.

    Args:
        pair: the signals and samples.
        side: `x` for samples that are surer by x than by y, or `y`.
        state: of the page: how many, and whether of each prompt only one.

    Returns:
        The rows of the pair with the largest differences first, without those of no difference; equal ones as the file
        has them. `x` and `y` are the signals' values, and `class` what the sample is.
    """
    way = pl.col("difference") * (1 if side == "y" else -1)
    rows = pair.rows.filter(way > 0).sort(way, descending=True, maintain_order=True)
    if state.once:
        rows = rows.unique("prompt_id", keep="first", maintain_order=True)
    rows = rows.head(state.most if state.most in COUNTS else COUNTS[0])
    said = [] if pair.outcome is None else [class_words(pair.outcome, value) for value in rows[pair.outcome]]
    return rows.with_columns(
        pl.Series("class", said or [""] * rows.height, pl.String),
        x=pl.col(pair.x["name"]),
        y=pl.col(pair.y["name"]),
    )


def correlation_of(results: Mapping[str, Any], pair: Pair) -> tuple[Mapping[str, Any] | None, str]:
    """Spearman's correlation of the two signals as results.json has it, or why it has none.

    Args:
        results: content of the file.
        pair: the signals and samples.

    Returns:
        `value`, `low`, `high`, `n_rows`, `n_groups`, `split`, `level`, and an empty text; or None and the reason.
    """
    place = (pair.study, pair.collection)
    record = next((one for one in results["correlations"] if (one["study"], one["collection"]) == place), None)
    if record is None:
        return None, f"results.json has no correlations of {pair.place}"
    if record["reason"] is not None:
        return None, record["reason"]
    lacking = [one["name"] for one in (pair.x, pair.y) if one["name"] not in record["signals"]]
    if lacking:
        why = "of very many signals only the first are compared, and only such as nearly all samples have and that vary"
        return None, f"results.json compares no {' and no '.join(dict.fromkeys(lacking))} here: {why}"
    row, column = (record["signals"].index(one["name"]) for one in (pair.x, pair.y))
    ends = {end: record[key][row][column] for end, key in (("value", "values"), ("low", "low"), ("high", "high"))}
    return {**ends, **{key: record[key] for key in ("n_rows", "n_groups", "split", "level")}}, ""


@row_source(DISAGREEMENTS)
def _download(found: Store, query: Mapping[str, str]) -> pl.DataFrame:
    """Both lists, with a column that says by which signal the samples are surer."""
    state = from_query(Chosen, query)
    pair = pair_of(found, state)
    names = {"x": pair.x["name"], "y": pair.y["name"]}
    lists = [disagreements(pair, side, state).with_columns(surer_by=pl.lit(names[side])) for side in SIDES]
    return pl.concat(lists).drop("key", "x", "y", "class")


@row_source(POINTS)
def _download_points(found: Store, query: Mapping[str, str]) -> pl.DataFrame:
    return pair_of(found, from_query(Chosen, query)).rows.drop("key")
