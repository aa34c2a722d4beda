"""What a reader of the table must know, in words."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tells.agreement.signals import TEST

FEW_GROUPS = 20
"""Groups below which an interval says little."""
OFFLINE = ("patterns", "embedding", "exemplar")
"""Names of labellers that show how the workflow runs, not how a model is."""
_MOST = 0.5


def notes_of(content: Mapping[str, Any]) -> list[str]:
    """Notes on what is missing, on what rests on little, and on signals that are one.

    Args:
        content: of results.json, as far as it is there.
    """
    return [
        *[f"{study}: {reason}" for study, reason in content["missing_studies"].items()],
        *_absent(content["absent"], content["cells"]),
        *_own_directions(content["records"]),
        *_few(content["cells"]),
        *_labellers(content["collections"]),
        *_windows(content["collections"]),
        *_insufficient(content["trait_directions"]),
        *_steered(content["confidence_direction"]["steering"]),
        *_tests(content["tests"]),
    ]


def _absent(absent: Sequence[Mapping[str, Any]], cells: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """One line for each reason, with the signals and the places that it holds for."""
    of_study: dict[str, dict[str, None]] = defaultdict(dict)
    for cell in cells:
        of_study[cell["study"]][cell["collection"]] = None
    by_reason: dict[str, tuple[dict[str, None], dict[tuple[str, str], None]]] = defaultdict(lambda: ({}, {}))
    for one in absent:
        names, places = by_reason[one["reason"]]
        names[one["signal"]] = None
        collections = of_study[one["study"]] if one["collection"] is None else (one["collection"],)
        places.update(dict.fromkeys((one["study"], name) for name in collections))
    for reason, (names, places) in by_reason.items():
        yield f"absent in {', '.join(_places(places, of_study))}: {', '.join(names)}: {reason}"


def _places(places: Iterable[tuple[str, str]], of_study: Mapping[str, Iterable[str]]) -> list[str]:
    """Names of collections; of a study where all of its collections are meant."""
    named: dict[str, list[str]] = defaultdict(list)
    for study, collection in places:
        named[study].append(collection)
    return [
        text
        for study, names in named.items()
        for text in ([study] if {*names} == {*of_study[study]} else [f"{study}/{name}" for name in names])
    ]


def _own_directions(records: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Which rows a trait's own direction is scored on."""
    traits = dict.fromkeys(
        one["collection"] for one in records if one["study"] == "traits" and one["split"] == TEST and one["n_rows"]
    )
    if traits:
        yield (
            f"{', '.join(traits)}: the trait's own direction is scored on the test pairs of its split, all of which "
            "passed vetting, and other signals on every response that shows the trait or its opposite: do not compare "
            "the two"
        )


def _few(cells: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for cell in cells:
        where = f"{cell['study']}/{cell['collection']}, {cell['outcome']}"
        if cell["n_rows"] == 0:
            yield f"{where}: no scored sample has this outcome"
        elif cell["n_groups"] < FEW_GROUPS:
            yield f"{where}: {cell['n_groups']} groups, whose intervals say little"
        if cell["n_rows"] and cell["prevalence"] in (0.0, 1.0):
            yield f"{where}: one class only, so there is nothing to predict"


def _windows(collections: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Where the span is so short that the four confidences are one number."""
    of_study: dict[str, dict[str, None]] = defaultdict(dict)
    short: dict[tuple[str, str], None] = {}
    for one in collections:
        of_study[one["study"]][one["collection"]] = None
        share = one["share_within_window"]
        if share is not None and share > _MOST:
            short[one["study"], one["collection"]] = None
    if short:
        window = collections[0]["confidence_window"]
        yield (
            f"{', '.join(_places(short, of_study))}: in most samples the four confidences are one number, as the span "
            f"is no longer than the window of {window} tokens"
        )


def _labellers(collections: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Who gave the outcomes, where it is a stand-in."""
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for one in collections:
        for outcome, labeller in sorted(one["labels_by"].items()):
            if labeller.startswith(OFFLINE):
                found[outcome, labeller].append(f"{one['study']}/{one['collection']}")
    for (outcome, labeller), places in found.items():
        yield f"{outcome} in {', '.join(places)} is told by an offline stand-in: {labeller}"


def _insufficient(directions: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for one in directions:
        if one["projected"] and one["status"] != "ok":
            yield f"the direction of {one['trait']} is {one['status']}: {one['reason']}"


def _steered(steering: Mapping[str, Any] | None) -> Iterator[str]:
    """What the steered run rests on."""
    for one in steering["collections"] if steering else ():
        name, questions = f"steered {one['collection']}", one["n_questions"]
        if questions < FEW_GROUPS:
            yield f"{name}: {questions} questions, whose intervals say little"
        if others := questions - one["n_test_questions"]:
            yield f"{name}: {others} of {questions} questions are none of the held-out test questions of the table"


def _tests(tests: Mapping[str, Any]) -> Iterator[str]:
    if not tests["suffices"]:
        yield (
            f"{tests['permutations']} permutations are too few for {tests['n_tests']} tests: no p-value can be below "
            "0.05 after Holm; raise agreement.permutations"
        )
