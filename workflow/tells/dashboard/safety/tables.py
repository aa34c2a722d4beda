"""What the safety study concludes, as tables: its hypothesis, cells, rates, rankings and guards, with intervals.

Every number is read from strata.json as it stands there; what a filter leaves is a choice among its records.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dash import html

from tells.dashboard.components import facts, rows_table
from tells.dashboard.safety.state import NO_CATEGORY, Chosen, cell_name
from tells.report.safety_numbers import FEW, among, harm_source, interval, number, percent, score_name

Record = Mapping[str, Any]
_BRACKETS = "in brackets: {level} interval by prompt; *: exact bound, as none or all have the event; [–]: none"
_MEASURES = {"harmful_compliance": "harmful", "over_refusal": "benign"}
_RATES = {
    ("harmful_compliance", "asr_at_1"): "harmful compliance: mean ASR@1",
    ("harmful_compliance", "any_of_n"): "harmful compliance: any of {traces}",
    ("harmful_compliance", "majority"): "harmful compliance: majority",
    ("harmful_compliance", "harm_score"): "harm score: mean over traces",
    ("over_refusal", "asr_at_1"): "over-refusal: mean over traces",
    ("over_refusal", "any_of_n"): "over-refusal: any of {traces}",
    ("over_refusal", "majority"): "over-refusal: majority",
}
_CONSTANTS = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "f1": "F1",
    "average_precision": "average precision",
}


def brackets(level: float) -> str:
    """What an interval in brackets is."""
    return _BRACKETS.format(level=percent(level))


def shown(record: Record, name: str, digits: int = 2, more: str = "") -> html.Td:
    """A cell of a figure with its interval, and perhaps more, in one line."""
    return html.Td(interval(record, name, digits) + more, className="whole")


def filled_table(columns: Sequence[str], rows: Sequence[Sequence[Any]], *, caption: str) -> html.Div:
    """A table without the columns in which nothing stands."""
    kept = [place for place in range(len(columns)) if any(row[place] != "" for row in rows)]
    return rows_table(
        [columns[place] for place in kept], [[row[place] for place in kept] for row in rows], caption=caption
    )


def about(record: Record, metadata: Mapping[str, Any]) -> str:
    """Score and judge that stand beside every figure of cells."""
    return f"confidence: {score_name(record, metadata)}; {harm_source(metadata)}"


def headline(hypothesis: Record) -> html.P:
    """The study's question and what the files answer, in one sentence."""
    found = hypothesis["risk_difference"]
    difference = found["difference"]
    if difference["value"] is None:
        return html.P([html.Strong("Undefined. "), difference["reason"] or ""])
    low, high = difference["low"], difference["high"]
    if low is None or high is None:
        said = f"There is no interval. {difference['reason'] or ''}"
    elif low > 0:
        said = "Uncertain compliance harms more often."
    elif high < 0:
        said = "Confident compliance harms more often."
    else:
        said = "The interval holds zero: neither is shown to harm more often."
    return html.P(
        [
            html.Strong(f"{interval(difference, 'value')}. "),
            f"Uncertain compliance harms in {number(found['uncertain'])} of {found['n_uncertain']} traces, confident "
            f"compliance in {number(found['confident'])} of {found['n_confident']}. {said}",
        ]
    )


def hypothesis_table(record: Record, metadata: Mapping[str, Any]) -> html.Div:
    """The difference of the two harm rates, of all, by prompt type, and controlled."""
    found = record["hypothesis"]
    rows = [
        (
            "all" if one["label"] is None else f"{one['label']} prompts",
            *(f"{number(one[arm])} {among(one[f'n_{arm}'])}" for arm in ("uncertain", "confident")),
            *_estimate(one["difference"]),
        )
        for one in (found["risk_difference"], *found["by_label"])
    ]
    controlled = {"within prompt type": "stratified", "within prompt type and length": "length_controlled"}
    rows += [(name, "", "", *_estimate(found[key])) for name, key in controlled.items()]
    cuts = ", ".join(f"{cut:g}" for cut in found["length_cuts"]) or "none"
    caption = (
        f"{brackets(found['level'])}. Difference: harm rate of uncertain less that of confident compliance; within: "
        f"averaged over strata (Mantel–Haenszel), lengths in fifths that end at {cuts} tokens. Of "
        f"{found['n']} complied traces with a cell and a harm label, {found['n_harmful']} harmful; unscored, in no "
        f"rate: {found['n_unscored']}. {about(record, metadata)}"
    )
    columns = ("among", "uncertain", "confident", "difference", "traces", "prompts", "note")
    return filled_table(columns, rows, caption=caption)


def warnings_list(record: Record) -> html.Div:
    """Guards that fired, and what else to know."""
    if not record["warnings"]:
        return html.Div(html.P("No guard fired, and no cell is nearly empty.", className="note"))
    return html.Div([html.P(warning, className="warning") for warning in record["warnings"]])


def cells_of(record: Record, state: Chosen) -> list[Record]:
    """The four cells of what the filters leave; of a category and a label at once the files have none."""
    cells = record["cells"]
    if state.category:
        return [cell for cell in cells["by_category"] if cell["part"] == _category(state)]
    if state.label:
        return [cell for cell in cells["by_label"] if cell["part"] == state.label]
    return list(cells["all"])


def cells_table(cells: Sequence[Record], record: Record, metadata: Mapping[str, Any]) -> html.Div:
    """The four cells: traces, prompts, and harm of what complies."""
    rows = []
    for cell in cells:
        judged = cell["quadrant"].endswith("compliance")
        n = cell["n_scored"] if judged else cell["n"]
        rows.append(
            (
                cell_name(cell["quadrant"]),
                f"{cell['n']:,}",
                f"{cell['n_prompts']:,}",
                f"{cell['n_harmful']:,} of {cell['n_scored']:,}" if judged else "",
                f"{cell['n_unscored']:,}" if judged else "",
                shown(cell, "harm_rate") if judged else "not asked",
                "" if n >= FEW else f"few: {n}",
                (cell["reason"] or "") if judged else "",
            )
        )
    columns = ("cell", "traces", "of prompts", "harmful of scored", "unscored", "harm rate", "few", "note")
    level = record["hypothesis"]["level"]
    caption = f"{brackets(level)}; harm is judged on complied replies only; few: fewer than {FEW}. "
    return filled_table(columns, rows, caption=caption + about(record, metadata))


def where_traces_went(counts: Record) -> html.Dl:
    """What became of every trace; the numbers in cells and in none add up to all."""
    without = counts["n_without_confidence"] + counts["n_without_cut"]
    parts = {
        "in cells": counts["n_in_cells"],
        "held out for the cut": counts["n_held_out"],
        "prompt without a label": counts["n_unlabelled"],
        "neither refuses nor complies": counts["n_unclear"],
        "without confidence or cut": without,
    }
    where = "held-out prompts" if counts["cut_from"] == "held_out" else "the traces in cells"
    cut = counts["reason"] or (
        f"{counts['cut_value']:.3f} nats, the {counts['cut']:g} quantile of {counts['n_cut']:,} traces ({where}); "
        f"exactly at it, and so uncertain: {counts['n_at_cut']}"
    )
    return facts(
        [
            ("traces", f"{counts['n_rows']:,} of {counts['n_prompts']:,} prompts"),
            *((name, f"{n:,}") for name, n in parts.items() if n),
            ("at the token limit", f"{counts['n_truncated']:,}, judged as they stand"),
            ("empty", f"{counts['n_empty']:,}"),
            ("cut between confident and uncertain", cut),
        ]
    )


def rates_of(record: Record, state: Chosen) -> list[Record]:
    """The rates of what the filters leave: those of a category, or of all prompts."""
    rates = record["rates"]
    if state.category:
        found = [rate for rate in rates["by_category"] if rate["category"] == _category(state)]
    else:
        found = list(rates["all"])
    return [rate for rate in found if not state.label or _MEASURES[rate["measure"]] == state.label]


def rates_table(rates: Sequence[Record], record: Record, metadata: Mapping[str, Any]) -> html.Div:
    """Rates over prompts, each with what it rests on."""
    counts = ("n_prompts", "n_replies", "n_unscored", "n_truncated", "n_left_out")
    rows = [
        (rate_name(rate), shown(rate, "value"), *(f"{rate[count]:,}" for count in counts), rate["reason"] or "")
        for rate in rates
    ]
    columns = ("rate", "value", "prompts", "replies", "unscored", "at the limit", "left out", "note")
    caption = (
        f"{brackets(record['hypothesis']['level'])}. Harmful compliance: of harmful prompts; over-refusal: of benign "
        "ones; any of n grows with n by construction and is no accuracy; unscored: replies without an outcome; left "
        f"out: prompts without a scored reply. {harm_source(metadata)}"
    )
    return filled_table(columns, rows, caption=caption)


def rate_name(rate: Record) -> str:
    """A rate in words."""
    known = _RATES.get((rate["measure"], rate["rate"]), f"{rate['measure']}: {rate['rate']}".replace("_", " "))
    return known.format(traces=rate["traces"])


def categories_table(record: Record, metadata: Mapping[str, Any], state: Chosen) -> html.Div | None:
    """Every rate of every category; None where the benchmark has none."""
    rates = [
        rate for rate in record["rates"]["by_category"] if not state.label or _MEASURES[rate["measure"]] == state.label
    ]
    if not any(rate["category"] is not None for rate in rates):
        return None
    names = list(dict.fromkeys((rate["measure"], rate["rate"], rate_name(rate)) for rate in rates))
    found = {(rate["category"], rate["measure"], rate["rate"]): rate for rate in rates}
    rows = []
    for category in dict.fromkeys(rate["category"] for rate in rates):
        cells = [found.get((category, measure, rate)) for measure, rate, _ in names]
        row = [shown(rate, "value", more=f" {among(rate['n_prompts'])}") if rate else "–" for rate in cells]
        rows.append((NO_CATEGORY if category is None else category, *row))
    caption = f"{brackets(record['hypothesis']['level'])}; n: prompts. {harm_source(metadata)}"
    return filled_table(("category", *(name for _, _, name in names)), rows, caption=caption)


def rankings_table(record: Record, metadata: Mapping[str, Any]) -> html.Div:
    """How well −confidence and simpler numbers rank harmful replies first."""
    found = record["hypothesis"]
    listed = [("all prompts", one) for one in found["rankings"]]
    listed += [(f"{label} prompts", one) for label, one in found["by_label_rankings"].items()]
    rows = [
        (
            one["score"].replace("_", " "),
            one["orientation"],
            among_whom,
            shown(one["auroc"], "value"),
            shown(one["average_precision"], "value"),
            number(one["prevalence"]),
            str(one["auroc"]["n"]),
            str(one["auroc"]["n_prompts"]),
            one["auroc"]["reason"] or one["average_precision"]["reason"] or "",
        )
        for among_whom, one in listed
    ]
    columns = (
        "score",
        "what is riskier",
        "among",
        "AUROC",
        "average precision",
        "prevalence",
        "traces",
        "prompts",
        "note",
    )
    caption = (
        f"{brackets(found['level'])}. Ranking harmful replies above harmless ones among complied traces: by chance the "
        f"AUROC is 0.5 and the average precision the prevalence. {about(record, metadata)}"
    )
    return filled_table(columns, rows, caption=caption)


def guards_table(record: Record) -> html.Div:
    """Each rule as a classifier, beside the best constant one."""
    rows = []
    for name, guard in record["guards"].items():
        pairs = [f"{number(guard[measure])} / {number(guard[f'constant_{measure}'])}" for measure in _CONSTANTS]
        state = "fired: a constant does as well" if guard["warning"] else guard["reason"] or "silent"
        rows.append((name.replace("_", " "), *pairs, f"{guard['n']:,}", number(guard["prevalence"]), state))
    columns = ("rule", *_CONSTANTS.values(), "traces", "prevalence", "guard")
    return filled_table(columns, rows, caption="the rule / the best constant classifier, which always gives one answer")


def _estimate(estimate: Record) -> list[Any]:
    return [shown(estimate, "value"), f"{estimate['n']:,}", f"{estimate['n_prompts']:,}", estimate["reason"] or ""]


def _category(state: Chosen) -> str | None:
    return None if state.category == NO_CATEGORY else state.category
