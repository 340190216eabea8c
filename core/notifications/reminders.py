"""Reminders: members ask to be told that a session starts."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from redis import Redis
from sqlalchemy import ColumnElement, and_, delete, exists, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from core import errors
from core.members.accounts import require_account
from core.notifications.inbox import NotificationKind
from core.postgres.database import Database, page_of
from core.postgres.models import BiddingSession, Product, Reminder
from core.redis import clock
from core.rules.lifecycle import Status
from core.sessions.sessions import require_open
from core.telemetry import metrics

AHEAD = timedelta(minutes=5)
_CHUNK_MEMBERS = 5000
_OVER = (Status.ENDED.value, Status.CANCELLED.value)
# A reminder is marked in the statement that writes its notification; both are once for all.
_TELL = text(f"""
    WITH due AS (
        SELECT session_id, user_id
          FROM reminders JOIN sessions ON sessions.id = session_id
         WHERE told_at IS NULL AND status NOT IN ('ended', 'cancelled')
           AND start_time > :now AND start_time <= :soon
         LIMIT {_CHUNK_MEMBERS}
           FOR UPDATE OF reminders SKIP LOCKED),
    marked AS (
        UPDATE reminders SET told_at = now()
          FROM due
         WHERE reminders.session_id = due.session_id AND reminders.user_id = due.user_id
        RETURNING reminders.session_id, reminders.user_id),
    told AS (
        INSERT INTO notifications (session_id, user_id, kind)
        SELECT session_id, user_id, '{NotificationKind.STARTING.value}'
          FROM marked JOIN users ON users.id = user_id
         WHERE disabled_at IS NULL AND erased_at IS NULL
        ON CONFLICT DO NOTHING
        RETURNING id, user_id),
    mailed AS (
        INSERT INTO email_deliveries (notification_id)
        SELECT told.id FROM told JOIN users ON users.id = user_id
         WHERE :by_email AND email_news)
    SELECT (SELECT count(*) FROM marked) AS reminders, (SELECT count(*) FROM told) AS members
""")  # noqa: S608 - constants


@dataclass(frozen=True, slots=True)
class ReminderView:
    """A session that a member is reminded of."""

    session_id: UUID
    start_time: datetime
    name: str


class Reminders:
    """Keeps members' reminders, and tells them."""

    def __init__(self, database: Database, redis: Redis, *, by_email: bool) -> None:
        self._database = database
        self._redis = redis
        self._by_email = by_email

    def add(self, session_id: UUID, user_id: UUID) -> None:
        """Remind a member of a session's start. Safe to repeat.

        Raises SessionNotFound, SessionAlreadyStarted, SessionEnded, SessionCancelled.
        """
        now = clock.now(self._redis)
        with self._database.begin() as db:
            require_account(db, user_id)
            session = _session(db, session_id)
            require_open(session, now)
            if session.start_time <= now:
                raise errors.SessionAlreadyStarted("This session has started: you can bid now.")
            reminder = insert(Reminder).values(session_id=session_id, user_id=user_id)
            db.execute(reminder.on_conflict_do_nothing())

    def remove(self, session_id: UUID, user_id: UUID) -> None:
        """Remind the member no more. Safe to repeat. Raises SessionNotFound."""
        with self._database.begin() as db:
            require_account(db, user_id)
            _session(db, session_id)
            db.execute(
                delete(Reminder).where(
                    Reminder.session_id == session_id, Reminder.user_id == user_id
                )
            )

    def of_member(
        self, user_id: UUID, *, page: int, page_size: int
    ) -> tuple[Sequence[ReminderView], int]:
        """One page of the sessions to come that a member is reminded of, soonest first, and the
        total count.
        """
        now = clock.now(self._redis)
        own = exists().where(Reminder.session_id == BiddingSession.id, Reminder.user_id == user_id)
        soonest = (
            select(BiddingSession)
            .join(Product)
            .where(own, _is_to_come(now))
            .order_by(BiddingSession.start_time, BiddingSession.id)
        )
        with self._database.begin() as db:
            require_account(db, user_id)
            rows, total = page_of(db, soonest, page=page, page_size=page_size)
            return [ReminderView(row.id, row.start_time, row.product.name) for row in rows], total

    def tell_due(self, *, seconds: float) -> int:
        """Tell the members whose sessions start within `AHEAD`, for at most `seconds`, and forget
        reminders of sessions that have started; how many members were told.

        Concurrent calls share the work. Nobody is told twice, also if the start is moved.
        """
        give_up_at = time.monotonic() + seconds
        now = clock.now(self._redis)
        due = {"now": now, "soon": now + AHEAD, "by_email": self._by_email}
        told = 0
        while time.monotonic() < give_up_at:
            with self._database.begin() as db:
                done = db.execute(_TELL, due).one()
            told += done.members
            if not done.reminders:
                break
        metrics.NOTIFICATIONS.labels("in_app", "delivered").inc(told)
        with self._database.begin() as db:
            gone = select(BiddingSession.id).where(~_is_to_come(now))
            db.execute(delete(Reminder).where(Reminder.session_id.in_(gone)))
        return told


def _session(db: Session, session_id: UUID) -> BiddingSession:
    session = db.get(BiddingSession, session_id)
    if session is None:
        raise errors.SessionNotFound(session_id)
    return session


def _is_to_come(now: datetime) -> ColumnElement[bool]:
    """Whether a session will still start."""
    return and_(BiddingSession.status.not_in(_OVER), BiddingSession.start_time > now)
