"""Loads a session from PostgreSQL into Redis, when it is created and after Redis lost it.

One process loads and the others wait, to spare PostgreSQL a stampede. The params hash is
published last; without it a session accepts no bids, so no bid reaches a half-loaded one.
"""

import time
from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import chain
from typing import Any
from uuid import UUID

import structlog
from redis import Redis
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import Session

from core import errors
from core.bidlog import losses
from core.bidlog.drain import BidLog
from core.postgres.database import Database
from core.postgres.models import Bid, BiddingSession, BidLogOffset, User
from core.redis import clock, keys, leases, scripts
from core.redis.scripts import Outcome
from core.rules.lifecycle import Status
from core.rules.scoring import terms_of
from core.telemetry import metrics

log = structlog.get_logger(__name__)

_CHUNK_SIZE = 500
_WAIT_SECONDS = 5.0
_POLL_SECONDS = 0.02
_DRAIN_SECONDS = 5.0


class SessionLoader:
    """Loads sessions into Redis."""

    def __init__(self, database: Database, redis: Redis, bid_log: BidLog) -> None:
        self._database = database
        self._redis = redis
        self._bid_log = bid_log

    def load(self, session_id: UUID) -> None:
        """Load the session into Redis, unless it is there already.

        Raises SessionNotFound, SessionEnded if it is closed or cancelled, and
        TemporarilyUnavailable if loading takes too long.
        """
        give_up_at = time.monotonic() + _WAIT_SECONDS
        while time.monotonic() < give_up_at:
            self._require_open(session_id)
            if self._is_loaded(session_id) or self._load_or_wait(session_id):
                return
            time.sleep(_POLL_SECONDS)
        raise errors.TemporarilyUnavailable("The session is being loaded. Try again in a second.")

    def rebuild(self, session_id: UUID) -> None:
        """Discard the session's state in Redis and load it from PostgreSQL.

        Safe while bids arrive: without params none is accepted, and earlier ones are drained
        first. Sequences that Redis gave out and lost are recorded as a gap and not reused.
        Raises the same errors as `load`.
        """
        self._require_open(session_id)
        reply = scripts.unload_session(
            self._redis, [keys.session_params(session_id), keys.bid_log(session_id)]
        )
        if reply[0] == Outcome.UNLOADED:
            sequence = reply[1]
            self._bid_log.persist_through(session_id, int(sequence), seconds=_DRAIN_SECONDS)
        self.load(session_id)

    def _require_open(self, session_id: UUID) -> None:
        """Refuse unknown, closed and cancelled sessions without waiting for the lease."""
        with self._database.begin() as db:
            status = db.scalar(select(BiddingSession.status).where(BiddingSession.id == session_id))
        if status is None:
            raise errors.SessionNotFound(session_id)
        if Status(status).is_over:
            raise errors.SessionEnded

    def _load_or_wait(self, session_id: UUID) -> bool:
        with leases.held(self._redis, keys.session_load(session_id)) as token:
            if token is not None:
                return self._load_as(session_id, token)
        return self._wait(session_id)

    def _wait(self, session_id: UUID) -> bool:
        """Wait for the process that loads the session; False if it did not finish."""
        give_up_at = time.monotonic() + _WAIT_SECONDS
        while time.monotonic() < give_up_at:
            if self._is_loaded(session_id):
                return True
            if not self._redis.exists(keys.session_load(session_id)):
                return False
            time.sleep(_POLL_SECONDS)
        return False

    def _is_loaded(self, session_id: UUID) -> bool:
        return bool(self._redis.hexists(keys.session_params(session_id), "status"))

    def _load_as(self, session_id: UUID, token: str) -> bool:
        """Load as the lease's holder; False if another process overtook this one."""
        if self._is_loaded(session_id):
            return True  # by the lease's previous holder
        # The log may have outlived the params: drain it before reading PostgreSQL.
        self._bid_log.drain(session_id, seconds=_DRAIN_SECONDS)
        with self._database.begin() as db:
            load = losses.reconcile_with_stream(db, self._redis, session_id, token)
        if load is None:
            return False
        with self._database.begin() as db:
            # The lock delays a change of status until the params are in Redis.
            session = db.scalar(
                select(BiddingSession)
                .where(BiddingSession.id == session_id)
                .with_for_update(read=True, of=BiddingSession)
            )
            if session is None or Status(session.status).is_over:
                return False  # the next attempt raises
            # Publishing fails if the log has advanced beyond this.
            sequence = db.scalar(
                select(BidLogOffset.persisted_sequence).where(BidLogOffset.session_id == session_id)
            )
            fields = params_of(session)
            chunks = chain([()], _standing_bids(db, session_id))
            for number, chunk in enumerate(chunks):
                if not self._put_back(session, token, chunk, first=number == 0):
                    return False
                _raise_highest_bid(fields, chunk)
            return self._publish(session, fields, token, sequence or 0, load)

    def _put_back(
        self,
        session: BiddingSession,
        token: str,
        bids: Sequence[tuple[str, ...]],
        *,
        first: bool,
    ) -> bool:
        reply = scripts.load_standing_bids(
            self._redis,
            [
                keys.session_load(session.id),
                keys.session_params(session.id),
                keys.ranking(session.id),
                keys.standing_prices(session.id),
                *(keys.standing_bid(session.id, bid[0]) for bid in bids),
            ],
            [
                token,
                "first" if first else "next",
                int(session.allow_lower_bids),
                *chain.from_iterable(bids),
            ],
        )
        return bool(reply[0] == Outcome.LOADING)

    def _publish(
        self,
        session: BiddingSession,
        fields: dict[str, str],
        token: str,
        sequence: int,
        load: losses.LoadKind,
    ) -> bool:
        # Before it accepts bids, so that the backlog count never misses any.
        self._redis.sadd(keys.LOADED_SESSIONS, str(session.id))
        reply = scripts.load_session(
            self._redis,
            [
                keys.session_load(session.id),
                keys.session_params(session.id),
                keys.bid_log(session.id),
            ],
            [token, sequence, *chain.from_iterable(fields.items())],
        )
        log.info("session_loaded", session_id=str(session.id), sequence=sequence)
        metrics.SESSION_LOADS.labels(load.value).inc()
        return bool(reply[0] == Outcome.LOADED)


def params_of(session: BiddingSession) -> dict[str, str]:
    """The fields of a session's params hash, before any bid."""
    return {
        "status": session.status,
        "start": str(clock.to_microseconds(session.start_time)),
        "end": str(clock.to_microseconds(session.end_time)),
        **{name: _text(value) for name, value in terms_of(session).items()},
    }


def _text(term: Any) -> str:
    return str(int(term)) if isinstance(term, bool) else str(term)


def _raise_highest_bid(fields: dict[str, str], bids: Sequence[tuple[str, ...]]) -> None:
    """Keep the highest price of these standing bids, if it is the highest so far."""
    prices = [Decimal(price) for _, _, price, *_ in bids]
    highest = max([Decimal(fields.get("highest_bid", 0)), *prices])
    if highest:
        fields["highest_bid"] = str(highest)


def _standing_bids(db: Session, session_id: UUID) -> Iterator[Sequence[tuple[str, ...]]]:
    """Standing bids in chunks, in the order of load_standing_bids.lua's arguments."""
    rows = db.execute(
        select(Bid, User.shown_name())
        .outerjoin(User, User.id == Bid.user_id)
        .where(Bid.session_id == session_id)
        .ext(distinct_on(Bid.user_id))
        .order_by(Bid.user_id, Bid.sequence.desc())
        .execution_options(yield_per=_CHUNK_SIZE)
    )
    for chunk in rows.partitions():
        yield [
            (
                str(bid.user_id),
                username,
                str(bid.price),
                repr(bid.score),
                repr(bid.response_time),
                repr(bid.weight),
                str(bid.sequence),
                str(clock.to_microseconds(bid.accepted_at)),
            )
            for bid, username in chunk
        ]
