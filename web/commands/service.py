"""The commands `flask --app web init-db`, `create-admin`, `seed-members`,
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

from core import errors
from core.members.accounts import Account
from core.operations.admin_log import Actor
from core.operations.audit import Check
from core.operations.server_checks import check_redis
from core.postgres.migrating import UnknownSchema, migrate
from core.postgres.ownership import ForeignTables
from core.postgres.schema import State
from core.telemetry import metrics
from core.telemetry.metric_files import COMMAND, publishing
from web.commands.base import CHECK, CROSS, WARNING, Command, report_problem
from web.commands.capacity import capacity
from web.commands.twins import report_twins
from web.guards import tokens
from web.http.schemas import Registration
from web.state import services
from worker import broker_check, enqueue

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
    """Create or upgrade the schema, and check PostgreSQL, Redis and the broker."""
    failed = [not _migrate_database(), not _check_redis(), not _check_broker()]
    if any(failed):
        raise SystemExit(1)
    _compare_accounts()


@click.command("create-admin", cls=Command)
@click.argument("username")
@click.argument("email")
@click.password_option(help="6 to 128 characters. Prompted for when omitted.")
def create_admin(username: str, email: str, password: str) -> None:
    """Create an account with admin rights."""
    fields = Registration().load({"username": username, "email": email, "password": password})
    with recording_action("create-admin", username=username):
        account = services().accounts.create_admin(**fields)
    click.echo(f"{CHECK} {account.username} is an admin.")


@click.command("seed-members", cls=Command)
@click.argument("count", type=click.IntRange(1, MAX_SEEDED_MEMBERS))
@click.option(
    "--tokens",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="File to write their tokens to, readable by its owner only.",
)
def seed_members(count: int, path: Path) -> None:
    """Create COUNT members for load tests. They have tokens but no usable password."""
    try:
        with recording_action("seed-members", count=count), _create_private_file(path) as file:
            accounts = services().accounts.seed(count)
            file.writelines(_token_line(account) for account in accounts)
    except OSError as error:
        click.echo(f"{CROSS} Cannot write {path}: {error.strerror}.", err=True)
        raise SystemExit(1) from None
    click.echo(f"{CHECK} {count} members created; their tokens are in {path}.")


@click.command("replay-webhook", cls=Command)
@click.argument("delivery", type=click.UUID)
def replay_webhook(delivery: UUID) -> None:
    """Send the webhook DELIVERY again, whatever its status."""
    if not services().webhooks.is_on:
        click.echo(f"{CROSS} Webhooks are off: WEBHOOK_URL is not set.", err=True)
        raise SystemExit(1)
    with recording_action("replay-webhook", delivery_id=str(delivery)):
        services().webhooks.replay(delivery)
    enqueue.webhooks()
    click.echo(f"{CHECK} Delivery queued. GET /api/admin/webhook-deliveries shows its status.")


@click.command("rebuild", cls=Command)
@click.argument("session_id", metavar="SESSION", type=click.UUID)
def rebuild(session_id: UUID) -> None:
    """Reload SESSION into Redis from PostgreSQL. Safe while members bid."""
    try:
        with publishing_metrics(), recording_action("rebuild", session_id=str(session_id)):
            services().loader.rebuild(session_id)
    except errors.SessionEnded:
        click.echo(
            f"{CROSS} Session {session_id} has ended or was cancelled; PostgreSQL has it.", err=True
        )
        raise SystemExit(1) from None
    click.echo(f"{CHECK} Bid log drained; session {session_id} loaded from PostgreSQL.")


@click.command("verify", cls=Command)
@click.argument("session_id", metavar="SESSION", type=click.UUID)
def verify(session_id: UUID) -> None:
    """Check SESSION's ranks and winners against its bid log. Exits with 1 unless all pass."""
    checks = services().audit.verify(session_id)
    for check in checks:
        _report_check(check)
    if any(check.differences or check.obstacle for check in checks):
        raise SystemExit(1)


def recording_action(action: str, **details: Any) -> AbstractContextManager[dict[str, Any]]:
    """Records an operator's action in the admin log; `details` must hold no secret."""
    actor = Actor(f"command line: {_operator()}")
    return services().admin_actions.recording(actor, action, details)


def publishing_metrics() -> AbstractContextManager[None]:
    """Publishes the command's metrics to this host's web, like a worker's."""
    return publishing(metrics.REGISTRY, services().settings.metrics_folder, COMMAND)


def _operator() -> str:
    """The operating system's name for the user."""
    try:
        return getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return f"user {os.getuid()}"


def _report_check(check: Check) -> None:
    if check.obstacle:
        click.echo(f"{UNCHECKED} {check.name:<12} not checked: {check.obstacle}")
        return
    mark = CROSS if check.differences else CHECK
    click.echo(
        f"{mark} {check.name:<12} {check.checked_bids:>9} bids {check.differences:>6} differences"
    )
    for loss in check.known:
        click.echo(f"    known: {loss}")
    for difference in check.shown:
        click.echo(f"    {difference}")
    if check.differences > len(check.shown):
        click.echo(f"    and {check.differences - len(check.shown)} more")


def _create_private_file(path: Path) -> TextIO:
    """A new file that is never readable by others, not even briefly."""
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
        migrated = migrate(services().engine)
    except (DBAPIError, ForeignTables, UnknownSchema) as error:
        if not report_problem(error):
            raise
        return False
    told = "is newer and was left alone; this code runs on it"
    if migrated.state is not State.NEWER:
        told = "is up to date"
    click.echo(f"{CHECK} PostgreSQL at {settings.database_address}: the schema {told}")
    report_twins(migrated.twins)
    return True


def _compare_accounts() -> None:
    """Bring Redis's list of refused members to PostgreSQL's state, as after a restored backup."""
    missing = services().erasure.find_missing()
    if missing is None:
        click.echo(
            f"{UNCHECKED} Accounts: this database has none of those that Redis knows. If it is the "
            "right one, empty Redis.",
        )
        return
    services().revocations.load()
    services().membership.reenable_members()
    if missing:
        accounts = "1 account" if missing == 1 else f"{missing} accounts"
        click.echo(
            f"{CHECK} Accounts: Redis knew {accounts} that PostgreSQL does not have; refused"
        )


def _check_redis() -> bool:
    name = f"Redis at {services().settings.redis_address}"
    findings = check_redis(services().redis)
    for finding in findings:
        click.echo(f"{CROSS if finding.is_fatal else WARNING} {name}: {finding.sentence}", err=True)
    if not findings:
        click.echo(f"{CHECK} {name}: reachable, keeps every accepted bid")
    return not any(finding.is_fatal for finding in findings)


def _check_broker() -> bool:
    name = f"Broker at {broker_check.address()}"
    problem = broker_check.check()
    if problem:
        click.echo(f"{CROSS} {name}: {problem}", err=True)
    else:
        click.echo(f"{CHECK} {name}: reachable")
    return problem is None
