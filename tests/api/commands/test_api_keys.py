"""The commands that make, list and revoke API keys."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import Result
from flask import Flask

from core.members.api_keys import Scope
from tests.support.factories import Shop

Run = Callable[..., Result]


@pytest.fixture
def run(app: Flask, shop: Shop) -> Run:
    shop.account("ada")

    def run_command(*arguments: str) -> Result:
        with app.app_context():
            return app.test_cli_runner().invoke(args=list(arguments))

    return run_command


def test_a_key_is_made_listed_and_revoked(run: Run, shop: Shop) -> None:
    keys = shop.services.api_keys
    made = run("create-api-key", "feed", "--scope", "sales:write,orders:read")
    assert made.exit_code == 0, made.output
    written = made.stdout.strip()
    holder = keys.authenticate(written, Scope.SALES_WRITE)
    assert "acts for ada" in made.stderr
    listed = run("list-api-keys").stdout
    assert str(holder.key_id) in listed
    assert written[37:] not in listed + made.stderr
    revoked = run("revoke-api-key", str(holder.key_id))
    assert revoked.stdout == "✓ API key feed is revoked.\n"
    [view] = keys.list()
    assert view.revoked_at
    [made_action, revoked_action] = shop.rows(
        "SELECT action, outcome, details FROM admin_actions ORDER BY id"
    )
    assert made_action[:2] == ("create-api-key", "done")
    assert made_action[2]["api_key_id"] == str(holder.key_id)
    assert made_action[2]["username"] == "ada"
    assert written[37:] not in str(made_action)
    assert revoked_action[:2] == ("revoke-api-key", "done")


def expiry_of(run: Run, shop: Shop, expires: str) -> datetime | None:
    run("create-api-key", "feed", "--scope", "sales:write", "--expires", expires)
    return shop.services.api_keys.list()[0].expires_at


def test_a_key_expires_when_it_is_said(run: Run, shop: Shop) -> None:
    assert expiry_of(run, shop, "2999-01-31") == datetime(2999, 1, 31, tzinfo=UTC)
    before = datetime.now(UTC)
    in_days = expiry_of(run, shop, "30d")
    assert in_days is not None
    assert before <= in_days - timedelta(days=30) <= datetime.now(UTC)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("feed",), "Missing option '--scope'"),
        (("feed", "--scope", "bids:write"), "orders:read,orders:write,sales:write,members:read"),
        (("feed", "--scope", ""), "orders:read"),
        (("feed", "--scope", "sales:write", "--expires", "2020-01-31"), "is past"),
        (("feed", "--scope", "sales:write", "--expires", "0d"), "30d"),
        (("feed", "--scope", "sales:write", "--expires", "tomorrow"), "30d"),
        (("feed", "--scope", "sales:write", "--owner", "nobody"), "No account is named 'nobody'"),
        (("feed", "--scope", "sales:write", "--owner", "bob"), "bob is no admin"),
        (("f" * 51, "--scope", "sales:write"), "name: "),
        (("a\nb", "--scope", "sales:write"), "name: "),
        (("", "--scope", "sales:write"), "name: "),
    ],
)
def test_a_key_that_makes_no_sense_is_not_made(
    run: Run, shop: Shop, arguments: tuple[str, ...], said: str
) -> None:
    shop.account("bob")
    done = run("create-api-key", *arguments)
    assert done.exit_code != 0
    assert done.stdout == ""
    assert said in done.stderr
    assert shop.services.api_keys.list() == []


def test_an_unknown_key_cannot_be_revoked(run: Run) -> None:
    done = run("revoke-api-key", "c9bf9e57-1685-4c89-bafb-ff5af830be8a")
    assert done.exit_code == 1
    assert "No API key has the id" in done.stderr


def test_an_empty_list_says_so(run: Run) -> None:
    assert run("list-api-keys").stdout == "There are no API keys.\n"
