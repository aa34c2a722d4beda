"""The figure of the search for a probe's place: its values are the search's, and it says what they rest on."""

from __future__ import annotations

from uncertainty_figure_helpers import FIT, reason, searched, title

from tells.report.figures.probe_heatmap import probe_heatmap


def test_the_heatmap_is_the_search_and_marks_the_chosen_cell():
    figure = probe_heatmap(searched(), fit=FIT)
    grid, mark = figure.data
    assert (list(grid.x), list(grid.y)) == ([0, 1, 2], ["answer_mean", "think_end"])
    assert [list(line) for line in grid.z] == [[0.6, 0.75, 0.55], [0.4, None, None]]
    assert (grid.zmin, grid.zmax) == (0.4, 0.75)
    assert (list(mark.x), list(mark.y)) == ([1], ["answer_mean"])
    assert mark.name == "chosen: layer 1, answer_mean, 0.750"
    said = title(figure)
    assert said.startswith("sums: accuracy probe")
    assert "cross-validated on the train and validation splits" in said
    assert "train: n = 765 runs of 96 questions; validation: n = 254 runs of 32 questions" in said
    assert "AUROC" in said
    assert "no interval" in said


def test_the_heatmap_of_a_ridge_is_of_correlations_and_without_the_fit_says_where_its_n_is():
    assert "Spearman" in title(probe_heatmap(searched(), fit={**FIT, "kind": "ridge"}))
    figure = probe_heatmap(searched("semantic_entropy_raw"))
    assert "Spearman" in title(figure)
    assert "see probes.json" in title(figure)
    assert figure.data[0].zmin == 0.0


def test_a_probe_that_was_not_searched_for_has_no_heatmap():
    assert "not searched" in reason(probe_heatmap(searched(heatmap=[], layer=None)))
    nothing = [{**cell, "value": None} for cell in searched()["heatmap"]]
    assert "none of the 5 places" in reason(probe_heatmap(searched(heatmap=nothing)))
