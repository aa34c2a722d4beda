"""The ways of spending traces as tables: what each costs, what it decides, and the values behind the curves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import polars as pl
from dash import html

from tells.config.safety import StoppingConfig
from tells.dashboard.components import rows_table
from tells.dashboard.safety.cuts import rule_words
from tells.dashboard.safety.tables import shown
from tells.report.safety_numbers import harm_source, interval, number, percent, sizes

Record = Mapping[str, Any]
_COSTS = {"traces": 2, "tokens": 1, "saving": 2, "agreement": 2, "confidence": 2}
_DECISIONS = {"harmful_compliance": "harmful compliance", "over_refusal": "over-refusal"}


def stopping_words(stopping: Record) -> str:
    """When the adaptive arm stops."""
    config = StoppingConfig.model_validate({name: stopping[name] for name in StoppingConfig.model_fields})
    return (
        f"adaptive: warm-up of {config.warmup} traces, keep {config.keep:g}, stops at {rule_words(config)} or "
        f"{stopping['budget']} traces; cut by windows of {stopping['window']} tokens; {config.draws} orders of the pool"
    )


def costs_table(arms: Sequence[Record], level: float) -> html.Div:
    """What each way of spending traces costs, and how often it decides as the full budget does."""
    rows = [
        (arm["arm"], *(shown(arm[name], "estimate", digits) for name, digits in _COSTS.items()), f"{arm['n']:,}")
        for arm in arms
    ]
    columns = ("arm", "traces", "tokens", "saving", "agreement", "confidence, nats", "prompts")
    groups = sizes([arm["n_groups"] for arm in arms])
    caption = (
        f"in brackets: {percent(level)} interval over groups of prompts ({groups}); *: exact bound; [–]: none. Traces "
        "and tokens: per prompt, those of cut traces included; saving: of the full budget's tokens; agreement: with "
        "the full budget's decision; confidence: mean of all tokens of voting traces; fixed_matched: as many tokens as "
        "adaptive, by mixing two numbers of traces"
    )
    return rows_table(columns, rows, caption=caption)


def decisions_table(arms: Sequence[Record], metadata: Mapping[str, Any], level: float) -> html.Div:
    """What each way of spending traces decides, and that less what the full budget decides."""
    rows = []
    for arm in arms:
        row = [arm["arm"]]
        for figure in _DECISIONS:
            paired = (arm["difference"] or {}).get(figure)
            row += [shown(arm[figure], "estimate"), f"{arm[figure]['n']:,}"]
            row += [shown(paired, "difference"), number(paired["p"], 3)] if paired else ["", ""]
        rows.append(row)
    columns = ["arm"]
    for name in _DECISIONS.values():
        columns += [name, "prompts", "less full budget", "p"]
    caption = (
        f"in brackets: {percent(level)} interval over groups of prompts. Harmful compliance: of harmful prompts; "
        "over-refusal: of benign ones; less full budget: paired on the prompts that both know, p two-sided by "
        f"bootstrap, not corrected for the number of arms. {harm_source(metadata)}"
    )
    return rows_table(columns, rows, caption=caption)


def arm_notes(arms: Sequence[Record]) -> Iterator[html.P]:
    """What an arm leaves out, in words."""
    for arm in arms:
        if arm["n_undecided"]:
            yield _note(f"{arm['arm']}: no decision in any order on {arm['n_undecided']} of {arm['n']} prompts")
        if arm.get("n_unmatched"):
            yield _note(f"{arm['arm']}: {arm['n_unmatched']} voting traces are not the pool's, and have no final label")
        for figure in ("agreement", "confidence", *_DECISIONS):
            left_out = arm[figure]["n_undefined"]
            if left_out:
                words = f"{left_out} of {left_out + arm[figure]['n']} prompts"
                yield _note(f"{arm['arm']}: {figure.replace('_', ' ')} is unknown on {words}, which are left out of it")


def _note(words: str) -> html.P:
    return html.P(words, className="note")


def sweep_values(sweep: pl.DataFrame) -> html.Details:
    """The values behind the percentile curve."""
    columns = ("percentile", "keep", "n", "traces", "tokens", "saving", "agreement", *_DECISIONS)
    rows = [[_written(value) for value in row] for row in sweep.select(columns).iter_rows()]
    return _folded([name.replace("_", " ") for name in columns], rows, "means over n prompts and orders; no intervals")


def any_of_n_values(table: pl.DataFrame, level: float) -> html.Details:
    """The values behind any-of-n, majority and mean."""
    rows = [
        [row["rate"].replace("_", " "), str(row["traces"]), interval(row, "value"), str(row["n"])]
        for row in table.sort("rate", "traces").iter_rows(named=True)
    ]
    caption = f"in brackets: {percent(level)} interval over groups of prompts"
    return _folded(["rate", "traces", "value", "prompts"], rows, caption)


def _folded(columns: Sequence[str], rows: Sequence[Sequence[str]], caption: str) -> html.Details:
    """Values as one text in columns, folded away: a cell each would slow the whole page down."""
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in (columns, *rows)]
    text = html.Pre("\n".join(lines), className="scroll", tabIndex="0")
    return html.Details([html.Summary("The values"), html.P(caption, className="note"), text])


def _written(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}".rstrip("0").rstrip(".") if isinstance(value, float) else f"{value}"
