"""All traits of a run side by side: what vetting kept, how good the vectors are, what steering did, and warnings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
from dash import dcc, html

from tells.dashboard.components import address, badge, empty_box, interval_text, rows_table
from tells.dashboard.downloads import download_links, row_source
from tells.dashboard.store import Store
from tells.dashboard.traits.state import PAGE, POLES, Chosen
from tells.dashboard.urls import from_query
from tells.report.figures.texts import judged_by, number

_VECTORS = (
    *("trait", "status", "warnings", "scenarios that pass", "responses that pass", "without a score", "pairs kept"),
    *("vectors", "best on validation", "held-out d", "chance |d|", "held-out AUC"),
)
_STEERING = (
    *("trait", "status", "point", "n", "unsteered", "delta", "random: mean / 95th percentile", "p", "prompting delta"),
    "coherence: unsteered / steered / random",
)
# Traits with warnings up to which all warnings are shown at once.
_UNFOLDED = 8


def summary(found: Store, state: Chosen) -> html.Div:
    """The content of the card.

    Args:
        found: the results.
        state: of the page.
    """
    folder = found.folder(state.experiment, PAGE)
    if not (folder / "results.json").exists():
        line = f"snakemake --profile cpu traits --config experiments={state.experiment}"
        return empty_box("The traits of this experiment have not been summarised yet.", line)
    results = found.json(folder / "results.json")
    traits = results["traits"]
    return html.Div(
        [
            _vectors(traits, state),
            _steering(traits, state),
            _warnings(traits),
            html.P(_told(results["metadata"]), className="note"),
            download_links("traits-summary", {"experiment": state.experiment}),
        ]
    )


@row_source("traits-summary")
def _rows(found: Store, query: Mapping[str, str]) -> pl.DataFrame:
    state = from_query(Chosen, query)
    return found.table(found.folder(state.experiment, PAGE) / "results.parquet", "traits")


def _told(metadata: Mapping[str, Any]) -> str:
    judge = metadata.get("judge")
    model, steered = metadata.get("model"), metadata.get("steered_model")
    told = [judged_by(judge), f"window {metadata['window']}"]
    if steered and steered != model:
        told.append(f"vectors of {model['name']}, steering {steered['name']}")
    return f"{'; '.join(told)}. {(judge or {}).get('what_it_is', '')}".strip()


def _vectors(traits: Sequence[Mapping[str, Any]], state: Chosen) -> html.Div:
    rows = []
    for trait in traits:
        best = trait["best_by_validation"] or {}
        held = best.get("held_out") or {}
        figures, band = held.get("figures") or {}, held.get("null_band") or {}
        rows.append(
            (
                _link(trait["trait"], state),
                badge(trait["status"], trait["reason"]),
                len(trait["warnings"]),
                rates(trait["scenarios"]),
                rates(trait["responses"]),
                _errors(trait),
                trait["pairs"],
                trait["n_vectors"],
                f"{best['method']}, layer {best['layer']}" if best.get("method") else "–",
                _interval(*(figures.get(f"cohens_d{end}") for end in ("", "_low", "_high"))),
                number(band.get("cohens_d"), 2),
                _interval(*(figures.get(f"auc{end}") for end in ("", "_low", "_high"))),
            )
        )
    caption = (
        "pass: of the positive (+) and the negative (−) texts that the judge scored or refused; d and AUC: the vector "
        "that is best on validation, on vetted pairs that neither fitted nor chose it (under 100 pairs: the procedure "
        "that chose it, over nested folds), with 95% interval by pair; chance: 95th percentile of random vectors"
    )
    return rows_table(_VECTORS, rows, caption=caption)


def _link(trait: str, state: Chosen) -> dcc.Link:
    query = {"experiment": state.experiment, "trait": trait, "section": state.section}
    return dcc.Link(trait, href=address(PAGE, query), className="here" if trait == state.trait else "")


def rates(stage: Mapping[str, Any] | None) -> html.Div | str:
    """Share and count of a stage that pass, a line for each pole."""
    if stage is None:
        return "not judged"
    told = []
    for sign, one in zip("+−", (stage[pole] for pole in POLES), strict=True):
        judged = one["n_pass"] + one["n_fail"]
        told.append(f"{sign} –" if one["rate"] is None else f"{sign} {one['rate']:.0%} ({one['n_pass']}/{judged})")
    return html.Div([html.Div(line, className="whole") for line in told])


def _interval(value: float | None, low: float | None, high: float | None, digits: int = 2) -> html.Div:
    """A figure, and its interval on a line of its own."""
    told = interval_text(value, low, high, digits).split(" ", 1)
    return html.Div([html.Div(line, className="whole") for line in told])


def _errors(trait: Mapping[str, Any]) -> int:
    return sum(one["n_error"] for stage in ("scenarios", "responses") for one in (trait[stage] or {}).values())


def _steering(traits: Sequence[Mapping[str, Any]], state: Chosen) -> html.Div | html.P:
    rows = [_steered_row(trait, state) for trait in traits if trait["steering"] is not None]
    if not rows:
        return html.P("No trait of this run was steered.", className="note")
    caption = (
        "steering on the report questions, which were not searched; delta: mean trait score less that of unsteered "
        "answers to the same questions, with 95% interval by question (not over choices of a vector or point); random: "
        "deltas of vectors of equal norm; p: share of all draws at or above the steered delta, which counts as one"
    )
    return html.Div([html.H3("Steering"), rows_table(_STEERING, rows, caption=caption)])


def _steered_row(trait: Mapping[str, Any], state: Chosen) -> tuple[Any, ...]:
    effects, point = trait["steering"], trait["best_by_steering"]
    steered, prompting, random = effects["steered"] or {}, effects["prompting"] or {}, effects["random"]
    answers = steered.get("n", effects["unsteered"]["n"])
    questions = f" to {steered['n_questions']} questions" if "n_questions" in steered else ""
    coherence = [one.get("coherence") for one in (effects["unsteered"], steered, random)]
    return (
        _link(trait["trait"], state),
        badge(trait["status"], trait["reason"]),
        f"{point['method']}, layer {point['layer']}, r = {point['ratio']:g}" if point else "–",
        f"{answers} answers{questions}",
        number(effects["unsteered"]["trait"]),
        _interval(*(steered.get(key) for key in ("delta", "low", "high")), digits=1),
        f"{number(random['mean'])} / {number(random['percentile_95'])} (n = {random['n']})",
        number(effects["p_random"], 3),
        _interval(*(prompting.get(key) for key in ("delta", "low", "high")), digits=1),
        " / ".join(number(one, 0) for one in coherence),
    )


def _warnings(traits: Sequence[Mapping[str, Any]]) -> html.Details | html.P:
    """What looks wrong, by trait, and why a trait ended as it did; folded where it is much."""
    told = [
        html.Div(
            [
                html.Strong(f"{trait['trait']}: {trait['status']}"),
                f" — {trait['reason']}" if trait["reason"] else "",
                html.Ul([html.Li(warning) for warning in trait["warnings"]]) if trait["warnings"] else None,
            ],
            className="warning",
        )
        for trait in traits
        if trait["warnings"] or trait["reason"]
    ]
    if not told:
        return html.P("No trait has a warning.", className="note")
    count = sum(len(trait["warnings"]) for trait in traits)
    words = html.Summary(f"Warnings: {count}; traits with a warning or without an effect: {len(told)}")
    return html.Details([words, *told], open=len(told) <= _UNFOLDED)
