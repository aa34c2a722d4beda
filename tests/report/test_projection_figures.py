"""A text along a vector: the values are the file's, and tokens stay plain text or are not shown at all."""

from __future__ import annotations

from traits_figure_helpers import HOSTILE, check_plain, check_words, reason, title

from tells.report.figures.projections import token_projections


def test_each_token_has_its_projection_and_the_mean_a_line():
    figure = token_projections([" yes", ",\n", ""], [3.0, -1.5, 0.25], mean=0.75, vector="a/b, probe, layer 3")
    check_words(figure)
    (trace,) = figure.data
    assert (list(trace.x), list(trace.y)) == ([0, 1, 2], [3.0, -1.5, 0.25])
    assert list(trace.hovertext) == ["token 0 “ yes”<br>h·v 3.00", "token 1 “,⏎”<br>h·v -1.50", "token 2<br>h·v 0.25"]
    assert [line.y0 for line in figure.layout.shapes] == [0.75]
    assert "n = 3 generated tokens" in title(figure)
    assert "a/b, probe, layer 3" in title(figure)


def test_without_a_mean_there_is_no_line_and_without_a_token_no_figure():
    assert not token_projections(["a"], [1.0], mean=None, vector="v").layout.shapes
    assert reason(token_projections([], [], mean=None, vector="v")) == "the text has no token"


def test_tokens_are_plain_text_and_hidden_ones_are_nowhere():
    check_plain([token_projections([HOSTILE], [1.0], mean=1.0, vector=HOSTILE)])
    assert "secret" not in token_projections([None], [1.0], mean=None, vector="v").to_json()
