"""Shared by all commands: output marks, notes of what may surprise an operator, and an error
handler that prints what to do instead of a traceback.
"""

import sys
from collections.abc import Iterator
from typing import Any

import click
from marshmallow import ValidationError
from sqlalchemy.exc import ProgrammingError

from core import errors, outages
from core.config import load_settings, running_values, unknown_setting_sentences
from core.postgres.database import lacks_tables
from core.postgres.migrating import UnknownSchema
from core.postgres.ownership import ForeignTables
from web.state import services

CHECK, CROSS, WARNING = "✓", "✗", "!"


class Command(click.Command):
    """A command that explains known errors, then exits with 1 (2 for an unknown session)."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        for stream in (sys.stdout, sys.stderr):
            # A terminal's encoding may lack the marks.
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]
        for note in _notes():
            click.echo(note, err=True)
        try:
            return super().invoke(ctx)
        except Exception as error:
            if not report_problem(error):
                raise
            # An unknown session is a wrong argument, like a malformed UUID.
            raise SystemExit(2 if isinstance(error, errors.SessionNotFound) else 1) from None


def _notes() -> Iterator[str]:
    """What an operator may not expect: ignored settings, and other servers than those of the
    `make run` that is up.
    """
    yield from unknown_setting_sentences()
    values = running_values()
    if not values:
        return
    ours, served = services().settings, load_settings(values)
    for server, here, there in (
        ("PostgreSQL", ours.database_address, served.database_address),
        ("Redis", ours.redis_address, served.redis_address),
    ):
        if here != there:
            yield (
                f"Note: `make run` is up with {server} at {there}. This command uses {here}, as "
                "the environment or .env says."
            )


def report_problem(error: Exception) -> bool:
    """Print the error and its remedy. False when the error is not a known one."""
    explanations = _explanations(error)
    for explanation in explanations:
        click.echo(f"{CROSS} {explanation}", err=True)
    return bool(explanations)


def _explanations(error: Exception) -> list[str]:
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
    """The remedy for a PostgreSQL error; None when an operator cannot fix it."""
    if isinstance(error, ForeignTables):
        return "These are another application's tables: set POSTGRES_DB to a database of its own."
    if isinstance(error, UnknownSchema):
        return (
            "Its schema is of a version that this code does not run on: start that version, or "
            "correct POSTGRES_DB."
        )
    if lacks_tables(error):
        return "The schema is missing or outdated. Create or upgrade it:\n  flask --app web init-db"
    # A ProgrammingError is mostly a missing privilege.
    if isinstance(error, (*outages.DATABASE, ProgrammingError)):
        return "Start it, or correct the POSTGRES_* settings."
    return None
