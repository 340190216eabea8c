"""Members hear that their offer has ended, and operators when none ends."""

from math import inf
from typing import Any

import pytest

from core.operations.gauges import StateGauges
from core.orders.places import OfferState
from tests.integration.news.outbidding import change
from tests.integration.notifications.mail import Mailbox, mailer
from tests.integration.orders.offering import expire, offer_of, sold
from tests.support.factories import Shop

ENDED = """
    SELECT username, kind FROM notifications JOIN users ON users.id = user_id
     WHERE kind = 'offer_ended' ORDER BY username
"""


def messages(shop: Shop, username: str) -> list[tuple[str, str]]:
    [(user_id,)] = shop.rows("SELECT id FROM users WHERE username = :name", name=username)
    found, _ = shop.services.notifications.of_member(
        user_id, unread_only=False, page=1, page_size=50
    )
    return [(notice.kind, notice.message) for notice in found]


def sweep(shop: Shop) -> int:
    return shop.services.offers.sweep(seconds=inf).expired


def test_a_member_whose_offer_expires_is_told_once(shop: Shop) -> None:
    sold(shop, 3, inventory=2)
    expire(shop, "rank = 1")
    assert (sweep(shop), sweep(shop)) == (1, 0)
    assert shop.rows(ENDED) == [("rank1", "offer_ended")]
    assert messages(shop, "rank1") == [
        ("offer_ended", "Your offer of Item has expired: it was not paid in time.")
    ]


def test_a_member_whose_offer_is_withdrawn_is_told_once(shop: Shop) -> None:
    session = sold(shop, 2, inventory=1)
    for _ in range(2):
        shop.services.offers.settle(
            session.session_id, offer_of(shop, 1), OfferState.WITHDRAWN, hand_on=False
        )
    assert messages(shop, "rank1") == [
        ("offer_ended", "The shop has withdrawn its offer of Item to you.")
    ]
    assert messages(shop, "rank2") == []


@pytest.mark.parametrize("state", [OfferState.PAID, OfferState.DECLINED])
def test_a_member_who_has_paid_or_declined_knows(shop: Shop, state: OfferState) -> None:
    session = sold(shop, 1, inventory=1)
    shop.services.offers.settle(session.session_id, offer_of(shop, 1), state)
    assert shop.rows(ENDED) == []


def test_an_end_found_by_a_payment_that_is_too_late_is_told(shop: Shop) -> None:
    session = sold(shop, 1, inventory=1)
    expire(shop)
    with pytest.raises(Exception, match="has expired"):
        shop.services.offers.settle(session.session_id, offer_of(shop, 1), OfferState.PAID)
    assert shop.rows(ENDED) == [("rank1", "offer_ended")]


def test_the_end_of_an_offer_comes_by_email(shop: Shop, port: int, mailbox: Mailbox) -> None:
    sold(shop, 1, inventory=1)
    expire(shop)
    sweep(shop)
    change(shop, "INSERT INTO email_deliveries (notification_id) SELECT id FROM notifications")
    mailer(shop, port).deliver_due(seconds=30)
    assert [message["Subject"] for message in mailbox.got] == ["Your offer has ended"]


def overdue_seconds(shop: Shop) -> float:
    services = shop.services
    gauges: Any = StateGauges(services.database, services.redis, services.backlog).collect()
    [gauge] = [each for each in gauges if each.name == "flashbid_offers_overdue_seconds"]
    return float(gauge.samples[0].value)


def test_offers_that_are_open_after_their_deadline_show_in_a_gauge(shop: Shop) -> None:
    sold(shop, 2, inventory=2)
    assert overdue_seconds(shop) == 0
    change(
        shop,
        "UPDATE offers SET expires_at = clock_timestamp() - INTERVAL '90 seconds' WHERE rank = 2",
    )
    assert 90 <= overdue_seconds(shop) < 600
    sweep(shop)
    assert overdue_seconds(shop) == 0
