"""Admins hear of disabled endpoints, and old events of endpoints are deleted."""

from uuid import UUID

from core.bidding.placing import Bidder
from core.notifications.endpoints import record_failure
from core.postgres.models import WebhookDelivery, WebhookEndpoint
from core.sessions.sessions import SessionView
from tests.integration.news.outbidding import change, notices
from tests.support.factories import Shop

OLD = "UPDATE shop_events SET created_at = now() - INTERVAL '31 days'"
IDS = "SELECT id FROM shop_events"


def endpoint(shop: Shop) -> UUID:
    row = WebhookEndpoint(
        url="https://shop.example/", secret="whsec_", events=["session.ended", "offer.opened"]
    )
    with shop.services.database.begin() as db:
        db.add(row)
        db.flush()
        return row.id


def test_admins_are_told_once_that_an_endpoint_was_disabled(shop: Shop) -> None:
    admin, member, other = (shop.bidder() for _ in range(3))
    shop.services.membership.promote(other.username)
    endpoint_id = endpoint(shop)
    for _ in range(2):
        record_failure(shop.services.database, endpoint_id, is_gone=True)
    for told in (admin, other):
        [notice] = notices(shop, told)
        assert (notice.kind, notice.session_id) == ("webhook_disabled", None)
        assert notice.message.startswith("A webhook endpoint was disabled because it failed.")
    assert notices(shop, member) == []


def test_a_failure_that_disables_nothing_tells_nobody(shop: Shop) -> None:
    admin: Bidder = shop.bidder()
    record_failure(shop.services.database, endpoint(shop), is_gone=False)
    assert notices(shop, admin) == []


def purge(shop: Shop) -> int:
    return shop.services.webhooks.purge_events(seconds=30)


def closed(shop: Shop) -> SessionView:
    """A session that is over, with events for an endpoint and their deliveries."""
    endpoint(shop)
    session = shop.session()
    shop.bid(shop.bidder(), session, "150")
    shop.close(session)
    shop.services.announcing.announce(session.session_id, seconds=30)
    shop.services.webhooks.fan_out(seconds=30)
    return session


def settle(shop: Shop) -> None:
    change(shop, "UPDATE webhook_deliveries SET next_attempt_at = NULL, delivered_at = now()")


def test_old_events_are_deleted_with_the_log_of_their_deliveries(shop: Shop) -> None:
    closed(shop)
    settle(shop)
    [(events,)] = shop.rows("SELECT count(*) FROM shop_events")
    assert events > 2
    assert shop.rows("SELECT count(*) FROM webhook_deliveries") == [(2,)]
    assert purge(shop) == 0, "none is old"
    change(shop, OLD)
    assert (purge(shop), purge(shop)) == (events, 0)
    assert shop.rows("SELECT * FROM webhook_deliveries") == shop.rows(IDS) == []


def test_an_event_stays_while_a_delivery_of_it_waits(shop: Shop) -> None:
    closed(shop)
    settle(shop)
    change(
        shop,
        "UPDATE webhook_deliveries SET next_attempt_at = now(), delivered_at = NULL"
        " WHERE event = 'session.ended'",
    )
    change(shop, OLD)
    purge(shop)
    assert shop.rows("SELECT event FROM shop_events") == [("session.ended",)]
    assert shop.rows("SELECT event FROM webhook_deliveries") == [("session.ended",)]


def test_an_event_stays_until_its_deliveries_are_written(shop: Shop) -> None:
    session = shop.session()
    shop.close(session)
    change(shop, OLD)
    assert purge(shop) == 0


def test_an_event_stays_while_its_session_is_not_over(shop: Shop) -> None:
    session = shop.session()
    shop.services.webhooks.fan_out(seconds=30)
    change(shop, OLD)
    assert purge(shop) == 0
    shop.close(session)
    assert purge(shop) == 2


def test_an_event_of_no_session_is_deleted(shop: Shop) -> None:
    shop.services.endpoints.test(endpoint(shop))
    settle(shop)
    change(shop, OLD)
    assert purge(shop) == 1


def test_the_settled_delivery_of_an_old_version_stays(shop: Shop) -> None:
    session = closed(shop)
    old = WebhookDelivery(session_id=session.session_id, event="session.ended")
    with shop.services.database.begin() as db:
        db.add(old)
    settle(shop)
    change(shop, OLD)
    assert purge(shop) > 0
    assert shop.rows("SELECT event_id FROM webhook_deliveries") == [(None,)]
