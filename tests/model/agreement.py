"""Whether the product and the model of an auction agree, step by step."""

from collections import Counter
from dataclasses import dataclass, replace
from decimal import Decimal
from math import ceil
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import strategies as st
from sqlalchemy import insert

from core import errors
from core.bidding.placing import Bidder, PlacedBid
from core.bidlog.drain import DRAIN_TRUST_US, BidLog
from core.bidlog.losses import SKIPPED_SEQUENCES
from core.bootstrap import Services
from core.postgres.models import User
from core.redis import clock
from core.sessions.loading import SessionLoader
from tests.model.auction import Bid, Bucket, Terms
from tests.model.mishaps import (
    DyingClosing,
    Killed,
    Step,
)
from tests.support.factories import bidding_like

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
# A price, and whether the bid is to be taken only if it is better.
few_offers = st.tuples(few_prices, st.booleans())
any_offer = st.tuples(any_price, st.booleans())
some_bids = st.lists(st.tuples(members, few_offers), min_size=2, max_size=8)
few_weights = st.sampled_from([1.0, 1.5, 5.0])

Offer = tuple[Decimal, bool]


def coefficients(*usual: float) -> st.SearchStrategy[float]:
    return st.sampled_from(usual) | st.floats(0, 1e15)


some_terms = st.builds(
    Terms,
    upset_price=st.just(UPSET),
    inventory=st.integers(1, 3),
    alpha=coefficients(0.0, 0.5, 1.0),
    beta=coefficients(0.0, 0.0, 0.0, 1000.0),
    gamma=coefficients(0.0, 2.0, 10.0),
    allow_lower_bids=st.sampled_from([True, False]),
    pricing=st.just("second_score"),
).filter(lambda terms: terms.tell_cents)
# By the terms drawn, not drawn itself: the examples stay those that see all that must happen.
some_terms = some_terms.map(
    lambda terms: replace(terms, pricing="pay_as_bid") if terms.inventory == 3 else terms
)


@dataclass(frozen=True, slots=True)
class Limits:
    """Bids a second that refill a member's bucket, and what it holds."""

    rate: float
    size: int


class Agreement:
    """What the machine does at each step, and what must agree after it."""

    def _place(self, member: int, offer: Offer) -> None:
        drains: list[Any] = []
        before = self._now()
        answer = self._answer(member, offer, drains)
        self._answers_agree([(member, offer, answer)], before, drains)

    def _place_together(self, bids: dict[int, Offer]) -> None:
        """All in one call of the script."""
        # What Redis lost would cost some of them a second call.
        self._board_agrees()
        self.services.weights.find(tuple(bidder.user_id for bidder in self.bidders))
        self.services.revocations.load()
        before = self._now()
        asked = [(self.bidders[member], *offer) for member, offer in bids.items()]
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
        self, answers: list[tuple[int, Offer, Any]], before: int, drains: list[Any]
    ) -> None:
        """What the bids of one call were answered, in order; each member has one of them."""
        if not self.auction.is_closed:
            self._was_loaded()
        placed = []
        for member, offer, answer in answers:
            if isinstance(answer, PlacedBid):
                assert self.auction.refusal(member, offer[0]) is None
                placed.append((member, offer, answer))
            else:
                self._refusal_agrees(member, offer, answer, before)
        replays = [self.auction.is_replay(member, offer[0]) for member, offer, _ in placed]
        accepted = [
            self._accept(member, offer, answer, before)
            for (member, offer, answer), is_replay in zip(placed, replays, strict=True)
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

    def _refusal_agrees(self, member: int, offer: Offer, answer: Any, before: int) -> None:
        price, only_if_better = offer
        if not isinstance(answer, errors.RateLimited | errors.ScoreWouldDrop):
            assert type(answer).__name__ == self.auction.refusal(member, price)
            self.seen[type(answer).__name__] += 1
            return
        assert self.auction.refusal(member, price) is None
        assert not self.auction.is_replay(member, price)
        weight = self.auction.weight(member, self.weights[member])
        # Nobody knows when it was refused; scores only fall.
        most, least = (self.auction.score(price, weight, now) for now in (before, self._now()))
        if isinstance(answer, errors.RateLimited):
            assert self.auction.is_better(member, most) or not only_if_better
            self._limit_agrees(member, before, answer.retry_after_seconds)
        else:
            assert only_if_better
            assert answer.standing_score == self.auction.standing[member].score
            assert not self.auction.is_better(member, answer.score)
            assert not self.auction.is_better(member, least)
            assert least <= answer.score <= most
            self.seen["ScoreWouldDrop"] += 1

    def _answer(self, member: int, offer: Offer, drains: list[Any]) -> PlacedBid | errors.Refusal:
        price, only_if_better = offer
        try:
            return self.services.bidding.place(
                self.bidders[member],
                self.session.session_id,
                price,
                only_if_better=only_if_better,
                schedule_drain=drains.append,
            )
        except errors.Refusal as refused:
            return refused

    def _accept(self, member: int, offer: Offer, placed: PlacedBid, before: int) -> Bid:
        price, only_if_better = offer
        accepted_at = clock.to_microseconds(placed.accepted_at)
        newest = self.auction.bids[-1].accepted_at if self.auction.bids else 0
        assert max(before, newest, self.auction.start) <= accepted_at <= self._now()
        assert self.auction.is_better(member, placed.score) or not only_if_better
        self._take_token(member, accepted_at)
        highest = self.auction.highest_bid
        bid = self.auction.accept(member, price, self.weights[member], accepted_at)
        if highest is not None and self.auction.highest_bid < highest:
            self.seen["highest bid fell"] += 1
        return bid

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
        winners = self.services.results.winners(self.session.session_id)
        assert list(results.winners) == winners[:100]
        assert _lines(winners) == self._expected_lines(self.auction.winners)
        for entry, bid in zip(winners, self.auction.winners, strict=True):
            assert entry.price_to_pay is not None
            assert self.auction.is_price_to_pay(bid, entry.price_to_pay)
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

    def _rows_due(self) -> int:
        """Rows of the next batch: none while it has only entries whose trims were missed."""
        if self.persisted - self.trimmed > BATCH_SIZE:
            return 0
        return min(BATCH_SIZE, len(self.auction.bids) - self.persisted)

    def _was_drained_in_part(self, rows: int) -> None:
        if self.persisted - self.trimmed > BATCH_SIZE:
            self.trimmed += BATCH_SIZE
        else:
            self.persisted += rows
            self.trimmed = self.persisted

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
