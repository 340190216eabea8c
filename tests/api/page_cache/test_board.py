"""Kept board pages: the schema's very document, and never stale."""

import asyncio
import time
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from uuid import UUID

import pytest

from core.bidding.board import BoardPage
from core.redis import keys
from core.rules.lifecycle import Status
from core.sessions.results import RankedEntry
from core.sessions.sessions import SessionView
from tests.api.conftest import CheckedClient
from tests.support.factories import Shop
from web.http import schemas
from web.http.buckets import Buckets
from web.page_cache import board as board_pages
from web.page_cache.board import BoardPages, document_of

NOW = datetime(2030, 1, 31, 18, 0, 0, 250_000, UTC)


def entry(rank: int) -> RankedEntry:
    return RankedEntry(
        rank=rank,
        user_id=UUID(int=rank),
        username="<b>é</b>",
        price=Decimal("9999999999.99"),
        score=0.1 + 0.2,
        is_winner=rank == 1,
    )


@pytest.mark.parametrize("status", Status)
@pytest.mark.parametrize("bidders", [0, 1, 3])
def test_a_page_is_what_the_schema_dumps(status: Status, bidders: int) -> None:
    page = BoardPage(
        session_id=UUID(int=1),
        status=status,
        provisional=status is not Status.ENDED,
        leaderboard=[entry(rank) for rank in range(1, bidders + 1)],
        highest_bid=Decimal("250.10") if bidders else None,
        threshold_score=1e300 if bidders else None,
        page=1,
        page_size=50,
        total_count=bidders,
        end_time=NOW,
        server_time=NOW,
    )
    document = schemas.Board().dump(page)
    del document["server_time"]
    assert list(document_of(page).items()) == list(document.items())


def board(client: CheckedClient, session: SessionView) -> dict[str, object]:
    found: dict[str, object] = client.get(f"/api/leaderboard/{session.session_id}").json
    return found


def test_a_page_shows_every_bid_that_was_answered(anyone: CheckedClient, shop: Shop) -> None:
    session = shop.session()
    for count in range(1, 6):
        shop.bid(shop.bidder(), session, "150")
        assert board(anyone, session)["total_count"] == count


@pytest.mark.parametrize("change", ["deactivate", "end", "close", "lose"])
def test_a_page_shows_every_change_of_its_session(
    anyone: CheckedClient, shop: Shop, change: str
) -> None:
    session = shop.session()
    shop.bid(shop.bidder(), session, "150")
    before = board(anyone, session)
    if change == "deactivate":
        shop.services.sessions.deactivate(session.session_id)
    elif change == "lose":
        shop.services.redis.flushdb()
    else:
        (shop.end if change == "end" else shop.close)(session)
    after = board(anyone, session)
    expected = {"deactivate": "inactive", "end": "ended", "close": "ended", "lose": "active"}
    assert (before["status"], after["status"]) == ("active", expected[change])
    assert after["provisional"] is (change != "close")
    assert after["total_count"] == (0 if change == "lose" else 1)


class Reader:
    """Reads a session's board for a thread, with pages of its own."""

    def __init__(self, shop: Shop, session: SessionView) -> None:
        self.pages = BoardPages(
            shop.services.board, Buckets("uncached-pages", 0), max_wait_seconds=10
        )
        self._loop, self._session_id = shop.services.runtime.loop, session.session_id

    def read(self, page: int = 1) -> bytes:
        return self._loop.run(
            self.pages.read(self._session_id, page=page, page_size=50, reader="reader")
        )


def test_a_page_is_made_once_for_each_state(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    session = shop.session()
    monkeypatch.setattr(board_pages, "_MAX_AGE_SECONDS", 60)
    reader = Reader(shop, session)
    shop.services.redis.config_resetstat()
    texts = [reader.read() for _ in range(20)]
    calls = shop.services.redis.info("commandstats")
    assert (calls["cmdstat_evalsha"]["calls"], calls["cmdstat_hmget"]["calls"]) == (1, 21)
    assert len({text.partition(b',"server_time"')[0] for text in texts}) == 1


def test_a_page_that_the_clock_alone_changes_is_made_anew(shop: Shop) -> None:
    session = shop.session()
    reader = Reader(shop, session)
    reader.read()
    params = keys.session_params(session.session_id)
    # A busy machine may need longer for a page than the session has left.
    for seconds in (0.3, 3, 30):
        end = time.time() + seconds
        shop.services.redis.hset(params, "end", str(int(end * 1e6)))
        if b'"status":"active"' in reader.read():
            break
    time.sleep(max(0.0, end - time.time()) + 0.1)
    assert b'"status":"ended"' in reader.read()


def test_pages_that_nobody_asks_for_are_forgotten(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = shop.session()
    monkeypatch.setattr(board_pages, "_MAX_PAGES", 3)
    reader = Reader(shop, session)
    for page in range(1, 9):
        reader.read(page)
    assert [key[1] for key in reader.pages._cache] == [6, 7, 8]


@pytest.mark.parametrize("gate", [1, 16])
def test_later_pages_are_read_one_at_a_time_and_first_ones_are_not(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, gate: int
) -> None:
    """With a wide gate, the control, they are read together."""
    session = shop.session()
    reader = Reader(shop, session)
    reader.pages._gate = asyncio.Semaphore(gate)
    under_way: list[int] = []
    most = {1: 0, 2: 0}
    read_page = shop.services.board.read_page

    async def noted(session_id: UUID, *, page: int, page_size: int) -> BoardPage:
        under_way.append(min(page, 2))
        most[min(page, 2)] = max(most[min(page, 2)], under_way.count(min(page, 2)))
        await asyncio.sleep(0.01)
        try:
            return await read_page(session_id, page=page, page_size=page_size)
        finally:
            under_way.remove(min(page, 2))

    monkeypatch.setattr(shop.services.board, "read_page", noted)

    async def read_all() -> None:
        read = partial(reader.pages.read, session.session_id, reader="reader")
        later = [read(page=page, page_size=50) for page in range(2, 18)]
        first = [read(page=1, page_size=size) for size in range(1, 17)]
        await asyncio.gather(*later, *first)

    shop.services.runtime.loop.run(read_all())
    assert most[2] == gate
    assert most[1] > 1
