"""The commands `create-api-key`, `list-api-keys`, `revoke-api-key`."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import click
from flask import Flask

from core.members.api_keys import KeyView, Scope
from web.commands.base import CHECK, CROSS, Command
from web.commands.service import recording_action
from web.http.schemas import Login, NewApiKey
from web.state import services

_DAYS = re.compile(r"([1-9][0-9]{0,3})d")
_FORMAT = "{:<36}  {:<20}  {:<16}  {:<36}  {:<16}  {:<16}  {}"


def register(app: Flask) -> None:
    """Add the commands to the application."""
    for command in (create_api_key, list_api_keys, revoke_api_key):
        app.cli.add_command(command)


class Scopes(click.ParamType[set[Scope]]):
    """Scopes with commas between."""

    name = "scopes"

    def convert(self, value: Any, param: Any, ctx: Any) -> set[Scope]:
        """The scopes. Fails if one is unknown."""
        try:
            return {Scope(scope.strip()) for scope in value.split(",")}
        except ValueError:
            self.fail(f"{value!r}: choose of {','.join(Scope)}", param, ctx)


class Expiry(click.ParamType[datetime]):
    """A time in the future: a date, at whose start in UTC a key expires, or days from now."""

    name = "expiry"

    def convert(self, value: Any, param: Any, ctx: Any) -> datetime:
        """The time. Fails if it is past, or none."""
        now = datetime.now(UTC)
        try:
            days = _DAYS.fullmatch(value)
            expires_at = now + timedelta(int(days[1])) if days else datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is neither a date like 2030-01-31 nor days like 30d.", param, ctx)
        expires_at = expires_at if expires_at.tzinfo else expires_at.replace(tzinfo=UTC)
        if expires_at <= now:
            self.fail(f"{value!r} is past.", param, ctx)
        return expires_at


@click.command("create-api-key", cls=Command)
@click.argument("name")
@click.option("--scope", "scopes", type=Scopes(), required=True, help=",".join(Scope))
@click.option(
    "--expires",
    "expires_at",
    type=Expiry(),
    help="A date (UTC) or days, like 90d. Never, if omitted.",
)
@click.option("--owner", help="The admin for whom it acts; the only admin, if omitted.")
def create_api_key(
    name: str, scopes: set[Scope], expires_at: datetime | None, owner: str | None
) -> None:
    """Create the API key NAME, and print it once."""
    name = NewApiKey().load({"name": name})["name"]
    if owner is not None:
        owner = Login(only=("username",)).load({"username": owner})["username"]
    with recording_action("create-api-key", name=name, scopes=sorted(scopes)) as details:
        key, created = services().api_keys.create(name, scopes, owner=owner, expires_at=expires_at)
        details |= {"api_key_id": str(created.key_id), "username": created.owner}
    click.echo(
        f"{CHECK} API key {name} ({created.key_id}) acts for {created.owner}. "
        "Keep it now; it is not shown again:",
        err=True,
    )
    click.echo(key)


@click.command("list-api-keys", cls=Command)
def list_api_keys() -> None:
    """List all API keys, newest first, without their secrets."""
    keys = services().api_keys.list()
    if not keys:
        click.echo("There are no API keys.")
        return
    click.echo(_FORMAT.format("id", "name", "owner", "scopes", "expires", "last used", "revoked"))
    for key in keys:
        click.echo(_FORMAT.format(*_cells(key)))


@click.command("revoke-api-key", cls=Command)
@click.argument("key_id", metavar="ID", type=click.UUID)
def revoke_api_key(key_id: UUID) -> None:
    """Refuse the API key ID from now on."""
    with recording_action("revoke-api-key", api_key_id=str(key_id)):
        name = services().api_keys.revoke(key_id)
    if name is None:
        click.echo(f"{CROSS} No API key has the id {key_id}.", err=True)
        raise SystemExit(1)
    click.echo(f"{CHECK} API key {name} is revoked.")


def _cells(key: KeyView) -> Iterator[str]:
    yield from (str(key.key_id), key.name, key.owner or "(gone)", ",".join(key.scopes))
    yield from map(_shown, (key.expires_at, key.last_used_at, key.revoked_at))


def _shown(moment: datetime | None) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}" if moment else "never"
