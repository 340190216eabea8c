"""Webhooks against a real HTTP server; signatures checked with another's code."""

import json
import re
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from flask import Flask, request
from standardwebhooks.webhooks import Webhook, WebhookVerificationError
from werkzeug.serving import WSGIRequestHandler, make_server

from core import errors
from core.config import PROJECT_ROOT
from core.notifications.outbox import DeliveryStatus
from core.telemetry.metrics import REGISTRY
from tests.integration.notifications.receiving import (
    KEY,
    NO_MORE,
    Receiver,
    listening,
    only_delivery,
    told_session,
    webhooks,
)
from tests.support.crashing import Killed
from tests.support.factories import Shop
from web import create_app

SECRET = f"whsec_{b64encode(KEY).decode()}"


def test_the_shop_is_told_once_with_a_right_signature(shop: Shop, receiver: Receiver) -> None:
    session, sender = told_session(shop), webhooks(shop, receiver)
    for _ in range(2):
        sender.deliver_due(seconds=30)
    [(headers, body)] = receiver.got
    message = Webhook(SECRET).verify(body, headers)
    assert message["type"] == "session.ended"
    assert message["data"]["session_id"] == str(session.session_id)
    winners = message["data"]["winners"]
    assert [winner["price"] for winner in winners] == [150.0, 149.0]
    assert [winner["price_to_pay"] for winner in winners] == [150.0, 149.0]
    assert message["data"]["currency"] == "EUR"
    assert (message["data"]["total_bidders"], message["data"]["final_price"]) == (3, 149.0)
    assert headers["webhook-id"] == str(only_delivery(sender).delivery_id)
    assert only_delivery(sender).status is DeliveryStatus.DELIVERED


def test_a_session_without_bids_is_told_too(shop: Shop, receiver: Receiver) -> None:
    told_session(shop, bidders=0)
    webhooks(shop, receiver).deliver_due(seconds=30)
    [(_, body)] = receiver.got
    data = json.loads(body)["data"]
    assert (data["winners"], data["final_price"]) == ([], None)


def test_a_changed_body_has_no_right_signature(shop: Shop, receiver: Receiver) -> None:
    told_session(shop)
    webhooks(shop, receiver).deliver_due(seconds=30)
    [(headers, body)] = receiver.got
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(body.replace(b"150.0", b"1.0"), headers)


@pytest.mark.parametrize("refusal", [500, 503, 400, 404, 301, 307])
def test_a_refused_message_is_sent_again_under_the_same_id(
    shop: Shop, receiver: Receiver, refusal: int
) -> None:
    told_session(shop)
    sender = webhooks(shop, receiver)
    receiver.answers = [refusal]
    sender.deliver_due(seconds=30)
    assert [headers["webhook-id"] for headers, _ in receiver.got] == [
        str(only_delivery(sender).delivery_id)
    ] * 2
    assert (only_delivery(sender).status, only_delivery(sender).attempts) == (
        DeliveryStatus.DELIVERED,
        2,
    )


def test_retries_wait_for_their_time(shop: Shop, receiver: Receiver) -> None:
    told_session(shop)
    sender = webhooks(shop, receiver, (NO_MORE,))
    receiver.answers = [500]
    for _ in range(2):
        sender.deliver_due(seconds=30)
    delivery = only_delivery(sender)
    assert (delivery.status, delivery.last_error) == (DeliveryStatus.WAITING, "answered 500")
    assert len(receiver.got) == 1
    assert delivery.next_attempt_at - delivery.created_at > timedelta(minutes=59)


@pytest.mark.parametrize(("answers", "attempts"), [([500] * 9, 4), ([410], 1)])
def test_a_message_is_given_up_after_the_last_retry_or_when_the_receiver_is_gone(
    shop: Shop, receiver: Receiver, answers: list[int], attempts: int
) -> None:
    told_session(shop)
    sender = webhooks(shop, receiver)
    receiver.answers = answers
    before = {outcome: counted(outcome) for outcome in ("failed", "given_up")}
    sender.deliver_due(seconds=30)
    delivery = only_delivery(sender)
    assert (delivery.status, delivery.attempts) == (DeliveryStatus.GIVEN_UP, attempts)
    assert counted("failed") == before["failed"] + attempts - 1
    assert counted("given_up") == before["given_up"] + 1
    assert sender.backlog().given_up == 1


def test_a_replay_sends_the_message_again_under_its_old_id(shop: Shop, receiver: Receiver) -> None:
    told_session(shop)
    sender = webhooks(shop, receiver)
    sender.deliver_due(seconds=30)
    sender.replay(only_delivery(sender).delivery_id)
    assert only_delivery(sender).status is DeliveryStatus.WAITING
    sender.deliver_due(seconds=30)
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1
    assert len(receiver.got) == 2
    with pytest.raises(errors.DeliveryNotFound):
        sender.replay(uuid4())


def test_a_dead_receiver_is_noted_without_its_address(
    shop: Shop, receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    told_session(shop)
    receiver.url = "http://127.0.0.1:1/hook?token=hidden"
    sender = webhooks(shop, receiver, (NO_MORE,))
    sender.deliver_due(seconds=30)
    assert only_delivery(sender).last_error == "ConnectionRefusedError"
    said = capsys.readouterr()
    assert "hidden" not in said.out + said.err


def test_a_message_given_up_reaches_the_receiver_that_is_back_by_replay(
    shop: Shop, receiver: Receiver
) -> None:
    told_session(shop)
    url, receiver.url = receiver.url, "http://127.0.0.1:1/hook"
    dead = webhooks(shop, receiver)
    dead.deliver_due(seconds=30)
    delivery_id = only_delivery(dead).delivery_id
    assert only_delivery(dead).status is DeliveryStatus.GIVEN_UP
    receiver.url = url
    back = webhooks(shop, receiver)
    back.deliver_due(seconds=30)
    assert receiver.got == []

    app = create_app(services=replace(shop.services, webhooks=back))
    with app.app_context():
        done = app.test_cli_runner().invoke(args=["replay-webhook", str(delivery_id)])

    assert done.exit_code == 0, done.output
    back.deliver_due(seconds=30)
    [(headers, body)] = receiver.got
    assert Webhook(SECRET).verify(body, headers)["type"] == "session.ended"
    assert headers["webhook-id"] == str(delivery_id)
    assert (only_delivery(back).status, only_delivery(back).attempts) == (
        DeliveryStatus.DELIVERED,
        1,
    )


@pytest.fixture
def order_system() -> Iterator[tuple[Receiver, list[Any]]]:
    """A shop with the lines that docs/reference/webhooks.md prints, and the orders they made."""
    [sample] = re.findall(
        r"```python\n(.*?)```",
        (PROJECT_ROOT / "docs" / "reference" / "webhooks.md").read_text(),
        re.DOTALL,
    )
    orders: list[Any] = []
    app = Flask("shop")
    names = {"app": app, "request": request, "Webhook": Webhook, "SECRET": SECRET}
    exec(sample, names | {"create_orders": lambda *order: orders.append(order)})  # noqa: S102
    server = make_server("127.0.0.1", 0, app, request_handler=Silent)
    with listening(server):
        yield Receiver(f"http://127.0.0.1:{server.server_port}/flashbid"), orders


class Silent(WSGIRequestHandler):
    def log_request(self, *_: Any) -> None:
        pass


def test_the_documented_lines_turn_winners_into_orders(
    shop: Shop, order_system: tuple[Receiver, list[Any]]
) -> None:
    receiver, orders = order_system
    session, sender = told_session(shop), webhooks(shop, receiver)
    sender.deliver_due(seconds=30)
    assert only_delivery(sender).status is DeliveryStatus.DELIVERED
    [(session_id, winners)] = orders
    assert session_id == str(session.session_id)
    assert [winner["price"] for winner in winners] == [150.0, 149.0]


def test_the_documented_lines_take_no_order_from_a_stranger(
    shop: Shop, order_system: tuple[Receiver, list[Any]]
) -> None:
    receiver, orders = order_system
    told_session(shop)
    sender = webhooks(shop, receiver, (NO_MORE,), key=b"another key, as long as ours")
    sender.deliver_due(seconds=30)
    assert orders == []
    assert only_delivery(sender).last_error == "answered 500"


def test_a_crash_between_sending_and_noting_repeats_what_was_on_its_way_alone(
    shop: Shop, receiver: Receiver
) -> None:
    for _ in range(2):
        told_session(shop)
    sender = webhooks(shop, receiver)

    def die(*_: Any) -> None:
        raise Killed

    sender._settle = die  # type: ignore[method-assign]
    with pytest.raises(Killed):
        sender.deliver_due(seconds=30)
    alive = webhooks(shop, receiver)
    alive.deliver_due(seconds=30)
    ids = [headers["webhook-id"] for headers, _ in receiver.got]
    # The second may have been on its way.
    assert (len(ids) in {3, 4}, len(set(ids))) == (True, 2)
    assert alive.backlog().waiting == 0


def test_while_one_process_delivers_another_leaves_at_once(shop: Shop, receiver: Receiver) -> None:
    told_session(shop)
    sender = webhooks(shop, receiver)
    with sender._outbox.turn(seconds=30) as is_ours:
        assert is_ours
        assert webhooks(shop, receiver).deliver_due(seconds=30).attempts == 0
    assert receiver.got == []


def test_a_channel_that_is_off_keeps_nothing_for_later(shop: Shop) -> None:
    session = shop.session()
    shop.bid(shop.bidder(), session, "150")
    shop.close(session)
    shop.services.announcing.announce(session.session_id, seconds=30)
    assert [(each.is_on, each.waiting) for each in shop.services.channels.read()] == [
        (False, 0),
        (False, 0),
    ]


def counted(outcome: str) -> float:
    labels = {"channel": "webhook", "outcome": outcome}
    return REGISTRY.get_sample_value("flashbid_notifications_total", labels) or 0
