"""Bids at one instant: none lost, none doubled, none misplaced."""

from collections.abc import Callable
from decimal import Decimal
from threading import Barrier
from typing import Any

from redis.exceptions import ResponseError

from core import errors, keys
from core.bidding import Bidder, Bidding, PlacedBid
from core.sessions import SessionView
from tests.concurrency.racing import BARRIER_SECONDS, chunks, of, together
from tests.factories import Shop

THREADS = 12
BIDS = 240


def bids_of(shop: Shop, session: SessionView) -> list[Callable[[], PlacedBid]]:
    """One bid each by many members, few enough prices for many equal scores by price."""
    bidders = [shop.bidder() for _ in range(BIDS)]
    return [
        lambda bidder=bidder, price=str(100 + number % 7): shop.bid(bidder, session, price)
        for number, bidder in enumerate(bidders)
    ]


def board(shop: Shop, session: SessionView) -> list[tuple[int, Any]]:
    pages = [
        shop.services.board.page(session.session_id, page=number, page_size=100)
        for number in range(1, -(-BIDS // 100) + 1)
    ]
    return [(entry.rank, entry.score) for page in pages for entry in page.leaderboard]


def test_bids_at_one_instant_get_sequences_without_holes(shop: Shop) -> None:
    session = shop.session()
    outcomes = together(*chunks(bids_of(shop, session), THREADS))
    placed = [bid for own in outcomes for bid in own]
    assert sorted(bid.sequence for bid in placed) == list(range(1, BIDS + 1))
    assert shop.drain(session) == BIDS
    assert shop.drains_scheduled == [session.session_id]


def test_bids_at_one_instant_are_ranked_by_score_and_then_sequence(shop: Shop) -> None:
    session = shop.session(alpha=1.0, beta=0.0, gamma=0.0)
    outcomes = together(*chunks(bids_of(shop, session), THREADS))
    placed = [bid for own in outcomes for bid in own]
    ranked = sorted(placed, key=lambda bid: (-bid.score, bid.sequence))
    assert board(shop, session) == [(rank, bid.score) for rank, bid in enumerate(ranked, start=1)]
    shop.close(session)
    assert shop.rows("SELECT sequence FROM rankings ORDER BY rank") == [
        (bid.sequence,) for bid in ranked
    ]


def test_rebids_of_one_member_at_one_instant_leave_the_last_one_standing(shop: Shop) -> None:
    session, bidder = shop.session(), shop.bidder()
    outcomes = together(
        *[lambda price=str(100 + number): shop.bid(bidder, session, price) for number in range(16)]
    )
    last = max(outcomes, key=lambda bid: bid.sequence)
    standing = shop.services.board.standing(session.session_id, bidder.user_id)
    assert (standing.price, standing.total_count) == (last.price, 1)


def test_one_bid_sent_many_times_at_one_instant_is_placed_once(shop: Shop) -> None:
    session, bidder = shop.session(), shop.bidder()
    outcomes = together(*[lambda: shop.bid(bidder, session, "120")] * THREADS)
    assert sorted(bid.replayed for bid in outcomes) == [False] + [True] * (THREADS - 1)
    assert {bid.sequence for bid in outcomes} == {1}


def unguarded_bid(shop: Shop, session: SessionView, barrier: Barrier) -> int:
    """The script's first read and last write, in two steps rather than one."""
    redis, params = shop.services.redis, keys.session_params(session.session_id)
    sequence = int(redis.hget(params, "sequence")) + 1
    barrier.wait(BARRIER_SECONDS)
    redis.hset(params, "sequence", sequence)
    redis.xadd(keys.bid_log(session.session_id), {"price": "120"}, id=f"{sequence}-0")
    return sequence


def test_without_the_script_two_bids_get_one_sequence_and_one_is_lost(shop: Shop) -> None:
    session, barrier = shop.session(), Barrier(2)
    outcomes = together(*[lambda: unguarded_bid(shop, session, barrier)] * 2)
    assert of(int, outcomes) == [1]
    assert len(of(ResponseError, outcomes)) == 1


# --- Rate limit ----------------------------------------------------------------------

BURST = 5


def bidding(shop: Shop, rate: float) -> Bidding:
    like = shop.services.bidding
    return Bidding(
        shop.services.redis,
        like._loader,
        like._weights,
        like._revocations,
        like._backlog,
        bids_per_second=rate,
        burst=BURST,
    )


def place(shop: Shop, rate: float, bidder: Bidder, session: SessionView, number: int) -> PlacedBid:
    return bidding(shop, rate).place(
        bidder, session.session_id, Decimal(100 + number), schedule_drain=lambda _: None
    )


def test_a_member_who_bids_in_parallel_gets_exactly_the_burst(shop: Shop) -> None:
    session, bidder = shop.session(), shop.bidder()
    calls = [
        lambda number=number: place(shop, 0.001, bidder, session, number) for number in range(24)
    ]
    outcomes = together(*calls)
    assert len(of(PlacedBid, outcomes)) == BURST
    assert len(of(errors.RateLimited, outcomes)) == 24 - BURST


def test_a_limit_that_is_looked_up_before_the_bid_lets_more_through(shop: Shop) -> None:
    session, bidder, barrier = shop.session(), shop.bidder(), Barrier(24)
    standing = keys.standing_bid(session.session_id, bidder.user_id)

    def bid_after_a_look(number: int) -> PlacedBid:
        tokens = shop.services.redis.hget(standing, "tokens")
        barrier.wait(BARRIER_SECONDS)
        if tokens is not None and float(tokens) < 1:
            raise errors.RateLimited(1)
        return place(shop, 0, bidder, session, number)

    outcomes = together(*[lambda number=number: bid_after_a_look(number) for number in range(24)])
    assert len(of(PlacedBid, outcomes)) == 24
