"""What operators do to members: make them admins or not, shut them out or let them in."""

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

import structlog
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core import errors, outages
from core.members.revocations import Revocations
from core.postgres.database import Database
from core.postgres.models import User

log = structlog.get_logger(__name__)


class NotToldYet(Exception):
    """The member is let in, but Redis could not be told and still refuses its tokens."""

    def __init__(self, username: str) -> None:
        super().__init__(username)
        self.username = username


class Membership:
    """Changes accounts by name, in any case. Every change may be repeated.

    A disabled member's tokens are refused from that moment; the standing bids stay, for
    a rank that others were told cannot be taken back.
    """

    def __init__(self, database: Database, revocations: Revocations) -> None:
        self._database = database
        self._revocations = revocations

    def promote(self, username: str) -> str:
        """Make a member an admin; the name as it was registered."""
        return self._set_admin(username, is_admin=True)

    def demote(self, username: str) -> str:
        """Make an admin a member again; the very next request is refused."""
        return self._set_admin(username, is_admin=False)

    def disable(self, username: str) -> str:
        """Shut a member out: neither logging in nor any token works.

        Redis is told before the commit: when it is away, nothing has changed, and at no
        moment does it let in whom PostgreSQL shuts out.
        """
        with self._database.begin() as db:
            user = _locked(db, username)
            user.disabled_at = user.disabled_at or datetime.now(UTC)
            db.flush()
            self._revocations.shut_out(user.id)
        log.info("member_disabled", user_id=str(user.id))
        return user.username

    def enable(self, username: str) -> str:
        """Let a member in again; tokens that have neither expired nor been logged out are good.

        Redis is told after the commit, for the same reason. Raises NotToldYet when it is
        away then: repeating this tells it, and so does `let_in_enabled`.
        """
        with self._database.begin() as db:
            user = _locked(db, username)
            user.disabled_at = None
        try:
            self._let_in([user.id])
        except outages.ALL as outage:
            raise NotToldYet(user.username) from outage
        log.info("member_enabled", user_id=str(user.id))
        return user.username

    def let_in_enabled(self) -> int:
        """Let in whom Redis shuts out and PostgreSQL does not, since one of the two was away
        when that changed; returns how many.
        """
        return self._let_in(self._revocations.shut_out_members())

    def _let_in(self, user_ids: Sequence[UUID]) -> int:
        """Tell Redis of those who are enabled, while nobody can disable them."""
        with self._database.begin() as db:
            enabled = db.scalars(
                select(User.id)
                .where(User.id.in_(user_ids), User.disabled_at.is_(None))
                .order_by(User.id)
                .with_for_update()
            ).all()
            for user_id in enabled:
                self._revocations.let_in(user_id)
        return len(enabled)

    def _set_admin(self, username: str, *, is_admin: bool) -> str:
        with self._database.begin() as db:
            user = _locked(db, username)
            user.is_admin = is_admin
        log.info("role_set", user_id=str(user.id), is_admin=is_admin)
        return user.username


def _locked(db: Session, username: str) -> User:
    user = db.scalar(
        select(User).where(func.lower(User.username) == func.lower(username)).with_for_update()
    )
    if user is None:
        raise errors.AccountNotFound
    return user
