"""The safety study's comparisons on a terminal: is unsure compliance riskier, and what does early stopping save?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from tells.report.safety_numbers import (
    add_columns,
    add_intervals,
    among,
    harm_source,
    interval,
    number,
    reasons,
    score_name,
    sizes,
)

_MEASURES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced\naccuracy",
    "f1": "F1",
    "average_precision": "average\nprecision",
}
_PAIRED = ("harmful_compliance", "over_refusal")
_NOTED = {
    "agreement": "agreement",
    "confidence": "confidence",
    "harmful_compliance": "harmful compliance",
    "over_refusal": "over-refusal",
}


def hypothesis_parts(benchmark: Mapping[str, Any], metadata: Mapping[str, Any]) -> list[Any]:
    """The difference of the harm rates of uncertain and confident compliance, and why any of it is undefined."""
    found = benchmark["hypothesis"]
    cuts = ", ".join(f"{cut:g}" for cut in found["length_cuts"]) or "none"
    table = Table(
        title=f"{benchmark['benchmark']}: is uncertain compliance riskier? {found['n']} complied, scored traces, "
        f"{found['n_harmful']} harmful\nconfidence: {score_name(benchmark, metadata)}; {harm_source(metadata)}",
        caption="difference: harm rate of uncertain less that of confident compliance; within: averaged over strata "
        f"(Mantel-Haenszel), lengths in fifths that end at {cuts} tokens; unscored, in no rate: {found['n_unscored']}",
    )
    table.add_column("among")
    add_columns(table, "uncertain", "confident", "difference", "traces", "prompts")
    plain = [("all", found["risk_difference"]), *((f"{one['label']} prompts", one) for one in found["by_label"])]
    for name, one in plain:
        rates = [f"{number(one[arm])} {among(one[f'n_{arm}'])}" for arm in ("uncertain", "confident")]
        table.add_row(name, *rates, *_estimate(one["difference"]))
    within = {"within prompt type": found["stratified"], "within type and length": found["length_controlled"]}
    for name, estimate in within.items():
        table.add_row(name, "", "", *_estimate(estimate))
    estimates = {**{name: one["difference"] for name, one in plain}, **within}
    return [table, *reasons(benchmark, estimates)]


def rankings_parts(benchmark: Mapping[str, Any], metadata: Mapping[str, Any]) -> list[Any]:
    """How well −confidence and simpler numbers rank harmful replies first, and why any of it is undefined."""
    found = benchmark["hypothesis"]
    table = Table(
        title=f"{benchmark['benchmark']}: ranking harmful replies above harmless ones\n"
        f"confidence: {score_name(benchmark, metadata)}; {harm_source(metadata)}",
        caption="by chance the AUROC is 0.5 and the average precision the prevalence",
    )
    table.add_column("score: what is taken to be riskier")
    add_intervals(table, "AUROC", "average\nprecision")
    add_columns(table, "prevalence", "traces", "prompts")
    rows = [(None, one) for one in found["rankings"]]
    rows += [(label, one) for label, one in found["by_label_rankings"].items()]
    estimates = {}
    for place, (label, one) in enumerate(rows):
        name = one["score"] + (f", {label} prompts" if label else "")
        auroc = _estimate(one["auroc"])
        table.add_row(
            name if label else f"{one['score']}: {one['orientation'].split(': ', 1)[-1]}",
            auroc[0],
            _estimate(one["average_precision"])[0],
            number(one["prevalence"]),
            *auroc[1:],
            end_section=place == len(found["rankings"]) - 1,
        )
        estimates |= {f"AUROC of {name}": one["auroc"], f"average precision of {name}": one["average_precision"]}
    return [table, *reasons(benchmark, estimates)]


def guards_table(benchmark: Mapping[str, Any]) -> Table:
    """Each rule as a classifier, beside the best constant one."""
    table = Table(
        title=f"{benchmark['benchmark']}: does a rule beat a constant classifier?",
        caption="the rule / the best constant classifier, which always gives one answer",
    )
    table.add_column("rule")
    for name in _MEASURES.values():
        table.add_column(name, justify="right", no_wrap=True)
    add_columns(table, "traces")
    table.add_column("guard")
    for name, guard in benchmark["guards"].items():
        pairs = [f"{number(guard[measure])} / {number(guard[f'constant_{measure}'])}" for measure in _MEASURES]
        state = "fired" if guard["warning"] else guard["reason"] or "silent"
        table.add_row(name.replace("_", " "), *pairs, str(guard["n"]), state)
    return table


def arm_parts(benchmark: Mapping[str, Any], metadata: Mapping[str, Any]) -> list[Any]:
    """What each way of spending traces costs and decides; the second table is paired with the full budget."""
    arms = benchmark["arms"]
    if not arms:
        return [Text(f"{benchmark['benchmark']}: no arm to compare")]
    return [
        _costs(benchmark, arms),
        _safety(benchmark, arms, metadata),
        *(Text(f"{benchmark['benchmark']}: {note}") for arm in arms for note in _arm_notes(arm)),
    ]


def _costs(benchmark: Mapping[str, Any], arms: Sequence[Mapping[str, Any]]) -> Table:
    groups = sizes([arm["n_groups"] for arm in arms])
    table = Table(
        title=f"{benchmark['benchmark']}: ways of spending traces, {sizes([arm['n'] for arm in arms])} prompts\n"
        f"{_stopping(benchmark['stopping'])}",
        caption="traces and tokens: per prompt, those of cut traces included; saving: of the full budget's tokens; "
        "agreement: with the full budget's decision; confidence: mean of all tokens of voting traces, no window, in "
        f"nats; fixed_matched: as many tokens as adaptive, by mixing two numbers of them; groups of prompts: {groups}",
    )
    table.add_column("arm", no_wrap=True)
    add_intervals(table, "traces", "tokens", "saving", "agreement", "confidence")
    for arm in arms:
        numbers = [interval(arm[name], "estimate", 1 if name == "tokens" else 2) for name in ("traces", "tokens")]
        numbers += [interval(arm[name], "estimate") for name in ("saving", "agreement", "confidence")]
        table.add_row(arm["arm"], *numbers)
    return table


def _safety(benchmark: Mapping[str, Any], arms: Sequence[Mapping[str, Any]], metadata: Mapping[str, Any]) -> Table:
    table = Table(
        title=f"{benchmark['benchmark']}: what the ways of spending traces decide; {harm_source(metadata)}",
        caption="harmful compliance: of harmful prompts; over-refusal: of benign ones; then less the full budget's, "
        "paired on the prompts that both know",
    )
    table.add_column("arm", no_wrap=True)
    for figure, name in (("harmful_compliance", "harmful\ncompliance"), ("over_refusal", "over-refusal\n")):
        counts = sizes([arm[figure]["n"] for arm in arms])
        add_intervals(table, f"{name}\n{counts}", "less full budget")
    for arm in arms:
        row = []
        for figure in _PAIRED:
            difference = (arm["difference"] or {}).get(figure)
            row.append(interval(arm[figure], "estimate"))
            row.append(interval(difference, "difference") if difference else "")
        table.add_row(arm["arm"], *row)
    return table


def _stopping(stopping: Mapping[str, Any]) -> str:
    """When the adaptive arm stops."""
    rule = stopping["rule"]
    level = {"consensus": "consensus", "adaptive_consistency": "certainty", "vote_entropy": "vote_entropy"}[rule]
    sign = "≤" if rule == "vote_entropy" else "≥"
    return (
        f"adaptive: warm-up {stopping['warmup']}, keep {stopping['keep']:g}, stop at {rule} {sign} {stopping[level]:g} "
        f"or {stopping['budget']} traces; cut by windows of {stopping['window']} tokens; {stopping['draws']} orders"
    )


def _arm_notes(arm: Mapping[str, Any]) -> Iterator[str]:
    """What an arm leaves out, in words."""
    if arm["n_undecided"]:
        yield f"{arm['arm']}: no decision in any order on {arm['n_undecided']} of {arm['n']} prompts"
    if arm.get("n_unmatched"):
        yield f"{arm['arm']}: votes whose traces differ from the pool's, without a final label: {arm['n_unmatched']}"
    for figure, name in _NOTED.items():
        left_out = arm[figure]["n_undefined"]
        if left_out:
            prompts = left_out + arm[figure]["n"]
            yield f"{arm['arm']}: {name} is unknown on {left_out} of {prompts} prompts, which are left out of it"
    for figure in _PAIRED:
        paired = (arm["difference"] or {}).get(figure)
        if paired and paired["n"] < arm[figure]["n"]:
            prompts = f"{paired['n']} of {arm[figure]['n']} prompts"
            yield f"{arm['arm']}: {_NOTED[figure]} less the full budget's rests on {prompts}, which both know"


def _estimate(estimate: Mapping[str, Any]) -> list[str]:
    return [interval(estimate, "value"), str(estimate["n"]), str(estimate["n_prompts"])]
