"""What every command shares: what it says in front of a line, and one handler for all that
may be in its way, so that operators read what to do and no traceback.
"""

from typing import Any

import click
from marshmallow import ValidationError
from sqlalchemy.exc import ProgrammingError

from core import errors, outages
from core.postgres.database import UnknownSchema, lacks_tables
from web.state import services

CHECK, CROSS = "✓", "✗"


class Command(click.Command):
    """A command that tells what is in its way, and then exits with 1."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run it."""
        try:
            return super().invoke(ctx)
        except Exception as error:
            if not report(error):
                raise
            # A session that does not exist is as wrong an argument as one that is no UUID.
            raise SystemExit(2 if isinstance(error, errors.SessionNotFound) else 1) from None


def report(error: Exception) -> bool:
    """Say what is in the way and what to do about it. False when that is not known."""
    obstacles = _obstacles(error)
    for obstacle in obstacles:
        click.echo(f"{CROSS} {obstacle}", err=True)
    return bool(obstacles)


def _obstacles(error: Exception) -> list[str]:
    if isinstance(error, ValidationError):
        messages = error.normalized_messages()  # type: ignore[no-untyped-call]
        return [f"{field}: {' '.join(sentences)}" for field, sentences in messages.items()]
    if isinstance(error, errors.Refusal):
        return [error.detail]
    if isinstance(error, outages.REDIS):
        address = services().settings.redis_address
        return [f"Redis at {address}: {error}\n  Start it, or correct the REDIS_* settings."]
    if remedy := _database_remedy(error):
        reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        return [f"PostgreSQL at {services().settings.database_address}: {reason}\n  {remedy}"]
    return []


def _database_remedy(error: Exception) -> str | None:
    """What to do about an error of PostgreSQL's that operators can help."""
    if isinstance(error, UnknownSchema):
        return "A newer version made its tables: run that one, or go back to a backup."
    if lacks_tables(error):
        return (
            "It has no tables yet, or those of an older version. Create or upgrade them:\n"
            "  flask --app web init-db"
        )
    # A ProgrammingError is mostly a right that the user was not given.
    if isinstance(error, (*outages.DATABASE, ProgrammingError)):
        return "Start it, or correct the POSTGRES_* settings."
    return None
