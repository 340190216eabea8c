"""Placing bids: one script call, and what its reply means.

Redis may have lost what the script needs (the session, the member's weight, the list
of logged-out tokens). Then it says so, PostgreSQL gives it back, and the call is made
again; a bid costs one round trip otherwise.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import partial
from math import ceil
from time import perf_counter
from typing import Any
from uuid import UUID

from redis import exceptions as redis_errors

from core import clock, errors, keys, metrics, scoring, scripts
from core.backlog import BacklogGuard
from core.bid_log import DRAIN_TRUST_US
from core.loading import SessionLoader
from core.scripts import Outcome
from core.steps import Aside, Router, Steps, run
from core.tokens import Revocations
from core.weights import Weights

# Session, weight and revocations can each be missing once, and the session again each
# time that it is rebuilt meanwhile.
_MAX_CALLS = 8
# After one of these the bid may have been placed or not.
_REPLY_IS_LOST = (
    redis_errors.ConnectionError,
    redis_errors.TimeoutError,
    redis_errors.RedisClusterException,
)
_PLAIN_REFUSALS: dict[str, type[errors.Refusal]] = {
    Outcome.SESSION_NOT_STARTED: errors.SessionNotStarted,
    Outcome.SESSION_INACTIVE: errors.SessionInactive,
    Outcome.SESSION_ENDED: errors.SessionEnded,
    Outcome.TOKEN_REVOKED: errors.TokenRevoked,
    Outcome.ACCOUNT_DISABLED: errors.AccountDisabled,
}


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
    def outcome(self) -> str:
        """What the script said of it, as text: hashing a member of an enum is slow."""
        return "replayed" if self.replayed else "accepted"

    @property
    def message(self) -> str:
        """The answer in a sentence, for people."""
        standing = "still stands" if self.replayed else "is accepted"
        outlook = "would win" if self.is_winning else "would not win"
        return f"Your bid of {self.price} {standing}: rank {self.rank}, which {outlook} now."


_NOBODY = Bidder(UUID(int=0), username="", token_id="")


class Bidding:
    """Takes bids. `schedule_drain` is called when a drain of the session must be enqueued.

    `calls` carries the commands of a bid's steps.
    """

    def __init__(  # noqa: PLR0913 - all that a bid stands on
        self,
        calls: Router,
        loader: SessionLoader,
        weights: Weights,
        revocations: Revocations,
        backlog: BacklogGuard,
        *,
        bids_per_second: float,
        burst: int,
    ) -> None:
        self.calls = calls
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

        Raises what `steps` does.
        """
        steps = self.steps(bidder, session_id, price, schedule_drain=schedule_drain)
        return run(steps, self.calls)

    def steps(
        self,
        bidder: Bidder,
        session_id: UUID,
        price: Decimal,
        *,
        schedule_drain: Callable[[UUID], None],
    ) -> Steps[PlacedBid]:
        """`place` in steps.

        Raises SessionNotFound, SessionNotStarted, SessionInactive, SessionEnded,
        PriceBelowUpset, RateLimited, TokenRevoked, AccountDisabled, BacklogFull, BidNotTaken;
        a refused bid changes nothing. Raises OutcomeUnknown when it may have been placed or not.
        """
        yield from self._backlog.steps()
        weight: float | str = ""
        for _ in range(_MAX_CALLS):
            called_at = perf_counter()
            reply = yield from self._call(bidder, session_id, price, weight)
            metrics.SCRIPT_CALLS.add(reply[0], perf_counter() - called_at)
            match reply[0]:
                case Outcome.ACCEPTED | Outcome.REPLAYED:
                    if reply[10]:
                        # The bid is taken; a drain that nobody enqueues is found by the
                        # next sweep.
                        yield Aside(partial(schedule_drain, session_id))
                    return _placed(session_id, reply)
                case Outcome.UNKNOWN_SESSION:
                    yield partial(self._loader.load, session_id)
                case Outcome.UNKNOWN_WEIGHT:
                    weight = repr((yield from self._weights.steps(bidder.user_id)))
                case Outcome.UNKNOWN_REVOCATIONS:
                    yield partial(self._revocations.load_beside, session_id)
                case _:
                    raise _refusal(reply)
        raise errors.TemporarilyUnavailable

    def probe(self, no_session: UUID) -> None:
        """Have the script look at a bid in a session that is none. Raises what Redis raises, and
        Unconfirmed.
        """
        run(self._script_steps(_NOBODY, no_session, Decimal(1), ""), self.calls)

    def _call(
        self, bidder: Bidder, session_id: UUID, price: Decimal, weight: float | str
    ) -> Steps[list[Any]]:
        """The script's reply. Raises what is known of the bid when there is none."""
        try:
            return (yield from self._script_steps(bidder, session_id, price, weight))
        except errors.Unconfirmed as doubt:
            raise errors.OutcomeUnknown from doubt
        except errors.REDIS_OUTAGES as outage:
            raise _fate_of_bid(outage) from outage

    def _script_steps(
        self, bidder: Bidder, session_id: UUID, price: Decimal, weight: float | str
    ) -> Steps[list[Any]]:
        return scripts.place_bid.steps(
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


def _fate_of_bid(outage: Exception) -> errors.Refusal:
    """What Redis's error means for the bid that was in hand."""
    was_sent = not isinstance(outage, (errors.NothingSent, redis_errors.BusyLoadingError))
    if was_sent and isinstance(outage, _REPLY_IS_LOST):
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
        case [outcome] if outcome in _PLAIN_REFUSALS:
            return _PLAIN_REFUSALS[outcome]()
        case [Outcome.PRICE_BELOW_UPSET, upset_price]:
            return errors.PriceBelowUpset(Decimal(upset_price))
        case [Outcome.RATE_LIMITED, seconds]:
            metrics.RATE_LIMIT_HITS.labels("bids").inc()
            return errors.RateLimited(ceil(float(seconds)))
    raise AssertionError(f"place_bid.lua answered {reply[0]!r}, which nothing here expects")
