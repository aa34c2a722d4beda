"""A made-up traits study of an experiment `tiny`, small enough to count by hand, and how a page's parts are read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
from dash import Dash, html
from dash.development.base_component import Component

from tells.dashboard.app import make_app
from tells.tables import SCHEMAS, make_metadata, read_json, write_json, write_table
from tells.traits.summary import summarise_trait, traits_table
from tells.traits.vetting import vet

TRAIT, OTHER = "mood/calm", "mood/zest"
HOSTILE = "<script>alert(1)</script> ![x](http://evil)"
JUDGE = {"provider": "exemplar", "model": "mini", "what_it_is": "A stand-in."}
FACTS: dict[str, Any] = {"params": {}, "experiment": "tiny", "model": {"name": "small", "revision": "r1"}, "seed": 1}
LONG = "word " * 40 + "needle"
# By pair and pole: the scenario's score, the response's score. A text is a status without a score.
SCORES: dict[tuple[int, str], tuple[Any, Any]] = {
    (0, "positive"): (90.0, 95.0),
    (0, "negative"): (10.0, 5.0),
    (1, "positive"): (80.0, 30.0),
    (1, "negative"): (20.0, 15.0),
    (2, "positive"): (70.0, "refused"),
    (2, "negative"): (30.0, "error"),
    (3, "positive"): (20.0, 60.0),
    (3, "negative"): (40.0, 40.0),
}


def plant(root: Path) -> Path:
    """Write the study; gives the folder of the first trait."""
    for trait in (TRAIT, OTHER):
        plant_vetting(root / "experiments/tiny/traits" / trait)
    folder = root / "experiments/tiny/traits" / TRAIT
    write_json(folder / "vectors.json", vectors(), metadata=make_metadata("extract_vectors", **FACTS, window=WINDOW))
    plant_steering(folder / "steering")
    return folder


WINDOW = "response[:2]"


def plant_vetting(folder: Path) -> None:
    """Scenarios, one response each, their scores and what vetting makes of them."""
    prompts, samples, scenarios, responses = [], [], [], []
    for (pair, pole), (of_scenario, of_response) in SCORES.items():
        key, group = f"{pole}-{pair:03d}", f"pair-{pair:03d}"
        prompts.append({"prompt_id": key, "group": group, "polarity": pole, "text": f"{HOSTILE} {key}"})
        text = LONG if (pair, pole) == (0, "positive") else f"told {key}"
        samples.append({"prompt_id": key, "group": group, "sample": 0, "text": text, "finish_reason": "length"})
        scenarios.append({"prompt_id": key, **judged(of_scenario)})
        responses.append({"prompt_id": key, "sample": 0, **judged(of_response)})
    tables = {
        "samples": typed(samples, "samples"),
        "scenario_scores": typed(scenarios, "scenario_scores"),
        "response_scores": typed(responses, "response_scores"),
    }
    table = typed(prompts, "prompts").with_columns(polarity=pl.Series([one["polarity"] for one in prompts]))
    write_table(folder / "prompts.parquet", table, "prompts", make_metadata("prompts", **FACTS))
    for kind, rows in tables.items():
        write_table(folder / f"{kind}.parquet", rows, kind, make_metadata("vet", **FACTS, window=WINDOW, judge=JUDGE))
    labels, found = vet(table, tables["scenario_scores"], tables["response_scores"], minimum=1)
    facts = make_metadata("vet", **FACTS, judge=JUDGE)
    write_table(folder / "vetting.parquet", labels, "vetting", facts)
    write_json(folder / "vetting.json", found.to_dict(), metadata=facts)


def judged(score: Any) -> dict[str, Any]:
    """A row of scores."""
    if isinstance(score, str):
        return {"score": None, "status": score, "resolution": "exemplar", "reason": f"why {score}"}
    return {"score": score, "status": "scored", "resolution": "exemplar", "reason": None}


def typed(rows: list[dict[str, Any]], kind: str) -> pl.DataFrame:
    """A table of a kind; columns that the rows lack are null."""
    columns = SCHEMAS[kind].columns
    return pl.DataFrame([{name: row.get(name) for name in columns} for row in rows], schema=columns)


def vectors(best: tuple[str, int] | None = ("probe", 5)) -> dict[str, Any]:
    """Content of vectors.json: one method at three layers, of which the last has no vector."""
    parts = {
        f"{part}_{name}": None
        for part in ("train", "validation", "test", "cross_validated")
        for name in (
            *("cohens_d", "cohens_d_low", "cohens_d_high", "auc", "auc_low", "auc_high"),
            *("hedges_g", "accuracy", "n_pairs", "n_positive", "n_negative", "reason"),
        )
    }
    counts = {f"cross_validated_n_{what}": 4 for what in ("pairs", "positive", "negative")}
    one = {**parts, "fitted_on": "all pairs", "null_cohens_d": 1.0, "null_auc": 0.7, "warnings": [], "reason": None}
    records = [
        {**one, **counts, "method": "probe", "layer": layer, "norm": 1.0, "cross_validated_cohens_d": float(layer)}
        for layer in (3, 5)
    ]
    records.append({**one, "method": "probe", "layer": 7, "norm": None, "reason": "no rows"})
    chosen = {"kind": "nested", "n_pairs": 4, "fitted_on": "all pairs", "selection": None, "held_out": None}
    method, layer = best or (None, None)
    return {
        "status": "ok",
        "reason": None,
        "n_rows": 4,
        "n_empty": 0,
        "n_vectors": 2,
        "best": {**chosen, "method": method, "layer": layer, "reason": None if best else "too few pairs"},
        "records": records,
    }


def plant_steering(folder: Path) -> None:
    """Two report questions of one answer each by every condition, and a search of one point on one question."""
    answers = [answer("unsteered", question) for question in (0, 1)]
    answers += [answer("steered", question, layer=5, method="probe", ratio=0.2) for question in (0, 1)]
    answers += [answer("prompting", 0)]
    answers += [answer("random", 0, layer=5, method="random", ratio=0.2, draw=draw) for draw in (0, 1)]
    write_answers(folder, "report", answers, {"unsteered": 50.0, "steered": 80.0, "prompting": 60.0, "random": 40.0})
    searched = [answer("reference", 7), answer("steered", 7, layer=5, method="probe", ratio=-0.3)]
    write_answers(folder, "search", searched, {"reference": 45.0, "steered": None})


def answer(kind: str, question: int, **point: Any) -> dict[str, Any]:
    """A row of answers."""
    name = f"{kind}-{question}-{point.get('draw', 0)}"
    told = {
        "question_id": f"q{question}",
        "question": f"Question {question}?",
        "sample": 0,
        "text": f"{HOSTILE} {name}",
    }
    return {"row_id": name, "kind": kind, **told, "n_tokens": 3, "finish_reason": "stop", **point}


def write_answers(folder: Path, file: str, answers: list[dict[str, Any]], traits: dict[str, float | None]) -> None:
    """A table of answers, and scores by kind; the second question's trait score is one higher."""
    scores = []
    for one in answers:
        trait = traits[one["kind"]]
        known = None if trait is None else trait + (one["question_id"] == "q1")
        status = "error" if trait is None else "scored"
        judged = {"trait": known, "trait_status": status, "coherence": 90.0, "coherence_status": "scored"}
        scores.append({"row_id": one["row_id"], **judged, "reason": "no answer came" if trait is None else None})
    facts = make_metadata("judge_steered", **FACTS, judge=JUDGE)
    write_table(folder / f"{file}.parquet", typed(answers, file), file, facts)
    write_table(folder / f"{file}_scores.parquet", typed(scores, f"{file}_scores"), f"{file}_scores", facts)


def plant_results(root: Path, folder: Path) -> None:
    """The study's summary: the first trait with vectors, the second without."""
    vetting = read_json(folder / "vetting.json")
    summaries = [
        summarise_trait(name, vetting, record, choice=None, effects=None)
        for name, record in ((TRAIT, vectors()), (OTHER, vectors(best=None)))
    ]
    cosines = {name: {other: 1.0 if name == other else -0.5 for other in (TRAIT, OTHER)} for name in (TRAIT, OTHER)}
    content = {
        "traits": summaries,
        "cosines": [{"method": "probe", "layer": layer, "cosines": cosines} for layer in (3, 5)],
    }
    facts = make_metadata("analyse_traits", **FACTS, judge=JUDGE, window=WINDOW, steered_model=None)
    place = root / "experiments/tiny/traits"
    write_json(place / "results.json", content, metadata=facts)
    write_table(place / "results.parquet", traits_table(summaries), "traits", facts)


def plant_projections(folder: Path, prompts: tuple[str, ...], traits: tuple[str, ...] = (TRAIT,)) -> None:
    """Texts of three tokens along a vector of each trait; writes samples and prompts where there are none."""
    if not (folder / "samples.parquet").exists():
        told = [{"prompt_id": key, "group": key, "text": f"asked {key}"} for key in prompts]
        written = [{"prompt_id": key, "group": key, "sample": 0, "text": f"told {key}"} for key in prompts]
        write_table(folder / "prompts.parquet", typed(told, "prompts"), "prompts", make_metadata("prompts", **FACTS))
        write_table(folder / "samples.parquet", typed(written, "samples"), "samples", make_metadata("prompts", **FACTS))
    rows = [
        {
            **{"prompt_id": key, "sample": 0, "trait": trait, "method": "probe", "layer": 5, "token_ends": [2, 4, 4]},
            **{"projection": [float(place), place + 1.0, place + 2.0], "mean": place + 0.5},
        }
        for place, key in enumerate(prompts)
        for trait in traits
    ]
    facts = make_metadata("project", **FACTS, vectors={"experiment": "tiny", "model": {"name": "small"}})
    write_table(folder / "projections.parquet", typed(rows, "projections"), "projections", facts)


def app_of(root: Path) -> Dash:
    """The app over a folder."""
    return make_app(root)


def parts_of(component: Any, kind: type | None = None) -> Iterator[Component]:
    """A component and all below it, of a kind or of any."""
    for one in component if isinstance(component, list | tuple) else [component]:
        if isinstance(one, Component):
            if kind is None or isinstance(one, kind):
                yield one
            yield from parts_of(getattr(one, "children", None), kind)


def pieces_of(component: Any) -> list[str]:
    """Tokens of the shaded texts, which the browser draws."""
    told = [getattr(part, "data-tokens", None) for part in parts_of(component, html.Div)]
    return [piece for one in told if one for piece in json.loads(one)["pieces"]]


def words_of(component: Any) -> str:
    """All text in a component, joined by spaces."""
    told = []
    for one in [component, *parts_of(component)]:
        below = getattr(one, "children", one)
        told += [each for each in (below if isinstance(below, list | tuple) else [below]) if isinstance(each, str)]
    return " ".join(told)
