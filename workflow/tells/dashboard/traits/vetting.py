"""The judged scenarios and responses of traits as rows: what passed, what failed, and what each was left out for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from tells.dashboard.downloads import row_source
from tells.dashboard.grid import sorted_by
from tells.dashboard.store import Store
from tells.dashboard.traits.state import Chosen, preview, sort_model, trait_folder, traits_of, with_trait
from tells.dashboard.urls import from_query
from tells.tables import TableError, read_json, read_table, scan_table

FAILURES = {
    "all": "all",
    "kept": "kept for the vectors",
    "left_out": "left out, for any reason",
    "scenario": "the scenario fails",
    "response": "the response fails",
    "refused": "refused by the judge",
    "error": "without a score",
    "partner": "left out with its pair",
}
SOURCE = "traits-vetting"
_STAGES = ("scenario", "response")
_GATED = {"none": (), "responses": ("response",), "both": _STAGES}
_FILES = (
    *("vetting.json", "vetting.parquet", "prompts.parquet", "samples.parquet"),
    *("scenario_scores.parquet", "response_scores.parquet", "explanations.json"),
)
_KEYS = {"scenario": ["prompt_id"], "response": ["prompt_id", "sample"]}
_TEXTS = {"scenario": "prompts", "response": "samples"}
_ORDER = (
    *("trait", "prompt_id", "group", "sample", "polarity"),
    *(f"scenario{part}" for part in ("", "_score", "_status", "_verdict", "_reason")),
    *(f"response{part}" for part in ("", "_score", "_status", "_verdict", "_reason")),
    *("explanation", "confound", "reason", "outcome", "kept", "left_out"),
)


def vetting_rows(found: Store, state: Chosen) -> tuple[pl.DataFrame, dict[str, TableError]]:
    """The responses that the filters leave, and the traits whose files cannot be read.

    Args:
        found: the results.
        state: of the page.

    Returns:
        A row a response, in the order of the files: `key`, the columns of the download, with the beginnings of texts.

    Raises:
        LookupError: there is no such experiment or trait.
        TableError: the chosen trait's files are absent or not whole.
    """
    state = with_trait(found, state)
    if not state.every:
        return _kept_by(found, state, state.trait), {}
    parts, broken = [], {}
    for trait in traits_of(found, state.experiment):
        try:
            parts.append(_kept_by(found, state, trait))
        except TableError as error:
            broken[trait] = error
    if not parts:
        raise next(iter(broken.values()))
    return pl.concat(parts), broken


def _kept_by(found: Store, state: Chosen, trait: str) -> pl.DataFrame:
    """Rows of one trait that the filters leave."""
    folder = trait_folder(found, state.experiment, trait)
    rows = _rows_of(found, folder, trait)
    if state.pole != "all":
        rows = rows.filter(pl.col("polarity") == state.pole)
    rows = rows.filter(_failure(state.failure))
    return _with_words(rows, folder, state.words) if state.words else rows


def _rows_of(found: Store, folder: Path, trait: str) -> pl.DataFrame:
    paths = [folder / name for name in _FILES]
    return found.made_of(paths, ("vetting rows",), lambda: _assembled(folder, trait))


def _assembled(folder: Path, trait: str) -> pl.DataFrame:
    """A row a response, with all that is known of it but the ends of long texts."""
    record = read_json(folder / "vetting.json")
    rows = read_table(folder / "vetting.parquet", "vetting")
    for stage, kind in _TEXTS.items():
        texts = scan_table(folder / f"{kind}.parquet", kind, [*_KEYS[stage], "text"]).rename({"text": stage})
        rows = rows.join(
            texts.with_columns(preview(stage)).collect(), on=_KEYS[stage], how="left", maintain_order="left"
        )
        rows = rows.join(_reasons(folder, stage), on=_KEYS[stage], how="left", maintain_order="left")
    rows = rows.join(_explanations(folder), on=_KEYS["response"], how="left", maintain_order="left")
    rows = rows.with_columns(_verdict(stage, record["thresholds"]) for stage in _STAGES)
    return rows.with_columns(
        _left_out(record["gate"]),
        trait=pl.lit(trait),
        reason=pl.coalesce("explanation", "response_reason", "scenario_reason"),
    ).select(pl.format("{}/{}/{}", "trait", "prompt_id", "sample").alias("key"), *_ORDER)


def _reasons(folder: Path, stage: str) -> pl.DataFrame:
    """Why the judge gave no score; empty where the stage was not judged."""
    path, kind = folder / f"{stage}_scores.parquet", f"{stage}_scores"
    if not path.exists():
        types = {"prompt_id": pl.String, "sample": pl.Int32}
        return pl.DataFrame(schema={**{key: types[key] for key in _KEYS[stage]}, f"{stage}_reason": pl.String})
    return read_table(path, kind, [*_KEYS[stage], "reason"]).rename({"reason": f"{stage}_reason"})


def _explanations(folder: Path) -> pl.DataFrame:
    """Why responses failed, in the judge's words; empty where it has none."""
    schema = {"prompt_id": pl.String, "sample": pl.Int32, "explanation": pl.String, "confound": pl.String}
    path = folder / "explanations.json"
    listed = read_json(path)["explanations"] if path.exists() else []
    rows = [(one["prompt_id"], one["sample"], one["reason"], one["confound"]) for one in listed]
    return pl.DataFrame(rows, schema=schema, orient="row")


def _verdict(stage: str, thresholds: Mapping[str, float]) -> pl.Expr:
    """`pass` or `fail` on the side of its pole, `refused`, `error`, or `not judged`."""
    score, status = pl.col(f"{stage}_score"), pl.col(f"{stage}_status")
    positive = pl.col("polarity") == "positive"
    passes = pl.when(positive).then(score >= thresholds["positive_min"]).otherwise(score <= thresholds["negative_max"])
    return (
        pl.when(status.is_null())
        .then(pl.lit("not judged"))
        .when(status != "scored")
        .then(status)
        .when(passes)
        .then(pl.lit("pass"))
        .otherwise(pl.lit("fail"))
        .alias(f"{stage}_verdict")
    )


def _left_out(gate: str) -> pl.Expr:
    """Why a response does not enter the vectors, in words; null for those that do."""
    words = {"fail": "the {} fails", "refused": "the judge refused the {}", "error": "the {} has no score"}
    said = [
        pl.when(pl.col(f"{stage}_verdict") == verdict).then(pl.lit(word.format(stage)))
        for stage in _GATED[gate]
        for verdict, word in words.items()
    ]
    own = pl.concat_str(said, separator="; ", ignore_nulls=True) if said else pl.lit("")
    told = pl.when(own != "").then(own).otherwise(pl.lit("the other pole of its pair is left out"))
    return pl.when(~pl.col("kept")).then(told).alias("left_out")


def _failure(failure: str) -> pl.Expr:
    """Which rows a choice of `FAILURES` leaves."""
    verdicts = {stage: pl.col(f"{stage}_verdict") for stage in _STAGES}
    return {
        "all": pl.lit(value=True),
        "kept": pl.col("kept"),
        "left_out": ~pl.col("kept"),
        **{stage: verdicts[stage].is_in(["fail", "refused"]) for stage in _STAGES},
        "refused": pl.any_horizontal(verdict == "refused" for verdict in verdicts.values()),
        "error": pl.any_horizontal(verdict == "error" for verdict in verdicts.values()),
        "partner": ~pl.col("kept") & (pl.col("outcome").is_null() | (pl.col("outcome") == "pass")),
    }[failure]


def _with_words(rows: pl.DataFrame, folder: Path, words: str) -> pl.DataFrame:
    """Rows whose scenario or response has the words, whatever their case, in its whole text."""
    has = pl.col("text").str.to_lowercase().str.contains(words.lower(), literal=True)
    told = []
    for stage, kind in _TEXTS.items():
        texts = scan_table(folder / f"{kind}.parquet", kind, [*_KEYS[stage], "text"])
        keys = texts.filter(has).select(_KEYS[stage]).collect()
        told.append(rows.join(keys, on=_KEYS[stage], how="semi").select("key"))
    return rows.join(pl.concat(told), on="key", how="semi", maintain_order="left")


def whole_texts(folder: Path, rows: pl.DataFrame) -> pl.DataFrame:
    """The same rows of one trait with their texts to the end.

    Raises:
        TableError: the prompts or samples are absent or not whole.
    """
    for stage, kind in _TEXTS.items():
        texts = scan_table(folder / f"{kind}.parquet", kind, [*_KEYS[stage], "text"])
        wanted = pl.col("prompt_id").is_in(rows["prompt_id"].unique().to_list())
        own = texts.filter(wanted).rename({"text": f"{stage}_whole"}).collect()
        rows = rows.join(own, on=_KEYS[stage], how="left", maintain_order="left")
    return rows.with_columns(pl.col(f"{stage}_whole").alias(stage) for stage in _TEXTS).drop(
        f"{stage}_whole" for stage in _TEXTS
    )


@row_source(SOURCE)
def _download(found: Store, query: Mapping[str, str]) -> pl.DataFrame:
    """The rows shown, in the order shown, with their whole texts."""
    state = from_query(Chosen, query)
    rows, _ = vetting_rows(found, state)
    rows = sorted_by(rows, sort_model(state)).with_row_index("place")
    parts = [
        whole_texts(trait_folder(found, state.experiment, part["trait"][0]), part)
        for part in rows.partition_by("trait", maintain_order=True)
    ]
    return (pl.concat(parts).sort("place") if parts else rows).select(_ORDER)


def opened_pair(found: Store, state: Chosen) -> tuple[dict[str, Any], dict[str, Any] | None] | None:
    """The opened response and the one of the other pole, of the same pair and sample; None where none is opened.

    Raises:
        LookupError: the address names no response that is there.
        TableError: files are absent or not whole.
    """
    if not state.row:
        return None
    trait = "/".join(state.row.split("/")[:2])
    folder = trait_folder(found, state.experiment, trait)
    rows = _rows_of(found, folder, trait)
    own = rows.filter(pl.col("key") == state.row)
    if own.is_empty():
        raise LookupError(f"there is no response {state.row!r} here")
    row = own.row(0, named=True)
    both = rows.filter(pl.col("group") == row["group"], pl.col("sample") == row["sample"])
    told = {one["key"]: one for one in whole_texts(folder, both).iter_rows(named=True)}
    return told[state.row], next((one for key, one in told.items() if key != state.row), None)
