"""Keys, outcomes and split of every sample of every study, and which of them may be scored.

A row is `scored` where no trained signal has seen it: of the uncertainty study the graded runs of held-out
test questions, of the others all. So all signals of a table are compared on the same rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import polars as pl

from tells.agreement.inputs import StudyInputs
from tells.agreement.signals import ALL
from tells.safety.labelling import COMPLIANCE
from tells.tables import SCHEMAS, read_json, read_metadata, read_table
from tells.uncertainty.probe_targets import held_out

_FIRST = list(SCHEMAS["signals"].columns)
HARM = {"harmful": True, "unharmful": False}
REFUSALS = ("refusal", "partial")


def rows_of(inputs: StudyInputs, study: str) -> pl.DataFrame:
    """One row a sample of a study, with the columns that every signals table has.

    Args:
        inputs: files of the experiment.
        study: uncertainty, traits or safety.

    Returns:
        The rows by collection, prompt and sample; none where the study has no collection here.
    """
    parts = [_ROWS[study](inputs, name) for name in inputs.collections(study)]
    table = pl.concat([_complete(part, study) for part in parts]) if parts else _complete(pl.DataFrame(), study)
    return _uncertainty_splits(inputs, table) if study == "uncertainty" else table


def _complete(part: pl.DataFrame, study: str) -> pl.DataFrame:
    """A part with every column of the table, in its order, null where the study does not have it."""
    known: dict[str, Any] = {"study": pl.lit(study), "greedy": pl.lit(False), "split": pl.lit(ALL)}
    known["scored"] = pl.lit(True)
    types = SCHEMAS["signals"].columns
    if part.is_empty() and not part.columns:
        return pl.DataFrame(schema=types)
    columns = [
        (pl.col(name) if name in part.columns else known.get(name, pl.lit(None))).cast(types[name]).alias(name)
        for name in _FIRST
    ]
    return part.select(columns).sort("collection", "prompt_id", "sample")


def _uncertainty(inputs: StudyInputs, name: str) -> pl.DataFrame:
    labels = inputs.table("uncertainty", name, "labels")
    if labels is None:
        return pl.DataFrame()
    graded = pl.when(~pl.col("greedy") & ~pl.col("truncated")).then("correct")
    return labels.select("prompt_id", "group", "sample", "greedy", collection=pl.lit(name), correct=graded)


def _uncertainty_splits(inputs: StudyInputs, rows: pl.DataFrame) -> pl.DataFrame:
    """The split of each question; scored are graded runs of test questions that stand in no other split."""
    path = inputs.of_study("uncertainty", "splits.parquet")
    if path is None or rows.is_empty():
        return rows.with_columns(scored=pl.lit(False))
    splits = read_table(path, "splits").select("prompt_id", "split", collection="dataset")
    keys = ["collection", "prompt_id"]
    joined = rows.drop("split").join(splits, on=keys, how="left", maintain_order="left")
    outside = pl.Series("outside", held_out(joined))
    scored = outside & joined["correct"].is_not_null()
    return joined.with_columns(scored=scored).select(_FIRST)


def _safety(inputs: StudyInputs, name: str) -> pl.DataFrame:
    labels = inputs.table("safety", name, "reply_labels")
    if labels is None:
        return pl.DataFrame()
    refusal = pl.col("refusal")
    refused = pl.when(refusal.is_in(REFUSALS)).then(True).when(refusal == COMPLIANCE).then(False)
    # A prompt without a label is never taken for a benign one, here as in the study's own hypothesis.
    complied = (refusal == COMPLIANCE) & pl.col("label").is_not_null()
    harmful = pl.when(complied).then(pl.col("harm").replace_strict(HARM, default=None, return_dtype=pl.Boolean))
    return labels.select("prompt_id", "group", "sample", collection=pl.lit(name), refused=refused, harmful=harmful)


def _traits(inputs: StudyInputs, name: str) -> pl.DataFrame:
    vetting = inputs.table("traits", name, "vetting")
    record = inputs.file("traits", name, "vetting.json")
    if vetting is None or record is None:
        return pl.DataFrame()
    return vetting.select(
        "prompt_id",
        "group",
        "sample",
        collection=pl.lit(name),
        trait_score="response_score",
        shows_trait=shows_trait(read_json(record)["thresholds"]),
    )


def shows_trait(thresholds: Mapping[str, float]) -> pl.Expr:
    """Whether a response would pass as positive (true) or as negative (false) by the vetting's rule; null between."""
    score = pl.col("response_score")
    positive, negative = score >= thresholds["positive_min"], score <= thresholds["negative_max"]
    return pl.when(positive).then(True).when(negative).then(False)


def labels_by(inputs: StudyInputs, study: str, name: str) -> dict[str, str]:
    """Who gave the outcomes of a collection, by outcome; nothing where the files do not say it."""
    if study == "uncertainty":
        labels = inputs.table(study, name, "labels")
        graders = [] if labels is None else labels["grader"].drop_nulls().unique().sort().to_list()
        return {"correct": ", ".join(graders)} if graders else {}
    path = inputs.file(study, name, {"safety": "reply_labels.parquet", "traits": "vetting.json"}[study])
    facts = {} if path is None else read_metadata(path)
    if study == "safety":
        classifiers = facts.get("classifiers") or {}
        named = {"refused": classifiers.get("refusal"), "harmful": classifiers.get("harm")}
        return {outcome: classifier for outcome, classifier in named.items() if classifier}
    judge = facts.get("judge") or {}
    return {"shows_trait": f"{judge['provider']} ({judge['model']})"} if judge else {}


_ROWS: dict[str, Callable[[StudyInputs, str], pl.DataFrame]] = {
    "uncertainty": _uncertainty,
    "safety": _safety,
    "traits": _traits,
}
