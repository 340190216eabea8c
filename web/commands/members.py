"""The member commands: `promote`, `demote`, `disable-member`, `enable-member`, `rename-member`,
`erase-member`.

USERNAME is a name in any spelling, or an account's id.
"""

from collections.abc import Callable

import click
from flask import Flask
from marshmallow import Schema

from core import outages
from core.members.roles import Membership, RedisNotUpdated
from web.commands.base import CHECK, CROSS, Command, report_problem
from web.commands.service import recording_action
from web.http.schemas import Login, Registration
from web.state import services


def register(app: Flask) -> None:
    """Add the commands to the application."""
    for command in (
        promote,
        demote,
        disable_member,
        enable_member,
        rename_member,
        erase_member,
    ):
        app.cli.add_command(command)


@click.command("promote", cls=Command)
@click.argument("username")
def promote(username: str) -> None:
    """Grant USERNAME admin rights."""
    _change("promote", Membership.promote, username, "is an admin")


@click.command("demote", cls=Command)
@click.argument("username")
def demote(username: str) -> None:
    """Revoke USERNAME's admin rights."""
    _change("demote", Membership.demote, username, "is no longer an admin")


@click.command("disable-member", cls=Command)
@click.argument("username")
def disable_member(username: str) -> None:
    """Disable USERNAME's account at once; standing bids stay."""
    _change("disable-member", Membership.disable, username, "is disabled; standing bids stay")


@click.command("enable-member", cls=Command)
@click.argument("username")
def enable_member(username: str) -> None:
    """Re-enable USERNAME's account."""
    _change("enable-member", Membership.enable, username, "is enabled")


@click.command("rename-member", cls=Command)
@click.argument("username")
@click.argument("new_name")
def rename_member(username: str, new_name: str) -> None:
    """Give USERNAME's account the username NEW_NAME.

    Boards show the old name until the member logs in and bids again.
    """
    new_name = _checked(Registration, new_name)
    username = _checked(Login, username)
    with recording_action("rename-member", username=username, new_name=new_name):
        services().membership.rename(username, new_name)
    click.echo(f"{CHECK} The account is named {new_name}.")


@click.command("erase-member", cls=Command)
@click.argument("username")
def erase_member(username: str) -> None:
    """Erase USERNAME's name, address and weight for good; bids and ranks stay.

    Repeat it with the id if it was interrupted.
    """
    # Recorded by its id: the name is what is erased.
    with recording_action("erase-member") as details:
        user_id = services().erasure.find(_checked(Login, username))
        details["user_id"] = str(user_id)
        services().erasure.erase(user_id)
    click.echo(f"{CHECK} Member {user_id} is erased; bids and ranks stay, without the name.")


def _checked(schema: type[Schema], username: str) -> str:
    """The argument, if the route of this schema accepts it: a terminal may send any bytes."""
    return str(schema(only=("username",)).load({"username": username})["username"])


def _change(
    action: str, change: Callable[[Membership, str], str], username: str, outcome: str
) -> None:
    username = _checked(Login, username)
    try:
        with recording_action(action, username=username):
            name = change(services().membership, username)
    except RedisNotUpdated as half_done:
        click.echo(
            f"{CROSS} {half_done.username} {outcome} in PostgreSQL, but Redis could not be updated "
            "and still refuses the member's tokens.\n  Repeat this when Redis is back; the nightly "
            "job does it otherwise.",
            err=True,
        )
        raise SystemExit(1) from None
    except outages.ALL as outage:
        report_problem(outage)
        click.echo("  Nothing was changed.", err=True)
        raise SystemExit(1) from None
    click.echo(f"{CHECK} {name} {outcome}.")
