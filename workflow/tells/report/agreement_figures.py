"""The main figures of the agreement: the heatmap of all signals, the same within lengths, gains, and correlations."""

from __future__ import annotations

from collections.abc import Iterator

from tells.report.figures.agreement import correlation_heatmap, gains, signal_heatmap
from tells.report.figures.steered_questions import steered_means
from tells.report.named_figure import NamedFigure, file_name
from tells.report.study_files import StudyFiles

_READING = (
    "Each signal is read as sureness, in a direction fixed beforehand: blue where the surer samples are right, refuse, "
    "do not harm, or show their trait; red where the opposite holds; white at chance."
)


def agreement_figures(files: StudyFiles) -> Iterator[NamedFigure]:
    """The main figures; correlations by collection last.

    Args:
        files: of the agreement.

    Raises:
        TableError: results.json is absent or not whole.
    """
    results = files.json("results.json")
    yield NamedFigure("auroc", "every signal for every outcome", _READING, lambda: signal_heatmap(results))
    yield NamedFigure(
        "auroc-within-length",
        "the same among samples of like length",
        f"{_READING} Only samples within the same fifth of the lengths are compared: what is left is not length.",
        lambda: signal_heatmap(results, metric="auroc_within_length"),
    )
    yield NamedFigure(
        "gains",
        "all signals together against the best one",
        "Where the two points of a row lie together, one signal says what all of them say.",
        lambda: gains(results),
    )
    if results["confidence_direction"]["steering"] is not None:
        yield NamedFigure(
            "steered-questions",
            "the same questions, steered",
            "Where the points of +r and −r lie apart from the unsteered one and from all random ones, the direction "
            "itself changes the outcome; where random directions move as far, it is the push alone.",
            lambda: steered_means(results),
        )
    for record in results["correlations"]:
        yield NamedFigure(
            file_name("correlations", record["study"], record["collection"]),
            f"{record['collection']}: do the signals say the same?",
            "Dark blue squares off the diagonal are signals that order the samples alike, and so count as one.",
            lambda record=record: correlation_heatmap(record),
        )
