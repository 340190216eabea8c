"""Checks which sessions exist, with one PostgreSQL query at a time per process.

Boards are public, so anyone can request made-up ids, and ids unknown to Redis need a query.
One query each would let a flood of them occupy the threads and connections that bids need.
Lookups that arrive during a query therefore share the next one. Nothing is cached, so a new
session is found at once.
"""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select

from core import errors
from core.bidding.batches import Batches, NotSent
from core.postgres.database import Database
from core.postgres.models import BiddingSession
from core.runtime import Background

_MAX_SESSIONS = 1000


class SessionLookup:
    """Looks sessions up in batches."""

    def __init__(
        self, database: Database, background: Background, *, max_wait_seconds: float
    ) -> None:
        self._database, self._background = database, background
        self._questions: Batches[None, UUID, bool] = Batches(
            self._ask, max_items=_MAX_SESSIONS, max_wait_seconds=max_wait_seconds
        )

    async def require(self, session_id: UUID) -> None:
        """Raises SessionNotFound, or TemporarilyUnavailable if the query takes too long."""
        try:
            exists = await self._questions.ask(None, session_id)
        except NotSent:
            raise errors.TemporarilyUnavailable from None
        if not exists:
            raise errors.SessionNotFound(session_id)

    async def _ask(self, _: None, session_ids: Sequence[UUID]) -> list[bool]:
        found = await self._background.run(self._which_exist, frozenset(session_ids))
        return [session_id in found for session_id in session_ids]

    def _which_exist(self, session_ids: frozenset[UUID]) -> set[UUID]:
        with self._database.begin() as db:
            chosen = select(BiddingSession.id).where(BiddingSession.id.in_(session_ids))
            return set(db.scalars(chosen))
