"""The command line: `flask --app web init-db`, `create-admin`, `seed-members`,
`replay-webhook`, `rebuild`, `verify`, `capacity`.
"""

import json
import os
from contextlib import AbstractContextManager
from getpass import getuser
from pathlib import Path
from typing import Any, TextIO
from uuid import UUID

import click
from flask import Flask
from sqlalchemy.exc import DBAPIError

from core import errors, outages
from core.members.accounts import Account
from core.operations.admin_log import Actor
from core.operations.audit import Check
from core.postgres.database import UnknownSchema, migrate
from core.telemetry import metrics
from core.telemetry.metric_files import COMMAND, publishing
from web.commands.base import CHECK, CROSS, Command, report
from web.commands.capacity import capacity
from web.guards import tokens
from web.http.schemas import Registration
from web.state import services
from worker import enqueue

UNCHECKED = "?"
MAX_SEEDED_MEMBERS = 100_000


def register(app: Flask) -> None:
    """Add the commands to the application."""
    app.cli.add_command(init_db)
    app.cli.add_command(create_admin)
    app.cli.add_command(seed_members)
    app.cli.add_command(replay_webhook)
    app.cli.add_command(rebuild)
    app.cli.add_command(verify)
    app.cli.add_command(capacity)


@click.command("init-db", cls=Command)
def init_db() -> None:
    """Create or upgrade the schema, and check PostgreSQL and Redis."""
    failed = [not _migrate_database(), not _check_redis()]
    if any(failed):
        raise SystemExit(1)


@click.command("create-admin", cls=Command)
@click.argument("username")
@click.argument("email")
@click.password_option(help="Asked for when not given; 6 to 128 characters.")
def create_admin(username: str, email: str, password: str) -> None:
    """Create an account that may administer."""
    fields = Registration().load({"username": username, "email": email, "password": password})
    with recorded("create-admin", username=username):
        account = services().accounts.create_admin(**fields)
    click.echo(f"{CHECK} {account.username} is an admin.")


@click.command("seed-members", cls=Command)
@click.argument("count", type=click.IntRange(1, MAX_SEEDED_MEMBERS))
@click.option(
    "--tokens",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="File for their tokens; only its owner may read it.",
)
def seed_members(count: int, path: Path) -> None:
    """Create COUNT members for load tests. Nobody can log in to them."""
    try:
        with recorded("seed-members", count=count), _private(path) as file:
            accounts = services().accounts.seed(count)
            file.writelines(_token_line(account) for account in accounts)
    except OSError as error:
        click.echo(f"{CROSS} {path} cannot be written: {error.strerror}.", err=True)
        raise SystemExit(1) from None
    click.echo(f"{CHECK} {count} members; their tokens are in {path}.")


@click.command("replay-webhook", cls=Command)
@click.argument("delivery", type=click.UUID)
def replay_webhook(delivery: UUID) -> None:
    """Send DELIVERY to the shop's system again, whatever became of it."""
    if not services().webhooks.is_on:
        click.echo(f"{CROSS} There is nowhere to send it: WEBHOOK_URL is not set.", err=True)
        raise SystemExit(1)
    with recorded("replay-webhook", delivery_id=str(delivery)):
        services().webhooks.replay(delivery)
    enqueue.webhooks()
    click.echo(f"{CHECK} It goes out now; GET /api/admin/webhook-deliveries tells how it went.")


@click.command("rebuild", cls=Command)
@click.argument("session_id", metavar="SESSION", type=click.UUID)
def rebuild(session_id: UUID) -> None:
    """Load SESSION into Redis anew from PostgreSQL; safe while bids come in."""
    try:
        with published(), recorded("rebuild", session_id=str(session_id)):
            services().loader.rebuild(session_id)
    except errors.SessionEnded:
        click.echo(f"{CROSS} Session {session_id} has ended; PostgreSQL holds it.", err=True)
        raise SystemExit(1) from None
    click.echo(f"{CHECK} The log was drained and session {session_id} loaded from PostgreSQL.")


@click.command("verify", cls=Command)
@click.argument("session_id", metavar="SESSION", type=click.UUID)
def verify(session_id: UUID) -> None:
    """Prove SESSION's ranks and winners from its bid log; exit 1 when not all is proven."""
    checks = services().audit.verify(session_id)
    for check in checks:
        _report_check(check)
    if any(check.differences or check.obstacle for check in checks):
        raise SystemExit(1)


def recorded(action: str, **details: Any) -> AbstractContextManager[dict[str, Any]]:
    """A record of an operator's action around its doing; details hold no secret."""
    actor = Actor(f"command line: {_operator()}")
    return services().admin_actions.recording(actor, action, details)


def published() -> AbstractContextManager[None]:
    """What a command counts is shown by this host's web, as a worker's counts are."""
    return publishing(metrics.REGISTRY, services().settings.metrics_folder, COMMAND)


def _operator() -> str:
    """Who the system says runs this."""
    try:
        return getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return f"user {os.getuid()}"


def _report_check(check: Check) -> None:
    if check.obstacle:
        click.echo(f"{UNCHECKED} {check.name:<12} not checked: {check.obstacle}")
        return
    mark = CROSS if check.differences else CHECK
    click.echo(f"{mark} {check.name:<12} {check.checked_bids:>9} bids {check.differences:>6} wrong")
    for loss in check.known:
        click.echo(f"    known: {loss}")
    for difference in check.shown:
        click.echo(f"    {difference}")
    if check.differences > len(check.shown):
        click.echo(f"    and {check.differences - len(check.shown)} more")


def _private(path: Path) -> TextIO:
    """A new file that nobody else may read, not even for a moment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.chmod(0o600)
    return path.open("w", encoding="utf-8")


def _token_line(account: Account) -> str:
    token = tokens.issue(account)["token"]
    line = {"user_id": str(account.user_id), "username": account.username, "token": token}
    return f"{json.dumps(line)}\n"


def _migrate_database() -> bool:
    settings = services().settings
    try:
        migrate(services().engine)
    except (DBAPIError, UnknownSchema) as error:
        if not report(error):
            raise
        return False
    click.echo(f"{CHECK} PostgreSQL: schema is up to date at {settings.database_address}")
    return True


def _check_redis() -> bool:
    try:
        services().redis.ping()
    except outages.REDIS as error:
        report(error)
        return False
    click.echo(f"{CHECK} Redis: answers at {services().settings.redis_address}")
    return True
