"""The confidence table: spans, scores that can be computed again, and errors that name trace and step."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from tells.safety.confidence import KINDS, trace_confidence
from tells.safety.traces import confidence_table
from tells.tables import SCHEMAS

K = 4
EOS = "<eos>"


@pytest.fixture(scope="module")
def tokenizer() -> SimpleNamespace:
    """One token a character, and EOS."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE(vocab={letter: place for place, letter in enumerate(alphabet)}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([EOS])
    return SimpleNamespace(backend_tokenizer=backend)


def sample(tokenizer: SimpleNamespace, generated: str, *, kept: str | None = None, reason: str = "stop") -> dict:
    """A row of the samples table whose log-probabilities are random but the same for the same text."""
    ids = tokenizer.backend_tokenizer.encode(generated).ids
    generator = np.random.default_rng(len(ids))
    topk = np.log(generator.dirichlet(np.full(K, 0.5), size=len(ids)) * 0.9 + 0.01)
    return {
        "prompt_id": "p",
        "group": "g",
        "sample": 0,
        "greedy": False,
        "seed": 0,
        "prompt_token_ids": [1],
        "token_ids": ids,
        "text": generated.removesuffix(EOS) if kept is None else kept,
        "finish_reason": reason,
        "token_logprobs": (-generator.random(len(ids))).tolist(),
        "topk_logprobs": topk.tolist(),
    }


def samples_of(*rows: dict) -> pl.DataFrame:
    table = pl.DataFrame(list(rows), schema=SCHEMAS["samples"].columns)
    return table.with_columns(sample=pl.int_range(pl.len(), dtype=pl.Int32))


def scored(tokenizer: SimpleNamespace, *rows: dict, opened: bool = False, **changes: object) -> pl.DataFrame:
    settings = {"think_end": "</think>", "window": 4, "fraction": 0.25, **changes}
    return confidence_table(samples_of(*rows), tokenizer, opened=opened, **settings)


def test_the_table_is_that_of_the_schema_in_the_order_of_the_samples(tokenizer: SimpleNamespace):
    rows = [sample(tokenizer, text + EOS) for text in ("I can help you.", "No.", "Sure, here it is")]
    table = scored(tokenizer, *rows)
    assert table.schema == SCHEMAS["confidence"].columns
    assert table["answer"].to_list() == ["I can help you.", "No.", "Sure, here it is"]
    assert table["sample"].to_list() == [0, 1, 2]
    assert table["n_tokens"].to_list() == [16, 4, 17]
    assert table["think"].null_count() == 3


def test_every_generated_token_has_its_confidence(tokenizer: SimpleNamespace):
    row = sample(tokenizer, "Sure." + EOS)
    table = scored(tokenizer, row)
    expected = -np.array(row["topk_logprobs"], dtype=np.float32).mean(axis=1)
    assert table["confidence"][0].to_list() == pytest.approx(expected.tolist(), abs=1e-6)
    assert len(table["confidence"][0]) == 6


def test_eos_and_stop_string_do_not_enter_the_answer(tokenizer: SimpleNamespace):
    plain = scored(tokenizer, sample(tokenizer, "Sure." + EOS)).row(0, named=True)
    assert (plain["answer_start"], plain["answer_stop"], plain["n_tokens"]) == (0, 5, 6)
    stopped = scored(tokenizer, sample(tokenizer, "Sure.\n\nQ:", kept="Sure.")).row(0, named=True)
    assert (stopped["answer_stop"], stopped["n_tokens"], stopped["answer"]) == (5, 9, "Sure.")
    # An EOS of any confidence leaves the scores as they are, and stands in `confidence`.
    row = sample(tokenizer, "Sure." + EOS)
    row["topk_logprobs"][-1] = [-50.0] * K
    row["token_logprobs"][-1] = -50.0
    changed = scored(tokenizer, row).row(0, named=True)
    assert [changed[name] for name in (*KINDS, "token_logprob")] == [plain[name] for name in (*KINDS, "token_logprob")]
    assert changed["confidence"][-1] == 50.0


def test_scores_can_be_computed_again_from_the_stored_confidences(tokenizer: SimpleNamespace):
    texts = ["Sure, this is how it is done.", "No.", "<think>Is it bad? Yes.</think>\n\nI will not help with this."]
    for row in scored(tokenizer, *(sample(tokenizer, text + EOS) for text in texts)).iter_rows(named=True):
        answer = row["confidence"][row["answer_start"] : row["answer_stop"]]
        for kind in KINDS:
            again = trace_confidence(answer, kind, window=4, fraction=0.25)
            assert row[kind] == pytest.approx(again, abs=1e-12)
        assert row["lowest"] == trace_confidence(answer, "lowest", window=4)


def test_a_think_span_is_scored_apart(tokenizer: SimpleNamespace):
    text = "<think>Hm, no.</think>\n\nI will not."
    row = scored(tokenizer, sample(tokenizer, text + EOS)).row(0, named=True)
    assert (row["think"], row["answer"]) == ("Hm, no.", "I will not.")
    assert text[row["answer_start"] : row["answer_stop"]] == "I will not."
    thought = row["confidence"][len("<think>") : text.index("</think>")]
    assert row["think_mean"] == pytest.approx(np.mean(thought))
    assert row["think_lowest"] == trace_confidence(thought, "lowest", window=4)


def test_a_prompt_that_opens_the_tag(tokenizer: SimpleNamespace):
    texts = ["Hm.</think>Yes", "Hm, what is"]
    rows = [sample(tokenizer, texts[0] + EOS), sample(tokenizer, texts[1], reason="length")]
    closed, cut = scored(tokenizer, *rows, opened=True).iter_rows(named=True)
    assert (closed["think"], closed["answer"], closed["truncated"], closed["empty"]) == ("Hm.", "Yes", False, False)
    assert (cut["think"], cut["answer"], cut["truncated"], cut["empty"]) == ("Hm, what is", "", True, True)
    assert all(cut[name] is None for name in (*KINDS, "answer_start", "token_logprob", "first_token_probability"))
    assert cut["think_mean"] is not None


def test_cut_off_replies_are_flagged_and_scored(tokenizer: SimpleNamespace):
    row = scored(tokenizer, sample(tokenizer, "Sure, first", reason="length")).row(0, named=True)
    assert (row["truncated"], row["empty"], row["answer_stop"]) == (True, False, 11)
    assert row["mean"] is not None


@pytest.mark.parametrize("text", ["", " \n ", "<think>No.</think>\n"])
def test_empty_replies_have_no_numbers(tokenizer: SimpleNamespace, text: str):
    row = scored(tokenizer, sample(tokenizer, text + EOS)).row(0, named=True)
    assert (row["empty"], row["answer"]) == (True, "")
    assert all(row[name] is None for name in (*KINDS, "answer_start", "answer_stop", "token_logprob"))
    assert len(row["confidence"]) == row["n_tokens"] > 0


def test_the_chosen_tokens_speak_for_themselves(tokenizer: SimpleNamespace):
    row = sample(tokenizer, "<think>a</think>bc" + EOS)
    found = scored(tokenizer, row).row(0, named=True)
    chosen = np.array(row["token_logprobs"], dtype=np.float32)[found["answer_start"] : found["answer_stop"]]
    assert len(chosen) == 2
    assert found["first_token_probability"] == pytest.approx(np.exp(chosen[0]))
    assert found["token_logprob"] == pytest.approx(chosen.mean())
    # A surprising choice from a peaked distribution changes them, and no confidence.
    row["token_logprobs"] = [value - 9 for value in row["token_logprobs"]]
    other = scored(tokenizer, row).row(0, named=True)
    assert other["token_logprob"] == pytest.approx(found["token_logprob"] - 9, abs=1e-5)
    assert other["mean"] == found["mean"]


def test_a_peaked_trace_is_more_confident_than_a_flat_one(tokenizer: SimpleNamespace):
    peaked, flat = sample(tokenizer, "Yes" + EOS), sample(tokenizer, "Yes" + EOS)
    peaked["topk_logprobs"] = [np.log([0.97, 0.01, 0.01, 0.01]).tolist()] * 4
    flat["topk_logprobs"] = [np.log([0.25] * 4).tolist()] * 4
    high, low = scored(tokenizer, peaked, flat)["mean"]
    assert high > low == pytest.approx(np.log(4))


def test_k_is_exact_for_every_step_of_every_trace(tokenizer: SimpleNamespace):
    rows = [sample(tokenizer, "Yes" + EOS) for _ in range(2)]
    rows[1]["topk_logprobs"][2] = [-1.0] * (K + 1)
    with pytest.raises(ValueError, match="prompt p, sample 1, step 2 has 5 log-probabilities, not k = 4"):
        scored(tokenizer, *rows)
    with pytest.raises(ValueError, match="prompt p, sample 0, step 0 has 4 log-probabilities, not k = 20"):
        scored(tokenizer, rows[0], k=20)


def test_what_is_not_finite_is_named_by_trace_and_step(tokenizer: SimpleNamespace):
    rows = [sample(tokenizer, text + EOS) for text in ("", "Yes", "No")]
    rows[2]["topk_logprobs"][1][3] = -np.inf
    with pytest.raises(ValueError, match="prompt p, sample 2, step 1 has a log-probability that is not finite"):
        scored(tokenizer, *rows)
    rows[2] = sample(tokenizer, "<think>x</think>No" + EOS)
    rows[2]["token_logprobs"][17] = float("nan")
    with pytest.raises(ValueError, match="prompt p, sample 2, step 17: the chosen token"):
        scored(tokenizer, *rows)


def test_samples_without_top_log_probabilities_are_refused(tokenizer: SimpleNamespace):
    row = {**sample(tokenizer, "Yes" + EOS), "topk_logprobs": None}
    with pytest.raises(ValueError, match="prompt p, sample 0 has no top-k log-probabilities"):
        scored(tokenizer, row)
    short = sample(tokenizer, "Yes" + EOS)
    short["topk_logprobs"].pop()
    with pytest.raises(ValueError, match="4 tokens but 3 steps"):
        scored(tokenizer, short)


def test_the_tokenizer_must_be_that_of_the_samples(tokenizer: SimpleNamespace):
    with pytest.raises(ValueError, match="use the tokenizer of the model"):
        scored(tokenizer, sample(tokenizer, "Yes" + EOS, kept="Yes, of course"))


def test_tables_without_rows_and_traces_without_tokens(tokenizer: SimpleNamespace):
    empty = scored(tokenizer)
    assert empty.schema == SCHEMAS["confidence"].columns
    assert len(empty) == 0
    row = {**sample(tokenizer, ""), "topk_logprobs": []}
    found = scored(tokenizer, row, sample(tokenizer, "No" + EOS))
    assert found["n_tokens"].to_list() == [0, 3]
    assert found["confidence"].list.len().to_list() == [0, 3]
    assert found["mean"].is_null().to_list() == [True, False]
    alone = scored(tokenizer, row)
    assert (alone["empty"][0], alone["n_tokens"][0]) == (True, 0)


def test_many_traces_go_in_pieces_without_a_seam(tokenizer: SimpleNamespace, monkeypatch: pytest.MonkeyPatch):
    rows = [sample(tokenizer, "x" * length + EOS) for length in (3, 0, 9, 5, 12)]
    whole = scored(tokenizer, *rows)
    monkeypatch.setattr("tells.safety.traces._ROWS_AT_ONCE", 2)
    assert scored(tokenizer, *rows).equals(whole)
