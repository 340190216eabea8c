"""Final results: winners, final price and ranks, from PostgreSQL only."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import cast
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core import errors
from core.postgres.database import Database
from core.postgres.models import Ranking, User
from core.rules import scoring
from core.rules.lifecycle import Status
from core.sessions.sessions import Sessions, SessionView


@dataclass(frozen=True, slots=True)
class RankedEntry:
    """One line of a board or of results."""

    rank: int
    user_id: UUID
    username: str
    price: Decimal
    score: float
    is_winner: bool
    # None on boards, and in results until the member is offered an item.
    price_to_pay: Decimal | None = None


@dataclass(frozen=True, slots=True)
class SessionResults:
    """A session's results. `rankings` is one page; all winners: Results.winners."""

    session_id: UUID
    product_id: UUID
    inventory: int
    status: Status
    start_time: datetime
    end_time: datetime
    closed_at: datetime
    currency: str
    final_price: Decimal | None
    total_bidders: int
    total_winners: int
    rankings: Sequence[RankedEntry]
    page: int
    page_size: int
    total_pages: int

    @property
    def winners(self) -> Sequence[RankedEntry]:
        """The winners among `rankings`."""
        return [entry for entry in self.rankings if entry.is_winner]


class Results:
    """Reads final results."""

    def __init__(self, database: Database, sessions: Sessions) -> None:
        self._database = database
        self._sessions = sessions

    def get(self, session_id: UUID, *, page: int, page_size: int) -> SessionResults:
        """Results of a session. Raises SessionNotEnded or ResultsPending until they are final,
        SessionCancelled if there will be none.
        """
        session = self._closed(session_id)
        with self._database.begin() as db:
            bidders = count_bidders(db, session_id)
            winners = min(bidders, session.inventory)
            return SessionResults(
                session_id=session_id,
                product_id=session.product_id,
                inventory=session.inventory,
                status=session.status,
                start_time=session.start_time,
                end_time=session.end_time,
                closed_at=cast(datetime, session.closed_at),
                currency=session.currency,
                final_price=session.final_price,
                total_bidders=bidders,
                total_winners=winners,
                rankings=entries(
                    db, session, first=(page - 1) * page_size + 1, last=page * page_size
                ),
                page=page,
                page_size=page_size,
                total_pages=pages(bidders, page_size),
            )

    def winners(self, session_id: UUID) -> list[RankedEntry]:
        """All winners by rank. Raises like `get`."""
        session = self._closed(session_id)
        with self._database.begin() as db:
            return entries(db, session, first=1, last=session.inventory)

    def _closed(self, session_id: UUID) -> SessionView:
        session = self._sessions.get(session_id)
        if session.status is Status.CANCELLED:
            raise errors.SessionCancelled
        if session.status is not Status.ENDED:
            raise errors.SessionNotEnded
        if session.closed_at is None:
            raise errors.ResultsPending
        return session


def count_bidders(db: Session, session_id: UUID) -> int:
    """The number of ranked members: the last rank, since ranks have no gaps."""
    return db.scalar(select(func.max(Ranking.rank)).where(Ranking.session_id == session_id)) or 0


def entries(db: Session, session: SessionView, *, first: int, last: int) -> list[RankedEntry]:
    """Ranks `first` to `last` of a closed session."""
    rows = db.execute(
        select(Ranking, User.shown_name())
        .outerjoin(User, User.id == Ranking.user_id)
        .where(Ranking.session_id == session.session_id, Ranking.rank.between(first, last))
        .order_by(Ranking.rank)
    )
    return [
        RankedEntry(
            rank=row.rank,
            user_id=row.user_id,
            username=username,
            price=row.price,
            score=row.score,
            is_winner=scoring.is_winning(row.rank, session.inventory),
            price_to_pay=row.price_to_pay,
        )
        for row, username in rows
    ]


def pages(total: int, page_size: int) -> int:
    """The number of pages of `total` entries."""
    return -(-total // page_size)
