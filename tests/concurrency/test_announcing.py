"""Tellings of one session at one instant."""

from threading import Barrier

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from core.notifications import announcing
from core.notifications.announcing import Announcing
from core.postgres.models import Announcement
from core.sessions.sessions import SessionView
from tests.support.factories import Shop
from tests.support.racing import BARRIER_SECONDS, of, together

BIDDERS = 12
TELLERS = 6


def closed_session(shop: Shop) -> SessionView:
    session = shop.session(inventory=2)
    for number in range(BIDDERS):
        shop.bid(shop.bidder(), session, str(150 - number))
    shop.close(session)
    return session


def test_tellings_at_one_instant_tell_everybody_once(shop: Shop) -> None:
    session = closed_session(shop)
    teller = Announcing(shop.services.database, by_email=True, chunk_members=1)
    outcomes = together(
        *[lambda: teller.announce(session.session_id, seconds=30).members] * TELLERS
    )
    # One that found the row locked has left; the last one at work finished it.
    assert sum(of(int, outcomes)) == BIDDERS
    assert shop.rows("SELECT count(*), count(DISTINCT user_id) FROM notifications") == [
        (BIDDERS, BIDDERS)
    ]


def tell_without_the_lock(shop: Shop, session: SessionView, barrier: Barrier) -> bool:
    """Look how far the telling is, wait until the other has looked, go on from there."""
    with shop.services.database.begin() as db:
        after = db.scalar(select(Announcement.told_through_rank))
        barrier.wait(BARRIER_SECONDS)
        place = {"after": after, "through": BIDDERS, "session_id": session.session_id}
        db.execute(
            announcing._WRITE_NOTIFICATIONS, {"kind": "session_ended", "by_email": True, **place}
        )
    return True


def test_without_the_lock_two_tellings_want_to_tell_the_same_members(shop: Shop) -> None:
    session, barrier = closed_session(shop), Barrier(2)
    outcomes = together(*[lambda: tell_without_the_lock(shop, session, barrier)] * 2)
    assert of(bool, outcomes) == [True]
    assert len(of(IntegrityError, outcomes)) == 1
