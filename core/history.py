"""A member's own accepted bids: what PostgreSQL has, and the newest it does not have yet."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import func, select

from core import errors
from core.bid_log import BidLog, LoggedBid
from core.database import Database
from core.lifecycle import Status
from core.models import Bid, BiddingSession

# A member sees an own bid at once when it is among so many newest ones of its session;
# behind a longer backlog it appears when the drain has come to it.
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
        """One page of a member's bids, newest first, and how many there are in all."""
        waiting = {
            (bid.session_id, bid.sequence): _from_log(bid)
            for session in self._open_sessions(session_id)
            for bid in self._bid_log.unpersisted(session, user_id, look_back=_LOOK_BACK)
        }
        with self._database.begin() as db:
            own = select(Bid).where(Bid.user_id == user_id)
            if session_id is not None:
                own = own.where(Bid.session_id == session_id)
            total = db.scalar(select(func.count()).select_from(own.subquery())) or 0
            newest = own.order_by(Bid.accepted_at.desc(), Bid.sequence.desc())
            stored = [_from_table(bid) for bid in db.scalars(newest.limit(page * page_size))]
        # A drain may have come between the two reads: what is in both is shown once.
        for bid in stored:
            waiting.pop((bid.session_id, bid.sequence), None)
        bids = sorted([*waiting.values(), *stored], key=lambda bid: (bid.accepted_at, bid.sequence))
        bids.reverse()
        return bids[(page - 1) * page_size : page * page_size], total + len(waiting)

    def _open_sessions(self, session_id: UUID | None) -> Sequence[UUID]:
        """The session asked for, or all that can have bids on their way."""
        with self._database.begin() as db:
            if session_id is not None:
                if db.get(BiddingSession, session_id) is None:
                    raise errors.SessionNotFound(session_id)
                return [session_id]
            return db.scalars(
                select(BiddingSession.id).where(BiddingSession.status != Status.ENDED.value)
            ).all()


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
