"""Tells the shop's systems of a session, in the transaction that changes it."""

from dataclasses import fields
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from core.postgres.models import ShopEvent

if TYPE_CHECKING:
    from core.sessions.sessions import SessionView

_NOT_SHOWN = {"closed_at", "highest_bid"}


class Milestone(StrEnum):
    """What the shop's systems hear of a session, each once."""

    CREATED = "session.created"
    STARTED = "session.started"
    CANCELLED = "session.cancelled"


def note(db: Session, milestone: Milestone, session: "SessionView") -> None:
    """Write the event, unless the session has had it."""
    db.execute(
        insert(ShopEvent)
        .values(
            event=milestone.value,
            session_id=session.session_id,
            subject_id=session.session_id,
            version=session.version,
            data=document_of(session),
        )
        .on_conflict_do_nothing()
    )


def document_of(session: "SessionView") -> dict[str, Any]:
    """A session as the API shows it. A test compares this with the schema."""
    names = {field.name for field in fields(session)} - _NOT_SHOWN | {"base_price", "is_active"}
    return {name: _shown(getattr(session, name)) for name in sorted(names)}


def _shown(value: Any) -> Any:
    match value:
        case Decimal():
            return float(value)
        case datetime():
            return value.astimezone(UTC).isoformat()
        case UUID() | StrEnum():
            return str(value)
    return value
