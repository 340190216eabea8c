"""Records of incidents, admin actions and archives, and responses to be repeated."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Identity,
    LargeBinary,
    String,
    Text,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from core.postgres.models.base import Base, Moment


class SessionEvent(Base):
    """An incident in a session's bid log; see core.bidlog.incidents."""

    __tablename__ = "session_events"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    session_id: Mapped[UUID] = mapped_column(index=True)
    kind: Mapped[str] = mapped_column(String(50))
    details: Mapped[dict[str, Any]] = mapped_column(JSONB)
    created_at: Mapped[datetime] = mapped_column(Moment, server_default=func.now())


class AdminAction(Base):
    """An admin action; see core.operations.admin_log. Append-only except for the outcome."""

    __tablename__ = "admin_actions"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    # None: from the command line.
    actor_id: Mapped[UUID | None]
    actor: Mapped[str] = mapped_column(String(100))
    action: Mapped[str] = mapped_column(String(50))
    details: Mapped[dict[str, Any]] = mapped_column(JSONB)
    outcome: Mapped[str] = mapped_column(String(10), server_default=text("'asked'"))
    created_at: Mapped[datetime] = mapped_column(Moment, server_default=func.now())

    __table_args__ = (
        CheckConstraint("outcome IN ('asked', 'done', 'refused', 'failed')", name="outcome_known"),
    )


class StoredResponse(Base):
    """The response to a request with an `Idempotency-Key`, written in the transaction that
    created what it describes; see core.members.idempotency.

    `principal_id` is a member's id or an API key's; `operation` is method and path.
    """

    __tablename__ = "stored_responses"

    principal_id: Mapped[UUID] = mapped_column(primary_key=True)
    operation: Mapped[str] = mapped_column(Text, primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    body_hash: Mapped[bytes] = mapped_column(LargeBinary)
    response: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(
        Moment, server_default=func.clock_timestamp(), index=True
    )


class Archive(Base):
    """The file with a session's bids, recorded before the first of them is deleted.

    `written_at`: when it was recorded. `finished_at`: when the last was deleted; None: not yet.
    """

    __tablename__ = "archives"

    session_id: Mapped[UUID] = mapped_column(ForeignKey("sessions.id"), primary_key=True)
    file: Mapped[str] = mapped_column(Text)
    row_count: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(64))
    first_sequence: Mapped[int] = mapped_column(BigInteger)
    last_sequence: Mapped[int] = mapped_column(BigInteger)
    written_at: Mapped[datetime] = mapped_column(Moment, server_default=func.now())
    finished_at: Mapped[datetime | None] = mapped_column(Moment)
