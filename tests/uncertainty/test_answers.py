"""From generated text to an answer and a verdict."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tells.uncertainty.answers import (
    Parsed,
    equivalent,
    extract_boxed,
    grade,
    grade_run,
    grade_runs,
    grade_text,
    grader_name,
    normalise_text,
    parse_generation,
    split_thinking,
)

MATH500 = Path(__file__).parents[2] / ".." / "shared" / "data" / "math500" / "test.jsonl"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"\boxed{5}", "5"),
        (r"\boxed{4} no, \boxed{ 5 }", "5"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed{\left\{ x \right.}", r"\left\{ x \right."),
        (r"\boxed {7}", "7"),
        (r"\boxed{\boxed{3}}", "3"),
        (r"\boxed{4} and then \boxed{5", "4"),
        (r"\boxed{5", None),
        (r"\boxed{}", None),
        ("no box", None),
        ("", None),
    ],
)
def test_the_last_box_with_balanced_braces_is_taken(text, expected):
    assert extract_boxed(text) == expected


@given(st.text(alphabet="ab{}\\ 1", max_size=30))
def test_a_box_is_found_in_any_text_without_an_error(text):
    found = extract_boxed(r"\boxed{" + text)
    assert found is None or found in text


@given(st.recursive(st.text("xy1", min_size=1, max_size=3), lambda inner: inner.map(lambda s: f"a{{{s}}}")))
def test_balanced_content_comes_back_whole(content):
    assert extract_boxed(rf"so \boxed{{{content}}} is it") == content


def test_output_with_only_the_closing_tag_is_complete():
    for opened in (True, False):
        parsed = parse_generation("2 and 3</think>\n\\boxed{5}", opened=opened)
        assert parsed == Parsed("2 and 3", "5", False)


def test_an_opening_tag_in_the_output_is_not_part_of_the_thought():
    assert parse_generation("\n<think>hm</think>\\boxed{1}", opened=False) == Parsed("hm", "1", False)
    assert parse_generation("<think>hm</think>\\boxed{1}") == Parsed("hm", "1", False)


def test_a_run_cut_inside_the_thought_is_truncated_and_has_no_answer():
    assert parse_generation(r"so \boxed{5} but") == Parsed(r"so \boxed{5} but", None, True)
    assert parse_generation(r"<think>so \boxed{5}", opened=False) == Parsed(r"so \boxed{5}", None, True)


def test_a_run_that_never_thinks_is_complete_when_the_prompt_opened_no_tag():
    assert parse_generation(r"It is \boxed{5}", opened=False) == Parsed(None, "5", False)


def test_a_box_in_the_thought_is_no_answer():
    assert parse_generation(r"\boxed{4}</think> forty") == Parsed(r"\boxed{4}", None, False)


def test_the_first_closing_tag_ends_the_thought():
    assert split_thinking("a</think>b</think>c") == ("a", "b</think>c", False)


def test_other_tags_work_the_same():
    parsed = parse_generation(r"<reason>r</reason>\boxed{2}", think_end="</reason>", opened=False)
    assert parsed == Parsed("r", "2", False)
    with pytest.raises(ValueError, match="think_end is empty"):
        parse_generation("x", think_end="")


@pytest.mark.parametrize(
    ("gold", "answer", "expected"),
    [
        ("18", "18", True),
        ("18", "18.", True),
        ("18", "$18$", True),
        ("18", r"\$18", True),
        ("18", r"18 \text{ eggs}", True),
        ("18", r"first \boxed{17}, no: \boxed{18}", True),
        (r"\boxed{18}", "18", True),
        ("18", "17", False),
        ("1,000", "1000", True),
        (r"\frac{1}{2}", "0.5", True),
        (r"\left( 3, \frac{\pi}{2} \right)", r"(3, \pi/2)", True),
        (r"\left( 3, \frac{\pi}{2} \right)", r"(3, \pi)", False),
        ("Evelyn", r"\text{Evelyn}", True),
        ("Paris", "pairs", False),
        ("-5", "5", False),
        ("18", "", False),
        ("18", None, None),
        ("", "18", None),
    ],
)
def test_grade_follows_worked_examples(gold, answer, expected):
    assert grade(gold, answer) is expected


def test_no_answer_equals_nothing_not_even_itself():
    assert not equivalent(None, None)
    assert not equivalent("", "")
    assert not equivalent(None, "5")
    assert grade("5", None) is None


def test_equivalence_is_symmetric_and_not_transitive():
    for a, b in [("10", "10%"), ("10%", "0.1")]:
        assert equivalent(a, b)
        assert equivalent(b, a)
    assert not equivalent("10", "0.1")


def test_answers_that_read_the_same_are_equivalent_even_if_they_do_not_parse():
    assert equivalent("??", "??")
    assert not equivalent("??", "!!")


def test_grading_outside_the_main_thread_says_why_it_cannot_be():
    errors = []

    def work():
        try:
            grade("987654321", "123456789")
        except RuntimeError as error:
            errors.append(str(error))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert len(errors) == 1
    assert "main thread" in errors[0]


def test_every_gold_of_a_real_benchmark_equals_itself():
    if not MATH500.is_file():
        pytest.skip("MATH-500 is not beside the project")
    golds = [json.loads(line)["answer"] for line in MATH500.read_text().splitlines()[:150]]
    assert [gold for gold in golds if grade(gold, rf"so \boxed{{{gold}}}") is not True] == []


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("The  Beatles!", "beatles"),
        ("U.S.", "us"),
        ("well-known", "well known"),
        ("He's", "hes"),
        ("1,000,000", "1000000"),
        ("3.5", "3.5"),
        ("-5", "-5"),
        ("−5", "-5"),
        ("10-20", "10 20"),
        (r"\text{Paris}.", "paris"),
        ("A", "a"),
        ("+", "+"),
        ("$12", "12"),
        ("  ", ""),
    ],
)
def test_free_text_is_normalised_by_worked_examples(text, normal):
    assert normalise_text(text) == normal


@given(st.text(max_size=30))
def test_normalising_twice_changes_nothing_for_plain_words(text):
    plain = " ".join("".join(c for c in text if (c.isascii() and c.isalpha()) or c == " ").split())
    assert normalise_text(normalise_text(plain)) == normalise_text(plain)


def test_any_alias_of_the_gold_will_do():
    golds = ["14 December 1972 UTC", "December 1972"]
    assert grade_text(golds, "december, 1972") is True
    assert grade_text(golds, "1972") is False
    assert grade_text(golds, None) is None
    assert grade_text([], "1972") is None
    assert grade_run(["7", "8"], "8.0", "math") is True
    assert grade_run(["7", "8"], "9", "math") is False


def test_an_unknown_grader_is_refused_by_name():
    with pytest.raises(ValueError, match="'maths'"):
        grade_run(["7"], "7", "maths")
    with pytest.raises(ValueError, match="'maths'"):
        grader_name("maths")


def _tables(texts, *, grader="math", gold=("5",)):
    prompts = pl.DataFrame(
        {"prompt_id": ["q1"], "gold": [list(gold)], "grader": [grader]},
        schema_overrides={"gold": pl.List(pl.String)},
    )
    samples = pl.DataFrame(
        {
            "prompt_id": ["q1"] * len(texts),
            "group": ["g"] * len(texts),
            "sample": list(range(-1, len(texts) - 1)),
            "greedy": [True] + [False] * (len(texts) - 1),
            "text": texts,
        },
        schema_overrides={"sample": pl.Int32},
    )
    return prompts, samples


def test_runs_are_labelled_complete_wrong_and_truncated():
    prompts, samples = _tables(
        [r"a</think>\boxed{5}", r"a</think>\boxed{6}", "a</think>five", r"a \boxed{5}", r"a</think>\boxed{}"]
    )
    labels = grade_runs(prompts, samples)
    assert labels.columns[:4] == ["prompt_id", "group", "sample", "greedy"]
    assert labels["correct"].to_list() == [True, False, False, None, False]
    assert labels["answer"].to_list() == ["5", "6", None, None, None]
    assert labels["truncated"].to_list() == [False, False, False, True, False]
    assert labels["greedy"].to_list() == [True, False, False, False, False]
    assert labels["think"].to_list() == ["a", "a", "a", r"a \boxed{5}", "a"]
    assert set(labels["grader"].to_list()) == {grader_name("math")}
    assert grader_name("math").startswith("math-verify ")


def test_free_text_without_a_box_answers_with_its_first_line_after_the_thought():
    texts = ["a</think>\n\n The Paris. \nIt is large.", r"a</think>So \boxed{Paris}", "a</think>\n", "a</think>Rome"]
    labels = grade_runs(*_tables(texts, grader="text", gold=["paris"]))
    assert labels["answer"].to_list() == ["The Paris.", "Paris", None, "Rome"]
    assert labels["correct"].to_list() == [True, True, False, False]


def test_a_gold_that_says_no_answer_does_not_reward_silence():
    labels = grade_runs(*_tables(["a</think>", "a</think>no answer"], grader="text", gold=["no answer"]))
    assert labels["correct"].to_list() == [False, True]


def test_a_question_without_a_gold_has_no_verdicts():
    labels = grade_runs(*_tables([r"a</think>\boxed{5}", "a</think>"], gold=[]))
    assert labels["correct"].to_list() == [None, None]


def test_samples_of_another_collection_are_refused():
    prompts, samples = _tables([r"a</think>\boxed{5}"])
    with pytest.raises(ValueError, match=r"q9"):
        grade_runs(prompts, samples.with_columns(prompt_id=pl.lit("q9")))


def test_no_samples_give_an_empty_table_with_all_columns():
    prompts, samples = _tables([r"a</think>\boxed{5}"])
    labels = grade_runs(prompts, samples.clear())
    assert labels.shape == (0, 9)
