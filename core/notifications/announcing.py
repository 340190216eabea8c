"""Telling the bidders of a closed session how it ended, each one once.

The close writes one announcement. From it the notifications are written set-wise, best
ranks first, and the announcement's `told_through_rank` moves in the transaction that
writes them: a process that dies anywhere repeats a read, never a notification.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from core.postgres.database import Database
from core.postgres.models import Announcement, WebhookDelivery
from core.sessions.results import count_bidders
from core.telemetry import metrics

# Long enough to be quick, short enough that the first winners are told at once.
CHUNK_MEMBERS = 5000

_WRITE_NOTIFICATIONS = text("""
    WITH told AS (
        INSERT INTO notifications (session_id, user_id, kind)
        SELECT session_id, user_id, :kind
          FROM rankings
         WHERE session_id = :session_id AND rank > :after AND rank <= :through
        RETURNING id)
    INSERT INTO email_deliveries (notification_id)
    SELECT id FROM told WHERE :by_email
""")


class Kind(StrEnum):
    """What a notification is about."""

    SESSION_ENDED = "session_ended"


class Event(StrEnum):
    """What the shop's system is told of, in the spelling of Standard Webhooks."""

    SESSION_ENDED = "session.ended"


@dataclass(frozen=True, slots=True)
class Told:
    """What one call did. `unfinished`: its time was over before everybody was told."""

    members: int
    unfinished: bool


class Telling:
    """Writes the notifications of closed sessions, and what the channels are to deliver.

    A channel that is off gets nothing: switched on later, it tells of later sessions only.
    """

    def __init__(
        self,
        database: Database,
        *,
        by_email: bool,
        by_webhook: bool,
        chunk_members: int = CHUNK_MEMBERS,
    ) -> None:
        self._database = database
        self._by_email = by_email
        self._by_webhook = by_webhook
        self._chunk_members = chunk_members

    def unfinished(self) -> Sequence[UUID]:
        """Closed sessions not all of whose bidders are told, oldest first."""
        with self._database.begin() as db:
            return db.scalars(
                select(Announcement.session_id)
                .where(Announcement.finished_at.is_(None))
                .order_by(Announcement.created_at)
            ).all()

    def tell(self, session_id: UUID, *, seconds: float) -> Told:
        """Tell the bidders of one session, for so many seconds at most.

        A second call at the same time leaves at once. Safe to repeat.
        """
        deadline = time.monotonic() + seconds
        members = 0
        while (told := self._tell_next(session_id)) is not None:
            members += told
            metrics.NOTIFICATIONS.labels("in_app", "delivered").inc(told)
            if time.monotonic() > deadline:
                return Told(members, unfinished=True)
        return Told(members, unfinished=False)

    def _tell_next(self, session_id: UUID) -> int | None:
        """How many were told now; None when none is left or another process is at it."""
        with self._database.begin() as db:
            announcement = _lock(db, session_id)
            if announcement is None:
                return None
            after, last = announcement.told_through_rank, count_bidders(db, session_id)
            through = min(after + self._chunk_members, last)
            if after == 0 and self._by_webhook:
                db.add(WebhookDelivery(session_id=session_id, event=Event.SESSION_ENDED.value))
            db.execute(
                _WRITE_NOTIFICATIONS,
                {
                    "kind": Kind.SESSION_ENDED.value,
                    "session_id": session_id,
                    "after": after,
                    "through": through,
                    "by_email": self._by_email,
                },
            )
            announcement.told_through_rank = through
            if through == last:
                announcement.finished_at = func.now()
            return through - after


def _lock(db: Session, session_id: UUID) -> Announcement | None:
    """The announcement, for this transaction alone; None when it is done or another's."""
    return db.scalars(
        select(Announcement)
        .where(Announcement.session_id == session_id, Announcement.finished_at.is_(None))
        .with_for_update(skip_locked=True)
    ).one_or_none()
