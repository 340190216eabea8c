"""The log of admin actions: who did what, and when.

An action is recorded before it runs, in its own transaction, and its outcome afterwards. If
the process dies in between, the row still says "asked": no action goes unrecorded.
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

__all__ = ["ActionOutcome", "Actor", "AdminAction", "AdminActions"]


class ActionOutcome(StrEnum):
    """The outcome of an action."""

    ASKED = "asked"
    DONE = "done"
    REFUSED = "refused"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts. Without an id: an operating-system user on the command line."""

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
        """Record the action that the block runs. Details added to the yielded dict are stored."""
        kept = dict(details)
        action_id = self._ask(actor, action, kept)
        try:
            yield kept
        except errors.Refusal:
            self._settle(action_id, ActionOutcome.REFUSED, kept)
            raise
        except BaseException:
            self._settle(action_id, ActionOutcome.FAILED, kept)
            raise
        self._settle(action_id, ActionOutcome.DONE, kept)

    def list(self, *, page: int, page_size: int) -> tuple[Sequence[AdminAction], int]:
        """One page, newest first, and the total count."""
        with self._database.begin() as db:
            newest = select(AdminAction).order_by(AdminAction.id.desc())
            return page_of(db, newest, page=page, page_size=page_size)

    def _ask(self, actor: Actor, action: str, details: dict[str, Any]) -> int:
        row = AdminAction(actor_id=actor.user_id, actor=actor.name, action=action, details=details)
        with self._database.begin() as db:
            db.add(row)
            db.flush()
            return row.id

    def _settle(self, action_id: int, outcome: ActionOutcome, details: dict[str, Any]) -> None:
        # The action cannot be undone: during an outage the row stays "asked".
        with suppress(*outages.DATABASE), self._database.begin() as db:
            row = db.get_one(AdminAction, action_id)
            row.outcome, row.details = outcome.value, dict(details)
