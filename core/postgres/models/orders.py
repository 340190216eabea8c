"""Offers: who may buy an item, for how long, and what came of it."""

from datetime import datetime
from uuid import UUID, uuid4

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    String,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from core.postgres.models.base import Base, Moment


class Offer(Base):
    """The right of one member to buy one item until `expires_at`.

    The stock is held by places, 1 to the session's inventory: a place has one offer that is
    open or paid, so that no item is sold twice. The price is in `rankings`.
    """

    __tablename__ = "offers"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    session_id: Mapped[UUID] = mapped_column(ForeignKey("sessions.id"))
    user_id: Mapped[UUID]
    rank: Mapped[int]
    place: Mapped[int]
    state: Mapped[str] = mapped_column(String(9), server_default=text("'open'"))
    opened_at: Mapped[datetime] = mapped_column(Moment, server_default=func.clock_timestamp())
    expires_at: Mapped[datetime] = mapped_column(Moment)
    # When it was paid, declined, withdrawn or found expired.
    settled_at: Mapped[datetime | None] = mapped_column(Moment)
    # Counts its changes; messages about it may arrive in another order.
    version: Mapped[int] = mapped_column(server_default=text("1"))

    __table_args__ = (
        UniqueConstraint("session_id", "user_id"),
        UniqueConstraint("session_id", "rank"),
        CheckConstraint("place >= 1", name="place_positive"),
        CheckConstraint(
            "state IN ('open', 'paid', 'declined', 'expired', 'withdrawn')", name="state_known"
        ),
        CheckConstraint("(state = 'open') = (settled_at IS NULL)", name="settled_unless_open"),
        Index(
            "uq_offers_place_taken",
            "session_id",
            "place",
            unique=True,
            postgresql_where=text("state IN ('open', 'paid')"),
        ),
        Index("ix_offers_to_expire", "expires_at", postgresql_where=text("state = 'open'")),
        Index("ix_offers_member", "user_id", text("opened_at DESC")),
    )


class PassedOver(Base):
    """A member whose turn for an offer came while its account was disabled or gone."""

    __tablename__ = "offers_passed_over"

    session_id: Mapped[UUID] = mapped_column(ForeignKey("sessions.id"), primary_key=True)
    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    rank: Mapped[int]
    reason: Mapped[str] = mapped_column(String(8))
    passed_at: Mapped[datetime] = mapped_column(Moment, server_default=func.clock_timestamp())

    __table_args__ = (CheckConstraint("reason IN ('disabled', 'erased')", name="reason_known"),)


class Export(Base):
    """A file with a session's rows that an admin asked for, and what came of it.

    The file is complete when the row names it; others in the folder are left by killed jobs.
    """

    __tablename__ = "exports"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    session_id: Mapped[UUID] = mapped_column(ForeignKey("sessions.id"))
    kind: Mapped[str] = mapped_column(String(7))
    file_format: Mapped[str] = mapped_column(String(6))
    state: Mapped[str] = mapped_column(String(7), server_default=text("'waiting'"))
    requested_by: Mapped[UUID]
    # How often a job has begun it; one that always dies is given up.
    attempts: Mapped[int] = mapped_column(server_default=text("0"))
    created_at: Mapped[datetime] = mapped_column(Moment, server_default=func.clock_timestamp())
    finished_at: Mapped[datetime | None] = mapped_column(Moment)
    expires_at: Mapped[datetime] = mapped_column(Moment)
    file_name: Mapped[str | None] = mapped_column(String(80))
    row_count: Mapped[int | None] = mapped_column(BigInteger)
    size_bytes: Mapped[int | None] = mapped_column(BigInteger)
    sha256: Mapped[str | None] = mapped_column(String(64))
    # Why it failed, in a sentence.
    error: Mapped[str | None] = mapped_column(String(200))

    __table_args__ = (
        CheckConstraint("kind IN ('results', 'bids', 'offers')", name="kind_known"),
        CheckConstraint("file_format IN ('csv', 'ndjson')", name="file_format_known"),
        CheckConstraint("state IN ('waiting', 'running', 'done', 'failed')", name="state_known"),
        CheckConstraint(
            "(state = 'done') = (num_nulls(file_name, row_count, size_bytes, sha256) = 0)",
            name="done_has_file",
        ),
        CheckConstraint("(state = 'failed') = (error IS NOT NULL)", name="failed_has_error"),
        Index(
            "ix_exports_unfinished",
            "created_at",
            postgresql_where=text("state IN ('waiting', 'running')"),
        ),
    )
