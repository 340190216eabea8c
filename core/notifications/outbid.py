"""Tells members who were winning that they no longer are.

A look every ten seconds compares each running board with the mark that the look before left in
PostgreSQL: the last place that won, and the last bid. Who was winning then, has not bid since and
is not winning now was outbid. Such members stand between the mark and the last place that wins
now, so a look reads neither the winners nor the rest of the board, and bidding pays nothing.

It is coarse on purpose: who is outbid and bids again between two looks is not told, nor is
anybody in the last seconds, when the results are near. The mark moves in the transaction that
writes the notifications: a process that is killed repeats a look and tells nobody twice. A
member has one such notification a session, which becomes new again at most once a minute.
"""

import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from math import inf
from typing import Any
from uuid import UUID

from redis import Redis
from sqlalchemy import ARRAY, Uuid, bindparam, delete, func, or_, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from core.notifications.inbox import NotificationKind
from core.postgres.database import Database
from core.postgres.models import BiddingSession, WinnersMark
from core.redis import clock, keys
from core.rules import scoring
from core.rules.lifecycle import Status
from core.telemetry import metrics

# For a member and session.
QUIET = timedelta(minutes=1)
# A notification locks its session's row, which a close would find locked and put off.
_BEFORE_END = timedelta(seconds=5)
# Places read by one command, about a tenth of a millisecond of Redis; and by a look at most.
_CHUNK_PLACES = 1000
MAX_PLACES = 10_000
_OVER = (Status.ENDED.value, Status.CANCELLED.value)
_TELL = text(f"""
    WITH told AS (
        INSERT INTO notifications AS known (session_id, user_id, kind)
        SELECT :session_id, id, '{NotificationKind.OUTBID.value}' FROM users
         WHERE id = ANY(:user_ids) AND disabled_at IS NULL AND erased_at IS NULL
        ON CONFLICT (session_id, user_id, kind)
        DO UPDATE SET created_at = now(), read_at = NULL
         WHERE known.created_at <= now() - CAST(:quiet AS interval)
        RETURNING id, user_id),
    mailed AS (
        INSERT INTO email_deliveries (notification_id)
        SELECT told.id FROM told JOIN users ON users.id = user_id
         WHERE :by_email AND email_news
        ON CONFLICT (notification_id)
        DO UPDATE SET created_at = now(), next_attempt_at = now(), attempts = 0,
                      delivered_at = NULL, last_error = NULL)
    SELECT count(*) FROM told
""").bindparams(bindparam("user_ids", type_=ARRAY(Uuid)))  # noqa: S608 - constants


class Outbid:
    """Looks at running sessions for members who were outbid."""

    def __init__(
        self, database: Database, redis: Redis, *, by_email: bool, quiet: timedelta = QUIET
    ) -> None:
        self._database = database
        self._redis = redis
        self._by_email = by_email
        self._quiet = quiet

    def look(self, *, seconds: float) -> int:
        """Look at all running sessions, for at most `seconds`; how many members were told.

        Concurrent calls share the work. Raises outages.REDIS.
        """
        give_up_at = time.monotonic() + seconds
        told = 0
        for session_id, inventory in self._changed():
            if time.monotonic() > give_up_at:
                break
            told += self.look_at(session_id, inventory)
        metrics.NOTIFICATIONS.labels("in_app", "delivered").inc(told)
        return told

    def look_at(self, session_id: UUID, inventory: int) -> int:
        """Look at one session; how many members were told. 0 while another process looks at it."""
        with self._database.begin() as db:
            db.execute(insert(WinnersMark).values(session_id=session_id).on_conflict_do_nothing())
            mark = self._mark(db, session_id)
            if mark is None:
                return 0
            # Read first: a bid that comes before the next read counts as later than this look.
            sequence = int(self._redis.hget(keys.session_params(session_id), "sequence") or 0)
            last = self._places(session_id, inventory - 1, 1)
            told = 0
            for user_ids in self._displaced(mark, inventory):
                told += db.execute(
                    _TELL,
                    {
                        "session_id": session_id,
                        "user_ids": user_ids,
                        "quiet": self._quiet,
                        "by_email": self._by_email,
                    },
                ).scalar_one()
            mark.sequence = sequence
            mark.last_member, mark.last_score = last[0] if last else (None, None)
        return told

    def _mark(self, db: Session, session_id: UUID) -> WinnersMark | None:
        """The session's mark, locked; None if another process has it."""
        return db.scalars(
            select(WinnersMark)
            .where(WinnersMark.session_id == session_id)
            .with_for_update(skip_locked=True)
        ).one_or_none()

    def _changed(self) -> Sequence[tuple[UUID, int]]:
        """Running sessions with bids since the last look, and how many items each has."""
        now = clock.now(self._redis)
        with self._database.begin() as db:
            _forget_over(db, now)
            running = db.execute(
                select(
                    BiddingSession.id,
                    BiddingSession.inventory,
                    func.coalesce(WinnersMark.sequence, 0),
                )
                .outerjoin(WinnersMark, WinnersMark.session_id == BiddingSession.id)
                .where(
                    BiddingSession.status.not_in(_OVER),
                    BiddingSession.start_time <= now,
                    BiddingSession.end_time > now + _BEFORE_END,
                )
                # So that none is always behind the time that is up.
                .order_by(func.random())
            ).all()
        with self._redis.pipeline(transaction=False) as pipeline:
            for session_id, _, _ in running:
                pipeline.hget(keys.session_params(session_id), "sequence")
            sequences = pipeline.execute()
        return [
            (session_id, inventory)
            for (session_id, inventory, seen), found in zip(running, sequences, strict=True)
            if int(found or 0) != seen
        ]

    def _displaced(self, mark: WinnersMark, inventory: int) -> Iterator[list[UUID]]:
        """Who stood at or above the mark with a bid that was there then, and wins no more."""
        last = (-inf if mark.last_score is None else mark.last_score, mark.last_member or "")
        for first in range(inventory, inventory + MAX_PLACES, _CHUNK_PLACES):
            places = self._places(mark.session_id, first, _CHUNK_PLACES)
            above = [member for member, score in places if (score, member) >= last]
            yield [
                UUID(scoring.member_user_id(member))
                for member in above
                if scoring.member_sequence(member) <= mark.sequence
            ]
            if len(above) < _CHUNK_PLACES:
                return

    def _places(self, session_id: UUID, first: int, count: int) -> Sequence[tuple[str, float]]:
        """Members of the ranking with their scores, from a place on, counted from 0."""
        found: Any = self._redis.zrevrange(
            keys.ranking(session_id), first, first + count - 1, withscores=True
        )
        return [(member, score) for member, score in found]


def _forget_over(db: Session, now: datetime) -> None:
    over = select(BiddingSession.id).where(
        or_(BiddingSession.status.in_(_OVER), BiddingSession.end_time <= now)
    )
    db.execute(delete(WinnersMark).where(WinnersMark.session_id.in_(over)))
