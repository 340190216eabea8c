"""What the admin sees of the channels, and the command that replays a webhook."""

from collections.abc import Callable
from dataclasses import replace
from email.headerregistry import Address
from uuid import uuid4

import pytest
from flask import Flask

from core.bootstrap import Services
from core.config.channels import MailSettings, Tls, WebhookSettings
from core.notifications.announcing import Announcing
from core.notifications.email import Mailer
from core.notifications.shop_events import fan_out
from core.notifications.webhooks import Webhooks
from tests.api.conftest import CheckedClient
from tests.support.factories import Shop
from web import create_app

# Nobody listens there, and nobody is called: no worker runs.
SETTINGS = WebhookSettings("http://127.0.0.1:1/hook", b"0" * 32)
Run = Callable[..., tuple[int, str]]


@pytest.fixture
def told(shop: Shop, admin: CheckedClient) -> None:
    session = shop.session()
    shop.bid(shop.bidder(), session, "150")
    shop.close(session)
    Announcing(shop.services.database, by_email=True).announce(session.session_id, seconds=30)
    with shop.services.database.begin() as db:
        fan_out(db, by_setting=True)


@pytest.fixture
def run(services: Services) -> Run:
    """Run a command of an application whose webhooks are on."""
    webhooks = Webhooks(services.database, services.runtime.loop, SETTINGS)
    app = create_app(services=replace(services, webhooks=webhooks))
    return lambda *words: _run(app, *words)


def _run(app: Flask, *words: str) -> tuple[int, str]:
    # The `flask` program gives its commands this context.
    with app.app_context():
        done = app.test_cli_runner().invoke(args=list(words))
    return done.exit_code, done.output


def test_channels_say_whether_they_are_on_and_what_waits(admin: CheckedClient, told: None) -> None:
    assert admin.get("/api/admin/channels").json == [
        {
            "channel": name,
            "is_on": is_on,
            "waiting": 1,
            "given_up": 0,
            "disabled_endpoints": 0,
        }
        for name, is_on in (("email", False), ("webhook", True))
    ]


def test_deliveries_are_listed_by_status(admin: CheckedClient, told: None) -> None:
    [delivery] = admin.get("/api/admin/webhook-deliveries").json
    assert (delivery["event"], delivery["status"], delivery["attempts"]) == (
        "session.ended",
        "waiting",
        0,
    )
    counts = {}
    for status in ("waiting", "delivered", "given_up"):
        answer = admin.get(f"/api/admin/webhook-deliveries?status={status}")
        counts[status] = int(answer.headers["X-Total-Count"])
    assert counts == {"waiting": 1, "delivered": 0, "given_up": 0}
    refused = admin.get("/api/admin/webhook-deliveries?status=lost")
    assert (refused.status_code, refused.json["code"]) == (422, "validation_failed")


def test_an_email_is_listed_with_its_attempts_and_its_last_error(
    admin: CheckedClient, told: None, shop: Shop
) -> None:
    with shop.services.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM users WHERE username <> 'ada'")
    settings = MailSettings("127.0.0.1", 1, "", "", Address("", "a", "b.example"), Tls.NONE)
    mailer = Mailer(shop.services.database, shop.services.runtime.loop, settings)
    mailer.deliver_due(seconds=30)
    [email] = admin.get("/api/admin/email-deliveries?status=given_up").json
    assert (email["attempts"], email["last_error"]) == (1, "the account is gone")
    [(notification_id, user_id)] = shop.rows("SELECT id, user_id FROM notifications")
    assert (email["delivery_id"], email["user_id"]) == (str(notification_id), str(user_id))
    for status, count in (("waiting", "0"), ("delivered", "0"), ("given_up", "1")):
        answer = admin.get(f"/api/admin/email-deliveries?status={status}")
        assert answer.headers["X-Total-Count"] == count


def test_a_delivery_is_replayed_by_command(
    admin: CheckedClient, shop: Shop, told: None, run: Run
) -> None:
    with shop.services.engine.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE webhook_deliveries SET next_attempt_at = NULL, delivered_at = now()"
        )
    [delivery] = admin.get("/api/admin/webhook-deliveries?status=delivered").json
    code, _ = run("replay-webhook", delivery["delivery_id"])
    assert code == 0
    [replayed] = admin.get("/api/admin/webhook-deliveries?status=waiting").json
    assert replayed["delivery_id"] == delivery["delivery_id"]


def test_a_delivery_that_nobody_made_is_not_replayed(shop: Shop, run: Run) -> None:
    code, said = run("replay-webhook", str(uuid4()))
    assert (code, "No webhook delivery" in said) == (1, True)


def test_nothing_is_replayed_while_the_channel_is_off(app: Flask, shop: Shop) -> None:
    code, said = _run(app, "replay-webhook", str(uuid4()))
    assert (code, "WEBHOOK_URL" in said) == (1, True)
