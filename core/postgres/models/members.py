"""Members and their tokens."""

from datetime import datetime
from uuid import UUID, uuid4

from sqlalchemy import (
    CheckConstraint,
    ColumnElement,
    Double,
    Index,
    LargeBinary,
    String,
    Text,
    case,
    func,
    or_,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from core.postgres.models.base import Base, Moment

# The name of a member whose account is gone, wherever its bids are shown.
DELETED_MEMBER = "deleted member"


class User(Base):
    """A member. To delete one is to erase it (core.members.erasure): bids and rankings refer to
    it permanently. They are shown even if the row was deleted by hand.

    The keys are the canonical forms of name and address (core/rules/identity.py). They are null
    while they are not filled, and where an older account has the same: such an account is found
    by its exact spelling only.
    """

    __tablename__ = "users"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    username: Mapped[str] = mapped_column(String(50))
    email: Mapped[str] = mapped_column(String(254))
    username_key: Mapped[str | None] = mapped_column(Text)
    email_key: Mapped[str | None] = mapped_column(Text)
    password_hash: Mapped[str] = mapped_column(Text)
    is_admin: Mapped[bool] = mapped_column(server_default=text("false"))
    weight: Mapped[float] = mapped_column(Double, server_default=text("1.0"))
    created_at: Mapped[datetime] = mapped_column(Moment, server_default=func.now())
    # Whether news beyond results and offers comes by e-mail, too.
    email_news: Mapped[bool] = mapped_column(server_default=text("false"))
    # When the member was disabled; None: enabled.
    disabled_at: Mapped[datetime | None] = mapped_column(Moment)
    # When the name and the address were replaced; None: they are the member's own.
    erased_at: Mapped[datetime | None] = mapped_column(Moment)

    __table_args__ = (
        Index("ix_users_disabled", "id", postgresql_where=text("disabled_at IS NOT NULL")),
        Index("uq_users_username_lower", func.lower(text("username")), unique=True),
        Index("uq_users_email_lower", func.lower(text("email")), unique=True),
        Index("uq_users_username_key", "username_key", unique=True),
        Index("uq_users_email_key", "email_key", unique=True),
        CheckConstraint("weight >= 1 AND weight <= 5", name="weight_range"),
    )

    @staticmethod
    def shown_name() -> ColumnElement[str]:
        """The name that others see, in an outer join: the row may be missing."""
        is_gone = or_(User.id.is_(None), User.erased_at.is_not(None))
        return case((is_gone, DELETED_MEMBER), else_=User.username)


class DeletedAccount(Base):
    """An account that was deleted or erased; a trigger on `users` names those deleted by hand.

    `settled_at`: when Redis had forgotten it and refused its tokens; None: not yet.
    """

    __tablename__ = "deleted_accounts"

    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    deleted_at: Mapped[datetime] = mapped_column(Moment, server_default=func.now())
    settled_at: Mapped[datetime | None] = mapped_column(Moment)

    __table_args__ = (
        Index(
            "ix_deleted_accounts_unsettled",
            "deleted_at",
            postgresql_where=text("settled_at IS NULL"),
        ),
    )


class ApiKey(Base):
    """An API key of a program that acts for its owner. Its secret is stored as a hash only.

    No foreign key: a row of `users` may be deleted by hand, and the key is refused then.
    """

    __tablename__ = "api_keys"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    name: Mapped[str] = mapped_column(String(50))
    owner_id: Mapped[UUID]
    secret_hash: Mapped[bytes] = mapped_column(LargeBinary)
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    created_at: Mapped[datetime] = mapped_column(Moment, server_default=func.clock_timestamp())
    expires_at: Mapped[datetime | None] = mapped_column(Moment)
    revoked_at: Mapped[datetime | None] = mapped_column(Moment)
    # To the minute: it is not written more often.
    last_used_at: Mapped[datetime | None] = mapped_column(Moment)

    __table_args__ = (
        CheckConstraint("length(secret_hash) = 32", name="secret_is_hashed"),
        CheckConstraint("cardinality(scopes) >= 1", name="scopes_given"),
    )


class RevokedToken(Base):
    """A token revoked by logging out. Authoritative; Redis has a copy."""

    __tablename__ = "revoked_tokens"

    token_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    expires_at: Mapped[datetime] = mapped_column(Moment, index=True)
