"""Whatever keeps PostgreSQL from working is an outage; what the request or the code did is not."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg2
import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from core import outages
from core.bootstrap import Services
from core.postgres.database import create_database_engine


@pytest.fixture
def engine(services: Services) -> Iterator[Engine]:
    engine = create_database_engine(services.settings)
    yield engine
    engine.dispose()


def fail(connection: Connection, sqlstate: str) -> None:
    connection.execute(text(f"DO $$ BEGIN RAISE 'it failed' USING ERRCODE = '{sqlstate}'; END $$"))


@contextmanager
def failing() -> Iterator[list[Exception]]:
    found: list[Exception] = []
    try:
        yield found
    except DBAPIError as error:
        found.append(error)


OUTAGES = {
    "25006": "read-only",
    "25P03": "idle in a transaction for too long",
    "25P04": "a transaction for too long",
    "40001": "a conflict with recovery",
    "53100": "disk full",
    "53200": "out of memory",
    "53300": "too many connections",
    "55000": "recovery is in progress",
    "55P03": "a lock not available in time",
    "57014": "statement time-out",
    "57P01": "shut down by an admin",
    "57P02": "a crash",
    "57P03": "starting, or in recovery",
    "57P05": "idle for too long",
    "58030": "the disk fails",
    "XX000": "an internal error",
    "XX001": "corrupt data",
    "08006": "the connection broke",
}


@pytest.mark.parametrize("sqlstate", OUTAGES)
def test_what_keeps_postgresql_from_working_is_an_outage(engine: Engine, sqlstate: str) -> None:
    with failing() as found, engine.connect() as connection:
        fail(connection, sqlstate)
    assert isinstance(found[0], outages.DATABASE), found
    assert outages.reason_of(found[0]) == f"{sqlstate} it failed"


@pytest.mark.parametrize("sqlstate", OUTAGES)
def test_so_it_is_where_the_driver_is_used_directly(engine: Engine, sqlstate: str) -> None:
    """As for COPY."""
    statement = f"DO $$ BEGIN RAISE 'it failed' USING ERRCODE = '{sqlstate}'; END $$"
    with engine.connect() as connection:
        cursor = connection.connection.cursor()
        with pytest.raises(outages.DATABASE) as caught:
            cursor.execute(statement)
    assert outages.reason_of(caught.value) == f"{sqlstate} it failed"


@pytest.mark.parametrize("sqlstate", ["22001", "23505", "25P02", "42501", "42601", "42P01"])
def test_a_defect_is_no_outage(engine: Engine, sqlstate: str) -> None:
    with failing() as found, engine.connect() as connection:
        fail(connection, sqlstate)
    assert found
    assert not isinstance(found[0], outages.DATABASE)


def test_a_read_only_postgresql_is_an_outage(engine: Engine) -> None:
    with failing() as found, engine.begin() as connection:
        connection.execute(text("SET TRANSACTION READ ONLY"))
        connection.execute(text("CREATE TABLE nothing ()"))
    assert isinstance(found[0], outages.DATABASE)
    assert outages.reason_of(found[0]).startswith("25006 cannot execute CREATE TABLE")


def test_a_terminated_connection_is_an_outage_and_replaced(engine: Engine) -> None:
    with failing() as found, engine.connect() as connection, engine.connect() as admin:
        pid = connection.connection.dbapi_connection.info.backend_pid  # type: ignore[union-attr]
        admin.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})
        connection.execute(text("SELECT 1"))
    assert isinstance(found[0], outages.DATABASE)
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT 1")) == 1


def test_a_database_that_takes_no_connection_is_an_outage(services: Services) -> None:
    url = services.engine.url.set(database="nobody_has_made_this")
    with pytest.raises(psycopg2.OperationalError) as caught:
        psycopg2.connect(url.set(drivername="postgresql").render_as_string(hide_password=False))
    assert isinstance(caught.value, outages.DATABASE)
    assert 'database "nobody_has_made_this" does not exist' in outages.reason_of(caught.value)
