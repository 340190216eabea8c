"""Which sessions exist, asked of PostgreSQL once for all who want to know at the same time.

Anybody may look at the board of any id, as often as they like, and an id that Redis does not
know has to be asked for. A transaction for each would let a flood of made-up ids take the
threads and connections that bids need for what Redis lost. So all who ask while a question is
under way are the next question together: there is one at a time in a process, however many
ask, and since nothing is remembered a new session is never overlooked.
"""

from threading import Lock
from uuid import UUID

from sqlalchemy import select

from core import errors
from core.database import Database
from core.models import BiddingSession
from core.steps import Steps


class _Question:
    """Whether the session exists; None: not answered yet."""

    __slots__ = ("exists", "has_failed", "session_id")

    def __init__(self, session_id: UUID) -> None:
        self.session_id = session_id
        self.exists: bool | None = None
        self.has_failed = False


class Existence:
    """Asks for all."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: set[_Question] = set()
        self._turn = Lock()

    def steps(self, session_id: UUID) -> Steps[None]:
        """Raises SessionNotFound, and TemporarilyUnavailable to all of a question that failed:
        they do not go on to try, one after the other, what takes long to fail.
        """
        question = _Question(session_id)
        try:
            while question.exists is None:
                # Again, if the step that was shared had begun before.
                self._waiting.add(question)
                # The same step for everybody, so that one thread takes it for all.
                yield self._ask
                if question.has_failed:
                    raise errors.TemporarilyUnavailable
        finally:
            self._waiting.discard(question)
        if not question.exists:
            raise errors.SessionNotFound(session_id)

    def _ask(self) -> None:
        """Answer all questions that wait."""
        with self._turn:
            waiting, self._waiting = self._waiting, set()
            # Copied, for somebody may be about to add to it: that one asks again.
            questions = list(waiting)
            if not questions:
                return
            try:
                found = self._which_exist({question.session_id for question in questions})
            except Exception:
                for question in questions:
                    question.has_failed = True
                raise
            for question in questions:
                question.exists = question.session_id in found

    def _which_exist(self, session_ids: set[UUID]) -> set[UUID]:
        with self._database.begin() as db:
            chosen = select(BiddingSession.id).where(BiddingSession.id.in_(session_ids))
            return set(db.scalars(chosen))
