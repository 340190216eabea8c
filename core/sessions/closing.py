"""Closes sessions: shuts the gate, drains the log, writes the rankings, publishes them. A
cancelled session goes the same way, without rankings.

Every step can be repeated. A close that is killed, late or concurrent with another yields
the same results, written once.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from decimal import Decimal
from typing import Any
from uuid import UUID

import structlog
from redis import Redis
from sqlalchemy import and_, func, or_, select, text, update
from sqlalchemy.orm import Session

from core import errors, outages
from core.bidlog.drain import BidLog
from core.bidlog.incidents import LATE_SEQUENCES
from core.postgres.database import Database
from core.postgres.models import Announcement, BiddingSession, BidLogOffset, Ranking
from core.redis import clock, keys, leases, scripts
from core.redis.replication import Replication
from core.redis.scripts import Outcome
from core.rules.lifecycle import Status
from core.sessions.loading import SessionLoader
from core.telemetry import metrics

log = structlog.get_logger(__name__)

Settle = Callable[[Session, BiddingSession], None]
# Score descending, then the earlier bid: the order of the board in Redis. Bids accepted after
# the end are in `bids`, too (see Incident.BIDS_AFTER_END), but do not count.
_WRITE_RANKINGS = text(f"""
    INSERT INTO rankings (session_id, user_id, rank, sequence, price, score, response_time,
                          weight)
    SELECT session_id, user_id, row_number() OVER (ORDER BY score DESC, sequence),
           sequence, price, score, response_time, weight
      FROM (SELECT DISTINCT ON (user_id) session_id, user_id, sequence, price, score,
                   response_time, weight
              FROM bids
             WHERE session_id = :session_id
               AND sequence NOT IN ({LATE_SEQUENCES})
             ORDER BY user_id, sequence DESC) standing
""")  # noqa: S608 - constants
_DRAIN_SECONDS = 60.0
# A chunk takes Redis about a millisecond.
_EXPIRE_CHUNK = 1000


class Closing:
    """Closes sessions."""

    def __init__(  # noqa: PLR0913 - a close needs all of these
        self,
        database: Database,
        redis: Redis,
        bid_log: BidLog,
        loader: SessionLoader,
        *,
        ended_keys_ttl_seconds: int,
        settle: Settle,
        replication: Replication | None = None,
    ) -> None:
        """`settle`: what follows from the rankings, in the transaction that writes them."""
        self._database = database
        self._settle = settle
        self._replication = replication
        self._redis = redis
        self._bid_log = bid_log
        self._loader = loader
        self._ended_keys_ttl_seconds = ended_keys_ttl_seconds

    def due(self) -> Sequence[UUID]:
        """Sessions past their end or cancelled that are not published, and closed ones that a
        Redis restored from an older state has reopened.
        """
        now = clock.now(self._redis)
        is_over = and_(
            BiddingSession.published_at.is_(None),
            or_(BiddingSession.end_time <= now, BiddingSession.status == Status.CANCELLED.value),
        )
        is_open_again = and_(
            BiddingSession.published_at.is_not(None), BiddingSession.id.in_(self._loaded())
        )
        with self._database.begin() as db:
            return db.scalars(
                select(BiddingSession.id)
                .where(or_(is_over, is_open_again))
                .order_by(BiddingSession.end_time)
            ).all()

    def _loaded(self) -> list[UUID]:
        """Sessions that may get bids according to Redis. Publishing removes them."""
        try:
            names: Any = self._redis.smembers(keys.LOADED_SESSIONS)
        except outages.REDIS:
            # On a cluster one node has the set; its outage must not block the others' sessions.
            return []
        return [UUID(name) for name in names]

    def claim(self, session_id: UUID) -> bool:
        """Whether a close of this session should be enqueued now.

        Keeps the beat, which ticks every second, from enqueuing a close twice. The claim
        expires, so that a lost job is enqueued again. An outage of one cluster node does not
        block other nodes' sessions.
        """
        try:
            return leases.reserve(self._redis, keys.close_claim(session_id))
        except outages.REDIS:
            log.warning("close_not_claimed", session_id=str(session_id))
            return False

    def close(self, session_id: UUID) -> bool:
        """Write and publish a session's results once its end has passed.

        True for the one call that completes the close. Returns at once while another close
        of the session is active; that one or the next tick completes it.
        """
        with leases.held(self._redis, keys.close_claim(session_id)) as token:
            return token is not None and self._close(session_id)

    def _close(self, session_id: UUID) -> bool:
        try:
            last_sequence = self._shut_gate(session_id)
        except errors.SessionEnded:
            return self._close_again(session_id)
        if last_sequence is None:
            return False
        self._bid_log.persist_through(session_id, last_sequence, seconds=_DRAIN_SECONDS)
        return self._write_results(session_id, last_sequence) and self._publish(session_id)

    def _close_again(self, session_id: UUID) -> bool:
        """Close a session that has results: its close died before publishing, or Redis lost
        the end. Bids accepted since are stored but do not count.
        """
        self._bid_log.drain(session_id, seconds=_DRAIN_SECONDS)
        if self._redis.xlen(keys.bid_log(session_id)):
            return False
        self._expire_all(session_id)
        return self._publish(session_id)

    def _shut_gate(self, session_id: UUID) -> int | None:
        """The last sequence given out; None if the session is not due or is being changed."""
        for _ in range(2):
            match self._try_to_shut_gate(session_id):
                case [Outcome.GATE_SHUT, _, sequence]:
                    if self._replication:
                        self._replication.confirm(keys.session_params(session_id))
                    return int(sequence)
                case [Outcome.NOT_DUE]:
                    return None
            self._loader.load(session_id)
        raise errors.TemporarilyUnavailable

    def _try_to_shut_gate(self, session_id: UUID) -> list[Any]:
        """The script's reply. The lock keeps the end from moving meanwhile."""
        row = select(BiddingSession).where(BiddingSession.id == session_id)
        with self._database.begin() as db:
            session = db.scalars(
                row.with_for_update(read=True, skip_locked=True, of=BiddingSession)
            ).one_or_none()
            if session is None:
                if db.scalar(row) is None:
                    raise errors.SessionNotFound(session_id)
                return [Outcome.NOT_DUE]
            when = "cancelled" if session.status == Status.CANCELLED.value else "due"
            return scripts.shut_gate(
                self._redis,
                [keys.session_params(session_id)],
                [when, clock.to_microseconds(session.end_time)],
            )

    def _write_results(self, session_id: UUID, last_sequence: int) -> bool:
        """Whether they are written, or never will be as the session is cancelled; False if it is
        locked, usually by another close.

        Waiting for the lock would block a worker that other sessions need.
        """
        with self._database.begin() as db:
            session = db.scalars(
                select(BiddingSession)
                .where(BiddingSession.id == session_id)
                .with_for_update(of=BiddingSession, skip_locked=True)
            ).one_or_none()
            if session is None:
                return False
            if Status(session.status).is_over:
                self._expire_all(session_id)
                return True
            _require_persisted(db, session_id, last_sequence)
            with self._expiring_meanwhile(session_id):
                db.execute(_WRITE_RANKINGS, {"session_id": session_id})
            session.status = Status.ENDED.value
            session.version += 1
            session.closed_at = clock.now(self._redis)
            session.final_price = _final_price(db, session)
            session.highest_bid = _highest_bid(db, session)
            # One row for all bidders: core.notifications.announcing does the rest.
            db.add(Announcement(session_id=session_id))
            self._settle(db, session)
        log.info("session_closed", session_id=str(session_id), last_sequence=last_sequence)
        return True

    def _publish(self, session_id: UUID) -> bool:
        """Redirect readers to PostgreSQL; True the first time."""
        params = keys.session_params(session_id)
        if self._redis.exists(params):
            self._redis.hset(params, "final", 1)
        # On a cluster the set may be on a node that is down. A session left in it is closed
        # once more.
        with suppress(*outages.REDIS):
            self._redis.srem(keys.LOADED_SESSIONS, str(session_id))
        # Only after the results are written: a load would take its absence for a loss.
        self._redis.expire(keys.bid_log(session_id), self._ended_keys_ttl_seconds)
        with self._database.begin() as db:
            published = db.execute(
                update(BiddingSession)
                .where(BiddingSession.id == session_id, BiddingSession.published_at.is_(None))
                .values(published_at=func.now())
                .returning(
                    BiddingSession.status, BiddingSession.published_at, BiddingSession.end_time
                )
            ).one_or_none()
        if published is None:
            return False
        if published.status == Status.ENDED.value:
            lag_seconds = (published.published_at - published.end_time).total_seconds()
            metrics.CLOSE_LAG_SECONDS.observe(max(0.0, lag_seconds))
        return True

    @contextmanager
    def _expiring_meanwhile(self, session_id: UUID) -> Iterator[None]:
        """Set the expiry of the session's keys while PostgreSQL ranks and Redis is idle.

        Safe: all bids are persisted. If the keys expire before a close succeeds, the session
        is loaded again; the log does not expire yet, as evidence that nothing is lost.
        """
        with ThreadPoolExecutor(max_workers=1) as beside:
            expiring = beside.submit(self._expire_all, session_id)
            yield
        expiring.result()

    def _expire_all(self, session_id: UUID) -> None:
        ranking = keys.ranking(session_id)
        for first in range(0, self._redis.zcard(ranking), _EXPIRE_CHUNK):
            scripts.expire_bids(
                self._redis,
                [ranking],
                [
                    keys.standing_bid_prefix(session_id),
                    first,
                    first + _EXPIRE_CHUNK - 1,
                    self._ended_keys_ttl_seconds,
                ],
            )
        # Last: the chunks come from the ranking.
        for name in (
            keys.session_params(session_id),
            keys.standing_prices(session_id),
            ranking,
        ):
            self._redis.expire(name, self._ended_keys_ttl_seconds)


def _require_persisted(db: Session, session_id: UUID, last_sequence: int) -> None:
    """The rankings are computed from `bids`: every accepted bid must be there."""
    persisted = db.scalar(
        select(BidLogOffset.persisted_sequence).where(BidLogOffset.session_id == session_id)
    )
    if persisted is None or persisted < last_sequence:
        raise errors.TemporarilyUnavailable("The bid log is not yet drained.")


def _final_price(db: Session, session: BiddingSession) -> Decimal | None:
    """The price of the last winner by rank; None without bids."""
    return db.scalar(
        select(Ranking.price)
        .join(BiddingSession)
        .where(Ranking.session_id == session.id, Ranking.is_winning())
        .order_by(Ranking.rank.desc())
        .limit(1)
    )


def _highest_bid(db: Session, session: BiddingSession) -> Decimal | None:
    """The highest price that stands; None without bids."""
    return db.scalar(select(func.max(Ranking.price)).where(Ranking.session_id == session.id))
