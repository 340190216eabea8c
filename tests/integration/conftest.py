"""A database beside the suite's own, for tests that need one without tables."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from sqlalchemy import create_engine, text

from core.bootstrap import Services
from core.config import Settings

EMPTY_DATABASE = "flashbid_test_empty"


@pytest.fixture
def empty_database(services: Services) -> Iterator[Settings]:
    """Settings of an empty database. A pooler's idle connections to it are cut off."""
    server = create_engine(services.engine.url, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.execute(text(f"DROP DATABASE IF EXISTS {EMPTY_DATABASE} WITH (FORCE)"))
        connection.execute(text(f"CREATE DATABASE {EMPTY_DATABASE}"))
        yield replace(services.settings, postgres_db=EMPTY_DATABASE)
        connection.execute(text(f"DROP DATABASE {EMPTY_DATABASE} WITH (FORCE)"))
    server.dispose()
