"""Placing bids: one script call for many, and what its reply means.

Redis may have lost what the script needs (the session, the member's weight, the list
of logged-out tokens). Then it says so, PostgreSQL gives it back, and the call is made
again; a bid costs one round trip otherwise.
"""

from collections.abc import Callable, Hashable, Sequence
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from math import ceil
from time import perf_counter
from typing import Any
from uuid import UUID

from msgspec import Struct, msgpack
from msgspec.structs import force_setattr, replace
from redis import exceptions as redis_errors

from core import errors, outages
from core.bidding.batches import Batches, NotSent
from core.bidlog.backlog import BacklogGuard
from core.bidlog.drain import DRAIN_TRUST_US
from core.members.revocations import Revocations
from core.members.weights import Weights
from core.redis import clock, keys, scripts
from core.redis.calls import Calls, ClusterCalls
from core.redis.scripts import Outcome
from core.rules import scoring
from core.runtime import Runtime
from core.sessions.loading import SessionLoader
from core.telemetry import metrics

# More in a call would make the first wait for the last, and each other session's call for all.
MAX_BATCH_BIDS = 64
_MAX_WEIGHTS = 1000
# Session, weight and revocations can each be missing once, and the session again each
# time that it is rebuilt meanwhile.
_MAX_CALLS = 8
# After one of these the bid may have been placed or not.
_REPLY_IS_LOST = (redis_errors.ConnectionError, redis_errors.TimeoutError)
_PLAIN_REFUSALS: dict[str, type[errors.Refusal]] = {
    Outcome.SESSION_NOT_STARTED: errors.SessionNotStarted,
    Outcome.SESSION_INACTIVE: errors.SessionInactive,
    Outcome.SESSION_ENDED: errors.SessionEnded,
    Outcome.TOKEN_REVOKED: errors.TokenRevoked,
    Outcome.ACCOUNT_DISABLED: errors.AccountDisabled,
}


class Bidder(Struct, frozen=True):
    """Who bids, as the verified token says."""

    user_id: UUID
    username: str
    token_id: str
    # The id as the script takes it: made once for each token, not for each bid.
    id_text: str = ""

    def __post_init__(self) -> None:
        force_setattr(self, "id_text", str(self.user_id))


class PlacedBid(Struct, frozen=True):
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
    # Whether whoever asked must have a drain of the session enqueued.
    drain_due: bool = False

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


# What the script said of one bid, and of all bids of its call.
_Reply = tuple[list[Any], list[Any]]


class _Asked(Struct, frozen=True, array_like=True):
    """A bid as the script takes it. `weight` "": the script reads the cache."""

    user_id: str
    username: str
    price: str
    token_id: str
    weight: str = ""


_PROBE = _Asked(str(UUID(int=0)), "", "1", "")
_packed = msgpack.Encoder().encode


class Bidding:
    """Takes bids. Those of one session that arrive while a call is on its way leave together."""

    def __init__(  # noqa: PLR0913 - all that a bid stands on
        self,
        runtime: Runtime,
        calls: Calls | ClusterCalls,
        loader: SessionLoader,
        weights: Weights,
        revocations: Revocations,
        backlog: BacklogGuard,
        *,
        bids_per_second: float,
        burst: int,
        max_batch: int = MAX_BATCH_BIDS,
    ) -> None:
        self._loop, self._background = runtime.loop, runtime.background
        self._calls = calls
        self._loader = loader
        self._weights = weights
        self._revocations = revocations
        self._backlog = backlog
        self._limits = (bids_per_second, burst, DRAIN_TRUST_US)
        seconds = runtime.max_wait_seconds
        self._bids: Batches[UUID, _Asked, _Reply] = Batches(
            self._call, max_items=max_batch, max_wait_seconds=seconds
        )
        self._unknown_weights: Batches[Hashable, UUID, float | None] = Batches(
            self._find_weights, max_items=_MAX_WEIGHTS, max_wait_seconds=seconds
        )

    def place(
        self,
        bidder: Bidder,
        session_id: UUID,
        price: Decimal,
        *,
        schedule_drain: Callable[[UUID], None],
    ) -> PlacedBid:
        """`bid` for a thread, with the drain enqueued if one is due."""
        placed = self._loop.run(self.bid(bidder, session_id, price))
        if placed.drain_due:
            schedule_drain(session_id)
        return placed

    async def bid(self, bidder: Bidder, session_id: UUID, price: Decimal) -> PlacedBid:
        """Place or replace the bidder's bid. Safe to repeat.

        Raises SessionNotFound, SessionNotStarted, SessionInactive, SessionEnded,
        PriceBelowUpset, RateLimited, TokenRevoked, AccountDisabled, BacklogFull, BidNotTaken;
        a refused bid changes nothing. Raises OutcomeUnknown when it may have been placed or not.
        """
        self._backlog.require_room(self._background)
        asked = _Asked(bidder.id_text, bidder.username, str(price), bidder.token_id)
        for _ in range(_MAX_CALLS):
            reply, call = await self._ask(session_id, asked)
            match reply[0]:
                case Outcome.ACCEPTED | Outcome.REPLAYED:
                    return _placed(session_id, price, reply, call)
                case Outcome.UNKNOWN_SESSION:
                    await self._background.run(self._loader.load, session_id)
                case Outcome.UNKNOWN_WEIGHT:
                    asked = replace(asked, weight=await self._weight_of(bidder.user_id))
                case Outcome.UNKNOWN_REVOCATIONS:
                    await self._background.run(self._revocations.load_beside, session_id)
                case _:
                    raise _refusal(reply)
        raise errors.TemporarilyUnavailable

    def probe(self, no_session: UUID) -> None:
        """Have the script look at a bid in a session that is none. Raises what Redis raises, and
        Unconfirmed.
        """
        self._loop.run(self._call(no_session, [_PROBE]))

    async def _ask(self, session_id: UUID, asked: _Asked) -> _Reply:
        """The script's reply. Raises what is known of the bid when there is none."""
        try:
            return await self._bids.ask(session_id, asked, asker=asked.user_id)
        except NotSent:
            raise errors.BidNotTaken from None
        except errors.Unconfirmed as doubt:
            raise errors.OutcomeUnknown from doubt
        except outages.REDIS as outage:
            raise _fate_of_bid(outage) from outage

    async def _call(self, session_id: UUID, bids: Sequence[_Asked]) -> list[_Reply]:
        """One script call for all these bids."""
        started_at = perf_counter()
        members = [asked.user_id for asked in bids]
        standing = keys.standing_bid_prefix(session_id)
        all_bids, *replies = await scripts.place_bids.call(
            self._calls.execute,
            [
                keys.session_params(session_id),
                keys.ranking(session_id),
                keys.bid_log(session_id),
                self._revocations.key_beside(session_id),
                *[standing + member for member in members],
                *self._weights.keys_beside(members),
            ],
            [*self._limits, _packed(bids)],
        )
        seconds = perf_counter() - started_at
        for reply in replies:
            metrics.SCRIPT_CALLS.add(reply[0], seconds)
        metrics.BATCH_BIDS.observe(len(bids))
        return [(reply, all_bids) for reply in replies]

    async def _weight_of(self, user_id: UUID) -> str:
        """A weight that the script did not find. Raises TokenInvalid."""
        place = self._weights.place_of(user_id)
        try:
            weight = await self._unknown_weights.ask(place, user_id)
        except NotSent:
            raise errors.TemporarilyUnavailable from None
        if weight is None:
            raise errors.TokenInvalid
        return repr(weight)

    async def _find_weights(self, _: Hashable, user_ids: Sequence[UUID]) -> list[float | None]:
        asked = tuple(dict.fromkeys(user_ids))
        try:
            found = await self._background.run(self._weights.find, asked)
        except errors.TemporarilyUnavailable:
            # It may be the cache that hangs: on a cluster not all of it is on the session's node.
            found = await self._background.run(self._weights.read, asked)
        return [found.get(user_id) for user_id in user_ids]


def _fate_of_bid(outage: Exception) -> errors.Refusal:
    """What Redis's error means for the bid that was in hand."""
    was_sent = not isinstance(outage, (outages.NothingSent, redis_errors.BusyLoadingError))
    if was_sent and isinstance(outage, _REPLY_IS_LOST):
        return errors.OutcomeUnknown()
    return errors.BidNotTaken()


_moment = lru_cache(1)(clock.from_microseconds)


def _placed(session_id: UUID, price: Decimal, reply: list[Any], call: list[Any]) -> PlacedBid:
    outcome, sequence, _, score, response_time, weight, accepted_at, rank = reply
    inventory, threshold, drain_due = call
    # Of the bids of a call one sees to the drain.
    call[2] = 0
    return PlacedBid(
        session_id=session_id,
        sequence=int(sequence),
        price=price,
        score=float(score),
        rank=rank,
        response_time=float(response_time),
        user_weight=float(weight),
        is_winning=scoring.is_winning(rank, int(inventory)),
        threshold_score=float(threshold),
        accepted_at=_moment(int(accepted_at)),
        replayed=outcome == Outcome.REPLAYED,
        drain_due=bool(drain_due),
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
        case [Outcome.UNREADABLE]:
            return errors.BidNotTaken()
    raise AssertionError(f"place_bids.lua answered {reply[0]!r}, which nothing here expects")
