"""The bids that wait for PostgreSQL are bounded before they fill Redis."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from threading import Event
from uuid import uuid4

import pytest
from redis.exceptions import OutOfMemoryError

from core import errors
from core.bidding.placing import Bidder
from core.bidlog import backlog
from core.bidlog.backlog import EVENTS, MEMORY_SHARE, BacklogGuard, Level
from core.bootstrap import Services
from core.redis import keys
from core.runtime import Background
from core.sessions.sessions import SessionView
from dev.embedded.server import wait_until
from tests.support.factories import Shop

Said = Callable[[], list[str]]

WAIT_SECONDS = 30
ROOM_BYTES = 600_000
# More bids than that room holds, however small they are.
MORE_BIDS = ROOM_BYTES // 100


class LooksFirst(BacklogGuard):
    """Looks before every bid, and not once a second beside it: tests bid faster than a sale
    fills Redis.
    """

    def require_room(self, background: Background) -> None:
        self._look()
        self._look_at = float("inf")
        super().require_room(background)


@pytest.fixture(autouse=True)
def guard(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> BacklogGuard:
    max_bids = shop.services.settings.backlog_max_bids
    return put_in(shop, monkeypatch, LooksFirst(shop.services.redis, max_bids=max_bids))


@pytest.fixture
def of_ten(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> BacklogGuard:
    """Ten bids may wait."""
    return put_in(shop, monkeypatch, LooksFirst(shop.services.redis, max_bids=10))


def put_in(shop: Shop, monkeypatch: pytest.MonkeyPatch, guard: BacklogGuard) -> BacklogGuard:
    monkeypatch.setattr(shop.services.bidding, "_backlog", guard)
    return guard


@contextmanager
def little_memory(services: Services) -> Iterator[None]:
    """Redis has room for some hundred bids until the guard's share of it is reached."""
    used = services.redis.info("memory")["used_memory"]
    services.redis.config_set("maxmemory", round((used + ROOM_BYTES) / MEMORY_SHARE))
    try:
        yield
    finally:
        services.redis.config_set("maxmemory", 0)


@dataclass
class Crowd:
    """Members by the thousand, whom Redis knows and PostgreSQL need not."""

    shop: Shop
    session: SessionView

    def bid_until_refused(self) -> tuple[int, Exception]:
        """How many bids were accepted, and what refused the next one."""
        for accepted in count():
            bidder = Bidder(uuid4(), "somebody", token_id=uuid4().hex)
            try:
                self.shop.services.redis.set(keys.user_weight(bidder.user_id), "1.0")
                self.shop.bid(bidder, self.session, "150")
            except (errors.Refusal, OutOfMemoryError) as refusal:
                return accepted, refusal
            assert accepted < MORE_BIDS, "nothing was ever refused"
        raise AssertionError


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> Said:
    """The levels that were logged. Before an application has set up logs, they are printed."""
    names = re.compile("|".join(name for _, name in EVENTS.values()))
    return lambda: names.findall(capsys.readouterr().out + caplog.text)


def test_bids_are_refused_before_redis_is_out_of_memory(shop: Shop, said: Said) -> None:
    crowd = Crowd(shop, shop.session())
    with little_memory(shop.services):
        accepted, refusal = crowd.bid_until_refused()
        assert accepted > 100
        assert isinstance(refusal, errors.BacklogFull)
        assert said()[:2] == ["persist_backlog_half_full", "persist_backlog_full"]
        # Everybody else goes on: logouts, loads, the broker on the same server.
        shop.services.redis.set("anything", "x" * 1000)
        page = shop.services.board.page(crowd.session.session_id, page=1, page_size=1)
        assert page.total_count == accepted

        assert shop.drain(crowd.session) == accepted
        # Redis frees what a connection read and wrote a little later.
        assert wait_until(lambda: crowd.bid_until_refused()[0] > 0, WAIT_SECONDS), (
            "a drained log makes room again"
        )


def test_without_the_guard_redis_is_out_of_memory_for_everybody(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control of the test above."""
    blind = put_in(shop, monkeypatch, BacklogGuard(shop.services.redis, max_bids=10))
    blind._look_at = float("inf")
    crowd = Crowd(shop, shop.session())
    with little_memory(shop.services):
        _, refusal = crowd.bid_until_refused()
        assert isinstance(refusal, (errors.BidNotTaken, OutOfMemoryError))
        with pytest.raises(OutOfMemoryError):
            shop.services.redis.set("anything", "x" * 1000)


def test_the_bound_counts_the_bids_of_all_sessions(shop: Shop, of_ten: BacklogGuard) -> None:
    sessions = [shop.session(), shop.session()]
    for number in range(10):
        shop.bid(shop.bidder(), sessions[number % 2], "150")
    before = shop.redis_state()
    with pytest.raises(errors.BacklogFull):
        shop.bid(Bidder(uuid4(), "late", token_id="t"), sessions[0], "150")
    assert shop.redis_state() == before
    assert (of_ten.measure().bids, of_ten.measure().level) == (10, Level.FULL)

    shop.drain(sessions[0])
    assert of_ten.measure().level is Level.HALF_FULL
    assert shop.bid(shop.bidder(), sessions[0], "150").sequence == 6


@pytest.mark.usefixtures("of_ten")
def test_each_level_is_told_once_and_the_way_back_too(shop: Shop, said: Said) -> None:
    session = shop.session()
    for _ in range(10):
        shop.bid(shop.bidder(), session, "150")
    bidder = shop.bidder()
    for _ in range(3):
        with pytest.raises(errors.BacklogFull):
            shop.bid(bidder, session, "150")
    shop.drain(session)
    shop.bid(bidder, session, "150")
    assert said() == [
        "persist_backlog_half_full",
        "persist_backlog_full",
        "persist_backlog_ok",
    ]


def test_a_session_that_redis_lost_is_counted_again_when_it_is_loaded(
    shop: Shop, of_ten: BacklogGuard
) -> None:
    session = shop.session()
    shop.bid(shop.bidder(), session, "150")
    shop.services.redis.flushdb()
    assert of_ten.measure().bids == 0
    shop.bid(shop.bidder(), session, "150")
    assert of_ten.measure().bids == 1


def test_a_closed_session_is_counted_no_more(shop: Shop) -> None:
    session = shop.session()
    shop.bid(shop.bidder(), session, "150")
    assert shop.services.redis.smembers(keys.LOADED_SESSIONS) == {str(session.session_id)}
    shop.close(session)
    assert shop.services.redis.smembers(keys.LOADED_SESSIONS) == set()


def looks(shop: Shop) -> int:
    """How often Redis was asked for the backlog."""
    asked = shop.services.redis.info("commandstats").get("cmdstat_smembers", {"calls": 0})
    return int(asked["calls"])


def test_redis_is_asked_once_a_second_and_not_for_every_bid(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog, "LOOK_INTERVAL_SECONDS", 3600.0)
    put_in(shop, monkeypatch, BacklogGuard(shop.services.redis, max_bids=10))
    session, bidder = shop.session(), shop.bidder()
    before = looks(shop)
    for price in ("150", "151", "152", "153"):
        shop.bid(bidder, session, price)
    assert wait_until(lambda: looks(shop) > before, WAIT_SECONDS)
    assert looks(shop) == before + 1


def test_no_bid_waits_for_the_look_that_it_has_taken(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog, "LOOK_INTERVAL_SECONDS", 0.0)
    has_been_asked, may_answer = Event(), Event()

    class Slow(BacklogGuard):
        def _look(self) -> None:
            has_been_asked.set()
            may_answer.wait(WAIT_SECONDS)
            super()._look()

    put_in(shop, monkeypatch, Slow(shop.services.redis, max_bids=1))
    session, bidder = shop.session(), shop.bidder()
    assert shop.bid(bidder, session, "150").sequence == 1
    assert has_been_asked.wait(WAIT_SECONDS)
    assert shop.bid(bidder, session, "151").sequence == 2, "nothing is known yet"

    may_answer.set()
    assert wait_until(lambda: is_refused(shop, bidder, session), WAIT_SECONDS)


def is_refused(shop: Shop, bidder: Bidder, session: SessionView) -> bool:
    try:
        shop.bid(bidder, session, "151")
    except errors.BacklogFull:
        return True
    return False
