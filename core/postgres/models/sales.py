"""Products, the sessions that sell them, their bids and results."""

from datetime import datetime
from decimal import Decimal
from uuid import UUID, uuid4

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ColumnElement,
    Double,
    ForeignKey,
    Index,
    String,
    UniqueConstraint,
    func,
    text,
    true,
)
from sqlalchemy.orm import Mapped, mapped_column, relationship

from core.postgres.models.base import Base, Moment, Money


class Product(Base):
    """A product of the shop."""

    __tablename__ = "products"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    name: Mapped[str] = mapped_column(String(200))
    description: Mapped[str | None] = mapped_column(String(1000))
    image_url: Mapped[str | None] = mapped_column(String(2000))
    created_at: Mapped[datetime] = mapped_column(Moment, server_default=func.clock_timestamp())

    @property
    def product_id(self) -> UUID:
        """The id, under the name that answers use."""
        return self.id


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
    # The default is for rows by versions and imports that do not know the rule: they allowed it.
    allow_lower_bids: Mapped[bool] = mapped_column(server_default=true())
    # ISO 4217; a session keeps the one that it was created with.
    currency: Mapped[str] = mapped_column(String(3), server_default=text("'EUR'"))
    pricing: Mapped[str] = mapped_column(String(12), server_default=text("'pay_as_bid'"))
    # How long an offer stands; after `offers_end` no place is offered again.
    offer_minutes: Mapped[float] = mapped_column(Double, server_default=text("1440"))
    offers_end: Mapped[datetime | None] = mapped_column(Moment)
    start_time: Mapped[datetime] = mapped_column(Moment)
    end_time: Mapped[datetime] = mapped_column(Moment)
    status: Mapped[str] = mapped_column(String(9))
    created_at: Mapped[datetime] = mapped_column(Moment, server_default=func.clock_timestamp())
    # Set once, by the close, in the transaction that writes the rankings.
    closed_at: Mapped[datetime | None] = mapped_column(Moment)
    final_price: Mapped[Decimal | None] = mapped_column(Money)
    highest_bid: Mapped[Decimal | None] = mapped_column(Money)
    # When the final results were published in Redis; a close killed before is repeated.
    published_at: Mapped[datetime | None] = mapped_column(Moment)
    # When its bidders' weights were stored and cached.
    weighed_at: Mapped[datetime | None] = mapped_column(Moment)
    cancelled_at: Mapped[datetime | None] = mapped_column(Moment)
    cancel_reason: Mapped[str | None] = mapped_column(String(500))
    # Counts the shop's changes, so that of two at once only one applies.
    version: Mapped[int] = mapped_column(server_default=text("1"))

    product: Mapped[Product] = relationship(lazy="joined", innerjoin=True)

    __table_args__ = (
        CheckConstraint("upset_price > 0", name="upset_price_positive"),
        CheckConstraint("inventory >= 1", name="inventory_positive"),
        CheckConstraint(
            "alpha >= 0 AND alpha < 'Infinity' AND beta >= 0 AND beta < 'Infinity'"
            " AND gamma >= 0 AND gamma < 'Infinity'",
            name="coefficients_finite",
        ),
        # Equal only if the session was ended before its start.
        CheckConstraint("start_time <= end_time", name="window"),
        CheckConstraint(
            "status IN ('scheduled', 'active', 'inactive', 'ended', 'cancelled')",
            name="status_known",
        ),
        CheckConstraint("(status = 'ended') = (closed_at IS NOT NULL)", name="ended_is_closed"),
        CheckConstraint(
            "(status = 'cancelled') = (cancelled_at IS NOT NULL)", name="cancelled_has_moment"
        ),
        CheckConstraint("pricing IN ('pay_as_bid', 'second_score')", name="pricing_known"),
        CheckConstraint(
            "offer_minutes > 0 AND offer_minutes < 'Infinity'", name="offer_minutes_positive"
        ),
        Index("ix_sessions_to_close", "end_time", postgresql_where=text("published_at IS NULL")),
        Index("ix_sessions_to_weigh", "published_at", postgresql_where=text("weighed_at IS NULL")),
        Index("ix_sessions_start_time", "start_time"),
    )

    @staticmethod
    def may_have_log() -> ColumnElement[bool]:
        """Whether Redis may have bids of it that PostgreSQL lacks."""
        is_settled = (BiddingSession.status == "cancelled") & (
            BiddingSession.published_at.is_not(None)
        )
        return (BiddingSession.status != "ended") & ~is_settled


class Bid(Base):
    """Every accepted bid, append-only: the audit trail.

    No foreign keys: sessions and users are never deleted, and each check would write a lock
    to the member's row.
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
        # For a member's bids, and its standing bid in a session.
        Index("ix_bids_member", "user_id", "session_id", text("sequence DESC")),
    )


class BidLogOffset(Base):
    """How far a session's bid log is persisted in `bids`. Its row lock serialises drains.

    `skipped_sequences`: how many were skipped after Redis lost data (see core.bidlog.losses).
    `loaded_at`: when the session was last loaded into Redis; None: never.
    """

    __tablename__ = "bid_log_offsets"

    session_id: Mapped[UUID] = mapped_column(ForeignKey("sessions.id"), primary_key=True)
    persisted_sequence: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    skipped_sequences: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    loaded_at: Mapped[datetime | None] = mapped_column(Moment)


class Ranking(Base):
    """The final place of one member in one session.

    Ranks are whole numbers from 1, unique in a session, so there cannot be more winners
    than items.
    """

    __tablename__ = "rankings"

    session_id: Mapped[UUID] = mapped_column(ForeignKey("sessions.id"), primary_key=True)
    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    rank: Mapped[int]
    sequence: Mapped[int] = mapped_column(BigInteger)
    price: Mapped[Decimal] = mapped_column(Money)
    score: Mapped[float] = mapped_column(Double)
    # With the price, all that the score was computed from; null in results of older versions.
    response_time: Mapped[float | None] = mapped_column(Double)
    weight: Mapped[float | None] = mapped_column(Double)
    # What the member pays; set when an item is offered, and never changed. Null: not offered.
    price_to_pay: Mapped[Decimal | None] = mapped_column(Money)

    __table_args__ = (
        UniqueConstraint("session_id", "rank"),
        CheckConstraint("price_to_pay <= price", name="price_to_pay_is_bid"),
        CheckConstraint("rank >= 1", name="rank_positive"),
        Index("ix_rankings_user_id", "user_id"),
    )

    @staticmethod
    def is_winning() -> ColumnElement[bool]:
        """core.rules.scoring's rule in SQL, for rankings joined to their sessions."""
        return Ranking.rank <= BiddingSession.inventory
