"""A member's own bids: all of them, persisted or not, newest first, each once."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import event

from core import errors
from core.bidding.history import PastBid
from core.bidding.placing import Bidder
from core.redis import clock, keys
from core.sessions.sessions import SessionView
from tests.support.factories import Shop


def history(
    shop: Shop,
    bidder: Bidder,
    session_id: UUID | None = None,
    page: int = 1,
    page_size: int = 50,
) -> tuple[Sequence[PastBid], int]:
    return shop.services.history.of_member(
        bidder.user_id, session_id, page=page, page_size=page_size
    )


def bid_three_times(shop: Shop, bidder: Bidder, session: SessionView) -> None:
    for price in ("120", "121", "122"):
        shop.bid(bidder, session, price)
        shop.bid(shop.bidder(), session, "130")


@pytest.mark.parametrize("persisted", ["none", "some", "all", "closed"])
def test_a_member_sees_all_own_bids_newest_first(shop: Shop, persisted: str) -> None:
    session, bidder = shop.session(), shop.bidder()
    if persisted == "some":
        shop.bid(bidder, session, "119")
        shop.drain(session)
    bid_three_times(shop, bidder, session)
    if persisted == "all":
        shop.drain(session)
    if persisted == "closed":
        shop.close(session)
    bids, total = history(shop, bidder)
    assert [str(bid.price) for bid in bids[:3]] == ["122.00", "121.00", "120.00"]
    assert len(bids) == total == (4 if persisted == "some" else 3)


def test_a_bid_reads_the_same_before_and_after_it_is_persisted(shop: Shop) -> None:
    session, bidder = shop.session(), shop.bidder()
    placed = shop.bid(bidder, session, "120.5")
    before = history(shop, bidder)
    shop.drain(session)
    assert history(shop, bidder) == before
    [[bid], total] = before
    assert total == 1
    assert (bid.sequence, bid.score, bid.accepted_at) == (1, placed.score, placed.accepted_at)


def test_a_bid_that_is_both_in_the_log_and_in_the_table_is_shown_once(shop: Shop) -> None:
    session, bidder = shop.session(), shop.bidder()
    shop.bid(bidder, session, "120")
    name = keys.bid_log(session.session_id)
    [(entry_id, fields)] = shop.services.redis.xrange(name)
    shop.drain(session)
    shop.services.redis.delete(name)
    shop.services.redis.xadd(name, fields, id=entry_id)
    bids, total = history(shop, bidder)
    assert (len(bids), total) == (1, 1)


def test_bids_of_several_sessions_are_one_history(shop: Shop) -> None:
    one, other, bidder = shop.session(), shop.session(), shop.bidder()
    placed = [shop.bid(bidder, session, "120") for session in (one, other)]
    shop.drain(other)
    placed.append(shop.bid(bidder, one, "121"))
    bids, total = history(shop, bidder)
    assert [bid.accepted_at for bid in bids] == [bid.accepted_at for bid in reversed(placed)]
    assert total == 3


def test_a_history_can_be_of_one_session(shop: Shop) -> None:
    one, other, bidder = shop.session(), shop.session(), shop.bidder()
    for session in (one, other):
        shop.bid(bidder, session, "120")
    bids, total = history(shop, bidder, one.session_id)
    assert ([bid.session_id for bid in bids], total) == ([one.session_id], 1)


def test_the_history_of_a_session_that_nobody_made_is_refused(shop: Shop) -> None:
    with pytest.raises(errors.SessionNotFound):
        history(shop, shop.bidder(), uuid4())


@pytest.mark.parametrize("drained_after", [0, 2, 5])
def test_pages_cut_the_history_without_loss(shop: Shop, drained_after: int) -> None:
    session, bidder = shop.session(), shop.bidder()
    for number in range(5):
        if number == drained_after:
            shop.drain(session)
        shop.bid(bidder, session, str(120 + number))
    pages = [history(shop, bidder, page=number, page_size=2) for number in (1, 2, 3, 4)]
    assert [[bid.sequence for bid in bids] for bids, _ in pages] == [[5, 4], [3, 2], [1], []]
    assert {total for _, total in pages} == {5}


@pytest.mark.parametrize("page_size", [1, 2, 3, 5, 7])
def test_pages_cut_a_history_of_which_some_waits_and_some_is_stored(
    shop: Shop, page_size: int
) -> None:
    """The stored ones lie between those that wait, before them and behind them."""
    bidder = shop.bidder()
    drained, half_drained, waiting = sessions = [shop.session() for _ in range(3)]
    for number in range(12):
        shop.bid(bidder, sessions[number % 3], str(120 + number))
        if number == 6:
            shop.drain(half_drained)
    shop.drain(drained)
    whole, total = history(shop, bidder)
    assert [str(bid.price) for bid in whole] == [f"{131 - n}.00" for n in range(12)]
    assert total == 12
    pages = [history(shop, bidder, page=n, page_size=page_size)[0] for n in range(1, 14)]
    assert [bid for page in pages for bid in page] == list(whole)
    assert all(len(page) == page_size for page in pages[: 12 // page_size])
    only = history(shop, bidder, waiting.session_id, page=2, page_size=3)
    assert [str(bid.price) for bid in only[0]] == ["122.00"]


def test_a_bid_that_a_drain_has_just_stored_is_of_one_page_only(shop: Shop) -> None:
    """Wherever the page is: what is in both is shown and counted once."""
    session, bidder = shop.session(), shop.bidder()
    for number in range(6):
        shop.bid(bidder, session, str(120 + number))
    name = keys.bid_log(session.session_id)
    log = shop.services.redis.xrange(name)
    shop.drain(session)
    shop.services.redis.delete(name)
    for entry_id, fields in log:
        shop.services.redis.xadd(name, fields, id=entry_id)
    pages = [history(shop, bidder, page=number, page_size=2) for number in (1, 2, 3, 4)]
    assert [[bid.sequence for bid in bids] for bids, _ in pages] == [[6, 5], [4, 3], [2, 1], []]
    assert {total for _, total in pages} == {6}


@pytest.mark.parametrize("page", [4, 1_000_000])
def test_a_page_reads_no_rows_of_the_pages_before_it(shop: Shop, page: int) -> None:
    session, bidder = shop.session(), shop.bidder()
    for number in range(12):
        if number == 11:
            shop.drain(session)
        shop.bid(bidder, session, str(120 + number))
    rows_read = []

    def note(*arguments: Any) -> None:
        cursor = arguments[1]
        rows_read.append(cursor.rowcount)

    event.listen(shop.services.engine, "after_cursor_execute", note)
    try:
        bids, total = history(shop, bidder, page=page, page_size=3)
    finally:
        event.remove(shop.services.engine, "after_cursor_execute", note)
    assert (len(bids), total) == (3 if page == 4 else 0, 12)
    # One waits, and may have moved the page by one place.
    assert max(rows_read) <= 3 + 1


def test_logs_of_sessions_without_a_bid_of_the_member_are_not_read(shop: Shop) -> None:
    one, bidder = shop.session(), shop.bidder()
    for session in (one, shop.session(), shop.session()):
        shop.bid(shop.bidder(), session, "120")
    shop.bid(bidder, one, "121")

    def logs_read() -> int:
        return int(shop.services.redis.info("commandstats")["cmdstat_xrevrange"]["calls"])

    history(shop, bidder)
    before = logs_read()
    assert history(shop, bidder)[1] == 1
    assert logs_read() - before == 1


def test_a_bid_in_a_session_that_has_only_just_started_is_shown(shop: Shop) -> None:
    now = clock.now(shop.services.redis)
    session, bidder = shop.session(start_time=now + timedelta(hours=1)), shop.bidder()
    params = keys.session_params(session.session_id)
    shop.services.redis.hset(params, "start", clock.to_microseconds(now))
    shop.bid(bidder, session, "120")
    assert history(shop, bidder)[1] == 1


@pytest.mark.parametrize("nonsense", [{"price": "free"}, {"score": "nan"}])
def test_an_entry_that_makes_no_sense_hides_no_other_bid(
    shop: Shop, nonsense: dict[str, Any]
) -> None:
    session, bidder = shop.session(), shop.bidder()
    shop.bid(bidder, session, "120")
    name = keys.bid_log(session.session_id)
    [(_, fields)] = shop.services.redis.xrange(name)
    shop.services.redis.xadd(name, fields | nonsense, id="2-0")
    bids, total = history(shop, bidder)
    assert ([bid.sequence for bid in bids], total) == ([1], 1)
