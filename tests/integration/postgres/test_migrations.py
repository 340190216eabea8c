"""Migrations make the schema that the models say, from nothing, and take it away again."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, inspect, text

from core.config import PROJECT_ROOT, Settings
from core.postgres import schema
from core.postgres.database import create_database_engine
from core.postgres.migrating import UnknownSchema, migrate
from core.postgres.models import Base
from core.postgres.schema import State, alembic_config, state_of


@pytest.fixture
def engine(empty_database: Settings) -> Iterator[Engine]:
    """An engine over an empty database."""
    engine = create_database_engine(empty_database)
    yield engine
    engine.dispose()


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


@pytest.mark.parametrize("folder", ["a%b", "%(here)s", "%%", "a:b, c;d"])
def test_migrations_are_found_in_a_folder_of_any_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    monkeypatch.setattr(schema, "_MIGRATIONS", tmp_path / folder)
    shutil.copytree(PROJECT_ROOT / "core/postgres/migrations", tmp_path / folder)
    assert ScriptDirectory.from_config(alembic_config(None)).get_current_head()


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


# What every version writes, in the columns that the first one knew.
OLD_WRITES = (
    "INSERT INTO products (id, name) VALUES (:product, 'x')",
    (
        "INSERT INTO users (id, username, email, password_hash)"
        " VALUES (:user, :user, :user || '@example.com', '-')"
    ),
    (
        "INSERT INTO sessions (id, product_id, upset_price, inventory, alpha, beta, gamma,"
        " start_time, end_time, status)"
        " VALUES (:session, :product, 1, 1, 1, 1, 1, now(), now() + interval '1 hour', 'active')"
    ),
    "INSERT INTO bid_log_offsets (session_id, persisted_sequence) VALUES (:session, 0)",
    (
        "INSERT INTO bids (session_id, sequence, user_id, price, score, response_time, weight,"
        " accepted_at) VALUES (:session, 1, :user, 1, 1, 1, 1, now())"
    ),
)


def write_as_an_old_version(engine: Engine) -> None:
    ids = {name: str(uuid4()) for name in ("product", "user", "session")}
    with engine.begin() as connection:
        for statement in OLD_WRITES:
            known = {name: value for name, value in ids.items() if f":{name}" in statement}
            connection.execute(text(statement), known)


def test_bids_of_the_versions_before_may_be_lowered_and_results_show_what_stood(
    engine: Engine,
) -> None:
    with engine.begin() as connection:
        command.upgrade(alembic_config(connection), "0005")
    write_as_an_old_version(engine)
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO rankings (session_id, user_id, rank, sequence, price, score)"
                " SELECT sessions.id, users.id, 1, 1, 120, 1 FROM sessions, users"
            )
        )
        connection.execute(
            text("UPDATE sessions SET status = 'ended', closed_at = now(), highest_bid = 999")
        )
    migrate(engine)
    write_as_an_old_version(engine)
    with engine.connect() as connection:
        found = connection.execute(
            text("SELECT status, allow_lower_bids, highest_bid FROM sessions ORDER BY status")
        ).all()
    assert [tuple(row) for row in found] == [("active", True, None), ("ended", True, 120)]


@pytest.mark.parametrize("revision", ["0001", "0002"])
def test_an_upgrade_keeps_the_rows_and_lets_the_version_before_write_on(
    engine: Engine, revision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CURRENCY", "SEK")
    with engine.begin() as connection:
        command.upgrade(alembic_config(connection), revision)
    write_as_an_old_version(engine)
    migrate(engine)
    write_as_an_old_version(engine)
    with engine.connect() as connection:
        for table in ("products", "users", "sessions", "bid_log_offsets", "bids"):
            assert connection.scalar(text(f"SELECT count(*) FROM {table}")) == 2  # noqa: S608
        assert connection.scalars(text("SELECT currency FROM sessions")).all() == ["SEK", "SEK"]


@pytest.mark.parametrize("statement", ["", "ALTER TABLE bids ADD COLUMN extra text"])
def test_older_code_leaves_a_newer_schema_alone(engine: Engine, statement: str) -> None:
    assert migrate(engine).state is State.CURRENT
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        connection.execute(text(statement or "SELECT 1"))
    assert migrate(engine).state is State.NEWER
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT version_num FROM alembic_version")) == "9999"


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE bids DROP COLUMN weight",
        "DROP TABLE webhook_deliveries",
        "ALTER TABLE users RENAME COLUMN username TO login",
    ],
)
def test_older_code_does_not_claim_to_run_on_a_schema_without_what_it_uses(
    engine: Engine, statement: str
) -> None:
    migrate(engine)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        connection.execute(text(statement))
    with pytest.raises(UnknownSchema):
        migrate(engine)


def test_a_schema_is_missing_then_outdated_then_current(engine: Engine) -> None:
    with engine.begin() as connection:
        assert state_of(connection) is State.MISSING
        command.upgrade(alembic_config(connection), "0002")
        assert state_of(connection) is State.OUTDATED
        command.upgrade(alembic_config(connection), "head")
        assert state_of(connection) is State.CURRENT


def test_waiting_webhooks_of_the_version_before_survive_both_ways(engine: Engine) -> None:
    waiting = "SELECT count(*) FROM webhook_deliveries WHERE next_attempt_at <= now()"
    with engine.begin() as connection:
        command.upgrade(alembic_config(connection), "0009")
    for migration in ("head", "0009"):
        write_as_an_old_version(engine)
        with engine.begin() as connection:
            connection.execute(
                text(
                    "INSERT INTO webhook_deliveries (session_id, event) SELECT id, 'session.ended'"
                    " FROM sessions ORDER BY created_at DESC LIMIT 1"
                )
            )
            if migration == "head":
                command.upgrade(alembic_config(connection), migration)
            else:
                command.downgrade(alembic_config(connection), migration)
    with engine.connect() as connection:
        assert connection.scalar(text(waiting)) == 2
