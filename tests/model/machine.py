"""Members, alone or many in one call, the shop, the drain and mishaps in any order, and the
model beside them.

The clock is the real one: the model is told when the system took a bid, checks that it
can be so, and works out everything else itself.
"""

import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from math import ceil, isclose
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlalchemy import insert, update

from core import errors
from core.bidding.placing import Bidder, PlacedBid
from core.bidlog.drain import DRAIN_TRUST_US, BidLog
from core.bidlog.losses import SKIPPED_SEQUENCES
from core.bootstrap import Services
from core.postgres.models import User
from core.redis import clock, keys
from core.sessions.loading import SessionLoader
from tests.model.auction import Auction, Bid, Bucket, Terms, weight_of
from tests.model.mishaps import (
    DRAIN_STEPS,
    DyingBidLog,
    DyingClosing,
    InterruptedBidLog,
    Killed,
    Step,
)
from tests.support.factories import Shop, bidding_like

MEMBERS = range(4)
UPSET = Decimal("100.00")
# So small that a drain needs several batches.
BATCH_SIZE = 2
# A sale does not end before it saw so many bids: after the end little can happen.
ENOUGH = 6
ROUNDING = 1e-6

few_prices = st.sampled_from([UPSET, UPSET + 10, UPSET + 20, UPSET - Decimal("0.01")])
any_price = st.decimals("99.98", "9999999999.99", places=2)
members = st.sampled_from(MEMBERS)
some_bids = st.lists(st.tuples(members, few_prices), min_size=2, max_size=8)
few_weights = st.sampled_from([1.0, 1.5, 5.0])


def coefficients(*usual: float) -> st.SearchStrategy[float]:
    return st.sampled_from(usual) | st.floats(0, 1e15)


@dataclass(frozen=True, slots=True)
class Limits:
    """Bids a second that refill a member's bucket, and what it holds."""

    rate: float
    size: int


class AuctionMachine(RuleBasedStateMachine):
    """`seen` counts what happened, over all runs, so that a test can ask whether it did."""

    def __init__(
        self,
        services: Services,
        seen: Counter[str],
        make_auction: Callable[..., Auction] = Auction,
        limits: Limits | None = None,
    ) -> None:
        super().__init__()
        self.seen, self.make_auction, self.limits = seen, make_auction, limits
        self.services = _with_small_batches(services, limits or Limits(0, 1))
        self.redis = services.redis
        self.shop = Shop(self.services)
        self.auction: Auction | None = None
        # What may happen next must not hang on how many bids the real clock let through.
        self.tried = 0

    # The sale opens

    @initialize(
        inventory=st.integers(1, 3),
        alpha=coefficients(0.0, 0.5, 1.0),
        beta=coefficients(0.0, 0.0, 0.0, 1000.0),
        gamma=coefficients(0.0, 2.0, 10.0),
        is_scheduled=st.sampled_from([False, False, True]),
        first_bids=some_bids,
    )
    def open(
        self,
        inventory: int,
        alpha: float,
        beta: float,
        gamma: float,
        is_scheduled: bool,
        first_bids: list[tuple[int, Decimal]],
    ) -> None:
        terms = Terms(UPSET, inventory, alpha, beta, gamma)
        start = clock.now(self.redis) + timedelta(hours=1) if is_scheduled else None
        self.session = self.shop.session(
            inventory=inventory, alpha=alpha, beta=beta, gamma=gamma, start_time=start
        )
        self.auction = self.make_auction(
            terms, clock.to_microseconds(self.session.start_time), has_started=not is_scheduled
        )
        self.bidders = self._register()
        self.weights = dict.fromkeys(MEMBERS, 1.0)
        self.joined, self.won = Counter[int](), Counter[int]()
        self.buckets: dict[int, Bucket] = {}
        self.persisted = self.trimmed = 0
        self.drain_trusted_until = 0
        self.is_in_redis = True
        self.is_log_lost = False
        self.losses = 0
        self.look_away = False
        self.bid(first_bids)

    # Members bid

    @rule(bids=some_bids)
    def bid(self, bids: list[tuple[int, Decimal]]) -> None:
        self.tried += len(bids)
        for member, price in bids:
            self._place(member, price)

    @rule(bids=st.dictionaries(members, few_prices, min_size=2))
    def bid_together(self, bids: dict[int, Decimal]) -> None:
        self.tried += len(bids)
        self._place_together(bids)

    @rule(bids=st.dictionaries(members, any_price, min_size=2))
    def bid_any_prices_together(self, bids: dict[int, Decimal]) -> None:
        self._place_together(bids)

    @rule(price=few_prices, member=members)
    def bid_beside_who_all_repeat_their_standing_prices(self, member: int, price: Decimal) -> None:
        standing = {own: bid.price for own, bid in self.auction.standing.items()}
        self._place_together(standing | {member: price})

    @rule(member=members, price=any_price)
    def bid_any_price(self, member: int, price: Decimal) -> None:
        self._place(member, price)

    @rule(member=members)
    def repeat_the_standing_price(self, member: int) -> None:
        if member in self.auction.standing:
            self._place(member, self.auction.standing[member].price)

    @precondition(lambda self: self.limits)
    @rule(milliseconds=st.integers(1, 60))
    def wait(self, milliseconds: int) -> None:
        time.sleep(milliseconds / 1000)

    @rule(member=members)
    def read_history(self, member: int) -> None:
        own = [bid for bid in reversed(self.auction.bids) if bid.member == member]
        page, total = self.services.history.of_member(
            self.bidders[member].user_id, self.session.session_id, page=1, page_size=100
        )
        assert total == len(own)
        assert [(past.sequence, past.price, past.score) for past in page] == [
            (bid.sequence, bid.price, bid.score) for bid in own
        ]

    # The shop and the clock decide

    @rule()
    def activate(self) -> None:
        before = self._now()
        try:
            opened = self.services.sessions.activate(self.session.session_id)
        except errors.SessionEnded:
            assert self.auction.is_over
            return
        assert not self.auction.is_over
        self.auction.is_paused = False
        start = clock.to_microseconds(opened.start_time)
        if not self.auction.has_started:
            assert before <= start <= self._now()
            self.auction.begin(start)
        assert start == self.auction.start

    @rule(member=members, price=few_prices, opens_again=st.sampled_from([True, True, False]))
    def deactivate(self, member: int, price: Decimal, opens_again: bool) -> None:
        try:
            self.services.sessions.deactivate(self.session.session_id)
        except errors.SessionEnded:
            assert self.auction.is_over
            return
        assert not self.auction.is_over
        self.auction.is_paused = True
        self._place(member, price)
        if opens_again:
            self.activate()

    @precondition(lambda self: not self.auction.has_started and not self.auction.is_over)
    @rule()
    def the_start_comes(self) -> None:
        self.shop.begin(self.session)
        start = self.services.sessions.get(self.session.session_id).start_time
        self.auction.begin(clock.to_microseconds(start))

    @precondition(lambda self: self.tried > ENOUGH and self.auction.is_running)
    @rule()
    def the_end_comes(self) -> None:
        self.shop.end(self.session)
        self.auction.is_over = True
        self.seen["ended by time"] += 1

    @precondition(lambda self: self.tried > ENOUGH or not self.auction.has_started)
    @rule()
    def end_early(self) -> None:
        ended = self.services.sessions.end_now(self.session.session_id)
        assert ended.status.value == "ended"
        if not self.auction.is_over:
            self.auction.is_over = True
            self.seen["ended early"] += 1

    @rule()
    def tick(self) -> None:
        self.services.sessions.open_due()
        is_due = self.session.session_id in self.services.closing.due()
        assert is_due == (self.auction.is_over and not self.auction.is_closed)

    @rule()
    def close(self) -> None:
        wrote = self.services.closing.close(self.session.session_id)
        assert wrote == (self.auction.is_over and not self.auction.is_closed)
        if not self.auction.is_closed:
            self._was_loaded()
        if wrote:
            self.auction.is_closed = True
            self._was_drained()
            self.joined.update(list(self.auction.standing))
            self.won.update(bid.member for bid in self.auction.winners)

    # The drain works

    @rule(times=st.integers(1, 2))
    def drain(self, times: int) -> None:
        for _ in range(times):
            rows = self.shop.drain(self.session)
            assert rows == len(self.auction.bids) - self.persisted
            self._was_drained()
            self.drain_trusted_until = 0

    @rule()
    def drain_one_batch(self) -> None:
        batch = self.services.bid_log.run_once(self.session.session_id)
        assert batch.rows == min(BATCH_SIZE, len(self.auction.bids) - self.persisted)
        self.persisted += batch.rows
        self.trimmed = self.persisted
        if self.persisted < len(self.auction.bids):
            self.seen["half a drain"] += 1

    @rule(step=st.sampled_from(DRAIN_STEPS))
    def a_drain_dies(self, step: Step) -> None:
        dying = DyingBidLog(self.services, step, batch_size=BATCH_SIZE)
        with pytest.raises(Killed):
            dying.run_once(self.session.session_id)
        if self.persisted < len(self.auction.bids):
            self.seen[step] += 1
        if step is Step.BEFORE_TRIM:
            self.persisted = min(self.persisted + BATCH_SIZE, len(self.auction.bids))

    @precondition(lambda self: self.is_in_redis)
    @rule(bids=some_bids)
    def a_drain_meets_another_and_new_bids(self, bids: list[tuple[int, Decimal]]) -> None:
        def meanwhile() -> None:
            assert self.services.bid_log.run_once(self.session.session_id) is None
            self.bid(bids)

        due = min(BATCH_SIZE, len(self.auction.bids) - self.persisted)
        drain = InterruptedBidLog(self.services, meanwhile, batch_size=BATCH_SIZE)
        assert drain.run_once(self.session.session_id).rows == due
        self.persisted += due
        self.trimmed = self.persisted
        if due:
            self.seen["drains met"] += 1

    @precondition(lambda self: not self.auction.is_closed)
    @rule()
    def sweep(self) -> None:
        before = self._now()
        is_claimed = self.session.session_id in self.services.bid_log.claim_backlogged()
        has_backlog = self.trimmed < len(self.auction.bids)
        assert is_claimed == (has_backlog and self.drain_trusted_until <= before)
        if is_claimed and self.is_in_redis:
            self.drain_trusted_until = before + DRAIN_TRUST_US
            self.seen["swept"] += 1

    @precondition(lambda self: not self.auction.is_closed)
    @rule(bids=some_bids, is_swept=st.booleans())
    def a_scheduled_drain_does_not_come(
        self, bids: list[tuple[int, Decimal]], is_swept: bool
    ) -> None:
        self.bid(bids)
        params = keys.session_params(self.session.session_id)
        self.redis.hset(params, "drain_trusted_until", self._now())
        self.drain_trusted_until = 0
        if is_swept:
            self.sweep()

    @precondition(lambda self: self.auction.has_started and not self.auction.is_over)
    @rule(seconds=st.integers(-1200, 1200))
    def the_clock_jumps(self, seconds: int) -> None:
        """Forward or back; what jumps here is the start, which is the same to the sale."""
        start = min(self.auction.start - seconds * 1_000_000, self._now())
        self.shop.move_start(self.session, clock.from_microseconds(start))
        self.auction.start = start
        self.seen["clock jumped"] += 1

    # Redis loses things

    @rule(is_drained=st.booleans())
    def lose_everything(self, is_drained: bool) -> None:
        if is_drained:
            self.drain(times=1)
        self.redis.flushdb()
        self.redis.script_flush()
        self.buckets.clear()
        self.is_log_lost = not self.auction.is_closed
        if self.persisted < len(self.auction.bids):
            self.seen["bids lost"] += 1
        self.auction.bids = self.auction.bids[: self.persisted]
        self.trimmed = self.persisted
        self._was_lost()

    @rule()
    def lose_the_params(self) -> None:
        self.redis.delete(keys.session_params(self.session.session_id))
        self._was_lost()
        if self.persisted < len(self.auction.bids):
            self.seen["params lost with bids in the log"] += 1

    # Weights change

    @rule(member=members, weight=few_weights)
    def change_a_weight(self, member: int, weight: float) -> None:
        user_id = self.bidders[member].user_id
        with self.services.database.begin() as db:
            db.execute(update(User).where(User.id == user_id).values(weight=weight))
        self.redis.set(keys.user_weight(user_id), repr(weight))
        self._was_weighed(member, weight)

    @rule(bidding=st.lists(members, min_size=1, unique=True))
    def another_sale_is_held(self, bidding: list[int]) -> None:
        """Its bidders' weights are recomputed; the last one bids most and wins."""
        sale = self.shop.session(inventory=1, alpha=1.0, beta=0.0, gamma=0.0)
        for price, member in enumerate(bidding, start=100):
            self.shop.bid(self.bidders[member], sale, Decimal(price))
        assert self.shop.close(sale)
        now = clock.now(self.redis)
        assert self.services.weights.recompute_bidders_of(sale.session_id, now) == len(bidding)
        self.joined.update(bidding)
        self.won[bidding[-1]] += 1
        for member in bidding:
            weight = self.services.accounts.get(self.bidders[member].user_id).weight
            expected = weight_of(self.joined[member], self.won[member])
            assert isclose(weight, expected, abs_tol=1e-4)
            self._was_weighed(member, weight)

    # What must hold after every step

    @invariant()
    def persisted_bids_agree(self) -> None:
        stored = self.shop.rows(
            "SELECT sequence, user_id, price, score, response_time, weight, accepted_at"
            " FROM bids WHERE session_id = :id ORDER BY sequence",
            id=self.session.session_id,
        )
        assert stored == [self._row(bid) for bid in self.auction.bids[: self.persisted]]
        waiting = self.redis.xrange(keys.bid_log(self.session.session_id))
        assert [entry for entry, _ in waiting] == [
            f"{bid.sequence}-0" for bid in self.auction.bids[self.trimmed :]
        ]

    @invariant()
    def the_board_agrees(self) -> None:
        if self.look_away:
            # Looking would load the session again; the next step shall find it missing.
            self.look_away = False
            return
        self._board_agrees()
        self._standings_agree()
        session = self.services.sessions.get(self.session.session_id)
        assert session.status.value == self.auction.status
        assert session.is_final == self.auction.is_closed

    def teardown(self) -> None:
        if self.auction is None or sys.exception() is not None:
            return
        self.services.sessions.end_now(self.session.session_id)
        self.auction.is_over = True
        if not self.auction.is_closed:
            self._die_in_the_close(list(Step)[len(self.auction.bids) % len(Step)])
        self.close()
        self._results_agree()
        self.persisted_bids_agree()
        self._losses_agree()
        self.redis.flushdb()
        self._results_agree()
        self._board_agrees()
        self._standings_agree()

    # How the two are compared

    def _place(self, member: int, price: Decimal) -> None:
        drains: list[Any] = []
        before = self._now()
        answer = self._answer(member, price, drains)
        self._answers_agree([(member, price, answer)], before, drains)

    def _place_together(self, bids: dict[int, Decimal]) -> None:
        """All in one call of the script."""
        # What Redis lost would cost some of them a second call.
        self._board_agrees()
        self.services.weights.find(tuple(bidder.user_id for bidder in self.bidders))
        self.services.revocations.load()
        before = self._now()
        asked = [(self.bidders[member], price) for member, price in bids.items()]
        answers = self.shop.bid_at_once(self.session, asked)
        placed = [answer for answer in answers if isinstance(answer, PlacedBid)]
        drains = [self.session.session_id for bid in placed if bid.drain_due]
        new = [bid for bid in placed if not bid.replayed]
        assert len({bid.accepted_at for bid in new}) <= 1
        if len(new) > 1:
            self.seen["accepted together"] += 1
        if len(placed) not in {0, len(answers)}:
            self.seen["some refused"] += 1
        if 0 < len(new) < len(placed):
            self.seen["replayed beside new ones"] += 1
        together = [(*bid, answer) for bid, answer in zip(bids.items(), answers, strict=True)]
        self._answers_agree(together, before, drains)

    def _answers_agree(
        self, answers: list[tuple[int, Decimal, Any]], before: int, drains: list[Any]
    ) -> None:
        """What the bids of one call were answered, in order; each member has one of them."""
        if not self.auction.is_closed:
            self._was_loaded()
        placed = []
        for member, price, answer in answers:
            if isinstance(answer, PlacedBid):
                assert self.auction.refusal(price) is None
                placed.append((member, price, answer))
            elif isinstance(answer, errors.RateLimited):
                assert self.auction.refusal(price) is None
                assert not self.auction.is_replay(member, price)
                self._limit_agrees(member, before, answer.retry_after_seconds)
            else:
                assert type(answer).__name__ == self.auction.refusal(price)
                self.seen[type(answer).__name__] += 1
        replays = [self.auction.is_replay(member, price) for member, price, _ in placed]
        accepted = [
            self._accept(member, price, answer, before)
            for (member, price, answer), is_replay in zip(placed, replays, strict=True)
            if not is_replay
        ]
        if accepted:
            self._drain_is_scheduled_when_due(accepted[-1].accepted_at, drains)
        else:
            assert drains == []
        for bid in accepted:
            self._count_ties(bid)
        # All of them are as after the last one.
        for (member, _, answer), is_replay in zip(placed, replays, strict=True):
            self._placed_bid_agrees(member, answer, is_replay=is_replay)

    def _answer(self, member: int, price: Decimal, drains: list[Any]) -> PlacedBid | errors.Refusal:
        try:
            return self.services.bidding.place(
                self.bidders[member],
                self.session.session_id,
                price,
                schedule_drain=drains.append,
            )
        except errors.Refusal as refused:
            return refused

    def _accept(self, member: int, price: Decimal, placed: PlacedBid, before: int) -> Bid:
        accepted_at = clock.to_microseconds(placed.accepted_at)
        newest = self.auction.bids[-1].accepted_at if self.auction.bids else 0
        assert max(before, newest, self.auction.start) <= accepted_at <= self._now()
        self._take_token(member, accepted_at)
        return self.auction.accept(member, price, self.weights[member], accepted_at)

    def _placed_bid_agrees(self, member: int, placed: PlacedBid, *, is_replay: bool) -> None:
        bid = self.auction.standing[member]
        self.seen["replay"] += is_replay
        rank = self.auction.ranking.index(bid) + 1
        assert placed == PlacedBid(
            session_id=self.session.session_id,
            sequence=bid.sequence,
            price=bid.price,
            score=bid.score,
            rank=rank,
            response_time=bid.response_time,
            user_weight=bid.weight,
            is_winning=rank <= self.auction.terms.inventory,
            threshold_score=self.auction.threshold,
            accepted_at=clock.from_microseconds(bid.accepted_at),
            replayed=is_replay,
            drain_due=placed.drain_due,
        )

    def _board_agrees(self) -> None:
        board = self.services.board.page(self.session.session_id, page=1, page_size=100)
        if not self.auction.is_closed:
            self._was_loaded()
        assert _lines(board.leaderboard) == self._expected_lines(self.auction.ranking)
        assert board.status.value == self.auction.status
        assert board.provisional == (not self.auction.is_closed)
        assert board.highest_bid == self.auction.highest_bid
        assert board.threshold_score == self.auction.threshold
        assert board.total_count == len(self.auction.standing)

    def _standings_agree(self) -> None:
        for member in MEMBERS:
            user_id = self.bidders[member].user_id
            try:
                standing = self.services.board.standing(self.session.session_id, user_id)
            except errors.NoBid:
                assert member not in self.auction.standing
            else:
                bid = self.auction.standing[member]
                rank = self.auction.ranking.index(bid) + 1
                assert (standing.rank, standing.score, standing.price) == (
                    rank,
                    bid.score,
                    bid.price,
                )
                assert standing.is_winner == (bid in self.auction.winners)
                assert standing.threshold_score == self.auction.threshold

    def _results_agree(self) -> None:
        results = self.services.results.get(self.session.session_id, page=1, page_size=100)
        assert _lines(results.rankings) == self._expected_lines(self.auction.ranking)
        assert _lines(results.winners) == self._expected_lines(self.auction.winners)
        assert results.final_price == self.auction.final_price
        assert results.total_bidders == len(self.auction.standing)
        assert results.total_winners == len(self.auction.winners) <= self.auction.terms.inventory

    def _die_in_the_close(self, step: Step) -> None:
        with pytest.raises(Killed):
            DyingClosing(self.services, step).close(self.session.session_id)
        self._was_loaded()
        self.seen[step] += 1

    def _losses_agree(self) -> None:
        """Each loss is recorded once, nothing else is, and all that is left can be proven."""
        recorded = self.shop.rows(
            "SELECT kind FROM session_events WHERE session_id = :id", id=self.session.session_id
        )
        assert recorded == [("redis_lost",)] * self.losses
        checks = self.services.audit.verify(self.session.session_id)
        assert [line for check in checks for line in check.shown] == []

    def _expected_lines(self, ranked: list[Bid]) -> list[tuple[Any, ...]]:
        return [
            (
                rank,
                self.bidders[bid.member].user_id,
                self.bidders[bid.member].username,
                bid.price,
                bid.score,
                rank <= self.auction.terms.inventory,
            )
            for rank, bid in enumerate(ranked, start=1)
        ]

    def _row(self, bid: Bid) -> tuple[Any, ...]:
        return (
            bid.sequence,
            self.bidders[bid.member].user_id,
            bid.price,
            bid.score,
            bid.response_time,
            bid.weight,
            clock.from_microseconds(bid.accepted_at),
        )

    def _drain_is_scheduled_when_due(self, accepted_at: int, drains: list[Any]) -> None:
        if accepted_at >= self.drain_trusted_until:
            assert drains == [self.session.session_id]
            self.drain_trusted_until = accepted_at + DRAIN_TRUST_US
        else:
            assert drains == []

    def _take_token(self, member: int, accepted_at: int) -> None:
        if self.limits:
            bucket = self._bucket(member)
            assert bucket.level(accepted_at) >= 1 - ROUNDING
            bucket.take(accepted_at)

    def _limit_agrees(self, member: int, before: int, retry_after_seconds: int) -> None:
        bucket = self._bucket(member)
        most, least = ((1 - bucket.level(now)) / bucket.rate for now in (before, self._now()))
        assert most > 0
        assert ceil(least - ROUNDING) <= retry_after_seconds <= ceil(most + ROUNDING)
        self.seen["rate limited"] += 1

    def _bucket(self, member: int) -> Bucket:
        return self.buckets.setdefault(member, Bucket(self.limits.rate, self.limits.size))

    def _count_ties(self, bid: Bid) -> None:
        scores = Counter(standing.score for standing in self.auction.standing.values())
        if scores[bid.score] > 1:
            self.seen["tie"] += 1

    # Book-keeping

    def _was_lost(self) -> None:
        self.is_in_redis = False
        self.look_away = True
        self.drain_trusted_until = 0

    def _was_drained(self) -> None:
        self.persisted = self.trimmed = len(self.auction.bids)

    def _was_loaded(self) -> None:
        """Loading drains first: PostgreSQL must know it all before it is read."""
        if self.is_in_redis:
            return
        self.is_in_redis = True
        self._was_drained()
        self.seen["loaded again"] += 1
        if self.is_log_lost and self.auction.has_started:
            self.auction.skip(SKIPPED_SEQUENCES)
            self.losses += 1
        self.is_log_lost = False

    def _was_weighed(self, member: int, weight: float) -> None:
        if self.auction.weight(member, weight) != weight:
            self.seen["weight kept"] += 1
        self.weights[member] = weight

    def _now(self) -> int:
        return clock.to_microseconds(clock.now(self.redis))

    def _register(self) -> list[Bidder]:
        """Members without the cost of their passwords' hashes."""
        bidders = [Bidder(uuid4(), f"m{number}-{uuid4().hex}", uuid4().hex) for number in MEMBERS]
        with self.services.database.begin() as db:
            rows = [
                {
                    "id": bidder.user_id,
                    "username": bidder.username,
                    "email": f"{bidder.username}@example.com",
                    "password_hash": "none",
                }
                for bidder in bidders
            ]
            db.execute(insert(User), rows)
        return bidders


def _with_small_batches(services: Services, limits: Limits) -> Services:
    bid_log = BidLog(services.database, services.redis, batch_size=BATCH_SIZE)
    bidding = bidding_like(
        services,
        loader=SessionLoader(services.database, services.redis, bid_log),
        bids_per_second=limits.rate,
        burst=limits.size,
    )
    return replace(services, bid_log=bid_log, bidding=bidding)


def _lines(entries: Any) -> list[tuple[Any, ...]]:
    return [
        (line.rank, line.user_id, line.username, line.price, line.score, line.is_winner)
        for line in entries
    ]
