"""Files of rows, written by PostgreSQL's COPY and read back.

PostgreSQL formats the rows, so that prices and scores keep all their digits, and no row is ever
an object of ours: memory stays the same for any number of rows.
"""

import io
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from secrets import token_hex
from typing import Any, BinaryIO

from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    Connection,
    DateTime,
    Engine,
    Select,
    String,
    cast,
    func,
    literal_column,
    select,
)
from sqlalchemy.dialects import postgresql

# No part of a file may hold a snapshot for longer: PostgreSQL could not clean up behind it.
MAX_PART_SECONDS = 55
_BUFFER_BYTES = 1024 * 1024
_PRIVATE = 0o600
# Written into the statement: `%` and backslashes would depend on the driver and the server.
_DIALECT = postgresql.dialect(paramstyle="named")  # type: ignore[no-untyped-call]
# Before what a spreadsheet takes for a formula: at a cell's start, or after what may separate
# cells elsewhere. Their full-width forms count, too.
_BEFORE_FORMULA = "(?<=^|[;,|[:cntrl:]])(?=[[:space:]]*[=+@＝＋－＠-]|[\t\r\n])"  # noqa: RUF001
_ISO_8601 = 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"'
# JSON in one column: it never contains these control characters, so it is never quoted.
_ONE_COLUMN = "DELIMITER E'\\x01', QUOTE E'\\x02'"


class FileFormat(StrEnum):
    """How rows become lines."""

    CSV = "csv"
    NDJSON = "ndjson"


@dataclass(frozen=True, slots=True)
class FileSummary:
    """What a file holds; two files with equal summaries are equal."""

    rows: int
    size_bytes: int
    sha256: str


def write(
    engine: Engine, parts: Iterable[Select[*tuple[Any, ...]]], path: Path, file_format: FileFormat
) -> FileSummary:
    """Write the rows of all parts to a file, which appears under its name when it is complete.

    Each part is one snapshot in a transaction of its own. Raises OSError if the disk is full.
    """
    with _replacing(path) as file:
        sink = _Sink(file)
        rows = 0
        with io.BufferedWriter(sink, _BUFFER_BYTES) as lines:
            for number, part in enumerate(parts):
                rows += copy_rows(engine, part, lines, file_format, with_header=number == 0)
        return FileSummary(rows, sink.size_bytes, sink.hash.hexdigest())


def copy_rows(
    engine: Engine,
    rows: Select[*tuple[Any, ...]],
    lines: io.BufferedIOBase,
    file_format: FileFormat,
    *,
    with_header: bool = True,
) -> int:
    """Copy rows from one snapshot. Returns their number."""
    with _snapshot(engine) as connection:
        cursor: Any = connection.connection.cursor()
        try:
            cursor.copy_expert(_statement(rows, file_format, with_header), lines)
        except BaseException:
            # The rest of the rows may still be on its way.
            connection.invalidate()
            raise
        return int(cursor.rowcount)


def read_back(path: Path, file_format: FileFormat) -> FileSummary:
    """Summarise a file from its bytes alone. Raises OSError if it cannot be read."""
    hashed, rows, size_bytes = sha256(), 0, 0
    is_csv, in_quotes = file_format is FileFormat.CSV, False
    with path.open("rb") as file:
        for line in file:
            hashed.update(line)
            size_bytes += len(line)
            in_quotes ^= is_csv and line.count(b'"') % 2 == 1
            rows += not in_quotes
    return FileSummary(rows - is_csv if rows else 0, size_bytes, hashed.hexdigest())


class _Sink(io.RawIOBase):
    """Hashes and counts what is written to a file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.hash, self.size_bytes = sha256(), 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        """Write all of it."""
        self._file.write(data)
        self.hash.update(data)
        self.size_bytes += len(data)
        return len(data)


@contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """A new file that replaces `path` when the block ends, and disappears when it fails."""
    part = path.with_name(f"{path.name}.{token_hex(8)}.part")
    try:
        part.touch(_PRIVATE, exist_ok=False)
        with part.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        sync_folder(path.parent)
    finally:
        part.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make the names of a folder's new files durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _snapshot(engine: Engine) -> Iterator[Connection]:
    """A read-only transaction that sees one moment and ends within MAX_PART_SECONDS."""
    with (
        engine.connect().execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        ) as connection,
        connection.begin(),
    ):
        for name, value in (
            ("statement_timeout", f"{MAX_PART_SECONDS}s"),
            ("TimeZone", "UTC"),
            ("extra_float_digits", "1"),
        ):
            connection.execute(select(func.set_config(name, value, True)))
        yield connection


def _statement(rows: Select[*tuple[Any, ...]], file_format: FileFormat, with_header: bool) -> str:
    if file_format is FileFormat.CSV:
        cells = [_cell(column) for column in rows.selected_columns]
        return f"COPY ({_sql(rows.with_only_columns(*cells))}) TO STDOUT WITH {_csv(with_header)}"
    row = rows.subquery("row")
    lines = select(func.row_to_json(literal_column('"row"'))).select_from(row)
    return f"COPY ({_sql(lines)}) TO STDOUT WITH (FORMAT csv, ENCODING 'UTF8', {_ONE_COLUMN})"


def _csv(with_header: bool) -> str:
    return f"(FORMAT csv, ENCODING 'UTF8', HEADER {str(with_header).lower()})"


def _sql(statement: Select[*tuple[Any, ...]]) -> str:
    return str(statement.compile(dialect=_DIALECT, compile_kwargs={"literal_binds": True}))


def _cell(column: Any) -> ColumnElement[Any]:
    """A column as CSV shows it. Numbers stay as they are, negative ones included."""
    shown: ColumnElement[Any] = column
    if isinstance(column.type, DateTime):
        shown = func.to_char(column.op("AT TIME ZONE")("UTC"), _ISO_8601)
    elif isinstance(column.type, Boolean):
        shown = cast(column, String)
    elif isinstance(column.type, String):
        shown = func.regexp_replace(column, _BEFORE_FORMULA, "'", "g")
    return shown.label(_name_of(column))


def _name_of(column: Any) -> str:
    return str(column.name if isinstance(column, Column) else column.key)
