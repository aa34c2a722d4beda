"""Made-up signals tables: samples of one collection with planted signals."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from tells.agreement.cells import InferenceSettings
from tells.agreement.signals import OUTCOMES, Signal
from tells.agreement.steering_changes import MEASURED, SteeredQuestions
from tells.tables import SCHEMAS

SETTINGS = InferenceSettings(bootstrap=200, permutations=4000, seed=3)
NAMES = ("informative", "copy", "null")
DIRECTION = {"trait": "epistemic/confidence", "method": "probe", "layer": 3, "status": "ok", "reason": None}


def signal(name: str, sureness: int = 1, family: str = "length") -> Signal:
    return Signal(name, family, sureness, "", name)


def signals_table(
    columns: dict[str, Any],
    *,
    groups: np.ndarray,
    study: str = "uncertainty",
    collection: str = "made-up",
    **known: Any,
) -> pl.DataFrame:
    """A signals table of one collection; `columns` are signals, `known` outcomes and other columns."""
    rows = len(groups)
    given = {
        "study": study,
        "collection": collection,
        "prompt_id": [f"q{group:03d}" for group in groups],
        "group": [f"g{group:03d}" for group in groups],
        "sample": np.arange(rows),
        "greedy": False,
        "split": "test" if study == "uncertainty" else "all",
        "scored": True,
        **known,
    }
    types = SCHEMAS["signals"].columns
    table = pl.DataFrame({"row": np.arange(rows)}).with_columns(
        [_column(name, given.get(name), rows).cast(kind) for name, kind in types.items()]
    )
    return table.drop("row").with_columns(pl.Series(name, values, pl.Float64) for name, values in columns.items())


def _column(name: str, value: Any, rows: int) -> pl.Series:
    if value is None or isinstance(value, str | bool):
        return pl.Series(name, [value] * rows)
    return pl.Series(name, value)


def planted(seed: int, *, questions: int = 40, runs: int = 4, strength: float = 1.2) -> pl.DataFrame:
    """One informative signal, a noisy copy of it, and one that knows nothing; runs of a question are alike."""
    generator = np.random.default_rng(seed)
    groups = np.repeat(np.arange(questions), runs)
    hidden = np.repeat(generator.normal(size=questions), runs) + 0.5 * generator.normal(size=groups.size)
    correct = strength * hidden + generator.logistic(size=groups.size) > 0
    informative = hidden + 0.3 * generator.normal(size=groups.size)
    columns = {
        "informative": informative,
        "copy": informative + 0.5 * generator.normal(size=groups.size),
        "null": _grouped_noise(generator, groups),
        "length": generator.integers(5, 60, groups.size).astype(float),
    }
    return signals_table(columns, groups=groups, correct=correct)


def nothing_planted(seed: int, *, signals: int = 5, questions: int = 30, runs: int = 4) -> pl.DataFrame:
    """Signals and outcomes that are alike within a question and know nothing of each other."""
    generator = np.random.default_rng([seed, 9])
    groups = np.repeat(np.arange(questions), runs)
    correct = _grouped_noise(generator, groups) > 0
    columns = {f"null{number}": _grouped_noise(generator, groups) for number in range(signals)}
    return signals_table({**columns, "length": np.ones(groups.size)}, groups=groups, correct=correct)


def _grouped_noise(generator: np.random.Generator, groups: np.ndarray) -> np.ndarray:
    """Noise of which most belongs to the question."""
    return 2 * generator.normal(size=groups.max() + 1)[groups] + generator.normal(size=groups.size)


def facts(signals: list[Signal], **changes: Any) -> dict[str, Any]:
    """What signals.json says of a made-up table."""
    from dataclasses import asdict

    return {
        "signals": [asdict(one) for one in signals],
        "outcomes": [asdict(one) for one in OUTCOMES],
        "collections": [],
        "directions": [],
        "probes": [],
        "absent": [],
        "missing_studies": {"traits": "the experiment has no traits study"},
        **changes,
    }


def steered(
    seed: int,
    *,
    questions: int = 40,
    effects: dict[str, dict[str, float]] | None = None,
    randoms: int = 3,
    collection: str = "made-up",
    **direction: Any,
) -> SteeredQuestions:
    """Outcomes of questions that differ much from each other and little between arms; `effects` by arm and outcome."""
    generator = np.random.default_rng(seed)
    levels = {outcome: generator.normal(0.5, 0.3, questions) for outcome in MEASURED}
    rows = []
    for arm in ("baseline", "plus", "minus", *(f"random-{draw}" for draw in range(randoms))):
        shift = (effects or {}).get(arm, {})
        for question in range(questions):
            noise = {outcome: generator.normal(0, 0.1) for outcome in MEASURED}
            values = {name: levels[name][question] + shift.get(name, 0.0) + noise[name] for name in MEASURED}
            draw = int(arm.rpartition("-")[2]) if arm.startswith("random") else None
            name = f"q{question:02d}"
            known = {"arm": arm, "prompt_id": name, "group": f"g{name}", "split": "test", "draw": draw}
            rows.append({**known, "n_runs": 4, "n_valid": 4, **values})
    table = pl.DataFrame(rows, schema=SCHEMAS["outcomes"].columns)
    facts = {"direction": {**DIRECTION, **direction}, "ratio": 0.2, "norm": 10.0, "coefficient": 2.0}
    return SteeredQuestions(collection, table, facts)
