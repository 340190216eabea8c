"""Reports accounts whose username or address another account has in another spelling."""

from collections.abc import Sequence

import click

from core.postgres.keys import Twin

_MAX_SHOWN = 20
_EXPLANATIONS = {
    "username": (
        "Accounts with the username of another in another spelling",
        """They log in by their exact spelling. Rename one of each two:
    flask --app web rename-member ID NEW_NAME
  or shut it out: flask --app web disable-member ID""",
    ),
    "email": (
        "Accounts with the address of another in another spelling",
        "Both get their mail; no further account can have it. Nothing must be done.",
    ),
}


def report_twins(twins: Sequence[Twin]) -> None:
    """Print them by field, and what an operator can do. Addresses are not shown."""
    for field, (what, remedy) in _EXPLANATIONS.items():
        found = [twin for twin in twins if twin.field == field]
        if found:
            click.echo(f"! {what}: {len(found)}", err=True)
            for twin in found[:_MAX_SHOWN]:
                click.echo(f"    {_line(twin)}", err=True)
            if len(found) > _MAX_SHOWN:
                click.echo(f"    and {len(found) - _MAX_SHOWN} more", err=True)
            click.echo(f"  {remedy}", err=True)


def _line(twin: Twin) -> str:
    """In ASCII: the two names may look the same."""
    return f"{twin.username!a} ({twin.user_id}) is like {twin.other_username!a} ({twin.other_id})"
