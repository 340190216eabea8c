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

from core import clock, errors, keys, scoring, scripts
from core.bid_log import DRAIN_TRUST_US
from core.loading import SessionLoader
from core.scripts import Caller, Outcome
from core.tokens import Revocations
from core.weights import Weights

# Session, weight and revocations can each be missing once.
_MAX_CALLS = 4


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

    def __init__(
        self,
        calls: Caller,
        loader: SessionLoader,
        weights: Weights,
        revocations: Revocations,
        *,
        bids_per_second: float,
        burst: int,
    ) -> None:
        self._calls = calls
        self._loader = loader
        self._weights = weights
        self._revocations = revocations
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
        PriceBelowUpset, RateLimited, TokenRevoked; a refused bid changes nothing. Raises
        Unconfirmed when it may stand or not: then it must be sent again.
        """
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
                    self._revocations.load_beside(session_id)
                case _:
                    raise _refusal(reply)
        raise errors.TemporarilyUnavailable

    def _call(
        self, bidder: Bidder, session_id: UUID, price: Decimal, weight: float | str
    ) -> list[Any]:
        return scripts.place_bid(
            self._calls,
            [
                keys.session_params(session_id),
                keys.ranking(session_id),
                keys.standing_bid(session_id, bidder.user_id),
                keys.bid_log(session_id),
                self._revocations.key_beside(session_id),
                *self._weights.keys_beside(bidder.user_id),
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
