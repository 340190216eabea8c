"""Endpoints: side by side, signed while secrets rotate, disabled, and where they may be."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from ipaddress import ip_network
from threading import Event
from uuid import UUID

import pytest
from sqlalchemy import text
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from core import errors
from core.notifications.endpoints import Endpoints, EndpointView
from core.notifications.outbox import DeliveryStatus
from core.notifications.shop_events import SETTING_ENDPOINT
from core.notifications.webhooks import PER_ENDPOINT, Webhooks
from core.postgres.models import ShopEvent
from core.rules.destinations import Destinations
from tests.integration.notifications.receiving import (
    AT_ONCE,
    NO_MORE,
    Receiver,
    receiving,
    told_session,
    webhooks,
)
from tests.support.factories import Shop

HERE = Destinations((ip_network("127.0.0.0/8"), ip_network("::1/128")))
PAID = "offer.paid"


@pytest.fixture
def endpoints(shop: Shop) -> Endpoints:
    return Endpoints(shop.services.database, None, HERE)


def sender(
    shop: Shop,
    retry_delays: tuple[timedelta, ...] = AT_ONCE,
    destinations: Destinations = HERE,
) -> Webhooks:
    services = shop.services
    return Webhooks(
        services.database, services.runtime.loop, None, destinations, retry_delays=retry_delays
    )


def pay(shop: Shop, times: int = 1) -> None:
    """Events that are delivered next."""
    with shop.services.database.begin() as db:
        db.add_all(
            ShopEvent(event=PAID, subject_id=UUID(int=number), data={"number": number})
            for number in range(times)
        )
    sender(shop).fan_out(seconds=30)


def only(endpoints: Endpoints) -> EndpointView:
    [found], _ = endpoints.list(page=1, page_size=50)
    return found


def execute(shop: Shop, statement: str, **names: str) -> None:
    with shop.services.engine.begin() as connection:
        connection.execute(text(statement), names)


# --- Side by side ----------------------------------------------------------------------


@pytest.fixture
def receivers() -> Iterator[list[Receiver]]:
    with ExitStack() as stack:
        yield [stack.enter_context(receiving()) for _ in range(2)]


def test_an_endpoint_that_hangs_delays_no_other(
    shop: Shop, endpoints: Endpoints, receivers: list[Receiver]
) -> None:
    """One answers only when the other has got everything."""
    hanging, healthy = receivers
    messages, all_got = 3 * PER_ENDPOINT, Event()
    hanging.meanwhile = lambda: all_got.wait(60)
    healthy.meanwhile = lambda: len(healthy.got) == messages and all_got.set()
    for receiver in receivers:
        endpoints.add(receiver.url, [PAID])
    pay(shop, messages)
    sender(shop).deliver_due(seconds=60)
    assert shop.rows("SELECT DISTINCT attempts, last_error FROM webhook_deliveries") == [(1, None)]
    assert len(hanging.got) == messages


def test_a_message_that_comes_while_another_endpoint_hangs_is_sent(
    shop: Shop, endpoints: Endpoints, receivers: list[Receiver]
) -> None:
    hanging, healthy = receivers
    got = Event()
    endpoints.add(hanging.url, [PAID])
    pay(shop)
    quick = endpoints.add(healthy.url, [PAID]).endpoint

    def test_the_other() -> None:
        endpoints.test(quick.endpoint_id)
        assert got.wait(60)

    hanging.meanwhile, healthy.meanwhile = test_the_other, got.set
    sender(shop).deliver_due(seconds=60)
    assert (len(hanging.got), len(healthy.got)) == (1, 1)
    assert shop.rows("SELECT DISTINCT attempts, last_error FROM webhook_deliveries") == [(1, None)]


def test_a_replay_of_a_message_on_its_way_is_sent_again(
    shop: Shop, endpoints: Endpoints, receiver: Receiver
) -> None:
    endpoints.add(receiver.url, [PAID])
    pay(shop)
    [(delivery_id,)] = shop.rows("SELECT id FROM webhook_deliveries")
    receiver.meanwhile = lambda: len(receiver.got) == 1 and sender(shop).replay(delivery_id)
    sender(shop).deliver_due(seconds=30)
    assert [headers["webhook-id"] for headers, _ in receiver.got] == [str(delivery_id)] * 2


@pytest.mark.parametrize(
    "fault",
    [
        "UPDATE webhook_endpoints SET secret = 'whsec_no' WHERE url LIKE '%broken'",
        "UPDATE webhook_endpoints SET url = 'https://[::1' WHERE url LIKE '%broken'",
    ],
)
def test_an_endpoint_with_any_fault_fails_alone(
    shop: Shop, endpoints: Endpoints, receiver: Receiver, fault: str
) -> None:
    endpoints.add("https://shop.example/broken", [PAID])
    endpoints.add(receiver.url, [PAID])
    pay(shop)
    execute(shop, fault)
    sender(shop, (NO_MORE,)).deliver_due(seconds=30)
    assert len(receiver.got) == 1
    assert sender(shop).backlog().waiting == 1


# --- Signatures ------------------------------------------------------------------------


def test_a_rotated_secret_signs_for_a_day_and_then_no_more(
    shop: Shop, endpoints: Endpoints, receiver: Receiver
) -> None:
    made = endpoints.add(receiver.url, [PAID])
    rotated = endpoints.rotate_secret(made.endpoint.endpoint_id)
    assert rotated.secret != made.secret
    pay(shop)
    sender(shop).deliver_due(seconds=30)
    [(headers, body)] = receiver.got
    for secret in (made.secret, rotated.secret):
        assert Webhook(secret).verify(body, headers)["type"] == PAID

    execute(shop, "UPDATE webhook_endpoints SET previous_secret_until = now()")
    pay(shop)
    sender(shop).deliver_due(seconds=30)
    headers, body = receiver.got[-1]
    Webhook(rotated.secret).verify(body, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(made.secret).verify(body, headers)


def test_neither_a_secret_nor_an_address_is_shown(
    shop: Shop,
    endpoints: Endpoints,
    receiver: Receiver,
    said: Callable[[], str],
) -> None:
    made = endpoints.add(receiver.url, [PAID])
    receiver.answers = [500]
    pay(shop)
    sender(shop, (NO_MORE,)).deliver_due(seconds=30)
    assert "delivery_failed" in said()
    for hidden in ("token=hidden", made.secret):
        assert hidden not in said()
    assert made.secret not in repr(made)
    assert "secret" not in repr(only(endpoints)).replace("previous_secret_until", "")


# --- States ----------------------------------------------------------------------------


def test_an_endpoint_that_is_gone_is_disabled_and_can_be_enabled_again(
    shop: Shop, endpoints: Endpoints, receiver: Receiver, said: Callable[[], str]
) -> None:
    made = endpoints.add(receiver.url, [PAID]).endpoint
    receiver.answers = [410]
    pay(shop)
    sender(shop).deliver_due(seconds=30)
    found = only(endpoints)
    assert (found.state, found.state_reason) == ("disabled", "answered 410")
    assert "webhook_endpoint_disabled" in said()
    webhook = shop.services.channels.read()[1]
    assert (webhook.is_on, webhook.given_up, webhook.disabled_endpoints) == (True, 1, 1)
    pay(shop)
    assert sender(shop).deliver_due(seconds=30).attempts == 0

    endpoints.change(made.endpoint_id, paused=False)
    pay(shop)
    sender(shop).deliver_due(seconds=30)
    assert [len(receiver.got), only(endpoints).state] == [2, "enabled"]


@pytest.mark.parametrize(
    ("failing_for", "answer", "after"),
    [
        ("4 days", 500, ("enabled", True)),
        ("5 days", 500, ("disabled", True)),
        ("5 days", 204, ("enabled", False)),
    ],
)
def test_days_of_nothing_but_failure_disable(
    shop: Shop,
    endpoints: Endpoints,
    receiver: Receiver,
    failing_for: str,
    answer: int,
    after: tuple[str, bool],
) -> None:
    endpoints.add(receiver.url, [PAID])
    execute(
        shop,
        "UPDATE webhook_endpoints SET failing_since = now() - cast(:age AS interval)",
        age=failing_for,
    )
    receiver.answers = [answer]
    pay(shop)
    sender(shop, (NO_MORE,)).deliver_due(seconds=30)
    found = only(endpoints)
    assert (found.state, found.failing_since is not None) == after


def test_a_paused_endpoint_gets_its_messages_later_and_a_test_at_once(
    shop: Shop, endpoints: Endpoints, receiver: Receiver
) -> None:
    made = endpoints.add(receiver.url, [PAID]).endpoint
    endpoints.add(receiver.url + "&other", [PAID])
    endpoints.change(made.endpoint_id, paused=True)
    pay(shop)
    endpoints.test(made.endpoint_id)
    sender(shop).deliver_due(seconds=30)
    assert sorted(types(receiver)) == [PAID, "webhook.test"]
    endpoints.change(made.endpoint_id, paused=False)
    sender(shop).deliver_due(seconds=30)
    assert sorted(types(receiver)) == [PAID, PAID, "webhook.test"]


def types(receiver: Receiver) -> list[str]:
    return [json.loads(body)["type"] for _, body in receiver.got]


def test_the_endpoint_of_the_settings_is_listed_and_paused_but_not_moved(
    shop: Shop, receiver: Receiver
) -> None:
    by_setting = webhooks(shop, receiver)
    endpoints = Endpoints(shop.services.database, by_setting._settings, HERE)
    assert (only(endpoints).endpoint_id, only(endpoints).url) == (SETTING_ENDPOINT, None)
    endpoints.change(SETTING_ENDPOINT, paused=True)
    told_session(shop)
    by_setting.deliver_due(seconds=30)
    assert receiver.got == []
    for refused in (
        lambda: endpoints.change(SETTING_ENDPOINT, url=receiver.url),
        lambda: endpoints.rotate_secret(SETTING_ENDPOINT),
        lambda: endpoints.delete(SETTING_ENDPOINT),
    ):
        with pytest.raises(errors.EndpointBySetting):
            refused()
    with pytest.raises(errors.EndpointNotFound):
        replace_settings(endpoints).change(SETTING_ENDPOINT, paused=False)


def replace_settings(endpoints: Endpoints) -> Endpoints:
    """The same endpoints, without WEBHOOK_URL."""
    return Endpoints(endpoints._database, None, HERE)


# --- Addresses -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "127.1",
        "0.0.0.0",  # noqa: S104 - it reaches this machine, too
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
    ],
)
def test_however_this_machine_is_spelled_nothing_is_sent_to_it(
    shop: Shop, endpoints: Endpoints, receiver: Receiver, host: str
) -> None:
    url = receiver.url.replace("http://127.0.0.1", f"https://{host}")
    endpoints.add(url, [PAID])
    pay(shop)
    sender(shop, (NO_MORE,), Destinations()).deliver_due(seconds=30)
    assert shop.rows("SELECT last_error FROM webhook_deliveries") == [("address not allowed",)]


def test_plain_http_goes_to_allowed_networks_alone(
    shop: Shop, endpoints: Endpoints, receiver: Receiver
) -> None:
    endpoints.add(receiver.url, [PAID])
    endpoints.add("http://203.0.113.1/hook", [PAID])
    pay(shop)
    sender(shop, (NO_MORE,)).deliver_due(seconds=30)
    assert len(receiver.got) == 1
    found, _ = sender(shop).list(DeliveryStatus.WAITING, page=1, page_size=50)
    assert [each.last_error for each in found] == ["address not allowed"]
    without = Endpoints(shop.services.database, None, Destinations())
    with pytest.raises(errors.InvalidWebhookUrl):
        without.add("http://203.0.113.1/hook", [PAID])


def test_a_redirect_is_not_followed(
    shop: Shop, endpoints: Endpoints, receivers: list[Receiver]
) -> None:
    first, second = receivers
    endpoints.add(first.url, [PAID])
    first.url, first.answers = second.url, [307]
    pay(shop)
    sender(shop, (NO_MORE,)).deliver_due(seconds=30)
    assert (len(first.got), second.got) == (1, [])
