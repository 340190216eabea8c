"""Closing: the results, written once, wherever the close before this one died."""

from decimal import Decimal
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from core import errors
from core.redis import keys
from core.sessions.sessions import SessionView
from tests.integration.sessions.closed import (
    BY_PRICE,
    rankings,
    results,
    session_with_bids,
    stored,
)
from tests.support.factories import Shop

# --- Results -------------------------------------------------------------------------


def test_results_are_by_score_and_then_by_earlier_acceptance(shop: Shop) -> None:
    session = session_with_bids(shop, "120", "140", "130", "140")
    assert shop.close(session)
    assert rankings(shop) == [
        (1, 2, Decimal("140.00")),
        (2, 4, Decimal("140.00")),
        (3, 3, Decimal("130.00")),
        (4, 1, Decimal("120.00")),
    ]


def test_only_the_standing_bid_of_a_member_is_ranked(shop: Shop) -> None:
    session, bidder = shop.session(allow_lower_bids=True, **BY_PRICE), shop.bidder()
    for price in ("150", "140", "120"):
        shop.bid(bidder, session, price)
    shop.bid(shop.bidder(), session, "130")
    shop.close(session)
    assert rankings(shop) == [(1, 4, Decimal("130.00")), (2, 3, Decimal("120.00"))]


def test_the_final_price_is_the_last_winners(shop: Shop) -> None:
    session = session_with_bids(shop, "120", "140", "130", inventory=2)
    shop.close(session)
    final = results(shop, session)
    assert final.final_price == Decimal("130.00")
    assert [entry.price for entry in final.winners] == [Decimal("140.00"), Decimal("130.00")]
    assert [entry.is_winner for entry in final.rankings] == [True, True, False]
    assert (final.total_winners, final.total_bidders) == (2, 3)


def test_with_fewer_bidders_than_items_everybody_wins(shop: Shop) -> None:
    session = session_with_bids(shop, "120", "140", inventory=5)
    shop.close(session)
    final = results(shop, session)
    assert (final.total_winners, final.final_price) == (2, Decimal("120.00"))


def test_a_session_without_bids_has_empty_results(shop: Shop) -> None:
    session = session_with_bids(shop)
    assert shop.close(session)
    final = results(shop, session)
    assert (final.final_price, final.winners, final.rankings) == (None, [], [])
    assert (final.total_bidders, final.total_pages) == (0, 0)


def test_the_highest_bid_is_one_that_stands_at_the_end(shop: Shop) -> None:
    session, bidder = shop.session(allow_lower_bids=True), shop.bidder()
    shop.bid(bidder, session, "150")
    shop.bid(bidder, session, "120")
    shop.close(session)
    assert stored(shop, "highest_bid") == Decimal("120.00")


def test_rankings_come_in_pages(shop: Shop) -> None:
    session = session_with_bids(shop, "120", "121", "122", "123", "124")
    shop.close(session)
    page = shop.services.results.get(session.session_id, page=2, page_size=2)
    assert ([entry.rank for entry in page.rankings], page.total_pages) == ([3, 4], 3)
    # Two items: both winners are on the first page.
    assert page.winners == []
    assert len(shop.services.results.winners(session.session_id)) == 2


def test_bids_that_no_drain_has_fetched_count(shop: Shop) -> None:
    session = session_with_bids(shop, "120")
    shop.drain(session)
    shop.bid(shop.bidder(), session, "130")
    shop.close(session)
    assert [rank[1] for rank in rankings(shop)] == [2, 1]


# --- Before, after, twice ------------------------------------------------------------


def test_a_close_before_the_time_does_nothing(shop: Shop) -> None:
    session = session_with_bids(shop, "120")
    before = shop.redis_state()
    assert not shop.services.closing.close(session.session_id)
    assert shop.redis_state() == before
    assert stored(shop, "status") == "active"


def test_results_before_the_end_are_refused(shop: Shop) -> None:
    session = session_with_bids(shop, "120")
    with pytest.raises(errors.SessionNotEnded):
        results(shop, session)


def test_results_between_end_and_close_are_pending(shop: Shop) -> None:
    session = session_with_bids(shop, "120")
    shop.end(session)
    with pytest.raises(errors.ResultsPending):
        results(shop, session)


def test_results_of_a_session_that_nobody_made_are_refused(shop: Shop) -> None:
    with pytest.raises(errors.SessionNotFound):
        shop.services.results.get(uuid4(), page=1, page_size=50)
    with pytest.raises(errors.SessionNotFound):
        shop.services.closing.close(uuid4())


def test_closing_twice_writes_the_results_once(shop: Shop) -> None:
    session = session_with_bids(shop, "120", "130")
    assert shop.close(session)
    written, closed_at = rankings(shop), stored(shop, "closed_at")
    assert not shop.services.closing.close(session.session_id)
    assert (rankings(shop), stored(shop, "closed_at")) == (written, closed_at)


@pytest.mark.parametrize("change", ["activate", "deactivate"])
def test_a_closed_session_never_opens_again(shop: Shop, change: str) -> None:
    session = session_with_bids(shop, "120")
    shop.close(session)
    with pytest.raises(errors.SessionEnded):
        getattr(shop.services.sessions, change)(session.session_id)
    with pytest.raises(errors.SessionEnded):
        shop.bid(shop.bidder(), session, "120")


@pytest.mark.parametrize("change", ["activate", "deactivate"])
def test_a_session_whose_time_is_over_never_opens_again(shop: Shop, change: str) -> None:
    session = session_with_bids(shop, "120")
    shop.end(session)
    with pytest.raises(errors.SessionEnded):
        getattr(shop.services.sessions, change)(session.session_id)


def test_a_bid_after_the_keys_have_expired_is_refused(shop: Shop) -> None:
    session = session_with_bids(shop, "120")
    shop.close(session)
    shop.services.redis.flushdb()
    with pytest.raises(errors.SessionEnded):
        shop.bid(shop.bidder(), session, "120")


@pytest.mark.parametrize("chunk", [1, 2, 3, 1000])
def test_all_keys_of_a_published_session_expire(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr("core.sessions.closing._EXPIRE_CHUNK", chunk)
    session = session_with_bids(shop, "120", "130", "140")
    names = shop.services.redis.keys(f"*{session.session_id}*")
    shop.close(session)
    ttls = [shop.services.redis.ttl(name) for name in names]
    limit = shop.services.settings.ended_session_keys_ttl_seconds
    assert len(names) == 6
    assert all(0 < ttl <= limit for ttl in ttls)


# --- Killed anywhere -----------------------------------------------------------------


def die_before(shop: Shop, session: SessionView, step: str) -> None:
    """Run a close up to this step."""
    closing, session_id = shop.services.closing, session.session_id
    steps = {
        "shut": lambda: closing._shut_gate(session_id),
        "drain": lambda: closing._bid_log.persist_through(session_id, 3, seconds=30),
        "write": lambda: closing._write_results(session_id, 3),
        "final": lambda: shop.services.redis.hset(keys.session_params(session_id), "final", 1),
        "expire": lambda: closing._expire_all(session_id),
        "publish": lambda: closing._publish(session_id),
        "end": lambda: None,
    }
    for name, run in steps.items():
        if name == step:
            return
        run()


@pytest.mark.parametrize("step", ["shut", "drain", "write", "final", "expire", "publish", "end"])
@pytest.mark.parametrize("redis_is_lost", [False, True])
def test_a_close_that_was_killed_is_done_by_the_next(
    shop: Shop, step: str, redis_is_lost: bool
) -> None:
    session = session_with_bids(shop, "120", "140", "130")
    if redis_is_lost:
        shop.drain(session)
    shop.end(session)
    die_before(shop, session, step)
    if redis_is_lost:
        shop.services.redis.flushdb()

    completed = shop.services.closing.close(session.session_id)
    assert completed is (step != "end")
    assert [rank[1] for rank in rankings(shop)] == [2, 3, 1]
    assert stored(shop, "final_price") == Decimal("130.00")
    assert stored(shop, "published_at") is not None
    assert shop.services.closing.due() == []


def test_results_are_not_written_while_a_bid_is_missing(shop: Shop) -> None:
    session = session_with_bids(shop, "120", "130")
    shop.end(session)
    with pytest.raises(errors.TemporarilyUnavailable):
        shop.services.closing._write_results(session.session_id, 2)
    assert rankings(shop) == []
    assert stored(shop, "status") == "active"


def test_a_close_that_cannot_write_leaves_nothing_half_done(shop: Shop) -> None:
    session = session_with_bids(shop, "120", "130")
    shop.end(session)
    with shop.services.engine.begin() as connection:
        connection.execute(
            text("INSERT INTO rankings VALUES (:session, :user, 9, 9, 1, 1)"),
            {"session": session.session_id, "user": _first_bidder(shop, session)},
        )
    with pytest.raises(IntegrityError):
        shop.services.closing.close(session.session_id)
    assert (stored(shop, "status"), stored(shop, "closed_at")) == ("active", None)
    assert len(rankings(shop)) == 1
    assert shop.services.closing.claim(session.session_id), "the next tick must try again"


def _first_bidder(shop: Shop, session: SessionView) -> str:
    [[_, fields], *_] = shop.services.redis.xrange(keys.bid_log(session.session_id))
    return fields["user_id"]


def test_a_lost_tail_of_the_log_does_not_hold_up_the_close(shop: Shop) -> None:
    session = session_with_bids(shop, "120", "130", "140")
    shop.services.redis.xdel(keys.bid_log(session.session_id), "3-0")
    assert shop.close(session)
    assert [rank[1] for rank in rankings(shop)] == [2, 1]
    assert shop.rows("SELECT details FROM session_events") == [
        ({"first_missing": 3, "last_missing": 3},)
    ]
