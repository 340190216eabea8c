"""Announcements of results, in-app notifications, and deliveries by e-mail and webhook."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Double,
    ForeignKey,
    Index,
    String,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from core.postgres.models.base import Base, Moment

MAX_ERROR_LENGTH = 100


class Announcement(Base):
    """A closed or cancelled session whose bidders must be notified, written in the transaction
    that closes or cancels it. Its `told_through_rank` advances in the transaction that writes
    the notifications.
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
    """One member's in-app notification. Rank and price, if it has them, are in `rankings`."""

    __tablename__ = "notifications"

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=func.gen_random_uuid())
    # None: about no session, as an endpoint that was disabled.
    session_id: Mapped[UUID | None] = mapped_column(ForeignKey("sessions.id"))
    user_id: Mapped[UUID]
    kind: Mapped[str] = mapped_column(String(20))
    created_at: Mapped[datetime] = mapped_column(Moment, server_default=func.now())
    read_at: Mapped[datetime | None] = mapped_column(Moment)

    __table_args__ = (
        UniqueConstraint("session_id", "user_id", "kind"),
        CheckConstraint(
            "kind IN ('session_ended', 'offer_opened', 'session_cancelled', 'offer_ended',"
            " 'outbid', 'starting', 'webhook_disabled')",
            name="kind_known",
        ),
        Index("ix_notifications_member", "user_id", text("created_at DESC")),
    )


class Reminder(Base):
    """A member who wants to hear that a session starts. Deleted after the start.

    `told_at`: when the member was told; None: not yet.
    """

    __tablename__ = "reminders"

    session_id: Mapped[UUID] = mapped_column(ForeignKey("sessions.id"), primary_key=True)
    user_id: Mapped[UUID] = mapped_column(
        ForeignKey("users.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    told_at: Mapped[datetime | None] = mapped_column(Moment)


class WinnersMark(Base):
    """How a running session's board was when it was last looked at for members who were outbid.

    `sequence`: of the last bid then. The last place that won: its score and member in the
    session's ranking; None: there was an item for everybody.
    """

    __tablename__ = "winners_marks"

    session_id: Mapped[UUID] = mapped_column(ForeignKey("sessions.id"), primary_key=True)
    sequence: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    last_score: Mapped[float | None] = mapped_column(Double)
    last_member: Mapped[str | None] = mapped_column(String(52))


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
    # None: about no session, as an endpoint's test.
    session_id: Mapped[UUID | None] = mapped_column(ForeignKey("sessions.id"), index=True)
    subject_id: Mapped[UUID]
    version: Mapped[int] = mapped_column(server_default=text("1"))
    data: Mapped[dict[str, Any]] = mapped_column(JSONB)
    created_at: Mapped[datetime] = mapped_column(Moment, server_default=func.clock_timestamp())
    # When its deliveries were written; None: not yet.
    delivered_at: Mapped[datetime | None] = mapped_column(Moment)

    __table_args__ = (
        # These happen to a session once.
        Index(
            "uq_shop_events_session_once",
            "session_id",
            "event",
            unique=True,
            postgresql_where=text(
                "event IN ('session.created', 'session.started', 'session.ended',"
                " 'session.cancelled')"
            ),
        ),
        Index(
            "ix_shop_events_undelivered",
            "created_at",
            postgresql_where=text("delivered_at IS NULL"),
        ),
        # For erasing a member.
        Index("ix_shop_events_subject", "subject_id"),
    )


class WebhookEndpoint(Base):
    """A system of the shop's that is told of events. Without a URL it is the one of the
    settings, which hold its secret, too.
    """

    __tablename__ = "webhook_endpoints"

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=func.gen_random_uuid())
    url: Mapped[str | None] = mapped_column(String(2000))
    events: Mapped[list[str]] = mapped_column(ARRAY(String(50)))
    secret: Mapped[str | None] = mapped_column(String(100))
    # Signs as well until then, so that a receiver can change over.
    previous_secret: Mapped[str | None] = mapped_column(String(100))
    previous_secret_until: Mapped[datetime | None] = mapped_column(Moment)
    state: Mapped[str] = mapped_column(String(8), server_default=text("'enabled'"))
    state_reason: Mapped[str | None] = mapped_column(String(100))
    state_since: Mapped[datetime] = mapped_column(Moment, server_default=func.now())
    # Since the first failure after the last success.
    failing_since: Mapped[datetime | None] = mapped_column(Moment)
    created_at: Mapped[datetime] = mapped_column(Moment, server_default=func.now())

    __table_args__ = (
        CheckConstraint("state IN ('enabled', 'paused', 'disabled')", name="state_known"),
        CheckConstraint("(url IS NULL) = (secret IS NULL)", name="url_has_secret"),
        CheckConstraint(
            "(previous_secret IS NULL) = (previous_secret_until IS NULL)",
            name="previous_secret_ends",
        ),
    )


class WebhookDelivery(Delivery, Base):
    """A message to one endpoint. Its id is the message's `webhook-id`.

    Without an event: written by an earlier version, about a session's results, to the
    endpoint of the settings.
    """

    __tablename__ = "webhook_deliveries"

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=func.gen_random_uuid())
    session_id: Mapped[UUID | None] = mapped_column(ForeignKey("sessions.id"))
    event: Mapped[str] = mapped_column(String(50))
    event_id: Mapped[UUID | None] = mapped_column(ForeignKey("shop_events.id"))
    endpoint_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("webhook_endpoints.id", ondelete="CASCADE")
    )

    __table_args__ = (
        UniqueConstraint("event_id", "endpoint_id"),
        CheckConstraint("next_attempt_at IS NULL OR delivered_at IS NULL", name="settled_once"),
        CheckConstraint("(event_id IS NULL) = (endpoint_id IS NULL)", name="event_has_endpoint"),
        Index(
            "ix_webhook_deliveries_waiting",
            "endpoint_id",
            "next_attempt_at",
            postgresql_where=text("next_attempt_at IS NOT NULL"),
        ),
    )
