"""Operators' changes to members: granting and revoking admin rights, disabling, enabling."""

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

import structlog
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from core import errors, outages
from core.members.naming import by_name, refusal_of
from core.members.revocations import Revocations
from core.postgres.database import Database
from core.postgres.models import User
from core.rules import identity

log = structlog.get_logger(__name__)


class RedisNotUpdated(Exception):
    """The member is enabled in PostgreSQL, but Redis was unreachable and refuses its tokens."""

    def __init__(self, username: str) -> None:
        super().__init__(username)
        self.username = username


class Membership:
    """Changes accounts, given their name in any spelling, or their id. Every change may be
    repeated.

    A disabled member's tokens are refused at once. The standing bids stay, because ranks
    that other members have been shown cannot be withdrawn.
    """

    def __init__(self, database: Database, revocations: Revocations) -> None:
        self._database = database
        self._revocations = revocations

    def promote(self, username: str) -> str:
        """Grant admin rights; returns the name as registered."""
        return self._set_admin(username, is_admin=True)

    def demote(self, username: str) -> str:
        """Revoke admin rights, from the next request on."""
        return self._set_admin(username, is_admin=False)

    def disable(self, username: str, *, by: UUID | None = None) -> str:
        """Refuse the member's logins and tokens. `by`: the admin who asks, for a member's id;
        None: an operator.

        An admin cannot disable the own account, and must still be an admin at that moment, also
        when two disable each other: one admin always remains. Raises OwnAccount, AdminRequired.

        Redis is updated before the commit: if it is down nothing changes, and Redis never
        accepts a member that PostgreSQL has disabled.
        """
        with self._database.begin() as db:
            if by is not None:
                _require_other_admin(db, by, username)
            user = _locked(db, username)
            user.disabled_at = user.disabled_at or datetime.now(UTC)
            db.flush()
            self._revocations.disable(user.id)
        log.info("member_disabled", user_id=str(user.id))
        return user.username

    def enable(self, username: str) -> str:
        """Enable a member; tokens that are neither expired nor revoked work again.

        Redis is updated after the commit, for the same reason. Raises RedisNotUpdated if it is
        down then; repeating the call updates it, and so does `reenable_members`.
        """
        with self._database.begin() as db:
            user = _locked(db, username)
            user.disabled_at = None
        try:
            self._enable_in_redis([user.id])
        except outages.ALL as outage:
            raise RedisNotUpdated(user.username) from outage
        log.info("member_enabled", user_id=str(user.id))
        return user.username

    def rename(self, username: str, new_name: str) -> str:
        """Give the account another username; returns it.

        Tokens and standing bids show the old one until the member logs in and bids again.
        """
        try:
            with self._database.begin() as db:
                user = _locked(db, username)
                user.username = new_name
                user.username_key = identity.canonical_name(new_name)
        except IntegrityError as error:
            raise refusal_of(error) from None
        log.info("member_renamed", user_id=str(user.id))
        return user.username

    def reenable_members(self) -> int:
        """Enable in Redis the members that PostgreSQL has enabled, after an outage of one of
        the two; returns how many.
        """
        return self._enable_in_redis(self._revocations.disabled_members())

    def _enable_in_redis(self, user_ids: Sequence[UUID]) -> int:
        """Enable them in Redis while row locks keep them from being disabled."""
        with self._database.begin() as db:
            enabled = db.scalars(
                select(User.id)
                .where(User.id.in_(user_ids), User.disabled_at.is_(None))
                .order_by(User.id)
                .with_for_update()
            ).all()
            for user_id in enabled:
                self._revocations.enable(user_id)
        return len(enabled)

    def _set_admin(self, username: str, *, is_admin: bool) -> str:
        with self._database.begin() as db:
            user = _locked(db, username)
            user.is_admin = is_admin
        log.info("role_set", user_id=str(user.id), is_admin=is_admin)
        return user.username


def _require_other_admin(db: Session, admin_id: UUID, user_id: str) -> None:
    """Lock both accounts, in one order for all, and check the admin's."""
    if UUID(user_id) == admin_id:
        raise errors.OwnAccount
    both = select(User).where(User.id.in_((admin_id, UUID(user_id)))).order_by(User.id)
    locked = {user.id: user for user in db.scalars(both.with_for_update())}
    admin = locked.get(admin_id)
    if admin is None or not admin.is_admin or admin.disabled_at is not None:
        raise errors.AdminRequired


def _locked(db: Session, name: str) -> User:
    user = _by_id(db, name) or db.scalar(by_name(name).with_for_update())
    if user is None or user.erased_at is not None:
        raise errors.AccountNotFound(name)
    return user


def _by_id(db: Session, text: str) -> User | None:
    try:
        return db.get(User, UUID(text), with_for_update=True)
    except ValueError:
        return None
