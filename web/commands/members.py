"""The command line for members: `promote`, `demote`, `disable-member`, `enable-member`."""

from collections.abc import Callable

import click
from flask import Flask

from core import outages
from core.members.roles import Membership, RedisNotUpdated
from web.commands.base import CHECK, CROSS, Command, report
from web.commands.service import recorded
from web.state import services


def register(app: Flask) -> None:
    """Add the commands to the application."""
    for command in (promote, demote, disable_member, enable_member):
        app.cli.add_command(command)


@click.command("promote", cls=Command)
@click.argument("username")
def promote(username: str) -> None:
    """Let USERNAME administer."""
    _change("promote", Membership.promote, username, "is an admin")


@click.command("demote", cls=Command)
@click.argument("username")
def demote(username: str) -> None:
    """Let USERNAME administer no more."""
    _change("demote", Membership.demote, username, "is no admin")


@click.command("disable-member", cls=Command)
@click.argument("username")
def disable_member(username: str) -> None:
    """Shut USERNAME out at once; standing bids stay."""
    _change("disable-member", Membership.disable, username, "is shut out; standing bids stay")


@click.command("enable-member", cls=Command)
@click.argument("username")
def enable_member(username: str) -> None:
    """Let USERNAME in again."""
    _change("enable-member", Membership.enable, username, "may come in again")


def _change(
    action: str, change: Callable[[Membership, str], str], username: str, outcome: str
) -> None:
    try:
        with recorded(action, username=username):
            name = change(services().membership, username)
    except RedisNotUpdated as half_done:
        click.echo(
            f"{CROSS} {half_done.username} {outcome}, but Redis could not be told and refuses "
            "the member's tokens.\n  Repeat this when Redis is back; else it is told at night.",
            err=True,
        )
        raise SystemExit(1) from None
    except outages.ALL as outage:
        report(outage)
        click.echo("  Nothing has changed.", err=True)
        raise SystemExit(1) from None
    click.echo(f"{CHECK} {name} {outcome}.")
