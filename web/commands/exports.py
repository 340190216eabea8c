"""The command `flask --app web export`."""

from pathlib import Path
from uuid import UUID

import click
from flask import Flask

from core.orders.exports import FileFormat, Kind
from web.commands.base import CHECK, CROSS, Command
from web.commands.service import recording_action
from web.state import services


def register(app: Flask) -> None:
    """Add the command to the application."""
    app.cli.add_command(export)


@click.command("export", cls=Command)
@click.argument("session_id", metavar="SESSION", type=click.UUID)
@click.option(
    "--kind", type=click.Choice([each.value for each in Kind]), default="results", show_default=True
)
@click.option(
    "--format",
    "file_format",
    type=click.Choice([each.value for each in FileFormat]),
    default="csv",
    show_default=True,
)
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), required=True)
def export(session_id: UUID, kind: str, file_format: str, output: Path) -> None:
    """Write SESSION's results, bids or offers to a file, readable by its owner only."""
    try:
        with recording_action("export", session_id=str(session_id), kind=kind):
            written = services().exports.write(
                session_id, Kind(kind), FileFormat(file_format), output
            )
    except OSError as error:
        click.echo(f"{CROSS} Cannot write {output}: {error.strerror}.", err=True)
        raise SystemExit(1) from None
    click.echo(f"{CHECK} {output}: {written.rows:,} rows, SHA-256 {written.sha256}")
