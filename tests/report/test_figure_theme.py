"""What all figures share: bands, wrapped texts, and signs that are told apart without colour."""

from __future__ import annotations

from tells.report.figures import theme


def test_a_band_is_interrupted_where_there_is_no_interval():
    drawn = theme.band([1, 2, 3, 4], [0.1, None, 0.3, 0.4], [0.5, 0.6, 0.7, 0.8], theme.BLUE, "a")
    assert list(drawn.x) == [1, 1, None, 3, 4, 4, 3]
    assert list(drawn.y) == [0.1, 0.5, None, 0.3, 0.4, 0.8, 0.7]
    assert drawn.line.width > 0


def test_subtitles_and_reasons_are_wrapped():
    long = "a benchmark about which there is a great deal to say " * 5
    figure = theme.new_figure("title", subtitle=long, x="x", y="y")
    shown = [figure.layout.title.subtitle.text, theme.nothing_to_show("title", long).layout.annotations[0].text]
    assert all(len(line) <= 90 for text in shown for line in text.split("<br>"))
    assert all(text.count("<br>") >= 2 for text in shown)


def test_every_arm_of_a_full_study_has_a_sign_of_its_own():
    signs = {
        (theme.SYMBOLS[place % len(theme.SYMBOLS)], theme.PALETTE[place % len(theme.PALETTE)]) for place in range(8)
    }
    assert len(signs) == 8
    assert len({theme.SYMBOLS[place % len(theme.SYMBOLS)] for place in range(8)}) == 8


def test_a_faded_colour_keeps_its_hue():
    assert theme.faded("#0072B2", 0.15) == "rgba(0, 114, 178, 0.15)"
