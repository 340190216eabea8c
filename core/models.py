"""The PostgreSQL schema. The rules that must hold whatever the code does stand here.

Money is numeric(12, 2); scores, weights and response times are doubles, because every
score must be recomputable bit for bit; moments are timestamptz in microseconds.
"""

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Index,
    MetaData,
    Numeric,
    String,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

Money = Numeric(12, 2)
Moment = DateTime(timezone=True)


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "pk": "pk_%(table_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
        }
    )


class User(Base):
    """A member. Never deleted: bids and rankings name it for good."""

    __tablename__ = "users"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    username: Mapped[str] = mapped_column(String(50))
    email: Mapped[str] = mapped_column(String(254))
    password_hash: Mapped[str] = mapped_column(Text)
    is_admin: Mapped[bool] = mapped_column(server_default=text("false"))
    weight: Mapped[float] = mapped_column(Double, server_default=text("1.0"))
    created_at: Mapped[datetime] = mapped_column(Moment, server_default=func.now())
    # Since when the member is shut out; None: it is not.
    disabled_at: Mapped[datetime | None] = mapped_column(Moment)

    __table_args__ = (
        Index("ix_users_disabled", "id", postgresql_where=text("disabled_at IS NOT NULL")),
        Index("uq_users_username_lower", func.lower(text("username")), unique=True),
        Index("uq_users_email_lower", func.lower(text("email")), unique=True),
        CheckConstraint("weight >= 1 AND weight <= 5", name="weight_range"),
    )


class RevokedToken(Base):
    """A token that was logged out. The truth behind the Redis set of the same."""

    __tablename__ = "revoked_tokens"

    token_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    expires_at: Mapped[datetime] = mapped_column(Moment, index=True)


class Product(Base):
    """What is sold."""

    __tablename__ = "products"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    name: Mapped[str] = mapped_column(String(200))
    description: Mapped[str | None] = mapped_column(String(1000))
    created_at: Mapped[datetime] = mapped_column(Moment, server_default=func.clock_timestamp())


class BiddingSession(Base):
    """One timed sale of `inventory` identical items."""

    __tablename__ = "sessions"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    product_id: Mapped[UUID] = mapped_column(ForeignKey("products.id"), index=True)
    upset_price: Mapped[Decimal] = mapped_column(Money)
    inventory: Mapped[int]
    alpha: Mapped[float] = mapped_column(Double)
    beta: Mapped[float] = mapped_column(Double)
    gamma: Mapped[float] = mapped_column(Double)
    start_time: Mapped[datetime] = mapped_column(Moment)
    end_time: Mapped[datetime] = mapped_column(Moment)
    status: Mapped[str] = mapped_column(String(9))
    created_at: Mapped[datetime] = mapped_column(Moment, server_default=func.clock_timestamp())
    # Written once, by the close, in the transaction that writes the rankings.
    closed_at: Mapped[datetime | None] = mapped_column(Moment)
    final_price: Mapped[Decimal | None] = mapped_column(Money)
    highest_bid: Mapped[Decimal | None] = mapped_column(Money)
    # When Redis was told that the results stand; a close killed before that is repeated.
    published_at: Mapped[datetime | None] = mapped_column(Moment)
    # When its bidders' weights stood in PostgreSQL and in the cache.
    weighed_at: Mapped[datetime | None] = mapped_column(Moment)

    product: Mapped[Product] = relationship(lazy="joined", innerjoin=True)

    __table_args__ = (
        CheckConstraint("upset_price > 0", name="upset_price_positive"),
        CheckConstraint("inventory >= 1", name="inventory_positive"),
        CheckConstraint(
            "alpha >= 0 AND alpha < 'Infinity' AND beta >= 0 AND beta < 'Infinity'"
            " AND gamma >= 0 AND gamma < 'Infinity'",
            name="coefficients_finite",
        ),
        # Equal only when a session is closed before it ever started.
        CheckConstraint("start_time <= end_time", name="window"),
        CheckConstraint(
            "status IN ('scheduled', 'active', 'inactive', 'ended')", name="status_known"
        ),
        CheckConstraint("(status = 'ended') = (closed_at IS NOT NULL)", name="ended_is_closed"),
        Index("ix_sessions_to_close", "end_time", postgresql_where=text("published_at IS NULL")),
        Index("ix_sessions_to_weigh", "published_at", postgresql_where=text("weighed_at IS NULL")),
        Index("ix_sessions_start_time", "start_time"),
    )


class Bid(Base):
    """Every accepted bid, append-only: the audit trail.

    Without foreign keys on purpose: sessions and users are never deleted, and a key
    check would write a lock to the member's row for every bid of the flash.
    """

    __tablename__ = "bids"

    session_id: Mapped[UUID] = mapped_column(primary_key=True)
    sequence: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    user_id: Mapped[UUID]
    price: Mapped[Decimal] = mapped_column(Money)
    score: Mapped[float] = mapped_column(Double)
    response_time: Mapped[float] = mapped_column(Double)
    weight: Mapped[float] = mapped_column(Double)
    accepted_at: Mapped[datetime] = mapped_column(Moment)

    __table_args__ = (
        CheckConstraint("sequence >= 1", name="sequence_positive"),
        # A member's bids, and its standing bid in one session.
        Index("ix_bids_member", "user_id", "session_id", text("sequence DESC")),
    )


class BidLogOffset(Base):
    """How far a session's bid log is in `bids`. Its row lock makes drains take turns.

    `skipped_sequences`: how many up to there were passed over for what Redis lost (see
    core.losses). `loaded_at`: when Redis was last given the session; None: never.
    """

    __tablename__ = "bid_log_offsets"

    session_id: Mapped[UUID] = mapped_column(ForeignKey("sessions.id"), primary_key=True)
    persisted_sequence: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    skipped_sequences: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    loaded_at: Mapped[datetime | None] = mapped_column(Moment)


class Ranking(Base):
    """The final place of one member in one session.

    A winner is a row with rank <= inventory. Ranks are whole numbers from 1, unique
    in a session, so there cannot be more winners than items.
    """

    __tablename__ = "rankings"

    session_id: Mapped[UUID] = mapped_column(ForeignKey("sessions.id"), primary_key=True)
    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    rank: Mapped[int]
    sequence: Mapped[int] = mapped_column(BigInteger)
    price: Mapped[Decimal] = mapped_column(Money)
    score: Mapped[float] = mapped_column(Double)

    __table_args__ = (
        UniqueConstraint("session_id", "rank"),
        CheckConstraint("rank >= 1", name="rank_positive"),
        Index("ix_rankings_user_id", "user_id"),
    )


class Announcement(Base):
    """A closed session whose bidders are to be told. Written by the close itself, and how
    far the telling has come: it moves in the transaction that writes the notifications.
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
    """What one member is told, in-app. Rank and price stand in `rankings`."""

    __tablename__ = "notifications"

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=func.gen_random_uuid())
    session_id: Mapped[UUID] = mapped_column(ForeignKey("sessions.id"))
    user_id: Mapped[UUID]
    kind: Mapped[str] = mapped_column(String(20))
    created_at: Mapped[datetime] = mapped_column(Moment, server_default=func.now())
    read_at: Mapped[datetime | None] = mapped_column(Moment)

    __table_args__ = (
        UniqueConstraint("session_id", "user_id", "kind"),
        CheckConstraint("kind IN ('session_ended')", name="kind_known"),
        Index("ix_notifications_member", "user_id", text("created_at DESC")),
    )


class Delivery:
    """What every channel to the outside keeps of one delivery. It waits while
    `next_attempt_at` is set; settled without `delivered_at`, it was given up.
    """

    attempts: Mapped[int] = mapped_column(server_default=text("0"))
    created_at: Mapped[datetime] = mapped_column(Moment, server_default=func.now())
    next_attempt_at: Mapped[datetime | None] = mapped_column(Moment, server_default=func.now())
    delivered_at: Mapped[datetime | None] = mapped_column(Moment)
    # In a few words, without addresses.
    last_error: Mapped[str | None] = mapped_column(String(100))


class EmailDelivery(Delivery, Base):
    """The e-mail about a notification: one, since it has the notification's own key."""

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


class WebhookDelivery(Delivery, Base):
    """What the shop's system is told of a session. Its id is the message's `webhook-id`."""

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


class SessionEvent(Base):
    """What an operator may have to explain later: gaps in a bid log, set-aside entries."""

    __tablename__ = "session_events"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    session_id: Mapped[UUID] = mapped_column(index=True)
    kind: Mapped[str] = mapped_column(String(50))
    details: Mapped[dict[str, Any]] = mapped_column(JSONB)
    created_at: Mapped[datetime] = mapped_column(Moment, server_default=func.now())


class AdminAction(Base):
    """Who administered what; see core.admin_actions. Append-only but for the outcome."""

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
