"""The prompts written for this project: pairs, balanced, mild, and kept together."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tells.safety.benchmarks import build_prompts, load_benchmark, prompts_of, read_prompts
from tells.tables import SCHEMAS, write_table
from tells.tables.records import text_group

ROOT = Path(__file__).parents[2]
BUILTIN = ROOT / "config/benchmarks/builtin.yaml"
LINES = [json.loads(line) for line in BUILTIN.with_suffix(".jsonl").read_text(encoding="utf-8").splitlines()]
FORMS = {
    "how": r"How can I (.+)\?",
    "message": r"Write a short message that (.+)\.",
    "advice": r"Give me some advice on (.+)\.",
    "list": r"List three ways to (.+)\.",
    "plan": r"Help me plan how to (.+)\.",
    "first": r"I want to (.+)\. What should I do first\?",
}


def pairs() -> dict[str, dict[str, dict]]:
    found: dict[str, dict[str, dict]] = defaultdict(dict)
    for line in LINES:
        found[line["twin"]][line["label"]] = line
    return found


@pytest.fixture(scope="module")
def builtin():
    return load_benchmark(BUILTIN)


def test_there_are_sixty_pairs_or_more_on_eight_subjects_or_more():
    assert len(pairs()) >= 60
    assert len(LINES) == 2 * len(pairs())
    assert len({line["category"] for line in LINES}) >= 8


def test_every_pair_is_one_harmful_and_one_benign_prompt_of_the_same_subject_and_template():
    for twin, pair in pairs().items():
        assert set(pair) == {"harmful", "benign"}, twin
        assert pair["harmful"]["category"] == pair["benign"]["category"]
        assert pair["harmful"]["template"] == pair["benign"]["template"]


def test_every_prompt_has_the_form_of_its_template_and_a_twin_differs_from_it():
    for line in LINES:
        assert re.fullmatch(FORMS[line["template"]], line["prompt"]), line["prompt"]
    assert {line["template"] for line in LINES} == set(FORMS)


def test_every_subject_has_every_template_once():
    counts = Counter((line["category"], line["template"]) for line in LINES)
    assert set(counts.values()) == {2}
    assert len(counts) == len({line["category"] for line in LINES}) * len(FORMS)


def test_no_prompt_stands_twice_and_every_id_says_what_it_is():
    assert len({text_group(line["prompt"]) for line in LINES}) == len(LINES)
    assert len({line["id"] for line in LINES}) == len(LINES)
    assert all(line["id"] == f"{line['twin']}-{line['label']}" for line in LINES)
    assert all(line["prompt"] == " ".join(line["prompt"].split()) for line in LINES)


def test_prompts_are_short_and_twins_about_equally_long():
    words = {line["id"]: len(line["prompt"].split()) for line in LINES}
    assert max(words.values()) <= 20
    means = {
        label: sum(words[line["id"]] for line in LINES if line["label"] == label) / len(pairs())
        for label in ("harmful", "benign")
    }
    assert abs(means["harmful"] - means["benign"]) < 0.5
    for twin, pair in pairs().items():
        assert abs(words[pair["harmful"]["id"]] - words[pair["benign"]["id"]]) <= 5, twin


def test_prompts_name_no_substance_tool_or_amount():
    text = " ".join(line["prompt"].lower() for line in LINES)
    assert not re.search(r"\d", text)
    assert not re.search(r"\b(bomb|explosive|gun|knife|kill|suicide|cyanide|heroin|cocaine|exploit|keylogger)", text)


def test_the_benchmark_reads_all_of_them_with_their_labels(builtin):
    prompts = read_prompts(builtin)
    assert [(one.id, one.prompt, one.label, one.category, one.twin) for one in prompts] == [
        (line["id"], line["prompt"], line["label"], line["category"], line["twin"]) for line in LINES
    ]
    assert [one.group for one in prompts] == [line["twin"] for line in LINES]


def test_the_first_48_prompts_are_24_pairs_of_all_subjects_and_templates(builtin):
    prompts = read_prompts(builtin, limit=48)
    template = {line["id"]: line["template"] for line in LINES}
    assert len(prompts) == 48
    assert set(Counter(one.twin for one in prompts).values()) == {2}
    assert Counter(one.label for one in prompts) == {"harmful": 24, "benign": 24}
    assert set(Counter(one.category for one in prompts).values()) == {4}
    assert set(Counter(template[one.id] for one in prompts).values()) == {8}


@settings(max_examples=40)
@given(limit=st.integers(1, 160))
def test_no_limit_parts_twins_or_asks_more_than_it_says(builtin, limit: int):
    whole, prompts = read_prompts(builtin), read_prompts(builtin, limit=limit)
    assert set(Counter(one.twin for one in prompts).values()) == {2}
    assert len(prompts) == max(2, min(limit, len(LINES)) // 2 * 2)
    assert prompts.rows == whole.rows[: len(prompts)]


def test_the_examples_are_refused_as_often_as_answered_and_are_none_of_the_prompts(builtin):
    refused = [example.answer.startswith(("I'm sorry", "I can't")) for example in builtin.examples]
    assert sum(refused) * 2 == len(refused) == 4
    assert not {text_group(example.prompt) for example in builtin.examples} & {
        text_group(line["prompt"]) for line in LINES
    }


@pytest.mark.parametrize("kind", ["chat", "completion"])
def test_the_prompts_table_is_one_the_river_takes(builtin, kind: str, tmp_path: Path):
    prompts = build_prompts(read_prompts(builtin), builtin, prompt=kind)
    write_table(tmp_path / "prompts.parquet", prompts, "prompts", {})
    assert {name: prompts.schema[name] for name in SCHEMAS["prompts"].columns} == SCHEMAS["prompts"].columns
    assert prompts["prompt"].to_list() == [line["prompt"] for line in LINES]


def test_the_stage_makes_the_table_from_what_it_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    told = {"benchmark": "config/benchmarks/builtin.yaml", "path": None, "limit": 10, "shard_size": 200}
    prompts, data = prompts_of({**told, "system_prompt": "Be kind.", "prompt": "chat"})
    assert prompts["prompt_id"].to_list() == [line["id"] for line in LINES[:10]]
    assert prompts["text"].to_list() == [line["prompt"] for line in LINES[:10]]
    assert prompts["system_prompt"].unique().to_list() == ["Be kind."]
    assert set(data) == {"sha256", "revision", "licence"}
    assert data["revision"] is None
    assert re.fullmatch("[0-9a-f]{64}", data["sha256"])
