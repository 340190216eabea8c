"""Closes at one instant, and bids and drains around the end of a session."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from core import errors
from core.postgres.models import BiddingSession
from core.redis import keys, leases
from core.sessions import closing
from core.sessions.sessions import SessionView
from dev.embedded.server import wait_until
from tests.support.factories import Shop
from tests.support.racing import (
    BARRIER_SECONDS,
    is_renewed,
    of,
    table_locked,
    together,
    wait_for_blocked,
)

CLOSES = 6


def session_with_bids(shop: Shop) -> SessionView:
    session = shop.session(inventory=2)
    for number in range(6):
        shop.bid(shop.bidder(), session, str(150 - number))
    return session


def test_closes_at_one_instant_write_the_results_once(shop: Shop) -> None:
    session = session_with_bids(shop)
    shop.end(session)
    outcomes = together(*[lambda: shop.services.closing.close(session.session_id)] * CLOSES)
    assert sorted(outcomes) == [False] * (CLOSES - 1) + [True]
    assert shop.rows("SELECT rank, sequence FROM rankings ORDER BY rank") == [
        (rank, rank) for rank in range(1, 7)
    ]
    assert shop.services.closing.due() == []


@pytest.mark.parametrize("has_lapsed", [False, True])
def test_a_close_leaves_at_once_while_another_is_at_work(shop: Shop, has_lapsed: bool) -> None:
    session = session_with_bids(shop)
    shop.end(session)
    close, session_id = shop.services.closing.close, session.session_id
    with ThreadPoolExecutor(2) as threads:
        with table_locked(shop, "rankings", "SHARE"):
            first = threads.submit(close, session_id)
            wait_for_blocked(shop)
            if has_lapsed:
                shop.services.redis.delete(keys.close_claim(session_id))
            assert threads.submit(close, session_id).result(BARRIER_SECONDS) is False
        assert first.result(BARRIER_SECONDS) is True
    assert shop.rows("SELECT count(*) FROM rankings") == [(6,)]


def test_a_close_leaves_at_once_while_another_waits_for_a_drain(shop: Shop) -> None:
    session = session_with_bids(shop)
    shop.end(session)
    close, session_id = shop.services.closing.close, session.session_id
    with ThreadPoolExecutor(2) as threads:
        with shop.services.engine.begin() as drain:
            drain.exec_driver_sql("SELECT 1 FROM bid_log_offsets FOR UPDATE")
            first = threads.submit(close, session_id)
            at_work = keys.close_claim(session_id)
            assert wait_until(lambda: shop.services.redis.exists(at_work), BARRIER_SECONDS)
            assert threads.submit(close, session_id).result(BARRIER_SECONDS) is False
        assert first.result(BARRIER_SECONDS) is True


def test_no_close_is_enqueued_behind_one_that_is_at_work_for_long(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "TTL_MS", 60_000)
    monkeypatch.setattr(leases, "RENEW_SECONDS", 0.01)
    session = session_with_bids(shop)
    shop.end(session)
    closing, session_id = shop.services.closing, session.session_id
    assert closing.claim(session_id)
    with ThreadPoolExecutor(1) as thread:
        with table_locked(shop, "rankings", "SHARE"):
            close = thread.submit(closing.close, session_id)
            wait_for_blocked(shop)
            assert is_renewed(shop, keys.close_claim(session_id))
            assert not closing.claim(session_id)
        assert close.result(BARRIER_SECONDS)


def write_without_the_lock(shop: Shop, session: SessionView, barrier: Barrier) -> bool:
    """Look whether the results are written, wait until the other has looked, write them."""
    with shop.services.database.begin() as db:
        status = db.scalar(
            select(BiddingSession.status).where(BiddingSession.id == session.session_id)
        )
        barrier.wait(BARRIER_SECONDS)
        if status != "ended":
            db.execute(closing._WRITE_RANKINGS, {"session_id": session.session_id})
    return True


def test_without_the_lock_two_closes_want_to_write_the_results(shop: Shop) -> None:
    session, barrier = session_with_bids(shop), Barrier(2)
    shop.drain(session)
    outcomes = together(*[lambda: write_without_the_lock(shop, session, barrier)] * 2)
    assert of(bool, outcomes) == [True]
    assert len(of(IntegrityError, outcomes)) == 1


# --- Around the end ------------------------------------------------------------------


def bid_until_the_end(shop: Shop, session: SessionView) -> list[int]:
    """Bid as fast as possible; the sequences of the accepted bids."""
    bidder, accepted, price = shop.bidder(), [], 100
    while True:
        price += 1
        try:
            accepted.append(shop.bid(bidder, session, str(price)).sequence)
        except errors.RateLimited:
            bidder = shop.bidder()
        except errors.SessionEnded:
            return accepted


def drain_until_closed(shop: Shop, session: SessionView) -> None:
    while shop.rows("SELECT 1 FROM sessions WHERE closed_at IS NULL"):
        shop.drain(session)


def close_until_closed(shop: Shop, session: SessionView) -> int:
    """Close again and again, as beat does; how often this wrote the results."""
    written = 0
    while shop.rows("SELECT 1 FROM sessions WHERE published_at IS NULL"):
        written += shop.services.closing.close(session.session_id)
    return written


def end_early_after_some_bids(shop: Shop, session: SessionView) -> None:
    while not shop.rows("SELECT 1 FROM bids WHERE sequence > 100"):
        pass
    shop.services.sessions.end_now(session.session_id)


def around_the_end(shop: Shop, duration: timedelta, *, early: bool) -> list[Any]:
    """What came of bids, drains and closes at once."""
    session = shop.session(duration=duration, inventory=3)
    calls: list[Any] = [lambda: bid_until_the_end(shop, session)] * 4
    calls += [lambda: drain_until_closed(shop, session)] * 2
    calls += [lambda: close_until_closed(shop, session)] * 2
    if early:
        calls.append(lambda: end_early_after_some_bids(shop, session))
    return together(*calls)


@pytest.mark.parametrize("early", [False, True])
def test_every_bid_accepted_around_the_end_is_in_the_results_and_no_other(
    shop: Shop, early: bool
) -> None:
    # A busy machine may begin with the bids when a short session is over.
    for seconds in (3600,) if early else (0.7, 7, 70):
        outcomes = around_the_end(shop, timedelta(seconds=seconds), early=early)
        if any(of(list, outcomes)):
            break

    assert of(Exception, outcomes) == []
    accepted = sorted(sequence for own in of(list, outcomes) for sequence in own)
    assert accepted == list(range(1, len(accepted) + 1))
    assert shop.rows("SELECT sequence FROM bids ORDER BY sequence") == [(n,) for n in accepted]
    assert sum(of(int, outcomes)) == 1
    assert shop.rows("SELECT * FROM session_events") == []
    late = "SELECT 1 FROM bids JOIN sessions ON id = session_id WHERE accepted_at >= end_time"
    assert shop.rows(late) == []
    assert shop.rows(
        "SELECT count(*), max(rank), count(DISTINCT user_id) FROM rankings"
    ) == shop.rows(
        "SELECT count(DISTINCT user_id), count(DISTINCT user_id), count(DISTINCT user_id) FROM bids"
    )
