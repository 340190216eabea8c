"""The command `flask --app web archive`: moves bids of settled sessions into files."""

import re
from datetime import timedelta
from pathlib import Path

import click
from flask import Flask

from core.config import PROJECT_ROOT
from core.operations.archiving import Candidate, NotArchived
from web.commands.base import CHECK, CROSS, Command
from web.commands.service import UNCHECKED, recording_action
from web.state import services

FOLDER = PROJECT_ROOT / ".data" / "archives"
INTERRUPTED = 130


def register(app: Flask) -> None:
    """Add the command to the application."""
    app.cli.add_command(archive)


class Days(click.ParamType[timedelta]):
    """A number of days, such as 400d."""

    name = "days"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        """The duration. Fails if the text is not one."""
        if not (days := re.fullmatch(r"(\d{1,5})d", value, re.ASCII)):
            self.fail(f"{value!r} is not a number of days, such as 400d.", param, ctx)
        return timedelta(days=int(days[1]))


@click.command("archive", cls=Command)
@click.option(
    "--older-than",
    type=Days(),
    required=True,
    help="How long ago the sessions were closed or cancelled, such as 400d.",
)
@click.option(
    "--to",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=FOLDER,
    help="Folder for the files: one with backups, on a disk that lasts.  [default: .data/archives]",
)
@click.option("--dry-run", is_flag=True, help="Only show what would be archived.")
def archive(older_than: timedelta, folder: Path, dry_run: bool) -> None:
    """Move the bids of settled sessions into files, and delete them from PostgreSQL.

    Results, offers and counts stay. Safe to interrupt and to repeat; keep the files as long as
    ranks may have to be proven.
    """
    try:
        failed = _show(older_than) if dry_run else _archive_all(older_than, folder)
    except NotArchived as reason:
        click.echo(f"{CROSS} {reason}", err=True)
        failed = 1
    except OSError as error:
        click.echo(f"{CROSS} Cannot use {folder}: {error.strerror}. No bid is lost.", err=True)
        failed = 1
    except KeyboardInterrupt:
        click.echo(f"{CROSS} Interrupted. No bid is lost; repeat the command to go on.", err=True)
        raise SystemExit(INTERRUPTED) from None
    raise SystemExit(int(bool(failed)))


def _show(older_than: timedelta) -> int:
    found = services().archiving.candidates(older_than)
    for session in found:
        state = f"not settled: {session.obstacle}" if session.obstacle else "would be archived"
        _report(UNCHECKED if session.obstacle else CHECK, session, state)
    _summarise(sum(not session.obstacle for session in found), "would be archived")
    return 0


def _archive_all(older_than: timedelta, folder: Path) -> int:
    """How many sessions could not be archived."""
    done = failed = 0
    details = {"older_than_days": older_than.days, "folder": str(folder)}
    with services().archiving.turn(), recording_action("archive", **details) as kept:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for session in services().archiving.candidates(older_than):
            if session.obstacle:
                _report(UNCHECKED, session, f"skipped: {session.obstacle}")
            elif _archive(session, folder):
                done += 1
            else:
                failed += 1
            kept |= {"archived": done, "failed": failed}
    _summarise(done, "archived")
    return failed


def _archive(session: Candidate, folder: Path) -> bool:
    try:
        archived = services().archiving.archive(session.session_id, folder)
    except NotArchived as reason:
        _report(CROSS, session, str(reason))
        return False
    _report(CHECK, session, archived.file)
    return True


def _report(mark: str, session: Candidate, state: str) -> None:
    click.echo(f"{mark} {session.session_id} {session.bids:>9} bids  {state}")


def _summarise(count: int, outcome: str) -> None:
    click.echo(f"{count} session{'' if count == 1 else 's'} {outcome}.")
