"""Which sessions exist, asked of PostgreSQL once for all who want to know at the same time.

Anybody may look at the board of any id, as often as they like, and an id that Redis does not
know has to be asked for. A transaction for each would let a flood of made-up ids take the
threads and connections that bids need for what Redis lost. So all who ask while a question is
under way are the next question together: there is one at a time in a process, however many
ask, and since nothing is remembered a new session is never overlooked.
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
    """Asks for all."""

    def __init__(
        self, database: Database, background: Background, *, max_wait_seconds: float
    ) -> None:
        self._database, self._background = database, background
        self._questions: Batches[None, UUID, bool] = Batches(
            self._ask, max_items=_MAX_SESSIONS, max_wait_seconds=max_wait_seconds
        )

    async def require(self, session_id: UUID) -> None:
        """Raises SessionNotFound, and TemporarilyUnavailable when that is not known in time."""
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
