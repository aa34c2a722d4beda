"""Made-up traces as the tables that arms read, and the arms' decisions taken one trace at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from hypothesis import strategies

from tells.config.safety import StoppingConfig
from tells.safety.adaptive import AdaptivePrompt, vote_of
from tells.safety.voting import majority_vote
from tells.tables import SCHEMAS

VOCABULARY = {
    "refusal": ["refusal", "partial", "compliance", "unclear"],
    "harm": ["harmful", "unharmful", "unscored", None],
}


def trace(confidence: Sequence[float], refusal: str | None = "refusal", harm: str | None = None, **more: Any) -> dict:
    """A trace whose voter while sampling says what its final label says."""
    row = {"confidence": list(confidence), "refusal": refusal, "stop_label": refusal, "harm": harm}
    return {**row, "truncated": False, **more}


def prompt(traces: Sequence[dict], name: str = "p", label: str | None = "harmful", group: str | None = None) -> list:
    facts = {"prompt_id": name, "group": group or name, "label": label, "category": None}
    return [{**facts, "sample": sample, **row} for sample, row in enumerate(traces)]


def tables(rows: Sequence[dict]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The confidence and the reply_labels table."""
    rows = [{**row, "n_tokens": len(row["confidence"]), "empty": not row["confidence"]} for row in rows]
    return _table(rows, "confidence"), _table(rows, "reply_labels")


def _table(rows: Sequence[dict], kind: str) -> pl.DataFrame:
    columns = SCHEMAS[kind].columns
    return pl.DataFrame([{name: row.get(name) for name in columns} for row in rows], schema=columns)


def study(prompts: int, traces: int, tokens: int, seed: int = 0) -> list[dict]:
    """Twins, half of them harmful: unsure traces, labels that vary within a prompt, some unclear or unscored."""
    generator = np.random.default_rng(seed)
    rows: list[dict] = []
    for number in range(prompts):
        label, refusing = ("harmful", "benign")[number % 2], generator.beta(0.6, 0.6)
        found = []
        for _ in range(traces):
            size = int(generator.integers(tokens // 2, tokens + 1))
            confidence = generator.gamma(4.0, 0.5, size) + generator.normal(2.0, 0.4) + 1.0
            outcomes = ["refusal" if generator.random() < refusing else "compliance", "partial", "unclear"]
            refusal = str(generator.choice(outcomes, p=[0.9, 0.05, 0.05]))
            judged = str(generator.choice(["harmful", "unharmful", "unscored"], p=[0.3, 0.6, 0.1]))
            found.append(trace(np.abs(confidence).tolist(), refusal, judged if refusal == "compliance" else None))
        rows += prompt(found, f"p{number:04d}", label, f"g{number // 2:04d}")
    return rows


@strategies.composite
def pools_of_traces(draw: Any, size: int = 6) -> list[dict]:
    """One prompt: short traces, some empty, many equal, every label."""
    levels = strategies.sampled_from([0.5, 0.75, 1.0, 1.25, 2.0, 3.5])
    found = []
    for _ in range(size):
        refusal = draw(strategies.sampled_from([*VOCABULARY["refusal"], None]))
        found.append(
            {
                "confidence": draw(strategies.lists(levels, max_size=7)),
                "refusal": refusal,
                "stop_label": draw(strategies.sampled_from(VOCABULARY["refusal"])),
                "harm": draw(strategies.sampled_from(VOCABULARY["harm"])) if refusal == "compliance" else None,
                "truncated": draw(strategies.booleans()),
            }
        )
    return found


@dataclass
class Spent:
    """What an arm did on one order."""

    traces: int
    tokens: int
    decision: str | None
    harmful: float | None
    confidence: float | None


def outcome(voting: Sequence[dict]) -> tuple[str | None, float | None, float | None]:
    """Decision, harm and mean confidence of the voting traces, by the plain definitions."""
    decision = majority_vote([vote_of(row["refusal"]) for row in voting])
    scored = [row["harm"] for row in voting if row["refusal"] == "compliance"]
    judged = majority_vote([harm for harm in scored if harm in ("harmful", "unharmful")])
    harmful = None
    if decision == "refusal":
        harmful = 0.0
    elif decision == "compliance" and judged:
        harmful = float(judged == "harmful")
    means = [np.mean(row["confidence"]) for row in voting if row["confidence"]]
    return decision, harmful, float(np.mean(means)) if means else None


def first_traces(traces: Sequence[dict]) -> Spent:
    """A fixed number of traces."""
    return Spent(len(traces), sum(len(row["confidence"]) for row in traces), *outcome(traces))


def one_by_one(traces: Sequence[dict], stopping: StoppingConfig, window: int) -> Spent:
    """The adaptive arm on traces in this order, by `AdaptivePrompt`."""
    machine, voting, tokens = AdaptivePrompt(stopping, window, len(traces)), [], 0
    while not machine.done:
        row = traces[machine.traces]
        stop = machine.stop_of(row["confidence"], ended=not row["truncated"])
        kept = row["confidence"] if stop is None else row["confidence"][: stop + 1]
        machine.add(row["stop_label"], kept, stop is not None)
        tokens += len(kept)
        voting += [row] if stop is None else []
    return Spent(machine.traces, tokens, *outcome(voting))


def online_rows(rows: Sequence[dict], stopping: StoppingConfig, window: int) -> pl.DataFrame:
    """The online table of an engine that generates exactly the pool's traces, and stops them token by token."""
    found = []
    for name in dict.fromkeys(row["prompt_id"] for row in rows):
        pool = [row for row in rows if row["prompt_id"] == name]
        machine = AdaptivePrompt(stopping, window, len(pool))
        while not machine.done:
            row, threshold, warming = pool[machine.traces], machine.threshold, machine.warming
            kept, reason = _generate(row, threshold, window)
            machine.add(row["stop_label"], kept, reason == "confidence")
            facts = {key: row[key] for key in ("prompt_id", "group", "sample", "stop_label")}
            ids = token_ids(row)[: len(kept)]
            generated = {"confidence": kept, "token_ids": ids, "prompt_token_ids": [1], "text": "", "seed": 0}
            decided = {"threshold": threshold, "settled": machine.settled, "warmup": warming, "finish_reason": reason}
            found.append({**facts, **generated, **decided, "wave": max(0, machine.traces - stopping.warmup)})
    return _table(found, "online")


def _generate(row: dict, threshold: float | None, window: int) -> tuple[list[float], str]:
    confidence = row["confidence"]
    for step in range(len(confidence)):
        last = step == len(confidence) - 1 and not row["truncated"]
        recent = np.float32(confidence[max(0, step + 1 - window) : step + 1]).astype(float)
        if threshold is not None and len(recent) == window and recent.mean() < threshold and not last:
            return confidence[: step + 1], "confidence"
    return confidence, "length" if row["truncated"] else "stop"


def token_ids(row: dict) -> list[int]:
    """Made-up ids: the same for the same trace."""
    return [1000 * row["sample"] + step for step in range(len(row["confidence"]))]


def samples_of(rows: Sequence[dict]) -> pl.DataFrame:
    """What `online_arm` reads of the samples table."""
    columns = {name: SCHEMAS["samples"].columns[name] for name in ("prompt_id", "sample", "token_ids")}
    keys = ("prompt_id", "sample")
    return pl.DataFrame([{**{key: row[key] for key in keys}, "token_ids": token_ids(row)} for row in rows], columns)
