"""Bids at one instant: none lost, none doubled, none misplaced."""

import asyncio
from collections.abc import Callable, Sequence
from decimal import Decimal
from math import ceil
from threading import Barrier
from typing import Any
from uuid import UUID

from redis.exceptions import ResponseError

from core import errors
from core.bidding.batches import Batches
from core.bidding.placing import MAX_BATCH_BIDS, Bidder, Bidding, PlacedBid
from core.redis import keys
from core.sessions.sessions import SessionView
from tests.support.factories import Shop, bidding_like
from tests.support.racing import BARRIER_SECONDS, chunks, of, together

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
    session, bidder = shop.session(allow_lower_bids=True), shop.bidder()
    outcomes = together(
        *[lambda price=str(100 + number): shop.bid(bidder, session, price) for number in range(16)]
    )
    last = max(outcomes, key=lambda bid: bid.sequence)
    standing = shop.services.board.standing(session.session_id, bidder.user_id)
    assert (standing.price, standing.total_count) == (last.price, 1)
    page = shop.services.board.page(session.session_id, page=1, page_size=1)
    assert page.highest_bid == last.price


def test_where_bids_bind_the_highest_of_one_member_at_one_instant_stands(shop: Shop) -> None:
    session, bidder = shop.session(), shop.bidder()
    outcomes = together(
        *[lambda price=str(100 + number): shop.bid(bidder, session, price) for number in range(16)]
    )
    placed = sorted(of(PlacedBid, outcomes), key=lambda bid: bid.sequence)
    assert [bid.price for bid in placed] == sorted(bid.price for bid in placed)
    assert len(placed) + len(of(errors.PriceBelowStanding, outcomes)) == 16
    standing = shop.services.board.standing(session.session_id, bidder.user_id)
    assert standing.price == placed[-1].price == 115


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


# --- Bids that leave in one call -------------------------------------------------------


def count_calls(shop: Shop) -> int:
    calls = shop.services.redis.info("commandstats")["cmdstat_evalsha"]["calls"]
    return int(calls)


def test_bids_that_wait_for_a_call_leave_together(shop: Shop) -> None:
    session, bidders = shop.session(), shop.crowd(200)
    shop.bid(shop.bidder(), session, "120")
    before = count_calls(shop)
    placed = shop.bid_at_once(session, [(bidder, "120") for bidder in bidders])
    assert count_calls(shop) - before == ceil(200 / MAX_BATCH_BIDS)
    assert [bid.sequence for bid in placed] == list(range(2, 202)), "in the order they came"


def test_a_call_that_is_on_its_way_in_one_session_holds_up_no_other(shop: Shop) -> None:
    """Each session's bids go by a connection of their own."""
    sessions, bidders = [shop.session() for _ in range(3)], shop.crowd(3)
    on_their_way: list[UUID] = []
    may_go_on = asyncio.Event()
    bidding = bidding_like(shop.services)
    call = bidding._bids._call

    async def held(session_id: UUID, bids: Sequence[Any]) -> Any:
        on_their_way.append(session_id)
        if len(on_their_way) == len(sessions):
            may_go_on.set()
        await asyncio.wait_for(may_go_on.wait(), BARRIER_SECONDS)
        return await call(session_id, bids)

    bidding._bids._call = held

    async def bid_in_each() -> list[PlacedBid]:
        bids = zip(bidders, sessions, strict=True)
        return await asyncio.gather(
            *[bidding.bid(bidder, session.session_id, Decimal(120)) for bidder, session in bids]
        )

    placed = shop.services.runtime.loop.run(bid_in_each())
    assert [bid.session_id for bid in placed] == [session.session_id for session in sessions]


def rebid_at_once(
    shop: Shop, session: SessionView, bidding: Bidding
) -> tuple[Bidder, list[PlacedBid]]:
    """Eight bids of one member at one moment, among others' bids."""
    bidder, *others = shop.crowd(9)
    bids = [(bidder, str(120 + number)) for number in range(8)]
    placed = shop.bid_at_once(session, [*bids, *[(other, "120") for other in others]], bidding)
    assert len(of(PlacedBid, placed)) == 16
    return bidder, placed[:8]


def test_bids_of_one_member_that_come_together_are_placed_one_after_the_other(shop: Shop) -> None:
    session = shop.session()
    bidder, placed = rebid_at_once(shop, session, bidding_like(shop.services))
    assert len({bid.accepted_at for bid in placed}) == 8
    assert [bid.price for bid in placed] == sorted(bid.price for bid in placed)
    standing = shop.services.board.standing(session.session_id, bidder.user_id)
    assert (standing.price, standing.total_count) == (Decimal(127), 9)


class AnyInOneCall(Batches[Any, Any, Any]):
    """Gathers a member's bids as if each were another's."""

    async def ask(self, group: Any, item: Any, asker: object = None) -> Any:
        return await super().ask(group, item)


def test_in_one_call_they_would_share_their_moment_and_each_have_a_place(shop: Shop) -> None:
    """The control of the test above."""
    session, bidding = shop.session(), bidding_like(shop.services)
    bidding._bids = AnyInOneCall(
        bidding._call, max_items=MAX_BATCH_BIDS, max_wait_seconds=BARRIER_SECONDS
    )
    bidder, placed = rebid_at_once(shop, session, bidding)
    assert len({bid.accepted_at for bid in placed}) == 1
    standing = shop.services.board.standing(session.session_id, bidder.user_id)
    assert standing.total_count == 16, "one bidder in eight places"


# --- Rate limit ----------------------------------------------------------------------

BURST = 5


def place(shop: Shop, rate: float, bidder: Bidder, session: SessionView, number: int) -> PlacedBid:
    bidding = bidding_like(shop.services, bids_per_second=rate, burst=BURST)
    return bidding.place(
        bidder, session.session_id, Decimal(100 + number), schedule_drain=lambda _: None
    )


def test_a_member_who_bids_in_parallel_gets_exactly_the_burst(shop: Shop) -> None:
    session, bidder = shop.session(allow_lower_bids=True), shop.bidder()
    calls = [
        lambda number=number: place(shop, 0.001, bidder, session, number) for number in range(24)
    ]
    outcomes = together(*calls)
    assert len(of(PlacedBid, outcomes)) == BURST
    assert len(of(errors.RateLimited, outcomes)) == 24 - BURST


def test_a_limit_that_is_looked_up_before_the_bid_lets_more_through(shop: Shop) -> None:
    session, barrier = shop.session(allow_lower_bids=True), Barrier(24)
    bidder = shop.bidder()
    standing = keys.standing_bid(session.session_id, bidder.user_id)

    def bid_after_a_look(number: int) -> PlacedBid:
        tokens = shop.services.redis.hget(standing, "tokens")
        barrier.wait(BARRIER_SECONDS)
        if tokens is not None and float(tokens) < 1:
            raise errors.RateLimited(1)
        return place(shop, 0, bidder, session, number)

    outcomes = together(*[lambda number=number: bid_after_a_look(number) for number in range(24)])
    assert len(of(PlacedBid, outcomes)) == 24
