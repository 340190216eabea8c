"""An early end outlives a Redis that came back older and has forgotten it."""

from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import text

from core import errors
from core.bidding.placing import PlacedBid
from core.redis import clock, keys
from core.sessions.sessions import SessionView
from tests.support.factories import Shop

SAVED = "saved:"


def save(shop: Shop) -> None:
    """Keep Redis as it is, to come back to."""
    redis = shop.services.redis
    for key in redis.keys("*"):
        redis.copy(key, SAVED + key)


def come_back_older(shop: Shop) -> None:
    """Let Redis be what it was when it was saved."""
    redis = shop.services.redis
    redis.delete(*[key for key in redis.keys("*") if not key.startswith(SAVED)])
    for key in redis.keys("*"):
        redis.rename(key, key.removeprefix(SAVED))


def ended_early(shop: Shop, *, is_closed: bool) -> SessionView:
    """A session with two bids by price, ended early, and forgotten by Redis to be so."""
    session = shop.session(alpha=1.0, beta=0.0, gamma=0.0)
    for price in ("120", "130"):
        shop.bid(shop.bidder(), session, price)
    save(shop)
    ended = shop.services.sessions.end_now(session.session_id)
    if is_closed:
        assert shop.services.closing.close(session.session_id)
    come_back_older(shop)
    return ended


def bid(shop: Shop, session: SessionView) -> PlacedBid:
    return shop.bid(shop.bidder(), session, "150")


def end_in_redis(shop: Shop, session: SessionView) -> datetime:
    end = shop.services.redis.hget(keys.session_params(session.session_id), "end")
    return clock.from_microseconds(int(end))


def end_in_postgresql(shop: Shop) -> datetime:
    return shop.rows("SELECT end_time FROM sessions")[0][0]


def events(shop: Shop) -> list[tuple[Any, ...]]:
    return shop.rows("SELECT kind, details FROM session_events ORDER BY id")


def late(session: SessionView, *sequences: int) -> tuple[Any, ...]:
    end = session.end_time.isoformat()
    return ("bids_after_end", {"end_time": end, "sequences": list(sequences)})


def differences(shop: Shop, session: SessionView) -> list[str]:
    checks = shop.services.audit.verify(session.session_id)
    return [line for check in checks for line in check.shown]


def assert_is_over(shop: Shop, session: SessionView) -> None:
    """Two bidders are ranked, nobody can bid, and everything that is shown is final."""
    assert shop.rows("SELECT rank, sequence FROM rankings ORDER BY rank") == [(1, 2), (2, 1)]
    assert shop.rows("SELECT highest_bid, final_price FROM sessions") == [(130, 120)]
    with pytest.raises(errors.SessionEnded):
        bid(shop, session)
    board = shop.services.board.page(session.session_id, page=1, page_size=10)
    assert (board.provisional, board.total_count) == (False, 2)
    assert end_in_postgresql(shop) == session.end_time
    assert shop.services.closing.due() == []
    assert differences(shop, session) == []


def test_the_close_shuts_a_gate_that_has_forgotten_the_early_end(shop: Shop) -> None:
    session = ended_early(shop, is_closed=False)
    assert shop.services.closing.due() == [session.session_id]
    assert shop.services.closing.close(session.session_id)
    assert end_in_redis(shop, session) == session.end_time
    assert events(shop) == []
    assert_is_over(shop, session)


def test_a_bid_after_the_early_end_is_recorded_and_does_not_count(shop: Shop) -> None:
    session = ended_early(shop, is_closed=False)
    assert bid(shop, session).sequence == 3
    assert shop.services.closing.close(session.session_id)
    assert events(shop) == [late(session, 3)]
    assert shop.rows("SELECT max(sequence) FROM bids") == [(3,)]
    assert_is_over(shop, session)


def test_a_bid_before_the_end_counts_although_its_bidder_bids_after_it(shop: Shop) -> None:
    terms = {"alpha": 1.0, "beta": 0.0, "gamma": 0.0, "allow_lower_bids": True}
    session, bidder = shop.session(**terms), shop.bidder()
    shop.bid(shop.bidder(), session, "120")
    shop.bid(bidder, session, "130")
    save(shop)
    session = shop.services.sessions.end_now(session.session_id)
    come_back_older(shop)
    shop.bid(bidder, session, "110")
    assert shop.services.closing.close(session.session_id)
    assert_is_over(shop, session)


def test_the_drain_shuts_a_gate_that_has_forgotten_the_early_end(shop: Shop) -> None:
    session = ended_early(shop, is_closed=False)
    bid(shop, session)
    shop.drain(session)
    with pytest.raises(errors.SessionEnded):
        bid(shop, session)
    assert end_in_redis(shop, session) == session.end_time
    assert events(shop) == [late(session, 3)]
    assert shop.services.closing.close(session.session_id)
    assert_is_over(shop, session)


def test_a_second_early_end_is_the_first(shop: Shop) -> None:
    session = ended_early(shop, is_closed=False)
    again = shop.services.sessions.end_now(session.session_id)
    assert again.end_time == session.end_time == end_in_redis(shop, session)


def test_a_session_that_opened_again_after_its_results_is_closed_again(shop: Shop) -> None:
    session = ended_early(shop, is_closed=True)
    assert shop.services.closing.due() == [session.session_id]
    assert not shop.services.closing.close(session.session_id)
    assert events(shop) == []
    assert shop.services.redis.ttl(keys.session_params(session.session_id)) > 0
    assert_is_over(shop, session)


@pytest.mark.parametrize("knows_the_session", [True, False])
def test_a_bid_after_the_results_is_recorded_and_shuts_the_gate(
    shop: Shop, knows_the_session: bool
) -> None:
    session = ended_early(shop, is_closed=True)
    if not knows_the_session:
        # On a cluster the list lies on another node, which has not come back older.
        shop.services.redis.delete(keys.LOADED_SESSIONS)
    assert bid(shop, session).sequence == 3
    shop.drain(session)
    with pytest.raises(errors.SessionEnded):
        bid(shop, session)
    assert shop.services.closing.due() == [session.session_id]
    assert not shop.services.closing.close(session.session_id)
    assert events(shop) == [late(session, 3)]
    assert_is_over(shop, session)


def test_a_bid_after_the_results_at_an_old_place_is_moved_and_recorded(shop: Shop) -> None:
    session = shop.session(alpha=1.0, beta=0.0, gamma=0.0)
    shop.bid(shop.bidder(), session, "120")
    save(shop)
    shop.bid(shop.bidder(), session, "130")
    session = shop.services.sessions.end_now(session.session_id)
    shop.services.closing.close(session.session_id)
    come_back_older(shop)
    assert bid(shop, session).sequence == 2
    assert not shop.services.closing.close(session.session_id)
    assert [kind for kind, _ in events(shop)] == ["redis_rewound", "bids_after_end"]
    assert_is_over(shop, session)


def test_a_clock_that_was_set_back_before_an_early_end_makes_no_bid_late(shop: Shop) -> None:
    session = shop.session()
    shop.bid(shop.bidder(), session, "150")
    shop.drain(session)
    with shop.services.database.begin() as db:
        # As if it had been taken by a clock that was an hour ahead then.
        db.execute(text("UPDATE bids SET accepted_at = accepted_at + interval '1 hour'"))
    shop.services.sessions.end_now(session.session_id)
    assert shop.services.closing.close(session.session_id)
    assert shop.rows("SELECT rank FROM rankings") == [(1,)]
    assert all(not check.differences for check in shop.services.audit.verify(session.session_id))


def test_what_the_log_of_a_closed_session_has_is_stored_before_the_log_goes(shop: Shop) -> None:
    session = ended_early(shop, is_closed=True)
    shop.bid(shop.bidder(), session, "140")
    # As a drain leaves it that has found a rewound log, and was killed.
    shop.services.redis.delete(keys.session_params(session.session_id))
    shop.services.closing.close(session.session_id)
    assert shop.rows("SELECT price FROM bids ORDER BY sequence") == [(120,), (130,), (140,)]
    assert shop.rows("SELECT kind FROM session_events") == [("bids_after_end",)]
    assert shop.rows("SELECT count(*) FROM rankings") == [(2,)]
