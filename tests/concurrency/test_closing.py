"""Closes at one instant, and bids and drains around the end of a session."""

from datetime import timedelta
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from core import closing, errors
from core.models import BiddingSession
from core.sessions import SessionView
from tests.concurrency.racing import BARRIER_SECONDS, of, together
from tests.factories import Shop

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


@pytest.mark.parametrize("early", [False, True])
def test_every_bid_accepted_around_the_end_is_in_the_results_and_no_other(
    shop: Shop, early: bool
) -> None:
    duration = timedelta(hours=1) if early else timedelta(seconds=0.7)
    session = shop.session(duration=duration, inventory=3)
    calls: list[Any] = [lambda: bid_until_the_end(shop, session)] * 4
    calls += [lambda: drain_until_closed(shop, session)] * 2
    calls += [lambda: close_until_closed(shop, session)] * 2
    if early:
        calls.append(lambda: end_early_after_some_bids(shop, session))
    outcomes = together(*calls)

    assert of(Exception, outcomes) == []
    accepted = sorted(sequence for own in of(list, outcomes) for sequence in own)
    assert accepted == list(range(1, len(accepted) + 1))
    assert shop.rows("SELECT sequence FROM bids ORDER BY sequence") == [(n,) for n in accepted]
    assert sum(of(int, outcomes)) == 1
    assert shop.rows("SELECT * FROM session_events") == []
    assert shop.rows("SELECT count(*) FROM bids, sessions WHERE accepted_at >= end_time") == [(0,)]
    assert shop.rows(
        "SELECT count(*), max(rank), count(DISTINCT user_id) FROM rankings"
    ) == shop.rows(
        "SELECT count(DISTINCT user_id), count(DISTINCT user_id), count(DISTINCT user_id) FROM bids"
    )
