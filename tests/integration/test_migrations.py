"""Migrations make the schema that the models say, from nothing, and take it away again."""

from collections.abc import Iterator

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, create_engine, inspect, text

from core.bootstrap import Services
from core.database import alembic_config, migrate
from core.models import Base

DATABASE = "flashbid_test_migrations"


@pytest.fixture
def engine(services: Services) -> Iterator[Engine]:
    """An engine over an empty database. A pooler's idle connections to it are cut off."""
    server = create_engine(services.engine.url, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.execute(text(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)"))
        connection.execute(text(f"CREATE DATABASE {DATABASE}"))
        engine = create_engine(services.engine.url.set(database=DATABASE))
        yield engine
        engine.dispose()
        connection.execute(text(f"DROP DATABASE {DATABASE} WITH (FORCE)"))
    server.dispose()


def tables(engine: Engine) -> set[str]:
    return set(inspect(engine).get_table_names())


def checks(engine: Engine) -> set[tuple[str, str]]:
    """Check constraints, which Alembic does not compare, as PostgreSQL writes them."""
    inspector = inspect(engine)
    return {
        (check["name"], check["sqltext"])
        for table in Base.metadata.tables
        for check in inspector.get_check_constraints(table)
    }


def test_migrations_make_what_the_models_say(engine: Engine) -> None:
    migrate(engine)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        assert compare_metadata(context, Base.metadata) == []
    assert tables(engine) == {*Base.metadata.tables, "alembic_version"}


def test_migrations_make_the_check_constraints_of_the_models(engine: Engine) -> None:
    migrate(engine)
    migrated = checks(engine)
    with engine.begin() as connection:
        Base.metadata.drop_all(connection)
        Base.metadata.create_all(connection)
    assert migrated == checks(engine)
    assert len(migrated) >= 9


def test_migrating_twice_changes_nothing(engine: Engine) -> None:
    migrate(engine)
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO products (id, name) VALUES (gen_random_uuid(), 'x')"))
    migrate(engine)
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM products")) == 1


def test_a_downgrade_takes_everything_away_and_an_upgrade_brings_it_back(engine: Engine) -> None:
    migrate(engine)
    with engine.begin() as connection:
        command.downgrade(alembic_config(connection), "base")
    assert tables(engine) == {"alembic_version"}
    migrate(engine)
    assert tables(engine) == {*Base.metadata.tables, "alembic_version"}
