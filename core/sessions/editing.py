"""Changes and cancels sessions that are planned or running.

PostgreSQL decides, under the session's row lock, and the gate in Redis follows. If a process
dies in between, the gate follows later (`align_gates`, and the close of a cancelled session):
    before the first bid  the gate is removed before the commit, and loaded again after it
    later                 only the end moves: the gate is never open longer than PostgreSQL says
    cancelled             no load opens it again; a bid that still gets in is stored, and wins
                          nothing
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import fields, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from redis import Redis
from sqlalchemy import select
from sqlalchemy.orm import Session

from core import errors, outages
from core.postgres.database import Database
from core.postgres.models import Announcement, BiddingSession, BidLogOffset
from core.redis import clock, keys, scripts
from core.redis.replication import Replication
from core.redis.scripts import Outcome
from core.rules.images import ImageHosts
from core.rules.lifecycle import Status
from core.sessions.sessions import (
    Sessions,
    SessionView,
    Terms,
    locked,
    new_session,
    require_open,
    view_of,
)
from core.sessions.shop_events import Milestone, note

log = structlog.get_logger(__name__)

MAX_DURATION = timedelta(days=30)
# The columns that hold the terms.
_TERMS = frozenset(field.name for field in fields(Terms)) - {"duration"}
# Both mean that bids are accepted from the start on.
_OPEN = (Status.SCHEDULED.value, Status.ACTIVE.value)


class SessionEdits:
    """Changes and cancels sessions."""

    def __init__(
        self,
        database: Database,
        redis: Redis,
        sessions: Sessions,
        replication: Replication,
        image_hosts: ImageHosts,
    ) -> None:
        self._database = database
        self._redis = redis
        self._sessions = sessions
        self._replication = replication
        self._image_hosts = image_hosts

    def change(self, session_id: UUID, version: int, changes: Mapping[str, Any]) -> SessionView:
        """Change any of the terms (and `end_time`) before the start, and a product's name,
        description and picture or the end, to a later one, until the end.

        Raises VersionConflict unless `version` is the current one, SessionAlreadyStarted,
        SessionEnded, SessionCancelled, InvalidImageUrl and InvalidTerms.
        """
        self._image_hosts.require(changes.get("image_url"))
        with self._database.begin() as db:
            session = locked(db, session_id)
            now = clock.now(self._redis)
            self._require_open(session, now)
            _require_version(session, version)
            terms = _new_terms(session, changes, now)
            has_started = self._has_started(db, session, now)
            if has_started and not _only_extends(session, terms):
                raise errors.SessionAlreadyStarted
            if _apply(session, changes, terms):
                session.version += 1
            db.flush()
            if terms and not has_started:
                self._unload(session_id)
        if terms and has_started:
            self._follow(session_id)
        elif terms:
            self._sessions.load(session_id)
        log.info("session_changed", session_id=str(session_id), version=session.version)
        return view_of(session, now)

    def cancel(self, session_id: UUID, reason: str, version: int | None = None) -> SessionView:
        """End a session without winners. Safe to repeat: the first reason stays.

        Raises SessionEnded, and VersionConflict if `version` is not the current one.
        """
        with self._database.begin() as db:
            session = locked(db, session_id)
            now = clock.now(self._redis)
            if session.status != Status.CANCELLED.value:
                self._require_open(session, now)
                _require_version(session, version)
                _cancel(db, session, reason, now)
        self._shut_gate(session_id, now)
        log.info("session_cancelled", session_id=str(session_id))
        return view_of(session, now)

    def align_gates(self) -> None:
        """Correct the gates that differ from PostgreSQL: the process that changed the session
        died, or Redis was restored from an older state.
        """
        # An outage is the other sweeps' matter, too; this one must not hold up the tick.
        with suppress(*outages.REDIS):
            for session_id in list(self._misaligned()):
                self._follow(session_id)

    def _misaligned(self) -> Iterator[UUID]:
        names: Any = self._redis.smembers(keys.LOADED_SESSIONS)
        ids = [UUID(name) for name in names]
        with self._redis.pipeline(transaction=False) as pipeline:
            for session_id in ids:
                pipeline.hmget(keys.session_params(session_id), "status", "start", "end")
            gates = dict(zip(ids, pipeline.execute(), strict=True))
        now = clock.now(self._redis)
        running = select(BiddingSession).where(
            BiddingSession.id.in_(ids), BiddingSession.end_time > now
        )
        with self._database.begin() as db:
            for session in db.scalars(running):
                status, *window = gates[session.id]
                gate = [_as_gate(status), *window]
                if status and gate != [_as_gate(session.status), *_window(session)]:
                    yield session.id

    def _require_open(self, session: BiddingSession, now: datetime) -> None:
        require_open(session, now)
        # Ended by a call that died before its commit. The next one ends it in PostgreSQL, too.
        status = self._redis.hget(keys.session_params(session.id), "status")
        if status == Status.ENDED.value:
            raise errors.SessionEnded

    def _has_started(self, db: Session, session: BiddingSession, now: datetime) -> bool:
        """Whether there may be bids; also if the clock was set back."""
        offset = BidLogOffset.session_id == session.id
        persisted = db.scalar(select(BidLogOffset.persisted_sequence).where(offset))
        given_out = self._redis.hget(keys.session_params(session.id), "sequence")
        return session.start_time <= now or bool(persisted or int(given_out or 0))

    def _shut_gate(self, session_id: UUID, now: datetime) -> None:
        params = keys.session_params(session_id)
        scripts.shut_gate(self._redis, [params], ["cancelled", clock.to_microseconds(now)])
        self._replication.confirm(params)

    def _unload(self, session_id: UUID) -> None:
        """Remove the gate, while the row lock keeps it from being loaded."""
        reply = scripts.unload_session(
            self._redis, [keys.session_params(session_id), keys.bid_log(session_id)]
        )
        if reply[0] == Outcome.UNLOADED and int(reply[1]) > 0:
            # A bid came with the start, which passed meanwhile.
            raise errors.SessionAlreadyStarted

    def _follow(self, session_id: UUID) -> None:
        """Set the gate's window and status to PostgreSQL's, unless they are being changed."""
        with self._database.begin() as db:
            session = db.scalars(
                select(BiddingSession)
                .where(BiddingSession.id == session_id)
                .with_for_update(read=True, skip_locked=True, of=BiddingSession)
            ).one_or_none()
            if session is None or Status(session.status).is_over:
                return
            params = keys.session_params(session_id)
            scripts.follow_session(self._redis, [params], [session.status, *_window(session)])
            self._replication.confirm(params)


def _cancel(db: Session, session: BiddingSession, reason: str, now: datetime) -> None:
    session.status = Status.CANCELLED.value
    session.cancelled_at = now
    session.cancel_reason = reason
    session.version += 1
    db.add(Announcement(session_id=session.id))
    db.flush()
    note(db, Milestone.CANCELLED, view_of(session, now))


def _require_version(session: BiddingSession, version: int | None) -> None:
    if version not in (None, session.version):
        raise errors.VersionConflict(session.version)


def _new_terms(
    session: BiddingSession, changes: Mapping[str, Any], now: datetime
) -> dict[str, Any]:
    """The terms and the end that these changes make others, by column."""
    current = {name: getattr(session, name) for name in _TERMS}
    current["duration"] = session.end_time - session.start_time
    terms = Terms(**current | {name: changes[name] for name in changes.keys() & current.keys()})
    if "end_time" in changes:
        terms = replace(terms, duration=_until(changes["end_time"], terms.start_time or now, now))
    new = new_session(terms, now, session.allow_lower_bids)
    values = {name: getattr(new, name) for name in (*_TERMS, "end_time")}
    return {name: value for name, value in values.items() if value != getattr(session, name)}


def _until(end: datetime, start: datetime, now: datetime) -> timedelta:
    if end <= max(start, now):
        raise errors.InvalidTerms("end_time", "Must be in the future and after the start.")
    if end > start + MAX_DURATION:
        raise errors.InvalidTerms("end_time", "Must be at most 30 days after the start.")
    return end - start


def _only_extends(session: BiddingSession, terms: Mapping[str, Any]) -> bool:
    return not terms or (terms.keys() == {"end_time"} and terms["end_time"] > session.end_time)


def _apply(session: BiddingSession, changes: Mapping[str, Any], terms: Mapping[str, Any]) -> bool:
    """Whether anything changes."""
    texts = {
        name: changes[name]
        for name in changes.keys() & {"name", "description", "image_url"}
        if changes[name] != getattr(session.product, name)
    }
    for name, value in texts.items():
        setattr(session.product, name, value)
    for name, value in terms.items():
        setattr(session, name, value)
    return bool(texts or terms)


def _as_gate(status: str | None) -> str | None:
    """A status as the bid script takes it."""
    return Status.ACTIVE.value if status in _OPEN else status


def _window(session: BiddingSession) -> list[str]:
    moments = (session.start_time, session.end_time)
    return [str(clock.to_microseconds(moment)) for moment in moments]
