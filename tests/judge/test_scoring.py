"""Scores from probabilities and from words."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tells.judge import Score, expected_score
from tells.judge.scoring import (
    explanation_in_words,
    longest_number,
    number_mass,
    score_in_words,
    verdict_in_words,
    yes_or_no,
)

probabilities = st.floats(0, 1, allow_nan=False)


@pytest.mark.parametrize(
    ("top", "value", "mass"),
    [
        ({"80": 0.6, "20": 0.2}, 65.0, 0.8),
        ({"80": 1.0}, 80.0, 1.0),
        ({"0": 0.9, "100": 0.1}, 10.0, 1.0),
        ({"80": 0.25}, 80.0, 0.25),
        ({"70": 0.3, " 70": 0.2, "70\n": 0.1, "10": 0.4}, 46.0, 1.0),
        ({"50": 0.5, "The": 0.5}, 50.0, 0.5),
        ({"50": 0.3, "101": 0.4, "-5": 0.2, "1000": 0.1}, 50.0, 0.3),
        ({"50": 0.4, "080": 0.3, "00": 0.1, "7.5": 0.1, "+9": 0.1}, 50.0, 0.4),
        ({"50": 0.4, "٥": 0.3, "²": 0.1, "８０": 0.2}, 50.0, 0.4),
        ({"60": 0.5, "REFUSAL": 0.5}, 60.0, 0.5),
        ({"60": 0.4, "40": 0.2, "REF": 0.4}, (24 + 8) / 0.6, 0.6),
        ({"60": 0.5, "R": 0.5}, 60.0, 0.5),
        ({"60": 0.4, "REFER": 0.6}, 60.0, 0.4),
        ({"60": 0.4, "refusal": 0.6}, 60.0, 0.4),
        ({"60": 0.4, "": 0.6}, 60.0, 0.4),
    ],
)
def test_the_score_is_the_expectation_over_the_numbers_alone(top, value, mass):
    score = expected_score(top)
    assert score == Score(pytest.approx(value), pytest.approx(mass), False)


@pytest.mark.parametrize("top", [{}, {"80": 0.24}, {"80": 0.1, "20": 0.1, "The": 0.8}, {"101": 1.0}, {"R": 1.0}])
def test_too_little_mass_on_numbers_is_no_score(top):
    assert expected_score(top) is None


@pytest.mark.parametrize(
    "top",
    [
        {"REFUSAL": 0.6, "50": 0.4},
        {"RE": 0.6, "50": 0.4},
        {" REF": 0.6, "50": 0.4},
        {"RE": 0.3, "REFUSAL": 0.2, "50": 0.4},
        {"REFUSAL": 0.2, "50": 0.1},
        {"REFUS": 0.01},
        {"REFUSAL": 0.4, "10": 0.3, "20": 0.3},
    ],
)
def test_a_refusal_likelier_than_every_number_is_a_refusal(top):
    score = expected_score(top)
    assert score is not None
    assert score.refused
    assert score.value is None


def test_numbers_are_summed_after_stripping_before_a_refusal_is_compared():
    assert not expected_score({"50": 0.3, " 50": 0.3, "REFUSAL": 0.4}).refused


@pytest.mark.parametrize("value", [-0.5, 1.2, math.nan, math.inf])
def test_what_is_no_probability_is_an_error(value):
    with pytest.raises(ValueError, match="probabilities, not their logarithms"):
        expected_score({"80": value})


@given(st.dictionaries(st.integers(0, 100).map(str), st.floats(0.001, 1), min_size=1))
def test_a_score_lies_between_the_least_and_the_greatest_number(top):
    score = expected_score(top)
    if score is None:
        assert number_mass(top) < 0.25
    else:
        assert min(map(int, top)) - 1e-9 <= score.value <= max(map(int, top)) + 1e-9


@given(st.dictionaries(st.text(max_size=4), probabilities, max_size=8))
def test_the_order_of_the_tokens_does_not_matter(top):
    assert expected_score(top) == expected_score(dict(reversed(top.items())))


@pytest.mark.parametrize(
    ("top", "verdict"),
    [
        ({"yes": 0.6, "no": 0.3}, True),
        ({"Yes": 0.2, " YES": 0.2, "no": 0.3}, True),
        ({"yes": 0.1, "No": 0.3}, False),
        ({"yes": 0.1, "no": 0.1}, None),
        ({"yes": 0.3, "no": 0.3}, None),
        ({"maybe": 1.0}, None),
        ({}, None),
    ],
)
def test_the_likelier_of_yes_and_no_is_the_verdict(top, verdict):
    assert yes_or_no(top) is verdict


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"refused": false, "score": 73}', 73),
        ('{"score": 0}', 0),
        ("100", 100),
        (" 41\n", 41),
        ('```json\n{"score": 12}\n```', 12),
        ('{"score": 50.0}', 50),
    ],
)
def test_a_number_in_words_is_read(text, value):
    assert score_in_words(text) == Score(float(value), 1.0, False)


@pytest.mark.parametrize("text", ["REFUSAL", " REFUSAL\n", '{"refused": true, "score": 0}', '{"score": "REFUSAL"}'])
def test_a_refusal_in_words_is_read(text):
    assert score_in_words(text).refused


@pytest.mark.parametrize(
    "text",
    [
        *("", "about 70", "[70]", "null", "{}", '{"scor', "[" * 100_000),
        *('{"score": 101}', '{"score": -1}', '{"score": 7.5}', '{"score": true}', '{"score": "70"}'),
        *('{"score": NaN}', '{"score": Infinity}'),
    ],
)
def test_other_words_are_no_score(text):
    assert score_in_words(text) is None


@pytest.mark.parametrize(
    ("tokens", "digits"),
    [
        ({"8": 0.9, "7": 0.1}, 1),
        ({"8": 0.9, " 80": 1e-9}, 2),
        ({"0": 0.9, "100": 0.0}, 3),
        ({"8": 0.9, "101": 0.05, "080": 0.01, "00": 0.01, "٨٠": 0.01}, 1),
        ({"The": 1.0}, 0),
        ({}, 0),
    ],
)
def test_the_longest_number_is_the_longest_from_zero_to_a_hundred(tokens, digits):
    assert longest_number(tokens) == digits


def test_verdicts_and_explanations_in_words_are_read():
    assert verdict_in_words('{"entails": false}') is False
    assert verdict_in_words('{"entails": "no"}') is None
    assert explanation_in_words('{"reason": " r ", "confound": ""}') == ("r", None)
    assert explanation_in_words('{"reason": "r", "confound": "c"}') == ("r", "c")
    assert explanation_in_words('{"reason": 3, "confound": "c"}') is None
    assert explanation_in_words('{"reason": "r", "confound": 3}') is None
