"""Files of rows: what PostgreSQL writes into them, and what reading them back finds."""

import csv
import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Double, Integer, Numeric, Select, String, cast, func, literal, select

from core.bootstrap import Services
from core.orders import export_files
from core.orders.export_files import FileFormat
from core.postgres.models.base import Moment

BOTH = pytest.mark.parametrize("file_format", list(FileFormat))


def row(name: str = "ada") -> Select[Any]:
    return select(
        literal(name, String).label("name"),
        literal(Decimal("9999999999.90"), Numeric(12, 2)).label("price"),
        literal(-0.1 - 0.2, Double).label("score"),
        cast(literal("2030-01-31 19:00+01"), Moment).label("at"),
        (literal(1, Integer) == 1).label("is_first"),
        literal(None, Numeric).label("price_to_pay"),
    )


def numbers(count: int) -> Select[Any]:
    return select(func.generate_series(1, count).label("number"))


def test_a_csv_row_has_all_digits_and_a_time_with_its_offset(
    services: Services, tmp_path: Path
) -> None:
    path = tmp_path / "rows.csv"
    export_files.write(services.engine, [row()], path, FileFormat.CSV)
    assert path.read_text() == (
        "name,price,score,at,is_first,price_to_pay\n"
        "ada,9999999999.90,-0.30000000000000004,2030-01-31T18:00:00.000000+00:00,true,\n"
    )


def test_an_ndjson_row_has_all_digits_and_a_time_with_its_offset(
    services: Services, tmp_path: Path
) -> None:
    path = tmp_path / "rows.ndjson"
    export_files.write(services.engine, [row('=a "b"\\c\n,ü\x01')], path, FileFormat.NDJSON)
    [line] = path.read_text().splitlines()
    assert '"price":9999999999.90,"score":-0.30000000000000004,' in line
    assert json.loads(line) | {"price": 0, "score": 0} == {
        "name": '=a "b"\\c\n,ü\x01',
        "price": 0,
        "score": 0,
        "at": "2030-01-31T18:00:00+00:00",
        "is_first": True,
        "price_to_pay": None,
    }


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("ada", "ada"),
        ("a-b+c@d=e", "a-b+c@d=e"),
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t'=1"),
        ("\tada", "'\tada"),
        ("\rada", "'\rada"),
        ("\nada", "'\nada"),
        ("  =1", "'  =1"),
        ("＝1", "'＝1"),  # noqa: RUF001
        ("＋1", "'＋1"),  # noqa: RUF001
        ("－1", "'－1"),  # noqa: RUF001
        ("＠a", "'＠a"),  # noqa: RUF001
        # Where cells are separated by semicolons or tabs.
        ("ada;=1", "ada;'=1"),
        ('ada",=1', "ada\",'=1"),
        ("ada\n=1", "ada\n'=1"),
    ],
)
def test_no_spreadsheet_runs_a_text_cell(
    services: Services, tmp_path: Path, name: str, shown: str
) -> None:
    path = tmp_path / "rows.csv"
    summary = export_files.write(services.engine, [row(name)], path, FileFormat.CSV)
    with path.open(newline="") as file:
        [found] = csv.DictReader(file)
    assert found["name"] == shown
    # A negative number is no formula.
    assert found["score"] == "-0.30000000000000004"
    assert export_files.read_back(path, FileFormat.CSV) == summary


@BOTH
@pytest.mark.parametrize("counts", [[], [0], [3], [100_000, 5, 0, 2]])
def test_a_file_reads_back_as_it_was_written(
    services: Services, tmp_path: Path, file_format: FileFormat, counts: list[int]
) -> None:
    path = tmp_path / "rows"
    parts = [numbers(count) for count in counts]
    summary = export_files.write(services.engine, parts, path, file_format)
    assert (summary.rows, summary.size_bytes) == (sum(counts), path.stat().st_size)
    assert export_files.read_back(path, file_format) == summary
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


@BOTH
def test_a_cut_or_changed_file_is_seen(
    services: Services, tmp_path: Path, file_format: FileFormat
) -> None:
    path = tmp_path / "rows"
    summary = export_files.write(services.engine, [numbers(1000)], path, file_format)
    whole = path.read_bytes()
    for other in (whole[:-1], whole[: len(whole) // 2], whole.replace(b"7", b"8", 1)):
        path.write_bytes(other)
        assert export_files.read_back(path, file_format) != summary


@BOTH
def test_a_full_disk_leaves_the_file_before_and_no_other(
    services: Services, tmp_path: Path, file_format: FileFormat
) -> None:
    path = tmp_path / "rows"
    before = export_files.write(services.engine, [numbers(3)], path, file_format)
    with file_size_limit(2_000_000), pytest.raises(OSError, match="File too large"):
        export_files.write(services.engine, [numbers(1_000_000)], path, file_format)
    assert list(tmp_path.iterdir()) == [path]
    assert export_files.read_back(path, file_format) == before
    # The connection with unread rows is not used again.
    assert export_files.write(services.engine, [numbers(2)], path, file_format).rows == 2


@contextmanager
def file_size_limit(size_bytes: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
