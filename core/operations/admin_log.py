"""Who administered what, and when.

What is asked for is recorded before it is done, in a transaction of its own, and how it
went after: a process that dies between the two leaves a row that says "asked". So nothing
is ever done that is not recorded.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import select

from core import errors, outages
from core.postgres.database import Database, page_of
from core.postgres.models import AdminAction

__all__ = ["Actor", "AdminAction", "AdminActions", "Done"]


class Done(StrEnum):
    """How an action went."""

    ASKED = "asked"
    DONE = "done"
    REFUSED = "refused"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts; without an id from the command line, by the name the system knows."""

    name: str
    user_id: UUID | None = None


class AdminActions:
    """Records what admins and operators do."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @contextmanager
    def recording(
        self, actor: Actor, action: str, details: Mapping[str, Any]
    ) -> Iterator[dict[str, Any]]:
        """Record an action around its doing. What is put into the yielded details is kept, too."""
        kept = dict(details)
        action_id = self._ask(actor, action, kept)
        try:
            yield kept
        except errors.Refusal:
            self._settle(action_id, Done.REFUSED, kept)
            raise
        except BaseException:
            self._settle(action_id, Done.FAILED, kept)
            raise
        self._settle(action_id, Done.DONE, kept)

    def list(self, *, page: int, page_size: int) -> tuple[Sequence[AdminAction], int]:
        """One page, newest first, and how many there are in all."""
        with self._database.begin() as db:
            newest = select(AdminAction).order_by(AdminAction.id.desc())
            return page_of(db, newest, page=page, page_size=page_size)

    def _ask(self, actor: Actor, action: str, details: dict[str, Any]) -> int:
        row = AdminAction(actor_id=actor.user_id, actor=actor.name, action=action, details=details)
        with self._database.begin() as db:
            db.add(row)
            db.flush()
            return row.id

    def _settle(self, action_id: int, outcome: Done, details: dict[str, Any]) -> None:
        # What is done is done: with PostgreSQL away the row stays "asked".
        with suppress(*outages.DATABASE), self._database.begin() as db:
            row = db.get_one(AdminAction, action_id)
            row.outcome, row.details = outcome.value, dict(details)
