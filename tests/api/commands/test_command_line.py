"""The command line before its settings and its database are right, as on a fresh machine."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest
from alembic import command
from click.testing import CliRunner, Result
from flask.cli import cli
from sqlalchemy import Engine, create_engine, inspect, text

from core.bootstrap import Services, bootstrap
from core.config import PROJECT_ROOT, Settings
from core.config.channels import WebhookSettings
from core.postgres.schema import alembic_config
from tests.conftest import EMPTY_DATABASE
from web import create_app


def flask(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """With a secret that would not do, in the place of a developer's own or of none."""
    return subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-m", "flask", "--app", "web", *arguments],
        cwd=PROJECT_ROOT,
        env={
            **os.environ,
            "JWT_SECRET": "poor",
            "JWT_SECRET_FILE": "",
            "DEBUG": "false",
            **environ,
        },
        check=False,
        capture_output=True,
        text=True,
    )


def test_help_needs_no_right_settings() -> None:
    done = flask("--help")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Usage: ")
    assert "disable-member" in done.stdout


@pytest.mark.parametrize("name", ["capacity", "create-admin", "promote"])
def test_help_of_a_command_needs_no_right_settings(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    # Flask's command sets it for good.
    monkeypatch.setenv("FLASK_RUN_FROM_CLI", "true")
    arguments = ["--app", "web", name, "--help"]
    monkeypatch.setattr(sys, "argv", ["flask", *arguments])
    runner = CliRunner(env={"JWT_SECRET": "poor", "DEBUG": "false"})
    done = runner.invoke(cli, arguments, prog_name="flask")
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith(f"Usage: flask {name} ")


def test_what_a_command_does_needs_them() -> None:
    done = flask("init-db")
    assert done.returncode == 1
    assert done.stderr.startswith("Flashbid cannot start: JWT_SECRET ")


def test_a_terminal_may_lack_the_characters_of_a_command() -> None:
    sale = ("capacity", "--bidders", "1000", "--peak-rate", "10")
    done = flask(*sale, PYTHONIOENCODING="ascii", JWT_SECRET="x" * 32)
    assert done.returncode == 0, done.stderr
    assert "web CPU a bid" in done.stdout


# On a database that is not of this version

ANY_ID = str(uuid4())


@pytest.fixture
def unprepared(empty_database: Settings) -> Iterator[Engine]:
    engine = create_engine(empty_database.database_url)
    yield engine
    engine.dispose()


def run(services: Services, *arguments: str) -> Result:
    """A command of an application over another database."""
    webhook = WebhookSettings("http://127.0.0.1:1/", b"")
    settings = replace(services.settings, postgres_db=EMPTY_DATABASE, webhook=webhook)
    over_it = bootstrap(settings)
    app = create_app(services=over_it)
    try:
        with app.app_context():
            return app.test_cli_runner().invoke(args=list(arguments))
    finally:
        over_it.redis.close()
        over_it.engine.dispose()


@pytest.mark.parametrize(
    "arguments",
    [
        ("create-admin", "ada", "ada@example.com", "--password", "a good password"),
        ("seed-members", "3", "--tokens", "tokens.jsonl"),
        ("replay-webhook", ANY_ID),
        ("rebuild", ANY_ID),
        ("verify", ANY_ID),
        ("export", ANY_ID, "--output", "export.csv"),
        ("simulate", "--session", ANY_ID),
        ("promote", "ada"),
        ("demote", "ada"),
        ("disable-member", "ada"),
        ("enable-member", "ada"),
        ("rename-member", "ada", "eve"),
        ("create-api-key", "feed", "--scope", "sales:write"),
        ("list-api-keys",),
        ("revoke-api-key", ANY_ID),
    ],
    ids=lambda arguments: arguments[0],
)
@pytest.mark.usefixtures("unprepared")
def test_a_command_before_init_db_says_so(
    services: Services,
    arguments: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run(services, *arguments)
    assert isinstance(done.exception, SystemExit)
    assert done.exit_code == 1
    assert "flask --app web init-db" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("statements", "met"),
    [
        (["CREATE TABLE users (id int)"], "users"),
        (["CREATE VIEW products AS SELECT 1", "CREATE TABLE bids (id int)"], "bids, products"),
        (
            ["CREATE TABLE alembic_version (version_num text)", "CREATE TABLE sessions (id int)"],
            "sessions",
        ),
        (
            [
                "CREATE TABLE alembic_version (version_num text)",
                "INSERT INTO alembic_version VALUES ('0001')",
                "CREATE TABLE users (id int)",
            ],
            "alembic_version",
        ),
        (
            [
                "CREATE TABLE alembic_version (version_num text)",
                "INSERT INTO alembic_version VALUES ('8a1b9c')",
            ],
            "alembic_version",
        ),
    ],
)
def test_a_database_of_another_application_is_left_alone(
    services: Services, unprepared: Engine, statements: list[str], met: str
) -> None:
    with unprepared.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))
    before = relations(unprepared)
    done = run(services, "init-db")
    assert isinstance(done.exception, SystemExit)
    assert done.exit_code == 1
    assert f": {met}" in done.stderr
    assert "another application's tables" in done.stderr
    assert "POSTGRES_DB" in done.stderr
    assert relations(unprepared) == before


def test_a_database_may_hold_tables_that_are_not_in_the_way(
    services: Services, unprepared: Engine
) -> None:
    with unprepared.begin() as connection:
        connection.execute(text("CREATE TABLE wp_posts (id int)"))
    assert run(services, "init-db").exit_code == 0
    assert {"wp_posts", "bids"} < relations(unprepared)


def relations(engine: Engine) -> set[str]:
    return {*inspect(engine).get_table_names(), *inspect(engine).get_view_names()}


def of_the_future(unprepared: Engine, *statements: str) -> None:
    """The schema after the release of a later version, which has done this to it."""
    with unprepared.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 'of the future'"))
        for statement in statements:
            connection.execute(text(statement))


def test_older_code_leaves_a_newer_schema_alone_and_says_that_it_runs_on_it(
    services: Services, unprepared: Engine
) -> None:
    """A rollback: the release of the version before must not stop it."""
    assert run(services, "init-db").exit_code == 0
    of_the_future(unprepared, "ALTER TABLE products ADD COLUMN picture text")
    done = run(services, "init-db")
    assert done.exit_code == 0, done.output
    assert "newer" in done.stdout
    assert "left alone" in done.stdout
    assert "this code runs on it" in done.stdout
    assert "✗" not in done.stderr


def test_older_code_that_does_not_run_on_a_newer_schema_says_so(
    services: Services, unprepared: Engine
) -> None:
    assert run(services, "init-db").exit_code == 0
    of_the_future(unprepared, "ALTER TABLE products DROP COLUMN name")
    done = run(services, "init-db")
    assert isinstance(done.exception, SystemExit)
    assert done.exit_code == 1
    assert "of the future" in done.stderr
    assert "does not run on" in done.stderr
    # Redis is checked all the same.
    assert "Redis at" in done.output


def test_init_db_names_accounts_that_look_alike_and_the_command_that_helps(
    services: Services, unprepared: Engine
) -> None:
    with unprepared.begin() as connection:
        command.upgrade(alembic_config(connection), "0005")
        connection.execute(
            text(
                "INSERT INTO users (id, username, email, password_hash, created_at) VALUES"
                " (:admin, 'admin', 'a@bücher.example', '-', '2025-01-01'),"
                " (:twin, :name, 'a@xn--bcher-kva.example', '-', '2025-01-02')"
            ),
            {"admin": str(uuid4()), "twin": ANY_ID, "name": "admin\ufe0f"},
        )
    done = run(services, "init-db")
    assert done.exit_code == 0
    assert f"'admin\\ufe0f' ({ANY_ID}) is like 'admin' (" in done.stderr
    assert "rename-member ID NEW_NAME" in done.stderr
    assert "Accounts with the address of another in another spelling: 1" in done.stderr
    assert "cher.example" not in done.stderr
    assert run(services, "rename-member", ANY_ID, "Eve Lee").exit_code == 0
    assert "is like 'admin'" in run(services, "init-db").stderr
    with unprepared.begin() as connection:
        connection.execute(text("UPDATE users SET email = 'e@t.com' WHERE username = 'Eve Lee'"))
    assert "is like" not in run(services, "init-db").stderr


def test_init_db_names_no_more_twins_than_a_screen_shows(
    services: Services, unprepared: Engine
) -> None:
    with unprepared.begin() as connection:
        command.upgrade(alembic_config(connection), "0005")
        connection.execute(
            text(
                "INSERT INTO users (id, username, email, password_hash)"
                " SELECT gen_random_uuid(), 'ann' || repeat(chr(8203), n), n || '@t.com', '-'"
                "   FROM generate_series(0, 30) n"
            )
        )
    lines = run(services, "init-db").stderr.splitlines()
    assert sum("is like 'ann" in line for line in lines) == 20
    assert "    and 10 more" in lines
