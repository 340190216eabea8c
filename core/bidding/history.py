"""A member's accepted bids: those in PostgreSQL and the newest, not yet persisted."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import Select, func, select, text, tuple_
from sqlalchemy.orm import Session

from core import errors
from core.bidlog.drain import BidLog
from core.bidlog.entries import LoggedBid
from core.members.accounts import require_account
from core.postgres.database import Database
from core.postgres.models import Bid, BiddingSession

# A bid is listed at once if it is among this many newest ones of its session; behind a longer
# backlog it appears once it is drained.
_LOOK_BACK = 500


@dataclass(frozen=True, slots=True)
class PastBid:
    """One accepted bid as its member sees it."""

    session_id: UUID
    sequence: int
    price: Decimal
    score: float
    response_time: float
    user_weight: float
    accepted_at: datetime


class History:
    """Reads members' bids."""

    def __init__(self, database: Database, bid_log: BidLog) -> None:
        self._database = database
        self._bid_log = bid_log

    def of_member(
        self, user_id: UUID, session_id: UUID | None, *, page: int, page_size: int
    ) -> tuple[Sequence[PastBid], int]:
        """One page of a member's bids, newest first, and the total count."""
        sessions = self._open_sessions(user_id, session_id)
        waiting = {
            (bid.session_id, bid.sequence): _from_log(bid)
            for bid in self._bid_log.unpersisted(sessions, user_id, look_back=_LOOK_BACK)
        }
        own = select(Bid).where(Bid.user_id == user_id)
        if session_id is not None:
            own = own.where(Bid.session_id == session_id)
        with self._database.begin() as db:
            # One snapshot: a drain between two statements would shift bids across pages.
            db.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
            # Bids drained since the log was read are in both: list them once.
            for place in _stored(db, waiting):
                del waiting[place]
            total = db.scalar(select(func.count()).select_from(own.subquery())) or 0
            bids = _page(db, own, list(waiting.values()), (page - 1) * page_size, page * page_size)
        return bids, total + len(waiting)

    def _open_sessions(self, user_id: UUID, session_id: UUID | None) -> Sequence[UUID]:
        """The requested session, or all that may have unpersisted bids."""
        with self._database.begin() as db:
            require_account(db, user_id)
            if session_id is not None:
                if db.get(BiddingSession, session_id) is None:
                    raise errors.SessionNotFound(session_id)
                return [session_id]
            return db.scalars(select(BiddingSession.id).where(BiddingSession.may_have_log())).all()


def _stored(db: Session, places: Collection[tuple[UUID, int]]) -> list[tuple[UUID, int]]:
    """Those of these (session, sequence) pairs that are in the table."""
    if not places:
        return []
    place = tuple_(Bid.session_id, Bid.sequence)
    rows = db.execute(select(Bid.session_id, Bid.sequence).where(place.in_(places)))
    return [(row.session_id, row.sequence) for row in rows]


def _page(
    db: Session, own: Select[Bid], waiting: Sequence[PastBid], first: int, end: int
) -> Sequence[PastBid]:
    """Places `first` to `end` (exclusive) of stored and waiting bids merged, newest first.

    Each waiting bid shifts the stored ones by at most one place, so the rows skipped here
    belong to earlier pages.
    """
    skipped = max(0, first - len(waiting))
    newest = own.order_by(Bid.accepted_at.desc(), Bid.sequence.desc(), Bid.session_id.desc())
    stored = db.scalars(newest.offset(skipped).limit(end - skipped))
    bids = [*waiting, *map(_from_table, stored)]
    bids.sort(key=lambda bid: (bid.accepted_at, bid.sequence, bid.session_id), reverse=True)
    return bids[first - skipped : end - skipped]


def _from_log(bid: LoggedBid) -> PastBid:
    return PastBid(
        session_id=bid.session_id,
        sequence=bid.sequence,
        price=bid.price,
        score=float(bid.score),
        response_time=float(bid.response_time),
        user_weight=float(bid.weight),
        accepted_at=bid.accepted_at,
    )


def _from_table(bid: Bid) -> PastBid:
    return PastBid(
        session_id=bid.session_id,
        sequence=bid.sequence,
        price=bid.price,
        score=bid.score,
        response_time=bid.response_time,
        user_weight=bid.weight,
        accepted_at=bid.accepted_at,
    )
