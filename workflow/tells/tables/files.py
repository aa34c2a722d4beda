"""Reading and writing of Parquet, safetensors and JSON, each with the metadata that says what made it.

Every write goes to a temporary name in the same folder and is renamed at the end, so that a file is whole or absent.
Every read names the file in its error.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from tells.tables.schemas import SCHEMAS

if TYPE_CHECKING:
    import numpy as np

METADATA_KEY = "tells"


class TableError(ValueError):
    """A file is truncated, foreign, or does not hold the columns it should."""


class ForeignFileError(TableError):
    """A file is whole, but does not carry the metadata this workflow writes."""


class DiskFullError(OSError):
    """There is no room for a file, or the user's quota is used up; what stood at its path before stands there still."""


@contextlib.contextmanager
def write_atomically(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`; rename it there when the block ends without an error.

    Raises:
        DiskFullError: the disk is full; nothing is left behind.
        OSError: the folder cannot be written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield temporary
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        os.replace(temporary, path)
    except Exception as error:
        if not _tells_of_a_full_disk(error):
            raise
        temporary.unlink(missing_ok=True)
        left = shutil.disk_usage(path.parent).free / 1e6
        raise DiskFullError(
            f"{path} could not be written, the disk is full ({left:.1f} MB left without it): make room there and run "
            "again; what is finished stays"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def _tells_of_a_full_disk(error: Exception) -> bool:
    """Whether a writer met a full disk; those written in Rust give the operating system's error in words alone."""
    codes = (errno.ENOSPC, errno.EDQUOT)
    return getattr(error, "errno", None) in codes or any(f"(os error {code})" in str(error) for code in codes)


def file_digest(path: str | Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def write_json(path: str | Path, content: Any, *, metadata: Mapping[str, Any] | None = None) -> None:
    """Write `content` as JSON (sorted keys, two spaces); `metadata` goes under the key `metadata` of a mapping.

    Raises:
        TableError: `content` holds a NaN or an infinity.
    """
    if metadata is not None:
        content = {"metadata": dict(metadata), **content}
    try:
        text = json.dumps(content, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False)
    except ValueError as error:
        raise TableError(f"{path}: {error}; a missing number is None") from None
    with write_atomically(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: str | Path) -> Any:
    """Read a JSON file.

    Raises:
        TableError: the file is absent, truncated or no JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise TableError(f"{path}: no such file") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise _not_whole(path, "JSON", error) from None


def write_table(path: str | Path, table: pl.DataFrame, kind: str, metadata: Mapping[str, Any]) -> None:
    """Write a table as Parquet after checking it against the schema of `kind` (columns beyond it are kept).

    Raises:
        TableError: a column is missing or of another type, a key stands twice, or a float is NaN.
    """
    table = _checked(table, kind, str(path))
    with write_atomically(path) as temporary:
        table.write_parquet(
            temporary,
            compression="zstd",
            metadata={METADATA_KEY: json.dumps({**metadata, "kind": kind}, sort_keys=True, allow_nan=False)},
        )


def read_table(path: str | Path, kind: str, columns: list[str] | None = None) -> pl.DataFrame:
    """Read a Parquet table of a known kind.

    Raises:
        TableError: the file is absent, truncated, of another kind, or lacks a column.
    """
    try:
        return scan_table(path, kind, columns).collect()
    except pl.exceptions.PolarsError as error:
        raise _not_whole(path, "Parquet", error) from None


def scan_table(path: str | Path, kind: str, columns: list[str] | None = None) -> pl.LazyFrame:
    """Lazily read a Parquet table of a known kind; errors as `read_table`."""
    metadata = read_metadata(path)
    if metadata.get("kind") != kind:
        raise TableError(f"{path}: holds a table of kind {metadata.get('kind')!r}, expected {kind!r}")
    frame = pl.scan_parquet(path)
    present = frame.collect_schema().names()
    wanted = columns if columns is not None else list(SCHEMAS[kind].columns)
    missing = [name for name in wanted if name not in present]
    if missing:
        raise TableError(f"{path}: column(s) {', '.join(missing)} missing; the file holds {', '.join(present)}")
    return frame.select(columns) if columns is not None else frame


def write_tensors(path: str | Path, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, Any]) -> None:
    """Write named arrays as safetensors, the metadata in its header.

    Raises:
        TableError: an array holds NaN.
    """
    import numpy as np
    from safetensors.numpy import save_file

    arrays = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    # A minimum is NaN where any element is, and needs no second array.
    bad = [name for name, array in arrays.items() if array.dtype.kind == "f" and array.size and np.isnan(array.min())]
    if bad:
        raise TableError(f"{path}: tensor(s) {', '.join(bad)} hold NaN; leave out what is missing, and say so apart")
    header = {METADATA_KEY: json.dumps(dict(metadata), sort_keys=True, allow_nan=False)}
    with write_atomically(path) as temporary:
        save_file(arrays, temporary, metadata=header)
        temporary.chmod(0o666 & ~_umask())  # safetensors leaves it readable by its owner alone


def read_tensors(path: str | Path, names: list[str] | None = None) -> dict[str, np.ndarray]:
    """Read named arrays (all by default) of a safetensors file.

    Raises:
        TableError: the file is absent, truncated, or lacks a tensor.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="numpy") as opened:
            present = list(opened.keys())
            missing = [name for name in names or [] if name not in present]
            if missing:
                raise TableError(f"{path}: tensor(s) {', '.join(missing)} missing; it holds {', '.join(present)}")
            return {name: opened.get_tensor(name) for name in (present if names is None else names)}
    except FileNotFoundError:
        raise TableError(f"{path}: no such file") from None
    except SafetensorError as error:
        raise _not_whole(path, "safetensors", error) from None


def read_metadata(path: str | Path) -> dict[str, Any]:
    """The metadata that stands in a Parquet, safetensors or JSON file of this project.

    Raises:
        TableError: the file is absent, truncated, or not one of ours.
    """
    path = Path(path)
    if not path.exists():
        raise TableError(f"{path}: no such file")
    if path.suffix == ".json":
        content = read_json(path)
        found = content.get("metadata") if isinstance(content, dict) else None
    elif path.suffix == ".safetensors":
        found = _safetensors_header(path)
    else:
        try:
            found = pl.read_parquet_metadata(path).get(METADATA_KEY)
        except (pl.exceptions.PolarsError, OSError) as error:
            raise _not_whole(path, "Parquet", error) from None
    if found is None:
        raise ForeignFileError(f"{path}: a foreign file, without the metadata this workflow writes")
    return json.loads(found) if isinstance(found, str) else found


def _safetensors_header(path: Path) -> str | None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="numpy") as opened:
            return (opened.metadata() or {}).get(METADATA_KEY)
    except SafetensorError as error:
        raise _not_whole(path, "safetensors", error) from None


def _checked(table: pl.DataFrame, kind: str, where: str) -> pl.DataFrame:
    schema = SCHEMAS[kind]
    problems = []
    for name, dtype in schema.columns.items():
        if name not in table.columns:
            problems.append(f"column {name} is missing")
        elif table.schema[name] != dtype:
            if table.schema[name] == pl.Null or table.schema[name] == pl.List(pl.Null):
                table = table.with_columns(pl.col(name).cast(dtype))
            else:
                problems.append(f"column {name} is {table.schema[name]}, should be {dtype}")
    if not problems:
        duplicated = table.select(schema.key).is_duplicated()
        if duplicated.any():
            row = int(duplicated.arg_true()[0])
            problems.append(f"the key {schema.key} stands twice, first in row {row}")
    for name in table.columns:
        if _holds_nan(table[name]):
            problems.append(f"column {name} holds NaN; a missing number is null")
    if problems:
        raise TableError(f"{where} ({kind}): " + "; ".join(problems))
    return table


def _holds_nan(column: pl.Series) -> bool:
    while isinstance(column.dtype, pl.List | pl.Array):
        column = column.explode()
    return column.dtype.is_float() and bool(column.is_nan().any())


def _not_whole(path: str | Path, form: str, error: Exception) -> TableError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return TableError(f"{path}: not a whole {form} file ({reason}); delete it and make it again")


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def finite_or_none(value: float | None) -> float | None:
    """`value`, or None where it is NaN or infinite: what a file may hold."""
    return None if value is None or not math.isfinite(value) else float(value)
