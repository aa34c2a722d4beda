"""Tables of labels: who is asked about what, and whose labels the analyses read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tells.judge import EMPTY_TEXT, NO_ANSWER_GIVEN, Assessment, Item, Usage
from tells.safety.guard_models import Verdict
from tells.safety.harm_proxy import HARMFUL_FROM
from tells.safety.labelling import (
    SHORTENED,
    count_unanswered,
    embedding_labels,
    guard_labels,
    judge_labels,
    merge_labels,
    patterns_labels,
)
from tells.safety.labels import Labels
from tells.tables import SCHEMAS, read_table, write_table

PROMPTS = pl.DataFrame(
    {
        "prompt_id": ["p1", "p2", "p3"],
        "group": ["g1", "g1", "g3"],
        "prompt": ["How to harm?", "How to help?", "Well?"],
        "text": ["Question: How to harm?", "Question: How to help?", "Question: Well?"],
        "label": ["harmful", "benign", None],
        "category": ["crime", None, "other"],
    }
)
Reply = tuple[str, str | None] | tuple[str, str | None, bool]


def replies(*given: Reply) -> pl.DataFrame:
    """Rows of the confidence table: prompt, answer, and whether it is cut at the token limit."""
    counts: dict[str, int] = {}
    rows = []
    for prompt_id, answer, *cut in given:
        counts[prompt_id] = counts.get(prompt_id, -1) + 1
        known = {
            "prompt_id": prompt_id, "group": f"g-{prompt_id}", "sample": counts[prompt_id], "answer": answer,
            "empty": not (answer or "").strip(), "truncated": bool(cut and cut[0]), "think": f"I {answer}",
        }  # fmt: skip
        rows.append({name: known.get(name) for name in SCHEMAS["confidence"].columns})
    return pl.DataFrame(rows, schema=SCHEMAS["confidence"].columns)


def detector(texts: list[str]) -> list[str]:
    """Refusal by the first letter."""
    assert all(text.strip() for text in texts)
    return [{"r": "refusal", "p": "partial", "u": "unclear"}.get(text[0], "compliance") for text in texts]


class FakeProxy:
    """Scores a reply by the number at its end, in percent."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def scores(self, texts: Sequence[str]) -> list[float]:
        self.asked += texts
        return [float(text.split()[-1]) / 100 for text in texts]


class FakeGuard:
    """Judges exchanges by a function of the reply."""

    def __init__(self, name: str, judge: Callable[[str], Verdict]) -> None:
        self.name, self.judge = name, judge
        self.asked: list[tuple[str, str]] = []

    def classify(self, exchanges: Sequence[tuple[str, str]]) -> list[Verdict]:
        self.asked += exchanges
        return [self.judge(reply) for _, reply in exchanges]


class FakeJudge:
    """Assesses replies by what they say: three values, or the reason of a failure."""

    name = "fake"

    def __init__(self) -> None:
        self.usage = Usage()
        self.asked: list[tuple[str | None, str]] = []

    def facts(self) -> dict[str, Any]:
        return {"provider": "fake"}

    async def assess(self, items: Sequence[Item]) -> list[Assessment]:
        self.asked += [(item.question, item.text) for item in items]
        return [self._one(item) for item in items]

    def _one(self, item: Item) -> Assessment:
        try:
            refused, convincing, specific = map(int, item.text.split())
        except ValueError:
            status = "refused" if item.text == NO_ANSWER_GIVEN else "error"
            return Assessment(item.item_id, None, None, None, status, item.text)
        return Assessment(item.item_id, bool(refused), convincing, specific, "scored")


def wildguard(refusal: str | None, harm: str | None, prompt_harm: str | None = "harmful") -> Verdict:
    return Verdict(Labels(refusal, harm, prompt_harm), "", False)


def columns(table: pl.DataFrame, *names: str) -> list[tuple]:
    return table.select(names or ("refusal", "harm", "status")).rows()


def patterns_of(confidence: pl.DataFrame) -> pl.DataFrame:
    return patterns_labels(confidence, detector)


MIXED = replies(
    ("p1", "complied 90"), ("p1", "refused 90"), ("p1", " \n"), ("p2", "partly 90"), ("p2", "complied 10", True),
    ("p3", "unclear 90"), ("p3", None, True),
)  # fmt: skip


# patterns


def test_the_detector_labels_every_full_reply_and_an_empty_one_is_unclear():
    found = patterns_of(MIXED)
    assert found.schema == SCHEMAS["patterns_labels"].columns
    assert found.select("prompt_id", "sample").rows() == MIXED.select("prompt_id", "sample").rows()
    assert columns(found) == [
        ("compliance", None, "scored"),
        ("refusal", None, "scored"),
        ("unclear", None, "unscored"),
        ("partial", None, "scored"),
        ("compliance", None, "scored"),
        ("unclear", None, "scored"),
        ("unclear", None, "unscored"),
    ]
    assert found["reason"].to_list() == [None, None, EMPTY_TEXT, None, None, None, EMPTY_TEXT]


def test_the_detector_reads_the_answer_and_not_the_thinking():
    confidence = replies(("p1", "complied")).with_columns(think=pl.lit("refuse, I will"))
    assert patterns_of(confidence)["refusal"].to_list() == ["compliance"]


def test_no_replies_are_an_empty_table():
    for found in (patterns_of(replies()), embedding_labels(replies(), FakeProxy())):
        assert (found.height, found.schema) == (0, SCHEMAS["patterns_labels"].columns)


def test_a_detector_that_loses_a_text_is_noticed():
    with pytest.raises(ValueError, match="0 labels for 1 texts"):
        patterns_labels(replies(("p1", "complied")), lambda texts: [])


# embedding


def test_the_proxy_is_asked_about_every_full_reply_cut_ones_among_them():
    proxy = FakeProxy()
    found = embedding_labels(MIXED, proxy)
    assert proxy.asked == ["complied 90", "refused 90", "partly 90", "complied 10", "unclear 90"]
    assert columns(found, "refusal", "harm", "harm_score", "status", "reason") == [
        (None, "harmful", 0.9, "scored", None),
        (None, "harmful", 0.9, "scored", None),
        (None, None, None, "unscored", EMPTY_TEXT),
        (None, "harmful", 0.9, "scored", None),
        (None, "unharmful", 0.1, "scored", None),
        (None, "harmful", 0.9, "scored", None),
        (None, None, None, "unscored", EMPTY_TEXT),
    ]


@pytest.mark.parametrize(("score", "harm"), [(49, "unharmful"), (50, "harmful"), (100, "harmful")])
def test_harm_begins_at_one_half(score: int, harm: str):
    confidence = replies(("p1", f"complied {score}"))
    assert HARMFUL_FROM == 0.5
    assert embedding_labels(confidence, FakeProxy())["harm"].to_list() == [harm]


def test_where_all_is_empty_nobody_is_asked():
    proxy = FakeProxy()
    embedding_labels(replies(("p1", " "), ("p1", "")), proxy)
    assert proxy.asked == []


# guard models


def test_wildguard_reads_every_full_reply_with_the_bare_prompt_and_all_it_says_is_kept():
    verdicts = {
        "complied 90": wildguard("refusal", "unharmful"),
        "refused 90": wildguard("compliance", "harmful"),
        "partly 90": Verdict(None, "hm", False, "the guard's answer cannot be read: 'hm'"),
        "complied 10": wildguard("compliance", "unharmful", "unharmful"),
        "unclear 90": wildguard(None, None),
    }
    guard = FakeGuard("wildguard", verdicts.__getitem__)
    found = guard_labels(PROMPTS, MIXED, guard)
    assert guard.asked[0] == ("How to harm?", "complied 90")
    assert [reply for _, reply in guard.asked] == list(verdicts)
    assert columns(found, "refusal", "harm", "prompt_harm", "status") == [
        ("refusal", "unharmful", "harmful", "scored"),
        ("compliance", "harmful", "harmful", "scored"),
        ("unclear", None, None, "unscored"),
        (None, "unscored", None, "unscored"),
        ("compliance", "unharmful", "unharmful", "scored"),
        ("unclear", "unscored", "harmful", "unscored"),
        ("unclear", None, None, "unscored"),
    ]
    assert found["reason"][3] == "the guard's answer cannot be read: 'hm'"
    assert "N/A" in found["reason"][5]


def test_llama_guard_reads_every_full_reply_and_says_nothing_of_refusals():
    guard = FakeGuard("llama_guard", lambda reply: Verdict(Labels(None, "harmful", None), "", False))
    found = guard_labels(PROMPTS, MIXED, guard)
    assert [reply for _, reply in guard.asked] == [
        "complied 90", "refused 90", "partly 90", "complied 10", "unclear 90"
    ]  # fmt: skip
    assert found["refusal"].null_count() == found.height
    assert found["harm"].to_list() == ["harmful", "harmful", None, "harmful", "harmful", "harmful", None]
    assert found["status"].to_list().count("unscored") == 2


def test_a_complied_reply_without_a_word_on_its_harm_is_unscored():
    guard = FakeGuard("wildguard", lambda reply: wildguard("compliance", None))
    confidence = replies(("p1", "complied"))
    assert columns(guard_labels(PROMPTS, confidence, guard)) == [("compliance", "unscored", "unscored")]


def test_a_shortened_exchange_says_so_and_keeps_its_labels():
    guard = FakeGuard("llama_guard", lambda reply: Verdict(Labels(None, "harmful", None), "", True))
    confidence = replies(("p1", "complied"))
    found = guard_labels(PROMPTS, confidence, guard)
    assert columns(found, "harm", "status", "reason") == [("harmful", "scored", SHORTENED)]


def test_a_reply_to_an_unknown_prompt_is_an_error():
    confidence = replies(("p9", "complied"))
    guard = FakeGuard("wildguard", lambda reply: wildguard("compliance", "harmful"))
    with pytest.raises(ValueError, match="'p9' has replies but is not in the prompts"):
        guard_labels(PROMPTS, confidence, guard)
    with pytest.raises(ValueError, match="'p9' has replies but is not in the prompts"):
        merge_labels(PROMPTS, confidence, {"patterns": patterns_of(confidence)}, refusal="patterns", harm="patterns")


# judges


def test_a_judge_gives_refusal_harm_and_score_and_failures_are_unscored():
    confidence = replies(
        ("p1", "0 5 5"), ("p1", "1 1 1"), ("p2", "0 1 2"), ("p2", ""), ("p2", "HTTP 500"), ("p3", NO_ANSWER_GIVEN)
    )
    judge = FakeJudge()
    found = judge_labels(PROMPTS, confidence, judge)
    assert found.schema == SCHEMAS["judge_labels"].columns
    assert judge.asked[0] == ("How to harm?", "0 5 5")
    assert len(judge.asked) == 5
    assert columns(found, "refusal", "harm", "harm_score", "status", "reason") == [
        ("compliance", "harmful", 1.0, "scored", None),
        ("refusal", "unharmful", 0.0, "scored", None),
        ("compliance", "unharmful", 0.125, "scored", None),
        ("unclear", None, None, "unscored", EMPTY_TEXT),
        (None, "unscored", None, "unscored", "HTTP 500"),
        (None, "unscored", None, "unscored", NO_ANSWER_GIVEN),
    ]
    # Asking again may help one of them alone.
    assert count_unanswered(found) == 1


# merging


def merged(
    confidence: pl.DataFrame = MIXED, refusal: str = "patterns", harm: str = "embedding", **tables: pl.DataFrame
):
    patterns = patterns_of(confidence)
    known = {"patterns": patterns, "embedding": embedding_labels(confidence, FakeProxy()), **tables}
    return merge_labels(PROMPTS, confidence, known, refusal=refusal, harm=harm)


def test_the_merged_table_carries_prompt_reply_and_the_chosen_labels():
    found = merged()
    assert found.schema == SCHEMAS["reply_labels"].columns
    assert columns(found, "prompt_id", "group", "sample", "label", "category") == [
        ("p1", "g-p1", 0, "harmful", "crime"),
        ("p1", "g-p1", 1, "harmful", "crime"),
        ("p1", "g-p1", 2, "harmful", "crime"),
        ("p2", "g-p2", 0, "benign", None),
        ("p2", "g-p2", 1, "benign", None),
        ("p3", "g-p3", 0, None, "other"),
        ("p3", "g-p3", 1, None, "other"),
    ]
    assert columns(found, "truncated", "empty", "stop_label", "refusal", "harm", "harm_score") == [
        (False, False, "compliance", "compliance", "harmful", 0.9),
        (False, False, "refusal", "refusal", None, None),
        (False, True, "unclear", "unclear", None, None),
        (False, False, "partial", "partial", None, None),
        (True, False, "compliance", "compliance", "unharmful", 0.1),
        (False, False, "unclear", "unclear", None, None),
        (True, True, "unclear", "unclear", None, None),
    ]


def test_harm_is_null_wherever_the_chosen_refusal_is_no_compliance():
    said = {"complied 90": "refusal", "complied 10": "compliance"}
    guard = FakeGuard("wildguard", lambda reply: wildguard(said.get(reply), "harmful"))
    table = guard_labels(PROMPTS, MIXED, guard)
    found = merged(refusal="wildguard", wildguard=table)
    assert found["refusal"].to_list() == [
        "refusal",
        "unclear",
        "unclear",
        "unclear",
        "compliance",
        "unclear",
        "unclear",
    ]
    assert found["harm"].to_list() == [None, None, None, None, "unharmful", None, None]
    # Early stopping always listens to the patterns.
    assert found["stop_label"].to_list() == patterns_of(MIXED)["refusal"].to_list()


def test_a_classifier_that_failed_is_unscored_and_not_unasked():
    guard = FakeGuard("wildguard", lambda reply: Verdict(None, "", False, "unreadable"))
    confidence = replies(("p1", "complied 90"), ("p1", "refused 90"))
    table = guard_labels(PROMPTS, confidence, guard)
    found = merged(confidence, harm="wildguard", wildguard=table)
    assert columns(found, "refusal", "harm", "harm_score") == [
        ("compliance", "unscored", None),
        ("refusal", None, None),
    ]
    assert columns(merged(confidence, refusal="wildguard", wildguard=table), "refusal", "harm") == [(None, None)] * 2


def test_a_reply_that_the_classifier_of_harm_calls_a_refusal_is_no_hole_in_the_denominator():
    confidence = replies(("p1", "complied 90"), ("p1", "complied 91"), ("p1", "complied 92"))
    said = {"complied 90": ("refusal", "unharmful"), "complied 91": ("refusal", "harmful")}
    guard = FakeGuard("wildguard", lambda reply: wildguard(*said.get(reply, ("compliance", "harmful"))))
    found = merged(confidence, harm="wildguard", wildguard=guard_labels(PROMPTS, confidence, guard))
    assert columns(found, "refusal", "harm") == [
        ("compliance", "unharmful"),
        ("compliance", "harmful"),
        ("compliance", "harmful"),
    ]
    judged = replies(("p1", "1 5 5"), ("p1", "0 5 5"))
    found = merged(judged, harm="judge", judge=judge_labels(PROMPTS, judged, FakeJudge()))
    assert columns(found, "refusal", "harm", "harm_score") == [
        ("compliance", "unharmful", 0.0),
        ("compliance", "harmful", 1.0),
    ]


def test_harm_is_known_wherever_another_than_the_patterns_sees_compliance():
    guard = FakeGuard("wildguard", lambda reply: wildguard("compliance", "unharmful"))
    confidence = replies(("p1", "refused 90"), ("p1", "complied 10"))
    found = merged(confidence, refusal="wildguard", wildguard=guard_labels(PROMPTS, confidence, guard))
    assert columns(found, "refusal", "harm") == [("compliance", "harmful"), ("compliance", "unharmful")]


def test_the_order_is_that_of_the_replies_whatever_that_of_the_tables():
    patterns = patterns_of(MIXED)
    tables = {"patterns": patterns.reverse(), "embedding": embedding_labels(MIXED, FakeProxy()).reverse()}
    assert merge_labels(PROMPTS.reverse(), MIXED, tables, refusal="patterns", harm="embedding").equals(merged())


@pytest.mark.parametrize(
    "table", [MIXED.head(3), pl.concat([MIXED, replies(("p9", "more"))]), pl.concat([MIXED, MIXED])]
)
def test_labels_of_other_replies_are_an_error(table: pl.DataFrame):
    with pytest.raises(ValueError, match="'embedding' are not of these replies"):
        merged(embedding=patterns_of(table))


def test_a_missing_classifier_is_named():
    with pytest.raises(ValueError, match="no labels by 'judge', only by patterns, embedding"):
        merged(harm="judge")


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["p1", "p2", "p3"]),
            st.sampled_from(["complied 70", "refused 1", "", "partly 3"]),
            st.booleans(),
        ),
        max_size=12,
    )
)
def test_every_reply_has_one_row_and_harm_only_where_it_complies(given_replies: list[Reply]):
    confidence = replies(*given_replies)
    found = merged(confidence)
    assert found.select("prompt_id", "sample").rows() == confidence.select("prompt_id", "sample").rows()
    assert (found["harm"].is_not_null() == (found["refusal"] == "compliance")).all()
    assert (found["harm_score"].is_not_null() == found["harm"].is_not_null()).all()


def test_the_tables_can_be_written_and_read(tmp_path: Path):
    tables = {"patterns_labels": patterns_of(MIXED), "reply_labels": merged()}
    tables["judge_labels"] = judge_labels(PROMPTS, replies(("p1", "0 5 5"), ("p1", "")), FakeJudge())
    for kind, table in tables.items():
        write_table(tmp_path / f"{kind}.parquet", table, kind, {})
        assert read_table(tmp_path / f"{kind}.parquet", kind).equals(table)
