"""Places bids: one script call for many, its replies turned into results or typed errors.

A bid costs one round trip. If Redis lacks the session, the member's weight or the list of
revoked tokens, the script says so; it is reloaded from PostgreSQL and the call repeated.
"""

import asyncio
from collections import Counter
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

# Redis is blocked for a whole call: larger ones would delay all other sessions' bids.
MAX_BATCH_BIDS = 64
_MAX_WEIGHTS = 1000
# Session, weight and revocations can each be missing once, and the session again after
# each concurrent rebuild.
_MAX_CALLS = 8
# As plain strings: Python 3.11 takes ten times as long to look up an enum's member.
_REPLAYED = str(Outcome.REPLAYED)
_PLACED = frozenset({str(Outcome.ACCEPTED), _REPLAYED})
_NO_REPLY: tuple[type[Exception], ...] = (NotSent, errors.Unconfirmed, *outages.REDIS)
# After one of these the bid may have been placed or not, unless it is one of the next.
_REPLY_IS_LOST = (errors.Unconfirmed, redis_errors.ConnectionError, redis_errors.TimeoutError)
_WAS_NOT_TAKEN = (outages.NothingSent, redis_errors.BusyLoadingError)
_PLAIN_REFUSALS: dict[str, type[errors.Refusal]] = {
    Outcome.SESSION_NOT_STARTED: errors.SessionNotStarted,
    Outcome.SESSION_INACTIVE: errors.SessionInactive,
    Outcome.SESSION_ENDED: errors.SessionEnded,
    Outcome.TOKEN_REVOKED: errors.TokenRevoked,
    Outcome.ACCOUNT_DISABLED: errors.AccountDisabled,
}


class Bidder(Struct, frozen=True):
    """The bidder, from the verified token."""

    user_id: UUID
    username: str
    token_id: str
    # The id as text: formatted once per token, not per bid.
    id_text: str = ""

    def __post_init__(self) -> None:
        force_setattr(self, "id_text", str(self.user_id))


class PlacedBid(Struct, frozen=True):
    """A placed bid and its current rank. `response_time` is in seconds."""

    session_id: UUID
    sequence: int
    price: Decimal
    score: float
    rank: int
    response_time: float
    user_weight: float
    is_winning: bool
    accepted_at: datetime
    replayed: bool
    # Whether the caller must enqueue a drain of the session.
    drain_due: bool = False

    @property
    def outcome(self) -> str:
        """The script's outcome as a plain string: hashing an enum member is slow."""
        return "replayed" if self.replayed else "accepted"

    @property
    def message(self) -> str:
        """The result in a sentence, for people."""
        standing = "still stands" if self.replayed else "was accepted"
        outlook = "a winning place" if self.is_winning else "not a winning place"
        return f"Your bid of {self.price!s} {standing}. Rank {self.rank}: {outlook} right now."


# The script's reply for one bid, and for its whole call.
_Reply = tuple[list[Any], list[Any]]


class _ScriptBid(Struct, frozen=True, array_like=True):
    """A bid as the script expects it. `weight` "": the script reads the cache."""

    user_id: str
    username: str
    price: str
    token_id: str
    weight: str = ""
    only_if_better: bool = False


_PROBE = _ScriptBid(str(UUID(int=0)), "", "1", "")
_PROBE_TTL_MS = 1000
_packed = msgpack.Encoder().encode


class Bidding:
    """Places bids. Those of one session that arrive during a call share the next one."""

    def __init__(  # noqa: PLR0913 - a bid needs all of these
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
        self._bids: Batches[UUID, _ScriptBid, _Reply] = Batches(
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
        only_if_better: bool = False,
        schedule_drain: Callable[[UUID], None],
    ) -> PlacedBid:
        """`bid` for threads; also schedules the drain if one is due."""
        placed = self._loop.run(self.bid(bidder, session_id, price, only_if_better=only_if_better))
        if placed.drain_due:
            schedule_drain(session_id)
        return placed

    async def bid(
        self, bidder: Bidder, session_id: UUID, price: Decimal, *, only_if_better: bool = False
    ) -> PlacedBid:
        """Place or replace the bidder's bid. Safe to repeat.

        Raises SessionNotFound, SessionNotStarted, SessionInactive, SessionEnded,
        PriceBelowUpset, PriceBelowStanding, RateLimited, TokenRevoked, AccountDisabled,
        BacklogFull, BidNotTaken, and with `only_if_better` ScoreWouldDrop: the bid changed
        nothing. Raises OutcomeUnknown if it may have been placed.
        """
        self._backlog.require_room(self._background)
        asked = _ScriptBid(
            bidder.id_text,
            bidder.username,
            str(price),
            bidder.token_id,
            only_if_better=only_if_better,
        )
        for _ in range(_MAX_CALLS):
            try:
                reply, call = await self._bids.ask(session_id, asked, asker=asked.user_id)
            except _NO_REPLY as error:
                raise _refusal_without_reply(error) from error
            if reply[0] in _PLACED:
                return _placed(session_id, price, reply, call)
            match reply[0]:
                case Outcome.UNKNOWN_SESSION:
                    await self._background.run(self._loader.load, session_id)
                case Outcome.UNKNOWN_WEIGHT:
                    asked = replace(asked, weight=await self._weight_of(bidder.user_id))
                case Outcome.UNKNOWN_REVOCATIONS:
                    await self._background.run(self._revocations.load_for_script, session_id)
                case _:
                    raise _refusal(reply)
        raise errors.TemporarilyUnavailable

    def probe(self, no_sessions: Sequence[UUID]) -> list[Exception | None]:
        """Write to the master of each of these sessions, which do not exist, and run the script
        there, all at once. For each the Redis error or Unconfirmed, or None.
        """
        return self._loop.run(self._probe_all(no_sessions))

    async def _probe_all(self, no_sessions: Sequence[UUID]) -> list[Exception | None]:
        probes = [self._probe(session_id) for session_id in no_sessions]
        return await asyncio.gather(*probes, return_exceptions=True)  # type: ignore[return-value]

    async def _probe(self, no_session: UUID) -> None:
        await self._calls.execute("SET", keys.write_probe(no_session), 1, "PX", _PROBE_TTL_MS)
        await self._call(no_session, [_PROBE])

    async def _call(self, session_id: UUID, bids: Sequence[_ScriptBid]) -> list[_Reply]:
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
                self._revocations.key_for_script(session_id),
                *[standing + member for member in members],
                *self._weights.keys_for_script(members),
            ],
            [*self._limits, keys.standing_prices(session_id), _packed(bids)],
        )
        seconds = perf_counter() - started_at
        for outcome, count in Counter([reply[0] for reply in replies]).items():
            metrics.SCRIPT_CALLS.add(outcome, seconds, count)
        metrics.BATCH_BIDS.observe(len(bids))
        return [(reply, all_bids) for reply in replies]

    async def _weight_of(self, user_id: UUID) -> str:
        """A weight that the script did not find. Raises TokenInvalid."""
        group = self._weights.group_of(user_id)
        try:
            weight = await self._unknown_weights.ask(group, user_id)
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
            # The cache may hang: on a cluster it is not only on the session's node.
            found = await self._background.run(self._weights.read, asked)
        return [found.get(user_id) for user_id in user_ids]


def _refusal_without_reply(error: Exception) -> errors.Refusal:
    """BidNotTaken or OutcomeUnknown, for a bid whose call was not made or failed."""
    if isinstance(error, _REPLY_IS_LOST) and not isinstance(error, _WAS_NOT_TAKEN):
        return errors.OutcomeUnknown()
    return errors.BidNotTaken()


_moment = lru_cache(1)(clock.from_microseconds)


def _placed(session_id: UUID, price: Decimal, reply: list[Any], call: list[Any]) -> PlacedBid:
    outcome, sequence, _, score, response_time, weight, accepted_at, rank = reply
    inventory, drain_due = call
    # Only one bid of a call triggers the drain.
    call[1] = 0
    return PlacedBid(
        session_id=session_id,
        sequence=int(sequence),
        price=price,
        score=float(score),
        rank=rank,
        response_time=float(response_time),
        user_weight=float(weight),
        is_winning=scoring.is_winning(rank, int(inventory)),
        accepted_at=_moment(int(accepted_at)),
        replayed=outcome == _REPLAYED,
        drain_due=bool(drain_due),
    )


def _refusal(reply: list[Any]) -> errors.Refusal:
    """The typed error for a refusing reply."""
    match reply:
        case [outcome] if outcome in _PLAIN_REFUSALS:
            return _PLAIN_REFUSALS[outcome]()
        case [Outcome.PRICE_BELOW_UPSET, upset_price]:
            return errors.PriceBelowUpset(Decimal(upset_price))
        case [Outcome.PRICE_BELOW_STANDING, standing_price]:
            return errors.PriceBelowStanding(Decimal(standing_price))
        case [Outcome.SCORE_WOULD_DROP, score, standing_score]:
            return errors.ScoreWouldDrop(float(score), float(standing_score))
        case [Outcome.RATE_LIMITED, seconds]:
            metrics.RATE_LIMIT_HITS.labels("bids").inc()
            return errors.RateLimited(ceil(float(seconds)))
        case [Outcome.UNREADABLE]:
            return errors.BidNotTaken()
    raise AssertionError(f"unexpected reply of place_bids.lua: {reply[0]!r}")
