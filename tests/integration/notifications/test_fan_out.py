"""Events become deliveries: each once for each endpoint that wants it, with a frozen body."""

import json
from collections.abc import Sequence
from uuid import UUID, uuid4

import pytest
from sqlalchemy import event, text
from sqlalchemy.orm import Session

from core.bidlog.incidents import Incident, record
from core.notifications.shop_events import SETTING_ENDPOINT
from core.postgres.models import DELETED_MEMBER, ShopEvent, WebhookDelivery, WebhookEndpoint
from tests.integration.notifications.receiving import Receiver, told_session, webhooks
from tests.support.crashing import Killed
from tests.support.factories import Shop

ROWS = "SELECT url, event FROM webhook_deliveries JOIN webhook_endpoints e ON e.id = endpoint_id"


def endpoint(shop: Shop, name: str, events: Sequence[str], state: str = "enabled") -> None:
    with shop.services.database.begin() as db:
        db.add(WebhookEndpoint(url=name, secret="whsec_", events=list(events), state=state))


def happen(shop: Shop, *kinds: str) -> None:
    with shop.services.database.begin() as db:
        db.add_all(ShopEvent(event=kind, subject_id=uuid4(), data={}) for kind in kinds)


def fan_out(shop: Shop) -> int:
    return shop.services.webhooks.fan_out(seconds=30)


def test_each_event_goes_once_to_each_endpoint_that_wants_it(shop: Shop) -> None:
    endpoint(shop, "both", ["offer.opened", "offer.paid"])
    endpoint(shop, "paid", ["offer.paid"])
    endpoint(shop, "paused", ["offer.paid"], state="paused")
    endpoint(shop, "disabled", ["offer.paid"], state="disabled")
    happen(shop, "offer.opened", "offer.paid", "session.created")
    assert [fan_out(shop) for _ in range(2)] == [3, 0]
    assert sorted(shop.rows(ROWS)) == [
        ("both", "offer.opened"),
        ("both", "offer.paid"),
        ("paid", "offer.paid"),
        ("paused", "offer.paid"),
    ]


def test_a_fan_out_that_is_killed_has_done_nothing_and_the_next_does_all(shop: Shop) -> None:
    endpoint(shop, "shop", ["offer.paid"])
    happen(shop, "offer.paid")
    event.listen(shop.services.database, "before_commit", die)
    try:
        with pytest.raises(Killed):
            fan_out(shop)
    finally:
        event.remove(shop.services.database, "before_commit", die)
    assert shop.rows(ROWS) == []
    fan_out(shop)
    assert shop.rows(ROWS) == [("shop", "offer.paid")]


def die(_: Session) -> None:
    raise Killed


def test_an_event_marked_in_another_transaction_would_be_lost(shop: Shop) -> None:
    """Without the guard: it is marked first, and the process dies."""
    endpoint(shop, "shop", ["offer.paid"])
    happen(shop, "offer.paid")
    with shop.services.engine.begin() as connection:
        connection.execute(text("UPDATE shop_events SET delivered_at = now()"))
    fan_out(shop)
    assert shop.rows(ROWS) == []


def test_a_waiting_delivery_of_an_earlier_version_is_sent(shop: Shop, receiver: Receiver) -> None:
    session = told_session(shop)
    with shop.services.engine.begin() as connection:
        connection.execute(text("DELETE FROM webhook_deliveries; DELETE FROM shop_events"))
    with shop.services.database.begin() as db:
        db.add(old := WebhookDelivery(session_id=session.session_id, event="session.ended"))
    sender = webhooks(shop, receiver)
    sender.deliver_due(seconds=30)
    assert receiver.got == []
    assert [sender.fan_out(seconds=30) for _ in range(2)] == [1, 0]
    sender.deliver_due(seconds=30)
    [(headers, body)] = receiver.got
    assert headers["webhook-id"] == str(old.id)
    assert json.loads(body)["data"]["total_bidders"] == 3
    assert shop.rows("SELECT endpoint_id FROM webhook_deliveries") == [(SETTING_ENDPOINT,)]


def test_a_message_stays_as_it_was_at_the_event(shop: Shop, receiver: Receiver) -> None:
    told_session(shop)
    receiver.answers = [500]
    sender = webhooks(shop, receiver)
    receiver.meanwhile = lambda: rename_product(shop)
    sender.deliver_due(seconds=30)
    [first, second] = [body for _, body in receiver.got]
    assert first == second
    # Created, opened and closed.
    assert json.loads(first)["data"]["version"] == 3


def rename_product(shop: Shop) -> None:
    with shop.services.engine.begin() as connection:
        connection.execute(text("UPDATE products SET name = 'another'"))


def test_a_message_forgets_an_erased_member(shop: Shop, receiver: Receiver) -> None:
    told_session(shop)
    winner, *_ = event_data(shop)["winners"]
    shop.services.erasure.erase(UUID(winner["user_id"]))
    assert event_data(shop)["winners"][0]["username"] == DELETED_MEMBER
    assert winner["username"] not in str(shop.rows("SELECT data FROM shop_events"))
    webhooks(shop, receiver).deliver_due(seconds=30)
    [(_, body)] = receiver.got
    assert winner["username"] not in body.decode()


def event_data(shop: Shop) -> dict[str, list[dict[str, str]]]:
    [(data,)] = shop.rows("SELECT data FROM shop_events WHERE event = 'session.ended'")
    return dict(data)


@pytest.mark.parametrize(
    ("kind", "details", "told"),
    [
        (Incident.BID_LOG_GAP, {"first_missing": 3, "last_missing": 5}, [(3, 5)]),
        (Incident.REDIS_LOST, {"persisted_sequence": 4, "next_sequence": 9}, [(5, 8)]),
        (Incident.BIDS_AFTER_END, {"sequences": [7]}, []),
    ],
)
def test_the_shop_hears_of_lost_bids(
    shop: Shop, kind: Incident, details: dict[str, int], told: list[tuple[int, int]]
) -> None:
    session_id = shop.session().session_id
    with shop.services.database.begin() as db:
        record(db, session_id, kind, **details)
    lost = shop.rows("SELECT data FROM shop_events WHERE event = 'bids.lost'")
    assert [(data["first_sequence"], data["last_sequence"]) for (data,) in lost] == told
