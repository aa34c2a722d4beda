"""Rows of the steering grid and of its controls, and the answers that a model gives to them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tells.config import GenerationConfig
from tells.config.traits import SteerConfig
from tells.models.engines.hf import HfEngine
from tells.models.hooks import capture
from tells.models.loading import LoadedModel, load_model
from tells.models.sampling import derive_seed
from tells.tables import SCHEMAS, read_table, write_table
from tells.traits.steering import (
    Candidate,
    Question,
    SteeredRow,
    generate_rows,
    grid_rows,
    measure_norms,
    name_questions,
    reference_rows,
    report_rows,
)

QUESTIONS = name_questions(["What is tea?", "Who sings?", "Where to?"], "search", 3)
NORMS = {0: 2.0, 2: 5.0}
SETTINGS = GenerationConfig(temperature=1.0, max_new_tokens=6)
KINDS = ("unsteered", "prompting", "steered", "random")


def candidate(layer: int, method: str = "probe", *, width: int = 8, seed: int = 0) -> Candidate:
    vector = np.random.default_rng(seed).normal(size=width).astype(np.float32)
    return Candidate(layer, method, vector / np.linalg.norm(vector))


def grid(ratios: tuple[float, ...] = (0.1, 0.5), *, samples: int = 1) -> list[SteeredRow]:
    return grid_rows([candidate(0), candidate(2, "fisher", seed=1)], ratios, NORMS, QUESTIONS, samples)


def report(
    chosen: SteeredRow | None, *, samples: int = 2, draws: int = 4, random_samples: int = 2, seed: int = 9
) -> list[SteeredRow]:
    return report_rows(
        chosen, QUESTIONS, samples, draws=draws, random_samples=random_samples, seed=seed, instruction="Be glad."
    )


def of_kind(rows: list[SteeredRow], kind: str) -> list[SteeredRow]:
    return [row for row in rows if row.kind == kind]


@pytest.fixture(scope="module")
def llama(tiny_manifests: dict[str, Path]) -> LoadedModel:
    return load_model(tiny_manifests["llama"], dtype="float32", device="cpu")


def fitting(loaded: LoadedModel, layer: int = 1, *, seed: int = 0) -> Candidate:
    return candidate(layer, width=loaded.model.config.hidden_size, seed=seed)


def generate(rows: list[SteeredRow], loaded: LoadedModel, **changes: Any) -> pl.DataFrame:
    settings = changes.pop("settings", SETTINGS)
    how = {"names": ("traits", "a/b"), "seed": 4, "prompt": "chat", "positions": "response", "batch_size": 5}
    return generate_rows(rows, loaded, settings, **how | changes)[0]


# rows


def test_questions_are_named_by_part_and_place_up_to_the_limit():
    assert name_questions(["a", "b", "c"], "report", 2) == [Question("report-00", "a"), Question("report-01", "b")]
    assert len(name_questions(["a", "b"], "search", 9)) == 2


def test_the_grid_has_every_point_with_both_signs_on_every_question():
    rows = grid(samples=2)
    points = Counter((row.candidate.layer, row.candidate.method, row.ratio) for row in rows)
    ratios = (-0.5, -0.1, 0.1, 0.5)
    assert points == {(layer, method, r): 6 for layer, method in ((0, "probe"), (2, "fisher")) for r in ratios}
    asked = {point: set() for point in points}
    for row in rows:
        asked[row.candidate.layer, row.candidate.method, row.ratio].add((row.question, row.sample))
    assert set(map(frozenset, asked.values())) == {frozenset((each, sample) for each in QUESTIONS for sample in (0, 1))}
    assert {row.kind for row in rows} == {"steered"}


def test_the_coefficient_is_the_ratio_times_the_norm_of_the_layer():
    for row in grid():
        assert row.coefficient == pytest.approx(row.ratio * {0: 2.0, 2: 5.0}[row.candidate.layer])
    assert min(row.coefficient for row in grid()) == -2.5


@given(
    st.lists(st.tuples(st.integers(0, 40), st.sampled_from(["probe", "fisher"])), max_size=4, unique=True),
    st.lists(st.integers(1, 99), min_size=1, max_size=5, unique=True),
    st.integers(1, 12),
    st.integers(1, 3),
)
def test_no_two_rows_of_one_table_have_the_same_id(
    places: list[tuple[int, str]], hundredths: list[int], questions: int, samples: int
):
    asked = name_questions(["?"] * questions, "search", questions)
    candidates = [candidate(*place) for place in places]
    rows = grid_rows(candidates, [n / 100 for n in hundredths], {layer: 3.0 for layer, _ in places}, asked, samples)
    rows += reference_rows(asked, 16)
    assert len({row.row_id for row in rows}) == len(rows)
    reported = report_rows(
        rows[0] if places else None, asked, samples, draws=12, random_samples=samples, seed=0, instruction="x"
    )
    assert len({row.row_id for row in reported}) == len(reported)


@pytest.mark.parametrize(("at_least", "samples"), [(1, 1), (3, 1), (4, 2), (6, 2), (64, 22)])
def test_references_are_as_many_answers_to_every_question_as_make_up_the_number(at_least: int, samples: int):
    rows = reference_rows(QUESTIONS, at_least)
    assert [(row.question, row.sample) for row in rows] == [(each, n) for each in QUESTIONS for n in range(samples)]
    assert all(row.kind == "reference" and row.candidate is None and row.coefficient is None for row in rows)


def test_random_vectors_may_answer_less_often_but_only_where_an_unsteered_answer_stands_beside():
    rows = report(grid()[-1], random_samples=1)
    assert Counter(row.kind for row in rows) == {"unsteered": 6, "prompting": 6, "steered": 6, "random": 12}
    assert {row.sample for row in of_kind(rows, "random")} == {0}
    with pytest.raises(ValueError, match="random_samples must not exceed report_samples"):
        SteerConfig(random_samples=2)


def test_every_kind_of_the_report_answers_the_same_questions():
    chosen = grid()[-1]
    rows = report(chosen)
    asked = [(question, sample) for question in QUESTIONS for sample in (0, 1)]
    assert Counter(row.kind for row in rows) == {"unsteered": 6, "prompting": 6, "steered": 6, "random": 24}
    for kind in KINDS[:3]:
        assert [(row.question, row.sample) for row in of_kind(rows, kind)] == asked
    for draw in range(4):
        assert [(row.question, row.sample) for row in of_kind(rows, "random") if row.draw == draw] == asked


def test_random_controls_differ_from_the_chosen_point_in_their_vector_alone():
    chosen = grid()[-1]
    rows = report(chosen)
    for row in of_kind(rows, "random"):
        assert (row.coefficient, row.ratio) == (chosen.coefficient, chosen.ratio) == (2.5, 0.5)
        assert (row.candidate.layer, row.candidate.method) == (2, "random")
        assert np.linalg.norm(row.candidate.vector) == pytest.approx(1.0)
        assert row.candidate.vector.shape == chosen.candidate.vector.shape
        assert row.instruction is None
    draws = {row.draw: row.candidate.vector for row in of_kind(rows, "random")}
    cosines = np.stack([*draws.values(), chosen.candidate.vector]) @ np.stack([*draws.values()]).T
    assert np.abs(cosines[np.triu_indices_from(cosines, 1)]).max() < 0.999
    for row in of_kind(rows, "steered"):
        assert row.candidate is chosen.candidate
        assert (row.coefficient, row.draw, row.instruction) == (2.5, None, None)


def test_random_vectors_come_from_the_seed():
    first, again, other = (of_kind(report(grid()[0], seed=seed), "random")[0].candidate.vector for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.allclose(first, other)


def test_without_a_chosen_point_there_is_only_what_needs_no_vector():
    rows = report(None)
    assert Counter(row.kind for row in rows) == {"unsteered": 6, "prompting": 6}
    assert {row.instruction for row in of_kind(rows, "prompting")} == {"Be glad."}
    assert all(row.candidate is None and row.instruction is None for row in of_kind(rows, "unsteered"))


# answers


def test_answers_to_the_same_question_and_sample_have_one_seed_at_every_point(llama: LoadedModel):
    first = fitting(llama)
    grid_of_two = grid_rows([first, fitting(llama, 3, seed=1)], (0.2,), {1: 1.0, 3: 1.0}, QUESTIONS, 2)
    table = generate([*reference_rows(QUESTIONS, 6), *grid_of_two], llama)
    seeds = table.group_by("question_id", "sample").agg(pl.col("seed").n_unique(), n=pl.len())
    assert seeds["seed"].to_list() == [1] * 6
    assert seeds["n"].to_list() == [5] * 6
    assert table["seed"].n_unique() == 6
    reported = generate(report(grid_of_two[0], draws=1), llama)
    assert reported.group_by("question_id", "sample").agg(pl.col("seed").n_unique())["seed"].to_list() == [1] * 6
    own = table.filter((pl.col("question_id") == "search-01") & (pl.col("sample") == 1))["seed"][0]
    assert own == derive_seed(4, "steer", "traits", "a/b", "search-01", 1)


def test_a_coefficient_of_zero_gives_the_unsteered_answer_and_a_large_one_another(llama: LoadedModel):
    first = fitting(llama)
    rows = [
        *reference_rows(QUESTIONS, 3),
        *(SteeredRow("steered", each, 0, first, ratio, 1000 * ratio) for ratio in (0.0, 1.0) for each in QUESTIONS),
    ]
    tokens = generate(rows, llama)["token_ids"].to_list()
    assert tokens[:3] == tokens[3:6]
    assert all(plain != steered for plain, steered in zip(tokens[:3], tokens[6:], strict=True))


def test_positions_reach_the_model(llama: LoadedModel):
    rows = [SteeredRow("steered", QUESTIONS[0], sample, fitting(llama), 1.0, 300.0) for sample in range(4)]
    tokens = [generate(rows, llama, positions=where)["token_ids"].to_list() for where in ("response", "prompt", "all")]
    assert tokens[0] != tokens[1] != tokens[2] != tokens[0]


@pytest.mark.parametrize("kind", ["search", "report"])
def test_the_table_is_of_its_kind_and_can_be_read_again(llama: LoadedModel, tmp_path: Path, kind: str):
    steered = grid_rows([fitting(llama)], (0.2, 0.4), {1: 3.0}, QUESTIONS, 1)
    rows = [*reference_rows(QUESTIONS, 3), *steered] if kind == "search" else report(steered[0], draws=2)
    table = generate(rows, llama)
    write_table(tmp_path / f"{kind}.parquet", table, kind, {})
    assert read_table(tmp_path / f"{kind}.parquet", kind).equals(table)
    assert table.schema == SCHEMAS[kind].columns
    assert table["row_id"].to_list() == [row.row_id for row in rows]
    assert table["question"].to_list() == [row.question.text for row in rows]
    plain = table.filter(pl.col("kind").is_in(["reference", "unsteered", "prompting"]))
    assert plain.select("layer", "method", "ratio", "coefficient", "draw").null_count().row(0) == (plain.height,) * 5
    for row, asked in zip(table.iter_rows(named=True), rows, strict=True):
        if asked.candidate:
            assert (row["layer"], row["method"]) == (asked.candidate.layer, asked.candidate.method)
        assert (row["ratio"], row["coefficient"], row["draw"]) == (asked.ratio, asked.coefficient, asked.draw)


@pytest.mark.parametrize(("prompt", "before", "after"), [("chat", "<|user|>", "<|end|>"), ("completion", "", "\nAns")])
def test_only_the_prompting_control_carries_the_instruction(
    llama: LoadedModel, monkeypatch: pytest.MonkeyPatch, prompt: str, before: str, after: str
):
    asked = []
    original = HfEngine.generate

    def spy(self: HfEngine, requests: Any, *arguments: Any, **keywords: Any) -> Any:
        asked.extend(requests)
        return original(self, requests, *arguments, **keywords)

    monkeypatch.setattr(HfEngine, "generate", spy)
    rows = report(grid_rows([fitting(llama)], (0.2,), {1: 3.0}, QUESTIONS, 1)[0], draws=1)
    generate(rows, llama, prompt=prompt)
    texts = [llama.tokenizer.decode(request.prompt_token_ids) for request in asked]
    assert len(texts) == len(rows)
    for row, text, request in zip(rows, texts, asked, strict=True):
        assert ("Be glad." in text) == (row.kind == "prompting")
        assert f"{row.question.text}{after}" in text
        assert before in text
        assert (request.steering is None) == (row.kind in ("prompting", "unsteered"))
    by_question = {row.question: text for row, text in zip(rows, texts, strict=True) if row.kind == "unsteered"}
    assert all(text == by_question[row.question] for row, text in zip(rows, texts, strict=True) if not row.instruction)


def plain_prompt(loaded: LoadedModel, question: str) -> list[int]:
    return loaded.tokenizer(f"<|user|>{question}<|end|><|assistant|>")["input_ids"]


def test_the_likelihood_is_that_of_a_plain_forward_pass_on_the_bare_question(tiny: LoadedModel):
    """Even where the answer was steered or prompted for: it is what the unsteered model thinks of the answer."""
    rows = report(SteeredRow("steered", QUESTIONS[0], 0, fitting(tiny), 0.5, 30.0), draws=1)
    table = generate(rows, tiny)
    for row in table.iter_rows(named=True):
        prompt, kept = plain_prompt(tiny, row["question"]), row["token_ids"][: row["n_tokens"]]
        if not kept:
            assert row["log_likelihood"] is None
            continue
        with torch.inference_mode():
            logits = tiny.model(torch.tensor([prompt + kept])).logits[0, len(prompt) - 1 : -1]
        expected = logits.log_softmax(-1).gather(1, torch.tensor(kept)[:, None]).mean()
        assert row["log_likelihood"] == pytest.approx(float(expected), abs=1e-4)
    assert table["log_likelihood"].null_count() < table.height / 2


def test_a_stop_string_counts_neither_as_token_nor_in_the_likelihood(llama: LoadedModel):
    settings = GenerationConfig(temperature=1.0, max_new_tokens=24, stop=tuple(map(chr, range(64, 123))))
    table = generate(reference_rows(QUESTIONS, 24), llama, settings=settings)
    stopped = table.filter(pl.col("finish_reason") == "stop")
    whole = stopped.filter(~pl.col("text").str.ends_with("\N{REPLACEMENT CHARACTER}"))  # else the token says both
    assert whole.height > 6
    assert (whole["n_tokens"] < whole["token_ids"].list.len()).all()
    first = stopped.filter(pl.col("n_tokens") == 0)
    assert first["log_likelihood"].null_count() == first.height
    assert stopped.filter(pl.col("n_tokens") > 0)["log_likelihood"].null_count() == 0


def test_a_vector_of_another_width_is_refused_before_anything_is_generated(llama: LoadedModel):
    rows = grid_rows([candidate(1, width=7)], (0.2,), {1: 1.0}, QUESTIONS, 1)
    with pytest.raises(ValueError, match=r"width 7.*64|64.*width 7|of another model"):
        generate(rows, llama)


def test_an_empty_grid_is_an_empty_table_beside_the_references(llama: LoadedModel, tmp_path: Path):
    asked = name_questions([f"Question {n}?" for n in range(16)], "search", 16)
    references = generate(reference_rows(asked, 16), llama)
    assert measure_norms(llama, references, [], prompt="chat", batch_size=8) == {}
    rows = grid_rows([], (0.1, 0.2), {}, asked, 1)
    assert rows == []
    answers = generate(rows, llama)
    assert (answers.height, answers.schema) == (0, SCHEMAS["search"].columns)
    write_table(tmp_path / "search.parquet", pl.concat([references, answers]), "search", {})
    assert read_table(tmp_path / "search.parquet", "search").height == 16


# norms


def norms_of(loaded: LoadedModel, n_questions: int, layers: list[int]) -> tuple[pl.DataFrame, dict[int, float]]:
    asked = name_questions([f"Question {n}?" for n in range(n_questions)], "search", n_questions)
    references = generate(reference_rows(asked, n_questions), loaded)
    return references, measure_norms(loaded, references, layers, prompt="chat", batch_size=4)


def test_norms_are_those_of_the_answers_tokens_in_a_plain_forward_pass(tiny: LoadedModel):
    references, norms = norms_of(tiny, 16, [0, 3])
    found: dict[int, list[float]] = {0: [], 3: []}
    for row in references.iter_rows(named=True):
        prompt, kept = plain_prompt(tiny, row["question"]), row["token_ids"][: row["n_tokens"]]
        with torch.inference_mode(), capture(tiny.model, [0, 3]) as outputs:
            tiny.model(torch.tensor([prompt + kept]))
        for layer, values in found.items():
            values += outputs[layer][0, len(prompt) :].norm(dim=-1).tolist()
    assert norms == {layer: pytest.approx(np.mean(values), rel=1e-4) for layer, values in found.items()}


def test_norms_of_fewer_than_sixteen_questions_are_refused(llama: LoadedModel):
    with pytest.raises(ValueError, match="at least 16 questions, there are 15"):
        norms_of(llama, 15, [0])
