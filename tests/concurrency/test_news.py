"""Looks for members who were outbid, and tellings of starts, at one instant."""

from datetime import timedelta
from threading import Barrier
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from core.notifications import reminders
from core.notifications.outbid import QUIET, Outbid
from core.postgres.models import WinnersMark
from core.redis import clock
from core.sessions.sessions import SessionView
from tests.integration.news.outbidding import looking, watched
from tests.support.factories import Shop
from tests.support.racing import BARRIER_SECONDS, of, together

AT_ONCE = 6
OUTBID = 3
# Below 0: each transaction has its own time, of its start.
NEVER_QUIET = -QUIET


class Unlocked(Outbid):
    """Reads the mark without its lock, and goes on when all others have read it."""

    barrier: Barrier

    def _mark(self, db: Session, session_id: UUID) -> WinnersMark | None:
        mark = db.scalars(
            select(WinnersMark).where(WinnersMark.session_id == session_id)
        ).one_or_none()
        self.barrier.wait(BARRIER_SECONDS)
        return mark


def displaced(shop: Shop) -> SessionView:
    """A session with three members who were outbid since the last look."""
    session, _ = watched(shop, *range(150, 150 - OUTBID, -1), inventory=OUTBID)
    for number in range(OUTBID):
        shop.bid(shop.bidder(), session, str(200 + number))
    return session


def told_by(shop: Shop, kind: type[Outbid], quiet: timedelta) -> int:
    session = displaced(shop)
    looker = looking(shop, kind, quiet=quiet)
    outcomes = together(*[lambda: looker.look_at(session.session_id, OUTBID)] * AT_ONCE)
    assert len(of(int, outcomes)) == AT_ONCE
    return sum(outcomes)


def test_looks_at_one_instant_tell_everybody_once(shop: Shop) -> None:
    assert told_by(shop, Outbid, NEVER_QUIET) == OUTBID


def test_without_the_lock_the_rule_of_one_a_minute_keeps_them_apart(shop: Shop) -> None:
    Unlocked.barrier = Barrier(AT_ONCE)
    assert told_by(shop, Unlocked, QUIET) == OUTBID


def test_without_the_lock_and_the_rule_every_look_tells_everybody(shop: Shop) -> None:
    Unlocked.barrier = Barrier(AT_ONCE)
    assert told_by(shop, Unlocked, NEVER_QUIET) == OUTBID * AT_ONCE


MEMBERS = 20


def reminded(shop: Shop) -> SessionView:
    """A session that starts in four minutes, of which many members are reminded."""
    start = clock.now(shop.services.redis) + timedelta(minutes=4)
    session = shop.session(start_time=start)
    for _ in range(MEMBERS):
        shop.services.reminders.add(session.session_id, shop.account().user_id)
    return session


def test_tellings_at_one_instant_tell_everybody_once(shop: Shop) -> None:
    reminded(shop)
    tell = shop.services.reminders.tell_due
    outcomes = together(*[lambda: tell(seconds=30)] * AT_ONCE)
    assert sum(of(int, outcomes)) == MEMBERS
    assert shop.rows("SELECT count(*), count(DISTINCT user_id) FROM notifications") == [
        (MEMBERS, MEMBERS)
    ]


def tell_without_the_lock(shop: Shop, barrier: Barrier) -> bool:
    """Look who is due, wait until the other has looked, and tell them."""
    told = str(reminders._TELL).replace("FOR UPDATE OF reminders SKIP LOCKED", "")
    told = told.replace("told_at IS NULL AND", "").replace("ON CONFLICT DO NOTHING", "")
    now = clock.now(shop.services.redis)
    with shop.services.database.begin() as db:
        barrier.wait(BARRIER_SECONDS)
        db.execute(text(told), {"now": now, "soon": now + reminders.AHEAD, "by_email": False})
    return True


def test_without_the_lock_two_tellings_want_to_tell_the_same_members(shop: Shop) -> None:
    reminded(shop)
    barrier = Barrier(2)
    outcomes = together(*[lambda: tell_without_the_lock(shop, barrier)] * 2)
    assert of(bool, outcomes) == [True]
    assert len(of(IntegrityError, outcomes)) == 1
