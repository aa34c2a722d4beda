"""Made-up content of the traits study's files, and how a figure's words are read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import plotly.graph_objects as go
import polars as pl
import pytest

from tells.tables import SCHEMAS

TRAIT = "epistemic/calm"
OFFLINE = {"provider": "exemplar", "model": "mini"}
ONLINE = {"provider": "api", "model": "large"}
HOSTILE = "<script>alert(1)</script><a href='x'>&"
ESCAPED = "&lt;script&gt;alert(1)&lt;/script&gt;&lt;a href='x'&gt;&amp;"
PARTS = ("train", "validation", "test", "cross_validated")


def vector(method: str, layer: int, d: float | None, part: str = "cross_validated", **changes: Any) -> dict[str, Any]:
    """A record of vectors.json with figures of one part and of train."""
    record: dict[str, Any] = {"method": method, "layer": layer, "fitted_on": "all pairs", "norm": 2.0}
    for one in PARTS:
        has = d is not None and one in (part, "train")
        ends = has and one != "train"
        record |= {
            f"{one}_cohens_d": d if has else None,
            f"{one}_cohens_d_low": d - 0.5 if ends else None,
            f"{one}_cohens_d_high": d + 0.75 if ends else None,
            f"{one}_auc": 0.5 + d / 10 if has else None,
            f"{one}_auc_low": 0.4 if ends else None,
            f"{one}_auc_high": 0.95 if ends else None,
            f"{one}_hedges_g": 0.9 * d if has else None,
            f"{one}_accuracy": 0.75 if has else None,
            f"{one}_reason": None,
            **{f"{one}_n_{what}": 12 if has else None for what in ("pairs", "positive", "negative")},
        }
    return {**record, "null_cohens_d": 1.0, "null_auc": 0.7, "warnings": [], "reason": None, **changes}


def vectors(records: list[dict[str, Any]] | None = None, **changes: Any) -> dict[str, Any]:
    """Content of vectors.json: two methods at layers 3 and 10, of which one has no vector."""
    if records is None:
        records = [
            vector("probe", 10, 2.5),
            vector("probe", 3, -0.5),
            vector("fisher", 3, 1.5, warnings=["dimension 5 is large"]),
            vector("fisher", 10, None, norm=None, reason="no rows at this layer"),
        ]
    best = {"kind": "nested", "method": "probe", "layer": 10, "reason": None}
    plain = {"status": "ok", "reason": None, "metadata": {"window": "response[:16]"}}
    return {"records": records, "best": best, **plain, **changes}


def results() -> dict[str, Any]:
    cosines = {"a/one": {"a/one": 1.0, "b/two": -0.25}, "b/two": {"a/one": -0.25, "b/two": None}}
    best = [{"method": "probe", "layer": 3}, None]
    return {
        "metadata": {"window": "response"},
        "traits": [
            {"trait": name, "best_by_validation": one} for name, one in zip(("a/one", "b/two"), best, strict=True)
        ],
        "cosines": [
            {"method": "probe", "layer": 3, "cosines": cosines},
            {"method": "fisher", "layer": 3, "cosines": {}},
        ],
    }


def vetting(scenario: list[float | None], response: list[float | None]) -> pl.DataFrame:
    """Two responses a scenario, positives and negatives in turn."""
    rows = []
    for place, score in enumerate(response):
        polarity = ("positive", "negative")[place // 2 % 2]
        known = scenario[place // 2]
        rows.append(
            {
                "prompt_id": f"{polarity}-{place // 4:03d}",
                "group": f"pair-{place // 4:03d}",
                "sample": place % 2,
                "polarity": polarity,
                "scenario_score": known,
                "scenario_status": "error" if known is None else "scored",
                "response_score": score,
                "response_status": "refused" if score is None else "scored",
                "outcome": "pass",
                "kept": True,
            }
        )
    return pl.DataFrame(rows, schema=SCHEMAS["vetting"].columns)


def vetted(judge: dict[str, Any] | None = OFFLINE, stages: tuple[str, ...] = ("scenarios", "responses")) -> Any:
    counted = {"n": 9, "n_pass": 5, "n_fail": 3, "n_error": 1, "n_refused": 2}
    return {
        "stages": [
            {"stage": stage, "polarity": pole, **counted} for stage in stages for pole in ("positive", "negative")
        ],
        "thresholds": {"positive_min": 61.0, "negative_max": 38.0},
        "gate": "responses",
        "metadata": {"judge": judge},
    }


def searched(method: str = "probe") -> tuple[pl.DataFrame, pl.DataFrame]:
    """Answers and scores of a search: references, and two answers at each of six points."""
    points = [("probe", 3, -0.2), ("probe", 3, 0.1), ("probe", 3, 0.4), ("probe", 7, 0.1), ("fisher", 3, 0.1)]
    rows: list[dict[str, Any]] = [{"row_id": "ref", "kind": "reference"}]
    scores: list[dict[str, Any]] = [{"row_id": "ref", "trait": 99.0, "coherence": 99.0}]
    for place, (name, layer, ratio) in enumerate(points):
        for sample in (0, 1):
            key = {"row_id": f"p{place}-{sample}", "kind": "steered", "sample": sample}
            name = method if name == "probe" else name
            rows.append({**key, "layer": layer, "method": name, "ratio": ratio, "coefficient": 10 * ratio})
            scores.append({"row_id": key["row_id"], "trait": 10.0 * place + sample, "coherence": 90.0 - 8 * place})
    scores[-1] |= {"trait": None}
    return (
        pl.DataFrame(rows, schema=SCHEMAS["search"].columns),
        pl.DataFrame(scores, schema=SCHEMAS["search_scores"].columns),
    )


def choice(method: str = "probe", **changes: Any) -> dict[str, Any]:
    points = [
        {"layer": 3, "method": method, "ratio": -0.2, "reasons": []},
        {"layer": 3, "method": method, "ratio": 0.1, "reasons": []},
        {"layer": 3, "method": method, "ratio": 0.4, "reasons": ["coherence_drop"]},
        {"layer": 7, "method": method, "ratio": 0.1, "reasons": []},
        {"layer": 3, "method": "fisher", "ratio": 0.1, "reasons": ["missing_score"]},
    ]
    made = {
        "status": "chosen",
        "baseline": {"trait": 44.0, "coherence": 88.0, "n": 30, "n_missing": 1},
        "points": points,
        "optimum": {"layer": 7, "method": method, "ratio": 0.1, "no_effect": False},
        "n_questions": 6,
        "metadata": {"judge": OFFLINE},
    }
    return {**made, **changes}


def summary(**changes: Any) -> dict[str, Any]:
    effect = {"coherence": 84.0, "n": 20, "n_missing": 0, "n_missing_coherence": 2, "n_questions": 10}
    made = {
        "trait": TRAIT,
        "status": "steered",
        "reason": None,
        "best_by_steering": {"method": "probe", "layer": 7, "ratio": 0.15},
        "steering": {
            "steered": {"delta": 30.0, "low": 21.0, "high": 43.0, **effect},
            "prompting": {"delta": 12.0, "low": None, "high": None, **effect},
            "unsteered": {"trait": 52.0, "coherence": 93.0, "n": 20},
            "random": {"deltas": [-5.0, 3.0, 14.0], "mean": 4.0, "percentile_95": 14.0, "n": 3, "coherence": 87.0},
            "p_random": 0.25,
        },
    }
    return {**made, **changes}


def title(figure: go.Figure) -> str:
    found = figure.layout.title
    return f"{found.text} {(found.subtitle.text or '').replace('<br>', ' ')}"


def reason(figure: go.Figure) -> str | None:
    """Why a figure is empty; None where it is not."""
    if figure.data:
        return None
    (note,) = figure.layout.annotations
    return note.text.removeprefix("nothing to show: ").replace("<br>", " ")


def named(figure: go.Figure, name: str) -> list[Any]:
    return [trace for trace in figure.data if trace.name == name]


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for one in value:
            yield from strings(one)
    elif isinstance(value, str):
        yield value


def check_words(figure: go.Figure) -> None:
    """A figure is JSON without NaN, says what it rests on, and has titles on its axes."""
    json.loads(figure.to_json(), parse_constant=pytest.fail)
    assert reason(figure) is None
    assert "n = " in title(figure)
    assert "interval" in title(figure)
    assert figure.layout.xaxis.title.text
    assert figure.layout.yaxis.title.text


def check_plain(figures: list[go.Figure]) -> None:
    """Names and reasons of a file, as `HOSTILE`, stand in the figures as text and nowhere as tags."""
    for figure in figures:
        texts = [text.replace("<br>", " ") for text in strings(figure.to_plotly_json()["data"])]
        texts += [text.replace("<br>", " ") for text in strings(json.loads(figure.to_json())["layout"])]
        assert not [text for text in texts if "<" in text]
        assert any(ESCAPED.split(" ")[0] in text for text in texts)
