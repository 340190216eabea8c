"""Finds members for admins."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import or_, select

from core import errors
from core.postgres.database import Database, page_of
from core.postgres.models import User


@dataclass(frozen=True, slots=True)
class Member:
    """One line of the list of members."""

    user_id: UUID
    username: str
    email: str
    is_admin: bool
    is_disabled: bool
    is_erased: bool
    weight: float
    created_at: datetime


class Directory:
    """Lists members."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def list(self, search: str, *, page: int, page_size: int) -> tuple[Sequence[Member], int]:
        """One page of members by name, and the total count. `search`: a part of the name or of
        the address, in any case.
        """
        matching = or_(
            User.username.icontains(search, autoescape=True),
            User.email.icontains(search, autoescape=True),
        )
        chosen = select(User).where(matching).order_by(User.username, User.id)
        with self._database.begin() as db:
            rows, total = page_of(db, chosen, page=page, page_size=page_size)
            return [_member(user) for user in rows], total

    def get(self, user_id: UUID) -> Member:
        """One member. Raises AccountNotFound."""
        with self._database.begin() as db:
            user = db.get(User, user_id)
            if user is None:
                raise errors.AccountNotFound
            return _member(user)


def _member(user: User) -> Member:
    return Member(
        user_id=user.id,
        username=user.username,
        email=user.email,
        is_admin=user.is_admin,
        is_disabled=user.disabled_at is not None,
        is_erased=user.erased_at is not None,
        weight=user.weight,
        created_at=user.created_at,
    )
