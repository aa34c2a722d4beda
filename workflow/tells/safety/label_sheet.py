"""A sheet of replies for people to label, blind to what any classifier says.

Rows are drawn by stratum of the classifiers' labels, so that rare cells are on the sheet; how likely each row was to be
drawn stands in a key beside the sheet (`sheet.key.json`), with what leads back to the reply, so that figures can be
weighted back to the collection. The sheet itself holds an id without meaning, prompt, reply and two empty columns, in
an order made by the seed. `tells.safety.label_agreement` reads it back.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tells.safety.labelling import replies_digest
from tells.safety.refusal import REFUSALS
from tells.tables import TableError, read_json, read_metadata, read_table, write_atomically, write_json
from tells.tables.records import DataFileError, Problems, read_records, repeated_ids

COLUMNS = ("id", "prompt", "reply", "refusal", "harm")
HARMS = ("harmful", "unharmful", "unclear")
CLASSIFIERS = ("patterns", "embedding", "wildguard", "llama_guard", "judge")
_VALUES = {"refusal": REFUSALS, "harm": HARMS}
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")
_KEY = ("prompt_id", "sample")


def draw_label_sheet(
    root: Path, experiment: str, collection: str, *, n: int = 100, seed: int = 0, out: Path | None = None
) -> Path:
    """Draw a sheet from a labelled collection, and write it with its key beside it.

    Args:
        root: the folder that holds experiments/.
        experiment: whose replies.
        collection: of the safety study.
        n: replies on the sheet; all there are, where there are fewer.
        seed: of the draw and of the order.
        out: the sheet; by default label_sheet.csv in the collection's folder.

    Returns:
        The sheet's path; the key lies at `key_path(...)` of it.

    Raises:
        TableError: the collection is not labelled yet, or the sheet is there already, perhaps with labels in it.
        ValueError: n is below the number of strata.
    """
    folder = root / "experiments" / experiment / "safety" / collection
    sheet = folder / "label_sheet.csv" if out is None else out
    for path in (sheet, key_path(sheet)):
        if path.exists():
            raise TableError(f"{path}: is there already, and may hold labels; name another file with --out")
    replies = _replies(folder)
    drawn = draw_rows(replies, read_classifiers(folder), n=n, seed=seed)
    # The key last: a sheet without one is not read, and a key without its sheet would bar the next draw.
    _write_sheet(sheet, drawn)
    write_json(key_path(sheet), _key_of(drawn, replies, experiment, collection, seed))
    return sheet


def key_path(sheet: Path) -> Path:
    """Where the key of a sheet lies."""
    return sheet.with_name(f"{sheet.stem}.key.json")


def draw_rows(replies: pl.DataFrame, classifiers: Mapping[str, pl.DataFrame], *, n: int, seed: int) -> pl.DataFrame:
    """Draw rows by stratum: as many of each as there are places for, small strata whole.

    A stratum is what the classifiers say together: the set of their refusal labels and the set of their harm labels, so
    that disagreement is a stratum of its own. Within a stratum every row is as likely as any other.

    Args:
        replies: prompt_id, sample, group, prompt and reply; no reply may be empty.
        classifiers: labels by the classifier's name, as {classifier}_labels.parquet.
        n: rows.
        seed: of the draw and of the order.

    Returns:
        The drawn rows in the order of the sheet, with id, stratum and inclusion_probability.

    Raises:
        ValueError: no reply, or n is below the number of strata: some cell could never be drawn.
    """
    strata = _strata(replies, classifiers)
    if strata.is_empty():
        raise ValueError("there is no reply to label: all are empty")
    names = strata["stratum"].unique().sort().to_list()
    if n < len(names):
        raise ValueError(f"n is {n}, but the classifiers' labels make {len(names)} strata: draw at least {len(names)}")
    generator = np.random.default_rng(seed)
    parts = [strata.filter(stratum=name) for name in names]
    sizes = [part.height for part in parts]
    drawn = [
        part[np.sort(generator.permutation(size)[:places]).tolist()].with_columns(
            inclusion_probability=pl.lit(places / size)
        )
        for part, size, places in zip(parts, sizes, share_out(sizes, n), strict=True)
    ]
    rows = pl.concat(drawn)
    rows = rows[generator.permutation(rows.height).tolist()]
    width = max(3, len(str(rows.height)))
    return rows.with_columns(id=pl.Series([f"r{place:0{width}d}" for place in range(1, rows.height + 1)]))


def share_out(sizes: list[int], n: int) -> list[int]:
    """Places of each stratum: shared equally, what a small stratum leaves over shared again among the others.

    Args:
        sizes: [strata] rows of each.
        n: places in all.

    Returns:
        [strata] places, at most the size; n in all, or every row where there are fewer.
    """
    places = [0] * len(sizes)
    left = min(n, sum(sizes))
    while left:
        open_strata = [index for index, size in enumerate(sizes) if places[index] < size]
        share = max(1, left // len(open_strata))
        for index in open_strata:
            given = min(share, sizes[index] - places[index], left)
            places[index] += given
            left -= given
    return places


def read_label_sheet(path: Path) -> pl.DataFrame:
    """Read a sheet back.

    Args:
        path: a CSV file with the sheet's columns; further ones, such as notes, are let be.

    Returns:
        id, refusal and harm of each row in the sheet's order; null where a cell is empty.

    Raises:
        DataFileError: not a CSV file, a column is missing, an id stands twice or is missing, or a label has another
            name; every fault with its row, counted from 1 under the header.
    """
    records, problems = read_csv(path)
    missing = [name for name in ("id", "refusal", "harm") if records and name not in records[0][1]]
    if missing:
        found = ", ".join(str(name) for name in records[0][1])
        raise DataFileError(path, [f"column(s) {', '.join(missing)} missing; it has {found} (save it with commas)"])
    rows = [(row, _label_row(row, record, problems)) for row, record in records]
    problems += repeated_ids([_Named(content["id"], row) for row, content in rows if content["id"]])
    DataFileError.raise_if_any(path, problems)
    schema = {"id": pl.String, "refusal": pl.String, "harm": pl.String}
    return pl.DataFrame([content for _, content in rows], schema=schema, orient="row")


def sheet_labels(path: Path) -> tuple[pl.DataFrame, dict[str, Any]]:
    """People's labels of a sheet, led back to the replies by its key.

    Returns:
        prompt_id, sample, group, refusal, harm, weight (1 / inclusion probability) and reply_sha256 of each row of the
        sheet; and the key's facts without the rows.

    Raises:
        DataFileError: a fault in the sheet, or an id that is not in the key.
        TableError: the key is missing.
    """
    labels = read_label_sheet(path)
    key = read_json(key_path(path))
    rows = pl.DataFrame(key.pop("rows"), schema_overrides={"sample": pl.Int32})
    unknown = labels.join(rows, on="id", how="anti")
    if unknown.height:
        raise DataFileError(path, [f"id {unknown['id'][0]!r} is not in {key_path(path).name}: not a row of this sheet"])
    labels = labels.join(rows, on="id", how="left", maintain_order="left")
    weight = (1 / pl.col("inclusion_probability")).alias("weight")
    return labels.select("prompt_id", "sample", "group", "refusal", "harm", weight, "reply_sha256"), key


def read_classifiers(folder: Path) -> dict[str, pl.DataFrame]:
    """The tables of labels in a collection's folder, by classifier.

    Raises:
        TableError: there is none, or one is not whole, or is of replies that are no longer there.
    """
    places = {name: path for name in CLASSIFIERS if (path := folder / f"{name}_labels.parquet").exists()}
    if not places:
        raise TableError(f"{folder}: no replies are labelled here; make {folder}/reply_labels.parquet with snakemake")
    replies = replies_digest(read_table(folder / "confidence.parquet", "confidence", [*_KEY, "answer"]))
    for path in places.values():
        if read_metadata(path).get("replies") != replies:
            raise TableError(
                f"{path}: its labels are of other replies than those in {folder}; make it again, or remove it"
            )
    return {name: read_table(path, f"{name}_labels") for name, path in places.items()}


def read_csv(path: Path) -> tuple[list[tuple[int, dict[str, Any]]], Problems]:
    """Rows and faults of a CSV file, as `read_records` gives them.

    Raises:
        DataFileError: no such file.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise DataFileError(path, ["no such file"]) from None
    return read_records(path, data, endings=(".csv",), unit="reply")


class _Named:
    """An id and the row it stands in."""

    def __init__(self, identifier: str, row: int) -> None:
        self.id, self.row = identifier, row


def _replies(folder: Path) -> pl.DataFrame:
    prompts = read_table(folder / "prompts.parquet", "prompts")
    asked = "prompt" if "prompt" in prompts.columns else "text"
    replies = read_table(folder / "confidence.parquet", "confidence", [*_KEY, "group", "empty", "answer"])
    replies = replies.filter(~pl.col("empty")).rename({"answer": "reply"})
    return replies.join(
        prompts.select("prompt_id", pl.col(asked).alias("prompt")), on="prompt_id", maintain_order="left"
    )


def _strata(replies: pl.DataFrame, classifiers: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """The rows in the order of their keys, each with its stratum."""
    rows = replies.sort(_KEY)
    for name, table in sorted(classifiers.items()):
        labels = table.select(*_KEY, pl.struct("refusal", "harm").alias(name))
        rows = rows.join(labels, on=_KEY, how="left", maintain_order="left")
    names = sorted(classifiers)
    said = [
        " ".join(
            "+".join(sorted({row[name][axis] for name in names if row[name] and row[name][axis]})) or "-"
            for axis in ("refusal", "harm")
        )
        for row in rows.iter_rows(named=True)
    ]
    return rows.drop(names).with_columns(stratum=pl.Series(said, dtype=pl.String))


def _key_of(drawn: pl.DataFrame, replies: pl.DataFrame, experiment: str, collection: str, seed: int) -> dict[str, Any]:
    digest = pl.Series("reply_sha256", [reply_digest(reply) for reply in drawn["reply"]], dtype=pl.String)
    rows = drawn.with_columns(digest).sort("id")
    columns = ("id", "prompt_id", "sample", "group", "stratum", "inclusion_probability", "reply_sha256")
    return {
        "experiment": experiment,
        "collection": collection,
        "seed": seed,
        "replies": replies.height,
        "rows": rows.select(columns).to_dicts(),
    }


def reply_digest(reply: str) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of a reply, by which a sheet knows that it is the same one."""
    return hashlib.sha256(reply.encode()).hexdigest()[:16]


def _write_sheet(path: Path, drawn: pl.DataFrame) -> None:
    # The byte order mark tells spreadsheets that the text is UTF-8.
    with write_atomically(path) as temporary, open(temporary, "w", encoding="utf-8-sig", newline="") as opened:
        writer = csv.writer(opened, quoting=csv.QUOTE_ALL)
        writer.writerow(COLUMNS)
        for row in drawn.select("id", "prompt", "reply").iter_rows():
            writer.writerow([*map(plain_cell, row), "", ""])


def plain_cell(text: str) -> str:
    """A text as a cell that no spreadsheet takes for a formula: an apostrophe before what could begin one."""
    text = text.replace("\0", "")
    return f"'{text}" if text.startswith(_FORMULA) or text.lstrip().startswith(_FORMULA) else text


def _label_row(row: int, record: Mapping[str, Any], problems: Problems) -> dict[str, str | None]:
    content: dict[str, str | None] = {"id": (record["id"] or "").strip()}
    if not content["id"]:
        problems.append((row, "the id is missing"))
    for column, known in _VALUES.items():
        value = (record[column] or "").strip().lower() or None
        if value is not None and value not in known:
            problems.append((row, f"{column} is {value!r}; it can be {', '.join(known)}, or empty"))
        content[column] = value
    return content
