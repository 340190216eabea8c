"""One session loaded by many at once, while it is bid in, opened and paused."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import pytest

from core import errors
from core.bidding.placing import Bidder, PlacedBid
from core.bidlog.losses import SKIPPED_SEQUENCES, LoadKind
from core.postgres.models import BiddingSession
from core.redis import clock, keys, leases
from core.sessions import loading
from core.sessions.loading import SessionLoader, params_of
from core.sessions.sessions import SessionView
from tests.support.factories import Shop
from tests.support.racing import (
    BARRIER_SECONDS,
    is_renewed,
    of,
    table_locked,
    together,
    wait_for_blocked,
)

THREADS = 12


class PausedLoader(SessionLoader):
    """Stops between what it read in PostgreSQL and what it writes to Redis."""

    def __init__(self, shop: Shop) -> None:
        services = shop.services
        super().__init__(services.database, services.redis, services.bid_log)
        self.has_read, self.may_publish = Event(), Event()

    def _publish(self, *arguments: Any) -> bool:
        self.has_read.set()
        self.may_publish.wait(BARRIER_SECONDS)
        return super()._publish(*arguments)


def drained_session(shop: Shop) -> tuple[SessionView, list[Bidder]]:
    session, bidders = shop.session(), [shop.bidder() for _ in range(THREADS)]
    for bidder in bidders:
        shop.bid(bidder, session, "120")
    shop.drain(session)
    return session, bidders


def status_in_redis(shop: Shop, session: SessionView) -> str | None:
    return shop.services.redis.hget(keys.session_params(session.session_id), "status")


def status_in_postgresql(shop: Shop) -> str:
    return shop.rows("SELECT status FROM sessions")[0][0]


def in_thread(call: Callable[[], Any], meanwhile: Callable[[], Any]) -> Any:
    """What `call` returns, with `meanwhile` done while it runs."""
    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(call)
        meanwhile()
        return running.result(BARRIER_SECONDS)


def test_a_lost_session_that_many_bid_in_at_once_goes_on_as_it_was(shop: Shop) -> None:
    session, bidders = drained_session(shop)
    shop.services.redis.flushdb()
    outcomes = together(*[lambda own=own: shop.bid(own, session, "130") for own in bidders])
    following = THREADS + SKIPPED_SEQUENCES + 1
    assert sorted(bid.sequence for bid in of(PlacedBid, outcomes)) == list(
        range(following, following + THREADS)
    )
    # However many noticed the loss, it is recorded once.
    assert shop.rows("SELECT kind FROM session_events") == [("redis_lost",)]
    page = shop.services.board.page(session.session_id, page=1, page_size=50)
    assert page.total_count == THREADS
    shop.drain(session)
    assert shop.rows("SELECT count(*), max(sequence) FROM bids") == [
        (2 * THREADS, following + THREADS - 1)
    ]


def test_a_session_that_is_lost_again_and_again_loses_no_persisted_bid(shop: Shop) -> None:
    session, bidders = drained_session(shop)

    def bid(bidder: Bidder) -> list[int]:
        return [shop.bid(bidder, session, str(130 + number)).sequence for number in range(4)]

    def lose() -> None:
        for _ in range(4):
            shop.services.redis.delete(keys.session_params(session.session_id))

    outcomes = together(*[lambda own=own: bid(own) for own in bidders[:8]], lose)
    assert of(AssertionError, outcomes) == []
    accepted = [sequence for own in of(list, outcomes) for sequence in own]
    shop.drain(session)
    stored = [row[0] for row in shop.rows("SELECT sequence FROM bids ORDER BY sequence")]
    assert stored == list(range(1, len(stored) + 1))
    assert set(accepted) <= set(stored)
    assert not of(errors.BidNotTaken, outcomes)
    assert {type(error) for error in of(Exception, outcomes)} <= {errors.TemporarilyUnavailable}


def test_a_loader_whose_place_has_lapsed_publishes_nothing_over_newer_bids(shop: Shop) -> None:
    session, bidders = drained_session(shop)
    shop.services.redis.flushdb()
    slow = PausedLoader(shop)
    # Each of the two takes the log for lost: a loss told twice is better than one not told.
    following = THREADS + 2 * SKIPPED_SEQUENCES + 1

    def meanwhile() -> None:
        slow.has_read.wait(BARRIER_SECONDS)
        shop.services.redis.delete(keys.session_load(session.session_id))
        assert shop.bid(bidders[0], session, "130").sequence == following
        slow.may_publish.set()

    in_thread(lambda: slow.load(session.session_id), meanwhile)
    assert shop.bid(bidders[1], session, "130").sequence == following + 1
    assert shop.drain(session) == 2


def test_a_load_keeps_its_place_while_postgresql_is_slow(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "TTL_MS", 60_000)
    monkeypatch.setattr(leases, "RENEW_SECONDS", 0.01)
    session, bidders = drained_session(shop)
    shop.services.redis.flushdb()
    with ThreadPoolExecutor(1) as thread:
        # The standing bids are read with their members' names.
        with table_locked(shop, "users", "ACCESS EXCLUSIVE"):
            loading = thread.submit(shop.services.loader.load, session.session_id)
            wait_for_blocked(shop)
            assert is_renewed(shop, keys.session_load(session.session_id))
        loading.result(BARRIER_SECONDS)
    assert shop.services.redis.zcard(keys.ranking(session.session_id)) == len(bidders)


def test_without_the_token_a_slow_loader_takes_sequences_back(shop: Shop) -> None:
    session, bidders = drained_session(shop)
    shop.services.redis.flushdb()
    with shop.services.database.begin() as db:
        read = params_of(db.get_one(BiddingSession, session.session_id))
    shop.bid(bidders[0], session, "130")
    shop.services.redis.hset(
        keys.session_params(session.session_id), mapping={**read, "sequence": str(THREADS)}
    )
    with pytest.raises(errors.BidNotTaken) as refused:
        shop.bid(bidders[1], session, "130")
    assert "equal or smaller" in str(refused.value.__cause__)


@pytest.mark.parametrize("change", ["activate", "deactivate"])
def test_a_status_set_during_a_load_is_what_redis_says_after_it(shop: Shop, change: str) -> None:
    session = shop.session()
    if change == "activate":
        shop.services.sessions.deactivate(session.session_id)
    shop.services.redis.flushdb()
    slow = PausedLoader(shop)

    def load_slowly() -> None:
        def release() -> None:
            wait_for_blocked(shop)
            slow.may_publish.set()

        in_thread(lambda: slow.load(session.session_id), release)

    def set_status() -> None:
        slow.has_read.wait(BARRIER_SECONDS)
        getattr(shop.services.sessions, change)(session.session_id)

    assert together(load_slowly, set_status) == [None, None]
    expected = "active" if change == "activate" else "inactive"
    assert (status_in_redis(shop, session), status_in_postgresql(shop)) == (expected, expected)


def test_an_early_end_during_a_load_is_what_redis_says_after_it(shop: Shop) -> None:
    session = shop.session()
    shop.services.redis.flushdb()
    slow = PausedLoader(shop)

    def load_slowly() -> None:
        def release() -> None:
            wait_for_blocked(shop)
            slow.may_publish.set()

        in_thread(lambda: slow.load(session.session_id), release)

    def end() -> None:
        slow.has_read.wait(BARRIER_SECONDS)
        shop.services.sessions.end_now(session.session_id)

    assert together(load_slowly, end) == [None, None]
    assert status_in_redis(shop, session) == "ended"


def test_without_the_lock_a_load_brings_an_old_status_back(shop: Shop) -> None:
    session = shop.session()
    shop.services.redis.flushdb()
    shop.services.redis.set(keys.session_load(session.session_id), "token")
    loader = PausedLoader(shop)
    loader.may_publish.set()
    with shop.services.database.begin() as db:
        read = db.get_one(BiddingSession, session.session_id)
        shop.services.sessions.deactivate(session.session_id)
        assert loader._publish(read, params_of(read), "token", 0, LoadKind.AGAIN)
    assert (status_in_redis(shop, session), status_in_postgresql(shop)) == ("active", "inactive")


def test_racing_changes_of_status_leave_both_servers_alike(shop: Shop) -> None:
    session, bidder = shop.session(), shop.bidder()
    sessions = shop.services.sessions
    for number in range(8):
        shop.services.redis.delete(keys.session_params(session.session_id))
        together(
            lambda: sessions.activate(session.session_id),
            lambda: sessions.deactivate(session.session_id),
            lambda price=str(120 + number): shop.bid(bidder, session, price),
            lambda: loading.SessionLoader.load(PausedOff(shop), session.session_id),
        )
        assert status_in_redis(shop, session) == status_in_postgresql(shop)
    assert clock.now(shop.services.redis) < session.end_time


class PausedOff(PausedLoader):
    """A second process's loader, without the pause."""

    def __init__(self, shop: Shop) -> None:
        super().__init__(shop)
        self.may_publish.set()
