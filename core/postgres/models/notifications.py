"""Announcements of results, in-app notifications, and deliveries by e-mail and webhook."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, UniqueConstraint, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from core.postgres.models.base import Base, Moment

MAX_ERROR_LENGTH = 100


class Announcement(Base):
    """A closed session whose bidders must be notified, written by the close. Its
    `told_through_rank` advances in the transaction that writes the notifications.
    """

    __tablename__ = "announcements"

    session_id: Mapped[UUID] = mapped_column(ForeignKey("sessions.id"), primary_key=True)
    told_through_rank: Mapped[int] = mapped_column(server_default=text("0"))
    created_at: Mapped[datetime] = mapped_column(Moment, server_default=func.now())
    finished_at: Mapped[datetime | None] = mapped_column(Moment)

    __table_args__ = (
        CheckConstraint("told_through_rank >= 0", name="rank_not_negative"),
        Index(
            "ix_announcements_unfinished",
            "created_at",
            postgresql_where=text("finished_at IS NULL"),
        ),
    )


class Notification(Base):
    """One member's in-app notification. Rank and price are in `rankings`."""

    __tablename__ = "notifications"

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=func.gen_random_uuid())
    session_id: Mapped[UUID] = mapped_column(ForeignKey("sessions.id"))
    user_id: Mapped[UUID]
    kind: Mapped[str] = mapped_column(String(20))
    created_at: Mapped[datetime] = mapped_column(Moment, server_default=func.now())
    read_at: Mapped[datetime | None] = mapped_column(Moment)

    __table_args__ = (
        UniqueConstraint("session_id", "user_id", "kind"),
        CheckConstraint("kind IN ('session_ended', 'offer_opened')", name="kind_known"),
        Index("ix_notifications_member", "user_id", text("created_at DESC")),
    )


class Delivery:
    """Columns of a delivery on any channel. It is waiting while `next_attempt_at` is set;
    settled without `delivered_at`, it was given up.
    """

    attempts: Mapped[int] = mapped_column(server_default=text("0"))
    created_at: Mapped[datetime] = mapped_column(Moment, server_default=func.now())
    next_attempt_at: Mapped[datetime | None] = mapped_column(Moment, server_default=func.now())
    delivered_at: Mapped[datetime | None] = mapped_column(Moment)
    # Short, without addresses.
    last_error: Mapped[str | None] = mapped_column(String(MAX_ERROR_LENGTH))


class EmailDelivery(Delivery, Base):
    """The e-mail of a notification: at most one, since they share the key."""

    __tablename__ = "email_deliveries"

    id: Mapped[UUID] = mapped_column(
        "notification_id", ForeignKey("notifications.id"), primary_key=True
    )

    __table_args__ = (
        CheckConstraint("next_attempt_at IS NULL OR delivered_at IS NULL", name="settled_once"),
        Index(
            "ix_email_deliveries_waiting",
            "next_attempt_at",
            postgresql_where=text("next_attempt_at IS NOT NULL"),
        ),
    )


class ShopEvent(Base):
    """Something that the shop's systems are told of, written in the transaction that does it.

    `data` is the message's body, as it was then. `subject_id` and `version`: the offer or the
    session that it is about, and which of its changes, since the order of arrival is not
    promised.
    """

    __tablename__ = "shop_events"

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=func.gen_random_uuid())
    event: Mapped[str] = mapped_column(String(50))
    session_id: Mapped[UUID] = mapped_column(ForeignKey("sessions.id"))
    subject_id: Mapped[UUID]
    version: Mapped[int] = mapped_column(server_default=text("1"))
    data: Mapped[dict[str, Any]] = mapped_column(JSONB)
    created_at: Mapped[datetime] = mapped_column(Moment, server_default=func.clock_timestamp())
    # When its deliveries were written; None: not yet.
    delivered_at: Mapped[datetime | None] = mapped_column(Moment)

    __table_args__ = (
        Index(
            "ix_shop_events_undelivered",
            "created_at",
            postgresql_where=text("delivered_at IS NULL"),
        ),
        # For erasing a member.
        Index("ix_shop_events_subject", "subject_id"),
    )


class WebhookDelivery(Delivery, Base):
    """A session's message to the shop's system. Its id is the message's `webhook-id`."""

    __tablename__ = "webhook_deliveries"

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=func.gen_random_uuid())
    session_id: Mapped[UUID] = mapped_column(ForeignKey("sessions.id"))
    event: Mapped[str] = mapped_column(String(50))

    __table_args__ = (
        UniqueConstraint("session_id", "event"),
        CheckConstraint("next_attempt_at IS NULL OR delivered_at IS NULL", name="settled_once"),
        Index(
            "ix_webhook_deliveries_waiting",
            "next_attempt_at",
            postgresql_where=text("next_attempt_at IS NOT NULL"),
        ),
    )
