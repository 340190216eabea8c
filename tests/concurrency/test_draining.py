"""Several drains of one session at once: every row exactly once."""

from collections.abc import Callable
from threading import Barrier
from typing import Any
from uuid import UUID

from psycopg2.errors import UniqueViolation
from sqlalchemy import select

from core.bidlog.drain import Batch, BidLog, Drained
from core.bootstrap import Services
from core.postgres.models import BidLogOffset
from core.redis import keys
from core.sessions.sessions import SessionView
from tests.support.factories import Shop
from tests.support.racing import BARRIER_SECONDS, of, together

DRAINS = 6


def session_with_bids(shop: Shop, bids: int) -> SessionView:
    session, bidder = shop.session(), [shop.bidder() for _ in range(10)]
    for number in range(bids):
        shop.bid(bidder[number % 10], session, f"{100 + number}")
    return session


def sequences(shop: Shop) -> list[int]:
    return [row[0] for row in shop.rows("SELECT sequence FROM bids ORDER BY sequence")]


def test_drains_at_one_instant_persist_every_bid_once(shop: Shop) -> None:
    session = session_with_bids(shop, 120)
    log = BidLog(shop.services.database, shop.services.redis, batch_size=7)
    outcomes = together(*[lambda: log.drain(session.session_id, seconds=30)] * DRAINS)
    assert len(of(Drained, outcomes)) == DRAINS
    assert sum(drained.rows for drained in outcomes) == 120
    assert sequences(shop) == list(range(1, 121))
    assert shop.rows("SELECT * FROM session_events") == []
    assert shop.services.redis.xlen(keys.bid_log(session.session_id)) == 0


def test_drains_lose_no_bid_that_arrives_meanwhile(shop: Shop) -> None:
    session, bidders = shop.session(), [shop.bidder() for _ in range(6)]
    log = BidLog(shop.services.database, shop.services.redis, batch_size=3)

    def bid_on(number: int) -> list[int]:
        prices = range(100, 118)
        return [shop.bid(bidders[number], session, str(price)).sequence for price in prices]

    def drain_on() -> int:
        return sum(log.drain(session.session_id, seconds=30).rows for _ in range(10))

    outcomes = together(
        *[lambda number=number: bid_on(number) for number in range(6)], *[drain_on] * 3
    )
    drained = sum(of(int, outcomes)) + shop.drain(session)
    accepted = sorted(sequence for own in of(list, outcomes) for sequence in own)
    assert drained == len(accepted) == 108
    assert sequences(shop) == accepted == list(range(1, 109))
    assert shop.rows("SELECT * FROM session_events") == []


class WithoutLock(BidLog):
    """Reads the offset without its lock, and waits until the other has read it too."""

    barrier = Barrier(2)

    def run_once(self, session_id: UUID) -> Batch:
        with self._database.begin() as db:
            offset = db.scalar(
                select(BidLogOffset.persisted_sequence).where(BidLogOffset.session_id == session_id)
            )
            self.barrier.wait(BARRIER_SECONDS)
            return self._persist_next(db, session_id, offset or 0)


def test_without_the_lock_two_drains_want_to_insert_the_same_rows(shop: Shop) -> None:
    session = session_with_bids(shop, 5)
    log = WithoutLock(shop.services.database, shop.services.redis, batch_size=100)
    outcomes = together(*[lambda: log.run_once(session.session_id)] * 2)
    assert len(of(Batch, outcomes)) == 1
    assert len(of(UniqueViolation, outcomes)) == 1


class GivesUpLate(BidLog):
    """Lets other things happen between finding that entries are missing and recording it."""

    def __init__(self, services: Services, meanwhile: Callable[[], Any]) -> None:
        super().__init__(services.database, services.redis, batch_size=100)
        self._meanwhile = meanwhile

    def _give_up_missing(self, session_id: UUID, sequence: int) -> None:
        self._meanwhile()
        super()._give_up_missing(session_id, sequence)


def session_without_its_log(shop: Shop) -> SessionView:
    session = session_with_bids(shop, 4)
    shop.services.redis.xtrim(keys.bid_log(session.session_id), maxlen=0)
    return session


def offset_and_gaps(shop: Shop) -> tuple[int, list[tuple[int, int]]]:
    [(offset,)] = shop.rows("SELECT persisted_sequence FROM bid_log_offsets")
    gaps = shop.rows("SELECT details FROM session_events ORDER BY id")
    return offset, [(gap["first_missing"], gap["last_missing"]) for (gap,) in gaps]


def test_what_two_find_missing_at_one_instant_is_recorded_once(shop: Shop) -> None:
    session, both = session_without_its_log(shop), Barrier(2)
    log = GivesUpLate(shop.services, lambda: both.wait(BARRIER_SECONDS))
    outcomes = together(*[lambda: log.persist_through(session.session_id, 4, seconds=30)] * 2)
    assert outcomes == [None, None]
    assert offset_and_gaps(shop) == (4, [(1, 4)])


def test_who_finds_out_late_that_entries_are_missing_moves_no_offset_back(shop: Shop) -> None:
    session = session_without_its_log(shop)

    def go_on() -> None:
        shop.services.loader.rebuild(session.session_id)
        shop.bid(shop.bidder(), session, "150")
        shop.drain(session)

    GivesUpLate(shop.services, go_on).persist_through(session.session_id, 4, seconds=30)
    assert offset_and_gaps(shop) == (5, [(1, 4)])


def test_only_what_is_still_missing_is_recorded(shop: Shop) -> None:
    session = session_without_its_log(shop)
    first = shop.services.bid_log
    log = GivesUpLate(
        shop.services, lambda: first.persist_through(session.session_id, 2, seconds=30)
    )
    log.persist_through(session.session_id, 4, seconds=30)
    assert offset_and_gaps(shop) == (4, [(1, 2), (3, 4)])
