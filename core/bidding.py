"""Placing bids: one script call, and what its reply means.

Redis may have lost what the script needs (the session, the member's weight, the list
of logged-out tokens). Then it says so, PostgreSQL gives it back, and the call is made
again; a bid costs one round trip otherwise.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from math import ceil
from typing import Any
from uuid import UUID

from redis import Redis
from redis import exceptions as redis_errors

from core import clock, errors, keys, scoring, scripts
from core.backlog import BacklogGuard
from core.bid_log import DRAIN_TRUST_US
from core.combiner import CallCombiner
from core.loading import SessionLoader
from core.scripts import Outcome
from core.tokens import Revocations
from core.weights import Weights

# Session, weight and revocations can each be missing once, and the session again each
# time that it is rebuilt meanwhile.
_MAX_CALLS = 8


@dataclass(frozen=True, slots=True)
class Bidder:
    """Who bids, as the verified token says."""

    user_id: UUID
    username: str
    token_id: str


@dataclass(frozen=True, slots=True)
class PlacedBid:
    """The answer to a bid: where it stands now. `response_time` is in seconds."""

    session_id: UUID
    sequence: int
    price: Decimal
    score: float
    rank: int
    response_time: float
    user_weight: float
    is_winning: bool
    threshold_score: float
    accepted_at: datetime
    replayed: bool

    @property
    def message(self) -> str:
        """The answer in a sentence, for people."""
        standing = "still stands" if self.replayed else "is accepted"
        outlook = "would win" if self.is_winning else "would not win"
        return f"Your bid of {self.price} {standing}: rank {self.rank}, which {outlook} now."


class Bidding:
    """Takes bids. `schedule_drain` is called when a drain of the session must be enqueued."""

    def __init__(  # noqa: PLR0913 - all that a bid stands on
        self,
        redis: Redis,
        loader: SessionLoader,
        weights: Weights,
        revocations: Revocations,
        backlog: BacklogGuard,
        *,
        bids_per_second: float,
        burst: int,
    ) -> None:
        self._calls = CallCombiner(redis)
        self._loader = loader
        self._weights = weights
        self._revocations = revocations
        self._backlog = backlog
        self._limits = (bids_per_second, burst, DRAIN_TRUST_US)

    def place(
        self,
        bidder: Bidder,
        session_id: UUID,
        price: Decimal,
        *,
        schedule_drain: Callable[[UUID], None],
    ) -> PlacedBid:
        """Place or replace the bidder's bid. Safe to repeat.

        Raises SessionNotFound, SessionNotStarted, SessionInactive, SessionEnded,
        PriceBelowUpset, RateLimited, TokenRevoked, BacklogFull, BidNotTaken; a refused bid
        changes nothing. Raises OutcomeUnknown when it may have been placed or not.
        """
        self._backlog.require_room()
        weight: float | str = ""
        for _ in range(_MAX_CALLS):
            reply = self._call(bidder, session_id, price, weight)
            match reply[0]:
                case Outcome.ACCEPTED | Outcome.REPLAYED:
                    if reply[10]:
                        schedule_drain(session_id)
                    return _placed(session_id, reply)
                case Outcome.UNKNOWN_SESSION:
                    self._loader.load(session_id)
                case Outcome.UNKNOWN_WEIGHT:
                    weight = repr(self._weights.load(bidder.user_id))
                case Outcome.UNKNOWN_REVOCATIONS:
                    self._revocations.load()
                case _:
                    raise _refusal(reply)
        raise errors.TemporarilyUnavailable

    def _call(
        self, bidder: Bidder, session_id: UUID, price: Decimal, weight: float | str
    ) -> list[Any]:
        try:
            return scripts.place_bid(
                self._calls,
                [
                    keys.session_params(session_id),
                    keys.ranking(session_id),
                    keys.standing_bid(session_id, bidder.user_id),
                    keys.bid_log(session_id),
                    keys.REVOKED_TOKENS,
                    keys.user_weight(bidder.user_id),
                ],
                [
                    str(bidder.user_id),
                    bidder.username,
                    str(price),
                    bidder.token_id,
                    weight,
                    *self._limits,
                ],
            )
        except redis_errors.RedisError as outage:
            raise _fate_of_bid(outage) from outage


def _fate_of_bid(outage: redis_errors.RedisError) -> errors.Refusal:
    """What Redis's error means for the bid that was in hand."""
    was_sent = not isinstance(outage, (errors.NothingSent, redis_errors.BusyLoadingError))
    if was_sent and isinstance(outage, (redis_errors.ConnectionError, redis_errors.TimeoutError)):
        return errors.OutcomeUnknown()
    return errors.BidNotTaken()


def _placed(session_id: UUID, reply: list[Any]) -> PlacedBid:
    outcome, sequence, price, score, response_time, weight, accepted_at = reply[:7]
    rank, threshold, inventory = reply[7:10]
    return PlacedBid(
        session_id=session_id,
        sequence=int(sequence),
        price=Decimal(price),
        score=float(score),
        rank=rank,
        response_time=float(response_time),
        user_weight=float(weight),
        is_winning=scoring.is_winning(rank, int(inventory)),
        threshold_score=float(threshold),
        accepted_at=clock.from_microseconds(int(accepted_at)),
        replayed=outcome == Outcome.REPLAYED,
    )


def _refusal(reply: list[Any]) -> errors.Refusal:
    """The typed error for a reply that is a refusal."""
    match reply:
        case [Outcome.SESSION_NOT_STARTED]:
            return errors.SessionNotStarted()
        case [Outcome.SESSION_INACTIVE]:
            return errors.SessionInactive()
        case [Outcome.SESSION_ENDED]:
            return errors.SessionEnded()
        case [Outcome.TOKEN_REVOKED]:
            return errors.TokenRevoked()
        case [Outcome.PRICE_BELOW_UPSET, upset_price]:
            return errors.PriceBelowUpset(Decimal(upset_price))
        case [Outcome.RATE_LIMITED, seconds]:
            return errors.RateLimited(ceil(float(seconds)))
    raise AssertionError(f"place_bid.lua answered {reply[0]!r}, which nothing here expects")
