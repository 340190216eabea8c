"""Notifies every bidder of a closed or cancelled session once.

The close writes one announcement. Notifications are written from it set-wise, best ranks
first, and the announcement's `told_through_rank` advances in the same transaction: a crash
repeats a read, never a notification. A cancelled session has no ranks: all of its bidders are
notified in one step, once its bids are persisted.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import ARRAY, Uuid, bindparam, func, select, text
from sqlalchemy.orm import Session

from core.notifications.inbox import NotificationKind
from core.notifications.shop_events import session_ended
from core.postgres.database import Database
from core.postgres.models import Announcement, BiddingSession
from core.rules.lifecycle import Status
from core.sessions.results import count_bidders
from core.telemetry import metrics

# Large enough to be fast, small enough that the first winners are notified at once.
CHUNK_MEMBERS = 5000

_NOTIFY = """
    WITH notified AS (
        INSERT INTO notifications (session_id, user_id, kind)
        SELECT session_id, user_id, :kind
          FROM {those}
        RETURNING id, user_id)
    INSERT INTO email_deliveries (notification_id)
    SELECT notified.id FROM notified JOIN users ON users.id = user_id
     WHERE :by_email AND erased_at IS NULL
"""
_RANKS = "rankings WHERE session_id = :session_id AND "
_WRITE_NOTIFICATIONS = text(_NOTIFY.format(those=_RANKS + "rank > :after AND rank <= :through"))
_WRITE_TO_RANKS = text(_NOTIFY.format(those=_RANKS + "rank = ANY(:ranks)"))
# A member hears of its offer's end once, whoever asks again.
_WRITE_OFFERS_ENDED = text(
    _NOTIFY.format(
        those="offers WHERE session_id = :session_id AND id = ANY(:ids)"
        " AND state IN ('expired', 'withdrawn') ON CONFLICT DO NOTHING"
    )
).bindparams(bindparam("ids", type_=ARRAY(Uuid)))

_WRITE_CANCELLED = text("""
    WITH notified AS (
        INSERT INTO notifications (session_id, user_id, kind)
        SELECT DISTINCT CAST(:session_id AS uuid), user_id, :kind
          FROM bids WHERE session_id = :session_id
        RETURNING id, user_id),
    mailed AS (
        INSERT INTO email_deliveries (notification_id)
        SELECT notified.id FROM notified JOIN users ON users.id = user_id
         WHERE :by_email AND erased_at IS NULL)
    SELECT count(*) FROM notified
""")


@dataclass(frozen=True, slots=True)
class Announced:
    """The members notified by one call. `unfinished`: its time ran out before the last one."""

    members: int
    unfinished: bool


class Announcing:
    """Writes the notifications of closed and cancelled sessions, their e-mails, and the event of
    a close for the shop.

    E-mail that is off gets none: once switched on, it announces later sessions only.
    """

    def __init__(
        self,
        database: Database,
        *,
        by_email: bool,
        chunk_members: int = CHUNK_MEMBERS,
    ) -> None:
        self._database = database
        self._by_email = by_email
        self._chunk_members = chunk_members

    def unfinished(self) -> Sequence[UUID]:
        """Closed sessions with bidders not yet notified, oldest first."""
        with self._database.begin() as db:
            return db.scalars(
                select(Announcement.session_id)
                .where(Announcement.finished_at.is_(None))
                .order_by(Announcement.created_at)
            ).all()

    def announce(self, session_id: UUID, *, seconds: float) -> Announced:
        """Notify the bidders of one session, for at most `seconds`.

        A concurrent second call returns at once. Safe to repeat.
        """
        deadline = time.monotonic() + seconds
        members = 0
        while (notified := self._announce_next(session_id)) is not None:
            members += notified
            metrics.NOTIFICATIONS.labels("in_app", "delivered").inc(notified)
            if time.monotonic() > deadline:
                return Announced(members, unfinished=True)
        return Announced(members, unfinished=False)

    def tell_successors(self, db: Session, session_id: UUID, ranks: Sequence[int]) -> None:
        """Notify the members at these ranks, in this transaction, that they have an offer."""
        db.execute(
            _WRITE_TO_RANKS,
            {
                "kind": NotificationKind.OFFER_OPENED.value,
                "session_id": session_id,
                "ranks": list(ranks),
                "by_email": self._by_email,
            },
        )

    def tell_offers_ended(self, db: Session, session_id: UUID, ids: Sequence[UUID]) -> None:
        """Notify the members of those of these offers that have expired or were withdrawn."""
        db.execute(
            _WRITE_OFFERS_ENDED,
            {
                "kind": NotificationKind.OFFER_ENDED.value,
                "session_id": session_id,
                "ids": list(ids),
                "by_email": self._by_email,
            },
        )

    def _announce_next(self, session_id: UUID) -> int | None:
        """How many members were notified; None if none is left or another process is active."""
        with self._database.begin() as db:
            announcement = _lock(db, session_id)
            if announcement is None:
                return None
            session = db.get_one(BiddingSession, session_id)
            if session.status == Status.CANCELLED.value:
                return self._announce_cancelled(db, session, announcement)
            after, last = announcement.told_through_rank, count_bidders(db, session_id)
            through = min(after + self._chunk_members, last)
            if after == 0:
                db.add(session_ended(db, session_id))
            db.execute(
                _WRITE_NOTIFICATIONS,
                {
                    "kind": NotificationKind.SESSION_ENDED.value,
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

    def _announce_cancelled(
        self, db: Session, session: BiddingSession, announcement: Announcement
    ) -> int | None:
        if session.published_at is None:
            return None  # bids may still be in Redis
        announcement.finished_at = func.now()
        kind = NotificationKind.SESSION_CANCELLED.value
        told = {"session_id": session.id, "kind": kind, "by_email": self._by_email}
        return int(db.execute(_WRITE_CANCELLED, told).scalar_one())


def _lock(db: Session, session_id: UUID) -> Announcement | None:
    """The announcement, locked; None if it is finished or locked by another process."""
    return db.scalars(
        select(Announcement)
        .where(Announcement.session_id == session_id, Announcement.finished_at.is_(None))
        .with_for_update(skip_locked=True)
    ).one_or_none()
