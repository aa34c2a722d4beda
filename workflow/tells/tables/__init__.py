"""Files that say what they are: atomic writes, checked schemas, metadata in every table and tensor file."""

from tells.tables.files import (
    DiskFullError,
    ForeignFileError,
    TableError,
    file_digest,
    read_json,
    read_metadata,
    read_table,
    read_tensors,
    scan_table,
    write_atomically,
    write_json,
    write_table,
    write_tensors,
)
from tells.tables.metadata import make_metadata
from tells.tables.schemas import SCHEMAS

__all__ = [
    "SCHEMAS",
    "DiskFullError",
    "ForeignFileError",
    "TableError",
    "file_digest",
    "make_metadata",
    "read_json",
    "read_metadata",
    "read_table",
    "read_tensors",
    "scan_table",
    "write_atomically",
    "write_json",
    "write_table",
    "write_tensors",
]
