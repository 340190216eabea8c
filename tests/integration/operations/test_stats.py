"""The shop at a glance: what was accepted, what is persisted, what is on its way."""

from datetime import timedelta

from core.operations.stats import Stats
from core.redis import clock
from tests.support.factories import Shop


def stats(shop: Shop) -> Stats:
    return shop.services.statistics.read()


def test_an_empty_shop_counts_nothing(shop: Shop) -> None:
    assert stats(shop) == Stats(
        total_users=0,
        total_products=0,
        active_sessions=0,
        total_bids=0,
        sessions={"scheduled": 0, "active": 0, "inactive": 0, "ended": 0, "cancelled": 0},
        bids_accepted=0,
        bids_persisted=0,
        persist_backlog=0,
    )


def test_sessions_are_counted_by_what_the_clock_makes_of_them(shop: Shop) -> None:
    later = clock.now(shop.services.redis) + timedelta(hours=1)
    for session in [shop.session() for _ in range(2)]:
        shop.end(session)
    shop.services.sessions.deactivate(shop.session().session_id)
    shop.session(start_time=later)
    shop.session()
    counted = stats(shop)
    by_status = {"scheduled": 1, "active": 1, "inactive": 1, "ended": 2, "cancelled": 0}
    assert counted.sessions == by_status
    assert (counted.active_sessions, counted.total_products) == (1, 5)


def test_bids_are_counted_before_and_after_they_are_persisted(shop: Shop) -> None:
    session, other, bidder = shop.session(), shop.session(), shop.bidder()
    for price in ("120", "121", "122"):
        shop.bid(bidder, session, price)
    shop.drain(session)
    shop.bid(bidder, session, "123")
    shop.bid(bidder, other, "120")
    counted = stats(shop)
    assert (counted.bids_accepted, counted.bids_persisted, counted.persist_backlog) == (5, 3, 2)
    assert (counted.total_bids, counted.total_users) == (5, 1)


def test_bids_of_sessions_that_redis_no_longer_has_are_counted(shop: Shop) -> None:
    session = shop.session()
    shop.bid(shop.bidder(), session, "120")
    shop.close(session)
    shop.services.redis.flushdb()
    counted = stats(shop)
    assert (counted.bids_accepted, counted.persist_backlog) == (1, 0)
