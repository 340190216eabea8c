"""Statistics for admins."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from redis import Redis
from sqlalchemy import func, select

from core import errors
from core.postgres.database import Database
from core.postgres.models import BiddingSession, BidLogOffset, Product, User
from core.redis import clock, keys
from core.rules.lifecycle import Status, status_at


@dataclass(frozen=True, slots=True)
class SessionStats:
    """A session's counts. `persist_backlog`: accepted bids not yet in PostgreSQL."""

    bids_accepted: int
    bids_persisted: int
    persist_backlog: int


@dataclass(frozen=True, slots=True)
class Stats:
    """The shop's counts. `persist_backlog`: accepted bids not yet in PostgreSQL."""

    total_users: int
    total_products: int
    active_sessions: int
    total_bids: int
    sessions: Mapping[str, int]
    bids_accepted: int
    bids_persisted: int
    persist_backlog: int


class Statistics:
    """Counts."""

    def __init__(self, database: Database, redis: Redis) -> None:
        self._database = database
        self._redis = redis

    def read(self) -> Stats:
        """The counts. Persisted bids are read before accepted ones: the backlog is never < 0."""
        with self._database.begin() as db:
            users = db.scalar(select(func.count()).select_from(User)) or 0
            products = db.scalar(select(func.count()).select_from(Product)) or 0
            sessions = db.execute(
                select(
                    BiddingSession.id,
                    BiddingSession.status,
                    BiddingSession.start_time,
                    BiddingSession.end_time,
                    BidLogOffset.persisted_sequence,
                    BidLogOffset.skipped_sequences,
                ).join(BidLogOffset, BidLogOffset.session_id == BiddingSession.id)
            ).all()
        now = clock.now(self._redis)
        statuses = Counter(
            status_at(Status(row.status), row.start_time, row.end_time, now) for row in sessions
        )
        persisted = {row.id: row.persisted_sequence for row in sessions}
        open_ids = [row.id for row in sessions if row.status != Status.ENDED.value]
        given_out = sum({**persisted, **self._last_sequences(open_ids, persisted)}.values())
        skipped = sum(row.skipped_sequences for row in sessions)
        backlog = given_out - sum(persisted.values())
        return Stats(
            total_users=users,
            total_products=products,
            active_sessions=statuses[Status.ACTIVE],
            total_bids=given_out - skipped,
            sessions={status.value: statuses[status] for status in Status},
            bids_accepted=given_out - skipped,
            bids_persisted=given_out - skipped - backlog,
            persist_backlog=backlog,
        )

    def of_session(self, session_id: UUID) -> SessionStats:
        """One session's counts. Raises SessionNotFound."""
        with self._database.begin() as db:
            offset = db.get(BidLogOffset, session_id)
        if offset is None:
            raise errors.SessionNotFound(session_id)
        persisted = offset.persisted_sequence
        given_out = self._last_sequences([session_id], {session_id: persisted})[session_id]
        return SessionStats(
            bids_accepted=given_out - offset.skipped_sequences,
            bids_persisted=persisted - offset.skipped_sequences,
            persist_backlog=given_out - persisted,
        )

    def _last_sequences(
        self, open_ids: list[UUID], persisted: Mapping[UUID, int]
    ) -> dict[UUID, int]:
        """The last sequence given out in each open session."""
        with self._redis.pipeline(transaction=False) as pipeline:
            for session_id in open_ids:
                pipeline.hget(keys.session_params(session_id), "sequence")
            sequences: list[Any] = pipeline.execute()
        return {
            session_id: max(int(sequence or 0), persisted[session_id])
            for session_id, sequence in zip(open_ids, sequences, strict=True)
        }
