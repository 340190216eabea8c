"""The command line: `flask --app web init-db`, `flask --app web create-admin`."""

import click
from flask import Flask
from marshmallow import ValidationError
from redis.exceptions import RedisError
from sqlalchemy.exc import DBAPIError

from core import errors
from core.database import migrate
from web.schemas import Registration
from web.state import services

CHECK, CROSS = "✓", "✗"


def register(app: Flask) -> None:
    """Add the commands to the application."""
    app.cli.add_command(init_db)
    app.cli.add_command(create_admin)


@click.command("init-db")
def init_db() -> None:
    """Create or upgrade the schema, and check PostgreSQL and Redis."""
    failed = [not _migrate_database(), not _check_redis()]
    if any(failed):
        raise SystemExit(1)


@click.command("create-admin")
@click.argument("username")
@click.argument("email")
@click.password_option(help="Asked for when not given; 6 to 128 characters.")
def create_admin(username: str, email: str, password: str) -> None:
    """Create an account that may administer."""
    try:
        fields = Registration().load({"username": username, "email": email, "password": password})
        account = services().accounts.create_admin(**fields)
    except ValidationError as error:
        for field, messages in error.normalized_messages().items():  # type: ignore[no-untyped-call]
            click.echo(f"{CROSS} {field}: {' '.join(messages)}", err=True)
        raise SystemExit(1) from None
    except errors.Refusal as refusal:
        click.echo(f"{CROSS} {refusal.detail}", err=True)
        raise SystemExit(1) from None
    except errors.DATABASE_OUTAGES as outage:
        _report_database(outage)
        raise SystemExit(1) from None
    click.echo(f"{CHECK} {account.username} is an admin.")


def _migrate_database() -> bool:
    try:
        migrate(services().engine)
    except DBAPIError as error:
        _report_database(error)
        return False
    click.echo(
        f"{CHECK} PostgreSQL: schema is up to date at {services().settings.database_address}"
    )
    return True


def _report_database(error: Exception) -> None:
    reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
    click.echo(
        f"{CROSS} PostgreSQL at {services().settings.database_address}: {reason}\n"
        "  Start it, or correct the POSTGRES_* settings.",
        err=True,
    )


def _check_redis() -> bool:
    address = services().settings.redis_address
    try:
        services().redis.ping()
    except RedisError as error:
        click.echo(
            f"{CROSS} Redis at {address}: {error}\n  Start it, or correct the REDIS_* settings.",
            err=True,
        )
        return False
    click.echo(f"{CHECK} Redis: answers at {address}")
    return True
