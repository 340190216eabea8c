"""Members and their tokens."""

from datetime import datetime
from uuid import UUID, uuid4

from sqlalchemy import CheckConstraint, Double, Index, String, Text, func, text
from sqlalchemy.orm import Mapped, mapped_column

from core.postgres.models.base import Base, Moment


class User(Base):
    """A member. Never deleted: bids and rankings refer to it permanently."""

    __tablename__ = "users"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    username: Mapped[str] = mapped_column(String(50))
    email: Mapped[str] = mapped_column(String(254))
    password_hash: Mapped[str] = mapped_column(Text)
    is_admin: Mapped[bool] = mapped_column(server_default=text("false"))
    weight: Mapped[float] = mapped_column(Double, server_default=text("1.0"))
    created_at: Mapped[datetime] = mapped_column(Moment, server_default=func.now())
    # When the member was disabled; None: enabled.
    disabled_at: Mapped[datetime | None] = mapped_column(Moment)

    __table_args__ = (
        Index("ix_users_disabled", "id", postgresql_where=text("disabled_at IS NOT NULL")),
        Index("uq_users_username_lower", func.lower(text("username")), unique=True),
        Index("uq_users_email_lower", func.lower(text("email")), unique=True),
        CheckConstraint("weight >= 1 AND weight <= 5", name="weight_range"),
    )


class RevokedToken(Base):
    """A token revoked by logging out. Authoritative; Redis has a copy."""

    __tablename__ = "revoked_tokens"

    token_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    expires_at: Mapped[datetime] = mapped_column(Moment, index=True)
