"""A steering grid as rows of batches against one run per point, and four traits in one model load; `make bench`."""

from __future__ import annotations

import statistics

from real_model import ROOT, rates_in_turns, ratio, real_model

from tells.config import GenerationConfig
from tells.models.loading import LoadedModel
from tells.models.replay import ReplayRow, replay
from tells.models.spans import Spans
from tells.traits.scenarios import load_trait
from tells.traits.steering import Candidate, SteeredRow, generate_rows, grid_rows, name_questions
from tells.traits.vectors import random_direction

POINTS, QUESTIONS, TOKENS, REPEATS, TARGET = 30, 6, 24, 3, 5.0
TRAITS = ("behavioral/formality", "epistemic/optimism", "epistemic/confidence", "cognitive/retrieval")
SETTINGS = GenerationConfig(temperature=0.7, max_new_tokens=TOKENS)


def grid(width: int) -> list[list[SteeredRow]]:
    """Rows of 30 points (3 layers, 5 ratios, both signs), point by point."""
    questions = name_questions(load_trait(ROOT / "config/traits/behavioral/formality").search, "search", QUESTIONS)
    candidates = [Candidate(layer, "random", random_direction(width, seed=layer).vector) for layer in (8, 14, 20)]
    rows = grid_rows(candidates, (0.1, 0.15, 0.2, 0.25, 0.3), {8: 130.0, 14: 150.0, 20: 240.0}, questions, 1)
    return [rows[start : start + QUESTIONS] for start in range(0, len(rows), QUESTIONS)]


def generate(loaded: LoadedModel, rows: list[SteeredRow]) -> int:
    """Generate and read likelihoods; returns the tokens generated."""
    table, _ = generate_rows(
        rows, loaded, SETTINGS, names=("bench",), seed=0, prompt="chat", positions="response", batch_size=192
    )
    return int(table["token_ids"].list.len().sum())


def rows_of(loaded: LoadedModel, trait: str) -> list[ReplayRow]:
    """The 48 scenarios of the demo, their last 16 tokens in the place of a response."""
    definition = load_trait(ROOT / "config/traits" / trait)
    rows = []
    for text in (*definition.positive[:24], *definition.negative[:24]):
        ids = tuple(loaded.tokenizer(f"{text} and so on, as {text}")["input_ids"])
        rows.append(ReplayRow(ids[:-16], ids[-16:], Spans(None, None, None), 16))
    return rows


def replay_trait(loaded: LoadedModel, trait: str) -> int:
    """Replay a trait at every layer; returns its runs."""
    layers, rows = list(range(loaded.model.config.num_hidden_layers)), rows_of(loaded, trait)
    replay(loaded, rows, layers=layers, positions=["response[:16]"], batch_size=64)
    return len(rows)


def one_load() -> int:
    """All traits in one load of the model."""
    loaded = real_model()
    return sum(replay_trait(loaded, trait) for trait in TRAITS)


def a_load_each() -> int:
    """Each trait in a load of its own."""
    return sum(replay_trait(real_model(), trait) for trait in TRAITS)


def show(title: str, rates: dict[str, list[float]], unit: str, target: float | None) -> None:
    """Print medians and the ratio of the first variant to the second."""
    print(title)
    for name, values in rates.items():
        print(f"  {name}: {statistics.median(values):.1f} {unit} a second")
    first, second = rates.values()
    print(f"  ratio {ratio(first, second):.2f}" + (f" (target {target:g})" if target else ""))


def main() -> None:
    """Print both comparisons."""
    loaded = real_model()
    points = grid(loaded.model.config.hidden_size)
    assert len(points) == POINTS
    generate(loaded, points[0])
    rates = rates_in_turns(
        {
            "rows of batches": lambda: generate(loaded, [row for rows in points for row in rows]),
            "one run per point": lambda: sum(generate(loaded, rows) for rows in points),
        },
        REPEATS,
    )
    show(f"steering grid, {POINTS} points x {QUESTIONS} questions x {TOKENS} tokens", rates, "tokens", TARGET)
    rates = rates_in_turns({"one load": one_load, "one load per trait": a_load_each}, REPEATS)
    show("replay of 4 traits, 48 runs each, every layer (a job's imports come on top)", rates, "runs", None)


if __name__ == "__main__":
    main()
