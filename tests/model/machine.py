"""Members, alone or many in one call, the shop, the drain and mishaps in any order, and the
model beside them.

The clock is the real one: the model is told when the system took a bid, checks that it
can be so, and works out everything else itself.
"""

import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from datetime import timedelta
from decimal import Decimal
from math import isclose

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlalchemy import update

from core import errors
from core.bidlog.drain import DRAIN_TRUST_US
from core.bootstrap import Services
from core.postgres.models import User
from core.redis import clock, keys
from tests.model.agreement import (
    BATCH_SIZE,
    ENOUGH,
    MEMBERS,
    Agreement,
    Limits,
    Offer,
    _with_small_batches,
    any_offer,
    few_offers,
    few_weights,
    members,
    some_bids,
    some_terms,
)
from tests.model.auction import Auction, Bucket, Terms, weight_of
from tests.model.mishaps import (
    DRAIN_STEPS,
    DyingBidLog,
    InterruptedBidLog,
    Killed,
    Step,
)
from tests.support.factories import Shop


class AuctionMachine(Agreement, RuleBasedStateMachine):
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
        terms=some_terms,
        is_scheduled=st.sampled_from([False, False, True]),
        first_bids=some_bids,
    )
    def open(self, terms: Terms, is_scheduled: bool, first_bids: list[tuple[int, Offer]]) -> None:
        start = clock.now(self.redis) + timedelta(hours=1) if is_scheduled else None
        self.session = self.shop.session(**asdict(terms), start_time=start)
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
    def bid(self, bids: list[tuple[int, Offer]]) -> None:
        self.tried += len(bids)
        for member, offer in bids:
            self._place(member, offer)

    @rule(bids=st.dictionaries(members, few_offers, min_size=2))
    def bid_together(self, bids: dict[int, Offer]) -> None:
        self.tried += len(bids)
        self._place_together(bids)

    @rule(bids=st.dictionaries(members, any_offer, min_size=2))
    def bid_any_prices_together(self, bids: dict[int, Offer]) -> None:
        self._place_together(bids)

    @rule(offer=few_offers, member=members)
    def bid_beside_who_all_repeat_their_standing_prices(self, member: int, offer: Offer) -> None:
        standing = {own: (bid.price, offer[1]) for own, bid in self.auction.standing.items()}
        self._place_together(standing | {member: offer})

    @rule(member=members, offer=any_offer)
    def bid_any_price(self, member: int, offer: Offer) -> None:
        self._place(member, offer)

    @rule(member=members, only_if_better=st.booleans())
    def repeat_the_standing_price(self, member: int, only_if_better: bool) -> None:
        if member in self.auction.standing:
            self._place(member, (self.auction.standing[member].price, only_if_better))

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

    @rule(member=members, offer=few_offers, opens_again=st.sampled_from([True, True, False]))
    def deactivate(self, member: int, offer: Offer, opens_again: bool) -> None:
        try:
            self.services.sessions.deactivate(self.session.session_id)
        except errors.SessionEnded:
            assert self.auction.is_over
            return
        assert not self.auction.is_over
        self.auction.is_paused = True
        self._place(member, offer)
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
        assert batch.rows == self._rows_due()
        self._was_drained_in_part(batch.rows)
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
            self.persisted += self._rows_due()

    @precondition(lambda self: self.is_in_redis)
    @rule(bids=some_bids)
    def a_drain_meets_another_and_new_bids(self, bids: list[tuple[int, Offer]]) -> None:
        def meanwhile() -> None:
            assert self.services.bid_log.run_once(self.session.session_id) is None
            self.bid(bids)

        due = self._rows_due()
        drain = InterruptedBidLog(self.services, meanwhile, batch_size=BATCH_SIZE)
        assert drain.run_once(self.session.session_id).rows == due
        self._was_drained_in_part(due)
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
        self, bids: list[tuple[int, Offer]], is_swept: bool
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
